"""How many operations an expression takes."""

from __future__ import annotations

from functools import cache

import sympy as sp

from symbp.ir import functions as fn

_FREE = (fn.stop_gradient,)
_ONE_OPERATION = (fn.relu, fn.step, fn.safe_div, fn.absolute, fn.sign, fn.maximum, fn.minimum, fn.floor, fn.sqrt)
_ONE_OPERATION_TOO = (fn.select, sp.Rel, sp.And, sp.Or, sp.Not)


@cache
def operations(expr: sp.Expr) -> tuple[int, int]:
    """Arithmetic operations and calls of elementary functions in an expression; what occurs twice is done once.

    A power with a whole exponent is its multiplications, and a square root and a division are one operation each.
    """
    arithmetic, calls = 0, 0
    for part in dict.fromkeys(sp.preorder_traversal(expr)):
        if isinstance(part, sp.Add):
            arithmetic += len(part.args) - 1
        elif isinstance(part, sp.Mul):
            divides = any(isinstance(a, sp.Pow) and bool(a.exp.is_negative) for a in part.args)  # counted there
            arithmetic += max(len(part.args) - 1 - (part.args[0] == -1) - divides, 0)
        elif isinstance(part, sp.Pow):
            one, two = _of_power(part.exp)
            arithmetic, calls = arithmetic + one, calls + two
        elif isinstance(part, _ONE_OPERATION + _ONE_OPERATION_TOO):
            arithmetic += 1
        elif isinstance(part, sp.Function) and not isinstance(part, _FREE):
            calls += 1
    return arithmetic, calls


def _of_power(exponent: sp.Expr) -> tuple[int, int]:
    if not exponent.is_Rational or exponent.q > 2:
        return 0, 1
    whole = abs(int(exponent))
    multiplications = whole.bit_length() + whole.bit_count() - 2 if whole else 0
    root = exponent.q == 2
    return multiplications + root + (root and whole > 0) + bool(exponent < 0), 0

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
    parts = tuple(dict.fromkeys(sp.preorder_traversal(expr)))
    denominators = {a for part in parts if isinstance(part, sp.Mul) for a in part.args if _divides(a)}
    arithmetic, calls = 0, 0
    for part in parts:
        if isinstance(part, sp.Add):
            arithmetic += len(part.args) - 1
        elif isinstance(part, sp.Mul):
            factors = [a for a in part.args if a != -1]
            arithmetic += len(factors) - 1 + all(map(_divides, factors))  # 1/(x*y) is a division more
        elif isinstance(part, sp.Pow):
            multiplications, further = _of_power(part.exp)
            arithmetic += multiplications + (_divides(part) and part not in denominators)
            calls += further
        elif isinstance(part, _ONE_OPERATION + _ONE_OPERATION_TOO):
            arithmetic += 1
        elif isinstance(part, sp.Function) and not isinstance(part, _FREE):
            calls += 1
    return arithmetic, calls


def _divides(factor: sp.Expr) -> bool:
    return (factor.is_Rational and factor.p == 1) or (isinstance(factor, sp.Pow) and bool(factor.exp.is_negative))


def _of_power(exponent: sp.Expr) -> tuple[int, int]:
    """Of a power without its division."""
    if not exponent.is_Rational or exponent.q > 2:
        return 0, 1
    whole = abs(int(exponent))
    multiplications = whole.bit_length() + whole.bit_count() - 2 if whole else 0
    root = exponent.q == 2
    return multiplications + root + (root and whole > 0), 0

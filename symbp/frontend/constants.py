"""The float64 value of a constant subexpression, so that what is no float is refused before SymPy works on it.

SymPy would turn ``log(-1)`` into a complex number, and spend hours on the digits of ``exp(exp(exp(100)))``.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import sympy as sp

_FUNCTIONS: dict[str, Callable[[float], float]] = {
    "exp": math.exp,
    "log": math.log,
    "log1p": math.log1p,
    "expm1": math.expm1,
    "sqrt": math.sqrt,
    "sin": math.sin,
    "cos": math.cos,
    "tan": math.tan,
    "asin": math.asin,
    "acos": math.acos,
    "atan": math.atan,
    "asinh": math.asinh,
    "sinh": math.sinh,
    "cosh": math.cosh,
    "erf": math.erf,
    "erfc": math.erfc,
}


def constant_value(expression: sp.Expr, function: str = "") -> float | None:
    """The value of an expression without symbols, or of the named function of it; None where it is not known.

    Raises ArithmeticError with "too large for a float", "not a real number" or "a division by zero".
    """
    try:
        value = _value(expression)
        if value is not None and function in _FUNCTIONS:
            value = _FUNCTIONS[function](value)
    except OverflowError:
        raise ArithmeticError("too large for a float") from None
    except ZeroDivisionError:
        raise ArithmeticError("a division by zero") from None
    except ValueError:
        raise ArithmeticError("not a real number") from None
    if value is not None and math.isinf(value):
        raise ArithmeticError("too large for a float")
    return value


def _value(expression: sp.Expr) -> float | None:
    if isinstance(expression, sp.Rational):
        return int(expression.p) / int(expression.q)
    if expression in (sp.zoo, sp.nan, sp.oo, -sp.oo):
        raise ZeroDivisionError
    if expression.is_Atom:
        if expression is sp.I:
            raise ValueError
        return float(expression)  # pi and e, which SymPy makes of acos(-1) and exp(1)
    parts = [_value(part) for part in expression.args]
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    if expression.is_Add:
        return sum(known)
    if expression.is_Mul:
        return math.prod(known)
    if expression.is_Pow:
        result = known[0] ** known[1]
        if isinstance(result, complex):
            raise ValueError
        return float(result)
    named = _FUNCTIONS.get(expression.func.__name__)
    return named(*known) if named and len(known) == 1 else None

"""Scalar expressions of users to templates of the IR: numbers made exact, SymPy's functions replaced by ours.

SymPy's ``Max``, ``Abs`` and ``Heaviside`` have distributions for derivatives, its ``tanh`` does not know its own value;
`symbp.ir.functions` has forms that suit numerical code.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import reduce
from typing import Any

import sympy as sp
from sympy.core.relational import Relational

from symbp.errors import SpecError, did_you_mean
from symbp.frontend.expression import Axis, Diff, Element, Extent, Reduce
from symbp.frontend.functions import FUNCTIONS
from symbp.frontend.integers import is_integer_expression
from symbp.ir import functions as scalar

#: The relations that hold at a point of an expression because it stands in a branch of a select.
Path = tuple[Any, ...]
Leaf = Callable[[sp.Expr, Path], sp.Expr]

#: SymPy's own functions that every part of the compiler knows.
KEPT = (
    sp.exp, sp.log, sp.sin, sp.cos, sp.tan, sp.asin, sp.acos, sp.atan, sp.sinh, sp.cosh, sp.asinh, sp.acosh, sp.atanh,
    sp.erf, sp.erfc,
)  # fmt: skip
KNOWN: Any = (scalar.ScalarFunction, *KEPT)
REPLACED: dict[Any, Any] = {
    sp.tanh: scalar.tanh,
    sp.Abs: scalar.absolute,
    sp.sign: scalar.sign,
}
LARGEST = sp.Rational(repr(sys.float_info.max))


def lower_scalar(expression: sp.Expr, leaf: Leaf, path: Path = ()) -> sp.Expr:
    """The template of `expression`; `leaf` gives the symbol that stands for an element, an index or a reduction.

    Raises SpecError for numbers beyond float64, complex numbers, division by zero, unknown symbols and functions.
    """
    if isinstance(expression, Axis | Extent | Element | Reduce | Diff):
        return leaf(expression, path)
    if expression.is_number and not expression.args:
        return _number(expression)
    if isinstance(expression, sp.Symbol):
        raise SpecError(
            f"symbol '{expression}' is neither an axis nor a tensor of the model",
            remedy="declare it with model.axis(..) or model.input(..)",
        )
    if isinstance(expression, sp.floor | sp.Mod) and is_integer_expression(expression):
        return leaf(expression, path)

    def lower(part: sp.Expr) -> sp.Expr:
        return lower_scalar(part, leaf, path)

    if isinstance(expression, sp.Pow):
        base, exponent = lower(expression.base), lower(expression.exp)
        if base == 0 and exponent.is_negative:
            raise SpecError("division by zero")
        return scalar.sqrt(base) if exponent == sp.S.Half else base**exponent
    if isinstance(expression, sp.Add | sp.Mul):
        return expression.func(*map(lower, expression.args))
    if isinstance(expression, scalar.select):
        condition, yes, no = expression.args
        return _select(condition, yes, no, leaf, path)
    if isinstance(expression, sp.Piecewise):
        return lower(_nested_select(expression))
    if isinstance(expression, sp.Max):
        return _fold(expression.args, scalar.maximum, lower)
    if isinstance(expression, sp.Min):
        return _fold(expression.args, scalar.minimum, lower)
    if isinstance(expression, sp.floor):
        return scalar.floor(lower(expression.args[0]))
    if isinstance(expression, sp.Mod):
        value, divisor = map(lower, expression.args)
        return value - divisor * scalar.floor(value / divisor)
    if isinstance(expression, KNOWN):
        return expression.func(*map(lower, expression.args))
    for theirs, ours in REPLACED.items():
        if isinstance(expression, theirs):
            return ours(*(lower(a) for a in tuple(expression.args)))
    name = getattr(expression.func, "__name__", str(expression))
    raise SpecError(
        f"function '{name}' is not known",
        remedy=did_you_mean(name, FUNCTIONS) or "write it with the functions that symbp exports",
    )


def lower_condition(relation: Any, leaf: Leaf, path: Path = ()) -> Any:
    """A relation over template symbols; it may come out as plain true or false."""
    return relation.func(*(lower_scalar(side, leaf, path) for side in relation.args))


def _select(condition: Any, yes: sp.Expr, no: sp.Expr, leaf: Leaf, path: Path) -> sp.Expr:
    if condition == sp.true:
        return lower_scalar(yes, leaf, path)
    if condition == sp.false:
        return lower_scalar(no, leaf, path)
    if isinstance(condition, sp.And | sp.Or):
        first, *rest = sorted(condition.args, key=sp.default_sort_key)
        other = condition.func(*rest)
        if isinstance(condition, sp.And):
            return _select(first, scalar.select(other, yes, no), no, leaf, path)
        return _select(first, yes, scalar.select(other, yes, no), leaf, path)
    if not isinstance(condition, Relational):
        raise SpecError(f"select takes a relation such as x[b] > 0, found {condition}")
    lowered = lower_condition(condition, leaf, path)
    if lowered in (sp.true, sp.false):
        return lower_scalar(yes if lowered == sp.true else no, leaf, path)
    a = lower_scalar(yes, leaf, (*path, condition))
    b = lower_scalar(no, leaf, (*path, condition.negated))
    return scalar.select(lowered, a, b)


def _nested_select(piecewise: sp.Piecewise) -> sp.Expr:
    pieces = [tuple(piece.args) for piece in piecewise.args]
    last, condition = pieces.pop()
    if condition != sp.true:
        raise SpecError("a Piecewise has no value for some cases", remedy="end it with (value, True)")
    return reduce(lambda rest, piece: scalar.select(piece[1], piece[0], rest), reversed(pieces), last)


def _fold(arguments: tuple[sp.Expr, ...], function: Any, lower: Callable[[sp.Expr], sp.Expr]) -> sp.Expr:
    if function is scalar.maximum and len(arguments) == 2 and sp.S.Zero in arguments:
        return scalar.relu(lower(next(a for a in arguments if a != 0)))
    return reduce(function, map(lower, sorted(arguments, key=sp.default_sort_key)))


def _number(value: sp.Expr) -> sp.Expr:
    if value == sp.zoo:
        raise SpecError("division by zero gives no number")
    if value == sp.nan:
        raise SpecError("the equation holds NaN, which is not a number")
    if value in (sp.oo, -sp.oo):
        raise SpecError("the equation holds an infinite number", remedy="use the largest number that is needed")
    if value.is_real is False or value == sp.I:
        raise SpecError(f"{value} is not a real number")
    if value is sp.pi:  # it stays by its name, which people read more easily than a fraction of 30 digits
        return value
    if isinstance(value, sp.NumberSymbol):  # E: the float64 nearest to it is exact enough for every dtype
        return sp.Rational(repr(float(value)))
    if isinstance(value, sp.Float):
        number = float(value)
        if number != number or number in (float("inf"), float("-inf")):
            raise _beyond(value)
        return sp.Rational(repr(number))
    if value.is_Rational and abs(value) <= LARGEST:
        return value
    raise _beyond(value)


def _beyond(value: sp.Expr) -> SpecError:
    text = str(value) if value.is_Float else f"of {len(str(value))} characters"
    return SpecError(f"number {text if len(text) <= 30 else text[:30] + '..'} is beyond float64")

"""Derivatives of scalar templates, each taken once.

SymPy only ever differentiates ``f(_00, _01, ..)`` with respect to a slot, so layers of one form share their
derivatives: twelve transformer blocks need about thirty. Where the derivative contains the statement's own value, that
value is read instead of computed again: ``y = tanh(z)`` gives ``1 - y**2``, and ``y = v**(-1/2)`` gives ``-y**3/2``.
"""

from __future__ import annotations

from functools import cache

import sympy as sp

from symbp.errors import DerivativeError
from symbp.ir import Body, Operand, Read, Reduction, Statement, slot, statement_text

_VALUE = sp.Symbol("value", real=True)
_FACTOR = sp.Symbol("factor", real=True)


@cache
def partial(template: sp.Expr, position: int) -> sp.Expr:
    """``d template / d slot(position)``. Raises DerivativeError for a function that has no derivative."""
    try:
        derivative = template.diff(slot(position))
    except sp.core.function.ArgumentIndexError as error:
        raise DerivativeError(f"no derivative is known for an argument of {error.args[0].func.__name__}") from error
    unknown = derivative.atoms(sp.Derivative, sp.Subs)
    if unknown:
        names = sorted({f.func.__name__ for u in unknown for f in u.atoms(sp.Function)})
        raise DerivativeError(f"no derivative is known for {', '.join(names)}")
    return derivative


@cache
def partial_by_value(template: sp.Expr, position: int) -> sp.Expr:
    """The same derivative with `_VALUE` where the template itself, or a power that its value gives, occurs."""
    derivative = partial(template, position)
    if isinstance(template, sp.Function):
        return derivative.xreplace({template: _VALUE})
    if isinstance(template, sp.Pow) and template.exp.is_Rational and not template.base.is_number:
        u, q = template.as_base_exp()
        powers = [p for p in derivative.atoms(sp.Pow) if p.base == u and p.exp.is_Rational and (p.exp / q).is_Integer]
        return derivative.xreplace({p: _VALUE ** (p.exp / q) for p in powers})
    return derivative


@cache
def _times_factor(template: sp.Expr, position: int, by_value: bool) -> sp.Expr:
    return (partial_by_value if by_value else partial)(template, position) * _FACTOR


def scaled_partial(statement: Statement, operand: Read, factor: Read | None) -> Body | None:
    """``(d body / d operand) * factor`` of a statement, or None where it is identically 0; no factor means 1.

    Raises DerivativeError with the statement's place for a function that has no derivative.
    """
    body = statement.body
    position = body.operands.index(operand)
    by_value = statement.reduction is Reduction.NONE and not statement.accumulate
    try:
        template = _times_factor(body.expr, position, by_value)
    except DerivativeError as error:
        raise error.at(place_of(statement)) from error
    if template == 0:
        return None
    operands: dict[sp.Symbol, Operand] = {slot(k): o for k, o in enumerate(body.operands)}
    operands[_VALUE] = statement.target
    if factor is None:
        return Body.build(template.xreplace({_FACTOR: sp.S.One}), operands)
    operands[_FACTOR] = factor
    return Body.build(template, operands)


def place_of(statement: Statement) -> str:
    """Where a statement comes from, for an error: its place in the user's files, and the equation."""
    equation = statement.origin.equation or statement_text(statement)
    return f"{statement.origin.place}: in '{equation}'" if statement.origin.place else f"in '{equation}'"

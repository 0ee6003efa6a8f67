"""Keep the digits of saturated derivatives, at the price of one more exponential each.

The textbook computes the derivatives of sigmoid and tanh from their values: ``s*(1 - s)``, ``1 - a**2``. Near s = 1 the
difference loses every digit (a relative error of 1e6 units in the last place at tanh(8) in float32; the absolute error
stays at one unit of 1). Where the derivative itself must be exact, it is computed from the argument instead:

    z_bar[b] = a_bar[b]*(1 - a[b]**2)      ==>      z_bar[b] = a_bar[b]*sech2(z[b])
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import sympy as sp

from symbp.ir.affine import Affine, Read
from symbp.ir.body import Body, slot
from symbp.ir.functions import dsigmoid, sech2, sigmoid, tanh
from symbp.ir.program import Program
from symbp.ir.statement import Reduction, Statement

_DERIVATIVE = {sigmoid: dsigmoid, tanh: sech2}


def keep_digits(program: Program) -> Program:
    """Every statement with the derivatives of sigmoid and tanh computed from their arguments."""
    return program.with_statements(replace(s, body=_exact(s.body, program)) for s in program.statements)


def _exact(body: Body, program: Program) -> Body:
    template = body.expr
    parts = {slot(k): Body.of(o) for k, o in enumerate(body.operands)}
    for k, operand in enumerate(body.operands):
        if not isinstance(operand, Read):
            continue
        call = _call(operand, program)
        if call is None:
            continue
        kind, argument = call
        value, derivative = slot(k), sp.Symbol(f"derivative{k}", real=True)
        rewrite = partial(_without, kind, value, derivative)
        changed = template.replace(lambda e: e.is_Mul or e.is_Add or e.is_Pow, rewrite)
        if changed != template:
            template = changed
            parts[derivative] = Body.combine(_DERIVATIVE[kind](slot(0)), {slot(0): Body.of(argument)})
    return body if template == body.expr else Body.combine(template, parts)


def _without(kind: type[sp.Function], value: sp.Symbol, derivative: sp.Symbol, expr: sp.Expr) -> sp.Expr:
    """``1 - a**2`` of a tanh, or ``s*(1 - s)`` of a sigmoid as a factor, replaced by the symbol."""
    if kind is tanh:
        if expr == 1 - value**2:
            return derivative
        return -derivative if expr == value**2 - 1 else expr
    if expr.is_Mul:
        rest = list(expr.args)
        for factor, sign in ((1 - value, 1), (value - 1, -1)):
            if value in rest and factor in rest:
                rest.remove(value)
                rest.remove(factor)
                return sp.Mul(sign, derivative, *rest)
    return expr


def _call(read: Read, program: Program) -> tuple[type[sp.Function], Read] | None:
    """The function that defines the element, and the element that it is applied to."""
    for statement in program.definitions(read.tensor):
        for kind in _DERIVATIVE:
            if isinstance(statement.body.expr, kind) and statement.body.expr.args == (slot(0),):
                return _applied(statement, kind, read)
    return None


def _applied(statement: Statement, kind: type[sp.Function], read: Read) -> tuple[type[sp.Function], Read] | None:
    if statement.reduction is not Reduction.NONE or statement.accumulate or statement.guards:
        return None
    argument = statement.body.operands[0]
    mapping: dict[object, Affine] = {}
    for written, used in zip(statement.subscripts, read.subscripts, strict=True):
        index = next(iter(written.plain_indices()), None)
        if index is None:
            if written != used:
                return None
            continue
        if written.coefficient(index) != Affine.of(1) or index in mapping:
            return None
        mapping[index] = used - written.without(index)
    if not isinstance(argument, Read) or set(statement.free) - set(mapping):
        return None
    return kind, argument.substitute(mapping)  # type: ignore[arg-type]

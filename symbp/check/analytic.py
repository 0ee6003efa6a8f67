"""Where a complex step may go: from the differentiated tensors to the loss without a kink on the way."""

from __future__ import annotations

from collections.abc import Iterable

import sympy as sp

from symbp.check.functions import NOT_ANALYTIC
from symbp.ir import DType, Holds, Program, Read, Reduction, Statement, slot
from symbp.ir.body import Body
from symbp.ir.functions import select, stop_gradient


def dependent_tensors(program: Program, sources: Iterable[str]) -> frozenset[str]:
    """The tensors of floats whose value moves when one of `sources` moves by a little."""
    found = set(sources)
    pending = list(found)
    while pending:
        for statement in program.readers(pending.pop()):
            name = statement.tensor
            if name not in found and program.tensor(name).dtype is DType.FLOAT:
                found.add(name)
                pending.append(name)
    return frozenset(found)


def first_kink(program: Program, sources: Iterable[str]) -> str | None:
    """The name of a function (or ``max``, or a condition) on the way that is not analytic; None if there is none."""
    moving = dependent_tensors(program, sources)
    for statement in program.statements:
        if statement.tensor in moving:
            kink = _kink(statement, moving)
            if kink is not None:
                return kink
    return None


def holds_constants(program: Program, sources: Iterable[str]) -> bool:
    """True if a ``stop_gradient`` hides a dependence from the derivative, so that differences of losses would show it.

    The shift of a softmax, a maximum of stop_gradient, does not count: the loss does not depend on it.
    """
    moving = dependent_tensors(program, sources)
    return any(
        statement.reduction is not Reduction.MAX
        and any(
            _moving_slots(statement.body, moving) & held.free_symbols
            for held in statement.body.expr.atoms(stop_gradient)
        )
        for statement in program.statements
    )


def _kink(statement: Statement, moving: frozenset[str]) -> str | None:
    for guard in statement.guards:
        if isinstance(guard, Holds) and _moving_slots(guard.condition, moving):
            return "a condition on data"
    slots = _moving_slots(statement.body, moving)
    expr = statement.body.expr.replace(stop_gradient, lambda held: sp.Dummy())
    if statement.reduction is Reduction.MAX and slots & expr.free_symbols:
        return "max"
    for node in sorted(expr.atoms(*NOT_ANALYTIC), key=str):
        decides = node.args[0] if isinstance(node, select) else node
        if slots & decides.free_symbols:
            return str(node.func.__name__)
    return None


def _moving_slots(body: Body, moving: frozenset[str]) -> set[sp.Symbol]:
    return {slot(k) for k, o in enumerate(body.operands) if isinstance(o, Read) and o.tensor in moving}

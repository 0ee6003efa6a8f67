"""Several contributions to one adjoint become one equation.

e_bar[b, k] += p_bar[b, k]/s[b]      e_bar[b, k] = p_bar[b, k]/s[b] + s_bar[b]
e_bar[b, k] += s_bar[b]

z_bar[b, k] += p[b, k]/n             z_bar[b, k] = (p[b, k] - select(k == label[b], 1, 0))/n
z_bar[b, k] += -1/n where k == label[b]
"""

from __future__ import annotations

from dataclasses import replace

import sympy as sp

from symbp.derive.definitions import plain_indices
from symbp.derive.simplify.graph import EquationGraph
from symbp.derive.simplify.tidy import tidy_body
from symbp.ir.affine import Affine, Index
from symbp.ir.body import Body
from symbp.ir.bounds import holds_everywhere
from symbp.ir.functions import select
from symbp.ir.statement import Domain, Guard, Origin, Reduction, Statement, Zero


def merge_contributions(graph: EquationGraph, number: int) -> bool:
    """Add another contribution of the same form to this one."""
    statement = graph.statements[number]
    if number not in graph.backward or not _is_contribution(statement):
        return False
    for other in tuple(graph.writers[statement.tensor]):
        found = graph.statements[other]
        if other == number or other not in graph.backward or not _is_contribution(found):
            continue
        first, second = min(number, other), max(number, other)
        merged = _merge(graph, graph.statements[first], graph.statements[second])
        if merged is not None:
            graph.remove(second)
            graph.replace(first, merged)
            return True
    return False


def set_once(graph: EquationGraph, number: int) -> bool:
    """A sole contribution sets its adjoint: ``=`` for ``+=``."""
    statement = graph.statements[number]
    if not statement.accumulate or number not in graph.backward:
        return False
    if graph.definition(statement.tensor) is None or plain_indices(statement) is None:
        return False
    graph.replace(number, replace(statement, accumulate=False))
    return True


def _is_contribution(statement: Statement) -> bool:
    return statement.accumulate and statement.reduction is Reduction.NONE and plain_indices(statement) is not None


def _merge(graph: EquationGraph, first: Statement, second: Statement) -> Statement | None:
    mine, others = plain_indices(first), plain_indices(second)
    assert mine is not None
    assert others is not None
    second = _renamed(second, dict(zip(others, mine, strict=True)))
    if any(first.domain.range_of(i) != second.domain.range_of(i) for i in mine):
        return None
    common = set(first.guards) & set(second.guards)
    extra_first = tuple(g for g in first.guards if g not in common)
    extra_second = tuple(g for g in second.guards if g not in common)
    if extra_first and extra_second:
        return None
    if extra_first:
        first, second, extra_second = second, first, extra_first
    body = second.body
    if extra_second:
        guarded = _select(graph, body, extra_second, first)
        if guarded is None:
            return None
        body = guarded
    note = first.origin if first.origin == second.origin else Origin(layer=first.origin.layer, note=first.origin.note)
    return replace(first, body=tidy_body(first.body + body), origin=note)


def _renamed(statement: Statement, names: dict[Index, Index]) -> Statement:
    """Rename all indices at once; the statement's loop order is kept."""
    return statement.rename({old: new for old, new in names.items() if old != new})


def _select(graph: EquationGraph, body: Body, guards: tuple[Guard, ...], within: Statement) -> Body | None:
    """``select(guard, body, 0)`` with plain factors in front, for one guard ``left == right``."""
    if len(guards) != 1 or not isinstance(guards[0], Zero):
        return None
    domain = Domain(within.domain.ranges, within.guards)
    if not all(_is_inside(graph, r.tensor, r.subscripts, domain) for r in body.all_reads):
        return None
    value = guards[0].value
    left = Affine(tuple((m, c) for m, c in value.terms if c > 0))
    right = Affine(tuple((m, -c) for m, c in value.terms if c < 0))
    scale, rest = _split_scale(body)
    taken, one, other = sp.symbols("taken left right", real=True)
    chosen = Body.combine(
        select(sp.Eq(one, other), taken, sp.S.Zero) if rest.operands else select(sp.Eq(one, other), rest.expr, 0),
        {one: Body.of(left), other: Body.of(right), **({taken: rest} if rest.operands else {})},
    )
    return scale * chosen


def _split_scale(body: Body) -> tuple[Body, Body]:
    """Numbers and sizes in front, and what is left."""
    number, factors = body.factors()
    scale, rest = Body.of(number), Body.of(1)
    for factor in factors:
        if factor.reads or factor.indices:
            rest = rest * factor
        else:
            scale = scale * factor
    return scale, rest


def _is_inside(graph: EquationGraph, tensor: str, subscripts: tuple[Affine, ...], domain: Domain) -> bool:
    return all(
        bool(
            subscript.reads()
        )  # whole numbers that were read are below their bound; their own subscripts are checked too
        or (holds_everywhere(subscript, domain) and holds_everywhere(extent - 1 - subscript, domain))
        for subscript, extent in zip(subscripts, graph.tensors[tensor].shape, strict=True)
    )

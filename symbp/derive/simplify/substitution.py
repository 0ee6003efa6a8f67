"""Equations that say nothing go: constants, copies, and links of a chain that only one other equation reads.

    loss_bar = 1                         written into its readers
    z_bar[b, k] = a_bar[b, k]            its readers read a_bar
    o_bar = h_bar*tanh_c                 o_pre_bar = h_bar*tanh_c*o*(1 - o)
    o_pre_bar = o_bar*o*(1 - o)

An adjoint that a sum reads keeps its name: it is the delta that the weight gradient and the layer below share.
"""

from __future__ import annotations

from dataclasses import replace

import sympy as sp

from symbp.derive.definitions import binding, covers, is_map
from symbp.derive.simplify.graph import EquationGraph, rename_read, replace_element
from symbp.derive.simplify.reuse import ForwardValues
from symbp.derive.simplify.tidy import cost, tidy_body
from symbp.ir.affine import Index, Read
from symbp.ir.body import Body, slot
from symbp.ir.program import DType
from symbp.ir.statement import Reduction, Statement

#: The longest equation that inlining may make, in operations: what still reads as one line.
READABLE = 14


def drop_unread(graph: EquationGraph, number: int) -> bool:
    """A tensor that is neither read nor kept is not computed."""
    name = graph.statements[number].tensor
    if name in graph.keep or graph.readers_of(name):
        return False
    for writer in tuple(graph.writers[name]):
        graph.remove(writer)
    del graph.tensors[name]
    return True


def tidy_statement(graph: EquationGraph, number: int) -> bool:
    if number not in graph.backward:
        return False
    statement = graph.statements[number]
    body = tidy_body(statement.body)
    if body == statement.body:
        return False
    graph.replace(number, replace(statement, body=body))
    return True


def drop_zero(graph: EquationGraph, number: int) -> bool:
    """A contribution of 0 next to others adds nothing."""
    statement = graph.statements[number]
    if number not in graph.backward or statement.body.expr != 0 or len(graph.writers[statement.tensor]) == 1:
        return False
    graph.remove(number)
    return True


def inline_constant(graph: EquationGraph, number: int) -> bool:
    """Write a number, or a quotient of sizes, into the equations that read it."""
    statement = graph.statements[number]
    if number not in graph.backward or statement.body.reads or statement.body.indices:
        return False
    if statement.guards or not _is_removable_map(graph, number):
        return False
    name = statement.tensor
    changed = {n: replace_element(graph.statements[n], name, lambda _: statement.body) for n in graph.readers_of(name)}
    if any(new is None for new in changed.values()):
        return False
    for reader, new in changed.items():
        assert new is not None
        graph.replace(reader, new)
    graph.remove(number)
    del graph.tensors[name]
    return True


def remove_copy(graph: EquationGraph, number: int) -> bool:
    """``y[b, k] = x[b, k]``: everyone reads x."""
    statement = graph.statements[number]
    if not statement.body.is_read or statement.guards or not _is_removable_map(graph, number):
        return False
    source = statement.body.reads[0]
    plain = (s.as_index() is not None or s.is_constant for s in source.subscripts)
    simple = all(plain) if number not in graph.backward else not any(s.hidden_indices() for s in source.subscripts)
    if not simple or graph.tensors[source.tensor].dtype is not graph.tensors[statement.tensor].dtype:
        return False
    name = statement.tensor
    for reader in graph.readers_of(name):
        changed = rename_read(graph.statements[reader], name, lambda r: source.substitute(binding(statement, r)))
        graph.replace(reader, changed)
    graph.remove(number)
    del graph.tensors[name]
    return True


class InlineMaps:
    """Write an adjoint's equation into the equations that read it, where that gives plain equations."""

    def __init__(self, values: ForwardValues) -> None:
        self._values = values

    def __call__(self, graph: EquationGraph, number: int) -> bool:
        statement = graph.statements[number]
        if number not in graph.backward or not _is_removable_map(graph, number):
            return False
        readers = graph.readers_of(statement.tensor)
        changed: list[Statement] = []
        for reader in readers:
            new = self._into(graph.statements[reader], statement, alone=len(readers) == 1)
            if new is None:
                return False
            changed.append(new)
        for reader, new in zip(readers, changed, strict=True):
            graph.replace(reader, new)
        graph.remove(number)
        del graph.tensors[statement.tensor]
        return True

    def _into(self, reader: Statement, statement: Statement, *, alone: bool) -> Statement | None:
        """`reader` with the statement's body in place of its left-hand side, or None if that is not plainer."""
        elements = [r for r in reader.body.reads if r.tensor == statement.tensor]
        if reader.reduction is not Reduction.NONE or len(elements) != 1:
            return None
        element = elements[0]
        needed = statement.domain.substitute_guards(binding(statement, element))
        missing = tuple(g for g in needed if g not in reader.guards)
        if missing:
            # Outside the guards the element is 0, and so is what is proportional to it: the reader takes the guards on.
            if not _is_proportional(reader.body, element):
                return None
            reader = replace(reader, domain=replace(reader.domain, guards=(*reader.guards, *missing)))
        if cost(reader.body.expr) + cost(statement.body.expr) > 2 * READABLE:
            return None
        new = replace_element(reader, statement.tensor, lambda r: _body_at(statement, r))
        if new is None:
            return None
        body = self._values.reuse(tidy_body(new.body), reader.guards)
        before, after = cost(reader.body.expr), cost(body.expr)
        read_once = _indices(element) >= set(reader.free)
        if alone and read_once:
            limit = max(READABLE, before)
        else:
            # It will be computed at more elements, or in more places, than before.
            limit = before + 1
        return replace(new, body=body) if after <= limit else None


def _body_at(statement: Statement, read: Read) -> Body:
    return statement.body.substitute(binding(statement, read))


def _is_proportional(body: Body, element: Read) -> bool:
    symbol = slot(body.operands.index(element))
    return bool(body.expr.xreplace({symbol: sp.S.Zero}) == 0)


def _is_removable_map(graph: EquationGraph, number: int) -> bool:
    """True if it alone defines its tensor, element by element (guards aside), and the tensor need not stay."""
    statement = graph.statements[number]
    tensor = graph.tensor_of(number)
    single = graph.definition(statement.tensor) is not None and statement.reduction is Reduction.NONE
    # Alone, `+=` sets the element: it starts from 0.
    return (
        single
        and statement.tensor not in graph.keep
        and (is_map(statement) or number in graph.backward)
        and tensor.dtype is DType.FLOAT
        and statement.tensor not in statement.tensors_read
        and covers(statement, tensor)
    )


def _indices(read: Read) -> set[Index]:
    return {i for s in read.subscripts for i in s.plain_indices()}

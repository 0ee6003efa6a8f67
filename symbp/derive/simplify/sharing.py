"""Two tensors that are defined by the same equation are one."""

from __future__ import annotations

from symbp.derive.definitions import canonical, covers, plain_indices
from symbp.derive.simplify.graph import EquationGraph, rename_read
from symbp.ir.affine import Read


def share_equal(graph: EquationGraph) -> None:
    """Let everyone read the first of several tensors with equal equations; the others go, unless they are kept."""
    first: dict[object, int] = {}
    for number in graph.in_order():
        statement = graph.statements[number]
        tensor = graph.tensor_of(number)
        if graph.definition(statement.tensor) is None or not covers(statement, tensor):
            continue
        indices = plain_indices(statement)
        assert indices is not None
        order = (*indices, *statement.reduced)
        key = (canonical(statement.body, order, statement.domain), statement.reduction, tensor.shape, tensor.dtype)
        other = first.setdefault(key, number)
        if other == number or statement.tensor in graph.keep or not _may_replace(graph, other, number):
            continue
        name, same = statement.tensor, graph.statements[other].tensor
        for reader in graph.readers_of(name):
            changed = rename_read(
                graph.statements[reader],
                name,
                lambda r, same=same: Read(same, r.subscripts),  # type: ignore[misc]
            )
            graph.replace(reader, changed)
        graph.remove(number)
        del graph.tensors[name]


def _may_replace(graph: EquationGraph, other: int, number: int) -> bool:
    """False where a forward tensor would become one of the backward pass."""
    return number in graph.backward or other not in graph.backward

"""Lay the steps of a recurrence before its samples: ``h[t, b, k]`` for ``h[b, t, k]``.

What one step reads and writes then lies together, and steps follow each other as rows of one matrix do: the gradient of
a recurrent weight, ``sum[t, b] h[t, b, l]*a_bar[t, b, q]``, is one matrix product, where ``h[b, t, l]``, which has a
step more than there are gates, made one for each sample. What comes from outside or is handed out keeps its axes.
"""

from __future__ import annotations

from dataclasses import replace

from symbp.ir.affine import Read
from symbp.ir.order import Scan, order
from symbp.ir.program import Program, Tensor
from symbp.ir.statement import Statement


def lay_steps_first(program: Program) -> Program:
    """The program with the first two axes swapped of everything that a recurrence along the second takes part in."""
    kept = {*program.outputs, program.loss}
    can = {t.name for t in program.tensors if t.rank > 1 and program.definitions(t.name) and t.name not in kept}
    scans = [step for step in order(program) if isinstance(step, Scan)]
    swapped = {name for scan in scans for name, axis in scan.axes if axis == 1} & can
    if not swapped or any(axis != 1 for scan in scans for name, axis in scan.axes if name in can):
        return program
    swapped = _spread(program, swapped, can)
    tensors = tuple(_swapped_tensor(t) if t.name in swapped else t for t in program.tensors)
    return replace(program, tensors=tensors, statements=tuple(_swap(s, swapped) for s in program.statements))


def _spread(program: Program, swapped: set[str], can: set[str]) -> set[str]:
    """From what the recurrences make to whatever walks the same samples and steps beside it."""
    swapped = set(swapped)
    grows = True
    while grows:
        grows = False
        for statement in program.statements:
            elements = [r for r in (statement.target, *statement.reads) if r.tensor in can]
            walks = {w for r in elements if r.tensor in swapped and (w := _walk(r)) is not None}
            for element in elements:
                if element.tensor not in swapped and _walk(element) in walks:
                    swapped.add(element.tensor)
                    grows = True
    return swapped


def _walk(element: Read) -> tuple[str, str] | None:
    """The indices of the first two axes, if each of them has one: samples and steps."""
    first, second = (s.plain_indices() for s in element.subscripts[:2])
    return (first[0].name, second[0].name) if len(first) == len(second) == 1 else None


def _swapped_tensor(tensor: Tensor) -> Tensor:
    axes = (*tensor.axes[1::-1], *tensor.axes[2:]) if len(tensor.axes) > 1 else tensor.axes
    return replace(tensor, shape=(tensor.shape[1], tensor.shape[0], *tensor.shape[2:]), axes=axes)


def _swap(statement: Statement, names: set[str]) -> Statement:
    """The statement with the first two subscripts of each of the tensors swapped."""

    def swap(element: Read) -> Read:
        if element.tensor not in names:
            return element
        first, second, *rest = element.subscripts
        return Read(element.tensor, (second, first, *rest))

    return statement.map_elements(swap)

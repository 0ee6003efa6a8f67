"""The derivative of a maximum: where it is taken on.

    y[I] = max[R] f(I, R)        ==>        y_argmax[I] = argmax[R] f(I, R)      and the guard  flat(R) == y_argmax[I]

The position is row-major over the reduced indices, counted from the start of their ranges; at a tie the first wins.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from symbp.ir import ONE, ZERO, DType, Program, Read, Reduction, Role, Statement, Tensor, Zero


@dataclass
class Maxima:
    """The argmax statements that a derivation needs, made once for each maximum."""

    program: Program
    fresh: Callable[[str], str]
    tensors: list[Tensor] = field(default_factory=list)
    statements: list[Statement] = field(default_factory=list)

    def guard(self, statement: Statement) -> Zero:
        """The guard that holds at the element that gives ``statement``, a maximum, its value."""
        position, stride = ZERO, ONE
        for index in reversed(statement.reduced):
            reduced = statement.domain.range_of(index)
            position = position + stride * (index - reduced.lower)
            stride = stride * reduced.extent
        return Zero(position - Read(self._argmax(statement), statement.subscripts))

    def _argmax(self, statement: Statement) -> str:
        """The tensor that holds the positions of `statement`'s maxima; all maxima of one tensor share it."""
        wanted = replace(statement, reduction=Reduction.ARGMAX)
        for known in (*self.program.statements, *self.statements):
            if known.reduction is Reduction.ARGMAX and replace(known, tensor=wanted.tensor) == wanted:
                return known.tensor
        of = self.program.tensor(statement.tensor)
        name = next((t.name for t in self.tensors if t.primal == of.name), None)
        if name is None:
            name = self.fresh(f"{of.name}_argmax")
            self.tensors.append(Tensor(name, of.shape, Role.ACTIVATION, of.axes, DType.INT, primal=of.name))
        note = f"where {of.name} takes its maximum"
        self.statements.append(replace(wanted, tensor=name, origin=replace(statement.origin, note=note)))
        return name

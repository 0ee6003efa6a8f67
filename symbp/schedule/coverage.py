"""Which writes may set, which must add, and which tensors must be cleared first.

An adjoint is zero outside its written domain, and its contributions may come in any number. A buffer, however, holds
whatever was there before. So: a statement that is provably the first to write its elements sets them; a tensor that
such statements do not cover completely is filled with zeros beforehand.
"""

from __future__ import annotations

from collections.abc import Sequence

from symbp.ir.affine import ONE, Affine
from symbp.ir.program import Tensor
from symbp.ir.statement import Statement
from symbp.ir.verify import are_disjoint
from symbp.schedule.lower import free_guards, needs_zero


def plan_writes(statements: Sequence[Statement], tensor: Tensor) -> tuple[tuple[bool, ...], bool]:
    """For the statements of one tensor, in the order they run: may each set its elements, and is a fill needed?"""
    sets: list[bool] = []
    for k, statement in enumerate(statements):
        first = all(are_disjoint(statement, earlier) for earlier in statements[:k])
        sets.append(not statement.accumulate or (first and not needs_zero(statement)))
    setting = [s for s, may_set in zip(statements, sets, strict=True) if may_set]
    if _covered(setting, tensor):
        return tuple(sets), False
    return tuple(not s.accumulate for s in statements), True


def _covered(statements: Sequence[Statement], tensor: Tensor) -> bool:
    """True if the statements together write every element: each whole on all axes but one, which they share out."""
    if not tensor.shape:
        return any(not free_guards(s) for s in statements)
    spans = [s for s in map(_spans, statements) if s is not None]
    whole = [tuple((Affine(()), extent) for extent in tensor.shape)]
    if any(s == w for s in spans for w in whole):
        return True
    for axis in range(tensor.rank):
        others = [s for s in spans if all(s[a] == whole[0][a] for a in range(tensor.rank) if a != axis)]
        position, remaining = Affine(()), list(others)
        while (following := next((s for s in remaining if s[axis][0] == position), None)) is not None:
            position = following[axis][1]
            remaining.remove(following)
            if position == tensor.shape[axis]:
                return True
    return False


def _spans(statement: Statement) -> tuple[tuple[Affine, Affine], ...] | None:
    """The box a statement writes, if it writes all of it: every axis a constant, or an index of its own."""
    if free_guards(statement):
        return None
    spans = []
    seen = set()
    for subscript in statement.subscripts:
        running = subscript.indices()
        if not running:
            spans.append((subscript, subscript + 1))
            continue
        if len(running) > 1 or running[0] in seen or subscript.coefficient(running[0]) != ONE:
            return None
        seen.add(running[0])
        loop, shift = statement.domain.range_of(running[0]), subscript.without(running[0])
        spans.append((loop.lower + shift, loop.stop + shift))
    return tuple(spans)

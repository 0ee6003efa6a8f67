"""Which writes may set, which must add, and which tensors must be cleared first.

An adjoint is zero outside its written domain, and its contributions may come in any number. A buffer, however, holds
whatever was there before. So: a statement that is provably the first to write its elements sets them; a tensor that
such statements do not cover completely is filled with zeros beforehand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from symbp.ir.affine import ONE, Affine, Index
from symbp.ir.bounds import holds_everywhere, is_implied
from symbp.ir.order import Scan
from symbp.ir.program import Tensor
from symbp.ir.statement import Domain, Statement
from symbp.ir.verify import are_disjoint
from symbp.schedule.lower import free_guards, needs_zero


def plan_writes(
    statements: Sequence[Statement],
    tensor: Tensor,
    readers: Sequence[Statement] | None,
    carriers: Sequence[Scan | None] = (),
) -> tuple[tuple[bool, ...], bool]:
    """For the statements of one tensor, in the order they run: may each set its elements, and is a fill needed?

    `readers` is None for a tensor that the caller sees, whose gaps must be 0 whatever the program reads. `carriers`
    says which scan each statement is part of, if any is.
    """
    scans = carriers or (None,) * len(statements)
    sets: list[bool] = []
    for k, statement in enumerate(statements):
        sets.append(not statement.accumulate or (_comes_first(k, statements, scans) and not needs_zero(statement)))
    setting = [s for s, may_set in zip(statements, sets, strict=True) if may_set]
    if _covered(setting, tensor):
        return tuple(sets), False
    is_set_once = len(statements) == 1 and not statements[0].accumulate
    if is_set_once and readers is not None and _gaps_are_unread(statements[0], readers):
        return (True,), False
    return tuple(not s.accumulate for s in statements), True


def _comes_first(k: int, statements: Sequence[Statement], scans: Sequence[Scan | None]) -> bool:
    """True if no other statement has written to the elements of the k-th when it does.

    The statements of a scan take turns, so that a later one may have been there at an earlier step: two that share
    elements must meet in the same step.
    """
    mine, scan = statements[k], scans[k]
    for j, other in enumerate(statements):
        if j == k or are_disjoint(mine, other):
            continue
        in_one_scan = scan is not None and scans[j] is scan
        if j < k or (in_one_scan and not _meet_in_one_step(mine, other, scan)):
            return False
    return True


def _meet_in_one_step(one: Statement, other: Statement, scan: Scan | None) -> bool:
    """True if along some axis both write at the same place at each step: ``h_bar[t + 1]`` and ``h_bar[t + 1]``."""
    step = scan.index if scan is not None else None
    return any(a == b and a.indices() == (step,) for a, b in zip(one.subscripts, other.subscripts, strict=True))


def _gaps_are_unread(statement: Statement, readers: Sequence[Statement]) -> bool:
    """True if every reader visits only what the statement writes: its guards imply the statement's.

    The scores of causal attention are written where ``j <= i`` and read under the same guard.
    """
    indices = [s.as_index() for s in statement.subscripts]
    if None in indices or len(set(indices)) < len(indices) or set(indices) != set(statement.free):
        return False
    guards = free_guards(statement)
    for reader in readers:
        apart = statement.rename_apart(reader.indices)
        names = dict(zip((s.as_index() for s in apart.subscripts), range(len(indices)), strict=True))
        for read in reader.reads:
            if read.tensor != statement.tensor:
                continue
            mapping = {i: read.subscripts[axis] for i, axis in names.items() if i is not None}
            needed = [g.substitute(mapping) for g in free_guards(apart)]
            if not all(g in reader.guards or is_implied(g, reader.domain.ranges) for g in needed):
                return False
            if not _within(apart, mapping, reader):
                return False
    return bool(guards)


def _within(statement: Statement, mapping: Mapping[Index, Affine], reader: Statement) -> bool:
    """True if the reader's subscripts stay in the box that the statement writes."""
    for index, value in mapping.items():
        loop = statement.domain.range_of(index)
        for inside in (value - loop.lower, loop.stop - 1 - value):
            if not holds_everywhere(inside, reader.domain):
                return False
    return True


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


def writes_whole(statement: Statement, tensor: Tensor) -> bool:
    """True if the statement writes every element of its tensor, each of them once."""
    return _covered([statement], tensor)


def _spans(statement: Statement) -> tuple[tuple[Affine, Affine], ...] | None:
    """The box a statement writes, if it writes all of it: every axis a constant, or indices of its own."""
    if free_guards(statement):
        return None
    spans = []
    seen: set[Index] = set()
    for subscript in statement.subscripts:
        running = subscript.indices()
        span = _span(subscript, statement.domain)
        if span is None or seen & set(running):
            return None
        seen.update(running)
        spans.append(span)
    return tuple(spans)


def _span(subscript: Affine, domain: Domain) -> tuple[Affine, Affine] | None:
    """The stretch ``[lower, stop)`` that a subscript runs through without a gap.

    Several indices do so if they count like digits: each steps over all that those before it cover, ``25*o + 5*p + q``.
    """
    left = list(subscript.indices())
    lower, step = subscript, ONE
    while left:
        index = next((i for i in left if subscript.coefficient(i) == step), None)
        if index is None:
            return None
        left.remove(index)
        loop = domain.range_of(index)
        lower = lower.without(index) + step * loop.lower
        step = step * loop.extent
    return lower, lower + step

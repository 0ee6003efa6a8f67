"""Fuse loop nests that walk the same range, as long as each iteration stays by itself.

Two neighbouring loops become one if everything that one writes and the other touches is met in the same iteration
only. Bodies are then fused in turn, so that a softmax becomes one loop over rows with short loops inside. A matrix
product stands alone, as nothing measurable is won by fusing into it; but many small ones in a loop (the heads of
attention) are fused around, so that what one of them makes is in the cache when it is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from symbp.ir.nodes import BEST, PLACE, TOTAL, Contract, Fill, Loop, Node, Note, Product, Slide
from symbp.ir.plan import Kind, Nest
from symbp.ir.statement import fresh_index
from symbp.ir.trace import counted, tell
from symbp.ir.walk_nodes import rename_index, walk
from symbp.schedule.access import conflict, loop_indices, same_iteration, touched
from symbp.schedule.regions import turns_stay_apart

#: Local scalars of a nest: set before they are read in every iteration, so sharing a loop does no harm.
PRIVATE = frozenset(local.tensor for local in (TOTAL, BEST, PLACE))

#: How many nests may be moved ahead to bring two others together; farther apart, nothing is left in the cache.
FARTHEST = 4


def fuse_nests(
    nests: Iterable[Nest], agrees: Callable[[Nest, Nest, Nest], bool] = lambda one, other, both: True
) -> tuple[Nest, ...]:
    """Merge each nest into the nearest earlier one it can share a loop with, if `agrees` says so of the two and both.

    What lies between and does not concern it stays; what it depends on moves ahead of both, if the earlier nest does
    not concern that.
    """
    nests = tuple(nests)
    result: list[_Entry] = []
    for nest in nests:
        entry = _Entry.of(nest)
        ahead: list[_Entry] = []  # nests between that must run before this one
        place = None
        for k in range(len(result) - 1, -1, -1):
            candidate = result[k]
            if not any(map(candidate.conflicts, ahead)):
                merged = _merge(candidate.nest, nest)
                if merged is not None and not agrees(candidate.nest, nest, merged):
                    merged = None
                if k + 1 < len(result) and entry.multiplies and not candidate.multiplies:
                    merged = None  # its neighbours are to come, and need what lies between
                if merged is not None:
                    place = k
                    break
                if not candidate.conflicts(entry):
                    continue
            ahead.insert(0, candidate)
            if len(ahead) > FARTHEST:
                break
        if place is None or merged is None:
            result.append(entry)
        else:
            moved = {id(e) for e in ahead}
            result[place:] = [*ahead, _Entry.of(merged), *(e for e in result[place + 1 :] if id(e) not in moved)]
    if any(nest.statements for nest in nests):  # else these are the loops of one step of a scan
        tell("fuse_nests", counted(len(nests), "nest"), counted(len(result), "nest"))
    return tuple(e.nest for e in result)


@dataclass(frozen=True, slots=True)
class _Entry:
    """A nest with the names that it touches."""

    nest: Nest
    reads: frozenset[str]
    writes: frozenset[str]
    multiplies: bool  # products of matrices, within a loop

    @staticmethod
    def of(nest: Nest) -> _Entry:
        read, written = touched(nest.nodes)
        loops = (n for n in nest.nodes if isinstance(n, Loop))
        multiplies = any(isinstance(n, Product) for n in walk(loops))
        return _Entry(nest, frozenset(read - PRIVATE), frozenset(written - PRIVATE), multiplies)

    def conflicts(self, other: _Entry) -> bool:
        """True if one writes what the other touches."""
        return not (
            self.writes.isdisjoint(other.reads)
            and self.writes.isdisjoint(other.writes)
            and other.writes.isdisjoint(self.reads)
        )


def _merge(one: Nest, other: Nest) -> Nest | None:
    if Kind.SCAN in (one.kind, other.kind) or any(map(_stands_alone, (one.nodes, other.nodes))):
        return None
    head, first = _split(one.nodes)
    lead, second = _split(other.nodes)
    if first is None or second is None or (first.lower, first.stop) != (second.lower, second.stop):
        return None
    if conflict(lead, (*head, first), PRIVATE):
        return None  # what the second nest fills beforehand must not be touched by the first
    fused = fuse_loops(first, second)
    if fused is None:
        return None
    kind = one.kind if one.kind is not Kind.MAP else other.kind
    return Nest(one.statements + other.statements, (*head, *lead, fused), kind)


def _split(nodes: tuple[Node, ...]) -> tuple[tuple[Node, ...], Loop | None]:
    """What a nest clears or multiplies at its start, and the loop that follows, if that is all there is."""
    notes = tuple(n for n in nodes if isinstance(n, Note))
    rest = tuple(n for n in nodes if not isinstance(n, Note))
    if not rest or not isinstance(rest[-1], Loop) or not all(isinstance(n, Fill | Product) for n in rest[:-1]):
        return rest[:-1], None
    return rest[:-1], replace(rest[-1], body=(*notes, *rest[-1].body))


def fuse_loops(one: Loop, other: Loop) -> Loop | None:
    """One loop for two, or None."""
    if (one.lower, one.stop, one.step) != (other.lower, other.stop, other.step):
        return None
    clash = {one.index} & (loop_indices(other.body) - {other.index})
    body = other.body
    if other.index != one.index:
        for index in clash:
            fresh = fresh_index(index.name, {*loop_indices(one.body), *loop_indices(body), one.index, other.index})
            body = rename_index(body, index, fresh)
        body = rename_index(body, other.index, one.index)
    meeting = conflict(one.body, body, PRIVATE)
    if meeting and not same_iteration(one.body, body, one.index, meeting):
        # Elsewhere one subscript says it; looking closer costs time and finds nothing.
        around_products = any(isinstance(n, Product) for n in walk((*one.body, *body)))
        if not around_products or not turns_stay_apart(one.body, body, one, meeting):
            return None
    return replace(one, body=_fuse_bodies(one.body, body))


def _fuse_bodies(one: tuple[Node, ...], other: tuple[Node, ...]) -> tuple[Node, ...]:
    """The nodes in order; the last loop of the first and the first loop of the second become one if they may."""
    other_notes = tuple(n for n in other if isinstance(n, Note))
    rest = tuple(n for n in other if not isinstance(n, Note))
    if one and len(rest) == 1 and isinstance(one[-1], Loop) and isinstance(rest[0], Loop):
        start = len(one) - 1
        while start > 0 and isinstance(one[start - 1], Note):
            start -= 1
        only_loop = all(isinstance(n, Note) for n in one[start:-1])
        first = replace(one[-1], body=(*one[start:-1], *one[-1].body)) if only_loop else one[-1]
        fused = fuse_loops(first, replace(rest[0], body=(*other_notes, *rest[0].body)))
        if fused is not None:
            return (*one[:start], fused)
    return (*one, *other)


def _stands_alone(nodes: Iterable[Node]) -> bool:
    return any(isinstance(n, Slide | Contract) for n in walk(nodes))

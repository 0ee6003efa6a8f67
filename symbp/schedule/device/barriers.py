"""Put a barrier wherever a thread touches what another thread of its team may have written, or the other way round.

Between two barriers, two accesses of one element are safe if neither writes, or if one thread makes both: the first
thread of the team (`Once`), or the thread that a point of one and the same box falls to (`Share`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from symbp.ir.affine import Affine, Index
from symbp.ir.nodes import Barrier, Bound, Combine, If, Loop, Node, Note, Once, Share
from symbp.ir.plan import Team
from symbp.schedule.access import Access, accesses

Box = tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True)
class _Touch:
    """An access since the last barrier, and which threads made it.

    `by` is "once", "all", or the box that was dealt out; subscripts are then written with the box's axes as ``#0, #1``.
    """

    tensor: str
    subscripts: tuple[str, ...] | None
    writes: bool
    by: str | Box


def place_barriers(nodes: Iterable[Node], team: Team, in_memory: frozenset[str]) -> tuple[Node, ...]:
    """The nodes with a `Barrier` before each that needs one. `in_memory` are the scalars that live in memory."""
    return _Placer(team, in_memory).place(tuple(nodes), [])


@dataclass(frozen=True, slots=True)
class _Placer:
    team: Team
    in_memory: frozenset[str]

    def place(self, nodes: tuple[Node, ...], seen: list[_Touch]) -> tuple[Node, ...]:
        """The nodes with barriers; `seen` is changed to what has been touched since the last one."""
        result: list[Node] = []
        for node in nodes:
            if isinstance(node, Loop):
                self._guard(result, node.lower, node.stop, seen)
                body = self._closed_loop(node.body, seen)
                result.append(replace(node, body=body))
            elif isinstance(node, If):
                self._meet(result, self._touches(If(node.guards, ())), seen)
                # Whether or not the body ran: what it touched counts, and a barrier in it does not.
                inside = list(seen)
                body = self.place(node.body, inside)
                seen += [t for t in inside if t not in seen]
                result.append(If(node.guards, body))
            elif isinstance(node, Combine):
                result.append(node)
                if self.team is not Team.WARP:  # the sum over a block has barriers of its own
                    seen.clear()
            elif isinstance(node, Barrier):
                result.append(node)
                seen.clear()
            elif isinstance(node, Note):
                result.append(node)
            else:
                self._meet(result, self._touches(node), seen)
                result.append(node)
        return tuple(result)

    def _guard(self, result: list[Node], lower: Bound, stop: Bound, seen: list[_Touch]) -> None:
        reads = [r for bound in (lower, stop) for v in bound.values for r in v.reads()]
        self._meet(result, [_Touch(r.tensor, tuple(map(str, r.subscripts)), False, "all") for r in reads], seen)

    def _closed_loop(self, body: tuple[Node, ...], seen: list[_Touch]) -> tuple[Node, ...]:
        """A loop's body, with a barrier at its end if one turn would meet the next without one."""
        placed = self.place(body, seen)
        again = list(seen)
        if self.place(placed, again) != placed:
            placed = (*placed, Barrier())
            seen.clear()
        return placed

    def _meet(self, result: list[Node], touches: list[_Touch], seen: list[_Touch]) -> None:
        if any(_clash(new, old) for new in touches for old in seen):
            result.append(Barrier())
            seen.clear()
        seen += [t for t in touches if t not in seen]

    def _touches(self, node: Node) -> list[_Touch]:
        axes: list[Index] = [axis.index for axis in node.axes] if isinstance(node, Share) else []
        by: str | Box = "all"
        if isinstance(node, Once):
            by = "once"
        elif isinstance(node, Share):
            by = tuple((tuple(map(str, a.lower.values)), tuple(map(str, a.stop.values))) for a in node.axes)
        names = {index: Affine.of(Index(f"#{k}")) for k, index in enumerate(axes)}
        found: dict[_Touch, None] = {}
        for access in accesses((node,)):
            if self._is_memory(access):
                subscripts = None
                if access.subscripts is not None:
                    subscripts = tuple(str(s.substitute(names)) for s in access.subscripts)
                found[_Touch(access.tensor, subscripts, access.writes, by)] = None
        return list(found)

    def _is_memory(self, access: Access) -> bool:
        return access.subscripts is None or bool(access.subscripts) or access.tensor in self.in_memory


def _clash(new: _Touch, old: _Touch) -> bool:
    """True if two different threads may touch one element, and one of them writes."""
    if new.tensor != old.tensor or not (new.writes or old.writes):
        return False
    if new.by == old.by == "once":
        return False
    dealt = isinstance(new.by, tuple) and new.by == old.by
    # In a box an element with the same subscripts falls to the same thread, if they tell all its points apart.
    same_thread = dealt and new.subscripts == old.subscripts and _names_all(new)
    return not same_thread


def _names_all(touch: _Touch) -> bool:
    assert isinstance(touch.by, tuple)
    text = " ".join(touch.subscripts or ())
    return all(f"#{k}" in text for k in range(len(touch.by)))

"""Put a barrier wherever a thread touches what another thread of its team may have written, or the other way round.

Between two barriers, two accesses of one element are safe if neither writes, or if one thread makes both: the first
thread of the team (`Once`), or the thread that a point of one and the same box falls to (`Share`). What one step of a
scan has touched meets the next step, with the step's index counted back by one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from symbp.ir.affine import Affine, Index
from symbp.ir.nodes import Barrier, Bound, Combine, If, Loop, Node, Note, Once, Share
from symbp.ir.plan import Team
from symbp.schedule.access import Access, accesses

Box = tuple[tuple[Bound, Bound], ...]


@dataclass(frozen=True, slots=True)
class _Touch:
    """An access since the last barrier, and which threads made it.

    `by` is "once", "all", or the box that was dealt out; subscripts are then written with the box's axes as ``#0, #1``.
    `steady` are the axes whose subscript is the same for every thread at that time.
    """

    tensor: str
    subscripts: tuple[Affine, ...] | None
    writes: bool
    by: str | Box
    steady: tuple[int, ...] = ()

    def at_turn(self, index: Index, turn: Affine) -> _Touch:
        """The same access when the loop over `index` is at another turn."""
        if self.subscripts is None:
            return self
        return replace(self, subscripts=tuple(s.substitute({index: turn}) for s in self.subscripts))


def place_barriers(
    nodes: Iterable[Node], team: Team, in_memory: frozenset[str], agreed: Iterable[Index] = ()
) -> tuple[Node, ...]:
    """The nodes with a `Barrier` before each that needs one.

    `in_memory` are the scalars that live in memory, `agreed` the indices that all threads of the team agree on.
    """
    return _Placer(team, in_memory, frozenset(agreed)).place(tuple(nodes), [])


@dataclass(frozen=True, slots=True)
class _Placer:
    team: Team
    in_memory: frozenset[str]
    agreed: frozenset[Index]

    def place(self, nodes: tuple[Node, ...], seen: list[_Touch]) -> tuple[Node, ...]:
        """The nodes with barriers; `seen` is changed to what has been touched since the last one."""
        result: list[Node] = []
        for node in nodes:
            if isinstance(node, Loop):
                self._guard(result, node.lower, node.stop, seen)
                inner = replace(self, agreed=self.agreed | {node.index})
                result.append(replace(node, body=inner._closed_loop(node, seen)))
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
        self._meet(result, [self._touch(r.tensor, r.subscripts, False, "all", {}) for r in reads], seen)

    def _closed_loop(self, loop: Loop, seen: list[_Touch]) -> tuple[Node, ...]:
        """A loop's body, with a barrier at its end if one turn would meet the next without one."""
        placed = self.place(loop.body, seen)
        # With a barrier in each turn only the turn just before is still to be met, else any earlier one.
        apart = any(isinstance(n, Barrier) for n in placed)
        before = loop.index - loop.step if apart else Affine.of(Index(f"{loop.index}~"))
        seen[:] = [t.at_turn(loop.index, before) for t in seen]
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
            by = tuple((a.lower, a.stop) for a in node.axes)
        names = {index: Affine.of(Index(f"#{k}")) for k, index in enumerate(axes)}
        found: dict[_Touch, None] = {}
        for access in accesses((node,)):
            if self._is_memory(access):
                found[self._touch(access.tensor, access.subscripts, access.writes, by, names)] = None
        return list(found)

    def _touch(
        self,
        tensor: str,
        subscripts: tuple[Affine, ...] | None,
        writes: bool,
        by: str | Box,
        names: Mapping[Index, Affine],
    ) -> _Touch:
        if subscripts is None:
            return _Touch(tensor, None, writes, by)
        steady = (k for k, s in enumerate(subscripts) if not s.reads() and set(s.indices()) <= self.agreed)
        return _Touch(tensor, tuple(s.substitute(names) for s in subscripts), writes, by, tuple(steady))

    def _is_memory(self, access: Access) -> bool:
        return access.subscripts is None or bool(access.subscripts) or access.tensor in self.in_memory


def _clash(new: _Touch, old: _Touch) -> bool:
    """True if two different threads may touch one element, and one of them writes."""
    if new.tensor != old.tensor or not (new.writes or old.writes):
        return False
    if new.by == old.by == "once" or _are_apart(new, old):
        return False
    return not (isinstance(new.by, tuple) and new.by == old.by and _is_one_thread(new, old))


def _is_one_thread(new: _Touch, old: _Touch) -> bool:
    """True if an element that points of one box touch twice falls to the same thread both times.

    It does if some axis names a point's place alone, for each axis of the box, or if all subscripts are the same.
    """
    if new.subscripts is None or old.subscripts is None:
        return False
    assert isinstance(new.by, tuple)
    alike = [a for a, b in zip(new.subscripts, old.subscripts, strict=True) if a == b]
    places = [Index(f"#{k}") for k in range(len(new.by))]
    if all(any(s.as_index() == place for s in alike) for place in places):
        return True
    named = {i for s in alike for i in s.indices()}
    return len(alike) == len(new.subscripts) and set(places) <= named


def _are_apart(new: _Touch, old: _Touch) -> bool:
    """True if along some axis the two are at different places: ``h[t + 1]`` and ``h[t]``."""
    if new.subscripts is None or old.subscripts is None:
        return False
    both = set(new.steady) & set(old.steady)
    apart = (new.subscripts[k] - old.subscripts[k] for k in sorted(both))
    return any(d.is_constant and int(d) for d in apart)

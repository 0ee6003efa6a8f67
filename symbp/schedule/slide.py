"""Sums of products in which something slides over something else, and samples lie side by side, as one call.

    z[o, p, q, b] = sum[c, u, v] x[c, p + u, q + v, b]*K[o, c, u, v]                 lanes in x and z
    K_bar[o, c, u, v] = sum[p, q, b] x[c, p + u, q + v, b]*z_bar[o, p, q, b]         lanes in x and z_bar, summed

The runtime is told the subscripts. A guard that keeps one inside its axis is left to it, as it passes over what lies
outside: padding, and the edges in the gradient of the input. Which statement is of this form is decided by its
subscripts alone.
"""

from __future__ import annotations

from dataclasses import dataclass

from symbp.ir.affine import ZERO, Affine, Index, Read
from symbp.ir.body import slot
from symbp.ir.nodes import Slide, Sliding
from symbp.ir.program import Program
from symbp.ir.statement import Guard, NonNegative, Range, Reduction, Statement

#: What the runtime's functions can take; more indices become loops around the call.
MOST_PLACES, LONGEST_WINDOW = 3, 4


@dataclass(frozen=True, slots=True)
class SlidingSum:
    """Loops over `around`, outermost first, about one call."""

    around: tuple[Index, ...]
    node: Slide


def as_slide(statement: Statement, program: Program, *, sets: bool = True) -> SlidingSum | None:
    """The statement as a call of the runtime, or None. It overwrites if `sets`, else it adds."""
    body = statement.body
    if statement.reduction is not Reduction.SUM or body.expr != slot(0) * slot(1):
        return None
    reads = [o for o in body.operands if isinstance(o, Read)]
    if len(reads) != 2 or statement.tensor in (reads[0].tensor, reads[1].tensor):
        return None
    if not any(len(s.indices()) > 1 for r in reads for s in r.subscripts):
        return None
    if any(s.reads() or s.hidden_indices() for r in (statement.target, *reads) for s in r.subscripts):
        return None
    if any(r.lower.indices() or r.stop.indices() for r in statement.domain.ranges):
        return None
    for lane in statement.indices:
        with_lanes = [r for r in (statement.target, *reads) if _ends_with(r, lane, statement, program)]
        alone = [r for r in (statement.target, *reads) if all(lane not in s.indices() for s in r.subscripts)]
        if len(with_lanes) == 2 and len(alone) == 1:
            left, right = reads
            if lane in statement.reduced:
                turned = _slides(left) and not _slides(right)
            else:
                turned = lane in _indices(left)
            terms = _Terms(statement, program, lane, *((right, left) if turned else (left, right)))
            return terms.summed(sets) if lane in statement.reduced else terms.made(sets)
    return None


def _ends_with(read: Read, lane: Index, statement: Statement, program: Program) -> bool:
    """True if the whole last axis of what is read counts lanes, and no other axis does."""
    if not read.subscripts or read.subscripts[-1].as_index() != lane:
        return False
    if any(lane in s.indices() for s in read.subscripts[:-1]):
        return False
    loop = statement.domain.range_of(lane)
    return loop.lower == ZERO and loop.stop == program.tensor(read.tensor).shape[-1]


def _indices(read: Read) -> tuple[Index, ...]:
    return tuple(dict.fromkeys(i for s in read.subscripts for i in s.indices()))


def _slides(read: Read) -> bool:
    return any(len(s.indices()) > 1 for s in read.subscripts)


@dataclass(frozen=True)
class _Terms:
    """A statement as the runtime sees it: `right` has the samples of the result, or slides over what is summed."""

    statement: Statement
    program: Program
    lane: Index
    left: Read
    right: Read

    def made(self, sets: bool) -> SlidingSum | None:
        """Each lane of the result by itself: the reduced indices are the window."""
        free = [i for i in self.statement.free if i != self.lane]
        # With another row every tap stays where it is: what moves the kernel under its bounds is a place.
        rows = [i for i in free if i in _indices(self.left) and i not in _indices(self.right) and not self._slid(i)]
        row = max(rows, key=self._count, default=None)
        places = [i for i in free if i != row]
        around = places[: max(len(places) - MOST_PLACES, 0)]
        return self._sliding(around, places[len(around) :], list(self.statement.reduced), sets)

    def summed(self, sets: bool) -> SlidingSum | None:
        """The sum over all lanes: the free indices that move what slides are the window."""
        free = list(self.statement.free)
        rows = [i for i in free if i not in _indices(self.right)]
        row = max(rows, key=self._count, default=None)
        window = [i for i in free if i not in _indices(self.left)]
        around = [i for i in free if i != row and i not in window]
        around += window[: max(len(window) - LONGEST_WINDOW, 0)]
        places = [i for i in self.statement.reduced if i != self.lane]
        return self._sliding(around, places, [i for i in window if i not in around], sets)

    def _slid(self, index: Index) -> bool:
        """True if it is one of several parts of a subscript of a factor."""
        return any(index in s.indices() and s.as_index() is None for r in (self.left, self.right) for s in r.subscripts)

    def _count(self, index: Index) -> int:
        extent = self._range(index).extent
        return int(extent) if extent.is_constant else 1 << 40

    def _range(self, index: Index) -> Range:
        return self.statement.domain.range_of(index)

    def _sliding(self, around: list[Index], places: list[Index], window: list[Index], sets: bool) -> SlidingSum | None:
        """The call for what is inside the loops `around`; None if its subscripts do not tell all."""
        if len(places) > MOST_PLACES or len(window) > LONGEST_WINDOW:
            return None
        edges = self._edges(places, window)
        if edges is None:
            return None
        parts = [self._part(read, around, edges) for read in (self.left, self.right, self.statement.target)]
        inner = [i for i in self.statement.indices if i not in around]
        whole = {s.as_index() for part in parts if part is not None for s in part.subscripts}
        left, right, out = parts
        if left is None or right is None or out is None or not whole.issuperset(inner):
            return None
        extents = tuple(self._range(i).extent for i in inner)
        sums_lanes = self.lane in self.statement.reduced
        return SlidingSum(tuple(around), Slide(left, right, out, extents, sums_lanes, not sets))

    def _edges(self, places: list[Index], window: list[Index]) -> set[Affine] | None:
        """The subscripts that guards keep inside their axes, one for each index of the window at most.

        None if there is any other guard, or one that the runtime cannot do without.
        """
        found: dict[Index, Affine] = {}
        for guard in self.statement.guards:
            subscript = self._kept_inside(guard)
            if subscript is None:
                return None
            taps = [i for i in subscript.indices() if i in window]
            others = [i for i in subscript.indices() if i not in taps]
            of_places = [i for i in others if i in places]
            # A sum over lanes takes its bounds from the window, one by one, to the places.
            least = 1 if self.lane in self.statement.reduced else 0
            if len(taps) != 1 or len(of_places) != len(others) or not least <= len(others) <= 1:
                return None
            once = [*self.left.subscripts, *self.right.subscripts].count(subscript) == 1
            if not once or found.setdefault(taps[0], subscript) != subscript:
                return None
        return set(found.values())

    def _kept_inside(self, guard: Guard) -> Affine | None:
        """The subscript s of a factor if the guard is ``s >= 0`` or ``s <= extent - 1``."""
        if not isinstance(guard, NonNegative):
            return None
        for read in (self.left, self.right):
            for subscript, extent in zip(read.subscripts, self.program.tensor(read.tensor).shape, strict=True):
                if guard.value in (subscript, extent - 1 - subscript):
                    return subscript
        return None

    def _part(self, read: Read, around: list[Index], edges: set[Affine]) -> Sliding | None:
        """What the call is given of a tensor; None if it would have to begin before the tensor does."""
        axes: list[Affine | tuple[Affine, Affine]] = []
        subscripts: list[Affine] = []
        for subscript, extent in zip(read.subscripts, self.program.tensor(read.tensor).shape, strict=True):
            inner = [i for i in subscript.indices() if i not in around]
            if not inner:
                axes.append(subscript)
                continue
            # As a sum of indices that begin at 0, and of what is the same throughout the call.
            moved, start = ZERO, subscript
            for index in inner:
                factor = subscript.coefficient(index)
                if factor is None or not factor.is_constant:
                    return None
                moved = moved + factor * index
                start = start.without(index) + factor * self._range(index).lower
            if moved.as_index() is not None and (start == ZERO or subscript not in edges):
                axes.append((start, start + self._range(inner[0]).extent))
            elif start.is_constant:
                axes.append((ZERO, extent))
                moved = moved + start
            elif subscript not in edges and all(int(factor) > 0 for _, factor in moved.terms):
                axes.append((start, extent))
            else:
                return None
            subscripts.append(moved)
        return Sliding(read.tensor, tuple(axes), tuple(subscripts))

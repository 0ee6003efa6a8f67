"""Sums of products in which something slides over something else, and samples lie side by side, as one call.

    z[o, p, q, b] = sum[c, u, v] x[c, p + u, q + v, b]*K[o, c, u, v]                 lanes in x and z
    K_bar[o, c, u, v] = sum[p, q, b] x[c, p + u, q + v, b]*z_bar[o, p, q, b]         lanes in x and z_bar, summed

Every index moves each array by a fixed number of elements, and that is all the runtime is told. Guards become bounds
of the window: padding, and the edges in the gradient of the input. Which statement is of this form is decided by its
subscripts alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from symbp.ir.affine import ONE, ZERO, Affine, Index, Read
from symbp.ir.body import slot
from symbp.ir.nodes import Slide, Stride, Tie
from symbp.ir.program import Program
from symbp.ir.statement import Guard, NonNegative, Range, Reduction, Statement, guard_indices

#: What the runtime's functions can take; more indices become loops around the call.
MOST_PLACES, LONGEST_WINDOW = 3, 4
#: A bound that nothing reaches.
_FAR = Affine.of(1 << 40)


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
    for lane in statement.indices:
        with_lanes = [r for r in (statement.target, *reads) if _ends_with(r, lane, statement, program)]
        alone = [r for r in (statement.target, *reads) if all(lane not in s.indices() for s in r.subscripts)]
        if len(with_lanes) == 2 and len(alone) == 1:
            terms = _Terms.of(statement, program, reads, lane)
            if terms is not None:
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


@dataclass(frozen=True)
class _Terms:
    """A statement's two factors and result as flat arrays: where they start, and how far each index moves them."""

    statement: Statement
    lane: Index
    lanes: Affine
    names: tuple[str, str, str]  # left, right, result
    starts: tuple[Affine, Affine, Affine]
    steps: dict[Index, tuple[Affine, Affine, Affine]]

    @staticmethod
    def of(statement: Statement, program: Program, reads: list[Read], lane: Index) -> _Terms | None:
        left, right = reads
        if lane in statement.reduced:
            slides = [any(len(s.indices()) > 1 for s in r.subscripts) for r in reads]
            if slides[0] and not slides[1]:
                left, right = right, left
        elif _mentions(left, lane):
            left, right = right, left
        ranges = {r.index: r for r in statement.domain.ranges}
        others = [i for i in statement.indices if i != lane]
        starts: list[Affine] = []
        steps: dict[Index, list[Affine]] = {i: [] for i in others}
        for read in (left, right, statement.target):
            flat = _flat(read, program, without_last=_mentions(read, lane))
            start = flat
            for index in others:
                step = flat.coefficient(index)
                if step is None or step.indices():
                    return None
                steps[index].append(step)
                start = start.without(index) + step * ranges[index].lower
            if start.indices():
                return None
            starts.append(start)
        return _Terms(
            statement,
            lane,
            ranges[lane].stop,
            (left.tensor, right.tensor, statement.tensor),
            (starts[0], starts[1], starts[2]),
            {i: (s[0], s[1], s[2]) for i, s in steps.items()},
        )

    def made(self, sets: bool) -> SlidingSum | None:
        """Each lane of the result by itself: the reduced indices are the window."""
        free = [i for i in self.statement.free if i != self.lane]
        # With another row a bound stays the same: what moves the kernel under its bounds is a place.
        bound = {i for g in self.statement.guards for i in guard_indices(g)}
        rows = [i for i in free if i not in bound and self.steps[i][1] == ZERO and self.steps[i][0] != ZERO]
        row = max(rows, key=self._count, default=None)
        places = [i for i in free if i != row]
        window = sorted(self.statement.reduced, key=lambda i: -_size(self.steps[i][0]))
        around = self._around(places, MOST_PLACES)
        return self._sliding(around, row, places[len(around) :], window, sums_lanes=False, sets=sets)

    def summed(self, sets: bool) -> SlidingSum | None:
        """The sum over all lanes: the free indices that move what slides are the window."""
        free = list(self.statement.free)
        rows = [i for i in free if self.steps[i][1] == ZERO]
        row = max(rows, key=self._count, default=None)
        window = [i for i in free if self.steps[i][0] == ZERO]
        around = [i for i in free if i != row and i not in window]
        around += self._around(window, LONGEST_WINDOW)
        places = sorted((i for i in self.statement.reduced if i != self.lane), key=lambda i: -_size(self.steps[i][1]))
        window = [i for i in window if i not in around]
        return self._sliding(around, row, places, window, sums_lanes=True, sets=sets)

    def _count(self, index: Index) -> int:
        extent = self._range(index).extent
        return int(extent) if extent.is_constant else 1 << 40

    def _range(self, index: Index) -> Range:
        return self.statement.domain.range_of(index)

    def _around(self, indices: list[Index], most: int) -> list[Index]:
        """The first of the indices, as many as the call cannot take."""
        return indices[: max(len(indices) - most, 0)]

    def _sliding(
        self,
        around: list[Index],
        row: Index | None,
        places: list[Index],
        window: list[Index],
        *,
        sums_lanes: bool,
        sets: bool,
    ) -> SlidingSum | None:
        if len(places) > MOST_PLACES or len(window) > LONGEST_WINDOW:
            return None
        ties = self._ties(places, window)
        if ties is None:
            return None
        starts = list(self.starts)
        for index in around:
            for k, step in enumerate(self.steps[index]):
                starts[k] = starts[k] + step * (index - self._range(index).lower)
        node = Slide(
            *self.names,
            self.lanes,
            (starts[0], starts[1], starts[2]),
            self._stride(row) if row is not None else Stride(ONE, ZERO, ZERO, ZERO),
            tuple(map(self._stride, places)),
            tuple(self._stride(i, ties.get(i)) for i in window),
            sums_lanes,
            not sets,
        )
        return SlidingSum(tuple(around), node)

    def _stride(self, index: Index, tie: Tie | None = None) -> Stride:
        return Stride(self._range(index).extent, *self.steps[index], tie)

    def _ties(self, places: list[Index], window: list[Index]) -> dict[Index, Tie] | None:
        """The guards as bounds, one for each index of the window at most; None if they are anything else."""
        found: dict[Index, Tie] = {}
        where: dict[Index, Index | None] = {}
        for guard in self.statement.guards:
            tied = self._tie(guard, places, window)
            if tied is None:
                return None
            index, place, tie = tied
            before = found.get(index)
            if before is None:
                found[index], where[index] = tie, place
                continue
            # The second of a pair says how far the first may go: v >= 0 and limit - v >= 0.
            if where[index] != place or before.size != _FAR or (before.a, before.b) != (-tie.a, -tie.b):
                return None
            found[index] = Tie(before.place, before.a, before.b, before.shift, before.shift + tie.shift + 1)
        return found

    def _tie(self, guard: Guard, places: list[Index], window: list[Index]) -> tuple[Index, Index | None, Tie] | None:
        sums = self.lane in self.statement.reduced
        if not isinstance(guard, NonNegative) or guard.value.reads() or guard.value.hidden_indices():
            return None
        mine = [i for i in guard.value.indices() if i in window]
        over = [i for i in guard.value.indices() if i in places]
        if (
            len(mine) != 1
            or len(over) > 1
            or (sums and not over)
            or len(mine) + len(over) != len(guard.value.indices())
        ):
            return None
        shift = guard.value
        factors = []
        for index in (*over, *mine):
            factor = guard.value.coefficient(index)
            if factor is None or not factor.is_constant:
                return None
            factors.append(factor)
            shift = shift.without(index) + factor * self._range(index).lower
        a = factors[0] if over else ZERO
        place = places.index(over[0]) if over else 0
        return mine[0], over[0] if over else None, Tie(place, a, factors[-1], shift, _FAR)


def _mentions(read: Read, index: Index) -> bool:
    return any(index in s.indices() for s in read.subscripts)


def _flat(read: Read, program: Program, *, without_last: bool) -> Affine:
    """How many elements into its tensor an element lies; how many rows of lanes, if the last axis is that of lanes."""
    shape = program.tensor(read.tensor).shape
    pairs: Iterable[tuple[Affine, Affine]] = list(zip(read.subscripts, shape, strict=True))
    total = ZERO
    for subscript, extent in list(pairs)[:-1] if without_last else pairs:
        total = total * extent + subscript
    return total


def _size(step: Affine) -> int:
    """For an order by length: unknown ones are long."""
    return abs(int(step)) if step.is_constant else 1 << 40

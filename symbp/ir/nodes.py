"""The nodes of a plan: loops, stores, products; and what a team of threads does together. They know no target.

Node ::=  Loop | If | Store | SetIndex | Track | Fill | Product | Slide | Note
       |  Share | Combine | Once | Barrier | Largest | Spread | Settle | AddAtomically | Contract

The second line is for targets of many threads.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from symbp.ir.affine import ZERO, Affine, Index, Read
from symbp.ir.body import Body
from symbp.ir.statement import Guard, Reduction, Statement


@dataclass(frozen=True, slots=True)
class Bound:
    """The largest of several lower bounds, or the smallest of several stops."""

    values: tuple[Affine, ...]

    def __str__(self) -> str:
        return ", ".join(map(str, self.values))


@dataclass(frozen=True, slots=True)
class Loop:
    """``for index in [lower, stop)``, upwards, or downwards if `step` is -1.

    With `last`, a turn has a block of up to `step` values, ``[index, last)``. With `interleaves`, the turns work on
    rows of one array that lie between each other in memory, as the rows of two steps of a scan do for all samples.
    """

    index: Index
    lower: Bound
    stop: Bound
    body: tuple[Node, ...]
    step: int = 1
    interleaves: bool = False
    last: Index | None = None


@dataclass(frozen=True, slots=True)
class If:
    """Run the body where every guard holds."""

    guards: tuple[Guard, ...]
    body: tuple[Node, ...]


class Update(Enum):
    """How a store changes its target."""

    SET = "="
    ADD = "+="


@dataclass(frozen=True, slots=True)
class Store:
    """``target = value`` or ``target += value``; a target without subscripts is a local scalar."""

    target: Read
    value: Body
    update: Update = Update.SET


#: Locals that carry a reduction. No tensor can have these names; printers give them plain ones that are free.
TOTAL, BEST, PLACE = Read("<total>"), Read("<best>"), Read("<place>")


@dataclass(frozen=True, slots=True)
class SetIndex:
    """``index = value``: a subscript computed once."""

    index: Index
    value: Affine


@dataclass(frozen=True, slots=True)
class Track:
    """One candidate of a maximum: ``if value > best: best = value`` and, for an argmax, remember where."""

    best: Read
    value: Body
    position: Read | None = None
    at: Affine | None = None


@dataclass(frozen=True, slots=True)
class Fill:
    """Set every element of a tensor to a number."""

    tensor: str
    value: int = 0


#: Of each axis of a tensor a fixed position, or a stretch (lower, stop).
Kept = tuple[Affine | tuple[Affine, Affine], ...]


@dataclass(frozen=True, slots=True)
class Slice:
    """A matrix inside a tensor: one subscript per axis, where a pair stands for a stretch of the axis.

    `axes` holds an Affine for a fixed position and a pair (lower, stop) for a kept axis. The first `rows` kept axes
    make up the rows and the next `columns` the columns, so that ``x[b, t, j]`` can act as a matrix of
    ``n_batch*n_time`` rows: axes that act as one follow each other, and all but the first of them are kept whole.
    `transposed` swaps the two afterwards.
    """

    tensor: str
    axes: Kept
    rows: int = 1
    columns: int = 1
    transposed: bool = False


class Triangle(Enum):
    """Which elements of a product's matrices count, by rows, columns and a whole number `shift`."""

    LOWER = "lower"  # of the result those with column <= row + shift; the others stay as they are
    OF_LOWER = "of_lower"  # of the left factor those with column <= row + shift
    OF_UPPER = "of_upper"  # of the left factor those with column >= row + shift


@dataclass(frozen=True, slots=True)
class Product:
    """``out (=|+=) left @ right``: every contraction of a program goes through here.

    With a `triangle`, only part of the result is made, or only part of the left factor is summed over: causal
    attention has half of both. Elements outside are not read.
    """

    out: Slice
    left: Slice
    right: Slice
    accumulate: bool
    triangle: Triangle | None = None
    shift: Affine = ZERO


@dataclass(frozen=True, slots=True)
class Sliding:
    """A tensor in a `Slide`: what is kept of each axis, and the subscripts of the stretches, from their lower ends."""

    tensor: str
    axes: Kept
    subscripts: tuple[Affine, ...]


@dataclass(frozen=True, slots=True)
class Slide:
    """``out (=|+=) sum left*right`` where `right` slides over something, and samples lie side by side along its end.

        out[row, place, lane] (=|+=) sum[window] left[row, place, window]*right[place, window, lane]
        out[row, window] (=|+=) sum[place, lane] left[row, place, lane]*right[window, place, lane]    if `sums_lanes`

    Each index runs from 0 to its extent, and is the whole subscript of some stretch that is as long. Where a subscript
    of several indices leads out of its stretch, nothing is added. `extents` are those of all indices.
    """

    left: Sliding
    right: Sliding
    out: Sliding
    extents: tuple[Affine, ...]
    sums_lanes: bool
    accumulate: bool


@dataclass(frozen=True, slots=True)
class Note:
    """The equation that the nodes after it carry out; it becomes the comment above them."""

    statement: Statement


# ------------------------------------------------------------------------------------------------- teams of threads
#
# Every thread of a team runs the same nodes with the same locals, save inside `Share`, where each takes its own points.
# What a team's threads write, the others of the team see only after a `Barrier`; teams see nothing of each other.


@dataclass(frozen=True, slots=True)
class Dealt:
    """One axis of a box that is dealt out: ``index in [lower, stop)``."""

    index: Index
    lower: Bound
    stop: Bound

    @property
    def extent(self) -> Affine:
        """Of an axis with one lower bound and one stop, as every axis of a box with several has."""
        (lower,), (stop,) = self.lower.values, self.stop.values
        return stop - lower


@dataclass(frozen=True, slots=True)
class Share:
    """The points of a box dealt out to the threads of the team in turn; of several axes the last runs fastest."""

    axes: tuple[Dealt, ...]
    body: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Combine:
    """``local = sum (max) of the team's locals``, in a fixed order; every thread of the team has it afterwards."""

    local: Read
    reduction: Reduction


@dataclass(frozen=True, slots=True)
class Once:
    """Done by the first thread of the team alone."""

    body: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Barrier:
    """What the team's threads wrote before it, all of them see after it."""


@dataclass(frozen=True, slots=True)
class Largest:
    """``largest[0] = max(largest[0], |value|)`` over all points, whichever comes first."""

    largest: str
    value: Body


@dataclass(frozen=True, slots=True)
class Spread:
    """``sums[subscripts] += value`` where points may meet: in whole numbers, so that their order does not matter.

    The unit is chosen so that `count` values as large as ``largest[0]`` do not overflow 63 bits.
    """

    sums: str
    subscripts: tuple[Affine, ...]
    value: Body
    largest: str
    count: Affine


@dataclass(frozen=True, slots=True)
class Settle:
    """``target (=|+=)`` what `Spread` has summed, as a real number."""

    target: Read
    sums: str
    largest: str
    count: Affine
    update: Update = Update.SET


@dataclass(frozen=True, slots=True)
class AddAtomically:
    """``target += value`` where points may meet, one after the other as they come: rounding depends on their order."""

    target: Read
    value: Body


@dataclass(frozen=True, slots=True)
class Factor:
    """A tensor in a contraction: for each axis a fixed position, or the index that runs there and its stretch."""

    tensor: str
    axes: tuple[Affine | Dealt, ...]

    @property
    def indices(self) -> tuple[Index, ...]:
        return tuple(a.index for a in self.axes if isinstance(a, Dealt))


@dataclass(frozen=True, slots=True)
class Contract:
    """``out (=|+=) sum left*right`` over the indices that `out` lacks, as in einsum."""

    out: Factor
    left: Factor
    right: Factor
    accumulate: bool


Node = (
    Loop
    | If
    | Store
    | SetIndex
    | Track
    | Fill
    | Product
    | Slide
    | Note
    | Share
    | Combine
    | Once
    | Barrier
    | Largest
    | Spread
    | Settle
    | AddAtomically
    | Contract
)

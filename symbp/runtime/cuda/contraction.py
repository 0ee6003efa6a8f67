"""Sums of products of two arrays, in index notation: ``contract(device, "bj,jk->bk", x, W, z)``.

Every contraction is a matrix product for each entry of a batch, once its letters are sorted: letters of all three
operands make the batch, letters that the result shares with the left (right) operand make its rows (columns), and
letters of left and right alone are summed. Letters whose strides fit merge into one axis; nothing is copied or
transposed, the kernels read and write through the strides. Where an axis does not merge into two or fewer, the product
is launched once for each entry of what is left over.

What is planned depends on shapes, strides and alignment; what is added up in which order depends on the shapes and on
the order of the axes in memory alone, so the same call gives the same bits each time, on any GPU.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product

from symbp.errors import ShapeError
from symbp.runtime.cuda.array import Device, DeviceArray
from symbp.runtime.cuda.contraction_kernels import Access, Tile, parts_kernel, tile_kernel

# Large tiles read less from memory, small ones keep more multiprocessors busy. In double precision results take twice
# the registers, so there is no largest one.
TILES = {
    "float32": (Tile(128, 8, 256, unrolled=1), Tile(64, 16, 256, unrolled=2), Tile(32, 16, 64, unrolled=2)),
    "float64": (Tile(64, 16, 256, unrolled=2), Tile(32, 8, 64, unrolled=2)),
}
# Multiprocessors of an H100. A constant, not the number found: results must not depend on the card.
PROCESSORS = 132
# A sum that is cut into parts keeps at least so many terms in each, or writing and adding up the parts costs more.
SHORTEST_PART = 128
# Bytes that a 128-bit access must be aligned to.
_ALIGNMENT = 16


@dataclass(frozen=True, slots=True)
class Axis:
    """`count` entries, and by how many elements left, right and out move from one to the next (0: they do not)."""

    count: int
    left: int
    right: int
    out: int

    @property
    def swapped(self) -> Axis:
        """The same with left and right exchanged."""
        return Axis(self.count, self.right, self.left, self.out)


# What a role that has fewer axes is filled up with.
_ONE = Axis(1, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Pair:
    """One role of the product: all entries of `outer`, and within each all of `inner`."""

    outer: Axis
    inner: Axis

    @property
    def count(self) -> int:
        """Entries together."""
        return self.outer.count * self.inner.count

    @property
    def folded(self) -> bool:
        """Whether there really are two axes."""
        return self.outer.count != 1

    @property
    def swapped(self) -> Pair:
        """The same with left and right exchanged."""
        return Pair(self.outer.swapped, self.inner.swapped)


@dataclass(frozen=True, slots=True)
class ContractionPlan:
    """How a contraction is carried out: ``out[rows, columns] (= | +=) sum[summed] left[rows, summed]*right[..]``.

    Attributes:
        exchanged: left and right change places, so that neighbouring columns are neighbours in the result's memory.
        batch, rows, columns, summed: the axes of the product.
        loops: axes that fitted nowhere; the product is launched for each of their entries, those that are summed last.
        summed_loops: how many at the end of `loops` are summed.
        tile, left, right: the kernel.
        wide: results are written in 128-bit words.
        parts, part_length: into how many parts of which length the sum is cut.
        accumulate: results are added to what is there.
    """

    dtype: str
    exchanged: bool
    batch: Pair
    rows: Pair
    columns: Pair
    summed: Pair
    loops: tuple[Axis, ...]
    summed_loops: int
    tile: Tile
    left: Access
    right: Access
    wide: bool
    parts: int
    part_length: int
    accumulate: bool

    @property
    def blocks(self) -> int:
        """Blocks of threads for one launch."""
        return self.batch.count * self.parts * _tiles(self.tile, self.rows.count, self.columns.count)

    def starts(self) -> Iterator[tuple[int, int, int, bool]]:
        """For each launch: where left, right and out begin, and whether it adds to what is there."""
        for entry in product(*(range(axis.count) for axis in self.loops)):
            moved = list(zip(entry, self.loops, strict=True))
            again = any(entry[len(entry) - self.summed_loops :])
            yield (
                sum(i * axis.left for i, axis in moved),
                sum(i * axis.right for i, axis in moved),
                sum(i * axis.out for i, axis in moved),
                self.accumulate or again,
            )


@dataclass(frozen=True, slots=True)
class Layout:
    """What a plan depends on of an operand: its shape, its strides in elements, and whether it begins aligned."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    aligned: bool = True


def contract(
    device: Device,
    subscripts: str,
    left: DeviceArray,
    right: DeviceArray,
    out: DeviceArray,
    *,
    accumulate: bool = False,
) -> None:
    """``out (= | +=) sum left*right`` with subscripts as in ``numpy.einsum``: ``"btl,btqk->lqk"``.

    All of one dtype, float32 or float64, of any strides; ``out`` shares no memory with the others. Every letter occurs
    in at least two of the three and at most once in each. Products are added by fused multiply-adds in the order of the
    summed axes in memory; long sums for few results are cut into parts, which are added in their order.

    Raises:
        ShapeError: subscripts that are not of this form, or extents that disagree.
    """
    plan = plan_contraction(subscripts, out.dtype.name, _layout(left), _layout(right), _layout(out), accumulate)
    run_contraction(device, plan, left, right, out)


@lru_cache(maxsize=4096)
def plan_contraction(
    subscripts: str,
    dtype: str,
    left: Layout,
    right: Layout,
    out: Layout,
    accumulate: bool = False,
    processors: int = PROCESSORS,
    shortest_part: int = SHORTEST_PART,
) -> ContractionPlan:
    """The plan for arrays of these layouts. Raises ShapeError as :func:`contract` does."""
    batch, rows, columns, summed = _roles(subscripts, left, right, out)
    exchanged = _better_exchanged(rows, columns)
    if exchanged:
        left, right = right, left
        batch, summed = ([axis.swapped for axis in axes] for axes in (batch, summed))
        rows, columns = ([axis.swapped for axis in axes] for axes in (columns, rows))
    pairs, rest = zip(*(_pair(axes) for axes in (batch, rows, columns, summed)), strict=True)
    loops = tuple(axis for axes in rest for axis in axes)
    batch_pair, row_pair, column_pair, summed_pair = pairs
    tile, parts, part_length = _sizes(
        dtype, batch_pair.count, row_pair.count, column_pair.count, summed_pair.count, processors, shortest_part
    )
    every = (*batch, *rows, *columns, *summed)
    return ContractionPlan(
        dtype=dtype,
        exchanged=exchanged,
        batch=batch_pair,
        rows=row_pair,
        columns=column_pair,
        summed=summed_pair,
        loops=loops,
        summed_loops=len(rest[3]),
        tile=tile,
        left=_access("left", left.aligned, row_pair, summed_pair, every),
        right=_access("right", right.aligned, column_pair, summed_pair, every),
        wide=out.aligned and _is_wide(column_pair.inner, "out", every),
        parts=parts,
        part_length=part_length,
        accumulate=accumulate,
    )


def run_contraction(
    device: Device, plan: ContractionPlan, left: DeviceArray, right: DeviceArray, out: DeviceArray
) -> None:
    """Launch the kernels of a plan on arrays of the layouts that it was made for."""
    if plan.exchanged:
        left, right = right, left
    if plan.blocks == 0:
        return
    for left_start, right_start, out_start, accumulate in plan.starts():
        _launch(device, plan, _from(left, left_start), _from(right, right_start), _from(out, out_start), accumulate)


def _launch(
    device: Device, plan: ContractionPlan, left: DeviceArray, right: DeviceArray, out: DeviceArray, accumulate: bool
) -> None:
    batch, rows, columns, summed = plan.batch, plan.rows, plan.columns, plan.summed
    sizes = (
        *(batch.outer.count, batch.inner.count, plan.parts, plan.part_length),
        *(rows.count, rows.inner.count, columns.count, columns.inner.count, summed.count, summed.inner.count),
    )
    inputs = (
        *(batch.outer.left, batch.inner.left),
        *(rows.outer.left, rows.inner.left, summed.outer.left, summed.inner.left),
        *(batch.outer.right, batch.inner.right),
        *(columns.outer.right, columns.inner.right, summed.outer.right, summed.inner.right),
    )
    of_batch = (batch.outer.out, batch.inner.out)
    of_entry = (rows.outer.out, rows.inner.out, columns.outer.out, columns.inner.out)
    if plan.parts == 1:
        kernel = tile_kernel(plan.dtype, plan.tile, plan.left, plan.right, plan.wide)
        target = (*of_batch, 0, *of_entry, int(accumulate))
        device.launch_blocks(kernel, plan.blocks, left, right, out, *sizes, *inputs, *target)
        return
    # The parts lie one behind the other, each in C order.
    n_columns, n_results = columns.count, rows.count * columns.count
    count = batch.count * n_results
    size = 1 << (plan.parts * count - 1).bit_length()
    # One array for each size: it stays where it is for as long as a captured graph may use it.
    scratch = device.scratch(f"contraction {size}", size, out.dtype)
    kernel = tile_kernel(plan.dtype, plan.tile, plan.left, plan.right, wide=columns.inner.count % 4 == 0)
    target = (
        *(batch.inner.count * n_results, n_results, count),
        *(rows.inner.count * n_columns, n_columns, columns.inner.count, 1),
        0,
    )
    device.launch_blocks(kernel, plan.blocks, left, right, scratch, *sizes, *inputs, *target)
    device.launch(
        parts_kernel(plan.dtype),
        count,
        *(scratch, out, plan.parts),
        *(axis.count for pair in (batch, rows, columns) for axis in (pair.outer, pair.inner)),
        *of_batch,
        *of_entry,
        int(accumulate),
    )


def _layout(array: DeviceArray) -> Layout:
    return Layout(array.shape, array.strides, array.pointer % _ALIGNMENT == 0)


def _from(array: DeviceArray, start: int) -> DeviceArray:
    """The memory of the array from its element at `start` on."""
    if start == 0:
        return array
    span = 1 + sum((extent - 1) * stride for extent, stride in zip(array.shape, array.strides, strict=True))
    return DeviceArray(array.memory, array.offset + start, (span - start,), None, array.dtype)


def _roles(subscripts: str, left: Layout, right: Layout, out: Layout) -> tuple[list[Axis], ...]:
    """The axes of the batch, of rows, of columns and of the sum, merged, in the order in which they lie in memory."""
    sources, arrow, target = subscripts.partition("->")
    names = [*sources.split(","), target]
    found = ", ".join(str(layout.shape) for layout in (left, right, out))
    if not arrow or len(names) != 3:
        raise ShapeError(f"contraction '{subscripts}': expected subscripts such as 'bj,jk->bk'")
    operands = []
    for letters, layout in zip(names, (left, right, out), strict=True):
        if len(letters) != len(layout.shape) or len(set(letters)) != len(letters):
            raise ShapeError(f"contraction '{subscripts}': expected one letter for each axis, found shapes {found}")
        operands.append(dict(zip(letters, zip(layout.shape, layout.strides, strict=True), strict=True)))
    roles: dict[tuple[bool, ...], list[Axis]] = {
        (True, True, True): [],
        (True, False, True): [],
        (False, True, True): [],
        (True, True, False): [],
    }
    for letter in dict.fromkeys("".join(names)):
        held = tuple(letter in operand for operand in operands)
        extents = {operand[letter][0] for operand in operands if letter in operand}
        if held not in roles:
            raise ShapeError(f"contraction '{subscripts}': expected '{letter}' in at least two of the three arrays")
        if len(extents) != 1:
            raise ShapeError(f"contraction '{subscripts}': expected one extent for '{letter}', found shapes {found}")
        strides = [operand[letter][1] if letter in operand else 0 for operand in operands]
        roles[held].append(Axis(extents.pop(), *strides))
    return tuple(_merged(axes) for axes in roles.values())


def _merged(axes: Sequence[Axis]) -> list[Axis]:
    """The axes with as few entries apart as their strides allow, the outermost first."""
    if any(axis.count == 0 for axis in axes):
        return [replace(_ONE, count=0)]
    # An axis along which some operand is contiguous belongs inside, whatever the others say.
    strides = {axis: [abs(s) for s in (axis.left, axis.right, axis.out) if s] for axis in axes}
    ordered = sorted(
        (axis for axis in axes if axis.count != 1),
        key=lambda axis: (min(strides[axis], default=0), max(strides[axis], default=0)),
    )
    merged: list[Axis] = []  # the innermost first
    for axis in ordered:
        ends = (place for place, inner in enumerate(merged) if _continues(axis, inner))
        place = next(ends, None)
        if place is None:
            merged.append(axis)
        else:
            merged[place] = replace(merged[place], count=merged[place].count * axis.count)
    return merged[::-1]


def _continues(outer: Axis, inner: Axis) -> bool:
    """Whether `outer` goes on where `inner` ends, in every operand."""
    return (outer.left, outer.right, outer.out) == tuple(
        stride * inner.count for stride in (inner.left, inner.right, inner.out)
    )


def _pair(axes: Sequence[Axis]) -> tuple[Pair, tuple[Axis, ...]]:
    """The innermost axis and the longest of the others; and those that are left over."""
    if not axes:
        return Pair(_ONE, _ONE), ()
    *others, inner = axes
    if not others:
        return Pair(_ONE, inner), ()
    longest = max(range(len(others)), key=lambda position: others[position].count)
    return Pair(others[longest], inner), tuple(others[:longest] + others[longest + 1 :])


def _better_exchanged(rows: Sequence[Axis], columns: Sequence[Axis]) -> bool:
    """Whether the result is contiguous along its rows, and not along its columns."""
    return bool(rows) and rows[-1].out == 1 and not (columns and columns[-1].out == 1)


def _sizes(
    dtype: str, n_batch: int, n_rows: int, n_columns: int, n_summed: int, processors: int, shortest_part: int
) -> tuple[Tile, int, int]:
    """The tile, the number of parts and their length: the largest tile with which the card is busy."""
    most_parts = max(1, n_summed // shortest_part)
    for tile in TILES[dtype]:
        blocks = n_batch * _tiles(tile, n_rows, n_columns)
        # Tiles that hang over the edges by more than the result's own size waste what they are large for.
        fits = _tiles(tile, n_rows, n_columns) * tile.edge**2 <= 2 * n_rows * n_columns
        if fits and blocks * most_parts >= processors:
            break
    parts = min(most_parts, max(1, processors // blocks)) if blocks else 1
    length = max(1, math.ceil(n_summed / (parts * tile.depth))) * tile.depth
    return tile, max(1, math.ceil(n_summed / length)), length


def _tiles(tile: Tile, n_rows: int, n_columns: int) -> int:
    return math.ceil(n_rows / tile.edge) * math.ceil(n_columns / tile.edge)


def _access(side: str, aligned: bool, own: Pair, summed: Pair, axes: Sequence[Axis]) -> Access:
    """How an operand's tiles are read: along the axis that lies contiguous in memory, in 128-bit words if they fit."""

    def stride(pair: Pair) -> float:
        return abs(getattr(pair.inner, side)) if pair.count > 1 else math.inf

    along = summed if stride(summed) < stride(own) else own
    wide = aligned and _is_wide(along.inner, side, axes)
    return Access(along is summed, 4 if wide else 1, own.folded, summed.folded)


def _is_wide(along: Axis, side: str, axes: Sequence[Axis]) -> bool:
    """Whether an aligned operand splits into aligned groups of four along this axis."""
    strides = [getattr(axis, side) for axis in axes if axis is not along]
    return getattr(along, side) == 1 and along.count % 4 == 0 and all(stride % 4 == 0 for stride in strides)

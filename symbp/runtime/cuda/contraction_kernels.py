"""Kernels of the contraction: tiles of a matrix product in shared memory, and the sum of partial products.

One block of threads computes a square tile of the product. It walks the summed index in steps of `Tile.depth`: the
step's piece of both operands lies in shared memory, while the next one is already on its way from global memory into
registers. Every thread keeps squares of 4 x 4 results in registers, which the loops with constant bounds below become
once they are unrolled, and reads shared memory in 128-bit words.

Every result is one chain of fused multiply-adds in the order of the summed index, whatever the tile, so the bits
depend on nothing but where that index is cut into parts.

Rows, columns and the summed index may each stand for two axes that do not merge into one: entry ``i`` then lies at
``i // inner * outer_stride + i % inner * inner_stride``. Where there is one axis only, no division is compiled.
"""

# Annotations of kernels must not be strings: they name what only the function around the kernel knows.

# mypy: disable-error-code="no-untyped-def, valid-type, index, operator"

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numba import cuda

from symbp.runtime.cuda.kernel import Kernel, Size, device_function, pointer, raw_kernel, thread_kernel
from symbp.runtime.cuda.team import WARP
from symbp.runtime.cuda.views import load4, store4, unravel

# A warp covers 4 x 8 of the squares, so that a 128-bit read of shared memory touches few distinct words.
_WARP_ROWS, _WARP_COLUMNS = 4, 8
# So many steps of the summed index are read together where it runs along memory: a sector of 32 bytes in float32.
_RUN = 8
# Between the lines of a tile in shared memory: with it, storing a transposed tile hits every bank once, and 128-bit
# words stay aligned.
_PADDING = 4


@dataclass(frozen=True, slots=True)
class Tile:
    """What a block of threads computes: `edge` x `edge` results, `depth` summed indices at a time.

    `unrolled` of those are written out in the innermost loop: as many as leave all values in registers. (With too many
    the compiler gives up unrolling the loops over a thread's results, too, and those land in memory.)
    """

    edge: int
    depth: int
    threads: int
    unrolled: int

    @property
    def side(self) -> int:
        """The threads form a square of `side` x `side`."""
        return math.isqrt(self.threads)

    @property
    def squares(self) -> int:
        """Along rows and along columns each thread has so many squares of 4 x 4 results."""
        return self.edge // (4 * self.side)


@dataclass(frozen=True, slots=True)
class Access:
    """How the tiles of an operand are read: along which axis, in words of how many elements, through which strides."""

    summed_first: bool  # neighbouring threads read along the summed index; else along rows (columns) of the product
    width: int  # 4 where the memory allows 128-bit words, else 1
    folded: bool  # the rows (columns) stand for two axes
    summed_folded: bool  # the summed index stands for two axes


@cache
def tile_kernel(dtype: str, tile: Tile, left_access: Access, right_access: Access, wide: bool) -> Kernel:
    """The kernel that computes one tile a block for this dtype ("float32", "float64") and these memory layouts.

    `wide`: the result's rows are written in words of four.
    """
    real = np.dtype(dtype).type
    Reals = pointer(real)
    EDGE, DEPTH, SQUARES = tile.edge, tile.depth, tile.squares
    LINE = EDGE + _PADDING
    STAGE = DEPTH * LINE  # one of the two halves of a shared array
    STAGES = 2 * STAGE
    HELD = EDGE * DEPTH // tile.threads
    MINE = 4 * SQUARES
    APART = EDGE // SQUARES  # rows (columns) between the squares of a thread
    WARPS_ACROSS = tile.side // _WARP_COLUMNS
    UNROLLED = tile.unrolled
    LEFT_PASSES, carried_left, fetch_left, stash_left = _staging(real, tile, left_access)
    RIGHT_PASSES, carried_right, fetch_right, stash_right = _staging(real, tile, right_access)
    LEFT_WIDTH = 1 if left_access.summed_first else left_access.width  # of a word along the rows
    RIGHT_WIDTH = 1 if right_access.summed_first else right_access.width
    row_place = _place(left_access.folded)
    column_place = _place(right_access.folded)

    @raw_kernel(threads=tile.threads)
    def contract_tiles(
        left: Reals,
        right: Reals,
        out: Reals,
        n_first: Size,
        n_second: Size,
        n_parts: Size,
        part_length: Size,
        n_rows: Size,
        n_inner_rows: Size,
        n_columns: Size,
        n_inner_columns: Size,
        n_summed: Size,
        n_inner_summed: Size,
        left_first: Size,
        left_second: Size,
        left_outer_row: Size,
        left_inner_row: Size,
        left_outer_summed: Size,
        left_inner_summed: Size,
        right_first: Size,
        right_second: Size,
        right_outer_column: Size,
        right_inner_column: Size,
        right_outer_summed: Size,
        right_inner_summed: Size,
        out_first: Size,
        out_second: Size,
        out_part: Size,
        out_outer_row: Size,
        out_inner_row: Size,
        out_outer_column: Size,
        out_inner_column: Size,
        accumulate: Size,
    ):
        """One block for each tile of each part of each (first, second)."""
        left_tile = cuda.shared.array(STAGES, real, 16)
        right_tile = cuda.shared.array(STAGES, real, 16)
        left_bases = cuda.local.array(LEFT_PASSES, np.int64)
        right_bases = cuda.local.array(RIGHT_PASSES, np.int64)
        left_held = cuda.local.array(HELD, real)
        right_held = cuda.local.array(HELD, real)
        left_mine = cuda.local.array(MINE, real)
        right_mine = cuda.local.array(MINE, real)
        total = cuda.local.array((MINE, MINE), real)
        out_places = cuda.local.array(MINE, np.int64)

        row_tiles = (n_rows + EDGE - 1) // EDGE
        column_tiles = (n_columns + EDGE - 1) // EDGE
        first, second, part, column_tile, row_tile = unravel(
            cuda.blockIdx.x, (n_first, n_second, n_parts, column_tiles, row_tiles)
        )
        start = part * part_length
        stop = min(start + part_length, n_summed)
        steps = (stop - start + DEPTH - 1) // DEPTH

        thread = cuda.threadIdx.x
        warp = thread // WARP
        lane = thread % WARP
        row = 4 * (warp // WARPS_ACROSS * _WARP_ROWS + lane // _WARP_COLUMNS)
        column = 4 * (warp % WARPS_ACROSS * _WARP_COLUMNS + lane % _WARP_COLUMNS)

        # What this thread carries from global to shared memory, as places inside the tile.
        left_row, left_depth = carried_left(thread)
        right_column, right_depth = carried_right(thread)
        left_stash = left_depth * LINE + left_row
        right_stash = right_depth * LINE + right_column
        left_row += row_tile * EDGE
        right_column += column_tile * EDGE
        left_depth += start
        right_depth += start
        # Beyond the last row the last one is read again: what comes of it is never written.
        for i in range(LEFT_PASSES):
            entry = min(left_row + i * (EDGE // LEFT_PASSES), n_rows - LEFT_WIDTH)
            left_bases[i] = first * left_first + second * left_second
            left_bases[i] += row_place(entry, n_inner_rows, left_outer_row, left_inner_row)
        for i in range(RIGHT_PASSES):
            entry = min(right_column + i * (EDGE // RIGHT_PASSES), n_columns - RIGHT_WIDTH)
            right_bases[i] = first * right_first + second * right_second
            right_bases[i] += column_place(entry, n_inner_columns, right_outer_column, right_inner_column)

        for i in range(MINE):
            for j in range(MINE):
                total[i, j] = real(0.0)

        # Step 0 goes to shared memory at once; from then on step s + 1 is fetched while step s is multiplied.
        fetch_left(
            left_held, left, left_bases, left_depth,
            stop, n_inner_summed, left_outer_summed, left_inner_summed,
        )  # fmt: skip
        fetch_right(
            right_held, right, right_bases, right_depth,
            stop, n_inner_summed, right_outer_summed, right_inner_summed,
        )  # fmt: skip
        stash_left(left_held, left_tile, left_stash)
        stash_right(right_held, right_tile, right_stash)
        cuda.syncthreads()
        for step in range(steps):
            left_depth += DEPTH
            right_depth += DEPTH
            fetch_left(
                left_held, left, left_bases, left_depth,
                stop, n_inner_summed, left_outer_summed, left_inner_summed,
            )  # fmt: skip
            fetch_right(
                right_held, right, right_bases, right_depth,
                stop, n_inner_summed, right_outer_summed, right_inner_summed,
            )  # fmt: skip
            stage = (step & 1) * STAGE
            line = stage
            while line < stage + STAGE:
                for member in range(UNROLLED):
                    at = line + member * LINE
                    for square in range(SQUARES):
                        i = 4 * square
                        left_mine[i], left_mine[i + 1], left_mine[i + 2], left_mine[i + 3] = load4(
                            left_tile, at + row + square * APART
                        )
                        right_mine[i], right_mine[i + 1], right_mine[i + 2], right_mine[i + 3] = load4(
                            right_tile, at + column + square * APART
                        )
                    for i in range(MINE):
                        for j in range(MINE):
                            total[i, j] += left_mine[i] * right_mine[j]
                line += UNROLLED * LINE
            following = ((step + 1) & 1) * STAGE
            stash_left(left_held, left_tile, following + left_stash)
            stash_right(right_held, right_tile, following + right_stash)
            cuda.syncthreads()

        out_base = first * out_first + second * out_second + part * out_part
        columns_left = n_columns - column_tile * EDGE - column  # how many of the row this thread may write
        for j in range(MINE):
            entry = column_tile * EDGE + column + j % 4 + j // 4 * APART
            out_places[j] = out_base + column_place(entry, n_inner_columns, out_outer_column, out_inner_column)
        for i in range(MINE):
            entry = row_tile * EDGE + row + i % 4 + i // 4 * APART
            if entry < n_rows:
                row_base = row_place(entry, n_inner_rows, out_outer_row, out_inner_row)
                for square in range(SQUARES):
                    j = 4 * square
                    if wide:
                        if square * APART < columns_left:
                            at = row_base + out_places[j]
                            a, b, c, d = total[i, j], total[i, j + 1], total[i, j + 2], total[i, j + 3]
                            if accumulate != 0:
                                e, f, g, h = load4(out, at)
                                a, b, c, d = e + a, f + b, g + c, h + d
                            store4(out, at, a, b, c, d)
                    else:
                        for item in range(4):
                            if square * APART + item < columns_left:
                                at = row_base + out_places[j + item]
                                if accumulate != 0:
                                    out[at] += total[i, j + item]
                                else:
                                    out[at] = total[i, j + item]

    return contract_tiles


def _place(folded: bool) -> Callable[..., Any]:
    """Where an entry lies, from the start of its operand: of two axes, or of one."""
    if folded:

        @device_function
        def place_of_two(entry, n_inner, outer_stride, inner_stride):
            outer, inner = unravel(entry, (1, n_inner))
            return outer * outer_stride + inner * inner_stride

        return place_of_two

    @device_function
    def place_of_one(entry, n_inner, outer_stride, inner_stride):
        return entry * inner_stride

    return place_of_one


def _staging(real: Any, tile: Tile, access: Access) -> tuple[Any, ...]:
    """How the threads of a block carry an operand's tile to shared memory, where it lies as [depth, row].

    A thread carries several words: some passes over the rows, and that for several depths. Given back are the number
    of passes and three device functions: the row and the depth of a thread's first word; fetch, from global memory to
    registers; stash, from there to shared memory. (A column of the right operand is a row here.)
    """
    EDGE, LINE, THREADS, WIDTH = tile.edge, tile.edge + _PADDING, tile.threads, access.width
    ALONG = access.summed_first
    # Threads lie first along the contiguous axis (of the summed index only a run), then along the other one.
    ACROSS = _RUN // WIDTH if ALONG else EDGE // WIDTH
    OTHER = THREADS // ACROSS
    PASSES = max(1, EDGE // OTHER) if ALONG else 1
    RUNS = EDGE * tile.depth // (THREADS * WIDTH * PASSES)
    ROW_STEP = EDGE // PASSES
    DEPTH_STEP = _RUN * max(1, OTHER // EDGE) if ALONG else OTHER
    FOLDED = access.summed_folded

    # Whatever these ask of the capitals is settled when they are compiled.

    @device_function
    def carried(thread):
        if ALONG:
            return thread // ACROSS % EDGE, thread % ACROSS * WIDTH + thread // ACROSS // EDGE * _RUN
        return thread % ACROSS * WIDTH, thread // ACROSS

    @device_function
    def fetch(held, source, bases, depth, stop, n_inner, outer_stride, inner_stride):
        for run in range(RUNS):
            k = depth + run * DEPTH_STEP
            if FOLDED:
                outer, inner = unravel(k, (1, n_inner))
                place = outer * outer_stride + inner * inner_stride
            else:
                place = k * inner_stride
            for step in range(PASSES):
                at = bases[step] + place
                w = WIDTH * (run * PASSES + step)
                if WIDTH == 4:
                    a = b = c = d = real(0.0)
                    if k < stop:
                        a, b, c, d = load4(source, at)
                    held[w], held[w + 1], held[w + 2], held[w + 3] = a, b, c, d
                else:
                    value = real(0.0)
                    if k < stop:
                        value = source[at]
                    held[w] = value

    @device_function
    def stash(held, shared, start):
        for run in range(RUNS):
            for step in range(PASSES):
                w = WIDTH * (run * PASSES + step)
                at = start + step * ROW_STEP + run * DEPTH_STEP * LINE
                if WIDTH == 4 and not ALONG:
                    store4(shared, at, held[w], held[w + 1], held[w + 2], held[w + 3])
                else:
                    for item in range(WIDTH):
                        shared[at + item * LINE] = held[w + item]

    return PASSES, carried, fetch, stash


@cache
def parts_kernel(dtype: str) -> Kernel:
    """The kernel that adds up partial products in their order: ``out[..] (= | +=) sum[p] parts[p, ..]``."""
    real = np.dtype(dtype).type
    Reals = pointer(real)

    @thread_kernel
    def add_parts(
        parts: Reals,
        out: Reals,
        n_parts: Size,
        n_first: Size,
        n_second: Size,
        n_outer_rows: Size,
        n_inner_rows: Size,
        n_outer_columns: Size,
        n_inner_columns: Size,
        out_first: Size,
        out_second: Size,
        out_outer_row: Size,
        out_inner_row: Size,
        out_outer_column: Size,
        out_inner_column: Size,
        accumulate: Size,
    ):
        """One thread for each (first, second, outer_row, inner_row, outer_column, inner_column)."""
        count = n_first * n_second * n_outer_rows * n_inner_rows * n_outer_columns * n_inner_columns
        point = cuda.grid(1)
        if point >= count:
            return
        first, second, outer_row, inner_row, outer_column, inner_column = unravel(
            point, (n_first, n_second, n_outer_rows, n_inner_rows, n_outer_columns, n_inner_columns)
        )
        total = real(0.0)
        for part in range(n_parts):
            total += parts[part * count + point]
        at = (
            first * out_first
            + second * out_second
            + outer_row * out_outer_row
            + inner_row * out_inner_row
            + outer_column * out_outer_column
            + inner_column * out_inner_column
        )
        if accumulate != 0:
            out[at] += total
        else:
            out[at] = total

    return add_parts

"""Sums and maxima by teams of threads, as generated kernels call them. The mutation test changes this file's text."""

import math

import numpy as np
from numba import cuda

from symbp.runtime.cuda.kernel import Size, block_kernel, column_kernel, pointer, warp_kernel
from symbp.runtime.cuda.scalar import maximum
from symbp.runtime.cuda.team import (
    BLOCK,
    COLUMN,
    WARP,
    block_max,
    block_sum,
    column_max,
    column_sum,
    warp_max,
    warp_sum,
)
from symbp.runtime.cuda.views import unravel, view

real = np.float32
Reals = pointer(real)


@warp_kernel
def by_warps(x: Reals, out: Reals, n_rows: Size, n: Size):
    """``out[0, i] = sum[k] x[i, k]`` and ``out[1, i] = max[k] x[i, k]``: one warp for each i."""
    here = view(x, 0, (n_rows, n))
    there = view(out, 0, (2, n_rows))

    i = cuda.grid(1) // WARP
    if i >= n_rows:
        return
    lane = cuda.laneid
    total = real(0.0)
    best = real(-math.inf)
    for k in range(lane, n, WARP):
        total += here[i, k]
        best = maximum(best, here[i, k])
    total = warp_sum(total)
    best = warp_max(best)
    if lane == 0:
        there[0, i] = total
        there[1, i] = best


@block_kernel
def by_blocks(x: Reals, out: Reals, n_rows: Size, n: Size):
    """The same, one block for each i."""
    here = view(x, 0, (n_rows, n))
    there = view(out, 0, (2, n_rows))

    i = cuda.blockIdx.x
    rank = cuda.threadIdx.x
    total = real(0.0)
    best = real(-math.inf)
    for k in range(rank, n, BLOCK):
        total += here[i, k]
        best = maximum(best, here[i, k])
    total = block_sum(total)
    best = block_max(best)
    if rank == 0:
        there[0, i] = total
        there[1, i] = best


@column_kernel
def by_columns(x: Reals, out: Reals, n_rows: Size, n: Size):
    """The same over the rows: ``out[0, k] = sum[i] x[i, k]``, one column of threads for each k."""
    here = view(x, 0, (n_rows, n))
    there = view(out, 0, (2, n))

    point = cuda.blockIdx.x * WARP + cuda.laneid
    k = min(point, n - 1)
    rank = cuda.threadIdx.x // WARP
    total = real(0.0)
    best = real(-math.inf)
    for i in range(rank, n_rows, COLUMN):
        total += here[i, k]
        best = maximum(best, here[i, k])
    total = column_sum(total)
    best = column_max(best)
    if rank == 0 and point < n:
        there[0, k] = total
        there[1, k] = best


@block_kernel
def normalise(x: Reals, out: Reals, n_rows: Size, n: Size):
    """``out[i, k] = x[i, k] - sum[j] x[i, j]`` and then its reverse, through global memory: barriers in between."""
    here = view(x, 0, (n_rows, n))
    there = view(out, 0, (n_rows, n))
    sums = cuda.shared.array(8, real)

    i = cuda.blockIdx.x
    rank = cuda.threadIdx.x
    total = real(0.0)
    for k in range(rank, n, BLOCK):
        total += here[i, k]
    total = warp_sum(total)
    if rank % WARP == 0:
        sums[rank // WARP] = total
    cuda.syncthreads()
    if rank == 0:
        for warp in range(1, 8):
            sums[0] += sums[warp]
    cuda.syncthreads()
    for k in range(rank, n, BLOCK):
        there[i, k] = here[i, k] - sums[0]
    cuda.syncthreads()
    for k in range(rank, n // 2, BLOCK):
        first = there[i, k]
        there[i, k] = there[i, n - 1 - k]
        there[i, n - 1 - k] = first


@block_kernel
def tiles(x: Reals, out: Reals, n_rows: Size, n: Size):
    """``out[k, i] = x[i, k]`` by tiles of 8 x 32 in shared memory."""
    here = view(x, 0, (n_rows, n))
    there = view(out, 0, (n, n_rows))
    tile = cuda.shared.array((8, 33), real)

    across, down = unravel(cuda.blockIdx.x, ((n + 31) // 32, (n_rows + 7) // 8))
    row, column = unravel(cuda.threadIdx.x, (8, 32))
    if down * 8 + row < n_rows and across * 32 + column < n:
        tile[row, column] = here[down * 8 + row, across * 32 + column]
    cuda.syncthreads()
    column, row = unravel(cuda.threadIdx.x, (32, 8))
    if down * 8 + row < n_rows and across * 32 + column < n:
        there[across * 32 + column, down * 8 + row] = tile[row, column]

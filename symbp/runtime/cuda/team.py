"""Sums and maxima over the threads that share a point, always taken in the same order: same inputs, same bits.

Every thread of the team must call, and every one of them is given the result. In a warp the partners are those whose
lane differs in one bit, from the highest bit to the lowest; the two numbers of a pair are added the same way round by
both, so all lanes hold the same bits. What the eight warps of a block hold is combined in the order of the warps.

The functions over a block end with a barrier: the shared memory may be used again at once.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

from numba import cuda

from symbp.runtime.cuda.kernel import device_function
from symbp.runtime.cuda.scalar import maximum

WARP = 32
BLOCK = 256
COLUMN = 8  # threads of a column, one in each warp of the block

_ALL_LANES = 0xFFFFFFFF


@device_function
def warp_sum(x):
    """The sum over the lanes of a warp."""
    for distance in (16, 8, 4, 2, 1):
        x += cuda.shfl_xor_sync(_ALL_LANES, x, distance)
    return x


@device_function
def warp_max(x):
    """The largest over the lanes of a warp; NaN if any is."""
    for distance in (16, 8, 4, 2, 1):
        x = maximum(x, cuda.shfl_xor_sync(_ALL_LANES, x, distance))
    return x


@device_function
def block_sum(x):
    """The sum over the threads of a block."""
    of_warp = cuda.shared.array(COLUMN, type(x))
    x = warp_sum(x)
    if cuda.laneid == 0:
        of_warp[cuda.threadIdx.x // WARP] = x
    cuda.syncthreads()
    total = of_warp[0]
    for warp in range(1, COLUMN):
        total += of_warp[warp]
    cuda.syncthreads()
    return total


@device_function
def block_max(x):
    """The largest over the threads of a block; NaN if any is."""
    of_warp = cuda.shared.array(COLUMN, type(x))
    x = warp_max(x)
    if cuda.laneid == 0:
        of_warp[cuda.threadIdx.x // WARP] = x
    cuda.syncthreads()
    best = of_warp[0]
    for warp in range(1, COLUMN):
        best = maximum(best, of_warp[warp])
    cuda.syncthreads()
    return best


@device_function
def column_sum(x):
    """The sum over the threads of a block that have the same lane."""
    of_thread = cuda.shared.array((COLUMN, WARP), type(x))
    lane = cuda.laneid
    of_thread[cuda.threadIdx.x // WARP, lane] = x
    cuda.syncthreads()
    total = of_thread[0, lane]
    for warp in range(1, COLUMN):
        total += of_thread[warp, lane]
    cuda.syncthreads()
    return total


@device_function
def column_max(x):
    """The largest over the threads of a block that have the same lane; NaN if any is."""
    of_thread = cuda.shared.array((COLUMN, WARP), type(x))
    lane = cuda.laneid
    of_thread[cuda.threadIdx.x // WARP, lane] = x
    cuda.syncthreads()
    best = of_thread[0, lane]
    for warp in range(1, COLUMN):
        best = maximum(best, of_thread[warp, lane])
    cuda.syncthreads()
    return best

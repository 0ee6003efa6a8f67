"""Kernels in which threads meet: each fault beside the kernel without it."""

import numpy as np
from numba import cuda

from symbp.runtime.cuda.kernel import Integers, Size, block_kernel, device_function, pointer, thread_kernel, warp_kernel
from symbp.runtime.cuda.views import load2, load4, store4, unravel, view

real = np.float32
Reals = pointer(real)
ALL = 0xFFFFFFFF
HALF = 16


@block_kernel
def reverse(source: Reals, target: Reals):
    """Each block turns its 256 numbers round through shared memory."""
    numbers = view(source, 0, (2, 256))
    turned = view(target, 0, (2, 256))
    held = cuda.shared.array(256, real)
    rank = cuda.threadIdx.x
    held[rank] = numbers[cuda.blockIdx.x, rank]
    cuda.syncthreads()
    turned[cuda.blockIdx.x, rank] = held[255 - rank]


@block_kernel
def reverse_without_barrier(source: Reals, target: Reals):
    numbers = view(source, 0, (2, 256))
    turned = view(target, 0, (2, 256))
    held = cuda.shared.array(256, real)
    rank = cuda.threadIdx.x
    held[rank] = numbers[cuda.blockIdx.x, rank]
    turned[cuda.blockIdx.x, rank] = held[255 - rank]


@block_kernel
def reverse_with_warp_barrier(source: Reals, target: Reals):
    """A barrier of the warp does not order the block."""
    numbers = view(source, 0, (2, 256))
    turned = view(target, 0, (2, 256))
    held = cuda.shared.array(256, real)
    rank = cuda.threadIdx.x
    held[rank] = numbers[cuda.blockIdx.x, rank]
    cuda.syncwarp()
    turned[cuda.blockIdx.x, rank] = held[255 - rank]


@block_kernel
def reverse_twice_too_soon(source: Reals, target: Reals):
    """The shared array is written again while others may still read it."""
    numbers = view(source, 0, (2, 256))
    turned = view(target, 0, (2, 256))
    held = cuda.shared.array(256, real)
    rank = cuda.threadIdx.x
    for _ in range(2):
        held[rank] = numbers[cuda.blockIdx.x, rank]
        cuda.syncthreads()
        turned[cuda.blockIdx.x, rank] = held[255 - rank]


@warp_kernel
def neighbour(source: Reals, target: Reals):
    """Lanes of a warp exchange numbers through global memory."""
    lane = cuda.laneid
    row = cuda.grid(1) // 32
    numbers = view(source, 0, (8, 32))
    moved = view(target, 0, (8, 32))
    moved[row, lane] = numbers[row, lane]
    cuda.syncwarp()
    here = moved[row, lane ^ 1]
    cuda.syncwarp()
    moved[row, lane] = here


@warp_kernel
def neighbour_read_too_soon(source: Reals, target: Reals):
    lane = cuda.laneid
    row = cuda.grid(1) // 32
    numbers = view(source, 0, (8, 32))
    moved = view(target, 0, (8, 32))
    moved[row, lane] = numbers[row, lane]
    here = moved[row, lane ^ 1]
    cuda.syncwarp()
    moved[row, lane] = here


@warp_kernel
def neighbour_written_too_soon(source: Reals, target: Reals):
    lane = cuda.laneid
    row = cuda.grid(1) // 32
    numbers = view(source, 0, (8, 32))
    moved = view(target, 0, (8, 32))
    moved[row, lane] = numbers[row, lane]
    cuda.syncwarp()
    here = moved[row, lane ^ 1]
    moved[row, lane] = here


@warp_kernel
def neighbour_by_shuffle_order(source: Reals, target: Reals):
    """A shuffle between two accesses puts them in no order."""
    lane = cuda.laneid
    row = cuda.grid(1) // 32
    numbers = view(source, 0, (8, 32))
    moved = view(target, 0, (8, 32))
    here = numbers[row, lane]
    moved[row, lane] = here
    here = cuda.shfl_xor_sync(ALL, here, 1)
    moved[row, lane] = moved[row, lane ^ 1]


@thread_kernel
def one_place_per_block(target: Reals):
    """The first thread of every block writes a place of its own."""
    places = view(target, 0, (2,))
    if cuda.threadIdx.x == 0:
        places[cuda.blockIdx.x] = real(1.0)


@thread_kernel
def one_place_for_all_blocks(target: Reals):
    places = view(target, 0, (2,))
    if cuda.threadIdx.x == 0:
        places[0] = real(1.0)
        if cuda.blockIdx.x == 0:
            places[1] = real(1.0)


@thread_kernel
def read_what_another_block_writes(target: Reals):
    places = view(target, 0, (2,))
    if cuda.threadIdx.x == 0:
        places[cuda.blockIdx.x] = places[0]


@thread_kernel
def two_lanes_one_place(target: Reals):
    places = view(target, 0, (256,))
    places[cuda.threadIdx.x // 2] = real(1.0)


@thread_kernel
def one_lane_one_place(target: Reals):
    places = view(target, 0, (256,))
    places[cuda.threadIdx.x] = real(1.0)


@thread_kernel
def count_atomically(counts: Integers):
    """512 threads add to 4 places."""
    sums = view(counts, 0, (4,))
    cuda.atomic.add(sums, cuda.grid(1) % 4, cuda.grid(1))


@thread_kernel
def count_atomically_and_read(counts: Integers):
    sums = view(counts, 0, (4,))
    cuda.atomic.add(sums, cuda.grid(1) % 4, 1)
    if sums[0] > 3:
        return


@thread_kernel
def count_plainly(counts: Integers):
    sums = view(counts, 0, (4,))
    sums[cuda.grid(1) % 4] += cuda.grid(1)


@block_kernel
def return_behind_barrier(source: Reals, target: Reals):
    held = cuda.shared.array(256, real)
    rank = cuda.threadIdx.x
    held[rank] = view(source, 0, (256,))[rank]
    cuda.syncthreads()
    if rank >= 200:
        return
    view(target, 0, (256,))[rank] = held[rank + 1]


@block_kernel
def return_before_barrier(source: Reals, target: Reals):
    held = cuda.shared.array(256, real)
    rank = cuda.threadIdx.x
    held[rank] = view(source, 0, (256,))[rank]
    if rank >= 200:
        return
    cuda.syncthreads()
    view(target, 0, (256,))[rank] = held[rank]


@block_kernel
def warp_gone_before_barrier(source: Reals, target: Reals):
    rank = cuda.threadIdx.x
    if rank >= 224:
        return
    cuda.syncthreads()
    view(target, 0, (256,))[rank] = real(0.0)


@block_kernel
def barrier_in_branch(source: Reals, target: Reals):
    rank = cuda.threadIdx.x
    if rank % 2 == 0:
        cuda.syncthreads()
    else:
        cuda.syncthreads()
    view(target, 0, (256,))[rank] = real(0.0)


@block_kernel
def barrier_in_loop_of_threads(source: Reals, target: Reals):
    rank = cuda.threadIdx.x
    for _ in range(rank % 3):
        cuda.syncthreads()
    view(target, 0, (256,))[rank] = real(0.0)


@block_kernel
def barrier_in_loop_of_blocks(source: Reals, target: Reals):
    """Blocks may pass different numbers of barriers."""
    rank = cuda.threadIdx.x
    for _ in range(cuda.blockIdx.x + 1):
        cuda.syncthreads()
    view(target, 0, (512,))[cuda.grid(1)] = real(rank)


@device_function
def shuffled(x):
    return x + cuda.shfl_xor_sync(ALL, x, 1)


@warp_kernel
def shuffle_all(target: Reals):
    lane = cuda.laneid
    x = shuffled(real(lane))
    if lane < HALF:
        view(target, 0, (256,))[cuda.grid(1)] = x


@warp_kernel
def shuffle_in_branch(target: Reals):
    lane = cuda.laneid
    if lane < HALF:
        view(target, 0, (256,))[cuda.grid(1)] = shuffled(real(lane))


@warp_kernel
def warp_barrier_in_branch(target: Reals):
    if cuda.laneid < HALF:
        cuda.syncwarp()


@warp_kernel
def warps_gone(target: Reals):
    """Whole warps may leave before the barrier of another."""
    if cuda.grid(1) // 32 >= 3:
        return
    cuda.syncwarp()
    view(target, 0, (96,))[cuda.grid(1)] = shuffled(real(cuda.laneid))


@thread_kernel
def copy_by_four(source: Reals, target: Reals, first: Size):
    i = cuda.grid(1)
    if i >= 8:
        return
    a, b, c, d = load4(source, first + 4 * i)
    store4(target, 4 * i, a, b, c, d)


@thread_kernel
def copy_by_two_into_shared(source: Reals, target: Reals):
    """Shared memory that was not asked to be aligned."""
    held = cuda.shared.array(8, real)
    i = cuda.threadIdx.x
    if i == 0:
        a, b = load2(source, 0)
        store4(held, 0, a, b, a, b)
        view(target, 0, (1,))[0] = held[0]


@thread_kernel
def copy_by_two_into_aligned(source: Reals, target: Reals):
    held = cuda.shared.array(8, real, 16)
    i = cuda.threadIdx.x
    if i == 0:
        a, b = load2(source, 0)
        store4(held, 0, a, b, a, b)
        view(target, 0, (1,))[0] = held[1]


@thread_kernel
def shifted(source: Reals, target: Reals, n: Size, by: Size):
    """``target[i, j] = source[i, j + by]``."""
    here = view(source, 0, (n, 3))
    there = view(target, 0, (n, 3))
    point = cuda.grid(1)
    if point >= 3 * n:
        return
    i, j = unravel(point, (n, 3))
    there[i, j] = here[i, j + by]


@thread_kernel
def view_beyond(source: Reals, start: Size, n: Size):
    view(source, start, (n, 3))


@block_kernel
def shared_half_written(target: Reals):
    held = cuda.shared.array(256, real)
    rank = cuda.threadIdx.x
    if rank < 255:
        held[rank] = real(1.0)
    cuda.syncthreads()
    view(target, 0, (256,))[rank] = held[rank]


@thread_kernel
def local_half_written(target: Reals):
    held = cuda.local.array((2, 2), real)
    held[0, 0] = real(1.0)
    held[0, 1] = real(2.0)
    held[1, cuda.threadIdx.x % 2] = real(3.0)
    if cuda.threadIdx.x == 0:
        view(target, 0, (1,))[0] = held[1, 1]


@thread_kernel
def local_written(target: Reals):
    held = cuda.local.array((2, 2), real)
    i = cuda.threadIdx.x
    held[0, 0] = real(1.0)
    held[0, 1] = real(2.0)
    held[1, i % 2] = real(3.0)
    view(target, 0, (256,))[i] = held[1, i % 2] + held[0, i % 2]

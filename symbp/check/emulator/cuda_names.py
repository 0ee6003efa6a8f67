"""What ``numba.cuda`` offers kernels: who a thread is, barriers, shuffles, votes, shared and local arrays, atomics."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from symbp.check.emulator.arrays import ATOMICS, View, atomic, flat, make_view
from symbp.check.emulator.frame import Frame, Site
from symbp.check.emulator.lanes import WARP
from symbp.check.emulator.local import LocalArray
from symbp.check.emulator.memory import Memory
from symbp.check.emulator.primitives import fused_multiply_add
from symbp.check.emulator.values import Value, blend, cast, is_vector, truth

ALL_LANES = 0xFFFFFFFF
ZERO = np.int64(0)
ONE = np.int64(1)

# Values: ``cuda.threadIdx.x``.
ATTRIBUTES: dict[str, Callable[[Frame], Value]] = {
    "threadIdx.x": lambda frame: frame.batch.rank,
    "threadIdx.y": lambda frame: ZERO,
    "threadIdx.z": lambda frame: ZERO,
    "blockIdx.x": lambda frame: frame.batch.block_place[0],
    "blockIdx.y": lambda frame: frame.batch.block_place[1],
    "blockIdx.z": lambda frame: frame.batch.block_place[2],
    "blockDim.x": lambda frame: np.int64(frame.batch.threads),
    "blockDim.y": lambda frame: ONE,
    "blockDim.z": lambda frame: ONE,
    "gridDim.x": lambda frame: np.int64(frame.batch.grid[0]),
    "gridDim.y": lambda frame: np.int64(frame.batch.grid[1]),
    "gridDim.z": lambda frame: np.int64(frame.batch.grid[2]),
    "laneid": lambda frame: frame.batch.lane,
    "warpsize": lambda frame: np.int64(WARP),
}


def grid(frame: Frame, site: Site, axes: Value) -> Value:
    """``cuda.grid(1)``: the thread's number in the launch."""
    if int(axes) != 1:
        raise frame.error(f"cuda.grid({int(axes)}) is not emulated; blocks have one axis of threads: cuda.grid(1)")
    return frame.batch.block_place[0] * np.int64(frame.batch.threads) + frame.batch.rank


def grid_size(frame: Frame, site: Site, axes: Value) -> Value:
    return np.int64(frame.batch.grid[0] * frame.batch.threads)


# Barriers.


def sync_threads(frame: Frame, site: Site) -> None:
    """``cuda.syncthreads()``: every thread of the block must come."""
    _gather(frame, frame.batch.threads, "cuda.syncthreads()", "block")
    frame.batch.pass_barrier(frame.mask, block=True)


def sync_warp(frame: Frame, site: Site, members: Value = None) -> None:
    """``cuda.syncwarp()``: every lane of the warp must come."""
    _check_members(frame, "cuda.syncwarp()", members)
    frame.batch.pass_barrier(frame.mask, block=False)


def _gather(frame: Frame, size: int, what: str, team: str) -> None:
    """Raise unless all threads of each team that is here have come."""
    number = frame.batch.incomplete(frame.mask, size)
    if number is None:
        return
    here = frame.mask.lanes[number * size : (number + 1) * size]
    lane = number * size + int(np.flatnonzero(~here)[0])
    raise frame.error(
        f"{what} is reached by {int(here.sum())} of the {size} threads of a {team}, not by {frame.batch.name(lane)}"
        f"{frame.gone()}",
        remedy=f"let all threads of the {team} reach it, outside any condition that differs between them",
    )


def _check_members(frame: Frame, what: str, members: Value) -> None:
    if members is not None and (is_vector(members) or int(members) & ALL_LANES != ALL_LANES):
        raise frame.error(f"{what} with some of the lanes is not emulated; name all of them: 0xFFFFFFFF")
    _gather(frame, WARP, what, "warp")


def sync_vote(reduce: Callable[[Any], Any]) -> Callable[..., Value]:
    """``cuda.syncthreads_count``, ``_and``, ``_or``: a barrier that says how many threads hold a condition."""

    def vote(frame: Frame, site: Site, condition: Value) -> Value:
        sync_threads(frame, site)
        batch = frame.batch
        each = np.broadcast_to(truth(condition), (batch.size,)).reshape(batch.blocks, batch.threads)
        return np.repeat(reduce(each).astype(np.int64), batch.threads)

    return vote


# Shuffles and votes. They put no accesses of memory in order.


def shuffle(source: Callable[[Any, Value], Value]) -> Callable[..., Value]:
    """A shuffle; `source(lane, argument)` is the lane that is read, a lane outside the warp reads itself."""

    def exchange(frame: Frame, site: Site, members: Value, value: Value, argument: Value) -> Value:
        _check_members(frame, site.text, members)
        if not is_vector(value):
            return value
        lane = frame.batch.lane
        wanted = source(lane, argument)
        wanted = np.where((wanted < 0) | (wanted >= WARP), lane, wanted)
        return value[np.arange(frame.batch.size) - lane + wanted]

    return exchange


def ballot(frame: Frame, site: Site, members: Value, condition: Value) -> Value:
    """``cuda.ballot_sync``: one bit for each lane of the warp."""
    _check_members(frame, site.text, members)
    each = np.broadcast_to(truth(condition), (frame.batch.size,)).reshape(-1, WARP)
    bits = (each.astype(np.uint32) << np.arange(WARP, dtype=np.uint32)).sum(axis=1).astype(np.uint32)
    return np.repeat(bits, WARP)


def warp_vote(reduce: Callable[[Any], Any]) -> Callable[..., Value]:
    def vote(frame: Frame, site: Site, members: Value, condition: Value) -> Value:
        _check_members(frame, site.text, members)
        each = np.broadcast_to(truth(condition), (frame.batch.size,)).reshape(-1, WARP)
        return np.repeat(reduce(each), WARP)

    return vote


def active_mask(frame: Frame, site: Site) -> Value:
    each = frame.mask.lanes.reshape(-1, WARP)
    return np.repeat((each.astype(np.uint32) << np.arange(WARP, dtype=np.uint32)).sum(axis=1).astype(np.uint32), WARP)


# Memory.


def dtype_of(frame: Frame, kind: Value) -> np.dtype[Any]:
    """The NumPy type that a kernel names: np.float32, Numba's float32, an array's dtype."""
    try:
        return np.dtype(kind) if isinstance(kind, type | np.dtype) else np.dtype(str(kind))
    except TypeError:
        raise frame.error(f"expected a number type, found {kind!r}") from None


def extents(frame: Frame, shape: Value) -> tuple[int, ...]:
    given = shape if isinstance(shape, tuple) else (shape,)
    if any(is_vector(extent) for extent in given):
        raise frame.error("the shape of a shared or local array must be constant")
    return tuple(int(extent) for extent in given)


def shared_array(frame: Frame, site: Site, shape: Value, dtype: Value, alignment: Value = None) -> View:
    """``cuda.shared.array(shape, dtype)``: one array for each block, the same in every call of a device function."""
    kind = dtype_of(frame, dtype)
    whole = extents(frame, shape)
    dynamic = whole == (0,)
    if dynamic:
        whole = (frame.run.dynamic_shared // kind.itemsize,)
    nbytes = frame.run.dynamic_shared if dynamic else prod(whole) * kind.itemsize
    room = -(-nbytes // 16) * 16
    key = "dynamic" if dynamic else (site, kind)
    memory = frame.run.shared.get(key)
    if memory is None:
        memory = Memory(
            room * frame.batch.blocks,
            "shared memory",
            granule=min(4, kind.itemsize),
            alignment=16 if dynamic else max(kind.itemsize, 1 if alignment is None else int(alignment)),
        )
        frame.run.shared[key] = memory
    start = frame.batch.slot * (room // kind.itemsize) if frame.batch.blocks > 1 else ZERO
    return make_view(memory, kind, start, tuple(np.int64(extent) for extent in whole), site.target)


def local_array(frame: Frame, site: Site, shape: Value, dtype: Value, alignment: Value = None) -> LocalArray:
    return LocalArray(frame, extents(frame, shape), dtype_of(frame, dtype), site.target)


def atomic_call(operation: str) -> Callable[..., Value]:
    def update(frame: Frame, site: Site, array: Value, subscripts: Value, value: Value) -> Value:
        view = array if isinstance(array, View) else flat(frame, array)
        return atomic(
            frame, operation, view, subscripts if isinstance(subscripts, tuple) else (subscripts,), value, site
        )

    return update


# Bits.


def _bits_of(value: Value) -> Any:
    unsigned = np.dtype(f"u{value.dtype.itemsize}")
    return cast(unsigned, value)


def population_count(frame: Frame, site: Site, value: Value) -> Value:
    return np.bitwise_count(_bits_of(value)).astype(np.int64)


def leading_zeros(frame: Frame, site: Site, value: Value) -> Value:
    bits = _bits_of(value)
    width = 8 * bits.dtype.itemsize
    for distance in (1, 2, 4, 8, 16, 32):
        if distance < width:
            bits = bits | (bits >> bits.dtype.type(distance))
    return np.int64(width) - np.bitwise_count(bits).astype(np.int64)


def find_first_set(frame: Frame, site: Site, value: Value) -> Value:
    bits = _bits_of(value)
    below = np.bitwise_count(bits ^ (bits - bits.dtype.type(1)))
    return np.where(bits == 0, np.int64(0), below)[()]


def fence(frame: Frame, site: Site) -> None:
    """A memory fence: makes writes visible but waits for nobody, so it orders nothing here."""


def choose(frame: Frame, site: Site, condition: Value, yes: Value, no: Value) -> Value:
    """``cuda.selp(condition, yes, no)``."""
    return blend(truth(condition), yes, no)


CALLS: dict[str, Callable[..., Value]] = {
    "grid": grid,
    "gridsize": grid_size,
    "syncthreads": sync_threads,
    "syncwarp": sync_warp,
    "syncthreads_count": sync_vote(lambda each: each.sum(axis=1)),
    "syncthreads_and": sync_vote(lambda each: each.all(axis=1)),
    "syncthreads_or": sync_vote(lambda each: each.any(axis=1)),
    "shfl_sync": shuffle(lambda lane, source: cast(np.dtype(np.int64), source) % WARP),
    "shfl_xor_sync": shuffle(lambda lane, distance: lane ^ distance),
    "shfl_down_sync": shuffle(lambda lane, distance: lane + distance),
    "shfl_up_sync": shuffle(lambda lane, distance: lane - distance),
    "ballot_sync": ballot,
    "any_sync": warp_vote(lambda each: each.any(axis=1)),
    "all_sync": warp_vote(lambda each: each.all(axis=1)),
    "activemask": active_mask,
    "shared.array": shared_array,
    "local.array": local_array,
    "threadfence": fence,
    "threadfence_block": fence,
    "threadfence_system": fence,
    "popc": population_count,
    "clz": leading_zeros,
    "ffs": find_first_set,
    "selp": choose,
    "fma": fused_multiply_add,
    **{f"atomic.{operation}": atomic_call(operation) for operation in ATOMICS},
}

"""The threads that run together, which of them are active, and how often each has waited at a barrier.

A launch is run in batches of whole blocks, and all threads of a batch in lockstep: one vector element for each thread.
That is one of the orders in which a GPU may run them, and the fastest to compute here. Whether another order could give
another result is not left to luck: races.py decides it from what every thread touched between which barriers.
"""

from __future__ import annotations

from typing import Any

import numpy as np

WARP = 32

Lanes = Any  # np.ndarray of bool, one element for each thread of the batch
Numbers = Any  # np.ndarray of int64


class Mask:
    """The active threads: `lanes` as booleans, `count` of them, `index` of the active ones."""

    __slots__ = ("_index", "count", "full", "lanes")

    def __init__(self, lanes: Lanes) -> None:
        self.lanes = lanes
        self.count = int(np.count_nonzero(lanes))
        self.full = self.count == len(lanes)
        self._index: Numbers | None = None

    @property
    def index(self) -> Numbers:
        if self._index is None:
            self._index = np.flatnonzero(self.lanes)
        return self._index

    def narrow(self, condition: Lanes) -> Mask:
        """Those of the active threads for which the condition holds."""
        return Mask(self.lanes & condition)

    def without(self, condition: Lanes) -> Mask:
        """Those of the active threads for which the condition does not hold."""
        return Mask(self.lanes & ~condition)

    def join(self, other: Mask) -> Mask:
        """The active threads of either."""
        if not other.count:
            return self
        return Mask(self.lanes | other.lanes) if self.count else other

    def pick(self, value: Any) -> Any:
        """A vector's elements in the active threads; a scalar as it is."""
        if self.full or not isinstance(value, np.ndarray):
            return value
        return value[self.index]


class Batch:
    """Some blocks of a launch with all their threads.

    `numbers` are the blocks' places in the grid (x fastest). `thread` is a thread's number in the whole launch, `slot`
    the place of its block in the batch. `block_epoch` and `warp_epoch` count, for each thread, the barriers that its
    block and its warp have passed. They are replaced, never changed, so that a record of an access may keep them.
    """

    def __init__(self, numbers: Numbers, grid: tuple[int, int, int], threads: int) -> None:
        self.grid = grid
        self.threads = threads
        self.blocks = len(numbers)
        self.size = self.blocks * threads
        self.slot = np.repeat(np.arange(self.blocks), threads)
        self.rank = np.tile(np.arange(threads), self.blocks)
        self.lane = self.rank % WARP
        self.block = np.repeat(numbers, threads)
        self.thread = self.block * threads + self.rank
        self.block_epoch = np.zeros(self.size, np.int32)
        self.warp_epoch = np.zeros(self.size, np.int32)
        self.all = Mask(np.ones(self.size, bool))
        self.none = Mask(np.zeros(self.size, bool))
        x, y, _ = grid
        single = self.blocks == 1
        place = np.int64(numbers[0]) if single else self.block
        self.block_place = (
            place if y == 1 and grid[2] == 1 else place % x,
            np.int64(0) if y == 1 else place // x % y,
            np.int64(0) if grid[2] == 1 else place // (x * y),
        )

    def pass_barrier(self, mask: Mask, *, block: bool) -> None:
        """Count a barrier of the block, or of the warp, for the threads that reached it."""
        if block:
            self.block_epoch = self.block_epoch + mask.lanes
        self.warp_epoch = self.warp_epoch + mask.lanes

    def incomplete(self, mask: Mask, size: int) -> int | None:
        """The first team of `size` threads (block or warp) that is neither wholly active nor wholly inactive."""
        if mask.full:
            return None
        counts = mask.lanes.reshape(-1, size).sum(axis=1)
        partial = np.flatnonzero((counts != 0) & (counts != size))
        return int(partial[0]) if len(partial) else None

    def name(self, lane: int) -> str:
        """``thread 5 of block 2`` for messages."""
        return name_thread(int(self.thread[lane]), self.threads, self.grid)


def name_thread(thread: int, threads: int, grid: tuple[int, int, int]) -> str:
    block, rank = divmod(thread, threads)
    x, y, z = grid
    place = str(block) if y == z == 1 else f"({block % x}, {block // x % y}, {block // (x * y)})"
    return f"thread {rank} (lane {rank % WARP} of warp {rank // WARP}) of block {place}"

"""Races: two accesses of one place by different threads, one of them a write, that no barrier puts in order.

Every access of a launch is kept with its threads and with the number of barriers that they had passed. When the launch
has ended, the places that were written are looked at: two accesses are in order

- by ``syncthreads`` if their threads are of one block and it passed a barrier in between,
- by ``syncwarp`` (or ``syncthreads``) if their threads are of one warp and it passed one in between,
- not at all between two blocks of one launch.

This is exact for the addresses and branches that were taken: nothing is approximated, no order is tried out. Shuffles
and votes put nothing in order, as the CUDA programming guide says of them. Atomic operations do not race with each
other, but with plain reads and writes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from symbp.check.emulator.arrays import View, at_lane
from symbp.check.emulator.errors import EmulatorError
from symbp.check.emulator.frame import Frame, Site
from symbp.check.emulator.lanes import WARP, Batch, Mask, name_thread
from symbp.check.emulator.memory import Memory

READ, WRITE, ATOMIC = 0, 1, 2
WORDS = ("read", "written", "updated")


@dataclass(frozen=True, slots=True, eq=False)
class Access:
    """One statement's access by the active threads of a batch; `places` are elements of `size` bytes."""

    kind: int
    places: Any
    size: int
    mask: Mask
    batch: Batch
    block_epoch: Any
    warp_epoch: Any
    site: Site
    view: View

    def granules(self) -> Any:
        """The granules touched: for each active thread all of its own, one after the other."""
        places = np.broadcast_to(self.places, (self.mask.count,))
        return self.view.memory.granules(places, self.size)

    def touched(self) -> Any:
        """The granules touched, by whomever."""
        return self.view.memory.granules(self.places, self.size)


class AccessLog:
    """The accesses of one launch."""

    def __init__(self, kernel: str) -> None:
        self.kernel = kernel
        self._accesses: dict[Memory, list[Access]] = {}
        self._changed: dict[Memory, bool] = {}

    def read(self, frame: Frame, view: View, places: Any, site: Site) -> None:
        self._record(READ, frame, view, places, site)

    def write(self, frame: Frame, view: View, places: Any, site: Site) -> None:
        self._changed[view.memory] = True
        self._record(WRITE, frame, view, places, site)

    def update(self, frame: Frame, view: View, places: Any, site: Site) -> None:
        """An atomic operation."""
        self._changed[view.memory] = True
        self._record(ATOMIC, frame, view, places, site)

    def _record(self, kind: int, frame: Frame, view: View, places: Any, site: Site) -> None:
        batch = frame.batch
        access = Access(
            kind,
            places,
            view.dtype.itemsize,
            frame.mask,
            batch,
            batch.block_epoch,
            batch.warp_epoch,
            site,
            view,
        )
        self._accesses.setdefault(view.memory, []).append(access)

    def check(self, memories: list[Memory] | None = None) -> None:
        """Raise EmulatorError for the first race, in these allocations or in all; forget their accesses."""
        for memory in list(self._accesses) if memories is None else memories:
            accesses = self._accesses.pop(memory, [])
            if self._changed.pop(memory, False):
                find_race(self.kernel, memory, accesses)


def find_race(kernel: str, memory: Memory, accesses: list[Access]) -> None:
    """Raise EmulatorError if two of the accesses to an allocation race."""
    changed = np.zeros(len(memory.written), bool)
    for access in accesses:
        if access.kind != READ:
            changed[access.touched()] = True
    columns: list[list[Any]] = [[], [], [], [], [], []]
    for position, access in enumerate(accesses):
        if not changed[access.touched()].any():
            continue
        touched = access.granules()
        many = len(touched) // access.mask.count
        lanes = np.repeat(access.mask.index, many) if many > 1 else access.mask.index
        keep = changed[touched]
        touched, lanes = touched[keep], lanes[keep]
        if not len(touched):
            continue
        columns[0].append(touched)
        columns[1].append(access.batch.thread[lanes])
        columns[2].append(access.block_epoch[lanes])
        columns[3].append(access.warp_epoch[lanes])
        columns[4].append(np.full(len(touched), access.kind, np.int8))
        columns[5].append(np.full(len(touched), position, np.int32))
    if not columns[0]:
        return
    granule, thread, block_epoch, warp_epoch, kind, number = (np.concatenate(column) for column in columns)
    # Most places belong to one thread: leave those out first.
    order = np.argsort(granule, kind="stable")
    starts = group_starts(granule[order])
    shared = spans(thread[order], starts)
    kept = order[np.repeat(shared, group_sizes(starts, len(order)))]
    if not len(kept):
        return
    granule, thread, block_epoch, warp_epoch, kind, number = (
        column[kept] for column in (granule, thread, block_epoch, warp_epoch, kind, number)
    )
    batch = accesses[0].batch
    block, warp = thread // batch.threads, thread // WARP
    levels = (
        ((granule,), block, "no barrier orders the blocks of one launch"),
        ((granule, block, block_epoch), warp, "with no cuda.syncthreads() between them"),
        ((granule, warp, warp_epoch), thread, "with no cuda.syncwarp() between them"),
    )
    for keys, actor, reason in levels:
        pair = conflict(keys, actor, kind)
        if pair is not None:
            first, second = pair
            one, two = accesses[number[first]], accesses[number[second]]
            place = element(int(granule[first]), memory, one, int(thread[first]))
            raise EmulatorError(
                f"race on {place}: {WORDS[one.kind]} by {name_thread(int(thread[first]), batch.threads, batch.grid)} "
                f"at {one.site}, and {WORDS[two.kind]} by "
                f"{name_thread(int(thread[second]), batch.threads, batch.grid)} at {two.site}, {reason}",
                place=f"kernel {kernel}",
            )


def conflict(keys: tuple[Any, ...], actor: Any, kind: Any) -> tuple[int, int] | None:
    """Two accesses with equal keys by different actors, at least one of them a change, not both atomic."""
    order = np.lexsort((actor, *reversed(keys)))
    changes = np.zeros(len(order), bool)
    changes[0] = True
    for key in keys:
        ordered = key[order]
        changes[1:] |= ordered[1:] != ordered[:-1]
    starts = np.flatnonzero(changes)
    kinds = kind[order]
    writes = np.logical_or.reduceat(kinds == WRITE, starts)
    reads = np.logical_or.reduceat(kinds == READ, starts)
    atomics = np.logical_or.reduceat(kinds == ATOMIC, starts)
    racing = np.flatnonzero(spans(actor[order], starts) & (writes | (reads & atomics)))
    if not len(racing):
        return None
    group = int(racing[0])
    stop = int(starts[group + 1]) if group + 1 < len(starts) else len(order)
    members = order[starts[group] : stop]
    members = members[np.argsort(kind[members] != WRITE, kind="stable")]
    for first in members:
        if kind[first] == READ:
            continue
        others = members[(actor[members] != actor[first]) & ((kind[members] != ATOMIC) | (kind[first] != ATOMIC))]
        if len(others):
            return int(first), int(others[0])
    return None


def group_starts(ordered: Any) -> Any:
    return np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])


def group_sizes(starts: Any, total: int) -> Any:
    return np.diff(np.r_[starts, total])


def spans(values: Any, starts: Any) -> Any:
    """For each group whether it has different values."""
    return np.minimum.reduceat(values, starts) != np.maximum.reduceat(values, starts)


def element(granule: int, memory: Memory, access: Access, thread: int) -> str:
    """``z[2, 7]``: the place as the thread's view has it."""
    view = access.view
    lane = int(np.flatnonzero(access.batch.thread == thread)[0])
    rest = granule * memory.granule // view.dtype.itemsize - at_lane(view.start, lane)
    subscripts = []
    for stride in view.strides:
        quotient, rest = divmod(rest, max(1, at_lane(stride, lane)))
        subscripts.append(str(quotient))
    return f"{view.name}[{', '.join(subscripts)}]"

"""The search for races against the definition, pair by pair, on random programs of reads, writes and barriers."""

import itertools

import numpy as np
import pytest
from numba import cuda

from symbp.check.emulator import EmulatedDevice, EmulatorError
from symbp.runtime.cuda.kernel import Integers, Size, raw_kernel
from symbp.runtime.cuda.views import view

THREADS, BLOCKS, PLACES = 64, 2, 40
READ, WRITE, ATOMIC, BLOCK_BARRIER, WARP_BARRIER = range(5)


@raw_kernel(threads=THREADS)
def run_program(kinds: Integers, where: Integers, memory: Integers, n_steps: Size, n_threads: Size):
    """Step s reads, writes or updates ``memory[where[s, thread]]`` (nothing where it is negative), or is a barrier."""
    kind = view(kinds, 0, (n_steps,))
    place = view(where, 0, (n_steps, n_threads))
    cells = view(memory, 0, (PLACES,))
    thread = cuda.grid(1)
    total = 0
    for step in range(n_steps):
        if kind[step] == BLOCK_BARRIER:
            cuda.syncthreads()
        elif kind[step] == WARP_BARRIER:
            cuda.syncwarp()
        elif place[step, thread] >= 0:
            if kind[step] == READ:
                total += cells[place[step, thread]]
            elif kind[step] == WRITE:
                cells[place[step, thread]] = thread
            else:
                cuda.atomic.add(cells, place[step, thread], 1)


def races(kinds: np.ndarray, where: np.ndarray) -> bool:
    """Whether two accesses race, by definition."""
    accesses = []
    blocks = warps = 0
    for kind, places in zip(kinds, where, strict=True):
        blocks += kind == BLOCK_BARRIER
        warps += kind in (BLOCK_BARRIER, WARP_BARRIER)
        if kind <= ATOMIC:
            accesses += [(place, kind, thread, blocks, warps) for thread, place in enumerate(places) if place >= 0]
    for (place, kind, thread, blocks, warps), (other, its, another, then, since) in itertools.combinations(accesses, 2):
        if place != other or thread == another or (kind == its and kind != WRITE):
            continue
        same_block = thread // THREADS == another // THREADS
        same_warp = thread // 32 == another // 32
        if not ((same_block and blocks != then) or (same_warp and warps != since)):
            return True
    return False


def random_program(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Few accesses, so that about half of the programs are free of races."""
    random = np.random.default_rng(seed)
    kinds = random.choice(5, size=7, p=[0.3, 0.25, 0.1, 0.2, 0.15])
    where = np.full((7, THREADS * BLOCKS), -1)
    neighbours = random.integers(0, 32, size=(7, 3)) + 32 * random.integers(0, 4, size=(7, 1))
    apart = random.integers(0, THREADS * BLOCKS, size=(7, 3))
    chosen = np.where(random.random((7, 1)) < 0.6, neighbours, apart)
    np.put_along_axis(where, chosen, random.integers(0, PLACES, size=(7, 3)), axis=1)
    return kinds, where


@pytest.mark.parametrize("seed", range(0, 300, 30))
def test_races_by_definition(seed: int) -> None:
    outcomes = []
    for number in range(seed, seed + 30):
        kinds, where = random_program(number)
        device = EmulatedDevice(number)
        memory = device.zeros((PLACES,), np.int64)
        arguments = (device.upload(kinds), device.upload(where), memory, len(kinds), where.shape[1])
        outcomes.append(races(kinds, where))
        if outcomes[-1]:
            with pytest.raises(EmulatorError, match="race on cells"):
                device.launch_blocks(run_program, BLOCKS, *arguments)
        else:
            device.launch_blocks(run_program, BLOCKS, *arguments)
    assert 3 < sum(outcomes) < 27

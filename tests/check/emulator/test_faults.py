"""Every fault that the emulator looks for is found in a kernel that has it, and not in the one beside it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from symbp.check.emulator import EmulatedDevice, EmulatorError
from symbp.runtime.cuda.kernel import Kernel
from tests.check.emulator import teams

SOURCE = np.arange(512, dtype=np.float32)


def run(kernel: Kernel, blocks: int, *arguments: Any, seed: int = 0) -> np.ndarray:
    """The 512 numbers that a kernel wrote behind its input, those it did not write being 0."""
    device = EmulatedDevice(seed)
    target = device.zeros((512,), np.float32)
    source = [device.upload(SOURCE)] if "source" in kernel.function.__code__.co_varnames else []
    device.launch_blocks(kernel, blocks, *source, target, *arguments)
    return target.to_host()


def fault(kernel: Kernel, blocks: int, *arguments: Any) -> str:
    with pytest.raises(EmulatorError) as caught:
        run(kernel, blocks, *arguments)
    text = str(caught.value)
    assert f"kernel {kernel.name}" in text
    return text


def test_right_kernels_run() -> None:
    assert (run(teams.reverse, 2) == SOURCE.reshape(2, 256)[:, ::-1].ravel()).all()
    assert (run(teams.neighbour, 1)[:256] == SOURCE[:256].reshape(-1, 2)[:, ::-1].ravel()).all()
    assert run(teams.one_place_per_block, 2)[:3].tolist() == [1, 1, 0]
    assert run(teams.one_lane_one_place, 1).sum() == 256
    assert (run(teams.return_behind_barrier, 1)[:200] == SOURCE[1:201]).all()
    assert (run(teams.barrier_in_loop_of_blocks, 2) == np.tile(SOURCE[:256], 2)).all()
    sums = np.tile(np.repeat(2 * np.arange(0, 32, 2) + 1, 2).astype(np.float32), 8)
    lower = np.tile(np.arange(32) < 16, 8)
    assert (run(teams.shuffle_all, 1)[:256] == np.where(lower, sums, 0)).all()
    assert (run(teams.warps_gone, 1)[:96] == sums[:96]).all()
    assert (run(teams.copy_by_four, 1, 8)[:32] == SOURCE[8:40]).all()
    assert run(teams.copy_by_two_into_aligned, 1)[0] == 1
    assert run(teams.local_written, 1)[:4].tolist() == [4, 5, 4, 5]


@pytest.mark.parametrize(
    ("kernel", "reason"),
    [
        (teams.reverse_without_barrier, "no cuda.syncthreads() between them"),
        (teams.reverse_with_warp_barrier, "no cuda.syncthreads() between them"),
        (teams.reverse_twice_too_soon, "no cuda.syncthreads() between them"),
        (teams.neighbour_read_too_soon, "no cuda.syncwarp() between them"),
        (teams.neighbour_written_too_soon, "no cuda.syncwarp() between them"),
        (teams.neighbour_by_shuffle_order, "no cuda.syncwarp() between them"),
        (teams.two_lanes_one_place, "no cuda.syncwarp() between them"),
        (teams.one_place_for_all_blocks, "no barrier orders the blocks of one launch"),
        (teams.read_what_another_block_writes, "no barrier orders the blocks of one launch"),
    ],
)
def test_a_race_is_found(kernel: Kernel, reason: str) -> None:
    text = fault(kernel, 2 if "block" in reason or "reverse" in kernel.name else 1)
    assert "race on " in text
    assert reason in text


def test_a_race_says_who_and_where() -> None:
    text = fault(teams.reverse_with_warp_barrier, 1)
    lines = teams.reverse_with_warp_barrier.function.__code__.co_firstlineno
    assert f"teams.py:{lines + 7} in reverse_with_warp_barrier: held[rank]" in text
    assert f"teams.py:{lines + 9} in reverse_with_warp_barrier: held[255 - rank]" in text
    assert "by thread 0 (lane 0 of warp 0) of block 0" in text
    assert "by thread 255 (lane 31 of warp 7) of block 0" in text


def test_atomic_operations_do_not_race_with_each_other() -> None:
    device = EmulatedDevice()
    counts = device.zeros((4,), np.int64)
    device.launch_blocks(teams.count_atomically, 2, counts)
    assert counts.to_host().tolist() == np.arange(512).reshape(128, 4).sum(axis=0).tolist()
    for kernel in (teams.count_atomically_and_read, teams.count_plainly):
        with pytest.raises(EmulatorError, match="race on sums"):
            device.launch_blocks(kernel, 1, counts)


@pytest.mark.parametrize(
    ("kernel", "said"),
    [
        (teams.return_before_barrier, "cuda.syncthreads() is reached by 200 of the 256 threads"),
        (teams.warp_gone_before_barrier, "cuda.syncthreads() is reached by 224 of the 256 threads"),
        (teams.barrier_in_branch, "cuda.syncthreads() is reached by 128 of the 256 threads"),
        (teams.barrier_in_loop_of_threads, "cuda.syncthreads() is reached by 170 of the 256 threads"),
        (teams.shuffle_in_branch, "cuda.shfl_xor_sync(ALL, x, 1) is reached by 16 of the 32 threads of a warp"),
        (teams.warp_barrier_in_branch, "cuda.syncwarp() is reached by 16 of the 32 threads of a warp"),
    ],
)
def test_a_barrier_that_not_all_reach_is_found(kernel: Kernel, said: str) -> None:
    assert said in fault(kernel, 1)


def test_a_barrier_names_the_return_that_it_misses_threads_by() -> None:
    line = teams.return_before_barrier.function.__code__.co_firstlineno + 6
    assert f"(threads have returned at teams.py:{line})" in fault(teams.return_before_barrier, 1)


def test_misaligned_words_are_found() -> None:
    text = fault(teams.copy_by_four, 1, 2)
    assert "one access of 16 bytes to 'source' at element 2, which lies at byte 8, not at a multiple of 16" in text
    text = fault(teams.copy_by_two_into_shared, 1)
    assert "one access of 16 bytes to 'held' at element 0, which is aligned to 4 bytes only" in text


def test_a_vector_access_beyond_the_end_is_found() -> None:
    assert "outside an axis of 512" in fault(teams.copy_by_four, 1, 512 - 16)


@pytest.mark.parametrize("by", [-1, 1])
def test_a_subscript_outside_its_axis_is_found(by: int) -> None:
    assert (run(teams.shifted, 1, 5, 0)[:15] == SOURCE[:15]).all()
    text = fault(teams.shifted, 1, 5, by)
    subscript, rank = (3, 2) if by == 1 else (-1, 0)
    assert f"subscript 1 of here[i, j + by] is {subscript}, outside an axis of 3" in text
    assert f"thread {rank} (lane {rank} of warp 0) of block 0" in text
    assert "teams.py:" in text


@pytest.mark.parametrize(("start", "n", "good"), [(0, 170, True), (2, 170, True), (3, 170, False), (-1, 2, False)])
def test_a_view_beyond_its_array_is_found(start: int, n: int, good: bool) -> None:
    device = EmulatedDevice()
    source = device.upload(SOURCE)
    if good:
        device.launch(teams.view_beyond, 1, source, start, n)
        return
    with pytest.raises(EmulatorError, match=r"view\(source, -?\d, \(\d+, 3\)\) ends after .* holds 512"):
        device.launch(teams.view_beyond, 1, source, start, n)


def test_a_window_bounds_its_views() -> None:
    device = EmulatedDevice()
    source = device.upload(SOURCE)
    device.launch(teams.view_beyond, 1, source[100:130], 0, 10)
    with pytest.raises(EmulatorError, match="holds 29"):
        device.launch(teams.view_beyond, 1, source[100:129], 0, 10)


def test_memory_that_was_never_written_is_found() -> None:
    device = EmulatedDevice()
    target = device.zeros((512,), np.float32)
    empty = device.empty((15,), np.float32)
    with pytest.raises(EmulatorError, match=r"here\[i, j \+ by\] reads element 0 of the device array of shape \(15,\)"):
        device.launch(teams.shifted, 15, empty, target, 5, 0)
    assert "held[rank] reads element 255 of shared memory, which has never been written" in fault(
        teams.shared_half_written, 1
    )
    assert "element 3 of the thread's own 'held', which has never been written" in fault(teams.local_half_written, 1)


def test_writing_what_is_protected_is_found() -> None:
    device = EmulatedDevice()
    source, target = device.upload(SOURCE), device.zeros((512,), np.float32)
    device.protect(source)
    device.launch(teams.shifted, 15, source, target, 5, 0)
    with pytest.raises(EmulatorError, match="only to be read"):
        device.launch(teams.shifted, 15, target, source, 5, 0)


@pytest.mark.parametrize("seed", range(4))
def test_the_order_of_blocks_does_not_hide_a_race(seed: int) -> None:
    with pytest.raises(EmulatorError, match="race on places"):
        _many_blocks(seed)


def _many_blocks(seed: int) -> None:
    device = EmulatedDevice(seed)
    target = device.zeros((2,), np.float32)
    device.launch_blocks(teams.one_place_for_all_blocks, 200, target)

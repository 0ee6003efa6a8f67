"""Sums and maxima over teams: run by 256 threads of Python that meet at barriers, and read off the PTX."""

# The kernels of this file take their annotations as objects, not as text.

import math
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from symbp.runtime.cuda import team
from symbp.runtime.cuda.kernel import Doubles, Size, block_kernel, column_kernel, pointer, warp_kernel
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
from symbp.runtime.cuda.views import view
from tests.runtime.cuda.machine_code import compiled, instructions, numba_cuda

Reals = pointer(np.float32)


class Block:
    """Stands for ``numba.cuda`` in each of the threads of one block."""

    def __init__(self) -> None:
        self._thread = threading.local()
        self._block = threading.Barrier(BLOCK)
        self._warps = [threading.Barrier(WARP) for _ in range(BLOCK // WARP)]
        self._given: list[Any] = [None] * BLOCK
        self._arrays: dict[int, np.ndarray] = {}
        self._lock = threading.Lock()
        self.shared = SimpleNamespace(array=self._array)
        self.arrays_seen: list[tuple[Any, Any]] = []

    @property
    def rank(self) -> int:
        return self._thread.rank

    @property
    def laneid(self) -> int:
        return self.rank % WARP

    @property
    def threadIdx(self) -> Any:
        return SimpleNamespace(x=self.rank)

    def syncthreads(self) -> None:
        self._block.wait(timeout=60)

    def shfl_xor_sync(self, mask: int, value: Any, distance: int) -> Any:
        assert mask == 0xFFFFFFFF
        warp = self._warps[self.rank // WARP]
        self._given[self.rank] = value
        warp.wait(timeout=60)
        other = self._given[self.rank ^ distance]
        warp.wait(timeout=60)
        return other

    def _array(self, shape: Any, dtype: Any) -> np.ndarray:
        # A declaration names one array; the threads come to the same declarations in the same order.
        number = self._thread.arrays
        self._thread.arrays += 1
        with self._lock:
            if number not in self._arrays:
                self._arrays[number] = np.full(shape, 99, dtype)
            return self._arrays[number]

    def run(self, function: Callable[[int], Any]) -> list[Any]:
        """What the function returns in each of the threads."""
        results: list[Any] = [None] * BLOCK

        def thread(rank: int) -> None:
            self._thread.rank, self._thread.arrays = rank, 0
            try:
                results[rank] = function(rank)
            except BaseException as error:
                results[rank] = error
                self._block.abort()

        threads = [threading.Thread(target=thread, args=(rank,)) for rank in range(BLOCK)]
        for started in threads:
            started.start()
        for started in threads:
            started.join()
        raised = [result for result in results if isinstance(result, BaseException)]
        if raised:
            raise raised[0]
        return results


@pytest.fixture
def block(monkeypatch: pytest.MonkeyPatch) -> Block:
    made = Block()
    monkeypatch.setattr(team, "cuda", made)
    return made


def numbers(dtype: Any) -> np.ndarray:
    return np.random.default_rng(5).normal(size=BLOCK).astype(dtype)


def members(function: Callable[..., Any], rank: int) -> list[int]:
    """The threads that a result of this thread is over."""
    if function in (warp_sum, warp_max):
        return [other for other in range(BLOCK) if other // WARP == rank // WARP]
    if function in (column_sum, column_max):
        return [other for other in range(BLOCK) if other % WARP == rank % WARP]
    return list(range(BLOCK))


@pytest.mark.parametrize("function", [warp_sum, block_sum, column_sum])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sums(block: Block, function: Callable[..., Any], dtype: Any) -> None:
    x = numbers(dtype)
    found = block.run(lambda rank: function(x[rank]))
    for rank in range(BLOCK):
        over = x[members(function, rank)].astype(np.float64)
        assert type(found[rank]) is dtype
        assert abs(float(found[rank]) - math.fsum(over)) <= 16 * np.finfo(dtype).eps * math.fsum(abs(over))
        # All of a team hold the same bits.
        assert found[rank] == found[members(function, rank)[0]]


@pytest.mark.parametrize("function", [warp_max, block_max, column_max])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_maxima(block: Block, function: Callable[..., Any], dtype: Any) -> None:
    x = numbers(dtype)
    x[37] = np.nan
    found = block.run(lambda rank: function(x[rank]))
    for rank in range(BLOCK):
        over = members(function, rank)
        np.testing.assert_equal(found[rank], np.nan if 37 in over else x[over].max())


@pytest.mark.parametrize("function", [block_sum, block_max, column_sum, column_max])
def test_one_after_the_other(block: Block, function: Callable[..., Any]) -> None:
    """The same shared array twice, as in a kernel: the second call may not reach it before all have read the first."""
    x = numbers(np.float64)

    def twice(rank: int) -> tuple[Any, Any]:
        first = function(x[rank])
        block._thread.arrays = 0
        return first, function(-x[rank])

    def once(rank: int) -> Any:
        return function(-x[rank])

    both = block.run(twice)
    alone = Block()
    team.cuda = alone  # the fixture puts the real one back
    assert [second for _, second in both] == alone.run(once)


def test_the_order_of_a_block_is_that_of_its_warps(block: Block) -> None:
    x = np.zeros(BLOCK, np.float32)
    x[0], x[WARP], x[2 * WARP] = 1e8, -1e8, 1.0
    assert set(block.run(lambda rank: float(block_sum(x[rank])))) == {1.0}
    x[WARP], x[2 * WARP] = 1.0, -1e8
    other = Block()
    team.cuda = other
    assert set(other.run(lambda rank: float(block_sum(x[rank])))) == {0.0}


@warp_kernel
def over_warps(x: Reals, y: Doubles, n: Size):
    a, b = view(x, 0, (n,)), view(y, 0, (n,))
    a[0] = warp_sum(a[1]) + warp_max(a[2])
    b[0] = warp_sum(b[1]) + warp_max(b[2])


@block_kernel
def over_blocks(x: Reals, y: Doubles, n: Size):
    a, b = view(x, 0, (n,)), view(y, 0, (n,))
    a[0] = block_sum(a[1]) + block_max(a[2]) + block_sum(a[3])
    b[0] = block_sum(b[1]) + block_max(b[2])


@column_kernel
def over_columns(x: Reals, y: Doubles, n: Size):
    a, b = view(x, 0, (n,)), view(y, 0, (n,))
    a[0] = column_sum(a[1]) + column_max(a[2]) + column_sum(a[3])
    b[0] = column_sum(b[1]) + column_max(b[2])


@numba_cuda
def test_a_warp_exchanges_five_times() -> None:
    found = instructions(compiled(over_warps))
    assert found.count("shfl.sync.bfly.b32") == 2 * 5 + 2 * 5 * 2  # a float64 goes in two halves
    assert not any(name.startswith("bar") for name in found)


@numba_cuda
def test_a_block_meets_twice() -> None:
    ptx = compiled(over_blocks)
    found = instructions(ptx)
    assert found.count("bar.sync") == 2 * 5
    # The second sum in float32 uses the array of the first.
    assert sorted(size for size in shared_bytes(ptx)) == [32, 32, 64, 64]


@numba_cuda
def test_a_column_meets_twice() -> None:
    ptx = compiled(over_columns)
    assert instructions(ptx).count("bar.sync") == 2 * 5
    assert sorted(shared_bytes(ptx)) == [4 * WARP * COLUMN] * 2 + [8 * WARP * COLUMN] * 2
    assert not any(name.startswith("shfl") for name in instructions(ptx))


def shared_bytes(ptx: str) -> list[int]:
    return [int(line.rpartition("[")[2].rstrip("];")) for line in ptx.splitlines() if ".shared .align" in line]

"""A device whose memory is NumPy's, and whose kernels run one thread after the other: for tests of the host's side."""

from __future__ import annotations

import math
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from symbp.errors import DeviceError
from symbp.runtime.cuda.array import Array, Blocks, Device, DeviceArray, capture_key
from symbp.runtime.cuda.dlpack import CPU


@dataclass(frozen=True, eq=False)
class HostMemory:
    """Bytes of a NumPy array that stand for device memory."""

    cells: Array
    device: Device

    @property
    def pointer(self) -> int:
        return int(self.cells.ctypes.data)

    @property
    def nbytes(self) -> int:
        return int(self.cells.nbytes)


class FakeDevice(Device):
    """Counts what it is asked for, in ``calls``; fails to allocate beyond ``limit`` bytes a piece."""

    name = "a fake device"
    dlpack_device = (CPU, 0)

    def __init__(self, limit: float = math.inf) -> None:
        super().__init__()
        self.limit = limit
        self.calls: list[str] = []
        self.keys: list[tuple[object, ...]] = []

    def allocate(self, nbytes: int) -> HostMemory:
        if nbytes > self.limit:
            raise DeviceError("out of memory")
        self.calls.append("allocate")
        return HostMemory(np.full(nbytes, 0xA5, np.uint8), self)

    def write(self, target: DeviceArray, source: Array) -> None:
        assert source.flags.c_contiguous
        assert (source.dtype, source.size) == (target.dtype, target.size)
        self.calls.append("write")
        values_of(target)[...] = source

    def read(self, source: DeviceArray, target: Array) -> None:
        assert target.flags.c_contiguous
        assert (source.dtype, source.size) == (target.dtype, target.size)
        self.calls.append("read")
        target[...] = values_of(source)

    def copy(self, source: DeviceArray, target: DeviceArray) -> None:
        assert (source.dtype, source.size) == (target.dtype, target.size)
        self.calls.append("copy")
        values_of(target).reshape(-1)[...] = values_of(source).reshape(-1)

    def clear(self, array: DeviceArray) -> None:
        self.calls.append("clear")
        values_of(array)[...] = 0

    def captured(self, key: Sequence[object], program: Callable[[], None]) -> None:
        self.keys.append(capture_key(key))
        program()

    def launch_blocks(self, kernel: Any, blocks: Blocks, *arguments: Any) -> None:
        """One thread after the other: for kernels whose threads do not wait for each other."""
        assert isinstance(blocks, int)
        self.calls.append(kernel.name)
        run_threads(kernel, blocks, [_flat_from(a) if isinstance(a, DeviceArray) else a for a in arguments])

    def synchronise(self) -> None:
        self.calls.append("synchronise")


def run_threads(kernel: Any, blocks: int, arguments: list[Any]) -> None:
    """Run a kernel, with flat NumPy arrays for pointers."""
    thread = _Thread()
    names = {**kernel.function.__globals__, "cuda": thread, "view": _view, "unravel": np.unravel_index}
    function = types.FunctionType(
        kernel.function.__code__, names, kernel.name, kernel.function.__defaults__, kernel.function.__closure__
    )
    for position in range(blocks * kernel.threads):
        thread.position = position
        function(*arguments)


def values_of(array: DeviceArray) -> Array:
    """The NumPy array that a device array of a fake device is."""
    assert array.contiguous
    start = array.offset * array.dtype.itemsize
    return array.memory.cells[start : start + array.nbytes].view(array.dtype).reshape(array.shape)  # type: ignore[attr-defined]


def _flat_from(array: DeviceArray) -> Array:
    """All that lies behind a pointer."""
    rest = array.memory.cells[array.offset * array.dtype.itemsize :]  # type: ignore[attr-defined]
    return rest[: rest.size // array.dtype.itemsize * array.dtype.itemsize].view(array.dtype)


def _view(flat: Array, start: int, shape: tuple[int, ...]) -> Array:
    size = math.prod(shape)
    assert start + size <= flat.size
    return flat[start : start + size].reshape(shape)


class _Atomic:
    @staticmethod
    def add(array: Array, index: Any, value: Any) -> Any:
        before = array[index].copy()
        array[index] += value
        return before

    @staticmethod
    def max(array: Array, index: Any, value: Any) -> Any:
        before = array[index].copy()
        array[index] = max(before, value)
        return before


class _Thread:
    """What ``cuda`` is to a kernel."""

    position = 0
    atomic = _Atomic

    def grid(self, axes: int) -> int:
        assert axes == 1
        return self.position

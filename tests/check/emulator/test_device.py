"""The emulated device: memory, copies, captured programs, and what it refuses to launch."""

from __future__ import annotations

import sys
from types import ModuleType

import numpy as np
import pytest
from numba import cuda

from symbp.check.emulator import EmulatedDevice, EmulatorError, attach, emulated
from symbp.runtime.cuda import device as devices
from symbp.runtime.cuda.kernel import Integers, Size, pointer, raw_kernel, thread_kernel
from symbp.runtime.cuda.views import view

Reals = pointer(np.float32)


@thread_kernel
def add(x: Reals, y: Reals, n: Size):
    here, there = view(x, 0, (n,)), view(y, 0, (n,))
    i = cuda.grid(1)
    if i >= n:
        return
    there[i] += here[i]


@raw_kernel(threads=64, shared=256)
def over_a_grid(out: Integers, n: Size):
    """Three axes of blocks, and shared memory whose size the launch gives."""
    held = cuda.shared.array(0, np.float32)
    places = view(out, 0, (2, 3, 4, 64))
    rank = cuda.threadIdx.x
    held[63 - rank] = np.float32(rank)
    cuda.syncthreads()
    places[cuda.blockIdx.z, cuda.blockIdx.y, cuda.blockIdx.x, rank] = np.int64(held[rank]) + 100 * cuda.gridDim.y + n


@raw_kernel(threads=64, shared=128)
def beyond_dynamic_memory(out: Integers, n: Size):
    held = cuda.shared.array(0, np.float32)
    held[cuda.threadIdx.x] = np.float32(n)


def test_values_go_there_and_back() -> None:
    device = EmulatedDevice()
    for dtype in (np.float32, np.float64, np.int64, np.int32, np.bool_, np.uint8):
        values = (np.arange(35).reshape(5, 7) % 3).astype(dtype)
        array = device.upload(values)
        assert (array.to_host() == values).all()
        assert (array[1:4, 2:5].to_host() == values[1:4, 2:5]).all()
        assert (array.T.to_host() == values.T).all()
        assert (array.copy().to_host() == values).all()
        device.clear(array[2])
        assert (array.to_host() == np.where(np.arange(5)[:, None] == 2, 0, values)).all()
        array[3] = values[0]
        assert (array[3].to_host() == values[0]).all()
    assert device.zeros((0, 3), np.float32).to_host().shape == (0, 3)
    assert float(device.upload(np.array([2.5]))) == 2.5
    assert (np.asarray(device.upload(values)) == values).all()


def test_what_was_never_written_does_not_reach_the_host() -> None:
    device = EmulatedDevice()
    array = device.empty((3, 4), np.float64)
    array[1] = np.arange(4.0)
    assert array[1].to_host().tolist() == [0, 1, 2, 3]
    with pytest.raises(EmulatorError, match=r"element 0 of the device array of shape \(3, 4\) is read by the host"):
        array.to_host()
    copied = array.copy()  # copies what there is
    assert copied[1].to_host().tolist() == [0, 1, 2, 3]
    with pytest.raises(EmulatorError, match="never been written"):
        copied[2].to_host()


def test_a_foreign_array_is_borrowed() -> None:
    device = EmulatedDevice()
    values = np.arange(12, dtype=np.float32).reshape(3, 4)
    array = device.wrap(values)
    device.clear(array[1])
    assert values[1].tolist() == [0, 0, 0, 0]
    assert (device.wrap(values[:, 1:3]).to_host() == values[:, 1:3]).all()
    assert (np.from_dlpack(array) == values).all()
    with pytest.raises(EmulatorError, match="__dlpack__"):
        device.wrap([1.0])


def test_grids_of_three_axes_and_dynamic_shared_memory() -> None:
    device = EmulatedDevice(seed=3)
    out = device.empty((2, 3, 4, 64), np.int64)
    device.launch_blocks(over_a_grid, (4, 3, 2), out, 7)
    assert (out.to_host() == 63 - np.arange(64) + 307).all()
    assert device.launches == {"over_a_grid": 1}
    with pytest.raises(EmulatorError, match=r"subscript 0 of held.* is 32, outside an axis of 32"):
        device.launch_blocks(beyond_dynamic_memory, 1, out, 7)


def test_no_points_no_launch() -> None:
    device = EmulatedDevice()
    x = device.zeros((0,), np.float32)
    device.launch(add, 0, x, x, 0)
    assert not device.launches
    with pytest.raises(EmulatorError, match="a grid from 1 block"):
        device.launch_blocks(add, 0, x, x, 0)


def test_arguments_are_checked() -> None:
    device, other = EmulatedDevice(), EmulatedDevice()
    x, whole = device.zeros((4,), np.float32), device.zeros((4,), np.int64)
    for arguments, said in [
        ((x, x), "expected 3 arguments (x, y, n), found 2"),
        ((x, whole, 4), "'y' is a pointer to float32, found an array of int64"),
        ((x, np.zeros(4, np.float32), 4), "'y' is a pointer to float32, found ndarray"),
        ((x, x, 4.0), "'n' is a whole number by value, found float"),
        ((x, other.zeros((4,), np.float32), 4), "'y' lies on another device"),
    ]:
        with pytest.raises(EmulatorError) as caught:
            device.launch(add, 4, *arguments)
        assert said in str(caught.value)


def test_a_captured_program_must_repeat_itself() -> None:
    device = EmulatedDevice()
    x, y = device.upload(np.ones(4, np.float32)), device.zeros((4,), np.float32)
    for turn in range(3):
        device.captured(("step", x, y), lambda: device.launch(add, 4, x, y, 4))
        assert y.to_host().tolist() == [turn + 1.0] * 4
    device.captured(("other", x, y), lambda: device.launch(add, 3, x, y, 3))  # another key
    with pytest.raises(EmulatorError, match=r"step 0 of a captured program is add\(.*, 3\), but was add\(.*, 4\)"):
        device.captured(("step", x, y), lambda: device.launch(add, 4, x, y, 3))
    with pytest.raises(EmulatorError, match="is the end, but was add"):
        device.captured(("step", x, y), lambda: None)

    def cleared() -> None:
        device.launch(add, 4, x, y, 4)
        device.clear(y)

    with pytest.raises(EmulatorError, match="step 1 of a captured program is clear"):
        device.captured(("step", x, y), cleared)

    def allocating() -> None:
        device.empty((3,), np.float32)

    device.captured(("new",), allocating)
    with pytest.raises(EmulatorError, match="memory is allocated"):
        device.captured(("new",), allocating)


def test_a_package_is_attached() -> None:
    package = ModuleType("some_package")
    package.__path__ = []  # type: ignore[attr-defined]
    sys.modules["some_package"] = package
    try:
        with emulated(package) as device:
            assert isinstance(device, EmulatedDevice)
            assert devices.current_device() is device
        other = attach(package, seed=4)
        assert devices.current_device() is other
    finally:
        devices.use_device(None)
        del sys.modules["some_package"]

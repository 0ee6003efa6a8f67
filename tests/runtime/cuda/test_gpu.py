"""On a real GPU: every call of the driver that a device makes, and arrays of other libraries."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numba import cuda

from symbp.errors import DataError, DeviceError
from symbp.runtime.cuda import batches
from symbp.runtime.cuda.device import CudaDevice
from symbp.runtime.cuda.kernel import Doubles, Size, raw_kernel
from symbp.runtime.cuda.views import view


def open_gpu() -> CudaDevice | None:
    try:
        return CudaDevice()
    except DeviceError:
        return None


GPU = open_gpu()
pytestmark = [pytest.mark.cuda, pytest.mark.skipif(GPU is None, reason="there is no GPU")]


@pytest.fixture
def gpu() -> Iterator[CudaDevice]:
    assert GPU is not None
    yield GPU
    GPU.synchronise()


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_values_go_up_and_down(gpu: CudaDevice, dtype: Any) -> None:
    values = np.arange(3 * 5 * 7, dtype=dtype).reshape(3, 5, 7)
    array = gpu.upload(values)
    np.testing.assert_array_equal(array.to_host(), values)
    np.testing.assert_array_equal(array[1:, 2, -3:].to_host(), values[1:, 2, -3:])
    np.testing.assert_array_equal(array.T.copy().to_host(), values.T)
    copy = array.copy()
    gpu.clear(array[1])
    np.testing.assert_array_equal(copy.to_host(), values)
    assert not array[1].to_host().any()
    np.testing.assert_array_equal(array[2].to_host(), values[2])


def test_a_large_array_may_be_changed_as_soon_as_it_is_uploaded(gpu: CudaDevice) -> None:
    values = np.ones(1 << 24, np.float32)
    array = gpu.upload(values)
    values[:] = 0
    assert array.to_host().min() == 1


def test_small_kernels(gpu: CudaDevice) -> None:
    data = np.random.default_rng(0).normal(size=(1000, 13)).astype(np.float32)
    rows = np.random.default_rng(1).integers(0, 1000, 77)
    np.testing.assert_array_equal(batches.take(gpu, gpu.upload(data), rows).to_host(), data[rows])
    wide = gpu.empty((3,), np.int64)
    batches.widen(gpu, gpu.upload(np.array([1, -2, 3], np.int32)), wide)
    np.testing.assert_array_equal(wide.to_host(), [1, -2, 3])
    labels = np.random.default_rng(2).integers(-3, 12, 200_001)
    assert batches.outside(gpu, gpu.upload(labels), 10) == np.count_nonzero((labels < 0) | (labels >= 10))
    for dtype in (np.float32, np.float64):
        values = np.ones(100_003, dtype)
        values[[0, 70_000]] = np.nan, -np.inf
        assert batches.not_finite(gpu, gpu.upload(values)) == 2


def test_graphs(gpu: CudaDevice) -> None:
    count = gpu.zeros((1,), np.int64)
    held = gpu.zeros((4,), np.int64)

    def program() -> None:
        batches.advance(gpu, count)
        gpu.clear(held[1:3])
        gpu.copy(count, held[3:])

    for turn in range(5):
        held[...] = 9
        gpu.captured(["count", count, held], program)
        assert held.to_host().tolist() == [9, 0, 0, turn + 1]
    gpu.forget(["count", count, held])


def test_a_capture_that_fails_leaves_the_device_usable(gpu: CudaDevice) -> None:
    array = gpu.zeros((1,), np.int64)
    gpu.captured(["fails"], lambda: None)
    with pytest.raises(DeviceError, match="values cannot be downloaded while a CUDA graph is captured"):
        gpu.captured(["fails"], lambda: array.to_host() and None)
    batches.advance(gpu, array)
    assert int(array) == 1
    for _ in range(3):
        gpu.captured(["works", array], lambda: batches.advance(gpu, array))
    assert int(array) == 4


@raw_kernel(threads=128, shared=60_000)
def fill_shared(out: Doubles, count: Size):  # type: ignore[no-untyped-def, valid-type]
    """Reverse numbers by way of dynamic shared memory, more than a kernel has unasked."""
    held = cuda.shared.array(0, np.float64)
    result = view(out, 0, (count,))
    for i in range(cuda.threadIdx.x, count, 128):
        held[i] = i
    cuda.syncthreads()
    for i in range(cuda.threadIdx.x, count, 128):
        result[i] = held[count - 1 - i]


def test_dynamic_shared_memory_above_48_kib(gpu: CudaDevice) -> None:
    out = gpu.empty((7_500,), np.float64)
    gpu.launch_blocks(fill_shared, 1, out, 7_500)
    np.testing.assert_array_equal(out.to_host(), np.arange(7_500)[::-1])


def test_out_of_memory(gpu: CudaDevice) -> None:
    with pytest.raises(DeviceError, match=r"out of memory on .*: asked for 8192\.0 GiB, free are"):
        gpu.empty((1 << 40,), np.float64)
    assert gpu.zeros((3,), np.float32).to_host().tolist() == [0, 0, 0]


def test_memory_goes_back_to_the_driver(gpu: CudaDevice) -> None:
    array = gpu.empty((1 << 28,), np.uint8)
    free = gpu._driver.memory()[0]
    del array
    gc.collect()
    gpu.release()
    assert gpu._driver.memory()[0] >= free + (1 << 28)


def test_another_thread(gpu: CudaDevice) -> None:
    found = []
    thread = threading.Thread(target=lambda: found.append(gpu.upload(np.arange(5)).to_host().sum()))
    thread.start()
    thread.join()
    assert found == [10]


# ------------------------------------------------------------------------------------------------------ other libraries


def test_cupy(gpu: CudaDevice) -> None:
    cupy = pytest.importorskip("cupy")
    theirs = cupy.arange(12, dtype=cupy.float32).reshape(3, 4)
    ours = gpu.wrap(theirs)
    assert ours.pointer == theirs.data.ptr
    np.testing.assert_array_equal(ours.to_host(), theirs.get())
    np.testing.assert_array_equal(gpu.wrap(theirs.T).to_host(), theirs.get().T)
    for back in (cupy.asarray(ours), cupy.from_dlpack(ours)):
        assert back.data.ptr == theirs.data.ptr
        np.testing.assert_array_equal(back.get(), theirs.get())
    with cupy.cuda.Stream(non_blocking=True):
        large = cupy.ones((1 << 24,), cupy.float32)
        for _ in range(20):
            large += 1
        assert gpu.wrap(large).copy().to_host().min() == 21


def test_pytorch(gpu: CudaDevice) -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this PyTorch has no CUDA")
    theirs = torch.arange(12, dtype=torch.float64, device="cuda").reshape(3, 4)
    ours = gpu.wrap(theirs)
    assert ours.pointer == theirs.data_ptr()
    np.testing.assert_array_equal(ours.to_host(), theirs.cpu().numpy())
    for back in (torch.as_tensor(ours, device="cuda"), torch.from_dlpack(ours)):
        assert back.data_ptr() == theirs.data_ptr()
        np.testing.assert_array_equal(back.cpu().numpy(), theirs.cpu().numpy())
    with pytest.raises(DataError, match="cannot be lent to us"):
        gpu.wrap(torch.ones(3, device="cuda", requires_grad=True))
    with pytest.raises(DataError, match="expected numbers of a NumPy dtype"):
        gpu.wrap(torch.ones(3, device="cuda", dtype=torch.bfloat16))
    with torch.cuda.stream(torch.cuda.Stream()):
        large = torch.ones(1 << 24, device="cuda")
        for _ in range(20):
            large += 1
        assert gpu.wrap(large).copy().to_host().min() == 21


def test_jax(gpu: CudaDevice) -> None:
    jax = pytest.importorskip("jax")
    if jax.default_backend() != "gpu":
        pytest.skip("this JAX has no CUDA")
    theirs = jax.numpy.arange(12, dtype=jax.numpy.float32).reshape(3, 4) + 1
    np.testing.assert_array_equal(gpu.wrap(theirs).to_host(), np.asarray(theirs))
    ours = gpu.upload(np.arange(6, dtype=np.float32).reshape(2, 3))
    np.testing.assert_array_equal(np.asarray(jax.dlpack.from_dlpack(ours)), ours.to_host())


def test_numba(gpu: CudaDevice) -> None:
    theirs = cuda.to_device(np.arange(5, dtype=np.float32))
    np.testing.assert_array_equal(gpu.wrap(theirs).to_host(), np.arange(5))
    np.testing.assert_array_equal(cuda.as_cuda_array(gpu.upload(np.arange(5.0))).copy_to_host(), np.arange(5))

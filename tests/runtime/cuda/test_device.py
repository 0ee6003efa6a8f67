"""The device above its driver: memory, launches, graphs, arrays of other libraries, errors. The driver is fake."""

from __future__ import annotations

import gc
import importlib.util
import shutil
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from symbp.errors import DataError, DeviceError
from symbp.runtime.cuda import batches, device, driver
from symbp.runtime.cuda.array import DeviceArray, lies_on_a_device
from symbp.runtime.cuda.device import CudaDevice, current_device, use_device
from symbp.runtime.cuda.kernel import Integers, Kernel, Size, raw_kernel
from tests.runtime.cuda.fake_device import FakeDevice
from tests.runtime.cuda.fake_driver import FakeDriver

KERNELS = {kernel.name: kernel for kernel in vars(batches).values() if isinstance(kernel, Kernel)}
NUMBA_CUDA = importlib.util.find_spec("numba_cuda") is not None


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> CudaDevice:
    """A device on a fake driver; kernels are compiled to their names."""
    monkeypatch.setattr(device, "cached_ptx", lambda kernel, cc: f"ptx of {kernel.name} for {cc}")
    return CudaDevice(driver=FakeDriver(kernels=KERNELS))


def fake(gpu: CudaDevice) -> FakeDriver:
    assert isinstance(gpu._driver, FakeDriver)
    return gpu._driver


# ---------------------------------------------------------------------------------------------- no GPU, as it is here


@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="there is a GPU")
def test_without_a_gpu_the_error_says_so_in_a_line() -> None:
    use_device(None)
    with pytest.raises(DeviceError) as caught:
        current_device()
    text = str(caught.value)
    assert "\n" not in text
    if NUMBA_CUDA:
        assert text == (
            "no NVIDIA driver was found on this machine; "
            "install one, or use a package made for the CPU: symbp compile --target cpu"
        )
    else:
        assert text == (
            "the GPU cannot be used: cuda-core and cuda-bindings are not installed; "
            'install it with: pip install "symbp[cuda]"'
        )


def test_another_device_can_be_used() -> None:
    other = FakeDevice()
    use_device(other)
    try:
        assert current_device() is other
    finally:
        use_device(None)


# --------------------------------------------------------------------------------------------------------------- memory


def test_values_go_up_and_down(gpu: CudaDevice) -> None:
    values = np.arange(15, dtype=np.float32).reshape(3, 5)
    array = gpu.upload(values)
    np.testing.assert_array_equal(array.to_host(), values)
    np.testing.assert_array_equal(array[1:, 2].to_host(), values[1:, 2])
    np.testing.assert_array_equal(array.copy().to_host(), values)
    gpu.clear(array[1])
    np.testing.assert_array_equal(array.to_host(), values * [[1], [0], [1]])
    for empty in (gpu.zeros((0, 3), np.float32), gpu.upload(np.zeros((2, 0)))):
        assert empty.to_host().size == 0
        assert empty.copy().size == 0


def test_memory_is_used_again_when_nobody_refers_to_it(gpu: CudaDevice) -> None:
    first = gpu.empty((100,), np.float32)
    window = first[10:]
    place = first.pointer
    del first
    gc.collect()
    assert gpu.empty((100,), np.float32).pointer != place  # the window still needs it
    del window
    gc.collect()
    assert gpu.empty((99,), np.float32).pointer == place
    assert fake(gpu).log.count("allocate") == 2


@pytest.mark.parametrize("nbytes", [1, 256, 257, 4096, 5000, 100_001, (1 << 20) + 1, (1 << 33) - 1])
def test_an_eighth_more_at_most_is_set_aside(nbytes: int) -> None:
    capacity = device._capacity(nbytes)
    assert nbytes <= capacity <= max(nbytes * 1.13, nbytes + 256)
    assert capacity % 256 == 0
    assert device._capacity(capacity) == capacity


def test_what_is_kept_goes_back_before_memory_runs_out(gpu: CudaDevice) -> None:
    fake(gpu).room = 4096
    gpu.empty((2048,), np.uint8)
    gpu.empty((1024,), np.uint8)
    gc.collect()
    assert fake(gpu).memory()[0] == 1024
    array = gpu.empty((4096,), np.uint8)
    assert array.size == 4096
    assert fake(gpu).log.count("free") == 2


def test_memory_and_graphs_can_be_released(gpu: CudaDevice) -> None:
    array = gpu.zeros((1,), np.int64)
    for _ in range(2):
        gpu.captured(["clear"], lambda: gpu.clear(array))
    gpu.empty((1000,), np.float64)
    gpu.release()
    assert len(fake(gpu).pieces) == 1
    fake(gpu).log.clear()
    gpu.captured(["clear"], lambda: gpu.clear(array))
    assert fake(gpu).log == ["clear"]


def test_out_of_memory_names_what_was_asked_for_and_what_there_is(gpu: CudaDevice) -> None:
    fake(gpu).room = 3 << 20
    held = gpu.empty((1 << 20,), np.uint8)
    with pytest.raises(DeviceError) as caught:
        gpu.empty((1 << 30,), np.float64)
    assert str(caught.value) == (
        "out of memory on a fake GPU: asked for 8.0 GiB, free are 2.0 MiB of 3.0 MiB; "
        "use a smaller batch, or end other programs that use the GPU"
    )
    del held


def test_graphs_give_their_memory_back_before_it_runs_out(gpu: CudaDevice) -> None:
    fake(gpu).room = 4096

    def program() -> None:
        gpu.clear(gpu.scratch("held", 2048, np.uint8))

    for _ in range(2):
        gpu.captured(["clear"], program)
    gpu.scratch("held", 2049, np.uint8)  # the scratch has moved, the graph keeps the old one
    gpu._scratch.held.clear()
    gpu._scratch.lent.clear()
    gc.collect()
    assert gpu.empty((4096,), np.uint8).size == 4096


def test_arrays_of_another_device_are_refused(gpu: CudaDevice) -> None:
    other = FakeDevice().zeros((3,), np.float32)
    with pytest.raises(DeviceError, match="expected an array on a fake GPU, found one on a fake device"):
        gpu.copy(other, gpu.empty((3,), np.float32))
    with pytest.raises(DeviceError, match="expected a contiguous array"):
        gpu.clear(gpu.zeros((3, 4), np.float32)[:, 1])


# ------------------------------------------------------------------------------------------------------------- launches


def test_a_launch(gpu: CudaDevice) -> None:
    source = gpu.upload(np.array([5, -6, 7], np.int32))
    target = gpu.zeros((4,), np.int64)
    batches.widen(gpu, source, target[1:])
    np.testing.assert_array_equal(target.to_host(), [0, 5, -6, 7])
    assert fake(gpu).launched == [("widen_int32", (1, 1, 1), 256, 0, [source.pointer, target.pointer + 8, 3])]
    batches.widen(gpu, source[:2], target)
    np.testing.assert_array_equal(target.to_host(), [5, -6, -6, 7])
    assert fake(gpu).loaded == [("ptx of widen_int32 for (9, 0)", "widen_int32", 0)]


def test_no_points_no_launch(gpu: CudaDevice) -> None:
    batches.widen(gpu, gpu.empty((0,), np.int32), gpu.empty((0,), np.int64))
    gpu.launch_blocks(batches.widen_int32, (4, 0, 1), 1, 2, 3)
    assert fake(gpu).launched == []


@raw_kernel(threads=128, shared=65536)
def by_hand(values: Integers, first: Size, second: Size):
    """Nothing."""


def test_kernels_launched_by_blocks(gpu: CudaDevice) -> None:
    fake(gpu).kernels = {"by_hand": by_hand}
    values = gpu.zeros((3,), np.int64)
    gpu.launch_blocks(by_hand, (2, 3, 4), values, -7, np.int32(9))
    assert fake(gpu).launched == [("by_hand", (2, 3, 4), 128, 65536, [values.pointer, -7, 9])]
    assert fake(gpu).loaded[0][2] == 65536
    gpu.launch_blocks(by_hand, 5, values, 0, 0)
    assert fake(gpu).launched[1][1] == (5, 1, 1)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (lambda gpu: (1, 2), "expected 3 arguments, found 2"),
        (lambda gpu: (1, 2, 3), "expected a device array of int32 as argument 1, found int"),
        (
            lambda gpu: (gpu.zeros((3,), np.int64), gpu.zeros((3,), np.int64), 3),
            "expected a device array of int32 as argument 1, found one of int64",
        ),
        (
            lambda gpu: (gpu.zeros((3,), np.int32), gpu.zeros((3,), np.int64), 3.0),
            "expected a whole number as argument 3, found float",
        ),
        (
            lambda gpu: (FakeDevice().zeros((3,), np.int32), gpu.zeros((3,), np.int64), 3),
            "expected an array on a fake GPU as argument 1, found one on a fake device",
        ),
        (
            lambda gpu: (np.zeros(3, np.int32), gpu.zeros((3,), np.int64), 3),
            "expected a device array of int32 as argument 1, found ndarray",
        ),
    ],
)
def test_arguments_that_do_not_fit(gpu: CudaDevice, arguments: Any, text: str) -> None:
    with pytest.raises(DeviceError) as caught:
        gpu.launch(batches.widen_int32, 3, *arguments(gpu))
    assert str(caught.value) == f"kernel widen_int32: {text}"


# --------------------------------------------------------------------------------------------------------------- graphs


def count_up(gpu: CudaDevice, count: DeviceArray) -> Any:
    def program() -> None:
        batches.advance(gpu, count)
        batches.advance(gpu, count)

    return program


def test_a_program_runs_plainly_then_as_a_graph(gpu: CudaDevice) -> None:
    count = gpu.zeros((1,), np.int64)
    fake(gpu).log.clear()
    for turn in range(5):
        gpu.captured(["count", count], count_up(gpu, count))
        assert fake(gpu).graph is None
        assert fake(gpu)._flat(count.pointer, "int64")[0] == 2 * turn + 2
    assert fake(gpu).log == [
        *["count_step"] * 2,
        *["captured count_step"] * 2,
        *["replay"] * 4,
    ]


def test_another_key_is_another_graph(gpu: CudaDevice) -> None:
    counts = [gpu.zeros((1,), np.int64) for _ in range(2)]
    for _ in range(3):
        for count in counts:
            gpu.captured(["count", count], count_up(gpu, count))
    assert [int(count) for count in counts] == [6, 6]
    assert fake(gpu).log.count("captured count_step") == 4


def test_a_graph_keeps_its_memory_alive_and_forgetting_it_frees_it(gpu: CudaDevice) -> None:
    def program() -> None:
        batches.advance(gpu, gpu.scratch("count", 1, np.int64))

    for _ in range(2):
        gpu.captured(["count"], program)
    place = gpu.scratch("count", 1, np.int64).pointer
    gpu.scratch("count", 1000, np.int64)  # the scratch moves; the graph still uses the old place
    held = gpu.empty((1,), np.int64)
    assert held.pointer != place
    gpu.captured(["count"], program)
    assert fake(gpu).log[-1] == "replay"
    gpu.forget(["count"])
    gc.collect()
    assert gpu.empty((1,), np.int64).pointer == place
    gpu.captured(["count"], program)
    assert fake(gpu).log[-1] == "count_step"


def test_the_oldest_graph_goes_first(gpu: CudaDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "_MOST_GRAPHS", 2)
    count = gpu.zeros((1,), np.int64)
    for key in ("a", "a", "b", "a", "c", "b"):  # c drops b, which was used before a
        fake(gpu).log.clear()
        gpu.captured([key], count_up(gpu, count))
    assert "replay" not in fake(gpu).log
    gpu.captured(["b"], count_up(gpu, count))
    assert "replay" in fake(gpu).log


def test_a_program_within_a_program_is_part_of_its_graph(gpu: CudaDevice) -> None:
    count = gpu.zeros((1,), np.int64)

    def outer() -> None:
        gpu.captured(["inner"], count_up(gpu, count))
        batches.advance(gpu, count)

    for _ in range(2):
        gpu.captured(["outer"], outer)
    fake(gpu).log.clear()
    gpu.captured(["outer"], outer)
    assert fake(gpu).log == ["replay"]
    assert int(count) == 9


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda gpu, a: gpu.upload(np.ones(3)), "values cannot be uploaded"),
        (lambda gpu, a: a.to_host(), "values cannot be downloaded"),
        (lambda gpu, a: gpu.synchronise(), "its work cannot be waited for"),
    ],
)
def test_what_a_graph_cannot_hold_is_refused(gpu: CudaDevice, call: Any, text: str) -> None:
    array = gpu.zeros((1,), np.int64)
    gpu.captured(["program"], lambda: call(gpu, array))
    with pytest.raises(DeviceError, match=f"{text} while a CUDA graph is captured: a captured program only launches"):
        gpu.captured(["program"], lambda: call(gpu, array))
    # Nothing is left of the attempt.
    assert fake(gpu).graph is None
    assert int(array) == 0
    gpu.captured(["program"], count_up(gpu, array))
    assert int(array) == 2


# -------------------------------------------------------------------------------------------- arrays of other libraries


class Lent:
    """An array of a library that speaks __cuda_array_interface__ alone, as Numba does."""

    def __init__(self, array: DeviceArray, **changes: Any) -> None:
        self.given = {
            "version": 3,
            "shape": array.shape,
            "strides": None,
            "typestr": array.dtype.str,
            "data": (array.pointer, False),
            **changes,
        }

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return self.given


def test_an_array_is_borrowed_by_its_interface(gpu: CudaDevice) -> None:
    array = gpu.upload(np.arange(12, dtype=np.float32).reshape(3, 4))
    found = gpu.wrap(Lent(array))
    assert (found.shape, found.dtype, found.pointer, found.contiguous) == ((3, 4), np.float32, array.pointer, True)
    np.testing.assert_array_equal(found.to_host(), array.to_host())
    turned = gpu.wrap(Lent(array, shape=(4, 3), strides=(4, 16)))
    assert turned.strides == (1, 4)
    np.testing.assert_array_equal(turned.to_host(), array.to_host().T)
    np.testing.assert_array_equal(gpu.wrap(Lent(array, shape=(), strides=())).to_host(), 0)
    assert fake(gpu).waited == []
    gpu.wrap(Lent(array, stream=1))
    gpu.wrap(Lent(array, stream=12345))
    assert fake(gpu).waited == [12345]


def test_an_array_that_we_lent_comes_back_by_dlpack(gpu: CudaDevice) -> None:
    array = gpu.upload(np.arange(12, dtype=np.float64).reshape(3, 4))

    streams = []

    class Foreign:
        def __dlpack__(self, *, stream: Any = None) -> Any:
            streams.append(stream)
            return array.__dlpack__()

        def __dlpack_device__(self) -> tuple[int, int]:
            return 2, 0

    found = gpu.wrap(Foreign())
    assert (found.shape, found.dtype, found.pointer) == ((3, 4), np.float64, array.pointer)
    np.testing.assert_array_equal(found.to_host(), array.to_host())
    assert streams == [77]


def test_what_was_lent_to_be_read_is_not_written(gpu: CudaDevice) -> None:
    array = gpu.upload(np.arange(3.0))
    lent = gpu.wrap(Lent(array, data=(array.pointer, True)))
    np.testing.assert_array_equal(lent.to_host(), [0, 1, 2])
    for write in (lambda: gpu.clear(lent), lambda: lent.__setitem__(0, 5.0), lambda: gpu.copy(array, lent)):
        with pytest.raises(
            DeviceError, match="expected an array to write to, found a read-only one of another library"
        ):
            write()
    gpu.clear(gpu.wrap(Lent(array)))
    np.testing.assert_array_equal(lent.to_host(), [0, 0, 0])


def test_managed_memory_is_borrowed(gpu: CudaDevice) -> None:
    array = gpu.upload(np.arange(3.0))
    gpu.dlpack_device = (13, 0)
    capsule = array.__dlpack__()
    gpu.dlpack_device = (2, 0)

    class Managed:
        def __dlpack__(self, **_: Any) -> Any:
            return capsule

        def __dlpack_device__(self) -> tuple[int, int]:
            return 13, 0

    assert lies_on_a_device(Managed())
    assert gpu.wrap(Managed()).pointer == array.pointer


def test_where_values_lie(gpu: CudaDevice) -> None:
    class Says:
        def __init__(self, kind: Any) -> None:
            self.kind = kind

        def __dlpack_device__(self) -> tuple[int, int]:
            return int(self.kind), 0

    assert lies_on_a_device(gpu.empty((3,), np.float32))
    assert lies_on_a_device(Lent(gpu.empty((3,), np.float32)))
    assert lies_on_a_device(Says(2))
    for value in (np.ones(3), np.float32(1), [1.0], 1, None, Says(1), Says(3), Says("meta")):
        assert not lies_on_a_device(value)


def test_a_borrowed_array_keeps_its_owner_alive(gpu: CudaDevice) -> None:
    array = gpu.upload(np.ones(5))
    lent = Lent(array)
    found = gpu.wrap(lent)
    assert found.memory.owner is lent  # type: ignore[attr-defined]


def test_arrays_of_another_gpu_are_refused(gpu: CudaDevice) -> None:
    array = gpu.upload(np.ones(5, np.float32))
    with pytest.raises(DeviceError, match=r"expected an array on a fake GPU \(GPU 0\), found a .*Lent array on GPU 1"):
        gpu.wrap(Lent(array, data=(12, False)))
    with pytest.raises(DeviceError, match=r"found a numpy\.ndarray array on host memory or another device"):
        gpu.wrap(np.ones(3))
    with pytest.raises(DeviceError, match=r"expected a NumPy array or one on a fake GPU, found builtins\.list"):
        gpu.wrap([1.0])


def test_what_another_library_raises_is_told(gpu: CudaDevice) -> None:
    class NeedsGradient:
        def __dlpack_device__(self) -> tuple[int, int]:
            return 2, 0

        def __dlpack__(self, **_: Any) -> Any:
            raise BufferError("Can't export tensors that require gradient, use tensor.detach()")

    with pytest.raises(DataError, match="NeedsGradient array cannot be lent to us: Can't export tensors that require"):
        gpu.wrap(NeedsGradient())


def test_strides_of_half_an_element_are_refused(gpu: CudaDevice) -> None:
    array = gpu.upload(np.ones(6, np.float64))
    with pytest.raises(DataError, match="expected strides of whole elements"):
        gpu.wrap(Lent(array, shape=(2,), strides=(12,)))


# -------------------------------------------------------------------------------------------------- the driver's words


def result(name: str) -> Any:
    return SimpleNamespace(name=name)


def test_errors_of_the_driver_in_our_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "calls", SimpleNamespace(cuDriverGetVersion=lambda: (0, 12080)))
    texts = {name: str(driver._error(result(f"CUDA_ERROR_{name}"), "cuThis")) for name in (
        "UNSUPPORTED_PTX_VERSION", "ILLEGAL_ADDRESS", "OUT_OF_MEMORY", "SOMETHING_NEW", "NO_DEVICE",
    )}  # fmt: skip
    assert texts["UNSUPPORTED_PTX_VERSION"] == (
        "the NVIDIA driver (CUDA 12.8) is too old for kernels compiled with this CUDA toolkit "
        "(CUDA_ERROR_UNSUPPORTED_PTX_VERSION); update the driver, or install the toolkit of the driver's version"
    )
    assert texts["ILLEGAL_ADDRESS"].startswith("a kernel has used memory outside its arrays")
    assert texts["OUT_OF_MEMORY"] == "cuThis: out of memory; use a smaller batch"
    assert texts["SOMETHING_NEW"] == "cuThis failed (CUDA_ERROR_SOMETHING_NEW)"
    assert texts["NO_DEVICE"].startswith("no GPU was found (CUDA_ERROR_NO_DEVICE); look at nvidia-smi")


class Calls:
    """The driver's functions, each of which notes its arguments and answers as told."""

    CUresult = SimpleNamespace(CUDA_SUCCESS="success")
    CUfunction_attribute = SimpleNamespace(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES="most shared")

    def __init__(self, **answers: Any) -> None:
        self.answers = {"cuDeviceGetCount": (1,), "cuCtxGetCurrent": ("context",), **answers}
        self.made: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("cu"):
            raise AttributeError(name)

        def function(*arguments: Any) -> tuple[Any, ...]:
            self.made.append((name, *arguments))
            answer = self.answers.get(name, ())
            return ("success", *answer) if isinstance(answer, tuple) else (answer,)

        function.__name__ = name
        return function


class CoreStream:
    def __init__(self, handle: int) -> None:
        self.handle = handle
        self.builders: list[Any] = []

    def create_graph_builder(self) -> Any:
        builder = Builder()
        self.builders.append(builder)
        return builder


class Builder:
    def __init__(self) -> None:
        self.log: list[str] = []

    def begin_building(self) -> None:
        self.log.append("begin")

    def end_building(self) -> Builder:
        self.log.append("end")
        return self

    def complete(self) -> Any:
        return SimpleNamespace(launch=lambda stream: self.log.append(f"launch on {stream.handle}"))

    def close(self) -> None:
        self.log.append("close")


@pytest.fixture
def core(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What cuda-core gives, and the driver's functions."""
    calls = Calls()
    streams = iter([CoreStream(11), CoreStream(22)])
    made = SimpleNamespace(
        calls=calls,
        streams=[],
        Device=lambda ordinal: SimpleNamespace(
            name="a GPU", compute_capability=(9, 0), set_current=lambda: None, create_stream=create_stream
        ),
    )

    def create_stream(options: Any = None) -> CoreStream:
        stream = next(streams)
        made.streams.append((stream, options))
        return stream

    monkeypatch.setattr(driver, "calls", calls)
    monkeypatch.setattr(driver, "CoreDevice", made.Device, raising=False)
    monkeypatch.setattr(driver, "StreamOptions", lambda nonblocking: {"nonblocking": nonblocking}, raising=False)
    return made


def test_the_driver_is_opened(core: Any) -> None:
    opened = driver.Driver()
    assert (opened.name, opened.capability, opened.stream) == ("a GPU", (9, 0), 11)
    assert core.streams[0][1] == {"nonblocking": False}
    opened.make_current()
    assert core.calls.made[-1] == ("cuCtxSetCurrent", "context")


def test_a_gpu_that_is_not_there(core: Any) -> None:
    with pytest.raises(DeviceError, match="no GPU number 3 was found: the driver sees 1 of them; look at CUDA_VISIBLE"):
        driver.Driver(3)
    core.calls.answers["cuDeviceGetCount"] = (0,)
    with pytest.raises(DeviceError, match="no GPU number 0 was found: the driver sees none"):
        driver.Driver()

    def no_library(flags: int) -> Any:
        raise RuntimeError("Failed to dlopen libcuda.so.1\nand more")

    core.calls.cuInit = no_library
    with pytest.raises(
        DeviceError, match=r"no NVIDIA driver was found on this machine: Failed to dlopen libcuda\.so\.1;"
    ):
        driver.Driver()
    del core.calls.cuInit
    core.calls.answers["cuInit"] = result("CUDA_ERROR_NO_DEVICE")
    with pytest.raises(DeviceError, match="no GPU was found"):
        driver.Driver()


def test_what_cuda_core_and_an_old_driver_raise_is_told(core: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = driver.Driver()

    def old(*arguments: Any) -> Any:
        raise RuntimeError('Function "cuMemGetInfo" not found')

    old.__name__ = "cuMemGetInfo"
    core.calls.cuMemGetInfo = old
    with pytest.raises(DeviceError) as caught:
        opened.memory()
    assert str(caught.value) == 'cuMemGetInfo: Function "cuMemGetInfo" not found; update the NVIDIA driver'

    def refuse(*_: Any) -> Any:
        raise ValueError("in use\nby others")

    monkeypatch.setattr(core.streams[1][0], "create_graph_builder", refuse)
    with pytest.raises(DeviceError, match=r"a CUDA graph cannot be begun: in use$"):
        opened.capture(lambda: None)
    monkeypatch.setattr(driver, "CoreDevice", refuse)
    with pytest.raises(DeviceError, match=r"GPU number 0 cannot be used: in use$"):
        driver.Driver()


def test_shared_memory_above_48_kib_is_asked_for(core: Any) -> None:
    core.calls.answers |= {"cuModuleLoadData": ("module",), "cuModuleGetFunction": ("function",)}
    opened = driver.Driver()
    assert opened.load("text", "name", 48 * 1024) == ("module", "function")
    assert core.calls.made[-2:] == [("cuModuleLoadData", b"text\0"), ("cuModuleGetFunction", "module", b"name")]
    opened.load("text", "name", 48 * 1024 + 1)
    assert core.calls.made[-1] == ("cuFuncSetAttribute", "function", "most shared", 48 * 1024 + 1)


def test_failures_of_a_kernel_name_it(core: Any) -> None:
    opened = driver.Driver()
    core.calls.answers["cuLaunchKernel"] = result("CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES")
    with pytest.raises(DeviceError) as caught:
        opened.launch(("module", "function"), "forward_1", (7, 2, 1), 256, 1024, 4096)
    assert str(caught.value) == (
        "kernel forward_1 (7 x 2 x 1 blocks of 256 threads, 1024 bytes shared): the kernel needs more registers or "
        "shared memory than there is (CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES)"
    )
    assert core.calls.made[-1] == ("cuLaunchKernel", "function", 7, 2, 1, 256, 1, 1, 1024, 11, 4096, 0)
    core.calls.answers["cuModuleLoadData"] = result("CUDA_ERROR_INVALID_PTX")
    with pytest.raises(DeviceError, match=r"kernel forward_1: the driver refuses the kernel's PTX"):
        opened.load("text", "forward_1", 0)


def test_capturing_goes_by_a_stream_of_its_own(core: Any) -> None:
    opened = driver.Driver()
    graph = opened.capture(lambda: opened.clear(64, 8))
    assert core.calls.made[-1] == ("cuMemsetD8Async", 64, 0, 8, 22)
    opened.clear(64, 8)
    assert core.calls.made[-1] == ("cuMemsetD8Async", 64, 0, 8, 11)
    (builder,) = core.streams[1][0].builders
    opened.replay(graph)
    assert builder.log == ["begin", "end", "launch on 11"]


@pytest.mark.parametrize("error", [ValueError("wrong"), KeyboardInterrupt()])
def test_a_capture_that_fails_leaves_nothing_behind(core: Any, error: BaseException) -> None:
    opened = driver.Driver()

    def program() -> None:
        raise error

    with pytest.raises(type(error)):
        opened.capture(program)
    assert opened.stream == 11
    (builder,) = core.streams[1][0].builders
    assert builder.log == ["begin", "end", "close"]


def test_copies_go_the_right_way(core: Any) -> None:
    opened = driver.Driver()
    opened.write(64, 100, 8)
    opened.read(100, 64, 8)
    opened.copy(64, 128, 8)
    assert core.calls.made[-4:] == [
        ("cuMemcpyHtoDAsync", 64, 100, 8, 11),
        ("cuMemcpyDtoHAsync", 100, 64, 8, 11),
        ("cuStreamSynchronize", 11),
        ("cuMemcpyDtoDAsync", 64, 128, 8, 11),
    ]

"""The few calls of the CUDA driver that a device makes, and its errors in the user's terms.

Streams, contexts and graphs are cuda-core's, whose names for them have not changed from 0.5 to 1.x. Memory, copies,
modules and launches are the driver's own functions (cuda-bindings), which have not changed since CUDA 11: cuda-core's
launch takes apart every argument anew, and its buffers cannot be cleared or bound by address in all of its versions.

This file holds no logic of ours, as it cannot run where there is no GPU; `device` does the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from symbp.errors import DeviceError
from symbp.runtime.cuda.kernel import INSTALL

try:
    from cuda.bindings import driver as calls
    from cuda.core import Device as CoreDevice
    from cuda.core import StreamOptions
except ImportError:
    calls = None

DRIVER = "install one, or use a package made for the CPU: symbp compile --target cpu"


class OutOfMemory(DeviceError):
    """The device has no such piece of memory left."""


class Driver:
    """One GPU. Pointers, streams and handles are numbers; work goes to the stream in force, of which there is one."""

    def __init__(self, ordinal: int = 0) -> None:
        if calls is None:
            raise DeviceError("the GPU cannot be used: cuda-core and cuda-bindings are not installed", remedy=INSTALL)
        try:
            (status,) = calls.cuInit(0)
        except Exception as error:  # cuda-bindings loads libcuda at its first call, and raises what it likes
            missing = type(error).__name__ == "DynamicLibNotFoundError"
            text = "no NVIDIA driver was found on this machine"
            raise DeviceError(text if missing else f"{text}: {_first_line(error)}", remedy=DRIVER) from None
        _check(status, "cuInit")
        count = self._ask(calls.cuDeviceGetCount)
        if ordinal >= count:
            found = f"the driver sees {count} of them" if count else "the driver sees none"
            raise DeviceError(f"no GPU number {ordinal} was found: {found}", remedy="look at CUDA_VISIBLE_DEVICES")
        self.ordinal = ordinal
        try:
            self._open(ordinal)
        except Exception as error:  # cuda-core has errors of its own
            raise DeviceError(f"GPU number {ordinal} cannot be used: {_first_line(error)}") from None
        self._context = self._ask(calls.cuCtxGetCurrent)

    def _open(self, ordinal: int) -> None:
        device = CoreDevice(ordinal)
        # The device's primary context: the one that CuPy, PyTorch, JAX and Numba use as well.
        device.set_current()
        self.name = str(device.name)
        self.capability = (int(device.compute_capability[0]), int(device.compute_capability[1]))
        # A stream that waits for the default stream and is waited for by it: what PyTorch or CuPy do there is ordered
        # with our work without a word.
        self._own = device.create_stream(options=StreamOptions(nonblocking=False))
        # Work is captured on a stream of its own, so that nobody's use of the default stream can spoil it.
        self._capturing = device.create_stream()
        self._stream = int(self._own.handle)

    @property
    def stream(self) -> int:
        """Where work goes."""
        return self._stream

    def make_current(self) -> None:
        """Every thread, and every thread where another library has chosen another GPU, must be told which one."""
        self._ask(calls.cuCtxSetCurrent, self._context)

    def allocate(self, nbytes: int) -> int:
        """The address of new memory. OutOfMemory where there is not enough."""
        return int(self._ask(calls.cuMemAlloc, nbytes))

    def free(self, pointer: int) -> None:
        """Give memory back; waits for all work."""
        self._ask(calls.cuMemFree, pointer)

    def memory(self) -> tuple[int, int]:
        """Bytes free, and bytes in all."""
        free, total = self._ask(calls.cuMemGetInfo)
        return int(free), int(total)

    def write(self, pointer: int, host: int, nbytes: int) -> None:
        """Copy from the host's memory, which may be changed as soon as this returns."""
        self._ask(calls.cuMemcpyHtoDAsync, pointer, host, nbytes, self._stream)

    def read(self, host: int, pointer: int, nbytes: int) -> None:
        """Copy to the host's memory, and wait for it."""
        self._ask(calls.cuMemcpyDtoHAsync, host, pointer, nbytes, self._stream)
        self.synchronise()

    def copy(self, target: int, source: int, nbytes: int) -> None:
        """Copy from the device's memory to the device's memory."""
        self._ask(calls.cuMemcpyDtoDAsync, target, source, nbytes, self._stream)

    def clear(self, pointer: int, nbytes: int) -> None:
        """Set bytes to zero."""
        self._ask(calls.cuMemsetD8Async, pointer, 0, nbytes, self._stream)

    def load(self, ptx: str, name: str, shared: int) -> Any:
        """The entry of that name, allowed so much dynamic shared memory."""
        try:
            module = self._ask(calls.cuModuleLoadData, ptx.encode() + b"\0")
            function = self._ask(calls.cuModuleGetFunction, module, name.encode())
            if shared > 48 * 1024:
                attribute = calls.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
                self._ask(calls.cuFuncSetAttribute, function, attribute, shared)
        except DeviceError as error:
            raise DeviceError(f"kernel {name}: {error.message}", remedy=error.remedy) from None
        # A module that is let go would not be unloaded; it is kept to show that it must not be.
        return module, function

    def launch(
        self, entry: Any, name: str, blocks: tuple[int, int, int], threads: int, shared: int, parameters: int
    ) -> None:
        """Start a kernel; ``parameters`` is the address of the addresses of its arguments, which are copied."""
        try:
            self._ask(
                calls.cuLaunchKernel, entry[1], *blocks, threads, 1, 1, shared, self._stream, parameters, 0
            )  # fmt: skip
        except DeviceError as error:
            asked = f"{blocks[0]} x {blocks[1]} x {blocks[2]} blocks of {threads} threads, {shared} bytes shared"
            raise DeviceError(f"kernel {name} ({asked}): {error.message}", remedy=error.remedy) from None

    def synchronise(self) -> None:
        """Wait until the stream is empty."""
        self._ask(calls.cuStreamSynchronize, self._stream)

    def wait_for(self, stream: int) -> None:
        """Let our work wait for what another library has put on its stream."""
        self._own.wait(_Stream(stream))

    def owner(self, pointer: int) -> int:
        """The number of the GPU that an address belongs to; ours for none at all."""
        if not pointer:
            return self.ordinal
        attribute = calls.CUpointer_attribute.CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL
        return int(self._ask(calls.cuPointerGetAttribute, attribute, pointer))

    def capture(self, program: Callable[[], None]) -> Any:
        """What the program asks for, as a graph; nothing of it is done."""
        try:
            builder = self._capturing.create_graph_builder()
            builder.begin_building()
        except Exception as error:
            raise DeviceError(f"a CUDA graph cannot be begun: {_first_line(error)}") from None
        self._stream = int(self._capturing.handle)
        try:
            program()
        except BaseException:
            _discard(builder)
            raise
        finally:
            self._stream = int(self._own.handle)
        try:
            return builder.end_building().complete()
        except Exception as error:
            _discard(builder)
            raise DeviceError(f"a CUDA graph cannot be made: {_first_line(error)}") from None

    def replay(self, graph: Any) -> None:
        """Do what a graph holds."""
        try:
            graph.launch(self._own)
        except Exception as error:
            raise DeviceError(f"a CUDA graph cannot be launched: {_first_line(error)}") from None

    def _ask(self, function: Any, *arguments: Any) -> Any:
        """The result of a call of the driver, or DeviceError."""
        try:
            status, *results = function(*arguments)
        except RuntimeError as error:  # cuda-bindings does not find the function in this driver
            raise DeviceError(f"{function.__name__}: {_first_line(error)}", remedy="update the NVIDIA driver") from None
        _check(status, function.__name__)
        return None if not results else results[0] if len(results) == 1 else tuple(results)


class _Stream:
    """A stream of another library, by its address, as cuda-core takes it."""

    def __init__(self, handle: int) -> None:
        self._handle = handle

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, self._handle


_RESTART = "restart Python; CUDA_LAUNCH_BLOCKING=1 shows which kernel it was"
_MEANINGS: dict[str, tuple[str, str | None]] = {
    "CUDA_ERROR_NO_DEVICE": ("no GPU was found", "look at nvidia-smi and CUDA_VISIBLE_DEVICES"),
    "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH": ("the NVIDIA driver and its library differ in version", "restart the machine"),
    "CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE": ("the NVIDIA driver is too old for this CUDA", "update the driver"),
    "CUDA_ERROR_UNSUPPORTED_PTX_VERSION": (
        "the NVIDIA driver{version} is too old for kernels compiled with this CUDA toolkit",
        "update the driver, or install the toolkit of the driver's version",
    ),
    "CUDA_ERROR_NO_BINARY_FOR_GPU": ("the kernel was compiled for another kind of GPU", None),
    "CUDA_ERROR_INVALID_PTX": ("the driver refuses the kernel's PTX", None),
    "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES": ("the kernel needs more registers or shared memory than there is", None),
    "CUDA_ERROR_ILLEGAL_ADDRESS": (
        "a kernel has used memory outside its arrays; nothing on the GPU can be used any more",
        _RESTART,
    ),
    "CUDA_ERROR_LAUNCH_FAILED": ("a kernel has failed; nothing on the GPU can be used any more", _RESTART),
    "CUDA_ERROR_LAUNCH_TIMEOUT": ("a kernel took longer than the display allows", "use a smaller batch"),
    "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED": ("this cannot be done while a CUDA graph is captured", None),
}


def _check(status: Any, asked: str) -> None:
    if status != calls.CUresult.CUDA_SUCCESS:
        raise _error(status, asked)


def _error(status: Any, asked: str) -> DeviceError:
    """The driver's error, with what it means here."""
    name = str(getattr(status, "name", status))
    if name == "CUDA_ERROR_OUT_OF_MEMORY":
        return OutOfMemory(f"{asked}: out of memory", remedy="use a smaller batch")
    meaning, remedy = _MEANINGS.get(name, (f"{asked} failed", None))
    if "{version}" in meaning:
        meaning = meaning.format(version=_driver_version())
    return DeviceError(f"{meaning} ({name})", remedy=remedy)


def _driver_version() -> str:
    """`` (CUDA 12.8)``: the newest CUDA that the driver knows, or nothing."""
    _, *found = calls.cuDriverGetVersion()
    return f" (CUDA {found[0] // 1000}.{found[0] % 1000 // 10})" if found else ""


def _discard(builder: Any) -> None:
    """Leave the capture stream as it was, whatever state the builder is in."""
    for end in (builder.end_building, builder.close):
        try:
            end()
        except Exception:  # the error that led here is the one to be shown
            continue


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0].rstrip(".") or type(error).__name__

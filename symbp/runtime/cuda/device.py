"""The GPU as a :class:`Device`: its memory, kept and reused; kernels, compiled when first launched; graphs."""

from __future__ import annotations

import ctypes
import math
import struct
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from symbp.errors import DataError, DeviceError
from symbp.runtime.cuda.array import Array, Blocks, Device, DeviceArray, capture_key
from symbp.runtime.cuda.dlpack import CPU, CUDA, CUDA_MANAGED, Described, read_capsule
from symbp.runtime.cuda.driver import Driver, OutOfMemory
from symbp.runtime.cuda.kernel import Kernel, Pointer
from symbp.runtime.cuda.ptx_cache import cached_ptx

__all__ = ["CudaDevice", "Device", "current_device", "use_device"]

# Programs that are kept as graphs, or known to have run: a training with its last batch, and a few more.
_MOST_GRAPHS = 32
# The default and the per-thread stream have numbers of their own in __cuda_array_interface__, from which no address
# is told apart.
_LEGACY_STREAM = 1

_active: Device | None = None
_lock = threading.Lock()


def current_device() -> Device:
    """The device that modules use: what `use_device` was given, else the first GPU. DeviceError where there is none."""
    global _active
    if _active is None:
        with _lock:
            if _active is None:
                _active = CudaDevice()
    return _active


def use_device(device: Device | None) -> None:
    """Use this device from now on; None stands for the first GPU. Arrays stay where they are."""
    global _active
    _active = device


class DeviceMemory:
    """A piece of the GPU's memory that goes back to its device's store when nothing refers to it any more."""

    __slots__ = ("capacity", "device", "nbytes", "pointer")

    def __init__(self, device: CudaDevice, pointer: int, nbytes: int, capacity: int) -> None:
        self.device = device
        self.pointer = pointer
        self.nbytes = nbytes
        self.capacity = capacity

    def __del__(self) -> None:
        # Work that still uses it was asked for before any that will: all of it is on one stream.
        if self.capacity:
            self.device._store.setdefault(self.capacity, []).append(self.pointer)


@dataclass(frozen=True, slots=True)
class BorrowedMemory:
    """Memory of another library; ``owner`` keeps it alive."""

    device: Device
    pointer: int
    nbytes: int
    owner: Any
    read_only: bool


@dataclass(slots=True)
class _Loaded:
    """A kernel on the device, with room for its arguments: eight bytes each, and where they are."""

    entry: Any
    dtypes: list[np.dtype[Any] | None]
    values: Any
    addresses: Any
    address: int
    pack: Callable[..., None]


@dataclass(slots=True)
class _Graph:
    """A program that has run; from its second run on with its graph, and the memory that the graph uses."""

    executable: Any = None
    memory: list[Any] = field(default_factory=list)


class CudaDevice(Device):
    """One NVIDIA GPU. All work goes to one stream, in the order in which it is asked for.

    Threads may share it. Raises DeviceError where the GPU cannot be used, and says why.
    """

    def __init__(self, ordinal: int = 0, *, driver: Any = None) -> None:
        super().__init__()
        self._driver = Driver(ordinal) if driver is None else driver
        self.name = self._driver.name
        self.dlpack_device = (CUDA, self._driver.ordinal)
        self._lock = threading.RLock()
        self._store: dict[int, list[int]] = {}
        self._loaded: dict[Kernel, _Loaded] = {}
        self._graphs: OrderedDict[tuple[object, ...], _Graph] = OrderedDict()
        # What the graph being captured uses; None where there is none.
        self._captured: list[Any] | None = None

    @property
    def capability(self) -> tuple[int, int]:
        """The compute capability, for instance (9, 0)."""
        found: tuple[int, int] = self._driver.capability
        return found

    @property
    def stream(self) -> int:
        """The address of the stream, for other libraries that want to wait for it or to be waited for."""
        return int(self._driver.stream)

    # ------------------------------------------------------------------------------------------------------- memory

    def allocate(self, nbytes: int) -> DeviceMemory:
        """Memory with anything in it: a piece that was given back, or a new one.

        Raises DeviceError where there is not enough, with what was asked for and what is free.
        """
        if nbytes == 0:
            return DeviceMemory(self, 0, 0, 0)
        capacity = _capacity(nbytes)
        with self._lock, suppress(IndexError, KeyError):
            return DeviceMemory(self, self._store[capacity].pop(), nbytes, capacity)
        with self._lock:
            self._driver.make_current()
            for give_up in (self._empty_store, self.release, None):
                try:
                    return DeviceMemory(self, self._driver.allocate(capacity), nbytes, capacity)
                except OutOfMemory:
                    if give_up is None:
                        break
                    give_up()
            free, total = self._driver.memory()
        raise OutOfMemory(
            f"out of memory on {self.name}: asked for {_bytes_text(nbytes)}, "
            f"free are {_bytes_text(free)} of {_bytes_text(total)}",
            remedy="use a smaller batch, or end other programs that use the GPU",
        )

    def release(self) -> None:
        """Give memory that is kept for later use back to the driver, so that other libraries can have it.

        Graphs go with it, as they keep what they use alive; they are captured again when they are needed.
        """
        with self._lock:
            if self._captured is None:
                self._graphs.clear()
            self._driver.make_current()
            self._empty_store()

    def _empty_store(self) -> None:
        for pointers in list(self._store.values()):
            while pointers:
                self._driver.free(pointers.pop())

    def write(self, target: DeviceArray, source: Array) -> None:
        if not target.size:
            return
        with self._lock:
            self._prepare("values cannot be uploaded", target)
            _must_be_writable(target)
            self._driver.write(target.pointer, source.ctypes.data, target.nbytes)

    def read(self, source: DeviceArray, target: Array) -> None:
        if not source.size:
            return
        with self._lock:
            self._prepare("values cannot be downloaded", source)
            self._driver.read(target.ctypes.data, source.pointer, source.nbytes)

    def copy(self, source: DeviceArray, target: DeviceArray) -> None:
        if not source.size:
            return
        with self._lock:
            self._prepare(None, source, target)
            _must_be_writable(target)
            self._driver.copy(target.pointer, source.pointer, source.nbytes)

    def clear(self, array: DeviceArray) -> None:
        if not array.size:
            return
        with self._lock:
            self._prepare(None, array)
            _must_be_writable(array)
            self._driver.clear(array.pointer, array.nbytes)

    def synchronise(self) -> None:
        with self._lock:
            self._prepare("its work cannot be waited for")
            self._driver.synchronise()

    def _prepare(self, refused: str | None, *arrays: DeviceArray) -> None:
        """Before any call: the right GPU for this thread, arrays on it, and nothing that a graph cannot hold."""
        if refused is not None and self._captured is not None:
            raise DeviceError(f"{refused} while a CUDA graph is captured: a captured program only launches and copies")
        for array in arrays:
            if array.memory.device is not self:
                raise DeviceError(f"expected an array on {self.name}, found one on {array.device.name}")
            if not array.contiguous:
                raise DeviceError(
                    f"expected a contiguous array, found shape {array.shape} with strides {array.strides}",
                    remedy="take a copy: array.copy()",
                )
        if self._captured is not None:
            self._captured += [array.memory for array in arrays]
        self._driver.make_current()

    # ------------------------------------------------------------------------------------------------------ kernels

    def launch_blocks(self, kernel: Any, blocks: Blocks, *arguments: Any) -> None:
        """Run a kernel on so many blocks; it is compiled when it is first launched.

        Raises DeviceError, with the kernel's name, where arguments do not fit its parameters or the launch fails.
        """
        grid = (blocks, 1, 1) if isinstance(blocks, int) else blocks
        if not all(grid):
            return
        with self._lock:
            loaded = self._load(kernel)
            if len(arguments) != len(loaded.dtypes):
                raise DeviceError(
                    f"kernel {kernel.name}: expected {len(loaded.dtypes)} arguments, found {len(arguments)}"
                )
            values = [
                argument if dtype is None and type(argument) is int else self._value(kernel, position, argument, dtype)
                for position, (argument, dtype) in enumerate(zip(arguments, loaded.dtypes, strict=True))
            ]
            loaded.pack(loaded.values, 0, *values)
            self._driver.make_current()
            self._driver.launch(loaded.entry, kernel.name, grid, kernel.threads, kernel.shared, loaded.address)

    def _value(self, kernel: Kernel, position: int, argument: Any, dtype: np.dtype[Any] | None) -> int:
        """The eight bytes that a kernel is handed: an address, or a whole number."""
        if dtype is None:
            if isinstance(argument, int | np.integer):
                return int(argument)
            expected, found = "a whole number", type(argument).__name__
        elif not isinstance(argument, DeviceArray):
            expected, found = f"a device array of {dtype.name}", type(argument).__name__
        elif argument.memory.device is not self:
            expected, found = f"an array on {self.name}", f"one on {argument.device.name}"
        elif argument.dtype != dtype:
            expected, found = f"a device array of {dtype.name}", f"one of {argument.dtype.name}"
        else:
            if self._captured is not None:
                self._captured.append(argument.memory)
            return argument.pointer
        raise DeviceError(f"kernel {kernel.name}: expected {expected} as argument {position + 1}, found {found}")

    def _load(self, kernel: Kernel) -> _Loaded:
        loaded = self._loaded.get(kernel)
        if loaded is None:
            self._driver.make_current()
            parameters = kernel.parameters
            entry = self._driver.load(cached_ptx(kernel, self._driver.capability), kernel.name, kernel.shared)
            values = (ctypes.c_int64 * max(1, len(parameters)))()
            start = ctypes.addressof(values)
            addresses = (ctypes.c_void_p * max(1, len(parameters)))(*range(start, start + 8 * len(parameters), 8))
            dtypes = [np.dtype(one.dtype) if isinstance(one, Pointer) else None for one in parameters]
            pack = struct.Struct(f"{len(parameters)}q").pack_into
            loaded = _Loaded(entry, dtypes, values, addresses, ctypes.addressof(addresses), pack)
            self._loaded[kernel] = loaded
        return loaded

    # ------------------------------------------------------------------------------------------------------- graphs

    def captured(self, key: Sequence[object], program: Callable[[], None]) -> None:
        """Run a program that only launches, copies and clears: plainly at first, then as a CUDA graph.

        The first run compiles the kernels and makes the scratch memory. The second captures the graph and launches it,
        and so do all later ones while they have the same key. A graph keeps the memory alive that it uses.
        """
        with self._lock:
            if self._captured is not None:  # within another program, whose graph this will be part of
                program()
                return
            wanted = capture_key(key)
            graph = self._graphs.get(wanted)
            if graph is None:
                program()
                self._graphs[wanted] = _Graph()
                if len(self._graphs) > _MOST_GRAPHS:
                    self._graphs.popitem(last=False)
                return
            self._graphs.move_to_end(wanted)
            self._driver.make_current()
            if graph.executable is None:
                self._capture(wanted, graph, program)
            self._driver.replay(graph.executable)

    def forget(self, key: Sequence[object]) -> None:
        """Let go of the graph of that key, if there is one, and of the memory that it keeps alive."""
        with self._lock:
            self._graphs.pop(capture_key(key), None)

    def _capture(self, key: tuple[object, ...], graph: _Graph, program: Callable[[], None]) -> None:
        self._captured = graph.memory
        try:
            graph.executable = self._driver.capture(program)
        except BaseException:
            self._graphs.pop(key, None)
            raise
        finally:
            self._captured = None
        # The same memory was named by many launches.
        graph.memory = list({id(memory): memory for memory in graph.memory}.values())

    # ------------------------------------------------------------------------------------------- other libraries

    def borrow(self, foreign: Any) -> DeviceArray:
        """An array of CuPy, PyTorch, JAX or Numba on this GPU, without a copy; our work waits for what made it.

        Raises DeviceError for one that lies elsewhere and DataError for one that cannot be lent (a tensor that needs
        its gradient) or whose numbers NumPy has no type for.
        """
        kind = f"{type(foreign).__module__.partition('.')[0]}.{type(foreign).__name__}"
        with self._lock:
            self._prepare("an array cannot be borrowed")
            try:
                described = self._described(foreign)
            except (DataError, DeviceError):
                raise
            except Exception as error:  # whatever another library raises
                reason = str(error).partition("\n")[0]
                raise DataError(f"a {kind} array cannot be lent to us: {reason}") from None
        if described is None:
            return super().borrow(foreign)
        if described.device != self.dlpack_device:
            where = f"GPU {described.device[1]}" if described.device[0] == CUDA else "host memory or another device"
            raise DeviceError(
                f"expected an array on {self.name} (GPU {self.dlpack_device[1]}), found a {kind} array on {where}",
                remedy="copy it over first, or pass a NumPy array",
            )
        span = 1 + sum(
            (extent - 1) * stride
            for extent, stride in zip(described.shape, described.strides or (), strict=False)
            if extent
        )
        count = max(span, math.prod(described.shape))
        memory = BorrowedMemory(
            self, described.pointer, count * described.dtype.itemsize, described.owner, described.read_only
        )
        return DeviceArray(memory, 0, described.shape, described.strides, described.dtype)

    def _described(self, foreign: Any) -> Described | None:
        """What an array says of itself. DLPack first: its protocol says which GPU it is, and who waits for whom."""
        if hasattr(type(foreign), "__dlpack__"):
            if int(foreign.__dlpack_device__()[0]) not in (CUDA, CUDA_MANAGED):
                return Described(0, (CPU, 0), np.dtype(np.uint8), (0,), None, foreign)
            found = read_capsule(foreign.__dlpack__(stream=self._driver.stream), foreign)
            return replace(found, device=(CUDA, found.device[1]))
        if not hasattr(type(foreign), "__cuda_array_interface__"):
            return None
        interface = foreign.__cuda_array_interface__
        stream = interface.get("stream")
        if stream is not None and stream != _LEGACY_STREAM:
            self._driver.wait_for(int(stream))
        dtype = np.dtype(interface["typestr"])
        strides = interface.get("strides")
        if strides is not None:
            if any(stride % dtype.itemsize for stride in strides):
                raise DataError(f"expected strides of whole elements, found {strides} bytes of {dtype.name}")
            strides = tuple(stride // dtype.itemsize for stride in strides)
        # Which GPU an address belongs to is not part of this protocol; memory is told by its address, as the driver
        # gives each GPU addresses of its own.
        pointer = int(interface["data"][0])
        shape = tuple(int(extent) for extent in interface["shape"])
        read_only = bool(interface["data"][1])
        return Described(pointer, (CUDA, self._driver.owner(pointer)), dtype, shape, strides, foreign, read_only)


def _must_be_writable(array: DeviceArray) -> None:
    if isinstance(array.memory, BorrowedMemory) and array.memory.read_only:
        raise DeviceError("expected an array to write to, found a read-only one of another library")


def _capacity(nbytes: int) -> int:
    """What is set aside for so many bytes: an eighth more at most, so that pieces of like sizes can be used again."""
    step = max(256, 1 << max(0, nbytes.bit_length() - 4))
    return -(-nbytes // step) * step


def _bytes_text(nbytes: int) -> str:
    """``1.5 GiB``."""
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if nbytes >= size:
            return f"{nbytes / size:.1f} {unit}"
    return f"{nbytes} bytes"

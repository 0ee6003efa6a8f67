"""Arrays in device memory, and what a device is: the interface that the GPU and its emulation share.

A :class:`DeviceArray` is a window on memory: an offset, a shape and strides in elements. Slices and reshapes are other
windows on the same memory; nothing is copied until it is said (``copy``, ``to_host``, ``array[...] = values``).
"""

from __future__ import annotations

import math
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from symbp.errors import DataError, DeviceError, ShapeError
from symbp.runtime.cuda.dlpack import CPU, CUDA, CUDA_HOST, export_capsule
from symbp.runtime.cuda.windows import Key, Shape, axis_order, c_strides, is_contiguous, reshaped, window

Array = npt.NDArray[Any]
Blocks = int | tuple[int, int, int]


class Memory(Protocol):
    """A piece of device memory; it is given back when the last array on it is gone."""

    @property
    def pointer(self) -> int:
        """Its address as kernels see it."""

    @property
    def nbytes(self) -> int:
        """Its length."""

    @property
    def device(self) -> Device:
        """Where it lies."""


class Launchable(Protocol):
    """What a device needs to know of a kernel; how it runs it is its own affair."""

    @property
    def name(self) -> str:
        """As messages and profilers show it."""

    def blocks(self, points: int) -> int:
        """How many blocks hold so many teams."""


class DeviceArray:
    """A window on device memory: element [i, j] lies at ``offset + i*strides[0] + j*strides[1]``, in elements.

    Indexing takes whole numbers and slices of step 1, as NumPy does, and gives a window on the same memory (of shape
    ``()`` for one element). NumPy reads it (``np.asarray``), and so do CuPy, PyTorch, JAX and Numba, without a copy.
    Raises IndexError for an index out of range, ShapeError for a window that does not fit.
    """

    __slots__ = (
        "__weakref__", "contiguous", "dtype", "memory", "offset", "pointer", "shape", "size", "strides",
    )  # fmt: skip

    #: The address of the first element.
    pointer: int
    #: Number of elements.
    size: int
    #: Whether the elements lie one behind the other in C order.
    contiguous: bool

    def __init__(
        self, memory: Memory, offset: int, shape: Sequence[int], strides: Sequence[int] | None, dtype: npt.DTypeLike
    ) -> None:
        """``strides=None`` is C order."""
        self.memory = memory
        self.offset = offset
        self.shape: Shape = tuple(shape)
        self.strides: Shape = c_strides(self.shape) if strides is None else tuple(strides)
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        # These are asked for at every launch.
        self.pointer = memory.pointer + offset * self.dtype.itemsize
        self.size = math.prod(self.shape)
        self.contiguous = strides is None or is_contiguous(self.shape, self.strides)

    @property
    def device(self) -> Device:
        """Where the memory lies."""
        return self.memory.device

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the elements, without what may lie between them."""
        return self.size * self.dtype.itemsize

    def view(self, start: int, shape: Sequence[int]) -> DeviceArray:
        """``self[start : start + size]`` of the elements in C order, in another shape; for contiguous arrays."""
        self._must_be_contiguous("view()")
        if start < 0 or any(extent < 0 for extent in shape) or start + math.prod(shape) > self.size:
            raise ShapeError(f"expected a window inside {self.size} elements, found {tuple(shape)} from {start} on")
        return DeviceArray(self.memory, self.offset + start, shape, None, self.dtype)

    def reshape(self, *shape: Any) -> DeviceArray:
        """The same elements in another shape, one extent of which may be -1; for contiguous arrays."""
        wanted = reshaped(shape, self.shape)
        self._must_be_contiguous("reshape()")
        return DeviceArray(self.memory, self.offset, wanted, None, self.dtype)

    def transpose(self, *axes: Any) -> DeviceArray:
        """The axes in another order, reversed if none is given: the same memory."""
        order = axis_order(axes, self.ndim)
        shape, strides = ([of[axis] for axis in order] for of in (self.shape, self.strides))
        return DeviceArray(self.memory, self.offset, shape, strides, self.dtype)

    @property
    def T(self) -> DeviceArray:
        """The axes reversed."""
        return self.transpose()

    def __getitem__(self, key: Key) -> DeviceArray:
        offset, shape, strides = window(key, self.shape, self.strides)
        return DeviceArray(self.memory, self.offset + offset, shape, strides, self.dtype)

    def __setitem__(self, key: Key, values: Any) -> None:
        """Copy values of the same shape and dtype in; a Python number goes to every element.

        Raises ShapeError, DataError (dtype) and DeviceError (a target with gaps, another device).
        """
        target = self[key]
        target._must_be_contiguous("assignment to a window")
        if isinstance(values, DeviceArray):
            _check_same(target, values.shape, values.dtype)
            self.device.copy(values if values.contiguous else values.copy(), target)
            return
        python = not isinstance(values, np.ndarray | np.generic)
        given = np.asarray(values)
        if python and given.dtype.kind in "fiu":
            given = given.astype(self.dtype)
            if given.ndim == 0:
                given = np.broadcast_to(given, target.shape)
        _check_same(target, given.shape, given.dtype)
        if target.size:
            self.device.write(target, np.ascontiguousarray(given).reshape(target.shape))

    def to_host(self) -> Array:
        """The values as a NumPy array of their own."""
        return self.device.download(self)

    def copy(self) -> DeviceArray:
        """The same values in memory of their own, in C order."""
        if self.contiguous:
            result = self.device.empty(self.shape, self.dtype)
            if self.size:
                self.device.copy(self, result)
            return result
        return self.device.upload(self.to_host())

    def item(self) -> Any:
        """The one element, as a Python number."""
        if self.size != 1:
            raise ShapeError(f"expected one element, found shape {self.shape}")
        return self.to_host().item()

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __bool__(self) -> bool:
        return bool(self.item())

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("an array of shape () has no length")
        return self.shape[0]

    def __copy__(self) -> DeviceArray:
        return self.copy()

    def __deepcopy__(self, memo: dict[int, Any]) -> DeviceArray:
        return self.copy()

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> Array:
        if copy is False:
            raise ValueError("values in device memory reach NumPy only as a copy")
        values = self.to_host()
        return values if dtype is None else values.astype(dtype, copy=False)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """For CuPy, PyTorch, Numba. All work on the values is done first, so ``stream`` is None: no need to wait."""
        if self.device.dlpack_device[0] != CUDA:
            raise AttributeError("__cuda_array_interface__")  # so that hasattr() is right where a device is emulated
        self.device.synchronise()
        itemsize = self.dtype.itemsize
        return {
            "version": 3,
            "shape": self.shape,
            "strides": None if self.contiguous else tuple(stride * itemsize for stride in self.strides),
            "typestr": self.dtype.str,
            "data": (self.pointer if self.size else 0, False),
            "stream": None,
        }

    def __dlpack__(
        self,
        *,
        stream: Any = None,
        max_version: Any = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        """A capsule of the DLPack protocol. All work on the values is done first, whatever ``stream`` is."""
        place = self.device.dlpack_device
        if dl_device is not None and tuple(dl_device) != place:
            raise BufferError(f"the array lies on {self.device.name}; copy it with to_host()")
        lent = self.copy() if copy else self
        self.device.synchronise()
        return export_capsule(lent, lent.pointer, place, lent.dtype, lent.shape, lent.strides)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.device.dlpack_device

    def __repr__(self) -> str:
        return f"DeviceArray(shape {self.shape}, {self.dtype.name}, on {self.device.name})"

    def _must_be_contiguous(self, what: str) -> None:
        if not self.contiguous:
            raise DeviceError(
                f"{what}: expected a contiguous array, found shape {self.shape} with strides {self.strides}",
                remedy="take a copy: array.copy()",
            )


def lies_on_a_device(value: Any) -> bool:
    """Whether these are values in device memory, ours or another library's, which NumPy cannot read in place."""
    if type(value) is np.ndarray:
        return False
    if isinstance(value, DeviceArray):
        return True
    kind = type(value)  # asked of the type: the property itself may raise (a tensor that needs its gradient)
    if hasattr(kind, "__dlpack_device__"):
        try:
            return int(value.__dlpack_device__()[0]) not in (CPU, CUDA_HOST)
        except Exception:  # a kind of device that DLPack has no number for: NumPy may tell more
            return False
    return hasattr(kind, "__cuda_array_interface__")


def capture_key(key: Sequence[object]) -> tuple[object, ...]:
    """What tells programs apart: an array counts by where it lies and how, anything else by its value."""
    return tuple(
        (part.pointer, part.shape, part.strides, part.dtype.num) if isinstance(part, DeviceArray) else part
        for part in key
    )


class Device(ABC):
    """Memory, copies, launches: work is done in the order in which it is asked for, on one stream.

    The methods without a body are what tells one device from another.
    """

    #: How messages call it.
    name: str = "device"
    #: Kind and number as DLPack counts them; memory of NumPy where the device is an emulation.
    dlpack_device: tuple[int, int] = (CPU, 0)

    def __init__(self) -> None:
        self._scratch = _Scratch()

    @abstractmethod
    def allocate(self, nbytes: int) -> Memory:
        """Memory with anything in it, aligned to 256 bytes. DeviceError where there is not enough."""

    @abstractmethod
    def write(self, target: DeviceArray, source: Array) -> None:
        """Copy NumPy values to the device; both contiguous, of the same dtype and size. ``source`` is free after it."""

    @abstractmethod
    def read(self, source: DeviceArray, target: Array) -> None:
        """Copy device values to NumPy, and wait for them; both contiguous, of the same dtype and size."""

    @abstractmethod
    def copy(self, source: DeviceArray, target: DeviceArray) -> None:
        """Copy from device memory to device memory; both contiguous, of the same dtype and size."""

    @abstractmethod
    def clear(self, array: DeviceArray) -> None:
        """Zero the bytes of a contiguous array."""

    @abstractmethod
    def launch_blocks(self, kernel: Any, blocks: Blocks, *arguments: Any) -> None:
        """Run a kernel on so many blocks. Arguments are device arrays, and whole numbers (int64)."""

    @abstractmethod
    def synchronise(self) -> None:
        """Wait until all that was asked for is done."""

    def captured(self, key: Sequence[object], program: Callable[[], None]) -> None:
        """Run a program that only launches, copies and clears; where graphs exist, as a graph from the second call on.

        ``key`` tells programs apart and holds every array the program touches: an array counts by its place.
        """
        program()

    def forget(self, key: Sequence[object]) -> None:  # noqa: B027 (a device without graphs has nothing to forget)
        """Let go of the graph of that key, if there is one, and of the memory that it keeps alive."""

    def borrow(self, foreign: Any) -> DeviceArray:
        """An array of another library on this device, without a copy. DeviceError where it is not."""
        raise DeviceError(
            f"expected a NumPy array or one on {self.name}, found {type(foreign).__module__}.{type(foreign).__name__}",
            remedy="pass a NumPy array",
        )

    def empty(self, shape: Sequence[int], dtype: npt.DTypeLike) -> DeviceArray:
        """An array with anything in it."""
        wanted = np.dtype(dtype)
        return DeviceArray(self.allocate(math.prod(shape) * wanted.itemsize), 0, shape, None, wanted)

    def zeros(self, shape: Sequence[int], dtype: npt.DTypeLike) -> DeviceArray:
        """An array of zeros."""
        array = self.empty(shape, dtype)
        if array.size:
            self.clear(array)
        return array

    def upload(self, values: Array) -> DeviceArray:
        """The values of a NumPy array in memory of their own."""
        array = self.empty(values.shape, values.dtype)
        if array.size:
            self.write(array, np.ascontiguousarray(values).reshape(values.shape))
        return array

    def download(self, array: DeviceArray) -> Array:
        """The values as a NumPy array, whatever the strides."""
        if array.size == 0:
            return np.empty(array.shape, array.dtype)
        if array.contiguous:
            values = np.empty(array.shape, array.dtype)
            self.read(array, values)
            return values
        span = 1 + sum((extent - 1) * stride for extent, stride in zip(array.shape, array.strides, strict=True))
        whole = self.download(DeviceArray(array.memory, array.offset, (span,), None, array.dtype))
        byte_strides = [stride * array.dtype.itemsize for stride in array.strides]
        return np.lib.stride_tricks.as_strided(whole, array.shape, byte_strides).copy()

    def launch(self, kernel: Launchable, points: int, *arguments: Any) -> None:
        """Run a kernel with a team of threads for each of so many points; nothing for none (a range may be empty)."""
        if points > 0:
            self.launch_blocks(kernel, kernel.blocks(points), *arguments)

    def scratch(self, key: str, shape: int | Shape, dtype: npt.DTypeLike) -> DeviceArray:
        """Memory for intermediates, kept under ``key`` from call to call, one per thread. ``7`` is ``(7,)``."""
        wanted = (shape,) if isinstance(shape, int) else shape
        lent = self._scratch.lent.get((key, dtype))
        if lent is not None and lent.shape == wanted:
            return lent
        count = math.prod(wanted)
        held = self._scratch.held.get((key, dtype))
        if held is None or held.size < count:
            # What was there goes first, or for a moment both would be needed.
            lent = held = None
            self._scratch.lent.pop((key, dtype), None)
            self._scratch.held.pop((key, dtype), None)
            held = self._scratch.held[(key, dtype)] = self.empty((count,), dtype)
        lent = self._scratch.lent[(key, dtype)] = DeviceArray(held.memory, held.offset, wanted, None, held.dtype)
        return lent

    def wrap(self, foreign: Any) -> DeviceArray:
        """An array on this device as ours, without a copy: ours, CuPy's, PyTorch's, JAX's, Numba's.

        It is kept alive by the result. Raises DeviceError for one that lies elsewhere.
        """
        if not isinstance(foreign, DeviceArray):
            return self.borrow(foreign)
        if foreign.device is not self:
            raise DeviceError(
                f"expected an array on {self.name}, found one on {foreign.device.name}", remedy="array.to_host()"
            )
        return foreign


class _Scratch(threading.local):
    """Memory by key and dtype, as it is held and as it was lent last."""

    def __init__(self) -> None:
        self.held: dict[tuple[str, Any], DeviceArray] = {}
        self.lent: dict[tuple[str, Any], DeviceArray] = {}


def _check_same(target: DeviceArray, shape: Shape, dtype: np.dtype[Any]) -> None:
    if shape != target.shape:
        raise ShapeError(f"expected values of shape {target.shape}, found {shape}")
    if dtype != target.dtype:
        raise DataError(
            f"expected {target.dtype.name}, found {dtype.name}",
            remedy=f"convert it on purpose: array.astype(np.{target.dtype.name})",
        )

"""A device that is none: memory of this process, kernels run by the emulator."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from importlib import import_module
from math import prod
from typing import Any

import numpy as np

from symbp.check.emulator.errors import EmulatorError
from symbp.check.emulator.launch import make_launch
from symbp.check.emulator.memory import Memory
from symbp.check.emulator.statements import Library
from symbp.errors import TargetError

# Generated packages carry a runtime of their own, whose arrays are not those of the installed one, so the runtime is
# a parameter here and named, not imported.
RUNTIME = "symbp.runtime.cuda"


class EmulatedDevice:
    """The methods of a runtime's ``Device``, without a GPU.

    Every launch is checked: subscripts, alignment, races, barriers, reads of what was never written. An
    :class:`EmulatorError` says which thread did what on which line. Blocks run in an order drawn from `seed`.

    Attributes:
        launches: how often each kernel has been launched, by name.
    """

    name = "the emulated device"
    launches: Counter[str]

    # The runtime's Device adds these.
    zeros: Callable[..., Any]
    upload: Callable[..., Any]
    launch: Callable[..., None]
    scratch: Callable[..., Any]
    wrap: Callable[..., Any]

    def __new__(cls, seed: int = 0, *, runtime: str = RUNTIME) -> EmulatedDevice:
        """`runtime` is the package whose arrays and kernels it serves: ``mlp._runtime.cuda`` of a generated one."""
        if np.lib.NumpyVersion(np.__version__) < "2.0.0":
            raise TargetError(
                f"the emulator needs NumPy 2, whose types do not depend on values; found {np.__version__}",
                remedy="pip install 'numpy>=2'",
            )
        arrays = import_module(f"{runtime}.array")
        kind = type(cls.__name__, (cls, arrays.Device), {"_arrays": arrays})
        device: EmulatedDevice = object.__new__(kind)
        return device

    def __init__(self, seed: int = 0, *, runtime: str = RUNTIME) -> None:
        super().__init__()
        self._generator = np.random.default_rng(seed)
        self._library = Library()
        self._captures: dict[Any, list[Any]] = {}
        self._recording: list[Any] | None = None
        self._replaying = False
        self.launches = Counter()

    # Memory.

    def allocate(self, nbytes: int, *, label: str = "", granule: int = 4) -> Memory:
        """Memory that nothing has been written to: reading it is an error."""
        if self._replaying:
            raise EmulatorError("memory is allocated in a captured program, which a graph could not repeat")
        return Memory(nbytes, label or f"an allocation of {nbytes} bytes", device=self, granule=granule)

    def empty(self, shape: Sequence[int], dtype: Any) -> Any:
        """An array that nothing has been written to."""
        kind = np.dtype(dtype)
        label = f"the device array of shape {tuple(shape)}"
        memory = self.allocate(prod(shape) * kind.itemsize, label=label, granule=min(4, kind.itemsize))
        return self._array(memory, 0, shape, None, kind)

    def _array(self, *arguments: Any) -> Any:
        return self._arrays.DeviceArray(*arguments)  # type: ignore[attr-defined]

    def protect(self, array: Any, *, on: bool = True) -> None:
        """From now on a kernel that writes to the array's memory is in error."""
        array.memory.protected = on

    def borrow(self, foreign: Any) -> Any:
        """An array in this process's memory (NumPy's, a CPU tensor of PyTorch) as if it lay on the device."""
        if not hasattr(foreign, "__dlpack__"):
            raise EmulatorError(f"expected an array with __dlpack__, found {type(foreign).__name__}")
        values = np.from_dlpack(foreign)
        span = 1 + sum((n - 1) * s for n, s in zip(values.shape, values.strides, strict=True)) // values.itemsize
        flat = np.lib.stride_tricks.as_strided(values, (span if values.size else 0,), (values.itemsize,))
        label = f"a foreign array of shape {values.shape}"
        memory = Memory.borrow(flat.view(np.uint8), label, self, granule=min(4, values.itemsize))
        return self._array(
            memory, 0, values.shape, [stride // values.itemsize for stride in values.strides], values.dtype
        )

    # Copies.

    def write(self, target: Any, source: Any) -> None:
        """NumPy values to the device."""
        start, nbytes = self._span(target)
        target.memory.bytes[start : start + nbytes] = np.ascontiguousarray(source).reshape(-1).view(np.uint8)
        target.memory.mark(start, nbytes)

    def read(self, source: Any, target: Any) -> None:
        """Device values to NumPy."""
        target[...] = self.download(source)

    def download(self, array: Any) -> Any:
        """The values as a NumPy array, whatever the strides."""
        places = np.full(array.shape, array.offset, np.int64)
        for axis, (extent, stride) in enumerate(zip(array.shape, array.strides, strict=True)):
            places += (np.arange(extent) * stride).reshape([-1 if other == axis else 1 for other in range(array.ndim)])
        memory = array.memory
        granules = memory.granules(places.reshape(-1), array.dtype.itemsize)
        written = memory.written[np.atleast_1d(granules)]
        if not written.all():
            element = int(np.flatnonzero(~written)[0]) * array.size // len(written)
            raise EmulatorError(f"element {element} of {memory.label} is read by the host but has never been written")
        return np.asarray(memory.typed(array.dtype)[places])

    def copy(self, source: Any, target: Any) -> None:
        """Device to device; whatever has not been written stays so."""
        (first, nbytes), (second, other) = self._span(source), self._span(target)
        if nbytes != other or source.dtype != target.dtype:
            raise EmulatorError(f"copy: expected arrays of one type and size, found {source!r} and {target!r}")
        self._record("copy", source, target)
        target.memory.bytes[second : second + nbytes] = source.memory.bytes[first : first + nbytes].copy()
        # Flags of bytes, since the granules of the two may differ.
        grain, granule = source.memory.granule, target.memory.granule
        begin, end = first // grain, -(-(first + nbytes) // grain)
        flags = np.repeat(source.memory.written[begin:end], grain)[first - begin * grain :][:nbytes]
        whole: Any = flags[: nbytes // granule * granule].reshape(-1, granule).all(axis=1)
        target.memory.written[second // granule : second // granule + len(whole)] = whole

    def clear(self, array: Any) -> None:
        """Zero the bytes."""
        start, nbytes = self._span(array)
        self._record("clear", array)
        array.memory.bytes[start : start + nbytes] = 0
        array.memory.mark(start, nbytes)

    def _span(self, array: Any) -> tuple[int, int]:
        """Where a contiguous array's bytes lie in its memory."""
        if not array.contiguous:
            raise EmulatorError(f"expected a contiguous array, found {array!r} with strides {array.strides}")
        if array.memory.device is not self:
            raise EmulatorError(f"expected an array of this device, found {array!r}")
        size = array.dtype.itemsize
        return array.offset * size, array.size * size

    def synchronise(self) -> None:
        """Nothing is ever under way."""

    # Kernels.

    def launch_blocks(self, kernel: Any, blocks: int | tuple[int, int, int], *arguments: Any) -> None:
        """Run a kernel on so many blocks."""
        launch = make_launch(kernel, blocks, arguments, self)
        self._record(kernel, launch.grid, *arguments)
        self.launches[kernel.name] += 1
        launch.run(self._library, self._generator)

    def captured(self, key: Any, program: Callable[[], None]) -> None:
        """Run a program, and see that it asks for the same work each time, as a graph would repeat it."""
        key = self._arrays.capture_key(key)  # type: ignore[attr-defined]
        if self._recording is not None:
            raise EmulatorError("a program is captured inside a captured program")
        earlier = self._captures.get(key)
        self._recording = []
        self._replaying = earlier is not None
        try:
            program()
            made = self._recording
        finally:
            self._recording = None
            self._replaying = False
        if earlier is not None and made != earlier:
            step = next(
                (number for number, (a, b) in enumerate(zip(earlier, made, strict=False)) if a != b),
                min(len(earlier), len(made)),
            )
            before, now = (describe_step(steps[step]) if step < len(steps) else "the end" for steps in (earlier, made))
            raise EmulatorError(
                f"step {step} of a captured program is {now}, but was {before} when it was captured",
                remedy="put what changes into device memory, or into the key",
            )
        self._captures[key] = made

    def _record(self, what: Any, *arguments: Any) -> None:
        if self._recording is not None:
            self._recording.append((what, *(fingerprint(argument) for argument in arguments)))


def fingerprint(argument: Any) -> Any:
    """What a graph would repeat of an argument: an address, or a number."""
    return argument.pointer if hasattr(argument, "pointer") else argument


def describe_step(step: tuple[Any, ...]) -> str:
    what, *arguments = step
    return f"{getattr(what, 'name', what)}({', '.join(map(str, arguments))})"

"""One launch: the blocks of a grid in batches and in random order, then the search for races."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from symbp.check.emulator.arrays import Pointer
from symbp.check.emulator.errors import EmulatorError
from symbp.check.emulator.frame import Run
from symbp.check.emulator.lanes import WARP, Batch
from symbp.check.emulator.races import AccessLog
from symbp.check.emulator.statements import Library
from symbp.check.emulator.values import Value

# Threads that run in lockstep: enough that NumPy's calls cost little for each, few enough for the caches.
MOST_LANES = 1 << 14
MOST_THREADS = 1024


@dataclass(frozen=True, eq=False)
class Launch:
    """A kernel, its grid and its arguments as values of threads."""

    kernel: Any
    grid: tuple[int, int, int]
    arguments: tuple[Value, ...]

    def run(self, library: Library, generator: np.random.Generator) -> None:
        """Run all blocks.

        Raises EmulatorError for whatever a GPU would not forgive.
        """
        routine = library.find(self.kernel.function)
        log = AccessLog(self.kernel.name)
        with np.errstate(all="ignore"):
            for batch in self._batches(generator):
                run = Run(self.kernel.name, batch, log, generator, self.kernel.shared)
                routine.start(run, batch.all, self.arguments)
                log.check(list(run.shared.values()))
            log.check()

    def _batches(self, generator: np.random.Generator) -> Iterator[Batch]:
        threads = self.kernel.threads
        x, y, z = self.grid
        order = generator.permutation(x * y * z)
        many = max(1, MOST_LANES // threads)
        for start in range(0, len(order), many):
            yield Batch(np.sort(order[start : start + many]), self.grid, threads)


def make_launch(kernel: Any, blocks: int | tuple[int, int, int], arguments: tuple[Any, ...], device: Any) -> Launch:
    """Check what the host hands to a kernel, as the GPU's driver would not.

    Raises EmulatorError for a wrong number or type of arguments, an array of another device, an impossible grid.
    """
    place = f"launch of kernel {kernel.name}"
    x, y, z = grid = (int(blocks), 1, 1) if not isinstance(blocks, tuple) else blocks
    if min(grid) < 1 or x >= 1 << 31 or max(y, z) >= 1 << 16:
        raise EmulatorError(f"expected a grid from 1 block to (2^31, 2^16, 2^16), found {grid}", place=place)
    if kernel.threads % WARP or not 0 < kernel.threads <= MOST_THREADS:
        raise EmulatorError(
            f"expected whole warps, at most {MOST_THREADS} threads, found {kernel.threads}", place=place
        )
    kinds = kernel.parameters
    names = kernel.function.__code__.co_varnames[: kernel.function.__code__.co_argcount]
    if len(arguments) != len(kinds):
        raise EmulatorError(
            f"expected {len(kinds)} arguments ({', '.join(names)}), found {len(arguments)}", place=place
        )
    values = tuple(
        argument_value(argument, kind, name, place, device)
        for argument, kind, name in zip(arguments, kinds, names, strict=True)
    )
    return Launch(kernel, grid, values)


def argument_value(argument: Any, kind: Any, name: str, place: str, device: Any) -> Value:
    """An argument as kernels see it: a pointer, or a whole number by value."""
    dtype = getattr(kind, "dtype", None)
    if dtype is None:
        if isinstance(argument, bool) or not isinstance(argument, int | np.integer):
            raise EmulatorError(f"'{name}' is a whole number by value, found {type(argument).__name__}", place=place)
        return np.int64(argument)
    if not hasattr(argument, "memory"):
        raise EmulatorError(f"'{name}' is a pointer to {dtype}, found {type(argument).__name__}", place=place)
    if argument.dtype != np.dtype(dtype):
        raise EmulatorError(f"'{name}' is a pointer to {dtype}, found an array of {argument.dtype}", place=place)
    if argument.memory.device is not device:
        raise EmulatorError(f"'{name}' lies on another device", place=place)
    span = 1 + sum((extent - 1) * stride for extent, stride in zip(argument.shape, argument.strides, strict=True))
    return Pointer(argument.memory, argument.offset, span if argument.size else 0, argument.dtype, name)

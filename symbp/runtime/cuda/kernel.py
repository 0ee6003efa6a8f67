"""Kernels as values: a Python function, how its threads work together, and what its parameters are.

Nothing is compiled here, and numba-cuda need not be there: a kernel's text can be read, checked and emulated anywhere.
`compile` makes PTX of a kernel, `device` launches it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from symbp.errors import DeviceError

NUMBA_CUDA = find_spec("numba_cuda") is not None

THREADS = 256
"""Threads in a block of a generated kernel: eight warps."""

# What a grid can have along its first axis; `unravel` divides in 32 bits for the same reason.
_MOST_BLOCKS = 2**31 - 1

# Needed where kernels are compiled for a GPU; everything else works without it.
INSTALL = 'install it with: pip install "symbp[cuda]"'


@dataclass(frozen=True, slots=True)
class Pointer:
    """A parameter that is the address of numbers on the device; `dtype` is NumPy's name of their type."""

    dtype: str


@dataclass(frozen=True, slots=True)
class Whole:
    """A parameter that is one 64-bit whole number, passed by value."""


def pointer(dtype: DTypeLike) -> Pointer:
    """The annotation of a parameter that points to numbers of a type: ``Reals = pointer(np.float32)``."""
    return Pointer(np.dtype(dtype).name)


Integers = pointer(np.int64)
Doubles = pointer(np.float64)
Size = Whole()


class Team(Enum):
    """The threads that work on one point of a kernel's box; the value is how many points a block of 256 takes."""

    THREAD = 256
    WARP = 8
    BLOCK = 1
    COLUMN = 32
    """Eight threads of a column, one in each warp; neighbouring lanes are neighbouring points."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """A function that the threads of a grid run.

    Attributes:
        function: the plain Python function.
        team: which threads share a point; None for a kernel that counts its blocks itself (`raw_kernel`).
        threads: the threads of a block.
        shared: bytes of dynamic shared memory of a block.
    """

    function: Callable[..., None]
    team: Team | None
    threads: int = THREADS
    shared: int = 0

    @property
    def name(self) -> str:
        """The function's name, which is also the entry's name in PTX."""
        return self.function.__name__

    @property
    def parameters(self) -> tuple[Pointer | Whole, ...]:
        """What each parameter is, in order, as annotated.

        Raises:
            DeviceError: a parameter has no annotation, or one that is neither a pointer nor `Size`.
        """
        return tuple(
            self._annotation(parameter.name, parameter.annotation)
            for parameter in inspect.signature(self.function).parameters.values()
        )

    def _annotation(self, parameter: str, annotation: object) -> Pointer | Whole:
        # Where annotations are kept as text, this is the name of a variable of the kernel's module.
        kind = self.function.__globals__.get(annotation) if isinstance(annotation, str) else annotation
        if not isinstance(kind, Pointer | Whole):
            found = "no annotation" if annotation is inspect.Parameter.empty else repr(annotation)
            raise DeviceError(
                f"kernel {self.name}: parameter '{parameter}' must be annotated with a pointer(dtype), Integers, "
                f"Doubles or Size, found {found}"
            )
        return kind

    def blocks(self, points: int) -> int:
        """How many blocks `points` teams need.

        Raises:
            DeviceError: more points than a grid can hold, or a kernel that counts its blocks itself.
        """
        if self.team is None:
            raise DeviceError(f"kernel {self.name} takes a number of blocks, not of points; use launch_blocks")
        if points > _MOST_BLOCKS:
            raise DeviceError(
                f"kernel {self.name}: a launch covers at most {_MOST_BLOCKS} points, found {points}",
                remedy="use a smaller batch",
            )
        return -(-points // self.team.value)


def thread_kernel(function: Callable[..., None]) -> Kernel:
    """Each thread has a point of its own: ``point = cuda.grid(1)``."""
    return Kernel(function, Team.THREAD)


def warp_kernel(function: Callable[..., None]) -> Kernel:
    """The 32 threads of a warp share a point: ``point = cuda.grid(1) // WARP``."""
    return Kernel(function, Team.WARP)


def block_kernel(function: Callable[..., None]) -> Kernel:
    """The 256 threads of a block share a point: ``point = cuda.blockIdx.x``."""
    return Kernel(function, Team.BLOCK)


def column_kernel(function: Callable[..., None]) -> Kernel:
    """Eight threads, one a warp, share a point: ``point = cuda.blockIdx.x * WARP + cuda.laneid``.

    Neighbouring lanes have neighbouring points, so that they read neighbouring numbers where the point is the last
    axis of what is read.
    """
    return Kernel(function, Team.COLUMN)


def raw_kernel(*, threads: int = THREADS, shared: int = 0) -> Callable[[Callable[..., None]], Kernel]:
    """A kernel written by hand, launched with a number of blocks; `shared` is its dynamic shared memory in bytes."""
    return lambda function: Kernel(function, None, threads, shared)


def _missing(function: Callable[..., Any]) -> Callable[..., Any]:
    """What stands in for an intrinsic where there is no compiler that could call it."""

    def stub(*arguments: Any) -> Any:
        raise DeviceError(f"{function.__name__} needs numba-cuda, which is not installed", remedy=INSTALL)

    stub.__name__, stub.__doc__ = function.__name__, function.__doc__
    return stub


if NUMBA_CUDA:
    from numba.cuda.extending import intrinsic, register_jitable
else:
    intrinsic = _missing

    def register_jitable(function: Callable[..., Any]) -> Callable[..., Any]:
        return function


def device_function(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that kernels may call. It stays a plain Python function."""
    called: Callable[..., Any] = register_jitable(function)
    return called

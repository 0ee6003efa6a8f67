"""How work is shared out among threads."""

# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path

import numba
from numba.extending import register_jitable
from numba.np.ufunc import parallel

from symbp.runtime.jit import kernel


@kernel(inline="always", cache=False)
def share(count, number, shares, step=16):
    """``(first, last)``: of ``range(count)`` the share `number` of as many equal shares as there are.

    A share begins at a multiple of `step`: with 16, threads do not write to one line of the cache by turns.
    """
    steps = (count + step - 1) // step
    return min(steps * number // shares * step, count), min(steps * (number + 1) // shares * step, count)


@register_jitable
def chunk_count(samples, longest, shortest):
    """How many chunks make a batch: none longer than `longest`, an even number if they are few and not too short."""
    count = (samples + longest - 1) // longest
    even = count + count % 2 if count < 8 else count
    return max(count, min(even, samples // shortest))


def worker_count(chunks: int) -> int:
    """How many threads work on that many chunks: one for each, and no more than Numba may take.

    ``NUMBA_NUM_THREADS`` or ``numba.set_num_threads`` say how many these are. Without a library of threads that starts
    a parallel loop in microseconds (TBB or OpenMP), and in a process that was forked after OpenMP had begun, it is one.
    """
    if chunks <= 1 or not _fast_threads() or _Forked.unsafe:
        return 1
    return min(int(numba.get_num_threads()), chunks)


@cache
def _fast_threads() -> bool:
    """Whether Numba has TBB or OpenMP. Its own pool takes a hundred microseconds a loop, and one caller at a time."""
    for name in ("tbbpool", "omppool"):
        with suppress(ImportError):  # that of a library that is not there
            import_module(f"numba.np.ufunc.{name}")
            return True
    return False


def _find_tbb() -> None:
    """Load TBB's library from its wheel, where the system's loader does not look for it; Numba then finds it loaded."""
    for path in sorted(Path(sys.prefix, "lib").glob("libtbb.so.12")):
        with suppress(OSError):
            ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)


_find_tbb()


class _Forked:
    """GNU OpenMP ends a process that was forked from one in which it ran; such a process stays with one thread."""

    unsafe = False

    @staticmethod
    def note() -> None:
        """Called in every forked process."""
        if parallel._is_initialized and parallel.threading_layer() == "omp":
            _Forked.unsafe = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_Forked.note)

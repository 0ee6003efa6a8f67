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
from numba.np.ufunc import parallel

from symbp.runtime.jit import kernel

#: A share begins at a multiple of this, so that threads do not write to one line of the cache by turns.
_STEP = 16


@kernel(inline="always", cache=False)
def share(count, number, shares):
    """``(first, last)``: of ``range(count)`` the share `number` of as many equal shares as there are."""
    steps = (count + _STEP - 1) // _STEP
    return min(steps * number // shares * _STEP, count), min(steps * (number + 1) // shares * _STEP, count)


def worker_count(samples: int, chunk: int) -> int:
    """How many threads work on that many samples: one for each chunk, and no more than Numba may take.

    ``NUMBA_NUM_THREADS`` or ``numba.set_num_threads`` say how many these are. Without a library of threads that starts
    a parallel loop in microseconds (TBB or OpenMP), and in a process that was forked after OpenMP had begun, it is one.
    """
    if samples <= chunk or not _fast_threads() or _Forked.unsafe:
        return 1
    return min(int(numba.get_num_threads()), -(-samples // chunk))


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

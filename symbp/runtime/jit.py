"""How every kernel is compiled: one decorator with one set of options.

``error_model="numpy"``: a division by zero gives infinity or NaN as NumPy does. Python's model puts a branch to an
exception at every division, and a loop with such a branch is not vectorised.

``fastmath={"contract", "reassoc", "nsz"}``: products and sums may fuse, and a sum may be split over the lanes of a
vector register. NaN and infinity keep their meaning. For one machine type the order of summation is fixed at compile
time, so the same inputs give the same bits at every call.

``nogil=True``: Python's other threads (a progress bar, a data loader) run while a kernel does.

The compiled code is kept on disk, beside the source in ``__pycache__`` or in ``NUMBA_CACHE_DIR``.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from numba import njit
from numba.core.caching import FunctionCache, IndexDataCacheFile

from symbp.runtime.passes import KernelPipeline
from symbp.runtime.pieces import WithPieces, count_as_ours
from symbp.runtime.simd import VECTORS, WIDTH

OPTIONS: dict[str, Any] = {
    "error_model": "numpy",
    "fastmath": {"contract", "reassoc", "nsz"},
    "nogil": True,
}


def _start_numba() -> None:
    """Load Numba's functions of arrays, and not SciPy's linear algebra.

    They import it to know whether it is there, which takes a fifth of the time until a kernel from the cache runs; to
    find it is enough. Who compiles a product of matrices with Numba itself imports it then.
    """
    linear_algebra: Any = import_module("numba.np.linalg")
    import_it = linear_algebra.ensure_blas

    def find_it() -> None:
        if find_spec("scipy") is None:
            raise ImportError("scipy is not installed")

    linear_algebra.ensure_blas = find_it
    try:
        import_module("numba.np.arraymath")
    finally:
        linear_algebra.ensure_blas = import_it


_start_numba()

# Reading a damaged cache file can raise almost anything that unpickling can: the list is that of the pickle manual.
_UNREADABLE = (OSError, EOFError, ValueError, AttributeError, ImportError, IndexError, KeyError, TypeError)


class UncachedWarning(UserWarning):
    """Compiled code cannot be kept on disk; everything works, and is compiled again in the next process."""


@cache
def source_hash(folder: Path) -> str:
    """SHA-256 over the Python files of a generated package: those of ``folder`` and of its ``_runtime``."""
    digest = hashlib.sha256()
    for source in sorted([*folder.glob("*.py"), *folder.glob("_runtime/**/*.py")]):
        digest.update(source.relative_to(folder).as_posix().encode() + b"\0")
        digest.update(source.read_bytes() + b"\0")
    return digest.hexdigest()


_told: set[Path] = set()


def warn_uncached(folder: Path, reason: str) -> None:
    """Say it once for a package, however many kernels it holds and whatever is said of each."""
    package = folder.parent if folder.name == "_runtime" else folder
    if package in _told:
        return
    _told.add(package)
    warnings.warn(
        f"compiled kernels of {package} cannot be cached: {reason}; they are compiled again in every process "
        "(a writable folder in the environment variable NUMBA_CACHE_DIR mends that)",
        UncachedWarning,
        stacklevel=4,
    )


class _PackageCache(FunctionCache):
    """Numba's cache of one function, stale as soon as any source file of its package changed.

    Numba looks at the file of the function alone (older versions only at its time and size). A kernel contains the
    code of the functions that it calls, which are in other files here, so all of them make up the stamp. A cache that
    cannot be read or written is passed over: it only ever saves time.
    """

    _impl_class = WithPieces

    def __init__(self, function: Callable[..., Any], parallel: bool = False) -> None:
        super().__init__(function)
        self._folder = Path(function.__code__.co_filename).parent
        self._cache_file = IndexDataCacheFile(
            cache_path=self.cache_path,
            # One function may be compiled twice, for one thread and for several.
            filename_base=self._impl.filename_base + "-threads" * parallel,
            source_stamp=(self._impl.locator.get_source_stamp(), source_hash(self._folder), WIDTH * VECTORS),
        )

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except Exception as error:
            if not is_unreadable(error):
                raise
            # A damaged index would also stop every later write; an empty one does not.
            with suppress(OSError):
                self.flush()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except Exception as error:
            if not is_unreadable(error):
                raise
            warn_uncached(self._folder, str(error) or type(error).__name__)


def is_unreadable(error: Exception) -> bool:
    """Whether this comes from a cache file (missing, damaged, disk full) and not from the compiler."""
    # The unpickler's own error class is named, not imported: nothing here may load a pickle.
    return isinstance(error, _UNREADABLE) or type(error).__name__ in ("UnpicklingError", "PicklingError")


def kernel(
    function: Callable[..., Any] | None = None,
    *,
    cache: bool = True,
    apart: bool = False,
    unroll: bool = False,
    **options: Any,
) -> Any:
    """``@kernel`` or ``@kernel(parallel=True)``: ``numba.njit`` with the options of this module.

    One that stands `apart` is called by other kernels, not copied into them (see `pieces`). Loops of unknown length are
    unrolled only with `unroll`: it helps those that gather samples, number by number (see `passes`).
    ``options`` go to ``numba.njit`` and override :data:`OPTIONS` one by one. Where no cache folder can be written the
    kernel works uncached, after one :class:`UncachedWarning` for the folder.
    """
    if function is None:
        return lambda decorated: kernel(decorated, cache=cache, apart=apart, unroll=unroll, **options)
    pipeline = None if options.get("parallel") else KernelPipeline
    compiled = njit(pipeline_class=pipeline, **{**OPTIONS, **options})(function)
    if cache:
        try:
            compiled._cache = _PackageCache(function, parallel=bool(options.get("parallel")))
        except (RuntimeError, OSError) as error:
            warn_uncached(Path(function.__code__.co_filename).parent, str(error))
        count_as_ours(compiled, apart, unroll)
    return compiled


def piece(function: Callable[..., Any]) -> Any:
    """``@piece``: a kernel that others are put together from: they call its one copy. Python cannot call it."""
    return kernel(function, apart=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)

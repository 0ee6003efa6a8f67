"""From a kernel to PTX, with no GPU at hand. This is the only file that knows numba-cuda's compiler."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import SimpleNamespace
from typing import Any

from numba import cuda

from symbp.errors import DeviceError
from symbp.runtime.cuda.kernel import INSTALL, NUMBA_CUDA, Kernel, Pointer

if NUMBA_CUDA:
    from numba.cuda import dispatcher, types

# numba-cuda compiles for one thread at a time, and below it is told for which device.
_lock = threading.RLock()

# Numba puts one of these beside every function, for a Python that is not there on a GPU.
_ENVIRONMENT = re.compile(r"^\.common \.global .*NumbaEnv.*;\n", re.MULTILINE)
_SHARED = re.compile(r"\b_cudapy_smem_\d+\b")

_LONGEST_REASON = 2000


def to_ptx(kernel: Kernel, cc: tuple[int, int] = (9, 0)) -> str:
    """PTX of a kernel for devices of compute capability `cc` and later ones; made once, then kept in memory.

    The entry is named as the kernel's function. Products and sums may fuse to one rounding; nothing else that changes
    a result is allowed: divisions and square roots are rounded correctly, numbers below the normal range are kept.

    Raises:
        DeviceError: numba-cuda is missing, or the kernel does not compile.
    """
    if not NUMBA_CUDA:
        raise DeviceError(f"kernel {kernel.name} cannot be compiled: numba-cuda is not installed", remedy=INSTALL)
    with _lock:
        return _compiled(kernel, cc)


@cache
def _compiled(kernel: Kernel, cc: tuple[int, int]) -> str:
    arguments = [_argument(parameter) for parameter in kernel.parameters]
    try:
        with _device_of(cc):
            ptx, _ = cuda.compile(
                kernel.function,
                types.void(*arguments),
                device=False,
                abi="numba",
                cc=cc,
                fastmath=False,
                launch_bounds=_bounds(kernel),
            )
    except Exception as error:
        # Whatever numba-cuda raises (typing, lowering, a missing NVVM) is about this kernel and this machine. Its
        # messages are long and of many lines; the whole text stays in the cause.
        said = " ".join(str(error).split())[:_LONGEST_REASON]
        raise DeviceError(
            f"kernel {kernel.name} does not compile for compute capability {cc[0]}.{cc[1]}: {said}"
        ) from error
    return _named(ptx, kernel.name)


def _bounds(kernel: Kernel) -> int | tuple[int, int]:
    """Threads of a block; and for generated kernels, that one block at a time on a multiprocessor is enough.

    Left to itself ptxas sets out to fit several blocks, and spills at 40 or 64 registers where a loop would take more.
    """
    return kernel.threads if kernel.team is None else (kernel.threads, 1)


def _argument(parameter: object) -> Any:
    if isinstance(parameter, Pointer):
        return types.CPointer(getattr(types, parameter.dtype))
    return types.int64


@contextmanager
def _device_of(cc: tuple[int, int]) -> Iterator[None]:
    """Within this, numba-cuda takes the device to be of `cc`: compiling a device function asks for it."""
    asked = dispatcher.get_current_device
    dispatcher.get_current_device = lambda: SimpleNamespace(compute_capability=cc)
    try:
        yield
    finally:
        dispatcher.get_current_device = asked


def _named(ptx: str, name: str) -> str:
    """The same PTX with the entry called `name`, and without what only Python would use.

    Numba numbers shared arrays through all it ever compiles; here they start with 1, so that a kernel's text is the
    same whatever was compiled before.
    """
    (mangled,) = re.findall(r"^\.visible \.entry (\w+)\(", ptx, re.MULTILINE)
    ptx = _ENVIRONMENT.sub("", ptx.replace(mangled, name))
    arrays = list(dict.fromkeys(_SHARED.findall(ptx)))
    return _SHARED.sub(lambda found: f"{name}_shared_{arrays.index(found.group()) + 1}", ptx)

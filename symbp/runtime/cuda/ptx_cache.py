"""PTX on disk: what was compiled once for a kind of GPU is read by the next process.

A file is named after all that its text depends on: the kernel's source and the numbers it closes over, the sources of
this runtime, the versions of the compilers, the compute capability. It lies beside the kernel's source in
``__pycache__``, or in ``NUMBA_CACHE_DIR``. A cache that cannot be read or written is passed over: it only saves time.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np

from symbp.runtime.cuda.compile import to_ptx
from symbp.runtime.cuda.kernel import Kernel

# What makes PTX of a kernel: a new version of one of these may make another.
_COMPILERS = ("numba", "numba-cuda", "llvmlite", "nvidia-cuda-nvcc", "nvidia-nvvm", "cuda-toolkit")
_RUNTIME = Path(__file__).resolve().parent


def cached_ptx(kernel: Kernel, cc: tuple[int, int]) -> str:
    """What `to_ptx` gives, from the disk where it is there. DeviceError as `to_ptx`."""
    place = place_of(kernel, cc)
    if place is None:
        return to_ptx(kernel, cc)
    ptx = _read(place)
    if ptx is None:
        ptx = to_ptx(kernel, cc)
        _write(place, ptx)
    return ptx


def place_of(kernel: Kernel, cc: tuple[int, int]) -> Path | None:
    """The kernel's file; None where it has no source, or closes over what has no text of its own."""
    source = Path(kernel.function.__code__.co_filename)
    try:
        texts = [_source_hash(source.resolve()), *map(_source_hash, sorted(_RUNTIME.glob("*.py"))), *_versions()]
        texts += [repr((kernel.threads, kernel.shared, kernel.parameters)), _function_text(kernel.function)]
    except (OSError, RecursionError, _NoText):  # RecursionError: a function that closes over itself
        return None
    digest = hashlib.sha256("\0".join(texts).encode()).hexdigest()
    folder = os.environ.get("NUMBA_CACHE_DIR")
    kept = Path(folder) if folder else source.parent / "__pycache__"
    return kept / f"{source.stem}.{kernel.name}.sm_{cc[0]}{cc[1]}.{digest[:32]}.ptx"


def _read(place: Path) -> str | None:
    """The text of a file that is whole."""
    try:
        head, _, ptx = place.read_text(encoding="utf-8").partition("\n")
    except (OSError, ValueError):
        return None
    return ptx if head == _head(ptx) else None


def _write(place: Path, ptx: str) -> None:
    """Keep the text, whole or not at all."""
    beside = place.with_name(f".{secrets.token_hex(8)}.tmp")
    with suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            beside.write_text(f"{_head(ptx)}\n{ptx}", encoding="utf-8", newline="\n")
            os.replace(beside, place)
        finally:
            beside.unlink(missing_ok=True)


def _head(ptx: str) -> str:
    return f"// sha256 {hashlib.sha256(ptx.encode()).hexdigest()}"


@cache
def _source_hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@cache
def _versions() -> tuple[str, ...]:
    found = []
    for name in _COMPILERS:
        with suppress(PackageNotFoundError):
            found.append(f"{name} {version(name)}")
    return tuple(found)


class _NoText(Exception):
    """A value that cannot be told from others by a text."""


def _function_text(function: Callable[..., Any]) -> str:
    """Tells functions from one another that are made in the same place of a file: by what they close over."""
    if not isinstance(function, FunctionType):
        raise _NoText
    cells = [_text(cell.cell_contents) for cell in function.__closure__ or ()]
    return (
        f"{function.__qualname__} line {function.__code__.co_firstlineno} of {cells}, {_code_text(function.__code__)}"
    )


def _code_text(code: CodeType) -> str:
    inner = [_code_text(part) if isinstance(part, CodeType) else repr(part) for part in code.co_consts]
    return f"{code.co_code.hex()} {inner} {code.co_names}"


def _text(value: Any) -> str:
    if value is None or isinstance(value, bool | int | float | complex | str | bytes | np.generic | np.dtype):
        return f"{type(value).__name__} {value!r}"
    if isinstance(value, Enum):
        return str(value)
    if isinstance(value, ModuleType):
        return value.__name__
    if isinstance(value, type):
        return f"{value.__module__}.{value.__qualname__}"
    if isinstance(value, tuple | list):
        return f"{type(value).__name__} {[_text(part) for part in value]}"
    if is_dataclass(value):
        return f"{type(value).__qualname__} {[_text(getattr(value, field.name)) for field in fields(value)]}"
    return _function_text(value)

"""DLPack: how array libraries hand each other memory without a copy (https://dmlc.github.io/dlpack, version 0).

A capsule named "dltensor" holds a pointer to a DLManagedTensor: the tensor, and a deleter that the consumer calls once
it is done. Written with ctypes alone, so that no array library is needed for it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from symbp.errors import DataError

# Kinds of devices, as DLPack numbers them.
CPU = 1
CUDA = 2
CUDA_HOST = 3  # page-locked memory of the host
CUDA_MANAGED = 13  # memory that moves between the host and the GPUs by itself

_CODES = {"i": 0, "u": 1, "f": 2, "c": 5, "b": 6}
_KINDS = {code: kind for kind, code in _CODES.items()}
_NAME = b"dltensor"


class _Tensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


_Deleter = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class _ManagedTensor(ctypes.Structure):
    _fields_ = (("tensor", _Tensor), ("context", ctypes.c_void_p), ("deleter", _Deleter))


# The capsule is passed as an address where it may be dying: as an object it would be revived.
_Destructor = ctypes.PYFUNCTYPE(None, ctypes.c_void_p)
_new = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, _Destructor)(
    ("PyCapsule_New", ctypes.pythonapi)
)
_is_valid = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p)(("PyCapsule_IsValid", ctypes.pythonapi))
_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)

# What is out with consumers, by address: the structure, its shape and strides, and the array that owns the memory.
_lent: dict[int, tuple[Any, ...]] = {}


@_Deleter
def _give_back(address: int) -> None:
    _lent.pop(address, None)


@_Destructor
def _drop(capsule: int) -> None:
    # A consumer renames the capsule that it takes; one that nobody took is ours to clear away.
    if _is_valid(capsule, _NAME):
        _lent.pop(_pointer(capsule, _NAME), None)


@dataclass(frozen=True, slots=True)
class Described:
    """Memory that another library lent: strides are in elements, None for C order; ``owner`` keeps it alive."""

    pointer: int
    device: tuple[int, int]
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    strides: tuple[int, ...] | None
    owner: Any
    read_only: bool = False  # which version 0 of DLPack cannot say


def export_capsule(
    owner: Any,
    pointer: int,
    device: tuple[int, int],
    dtype: np.dtype[Any],
    shape: Sequence[int],
    strides: Sequence[int],
) -> Any:
    """A capsule that lends the memory at ``pointer``; ``owner`` is kept alive until the consumer is done."""
    extents = (ctypes.c_int64 * max(1, len(shape)))(*shape)
    steps = (ctypes.c_int64 * max(1, len(strides)))(*strides)
    tensor = _Tensor(
        pointer, *device, len(shape), _CODES[dtype.kind], 8 * dtype.itemsize, 1,
        ctypes.cast(extents, ctypes.POINTER(ctypes.c_int64)), ctypes.cast(steps, ctypes.POINTER(ctypes.c_int64)), 0,
    )  # fmt: skip
    managed = _ManagedTensor(tensor, None, _give_back)
    address = ctypes.addressof(managed)
    _lent[address] = (managed, extents, steps, owner)
    return _new(address, _NAME, _drop)


def read_capsule(capsule: Any, owner: Any) -> Described:
    """What a capsule describes. It is left as it is, and its own destructor gives the memory back with the result.

    Raises DataError for a capsule of another kind and for numbers that NumPy has no type for (bfloat16).
    """
    if not _is_valid(id(capsule), _NAME):
        raise DataError("expected a DLPack capsule that has not been taken")
    tensor = _ManagedTensor.from_address(_pointer(id(capsule), _NAME)).tensor
    shape = tuple(tensor.shape[axis] for axis in range(tensor.ndim))
    strides = tuple(tensor.strides[axis] for axis in range(tensor.ndim)) if tensor.strides else None
    kind = _KINDS.get(tensor.code)
    if kind is None or tensor.lanes != 1 or tensor.bits % 8:
        raise DataError(
            f"expected numbers of a NumPy dtype, found DLPack type {tensor.code} of {tensor.bits} bits",
            remedy="convert it to float32 or float64",
        )
    return Described(
        (tensor.data or 0) + tensor.byte_offset,
        (tensor.device_type, tensor.device_id),
        np.dtype(f"{kind}{tensor.bits // 8}"),
        shape,
        strides,
        (capsule, owner),
    )

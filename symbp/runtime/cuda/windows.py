"""The arithmetic of windows on memory: which elements an index selects, in offsets, shapes and strides."""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import EllipsisType
from typing import Any

import numpy as np

from symbp.errors import ShapeError

Shape = tuple[int, ...]
Index = int | slice | EllipsisType
Key = Index | tuple[Index, ...]


def c_strides(shape: Sequence[int]) -> Shape:
    """The strides, in elements, of a contiguous array: ``(20, 5, 1)`` for ``(3, 4, 5)``."""
    strides = [1]
    for extent in reversed(shape[1:]):
        strides.append(strides[-1] * extent)
    return tuple(reversed(strides[: len(shape)]))


def is_contiguous(shape: Shape, strides: Shape) -> bool:
    """Whether the elements lie one behind the other in C order. Strides of axes with one entry do not matter."""
    expected = 1
    for extent, stride in zip(reversed(shape), reversed(strides), strict=True):
        if extent == 0:
            return True
        if extent != 1 and stride != expected:
            return False
        expected *= extent
    return True


def window(key: Key, shape: Shape, strides: Shape) -> tuple[int, list[int], list[int]]:
    """The offset, the shape and the strides of ``array[key]``. IndexError where NumPy raises it, or for a step."""
    offset = 0
    extents: list[int] = []
    steps: list[int] = []
    for index, extent, stride in zip(_index_of_each_axis(key, len(shape)), shape, strides, strict=True):
        if isinstance(index, slice):
            first, last, step = index.indices(extent)
            if step != 1:
                raise IndexError(f"expected slices of step 1, found {index}")
            offset += first * stride
            extents.append(max(0, last - first))
            steps.append(stride)
        else:
            if not -extent <= index < extent:
                raise IndexError(f"index {index} is out of range for an axis of {extent}")
            offset += (index % extent) * stride
    return offset, extents, steps


def _index_of_each_axis(key: Key, rank: int) -> list[int | slice]:
    given = key if isinstance(key, tuple) else (key,)
    dots = [position for position, index in enumerate(given) if index is Ellipsis]
    if len(dots) > 1 or len(given) - len(dots) > rank:
        raise IndexError(f"expected at most {rank} indices, found {given}")
    missing = [slice(None)] * (rank - len(given) + len(dots))
    position = dots[0] if dots else len(given)
    whole: list[int | slice] = []
    for index in (*given[:position], *missing, *given[position + len(dots) :]):
        if isinstance(index, slice):
            whole.append(index)
        elif isinstance(index, int | np.integer) and not isinstance(index, bool):
            whole.append(int(index))
        else:
            raise IndexError(f"expected whole numbers and slices, found {index!r}")
    return whole


def reshaped(given: tuple[Any, ...], shape: Shape) -> Shape:
    """The shape that ``reshape(*given)`` or ``reshape(given)`` asks for, -1 filled in. ShapeError where none fits."""
    size = math.prod(shape)
    wanted: Shape = tuple(given[0]) if len(given) == 1 and isinstance(given[0], tuple | list) else given
    if wanted.count(-1) == 1:
        known = math.prod(extent for extent in wanted if extent != -1)
        if known and size % known == 0:
            wanted = tuple(size // known if extent == -1 else extent for extent in wanted)
    if math.prod(wanted) != size or any(extent < 0 for extent in wanted):
        raise ShapeError(f"cannot reshape {size} elements of shape {shape} to {wanted}")
    return wanted


def axis_order(given: tuple[Any, ...], rank: int) -> Shape:
    """The order that ``transpose(*given)`` or ``transpose(given)`` asks for; reversed where nothing is given."""
    order: Shape = tuple(given[0]) if len(given) == 1 and isinstance(given[0], tuple | list) else given
    order = order or tuple(reversed(range(rank)))
    if sorted(axis % rank if rank else axis for axis in order) != list(range(rank)):
        raise ShapeError(f"expected each of {rank} axes once, found {order}")
    return order

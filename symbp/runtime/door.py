"""The check at the door: arrays that a caller hands over, checked once so that the kernels behind can trust them.

Data is never cast, wrapped or cut to fit. What is converted loses nothing: a strided array is copied to a contiguous
one, labels of any integer type become int64, and Python numbers and lists (which have no dtype of their own) take the
dtype of the module. All else is refused, with the call that would convert it.

The usual case (an array of the right dtype, contiguous) takes a few microseconds and one pass over the data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from symbp.errors import DataError, ShapeError

Array = npt.NDArray[Any]
_INT64 = np.dtype(np.int64)
_BIGGEST = int(np.iinfo(np.int64).max)


@dataclass(frozen=True, slots=True)
class Linear:
    """A whole number that sizes decide: ``constant + sum(coefficient*size)``, for instance ``n_time + 1``.

    ``text`` is how the spec writes it; ``terms`` are pairs of a size's name and its coefficient.
    """

    text: str
    terms: tuple[tuple[str, int], ...]
    constant: int = 0

    def value(self, sizes: Mapping[str, int]) -> int:
        """The number for these sizes; KeyError where one is not known."""
        return self.constant + sum(coefficient * sizes[name] for name, coefficient in self.terms)

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Requirement:
    """What sizes must fulfil: ``constant + sum(coefficient*size) >= 0``. ``text`` says it: ``n_time >= 3``."""

    text: str
    terms: tuple[tuple[str, int], ...]
    constant: int = 0

    def holds(self, sizes: Mapping[str, int]) -> bool:
        """Whether these sizes fulfil it."""
        return self.constant + sum(coefficient * sizes[name] for name, coefficient in self.terms) >= 0


@dataclass(frozen=True, slots=True)
class Input:
    """One array that a model takes.

    ``shape`` holds numbers, names of sizes (found from the arrays at run time), or :class:`Linear` forms of them.
    ``kind`` is "float" (the dtype of the module) or "int" (labels, tokens: kept as int64). Whole numbers lie in
    ``0 <= value < below`` where ``below`` is given. ``finite=False`` lets NaN and infinity through.
    """

    name: str
    shape: tuple[int | str | Linear, ...]
    kind: Literal["float", "int"] = "float"
    below: int | None = None
    finite: bool = True


class Elsewhere(Protocol):
    """Memory that NumPy cannot see into: what lies there is checked there, by its shape and dtype and on the spot."""

    def accept(self, declared: Input, given: Any, target: np.dtype[Any]) -> Any:
        """The array of dtype ``target`` that ``given`` is there; None for an array that NumPy can read."""

    def check_values(self, declared: Input, array: Any) -> None:
        """Refuse whole numbers out of range. DataError."""


def check_inputs(
    inputs: Sequence[Input],
    arrays: Sequence[Any],
    dtype: npt.DTypeLike,
    requirements: Sequence[Requirement] = (),
    elsewhere: Elsewhere | None = None,
) -> tuple[list[Any], dict[str, int]]:
    """Arrays that kernels can trust, one for each of ``inputs``, and the sizes by name (``{"n_batch": 32}``).

    Every result is C-contiguous, aligned, in the machine's byte order, of ``dtype`` or int64, and writable in the eyes
    of Numba, so that one compiled kernel serves all; kernels do not write to it. Where nothing needed converting it is
    the caller's own array.

    A requirement on sizes that these inputs do not have is left to a call with the others. Arrays that lie
    ``elsewhere`` stay there.

    Raises ShapeError (rank, a fixed extent, sizes that disagree, a requirement) and DataError (dtype, values, empty).
    """
    if len(arrays) != len(inputs):
        expected = ", ".join(declared.name for declared in inputs)
        raise DataError(f"expected {len(inputs)} arrays ({expected}), found {len(arrays)}")
    wanted = np.dtype(dtype)
    sizes: dict[str, int] = {}
    accepted: list[Any] = []
    for declared, given in zip(inputs, arrays, strict=True):
        target = wanted if declared.kind == "float" else _INT64
        there = elsewhere.accept(declared, given, target) if elsewhere is not None else None
        if there is not None:
            array = there
        elif type(given) is np.ndarray and given.dtype == target and given.dtype.isnative and given.flags.carray:
            array = given
        else:
            array = _accept(declared, given, target)
        _match_shape(declared, array, sizes, accepted, inputs)
        accepted.append(array)
    for declared, array in zip(inputs, accepted, strict=True):
        _match_linear(declared, array, sizes)
        if elsewhere is not None and not isinstance(array, np.ndarray):
            elsewhere.check_values(declared, array)
        elif declared.kind == "int":
            check_range(declared, array)
        elif declared.finite and not np.isfinite(array).all():
            _refuse_not_finite(declared, array)
    for requirement in requirements:
        known = all(name in sizes for name, _ in requirement.terms)
        if known and not requirement.holds(sizes):
            found = ", ".join(f"{name} = {sizes[name]}" for name, _ in requirement.terms)
            raise ShapeError(f"the model needs {requirement.text}, found {found}")
    return accepted, sizes


def check_output(
    name: str, array: Any, shape: tuple[int, ...], dtype: npt.DTypeLike, inputs: Sequence[Array] = ()
) -> Array:
    """``array`` itself if a kernel can write its result there: shape, dtype, contiguous, writable, apart from inputs.

    Raises ShapeError for another shape and DataError for the rest. Nothing is converted: a copy would be written and
    the caller's array would stay as it was.
    """
    wanted = np.dtype(dtype)
    make = f"pass np.empty({shape}, np.{wanted.name})"
    if not isinstance(array, np.ndarray) or isinstance(array, np.ma.MaskedArray):
        raise DataError(f"output '{name}': expected a NumPy array, found {type(array).__name__}", remedy=make)
    if array.shape != shape:
        raise ShapeError(f"output '{name}': expected shape {shape}, found {array.shape}", remedy=make)
    if array.dtype != wanted or not array.dtype.isnative:
        raise DataError(f"output '{name}': expected {wanted.name}, found {_dtype_text(array.dtype)}", remedy=make)
    if not array.flags.writeable:
        raise DataError(f"output '{name}': expected an array to write to, found a read-only one", remedy=make)
    if not array.flags.carray:
        raise DataError(f"output '{name}': expected a C-contiguous array, found strides {array.strides}", remedy=make)
    for position, source in enumerate(inputs):
        if np.may_share_memory(array, source) and np.shares_memory(array, source):
            raise DataError(
                f"output '{name}': expected memory of its own, found it shares memory with input {position + 1}",
                remedy="pass another array for the result",
            )
    return array


def _accept(declared: Input, given: Any, target: np.dtype[Any]) -> Array:
    """The array of dtype ``target`` that ``given`` stands for, where nothing is lost; DataError otherwise."""
    name = declared.name
    if isinstance(given, np.ma.MaskedArray):
        masked = int(np.ma.count_masked(given))
        raise DataError(
            f"input '{name}': expected a plain array, found a masked array ({masked} of {given.size} masked)",
            remedy=f"fill or drop what is masked: {name}.filled(value)",
        )
    python = isinstance(given, list | tuple | int | float | complex) and not isinstance(given, np.generic)
    try:
        array = np.asarray(given)
    except Exception as error:  # whatever an object's own __array__ may raise
        raise DataError(f"input '{name}': expected an array of {target.name}, found {_what(given)} ({error})") from None
    if type(array) is not np.ndarray:
        array = array.view(np.ndarray)
    if not (python and array.size == 0):
        _check_kind(declared, array, target, python, given)
    if python:
        with np.errstate(over="ignore"):
            array = array.astype(target)
    elif declared.kind == "int" and array.dtype != target:
        if array.dtype.itemsize == 8 and array.size and int(array.max()) > _BIGGEST:
            raise DataError(f"input '{name}': expected numbers below 2^63, found {int(array.max())}")
        array = array.astype(target)
    if not (array.flags.c_contiguous and array.flags.aligned):
        array = np.array(array, order="C")
    return array if array.flags.writeable else _typed_as_writable(array)


def _check_kind(declared: Input, array: Array, target: np.dtype[Any], python: bool, given: Any) -> None:
    """Refuse a dtype that would have to be cast, with the call that casts it on purpose."""
    name = declared.name
    found = array.dtype
    cast: str | None = f"{name}.astype(np.{target.name})"
    if declared.kind == "int":
        if found.kind in "iu" and found.isnative:
            return
        expected = "whole numbers (any integer dtype)"
    else:
        if (found == target and found.isnative) or (python and found.kind in "fiu"):
            return
        expected = target.name
    if found.kind == "O":
        cast = f"np.asarray({name}, np.{target.name})"
    elif found.kind == "c":
        cast = f"split it: {name}.real, {name}.imag"
    elif found.kind in "USV":
        cast = None
    elif found.kind in "iufb" and not found.isnative:
        cast = f'{name}.astype({name}.dtype.newbyteorder("="))'
    text = f"{_what(given)} of {_dtype_text(found)}" if python else _dtype_text(found)
    remedy = f"convert it on purpose: {cast}" if cast and not cast.startswith("split") else cast
    raise DataError(f"input '{name}': expected {expected}, found {text}", remedy=remedy)


def _dtype_text(dtype: np.dtype[Any]) -> str:
    """float64, or what else the dtype is, with the byte order where it is not the machine's own."""
    name = "strings" if dtype.kind in "US" else "Python objects" if dtype.kind == "O" else dtype.name
    return name if dtype.isnative else f"{name} in foreign byte order ({dtype.str})"


def _what(given: Any) -> str:
    return f"a Python {type(given).__name__}"


class _Memory:
    """Memory that NumPy wraps as writable, with the array that owns it."""

    __slots__ = ("__array_interface__", "owner")

    def __init__(self, owner: Array) -> None:
        described = owner.__array_interface__
        self.owner = owner
        self.__array_interface__ = {**described, "data": (described["data"][0], False)}


def _typed_as_writable(array: Array) -> Array:
    """A view of read-only memory that Numba types like any other array, for kernels that only read it.

    Numba gives read-only arrays a type of their own, and would compile every kernel a second time for it.
    """
    return np.asarray(_Memory(array))


def _match_shape(
    declared: Input, array: Any, sizes: dict[str, int], accepted: list[Any], inputs: Sequence[Input]
) -> None:
    """Hold fixed extents against the declaration and collect the named sizes."""
    shape = array.shape
    if len(shape) != len(declared.shape):
        axes = "axis" if len(declared.shape) == 1 else "axes"
        raise ShapeError(
            f"input '{declared.name}': expected {len(declared.shape)} {axes} {_shape_text(declared)}, "
            f"found {len(shape)}: shape {shape}"
        )
    for axis, (expected, extent) in enumerate(zip(declared.shape, shape, strict=True)):
        if type(expected) is str:
            if extent == 0:
                raise DataError(
                    f"input '{declared.name}': expected {expected} >= 1 on axis {axis}, found an empty array: {shape}"
                )
            known = sizes.setdefault(expected, extent)
            if known != extent:
                raise ShapeError(
                    f"input '{declared.name}': expected {expected} = {known} on axis {axis} "
                    f"(from '{_first_with(expected, inputs, accepted)}'), found {extent}: shape {shape}"
                )
        elif type(expected) is int and expected != extent:
            raise ShapeError(
                f"input '{declared.name}': expected shape {_shape_text(declared)}, found {shape} "
                f"({extent} instead of {expected} on axis {axis})"
            )


def _match_linear(declared: Input, array: Any, sizes: Mapping[str, int]) -> None:
    """Hold the extents that depend on sizes against these, once all sizes are known."""
    for axis, expected in enumerate(declared.shape):
        if isinstance(expected, Linear) and array.shape[axis] != expected.value(sizes):
            found = ", ".join(f"{name} = {sizes[name]}" for name, _ in expected.terms)
            raise ShapeError(
                f"input '{declared.name}': expected {expected} = {expected.value(sizes)} on axis {axis} ({found}), "
                f"found {array.shape[axis]}: shape {array.shape}"
            )


def _first_with(size: str, inputs: Sequence[Input], accepted: list[Any]) -> str:
    """The input that a size was read from."""
    for declared in inputs[: len(accepted) + 1]:
        if size in declared.shape:
            return declared.name
    return inputs[0].name


def _shape_text(declared: Input) -> str:
    extents = ", ".join(str(extent) for extent in declared.shape)
    return f"({extents},)" if len(declared.shape) == 1 else f"({extents})"


def check_range(declared: Input, array: Array) -> None:
    """Refuse a whole number outside ``0 <= value < below``."""
    if declared.below is None or array.size == 0:
        return
    # Read as unsigned, a negative number is a huge one: one pass finds both.
    if int(array.view(np.uint64).max()) < declared.below:
        return
    position = np.unravel_index(int(np.argmax(array.view(np.uint64) >= declared.below)), array.shape)
    count = int(np.count_nonzero(array.view(np.uint64) >= declared.below))
    more = f" ({count} such values)" if count > 1 else ""
    raise DataError(
        f"input '{declared.name}': expected 0 to {declared.below - 1}, "
        f"found {int(array[position])} at {_place(declared, position)}{more}",
        remedy="number the classes from 0" if int(array.max()) == declared.below and array.min() >= 1 else None,
    )


def _refuse_not_finite(declared: Input, array: Array) -> None:
    wrong = ~np.isfinite(array)
    position = np.unravel_index(int(np.argmax(wrong)), array.shape)
    count = int(np.count_nonzero(wrong))
    more = f" ({count} such values)" if count > 1 else ""
    raise DataError(
        f"input '{declared.name}': expected finite numbers in {array.dtype.name}, "
        f"found {array[position]} at {_place(declared, position)}{more}",
        remedy="clean or scale the data, or declare the input with finite = false",
    )


def _place(declared: Input, position: tuple[Any, ...]) -> str:
    return f"{declared.name}[{', '.join(str(int(index)) for index in position)}]" if position else declared.name

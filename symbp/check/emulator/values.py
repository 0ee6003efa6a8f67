"""Values of threads and the arithmetic between them, typed as Numba types it.

A value is a NumPy scalar where all threads are known to hold the same, else a vector with one element for each thread
(a lane). Python's numbers never occur: NumPy would let them take the type of their partner (``float32 * 2`` would stay
float32), where Numba computes in float64.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Value = Any  # a NumPy scalar, a vector of lanes, or a tuple, array or name known while translating
Vector = Any  # np.ndarray of one axis, one element for each lane

INT64 = np.dtype(np.int64)
UINT64 = np.dtype(np.uint64)


def constant(value: object) -> Value:
    """A Python constant as a value: bool, int64 (uint64 where it does not fit), float64; others as they are."""
    if isinstance(value, bool):
        return np.bool_(value)
    if isinstance(value, int):
        return np.int64(value) if -(1 << 63) <= value < 1 << 63 else np.uint64(value)
    if isinstance(value, float):
        return np.float64(value)
    if isinstance(value, tuple):
        return tuple(constant(item) for item in value)
    return value


def is_number(value: Value) -> bool:
    return isinstance(value, np.ndarray | np.generic)


def is_vector(value: Value) -> bool:
    return isinstance(value, np.ndarray)


def cast(dtype: np.dtype[Any], value: Value) -> Value:
    """The value in another type, as in C: floats are cut off, integers wrap around."""
    if value.dtype == dtype:
        return value
    return value.astype(dtype)


def whole(value: Value) -> Value:
    """An operand of integer arithmetic: booleans and integers of any width become 64 bits wide."""
    dtype = value.dtype
    if dtype is INT64 or dtype is UINT64:
        return value
    return value.astype(UINT64 if dtype.kind == "u" else INT64)


def widen(a: Value, b: Value) -> tuple[Value, Value]:
    """Two operands in the type in which Numba computes with them.

    Integers are widened to 64 bits, unsigned only where both are. Others as NumPy promotes arrays: float32 with an
    integer gives float64.
    """
    first, second = a.dtype, b.dtype
    if first == second and first.kind == "f":
        return a, b
    if first.kind in "biu" and second.kind in "biu":
        if first == INT64 and second == INT64:
            return a, b
        dtype = UINT64 if first.kind == "u" and second.kind == "u" else INT64
        return cast(dtype, a), cast(dtype, b)
    return a, b


def arithmetic(operation: Callable[[Any, Any], Any]) -> Callable[[Value, Value], Value]:
    """The operation on two values of threads."""

    def compute(a: Value, b: Value) -> Value:
        return operation(*widen(a, b))

    return compute


def bitwise(operation: Callable[[Any, Any], Any]) -> Callable[[Value, Value], Value]:
    """``&``, ``|``, ``^``: booleans stay booleans."""

    def compute(a: Value, b: Value) -> Value:
        if a.dtype.kind == "b" and b.dtype.kind == "b":
            return operation(a, b)
        return operation(*widen(a, b))

    return compute


def shift(operation: Callable[[Any, Any], Any]) -> Callable[[Value, Value], Value]:
    """``<<``, ``>>``: the type is that of the left operand."""

    def compute(a: Value, b: Value) -> Value:
        left = whole(a)
        return operation(left, cast(left.dtype, b))

    return compute


def power(a: Value, b: Value) -> Value:
    """``a ** b``; a whole exponent leaves a float its type."""
    if a.dtype.kind == "f" and b.dtype.kind in "biu":
        return np.power(a, cast(a.dtype, b))
    return np.power(*widen(a, b))


def divide(a: Value, b: Value) -> Value:
    """``a / b``: whole numbers give float64."""
    return np.true_divide(*widen(a, b))


def negate(a: Value) -> Value:
    return np.negative(whole(a) if a.dtype.kind in "biu" else a)


def invert(a: Value) -> Value:
    return np.invert(whole(a))


def truth(value: Value) -> Value:
    """The value as a condition: a boolean or a vector of booleans."""
    return value if value.dtype.kind == "b" else value != 0


def blend(lanes: Vector, new: Value, old: Value) -> Value:
    """`new` in the lanes that are set, `old` in the others; tuples element by element.

    Raises TypeError for values that no GPU could choose between lane by lane (arrays, tuples of different length).
    """
    if new is old:
        return new
    if isinstance(new, tuple) and isinstance(old, tuple) and len(new) == len(old):
        return tuple(blend(lanes, a, b) for a, b in zip(new, old, strict=True))
    if is_number(new) and is_number(old):
        first, second = widen(new, old)
        return np.where(lanes, first, second)
    if new == old:
        return new
    raise TypeError


ARITHMETIC: dict[str, Callable[[Value, Value], Value]] = {
    "Add": arithmetic(np.add),
    "Sub": arithmetic(np.subtract),
    "Mult": arithmetic(np.multiply),
    "Div": divide,
    "FloorDiv": arithmetic(np.floor_divide),
    "Mod": arithmetic(np.remainder),
    "Pow": power,
    "BitAnd": bitwise(np.bitwise_and),
    "BitOr": bitwise(np.bitwise_or),
    "BitXor": bitwise(np.bitwise_xor),
    "LShift": shift(np.left_shift),
    "RShift": shift(np.right_shift),
}

COMPARISONS: dict[str, Callable[[Value, Value], Value]] = {
    "Eq": np.equal,
    "NotEq": np.not_equal,
    "Lt": np.less,
    "LtE": np.less_equal,
    "Gt": np.greater,
    "GtE": np.greater_equal,
}

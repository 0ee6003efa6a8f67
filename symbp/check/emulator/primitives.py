"""Functions that are not run from their source: Python's, the math module's, and the intrinsics of the runtime."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from symbp.check.emulator.arrays import Pointer, View, first_lane, load_vector, store_vector, view_pointer
from symbp.check.emulator.frame import Frame, Site
from symbp.check.emulator.values import INT64, Value, cast, is_number, whole, widen

Primitive = Callable[..., Value]  # (frame, site, *arguments) -> value


def floating(value: Value) -> Value:
    """An operand of a function of the math module: whole numbers become float64."""
    return value if value.dtype.kind == "f" else cast(np.dtype(np.float64), value)


def unary(function: Callable[[Any], Any]) -> Primitive:
    def compute(frame: Frame, site: Site, x: Value) -> Value:
        return function(floating(x))

    return compute


def binary(function: Callable[[Any, Any], Any]) -> Primitive:
    def compute(frame: Frame, site: Site, x: Value, y: Value) -> Value:
        return function(*widen(floating(x), floating(y)))

    return compute


def elementwise(function: Callable[[float], float]) -> Primitive:
    """A function that NumPy lacks: taken in float64 and rounded."""

    def safe(x: float) -> float:
        try:
            return function(x)
        except ValueError:
            return math.nan
        except OverflowError:
            return math.inf

    vectorised = np.vectorize(safe, otypes=[np.float64])

    def compute(frame: Frame, site: Site, x: Value) -> Value:
        x = floating(x)
        return vectorised(x).astype(x.dtype)[()]

    return compute


def log_gamma(x: float) -> float:
    return math.inf if math.isinf(x) or (x <= 0 and x == int(x)) else math.lgamma(x)


def frexp(frame: Frame, site: Site, x: Value) -> Value:
    mantissa, exponent = np.frexp(floating(x))
    return mantissa, exponent.astype(np.int32)


def ldexp(frame: Frame, site: Site, x: Value, exponent: Value) -> Value:
    return np.ldexp(floating(x), np.clip(exponent, -(1 << 30), 1 << 30).astype(np.int32))


def fused_multiply_add(frame: Frame, site: Site, x: Value, y: Value, z: Value) -> Value:
    """``x*y + z`` rounded once; in float64 rounded twice."""
    double = np.dtype(np.float64)
    return cast(x.dtype, cast(double, x) * cast(double, y) + cast(double, z))


MATH: dict[str, Primitive] = {
    **{name: unary(getattr(np, name)) for name in ("exp", "expm1", "log", "log2", "log10", "log1p", "sqrt")},
    **{name: unary(getattr(np, name)) for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh", "floor", "ceil")},
    **{name: unary(getattr(np, name)) for name in ("trunc", "fabs", "isnan", "isinf", "isfinite")},
    "asin": unary(np.arcsin),
    "acos": unary(np.arccos),
    "atan": unary(np.arctan),
    "asinh": unary(np.arcsinh),
    "acosh": unary(np.arccosh),
    "atanh": unary(np.arctanh),
    "pow": binary(np.power),
    "atan2": binary(np.arctan2),
    "hypot": binary(np.hypot),
    "fmod": binary(np.fmod),
    "copysign": binary(np.copysign),
    "erf": elementwise(math.erf),
    "erfc": elementwise(math.erfc),
    "gamma": elementwise(math.gamma),
    "lgamma": elementwise(log_gamma),
    "frexp": frexp,
    "ldexp": ldexp,
}


# Python's own.


def absolute(frame: Frame, site: Site, x: Value) -> Value:
    return np.abs(x)


def smallest(frame: Frame, site: Site, *values: Value) -> Value:
    """``min``; where one is NaN the other, as on the GPU."""
    return _extreme(np.fmin, values)


def largest(frame: Frame, site: Site, *values: Value) -> Value:
    """``max``; where one is NaN the other, as on the GPU."""
    return _extreme(np.fmax, values)


def _extreme(choose: Callable[[Any, Any], Any], values: tuple[Value, ...]) -> Value:
    if len(values) == 1:
        values = values[0]
    best = values[0]
    for value in values[1:]:
        best = choose(*widen(best, value))
    return best


def to_int(frame: Frame, site: Site, x: Value) -> Value:
    return cast(INT64, x) if x.dtype.kind == "f" else whole(x)


def to_float(frame: Frame, site: Site, x: Value) -> Value:
    return floating(x)


def to_bool(frame: Frame, site: Site, x: Value) -> Value:
    return x != 0


def length(frame: Frame, site: Site, value: Value) -> Value:
    return np.int64(len(value)) if isinstance(value, tuple) else value.shape[0]


def type_of(frame: Frame, site: Site, value: Value) -> Value:
    """``type(x)``, which kernels use as ``type(x)(0)``."""
    if not is_number(value):
        raise frame.error(f"type() expects a number, found {type(value).__name__}: {site.text}")
    return value.dtype.type


BUILTINS: dict[object, Primitive] = {
    abs: absolute,
    min: smallest,
    max: largest,
    int: to_int,
    float: to_float,
    bool: to_bool,
    len: length,
    type: type_of,
}


def convert(kind: type[np.generic]) -> Primitive:
    """``np.float32(x)``, ``real(0.5)``."""
    dtype = np.dtype(kind)

    def cast_to(frame: Frame, site: Site, x: Value) -> Value:
        if not is_number(x):
            raise frame.error(f"expected a number, found {type(x).__name__}: {site.text}")
        return cast(dtype, x)

    return cast_to


# The intrinsics of the runtime's views.


def view(frame: Frame, site: Site, pointer: Pointer | View, start: Value, shape: Value) -> View:
    return view_pointer(frame, pointer, start, shape, site.target)


def unravel(frame: Frame, site: Site, position: Value, shape: Value) -> Value:
    """The subscripts of a position, in 32 bits as on the device; all extents must be positive."""
    lane = first_lane(frame, (position < 0) | (position >= 1 << 32))
    if lane is not None:
        raise frame.error(f"{site.text}: the position is not in 0 <= position < 2^32", lane=lane)
    subscripts: list[Value] = []
    rest = cast(INT64, position)
    for extent in reversed(shape[1:]):
        lane = first_lane(frame, (extent <= 0) | (extent >= 1 << 32))
        if lane is not None:
            raise frame.error(f"{site.text}: an extent is not in 0 < extent < 2^32", lane=lane)
        subscripts.insert(0, rest % cast(INT64, extent))
        rest = rest // cast(INT64, extent)
    subscripts.insert(0, rest)
    return tuple(subscripts)


def vector_load(items: int) -> Primitive:
    def read(frame: Frame, site: Site, array: Value, index: Value) -> Value:
        return load_vector(frame, array, index, items, site)

    return read


def vector_store(items: int) -> Primitive:
    def write(frame: Frame, site: Site, array: Value, index: Value, *values: Value) -> None:
        if len(values) != items:
            raise frame.error(f"{site.text} is given {len(values)} values, not {items}")
        store_vector(frame, array, index, values, site)

    return write


INTRINSICS: dict[str, Primitive] = {
    "view": view,
    "unravel": unravel,
    "load2": vector_load(2),
    "load4": vector_load(4),
    "store2": vector_store(2),
    "store4": vector_store(4),
}

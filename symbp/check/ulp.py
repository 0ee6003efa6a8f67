"""Accuracy in units in the last place.

    ulp_error(values, reference)  =  |value - reference| / ulp(reference)

with ``ulp`` the distance between neighbouring numbers of the values' dtype at the reference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import mpmath
import numpy as np
from numpy.typing import NDArray

#: Decimal digits of the reference: far beyond float64, so that its own error cannot be seen.
DIGITS = 60


def exact_values(function: Callable[[Any], Any], points: Iterable[float], digits: int = DIGITS) -> list[Any]:
    """``function`` at each point in multiple precision: it is called with mpmath numbers, with `mpmath.mp` set up."""
    with mpmath.workdps(digits):
        return [function(mpmath.mpf(float(p))) for p in points]


def ulp_error(values: NDArray[Any], reference: Iterable[Any]) -> NDArray[np.float64]:
    """The error of each value, in ULP of its own dtype (float32 or float64).

    `reference` holds as many numbers: mpmath numbers, floats or a longdouble array. Equal infinities and NaN for NaN
    count 0, any other mismatch of those counts inf. Below the smallest normal number the ULP is that of the smallest
    normal number, since kernels may flush subnormals. A reference beyond the largest number counts as infinite.
    """
    array = np.asarray(values)
    if array.dtype not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise TypeError(f"ULP are counted for float32 and float64, not {array.dtype}")
    info = np.finfo(array.dtype)
    errors = []
    with mpmath.workdps(DIGITS):
        for value, exact in zip(array.ravel().tolist(), _each(reference), strict=True):
            errors.append(_one(value, exact, info))
    return np.array(errors, np.float64).reshape(array.shape)


def _each(reference: Iterable[Any]) -> Iterable[Any]:
    if not isinstance(reference, np.ndarray):
        yield from (mpmath.mpf(r) if not isinstance(r, mpmath.mpf) else r for r in reference)
        return
    for r in reference.ravel():
        high = float(r)
        # A longdouble is the sum of its nearest double and what is left.
        yield mpmath.mpf(high) + mpmath.mpf(float(r - type(r)(high))) if np.isfinite(high) else mpmath.mpf(high)


def _one(value: float, exact: Any, info: np.finfo[Any]) -> float:
    if mpmath.isnan(exact) or np.isnan(value):
        return 0.0 if mpmath.isnan(exact) and np.isnan(value) else np.inf
    largest = float(info.max)
    if mpmath.isinf(exact) or abs(exact) > largest * (1 + float(info.eps) / 4):
        return 0.0 if np.isinf(value) and (value > 0) == (exact > 0) else np.inf
    if np.isinf(value):
        return np.inf
    size = max(abs(exact), mpmath.mpf(float(info.tiny)))
    exponent = int(mpmath.floor(mpmath.log(size, 2)))
    # log may round up at a power of two
    exponent -= mpmath.mpf(2) ** exponent > size
    unit = mpmath.mpf(2) ** (exponent - int(info.nmant))
    return float(abs(mpmath.mpf(value) - exact) / unit)

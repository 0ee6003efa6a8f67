"""Sums into places where threads meet, with the same bits in whatever order the threads come.

Additions of rounded numbers depend on their order, and the order of atomic ones is left to chance; additions of whole
numbers do not. So every value is written as a whole number of units, these are added atomically in 64 bits, and the
total is turned back. Three kernels, one after the other:

1. ``largest(place, value)``: the largest magnitude among the values;
2. ``spread(sums, position, value, place[0], count)``: each value into its sum;
3. ``settled(sums[position], place[0], count)``: the sum as a real number.

`count` is how many values could meet in one sum at most. The unit is a power of two with

    2^-62 * largest * count  <  unit  <  2^-59 * largest * count,

so that `count` values of the largest magnitude stay below 2^62 units: nothing overflows. A value is rounded to half a
unit, which gives the sum an error of at most ``count/2`` units, and then once more when it becomes a real number.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

import math

import numpy as np
from numba import cuda

from symbp.runtime.cuda.kernel import device_function


@device_function
def largest(place, value):
    """``place[0] = max(place[0], |value|)``, atomically; a NaN counts as infinite, so that it cannot be lost."""
    infinite = type(value)(math.inf)
    size = abs(value)
    cuda.atomic.max(place, 0, size if size <= infinite else infinite)


@device_function
def spread(sums, position, value, largest, count):
    """``sums[position] += value`` in whole units, atomically; `position` is a tuple, or one number in one dimension.

    Nothing is added where one of the values is not finite: there are no units then.
    """
    if largest < type(largest)(math.inf):
        scaled = math.ldexp(value, -_exponent(largest, count))
        whole = np.int64(scaled)
        # The fraction is exact, and so is its double: half a unit and more rounds away from zero.
        fraction = scaled - type(value)(whole)
        cuda.atomic.add(sums, position, whole + np.int64(fraction + fraction))


@device_function
def settled(total, largest, count):
    """The real number that `total` units are, in the type of `largest`; NaN if one value was infinite or NaN."""
    finite = largest < type(largest)(math.inf)
    return math.ldexp(type(largest)(total), _exponent(largest, count)) if finite else type(largest)(math.nan)


@device_function
def _exponent(largest, count):
    """The logarithm of the unit to base 2: ``largest < 2^a`` and ``count < 2^b`` give ``a + b - 62``."""
    _, of_largest = math.frexp(largest)
    # Where rounding reaches the next power of two, the bound only becomes wider.
    _, of_count = math.frexp(type(largest)(count))
    return of_largest + of_count - 62

"""``x**y`` for any real exponent; whole and half exponents of constants are products and roots, and do not come here.

In float32 it is ``exp(y*log|x|)`` in float64, where the rounding of the product does not show: below 0.6 units in the
last place for every argument, and a loop over it is vectorised. In float64 it is the C library's, one at a time. Both
have C's special cases: 1 for an exponent of 0 and for a base of 1, NaN for a negative base with an exponent that is not
whole.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

import math

import numpy as np
from numba import types
from numba.extending import overload

from symbp.runtime.elementary import OPTIONS, OVERLOAD, exp, log
from symbp.runtime.jit import kernel


def _power(x, y):
    raise NotImplementedError


@overload(_power, jit_options=OVERLOAD)
def _power_for(x, y):
    if x == types.float32 and y == types.float32:

        def power32(x, y):
            one = np.float32(1)
            size = np.float32(abs(x))
            result = np.float32(exp(np.float64(y) * log(np.float64(size))))
            # 0 times infinity: an infinite power of -1, and anything to the power of 0.
            result = one if y == 0 or (size == one and abs(y) == np.inf) else result
            whole = np.floor(y) == y
            half = np.float32(0.5) * y
            odd = whole and np.floor(half) != half
            negative = np.float32(x).view(np.int32) < 0
            result = -result if odd and negative else result
            result = np.float32(np.nan) if x < 0 and not whole and size != np.inf else result
            return one if x == one else result

        return power32
    return lambda x, y: math.pow(x, y)


@kernel(cache=False, **OPTIONS)
def power(x, y):
    """``x**y``."""
    return _power(x, y)

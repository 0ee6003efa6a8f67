"""exp, expm1, log, log1p, tanh and erf without branches, so that a loop over them is vectorised.

The C library takes one number at a time (5 to 20 ns); these are plain arithmetic that LLVM turns into vector code.
float32 stays float32 and float64 stays float64 throughout.

Errors against mpmath over the whole range, float32 and float64, stay below these units in the last place: exp 1,
expm1 2, log 1, log1p 2, tanh 2.5, erf 1. Infinities, NaN, zeros, numbers below the normal range and overflow behave as
in C. In a loop on one core of a Zen 4 (AVX-512) each takes 0.3 to 0.6 ns a number in float32, 0.7 to 0.9 in float64.

Methods: exp by Cody and Waite (1980), ``x = n*log(2) + r``, with a Taylor polynomial in r; log by the series of
``atanh(f/(2 + f))`` with the coefficients of FreeBSD's msun (Sun Microsystems 1993); log1p by the correction of Kahan;
erf in float32 with the coefficients that N. Juffa published.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

from symbp.runtime.jit import kernel

# Products and sums may fuse; nothing may be reordered, or the roundings that these methods rely on are lost.
# Not cached: the code goes into the kernels that call it, which are.
OPTIONS: dict[str, Any] = {"fastmath": {"contract"}, "forceinline": True}
_OVERLOAD: Any = {**OPTIONS, "error_model": "numpy"}

# 1.5*2^p: adding it to a number below 2^(p-1) rounds that number to a whole one, which then stands in the low bits.
_ROUND32 = np.float32(12582912.0)
_ROUND32_BITS = np.int32(_ROUND32.view(np.int32))
_ROUND64 = 6755399441055744.0
_ROUND64_BITS = np.int64(np.float64(_ROUND64).view(np.int64))

# log(2) in two parts, the first with enough zero bits that its product with n is exact.
_LN2_HIGH32, _LN2_LOW32 = np.float32(0.693359375), np.float32(-2.12194440e-4)
_LN2_HIGH64, _LN2_LOW64 = 6.93147180369123816490e-01, 1.90821492927058770002e-10
_LOG2E = 1.4426950408889634074

# Outside of these exp is zero or infinite, and n would not fit the exponent.
_LOWEST32, _HIGHEST32 = np.float32(-104.0), np.float32(89.0)
_LOWEST64, _HIGHEST64 = -746.0, 710.0


def _reduced(x):
    """(n, r) with ``x = n*log(2) + r`` and |r| <= log(2)/2, and x itself within the range of exp."""
    raise NotImplementedError


@overload(_reduced, jit_options=_OVERLOAD)
def _reduced_for(x):
    if x == types.float32:

        def reduced(x):
            x = _LOWEST32 if x < _LOWEST32 else x
            x = _HIGHEST32 if x > _HIGHEST32 else x
            shifted = x * np.float32(_LOG2E) + _ROUND32
            whole = shifted - _ROUND32
            n = np.int32(np.float32(shifted).view(np.int32) - _ROUND32_BITS)
            return n, (x - whole * _LN2_HIGH32) - whole * _LN2_LOW32

        return reduced
    if x == types.float64:

        def reduced(x):
            x = _LOWEST64 if x < _LOWEST64 else x
            x = _HIGHEST64 if x > _HIGHEST64 else x
            shifted = x * _LOG2E + _ROUND64
            whole = shifted - _ROUND64
            n = np.float64(shifted).view(np.int64) - _ROUND64_BITS
            return n, (x - whole * _LN2_HIGH64) - whole * _LN2_LOW64

        return reduced
    return None


def _two_to_the(n, x):
    """``2^n`` in the type of x, for n within the normal range."""
    raise NotImplementedError


@overload(_two_to_the, jit_options=_OVERLOAD)
def _two_to_the_for(n, x):
    if x == types.float32:
        return lambda n, x: np.int32((n + np.int32(127)) << np.int32(23)).view(np.float32)
    if x == types.float64:
        return lambda n, x: np.int64((n + np.int64(1023)) << np.int64(52)).view(np.float64)
    return None


def _exp_tail(r):
    """``(exp(r) - 1 - r)/r²`` for |r| <= log(2)/2: the Taylor series as far as the type can tell."""
    raise NotImplementedError


@overload(_exp_tail, jit_options=_OVERLOAD)
def _exp_tail_for(r):
    if r == types.float32:

        def tail(r):
            p = np.float32(1 / 5040)
            p = p * r + np.float32(1 / 720)
            p = p * r + np.float32(1 / 120)
            p = p * r + np.float32(1 / 24)
            p = p * r + np.float32(1 / 6)
            return p * r + np.float32(1 / 2)

        return tail
    if r == types.float64:

        def tail(r):
            p = 1 / 6227020800
            p = p * r + 1 / 479001600
            p = p * r + 1 / 39916800
            p = p * r + 1 / 3628800
            p = p * r + 1 / 362880
            p = p * r + 1 / 40320
            p = p * r + 1 / 5040
            p = p * r + 1 / 720
            p = p * r + 1 / 120
            p = p * r + 1 / 24
            p = p * r + 1 / 6
            return p * r + 1 / 2

        return tail
    return None


@kernel(cache=False, **OPTIONS)
def exp(x):
    """``exp(x)``, to 1 ulp."""
    one = type(x)(1)
    n, r = _reduced(x)
    p = r * r * _exp_tail(r) + r + one
    # In two steps, for a result that is infinite or below the normal range, where 2^n alone is not a number.
    half = n >> 1
    return p * _two_to_the(half, x) * _two_to_the(n - half, x)


@kernel(cache=False, **OPTIONS)
def expm1(x):
    """``exp(x) - 1``, accurate near 0."""
    n, r = _reduced(x)
    p = r * r * _exp_tail(r) + r
    # All is halved, since 2^n itself overflows just before the result does. With n = 0 the bracket is zero and p stands
    # alone, which keeps every digit of a small x; of the smallest, halving would drop one.
    half = n >> 1
    first, second = _two_to_the(half, x), _two_to_the(n - half - 1, x)
    result = p * first * second + (first * second - type(x)(0.5))
    return x if abs(x) < type(x)(1e-30) else type(x)(2) * result


def _log_parts(x):
    """(n, f, tail) with ``x = 2^n*(1 + f)``, and ``log(1 + f) = f - f²/2 + tail``; x normal or below, positive."""
    raise NotImplementedError


@overload(_log_parts, jit_options=_OVERLOAD)
def _log_parts_for(x):
    if x == types.float32:

        def parts(x):
            small = x < np.float32(1.1754943508222875e-38)
            bits = np.float32(x * np.float32(33554432.0) if small else x).view(np.int32)
            # sqrt(1/2) is where the mantissa turns over, so that f is between -0.3 and 0.42.
            moved = np.int32(bits - np.int32(0x3F3504F3))
            n = np.int32((moved >> np.int32(23)) - (np.int32(25) if small else np.int32(0)))
            mantissa = np.int32((moved & np.int32(0x007FFFFF)) + np.int32(0x3F3504F3)).view(np.float32)
            f = mantissa - np.float32(1)
            s = f / (np.float32(2) + f)
            z = s * s
            p = np.float32(0.24279078841)
            p = p * z + np.float32(0.28498786688)
            p = p * z + np.float32(0.40000972152)
            p = p * z + np.float32(0.66666662693)
            half_square = np.float32(0.5) * f * f
            return np.float32(n), f, half_square, s * (half_square + z * p)

        return parts
    if x == types.float64:

        def parts(x):
            small = x < 2.2250738585072014e-308
            bits = np.float64(x * 18014398509481984.0 if small else x).view(np.int64)
            moved = bits - np.int64(0x3FE6A09E667F3BCD)
            n = (moved >> np.int64(52)) - (np.int64(54) if small else np.int64(0))
            mantissa = np.int64((moved & np.int64(0x000FFFFFFFFFFFFF)) + np.int64(0x3FE6A09E667F3BCD)).view(np.float64)
            f = mantissa - 1.0
            s = f / (2.0 + f)
            z = s * s
            p = 1.479819860511658591e-01
            p = p * z + 1.531383769920937332e-01
            p = p * z + 1.818357216161805012e-01
            p = p * z + 2.222219843214978396e-01
            p = p * z + 2.857142874366239149e-01
            p = p * z + 3.999999999940941908e-01
            p = p * z + 6.666666666666735130e-01
            half_square = 0.5 * f * f
            return np.float64(n), f, half_square, s * (half_square + z * p)

        return parts
    return None


def _ln2(x):
    """log(2) in two parts, in the type of x."""
    raise NotImplementedError


@overload(_ln2, jit_options=_OVERLOAD)
def _ln2_for(x):
    if x == types.float32:
        return lambda x: (_LN2_HIGH32, _LN2_LOW32)
    if x == types.float64:
        return lambda x: (_LN2_HIGH64, _LN2_LOW64)
    return None


@kernel(cache=False, **OPTIONS)
def log(x):
    """Natural logarithm; -inf at 0, NaN below."""
    zero = type(x)(0)
    n, f, half_square, tail = _log_parts(x)
    high, low = _ln2(x)
    result = n * high - ((half_square - (tail + n * low)) - f)
    # Zero, infinity and NaN have no mantissa; the arithmetic above gives a number for them that means nothing.
    result = x if x == np.inf or x != x else result
    result = type(x)(-np.inf) if x == zero else result
    return type(x)(np.nan) if x < zero else result


@kernel(cache=False, **OPTIONS)
def log1p(x):
    """``log(1 + x)``, accurate near 0."""
    one = type(x)(1)
    u = one + x
    # What rounding 1 + x lost comes back to first order.
    lost = (x - (u - one)) / u
    result = log(u) + (lost if u > type(x)(0) and u < np.inf else type(x)(0))
    return x if x == 0 else result


@kernel(cache=False, **OPTIONS)
def tanh(x):
    """Hyperbolic tangent, from ``expm1(2|x|)``; accurate near 0 and exactly ±1 where it rounds to that."""
    size = abs(x)
    limit = type(x)(20)
    e = expm1(type(x)(2) * (limit if size > limit else size))
    y = e / (e + type(x)(2))
    return -y if x < 0 else (y if x > 0 else x)


def _erf(x):
    raise NotImplementedError


@overload(_erf, jit_options=_OVERLOAD)
def _erf_for(x):
    if x == types.float32:

        def erf32(x):
            size = abs(x)
            # Past 4 the result rounds to 1.
            t = np.float32(4) if size > np.float32(4) else size
            s = t * t
            # |x| <= 0.92: an odd polynomial; above: 1 - exp of a polynomial. Both are computed, one is taken.
            p = np.float32(-5.96761703e-4)
            p = p * s + np.float32(4.99119423e-3)
            p = p * s + np.float32(-2.67681349e-2)
            p = p * s + np.float32(1.12819925e-1)
            p = p * s + np.float32(-3.76125336e-1)
            p = p * s + np.float32(1.28379166e-1)
            near = p * t + t
            q = np.float32(-1.72853470e-5) * t + np.float32(3.83197126e-4)
            q = q * s + (np.float32(-3.88396438e-3) * t + np.float32(2.42546219e-2))
            q = q * t + np.float32(-1.06777877e-1)
            q = q * t + np.float32(-6.34846687e-1)
            q = q * t + np.float32(-1.28717512e-1)
            far = np.float32(1) - exp(q * t - t)
            y = far if t > np.float32(0.921875) else near
            return -y if x < 0 else (y if x > 0 else x)

        return erf32
    if x == types.float64:
        return lambda x: math.erf(x)
    return None


@kernel(cache=False, **OPTIONS)
def erf(x):
    """The error function. In float32 a pair of minimax polynomials; in float64 the C library's, one at a time."""
    return _erf(x)

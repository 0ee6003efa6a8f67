"""exp, expm1, log, log1p, tanh and softplus without branches, so that a loop over them is vectorised.

The C library takes one number at a time (2 to 20 ns); these are plain arithmetic that LLVM turns into vector code.
float32 stays float32 and float64 stays float64 throughout.

Errors against mpmath over the whole range, float32 and float64, stay below these units in the last place: exp 1,
expm1 2, log 1, log1p 2, tanh 3, softplus 3. Infinities, NaN, zeros, numbers below the normal range and overflow
behave as in C. In a loop on one core of a Zen 5 (AVX-512) each takes 0.13 to 0.27 ns a number in float32, 0.4 to 1 in
float64.

Methods: exp by Cody and Waite (1980), ``x = n*log(2) + r``, with a minimax polynomial in r; log by the series of
``atanh(f/(2 + f))`` with the coefficients of FreeBSD's msun (Sun Microsystems 1993); log1p by the same, of what
rounding ``1 + x`` left and what it lost; softplus by the minimax polynomial of the same series. The polynomials are
Remez's, in relative error, computed in 60 digits.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

from symbp.runtime.jit import kernel

# Products and sums may fuse; nothing may be reordered, or the roundings that these methods rely on are lost.
# Not cached: the code goes into the kernels that call it, which are.
OPTIONS: dict[str, Any] = {"fastmath": {"contract"}, "forceinline": True}
OVERLOAD: Any = {**OPTIONS, "error_model": "numpy"}

# 1.5*2^p: adding it to a number below 2^(p-1) rounds that number to a whole one, which then stands in the low bits.
# All that stands above these is shifted out where they become an exponent.
ROUND32 = np.float32(12582912.0)
ROUND64 = 6755399441055744.0

# log(2) in two parts, the first with enough zero bits that its product with n is exact.
_LN2_HIGH32, _LN2_LOW32 = np.float32(0.693359375), np.float32(-2.12194440e-4)
_LN2_HIGH64, _LN2_LOW64 = 6.93147180369123816490e-01, 1.90821492927058770002e-10
_LOG2E = 1.4426950408889634074

_SIGN32, _SIGN64 = np.int32(-(2**31)), np.int64(-(2**63))


def _reduced(x):
    """(bits, r) with ``x = n*log(2) + r``, |r| <= log(2)/2 and n in the low bits; x within the range of exp."""
    raise NotImplementedError


@overload(_reduced, jit_options=OVERLOAD)
def _reduced_for(x):
    if x == types.float32:

        def reduced(x):
            shifted = x * np.float32(_LOG2E) + ROUND32
            n = shifted - ROUND32
            return np.float32(shifted).view(np.int32), (x - n * _LN2_HIGH32) - n * _LN2_LOW32

        return reduced
    if x == types.float64:

        def reduced(x):
            shifted = x * _LOG2E + ROUND64
            n = shifted - ROUND64
            return np.float64(shifted).view(np.int64), (x - n * _LN2_HIGH64) - n * _LN2_LOW64

        return reduced
    return None


def _two_to_the(bits, more):
    """``2^(n + more)`` for n in the low bits, in the type that they are of; within the normal range."""
    raise NotImplementedError


@overload(_two_to_the, jit_options=OVERLOAD)
def _two_to_the_for(bits, more):
    if bits == types.int32:
        return lambda bits, more: np.int32((bits << 23) + ((np.int32(127) + np.int32(more)) << 23)).view(np.float32)
    if bits == types.int64:
        return lambda bits, more: np.int64((bits << 52) + ((np.int64(1023) + np.int64(more)) << 52)).view(np.float64)
    return None


def _exp_tail(r):
    """``(exp(r) - 1 - r)/r²`` for |r| <= log(2)/2, as far as the type can tell."""
    raise NotImplementedError


@overload(_exp_tail, jit_options=OVERLOAD)
def _exp_tail_for(r):
    if r == types.float32:

        def tail(r):
            p = np.float32(0.0013814454)
            p = p * r + np.float32(0.008368781)
            p = p * r + np.float32(0.041668393)
            p = p * r + np.float32(0.1666652)
            return p * r + np.float32(0.49999994)

        return tail
    if r == types.float64:

        def tail(r):
            p = 2.499995935033135e-08
            p = p * r + 2.763037870414436e-07
            p = p * r + 2.755758736874973e-06
            p = p * r + 2.480149276274093e-05
            p = p * r + 1.984126950472538e-04
            p = p * r + 1.388888894392244e-03
            p = p * r + 8.333333333495648e-03
            p = p * r + 4.166666666652919e-02
            p = p * r + 1.666666666666641e-01
            return p * r + 5.000000000000011e-01

        return tail
    return None


def _exp_limits(x):
    """Beyond these exp is zero or infinite; and how far an exponent is moved so that it stays normal, with the factors
    that move the result back: half way towards one for small results, from it for large ones."""
    raise NotImplementedError


@overload(_exp_limits, jit_options=OVERLOAD)
def _exp_limits_for(x):
    if x == types.float32:
        return lambda x: (np.float32(-104.0), np.float32(89.0), 64, np.float32(2.0**-64), np.float32(2.0**64))
    if x == types.float64:
        return lambda x: (-746.0, 710.0, 512, 2.0**-512, 2.0**512)
    return None


@kernel(cache=False, **OPTIONS)
def exp(x):
    """``exp(x)``, to 1 ulp."""
    one = type(x)(1)
    lowest, highest, move, shrink, grow = _exp_limits(x)
    x = lowest if x < lowest else x
    x = highest if x > highest else x
    bits, r = _reduced(x)
    p = (_exp_tail(r) * r + one) * r + one
    # In two steps, for a result that is infinite or below the normal range, where 2^n alone is not a number. Where the
    # result is zero, by a product with zero: one that underflows takes a processor a hundred cycles.
    small = x < 0
    shrink = type(x)(0) if x <= lowest else shrink
    return p * _two_to_the(bits, move if small else -move) * (shrink if small else grow)


@kernel(cache=False, **OPTIONS)
def exp_below(x):
    """``exp(x)`` for ``x <= 0``, to 1 ulp, for less: there is no overflow."""
    return exp_of_difference(x, type(x)(0))


@kernel(cache=False, **OPTIONS)
def exp_of_difference(x, small):
    """``exp(x - small)`` for ``x <= 0``, where `small` is what rounding x lost."""
    one = type(x)(1)
    lowest, _, move, shrink, _ = _exp_limits(x)
    bits, r = _reduced(lowest if x < lowest else x)
    r = r - small
    p = (_exp_tail(r) * r + one) * r + one
    return p * _two_to_the(bits, move) * (type(x)(0) if x < lowest else shrink)  # see exp


@kernel(cache=False, **OPTIONS)
def expm1(x):
    """``exp(x) - 1``, accurate near 0."""
    _, highest, _, _, _ = _exp_limits(x)
    lowest = type(x)(-40)  # far below where the result rounds to -1
    t = lowest if x < lowest else x
    bits, r = _reduced(highest if t > highest else t)
    p = r * r * _exp_tail(r) + r
    # All is halved, since 2^n itself overflows just before the result does. With n = 0 the bracket is zero and p stands
    # alone, which keeps every digit of a small x; of the smallest, halving would drop one.
    half = _two_to_the(bits, -1)
    result = p * half + (half - type(x)(0.5))
    return x if abs(x) < type(x)(1e-30) else type(x)(2) * result


def signed(size, x):
    """A number of that size, 0 or more, with the sign of x, which zero has too."""
    raise NotImplementedError


@overload(signed, jit_options=OVERLOAD)
def _signed_for(size, x):
    if x == types.float32:
        return lambda size, x: np.int32(
            np.float32(size).view(np.int32) | (np.float32(x).view(np.int32) & _SIGN32)
        ).view(np.float32)
    if x == types.float64:
        return lambda size, x: np.int64(
            np.float64(size).view(np.int64) | (np.float64(x).view(np.int64) & _SIGN64)
        ).view(np.float64)
    return None


@kernel(cache=False, **OPTIONS)
def tanh(x):
    """``(e - 1)/(e + 1)`` with ``e = exp(2|x|)``; accurate near 0 and exactly ±1 where it rounds to that."""
    one = type(x)(1)
    size = abs(x)
    limit = type(x)(20)
    bits, r = _reduced(type(x)(2) * (limit if size > limit else size))
    p = r * r * _exp_tail(r) + r
    scale = _two_to_the(bits, 0)
    return signed((p * scale + (scale - one)) / (p * scale + (scale + one)), x)


# -------------------------------------------------------------------------------------------------------- logarithms


def _mantissa(x):
    """(n, f, 2^-n) with ``x = 2^n*(1 + f)`` and ``sqrt(1/2) <= 1 + f < sqrt(2)``; x normal and positive.

    The last is right for ``n < 127``.
    """
    raise NotImplementedError


@overload(_mantissa, jit_options=OVERLOAD)
def _mantissa_for(x):
    if x == types.float32:

        def mantissa(x):
            # sqrt(1/2) is where the mantissa turns over, so that f is between -0.3 and 0.42.
            moved = np.int32(np.float32(x).view(np.int32) - np.int32(0x3F3504F3))
            kept = np.int32((moved & np.int32(0x007FFFFF)) + np.int32(0x3F3504F3)).view(np.float32)
            n = np.int32(moved >> np.int32(23))
            inverse = np.int32((np.int32(127) - n) << np.int32(23)).view(np.float32)
            return np.float32(n), kept - np.float32(1), inverse

        return mantissa
    if x == types.float64:

        def mantissa(x):
            moved = np.float64(x).view(np.int64) - np.int64(0x3FE6A09E667F3BCD)
            kept = np.int64((moved & np.int64(0x000FFFFFFFFFFFFF)) + np.int64(0x3FE6A09E667F3BCD)).view(np.float64)
            n = moved >> np.int64(52)
            return np.float64(n), kept - 1.0, np.int64((np.int64(1023) - n) << np.int64(52)).view(np.float64)

        return mantissa
    return None


def _log_series(s, z):
    """``(2*atanh(s) - 2*s)/s`` for ``z = s²`` and ``s = f/(2 + f)``."""
    raise NotImplementedError


@overload(_log_series, jit_options=OVERLOAD)
def _log_series_for(s, z):
    if s == types.float32:

        def series(s, z):
            p = np.float32(0.24279078841)
            p = p * z + np.float32(0.28498786688)
            p = p * z + np.float32(0.40000972152)
            p = p * z + np.float32(0.66666662693)
            return p * z

        return series
    if s == types.float64:

        def series(s, z):
            p = 1.479819860511658591e-01
            p = p * z + 1.531383769920937332e-01
            p = p * z + 1.818357216161805012e-01
            p = p * z + 2.222219843214978396e-01
            p = p * z + 2.857142874366239149e-01
            p = p * z + 3.999999999940941908e-01
            p = p * z + 6.666666666666735130e-01
            return p * z

        return series
    return None


def _log_constants(x):
    """log(2) in two parts; the least normal number, what makes it large enough, and by how many powers of 2."""
    raise NotImplementedError


@overload(_log_constants, jit_options=OVERLOAD)
def _log_constants_for(x):
    if x == types.float32:
        tiny, lift = np.finfo(np.float32).tiny, np.float32(2.0**25)
        return lambda x: (_LN2_HIGH32, _LN2_LOW32, tiny, lift, np.float32(25))
    if x == types.float64:
        return lambda x: (_LN2_HIGH64, _LN2_LOW64, 2.2250738585072014e-308, 2.0**54, 54.0)
    return None


@kernel(cache=False, **OPTIONS)
def _log_sum(n, f):
    """``n*log(2) + log(1 + f)``."""
    high, low, _, _, _ = _log_constants(f)
    s = f / (type(f)(2) + f)
    half_square = type(f)(0.5) * f * f
    tail = s * (half_square + _log_series(s, s * s))
    return n * high - ((half_square - (tail + n * low)) - f)


@kernel(cache=False, **OPTIONS)
def log(x):
    """Natural logarithm; -inf at 0, NaN below."""
    zero = type(x)(0)
    _, _, tiny, lift, lifted = _log_constants(x)
    small = x < tiny
    n, f, _ = _mantissa(x * lift if small else x)
    result = _log_sum(n - (lifted if small else zero), f)
    # Zero, infinity and NaN have no mantissa; the arithmetic above gives a number for them that means nothing.
    result = x if x == np.inf or x != x else result
    result = type(x)(-np.inf) if x == zero else result
    return type(x)(np.nan) if x < zero else result


@kernel(cache=False, **OPTIONS)
def log1p(x):
    """``log(1 + x)``, accurate near 0."""
    one = type(x)(1)
    u = one + x
    n, f, inverse = _mantissa(u)
    # What rounding 1 + x lost goes to the mantissa. Beside a large x it is nothing.
    lost = (x - (u - one)) * inverse
    result = _log_sum(n, f + (lost if u < type(x)(1e20) else type(x)(0)))
    result = x if u == np.inf or u != u or x == 0 else result
    result = type(x)(-np.inf) if u == 0 else result
    return type(x)(np.nan) if u < 0 else result


def _softplus_series(w):
    """``(2*atanh(t/2) - t)/t³`` for ``w = t² <= 4/9``."""
    raise NotImplementedError


@overload(_softplus_series, jit_options=OVERLOAD)
def _softplus_series_for(w):
    if w == types.float32:

        def series(w):
            p = np.float32(0.00054711214)
            p = p * w + np.float32(0.0021876384)
            p = p * w + np.float32(0.012506728)
            return p * w + np.float32(0.08333302)

        return series
    if w == types.float64:

        def series(w):
            p = 8.110829938655988e-08
            p = p * w + 1.5916889053609373e-07
            p = p * w + 9.235328972314452e-07
            p = p * w + 4.059180673784973e-06
            p = p * w + 1.8782407533281455e-05
            p = p * w + 8.877804924640158e-05
            p = p * w + 4.340278115910732e-04
            p = p * w + 2.2321428553219425e-03
            p = p * w + 1.2500000000048467e-02
            return p * w + 8.333333333333288e-02

        return series
    return None


@kernel(cache=False, **OPTIONS)
def softplus(x):
    """``log(1 + exp(x)) = max(x, 0) + log(1 + e)``, without overflow, with ``e = exp(-|x|)``.

    ``log(1 + e) = 2*atanh(t/2)`` for ``t = e/(1 + e/2)``, which is at most 2/3.
    """
    zero = type(x)(0)
    e = exp_below(-abs(x))
    t = e / (type(x)(1) + type(x)(0.5) * e)
    # Of a small t the series adds nothing, and its products would underflow, which is slow.
    s = zero if t < type(x)(2.0**-30) else t
    w = s * s
    return (zero if x < zero else x) + (t + s * w * _softplus_series(w))

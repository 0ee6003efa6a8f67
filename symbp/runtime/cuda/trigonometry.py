"""sin and cos that need no memory, where libdevice keeps an array of its own in memory for large arguments.

The argument is brought to ``r = x - q*pi/2`` with ``|r| <= pi/4``, and there the polynomials of FreeBSD's msun (Sun
Microsystems 1993) serve both types. In float32 the reduction is that of Payne and Hanek (1983) in whole numbers, good
for every argument; in float64 that of Cody and Waite in four parts, good for ``|x| <= 1e8``. Beyond that the error
grows with x. Within, errors are below 3 units in the last place in float32, below 1.5 in float64.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

import math

import numpy as np

from symbp.runtime.cuda.kernel import device_function

# 32 zeros, then 2/pi in binary: 2^-1 is the first bit of the second word.
_W0, _W1, _W2, _W3 = np.uint64(0), np.uint64(0xA2F9836E), np.uint64(0x4E441529), np.uint64(0xFC2757D1)
_W4, _W5, _W6, _W7 = np.uint64(0xF534DDC0), np.uint64(0xDB629599), np.uint64(0x3C439041), np.uint64(0xFE5163AB)
_HALF, _TOP = np.uint64(32), np.uint64(62)

# pi/2 in four parts; all but the last have so few bits that their products with a whole number below 2^26 are exact.
_PART1 = float.fromhex("0x1.921fb54p+0")
_PART2 = float.fromhex("0x1.10b46p-30")
_PART3 = float.fromhex("0x1.1a6263p-54")
_PART4 = float.fromhex("0x1.8a2e03707344ap-81")


@device_function
def sin(x):
    """Sine."""
    quadrant, r = _reduced(x)
    result = _cosine(r) if quadrant & 1 else _sine(r)
    return -result if quadrant & 2 else result


@device_function
def cos(x):
    """Cosine."""
    quadrant, r = _reduced(x)
    result = _sine(r) if quadrant & 1 else _cosine(r)
    return -result if (quadrant + 1) & 2 else result


@device_function
def _sine(r):
    """``sin(r)`` for ``|r| <= pi/4``."""
    real = type(r)
    z = r * r
    p = real(1.58969099521155010221e-10)
    p = p * z - real(2.50507602534068634195e-08)
    p = p * z + real(2.75573137070700676789e-06)
    p = p * z - real(1.98412698298579493134e-04)
    p = p * z + real(8.33333333332248946124e-03)
    p = p * z - real(1.66666666666666324348e-01)
    # At a zero the sum would lose its sign.
    return r + r * z * p if z > 0 else r


@device_function
def _cosine(r):
    """``cos(r)`` for ``|r| <= pi/4``."""
    real = type(r)
    z = r * r
    p = real(-1.13596475577881948265e-11)
    p = p * z + real(2.08757232129817482790e-09)
    p = p * z - real(2.75573143513906633035e-07)
    p = p * z + real(2.48015872894767294178e-05)
    p = p * z - real(1.38888888888741095749e-03)
    p = p * z + real(4.16666666666666019037e-02)
    half_square = real(0.5) * z
    near = real(1) - half_square
    # What the difference above rounded off is put back.
    return near + (((real(1) - near) - half_square) + z * z * p)


@device_function
def _reduced(x):
    """(q, r) with ``x = q*pi/2 + r`` up to multiples of ``2*pi``."""
    one = type(x)(1)
    if abs(x) <= type(x)(math.pi / 4):
        return np.int64(0), x
    # True in float32 only, which the compiler sees: it keeps one of the two.
    if one + type(x)(2.0**-30) == one:
        return _reduced_by_bits(x)
    return _reduced_in_parts(x)


@device_function
def _reduced_by_bits(x):
    mantissa, exponent = math.frexp(abs(x))
    whole = np.uint64(mantissa * type(x)(2.0**24))  # |x| = whole * 2^(exponent - 24)

    # The 96 bits of 2/pi from the one that gives `whole` the weight 2: those before it give multiples of 4 quadrants.
    first = max(exponent, 0) + 6
    word, shift = first >> 5, np.uint64(first & 31)
    a = _W0 if word == 0 else (_W1 if word == 1 else (_W2 if word == 2 else (_W3 if word == 3 else _W4)))
    b = _W1 if word == 0 else (_W2 if word == 1 else (_W3 if word == 2 else (_W4 if word == 3 else _W5)))
    c = _W2 if word == 0 else (_W3 if word == 1 else (_W4 if word == 2 else (_W5 if word == 3 else _W6)))
    d = _W3 if word == 0 else (_W4 if word == 1 else (_W5 if word == 2 else (_W6 if word == 3 else _W7)))
    high = (((a << _HALF) | b) << shift) >> _HALF
    middle = (((b << _HALF) | c) << shift) >> _HALF
    low = (((c << _HALF) | d) << shift) >> _HALF

    # |x|*2/pi in units of 2^-62, modulo 4, which is where 64 bits wrap around.
    turned = ((whole * high) << _HALF) + whole * middle + ((whole * low) >> _HALF)
    quadrant = (turned + np.uint64(1 << 61)) >> _TOP
    fraction = np.int64(turned - (quadrant << _TOP))
    # x - x makes NaN of an infinity.
    r = type(x)(fraction) * type(x)(math.pi / 2 * 2.0**-62) + (x - x)
    turns = np.int64(quadrant)
    return (-turns, -r) if x < 0 else (turns, r)


@device_function
def _reduced_in_parts(x):
    real = type(x)
    n = real(math.floor(x * real(2 / math.pi) + real(0.5)))
    r, lost2 = _difference(x - n * real(_PART1), n * real(_PART2))
    r, lost3 = _difference(r, n * real(_PART3))
    return np.int64(n), r + (lost2 + lost3 - n * real(_PART4))


@device_function
def _difference(a, b):
    """``a - b`` and what it rounded off: Knuth's two-sum."""
    d = a - b
    given = d - a
    return d, (a - (d - given)) - (b + given)

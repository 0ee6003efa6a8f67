"""sin and cos without branches, so that a loop over them is vectorised; float32 and float64.

The argument is brought to ``r = x - q*pi/2`` with ``|r| <= pi/4``, where two polynomials serve. Errors against mpmath
stay below 2 units in the last place.

In float32 that holds for every argument: x is multiplied by 1/(2*pi) piece by piece, after Payne and Hanek (1983), in
float64. A piece has 29 bits, so that its product with a float32 is exact, and of each product only what is left of
whole turns is kept. In float64 the reduction is that of Cody and Waite in four parts, good for ``|x| <= 1e8``; beyond,
the error grows with x; it is NaN from 2^51, where neighbouring numbers are half a radian apart. A package compiled as
exact takes the C library's functions, which are good for every argument.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

import math

import numpy as np
from numba import types
from numba.extending import overload

from symbp.runtime.elementary import OPTIONS, OVERLOAD, ROUND64
from symbp.runtime.jit import kernel

# 1/(2*pi) in six pieces: of 29 bits each, but for the last.
_TURNS0 = float.fromhex("0x1.45f306dp-3")
_TURNS1 = float.fromhex("0x1.9391054p-32")
_TURNS2 = float.fromhex("0x1.4fe13abp-61")
_TURNS3 = float.fromhex("0x1.d1f534dp-90")
_TURNS4 = float.fromhex("0x1.b81b6c5p-119")
_TURNS5 = float.fromhex("0x1.5993c439041fep-150")

# pi/2 in four parts; all but the last have so few bits that their products with a whole number below 2^26 are exact.
_PART1 = float.fromhex("0x1.921fb54p+0")
_PART2 = float.fromhex("0x1.10b46p-30")
_PART3 = float.fromhex("0x1.1a6263p-54")
_PART4 = float.fromhex("0x1.8a2e03707344ap-81")


def _reduced(x):
    """(q, r) with ``x = q*pi/2 + r`` up to multiples of ``2*pi``; q is a whole number in its lowest two bits."""
    raise NotImplementedError


@overload(_reduced, jit_options=OVERLOAD)
def _reduced_for(x):
    if x == types.float32:

        def reduced(x):
            wide = np.float64(x)
            turns = wide * _TURNS0
            turns -= np.rint(turns)
            part = wide * _TURNS1
            turns += part - np.rint(part)
            part = wide * _TURNS2
            turns += part - np.rint(part)
            part = wide * _TURNS3
            turns += part - np.rint(part)
            part = wide * _TURNS4
            turns += part - np.rint(part)
            shifted = turns * 4.0 + ROUND64
            rest = (turns - (shifted - ROUND64) * 0.25) + wide * _TURNS5
            return np.int32(np.float64(shifted).view(np.int64)), np.float32(rest * (2 * math.pi))

        return reduced
    if x == types.float64:

        def reduced(x):
            shifted = x * (2 / math.pi) + ROUND64
            n = shifted - ROUND64
            r, lost2 = _difference(x - n * _PART1, n * _PART2)
            r, lost3 = _difference(r, n * _PART3)
            r = r + (lost2 + lost3 - n * _PART4)
            return np.float64(shifted).view(np.int64), (r if abs(x) < 2.0**51 else np.nan)

        return reduced
    return None


@kernel(cache=False, **OPTIONS)
def _difference(a, b):
    """``a - b`` and what it rounded off: Knuth's two-sum."""
    d = a - b
    given = d - a
    return d, (a - (d - given)) - (b + given)


def _sine(r):
    """``sin(r)`` for ``|r| <= pi/4``."""
    raise NotImplementedError


@overload(_sine, jit_options=OVERLOAD)
def _sine_for(r):
    if r == types.float32:

        def sine(r):
            z = r * r
            p = np.float32(-1.9516988e-04)
            p = p * z + np.float32(8.332176e-03)
            p = p * z + np.float32(-1.6666655e-01)
            return r + r * z * p

        return sine
    if r == types.float64:

        def sine(r):  # the coefficients of FreeBSD's msun (Sun Microsystems 1993)
            z = r * r
            p = 1.58969099521155010221e-10
            p = p * z + -2.50507602534068634195e-08
            p = p * z + 2.75573137070700676789e-06
            p = p * z + -1.98412698298579493134e-04
            p = p * z + 8.33333333332248946124e-03
            p = p * z + -1.66666666666666324348e-01
            return r + r * z * p

        return sine
    return None


def _cosine(r):
    """``cos(r)`` for ``|r| <= pi/4``."""
    raise NotImplementedError


@overload(_cosine, jit_options=OVERLOAD)
def _cosine_for(r):
    if r == types.float32:

        def cosine(r):
            z = r * r
            p = np.float32(2.4438087e-05)
            p = p * z + np.float32(-1.3887364e-03)
            p = p * z + np.float32(4.1666646e-02)
            return np.float32(1) + z * (np.float32(-0.5) + z * p)

        return cosine
    if r == types.float64:

        def cosine(r):
            z = r * r
            p = -1.13596475577881948265e-11
            p = p * z + 2.08757232129817482790e-09
            p = p * z + -2.75573143513906633035e-07
            p = p * z + 2.48015872894767294178e-05
            p = p * z + -1.38888888888741095749e-03
            p = p * z + 4.16666666666666019037e-02
            return 1.0 + z * (-0.5 + z * p)

        return cosine
    return None


def _turned(y, quadrant):
    """``-y`` in the second half of a turn, else y."""
    raise NotImplementedError


@overload(_turned, jit_options=OVERLOAD)
def _turned_for(y, quadrant):
    if y == types.float32:
        sign = np.int32(2)
        return lambda y, quadrant: np.int32(
            np.float32(y).view(np.int32) ^ ((np.int32(quadrant) & sign) << np.int32(30))
        ).view(np.float32)
    if y == types.float64:
        return lambda y, quadrant: np.int64(
            np.float64(y).view(np.int64) ^ ((quadrant & np.int64(2)) << np.int64(62))
        ).view(np.float64)
    return None


@kernel(cache=False, **OPTIONS)
def sin(x):
    """Sine."""
    quadrant, r = _reduced(x)
    y = _turned(_cosine(r) if quadrant & 1 else _sine(r), quadrant)
    # The smallest keep their digits, and zero its sign.
    return x if abs(x) < type(x)(1e-10) else y


@kernel(cache=False, **OPTIONS)
def cos(x):
    """Cosine."""
    quadrant, r = _reduced(x)
    return _turned(_sine(r) if quadrant & 1 else _cosine(r), quadrant + 1)

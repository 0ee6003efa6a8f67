"""Random numbers that are a function of a position: no state, so any thread can draw any of them, in any order.

Philox4x32-10 of Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011), checked
against the known answers that come with their library Random123. The functions are also plain Python on NumPy's
``uint64``: the host can draw what the device draws.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

import math

import numpy as np

from symbp.runtime.cuda.kernel import device_function
from symbp.runtime.cuda.trigonometry import cos, sin

# Words have 32 bits but are kept in 64, so that a product of two is exact and nothing wraps around unasked.
_WORD = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_FACTOR0, _FACTOR1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
# The golden ratio and sqrt(3) - 1, as fractions of 2^32.
_BUMP0, _BUMP1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)


@device_function
def philox(position0, position1, position2, position3, key0, key1):
    """Four random words for a position of four words and a key of two; all ``uint64`` below 2^32."""
    a, b, c, d = position0, position1, position2, position3
    for _ in range(10):
        first, second = a * _FACTOR0, c * _FACTOR1
        a, b, c, d = (second >> _HALF) ^ b ^ key0, second & _WORD, (first >> _HALF) ^ d ^ key1, first & _WORD
        key0, key1 = (key0 + _BUMP0) & _WORD, (key1 + _BUMP1) & _WORD
    return a, b, c, d


@device_function
def uniform(word):
    """A float32 between 0 and 1, neither included: the middle of one of 2^23 equal parts."""
    return (np.float32(word >> np.uint64(9)) + np.float32(0.5)) * np.float32(2.0**-23)


@device_function
def uniform_double(high, low):
    """A float64 between 0 and 1, neither included: the middle of one of 2^52 equal parts; takes two words."""
    part = (high << np.uint64(20)) | (low >> np.uint64(12))
    return (np.float64(part) + 0.5) * 2.0**-52


@device_function
def normal(first, second):
    """Two independent standard normal numbers from two uniform ones: ``r*cos(t)`` and ``r*sin(t)``.

    Box and Muller (1958): ``r = sqrt(-2*log(first))``, ``t = 2*pi*second``. With `uniform` no number is beyond 5.8.
    """
    radius = math.sqrt(type(first)(-2) * math.log(first))
    angle = type(first)(2 * math.pi) * second
    return radius * cos(angle), radius * sin(angle)

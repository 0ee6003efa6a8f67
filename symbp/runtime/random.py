"""Random numbers that are a function of where they are used: no state, so any thread can draw any, in any order.

A number is given by a seed, a stream (a step, a layer) and a counter (an element), whole numbers of 64 bits each. The
same three give the same words at any number of threads and on the GPU, whose `symbp.runtime.cuda.random` does the same
arithmetic: `uniform` and `uniform_double` are the same to the last bit, `normal` to the last few, since logarithms and
cosines differ there.

    x[i] = uniform(seed, stream, i)

Philox4x32-10 of Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011), checked against
the known answers that come with their library Random123. A loop over each function is vectorised.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

import math

import numpy as np

from symbp.runtime.elementary import OPTIONS, log
from symbp.runtime.jit import kernel
from symbp.runtime.trigonometry import cos

# Words have 32 bits but are kept in 64, so that a product of two is exact and nothing wraps around unasked.
_WORD = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_FACTOR0, _FACTOR1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
# The golden ratio and sqrt(3) - 1, as fractions of 2^32.
_BUMP0, _BUMP1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)


@kernel(cache=False, **OPTIONS)
def philox(position0, position1, position2, position3, key0, key1):
    """Four random words for a position of four words and a key of two; all ``uint64`` below 2^32."""
    a, b, c, d = position0, position1, position2, position3
    for _ in range(10):
        first, second = a * _FACTOR0, c * _FACTOR1
        a, b, c, d = (second >> _HALF) ^ b ^ key0, second & _WORD, (first >> _HALF) ^ d ^ key1, first & _WORD
        key0, key1 = (key0 + _BUMP0) & _WORD, (key1 + _BUMP1) & _WORD
    return a, b, c, d


@kernel(cache=False, **OPTIONS)
def words(seed, stream, counter):
    """Four random words of 32 bits, as ``uint64``: the seed is the key, the counter and the stream the position."""
    key, low, high = np.uint64(seed), np.uint64(counter), np.uint64(stream)
    return philox(low & _WORD, low >> _HALF, high & _WORD, high >> _HALF, key & _WORD, key >> _HALF)


@kernel(cache=False, **OPTIONS)
def fraction(word):
    """A float32 between 0 and 1, neither included: the middle of one of 2^23 equal parts."""
    return (np.float32(np.int32(word >> np.uint64(9))) + np.float32(0.5)) * np.float32(2.0**-23)


@kernel(cache=False, **OPTIONS)
def fraction_double(high, low):
    """A float64 between 0 and 1, neither included: the middle of one of 2^52 equal parts; takes two words."""
    part = (high << np.uint64(20)) | (low >> np.uint64(12))
    return (np.float64(np.int64(part)) + 0.5) * 2.0**-52


@kernel(cache=False, **OPTIONS)
def uniform(seed, stream, counter):
    """A float32 between 0 and 1, neither included."""
    first, _, _, _ = words(seed, stream, counter)
    return fraction(first)


@kernel(cache=False, **OPTIONS)
def uniform_double(seed, stream, counter):
    """A float64 between 0 and 1, neither included."""
    first, second, _, _ = words(seed, stream, counter)
    return fraction_double(first, second)


@kernel(cache=False, **OPTIONS)
def normal(seed, stream, counter):
    """A standard normal float32, none beyond 5.8: ``sqrt(-2*log(u))*cos(2*pi*v)``, Box and Muller (1958)."""
    first, second, _, _ = words(seed, stream, counter)
    radius = math.sqrt(np.float32(-2) * log(fraction(first)))
    return radius * cos(np.float32(2 * math.pi) * fraction(second))


@kernel(cache=False, **OPTIONS)
def normal_double(seed, stream, counter):
    """A standard normal float64, none beyond 8.6."""
    a, b, c, d = words(seed, stream, counter)
    radius = math.sqrt(-2.0 * log(fraction_double(a, b)))
    return radius * cos((2 * math.pi) * fraction_double(c, d))

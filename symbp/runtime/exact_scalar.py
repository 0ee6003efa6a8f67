"""The scalar functions of packages compiled as exact: those of `scalar`, with the C library under the elementary ones.

They take one number at a time, 5 to 20 ns. In float32 all is computed in float64 and rounded once: no function is off
by more than 0.51 units in the last place, for any argument. In float64 they are as good as the C library of the
machine: with glibc 1 unit for most, 2.5 for tanh, erfc and what is made of several; sin and cos of any argument.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

import math

import numpy as np

from symbp.runtime.elementary import OPTIONS
from symbp.runtime.jit import kernel
from symbp.runtime.scalar import absolute, floor, maximum, minimum, relu, safe_div, sign, sqrt, square, step

__all__ = [
    "absolute",
    "cos",
    "cube",
    "dsigmoid",
    "erf",
    "erfc",
    "exp",
    "expm1",
    "floor",
    "lgamma",
    "log",
    "log1p",
    "logsigmoid",
    "maximum",
    "minimum",
    "power",
    "relu",
    "rsqrt",
    "safe_div",
    "sech2",
    "sigmoid",
    "sign",
    "sin",
    "softplus",
    "sqrt",
    "square",
    "step",
    "tanh",
]


@kernel(cache=False, **OPTIONS)
def cube(x):
    """``x*x*x``."""
    wide = np.float64(x)
    return type(x)(wide * wide * wide)


@kernel(cache=False, **OPTIONS)
def exp(x):
    """``exp(x)``."""
    return type(x)(math.exp(np.float64(x)))


@kernel(cache=False, **OPTIONS)
def expm1(x):
    """``exp(x) - 1``, accurate near 0."""
    return type(x)(math.expm1(np.float64(x)))


@kernel(cache=False, **OPTIONS)
def log(x):
    """Natural logarithm; -inf at 0, NaN below."""
    return type(x)(math.log(np.float64(x)))


@kernel(cache=False, **OPTIONS)
def log1p(x):
    """``log(1 + x)``, accurate near 0."""
    return type(x)(math.log1p(np.float64(x)))


@kernel(cache=False, **OPTIONS)
def tanh(x):
    """Hyperbolic tangent."""
    return type(x)(math.tanh(np.float64(x)))


@kernel(cache=False, **OPTIONS)
def sigmoid(x):
    """``1/(1 + exp(-x))``. The exponential is taken of ``-|x|``, so it never overflows."""
    wide = np.float64(x)
    e = math.exp(-abs(wide))
    return type(x)((e if wide < 0 else 1.0) / (1.0 + e))


@kernel(cache=False, **OPTIONS)
def dsigmoid(x):
    """``sigmoid'(x) = a - a²`` with ``a = sigmoid(-|x|) <= 1/2``."""
    e = math.exp(-abs(np.float64(x)))
    a = e / (1.0 + e)
    return type(x)(a - a * a)


@kernel(cache=False, **OPTIONS)
def sech2(x):
    """``tanh'(x) = 1 - tanh²(x) = 4*sigmoid'(2x)``."""
    e = math.exp(-2.0 * abs(np.float64(x)))
    a = e / (1.0 + e)
    return type(x)(4.0 * (a - a * a))


@kernel(cache=False, **OPTIONS)
def softplus(x):
    """``log(1 + exp(x)) = max(x, 0) + log1p(exp(-|x|))``, without overflow."""
    wide = np.float64(x)
    return type(x)((0.0 if wide < 0 else wide) + math.log1p(math.exp(-abs(wide))))


@kernel(cache=False, **OPTIONS)
def logsigmoid(x):
    """``log(sigmoid(x)) = -softplus(-x)``."""
    return -softplus(-x)


@kernel(cache=False, **OPTIONS)
def rsqrt(x):
    """``1/sqrt(x)``; infinite at 0."""
    return type(x)(1.0 / math.sqrt(np.float64(x)))


@kernel(cache=False, **OPTIONS)
def erf(x):
    """The error function."""
    return type(x)(math.erf(np.float64(x)))


@kernel(cache=False, **OPTIONS)
def erfc(x):
    """``1 - erf(x)``, accurate for large x."""
    return type(x)(math.erfc(np.float64(x)))


@kernel(cache=False, **OPTIONS)
def lgamma(x):
    """The logarithm of ``|gamma(x)|``."""
    return type(x)(math.lgamma(np.float64(x)))


@kernel(cache=False, **OPTIONS)
def sin(x):
    """Sine."""
    return type(x)(math.sin(np.float64(x)))


@kernel(cache=False, **OPTIONS)
def cos(x):
    """Cosine."""
    return type(x)(math.cos(np.float64(x)))


@kernel(cache=False, **OPTIONS)
def power(x, y):
    """``x**y`` for any real exponent."""
    return type(x)(math.pow(np.float64(x), np.float64(y)))

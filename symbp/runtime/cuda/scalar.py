"""Scalar functions of kernels, on float32 or float64 alike: what goes in float32 comes out float32.

Names and meaning are those of the CPU's `symbp.runtime.scalar`. The elementary ones are NVIDIA's libdevice, whose
errors are at most 2 units in the last place in float32 (4 for erfc, 6 for lgamma) and 2 in float64 (5 for erfc, 4 for
lgamma), after the tables in the CUDA C++ Programming Guide; what is made of them here adds at most 2. sin and cos are
our own, in `trigonometry`.

All pass NaN on, except ``step``, which gives 0 for it, and ``safe_div`` with a divisor of 0.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

import math

from symbp.runtime.cuda.kernel import device_function
from symbp.runtime.cuda.trigonometry import cos, sin

__all__ = [
    "absolute",
    "cos",
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
    "step",
    "tanh",
]


@device_function
def exp(x):
    """``exp(x)``."""
    return math.exp(x)


@device_function
def expm1(x):
    """``exp(x) - 1``, accurate near 0."""
    return math.expm1(x)


@device_function
def log(x):
    """Natural logarithm; -inf at 0, NaN below."""
    return math.log(x)


@device_function
def log1p(x):
    """``log(1 + x)``, accurate near 0."""
    return math.log1p(x)


@device_function
def tanh(x):
    """Hyperbolic tangent."""
    return math.tanh(x)


@device_function
def sigmoid(x):
    """``1/(1 + exp(-x))``. The exponential is taken of ``-|x|``, so it never overflows."""
    one = type(x)(1)
    e = math.exp(-abs(x))
    return (e if x < 0 else one) / (one + e)


@device_function
def dsigmoid(x):
    """``sigmoid'(x) = e/(1 + e)²`` with ``e = exp(-|x|)``: no digit is lost where ``s*(1 - s)`` loses all."""
    one = type(x)(1)
    e = math.exp(-abs(x))
    return e / ((one + e) * (one + e))


@device_function
def sech2(x):
    """``tanh'(x) = 1 - tanh²(x) = 4e/(1 + e)²`` with ``e = exp(-2|x|)``, without the cancellation."""
    one = type(x)(1)
    e = math.exp(type(x)(-2) * abs(x))
    return type(x)(4) * e / ((one + e) * (one + e))


@device_function
def softplus(x):
    """``log(1 + exp(x)) = max(x, 0) + log1p(exp(-|x|))``, without overflow."""
    zero = type(x)(0)
    return (zero if x < zero else x) + math.log1p(math.exp(-abs(x)))


@device_function
def logsigmoid(x):
    """``log(sigmoid(x)) = -softplus(-x)``."""
    return -softplus(-x)


@device_function
def relu(x):
    """``max(x, 0)``; NaN stays NaN."""
    zero = type(x)(0)
    return zero if x <= zero else x


@device_function
def step(x):
    """1 where ``x > 0``, else 0."""
    return type(x)(1) if x > 0 else type(x)(0)


@device_function
def sign(x):
    """-1, 0 or 1; NaN stays NaN."""
    return type(x)(1) if x > 0 else (type(x)(-1) if x < 0 else x)


@device_function
def absolute(x):
    """``|x|``."""
    return abs(x)


@device_function
def maximum(a, b):
    """The larger of two; NaN if either is."""
    return a if a >= b or a != a else b


@device_function
def minimum(a, b):
    """The smaller of two; NaN if either is."""
    return a if a <= b or a != a else b


@device_function
def power(x, y):
    """``x**y`` for any real exponent, with C's special cases."""
    return type(x)(math.pow(x, y))


@device_function
def safe_div(a, b):
    """``a/b``, and 0 where ``b = 0``."""
    return type(a)(0) if b == 0 else a / b


@device_function
def sqrt(x):
    """Square root; NaN below 0."""
    return math.sqrt(x)


@device_function
def rsqrt(x):
    """``1/sqrt(x)``; infinite at 0."""
    return type(x)(1) / math.sqrt(x)


@device_function
def floor(x):
    """The largest whole number not above x, in the type of x."""
    return math.floor(x)


@device_function
def erf(x):
    """The error function."""
    return math.erf(x)


@device_function
def erfc(x):
    """``1 - erf(x)``, accurate for large x."""
    return math.erfc(x)


@device_function
def lgamma(x):
    """The logarithm of ``|gamma(x)|``."""
    return math.lgamma(x)

"""Scalar functions that kernels call, on float32 or float64 alike: what goes in float32 comes out float32.

None has a branch that would stop a loop from being vectorised, save lgamma and, in float64, power, which call the C
library. All pass NaN on, except ``step``, which gives 0 for it, and ``safe_div`` with a divisor of 0.

Errors against mpmath stay below 4 units in the last place, most below 2.5 (tests/runtime/test_scalar.py has the limit
of each; lgamma away from its zeros). Those with methods of their own are in `elementary`, `error_function`,
`trigonometry` and `power` and offered here again.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

import math

import numpy as np

from symbp.runtime.elementary import OPTIONS, exp, exp_below, expm1, log, log1p, softplus, tanh
from symbp.runtime.error_function import erf, erfc
from symbp.runtime.extremes import larger, smaller
from symbp.runtime.jit import kernel
from symbp.runtime.power import power
from symbp.runtime.trigonometry import cos, sin

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
def sigmoid(x):
    """``1/(1 + exp(-x))``. The exponential is taken of ``-|x|``, so it never overflows."""
    one = type(x)(1)
    e = exp_below(-abs(x))
    return (e if x < 0 else one) / (one + e)


@kernel(cache=False, **OPTIONS)
def dsigmoid(x):
    """``sigmoid'(x) = a - a²`` with ``a = sigmoid(-|x|) <= 1/2``: no digit is lost where ``s*(1 - s)`` loses all."""
    e = exp_below(-abs(x))
    a = e / (type(x)(1) + e)
    return a - a * a


@kernel(cache=False, **OPTIONS)
def sech2(x):
    """``tanh'(x) = 1 - tanh²(x) = 4*sigmoid'(2x)``, without the cancellation."""
    e = exp_below(type(x)(-2) * abs(x))
    a = e / (type(x)(1) + e)
    return type(x)(4) * (a - a * a)


@kernel(cache=False, **OPTIONS)
def logsigmoid(x):
    """``log(sigmoid(x)) = -softplus(-x)``."""
    return -softplus(-x)


@kernel(cache=False, **OPTIONS)
def relu(x):
    """``max(x, 0)``; NaN stays NaN."""
    zero = type(x)(0)
    return zero if x <= zero else x


@kernel(cache=False, **OPTIONS)
def step(x):
    """1 where ``x > 0``, else 0."""
    return type(x)(1) if x > 0 else type(x)(0)


@kernel(cache=False, **OPTIONS)
def sign(x):
    """-1, 0 or 1; NaN stays NaN."""
    return type(x)(1) if x > 0 else (type(x)(-1) if x < 0 else x)


@kernel(cache=False, **OPTIONS)
def absolute(x):
    """``|x|``."""
    return abs(x)


@kernel(cache=False, **OPTIONS)
def maximum(a, b):
    """The larger of two; NaN if either is."""
    return larger(a, b)


@kernel(cache=False, **OPTIONS)
def minimum(a, b):
    """The smaller of two; NaN if either is."""
    return smaller(a, b)


@kernel(cache=False, **OPTIONS)
def safe_div(a, b):
    """``a/b``, and 0 where ``b = 0``."""
    return type(a)(0) if b == 0 else a / b


@kernel(cache=False, **OPTIONS)
def square(x):
    """``x*x``."""
    return x * x


@kernel(cache=False, **OPTIONS)
def cube(x):
    """``x*x*x``."""
    return x * x * x


@kernel(cache=False, **OPTIONS)
def sqrt(x):
    """Square root; NaN below 0."""
    return math.sqrt(x)


@kernel(cache=False, **OPTIONS)
def rsqrt(x):
    """``1/sqrt(x)``; infinite at 0."""
    return type(x)(1) / math.sqrt(x)


@kernel(cache=False, **OPTIONS)
def floor(x):
    """The largest whole number not above x, in the type of x."""
    return np.floor(x)


@kernel(cache=False, **OPTIONS)
def lgamma(x):
    """The logarithm of ``|gamma(x)|``."""
    return type(x)(math.lgamma(x))

"""Scalar functions on NumPy arrays: the oracle's own definitions, independent of what generated code uses.

Each takes and returns arrays of one dtype (float32, float64, complex128). Complex arguments are for complex-step
derivatives: the imaginary part is tiny, and functions with kinks branch on the real part.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from symbp.ir import functions

Array = NDArray[Any]


def _sigmoid(x: Array) -> Array:
    decay = np.exp(-np.where(x.real >= 0, x, -x))
    return np.asarray(np.where(x.real >= 0, 1 / (1 + decay), decay / (1 + decay)))


def _softplus(x: Array) -> Array:
    size = np.where(x.real >= 0, x, -x)
    return np.asarray(np.where(x.real > 0, x, 0) + np.log1p(np.exp(-size)))


def _relu(x: Array) -> Array:
    return np.asarray(np.where(x.real > 0, x, x * 0))


def _step(x: Array) -> Array:
    return np.asarray(np.where(x.real > 0, 1, 0)).astype(x.dtype)


def _dsigmoid(x: Array) -> Array:
    e = np.exp(np.where(x.real >= 0, -x, x))
    return np.asarray(e / (1 + e) ** 2)


def _sech2(x: Array) -> Array:
    return np.asarray(4 * _dsigmoid(2 * x))


def _absolute(x: Array) -> Array:
    return np.asarray(np.where(x.real >= 0, x, -x))


def _sign(x: Array) -> Array:
    return np.asarray(np.sign(x.real)).astype(x.dtype)


def _maximum(a: Array, b: Array) -> Array:
    # Either being NaN gives NaN, as in np.maximum.
    return np.asarray(np.where((a.real >= b.real) | np.isnan(a), a, b))


def _minimum(a: Array, b: Array) -> Array:
    return np.asarray(np.where((a.real <= b.real) | np.isnan(a), a, b))


def _safe_div(a: Array, b: Array) -> Array:
    return np.asarray(np.where(b == 0, a * 0, a / np.where(b == 0, 1, b)))


def _floor(x: Array) -> Array:
    return np.asarray(np.floor(x.real)).astype(x.dtype)


def _stop_gradient(x: Array) -> Array:
    return np.asarray(x.real).astype(x.dtype)


def _real_erf(function: Callable[[float], float]) -> Callable[[Array], Array]:
    slope = 2 / math.sqrt(math.pi) * (1 if function is math.erf else -1)
    on_each = np.vectorize(function, otypes=[np.float64])

    def apply(x: Array) -> Array:
        real = x.real.astype(np.float64)
        value = on_each(real)
        if np.iscomplexobj(x):  # to first order in the tiny imaginary part
            return np.asarray(value + 1j * x.imag * slope * np.exp(-(real**2)))
        return np.asarray(value).astype(x.dtype)

    return apply


#: What a function class of a body computes. `select` is missing here: it is a branch, not a function of arrays.
CALLABLES: dict[Any, Callable[..., Array]] = {
    functions.sigmoid: _sigmoid,
    functions.tanh: np.tanh,
    functions.dsigmoid: _dsigmoid,
    functions.sech2: _sech2,
    functions.relu: _relu,
    functions.step: _step,
    functions.softplus: _softplus,
    functions.log1p: np.log1p,
    functions.expm1: np.expm1,
    functions.sqrt: np.sqrt,
    functions.safe_div: _safe_div,
    functions.absolute: _absolute,
    functions.sign: _sign,
    functions.maximum: _maximum,
    functions.minimum: _minimum,
    functions.floor: _floor,
    functions.stop_gradient: _stop_gradient,
    sp.exp: np.exp,
    sp.log: np.log,
    sp.sin: np.sin,
    sp.cos: np.cos,
    sp.tan: np.tan,
    sp.asin: np.arcsin,
    sp.acos: np.arccos,
    sp.atan: np.arctan,
    sp.sinh: np.sinh,
    sp.cosh: np.cosh,
    sp.tanh: np.tanh,
    sp.asinh: np.arcsinh,
    sp.erf: _real_erf(math.erf),
    sp.erfc: _real_erf(math.erfc),
}

#: Functions that a complex step cannot go through: they have a kink, or forget the imaginary part.
NOT_ANALYTIC = (
    functions.relu,
    functions.step,
    functions.absolute,
    functions.sign,
    functions.maximum,
    functions.minimum,
    functions.floor,
    functions.select,
)

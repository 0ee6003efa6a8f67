"""Scalar functions against mpmath: random and saturated arguments, both types, and the values that have no digits."""

from __future__ import annotations

import math
import platform
import re
from collections.abc import Callable
from functools import cache
from typing import Any

import mpmath
import numba
import numpy as np
import pytest
from numba import njit

from symbp.runtime import scalar
from symbp.runtime.jit import kernel

N_EACH = 60

# name: the exact function, and the largest error allowed in units in the last place
EXACT: dict[str, tuple[Callable[[Any], Any], float]] = {
    "exp": (mpmath.exp, 1.0),
    "expm1": (mpmath.expm1, 2.0),
    "log": (mpmath.log, 1.0),
    "log1p": (mpmath.log1p, 2.0),
    "tanh": (mpmath.tanh, 3.0),
    "sigmoid": (lambda x: 1 / (1 + mpmath.exp(-x)), 2.5),
    "dsigmoid": (lambda x: mpmath.exp(-abs(x)) / (1 + mpmath.exp(-abs(x))) ** 2, 3.0),
    "sech2": (lambda x: mpmath.sech(x) ** 2, 3.0),
    "softplus": (lambda x: max(x, 0) + mpmath.log1p(mpmath.exp(-abs(x))), 3.0),
    "logsigmoid": (lambda x: -max(-x, 0) - mpmath.log1p(mpmath.exp(-abs(x))), 3.0),
    "sqrt": (mpmath.sqrt, 0.5),
    "rsqrt": (lambda x: 1 / mpmath.sqrt(x), 1.5),
    "square": (lambda x: x * x, 0.5),
    "cube": (lambda x: x * x * x, 1.5),
    "erf": (mpmath.erf, 1.5),
    "erfc": (mpmath.erfc, 4.0),
    "lgamma": (lambda x: mpmath.log(abs(mpmath.gamma(x))), 4.0),
    "sin": (mpmath.sin, 2.0),
    "cos": (mpmath.cos, 2.0),
}
PAIRS = ("maximum", "minimum", "power", "safe_div")
POSITIVE = ("log", "sqrt", "rsqrt", "lgamma")


@cache
def loop(name: str) -> Any:
    """``y[i] = function(x[i])`` in a compiled loop, which is how kernels use it: vectorised, with a scalar rest."""
    function = getattr(scalar, name)

    @njit
    def apply(x: np.ndarray, y: np.ndarray) -> None:
        for i in range(x.shape[0]):
            y[i] = function(x[i])

    return apply


def over_array(name: str) -> Callable[[np.ndarray], np.ndarray]:
    """The function of every number of an array."""

    def apply(x: np.ndarray) -> np.ndarray:
        y = np.empty_like(x)
        loop(name)(x, y)
        return y

    return apply


def arguments(name: str, dtype: type) -> np.ndarray:
    """Around zero, moderate, saturated and past overflow, tiny of either sign, and huge where the domain allows."""
    random = np.random.default_rng(11)
    limits = np.finfo(dtype)
    far = 104.0 if dtype is np.float32 else 746.0
    tiny = np.exp(random.uniform(math.log(limits.tiny), 0, N_EACH)) * random.choice([-1, 1], N_EACH)
    huge = np.exp(random.uniform(0, math.log(limits.max), N_EACH))
    spread = [random.uniform(-2, 2, N_EACH), random.uniform(-30, 30, N_EACH), random.uniform(-far, far, N_EACH), tiny]
    if name in ("log", "log1p", "sqrt", "rsqrt"):
        spread.append(huge)
    if name in ("sin", "cos"):  # near their zeros, as far as the reduction goes
        largest = float(limits.max) if dtype is np.float32 else 1e8
        spread.append(np.exp(random.uniform(0, math.log(largest), 4 * N_EACH)))
        spread.append(np.pi / 2 * random.integers(1, 10**7, 4 * N_EACH))
    # Neither a whole number of vectors, nor without the edges of the exponential's range and of the normal numbers.
    edges = np.array([limits.tiny / 8, limits.tiny, 0.3466, -0.3466, 0.70710678, 1.41421356, 87.3, 88.72, 709.78])
    x = np.concatenate([*spread, edges, -edges]).astype(dtype)
    if name in POSITIVE:
        x = abs(x)
    return x[x > -1] if name == "log1p" else x


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_accuracy(name: str, dtype: type) -> None:
    exact, allowed = EXACT[name]
    x = arguments(name, dtype)
    y = over_array(name)(x)
    limits = np.finfo(dtype)
    worst, at = 0.0, 0.0
    with mpmath.workprec(300):
        for argument, found in zip(x, y, strict=True):
            expected = exact(mpmath.mpf(float(argument)))
            if abs(expected) > float(limits.max):
                assert abs(found) == np.inf or abs(found) == limits.max, (name, argument, found)
                continue
            unit = max(float(np.spacing(dtype(abs(float(expected))))), float(limits.smallest_subnormal))
            error = float(abs(mpmath.mpf(float(found)) - expected) / unit)
            if not error <= worst:
                worst, at = error, argument
    assert worst <= allowed, f"{name}({at!r}): {worst} ulp"


ONE_ARGUMENT = [name for name in scalar.__all__ if name not in PAIRS]


@pytest.mark.parametrize("name", ONE_ARGUMENT)
def test_the_type_is_kept(name: str) -> None:
    function = getattr(scalar, name)
    for dtype in (np.float32, np.float64):
        function(dtype(0.5))
    returned = [str(signature.return_type) for signature in function.nopython_signatures]
    assert returned[-2:] == ["float32", "float64"] or set(returned) == {"float32", "float64"}


@pytest.mark.parametrize("name", PAIRS)
def test_the_type_of_two_arguments_is_kept(name: str) -> None:
    function = getattr(scalar, name)
    for dtype in (np.float32, np.float64):
        function(dtype(0.5), dtype(0.25))
    assert {str(signature.return_type) for signature in function.nopython_signatures} == {"float32", "float64"}


NAN, INF = math.nan, math.inf
SPECIAL = {
    "exp": {INF: INF, -INF: 0.0, NAN: NAN, 0.0: 1.0},
    "expm1": {INF: INF, -INF: -1.0, NAN: NAN, 0.0: 0.0},
    "log": {INF: INF, -INF: NAN, NAN: NAN, 0.0: -INF, -1.0: NAN, 1.0: 0.0},
    "log1p": {INF: INF, -INF: NAN, NAN: NAN, 0.0: 0.0, -1.0: -INF, -2.0: NAN},
    "tanh": {INF: 1.0, -INF: -1.0, NAN: NAN, 0.0: 0.0, 50.0: 1.0, -50.0: -1.0},
    "sigmoid": {INF: 1.0, -INF: 0.0, NAN: NAN, 0.0: 0.5, 900.0: 1.0, -900.0: 0.0},
    "dsigmoid": {INF: 0.0, -INF: 0.0, NAN: NAN, 0.0: 0.25},
    "sech2": {INF: 0.0, -INF: 0.0, NAN: NAN, 0.0: 1.0},
    "softplus": {INF: INF, -INF: 0.0, NAN: NAN, 900.0: 900.0, -900.0: 0.0},
    "logsigmoid": {INF: 0.0, -INF: -INF, NAN: NAN, -900.0: -900.0},
    "relu": {INF: INF, -INF: 0.0, NAN: NAN, 0.0: 0.0, -1.0: 0.0, 2.0: 2.0},
    "step": {INF: 1.0, -INF: 0.0, 0.0: 0.0, 1e-30: 1.0, -1.0: 0.0},
    "sign": {INF: 1.0, -INF: -1.0, NAN: NAN, 0.0: 0.0, 1e-30: 1.0, -1e-30: -1.0},
    "absolute": {INF: INF, -INF: INF, NAN: NAN, -2.0: 2.0},
    "erf": {INF: 1.0, -INF: -1.0, NAN: NAN, 0.0: 0.0, 30.0: 1.0},
    "sqrt": {INF: INF, NAN: NAN, 0.0: 0.0, -1.0: NAN},
    "rsqrt": {INF: 0.0, NAN: NAN, 0.0: INF, -1.0: NAN},
    "erfc": {INF: 0.0, -INF: 2.0, NAN: NAN, 0.0: 1.0, 30.0: 0.0, -30.0: 2.0},
    "sin": {INF: NAN, -INF: NAN, NAN: NAN, 0.0: 0.0},
    "cos": {INF: NAN, -INF: NAN, NAN: NAN, 0.0: 1.0},
    "floor": {INF: INF, NAN: NAN, -0.5: -1.0, 1.5: 1.0, 1e20: 1e20},
}


@pytest.mark.parametrize("name", SPECIAL)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_special_values(name: str, dtype: type) -> None:
    x = np.array(list(SPECIAL[name]), dtype)
    expected = np.array(list(SPECIAL[name].values()), dtype)
    found = over_array(name)(x)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", ["expm1", "log1p", "tanh", "erf", "sin"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_sign_of_zero_is_kept(name: str, dtype: type) -> None:
    assert np.array_equal(np.signbit(over_array(name)(np.array([0.0, -0.0], dtype))), [False, True])


@pytest.mark.parametrize("name", ["sin", "cos"])
def test_angles_past_those_that_float64_can_reduce(name: str) -> None:
    """Up to 2^51 the error grows slowly with the angle; from there on there is no answer, rather than a wrong one."""
    x = np.array([1e9, -3e10, 2.0**50])
    assert over_array(name)(x) == pytest.approx(getattr(np, name)(x), abs=1e-6)
    assert np.isnan(over_array(name)(np.array([2.0**51, -1e300]))).all()


INSTRUCTIONS = re.compile(
    r"sqrtf?|llvm\.(rint|roundeven|floor|fabs|sqrt|fmuladd|copysign|umin|umax|smin|smax|vector|experimental|x86)\b.*"
)
VECTORISED = [name for name in scalar.__all__ if name not in ("lgamma", *PAIRS)]


@pytest.mark.parametrize("name", VECTORISED)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_loop_is_vectorised(name: str, dtype: type) -> None:
    """The code works on vectors, and calls nothing that is not an instruction or, for sqrt, has one that is taken."""
    apply = loop(name)
    apply(np.ones(3, dtype), np.ones(3, dtype))
    number = numba.from_dtype(np.dtype(dtype))
    text = apply.inspect_llvm((number[::1], number[::1]))
    body = text[text.index("\ndefine ") :].partition("\n}")[0]
    assert re.search(rf"(load|store) <\d+ x {'float' if dtype is np.float32 else 'double'}>", body)
    called = set(re.findall(r"call [^@\n]*@([\w.]+)", body))
    assert not [callee for callee in called if not INSTRUCTIONS.fullmatch(callee)]


@pytest.mark.parametrize("name", VECTORISED)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bits_do_not_depend_on_the_place_in_a_loop(name: str, dtype: type) -> None:
    """What is computed in a vector and what is left over at the end, or alone, have the same bits."""
    x = np.random.default_rng(3).uniform(0.01, 30, 203).astype(dtype)
    apply = over_array(name)
    together = apply(x)
    alone = np.concatenate([apply(x[i : i + 1]) for i in range(x.size)])
    assert together.tobytes() == alone.tobytes()
    assert together[1:].tobytes() == apply(x[1:]).tobytes()


def test_two_arguments() -> None:
    assert scalar.safe_div(3.0, 2.0) == 1.5
    assert scalar.safe_div(3.0, 0.0) == 0.0
    assert scalar.safe_div(0.0, -0.0) == 0.0
    assert scalar.safe_div(1.0, INF) == 0.0
    assert math.isnan(scalar.safe_div(NAN, 2.0))
    for larger, smaller in ((2.0, 1.0), (1.0, -INF), (0.0, -0.5)):
        assert scalar.maximum(larger, smaller) == scalar.maximum(smaller, larger) == larger
        assert scalar.minimum(larger, smaller) == scalar.minimum(smaller, larger) == smaller
    for function in (scalar.maximum, scalar.minimum):
        assert math.isnan(function(NAN, 1.0))
        assert math.isnan(function(1.0, NAN))


@kernel(cache=False)  # whose machine code is looked at
def _extremes(x, result):
    best, least = x[0], x[0]
    for i in range(x.shape[0]):
        best = scalar.maximum(best, x[i])
        least = scalar.minimum(least, x[i])
    result[0], result[1] = best, least


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [1, 2, 7, 16, 67])
def test_the_extremes_of_a_row(dtype: type, size: int) -> None:
    """Searched in several lanes at once, and still NaN wherever one is."""
    x = np.random.default_rng(size).normal(size=size).astype(dtype)
    result = np.empty(2, dtype)
    _extremes(x, result)
    assert result.tolist() == [x.max(), x.min()]
    for place in range(size):
        spoilt = x.copy()
        spoilt[place] = NAN
        _extremes(spoilt, result)
        assert np.isnan(result).all()


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="looks for instructions of x86")
def test_the_largest_of_a_row_is_searched_in_vectors() -> None:
    _extremes(np.zeros(3, np.float32), np.empty(2, np.float32))
    text = _extremes.inspect_asm(_extremes.signatures[-1])
    assert re.search(r"maxp[sd]", text)
    assert re.search(r"minp[sd]", text)

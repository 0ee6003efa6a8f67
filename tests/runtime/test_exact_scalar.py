"""The functions of exact packages: rounded once in float32, as good as the C library in float64."""

from __future__ import annotations

import inspect
import math
from typing import Any

import mpmath
import numpy as np
import pytest
from numba import njit

from symbp.check import ulp_error
from symbp.runtime import exact_scalar, scalar
from tests.runtime.test_scalar import EXACT, SPECIAL, arguments


def over_array(name: str, x: np.ndarray) -> np.ndarray:
    function = getattr(exact_scalar, name)

    @njit
    def apply(x: np.ndarray, y: np.ndarray) -> None:
        for i in range(x.shape[0]):
            y[i] = function(x[i])

    y = np.empty_like(x)
    apply(x, y)
    return y


def test_the_names_are_those_of_the_others() -> None:
    assert exact_scalar.__all__ == scalar.__all__
    for name in scalar.__all__:
        here, there = getattr(exact_scalar, name), getattr(scalar, name)
        assert inspect.signature(here.py_func) == inspect.signature(there.py_func)


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize(("dtype", "allowed"), [(np.float32, 0.51), (np.float64, 2.5)])
def test_accuracy(name: str, dtype: type, allowed: float) -> None:
    x = arguments(name, dtype)
    if name == "lgamma":
        # Near its zeros, 1 and 2, no digits are left in float64; in float32 all are.
        x = x if dtype is np.float32 else x[(x < 0.5) | (x > 2.5)]
        allowed = max(allowed, 0.51)
    with mpmath.workprec(300):
        expected = [EXACT[name][0](mpmath.mpf(float(argument))) for argument in x]
        assert np.max(ulp_error(over_array(name, x), expected)) <= allowed


@pytest.mark.parametrize(("name", "exact"), [("sin", mpmath.sin), ("cos", mpmath.cos)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_huge_angles(name: str, exact: Any, dtype: type) -> None:
    size = np.random.default_rng(4).uniform(20, math.log(float(np.finfo(dtype).max)), 50)
    x = np.exp(size).astype(dtype)
    with mpmath.workprec(1300):
        expected = [exact(mpmath.mpf(float(argument))) for argument in x]
        assert np.max(ulp_error(over_array(name, x), expected)) <= 1


@pytest.mark.parametrize("name", SPECIAL)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_special_values(name: str, dtype: type) -> None:
    found = over_array(name, np.array(list(SPECIAL[name]), dtype))
    np.testing.assert_array_equal(found, np.array(list(SPECIAL[name].values()), dtype))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_powers(dtype: type) -> None:
    assert exact_scalar.power(dtype(2), dtype(0.5)) == dtype(math.sqrt(2))
    assert math.isnan(exact_scalar.power(dtype(-2), dtype(0.5)))
    assert exact_scalar.power(dtype(-2), dtype(3)) == -8

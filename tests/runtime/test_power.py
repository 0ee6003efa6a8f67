"""``x**y`` against mpmath and against C's special cases."""

from __future__ import annotations

import itertools
import re

import mpmath
import numpy as np
import pytest
from numba import njit

from symbp.runtime.power import power


@njit
def over_arrays(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> None:
    for i in range(x.shape[0]):
        z[i] = power(x[i], y[i])


@pytest.mark.parametrize(("dtype", "allowed"), [(np.float32, 0.6), (np.float64, 1.0)])
def test_accuracy(dtype: type, allowed: float) -> None:
    """Results of all sizes, below the normal range too, and bases around 1, where a small error in log would show."""
    random, limits = np.random.default_rng(2), np.finfo(dtype)
    size = np.log(float(limits.max))
    base = np.concatenate([np.exp(random.uniform(-size, size, 300)), random.uniform(0.9, 1.1, 300)]).astype(dtype)
    exponent = (random.uniform(-1.1, 1, 600) * size / np.log(base.astype(np.float64))).astype(dtype)
    found = np.empty_like(base)
    over_arrays(base, exponent, found)
    with mpmath.workprec(300):
        for x, y, z in zip(base, exponent, found, strict=True):
            expected = mpmath.mpf(float(x)) ** mpmath.mpf(float(y))
            if expected > float(limits.max):
                assert z in (np.inf, limits.max)
                continue
            unit = max(float(np.spacing(dtype(float(expected)))), float(limits.smallest_subnormal))
            assert abs(float(z) - expected) <= allowed * unit, (x, y)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_special_cases_are_those_of_c(dtype: type) -> None:
    values = [0.0, 0.5, 1.0, 2.0, 3.0, 2.5, 1e30, 16777217.0, np.inf]
    values += [-value for value in values] + [np.nan]
    x, y = np.array(list(itertools.product(values, repeat=2)), dtype).T.copy()
    found = np.empty_like(x)
    over_arrays(x, y, found)
    with np.errstate(all="ignore"):
        expected = np.power(x.astype(np.float64), y.astype(np.float64)).astype(dtype)
    np.testing.assert_allclose(found, expected, rtol=1e-15)
    numbers = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(found[numbers]), np.signbit(expected[numbers]))


def test_a_loop_in_float32_is_vectorised() -> None:
    number = np.ones(3, np.float32)
    over_arrays(number, number, number)
    texts = [t for s, t in over_arrays.inspect_llvm().items() if "float32" in str(s)]
    body = texts[0][texts[0].index("\ndefine ") :].partition("\n}")[0]
    assert re.search(r"store <\d+ x float>", body)
    assert not re.search(r"@(llvm\.)?(pow|exp|log)", body)

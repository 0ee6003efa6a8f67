"""Errors counted in units in the last place."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

from symbp.check import exact_values, ulp_error

DTYPES = [np.float32, np.float64]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("value", [1.0, 1.5, 0.1, -3.7, 1e-20, 4.0, 1e30])
def test_the_neighbour_is_one_ulp_away(dtype: type, value: float) -> None:
    exact = dtype(value)
    away = np.nextafter(exact, dtype(np.inf) * np.sign(exact))
    further = np.nextafter(away, dtype(np.inf) * np.sign(exact))
    found = ulp_error(np.array([exact, away, further], dtype), [float(exact)] * 3)
    np.testing.assert_array_equal(found, [0, 1, 2])


def test_rounding_is_at_most_half_an_ulp() -> None:
    points = np.linspace(0.1, 9, 13)
    exact = exact_values(lambda x: x / 3, points)
    errors = ulp_error(points / 3, exact)
    assert 0 < errors.max() <= 0.5


def test_a_reference_beyond_float64_is_used_to_its_last_digit() -> None:
    with mpmath.workdps(40):
        exact = mpmath.mpf(1) + mpmath.mpf(2) ** -54
    assert ulp_error(np.array([1.0]), [exact])[0] == 0.25
    if np.finfo(np.longdouble).nmant > 60:
        longer = np.array([1.0], np.longdouble) + np.longdouble(2) ** -54
        assert ulp_error(np.array([1.0]), longer)[0] == 0.25


def test_functions_of_numpy_are_good_to_an_ulp() -> None:
    points = np.linspace(-3, 3, 13).astype(np.float32)
    assert ulp_error(np.exp(points), exact_values(mpmath.exp, points)).max() < 2
    assert ulp_error(np.exp(points) * np.float32(1.0001), exact_values(mpmath.exp, points)).max() > 100


def test_infinities_and_nan() -> None:
    inf, nan = np.inf, np.nan
    values = np.array([inf, -inf, nan, inf, 1.0, nan, 1.0], np.float32)
    reference = [inf, -inf, nan, -inf, inf, 1.0, nan]
    np.testing.assert_array_equal(ulp_error(values, reference), [0, 0, 0, inf, inf, inf, inf])
    assert ulp_error(np.array([inf], np.float32), [mpmath.mpf("1e39")])[0] == 0
    assert ulp_error(np.array([1e38], np.float32), [mpmath.mpf("1e39")])[0] == inf


def test_flushed_subnormals_count_in_units_of_the_smallest_normal() -> None:
    smallest = float(np.finfo(np.float32).tiny)
    assert ulp_error(np.array([0], np.float32), [smallest / 2**10])[0] == 2**13
    assert ulp_error(np.array([0], np.float32), [0.0])[0] == 0


def test_shape_is_kept_and_lengths_must_match() -> None:
    assert ulp_error(np.ones((2, 3), np.float32), [1.0] * 6).shape == (2, 3)
    with pytest.raises(ValueError, match="zip"):
        ulp_error(np.ones(3), [1.0])
    with pytest.raises(TypeError, match="not int64"):
        ulp_error(np.ones(3, np.int64), [1.0])

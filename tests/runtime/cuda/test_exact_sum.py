"""Sums in whole numbers: exact reference, every order, the widest ranges, and what is not finite."""

# The kernels of this file take their annotations as objects, not as text.

import math
from collections.abc import Callable
from fractions import Fraction
from types import FunctionType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from symbp.runtime.cuda import exact_sum
from symbp.runtime.cuda.kernel import Doubles, Integers, Size, pointer, thread_kernel
from symbp.runtime.cuda.views import view
from tests.runtime.cuda.machine_code import compiled, instructions, numba_cuda

Reals = pointer(np.float32)

TYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def atomic_add(array: np.ndarray, position: Any, value: Any) -> None:
    assert array.dtype == np.int64
    total = int(array[position]) + int(value)
    assert -(2**63) <= total < 2**63, "the sum overflows"
    array[position] = total


def atomic_max(array: np.ndarray, position: Any, value: Any) -> None:
    # As numba-cuda's: NaN is passed over.
    assert type(value) is array.dtype.type
    if value > array[position]:
        array[position] = value


# Python's own ldexp raises where the result is infinite.
HOST = {
    "cuda": SimpleNamespace(atomic=SimpleNamespace(add=atomic_add, max=atomic_max)),
    "math": SimpleNamespace(inf=math.inf, nan=math.nan, frexp=np.frexp, ldexp=np.ldexp),
}


def on_host(name: str) -> Callable[..., Any]:
    """The function as plain Python, on NumPy's arrays."""
    names = {**vars(exact_sum), **HOST}
    names["_exponent"] = FunctionType(vars(exact_sum)["_exponent"].__code__, names)
    return FunctionType(vars(exact_sum)[name].__code__, names)


largest, spread, settled = map(on_host, ("largest", "spread", "settled"))


def summed(values: np.ndarray, order: np.ndarray | None = None, *, count: int | None = None) -> tuple[Any, int, Any]:
    """The sum as a real, in units, and the largest magnitude."""
    order = np.arange(len(values)) if order is None else order
    count = len(values) if count is None else count
    place, sums = np.zeros(1, values.dtype), np.zeros((2, 3), np.int64)
    with np.errstate(over="ignore", invalid="ignore"):
        for i in order:
            largest(place, values[i])
        for i in order:
            spread(sums, (1, 2), values[i], place[0], count)
        total = settled(sums[1, 2], place[0], count)
        return values.dtype.type(total), int(sums[1, 2]), place[0]


def assert_close(values: np.ndarray) -> None:
    """The sum is within ``count/2`` units of the exact one, and one rounding."""
    count = len(values)
    found, _, top = summed(values)
    exact = sum((Fraction(float(v)) for v in values), Fraction(0))
    limits = np.finfo(values.dtype)
    unit = Fraction(2) ** -59 * Fraction(float(top)) * count
    rounding = max(abs(exact) * Fraction(float(limits.eps)), Fraction(float(limits.smallest_subnormal)))
    assert abs(Fraction(float(found)) - exact) <= count * unit / 2 + rounding


@TYPES
@pytest.mark.parametrize("count", [1, 7, 13, 1000])
def test_the_sum(dtype: Any, count: int) -> None:
    assert_close(np.random.default_rng(count).normal(size=count).astype(dtype))


@TYPES
def test_every_order_gives_the_same_bits(dtype: Any) -> None:
    random = np.random.default_rng(1)
    values = (random.normal(size=200) * np.exp(random.uniform(-30, 30, 200))).astype(dtype)
    found = {summed(values, random.permutation(200))[:2] for _ in range(20)}
    assert len(found) == 1


@TYPES
@given(data=st.data())
def test_any_values(dtype: Any, data: st.DataObject) -> None:
    width = 32 if dtype is np.float32 else 64
    limit = float(np.finfo(dtype).max) / 64  # so that the sum has a type to stand in
    numbers = st.floats(-limit, limit, width=width)
    assert_close(np.array(data.draw(st.lists(numbers, min_size=1, max_size=40)), dtype))


@TYPES
@pytest.mark.parametrize("of", ["max", "tiny", "smallest_subnormal"])
def test_the_ends_of_the_range(dtype: Any, of: str) -> None:
    """All as large as the largest: the whole range is used and not left."""
    value = float(getattr(np.finfo(dtype), of))
    for count in (1, 2, 3, 7, 8, 9, 63, 64, 65):
        found, units, _ = summed(np.full(count, value, dtype))
        assert 2**59 < units <= 2**62
        assert float(found) == (math.inf if of == "max" and count > 1 else count * value)


@pytest.mark.parametrize("count", [2**24 + 1, 2**25 - 1, 2**31 - 1])
@TYPES
def test_a_count_that_float32_rounds(dtype: Any, count: int) -> None:
    """So many of the largest value stay below 2^62 units, though only one is added here."""
    _, units, _ = summed(np.array([dtype(1.9999999)]), count=count)
    assert units * count <= 2**62
    assert units * count > 2**58


@TYPES
def test_half_a_unit_rounds_away_from_zero(dtype: Any) -> None:
    # The largest is 1 and the count 1, so the unit is 2^-60.
    for units, expected in (
        (0.5, 1),
        (0.25, 0),
        (1.5, 2),
        (2.5, 3),
        (-0.5, -1),
        (-2.5, -3),
        (0.75, 1),
        (2**23 + 1, 2**23 + 1),
    ):
        sums = np.zeros(1, np.int64)
        spread(sums, 0, dtype(units) * dtype(2.0**-60), dtype(1), 1)
        assert sums[0] == expected


@TYPES
def test_nothing_but_zeros(dtype: Any) -> None:
    found, units, top = summed(np.zeros(5, dtype))
    assert (found, units, top) == (0, 0, 0)


@TYPES
@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan, -np.nan])
def test_what_is_not_finite_is_seen(dtype: Any, bad: float) -> None:
    values = np.array([1, bad, 2], dtype)
    for order in ((0, 1, 2), (1, 0, 2), (2, 0, 1)):
        found, _, top = summed(values, np.array(order))
        assert np.isnan(found)
        assert np.isinf(top)


@thread_kernel
def three_kernels(x: Reals, y: Doubles, sums: Integers, n: Size):
    a, b, whole = view(x, 0, (n,)), view(y, 0, (n,)), view(sums, 0, (n, 2))
    flat = view(sums, 2 * n, (n,))
    exact_sum.largest(a, a[5])
    exact_sum.largest(b, b[5])
    exact_sum.spread(whole, (n - 1, 1), a[4], a[0], n)
    exact_sum.spread(flat, 3, b[4], b[0], n)
    a[1] = exact_sum.settled(flat[2], a[0], n)
    b[1] = exact_sum.settled(whole[2, 1], b[0], n)


@thread_kernel
def in_float32(x: Reals, sums: Integers, n: Size):
    a, whole = view(x, 0, (n,)), view(sums, 0, (n,))
    exact_sum.largest(a, a[5])
    exact_sum.spread(whole, n - 1, a[4], a[0], n)
    a[1] = exact_sum.settled(whole[2], a[0], n)


@numba_cuda
def test_they_compile() -> None:
    found = instructions(compiled(three_kernels))
    assert found.count("atom.global.add.u64") == 2
    assert "atom.global.cas.b32" in found
    assert "atom.global.cas.b64" in found


@numba_cuda
def test_float32_needs_no_float64() -> None:
    assert not [name for name in instructions(compiled(in_float32)) if "f64" in name]

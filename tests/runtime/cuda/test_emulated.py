"""The functions that kernels call, run by the emulator: as on a GPU, but for what libdevice itself computes."""

# The kernels of this file take their annotations as objects, not as text.

import math
from typing import Any

import numpy as np
import pytest
from numba import cuda

from symbp.check.emulator import EmulatedDevice
from symbp.runtime import scalar as on_cpu
from symbp.runtime.cuda import scalar
from symbp.runtime.cuda.exact_sum import largest, settled, spread
from symbp.runtime.cuda.kernel import Integers, Kernel, Size, pointer, thread_kernel
from symbp.runtime.cuda.random import normal, philox, uniform
from symbp.runtime.cuda.views import load2, load4, store2, store4, unravel, view

Reals = pointer(np.float32)

PAIRS = ("maximum", "minimum", "safe_div", "power")


def over_numbers(name: str, kind: Any) -> Kernel:
    function = getattr(scalar, name)

    if name in PAIRS:

        def call(x: kind, y: kind, n: Size):
            a, b = view(x, 0, (n,)), view(y, 0, (n,))
            i = cuda.grid(1)
            if i >= n:
                return
            b[i] = function(a[i], a[n - 1 - i])
    else:

        def call(x: kind, y: kind, n: Size):
            a, b = view(x, 0, (n,)), view(y, 0, (n,))
            i = cuda.grid(1)
            if i >= n:
                return
            b[i] = function(a[i])

    return thread_kernel(call)


@pytest.mark.parametrize("name", scalar.__all__)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scalar_functions_are_the_cpus(name: str, dtype: Any) -> None:
    random = np.random.default_rng(0)
    special = [0.0, -0.0, 1.0, -1.0, math.inf, -math.inf, math.nan]
    x = np.concatenate([random.normal(size=60) * 5, random.uniform(-90, 90, 60), special]).astype(dtype)
    device = EmulatedDevice()
    result = device.zeros(x.shape, dtype)
    device.launch(over_numbers(name, pointer(dtype)), len(x), device.upload(x), result, len(x))
    function = getattr(on_cpu, name)
    expected = [function(*pair) for pair in zip(x, x[::-1], strict=True)] if name in PAIRS else list(map(function, x))
    limits = np.finfo(dtype)
    # lgamma is zero at 1 and 2, where a digit of the argument is many of the result.
    absolute = 4 * limits.eps if name == "lgamma" else limits.tiny
    np.testing.assert_allclose(result.to_host(), np.array(expected, dtype), rtol=8 * limits.eps, atol=absolute)


@thread_kernel
def find_largest(numbers: Reals, place: Reals, n: Size):
    i = cuda.grid(1)
    if i >= n:
        return
    largest(view(place, 0, (1,)), view(numbers, 0, (n,))[i])


@thread_kernel
def spread_all(numbers: Reals, place: Reals, sums: Integers, n: Size):
    i = cuda.grid(1)
    if i >= n:
        return
    spread(view(sums, 0, (2, 3)), (i % 2, 1), view(numbers, 0, (n,))[i], view(place, 0, (1,))[0], n)


@thread_kernel
def settle(place: Reals, sums: Integers, out: Reals, n: Size):
    point = cuda.grid(1)
    if point >= 6:
        return
    i, j = unravel(point, (2, 3))
    view(out, 0, (2, 3))[i, j] = settled(view(sums, 0, (2, 3))[i, j], view(place, 0, (1,))[0], n)


def exact_sums(x: np.ndarray, seed: int) -> np.ndarray:
    device = EmulatedDevice(seed)
    n = len(x)
    numbers, place = device.upload(x), device.zeros((1,), np.float32)
    sums, out = device.zeros((2, 3), np.int64), device.empty((2, 3), np.float32)
    device.launch(find_largest, n, numbers, place, n)
    device.launch(spread_all, n, numbers, place, sums, n)
    device.launch(settle, 6, place, sums, out, n)
    return np.array(out.to_host())


def test_exact_sums_do_not_depend_on_the_order() -> None:
    x = np.random.default_rng(1).normal(size=1777).astype(np.float32)
    found = exact_sums(x, 0)
    expected = [[0, math.fsum(x[::2]), 0], [0, math.fsum(x[1::2]), 0]]
    np.testing.assert_array_equal(found, np.array(expected, np.float32))
    for seed in (1, 2, 3):
        np.testing.assert_array_equal(exact_sums(x, seed), found)


def test_an_exact_sum_over_what_is_not_finite() -> None:
    x = np.ones(300, np.float32)
    x[77] = np.nan
    assert np.isnan(exact_sums(x, 0)).all()


@thread_kernel
def draw(out: Reals, words: Integers, n: Size):
    i = cuda.grid(1)
    if i >= n:
        return
    zero = np.uint64(0)
    a, b, _, _ = philox(np.uint64(i), zero, zero, zero, np.uint64(5), zero)
    pair = view(out, 0, (n, 2))
    pair[i, 0], pair[i, 1] = normal(uniform(a), uniform(b))
    view(words, 0, (n,))[i] = np.int64(a)


def test_random_numbers_are_those_of_the_host() -> None:
    device = EmulatedDevice()
    out, words = device.zeros((300, 2), np.float32), device.zeros((300,), np.int64)
    device.launch(draw, 300, out, words, 300)
    zeros = np.zeros(300, np.uint64)
    a, b, _, _ = philox(np.arange(300, dtype=np.uint64), zeros, zeros, zeros, np.uint64(5), np.uint64(0))
    assert list(words.to_host()) == list(map(int, a))
    with np.errstate(over="ignore"):
        expected = np.array([normal(uniform(first), uniform(second)) for first, second in zip(a, b, strict=True)])
    np.testing.assert_allclose(out.to_host(), expected, rtol=1e-5, atol=1e-6)


@thread_kernel
def turn_around(source: Reals, target: Reals, n: Size):
    i = cuda.grid(1)
    if i >= n:
        return
    a, b, c, d = load4(source, 4 * i)
    turned = view(target, 0, (2 * n, 4))
    store4(turned, 4 * (n - 1 - i), d, c, b, a)
    e, f = load2(source, 4 * i + 2)
    store2(turned, 4 * (n + i), f, e)


def test_wide_accesses() -> None:
    device = EmulatedDevice()
    x = np.arange(4 * 13, dtype=np.float32)
    target = device.zeros((8 * 13,), np.float32)
    device.launch(turn_around, 13, device.upload(x), target, 13)
    found = target.to_host()
    np.testing.assert_array_equal(found[: 4 * 13], x[::-1])
    np.testing.assert_array_equal(found[4 * 13 :].reshape(13, 4)[:, :2], x.reshape(13, 4)[:, :1:-1])

"""Philox against the known answers of Random123, and what is made of its words."""

# The kernels of this file take their annotations as objects, not as text.

import math
from typing import Any

import numpy as np
import pytest
from numba import cuda

from symbp.runtime.cuda.kernel import Doubles, Integers, Size, pointer, thread_kernel
from symbp.runtime.cuda.random import normal, philox, uniform, uniform_double
from symbp.runtime.cuda.views import view
from tests.runtime.cuda.machine_code import compiled, instructions, numba_cuda

Reals = pointer(np.float32)

# tests/kat_vectors of Random123, the lines "philox 4x32 10": position, key, answer.
KNOWN = [
    (
        (0x00000000, 0x00000000, 0x00000000, 0x00000000),
        (0x00000000, 0x00000000),
        (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8),
    ),
    (
        (0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF),
        (0xFFFFFFFF, 0xFFFFFFFF),
        (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
    ),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("position", "key", "answer"), KNOWN)
def test_known_answers(position: tuple[int, ...], key: tuple[int, ...], answer: tuple[int, ...]) -> None:
    found = philox(*map(np.uint64, position), *map(np.uint64, key))
    assert tuple(map(int, found)) == answer
    assert {type(word) for word in found} == {np.uint64}


def words(count: int) -> np.ndarray:
    """Of positions 0, 1, ..: philox works on arrays as well."""
    zeros = np.zeros(count, np.uint64)
    return np.array(philox(np.arange(count, dtype=np.uint64), zeros, zeros, zeros, np.uint64(7), np.uint64(0)))


@pytest.mark.parametrize(
    ("function", "least"), [(uniform, 2.0**-24), (lambda word: uniform_double(word, word), 2.0**-53)]
)
def test_uniform_numbers_lie_between_zero_and_one(function: Any, least: float) -> None:
    assert float(function(np.uint64(0))) == least
    assert float(function(np.uint64(0xFFFFFFFF))) == 1 - least
    assert float(function(np.uint64(1 << 31))) == pytest.approx(0.5, rel=1e-6)


def test_types() -> None:
    word = np.uint64(12345)
    assert type(uniform(word)) is np.float32
    assert type(uniform_double(word, word)) is np.float64
    second = np.uint64(3 << 30)
    x, y = normal(uniform(word), uniform(second))
    assert math.hypot(x, y) == pytest.approx(math.sqrt(-2 * math.log(float(uniform(word)))), rel=1e-6)
    assert math.atan2(x, -y) == pytest.approx(2 * math.pi * (float(uniform(second)) - 0.75), abs=1e-6)


def test_moments() -> None:
    a, b, c, _ = words(4000)
    drawn = np.array([uniform(word) for word in a], np.float64)
    assert drawn.mean() == pytest.approx(0.5, abs=4 / math.sqrt(12 * 4000))
    assert drawn.var() == pytest.approx(1 / 12, rel=0.1)
    with np.errstate(over="ignore"):
        pairs = np.array(
            [normal(uniform(first), uniform(second)) for first, second in zip(b, c, strict=True)], np.float64
        )
    assert abs(pairs.mean(axis=0)).max() < 4 / math.sqrt(4000)
    assert np.cov(pairs.T) == pytest.approx(np.eye(2), abs=0.1)
    assert (abs(pairs) > 2).mean() == pytest.approx(0.0455, abs=0.01)


@thread_kernel
def draw(x: Reals, y: Doubles, seeds: Integers, n: Size):
    reals, doubles, seed = view(x, 0, (n,)), view(y, 0, (n,)), view(seeds, 0, (2,))
    i = np.uint64(cuda.grid(1))
    zero = np.uint64(0)
    a, b, c, d = philox(i, zero, zero, zero, np.uint64(seed[0]), zero)
    reals[0], reals[1] = normal(uniform(a), uniform(b))
    doubles[0] = uniform_double(c, d)


@numba_cuda
def test_it_compiles() -> None:
    ptx = compiled(draw)
    found = instructions(ptx)
    # Two products a round, of which one is by a known number in the first.
    assert 18 <= len([name for name in found if name.startswith(("mul.lo.s64", "mul.wide.u32", "mul.hi"))]) <= 60
    assert not [name for name in found if name.startswith(("div", "rem", "call"))]

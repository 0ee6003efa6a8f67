"""Philox against known answers, the CPU's numbers against the GPU's, and that the order of drawing does not matter."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest
from numba import njit, prange

from symbp.runtime import random
from symbp.runtime.cuda import random as on_device

# tests/kat_vectors of Random123, the lines "philox 4x32 10": position, key, answer.
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]
DRAWS = {"uniform": np.float32, "uniform_double": np.float64, "normal": np.float32, "normal_double": np.float64}
SEED, STREAM = 2**40 + 7, 2**33 + 3


def drawn(name: str, count: int, stream: int = STREAM) -> np.ndarray:
    """Numbers 0, 1, .. of a stream, by a compiled loop."""
    x = np.empty(count, DRAWS[name])
    loop(name)(x, stream)
    return x


def loop(name: str, parallel: bool = False) -> Any:
    function = getattr(random, name)

    @njit(parallel=parallel)
    def fill(x: np.ndarray, stream: int) -> None:
        for i in prange(x.shape[0]):
            x[i] = function(SEED, stream, i)

    return fill


@pytest.mark.parametrize(("position", "key", "answer"), KNOWN)
def test_known_answers(position: tuple[int, ...], key: tuple[int, ...], answer: tuple[int, ...]) -> None:
    assert random.philox(*map(np.uint64, position), *map(np.uint64, key)) == answer


def test_seed_stream_and_counter_take_all_six_words() -> None:
    (position, key, answer) = KNOWN[2]
    counter, stream = position[0] | position[1] << 32, position[2] | position[3] << 32
    assert random.words(np.uint64(key[0] | key[1] << 32), np.uint64(stream), np.uint64(counter)) == answer


def test_a_negative_seed_is_a_seed() -> None:
    assert random.words(-1, 0, 5) == random.words(np.uint64(2**64 - 1), 0, 5)


@pytest.mark.parametrize("name", DRAWS)
def test_the_gpu_draws_the_same(name: str) -> None:
    """The device's source, run as plain Python. Uniform numbers have the same bits."""
    n = 57
    low, high = np.uint64(SEED & 0xFFFFFFFF), np.uint64(SEED >> 32)
    expected = []
    for i in range(n):
        position = (np.uint64(i), np.uint64(0), np.uint64(STREAM & 0xFFFFFFFF), np.uint64(STREAM >> 32))
        a, b, c, d = on_device.philox(*position, low, high)
        if name == "uniform":
            expected.append(on_device.uniform(a))
        elif name == "uniform_double":
            expected.append(on_device.uniform_double(a, b))
        elif name == "normal":
            with np.errstate(over="ignore"):
                expected.append(on_device.normal(on_device.uniform(a), on_device.uniform(b))[0])
        else:
            first, second = on_device.uniform_double(a, b), on_device.uniform_double(c, d)
            expected.append(on_device.normal(first, second)[0])
    found = drawn(name, n)
    if name.startswith("uniform"):
        assert found.tolist() == [float(x) for x in expected]
    else:
        # Near its zeros a cosine has lost digits: to the angle's last digit, which is up to 2*pi.
        np.testing.assert_allclose(found, expected, rtol=0, atol=32 * np.finfo(found.dtype).eps)


@pytest.mark.parametrize("name", DRAWS)
def test_order_does_not_matter(name: str) -> None:
    """In a vector, by threads or alone: the same bits."""
    together = drawn(name, 203)
    function = getattr(random, name)
    assert together.tobytes() == np.array([function(SEED, STREAM, i) for i in range(203)], DRAWS[name]).tobytes()
    threads = np.empty(203, DRAWS[name])
    loop(name, parallel=True)(threads, STREAM)
    assert together.tobytes() == threads.tobytes()


def test_the_ends_of_the_interval_are_left_out() -> None:
    none, all_ones = np.uint64(0), np.uint64(0xFFFFFFFF)
    assert random.fraction(none) == 2.0**-24
    assert random.fraction(all_ones) == 1 - 2.0**-24
    assert random.fraction_double(none, none) == 2.0**-53
    assert random.fraction_double(all_ones, all_ones) == 1 - 2.0**-53


@pytest.mark.parametrize("name", DRAWS)
def test_moments(name: str) -> None:
    n = 20000
    x = drawn(name, n).astype(np.float64)
    mean, variance = (0.5, 1 / 12) if name.startswith("uniform") else (0.0, 1.0)
    assert x.mean() == pytest.approx(mean, abs=4 * math.sqrt(variance / n))
    assert x.var() == pytest.approx(variance, rel=0.05)
    if name.startswith("normal"):
        assert (abs(x) > 2).mean() == pytest.approx(0.0455, abs=0.006)
    # Neighbours and streams have nothing to do with one another.
    other = drawn(name, n, STREAM + 1)
    for a, b in ((x[1:], x[:-1]), (x, other)):
        assert abs(np.corrcoef(a, b)[0, 1]) < 4 / math.sqrt(n)


@pytest.mark.parametrize("name", DRAWS)
def test_a_loop_is_vectorised(name: str) -> None:
    fill = loop(name)
    fill(np.empty(3, DRAWS[name]), STREAM)
    (text,) = fill.inspect_llvm().values()
    body = text[text.index("\ndefine ") :].partition("\n}")[0]
    assert re.search(rf"store <\d+ x {'float' if DRAWS[name] is np.float32 else 'double'}>", body)

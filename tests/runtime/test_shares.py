"""Shares of a batch and of an array: all of it, once, in the order of their numbers."""

from __future__ import annotations

import pytest
from numba import njit

from symbp.ir.affine import Affine, Size
from symbp.ir.plan import CHUNKS, Cut
from symbp.runtime.shares import chunk_count, share

LENGTHS = [(1, 1), (2, 1), (3, 3), (16, 4), (20, 20), (32, 16), (64, 16), (128, 64)]


@pytest.mark.parametrize(("longest", "shortest"), LENGTHS)
def test_chunks_are_the_batch_and_none_is_too_long(longest: int, shortest: int) -> None:
    cut = Cut(Affine.of(Size("n_batch")), longest, shortest)
    before = 0
    for samples in (*range(1, 70), 99, 127, 128, 129, 255, 256, 333, 1000):
        count = chunk_count(samples, longest, shortest)
        assert count == cut.chunks(samples)
        assert count >= before  # a shorter batch fits the memory of a longer one
        before = count
        places = [share.py_func(samples, number, count, cut.step) for number in range(count)]
        assert [first for first, _ in places] == [0, *(last for _, last in places[:-1])]
        assert places[-1][1] == samples
        assert all(0 < last - first <= longest for first, last in places)


def test_a_batch_too_short_for_two_long_chunks_has_shorter_ones() -> None:
    assert [chunk_count(n, 64, 16) for n in (1, 31, 32, 50, 64, 65, 128, 129, 1000)] == [1, 1, 2, 2, 2, 2, 2, 4, 16]


def test_a_known_number_of_samples_is_counted_at_once() -> None:
    assert Cut(Affine.of(50), 64, 16).count == Affine.of(2)
    assert Cut(Affine.of(Size("n_batch")), 64, 16).count == Affine.of(CHUNKS)


def test_compiled_and_plain_agree() -> None:
    @njit
    def found(samples: int, number: int) -> tuple[int, tuple[int, int]]:
        count = chunk_count(samples, 64, 16)
        return count, share(samples, number, count, 16)

    for samples in (1, 50, 129, 777):
        count = chunk_count(samples, 64, 16)
        assert found(samples, count - 1) == (count, share.py_func(samples, count - 1, count, 16))

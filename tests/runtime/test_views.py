"""Views inside flat arrays."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from numba import njit

from symbp.runtime.jit import kernel
from symbp.runtime.views import apart, rolled, view


@kernel(cache=False)
def fill(flat, n):  # type: ignore[no-untyped-def]
    """Number the elements of three arrays that lie one behind the other: a vector, a matrix, a cube."""
    one = view(flat, 1, (n,))
    two = view(flat, 1 + n, (n, 2))
    three = view(flat, 1 + 3 * n, (2, n, 3))
    for i in range(n):
        one[i] = 100 + i
        for j in range(2):
            two[i, j] = 200 + 10 * i + j
            for k in range(3):
                three[j, i, k] = 300 + 30 * j + 10 * i + k
    return three.shape


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
@pytest.mark.parametrize("n", [1, 2, 7])
def test_views_are_laid_out_in_row_order(dtype: type, n: int) -> None:
    flat = np.full(3 + 9 * n, -1, dtype)
    assert fill(flat, n) == (2, n, 3)
    i, j, k = np.arange(n), np.arange(2), np.arange(3)
    two = 200 + 10 * i[:, None] + j
    three = 300 + 30 * j[:, None, None] + 10 * i[:, None] + k
    expected = np.concatenate([[-1], 100 + i, two.ravel(), three.ravel(), [-1, -1]])
    np.testing.assert_array_equal(flat, expected)


def test_apart_changes_nothing() -> None:
    @njit
    def doubled(x: Any, out: Any) -> None:
        for i in range(x.size):
            i = apart(i)
            out[i] = 2 * x[i]

    x = np.arange(7.0)
    out = np.empty(7)
    doubled(x, out)
    assert (out == 2 * x).all()


@pytest.mark.parametrize("n", [0, 1, 7, 13])
def test_a_loop_over_a_rolled_extent_has_as_many_turns(n: int) -> None:
    @njit
    def count(extent: Any) -> Any:
        turns = 0
        for i in range(rolled(extent)):
            turns += i + 1
        return turns

    assert count(n) == n * (n + 1) // 2


def test_a_loop_that_reads_one_number_of_another_view_is_vectorised() -> None:
    """LLVM must not find out that the views are of one array: it would look for what it cannot know, and give up."""

    @kernel(cache=False)
    def scale(flat, rows):  # type: ignore[no-untyped-def]
        x, y, factor = view(flat, 0, (rows, 400)), view(flat, 2800, (rows, 400)), view(flat, 5600, (rows,))
        for b in range(rows):
            for k in range(400):
                y[b, k] = x[b, k] / factor[b]

    flat = np.arange(1.0, 7 * 801 + 1)
    expected = flat[: 7 * 400].reshape(7, 400) / flat[7 * 800 :, None]
    scale(flat, 7)
    np.testing.assert_array_equal(flat[7 * 400 : 7 * 800].reshape(7, 400), expected)
    (code,) = scale.inspect_llvm().values()
    assert re.search(r"fdiv .*<\d+ x double>", code)

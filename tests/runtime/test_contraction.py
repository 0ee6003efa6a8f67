"""Matrix products against NumPy in float64, over odd sizes, every layout, and views with gaps."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from numba import from_dtype, njit, types

from symbp.runtime.contraction import (
    dot,
    matmul,
    matmul_add,
    matmul_add_lower,
    matmul_add_of_lower,
    matmul_add_of_upper,
    matmul_lower,
    matmul_of_lower,
    matmul_of_upper,
)

SIZES = [
    (1, 1, 1),
    (1, 7, 13),
    (7, 1, 5),
    (13, 7, 1),
    (3, 50, 1),
    (4, 4, 4),
    (7, 13, 100),
    (100, 7, 13),
    (5, 100, 9),
    (13, 60, 11),
    (9, 300, 530),
    (0, 3, 4),
    (3, 0, 4),
    (3, 4, 0),
]


def rows(matrix: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(matrix)


def columns(matrix: np.ndarray) -> np.ndarray:
    return np.asfortranarray(matrix)


def gaps(matrix: np.ndarray) -> np.ndarray:
    wide = np.full((matrix.shape[0], 3, matrix.shape[1]), np.nan, matrix.dtype)
    wide[:, 1, :] = matrix
    return wide[:, 1, :]


def scattered(matrix: np.ndarray) -> np.ndarray:
    wide = np.full((matrix.shape[0], matrix.shape[1], 2), np.nan, matrix.dtype)
    wide[:, :, 1] = matrix
    return wide[:, :, 1]


def backwards(matrix: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(matrix[::-1])[::-1]


LAYOUTS = [rows, columns, gaps, scattered, backwards]
Layout = Callable[[np.ndarray], np.ndarray]


def bound(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """What rounding may do to each element: eps*sum |a||b|, with room for the order of summation."""
    return 2 * np.finfo(a.dtype).eps * np.sqrt(a.shape[1] + 1) * (abs(a).astype(float) @ abs(b).astype(float)) + 1e-300


@cache
def for_any_layout(dtype: type) -> tuple[Callable[..., None], Callable[..., None]]:
    """Both products compiled once for arrays of no known layout: one compile instead of one for each combination."""
    array = from_dtype(np.dtype(dtype))[:, :]
    signature = types.void(array, array, array)

    @njit(signature)
    def add(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> None:
        matmul_add(a, b, c)

    @njit(signature)
    def assign(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> None:
        matmul(a, b, c)

    return add, assign


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_all_layouts(size: tuple[int, int, int], dtype: type) -> None:
    n_rows, n_inner, n_columns = size
    random = np.random.default_rng(7)
    a = random.standard_normal((n_rows, n_inner)).astype(dtype)
    b = random.standard_normal((n_inner, n_columns)).astype(dtype)
    start = random.standard_normal((n_rows, n_columns)).astype(dtype)
    product = a.astype(np.longdouble) @ b.astype(np.longdouble)
    add, assign = for_any_layout(dtype)
    for layout_a in LAYOUTS:
        for layout_b in LAYOUTS:
            for layout_c in LAYOUTS:
                c = layout_c(start.copy())
                add(layout_a(a), layout_b(b), c)
                slack = bound(a, b) + np.finfo(dtype).eps * abs(start) * 4
                assert np.all(abs(c - (start + product)) <= slack), (layout_a, layout_b, layout_c)
                assign(layout_a(a), layout_b(b), c)
                assert np.all(abs(c - product) <= bound(a, b)), (layout_a, layout_b, layout_c)


def test_nothing_beside_the_result_is_written() -> None:
    a, b = np.ones((7, 13), np.float32), np.ones((13, 9), np.float32)
    around = np.full((7, 3, 9), 5, np.float32)
    matmul(a, b, around[:, 1, :])
    assert np.all(around[:, 1, :] == 13)
    assert np.all(around[:, ::2, :] == 5)


def test_old_contents_do_not_leak_into_a_product() -> None:
    c = np.full((3, 4), np.nan)
    matmul(np.ones((3, 0)), np.ones((0, 4)), c)
    assert np.all(c == 0)


@pytest.mark.parametrize("size", [(21, 101, 37), (21, 33, 1), (21, 20, 3), (40, 300, 70), (21, 1, 7)], ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_of_a_product_are_the_product_of_rows(size: tuple[int, int, int], dtype: type) -> None:
    """However a batch is cut, each sample has the same bits: neither tiles nor turning may show."""
    n_rows, n_inner, n_columns = size
    random = np.random.default_rng(3)
    a = random.standard_normal((n_rows, n_inner)).astype(dtype)
    b = random.standard_normal((n_inner, n_columns)).astype(dtype)
    start = random.standard_normal((n_rows, n_columns)).astype(dtype)
    for layout_a in LAYOUTS:
        for layout_b in LAYOUTS:
            for layout_c in LAYOUTS:
                for multiply in for_any_layout(dtype):
                    whole, parts = layout_c(start.copy()), layout_c(start.copy())
                    left, right = layout_a(a), layout_b(b)
                    multiply(left, right, whole)
                    for first, end in ((0, 1), (1, 5), (5, 13), (13, n_rows)):
                        multiply(left[first:end], right, parts[first:end])
                    assert np.array_equal(whole, parts), (layout_a, layout_b, layout_c)


@pytest.mark.parametrize("kind", ["lower", "of_lower", "of_upper"])
def test_rows_of_a_triangular_product_are_the_product_of_rows(kind: str) -> None:
    random = np.random.default_rng(9)
    a, b, start = (random.standard_normal(s).astype(np.float32) for s in ((37, 41), (41, 70), (37, 70)))
    for layout_a in LAYOUTS:
        for layout_b in LAYOUTS:
            for multiply in triangular_for_any_layout(kind, np.float32):
                whole, parts = start.copy(), start.copy()
                left, right = layout_a(a), layout_b(b)
                multiply(left, right, whole, 3)
                for first, end in ((0, 1), (1, 5), (5, 13), (13, 37)):
                    multiply(left[first:end], right, parts[first:end], 3 + first)
                assert np.array_equal(whole, parts), (layout_a, layout_b)


def test_what_a_sum_does_not_reach_is_not_looked_at_in_either_factor() -> None:
    a, b = np.ones((13, 20), np.float32), np.ones((20, 5), np.float32)
    b[16:] = np.nan
    c = np.empty((13, 5), np.float32)
    triangular_for_any_layout("of_lower", np.float32)[0](a, b, c, 3)
    assert np.array_equal(c, np.broadcast_to(np.arange(4, 17)[:, None], c.shape))


def test_a_factor_may_be_one_row_seen_many_times() -> None:
    row = np.arange(7, dtype=np.float32)
    a, b = np.broadcast_to(row, (13, 7)), np.broadcast_to(np.float32(2), (7, 9))
    c = np.empty((13, 9), np.float32)
    matmul_of_any_layout = for_any_layout(np.float32)[1]
    matmul_of_any_layout(np.lib.stride_tricks.as_strided(row, a.shape, a.strides), b.copy(), c)
    assert np.all(c == 42)
    spread = np.lib.stride_tricks.as_strided(np.ones(1, np.float32), (7, 9), (0, 0))
    matmul_of_any_layout(np.ascontiguousarray(a), spread, c)
    assert np.all(c == 21)
    matmul_of_any_layout(np.lib.stride_tricks.as_strided(np.ones(1, np.float32), (13, 7), (0, 0)), b.copy(), c)
    assert np.all(c == 14)


@pytest.mark.slow
def test_products_that_are_packed() -> None:
    random = np.random.default_rng(10)
    a, b = (random.standard_normal(s).astype(np.float32) for s in ((700, 523), (523, 521)))
    c = np.empty((700, 521), np.float32)
    assign = for_any_layout(np.float32)[1]
    for left in (a, columns(a)):
        for right in (b, columns(b)):
            assign(left, right, c)
            assert np.all(abs(c - a.astype(float) @ b.astype(float)) <= bound(a, b))


def test_the_same_call_gives_the_same_bits_wherever_the_arrays_lie() -> None:
    random = np.random.default_rng(4)
    a = random.standard_normal((21, 333)).astype(np.float32)
    w = random.standard_normal((19, 333)).astype(np.float32)
    first = np.empty((21, 19), np.float32)
    matmul(a, w.T, first)
    for shift in range(1, 9):
        room = np.empty(a.size + shift, np.float32)
        moved = room[shift:].reshape(a.shape)
        moved[:] = a
        again = np.empty((21, 19), np.float32)
        matmul(moved, w.T, again)
        assert np.array_equal(first, again)


def test_callable_from_compiled_code_with_views() -> None:
    @njit
    def step(x: np.ndarray, w: np.ndarray, t: int, out: np.ndarray) -> None:
        matmul(x[:, t, :], w, out)
        matmul_add(x[:, t + 1, :], w, out)

    random = np.random.default_rng(5)
    x, w = random.standard_normal((7, 4, 13)), random.standard_normal((13, 5))
    out = np.empty((7, 5))
    step(x, w, 1, out)
    np.testing.assert_allclose(out, (x[:, 1] + x[:, 2]) @ w, rtol=1e-13, atol=1e-13)


TRIANGULAR = {
    "lower": (matmul_lower, matmul_add_lower),
    "of_lower": (matmul_of_lower, matmul_add_of_lower),
    "of_upper": (matmul_of_upper, matmul_add_of_upper),
}


@cache
def triangular_for_any_layout(kind: str, dtype: type) -> tuple[Callable[..., None], Callable[..., None]]:
    array = from_dtype(np.dtype(dtype))[:, :]
    signature = types.void(array, array, array, types.intp)
    set_to, add_to = TRIANGULAR[kind]

    @njit(signature)
    def assign(a: np.ndarray, b: np.ndarray, c: np.ndarray, shift: int) -> None:
        set_to(a, b, c, shift)

    @njit(signature)
    def add(a: np.ndarray, b: np.ndarray, c: np.ndarray, shift: int) -> None:
        add_to(a, b, c, shift)

    return assign, add


def triangular_reference(kind: str, a: np.ndarray, b: np.ndarray, shift: int) -> np.ndarray:
    """In extended precision, with the factors that are not read at zero."""
    i, k = np.indices(a.shape)
    read = {"lower": np.ones(a.shape, bool), "of_lower": k <= i + shift, "of_upper": k >= i + shift}[kind]
    return np.where(read, a, 0).astype(np.longdouble) @ b.astype(np.longdouble)


def written(kind: str, c: np.ndarray, shift: int) -> np.ndarray:
    i, j = np.indices(c.shape)
    return j <= i + shift if kind == "lower" else np.ones(c.shape, bool)


@pytest.mark.parametrize("size", [*SIZES, (64, 64, 32), (37, 41, 70), (20, 20, 20)], ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", TRIANGULAR)
def test_triangular(size: tuple[int, int, int], dtype: type, kind: str) -> None:
    n_rows, n_inner, n_columns = size
    random = np.random.default_rng(8)
    a = random.standard_normal((n_rows, n_inner)).astype(dtype)
    b = random.standard_normal((n_inner, n_columns)).astype(dtype)
    start = random.standard_normal((n_rows, n_columns)).astype(dtype)
    assign, add = triangular_for_any_layout(kind, dtype)
    for shift in (0, 1, -1, 5, -5, 1000, -1000, n_inner - n_rows):
        product = triangular_reference(kind, a, b, shift)
        i, k = np.indices(a.shape)
        # What is not in the sum must not be looked at.
        dirty = {
            "lower": a,
            "of_lower": np.where(k > i + shift, np.nan, a),
            "of_upper": np.where(k < i + shift, np.nan, a),
        }
        here = written(kind, start, shift)
        for layout in LAYOUTS:
            dirty_a, other = layout(dirty[kind].astype(dtype)), layout(b)
            c = start.copy()
            assign(dirty_a, other, c, shift)
            expected = np.where(here, product, start)
            assert np.all(abs(c - expected) <= bound(a, b)), (layout, shift)
            c = layout(start.copy())
            add(dirty_a, other, c, shift)
            expected = np.where(here, start + product, start)
            assert np.all(abs(c - expected) <= bound(a, b) + np.finfo(dtype).eps * abs(start) * 4), (layout, shift)
            assert np.all((c == start) | here)


@pytest.mark.parametrize("size", [0, 1, 7, 13, 100])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dot(size: int, dtype: type) -> None:
    random = np.random.default_rng(6)
    a, b = random.standard_normal((2, size, 2)).astype(dtype)
    result = dot(a[:, 0], b[::-1, 1])
    exact = float(a[:, 0].astype(float) @ b[::-1, 1].astype(float))
    assert abs(result - exact) <= 4 * np.finfo(dtype).eps * (float(abs(a[:, 0]) @ abs(b[::-1, 1])) + 1e-30)

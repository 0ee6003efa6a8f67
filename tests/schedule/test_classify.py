"""What each statement is, and which of them are matrix products."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import sympy as sp

from symbp.ir import Affine, NonNegative, Reduction
from symbp.ir.plan import Kind
from symbp.schedule.classify import classify
from tests.schedule.node_text import lowered
from tests.schedule.small import Small


def map_(s: Small) -> None:
    s.eq.let("y", (s.n, s.i), s.given("x", "ni")[s.n, s.i] ** 2)


def gather(s: Small) -> None:
    x, label = s.given("x", "ij"), s.given("label", "n", 5)
    s.eq.let("y", (s.n, s.j), x[Affine.of(label.read(s.n)), s.j])


def scatter(s: Small) -> None:
    x, label = s.given("x", "nj"), s.given("label", "n", 5)
    s.eq.let("y", (s.n, s.j), x[s.n, s.j], at=(Affine.of(label.read(s.n)), s.j), shape=(5, 6), accumulate=True)


def reduction(s: Small) -> None:
    s.eq.let("y", (s.n,), s.given("x", "ni")[s.n, s.i] ** 2, (s.i,))


def maximum(s: Small) -> None:
    x, w = s.given("x", "ni"), s.given("w", "ij")
    s.eq.let("y", (s.n, s.j), x[s.n, s.i] * w[s.i, s.j], (s.i,), Reduction.MAX)


def contraction(s: Small) -> None:
    x, w = s.given("x", "ni"), s.given("w", "ij")
    s.eq.let("y", (s.n, s.j), x[s.n, s.i] * w[s.i, s.j], (s.i,))


def batched(s: Small) -> None:
    x, w = s.given("x", "nmi"), s.given("w", "nij")
    s.eq.let("y", (s.n, s.m, s.j), x[s.n, s.m, s.i] * w[s.n, s.i, s.j], (s.i,))


def matrix_vector(s: Small) -> None:
    x, w = s.given("x", "ni"), s.given("w", "i")
    s.eq.let("y", (s.n,), x[s.n, s.i] * w[s.i], (s.i,))


def split(s: Small) -> None:
    x, w = s.given("x", "nij"), s.given("w", "jik")
    s.eq.let("y", (s.n, s.k), x[s.n, s.i, s.j] * w[s.j, s.i, s.k], (s.i, s.j))


def at_a_fixed_place(s: Small) -> None:
    x, w = s.given("x", "nui"), s.given("w", "ij")
    s.eq.let("y", (s.n, s.j), x[s.n, 1, s.i] * w[s.i, s.j], (s.i,))


def vector_matrix(s: Small) -> None:
    x, w = s.given("x", "i"), s.given("w", "ij")
    s.eq.let("y", (s.j,), x[s.i] * w[s.i, s.j], (s.i,))


def added_up_over_rows(s: Small) -> None:
    x, w = s.given("x", "ni"), s.given("w", "ij")
    s.eq.let("y", (s.n, s.j), x[s.n, s.i] * w[s.i, s.j], (s.i,), at=(s.j,), shape=(6,), accumulate=True)


def number_as_factor(s: Small) -> None:
    s.eq.let("y", (s.j, s.n), s.eq.value(s.i) * s.given("x", "ni")[s.n, s.i] + 0 * s.given("w", "j")[s.j], (s.i,))


def outer_product(s: Small) -> None:
    s.eq.let("y", (s.n, s.i), s.given("x", "n")[s.n] * s.given("w", "i")[s.i])


def scaled_product(s: Small) -> None:
    x, w = s.given("x", "ni"), s.given("w", "ij")
    s.eq.let("y", (s.n, s.j), 2 * x[s.n, s.i] * w[s.i, s.j], (s.i,))


def scaled_by_rows(s: Small) -> None:
    x, w, g = s.given("x", "ni"), s.given("w", "ij"), s.given("g", "n")
    s.eq.let("y", (s.n, s.j), x[s.n, s.i] * w[s.i, s.j] / (1 + g[s.n] ** 2), (s.i,))


def three_factors(s: Small) -> None:
    x, w, g = s.given("x", "ni"), s.given("w", "ij"), s.given("g", "i")
    s.eq.let("y", (s.n, s.j), x[s.n, s.i] * w[s.i, s.j] * g[s.i], (s.i,))


def squared_factor(s: Small) -> None:
    x, w = s.given("x", "ni"), s.given("w", "ij")
    s.eq.let("y", (s.n, s.j), x[s.n, s.i] ** 2 * w[s.i, s.j], (s.i,))


def windowed_product(s: Small) -> None:
    x, w = s.given("x", "ni"), s.given("w", "ij")
    guards = [NonNegative(s.n - s.i), NonNegative(s.i - s.n + 2)]
    s.eq.let("y", (s.n, s.j), x[s.n, s.i] * w[s.i, s.j], (s.i,), where=guards)


def guarded_by_one_index(s: Small) -> None:
    x, w = s.given("x", "ni"), s.given("w", "ij")
    s.eq.let("y", (s.n, s.j), x[s.n, s.i] * w[s.i, s.j], (s.i,), where=[NonNegative(3 - s.i)])


def guarded_in_steps(s: Small) -> None:
    x, w = s.given("x", "ni"), s.given("w", "ij")
    s.eq.let("y", (s.n, s.j), x[s.n, s.i] * w[s.i, s.j], (s.i,), where=[NonNegative(2 * s.n - s.i)])


def guarded_by_three(s: Small) -> None:
    x, w = s.given("x", "ni"), s.given("w", "ij")
    s.eq.let("y", (s.n, s.j), x[s.n, s.i] * w[s.i, s.j], (s.i,), where=[NonNegative(s.n - s.i + s.j)])


def guarded_from_both_ends(s: Small) -> None:
    x, w = s.given("x", "ni"), s.given("w", "ij")
    s.eq.let("y", (s.n, s.j), x[s.n, s.i] * w[s.i, s.j], (s.i,), where=[NonNegative(s.n + s.i - 3)])


def guarded_by_data(s: Small) -> None:
    x, w, length = s.given("x", "ni"), s.given("w", "ij"), s.given("length", "n", 5)
    guard = NonNegative(Affine.of(length.read(s.n)) - s.i)
    s.eq.let("y", (s.n, s.j), x[s.n, s.i] * w[s.i, s.j], (s.i,), where=[guard])


def guarded_product(s: Small) -> None:
    x, w = s.given("x", "ni"), s.given("w", "ij")
    s.eq.let("y", (s.n, s.j), x[s.n, s.i] * w[s.i, s.j], (s.i,), where=[NonNegative(s.n - s.i)])


def index_as_factor(s: Small) -> None:
    s.eq.let("y", (s.n, s.j), s.given("x", "ni")[s.n, s.i] * s.eq.value(s.j), (s.i,))


def diagonal(s: Small) -> None:
    x, w = s.given("x", "ii"), s.given("w", "ij")
    s.eq.let("y", (s.j, s.k), x[s.i, s.i] * w[s.i, s.j] + sp.Integer(0) * s.given("v", "k")[s.k], (s.i,))


def diagonal_of_a_factor(s: Small) -> None:
    x, w = s.given("x", "nii"), s.given("w", "ij")
    s.eq.let("y", (s.n, s.j), x[s.n, s.i, s.i] * w[s.i, s.j], (s.i,))


def strided_factor(s: Small) -> None:
    x, w, half = s.given("x", "nk"), s.given("w", "ij"), s.eq.axis("half", 4)
    s.eq.let("y", (s.n, s.j), x[s.n, 2 * half] * w[half, s.j], (half,))


def convolution(s: Small) -> None:
    v, p = s.eq.axis("v", 4), s.eq.axis("p", 4)
    x, w = s.given("x", "nk"), s.given("w", "ij")
    s.eq.let("y", (s.n, p, s.j), x[s.n, p + v] * w[v, s.j], (v,))


def gathered_factor(s: Small) -> None:
    x, w, label = s.given("x", "ki"), s.given("w", "ij"), s.given("label", "n", 7)
    s.eq.let("y", (s.n, s.j), x[Affine.of(label.read(s.n)), s.i] * w[s.i, s.j], (s.i,))


def small_inner_extent(s: Small) -> None:
    x, w = s.given("x", "nu"), s.given("w", "uj")
    s.eq.let("y", (s.n, s.j), x[s.n, s.u] * w[s.u, s.j], (s.u,))


def few_columns(s: Small) -> None:
    x, w = s.given("x", "ni"), s.given("w", "iu")
    s.eq.let("y", (s.n, s.u), x[s.n, s.i] * w[s.i, s.u], (s.i,))


def few_rows(s: Small) -> None:
    x, w = s.given("x", "ui"), s.given("w", "ij")
    s.eq.let("y", (s.u, s.j), x[s.u, s.i] * w[s.i, s.j], (s.i,))


def summed_apart(s: Small) -> None:
    x, w = s.given("x", "nik"), s.given("w", "ij")
    s.eq.let("y", (s.n, s.j), x[s.n, s.i, s.k] * w[s.i, s.j], (s.i, s.k))


@pytest.mark.parametrize(
    ("declare", "kind"),
    [
        (map_, Kind.MAP),
        (outer_product, Kind.MAP),
        (gather, Kind.GATHER),
        (scatter, Kind.SCATTER),
        (contraction, Kind.CONTRACTION),
        (few_rows, Kind.CONTRACTION),
        (at_a_fixed_place, Kind.CONTRACTION),
        (scaled_product, Kind.CONTRACTION),
        (scaled_by_rows, Kind.CONTRACTION),
        (guarded_product, Kind.CONTRACTION),
        (batched, Kind.BATCHED_CONTRACTION),
        (split, Kind.BATCHED_CONTRACTION),
        *(
            (declare, Kind.REDUCTION)
            for declare in (
                reduction, maximum, matrix_vector, three_factors, squared_factor, windowed_product,
                guarded_by_one_index, guarded_in_steps, guarded_by_three, guarded_from_both_ends, guarded_by_data,
                index_as_factor, diagonal, diagonal_of_a_factor, strided_factor, convolution, gathered_factor,
                small_inner_extent, few_columns, summed_apart, vector_matrix, added_up_over_rows, number_as_factor,
            )
        ),
    ],
)  # fmt: skip
def test_kinds(declare: Callable[[Small], None], kind: Kind) -> None:
    s = Small()
    declare(s)
    program = s.program()
    assert classify(program.definitions("y")[0], program) is kind


# ------------------------------------------------------------------------------------------------- matrices in tensors


def product(s: Small, free: str, left: str, right: str, over: str) -> list[str]:
    """The nodes of ``y[free] = sum[over] x[left]*w[right]``."""
    x, w = s.given("x", left), s.given("w", right)
    indices = [tuple(getattr(s, a) for a in axes) for axes in (free, left, right, over)]
    s.eq.let("y", indices[0], x[indices[1]] * w[indices[2]], indices[3])
    return lowered(s.program(), "y")


@pytest.mark.parametrize(
    ("free", "left", "right", "over", "expected"),
    [
        ("nj", "ni", "ij", "i", "y[0:n_n, 0:6] = x[0:n_n, 0:5] @ W[0:5, 0:6]"),
        ("nj", "in", "ij", "i", "y[0:n_n, 0:6] = x[0:5, 0:n_n].T @ W[0:5, 0:6]"),
        ("nj", "ni", "ji", "i", "y[0:n_n, 0:6] = x[0:n_n, 0:5] @ W[0:6, 0:5].T"),
        # The last axis of the result is that of the columns, whichever factor brings it.
        ("jn", "ni", "ij", "i", "y[0:6, 0:n_n] = W[0:5, 0:6].T @ x[0:n_n, 0:5].T"),
        ("nij", "nik", "kj", "k", "y[0:n_n, 0:5, 0:6] as 2x1 = x[0:n_n, 0:5, 0:7] as 2x1 @ W[0:7, 0:6]"),
        ("nj", "nik", "ikj", "ik", "y[0:n_n, 0:6] = x[0:n_n, 0:5, 0:7] as 1x2 @ W[0:5, 0:7, 0:6] as 2x1"),
        ("kj", "nik", "nij", "ni", "y[0:7, 0:6] = x[0:n_n, 0:5, 0:7] as 2x1.T @ W[0:n_n, 0:5, 0:6] as 2x1"),
        ("nij", "nk", "kij", "k", "y[0:n_n, 0:5, 0:6] as 1x2 = x[0:n_n, 0:7] @ W[0:7, 0:5, 0:6] as 1x2"),
    ],
)
def test_matrices(free: str, left: str, right: str, over: str, expected: str) -> None:
    assert product(Small(), free, left, right, over) == [expected.replace("W[", "w[")]


@pytest.mark.parametrize(
    ("free", "left", "right", "over", "expected"),
    [
        # The axes of the rows do not follow each other, in the factor or in the result.
        ("nij", "ink", "kj", "k", ["for n in 0..n_n:", "  y[n, 0:5, 0:6] = x[0:5, n, 0:7] @ w[0:7, 0:6]"]),
        ("nji", "nik", "kj", "k", ["for n in 0..n_n:", "  y[n, 0:6, 0:5] = w[0:7, 0:6].T @ x[n, 0:5, 0:7].T"]),
        ("nj", "nik", "kij", "ik",
         ["fill y with 0", "for i in 0..5:", "  y[0:n_n, 0:6] += x[0:n_n, i, 0:7] @ w[0:7, i, 0:6]"]),
    ],
)  # fmt: skip
def test_what_is_left_is_looped_over(free: str, left: str, right: str, over: str, expected: list[str]) -> None:
    assert product(Small(), free, left, right, over) == expected


def test_part_of_an_axis_can_be_the_first_of_merged_ones_only() -> None:
    for first, shift, expected in (
        (True, 1, "y[0:n_n, 0:5, 0:6] as 2x1 = x[1:n_n + 1, 0:5, 0:7] as 2x1 @ w[0:7, 0:6]"),
        (False, 1, "  y[n, 0:5, 0:6] = x[n, 1:6, 0:7] @ w[0:7, 0:6]"),
        (False, 0, "  y[n, 0:5, 0:6] = x[n, 0:5, 0:7] @ w[0:7, 0:6]"),
    ):
        s = Small()
        longer = s.eq.axis("long", 6)
        s.eq.extents[longer] = s.size + 1 if first else Affine.of(6)
        axes = (longer, s.i, s.k) if first else (s.n, longer, s.k)
        x, w = s.eq.given("x", *axes), s.given("w", "kj")
        read = x[s.n + shift, s.i, s.k] if first else x[s.n, s.i + shift, s.k]
        s.eq.let("y", (s.n, s.i, s.j), read * w[s.k, s.j], (s.k,))
        assert lowered(s.program(), "y")[-1] == expected

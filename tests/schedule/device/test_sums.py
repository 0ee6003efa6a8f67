"""Long sums in parts, sums in any order, contractions."""

from __future__ import annotations

import numpy as np
import pytest

from symbp.check import interpret
from symbp.ir import Affine, NonNegative, Program, Reduction
from symbp.ir.statement import Statement
from symbp.schedule.device.einsum import as_contract
from symbp.schedule.device.exact_sums import points_meet
from symbp.schedule.device.split_sums import split_sums
from tests.schedule.device.plans import steps_of
from tests.schedule.node_text import equations
from tests.schedule.small import Small


def test_a_long_sum_is_cut_along_its_first_long_axis() -> None:
    s = Small()
    x = s.given("x", "ni")
    s.eq.let("a", (), x[s.n, s.i] ** 2, (s.n, s.i), Reduction.SUM)
    assert equations(split_sums(s.program("a"))) == [
        "a_part[c] = sum[n, i] x[n, i]**2    where n >= 102*c, 102*c + 101 >= n",
        "a = sum[c] a_part[c]",
    ]


@pytest.mark.parametrize("n", [1, 7, 102, 103, 1000])
def test_the_parts_add_up(n: int) -> None:
    s = Small()
    x = s.given("x", "ni")
    s.eq.let("a", (s.i,), x[s.n, s.i] ** 2, (s.n,), Reduction.SUM)
    s.eq.let("b", (), x[s.n, s.i], (s.n, s.i), Reduction.SUM)
    data = np.random.default_rng(n).standard_normal((n, 5))
    whole, parts = (
        interpret(p, {"n_n": n}, {"x": data}) for p in (s.program("a", "b"), split_sums(s.program("a", "b")))
    )
    np.testing.assert_allclose(parts["a"], whole["a"], rtol=1e-13)
    np.testing.assert_allclose(parts["b"], whole["b"], rtol=1e-11)


def statement(s: Small) -> Statement:
    return s.program("a").definitions("a")[0]


def test_short_sums_and_many_results_stay_whole() -> None:
    s = Small()
    x, y = s.given("x", "ni"), s.given("y", "nm")
    s.eq.let("a", (s.n,), x[s.n, s.i], (s.i,), Reduction.SUM)
    s.eq.let("b", (s.n,), y[s.n, s.m], (s.m,), Reduction.SUM)
    program: Program = s.program("a", "b")
    assert split_sums(program).statements == program.statements


def test_points_that_share_an_element() -> None:
    s = Small()
    x, label = s.given("x", "ni"), s.given("label", "n", 5)
    s.eq.let("a", (s.n, s.i), x[s.n, s.i], at=(Affine.of(label.read(s.n)),), shape=(5,), accumulate=True)
    assert points_meet(statement(s))


def test_points_that_a_plain_axis_tells_apart() -> None:
    s = Small()
    x, label = s.given("x", "n"), s.given("label", "n", 5)
    at = (Affine.of(s.n), Affine.of(label.read(s.n)))
    s.eq.let("a", (s.n,), x[s.n], at=at, shape=(s.size, 5), accumulate=True)
    assert not points_meet(statement(s))


def test_digits_of_a_place_tell_points_apart() -> None:
    """6*i + j with j < 6 counts like digits; 5*i + j does not."""
    for factor, meets in ((6, False), (5, True)):
        s = Small()
        x = s.given("x", "ij")
        s.eq.let("a", (s.i, s.j), x[s.i, s.j], at=(factor * Affine.of(s.i) + s.j,), shape=(40,), accumulate=True)
        assert points_meet(statement(s)) is meets


def test_a_sum_in_any_order_takes_three_steps() -> None:
    s = Small()
    x, label = s.given("x", "ni"), s.given("label", "n", 7)
    at = (Affine.of(label.read(s.n)), Affine.of(s.i))
    s.eq.let("a", (s.n, s.i), x[s.n, s.i], at=at, shape=(7, 5), accumulate=True)
    assert steps_of(s, "a") == [
        "fill a_largest with 0",
        "launch predict_a_largest, a thread for each of n in 0..n_n, i in 0..5:",
        "  a_largest[0] max= |x[n, i]|",
        "fill a_sums with 0",
        "launch predict_a_sums, a thread for each of n in 0..n_n, i in 0..5:",
        "  a_sums[label[n], i] whole+= x[n, i]",
        "launch predict_a, a thread for each of n in 0..7, i in 0..5:",
        "  a[n, i] = real(a_sums)",
    ]


def test_contractions_name_their_axes() -> None:
    s = Small()
    x, w = s.given("x", "ni"), s.given("w", "ij")
    s.eq.let("a", (s.n, s.j), x[s.n, s.i] * w[s.i, s.j], (s.i,), Reduction.SUM)
    assert steps_of(s, "a") == ["a[n in 0..n_n, j in 0..6] = x[n in 0..n_n, i in 0..5] * w[i in 0..5, j in 0..6]"]


def test_what_is_no_contraction() -> None:
    def small() -> Small:
        return Small()

    s = small()
    x, w = s.given("x", "ni"), s.given("w", "ij")
    s.eq.let("a", (s.n, s.j), x[s.n, s.i] * w[s.i, s.j] + 1, (s.i,), Reduction.SUM)
    assert as_contract(statement(s), accumulate=False) is None  # not a plain product
    s = small()
    x, w = s.given("x", "ni"), s.given("w", "ij")
    guard = NonNegative(Affine.of(s.j) - s.i)
    s.eq.let("a", (s.n, s.j), x[s.n, s.i] * w[s.i, s.j], (s.i,), Reduction.SUM, where=[guard])
    assert as_contract(statement(s), accumulate=False) is None  # a triangle
    s = small()
    x, w = s.given("x", "nu"), s.given("w", "uj")
    s.eq.let("a", (s.n, s.j), x[s.n, s.u] * w[s.u, s.j], (s.u,), Reduction.SUM)
    assert as_contract(statement(s), accumulate=False) is None  # three terms

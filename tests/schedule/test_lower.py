"""Statements to loops: their shape, their order, and what guards make of their bounds."""

from __future__ import annotations

import pytest
import sympy as sp

from symbp.ir import Affine, Body, Divisible, Holds, NonNegative, Reduction, Zero
from symbp.schedule.lower import lower_statement
from tests.schedule.node_text import lowered, node_lines
from tests.schedule.small import Small


def lines(s: Small, *, fresh: bool = True) -> list[str]:
    return lowered(s.program(), "y", fresh=fresh)


# ------------------------------------------------------------------------------------------------- order of the loops


def test_the_last_axis_of_the_target_is_the_innermost_loop() -> None:
    s = Small()
    x = s.given("x", "ni")
    s.eq.let("y", (s.n, s.i), 2 * x[s.n, s.i], at=(s.i, s.n), shape=(5, s.size))
    assert lines(s) == ["for i in 0..5:", "  for n in 0..n_n:", "    y[i, n] = 2*x[n, i]"]


def test_an_index_that_the_target_lacks_is_the_outermost() -> None:
    s = Small()
    x = s.given("x", "ni")
    s.eq.let("y", (s.i, s.n), x[s.n, s.i], at=(s.i,), shape=(5,), accumulate=True)
    assert lines(s, fresh=False) == ["for n in 0..n_n:", "  for i in 0..5:", "    y[i] += x[n, i]"]


def test_the_reduced_index_that_walks_along_memory_is_the_innermost() -> None:
    s = Small()
    x = s.given("x", "nij")
    s.eq.let("y", (s.n,), x[s.n, s.i, s.j], (s.j, s.i))
    assert lines(s) == [
        "for n in 0..n_n:",
        "  <total> = 0",
        "  for i in 0..5:",
        "    for j in 0..6:",
        "      <total> += x[n, i, j]",
        "  y[n] = <total>",
    ]


# ---------------------------------------------------------------------------------------------------------------- sums


def test_a_sum_in_a_register_takes_constant_factors_out() -> None:
    s = Small()
    x, g = s.given("x", "ni"), s.given("g", "n")
    s.eq.let("y", (s.n,), 2 * x[s.n, s.i] * g[s.n] / 3, (s.i,))
    assert lines(s) == [
        "for n in 0..n_n:",
        "  <total> = 0",
        "  for i in 0..5:",
        "    <total> += x[n, i]",
        "  y[n] = 2*<total>*g[n]/3",
    ]


def test_a_sum_of_a_constant_keeps_it() -> None:
    s = Small()
    g = s.given("g", "u")
    s.eq.let("y", (s.u,), g[s.u], (s.i,), where=[NonNegative(s.u - s.i)])
    assert lines(s)[1:4] == ["  <total> = 0", "  for i in 0..u + 1:", "    <total> += g[u]"]


def test_a_sum_that_adds() -> None:
    s = Small()
    x = s.given("x", "ni")
    s.eq.let("y", (s.n,), x[s.n, s.i], (s.i,), accumulate=True)
    assert lines(s, fresh=False)[-1] == "  y[n] += <total>"
    assert lines(s, fresh=True)[-1] == "  y[n] = <total>"


def test_a_sum_across_rows_runs_along_them() -> None:
    s = Small()
    x, g = s.given("x", "ni"), s.given("g", "i")
    s.eq.let("y", (s.i,), 3 * x[s.n, s.i] * g[s.i], (s.n,))
    assert lines(s) == [
        "fill y with 0",
        "for n in 0..n_n:",
        "  for i in 0..5:",
        "    y[i] += x[n, i]",
        "for i in 0..5:",
        "  y[i] = 3*y[i]*g[i]",
    ]


def test_a_sum_across_rows_runs_along_them_in_a_matrix_with_one_column_too() -> None:
    s = Small()
    x, g = s.given("x", "ni"), s.given("g", "n")
    s.eq.let("y", (s.i,), x[s.n, s.i] * g[s.n], (s.n,), at=(s.i, 0), shape=(5, 1))
    assert lines(s) == [
        "for i in 0..5:",
        "  y[i, 0] = 0",
        "for n in 0..n_n:",
        "  for i in 0..5:",
        "    y[i, 0] += x[n, i]*g[n]",
    ]


def test_a_sum_across_rows_that_adds_neither_clears_nor_scales_what_is_there() -> None:
    s = Small()
    x, g = s.given("x", "ni"), s.given("g", "i")
    s.eq.let("y", (s.i,), 3 * x[s.n, s.i] * g[s.i], (s.n,), accumulate=True)
    found = lines(s, fresh=False)
    assert found == ["for n in 0..n_n:", "  for i in 0..5:", "    y[i] += 3*x[n, i]*g[i]"]


def test_a_row_is_cleared_only_where_it_is_written() -> None:
    s = Small()
    x, g = s.given("x", "mi"), s.given("g", "i")
    guards = [NonNegative(s.n - s.m), NonNegative(s.i - 1), NonNegative(3 - s.n)]
    s.eq.let("y", (s.n, s.i), x[s.m, s.i] * g[s.i], (s.m,), where=guards)
    assert lines(s) == [
        "for n in 0..min(n_n, 4):",
        "  for i in 1..5:",
        "    y[n, i] = 0",
        "  for m in 0..n + 1:",
        "    for i in 1..5:",
        "      y[n, i] += x[m, i]",
        "  for i in 1..5:",
        "    y[n, i] = y[n, i]*g[i]",
    ]


def test_an_equation_sets_whatever_ran_before() -> None:
    s = Small()
    s.eq.let("y", (s.n,), s.given("x", "n")[s.n])
    assert lines(s, fresh=False) == ["for n in 0..n_n:", "  y[n] = x[n]"]


def test_rows_are_cleared_one_by_one_inside_other_loops() -> None:
    s = Small()
    x, g = s.given("x", "mi"), s.given("g", "n")
    s.eq.let("y", (s.n, s.i), sp.exp(x[s.m, s.i] * g[s.n]), (s.m,))
    assert lines(s)[:3] == ["for n in 0..n_n:", "  for i in 0..5:", "    y[n, i] = 0"]


def test_a_part_of_a_vector_is_cleared_alone() -> None:
    s = Small()
    s.eq.let("y", (s.i,), s.given("x", "ni")[s.n, s.i], (s.n,), starts={s.i: 1})
    assert lines(s)[:2] == ["for i in 1..5:", "  y[i] = 0"]


def test_a_long_window_is_summed_one_by_one() -> None:
    s = Small()
    window = s.eq.axis("w", 8)
    x, w = s.given("x", "n"), s.eq.given("w", window)
    inside = [NonNegative(s.size - 1 - s.n - window)]
    s.eq.let("y", (s.n,), x[s.n + window] * w[window], (window,), where=inside)
    assert lines(s)[:2] == ["for n in 0..n_n:", "  <total> = 0"]


def test_a_short_window_slides_along_the_row() -> None:
    s = Small()
    x, w = s.given("x", "n"), s.given("w", "u")
    inside = [NonNegative(s.n + s.u - 1), NonNegative(s.size - s.n - s.u)]
    s.eq.let("y", (s.n,), x[s.n + s.u - 1] * w[s.u], (s.u,), where=inside)
    assert lines(s) == [
        "fill y with 0",
        "for u in 0..3:",
        "  for n in max(0, 1 - u)..min(n_n, n_n - u + 1):",
        "    y[n] += x[n + u - 1]*w[u]",
    ]


def test_rows_too_short_to_vectorise_are_summed_one_by_one() -> None:
    s = Small()
    x = s.given("x", "nu")
    s.eq.let("y", (s.u,), x[s.n, s.u], (s.n,))
    assert lines(s)[:2] == ["for u in 0..3:", "  <total> = 0"]


def test_a_number() -> None:
    s = Small()
    x = s.given("x", "n")
    s.eq.let("y", (), x[s.n] ** 2, (s.n,))
    assert lines(s) == ["<total> = 0", "for n in 0..n_n:", "  <total> += x[n]**2", "y = <total>"]


# ------------------------------------------------------------------------------------------------------------- maxima


def test_a_maximum_may_change_the_order_of_its_loops() -> None:
    s = Small()
    x = s.given("x", "nij")
    s.eq.let("y", (s.n,), x[s.n, s.i, s.j], (s.j, s.i), Reduction.MAX, where=[NonNegative(s.n - s.i)])
    assert lines(s) == [
        "for n in 0..n_n:",
        "  <best> = -oo",
        "  for i in 0..min(5, n + 1):",
        "    for j in 0..6:",
        "      <best> max= x[n, i, j]",
        "  y[n] = <best>",
    ]


def test_an_argmax_keeps_it_so_that_the_first_of_equals_wins() -> None:
    s = Small()
    x = s.given("x", "nij")
    s.eq.let("y", (s.n,), x[s.n, s.i, s.j], (s.j, s.i), Reduction.ARGMAX, starts={s.j: 2})
    s.whole_numbers("y")
    assert lines(s) == [
        "for n in 0..n_n:",
        "  <best> = -oo",
        "  <place> = -1",
        "  for j in 2..6:",
        "    for i in 0..5:",
        "      <best> max= x[n, i, j] at <place> = i + 5*j - 10",
        "  y[n] = <place>",
    ]


# -------------------------------------------------------------------------------------------------- guards and bounds


def test_guards_narrow_the_innermost_loop_they_mention() -> None:
    s = Small()
    x = s.given("x", "nm")
    guards = [NonNegative(s.n - s.m), NonNegative(s.m * 3 - s.n - 2), NonNegative(4 - s.m), NonNegative(s.n - 1)]
    s.eq.let("y", (s.n, s.m), x[s.n, s.m], where=guards)
    # ceil((n + 2)/3) from below; n + 1 and 5 from above; m < n_n follows from m <= n.
    assert lines(s) == [
        "for n in 1..n_n:",
        "  for m in (n + 4)//3..min(n + 1, 5):",
        "    y[n, m] = x[n, m]",
    ]


def test_a_bound_from_above_is_rounded_down() -> None:
    s = Small()
    x = s.given("x", "nk")
    s.eq.let("y", (s.n, s.k), x[s.n, s.k], where=[NonNegative(s.n - 2 * s.k)])
    assert lines(s)[1] == "  for k in 0..min(7, n//2 + 1):"


def test_two_guards_on_one_loop() -> None:
    s = Small()
    x = s.given("x", "nm")
    s.eq.let("y", (s.n, s.m), x[s.n, s.m], where=[NonNegative(s.m - s.n + 2), NonNegative(s.m - 1)])
    assert lines(s)[1] == "  for m in max(n - 2, 1)..n_n:"


def test_an_equality_sets_the_index() -> None:
    s = Small()
    x = s.given("x", "nm")
    s.eq.let("y", (s.n, s.m), x[s.n, s.m], where=[Zero(s.n - s.m)])
    assert lines(s) == ["for n in 0..n_n:", "  m := n", "  y[n, m] = x[n, m]"]


def test_an_index_that_was_set_is_checked_where_it_may_leave_its_range() -> None:
    s = Small()
    x = s.given("x", "ij")
    s.eq.let("y", (s.i, s.j), x[s.i, s.j], where=[Zero(s.j - 2 * s.i + 1)])
    assert lines(s) == ["for i in 0..5:", "  j := 2*i - 1", "  if j >= 0, j <= 5:", "    y[i, j] = x[i, j]"]


def test_a_second_equality_is_a_condition() -> None:
    s = Small()
    x = s.given("x", "ij")
    s.eq.let("y", (s.i, s.j), x[s.i, s.j], where=[Zero(s.j - s.i), Zero(s.j + s.i - 4)])
    assert lines(s) == ["for i in 0..5:", "  j := i", "  if i + j == 4:", "    y[i, j] = x[i, j]"]


def test_an_equality_with_a_factor_is_a_condition() -> None:
    s = Small()
    x = s.given("x", "ij")
    s.eq.let("y", (s.i, s.j), x[s.i, s.j], where=[Zero(2 * s.j - s.i)])
    assert lines(s)[2] == "    if 2*j == i:"


def test_an_equality_with_data_below_the_extent_needs_no_check() -> None:
    for below, last in ((5, ["  y[n, i] = x[n]"]), (9, ["  if i <= 4:", "    y[n, i] = x[n]"])):
        s = Small()
        x, label = s.given("x", "n"), s.given("label", "n", below)
        s.eq.let("y", (s.n, s.i), x[s.n], where=[Zero(s.i - Affine.of(label.read(s.n)))])
        assert lines(s) == ["for n in 0..n_n:", "  i := label[n]", *last]


def test_an_equality_with_data_of_an_inner_loop_is_a_condition() -> None:
    s = Small()
    x, label = s.given("x", "n"), s.given("label", "n", 5)
    s.eq.let("y", (s.i,), x[s.n], (s.n,), where=[Zero(s.i - Affine.of(label.read(s.n)))])
    assert lines(s)[2:5] == ["  for n in 0..n_n:", "    if i == label[n]:", "      <total> += x[n]"]


def test_a_bound_from_data_is_a_condition() -> None:
    s = Small()
    x, length = s.given("x", "ni"), s.given("length", "n", 6)
    s.eq.let("y", (s.n,), x[s.n, s.i], (s.i,), where=[NonNegative(Affine.of(length.read(s.n)) - s.i - 1)])
    assert lines(s)[2:4] == ["  for i in 0..5:", "    if length[n] >= i + 1:"]


def test_other_guards_are_conditions() -> None:
    s = Small()
    x = s.given("x", "n")
    positive = Holds(Body.build(sp.Gt(x[s.n], 0), s.eq.operands))
    s.eq.let("y", (s.n,), x[s.n], where=[positive, Divisible(s.n + 1, 2)])
    assert lines(s) == ["for n in 0..n_n:", "  if x[n] > 0, (n + 1) % 2 == 0:", "    y[n] = x[n]"]


def test_a_guard_on_sizes_alone_stands_outside() -> None:
    s = Small()
    x = s.given("x", "n")
    s.eq.let("y", (s.n,), x[s.n], where=[NonNegative(s.size - 3)])
    assert lines(s) == ["if n_n >= 3:", "  for n in 0..n_n:", "    y[n] = x[n]"]


# ----------------------------------------------------------------------------------------------------------- products


def test_a_product_adds_or_sets() -> None:
    s = Small()
    x, W = s.given("x", "ni"), s.given("W", "ij")
    s.eq.let("y", (s.n, s.j), x[s.n, s.i] * W[s.i, s.j], (s.i,), accumulate=True)
    assert lines(s, fresh=True) == ["y[0:n_n, 0:6] = x[0:n_n, 0:5] @ W[0:5, 0:6]"]
    assert lines(s, fresh=False) == ["y[0:n_n, 0:6] += x[0:n_n, 0:5] @ W[0:5, 0:6]"]


def test_a_product_that_must_be_split_clears_the_tensor_first() -> None:
    s = Small()
    x, W = s.given("x", "nij"), s.given("W", "jik")
    s.eq.let("y", (s.n, s.k), x[s.n, s.i, s.j] * W[s.j, s.i, s.k], (s.i, s.j))
    assert lines(s) == [
        "fill y with 0",
        "for i in 0..5:",
        "  y[0:n_n, 0:7] += x[0:n_n, i, 0:6] @ W[0:6, i, 0:7]",
    ]


def test_a_split_product_clears_no_more_than_it_writes() -> None:
    s = Small()
    x, W = s.given("x", "nij"), s.given("W", "jik")
    value = x[s.n, s.i, s.j] * W[s.j, s.i, s.k]
    s.eq.let("y", (s.n, s.k), value, (s.i, s.j), at=(s.n + 1, s.k), shape=(s.size + 1, 7))
    assert lines(s) == [
        "for n in 0..n_n:",
        "  for k in 0..7:",
        "    y[n + 1, k] = 0",
        "for i in 0..5:",
        "  y[1:n_n + 1, 0:7] += x[0:n_n, i, 0:6] @ W[0:6, i, 0:7]",
    ]


def test_a_split_product_that_adds_clears_nothing() -> None:
    s = Small()
    x, W = s.given("x", "nij"), s.given("W", "jik")
    s.eq.let("y", (s.n, s.k), x[s.n, s.i, s.j] * W[s.j, s.i, s.k], (s.i, s.j), accumulate=True)
    assert lines(s, fresh=False) == ["for i in 0..5:", "  y[0:n_n, 0:7] += x[0:n_n, i, 0:6] @ W[0:6, i, 0:7]"]


@pytest.mark.parametrize("part", ["starts later", "ends sooner"])
def test_what_a_split_product_leaves_is_not_cleared(part: str) -> None:
    s = Small()
    x, W = s.given("x", "nij"), s.given("W", "jik")
    value = x[s.n, s.i, s.j] * W[s.j, s.i, s.k]
    shape = (s.size + 1, 7) if part == "ends sooner" else (s.size, 7)
    s.eq.let("y", (s.n, s.k), value, (s.i, s.j), shape=shape, starts={s.n: 1} if part == "starts later" else None)
    assert "fill y with 0" not in lines(s)
    assert "    y[n, k] = 0" in lines(s)


def test_a_split_product_in_a_scan_clears_its_own_step() -> None:
    s = Small()
    x, W = s.given("x", "nmij"), s.given("W", "jik")
    s.eq.let("y", (s.n, s.m, s.k), x[s.n, s.m, s.i, s.j] * W[s.j, s.i, s.k], (s.i, s.j))
    statement = s.program().definitions("y")[0]
    assert node_lines(lower_statement(statement, s.program(), fresh=True, bound=(s.m,))) == [
        "for n in 0..n_n:",
        "  for k in 0..7:",
        "    y[n, m, k] = 0",
        "for i in 0..5:",
        "  y[0:n_n, m, 0:7] += x[0:n_n, m, i, 0:6] @ W[0:6, i, 0:7]",
    ]


def test_a_batched_product() -> None:
    s = Small()
    x, W = s.given("x", "nmi"), s.given("W", "nik")
    s.eq.let("y", (s.n, s.m, s.k), x[s.n, s.m, s.i] * W[s.n, s.i, s.k], (s.i,))
    assert lines(s) == ["for n in 0..n_n:", "  y[n, 0:n_n, 0:7] = x[n, 0:n_n, 0:5] @ W[n, 0:5, 0:7]"]


def test_of_several_indices_on_an_axis_the_nearest_runs_inside() -> None:
    """``a[n, i + 5*j]``: i walks through memory, j jumps."""
    s = Small()
    x = s.given("x", "nij")
    at = (Affine.of(s.n), Affine.of(s.i) + 5 * Affine.of(s.j))
    s.eq.let("a", (s.n, s.i, s.j), x[s.n, s.i, s.j], at=at, shape=(s.size, 30))
    loops = [line.strip() for line in lowered(s.program("a"), "a") if "for" in line]
    assert loops == ["for n in 0..n_n:", "for j in 0..6:", "for i in 0..5:"]

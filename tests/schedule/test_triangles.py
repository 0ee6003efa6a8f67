"""Matrix products of which a guard keeps a triangle, and products that something multiplies."""

from __future__ import annotations

import pytest
import sympy as sp

from symbp.ir import Affine, NonNegative, Program
from symbp.ir.nodes import Product
from symbp.ir.walk_nodes import walk
from symbp.schedule.absorb import absorb_sums
from symbp.schedule.lower import lower_statement
from tests.codegen.agreement import check_outputs
from tests.schedule.node_text import lowered
from tests.schedule.small import Small

#: Names of the axes: rows, columns and the axis summed over; the guard says less <= more + 2.
LAYOUTS = {
    "columns up to the row": ("j", "i", "y[0:5, 0:6] = x[0:5, 0:7] @ w[0:7, 0:6] lower 2"),
    "rows up to the column": ("i", "j", "y[0:5, 0:6].T = w[0:7, 0:6].T @ x[0:5, 0:7].T lower 2"),
    "sum up to the row": ("k", "i", "y[0:5, 0:6] = x[0:5, 0:7] @ w[0:7, 0:6] of_lower 2"),
    "sum from the row": ("i", "k", "y[0:5, 0:6] = x[0:5, 0:7] @ w[0:7, 0:6] of_upper -2"),
    "sum up to the column": ("k", "j", "y[0:5, 0:6].T = w[0:7, 0:6].T @ x[0:5, 0:7].T of_lower 2"),
    "sum from the column": ("j", "k", "y[0:5, 0:6].T = w[0:7, 0:6].T @ x[0:5, 0:7].T of_upper -2"),
}


def guarded(less: str, more: str, shift: int) -> Program:
    """``y[i, j] = sum[k] x[i, k]*w[k, j]`` where less <= more + shift."""
    s = Small()
    x, w = s.given("x", "ik"), s.given("w", "kj")
    small, large = (getattr(s, name) for name in (less, more))
    s.eq.let("y", (s.i, s.j), x[s.i, s.k] * w[s.k, s.j], (s.k,), where=[NonNegative(large - small + shift)])
    return s.program("y")


def is_product(program: Program, name: str = "y") -> bool:
    statement = program.definitions(name)[0]
    return any(isinstance(n, Product) for n in walk(lower_statement(statement, program, fresh=True)))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_the_guard_ties_is_the_triangle(layout: str) -> None:
    less, more, expected = LAYOUTS[layout]
    assert lowered(guarded(less, more, 2), "y") == [expected]


@pytest.mark.parametrize("shift", [-7, -5, -1, 0, 1, 4, 9])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_triangle_is_what_the_equation_says(layout: str, shift: int) -> None:
    less, more, _ = LAYOUTS[layout]
    program = guarded(less, more, shift)
    assert is_product(program)
    check_outputs(program, {"n_n": 1})


@pytest.mark.parametrize("layout", LAYOUTS)
def test_shifts_are_counted_from_where_the_axes_begin(layout: str) -> None:
    """Parts of axes: i from 1 to 5 of 6, j from 2 to 6 of 7, k from 3 to 9 read at k - 3."""
    less, more, _ = LAYOUTS[layout]
    s = Small()
    i, j, k = s.eq.axis("p", 6), s.eq.axis("q", 7), s.eq.axis("r", 10)
    x, w = s.eq.given("x", i, s.k), s.eq.given("w", s.k, j)
    names = dict(zip("ijk", (i, j, k), strict=True))
    s.eq.let(
        "y",
        (i, j),
        x[i, k - 3] * w[k - 3, j],
        (k,),
        where=[NonNegative(names[more] - names[less] + 1)],
        starts={i: 1, j: 2, k: 3},
    )
    program = s.program("y")
    assert is_product(program)
    check_outputs(program, {"n_n": 1})


@pytest.mark.parametrize("size", [1, 2, 7, 13])
def test_the_products_of_causal_attention(size: int) -> None:
    s = Small()
    b, t, u, h, e = (s.eq.axis(n, x) for n, x in (("b", 3), ("t", "n_n"), ("z", "n_n"), ("h", 2), ("e", 5)))
    q, k, v = (s.eq.given(n, b, t, h, e) for n in "qkv")
    past, future = NonNegative(t - u), NonNegative(u - t)
    half = sp.Rational(1, 2) / sp.sqrt(5)
    a = s.eq.let("a", (b, h, t, u), half * q[b, t, h, e] * k[b, u, h, e], (e,), where=[past])
    s.eq.let("o", (b, t, h, e), a[b, h, t, u] * v[b, u, h, e], (u,), where=[past])
    s.eq.let("k_bar", (b, t, h, e), half * a[b, h, u, t] * q[b, u, h, e], (u,), where=[future])
    program = s.program("o", "k_bar")
    assert lowered(program, "o") == [
        "for b in 0..3:",
        "  for h in 0..2:",
        "    o[b, 0:n_n, h, 0:5] = a[b, h, 0:n_n, 0:n_n] @ v[b, 0:n_n, h, 0:5] of_lower 0",
    ]
    assert lowered(program, "a") == [
        "for b in 0..3:",
        "  for h in 0..2:",
        "    a[b, h, 0:n_n, 0:n_n] = q[b, 0:n_n, h, 0:5] @ k[b, 0:n_n, h, 0:5].T lower 0",
        "    for t in 0..n_n:",
        "      for z in 0..t + 1:",
        "        a[b, h, t, z] = 0.1*a[b, h, t, z]*sqrt(5)",
    ]
    assert lowered(program, "k_bar")[2:3] == [
        "    k_bar[b, 0:n_n, h, 0:5] = a[b, h, 0:n_n, 0:n_n].T @ q[b, 0:n_n, h, 0:5] of_upper 0"
    ]
    check_outputs(program, {"n_n": size})


def test_a_shift_may_differ_from_turn_to_turn() -> None:
    s = Small()
    x, w = s.given("x", "nik"), s.given("w", "nkj")
    s.eq.let("y", (s.n, s.i, s.j), x[s.n, s.i, s.k] * w[s.n, s.k, s.j], (s.k,), where=[NonNegative(s.i + s.n - s.k)])
    program = s.program("y")
    assert lowered(program, "y")[1:] == ["  y[n, 0:5, 0:6] = x[n, 0:5, 0:7] @ w[n, 0:7, 0:6] of_lower n"]
    check_outputs(program, {"n_n": 4})


def test_what_is_tied_acts_as_no_part_of_a_longer_axis() -> None:
    """Rows n and i could be one axis, and are no longer when the guard asks how far along i is."""
    s = Small()
    x, w = s.given("x", "nik"), s.given("w", "kj")
    s.eq.let("y", (s.n, s.i, s.j), x[s.n, s.i, s.k] * w[s.k, s.j], (s.k,), where=[NonNegative(s.i - s.j)])
    program = s.program("y")
    assert lowered(program, "y") == ["for n in 0..n_n:", "  y[n, 0:5, 0:6] = x[n, 0:5, 0:7] @ w[0:7, 0:6] lower 0"]
    check_outputs(program, {"n_n": 3})


def test_two_axes_of_the_rows_tied_to_each_other_are_loops() -> None:
    s = Small()
    x, w = s.given("x", "nik"), s.given("w", "kj")
    s.eq.let("y", (s.n, s.i, s.j), x[s.n, s.i, s.k] * w[s.k, s.j], (s.k,), where=[NonNegative(s.n - s.i)])
    program = s.program("y")
    assert not is_product(program)
    check_outputs(program, {"n_n": 3})


def test_heads_that_share_an_axis_are_turns() -> None:
    s = Small()
    h, e = s.eq.axis("h", 2), s.eq.axis("e", 5)
    wide = s.eq.axis("wide", 11)
    x, w = s.eq.given("x", s.n, wide), s.eq.given("w", s.m, wide)
    place = 5 * h + e + 1
    s.eq.let("y", (h, s.n, s.m), x[s.n, place] * w[s.m, place], (e,))
    program = s.program("y")
    assert lowered(program, "y") == [
        "for h in 0..2:",
        "  y[h, 0:n_n, 0:n_n] = x[0:n_n, 5*h + 1:5*h + 6] @ w[0:n_n, 5*h + 1:5*h + 6].T",
    ]
    check_outputs(program, {"n_n": 3})


# ----------------------------------------------------------------------------------------- what multiplies the result


def scaled(s: Small, factor: sp.Expr, accumulate: bool = False) -> Program:
    x, w = s.given("x", "ni"), s.given("w", "ij")
    s.eq.let("y", (s.n, s.j), factor * x[s.n, s.i] * w[s.i, s.j], (s.i,), accumulate=accumulate)
    return s.program("y")


def test_a_factor_outside_the_sum_follows_the_product() -> None:
    s = Small()
    g = s.given("g", "n")
    program = scaled(s, 2 * g[s.n] / 3)
    assert lowered(program, "y") == [
        "y[0:n_n, 0:6] = x[0:n_n, 0:5] @ w[0:5, 0:6]",
        "for n in 0..n_n:",
        "  for j in 0..6:",
        "    y[n, j] = 2*y[n, j]*g[n]/3",
    ]
    check_outputs(program, {"n_n": 3})


def test_a_scaled_sum_that_is_added_to_something_is_no_product() -> None:
    s = Small()
    program = scaled(s, sp.Integer(3), accumulate=True)
    statement = program.definitions("y")[0]
    assert not any(isinstance(n, Product) for n in walk(lower_statement(statement, program, fresh=False)))
    assert is_product(program)  # the first to write may set


@pytest.mark.parametrize(("factor", "absorbed"), [(1, True), (2, False)])
def test_only_an_unscaled_product_is_added_in_place(factor: int, absorbed: bool) -> None:
    s = Small()
    x, w, c = s.given("x", "ni"), s.given("w", "ij"), s.given("c", "j")
    z = s.eq.let("z", (s.n, s.j), factor * x[s.n, s.i] * w[s.i, s.j], (s.i,))
    s.eq.let("y", (s.n, s.j), z[s.n, s.j] + c[s.j])
    program = absorb_sums(s.program("y"))
    assert program.has("z") is not absorbed
    check_outputs(s.program("y"), {"n_n": 3})


def test_a_data_dependent_factor_stays_in_loops() -> None:
    s = Small()
    x, w, label = s.given("x", "kni"), s.given("w", "nij"), s.given("label", "n", 7)
    read = x[Affine.of(label.read(s.n)), s.m, s.i]
    s.eq.let("y", (s.n, s.m, s.j), read * w[s.n, s.i, s.j], (s.i,))
    program = s.program("y")
    assert not is_product(program)
    check_outputs(program, {"n_n": 3})

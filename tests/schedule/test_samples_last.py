"""Samples as the last axis of what convolutions read and make, and the calls that these become."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from symbp.check import interpret
from symbp.ir import Affine, NonNegative, Program, Reduction
from symbp.ir.affine import ONE, ZERO, Index, Size
from symbp.ir.nodes import Slide, Tie
from symbp.ir.statement import Zero
from symbp.ir.verify import verify
from symbp.ir.walk_nodes import walk
from symbp.schedule.lower import lower_statement
from symbp.schedule.samples_last import lay_samples_last
from symbp.schedule.slide import as_slide
from tests.derive.equations import Equations
from tests.schedule.node_text import equations

N_B = Affine.of(Size("n_b"))


def axes(eq: Equations, **extents: int) -> list[Index]:
    return [eq.axis(name, extent) for name, extent in extents.items()]


def network() -> Program:
    """A convolution, a pooling, a matrix product over all features of a sample, and the gradient of the kernel."""
    eq = Equations()
    b = eq.axis("b", "n_b")
    c, o, p, u, r, m, f, k = axes(eq, c=2, o=5, p=6, u=3, r=3, m=2, f=15, k=4)
    x, K, W = eq.given("x", b, c, eq.axis("i", 8)), eq.parameter("K", o, c, u), eq.parameter("W", f, k)
    z = eq.let("z", (b, o, p), x[b, c, Affine.of(p) + u] * K[o, c, u], (c, u))
    y = eq.let("y", (b, o, r), z[b, o, Affine.of(r) * 2 + m], (m,), reduction=Reduction.MAX)
    flat = eq.let("flat", (b, o, r), y[b, o, r], at=(b, Affine.of(o) * 3 + r), shape=(N_B, 15))
    eq.let("out", (b, k), flat[b, f] * W[f, k], (f,))
    eq.let("K_bar", (o, c, u), x[b, c, Affine.of(p) + u] * z[b, o, p], (b, p))
    return eq.program(outputs=("out", "K_bar"))


def test_it_spreads_from_the_convolution_to_the_matrix_product() -> None:
    assert equations(lay_samples_last(network())) == [
        "x_lanes[c, i, b] = x[b, c, i]",
        "z[o, p, b] = sum[c, u] x_lanes[c, p + u, b]*K[o, c, u]",
        "y[o, r, b] = max[m] z[o, m + 2*r, b]",
        "flat[b, 3*o + r] = y[o, r, b]",
        "out[b, k] = sum[f] flat[b, f]*W[f, k]",
        "K_bar[o, c, u] = sum[b, p] x_lanes[c, p + u, b]*z[o, p, b]",
    ]


def test_what_others_see_is_copied_back_and_what_is_made_is_not_copied_again() -> None:
    assert equations(lay_samples_last(replace(network(), outputs=("z", "out", "K_bar"))))[:4] == [
        "x_lanes[c, i, b] = x[b, c, i]",
        "z_lanes[o, p, b] = sum[c, u] x_lanes[c, p + u, b]*K[o, c, u]",
        "z[b, o, p] = z_lanes[o, p, b]",
        "y[b, o, r] = max[m] z[b, o, m + 2*r]",
    ]


def test_nothing_changes_without_something_that_slides() -> None:
    eq = Equations()
    b, i, k = eq.axis("b", "n_b"), eq.axis("i", 5), eq.axis("k", 3)
    x, W = eq.given("x", b, i), eq.parameter("W", i, k)
    eq.let("z", (b, k), x[b, i] * W[i, k], (i,))
    program = eq.program(outputs=("z",))
    assert lay_samples_last(program) is program


def pooling_gradient() -> Program:
    """``z_bar`` is ``y_bar`` where the maximum was; it is the gradient of a convolution's result."""
    eq = Equations()
    b = eq.axis("b", "n_b")
    c, o, p, u, r, m = axes(eq, c=2, o=5, p=6, u=3, r=3, m=2)
    x, place = eq.given("x", b, c, eq.axis("i", 8)), eq.given("place", b, o, r, below=2)
    y_bar = eq.given("y_bar", b, o, r)
    here = Zero(Affine.of(m) - Affine.of(place.read(b, o, r)))
    z_bar = eq.let(
        "z_bar", (b, o, r, m), y_bar[b, o, r], where=[here], at=(b, o, Affine.of(r) * 2 + m),
        shape=(N_B, 5, 6), accumulate=True,
    )  # fmt: skip
    eq.let("K_bar", (o, c, u), x[b, c, Affine.of(p) + u] * z_bar[b, o, p], (b, p))
    return eq.program(outputs=("K_bar",))


def test_a_condition_on_data_becomes_a_choice_of_values() -> None:
    assert equations(lay_samples_last(pooling_gradient())) == [
        "y_bar_lanes[o, r, b] = y_bar[b, o, r]",
        "x_lanes[c, i, b] = x[b, c, i]",
        "z_bar[o, m + 2*r, b] += select(place[b, o, r] == m, y_bar_lanes[o, r, b], 0)",
        "K_bar[o, c, u] = sum[b, p] x_lanes[c, p + u, b]*z_bar[o, p, b]",
    ]


@pytest.mark.parametrize("n_b", [1, 7])
def test_the_numbers_stay(n_b: int) -> None:
    random = np.random.default_rng(n_b)
    feed = {
        "x": random.standard_normal((n_b, 2, 8)),
        "K": random.standard_normal((5, 2, 3)),
        "W": random.standard_normal((15, 4)),
        "y_bar": random.standard_normal((n_b, 5, 3)),
        "place": random.integers(0, 2, (n_b, 5, 3)),
    }
    for plain in (network(), replace(network(), outputs=("z", "out", "K_bar")), pooling_gradient()):
        turned = verify(lay_samples_last(plain))
        given = {t.name: feed[t.name] for t in plain.tensors if t.is_given}
        found, expected = (interpret(p, {"n_b": n_b}, given) for p in (turned, plain))
        for name in plain.outputs:
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-13, atol=1e-13)


# --------------------------------------------------------------------------------------------------------- the calls


def slides(program: Program, name: str) -> list[Slide]:
    nodes = [n for s in program.definitions(name) for n in walk(lower_statement(s, program, fresh=True))]
    return [n for n in nodes if isinstance(n, Slide)]


def numbers(*values: int) -> tuple[Affine, ...]:
    return tuple(map(Affine.of, values))


def test_every_index_is_a_count_and_steps() -> None:
    program = lay_samples_last(network())
    (forward,) = slides(program, "z")
    assert (forward.left, forward.right, forward.out, forward.lanes) == ("K", "x_lanes", "z", N_B)
    assert (forward.row.count, forward.row.left, forward.row.out) == numbers(5, 6, 6)
    assert [(s.count, s.left, s.right, s.out) for s in forward.places] == [numbers(6, 0, 1, 1)]
    assert [(s.count, s.left, s.right) for s in forward.window] == [numbers(2, 3, 8), numbers(3, 1, 1)]
    assert not forward.sums_lanes
    assert not forward.accumulate
    (backward,) = slides(program, "K_bar")
    assert (backward.left, backward.right, backward.out) == ("z", "x_lanes", "K_bar")
    assert [(s.count, s.right, s.out) for s in backward.window] == [numbers(2, 8, 3), numbers(3, 1, 1)]
    assert [(s.count, s.left, s.right) for s in backward.places] == [numbers(6, 1, 1)]
    assert backward.sums_lanes


def padded(stride: int = 1, *, more: bool = False) -> Program:
    """``z[o, p, b] = sum[c, u] x[c, s*p + u - 1, b]*K[o, c, u]`` where it is inside x."""
    eq = Equations()
    b = eq.axis("b", "n_b")
    c, o, p, u = axes(eq, c=2, o=5, p=8 // stride, u=3)
    x, K = eq.given("x", c, eq.axis("i", 8), b), eq.given("K", o, c, u)
    at = Affine.of(p) * stride + u - 1
    inside = [NonNegative(at), NonNegative(7 - at)]
    if more:
        inside.append(NonNegative(Affine.of(o) - p))  # decides which elements are made
    eq.let("z", (o, p, b), x[c, at, b] * K[o, c, u], (c, u), where=inside)
    return eq.program(outputs=("z",))


@pytest.mark.parametrize("stride", [1, 2])
def test_guards_are_bounds_of_the_window(stride: int) -> None:
    (found,) = slides(padded(stride), "z")
    assert [s.tie for s in found.window] == [None, Tie(0, Affine.of(stride), ONE, Affine.of(-1), Affine.of(8))]
    assert found.start == (ZERO, Affine.of(-1), ZERO)


def test_of_a_stride_it_is_the_kernel_that_slides() -> None:
    eq = Equations()
    b = eq.axis("b", "n_b")
    c, o, p, i = axes(eq, c=2, o=5, p=4, i=9)
    z_bar, K = eq.given("z_bar", o, p, b), eq.given("K", o, c, eq.axis("u", 3))
    at = Affine.of(i) - Affine.of(p) * 2
    inside = [NonNegative(at), NonNegative(2 - at)]
    eq.let("x_bar", (c, i, b), z_bar[o, p, b] * K[o, c, at], (o, p), where=inside)
    (found,) = slides(eq.program(outputs=("x_bar",)), "x_bar")
    assert (found.left, found.right, found.row.count) == ("K", "z_bar", Affine.of(2))
    assert [(s.count, s.left, s.right, s.out) for s in found.places] == [numbers(9, 1, 0, 1)]
    assert [(s.count, s.left, s.right) for s in found.window] == [numbers(5, 6, 4), numbers(4, -2, 1)]
    assert found.window[1].tie == Tie(0, ONE, Affine.of(-2), ZERO, Affine.of(3))


def test_other_guards_are_no_bounds() -> None:
    assert slides(padded(more=True), "z") == []


def test_more_places_than_a_call_takes_are_loops_around_it() -> None:
    eq = Equations()
    b = eq.axis("b", "n_b")
    n, o, p, q, r, u = axes(eq, n=3, o=4, p=4, q=5, r=6, u=2)
    x = eq.given("x", n, *axes(eq, i=4, j=5, k=7), b)
    K = eq.given("K", o, u)
    eq.let("z", (n, o, p, q, r, b), x[n, p, q, Affine.of(r) + u, b] * K[o, u], (u,))
    program = eq.program(outputs=("z",))
    found = as_slide(program.statements[0], program)
    assert found is not None
    assert found.around == (n,)
    assert found.node.start == (ZERO, Affine.of(n) * 140, Affine.of(n) * 480)
    assert [s.count for s in found.node.places] == list(numbers(4, 5, 6))


def test_where_samples_come_first_nothing_slides_by_itself() -> None:
    assert slides(network(), "z") == []

"""Samples as the last axis of what convolutions read and make, and the calls that these become."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from symbp.check import interpret
from symbp.ir import Affine, NonNegative, Program, Reduction
from symbp.ir.affine import Index, Size
from symbp.ir.nodes import Slide
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


def factors(node: Slide) -> list[str]:
    """Left, right and result, each with its subscripts."""
    return [f"{p.tensor}[{', '.join(map(str, p.subscripts))}]" for p in (node.left, node.right, node.out)]


def test_every_subscript_is_told() -> None:
    program = lay_samples_last(network())
    (forward,) = slides(program, "z")
    assert factors(forward) == ["K[o, c, u]", "x_lanes[c, p + u, b]", "z[o, p, b]"]
    assert forward.extents == (N_B, *map(Affine.of, (5, 6, 2, 3)))
    assert not forward.sums_lanes
    assert not forward.accumulate
    (backward,) = slides(program, "K_bar")
    assert factors(backward) == ["z[o, p, b]", "x_lanes[c, p + u, b]", "K_bar[o, c, u]"]
    assert backward.sums_lanes


def padded(stride: int = 1, *, more: bool = False, inside: int = 7) -> Program:
    """``z[o, p, b] = sum[c, u] x[c, s*p + u - 1, b]*K[o, c, u]`` where the subscript of x is from 0 to `inside`."""
    eq = Equations()
    b = eq.axis("b", "n_b")
    c, o, p, u = axes(eq, c=2, o=5, p=8 // stride, u=3)
    x, K = eq.given("x", c, eq.axis("i", 8), b), eq.given("K", o, c, u)
    at = Affine.of(p) * stride + u - 1
    guards = [NonNegative(at), NonNegative(inside - at)]
    if more:
        guards.append(NonNegative(Affine.of(o) - p))  # decides which elements are made
    eq.let("z", (o, p, b), x[c, at, b] * K[o, c, u], (c, u), where=guards)
    return eq.program(outputs=("z",))


@pytest.mark.parametrize(("stride", "at"), [(1, "p + u - 1"), (2, "2*p + u - 1")])
def test_guards_that_keep_a_subscript_inside_are_left_to_the_call(stride: int, at: str) -> None:
    (found,) = slides(padded(stride), "z")
    assert factors(found) == ["K[o, c, u]", f"x[c, {at}, b]", "z[o, p, b]"]


def test_of_a_stride_it_is_the_kernel_that_slides() -> None:
    eq = Equations()
    b = eq.axis("b", "n_b")
    c, o, p, i = axes(eq, c=2, o=5, p=4, i=9)
    z_bar, K = eq.given("z_bar", o, p, b), eq.given("K", o, c, eq.axis("u", 3))
    at = Affine.of(i) - Affine.of(p) * 2
    inside = [NonNegative(at), NonNegative(2 - at)]
    eq.let("x_bar", (c, i, b), z_bar[o, p, b] * K[o, c, at], (o, p), where=inside)
    (found,) = slides(eq.program(outputs=("x_bar",)), "x_bar")
    assert factors(found) == ["K[o, c, i - 2*p]", "z_bar[o, p, b]", "x_bar[c, i, b]"]


def test_other_guards_are_not() -> None:
    assert slides(padded(more=True), "z") == []
    assert slides(padded(inside=6), "z") == []


def test_a_part_of_an_axis_is_a_slice() -> None:
    """The second of two groups of channels, and places that begin at 2."""
    eq = Equations()
    b = eq.axis("b", "n_b")
    c, o, p, u = axes(eq, c=2, o=5, p=6, u=3)
    x, K = eq.given("x", eq.axis("both", 4), eq.axis("i", 8), b), eq.given("K", o, c, u)
    term = x[Affine.of(c) + 2, Affine.of(p) + u - 1, b] * K[o, c, u]
    eq.let("z", (o, p, b), term, (c, u), at=(o, p, b), shape=(5, 7, N_B), starts={p: 2})
    (found,) = slides(eq.program(outputs=("z",)), "z")
    assert factors(found) == ["K[o, c, u]", "x[c, p + u + 1, b]", "z[o, p, b]"]
    assert found.right.axes[0] == (Affine.of(2), Affine.of(4))
    assert found.out.axes[1] == (Affine.of(2), Affine.of(6))


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
    assert factors(found.node) == ["K[o, u]", "x[p, q, r + u, b]", "z[o, p, q, r, b]"]
    assert (found.node.right.axes[0], found.node.out.axes[0]) == (Affine.of(n), Affine.of(n))


def test_where_samples_come_first_nothing_slides_by_itself() -> None:
    assert slides(network(), "z") == []

"""Convolutions as matrix products: what is gathered, what is multiplied first, and that the numbers stay."""

from __future__ import annotations

import numpy as np
import pytest

from symbp.check import interpret
from symbp.ir import Affine, NonNegative, Program
from symbp.ir.affine import Index
from symbp.schedule.unfold import unfold
from tests.derive.equations import Equations
from tests.schedule.node_text import equations


def axes(eq: Equations, **extents: int) -> list[Index]:
    return [eq.axis(name, extent) for name, extent in extents.items()]


def convolution() -> Equations:
    """z and the gradient of K, which reads the same patches."""
    eq = Equations()
    b = eq.axis("b", "n_b")
    c, o, p, u = axes(eq, c=2, o=4, p=6, u=3)
    x, K = eq.given("x", b, c, eq.axis("i", 8)), eq.given("K", o, c, u)
    z = eq.let("z", (b, o, p), x[b, c, Affine.of(p) + u] * K[o, c, u], (c, u))
    eq.let("K_bar", (o, c, u), x[b, c, Affine.of(p) + u] * z[b, o, p], (b, p))
    return eq


def test_one_gather_serves_both() -> None:
    program = unfold(convolution().program(outputs=("z", "K_bar")))
    assert equations(program) == [
        "x_patches[b, c, u, p] = x[b, c, p + u]",
        "z[b, o, p] = sum[c, u] x_patches[b, c, u, p]*K[o, c, u]",
        "K_bar[o, c, u] = sum[b, p] x_patches[b, c, u, p]*z[b, o, p]",
    ]


def gradient(channels: int, window: int = 3) -> Program:
    """The gradient of the input: z_bar where it is, which the guards say."""
    eq = Equations()
    b = eq.axis("b", "n_b")
    c, o, i, u = axes(eq, c=4, o=channels, i=8, u=window)
    z_bar, K = eq.given("z_bar", b, o, eq.axis("p", 9 - window)), eq.given("K", o, c, u)
    inside = [NonNegative(Affine.of(i) - u), NonNegative(8 - window - Affine.of(i) + u)]
    eq.let("x_bar", (b, c, i), z_bar[b, o, Affine.of(i) - u] * K[o, c, u], (o, u), where=inside)
    return eq.program(outputs=("x_bar",))


def test_the_product_comes_first_where_that_is_less_to_keep() -> None:
    assert equations(unfold(gradient(channels=16))) == [
        "x_bar_terms[b, c, u, p] = sum[o] z_bar[b, o, p]*K[o, c, u]",
        "x_bar[b, c, i] = sum[u] x_bar_terms[b, c, u, i - u]    where i >= u, u + 5 >= i",
    ]


def test_else_what_slides_is_gathered_and_is_0_outside() -> None:
    assert equations(unfold(gradient(channels=3, window=5))) == [
        "z_bar_patches[b, o, u, i] = z_bar[b, o, i - u]    where i >= u, u + 3 >= i",
        "x_bar[b, c, i] = sum[o, u] z_bar_patches[b, o, u, i]*K[o, c, u]",
    ]


@pytest.mark.parametrize(("channels", "window"), [(3, 5), (16, 3)])
@pytest.mark.parametrize("n_b", [1, 7])
def test_the_numbers_stay(channels: int, window: int, n_b: int) -> None:
    random = np.random.default_rng(channels)
    plain = gradient(channels, window)
    feed = {
        "z_bar": random.standard_normal((n_b, channels, 9 - window)),
        "K": random.standard_normal((channels, 4, window)),
    }
    found, expected = (interpret(p, {"n_b": n_b}, feed)["x_bar"] for p in (unfold(plain), plain))
    np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-14)
    plain = convolution().program(outputs=("z", "K_bar"))
    feed = {"x": random.standard_normal((n_b, 2, 8)), "K": random.standard_normal((4, 2, 3))}
    for name in ("z", "K_bar"):
        found, expected = (interpret(p, {"n_b": n_b}, feed)[name] for p in (unfold(plain), plain))
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-13)


def test_what_stays_as_it_is() -> None:
    """A depthwise kernel has no rows; a long filter would need too much memory; nothing slides in a plain product."""
    eq = Equations()
    b = eq.axis("b", "n_b")
    c, p, u = axes(eq, c=4, p=6, u=3)
    x, K = eq.given("x", b, c, eq.axis("i", 8)), eq.given("K", c, u)
    eq.let("z", (b, c, p), x[b, c, Affine.of(p) + u] * K[c, u], (u,))
    depthwise = eq.program(outputs=("z",))
    assert unfold(depthwise).statements == depthwise.statements
    eq = Equations()
    b = eq.axis("b", "n_b")
    o, p, u = axes(eq, o=4, p=100, u=65)
    x, K = eq.given("x", b, eq.axis("i", 164)), eq.given("K", o, u)
    eq.let("z", (b, o, p), x[b, Affine.of(p) + u] * K[o, u], (u,))
    long = eq.program(outputs=("z",))
    assert unfold(long).statements == long.statements
    eq = Equations()
    b = eq.axis("b", "n_b")
    o, u = axes(eq, o=4, u=6)
    x, K = eq.given("x", b, u), eq.given("K", o, u)
    eq.let("z", (b, o), x[b, u] * K[o, u], (u,))
    product = eq.program(outputs=("z",))
    assert unfold(product).statements == product.statements

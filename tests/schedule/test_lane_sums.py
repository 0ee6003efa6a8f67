"""Sums over samples that lie side by side, in two steps."""

from __future__ import annotations

import numpy as np
import pytest

from symbp.check import interpret
from symbp.ir import Program
from symbp.ir.verify import verify
from symbp.schedule.lane_sums import sum_lanes_last
from tests.derive.equations import Equations
from tests.schedule.node_text import equations


def sums() -> Program:
    eq = Equations()
    b = eq.axis("b", "n_b")
    o, p, u = (eq.axis(name, extent) for name, extent in (("o", 5), ("p", 7), ("u", 3)))
    z, y, first = eq.given("z", o, p, b), eq.given("y", o, p, b), eq.given("first", b, o)
    eq.let("plain", (o,), z[o, p, b], (b, p))
    eq.let("squares", (o,), z[o, p, b] ** 2 * 3, (p, b))
    eq.let("row", (p,), z[1, p, b], (b,))  # one row of samples for each result
    eq.let("product", (o, u), z[o, p, b] * y[u, p, b], (p, b))
    eq.let("samples_first", (o,), first[b, o] * z[o, p, b], (b, p))
    eq.let("each", (o, b), z[o, p, b], (p,))
    return eq.program(outputs=("plain", "squares", "row", "product", "samples_first", "each"))


def test_rows_of_samples_are_added_before_their_lanes() -> None:
    assert equations(sum_lanes_last(sums(), ("z", "y"))) == [
        "plain_lanes[o, b] = sum[p] z[o, p, b]",
        "plain[o] = sum[b] plain_lanes[o, b]",
        "squares_lanes[o, b] = sum[p] 3*z[o, p, b]**2",
        "squares[o] = sum[b] squares_lanes[o, b]",
        "row[p] = sum[b] z[1, p, b]",
        "product[o, u] = sum[p, b] z[o, p, b]*y[u, p, b]",
        "samples_first[o] = sum[b, p] z[o, p, b]*first[b, o]",
        "each[o, b] = sum[p] z[o, p, b]",
    ]


def test_only_what_was_laid_out_so() -> None:
    assert sum_lanes_last(sums(), ()) == sums()


@pytest.mark.parametrize("n_b", [1, 13])
def test_the_numbers_are_the_same(n_b: int) -> None:
    random, plain = np.random.default_rng(n_b), sums()
    feed = {n: random.standard_normal(s) for n, s in (("z", (5, 7, n_b)), ("y", (5, 7, n_b)), ("first", (n_b, 5)))}
    found = interpret(verify(sum_lanes_last(plain, ("z", "y"))), {"n_b": n_b}, feed)
    expected = interpret(plain, {"n_b": n_b}, feed)
    for name in plain.outputs:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-13, atol=1e-13)

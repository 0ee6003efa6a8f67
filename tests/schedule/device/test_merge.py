"""Rows that are walked once."""

from __future__ import annotations

import sympy as sp

from symbp.ir import Reduction
from tests.schedule.device.plans import steps_of
from tests.schedule.small import Small


def softmax() -> Small:
    s = Small()
    r = s.eq.axis("r", 100)
    x = s.eq.given("x", s.n, r)
    z = s.eq.let("z", (s.n, r), 2 * x[s.n, r])
    m = s.eq.let("m", (s.n,), z[s.n, r], (r,), Reduction.MAX)
    e = s.eq.let("e", (s.n, r), sp.exp(z[s.n, r] - m[s.n]))
    total = s.eq.let("t", (s.n,), e[s.n, r], (r,), Reduction.SUM)
    s.eq.let("p", (s.n, r), e[s.n, r] / total[s.n])
    return s


def test_a_softmax_walks_its_row_three_times() -> None:
    """For the maximum, for the sum, for the quotient."""
    assert steps_of(softmax(), "p") == [
        "launch predict_p, a warp for each of n in 0..n_n:",
        "  m = -oo",
        "  share r in 0..100:",
        "    z[n, r] = 2*x[n, r]",
        "    m max= z[n, r]",
        "  m max over the team",
        "  t = 0",
        "  share r in 0..100:",
        "    e[n, r] = exp(z[n, r] - m)",
        "    t += e[n, r]",
        "  t sum over the team",
        "  share r in 0..100:",
        "    p[n, r] = e[n, r]/t",
    ]


def test_sums_side_by_side_have_names_of_their_own() -> None:
    s = Small()
    x, y = s.given("x", "ni"), s.given("y", "ni")
    s.eq.let("a", (s.i,), x[s.n, s.i], (s.n,), Reduction.SUM)
    s.eq.let("b", (s.i,), y[s.n, s.i], (s.n,), Reduction.SUM)
    s.eq.let("d", (s.i,), x[s.n, s.i] * y[s.n, s.i], (s.n,), Reduction.SUM)
    lines = steps_of(s, "a", "b", "d")
    assert lines[1:8] == [
        "  <total> = 0",
        "  total_2 = 0",
        "  total_3 = 0",
        "  share n in 512*c..min(n_n, 512*c + 512):",
        "    <total> += x[n, i]",
        "    total_2 += y[n, i]",
        "    total_3 += x[n, i]*y[n, i]",
    ]
    assert sum("share" in line for line in lines) == 2  # the parts, and the parts' sums


def test_a_loop_that_needs_another_turns_value_stays_apart() -> None:
    s = Small()
    r = s.eq.axis("r", 100)
    x = s.eq.given("x", s.n, r)
    a = s.eq.let("a", (s.n, r), 2 * x[s.n, r])
    s.eq.let("b", (s.n, r), a[s.n, 0] + x[s.n, r])
    assert steps_of(s, "a", "b") == [
        "launch predict_b, a warp for each of n in 0..n_n:",
        "  share r in 0..100:",
        "    a[n, r] = 2*x[n, r]",
        "  barrier",
        "  share r in 0..100:",
        "    b[n, r] = x[n, r] + a[n, 0]",
    ]


def test_a_loop_that_needs_the_whole_sum_stays_apart() -> None:
    s = Small()
    r = s.eq.axis("r", 100)
    x = s.eq.given("x", s.n, r)
    total = s.eq.let("t", (s.n,), x[s.n, r], (r,), Reduction.SUM)
    s.eq.let("b", (s.n, r), x[s.n, r] - total[s.n])
    assert [line.strip() for line in steps_of(s, "b")][1:] == [
        "t = 0",
        "share r in 0..100:",
        "t += x[n, r]",
        "t sum over the team",
        "share r in 0..100:",
        "b[n, r] = x[n, r] - t",
    ]

"""Which team takes a point, and how it shares the loops inside."""

from __future__ import annotations

import sympy as sp

from symbp.ir import Affine, Index, NonNegative, Read, Reduction
from symbp.ir.affine import ONE
from symbp.ir.nodes import Once, Settle, Update
from symbp.schedule.device.independence import ranges_of
from symbp.schedule.device.teams import share
from tests.schedule.device.plans import steps_of
from tests.schedule.small import Small


def test_a_map_is_one_thread_for_each_element() -> None:
    s = Small()
    x = s.given("x", "ni")
    s.eq.let("a", (s.n, s.i), x[s.n, s.i] + 1)
    assert steps_of(s, "a") == [
        "launch predict_a, a thread for each of n in 0..n_n, i in 0..5:",
        "  a[n, i] = 1 + x[n, i]",
    ]


def test_a_short_row_is_one_thread_and_a_long_one_a_warp() -> None:
    for extent, team in ((16, "thread"), (17, "warp"), (1024, "warp"), (1025, "block")):
        s = Small()
        r = s.eq.axis("r", extent)
        x = s.eq.given("x", s.n, r)
        m = s.eq.let("m", (s.n,), x[s.n, r], (r,), Reduction.MAX)
        s.eq.let("a", (s.n, r), sp.exp(x[s.n, r] - m[s.n]))
        assert steps_of(s, "a", "m")[0] == f"launch predict_a, a {team} for each of n in 0..n_n:"


def test_a_row_is_shared_and_its_maximum_is_everybodys() -> None:
    s = Small()
    r = s.eq.axis("r", 100)
    x = s.eq.given("x", s.n, r)
    m = s.eq.let("m", (s.n,), x[s.n, r], (r,), Reduction.MAX)
    s.eq.let("a", (s.n, r), sp.exp(x[s.n, r] - m[s.n]))
    assert steps_of(s, "a", "m") == [
        "launch predict_a, a warp for each of n in 0..n_n:",
        "  m_n = -oo",
        "  share r in 0..100:",
        "    m_n max= x[n, r]",
        "  m_n max over the team",
        "  once:",
        "    m[n] = m_n",
        "  share r in 0..100:",
        "    a[n, r] = exp(x[n, r] - m_n)",
    ]


def test_a_sum_down_columns_is_a_column_of_threads() -> None:
    s = Small()
    x = s.given("x", "ni")
    s.eq.let("a", (s.i,), x[s.n, s.i], (s.n,), Reduction.SUM)
    lines = steps_of(s, "a")
    assert lines[0] == "launch predict_a_part, a column for each of c in 0..(n_n + 511)//512, i in 0..5:"
    assert lines[2:6] == [
        "  share n in 512*c..min(n_n, 512*c + 512):",
        "    <total> += x[n, i]",
        "  <total> sum over the team",
        "  once:",
    ]


def test_a_window_that_slides_is_one_thread() -> None:
    s = Small()
    q, v = s.eq.axis("q", 30), s.eq.axis("v", 20)
    x, w = s.eq.given("x", s.n, s.eq.axis("r", 49)), s.eq.given("w", v)
    s.eq.let("a", (s.n, q), x[s.n, Affine.of(q) + v] * w[v] + 1, (v,), Reduction.SUM)
    assert steps_of(s, "a")[0] == "launch predict_a, a thread for each of n in 0..n_n, q in 0..30:"


def test_a_triangle_is_shared_row_by_row() -> None:
    s = Small()
    x = s.given("x", "nm")
    below = NonNegative(Affine.of(s.n) - s.m)
    s.eq.let("a", (s.n,), x[s.n, s.m], (s.m,), Reduction.SUM, where=[below])
    assert steps_of(s, "a")[:3] == [
        "launch predict_a, a warp for each of n in 0..n_n:",
        "  <total> = 0",
        "  share m in 0..n + 1:",
    ]


def test_what_depends_on_its_own_turns_is_not_shared() -> None:
    """An argmax takes its candidates in order."""
    s = Small()
    x = s.given("x", "nm")
    s.eq.let("p", (s.n,), x[s.n, s.m], (s.m,), Reduction.ARGMAX)
    s.whole_numbers("p")
    lines = steps_of(s, "p")
    assert lines[0] == "launch predict_p, a thread for each of n in 0..n_n:"
    assert "  for m in 0..n_n:" in lines


def test_a_sum_of_whole_numbers_is_settled_by_one_thread() -> None:
    settle = Settle(Read("w_bar", (Affine.of(Index("k")),)), "w_bar_sums", "w_bar_largest", ONE, Update.ADD)
    assert share((settle,), ranges_of((settle,))) == (Once((settle,)),)

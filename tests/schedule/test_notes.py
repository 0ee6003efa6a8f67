"""Where equations stand above the loops that carry them out."""

from __future__ import annotations

import sympy as sp

from symbp.schedule.fuse import fuse_nests
from symbp.schedule.notes import head_with_equations
from tests.schedule.node_text import nest_lines
from tests.schedule.small import Small
from tests.schedule.test_fuse import nests


def headed(s: Small) -> list[str]:
    return nest_lines(head_with_equations(fuse_nests(nests(s))))


def test_loops_one_in_the_other_are_headed_by_all_their_equations() -> None:
    s = Small()
    x = s.given("x", "ni")
    a = s.eq.let("a", (s.n, s.i), x[s.n, s.i] + 1)
    s.eq.let("b", (s.n, s.i), 2 * a[s.n, s.i])
    assert headed(s)[:4] == ["# a[n, i] = 1 + x[n, i]", "# b[n, i] = 2*a[n, i]", "for n in 0..n_n:", "  for i in 0..5:"]


def test_several_inner_loops_keep_their_own() -> None:
    s = Small()
    x = s.given("x", "ni")
    t = s.eq.let("t", (s.n,), x[s.n, s.i], (s.i,))
    s.eq.let("p", (s.n, s.i), sp.exp(x[s.n, s.i]) / t[s.n])
    assert headed(s) == [
        "for n in 0..n_n:",
        "  # t[n] = sum[i] x[n, i]",
        "  <total> = 0",
        "  for i in 0..5:",
        "    <total> += x[n, i]",
        "  t[n] = <total>",
        "  # p[n, i] = exp(x[n, i])/t[n]",
        "  for i in 0..5:",
        "    p[n, i] = exp(x[n, i])/t[n]",
    ]


def test_one_equation_in_several_loops_is_above_them_all() -> None:
    s = Small()
    x = s.given("x", "ni")
    s.eq.let("t", (s.n,), x[s.n, s.i], (s.i,))
    assert headed(s)[:2] == ["# t[n] = sum[i] x[n, i]", "for n in 0..n_n:"]


def test_a_tensor_is_cleared_under_its_equation() -> None:
    s = Small()
    x = s.given("x", "ni")
    s.eq.let("a", (s.n, s.i), x[s.n, s.i] + 1)
    s.eq.let("c", (s.i,), x[s.n, s.i], (s.n,))
    assert headed(s)[:4] == [
        "# a[n, i] = 1 + x[n, i]",
        "# c[i] = sum[n] x[n, i]",
        "fill c with 0",
        "for n in 0..n_n:",
    ]


def test_every_equation_is_told_once() -> None:
    s = Small()
    x = s.given("x", "ni")
    a = s.eq.let("a", (s.n, s.i), x[s.n, s.i] + 1)
    t = s.eq.let("t", (s.n,), a[s.n, s.i], (s.i,))
    s.eq.let("p", (s.n, s.i), a[s.n, s.i] / t[s.n])
    s.eq.let("c", (s.i,), a[s.n, s.i], (s.n,))
    told = [line.strip() for line in headed(s) if line.strip().startswith("#")]
    assert sorted(told) == sorted(
        ["# a[n, i] = 1 + x[n, i]", "# t[n] = sum[i] a[n, i]", "# p[n, i] = a[n, i]/t[n]", "# c[i] = sum[n] a[n, i]"]
    )

"""Tensors that live inside one iteration become scalars, and only those."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import sympy as sp

from symbp.ir import Affine, NonNegative, Reduction, Zero
from symbp.ir.plan import Kind, Nest
from symbp.schedule.fuse import fuse_nests
from symbp.schedule.lower import lower_statement
from symbp.schedule.scalarise import scalarise
from tests.schedule.node_text import nest_lines
from tests.schedule.small import Small
from tests.schedule.test_fuse import nests


def scalars(s: Small, *candidates: str) -> tuple[list[str], tuple[str, ...]]:
    found, gone = scalarise(fuse_nests(nests(s)), candidates)
    return [line for line in nest_lines(found) if not line.strip().startswith("#")], gone


def test_a_value_used_in_its_own_iteration() -> None:
    s = Small()
    x = s.given("x", "n")
    a = s.eq.let("a", (s.n,), x[s.n] + 1)
    s.eq.let("b", (s.n,), a[s.n] ** 2 + x[s.n])
    assert scalars(s, "a") == (["for n in 0..n_n:", "  a = 1 + x[n]", "  b[n] = x[n] + a**2"], ("a",))


def test_reductions_write_to_the_scalar_itself() -> None:
    s = Small()
    z = s.given("z", "ni")
    m = s.eq.let("m", (s.n,), z[s.n, s.i], (s.i,), Reduction.MAX)
    t = s.eq.let("t", (s.n,), z[s.n, s.i] ** 2, (s.i,))
    s.eq.let("y", (s.n,), m[s.n] + t[s.n])
    assert scalars(s, "m", "t") == (
        [
            "for n in 0..n_n:",
            "  m = -oo",
            "  for i in 0..5:",
            "    m max= z[n, i]",
            "  t = 0",
            "  for i in 0..5:",
            "    t += z[n, i]**2",
            "  y[n] = m + t",
        ],
        ("m", "t"),
    )


def test_an_argmax_is_tracked_in_the_scalar() -> None:
    s = Small()
    z = s.given("z", "ni")
    p = s.eq.let("p", (s.n,), z[s.n, s.i], (s.i,), Reduction.ARGMAX)
    s.whole_numbers("p")
    s.eq.let("y", (s.n,), s.eq.symbol(p.read(s.n)) * 2)
    assert scalars(s, "p")[0] == [
        "for n in 0..n_n:",
        "  <best> = -oo",
        "  p = -1",
        "  for i in 0..5:",
        "    <best> max= z[n, i] at p = i",
        "  y[n] = 2*p",
    ]


def test_as_a_subscript_and_in_a_guard() -> None:
    s = Small()
    z = s.given("z", "ni")
    p = s.eq.let("p", (s.n,), z[s.n, s.i], (s.i,), Reduction.ARGMAX)
    s.whole_numbers("p")
    here = Affine.of(p.read(s.n))
    s.eq.let("y", (s.n,), z[s.n, here], where=[NonNegative(here - 1)])
    found, gone = scalars(s, "p")
    assert gone == ("p",)
    assert found[-2:] == ["  if p >= 1:", "    y[n] = z[n, p]"]


def test_in_an_index_that_is_set() -> None:
    s = Small()
    z = s.given("z", "ni")
    p = s.eq.let("p", (s.n,), z[s.n, s.i], (s.i,), Reduction.ARGMAX)
    s.whole_numbers("p")
    s.eq.let("y", (s.n, s.i), z[s.n, s.i], where=[Zero(s.i - Affine.of(p.read(s.n)))])
    assert scalars(s, "p")[0][-3:] == ["  i := p", "  if i >= 0, i <= 4:", "    y[n, i] = z[n, i]"]


def test_a_value_that_is_only_passed_on_is_stored_at_once() -> None:
    s = Small()
    x = s.given("x", "n")
    a = s.eq.let("a", (s.n,), x[s.n] + 1)
    s.eq.let("b", (s.n,), a[s.n])
    program = s.program()
    # Without headings, as the end of an optimizer's step is.
    bare = [Nest((), lower_statement(st, program, fresh=True), Kind.MAP) for st in program.statements]
    found, gone = scalarise(fuse_nests(bare), ["a"])
    assert (nest_lines(found), gone) == (["for n in 0..n_n:", "  b[n] = 1 + x[n]"], ("a",))


# ------------------------------------------------------------------------------------------------- what stays a tensor


def read_elsewhere(s: Small) -> None:
    a = s.eq.let("a", (s.n,), s.given("x", "n")[s.n])
    s.eq.let("b", (s.n,), a[s.n] ** 2)
    s.eq.let("c", (s.i,), a[0] * s.eq.value(s.i))


def read_at_another_place(s: Small) -> None:
    a = s.eq.let("a", (s.n, s.i), s.given("x", "ni")[s.n, s.i])
    s.eq.let("b", (s.n, s.i), a[s.n, 4 - s.i])


def read_in_a_later_loop(s: Small) -> None:
    x = s.given("x", "ni")
    a = s.eq.let("a", (s.n, s.i), sp.exp(x[s.n, s.i]))
    t = s.eq.let("t", (s.n,), a[s.n, s.i], (s.i,))
    s.eq.let("b", (s.n, s.i), a[s.n, s.i] / t[s.n])


def set_under_a_guard(s: Small) -> None:
    a = s.eq.let("a", (s.n,), s.given("x", "n")[s.n], where=[NonNegative(s.n - 2)])
    s.eq.let("b", (s.n,), a[s.n] ** 2)


def added_to(s: Small) -> None:
    x = s.given("x", "ni")
    a = s.eq.let("a", (s.i,), x[s.n, s.i], (s.n,))
    s.eq.let("b", (s.n, s.i), x[s.n, s.i] + 1)
    s.eq.let("c", (s.i,), a[s.i])


def a_number(s: Small) -> None:
    """Numbers need no place in an iteration: the planner keeps them in variables by itself."""
    a = s.eq.let("a", (), s.given("x", "n")[0])
    s.eq.let("b", (), a[()] ** 2)


@pytest.mark.parametrize(
    "declare", [read_elsewhere, read_at_another_place, read_in_a_later_loop, set_under_a_guard, added_to, a_number]
)
def test_what_stays(declare: Callable[[Small], None]) -> None:
    s = Small()
    declare(s)
    before = fuse_nests(nests(s))
    after, gone = scalarise(before, ["a"])
    assert gone == ()
    assert after == before


def test_only_candidates_change() -> None:
    s = Small()
    a = s.eq.let("a", (s.n,), s.given("x", "n")[s.n] + 1)
    s.eq.let("b", (s.n,), a[s.n] ** 2)
    assert scalarise(fuse_nests(nests(s)), ["b_bar"])[1] == ()

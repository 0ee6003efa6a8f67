"""Loops that become one, and loops that must not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import sympy as sp

from symbp.ir import Affine, NonNegative, Reduction, Zero
from symbp.ir.nodes import Fill, Loop, Note
from symbp.ir.plan import Kind, Nest
from symbp.schedule.classify import classify
from symbp.schedule.fuse import fuse_nests
from symbp.schedule.lower import lower_statement
from tests.schedule.node_text import nest_lines
from tests.schedule.small import Small


def nests(s: Small) -> list[Nest]:
    """One nest for each statement, in the order in which they were written."""
    program = s.program()
    return [
        Nest((st,), (Note(st), *lower_statement(st, program, fresh=True)), classify(st, program))
        for st in program.statements
    ]


def fused(s: Small) -> list[str]:
    return [line for line in nest_lines(fuse_nests(nests(s))) if not line.strip().startswith("#")]


def test_element_by_element() -> None:
    s = Small()
    x = s.given("x", "ni")
    a = s.eq.let("a", (s.n, s.i), x[s.n, s.i] + 1)
    s.eq.let("b", (s.n, s.i), 2 * a[s.n, s.i])
    assert fused(s) == ["for n in 0..n_n:", "  for i in 0..5:", "    a[n, i] = 1 + x[n, i]", "    b[n, i] = 2*a[n, i]"]


def test_the_names_of_the_first_loop_are_kept() -> None:
    s = Small()
    x = s.given("x", "ni")
    a = s.eq.let("a", (s.n, s.i), x[s.n, s.i] + 1)
    r = s.eq.axis("r", 5)
    s.eq.let("b", (s.m, r), a[s.m, r] * s.eq.value(r))
    assert fused(s)[-1] == "    b[n, i] = a[n, i]*i"


def test_an_inner_loop_that_has_the_name_already_gets_another() -> None:
    s = Small()
    x, w = s.given("x", "n"), s.given("w", "nm")
    s.eq.let("a", (s.n,), x[s.n] + 1)
    s.eq.let("b", (s.m, s.n), w[s.n, s.m] + s.eq.value(s.n))
    assert fused(s) == ["for n in 0..n_n:", "  a[n] = 1 + x[n]", "  for n2 in 0..n_n:", "    b[n, n2] = w[n2, n] + n2"]


def test_rows_of_a_softmax_are_one_loop() -> None:
    s = Small()
    z = s.given("z", "ni")
    m = s.eq.let("m", (s.n,), z[s.n, s.i], (s.i,), Reduction.MAX)
    e = s.eq.let("e", (s.n, s.i), sp.exp(z[s.n, s.i] - m[s.n]))
    t = s.eq.let("t", (s.n,), e[s.n, s.i], (s.i,))
    s.eq.let("p", (s.n, s.i), e[s.n, s.i] / t[s.n])
    assert fused(s) == [
        "for n in 0..n_n:",
        "  <best> = -oo",
        "  for i in 0..5:",
        "    <best> max= z[n, i]",
        "  m[n] = <best>",
        "  for i in 0..5:",
        "    e[n, i] = exp(z[n, i] - m[n])",
        "  <total> = 0",
        "  for i in 0..5:",
        "    <total> += e[n, i]",
        "  t[n] = <total>",
        "  for i in 0..5:",
        "    p[n, i] = e[n, i]/t[n]",
    ]


def test_what_does_not_concern_either_stays_between() -> None:
    s = Small()
    x = s.given("x", "n")
    a = s.eq.let("a", (s.n,), x[s.n] + 1)
    s.eq.let("other", (s.i,), sp.Integer(1))
    s.eq.let("b", (s.n,), a[s.n] * 2)
    assert fused(s) == [
        "for n in 0..n_n:", "  a[n] = 1 + x[n]", "  b[n] = 2*a[n]", "", "for i in 0..5:", "  other[i] = 1",
    ]  # fmt: skip


def test_what_the_second_needs_moves_ahead() -> None:
    s = Small()
    x = s.given("x", "n")
    a = s.eq.let("a", (s.n,), x[s.n] + 1)
    c = s.eq.let("c", (s.i,), sp.Integer(1))
    s.eq.let("b", (s.n,), a[s.n] * c[2])
    assert fused(s) == [
        "for i in 0..5:", "  c[i] = 1", "", "for n in 0..n_n:", "  a[n] = 1 + x[n]", "  b[n] = a[n]*c[2]",
    ]  # fmt: skip


def test_what_lies_between_both_stays_there() -> None:
    s = Small()
    x = s.given("x", "n")
    a = s.eq.let("a", (s.n,), x[s.n] + 1)
    total = s.eq.let("total_a", (), a[s.n], (s.n,))
    s.eq.let("b", (s.n,), a[s.n] * total[()])
    assert [line for line in fused(s) if line.startswith("for")] == ["for n in 0..n_n:"] * 3


def test_what_a_nest_clears_is_cleared_before_the_common_loop() -> None:
    s = Small()
    x = s.given("x", "ni")
    s.eq.let("a", (s.n, s.i), x[s.n, s.i] + 1)
    s.eq.let("c", (s.i,), x[s.n, s.i], (s.n,))
    assert fused(s) == [
        "fill c with 0",
        "for n in 0..n_n:",
        "  for i in 0..5:",
        "    a[n, i] = 1 + x[n, i]",
        "    c[i] += x[n, i]",
    ]


# ----------------------------------------------------------------------------------------------------- what stays apart


def earlier_element(s: Small) -> None:
    a = s.eq.let("a", (s.n,), s.given("x", "n")[s.n])
    s.eq.let("b", (s.n,), a[s.n - 1], where=[NonNegative(s.n - 1)])


def later_element(s: Small) -> None:
    a = s.eq.let("a", (s.n,), s.given("x", "n")[s.n])
    s.eq.let("b", (s.n,), a[s.size - 1 - s.n])


def transposed(s: Small) -> None:
    a = s.eq.let("a", (s.n, s.m), s.given("x", "nm")[s.n, s.m])
    s.eq.let("b", (s.n, s.m), a[s.m, s.n])


def whole(s: Small) -> None:
    a = s.eq.let("a", (s.n,), s.given("x", "n")[s.n])
    s.eq.let("b", (s.n,), a[s.m] * s.given("w", "nm")[s.n, s.m], (s.m,))


def one_element(s: Small) -> None:
    a = s.eq.let("a", (s.n,), s.given("x", "n")[s.n])
    s.eq.let("b", (s.n,), a[0] + s.eq.value(s.n))


def other_extent(s: Small) -> None:
    s.eq.let("a", (s.i,), s.given("x", "i")[s.i])
    s.eq.let("b", (s.j,), s.given("w", "j")[s.j])


def other_start(s: Small) -> None:
    s.eq.let("a", (s.i,), s.given("x", "i")[s.i])
    s.eq.let("b", (s.i,), s.given("w", "i")[s.i], starts={s.i: 1})


def product(s: Small) -> None:
    x, w = s.given("x", "ni"), s.given("w", "ij")
    a = s.eq.let("a", (s.n, s.i), x[s.n, s.i] + 1)
    s.eq.let("b", (s.n, s.j), a[s.n, s.i] * w[s.i, s.j], (s.i,))


def two_products(s: Small) -> None:
    x, w, v = s.given("x", "ni"), s.given("w", "ij"), s.given("v", "jk")
    a = s.eq.let("a", (s.n, s.j), x[s.n, s.i] * w[s.i, s.j], (s.i,))
    s.eq.let("b", (s.n, s.k), a[s.n, s.j] * v[s.j, s.k], (s.j,))


def gathered(s: Small) -> None:
    a = s.eq.let("a", (s.n,), s.given("x", "n")[s.n])
    s.eq.let("b", (s.n,), a[s.given("label", "n", 1).read(s.n)])


def cleared_after_use(s: Small) -> None:
    """The second nest fills c, which the first still reads."""
    x = s.given("x", "ni")
    c = s.eq.let("c", (s.i,), x[0, s.i], accumulate=True)
    s.eq.let("b", (s.n, s.i), c[s.i] + x[s.n, s.i])
    s.eq.let("c", (s.i,), x[s.n, s.i], (s.n,), accumulate=True)


@pytest.mark.parametrize(
    "declare",
    [
        earlier_element, later_element, transposed, whole, one_element, other_extent, other_start, product,
        two_products, gathered, cleared_after_use,
    ],
)  # fmt: skip
def test_what_stays_apart(declare: Callable[[Small], None]) -> None:
    s = Small()
    declare(s)
    before = nests(s)
    after = fuse_nests(before)
    assert len(after) == len(before), nest_lines(after)


def test_the_outer_loops_may_share_what_the_inner_may_not() -> None:
    s = Small()
    x = s.given("x", "ni")
    a = s.eq.let("a", (s.n, s.i), x[s.n, s.i] + 1)
    s.eq.let("b", (s.n, s.i), a[s.n, 4 - s.i])
    assert fused(s) == [
        "for n in 0..n_n:",
        "  for i in 0..5:",
        "    a[n, i] = 1 + x[n, i]",
        "  for i in 0..5:",
        "    b[n, i] = a[n, 4 - i]",
    ]


def test_accumulators_do_not_keep_loops_apart() -> None:
    s = Small()
    x = s.given("x", "ni")
    s.eq.let("a", (s.n,), x[s.n, s.i], (s.i,))
    s.eq.let("b", (s.n,), x[s.n, s.i] ** 2, (s.i,))
    found = fused(s)
    assert found.count("for n in 0..n_n:") == 1
    assert found.count("  <total> = 0") == 2


def test_a_set_index_is_renamed_with_its_loop() -> None:
    s = Small()
    x, label = s.given("x", "n"), s.given("label", "n", 5)
    s.eq.let("a", (s.i,), sp.Integer(1))
    i = s.eq.axis("r", 5)
    # The second nest loops over r and sets an index that is called i, like the loop of the first.
    s.eq.let("b", (i, s.i), s.eq.value(s.i), where=[Zero(s.i - i)])
    del x, label
    assert fused(s) == ["for i in 0..5:", "  a[i] = 1", "  i2 := i", "  b[i, i2] = i2"]


def test_directions_do_not_mix() -> None:
    s = Small()
    s.eq.let("a", (s.i,), s.given("x", "i")[s.i])
    s.eq.let("b", (s.i,), s.given("w", "i")[s.i])
    first, second = nests(s)
    *head, loop = second.nodes
    assert isinstance(loop, Loop)
    down = Nest(second.statements, (*head, Loop(loop.index, loop.lower, loop.stop, loop.body, -1)), Kind.MAP)
    assert len(fuse_nests([first, second])) == 1
    assert len(fuse_nests([first, down])) == 2


def test_scans_stay_alone() -> None:
    s = Small()
    s.eq.let("a", (s.i,), s.given("x", "i")[s.i])
    s.eq.let("b", (s.i,), s.given("w", "i")[s.i])
    first, second = nests(s)
    assert len(fuse_nests([first, Nest(second.statements, second.nodes, Kind.SCAN)])) == 2


def test_a_fill_that_concerns_the_first_keeps_them_apart() -> None:
    s = Small()
    a = s.eq.let("a", (s.i,), s.given("x", "i")[s.i])
    s.eq.let("b", (s.i,), a[s.i])
    first, second = nests(s)
    assert len(fuse_nests([first, Nest(second.statements, (Fill("c"), *second.nodes), Kind.MAP)])) == 1
    assert len(fuse_nests([first, Nest(second.statements, (Fill("a"), *second.nodes), Kind.MAP)])) == 2


# ------------------------------------------------------------------------------------------------------ around products


def test_a_loop_of_products_takes_in_what_comes_before_and_after() -> None:
    s = Small()
    x, w = s.given("x", "nmi"), s.given("w", "nij")
    a = s.eq.let("a", (s.n, s.m, s.i), x[s.n, s.m, s.i] + 1)
    b = s.eq.let("b", (s.n, s.m, s.j), a[s.n, s.m, s.i] * w[s.n, s.i, s.j], (s.i,))
    s.eq.let("c", (s.n, s.m, s.j), 2 * b[s.n, s.m, s.j])
    assert fused(s) == [
        "for n in 0..n_n:",
        "  for m in 0..n_n:",
        "    for i in 0..5:",
        "      a[n, m, i] = 1 + x[n, m, i]",
        "  b[n, 0:n_n, 0:6] = a[n, 0:n_n, 0:5] @ w[n, 0:5, 0:6]",
        "  for m in 0..n_n:",
        "    for j in 0..6:",
        "      c[n, m, j] = 2*b[n, m, j]",
    ]


def test_what_follows_a_scaled_product_joins_the_loop_that_scales() -> None:
    s = Small()
    x, w = s.given("x", "ni"), s.given("w", "ij")
    a = s.eq.let("a", (s.n, s.j), 3 * x[s.n, s.i] * w[s.i, s.j], (s.i,))
    s.eq.let("b", (s.n, s.j), a[s.n, s.j] ** 2)
    assert fused(s) == [
        "a[0:n_n, 0:6] = x[0:n_n, 0:5] @ w[0:5, 0:6]",
        "for n in 0..n_n:",
        "  for j in 0..6:",
        "    a[n, j] = 3*a[n, j]",
        "    b[n, j] = a[n, j]**2",
    ]


def heads(s: Small, step: int, width: int, start: int = 0) -> None:
    """Two sets of heads of `width` columns, each `step` columns after the last; the second uses the first."""
    h, e, wide = s.eq.axis("h", 3), s.eq.axis("e", width), s.eq.axis("wide", 2 * step + width + start + 9)
    x, w = s.eq.given("x", h, s.n, s.m), s.eq.given("w", s.n, wide)
    shape = (s.size, s.eq.extents[wide])
    at = (s.n, step * h + e)
    o = s.eq.let("o", (h, s.n, e), x[h, s.n, s.m] * w[s.m, step * h + e], (s.m,), at=at, shape=shape)
    s.eq.let("p", (h, s.n, s.m), o[s.n, step * h + e + start] * w[s.m, step * h + e], (e,))


@pytest.mark.parametrize(
    ("step", "width", "start", "together"),
    [
        (5, 5, 0, True),
        (7, 5, 0, True),
        (7, 5, 2, True),  # reads from 7*h + 2 what was written up to 7*h + 5, and what nobody writes
        (7, 5, 3, False),  # the last column is the first of the next head
        (4, 5, 0, False),  # heads that share a column
    ],
)
def test_heads_in_one_axis_are_told_apart(step: int, width: int, start: int, together: bool) -> None:
    s = Small()
    heads(s, step, width, start)
    assert len(fuse_nests(nests(s))) == (1 if together else 2)


def test_groups_of_heads_that_lie_one_after_the_other_meet_nowhere() -> None:
    s = Small()
    h, e, wide = s.eq.axis("h", 3), s.eq.axis("e", 5), s.eq.axis("wide", 30)
    x, w = s.eq.given("x", h, s.n, s.m), s.eq.given("w", s.n, wide)
    for start in (15, 0):
        s.eq.let(
            "o",
            (h, s.n, e),
            x[h, s.n, s.m] * w[s.m, 5 * h + e + start],
            (s.m,),
            at=(s.n, 5 * h + e + start),
            shape=(s.size, Affine.of(30)),
        )
    assert fused(s) == [
        "for h in 0..3:",
        "  o[0:n_n, 5*h + 15:5*h + 20] = x[h, 0:n_n, 0:n_n] @ w[0:n_n, 5*h + 15:5*h + 20]",
        "  o[0:n_n, 5*h:5*h + 5] = x[h, 0:n_n, 0:n_n] @ w[0:n_n, 5*h:5*h + 5]",
    ]

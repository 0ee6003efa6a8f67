"""What every turn of a loop reads is read once, ahead of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from symbp.ir import NonNegative
from symbp.ir.plan import Kind, Nest, Procedure
from symbp.schedule.fuse import fuse_nests
from symbp.schedule.hoist import hoist_reads
from symbp.schedule.lower import lower_statement
from tests.schedule.node_text import node_lines
from tests.schedule.small import Small


def procedure(s: Small, *names: str) -> Procedure:
    """A function that makes these tensors, in this order."""
    program = s.program()
    nests = [
        Nest((d,), lower_statement(d, program, fresh=True), Kind.MAP) for n in names for d in program.definitions(n)
    ]
    return Procedure("forward", "", (), (), (), fuse_nests(nests))


def hoisted(s: Small, *names: str) -> list[str]:
    (made,), _ = hoist_reads([procedure(s, *names)], {t.name: t for t in s.program().tensors})
    return [line for nest in made.nests for line in node_lines(nest.nodes)]


def test_the_row_of_a_table_is_found_once() -> None:
    s = Small()
    w = s.eq.axis("w", 9)
    E, word = s.eq.given("E", s.k, w), s.given("word", "n", below=7)
    s.eq.let("y", (s.n, w), E[word.read(s.n), w])
    assert hoisted(s, "y") == [
        "for n in 0..n_n:",
        "  word_n = word[n]",
        "  for w in 0..9:",
        "    y[n, w] = E[word_n, w]",
    ]
    _, scalars = hoist_reads([procedure(s, "y")], {t.name: t for t in s.program().tensors})
    assert [(t.name, t.shape, t.dtype) for t in scalars.values()] == [("word_n", (), s.eq.tensors["word"].dtype)]


def test_one_name_for_one_element_in_every_function() -> None:
    s = Small()
    w = s.eq.axis("w", 9)
    x, g, h = s.eq.given("x", s.n, w), s.given("g", "n"), s.eq.given("g_n", s.n)
    s.eq.let("y", (s.n, w), x[s.n, w] * g[s.n])
    s.eq.let("z", (s.n, w), x[s.n, w] + g[s.n] + h[s.n])
    made, _ = hoist_reads([procedure(s, "y"), procedure(s, "z")], {t.name: t for t in s.program().tensors})
    lines = [node_lines(p.nests[0].nodes)[1:-2] for p in made]
    assert lines == [["  g_n_2 = g[n]"], ["  g_n_2 = g[n]", "  g_n_n = g_n[n]"]]


def test_what_is_written_in_between_is_read_again() -> None:
    s = Small()
    w = s.eq.axis("w", 9)
    x, g = s.eq.given("x", s.n, w), s.given("g", "n")
    m = s.eq.let("m", (s.n,), g[s.n] ** 2)
    for name in ("y", "z"):
        s.eq.let(name, (s.n, w), x[s.n, w] * m[s.n] * g[s.n])
    s.eq.let("m", (s.n,), 1, accumulate=True)
    program = s.program()
    first, again = program.definitions("m")
    statements = [first, *program.definitions("y"), again, *program.definitions("z")]
    nests = [Nest((d,), lower_statement(d, program, fresh=d is not again), Kind.MAP) for d in statements]
    made, _ = hoist_reads(
        [Procedure("forward", "", (), (), (), fuse_nests(nests))], {t.name: t for t in program.tensors}
    )
    assert node_lines(made[0].nests[0].nodes) == [
        "for n in 0..n_n:",
        "  m[n] = g[n]**2",
        "  g_n = g[n]",
        "  m_n = m[n]",
        "  for w in 0..9:",
        "    y[n, w] = g_n*x[n, w]*m_n",
        "  m[n] += 1",
        "  m_n = m[n]",
        "  for w in 0..9:",
        "    z[n, w] = g_n*x[n, w]*m_n",
    ]


def written_in_the_loop(s: Small) -> None:
    """What one turn writes the next may read."""
    w = s.eq.axis("w", 9)
    y = s.eq.let("y", (), 1, at=(0,), shape=(9,))
    s.eq.let("y", (w,), y[0], at=(w,), starts={w: 1})


def a_row_before_the_first(s: Small) -> None:
    """It is there only where the loop has a turn."""
    w = s.eq.axis("w", 9)
    x = s.given("x", "n")
    s.eq.let("y", (s.n, w), x[s.n - 1], where=[NonNegative(s.n - 1)])


def few_turns(s: Small) -> None:
    x = s.given("x", "n")
    s.eq.let("y", (s.n, s.j), x[s.n])


def down_a_column(s: Small) -> None:
    w = s.eq.axis("w", 9)
    x = s.given("x", "n")
    s.eq.let("y", (s.n, w), x[s.n], at=(w, s.n), shape=(9, s.size))


def a_sum_in_a_register(s: Small) -> None:
    w = s.eq.axis("w", 9)
    x, word = s.eq.given("x", s.k, w), s.given("word", "n", below=7)
    s.eq.let("y", (s.n,), x[word.read(s.n), w] ** 2, (w,))


@pytest.mark.parametrize(
    "declare", [written_in_the_loop, a_row_before_the_first, few_turns, down_a_column, a_sum_in_a_register]
)
def test_what_stays_where_it_is(declare: Callable[[Small], None]) -> None:
    s = Small()
    declare(s)
    before = [line for nest in procedure(s, "y").nests for line in node_lines(nest.nodes)]
    found = hoisted(s, "y")
    if declare is down_a_column:  # the rows run along n
        assert found[:2] == ["for w in 0..9:", "  for n in 0..n_n:"]
    assert found == before

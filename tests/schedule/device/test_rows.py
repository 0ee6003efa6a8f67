"""Elements stored once for a point, read again from a register."""

from __future__ import annotations

from symbp.ir import Affine, Read
from symbp.ir.affine import ZERO, Index
from symbp.ir.body import Body, slot
from symbp.ir.nodes import TOTAL, Bound, Loop, Node, Store, Update
from symbp.schedule.device.rows import keep_rows
from tests.schedule.node_text import node_lines

B, K = Index("b"), Index("k")
M = Read("m", (Affine.of(B),))


def row(*body: Node) -> Loop:
    return Loop(K, Bound((ZERO,)), Bound((Affine.of(9),)), body)


def a(value: Read) -> Store:
    return Store(Read("a", (Affine.of(B), Affine.of(K))), Body.of(value))


def lines(*nodes: Node, taken: tuple[str, ...] = ()) -> list[str]:
    return node_lines(keep_rows(nodes, taken))


def test_the_sum_itself_gets_the_name() -> None:
    zero, add = Store(TOTAL, Body.of(0)), Store(TOTAL, Body.of(Read("x", (Affine.of(K),))), Update.ADD)
    assert lines(zero, row(add), Store(M, Body.of(TOTAL)), row(a(M))) == [
        "m_b = 0",
        "for k in 0..9:",
        "  m_b += x[k]",
        "m[b] = m_b",
        "for k in 0..9:",
        "  a[b, k] = m_b",
    ]


def test_any_other_value_is_kept_before_it_is_stored() -> None:
    half = Body(slot(0) / 2, (TOTAL,))
    assert lines(Store(M, half), row(a(M)))[:2] == ["m_b = <total>/2", "m[b] = m_b"]


def test_a_name_that_is_taken() -> None:
    half = Body(slot(0) / 2, (TOTAL,))
    assert lines(Store(M, half), row(a(M)), taken=("m_b",))[0] == "m_b_2 = <total>/2"


def test_what_changes_afterwards_stays_in_memory() -> None:
    half = Body(slot(0) / 2, (TOTAL,))
    more = Store(M, Body.of(Read("x", (Affine.of(B),))), Update.ADD)
    for nodes in ((Store(M, half), more, row(a(M))), (Store(M, half), row(a(Read("m", (Affine.of(B) + 1,)))))):
        assert lines(*nodes) == node_lines(nodes)


def test_what_nobody_reads_stays_as_it_is() -> None:
    nodes = (Store(M, Body(slot(0) / 2, (TOTAL,))), row(a(Read("x", (Affine.of(K),)))))
    assert lines(*nodes) == node_lines(nodes)


def test_an_index_that_runs_again_names_other_elements() -> None:
    """``p[m] = .. where m == choice``, then a loop over every m: it reads more than what was stored."""
    element = Read("p", (Affine.of(B), Affine.of(K)))
    nodes = (Store(element, Body.of(Read("s"))), row(a(element)))
    assert keep_rows(nodes, ()) == nodes

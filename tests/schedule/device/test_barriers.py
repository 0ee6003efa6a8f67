"""Where the threads of a team must wait for each other."""

from __future__ import annotations

from symbp.ir import Affine, Read
from symbp.ir.affine import ZERO, Index
from symbp.ir.body import Body
from symbp.ir.nodes import TOTAL, Bound, Combine, Dealt, If, Loop, Node, Once, Share, Store, Update
from symbp.ir.plan import Team
from symbp.ir.statement import NonNegative, Reduction
from symbp.schedule.device.barriers import place_barriers
from tests.schedule.node_text import node_lines

K, T = Index("k"), Index("t")


def share(*body: Node, stop: int = 9, index: Index = K) -> Share:
    return Share((Dealt(index, Bound((ZERO,)), Bound((Affine.of(stop),))),), body)


def put(target: Read, source: Read, update: Update = Update.SET) -> Store:
    return Store(target, Body.of(source), update)


def at(tensor: str, *subscripts: Affine | Index | int) -> Read:
    return Read(tensor, tuple(map(Affine.of, subscripts)))


def placed(*nodes: Node, team: Team = Team.BLOCK) -> list[str]:
    return [line.strip() for line in node_lines(place_barriers(nodes, team, frozenset({"s"})))]


def test_none_where_each_thread_keeps_to_its_own() -> None:
    assert "barrier" not in placed(share(put(at("a", K), at("x", K))), share(put(at("b", K), at("a", K))))


def test_none_between_reads() -> None:
    assert "barrier" not in placed(share(put(at("a", K), at("x", 0))), share(put(at("b", K), at("x", K))))


def test_one_where_a_neighbour_reads() -> None:
    lines = placed(share(put(at("a", K), at("x", K))), share(put(at("b", K), at("a", 8 - Affine.of(K)))))
    assert lines[2] == "barrier"


def test_one_where_points_are_dealt_out_otherwise() -> None:
    lines = placed(share(put(at("a", K), at("x", K))), share(put(at("b", T), at("a", T)), stop=8, index=T))
    assert lines[2] == "barrier"


def test_the_name_of_an_axis_does_not_matter() -> None:
    assert "barrier" not in placed(share(put(at("a", K), at("x", K))), share(put(at("b", T), at("a", T)), index=T))


def test_one_before_a_neighbours_value_is_overwritten() -> None:
    lines = placed(share(put(at("b", K), at("a", 8 - Affine.of(K)))), share(put(at("a", K), at("x", K))))
    assert lines[2] == "barrier"


def test_one_after_what_a_single_thread_stores() -> None:
    lines = placed(Once((put(at("m", 0), TOTAL),)), share(put(at("a", K), at("m", 0))))
    assert lines[2] == "barrier"
    assert "barrier" not in placed(Once((put(at("m", 0), TOTAL),)), Once((put(at("a", 0), at("m", 0)),)))


def test_a_scalar_in_memory_counts_and_a_local_does_not() -> None:
    assert "barrier" in placed(Once((put(Read("s"), TOTAL),)), share(put(at("a", K), Read("s"))))
    assert "barrier" not in placed(put(Read("r"), TOTAL), share(put(at("a", K), Read("r"))))


def test_a_sum_over_a_block_is_a_barrier_and_one_over_a_warp_is_not() -> None:
    nodes = (
        share(put(at("a", K), at("x", K))),
        Combine(TOTAL, Reduction.SUM),
        share(put(at("b", K), at("a", 8 - Affine.of(K)))),
    )
    assert "barrier" not in placed(*nodes)
    assert "barrier" in placed(*nodes, team=Team.WARP)


def test_one_between_the_steps_of_a_scan() -> None:
    """h[t + 1] of a neighbour is read at the next step."""
    step = share(put(at("h", T + 1, K), at("h", T, 8 - Affine.of(K))))
    lines = placed(Loop(T, Bound((ZERO,)), Bound((Affine.of(4),)), (step,)))
    assert lines == ["for t in 0..4:", "share k in 0..9:", "h[t + 1, k] = h[t, 8 - k]", "barrier"]


def test_no_second_one_where_the_step_ends_with_one() -> None:
    first = share(put(at("z", K), at("h", 8 - Affine.of(K))))
    second = share(put(at("h", K), at("z", K)))
    lines = placed(Loop(T, Bound((ZERO,)), Bound((Affine.of(4),)), (first, second)))
    # Before h is overwritten, and before the next step reads it.
    assert [k for k, line in enumerate(lines) if line == "barrier"] == [3, 6]


def test_what_a_condition_skips_is_no_barrier() -> None:
    """If the body does not run, neither does the barrier in it."""
    inside = If(
        (NonNegative(Affine.of(T)),),
        (share(put(at("b", K), at("a", 8 - Affine.of(K)))),),
    )
    lines = placed(share(put(at("a", K), at("x", K))), inside, share(put(at("c", K), at("a", 8 - Affine.of(K)))))
    assert lines.count("barrier") == 2


def test_none_where_the_next_step_reads_what_its_own_thread_wrote() -> None:
    """``h[t + 1, k]`` of this step is ``h[t, k]`` of the next; all ``h[s, k]`` before are the same thread's too."""
    one = share(put(at("h", T + 1, K), at("h", T, K)))
    assert "barrier" not in placed(Loop(T, Bound((ZERO,)), Bound((Affine.of(4),)), (one,)))
    s = Index("s")
    all_before = Loop(s, Bound((ZERO,)), Bound((T + 1,)), (Store(TOTAL, Body.of(at("h", s, K)), Update.ADD),))
    two = share(all_before, put(at("h", T + 1, K), TOTAL))
    assert "barrier" not in placed(Loop(T, Bound((ZERO,)), Bound((Affine.of(4),)), (two,)))


def test_none_before_another_steps_row() -> None:
    """A step's row of z is written while others may still read the row of the step before."""
    first = share(put(at("z", T, K), at("h", T, K)))
    second = share(put(at("h", T + 1, K), at("z", T, 8 - Affine.of(K))))
    lines = placed(Loop(T, Bound((ZERO,)), Bound((Affine.of(4),)), (first, second)))
    assert [k for k, line in enumerate(lines) if line == "barrier"] == [3]


def test_one_where_every_step_writes_the_same_row() -> None:
    first = share(put(at("z", K), at("h", T, K)))
    second = share(put(at("h", T + 1, K), at("z", 8 - Affine.of(K))))
    lines = placed(Loop(T, Bound((ZERO,)), Bound((Affine.of(4),)), (first, second)))
    assert [k for k, line in enumerate(lines) if line == "barrier"] == [3, 6]

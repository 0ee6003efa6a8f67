"""Which writes may set, and which tensors are cleared first."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from symbp.ir import Affine, NonNegative, Size, Zero, mod
from symbp.ir.order import Scan, Turn
from symbp.schedule.coverage import plan_writes
from tests.derive.equations import Equations, Handle
from tests.schedule.small import Small


def plan(s: Small, *, seen: bool = True) -> tuple[tuple[bool, ...], bool]:
    """For the statements of y: which may set, and whether y is cleared. `seen`: whoever called sees all of y."""
    program = s.program()
    readers = None if seen else program.readers("y")
    return plan_writes(program.definitions("y"), program.tensor("y"), readers)


def test_an_equation_over_all_of_it() -> None:
    s = Small()
    s.eq.let("y", (s.n, s.i), s.given("x", "ni")[s.n, s.i])
    assert plan(s) == ((True,), False)


def test_the_first_of_several_contributions_sets() -> None:
    s = Small()
    x = s.given("x", "ni")
    for _ in range(3):
        s.eq.let("y", (s.n, s.i), x[s.n, s.i], accumulate=True)
    assert plan(s) == ((True, False, False), False)


def test_pieces_that_share_out_one_axis() -> None:
    s = Small()
    x, shape = s.given("x", "ni"), (s.size + 2, 5)
    s.eq.let("y", (s.n, s.i), x[s.n, s.i], at=(s.n + 1, s.i), shape=shape, accumulate=True)
    s.eq.let("y", (s.i,), x[0, s.i], at=(0, s.i), accumulate=True)
    s.eq.let("y", (s.i,), x[0, s.i], at=(s.size + 1, s.i), accumulate=True)
    assert plan(s) == ((True, True, True), False)


def with_a_gap(s: Small) -> None:
    x, shape = s.given("x", "ni"), (s.size + 2, 5)
    s.eq.let("y", (s.n, s.i), x[s.n, s.i], at=(s.n + 1, s.i), shape=shape, accumulate=True)
    s.eq.let("y", (s.i,), x[0, s.i], at=(0, s.i), accumulate=True)


def not_from_the_start(s: Small) -> None:
    s.eq.let("y", (s.n, s.i), s.given("x", "ni")[s.n, s.i], starts={s.i: 1}, accumulate=True)


def guarded(s: Small) -> None:
    s.eq.let("y", (s.n, s.i), s.given("x", "ni")[s.n, s.i], where=[NonNegative(s.n - s.i)], accumulate=True)


def guarded_equation(s: Small) -> None:
    s.eq.let("y", (s.n, s.i), s.given("x", "ni")[s.n, s.i], where=[Zero(s.n - s.i)])


def diagonal(s: Small) -> None:
    s.eq.let("y", (s.i,), s.given("x", "i")[s.i], at=(s.i, s.i), shape=(5, 5))


def every_other(s: Small) -> None:
    s.eq.let("y", (s.n,), s.given("x", "n")[s.n], at=(2 * s.n,), shape=(2 * s.size,))


def scattered(s: Small) -> None:
    label = s.given("label", "n", 5)
    s.eq.let("y", (s.n,), s.given("x", "n")[s.n], at=(Affine.of(label.read(s.n)),), shape=(5,), accumulate=True)


def rolled(s: Small) -> None:
    at = (Affine.of(mod(s.n + 1, s.size)),)
    s.eq.let("y", (s.n,), s.given("x", "n")[s.n], at=at, shape=(s.size,), accumulate=True)


def repeated(s: Small) -> None:
    s.eq.let("y", (s.n, s.i), s.given("x", "ni")[s.n, s.i], at=(s.i,), shape=(5,), accumulate=True)


def overlapping(s: Small) -> None:
    s.eq.let("y", (s.i, s.u), s.given("x", "iu")[s.i, s.u], at=(s.i + s.u,), shape=(7,), accumulate=True)


def guarded_number(s: Small) -> None:
    s.eq.let("y", (), s.given("x", "n")[0], where=[NonNegative(s.size - 2)])


@pytest.mark.parametrize(
    "declare",
    [
        with_a_gap, not_from_the_start, guarded, guarded_equation, diagonal, every_other, scattered, rolled, repeated,
        overlapping, guarded_number,
    ],
)  # fmt: skip
def test_what_is_cleared_first(declare: Callable[[Small], None]) -> None:
    s = Small()
    declare(s)
    sets, fill = plan(s)
    assert fill
    assert sets == tuple(not st.accumulate for st in s.program().definitions("y"))


def test_a_number_and_a_sum_over_nothing_are_set() -> None:
    s = Small()
    s.eq.let("y", (), s.given("x", "n")[s.n], (s.n,), where=[NonNegative(s.n - 3)], accumulate=True)
    assert plan(s) == ((True,), False)


def test_guards_on_what_is_summed_do_not_tell_two_sums_apart() -> None:
    s = Small()
    s.eq.extents[s.n] = s.eq.extents[s.m] = Affine.of(2)
    x = s.given("x", "n")
    s.eq.let("y", (), x[s.n], (s.n,), where=[NonNegative(-2 * s.n)], accumulate=True)
    s.eq.let("y", (), x[s.n], (s.n,), where=[NonNegative(s.n - 5)], accumulate=True)  # never: yet it is written
    assert plan(s) == ((True, False), False)


# ----------------------------------------------------------------------------------------------- gaps that nobody reads


def causal(s: Small, *, inside: list[NonNegative], starts: int = 0) -> None:
    """``y`` is written where m <= n and summed under the guards `inside`."""
    y = s.eq.let("y", (s.n, s.m), s.given("x", "nm")[s.n, s.m], where=[NonNegative(s.n - s.m)])
    s.eq.let("z", (s.n,), y[s.n, s.m] ** 2, (s.m,), where=inside, starts={s.m: starts})


def test_gaps_that_nobody_reads_may_stay() -> None:
    s = Small()
    causal(s, inside=[NonNegative(s.n - s.m)])
    assert plan(s, seen=False) == ((True,), False)


def test_gaps_that_the_caller_sees_may_not() -> None:
    s = Small()
    causal(s, inside=[NonNegative(s.n - s.m)])
    assert plan(s, seen=True) == ((True,), True)


@pytest.mark.parametrize("inside", [[], ["n - m + 1"], ["m - n"]])
def test_gaps_that_a_sum_reads_may_not(inside: list[str]) -> None:
    s = Small()
    values = {"n - m + 1": s.n - s.m + 1, "m - n": s.m - s.n}
    causal(s, inside=[NonNegative(values[i]) for i in inside])
    assert plan(s, seen=False) == ((True,), True)


def test_one_reader_of_two_that_reads_gaps() -> None:
    s = Small()
    causal(s, inside=[NonNegative(s.n - s.m)])
    y = Handle(s.eq, "y")
    s.eq.let("v", (s.n, s.m), y[s.m, s.n], where=[NonNegative(s.n - s.m)])  # transposed: the gaps
    assert plan(s, seen=False) == ((True,), True)


def test_elements_outside_the_box_count_as_gaps() -> None:
    s = Small()
    positive = [NonNegative(s.i - 2)]
    y = s.eq.let("y", (s.i,), s.given("x", "i")[s.i], at=(s.i + 0,), shape=(6,), where=positive)
    s.eq.let("z", (s.j,), y[s.j], where=[NonNegative(s.j - 2)])  # y[5] is written by nobody
    assert plan(s, seen=False) == ((True,), True)


@pytest.mark.parametrize("at", ["diagonal", "shifted"])
def test_gaps_of_other_forms_are_not_looked_into(at: str) -> None:
    s = Small()
    places = {"diagonal": (s.i, s.i), "shifted": (s.i + 1, s.i)}
    positive = [NonNegative(s.i - 2)]
    y = s.eq.let("y", (s.i,), s.given("x", "i")[s.i], at=places[at], shape=(6, 6), where=positive)
    s.eq.let("z", (s.i,), y[places[at]], where=positive)
    assert plan(s, seen=False) == ((True,), True)


def test_gaps_of_two_equations_are_not_looked_into() -> None:
    s = Small()
    x = s.given("x", "n")
    y = s.eq.let("y", (s.n,), x[s.n], where=[NonNegative(s.n - 2)])
    s.eq.let("y", (s.n,), -x[s.n], where=[NonNegative(-s.n)])
    s.eq.let("z", (s.n,), y[s.n], where=[NonNegative(s.n - 2)])
    assert plan(s, seen=False) == ((True, True), True)


def test_accumulations_with_gaps_are_always_cleared() -> None:
    s = Small()
    y = s.eq.let("y", (s.n,), s.given("x", "n")[s.n], where=[NonNegative(s.n - 1)], accumulate=True)
    s.eq.let("z", (s.n,), y[s.n], where=[NonNegative(s.n - 1)])
    assert plan(s, seen=False) == ((False,), True)


# --------------------------------------------------------------------------------------------------------------- scans


def in_a_scan(*shifts: int) -> tuple[tuple[bool, ...], bool]:
    """Turns ``y[t + shift, k] += x[t, k]`` of one downward scan, after the first and the last row have been set.

    The shift of 1 alone completes y.
    """
    eq = Equations()
    t, k, size = eq.axis("t", "n_time"), eq.axis("k", 4), Size("n_time")
    x, shape = eq.given("x", t, k), (size + 2, 4)
    for place in (Affine.of(0), size + 1):
        eq.let("y", (k,), x[0, k], at=(place, k), shape=shape, accumulate=True)
    for shift in shifts:
        eq.let("y", (t, k), x[t, k], at=(t + shift, k), shape=shape, accumulate=True)
    program = eq.program()
    statements = program.definitions("y")
    turns = tuple(Turn(s, Affine.of(0), Affine.of(size)) for s in statements[2:])
    scan = Scan(t, Affine.of(0), Affine.of(size), -1, turns, (("y", 0),))
    return plan_writes(statements, program.tensor("y"), None, [None, None, *(scan for _ in turns)])


def test_turns_that_meet_in_one_step_follow_each_other() -> None:
    assert in_a_scan(1, 1, 1) == ((True, True, True, False, False), False)


def test_a_turn_does_not_set_what_another_reached_at_an_earlier_step() -> None:
    assert in_a_scan(1, 0) == ((False, False, False, False), True)
    assert in_a_scan(0, 1) == ((False, False, False, False), True)

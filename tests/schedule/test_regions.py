"""The boxes that nodes touch."""

from __future__ import annotations

import sympy as sp

from symbp.ir import NonNegative, Zero
from symbp.ir.nodes import Fill
from symbp.schedule.lower import lower_statement
from symbp.schedule.regions import Region, regions
from tests.schedule.small import Small


def boxes(s: Small) -> list[str]:
    """What the only statement touches, over all of its loops."""
    program = s.program()
    (statement,) = program.statements
    found = (_text(r) for r in regions(lower_statement(statement, program, fresh=True)))
    return [t for t in dict.fromkeys(found) if not t.startswith("<")]


def _text(region: Region) -> str:
    sign = "=" if region.writes else ""
    if region.box is None:
        return f"{region.tensor}{sign}"
    parts = ("?" if axis is None else f"{axis[0]}:{axis[1]}" for axis in region.box)
    return f"{region.tensor}[{', '.join(parts)}]{sign}"


def test_elements_over_loops() -> None:
    s = Small()
    x = s.given("x", "nk")
    s.eq.let("y", (s.n, s.i), x[s.n, s.i + 2])
    assert boxes(s) == ["x[0:n_n, 2:7]", "y[0:n_n, 0:5]="]


def test_indices_that_count_like_digits() -> None:
    s = Small()
    x, wide = s.given("x", "iu"), s.eq.axis("wide", 20)
    s.eq.let("y", (s.i, s.u), x[s.i, s.u], at=(3 * s.i + s.u + 1,), shape=(20,))
    del wide
    assert boxes(s) == ["x[0:5, 0:3]", "y[1:16]="]


def test_a_guard_makes_a_loop_shorter() -> None:
    s = Small()
    x = s.given("x", "ii")
    r = s.eq.axis("r", 5)
    s.eq.let("y", (s.i, r), x[s.i, r], where=[NonNegative(s.i - r)])
    assert boxes(s) == ["x[0:5, 0:5]", "y[0:5, 0:5]="]


def test_products() -> None:
    s = Small()
    x, w = s.given("x", "nik"), s.given("w", "nkj")
    s.eq.let("y", (s.n, s.i, s.j), x[s.n, s.i, s.k] * w[s.n, s.k, s.j], (s.k,))
    assert boxes(s) == ["x[0:n_n, 0:5, 0:7]", "w[0:n_n, 0:7, 0:6]", "y[0:n_n, 0:5, 0:6]="]


def test_data_and_indices_that_are_set_are_anywhere() -> None:
    s = Small()
    x, label = s.given("x", "ij"), s.given("label", "n", 5)
    s.eq.let("y", (s.n, s.j), x[label.read(s.n), s.j])
    assert boxes(s) == ["x[?, 0:6]", "label[0:n_n]", "y[0:n_n, 0:6]="]
    s = Small()
    r = s.eq.axis("r", 5)
    s.eq.let("y", (s.i, r), sp.Integer(1), where=[Zero(s.i - r)])
    assert boxes(s) == ["y[0:5, ?]="]


def test_a_fill_is_all_of_it() -> None:
    assert [_text(r) for r in regions([Fill("y")])] == ["y="]

"""The example of apples and oranges: its derivatives, its numbers and its story."""

from __future__ import annotations

import contextlib
import io
import re
from itertools import pairwise

import numpy as np
import pytest

from examples import apples_oranges as example

pytest.importorskip("sklearn")


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the example prints."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        right = example.main(str(tmp_path_factory.mktemp("demo")))
    assert right > 0.95
    return printed.getvalue()


def loss_by_hand(m: float, c: float) -> float:
    x, y, side = example.fruits()
    return float(np.sqrt(np.mean((y - (m * x + c) - side) ** 2)))


def test_the_derived_equations_are_the_textbook_s(told: str) -> None:
    equations = re.sub(r" +", " ", told)
    assert "loss_arg_bar = safe_div(1/2, loss)" in equations
    assert "height_bar[n] = 2*loss_arg_bar*(height[n] - side[n])/n_fruits" in equations
    assert "m_bar = -sum[n] x[n]*height_bar[n]" in equations
    assert "c_bar = -sum[n] height_bar[n]" in equations


def test_the_numbers_of_the_steps_are_right(told: str) -> None:
    rows = [[float(v) for v in line.split()] for line in told.splitlines() if re.match(r" +\d+ +\d\.\d{4} ", line)]
    assert [int(row[0]) for row in rows] == [0, 1, 2, 3, 4, example.STEPS - 1]
    assert [rows[0][2], rows[0][5]] == [2.0, -1.0]
    for step, loss, m, m_bar, m_delta, c, c_bar, c_delta in rows:
        assert loss == pytest.approx(loss_by_hand(m, c), abs=2e-4)
        for found, delta, ahead, back in (
            (m_bar, m_delta, loss_by_hand(m + 1e-5, c), loss_by_hand(m - 1e-5, c)),
            (c_bar, c_delta, loss_by_hand(m, c + 1e-5), loss_by_hand(m, c - 1e-5)),
        ):
            assert found == pytest.approx((ahead - back) / 2e-5, abs=2e-4), step
            assert delta == pytest.approx(-0.2 * found, abs=1e-4), step
    for row, after in pairwise(rows[:5]):
        assert row[2] + row[4] == pytest.approx(after[2], abs=2e-4)


def test_the_sum_of_the_deltas_is_what_one_step_would_have_given(told: str) -> None:
    sums = re.findall(r"^  (\w)100 = \w0 \+ sum of the deltas = (\S+) (\S+) = (\S+) +in one go: (\S+)$", told, re.M)
    assert [name for name, *_ in sums] == ["m", "c"]
    for _, start, total, last, once in sums:
        assert float(start) + float(total) == pytest.approx(float(last), abs=2e-4)
        assert float(last) == pytest.approx(float(once), abs=1e-3)


def test_the_picture_shows_all_of_it(told: str) -> None:
    picture = told[told.index("  y\n") :]
    assert min(picture.count(mark) for mark in "Ao.") > 20


def test_a_line_outside_the_picture_is_not_drawn() -> None:
    corners = np.array([0.0, 1.0])
    assert "." not in example.picture(corners, corners, np.array([1.0, -1.0]), 0.0, 7.0)
    assert example.picture(corners, corners, np.array([1.0, -1.0]), 0.0, 0.5, width=5, height=3).splitlines() == [
        "  y",
        "    |    o",
        "    |.....",
        "    |A",
        "    +----- x",
    ]

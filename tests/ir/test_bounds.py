"""Divisions cleared from conditions on sizes, against every small value."""

from __future__ import annotations

import pytest

from symbp.check.feeds import size_value
from symbp.ir import Affine, Size, floor_div
from symbp.ir.bounds import is_nonnegative, without_divisions

n, m = Size("n"), Size("m")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (n - 3, "n - 3"),
        (floor_div(n - 3, 2), "n - 3"),
        (floor_div(n - 3, 2) - 1, "n - 5"),
        (floor_div(n + 1, 3) - m, "n - 3*m + 1"),
        (m - floor_div(n, 4), "4*m - n + 3"),
        (floor_div(floor_div(n - 1, 2) - 2, 3) - 1, "n - 11"),
        (2 * floor_div(n, 3) - 4, "2*(n//3) - 4"),  # left alone
    ],
)
def test_the_same_sizes_satisfy_both(value: Affine, text: str) -> None:
    cleared = without_divisions(value)
    assert str(cleared) == text
    for a in range(1, 40):
        for b in range(1, 9):
            sizes = {"n": a, "m": b}
            assert (size_value(value, sizes) >= 0) == (size_value(cleared, sizes) >= 0)


@pytest.mark.parametrize(
    ("value", "certain"),
    [
        (n - 2 * floor_div(n, 2), True),
        (n + 2 * m - 3 * floor_div(n, 3), True),
        (n - 3 - 2 * floor_div(n - 3, 2), True),
        (n - 2 * floor_div(n + 1, 2), False),  # -1 at odd n
        (n - 1 - 2 * floor_div(n, 2), False),
        (n - 3 * floor_div(n, 2), False),
    ],
)
def test_whole_divisions_are_never_more_than_their_numerator(value: Affine, certain: bool) -> None:
    assert is_nonnegative(value) == certain
    if certain:
        assert all(size_value(value, {"n": a, "m": b}) >= 0 for a in range(1, 40) for b in range(1, 9))

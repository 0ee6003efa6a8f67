"""Values written in tiles, put into the equation that reads them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import sympy as sp

from symbp.check import interpret
from symbp.ir import Affine, NonNegative, Program
from symbp.ir.affine import Index
from symbp.ir.functions import select
from symbp.ir.verify import verify
from symbp.schedule.inline_scattered import inline_scattered
from tests.derive.equations import Equations
from tests.schedule.node_text import equations


class Pooling:
    """``z_bar[m + 2*r, b] = select(place[r, b] == m, y_bar[r, b], 0)``, and its axes."""

    def __init__(self, *, gap: bool = False) -> None:
        eq = self.eq = Equations()
        self.b, self.p = eq.axis("b", "n_b"), eq.axis("p", 8 if gap else 6)
        r, m = eq.axis("r", 3), eq.axis("m", 2)
        self.z, y_bar = eq.given("z", self.p, self.b), eq.given("y_bar", r, self.b)
        place = eq.given("place", r, self.b, below=2)
        value = select(sp.Eq(place[r, self.b], eq.value(m)), y_bar[r, self.b], 0)
        at = (Affine.of(r) * 2 + m, self.b)
        shape = (eq.extents[self.p], eq.extents[self.b])
        self.z_bar = eq.let("z_bar", (r, m, self.b), value, at=at, shape=shape)

    def program(self) -> Program:
        names = {s.tensor for s in self.eq.statements}
        return self.eq.program(outputs=tuple(n for n in sorted(names) if n != "z_bar"))


def element_by_element(s: Pooling) -> None:
    s.eq.let("pre_bar", (s.p, s.b), s.z_bar[s.p, s.b] * s.z[s.p, s.b])


def turned(s: Pooling) -> None:
    s.eq.let("pre_bar", (s.b, s.p), s.z_bar[s.p, s.b] * s.z[s.p, s.b])


def for_each_of_several(s: Pooling) -> None:
    k = s.eq.axis("k", 4)
    s.eq.let("pre_bar", (k, s.p, s.b), s.z_bar[s.p, s.b] * s.z[s.p, s.b] + s.eq.given("w", k)[k])


def read_twice(s: Pooling) -> None:
    element_by_element(s)
    s.eq.let("again", (s.p, s.b), s.z_bar[s.p, s.b] + 1)


def shifted(s: Pooling) -> None:
    q = s.eq.axis("q", 5)
    s.eq.let("pre_bar", (q, s.b), s.z_bar[Affine.of(q) + 1, s.b] * s.z[q, s.b])


def two_elements(s: Pooling) -> None:
    q: Index = s.eq.axis("q", 5)
    s.eq.let("pre_bar", (q, s.b), s.z_bar[Affine.of(q) + 1, s.b] * s.z_bar[q, s.b])


def summed(s: Pooling) -> None:
    s.eq.let("total", (s.b,), s.z_bar[s.p, s.b], (s.p,))


def some_of_it(s: Pooling) -> None:
    q = s.eq.axis("q", 5)
    s.eq.let("pre_bar", (q, s.b), s.z_bar[q, s.b] * s.z[q, s.b])


Reader = Callable[[Pooling], None]


def test_the_reader_takes_over_the_indices() -> None:
    s = Pooling()
    element_by_element(s)
    assert equations(inline_scattered(s.program())) == [
        "pre_bar[m + 2*r, b] = z[m + 2*r, b]*select(place[r, b] == m, y_bar[r, b], 0)"
    ]


@pytest.mark.parametrize(
    ("reader", "joins"),
    [
        (element_by_element, True), (turned, True),
        (for_each_of_several, False), (read_twice, False), (shifted, False), (two_elements, False), (summed, False),
        (some_of_it, False),
    ],
)  # fmt: skip
def test_one_reader_that_goes_through_all_elements(reader: Reader, joins: bool) -> None:
    s = Pooling()
    reader(s)
    plain = s.program()
    made = verify(inline_scattered(plain))
    assert (made != plain) == joins
    random = np.random.default_rng(1)
    feed = {
        "z": random.standard_normal((6, 7)),
        "y_bar": random.standard_normal((3, 7)),
        "place": random.integers(0, 2, (3, 7)),
        "w": random.standard_normal(4),
    }
    given = {t.name: feed[t.name] for t in plain.tensors if t.is_given}
    found, expected = (interpret(p, {"n_b": 7}, given) for p in (made, plain))
    for name in plain.outputs:
        np.testing.assert_array_equal(found[name], expected[name])


def test_gaps_are_zeros_that_nobody_writes() -> None:
    s = Pooling(gap=True)
    element_by_element(s)
    assert inline_scattered(s.program()) == s.program()


def test_what_others_see_stays() -> None:
    s = Pooling()
    element_by_element(s)
    seen = replace(s.program(), outputs=("pre_bar", "z_bar"))
    assert inline_scattered(seen) == seen


def test_a_guard_of_the_reader_goes_with_it() -> None:
    s = Pooling()
    where = [NonNegative(Affine.of(s.p) - 2)]
    s.eq.let("pre_bar", (s.p, s.b), s.z_bar[s.p, s.b] * s.z[s.p, s.b], where=where)
    assert equations(inline_scattered(s.program())) == [
        "pre_bar[m + 2*r, b] = z[m + 2*r, b]*select(place[r, b] == m, y_bar[r, b], 0)    where m + 2*r >= 2"
    ]

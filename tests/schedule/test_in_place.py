"""Tensors that are written over others, and those that must not be."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import sympy as sp

from symbp.ir import Affine, Reduction
from symbp.schedule.buffers import allocate
from symbp.schedule.fuse import fuse_nests
from symbp.schedule.in_place import may_take_the_place
from tests.schedule.small import Small
from tests.schedule.test_fuse import nests


def follows(s: Small, new: str = "b", old: str = "a") -> bool:
    """Whether `new` may be written over `old` in the nest that first writes it."""
    fused = fuse_nests(nests(s))
    nest = next(n for n in fused if any(st.tensor == new for st in n.statements))
    return may_take_the_place(new, old, nest.nodes)


def element_by_element(s: Small) -> None:
    a = s.eq.let("a", (s.n, s.i), s.given("x", "ni")[s.n, s.i] + 1)
    s.eq.let("b", (s.n, s.i), a[s.n, s.i] ** 2)


def after_a_product(s: Small) -> None:
    x, w = s.given("x", "nk"), s.given("w", "ki")
    a = s.eq.let("a", (s.n, s.i), x[s.n, s.k] * w[s.k, s.i], (s.k,))
    s.eq.let("b", (s.n, s.i), sp.exp(a[s.n, s.i]))


def after_a_product_in_a_loop(s: Small) -> None:
    x, w = s.given("x", "nmk"), s.given("w", "nki")
    a = s.eq.let("a", (s.n, s.m, s.i), x[s.n, s.m, s.k] * w[s.n, s.k, s.i], (s.k,))
    s.eq.let("b", (s.n, s.m, s.i), sp.exp(a[s.n, s.m, s.i]))


def rows_of_a_softmax(s: Small) -> None:
    a = s.eq.let("a", (s.n, s.i), sp.exp(s.given("x", "ni")[s.n, s.i]))
    total = s.eq.let("t", (s.n,), a[s.n, s.i], (s.i,))
    s.eq.let("b", (s.n, s.i), a[s.n, s.i] / total[s.n])


def after_the_last_use_in_the_turn(s: Small) -> None:
    a = s.eq.let("a", (s.n, s.i), s.given("x", "ni")[s.n, s.i] + 1)
    total = s.eq.let("t", (s.n,), a[s.n, s.i], (s.i,))
    s.eq.let("b", (s.n, s.i), total[s.n] * s.eq.value(s.i))


@pytest.mark.parametrize(
    "declare",
    [
        element_by_element,
        after_a_product,
        after_a_product_in_a_loop,
        rows_of_a_softmax,
        after_the_last_use_in_the_turn,
    ],
)
def test_what_is_written_over(declare: Callable[[Small], None]) -> None:
    s = Small()
    declare(s)
    assert follows(s)
    tensors = {t.name: t for t in s.program().tensors}
    fused = fuse_nests(nests(s))
    shared, _ = allocate(fused, tensors, ["a", "b"], in_place=True)
    apart, _ = allocate(fused, tensors, ["a", "b"])
    assert shared["a"].offset == shared["b"].offset
    assert apart["a"].offset != apart["b"].offset


def other_element_of_the_row(s: Small) -> None:
    a = s.eq.let("a", (s.n, s.i), s.given("x", "ni")[s.n, s.i] + 1)
    s.eq.let("b", (s.n, s.i), a[s.n, 4 - s.i])


def transposed(s: Small) -> None:
    a = s.eq.let("a", (s.n, s.m), s.given("x", "nm")[s.n, s.m] + 1)
    s.eq.let("b", (s.n, s.m), a[s.m, s.n])


def read_twice_in_one_statement(s: Small) -> None:
    a = s.eq.let("a", (s.n, s.i), s.given("x", "ni")[s.n, s.i] + 1)
    s.eq.let("b", (s.n, s.i), a[s.n, s.i] + a[s.n, 0])


def read_after_it_was_written_over(s: Small) -> None:
    a = s.eq.let("a", (s.n, s.i), s.given("x", "ni")[s.n, s.i] + 1)
    b = s.eq.let("b", (s.n, s.i), a[s.n, s.i] ** 2)
    s.eq.let("c", (s.n, s.i), a[s.n, s.i] + b[s.n, s.i])


def rows_of_others(s: Small) -> None:
    """A sum over all rows, for every row, though the last statement of it reads its own."""
    a = s.eq.let("a", (s.n, s.i), s.given("x", "ni")[s.n, s.i] + 1)
    total = s.eq.let("t", (s.n, s.i), a[s.m, s.i] * s.given("w", "nm")[s.n, s.m] ** 2, (s.m,))
    s.eq.let("b", (s.n, s.i), a[s.n, s.i] / total[s.n, s.i])


def product_of_it(s: Small) -> None:
    a = s.eq.let("a", (s.n, s.m), s.given("x", "nm")[s.n, s.m] + 1)
    s.eq.let("b", (s.n, s.i), a[s.n, s.m] * s.given("w", "mi")[s.m, s.i], (s.m,))


def added_to(s: Small) -> None:
    a = s.eq.let("a", (s.n, s.i), s.given("x", "ni")[s.n, s.i] + 1)
    s.eq.let("b", (s.n, s.i), a[s.n, s.i], (s.k,))


def at_a_gathered_row(s: Small) -> None:
    a = s.eq.let("a", (s.n, s.i), s.given("x", "ni")[s.n, s.i] + 1)
    s.eq.let("b", (s.n, s.i), a[Affine.of(s.given("label", "n", 1).read(s.n)), s.i])


@pytest.mark.parametrize(
    "declare",
    [
        other_element_of_the_row,
        transposed,
        read_twice_in_one_statement,
        read_after_it_was_written_over,
        rows_of_others,
        product_of_it,
        added_to,
        at_a_gathered_row,
    ],
)
def test_what_is_not_written_over(declare: Callable[[Small], None]) -> None:
    s = Small()
    declare(s)
    assert not follows(s)


def test_another_shape_of_the_same_size_has_a_place_of_its_own() -> None:
    s = Small()
    a = s.eq.let("a", (s.i, s.j), s.given("x", "ij")[s.i, s.j] + 1)
    s.eq.let("m", (s.i,), a[s.i, s.j], (s.j,), Reduction.MAX)
    s.eq.let("b", (s.j, s.i), sp.Integer(1))
    tensors = {t.name: t for t in s.program().tensors}
    first, largest, last = nests(s)
    both = type(largest)(largest.statements, (*largest.nodes, *last.nodes), largest.kind)
    found, _ = allocate([first, both], tensors, ["a", "b"], in_place=True)
    assert found["a"].offset != found["b"].offset

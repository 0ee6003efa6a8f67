"""Sums that only feed another sum become accumulations, and only those."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from symbp.ir import NonNegative
from symbp.ir.functions import tanh
from symbp.schedule.absorb import absorb_sums
from tests.derive.equations import Equations, Handle
from tests.schedule.node_text import equations


class Dense:
    """``s = x W`` and what reads it."""

    def __init__(self) -> None:
        self.eq = Equations()
        self.b, self.j, self.k = self.eq.axis("b", "n"), self.eq.axis("j", 5), self.eq.axis("k", 4)
        self.x, self.W = self.eq.given("x", self.b, self.j), self.eq.parameter("W", self.j, self.k)
        self.c = self.eq.parameter("c", self.k)

    def product(self, name: str = "s") -> Handle:
        b, j, k = self.b, self.j, self.k
        return self.eq.let(name, (b, k), self.x[b, j] * self.W[j, k], (j,))

    def absorbed(self, outputs: tuple[str, ...] = ("z",)) -> list[str]:
        return equations(absorb_sums(self.eq.program(outputs=outputs)))


def test_a_product_is_added_to_what_was_added_to_it() -> None:
    d = Dense()
    s = d.product()
    d.eq.let("z", (d.b, d.k), s[d.b, d.k] + d.c[d.k])
    assert d.absorbed() == ["z[b, k] = c[k]", "z[b, k] += sum[j] x[b, j]*W[j, k]"]
    assert not absorb_sums(d.eq.program(outputs=("z",))).has("s")


def test_of_two_products_the_first_sets() -> None:
    d = Dense()
    s, r = d.product(), d.product("r")
    d.eq.let("z", (d.b, d.k), s[d.b, d.k] + r[d.b, d.k])
    assert d.absorbed() == ["z[b, k] = sum[j] x[b, j]*W[j, k]", "z[b, k] += sum[j] x[b, j]*W[j, k]"]


def test_of_two_products_added_to_more_both_add() -> None:
    d = Dense()
    s, r = d.product(), d.product("r")
    d.eq.let("z", (d.b, d.k), s[d.b, d.k] + r[d.b, d.k], accumulate=True)
    assert d.absorbed() == ["z[b, k] += sum[j] x[b, j]*W[j, k]", "z[b, k] += sum[j] x[b, j]*W[j, k]"]


def test_indices_are_those_of_the_reader() -> None:
    d = Dense()
    s = d.product()
    j, b = d.eq.axis("j", "n"), d.eq.axis("b", 4)  # the reader calls b what the product calls k
    d.eq.let("z", (b, j), s[j, b] + d.c[b])
    assert d.absorbed() == ["z[b, j] = c[b]", "z[b, j] += sum[j2] x[j, j2]*W[j2, b]"]


def test_only_some_of_the_terms() -> None:
    d = Dense()
    s, r = d.product(), d.product("r")
    d.eq.let("z", (d.b, d.k), s[d.b, d.k] + 2 * r[d.b, d.k] + d.c[d.k])
    assert d.absorbed() == [
        "r[b, k] = sum[j] x[b, j]*W[j, k]",
        "z[b, k] = c[k] + 2*r[b, k]",
        "z[b, k] += sum[j] x[b, j]*W[j, k]",
    ]


def scaled(d: Dense) -> None:
    d.eq.let("z", (d.b, d.k), 2 * d.product()[d.b, d.k] + d.c[d.k])


def inside_a_function(d: Dense) -> None:
    d.eq.let("z", (d.b, d.k), tanh(d.product()[d.b, d.k]) + d.c[d.k])


def no_sum(d: Dense) -> None:
    d.eq.let("z", (d.b, d.k), d.product()[d.b, d.k] * d.c[d.k])


def read_twice(d: Dense) -> None:
    s = d.product()
    d.eq.let("z", (d.b, d.k), s[d.b, d.k] + d.c[d.k])
    d.eq.let("y", (d.b, d.k), s[d.b, d.k] ** 2)


def read_at_two_places(d: Dense) -> None:
    s = d.product()
    d.eq.let("z", (d.b, d.k), s[d.b, d.k] + s[d.b, 3 - d.k])


def read_in_two_terms(d: Dense) -> None:
    s = d.product()
    d.eq.let("z", (d.b, d.k), s[d.b, d.k] + s[d.b, d.k] * d.c[d.k])


def a_reader_that_sums_the_rest(d: Dense) -> None:
    d.eq.let("z", (d.b, d.k), d.product()[d.b, d.k] + d.x[d.b, d.j], (d.j,))


def a_sum_that_is_no_product(d: Dense) -> None:
    s = d.eq.let("s", (d.b, d.k), d.x[d.b, d.j] ** 2 * d.W[d.j, d.k], (d.j,))
    d.eq.let("z", (d.b, d.k), s[d.b, d.k] + d.c[d.k])


def reader_with_a_guard(d: Dense) -> None:
    d.eq.let("z", (d.b, d.k), d.product()[d.b, d.k] + d.c[d.k], where=[NonNegative(d.b - 1)])


def part_of_it(d: Dense) -> None:
    d.eq.let("z", (d.b, d.k), d.product()[d.b, d.k] + d.c[d.k], starts={d.b: 1})


def one_row_of_it(d: Dense) -> None:
    d.eq.let("z", (d.b, d.k), d.product()[0, d.k] + d.c[d.k])


def its_diagonal(d: Dense) -> None:
    m = d.eq.axis("m", 4)
    s = d.eq.let("s", (m, d.k), d.W[d.j, m] * d.W[d.j, d.k], (d.j,))
    d.eq.let("z", (d.k,), s[d.k, d.k] + d.c[d.k])


def shifted(d: Dense) -> None:
    d.eq.let("z", (d.b, d.k), d.product()[d.b, 3 - d.k] + d.c[d.k])


def a_plain_sum(d: Dense) -> None:
    s = d.eq.let("s", (d.b,), d.x[d.b, d.j], (d.j,))
    d.eq.let("z", (d.b, d.k), s[d.b] + d.c[d.k])


def a_summing_reader(d: Dense) -> None:
    d.eq.let("z", (d.b,), d.product()[d.b, d.k] + d.c[d.k], (d.k,))


def an_accumulation(d: Dense) -> None:
    s = d.eq.let("s", (d.b, d.k), d.x[d.b, d.j] * d.W[d.j, d.k], (d.j,), accumulate=True)
    d.eq.let("z", (d.b, d.k), s[d.b, d.k] + d.c[d.k])


def written_in_two_pieces(d: Dense) -> None:
    shape = (d.eq.extents[d.b] + 1, 4)
    s = d.eq.let("s", (d.b, d.k), d.x[d.b, d.j] * d.W[d.j, d.k], (d.j,), at=(d.b, d.k), shape=shape)
    d.eq.let("s", (d.k,), d.c[d.k], at=(d.eq.extents[d.b], d.k), shape=shape)
    d.eq.let("z", (d.b, d.k), s[d.b, d.k] + d.c[d.k])


@pytest.mark.parametrize(
    "declare",
    [
        scaled, inside_a_function, no_sum, read_twice, read_at_two_places, read_in_two_terms,
        a_reader_that_sums_the_rest, a_sum_that_is_no_product, reader_with_a_guard, part_of_it,
        one_row_of_it, its_diagonal, shifted, a_plain_sum, a_summing_reader, an_accumulation, written_in_two_pieces,
    ],
)  # fmt: skip
def test_what_stays(declare: Callable[[Dense], None]) -> None:
    d = Dense()
    declare(d)
    program = d.eq.program(outputs=("z",))
    assert absorb_sums(program) is program


def test_outputs_stay() -> None:
    d = Dense()
    s = d.product()
    d.eq.let("z", (d.b, d.k), s[d.b, d.k] + d.c[d.k])
    program = d.eq.program(outputs=("z", "s"))
    assert absorb_sums(program) is program

"""Arguments that only their call reads are written into it, and only those."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import sympy as sp

from symbp.ir import NonNegative, Program, Role
from symbp.ir.functions import tanh
from symbp.schedule.inline import inline_arguments
from tests.derive.equations import Equations, Handle
from tests.schedule.node_text import equations


class Call:
    def __init__(self) -> None:
        self.eq = Equations()
        self.b, self.k, self.j = self.eq.axis("b", "n"), self.eq.axis("k", 4), self.eq.axis("j", 4)
        self.x, self.m = self.eq.given("x", self.b, self.k), self.eq.parameter("m", self.k)

    def argument(self) -> Handle:
        return self.eq.let("a", (self.b, self.k), self.x[self.b, self.k] - self.m[self.k])

    def program(self, *outputs: str) -> Program:
        return self.eq.program(outputs=outputs)


def test_an_argument_goes_into_its_call() -> None:
    c = Call()
    a = c.argument()
    c.eq.let("y", (c.b, c.k), sp.exp(a[c.b, c.k]))
    assert equations(inline_arguments(c.program("y"))) == ["y[b, k] = exp(x[b, k] - m[k])"]
    assert not inline_arguments(c.program("y")).has("a")


def test_with_the_indices_of_the_call() -> None:
    c = Call()
    a = c.argument()
    k, j = c.eq.axis("k", "n"), c.eq.axis("j", 4)
    c.eq.let("y", (k, j), sp.exp(a[k, j]))
    assert equations(inline_arguments(c.program("y"))) == ["y[k, j] = exp(x[k, j] - m[j])"]


@pytest.mark.parametrize("calls_first", [True, False])
def test_chains_in_any_order(calls_first: bool) -> None:
    c = Call()
    a, t = c.argument(), c.eq.given("t", c.b, c.k, role=Role.ACTIVATION)
    made = [
        lambda: c.eq.let("y", (c.b, c.k), sp.exp(t[c.b, c.k])),
        lambda: c.eq.let("t", (c.b, c.k), tanh(a[c.b, c.k])),
    ]
    for make in made if calls_first else made[::-1]:
        make()
    found = equations(inline_arguments(c.program("y")))
    # In this order the argument of the inner call is left: one name more, and right all the same.
    left = ["a[b, k] = x[b, k] - m[k]", "y[b, k] = exp(tanh(a[b, k]))"]
    assert found == (left if calls_first else ["y[b, k] = exp(tanh(x[b, k] - m[k]))"])


def test_under_the_same_guards() -> None:
    c = Call()
    a = c.eq.let("a", (c.b, c.k), c.x[c.b, c.k] ** 2, where=[NonNegative(c.b - c.k)])
    c.eq.let("y", (c.b, c.k), sp.log(a[c.b, c.k]), where=[NonNegative(c.b - c.k), NonNegative(c.k - 1)])
    assert equations(inline_arguments(c.program("y"))) == ["y[b, k] = log(x[b, k]**2)    where b >= k, k >= 1"]


def fewer_guards(c: Call) -> None:
    a = c.eq.let("a", (c.b, c.k), c.x[c.b, c.k] ** 2, where=[NonNegative(c.b - c.k)])
    c.eq.let("y", (c.b, c.k), sp.exp(a[c.b, c.k]))


def read_elsewhere(c: Call) -> None:
    a = c.argument()
    c.eq.let("y", (c.b, c.k), sp.exp(a[c.b, c.k]))
    c.eq.let("z", (c.b, c.k), a[c.b, c.k] * 2)


def read_at_two_places(c: Call) -> None:
    a = c.argument()
    c.eq.let("y", (c.b, c.k), sp.exp(a[c.b, c.k] + a[c.b, 3 - c.k]))


def no_call(c: Call) -> None:
    c.eq.let("y", (c.b, c.k), c.argument()[c.b, c.k] * 2)


def a_call_in_a_product(c: Call) -> None:
    c.eq.let("y", (c.b, c.k), sp.exp(c.argument()[c.b, c.k]) * 2)


def a_summing_call(c: Call) -> None:
    c.eq.let("y", (c.b,), sp.exp(c.argument()[c.b, c.k]), (c.k,))


def reversed_in_the_call(c: Call) -> None:
    c.eq.let("y", (c.b, c.k), sp.exp(c.argument()[c.b, 3 - c.k]))


def part_of_it(c: Call) -> None:
    c.eq.let("y", (c.b, c.k), sp.exp(c.argument()[c.b, c.k]), starts={c.k: 1})


def repeated_along_another_axis(c: Call) -> None:
    a = c.eq.let("a", (c.k,), c.m[c.k] ** 2 + 1)
    c.eq.let("y", (c.b,), sp.exp(a[0]))


def a_sum(c: Call) -> None:
    a = c.eq.let("a", (c.b,), c.x[c.b, c.k] ** 2, (c.k,))
    c.eq.let("y", (c.b,), sp.exp(a[c.b]))


def an_accumulation(c: Call) -> None:
    a = c.eq.let("a", (c.b, c.k), c.x[c.b, c.k] ** 2, accumulate=True)
    c.eq.let("y", (c.b, c.k), sp.exp(a[c.b, c.k]))


def an_adjoint(c: Call) -> None:
    a = c.eq.let("a_bar", (c.b, c.k), c.x[c.b, c.k] ** 2, role=Role.ADJOINT)
    c.eq.let("y", (c.b, c.k), sp.exp(a[c.b, c.k]))


def a_product_behind_it(c: Call) -> None:
    W = c.eq.parameter("W", c.k, c.j)
    s = c.eq.let("s", (c.b, c.j), c.x[c.b, c.k] * W[c.k, c.j], (c.k,))
    a = c.eq.let("a", (c.b, c.j), s[c.b, c.j] + c.m[c.j])
    c.eq.let("y", (c.b, c.j), sp.exp(a[c.b, c.j]))


@pytest.mark.parametrize(
    "declare",
    [
        fewer_guards, read_elsewhere, read_at_two_places, no_call, a_call_in_a_product, a_summing_call,
        reversed_in_the_call, part_of_it, repeated_along_another_axis, a_sum, an_accumulation, an_adjoint,
        a_product_behind_it,
    ],
)  # fmt: skip
def test_what_stays(declare: Callable[[Call], None]) -> None:
    c = Call()
    declare(c)
    program = c.program("y")
    assert inline_arguments(program) is program


def test_a_product_that_is_kept_anyway_does_not_hold_the_name() -> None:
    c = Call()
    W = c.eq.parameter("W", c.k, c.j)
    s = c.eq.let("s", (c.b, c.j), c.x[c.b, c.k] * W[c.k, c.j], (c.k,))
    a = c.eq.let("a", (c.b, c.j), s[c.b, c.j] + c.m[c.j])
    c.eq.let("y", (c.b, c.j), sp.exp(a[c.b, c.j]))
    c.eq.let("z", (c.b, c.j), s[c.b, c.j] ** 2)
    assert equations(inline_arguments(c.program("y")))[1] == "y[b, j] = exp(s[b, j] + m[j])"


def test_outputs_stay() -> None:
    c = Call()
    a = c.argument()
    c.eq.let("y", (c.b, c.k), sp.exp(a[c.b, c.k]))
    program = c.program("y", "a")
    assert inline_arguments(program) is program

"""What work costs: compared with loops that are run and counted one turn at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import pytest
import sympy as sp

import symbp as sb
from symbp import LSTM, Dense, Model, SelfAttention, mean, relu, softmax_cross_entropy
from symbp.ir import Affine, NonNegative, Size, Tensor, Zero
from symbp.ir import functions as fn
from symbp.ir.affine import Index, floor_div
from symbp.ir.cost import Cost, evaluate, nanoseconds
from symbp.ir.plan import Kind, Machine, Nest, Plan
from symbp.pipeline import compile_to_plan
from symbp.schedule.cost import cost_of, nest_cost
from symbp.schedule.operations import operations
from tests.schedule.counting import Counted
from tests.schedule.small import Small

X, Y = sp.symbols("x y", real=True)


def perceptron() -> Model:
    model = Model("perceptron")
    b, j, k = model.axis("b", "batch"), model.axis("j", 7), model.axis("k", 5)
    x, label = model.input("x", b, j), model.input("label", b, dtype="int", below=k)
    z = Dense(5, name="out")(Dense(13, relu, name="hidden")(x))
    model.output(z)
    model.loss(softmax_cross_entropy(z, label))
    model.optimizer(sb.SGD(learning_rate=0.1))
    return model


def recurrent() -> Model:
    model = Model("recurrent")
    b, t, j, k = model.axis("b", "batch"), model.axis("t", "time"), model.axis("j", 3), model.axis("k", 6)
    x, y = model.input("x", b, t, j), model.input("y", b, k)
    h = LSTM(6, name="lstm", sequences=False)(x)
    model.output(h)
    model.loss(mean((h[b, k] - y[b, k]) ** 2, b, k))
    return model


def causal() -> Model:
    model = Model("causal")
    b, t, e = model.axis("b", "batch"), model.axis("t", "time"), model.axis("e", 6)
    x, y = model.input("x", b, t, e), model.input("y", b, t, e)
    a = SelfAttention(2, causal=True, name="attention")(x)
    model.output(a)
    model.loss(mean((a[b, t, e] - y[b, t, e]) ** 2, b, t, e))
    return model


@cache
def plan_of(model: Callable[[], Model], machine: Machine) -> Plan:
    return compile_to_plan(model(), machine=machine).plan


class Sizes(dict[str, int]):
    """Run-time sizes; of what is cut along the batch, one chunk and one share are everything."""

    def __init__(self, n_batch: int, n_time: int) -> None:
        super().__init__(n_batch=n_batch, n_time=n_time, n_parameters=11, rows=n_batch, first=0, chunks=1, number=0)

    def get(self, name: str, default: int | None = None) -> int:  # type: ignore[override]
        return self[name]

    def __missing__(self, name: str) -> int:
        side, _, extent = name.partition("_")
        return {"first": 0, "last": int(extent)}[side]


@dataclass(frozen=True)
class Case:
    """A nest in which neither conditions nor data decide what is done, and the tensors that it sees."""

    nest: Nest
    tensors: dict[str, Tensor]

    def counted(self, sizes: Sizes) -> Counted:
        found = Counted(sizes, self.tensors)
        found.run(self.nest.nodes, {})
        return found


def cases_of(plan: Plan) -> list[Case]:
    found = []
    for procedure in plan.procedures:
        tensors = {**plan.tensors, **{t.name: t for t in procedure.tensors}}
        for nest in procedure.nests:
            case = Case(nest, tensors)
            try:
                case.counted(Sizes(2, 2))
            except AssertionError:
                continue
            found.append(case)
    return found


SIZES = ((1, 1), (7, 1), (1, 13), (3, 7))


@pytest.mark.parametrize("model", [perceptron, recurrent, causal])
@pytest.mark.parametrize("machine", [Machine.LOOPS, Machine.TEAMS])
def test_operations_are_those_that_the_loops_carry_out(model: Callable[[], Model], machine: Machine) -> None:
    cases = cases_of(plan_of(model, machine))
    assert len(cases) >= 7
    for case in cases:
        cost = nest_cost(case.nest, case.tensors)
        for sizes in (Sizes(*numbers) for numbers in SIZES):
            found = case.counted(sizes)
            shown = [evaluate(v, sizes) for v in (cost.flops, cost.calls, cost.in_products)]
            assert shown == [found.flops, found.calls, found.in_products], (case.nest.statements, sizes)


@pytest.mark.parametrize("model", [perceptron, recurrent])
@pytest.mark.parametrize("machine", [Machine.LOOPS, Machine.TEAMS])
def test_bytes_are_those_of_the_elements_that_the_loops_touch(model: Callable[[], Model], machine: Machine) -> None:
    for case in cases_of(plan_of(model, machine)):
        traffic = nest_cost(case.nest, case.tensors, itemsize=8).bytes
        # Of a recurrence that adds to a step and then reads it, each is counted once, the first time twice.
        slack = 0.1 if case.nest.kind is Kind.SCAN else 0.0
        for sizes in (Sizes(*numbers) for numbers in SIZES):
            passes = case.counted(sizes).passes
            assert evaluate(traffic, sizes) == pytest.approx(8 * passes, rel=slack), (case.nest.statements, sizes)


def cost_of_last(small: Small, *outputs: str) -> Cost:
    program = small.program(*outputs)
    return cost_of(program.statements[-1], program)


def test_a_sum_of_products_counts_each_multiplication_and_addition() -> None:
    s = Small()
    x, w = s.given("x", "ni"), s.given("w", "ij")
    s.eq.let("y", (s.n, s.j), x[s.n, s.i] * w[s.i, s.j], over=(s.i,))
    cost = cost_of_last(s, "y")
    assert cost.flops == cost.in_products == 2 * 5 * 6 * s.size
    assert cost.bytes == 4 * (5 * s.size + 5 * 6 + 6 * s.size)
    assert cost.calls == Affine.of(0)


def test_adding_to_a_result_is_an_operation_and_reads_it() -> None:
    s = Small()
    x = s.given("x", "ni")
    s.eq.let("y", (s.n, s.i), x[s.n, s.i])
    s.eq.let("y", (s.n, s.i), fn.tanh(x[s.n, s.i]), accumulate=True)
    cost = cost_of_last(s, "y")
    assert (cost.flops, cost.calls, cost.bytes) == (5 * s.size, 5 * s.size, 3 * 4 * 5 * s.size)


def test_a_window_touches_each_element_once() -> None:
    s = Small()
    x, w = s.given("x", "k"), s.given("w", "u")
    s.eq.let("y", (s.i,), x[s.i + s.u] * w[s.u], over=(s.u,))
    cost = cost_of_last(s, "y")
    assert (cost.flops, cost.bytes) == (Affine.of(2 * 5 * 3), Affine.of(4 * (7 + 3 + 5)))


def test_rows_that_the_data_choose_are_read_one_by_one() -> None:
    s = Small()
    table, word = s.given("table", "kj"), s.given("word", "n", below=7)
    s.eq.let("y", (s.n, s.j), table[word.read(s.n) + 0, s.j])
    cost = cost_of_last(s, "y")
    assert (cost.flops, cost.bytes) == (Affine.of(0), (4 * 6 + 8 + 4 * 6) * s.size)


def test_an_equation_among_the_guards_fixes_an_index() -> None:
    s = Small()
    x, word = s.given("x", "n"), s.given("word", "n", below=7)
    s.eq.let("y", (s.n, s.k), 3 * x[s.n], where=(Zero(s.k - word.read(s.n)),))
    assert cost_of_last(s, "y").flops == Affine.of(s.size)


def test_a_triangle_is_half_of_its_square() -> None:
    s = Small()
    x = s.given("x", "n")
    s.eq.let("y", (s.n, s.m), 3 * x[s.n], where=(NonNegative(s.n - s.m),))
    assert cost_of_last(s, "y").flops == floor_div(s.size * s.size, 2)


@pytest.mark.parametrize(
    ("expr", "expected"),
    [
        (X * Y, (1, 0)),
        (-X * Y, (1, 0)),
        (X / Y, (1, 0)),
        (1 / X, (1, 0)),
        (-1 / X, (1, 0)),
        (1 / (X * Y), (2, 0)),
        (X**2, (1, 0)),
        (X**3 / Y, (3, 0)),
        (X ** sp.Rational(3, 2), (2, 0)),
        (1 / sp.sqrt(X), (2, 0)),
        (X**Y, (0, 1)),
        (X - Y + 1, (2, 0)),
        (X / 2, (1, 0)),
        (fn.tanh(X) + fn.tanh(X) * Y, (2, 1)),  # the same value twice
        (fn.relu(X) + fn.maximum(X, Y), (3, 0)),
        (fn.stop_gradient(X), (0, 0)),
        (fn.select(X > 0, X * Y, 0), (3, 0)),
        (sp.Integer(2), (0, 0)),
    ],
)
def test_operations_of_an_expression(expr: sp.Expr, expected: tuple[int, int]) -> None:
    assert operations(expr) == expected


def test_numbers_for_sizes_and_what_is_not_known() -> None:
    n, m = Size("n"), Size("m")
    value = 3 * n * m + floor_div(n + 1, 2) - 4
    assert evaluate(value, {"n": 7, "m": 13}) == 3 * 7 * 13 + 4 - 4
    assert evaluate(value, {"n": 7}, unknown=2) == 3 * 7 * 2 + 4 - 4
    with pytest.raises(ValueError, match="is not a number"):
        evaluate(Affine.of(Index("i")))


def test_work_in_loops_counts_for_more_than_work_in_products() -> None:
    n = Affine.of(Size("n"))
    in_products, in_loops, calls = Cost(n, in_products=n), Cost(n), Cost(calls=n)
    times = [nanoseconds(c, {"n": 1000}) for c in (in_products, in_loops, calls)]
    assert times == sorted(times)
    assert nanoseconds(in_products + in_loops, {"n": 8}) == pytest.approx(8 / 80 + 8 / 4)

"""The plan as a whole: procedures, what they are given, what crosses from forward to backward, in-place updates."""

from __future__ import annotations

from dataclasses import replace

import pytest

import symbp as sb
from symbp import Model, mean, sum, tanh
from symbp.errors import ShapeError
from symbp.ir import Affine, Program
from symbp.ir.nodes import Loop
from symbp.ir.plan import Buffer, Kind, Memory, Plan
from symbp.ir.walk_nodes import walk
from symbp.pipeline import compile_to_plan
from symbp.schedule import make_plan
from tests.schedule.node_text import nest_lines


def dense() -> Model:
    model = Model("small")
    n, j, k = model.axis("n", "batch"), model.axis("j", 5), model.axis("k", 4)
    x, t = model.input("x", n, j), model.input("t", n, k)
    y = model.define(
        "y[n, k]", sb.tanh(sum(x[n, j] * model.parameter("W", j, k)[j, k], j) + model.parameter("c", k)[k])
    )
    model.output(y)
    model.loss(mean((y[n, k] - t[n, k]) ** 2, n, k))
    model.optimizer(sb.Momentum(learning_rate=0.1))
    return model


def plan_of(model: Model) -> Plan:
    return compile_to_plan(model).plan


def memory_of(plan: Plan, procedure: str) -> dict[str, Memory]:
    found = plan.procedure(procedure)
    assert found is not None
    return {view.tensor: view.memory for view in found.views}


def test_the_procedures_and_what_they_are_given() -> None:
    plan = plan_of(dense())
    assert [p.name for p in plan.procedures] == ["predict_into", "forward", "backward", "update"]
    assert [p.inputs for p in plan.procedures] == [("x",), ("x", "t"), ("x", "t"), ()]
    assert [p.results for p in plan.procedures] == [("y",), (), (), ()]
    assert [p.returns for p in plan.procedures] == ["", "loss", "", ""]


def test_what_each_procedure_sees_and_no_more() -> None:
    plan = plan_of(dense())
    assert memory_of(plan, "predict_into") == {
        "W": Memory.PARAMETERS, "c": Memory.PARAMETERS, "y": Memory.GIVEN, "y_pre": Memory.WORKSPACE,
    }  # fmt: skip
    assert memory_of(plan, "backward") == {
        "t": Memory.GIVEN,
        "y": Memory.WORKSPACE,
        "W_bar": Memory.GRADIENTS,
        "c_bar": Memory.GRADIENTS,
        "y_pre_bar": Memory.WORKSPACE,
    }


def test_loops_see_arrays_of_the_caller_in_the_shape_that_they_are_known_to_have() -> None:
    model = Model("one_column")
    n, j = model.axis("n", "batch"), model.axis("j", 3)
    x, w = model.input("x", n, j), model.parameter("w", j)
    y = model.define("y[n]", tanh(sum(x[n, j] * w[j], j)))
    model.output(y)
    model.loss(mean(y[n] ** 2, n))
    plan = plan_of(model)
    for name in ("predict_into", "forward", "backward"):
        procedure = plan.procedure(name)
        assert procedure is not None
        assert [v for v in procedure.views if v.memory is Memory.GIVEN] == [Buffer("x", Memory.GIVEN, Affine.of(0))]
        assert procedure.inputs == ("x",)
    assert "x" not in memory_of(plan_of(dense()), "forward")  # a product asks the array itself


def test_parameters_lie_one_after_the_other() -> None:
    plan = plan_of(dense())
    assert [(p.name, p.shape, p.offset, p.fans) for p in plan.parameters] == [
        ("W", (5, 4), 0, (5, 4)),
        ("c", (4,), 20, (4, 4)),
    ]
    assert plan.parameter_count == 24


def test_gradients_lie_as_the_parameters_do() -> None:
    backward = plan_of(dense()).procedure("backward")
    assert backward is not None
    wanted = [Buffer("W_bar", Memory.GRADIENTS, Affine.of(0)), Buffer("c_bar", Memory.GRADIENTS, Affine.of(20))]
    assert [v for v in backward.views if v.memory is Memory.GRADIENTS] == wanted


def test_forward_and_backward_share_the_places_that_both_use() -> None:
    plan = plan_of(dense())
    forward, backward = plan.procedure("forward"), plan.procedure("backward")
    assert forward is not None
    assert backward is not None
    first, second = ({v.tensor: v for v in p.views} for p in (forward, backward))
    assert first["y"] == second["y"]
    # y is alive until the end, so nothing of the backward pass lies over it.
    assert all(v.offset != first["y"].offset for n, v in second.items() if n != "y" and v.memory is Memory.WORKSPACE)


def test_numbers_that_cross_have_a_place() -> None:
    model = Model("norm")
    n = model.axis("n", "batch")
    x, w = model.input("x", n), model.parameter("w")
    size = model.define("size", sb.sqrt(sum((w * x[n]) ** 2, n)))
    model.loss(sb.sin(size) * size)
    plan = plan_of(model)
    assert memory_of(plan, "forward")["size"] is Memory.WORKSPACE
    assert memory_of(plan, "backward")["size"] is Memory.WORKSPACE


def test_an_update_works_in_place() -> None:
    update = plan_of(dense()).procedure("update")
    assert update is not None
    assert nest_lines(update.nests) == [
        "# v_next[i] = g[i] + 0.9*v[i]",
        "# w_next[i] = w[i] - learning_rate*v_next[i]",
        "for i in 0..n_parameters:",
        "  v_next = g[i] + 0.9*v[i]",
        "  w[i] = w[i] - learning_rate*v_next",
        "  v[i] = v_next",
    ]


def test_a_gradient_that_is_guarded_is_cleared_though_nobody_reads_it() -> None:
    model = Model("lower")
    i, j = model.axis("i", 5), model.axis("j", 5)
    A = model.parameter("A", i, j)
    model.loss(sum(A[i, j] ** 2, i, j, where=i >= j))
    backward = plan_of(model).procedure("backward")
    assert backward is not None
    assert "fill A_bar with 0" in nest_lines(backward.nests)


def test_an_output_that_is_guarded_is_cleared_though_nobody_reads_it() -> None:
    model = Model("lower")
    i, j = model.axis("i", 5), model.axis("j", 5)
    x = model.input("x", i, j)
    model.output(model.define("y[i, j]", x[i, j], where=i >= j))
    assert "fill y with 0" in nest_lines(plan_of(model).procedures[0].nests)


def test_what_only_a_guarded_sum_reads_is_not_cleared() -> None:
    model = Model("causal")
    i, j = model.axis("i", 5), model.axis("j", 5)
    x = model.input("x", i, j)
    y = model.define("y[i, j]", sb.exp(x[i, j]), where=i >= j)
    model.output(model.define("z[i]", sum(y[i, j] ** 2, j, where=i >= j)))
    found = nest_lines(plan_of(model).procedures[0].nests)
    assert not any(line.strip().startswith("fill") for line in found), found


def test_parameters_of_run_time_extent_are_refused() -> None:
    model = Model("embedding")
    n = model.axis("n", "batch")
    x, w = model.input("x", n), model.parameter("w", model.axis("k", 3))
    model.loss(sum(x[n] * w[0], n))
    made = compile_to_plan(model)
    assert made.derivation is not None

    def stretched(program: Program) -> Program:
        tensors = tuple(replace(t, shape=program.tensor("x").shape) if t.name == "w" else t for t in program.tensors)
        return replace(program, tensors=tensors)

    longer = replace(
        made.derivation, primal=stretched(made.derivation.primal), program=stretched(made.derivation.program)
    )
    with pytest.raises(ShapeError, match=r"parameter 'w' has the run-time extent n_batch; give the axes of parameters"):
        make_plan(longer, None, None)


@pytest.mark.parametrize("stored", [True, False])
def test_a_size_that_no_input_tells_is_refused(stored: bool) -> None:
    model = Model("lost")
    n, k = model.axis("n", "points"), model.axis("k", 3)
    w = model.parameter("w", k)
    if stored:
        y = model.define("y[n]", sum(w[k], k) * n)
        model.loss(sum(y[n] ** 2, n))
    else:
        model.loss(sum(w[k] * n, k, n))
    expected = r"the run-time size n_points in the equation of '(y|loss)' is not the extent of any input; give the axis"
    with pytest.raises(ShapeError, match=expected):
        plan_of(model)


def test_rows_of_a_scan_are_marked_as_lying_between_each_other() -> None:
    """The loop around the innermost of each step; nothing outside of scans is."""
    model = Model("net")
    b, t, k = model.axis("b", "batch"), model.axis("t", "time"), model.axis("k", 3)
    j = model.axis("j", k)
    x, W = model.input("x", b, t, k), model.parameter("W", j, k)
    h = model.variable("h", b, k, t)  # the steps come last
    model.define(h[b, k, -1], 0)
    model.define(h[b, k, t], tanh(x[b, t, k] + sum(h[b, j, t - 1] * W[j, k], j)))
    model.output(h)
    (procedure,) = plan_of(model).procedures
    marked = [nest.kind for nest in procedure.nests for n in walk(nest.nodes) if isinstance(n, Loop) and n.interleaves]
    assert marked
    assert set(marked) == {Kind.SCAN}

"""Long procedures in parts: the same nests in the same order, so the same bits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from symbp import Dense, Model, mse, tanh
from symbp.check import random_feed
from symbp.derive import simplify_primal
from symbp.ir.plan import Plan
from symbp.pipeline import derive_model, prepare
from symbp.schedule import make_plan
from symbp.schedule.split import split_procedure
from tests.codegen.awkward_models import MODELS, Awkward
from tests.codegen.plain_python import PlainKernels


def layers(count: int) -> Model:
    model = Model("layers")
    b, j = model.axis("b", "batch"), model.axis("j", 5)
    x, y = model.input("x", b, j), model.input("y", b, j)
    h = x
    for n in range(count):
        h = Dense(5, tanh, name=f"layer{n}")(h)
    model.output(h)
    model.loss(mse(h, y))
    return model


def in_parts(plan: Plan) -> Plan:
    """The plan with parts as short as can be."""
    cut = [split_procedure(replace(p, parts=()), tuple(plan.tensors), 0, 1) for p in plan.procedures]
    return replace(plan, procedures=tuple(cut))


def plan_of(model: Model) -> Plan:
    program = model.program()
    predict = simplify_primal(prepare(replace(program.keep_live(program.outputs), loss="")))
    return make_plan(derive_model(program), predict, None)


@pytest.mark.parametrize("awkward", MODELS, ids=str)
def test_parts_compute_the_same_bits(awkward: Awkward) -> None:
    plan = make_plan(derive_model(awkward.build()), None, None)
    whole, cut = PlainKernels(plan), PlainKernels(in_parts(plan))
    for sizes in awkward.sizes:
        feed = random_feed(awkward.build().program(), dict(sizes), 0)
        loss, gradients = whole.loss_and_grad(sizes, feed)
        found_loss, found = cut.loss_and_grad(sizes, feed)
        assert found_loss == loss, cut.source
        for name, gradient in gradients.items():
            assert np.array_equal(found[name], gradient), f"{name}\n{cut.source}"


def test_predict_in_parts() -> None:
    plan = plan_of(layers(3))
    sizes = {"n_batch": 7}
    feed = random_feed(layers(3).program(), sizes, 0)
    cut = in_parts(plan)
    assert [len(p.parts) for p in cut.procedures] == [len(p.nests) for p in plan.procedures]
    expected, found = PlainKernels(plan).predict(sizes, feed), PlainKernels(cut).predict(sizes, feed)
    for name, value in expected.items():
        assert np.array_equal(found[name], value)


def test_a_part_says_what_it_is_and_keeps_every_nest() -> None:
    forward = next(p for p in in_parts(plan_of(layers(3))).procedures if p.name == "forward")
    assert tuple(n for part in forward.parts for n in part.nests) == forward.nests
    assert [p.name for p in forward.parts] == [f"forward_{k + 1}" for k in range(len(forward.parts))]
    assert forward.parts[0].summary == f"Part 1 of {len(forward.parts)} of `forward`: layer0."
    assert [bool(p.returns) for p in forward.parts] == [False] * (len(forward.parts) - 1) + [True]


def test_parts_are_about_equal_and_short_procedures_stay_whole() -> None:
    plan = plan_of(layers(40))
    backward = next(p for p in plan.procedures if p.name == "backward")
    lengths = [sum(len(n.nodes) for n in part.nests) for part in backward.parts]
    assert len(lengths) > 1
    assert min(lengths) > 0.5 * max(lengths)
    assert not any(p.parts for p in plan_of(layers(2)).procedures)
    taken = ("backward_1", "backward_2")
    assert split_procedure(replace(backward, parts=()), taken).parts[0].name == "backward_1_2"

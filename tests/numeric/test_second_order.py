"""Hessian-vector products, by the interpreter and as generated modules, and whole Hessians, against torch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from symbp.check import interpret
from symbp.codegen import emit, find_target
from symbp.derive import hessian, hessian_vector_product, simplify_primal
from symbp.ir import Program, program_text
from symbp.pipeline import prepare
from symbp.schedule import make_plan
from tests.numeric.attention_models import BLOCK_CASE, ONE_HEAD_CASE
from tests.numeric.dense_models import CASES as DENSE_CASES
from tests.numeric.harness import (
    GRADIENT_TOLERANCE,
    Array,
    Case,
    Feed,
    arguments,
    imported,
    model_of,
    relative_error,
)
from tests.numeric.pinn_models import BURGERS_CASE
from tests.numeric.recurrent_models import LINEAR_SCAN_CASE, LSTM_CASE, RNN_CASE

FIVE_LAYERS = next(case for case in DENSE_CASES if case.build.__name__ == "five_layers")
PRODUCTS = (
    (FIVE_LAYERS, "dense_2_W"),
    (RNN_CASE, "U"),
    (LSTM_CASE, "Uf"),
    (LINEAR_SCAN_CASE, "w"),
    (ONE_HEAD_CASE, "Wk"),
    (BLOCK_CASE, "mix0_V"),
    (BURGERS_CASE, "W1"),
)
GENERATED = ((LSTM_CASE, "Uf"), (ONE_HEAD_CASE, "Wk"))
HESSIANS = ((RNN_CASE, "U"), (ONE_HEAD_CASE, "Wq"))


def described(value: object) -> str:
    return str(value)


def product_program(case: Case, parameter: str) -> Program:
    return simplify_primal(hessian_vector_product(prepare(model_of(case).program()), parameter))


def loss_of(case: Case, feed: Feed, parameter: str) -> Callable[[torch.Tensor], torch.Tensor]:
    """The loss in torch as a function of one parameter."""
    given = {name: torch.tensor(array) for name, array in feed.items()}
    return lambda value: case.reference({**given, parameter: value})


def feed_of(case: Case, program: Program, direction: str | None = None) -> tuple[dict[str, int], Feed]:
    """Random arrays at the first of a case's sizes; `direction` is given values of its own."""
    sizes = dict(case.sizes[0])
    feed = case.arrays(model_of(case).program(), sizes)
    if direction is not None:
        shape = [int(extent) for extent in program.tensor(direction).shape]
        feed[direction] = np.random.default_rng(5).standard_normal(shape)
    return sizes, feed


def direction_of(program: Program, case: Case) -> str:
    """The input that the product's program has in addition to the model's."""
    before = {t.name for t in model_of(case).program().tensors}
    (name,) = [t.name for t in program.tensors if t.is_given and t.name not in before]
    return name


def torch_product(case: Case, feed: Feed, parameter: str, direction: Array) -> Array:
    value = torch.tensor(feed[parameter])
    _, expected = torch.autograd.functional.vhp(loss_of(case, feed, parameter), value, torch.tensor(direction))
    return expected.numpy()


@pytest.mark.parametrize(("case", "parameter"), PRODUCTS, ids=described)
def test_hessian_times_a_vector_by_the_interpreter(case: Case, parameter: str) -> None:
    program = product_program(case, parameter)
    direction = direction_of(program, case)
    sizes, feed = feed_of(case, program, direction)
    expected = torch_product(case, feed, parameter, feed[direction])
    assert np.abs(expected).max() > 0
    found = interpret(program, sizes, {n: a for n, a in feed.items() if program.has(n)})
    assert relative_error(found[program.outputs[0]], expected) <= GRADIENT_TOLERANCE


@pytest.mark.parametrize(("case", "parameter"), GENERATED, ids=described)
def test_hessian_times_a_vector_as_a_module(case: Case, parameter: str) -> None:
    program = product_program(case, parameter)
    direction = direction_of(program, case)
    files = emit(
        make_plan(None, program, None),
        find_target("cpu"),
        dtype="float64",
        spec_hash="0" * 64,
        equations=program_text(program),
        standalone=False,
    )
    net = imported(files, f"product/{case.name}", program.name)
    _, feed = feed_of(case, program, direction)
    params, inputs = arguments(net, feed)
    expected = torch_product(case, feed, parameter, feed[direction])
    assert relative_error(net.predict(params, *inputs), expected) <= GRADIENT_TOLERANCE


@pytest.mark.parametrize(("case", "parameter"), HESSIANS, ids=described)
def test_whole_hessian_by_the_interpreter(case: Case, parameter: str) -> None:
    program = simplify_primal(hessian(prepare(model_of(case).program()), parameter))
    sizes, feed = feed_of(case, program)
    found = interpret(program, sizes, {n: a for n, a in feed.items() if program.has(n)})[program.outputs[0]]
    expected = torch.autograd.functional.hessian(loss_of(case, feed, parameter), torch.tensor(feed[parameter]))
    assert relative_error(found, np.asarray(expected)) <= GRADIENT_TOLERANCE
    square = found.reshape(feed[parameter].size, -1)
    assert relative_error(square.T, square) <= GRADIENT_TOLERANCE

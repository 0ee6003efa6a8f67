"""Hessians and Hessian-vector products against torch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from symbp.check.interpreter import interpret
from symbp.derive.second_order import hessian, hessian_vector_product
from symbp.ir import Role, statement_text
from tests.derive import torch_models as models
from tests.derive.equations import Equations
from tests.derive.references import TOLERANCE, Case, error, tensors_of

CASES: list[tuple[Callable[[int], Case], str]] = [
    (models.mlp, "W"),
    (models.norm_and_power, "x"),
    (models.embedding, "E"),
    (models.rnn, "U"),
    (models.lstm, "Uf"),
    (models.volterra, "a"),
    (models.attention, "Wk"),
    (lambda n: models.convolution(2, 1, 1, 2, 1, n), "K"),
]


def of(case: Case, parameter: str) -> Callable[[torch.Tensor], torch.Tensor]:
    tensors = {n: t.detach() for n, t in tensors_of(case).items()}
    return lambda value: case.reference({**tensors, parameter: value})


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize(("model", "parameter"), CASES)
def test_hessian_vector_product(model: Callable[[int], Case], parameter: str, size: int) -> None:
    case = model(size)
    program = hessian_vector_product(case.program, parameter)
    assert program.outputs == (f"{parameter}_bar_dot",)
    assert program.tensor("V" if not case.program.has("V") else "V_2").role is Role.INPUT
    along = np.random.default_rng(5).standard_normal(case.feed[parameter].shape)
    direction = "V" if not case.program.has("V") else "V_2"
    found = interpret(program, case.sizes, {**case.feed, direction: along})
    value = torch.tensor(case.feed[parameter])
    _, expected = torch.autograd.functional.hvp(of(case, parameter), value, torch.tensor(along))
    assert error(found[program.outputs[0]], expected.numpy()) <= TOLERANCE


@pytest.mark.parametrize(("model", "parameter"), CASES)
def test_whole_hessian(model: Callable[[int], Case], parameter: str) -> None:
    case = model(2)
    program = hessian(case.program, parameter)
    found = interpret(program, case.sizes, case.feed)[program.outputs[0]]
    expected = torch.autograd.functional.hessian(of(case, parameter), torch.tensor(case.feed[parameter]))
    assert error(found, np.asarray(expected)) <= TOLERANCE
    size = case.feed[parameter].size
    square = found.reshape(size, size)
    assert np.max(np.abs(square - square.T)) <= 1e-12 * max(1.0, np.max(np.abs(square)))


def test_the_hessian_of_least_squares_reads_as_it_should() -> None:
    eq = Equations()
    b, j = eq.axis("b", "B"), eq.axis("j", 3)
    x, y, w = eq.given("x", b, j), eq.given("y", b), eq.parameter("w", j)
    z = eq.let("z", (b,), x[b, j] * w[j], (j,))
    eq.let("loss", (), (z[b] - y[b]) ** 2, (b,))
    assert [statement_text(s) for s in hessian(eq.program("loss"), "w").statements] == [
        "loss_bar = 1",
        "z_dot[b, j2] = x[b, j2]",
        "z_bar_dot[b, j2] += 2*loss_bar*z_dot[b, j2]",
        "w_bar_dot[j, j2] += sum[b] x[b, j]*z_bar_dot[b, j2]",
    ]


def test_a_loss_that_is_linear_in_a_parameter_has_hessian_zero() -> None:
    eq = Equations()
    i = eq.axis("i", 3)
    x, w = eq.given("x", i), eq.parameter("w", i)
    eq.let("loss", (), x[i] * w[i], (i,))
    program = hessian_vector_product(eq.program("loss"), "w")
    assert [statement_text(s) for s in program.statements] == ["w_bar_dot[i] = 0"]

"""Optimizers: their equations run by the interpreter against torch.optim, ten steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import symbp as sb
from symbp.check import interpret
from symbp.ir import program_text

P = list[torch.nn.Parameter]

CASES: dict[str, tuple[sb.Optimizer, Callable[[P], Any]]] = {
    "sgd": (sb.SGD(0.1), lambda p: torch.optim.SGD(p, 0.1)),
    "momentum": (sb.Momentum(0.1, 0.9), lambda p: torch.optim.SGD(p, 0.1, momentum=0.9)),
    "nesterov": (sb.Momentum(0.1, 0.8, True), lambda p: torch.optim.SGD(p, 0.1, momentum=0.8, nesterov=True)),
    "adagrad": (sb.AdaGrad(0.1), lambda p: torch.optim.Adagrad(p, 0.1)),
    "rmsprop": (sb.RMSProp(0.01), lambda p: torch.optim.RMSprop(p, 0.01)),
    "adam": (sb.Adam(0.01), lambda p: torch.optim.Adam(p, 0.01)),
    "adam, no momentum": (sb.Adam(0.01, beta_1=0.0), lambda p: torch.optim.Adam(p, 0.01, (0.0, 0.999))),
    "adamw": (sb.AdamW(0.01, weight_decay=0.1), lambda p: torch.optim.AdamW(p, 0.01, weight_decay=0.1)),
}


ADAM = """\
program adam
  parameter w[n_parameters]: float
  input g[n_parameters]: float
  hyper learning_rate: float
  state m[n_parameters]: float
  state v[n_parameters]: float
  hyper t: float
  activation m_next[n_parameters]: float
  activation v_next[n_parameters]: float
  activation m_bias: float
  activation v_bias: float
  activation w_next[n_parameters]: float
  m_next[i] = 0.1*g[i] + 0.9*m[i]    for 0 <= i < n_parameters
  v_next[i] = 0.001*g[i]**2 + 0.999*v[i]    for 0 <= i < n_parameters
  m_bias = -expm1(t*log(0.9))
  v_bias = -expm1(t*log(0.999))
  w_next[i] = w[i] - learning_rate*m_next[i]/(m_bias*(1e-8 + sqrt(v_next[i]/v_bias)))"""
ADAM += "    for 0 <= i < n_parameters"


@pytest.mark.parametrize("name", CASES)
def test_ten_steps_agree_with_torch(name: str) -> None:
    rule, reference = CASES[name]
    program = rule.program()
    source = np.random.default_rng(3)
    start = source.normal(size=13)
    parameter = torch.nn.Parameter(torch.tensor(start.copy()))
    theirs = reference([parameter])
    feed: dict[str, Any] = {"w": start, "learning_rate": rule.learning_rate}
    states = [t.name for t in program.tensors if t.role.value == "state"]
    feed.update({s: np.zeros(13) for s in states})
    for t in range(1, 11):
        gradient = source.normal(size=13)
        parameter.grad = torch.tensor(gradient)
        theirs.step()
        feed["g"] = gradient
        if program.has("t"):
            feed["t"] = float(t)
        found = interpret(program, {"n_parameters": 13}, feed)
        for kept in ("w", *states):
            feed[kept] = found[f"{kept}_next"]
    np.testing.assert_allclose(feed["w"], parameter.detach().numpy(), rtol=1e-11)


def test_adam_reads_like_the_paper() -> None:
    assert program_text(sb.Adam().program()) == ADAM


def test_outputs_and_defaults() -> None:
    program = sb.Adam(learning_rate=0.5).program()
    assert program.outputs == ("w_next", "m_next", "v_next")
    assert program.tensor("learning_rate").default == 0.5
    assert program.loss == ""


def test_a_model_gives_its_optimizers_equations() -> None:
    model = sb.Model("m")
    assert model.update() is None
    model.optimizer(sb.SGD(0.1))
    update = model.update()
    assert update is not None
    assert update.name == "sgd"


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: sb.SGD(-1.0), "SGD has learning_rate = -1.0, expected a number above 0"),
        (lambda: sb.SGD(0), "SGD has learning_rate = 0, expected a number above 0"),
        (lambda: sb.SGD(float("nan")), "SGD has learning_rate = nan, expected a finite number"),
        (lambda: sb.Adam(beta_1=1.0), "Adam has beta_1 = 1.0, expected a number in [0, 1)"),
        (lambda: sb.Adam(epsilon=0.0), "Adam has epsilon = 0.0, expected a number above 0"),
        (lambda: sb.AdamW(weight_decay=-0.1), "AdamW has weight_decay = -0.1, expected a number of at least 0"),
        (lambda: sb.SGD("fast"), "SGD has learning_rate = 'fast', expected a finite number"),  # type: ignore[arg-type]
    ],
)
def test_bad_settings(make: Callable[[], object], text: str) -> None:
    with pytest.raises(sb.SpecError) as error:
        make()
    assert str(error.value) == text


def test_not_an_optimizer() -> None:
    with pytest.raises(
        sb.SpecError, match=r"expected an optimizer such as Adam\(learning_rate=1e-3\), found str 'adam'"
    ):
        sb.Model("m").optimizer("adam")

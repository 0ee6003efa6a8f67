"""Steps of training with every optimizer against torch.optim, in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import symbp as sb
from symbp import Model, mean, sum
from tests.numeric.harness import Tensors, compiled, relative_error

N_STEPS = 5
Rule = Callable[[list[torch.Tensor]], torch.optim.Optimizer]

#: An optimizer and torch's. Settings are not the defaults, so that one that is not used is found.
RULES: dict[str, tuple[sb.Optimizer, Rule]] = {
    "sgd": (sb.SGD(0.05), lambda w: torch.optim.SGD(w, 0.05)),
    "momentum": (sb.Momentum(0.05, 0.8), lambda w: torch.optim.SGD(w, 0.05, momentum=0.8)),
    "nesterov": (sb.Momentum(0.05, 0.8, True), lambda w: torch.optim.SGD(w, 0.05, momentum=0.8, nesterov=True)),
    "adagrad": (sb.AdaGrad(0.1, 1e-3), lambda w: torch.optim.Adagrad(w, 0.1, eps=1e-3)),
    "rmsprop": (sb.RMSProp(0.02, 0.7, 1e-3), lambda w: torch.optim.RMSprop(w, 0.02, alpha=0.7, eps=1e-3)),
    "adam": (sb.Adam(0.02, 0.7, 0.95, 1e-3), lambda w: torch.optim.Adam(w, 0.02, betas=(0.7, 0.95), eps=1e-3)),
    "adam, no first moment": (sb.Adam(0.02, 0.0), lambda w: torch.optim.Adam(w, 0.02, betas=(0.0, 0.999))),
    "adamw": (sb.AdamW(0.02, weight_decay=0.3), lambda w: torch.optim.AdamW(w, 0.02, weight_decay=0.3)),
}


def curve(rule: sb.Optimizer) -> Model:
    """``y[b] = sum[k] w[k]*tanh(u[k]*x[b] + c[k])``."""
    model = Model("curve")
    b, k = model.axis("b", "batch"), model.axis("k", 7)
    x, t = model.input("x", b), model.input("t", b)
    u, c, w = model.parameter("u", k), model.parameter("c", k), model.parameter("w", k)
    a = model.define("a[b, k]", sb.tanh(u[k] * x[b] + c[k]))
    y = model.define("y[b]", sum(w[k] * a[b, k], k))
    model.loss(mean((y[b] - t[b]) ** 2, b))
    model.optimizer(rule)
    return model


def curve_torch(t: Tensors) -> torch.Tensor:
    y = torch.tanh(t["x"][:, None] * t["u"] + t["c"]) @ t["w"]
    return ((y - t["t"]) ** 2).mean()


@pytest.mark.parametrize("name", RULES)
def test_steps_agree_with_torch(name: str) -> None:
    rule, torch_rule = RULES[name]
    net = compiled(curve(rule), f"optimizer {name}", "float64")
    random = np.random.default_rng(5)
    x, t = random.normal(size=13), random.normal(size=13)
    params = net.init(seed=0)
    params.flat[:] = random.normal(size=params.flat.size)
    weights = {n: torch.tensor(params[n].copy(), requires_grad=True) for n in params}
    optimizer = torch_rule(list(weights.values()))
    state = net.optimizer_state(params)
    for step in range(N_STEPS):
        optimizer.zero_grad()
        loss = curve_torch({**weights, "x": torch.tensor(x), "t": torch.tensor(t)})
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        assert relative_error(net.train_step(params, state, x, t), loss.detach().numpy()) <= 1e-12
        for n, weight in weights.items():
            error = relative_error(params[n], weight.detach().numpy())
            assert error <= 1e-12, f"{n} after step {step + 1} is off by {error:.1e}"
    assert state.t == N_STEPS


def test_the_learning_rate_may_change() -> None:
    """A schedule: the setting of the state counts at each step, not that of the spec."""
    net = compiled(curve(RULES["sgd"][0]), "optimizer sgd", "float64")
    x, t = np.array([0.5, -1.0]), np.array([1.0, 2.0])
    params = net.init(seed=0)
    params.flat[:] = np.linspace(-1.0, 1.0, params.flat.size)
    state = net.optimizer_state(params, learning_rate=0.25)
    for rate in (0.25, 0.5):
        state.learning_rate = rate
        _, grads = net.loss_and_grad(params, x, t)
        expected: Any = params.flat - rate * grads.flat
        net.train_step(params, state, x, t)
        np.testing.assert_allclose(params.flat, expected, rtol=1e-14)


def its_own_names(rule: sb.Optimizer) -> Model:
    """A model whose parameters are called as optimizers call the weights, their gradient and their moments."""
    model = Model("its_own_names")
    b, j, k = model.axis("b", "batch"), model.axis("j", 3), model.axis("k", 4)
    x, t = model.input("x", b, j), model.input("t", b, k)
    g, m, v, w = model.parameter("g", j, k), model.parameter("m"), model.parameter("v", k), model.parameter("w", k)
    y = model.define("y[b, k]", (sum(x[b, j] * g[j, k], j) + v[k]) * w[k] + m)
    model.loss(mean((y[b, k] - t[b, k]) ** 2, b, k))
    model.optimizer(rule)
    return model


@pytest.mark.parametrize("name", ["sgd", "momentum", "adam"])
def test_parameters_may_be_called_as_the_optimizer_calls_its_own(name: str) -> None:
    rule, torch_rule = RULES[name]
    net = compiled(its_own_names(rule), f"own names, {name}", "float64")
    random = np.random.default_rng(5)
    x, t = random.normal(size=(5, 3)), random.normal(size=(5, 4))
    params = net.init(seed=0)
    params.flat[:] = random.normal(size=params.flat.size)
    weights = {n: torch.tensor(np.array(params[n]), requires_grad=True) for n in params}
    optimizer = torch_rule(list(weights.values()))
    state = net.optimizer_state(params)
    for _ in range(N_STEPS):
        optimizer.zero_grad()
        y = (torch.tensor(x) @ weights["g"] + weights["v"]) * weights["w"] + weights["m"]
        ((y - torch.tensor(t)) ** 2).mean().backward()
        optimizer.step()
        net.train_step(params, state, x, t)
    for n, weight in weights.items():
        assert relative_error(params[n], weight.detach().numpy()) <= 1e-12, n

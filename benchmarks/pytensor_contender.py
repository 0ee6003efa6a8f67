"""PyTensor as a contender, compiled by Numba: parameters and state are shared variables that one function updates."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pytensor
import pytensor.tensor as pt
import pytensor.tensor.special

from benchmarks.workload import Workload
from symbp import SGD, Adam, Momentum, Optimizer

Array = npt.NDArray[Any]
Arrays = Mapping[str, Array]
Variables = dict[str, Any]


class PyTensorStep:
    def __init__(self, workload: Workload, parameters: Arrays, inputs: Arrays) -> None:
        pytensor.config.floatX = workload.dtype
        self._parameters = {n: _shared(n, a) for n, a in parameters.items()}
        fixed = {n: _shared(n, a) for n, a in inputs.items()}
        loss = LOSSES[workload.name]({**fixed, **self._parameters})
        self._graphs = [loss, *pt.grad(loss, list(self._parameters.values()))]
        gradients = dict(zip(self._parameters, self._graphs[1:], strict=True))
        rule = workload.model().optimizer_rule
        self._state: list[Any] = []
        if rule is None:
            self._step = pytensor.function([], self._graphs, mode="NUMBA", trust_input=True)
        else:
            updates = self._updates(rule, gradients, workload.dtype)
            self._step = pytensor.function([], loss, updates=updates, mode="NUMBA", trust_input=True)

    def train(self, steps: int) -> None:
        for _ in range(steps):
            self._step()

    def loss_and_gradients(self) -> tuple[float, dict[str, Array]]:
        """By the interpreter, not the compiled step: that shows in the loss after some steps."""
        loss, *gradients = pytensor.function([], self._graphs, mode="FAST_COMPILE")()
        return float(loss), dict(zip(self._parameters, gradients, strict=True))

    def reset(self, parameters: Arrays) -> None:
        for name, variable in self._parameters.items():
            variable.set_value(np.array(parameters[name]))
        for variable in self._state:
            variable.set_value(np.zeros_like(variable.get_value()))

    def _updates(self, rule: Optimizer, gradients: Variables, dtype: str) -> dict[Any, Any]:
        def number(value: float) -> Any:
            return pt.constant(np.asarray(value, dtype))

        def kept(weights: Any) -> Any:
            self._state.append(_shared("kept", np.zeros_like(weights.get_value())))
            return self._state[-1]

        made: dict[Any, Any] = {}
        rate = number(rule.learning_rate)
        if isinstance(rule, Adam):
            count = _shared("count", np.zeros((), dtype))
            self._state.append(count)
            made[count] = count + number(1)
            size = rate / (number(1) - number(rule.beta_1) ** made[count])
            root = pt.sqrt(number(1) - number(rule.beta_2) ** made[count])
        for name, weights in self._parameters.items():
            gradient = gradients[name]
            if isinstance(rule, SGD):
                made[weights] = weights - rate * gradient
            elif isinstance(rule, Momentum):
                velocity = kept(weights)
                made[velocity] = number(rule.momentum) * velocity + gradient
                made[weights] = weights - rate * made[velocity]
            else:
                assert isinstance(rule, Adam)
                first, second = kept(weights), kept(weights)
                made[first] = number(rule.beta_1) * first + number(1 - rule.beta_1) * gradient
                made[second] = number(rule.beta_2) * second + number(1 - rule.beta_2) * gradient * gradient
                made[weights] = weights - size * made[first] / (pt.sqrt(made[second]) / root + number(rule.epsilon))
        return made


def _shared(name: str, array: Array) -> Any:
    return pytensor.shared(np.array(array), name=name, shape=np.shape(array))


def constant(value: float, like: Any) -> Any:
    return pt.constant(np.asarray(value, like.dtype))


def mlp(t: Variables, x: Any, layers: int, activation: Callable[[Any], Any]) -> Any:
    for layer in range(1, layers):
        x = activation(x @ t[f"W{layer}"] + t[f"b{layer}"])
    return x @ t[f"W{layers}"] + t[f"b{layers}"]


def relu(x: Any) -> Any:
    return pt.maximum(x, constant(0, x))


def cross_entropy(logits: Any, label: Any) -> Any:
    logarithms = pt.special.log_softmax(logits, axis=-1)
    return -pt.mean(logarithms[pt.arange(label.type.shape[0]), label])


def logreg(t: Variables) -> Any:
    z = (t["x"] @ t["W1"] + t["b1"])[:, 0]
    return pt.mean(pt.softplus(z) - t["y"] * z)


def pinn(t: Variables) -> Any:
    u = mlp(t, t["x"], 4, pt.tanh)
    slope = pt.grad(u.sum(), t["x"])
    u_x, u_t = slope[:, :1], slope[:, 1:]
    u_xx = pt.grad(u_x.sum(), t["x"])[:, :1]
    return pt.mean((u_t + u * u_x - constant(0.01 / math.pi, u) * u_xx) ** 2)


def swiglu_rmsnorm(t: Variables) -> Any:
    x, a = t["x"], t["a"]
    y = x / pt.sqrt(pt.mean(x * x, -1, keepdims=True) + constant(1e-6, x)) * t["g"]
    return pt.sum(y * t["dy"]) + pt.sum(a * pt.sigmoid(a) * t["b"] * t["dh"])


LOSSES: dict[str, Callable[[Variables], Any]] = {
    "linreg": lambda t: pt.sqrt(pt.mean((t["m"] * t["x"] + t["c"] - t["y"]) ** 2)),
    "logreg": logreg,
    "mlp_mnist": lambda t: cross_entropy(mlp(t, t["x"], 2, relu), t["y"]),
    "deep5": lambda t: cross_entropy(mlp(t, t["x"], 5, pt.tanh), t["y"]),
    "tiny_mlp": lambda t: pt.mean((mlp(t, t["x"], 3, pt.tanh) - t["y"]) ** 2),
    "pinn": pinn,
    "big_mlp": lambda t: pt.mean((mlp(t, t["x"], 3, relu) - t["y"]) ** 2),
    "swiglu_rmsnorm": swiglu_rmsnorm,
}

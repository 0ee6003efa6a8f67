"""PyTorch as a contender: eager, and compiled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.torch_models import LOSSES, pinn_taylor
from benchmarks.workload import Workload
from symbp import SGD, Adam, Momentum, Optimizer

Array = npt.NDArray[Any]
Arrays = Mapping[str, Array]


class TorchStep:
    """``loss.backward()`` and a fused optimizer; `wrap` is ``torch.compile`` to compile the loss and its gradient."""

    def __init__(
        self,
        workload: Workload,
        parameters: Arrays,
        inputs: Arrays,
        *,
        threads: int = 1,
        wrap: Callable[[Any], Any] = lambda loss: loss,
    ) -> None:
        torch.set_num_threads(threads)
        self._loss = wrap(partial(LOSSES[workload.name], **workload.options()))
        # torch's cells take (out, in) weights, and copy whatever else they are given at every step.
        self._turned = {n for n in parameters if n in ("Wi", "Wh")}
        self._leaves = {
            n: torch.tensor(np.ascontiguousarray(a.T if n in self._turned else a), requires_grad=True)
            for n, a in parameters.items()
        }
        self._inputs = {n: torch.tensor(a) for n, a in inputs.items()}
        self._optimizer = _optimizer(workload.model().optimizer_rule, list(self._leaves.values()))

    def _value(self) -> torch.Tensor:
        turned = {n: leaf.T if n in self._turned else leaf for n, leaf in self._leaves.items()}
        value: torch.Tensor = self._loss({**self._inputs, **turned})
        return value

    def train(self, steps: int) -> None:
        for _ in range(steps):
            for leaf in self._leaves.values():
                leaf.grad = None
            self._value().backward()  # type: ignore[no-untyped-call]
            if self._optimizer is not None:
                self._optimizer.step()

    def loss_and_gradients(self) -> tuple[float, dict[str, Array]]:
        loss = self._value()
        found = torch.autograd.grad(loss, list(self._leaves.values()))
        gradients = {
            n: (g.T if n in self._turned else g).numpy().copy() for n, g in zip(self._leaves, found, strict=True)
        }
        return float(loss.detach()), gradients

    def reset(self, parameters: Arrays) -> None:
        with torch.no_grad():
            for name, leaf in self._leaves.items():
                given = torch.from_numpy(np.asarray(parameters[name]))
                leaf.copy_(given.T if name in self._turned else given)
            for kept in [] if self._optimizer is None else self._optimizer.state.values():
                for value in kept.values():
                    if isinstance(value, torch.Tensor):
                        value.zero_()


class TorchWholeStep:
    """Forward, backward and update as one compiled graph, the optimizer written out in its textbook form.

    `loss_and_gradients` computes them uncompiled: what is compiled shows in the loss after some steps.
    """

    def __init__(self, workload: Workload, parameters: Arrays, inputs: Arrays, *, threads: int = 1) -> None:
        torch.set_num_threads(threads)
        rule = workload.model().optimizer_rule
        assert rule is not None, f"{workload.name} has no optimizer"
        # A derivative within the loss is refused in a graph: there it is written out.
        loss, options = {**LOSSES, "pinn": pinn_taylor}[workload.name], workload.options()
        gradient = torch.func.grad_and_value(lambda parameters, inputs: loss({**inputs, **parameters}, **options))
        self._gradient = gradient
        self._parameters = {n: torch.tensor(a) for n, a in parameters.items()}
        self._inputs = {n: torch.tensor(a) for n, a in inputs.items()}
        self._kept = [{n: torch.zeros_like(w) for n, w in self._parameters.items()} for _ in range(_vectors(rule))]
        self._count = torch.zeros(1, dtype=getattr(torch, workload.dtype))

        def step(parameters: Any, kept: Any, count: torch.Tensor, inputs: Any) -> torch.Tensor:
            gradients, value = gradient(parameters, inputs)
            _update(rule, parameters, gradients, kept, count)
            return value  # type: ignore[no-any-return]

        self._step = torch.compile(step, dynamic=False)

    def train(self, steps: int) -> None:
        with torch.no_grad():
            for _ in range(steps):
                self._step(self._parameters, self._kept, self._count, self._inputs)

    def loss_and_gradients(self) -> tuple[float, dict[str, Array]]:
        gradients, loss = self._gradient(self._parameters, self._inputs)
        return float(loss), {n: g.numpy().copy() for n, g in gradients.items()}

    def reset(self, parameters: Arrays) -> None:
        for name, weights in self._parameters.items():
            weights.copy_(torch.from_numpy(np.asarray(parameters[name])))
        for kept in self._kept:
            for value in kept.values():
                value.zero_()
        self._count.zero_()


def compiled(workload: Workload, parameters: Arrays, inputs: Arrays, *, threads: int) -> TorchStep | TorchWholeStep:
    """By ``torch.compile``: the whole step, or where there is no optimizer the loss and its gradient."""
    if workload.model().optimizer_rule is None:
        return TorchStep(workload, parameters, inputs, threads=threads, wrap=partial(torch.compile, dynamic=False))
    return TorchWholeStep(workload, parameters, inputs, threads=threads)


def _vectors(rule: Optimizer) -> int:
    """How many arrays of the parameters' shapes an optimizer keeps."""
    return {SGD: 0, Momentum: 1, Adam: 2}[type(rule)]


def _update(rule: Optimizer, parameters: Any, gradients: Any, kept: Any, count: torch.Tensor) -> None:
    if isinstance(rule, Adam):
        count.copy_(count + 1)
        size = rule.learning_rate / (1 - rule.beta_1**count)
        root = torch.sqrt(1 - rule.beta_2**count)
    for name, weights in parameters.items():
        gradient = gradients[name]
        if isinstance(rule, SGD):
            weights.sub_(rule.learning_rate * gradient)
        elif isinstance(rule, Momentum):
            kept[0][name].copy_(rule.momentum * kept[0][name] + gradient)
            weights.sub_(rule.learning_rate * kept[0][name])
        else:
            assert isinstance(rule, Adam)
            first, second = kept[0][name], kept[1][name]
            first.copy_(rule.beta_1 * first + (1 - rule.beta_1) * gradient)
            second.copy_(rule.beta_2 * second + (1 - rule.beta_2) * gradient * gradient)
            change = size * first / (torch.sqrt(second) / root + rule.epsilon)
            weights.sub_(change.reshape(weights.shape))


def _optimizer(rule: Optimizer | None, leaves: list[torch.Tensor]) -> torch.optim.Optimizer | None:
    if rule is None:
        return None
    made: dict[type[Optimizer], Callable[[Any], torch.optim.Optimizer]] = {
        SGD: lambda r: torch.optim.SGD(leaves, r.learning_rate, fused=True),
        Momentum: lambda r: torch.optim.SGD(leaves, r.learning_rate, r.momentum, fused=True),
        Adam: lambda r: torch.optim.Adam(leaves, r.learning_rate, (r.beta_1, r.beta_2), r.epsilon, fused=True),
    }
    return made[type(rule)](rule)


def reference(workload: Workload, parameters: Arrays, inputs: Arrays, steps: int) -> dict[str, Array]:
    """What `benchmarks.contenders.check` expects, in float64: the loss, its gradients, the loss after some steps."""

    def doubled(arrays: Arrays) -> dict[str, Array]:
        return {n: a.astype(np.float64) if a.dtype.kind == "f" else a for n, a in arrays.items()}

    exact = TorchStep(workload, doubled(parameters), doubled(inputs), threads=torch.get_num_threads())
    loss, gradients = exact.loss_and_gradients()
    found = {"loss": np.array(loss), **{f"gradient of {n}": g for n, g in gradients.items()}}
    if workload.model().optimizer_rule is not None:
        exact.train(steps)
        found["trained"] = np.array(exact.loss_and_gradients()[0])
    return found

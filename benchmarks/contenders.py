"""Who is timed: one training step of a workload by symbp, by a compiled epoch of it, and by torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.stepping import Stepper
from benchmarks.torch_models import LOSSES
from symbp import SGD, Adam, Momentum, Optimizer

Array = npt.NDArray[Any]
Arrays = Mapping[str, Array]


class Contender(Protocol):
    steps: int  # training steps in one call

    def __call__(self) -> object:
        """Train; returns when it is done."""

    def loss_and_gradients(self) -> tuple[float, dict[str, Array]]:
        """At the present parameters."""

    def reset(self, parameters: Arrays) -> None:
        """Begin again from these parameters."""


class SymbpStep:
    """``kernels.train_step_into``: one compiled call for each step."""

    steps = 1

    def __init__(self, stepper: Stepper) -> None:
        self._stepper = stepper

    def __call__(self) -> object:
        return self._stepper()

    def loss_and_gradients(self) -> tuple[float, dict[str, Array]]:
        return self._stepper.loss_and_gradients()

    def reset(self, parameters: Arrays) -> None:
        self._stepper.reset(parameters)


class SymbpFit(SymbpStep):
    """``kernels.train_steps_into``: as many steps in one call as `fit` does, the gathering of each batch included."""

    def __init__(self, stepper: Stepper, steps: int) -> None:
        super().__init__(stepper)
        self.steps = steps
        self._epoch = stepper.epoch(steps)

    def __call__(self) -> object:
        return self._epoch()


class TorchStep:
    """Eager PyTorch: ``loss.backward()`` and a fused optimizer."""

    steps = 1

    def __init__(self, name: str, rule: Optimizer | None, parameters: Arrays, inputs: Arrays) -> None:
        torch.set_num_threads(1)
        self._loss = LOSSES[name]
        # torch's cells take (out, in) weights, and copy whatever else they are given at every step.
        self._turned = {n for n in parameters if n in ("Wi", "Wh")}
        self._leaves = {
            n: torch.tensor(np.ascontiguousarray(a.T if n in self._turned else a), requires_grad=True)
            for n, a in parameters.items()
        }
        self._given = {n: torch.tensor(a) for n, a in inputs.items()}
        self._given |= {n: leaf.T if n in self._turned else leaf for n, leaf in self._leaves.items()}
        self._optimizer = _optimizer(rule, list(self._leaves.values()))

    def __call__(self) -> object:
        for leaf in self._leaves.values():
            leaf.grad = None
        loss = self._loss(self._given)
        loss.backward()  # type: ignore[no-untyped-call]
        if self._optimizer is not None:
            self._optimizer.step()
        return loss

    def loss_and_gradients(self) -> tuple[float, dict[str, Array]]:
        names = list(self._leaves)
        loss = self._loss(self._given)
        found = torch.autograd.grad(loss, list(self._leaves.values()))
        gradients = {n: np.array(g.T if n in self._turned else g) for n, g in zip(names, found, strict=True)}
        return float(loss.detach()), gradients

    def reset(self, parameters: Arrays) -> None:
        with torch.no_grad():
            for name, leaf in self._leaves.items():
                given = torch.from_numpy(parameters[name])
                leaf.copy_(given.T if name in self._turned else given)
            for kept in [] if self._optimizer is None else self._optimizer.state.values():
                for value in kept.values():
                    if isinstance(value, torch.Tensor):
                        value.zero_()


def _optimizer(rule: Optimizer | None, leaves: list[torch.Tensor]) -> torch.optim.Optimizer | None:
    if rule is None:
        return None
    made: dict[type[Optimizer], Callable[[Any], torch.optim.Optimizer]] = {
        SGD: lambda r: torch.optim.SGD(leaves, r.learning_rate, fused=True),
        Momentum: lambda r: torch.optim.SGD(leaves, r.learning_rate, r.momentum, fused=True),
        Adam: lambda r: torch.optim.Adam(leaves, r.learning_rate, (r.beta_1, r.beta_2), r.epsilon, fused=True),
    }
    return made[type(rule)](rule)


def reference(name: str, parameters: Arrays, inputs: Arrays) -> tuple[float, dict[str, Array]]:
    """Loss and gradients in float64, by torch."""

    def doubled(arrays: Arrays) -> dict[str, Array]:
        return {n: a.astype(np.float64) if a.dtype.kind == "f" else a for n, a in arrays.items()}

    return TorchStep(name, None, doubled(parameters), doubled(inputs)).loss_and_gradients()


def check(contender: Contender, expected: tuple[float, dict[str, Array]], dtype: str) -> float:
    """The largest relative error of the loss and the gradients. Raises AssertionError if it is out of bounds."""
    loss, gradients = contender.loss_and_gradients()
    errors = {"loss": abs(loss - expected[0]) / abs(expected[0])}
    for name, gradient in expected[1].items():
        errors[name] = float(np.abs(gradients[name] - gradient).max() / np.abs(gradient).max())
    worst = max(errors, key=lambda n: errors[n])
    # A large float32 model may have a relu or a maximum that rounding turns: only a handful of elements show it.
    limit = 1e-9 if dtype == "float64" else 5e-2
    median = float(np.median(list(errors.values())))
    assert errors[worst] <= limit, f"{worst} is off by {errors[worst]:.1e}"
    assert median <= min(limit, 1e-3), f"half of the gradients are off by {median:.1e}"
    return errors[worst]

"""Who is timed, by name. Each is made only when it is asked for: its framework is imported in its process alone."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from benchmarks.stepping import Stepper
from benchmarks.workload import Workload
from symbp import load_generated
from symbp.check import random_feed
from symbp.ir import Role

Array = npt.NDArray[Any]
Arrays = Mapping[str, Array]

#: Steps in one compiled call of those that do many.
AT_ONCE = 100
#: Steps after which the loss is compared too: that checks the update.
STEPS_CHECKED = 5
#: In these a call costs as much as the step, so that many steps in one call are worth timing in JAX as well.
LOOPED = ("linreg", "logreg", "mlp_mnist", "deep5", "tiny_mlp")
#: Who is not for which workload: torch.compile fails on the LSTM and takes minutes to unroll the GRU; scans,
#: convolution and attention are not written in PyTensor here.
LEFT_OUT = {
    "torch.compile": ("lstm_char", "gru_cls"),
    "pytensor": ("lenet5", "lstm_char", "gru_cls", "tfblock"),
}


class Contender(Protocol):
    def train(self, steps: int) -> None:
        """Do so many steps; returns when they are done."""

    def loss_and_gradients(self) -> tuple[float, dict[str, Array]]:
        """At the present parameters."""

    def reset(self, parameters: Arrays) -> None:
        """Begin again from these parameters."""


class SymbpStep:
    """``kernels.train_step``: one compiled call for each step."""

    def __init__(self, stepper: Stepper) -> None:
        self._stepper = stepper

    def train(self, steps: int) -> None:
        for _ in range(steps):
            self._stepper()

    def loss_and_gradients(self) -> tuple[float, dict[str, Array]]:
        return self._stepper.loss_and_gradients()

    def reset(self, parameters: Arrays) -> None:
        self._stepper.reset(parameters)


class SymbpFit(SymbpStep):
    """``kernels.train_steps``: many steps in one call as `fit` does them, the gathering of each batch included."""

    def __init__(self, stepper: Stepper) -> None:
        super().__init__(stepper)
        self._epoch = stepper.epoch(AT_ONCE)

    def train(self, steps: int) -> None:
        for first in range(0, steps, AT_ONCE):
            self._epoch(min(AT_ONCE, steps - first))


def _stepper(workload: Workload, folder: Path) -> Stepper:
    """With the package that lies below the folder."""
    (package,) = folder.glob(f"*/{workload.name}")
    return Stepper(load_generated(package), *given(workload), workload.sizes)


def _symbp(workload: Workload, folder: Path, threads: int) -> Contender:
    return SymbpStep(_stepper(workload, folder))


def _symbp_fit(workload: Workload, folder: Path, threads: int) -> Contender:
    return SymbpFit(_stepper(workload, folder))


def _torch(workload: Workload, folder: Path, threads: int) -> Contender:
    from benchmarks.torch_contender import TorchStep

    return TorchStep(workload, *given(workload), threads=threads)


def _torch_compile(workload: Workload, folder: Path, threads: int) -> Contender:
    from benchmarks.torch_contender import compiled

    return compiled(workload, *given(workload), threads=threads)


def _jax(workload: Workload, folder: Path, threads: int) -> Contender:
    from benchmarks.jax_contender import JaxStep

    parameters, inputs = given(workload)
    return JaxStep(workload.name, workload.model().optimizer_rule, parameters, inputs, **workload.options())


def _jax_loop(workload: Workload, folder: Path, threads: int) -> Contender:
    from benchmarks.jax_contender import JaxLoop

    parameters, inputs = given(workload)
    return JaxLoop(workload.name, workload.model().optimizer_rule, parameters, inputs, **workload.options())


def _pytensor(workload: Workload, folder: Path, threads: int) -> Contender:
    from benchmarks.pytensor_contender import PyTensorStep

    return PyTensorStep(workload, *given(workload))


CONTENDERS: dict[str, Callable[[Workload, Path, int], Contender]] = {
    "symbp": _symbp,
    "symbp fit": _symbp_fit,
    "torch": _torch,
    "torch.compile": _torch_compile,
    "jax": _jax,
    "jax loop": _jax_loop,
    "pytensor": _pytensor,
}


def takes_part(name: str, workload: Workload, *, installed: bool = False) -> bool:
    """Whether a contender is for this workload, and what it needs is installed: here, or elsewhere as it is said."""
    package = {"torch.compile": "torch", "jax loop": "jax"}.get(name, name.split()[0])
    if name == "symbp fit" and workload.model().optimizer_rule is None:
        return False
    if workload.name in LEFT_OUT.get(name, ()) or (name == "jax loop" and workload.name not in LOOPED):
        return False
    return installed or importlib.util.find_spec(package) is not None


def given(workload: Workload) -> tuple[dict[str, Array], dict[str, Array]]:
    """Random parameters and inputs in the workload's dtype."""
    program = workload.model().program()
    feed = random_feed(program, dict(workload.sizes), seed=0)
    if workload.name == "logreg":
        feed["y"] = (feed["y"] > 0).astype(np.float64)
    feed = {n: a.astype(workload.dtype) if a.dtype.kind == "f" else a for n, a in feed.items()}
    learnt = {t.name for t in program.tensors if t.role is Role.PARAMETER}
    return {n: a for n, a in feed.items() if n in learnt}, {n: a for n, a in feed.items() if n not in learnt}


def check(contender: Contender, parameters: Arrays, expected: Arrays, dtype: str) -> float:
    """The largest relative error of the loss and the gradients. Raises AssertionError if one is out of bounds.

    `expected` has ``loss``, ``gradient of <name>`` and, where there is an optimizer, ``trained``: the loss after a few
    steps. Of that the change is compared.
    """
    contender.reset(parameters)
    loss, gradients = contender.loss_and_gradients()
    errors = {"the loss": abs(loss - float(expected["loss"])) / abs(float(expected["loss"]))}
    for name in parameters:
        wanted = expected[f"gradient of {name}"]
        errors[f"the gradient of {name}"] = float(np.abs(gradients[name] - wanted).max() / np.abs(wanted).max())
    worst = max(errors, key=lambda n: errors[n] if errors[n] == errors[n] else np.inf)
    # A large float32 model may have a relu or a maximum that rounding turns: only a handful of elements show it.
    limit = 1e-9 if dtype == "float64" else 5e-2
    median = float(np.median(list(errors.values())))
    assert errors[worst] <= limit, f"{worst} is off by {errors[worst]:.1e}"
    assert median <= min(limit, 1e-3), f"half of the gradients are off by {median:.1e}"
    if "trained" in expected:
        contender.reset(parameters)
        contender.train(STEPS_CHECKED)
        trained = contender.loss_and_gradients()[0]
        change = float(expected["trained"] - expected["loss"])
        off = abs(trained - float(expected["trained"]))
        rounding = 1e-12 if dtype == "float64" else 1e-6
        assert off <= limit * abs(change) + rounding * abs(float(expected["loss"])), (
            f"the loss after {STEPS_CHECKED} steps is {trained}, not {float(expected['trained'])}"
        )
        contender.reset(parameters)
    return errors[worst]

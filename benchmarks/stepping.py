"""A workload's generated module with everything that its kernels need: what is timed is one call without any checks."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import numpy as np
import numpy.typing as npt

from benchmarks.workload import Workload
from symbp import emit_model, load_generated
from symbp.package import write_package

Array = npt.NDArray[Any]


def write(workload: Workload, folder: Path) -> Path:
    """Emit the workload's package below `folder`, unless it is there: its machine code is kept beside it."""
    files = emit_model(workload.model(), dtype=workload.dtype)
    digest = hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest()[:12]
    package = folder / digest / workload.name
    return package if package.is_dir() else write_package(files, package)


def generated(workload: Workload, folder: Path) -> ModuleType:
    """The workload's module, imported."""
    return load_generated(write(workload, folder))


class Stepper:
    """Parameters, state, data and memory for a module's kernels, held from step to step.

    ``stepper()`` does one step in one compiled call; a module without an optimizer computes loss and gradient alone.
    The kernels are those for several threads where the module itself would take them.
    """

    def __init__(
        self, net: ModuleType, parameters: Mapping[str, Array], inputs: Mapping[str, Array], sizes: Mapping[str, int]
    ) -> None:
        self.net = net
        self.params, self.grads = net.PARAMETERS.zeros(), net.PARAMETERS.zeros()
        for name in self.params:
            self.params[name] = np.reshape(parameters[name], self.params[name].shape)
        self.inputs = {declared.name: self._as_given(inputs[declared.name]) for declared in net.INPUTS}
        self.workers = worker_count(net, lambda: net.loss_and_grad(self.params, *self.inputs.values()))
        self._given: dict[str, Any] = {**self.inputs, "params": self.params.flat, "grads": self.grads.flat}
        self._given |= memories(net, "train", sizes, self.workers)
        if hasattr(net, "OPTIMIZER"):
            self.state = net.optimizer_state(self.params)
            self._given |= {"numbers": self.state.numbers, "count": self.state.count}
            self._given |= {name: getattr(self.state, name) for name in net.OPTIMIZER.vectors}
            self._kernel, self._arguments = self._call("train_step")
        else:
            self._kernel, self._arguments = self._call("loss_and_grad")

    def _as_given(self, array: Array) -> Array:
        return np.ascontiguousarray(array if array.dtype.kind == "i" else array.astype(self.net.DTYPE))

    def _call(self, name: str) -> tuple[Any, tuple[Any, ...]]:
        function = kernel(self.net, name, self.workers)
        return function, tuple(self._given[name] for name in inspect.signature(function.py_func).parameters)

    def __call__(self) -> float:
        value: float = self._kernel(*self._arguments)
        return value

    def checked(self) -> float:
        """One step by the public ``train_step``, which checks what it is given."""
        value: float = self.net.train_step(self.params, self.state, *self.inputs.values())
        return value

    def loss_and_gradients(self) -> tuple[float, dict[str, Array]]:
        """At the present parameters; copies."""
        function, arguments = self._call("loss_and_grad")
        loss = float(function(*arguments))
        return loss, {name: np.array(self.grads[name]) for name in self.grads}

    def reset(self, parameters: Mapping[str, Array]) -> None:
        """Begin again from these parameters."""
        for name in self.params:
            self.params[name] = np.reshape(parameters[name], self.params[name].shape)
        if hasattr(self.net, "OPTIMIZER"):
            self.state.restore(self.net.optimizer_state(self.params).arrays())

    def epoch(self, steps: int) -> EpochOfSteps:
        """Many steps in one compiled call, each on all of the data; as ``fit`` does them."""
        return EpochOfSteps(self, steps)


class EpochOfSteps:
    """``epoch()`` does `steps` steps within the kernel that ``fit`` calls, the gathering of each batch included.

    ``epoch(fewer)`` does fewer.
    """

    def __init__(self, stepper: Stepper, steps: int) -> None:
        function = kernel(stepper.net, "train_steps", stepper.workers)
        names = list(inspect.signature(function.py_func).parameters)
        batched = [name for name in stepper.inputs if f"{name}_batch" in names]
        batch = stepper.inputs[batched[0]].shape[0]
        given = stepper._given | {f"{name}_batch": np.empty_like(stepper.inputs[name]) for name in batched}
        given |= {"order": np.tile(np.arange(batch), steps), "batch": batch}
        given |= {"first": 0, "losses": np.empty(steps)}
        self.steps = steps
        self._kernel = function
        self._arguments = cache(lambda last: tuple({**given, "last": last}[name] for name in names))

    def __call__(self, steps: int | None = None) -> None:
        self._kernel(*self._arguments(self.steps if steps is None else steps))


def kernel(net: ModuleType, name: str, workers: int) -> Any:
    """``<name>_threads`` where there are several workers and the module has that kernel, else ``<name>_into``."""
    threaded = getattr(net.kernels, f"{name}_threads", None)
    return threaded if threaded is not None and workers > 1 else getattr(net.kernels, f"{name}_into")


def worker_count(net: ModuleType, call: Callable[[], object]) -> int:
    """How many threads a function of the module shares its work out to when it is called so."""
    if not hasattr(net, "worker_count"):
        return 1
    with mock.patch.object(net, "worker_count", wraps=net.worker_count) as asked:
        call()
    return int(net.worker_count(*asked.call_args.args)) if asked.called else 1


def memories(net: ModuleType, use: str, sizes: Mapping[str, int], workers: int = 1) -> dict[str, Array]:
    """What the kernels of one use work in, by the names of their arguments."""
    found = {}
    for name in ("workspace", "positions", "chunk", "chunk_positions"):
        function = getattr(net, f"{use}_{name}", None)
        if function is not None:
            rows = {"workers": workers} if "workers" in inspect.signature(function).parameters else {}
            found[name] = function(**rows, **sizes)
    return found

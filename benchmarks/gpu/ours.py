"""symbp as a contender on a GPU: the program of a whole step, as one CUDA graph that is replayed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy.typing as npt

from benchmarks.gpu.timed import Timed
from symbp import emit_model, load_generated
from symbp.check import emulator, random_feed
from symbp.ir import Role
from symbp.package import write_package

Array = npt.NDArray[Any]
Arrays = Mapping[str, Array]


def package(timed: Timed, dtype: str = "float32", *, emulated: bool = False) -> ModuleType:
    """The workload's CUDA package, imported."""
    files = emit_model(timed.build(), target="cuda", dtype=dtype)
    folder = Path(tempfile.mkdtemp(prefix=f"symbp-gpu-{os.getpid()}-"))
    net = load_generated(write_package(files, folder / timed.build().name))
    if emulated:
        emulator.attach(net)
    return net


def given(timed: Timed, dtype: str = "float32") -> tuple[dict[str, Array], dict[str, Array]]:
    """Random parameters and inputs."""
    program = timed.build().program()
    parameters, inputs = {}, {}
    for name, array in _random(program, timed.sizes).items():
        into = parameters if program.tensor(name).role is Role.PARAMETER else inputs
        into[name] = array.astype(dtype) if array.dtype.kind == "f" else array
    return parameters, inputs


def _random(program: Any, sizes: Mapping[str, int]) -> dict[str, Array]:
    return dict(random_feed(program, dict(sizes), seed=0))


class SymbpGpu:
    """``kernels.train_step_into``, or forward and backward where the model has no optimizer.

    Inputs lie on the device, and nothing is read back.
    """

    def __init__(self, net: ModuleType, parameters: Arrays, inputs: Arrays) -> None:
        self._net = net
        self._params = net.init(seed=0)
        self._device = self._params.device
        for name, array in parameters.items():
            self._params[name] = array
        self._inputs = {declared.name: self._device.upload(inputs[declared.name]) for declared in net.INPUTS}
        self._loss = self._device.zeros((1,), net.DTYPE)
        self._grads = self._params.zeros_like()
        names: dict[str, Any] = {"params": self._params.flat, "grads": self._grads.flat, "loss": self._loss}
        sizes = self._sizes()
        for memory in ("workspace", "positions"):
            if hasattr(net, f"train_{memory}"):
                names[memory] = getattr(net, f"train_{memory}")(self._device, **sizes)
        names |= self._inputs
        kernels = net.kernels
        if hasattr(net, "OPTIMIZER"):
            state = net.optimizer_state(self._params)
            names |= {"numbers": state.numbers, "count": state.count}
            names |= dict(zip(net.OPTIMIZER.vectors, state.vectors, strict=True))
            programs = (kernels.train_step_into,)
        else:
            programs = (kernels.forward, kernels.backward)
        self._calls = [(program, self._arguments(program, names)) for program in programs]
        self._key = ("timed", *dict.fromkeys(names.values()))
        self.stream: int | None = getattr(self._device, "stream", None)

    def _sizes(self) -> dict[str, int]:
        """Run-time sizes by name, as the inputs have them."""
        found = {}
        for declared in self._net.INPUTS:
            for extent, size in zip(declared.shape, self._inputs[declared.name].shape, strict=True):
                if isinstance(extent, str):
                    found[extent] = size
        return found

    def _arguments(self, program: Any, names: dict[str, Any]) -> list[Any]:
        wanted = program.__code__.co_varnames[1 : program.__code__.co_argcount]
        return [names[name] for name in wanted]

    def _run(self) -> None:
        for program, arguments in self._calls:
            program(self._device, *arguments)

    def __call__(self) -> object:
        return self._device.captured(self._key, self._run)

    def wait(self) -> None:
        self._device.synchronise()

    def loss_and_gradients(self) -> tuple[float, dict[str, Array]]:
        """By the interface that people call, with all of its checks."""
        value, grads = self._net.loss_and_grad(self._params, *self._inputs.values())
        return value, dict(grads.to_host())


class SymbpTrainStep(SymbpGpu):
    """The public ``train_step``: arguments are checked, and the loss is read back at every step."""

    def __init__(self, net: ModuleType, parameters: Arrays, inputs: Arrays) -> None:
        super().__init__(net, parameters, inputs)
        self._state = net.optimizer_state(self._params)

    def __call__(self) -> object:
        return self._net.train_step(self._params, self._state, *self._inputs.values())

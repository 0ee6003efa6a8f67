"""What an optimizer carries from step to step, on the device: vectors, settings, the count of steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from symbp.errors import TrainingError
from symbp.runtime.cuda.array import Array, Device, DeviceArray
from symbp.runtime.optimizer import Optimizer, OptimizerState
from symbp.runtime.parameters import Layout


class DeviceOptimizerState:
    """The state of one optimizer on the device: ``state.m``, ``state.learning_rate``, ``state.t``.

    Settings are checked and set as in the CPU's state, and uploaded at once. For kernels: ``numbers``, ``count`` and
    ``vectors``, device arrays as the CPU's state has them.
    """

    __slots__ = ("__weakref__", "_settings", "_vectors", "count", "numbers", "optimizer")

    optimizer: Optimizer
    numbers: DeviceArray
    count: DeviceArray
    _vectors: dict[str, DeviceArray]
    # The settings once more in the host's memory, where they can be read without waiting: kernels only read them.
    _settings: OptimizerState

    def __init__(
        self, settings: OptimizerState, numbers: DeviceArray, count: DeviceArray, vectors: dict[str, DeviceArray]
    ) -> None:
        set_once = object.__setattr__
        set_once(self, "optimizer", settings.optimizer)
        set_once(self, "_settings", settings)
        set_once(self, "numbers", numbers)
        set_once(self, "count", count)
        set_once(self, "_vectors", vectors)

    @property
    def device(self) -> Device:
        """Where it lies."""
        return self.count.device

    @property
    def setting_names(self) -> tuple[str, ...]:
        """The names of the settings, in the order of ``numbers``."""
        return self._settings.setting_names

    @property
    def t(self) -> int:
        """Number of steps done."""
        return int(self.count)

    @property
    def vectors(self) -> tuple[DeviceArray, ...]:
        """The vectors in the order of the declaration: for kernel calls."""
        return tuple(self._vectors.values())

    def __getattr__(self, name: str) -> Any:
        if name in ("_vectors", "_settings") or name.startswith("__"):  # an object not filled yet: while it is copied
            raise AttributeError(name)
        if name in self._vectors:
            return self._vectors[name]
        return getattr(self._settings, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self._vectors:
            raise TrainingError(f"state.{name} cannot be replaced", remedy=f"write into it: state.{name}[...] = values")
        setattr(self._settings, name, value)
        if name == "t":
            self.count[...] = self._settings.count
        else:
            self.numbers[...] = self._settings.numbers

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._vectors, *self.setting_names]

    def arrays(self) -> dict[str, Array]:
        """All of it as NumPy arrays under the names that the CPU's state gives them: what a checkpoint keeps."""
        host = self._settings.arrays()
        kept = dict(zip(host, (*self.vectors, self.numbers, self.count), strict=True))
        return {name: array.to_host() for name, array in kept.items()}

    def restore(self, arrays: Mapping[str, Array]) -> None:
        """Take the values of :meth:`arrays` of another state, of the CPU's or a device's, for the same layout."""
        names = list(self._settings.arrays())
        # The settings first: where one of them is out of range nothing is changed.
        small = names[-2:]
        self._settings.restore({**self._settings.arrays(), **{name: arrays[name] for name in small}})
        for name, array in zip(names, (*self.vectors, self.numbers, self.count), strict=True):
            array[...] = arrays[name]

    def to_host(self) -> OptimizerState:
        """The same state as the CPU's modules hold it."""
        host = OptimizerState(self.optimizer, self.vectors[0].size if self._vectors else 0, self._dtype())
        host.restore(self.arrays())
        return host

    def _dtype(self) -> np.dtype[Any]:
        return self.vectors[0].dtype if self._vectors else np.dtype(np.float32)

    def copy(self) -> DeviceOptimizerState:
        """The same state in memory of its own."""
        vectors = {name: vector.copy() for name, vector in self._vectors.items()}
        return DeviceOptimizerState(self._settings.copy(), self.numbers.copy(), self.count.copy(), vectors)

    def __copy__(self) -> DeviceOptimizerState:
        return self.copy()

    def __deepcopy__(self, memo: dict[int, Any]) -> DeviceOptimizerState:
        return self.copy()

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={getattr(self, name):g}" for name in self.setting_names)
        return f"DeviceOptimizerState({self.optimizer.kind}: {settings}; t={self.t}; on {self.device.name})"


def start_state(device: Device, optimizer: Optimizer, layout: Layout, **settings: float) -> DeviceOptimizerState:
    """A state at step 0 with all vectors zero. TrainingError for a setting that is unknown or out of range."""
    # Of the vectors only their number matters here: those on the device are zero of themselves.
    host = optimizer.start(Layout((), layout.dtype), **settings)
    vectors = {name: device.zeros((layout.size,), layout.dtype) for name in optimizer.vectors}
    return DeviceOptimizerState(host, device.upload(host.numbers), device.upload(host.count), vectors)


def check_state(optimizer: Optimizer, state: Any, params: Any) -> None:
    """Refuse a state that is not this optimizer's, or not on the device of the parameters. TrainingError."""
    if state.__class__.__name__ != "DeviceOptimizerState" or state.optimizer != optimizer:
        found = f"a {type(state).__name__}"
        if hasattr(state, "optimizer"):
            other = state.optimizer != optimizer
            found = f"that of '{state.optimizer.kind}'" if other else "one in the host's memory"
        raise TrainingError(
            f"state: expected the state of '{optimizer.kind}', found {found}", remedy="make it with optimizer_state()"
        )
    if state.device is not params.flat.device:
        raise TrainingError(
            f"state: expected it on {params.flat.device.name}, with the parameters, found it on {state.device.name}",
            remedy="make it with optimizer_state()",
        )

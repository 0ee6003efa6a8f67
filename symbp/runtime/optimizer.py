"""What an optimizer carries from step to step: vectors as long as the parameters, settings, and a count of steps.

A generated module declares it once as an :class:`Optimizer`; ``start`` makes the :class:`OptimizerState` that people
hold (``state.learning_rate = 1e-4``) and kernels update in place.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from symbp.errors import DataError, TrainingError, did_you_mean
from symbp.runtime.parameters import Array, Layout, Parameters, aligned_zeros

_PREFIX = "optimizer."


@dataclass(frozen=True, slots=True)
class Setting:
    """A number that the user may set: finite, above ``above`` or at least ``least``, and below ``below``."""

    name: str
    default: float
    above: float = -math.inf
    least: float = -math.inf
    below: float = math.inf

    def checked(self, value: Any) -> float:
        """``value`` as a float, or TrainingError where it is not a number in the range."""
        number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
        if number and math.isfinite(value) and value > self.above and value >= self.least and value < self.below:
            return float(value)
        raise TrainingError(f"{self.name}: expected {self._range()}, found {value!r}", remedy=f"try {self.default:g}")

    def _range(self) -> str:
        """``a finite number > 0 and < 1``."""
        bounds = [
            f"> {self.above:g}" if self.above > -math.inf else "",
            f">= {self.least:g}" if self.least > -math.inf else "",
            f"< {self.below:g}" if self.below < math.inf else "",
        ]
        return " ".join(["a finite number", " and ".join(bound for bound in bounds if bound)]).strip()


@dataclass(frozen=True, slots=True)
class Optimizer:
    """An update rule as a module declares it: its name, its vectors (``("m", "v")``), its settings."""

    kind: str
    vectors: tuple[str, ...]
    settings: tuple[Setting, ...]

    def start(self, layout: Layout, **settings: float) -> OptimizerState:
        """A state at step 0 with all vectors zero. TrainingError for a setting that is unknown or out of range."""
        state = OptimizerState(self, layout.size, layout.dtype)
        for name, value in settings.items():
            if name not in state.setting_names:
                raise TrainingError(
                    f"optimizer '{self.kind}' has no setting '{name}'", remedy=did_you_mean(name, state.setting_names)
                )
            setattr(state, name, value)
        return state

    def check(self, state: Any, params: Parameters, *inputs: Array) -> None:
        """Refuse what a step cannot change in place: a state that is not its own, parameters that are frozen or read.

        Raises TrainingError for the state and DataError for the parameters.
        """
        if state.__class__.__name__ != "OptimizerState" or state.optimizer != self:
            found = f"that of '{state.optimizer.kind}'" if hasattr(state, "optimizer") else f"a {type(state).__name__}"
            raise TrainingError(
                f"state: expected the state of '{self.kind}', found {found}", remedy="make it with optimizer_state()"
            )
        flat = params.flat
        if not flat.flags.writeable:
            raise DataError(
                "params: expected parameters that can be written, found read-only ones", remedy="train params.copy()"
            )
        for array in inputs:
            if np.may_share_memory(array, flat) and np.shares_memory(array, flat):
                raise DataError(
                    f"an input of shape {array.shape}: expected memory of its own, found that of the parameters",
                    remedy="pass a copy of it",
                )

    def shapes(self, layout: Layout) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
        """Shape and dtype of what a checkpoint holds of the state, by name."""
        return {name: (array.shape, array.dtype) for name, array in self.start(layout).arrays().items()}


class OptimizerState:
    """The state of one optimizer: ``state.m``, ``state.learning_rate``, ``state.t``.

    For kernels: ``numbers``, the settings in the order of the declaration, float64 (a kernel rounds what it computes
    from them once, so ``1 - beta2`` keeps its digits in a float32 model); ``count``, int64 of shape (1,), the number
    of steps done, which kernels increase; and the vectors, each aligned and as long as the flat parameters.
    """

    __slots__ = ("__weakref__", "_vectors", "count", "numbers", "optimizer")

    optimizer: Optimizer
    numbers: npt.NDArray[np.float64]
    count: npt.NDArray[np.int64]
    _vectors: dict[str, Array]

    def __init__(self, optimizer: Optimizer, size: int, dtype: npt.DTypeLike) -> None:
        set_once = object.__setattr__
        set_once(self, "optimizer", optimizer)
        set_once(self, "numbers", np.array([setting.default for setting in optimizer.settings], np.float64))
        set_once(self, "count", np.zeros(1, np.int64))
        set_once(self, "_vectors", {name: aligned_zeros(size, dtype) for name in optimizer.vectors})

    @property
    def setting_names(self) -> tuple[str, ...]:
        """The names of the settings, in the order of ``numbers``."""
        return tuple(setting.name for setting in self.optimizer.settings)

    @property
    def t(self) -> int:
        """Number of steps done."""
        return int(self.count[0])

    @property
    def vectors(self) -> tuple[Array, ...]:
        """The vectors in the order of the declaration: for kernel calls."""
        return tuple(self._vectors.values())

    def __getattr__(self, name: str) -> Any:
        if name in ("_vectors", "optimizer") or name.startswith("__"):  # an object not filled yet: while it is copied
            raise AttributeError(name)
        if name in self._vectors:
            return self._vectors[name]
        if name in self.setting_names:
            return float(self.numbers[self.setting_names.index(name)])
        known = did_you_mean(name, [*self._vectors, *self.setting_names, "t"])
        raise AttributeError(f"optimizer '{self.optimizer.kind}' has no '{name}'{'; ' + known if known else ''}")

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.setting_names:
            position = self.setting_names.index(name)
            self.numbers[position] = self.optimizer.settings[position].checked(value)
        elif name == "t":
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 0:
                raise TrainingError(f"t: expected a number of steps >= 0, found {value!r}")
            self.count[0] = value
        elif name in self._vectors:
            raise TrainingError(f"state.{name} cannot be replaced", remedy=f"write into it: state.{name}[:] = values")
        else:
            raise TrainingError(
                f"optimizer '{self.optimizer.kind}' has no setting '{name}'",
                remedy=did_you_mean(name, self.setting_names),
            )

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._vectors, *self.setting_names]

    def arrays(self) -> dict[str, Array]:
        """All of it as arrays under names of their own (``optimizer.m``), as a checkpoint keeps it. Not copies."""
        held: dict[str, Array] = {_PREFIX + name: vector for name, vector in self._vectors.items()}
        return {**held, _PREFIX + "settings": self.numbers, _PREFIX + "t": self.count}

    def restore(self, arrays: Mapping[str, Array]) -> None:
        """Take the values of :meth:`arrays` of another state of the same optimizer and layout."""
        numbers = arrays[_PREFIX + "settings"]
        for setting, value in zip(self.optimizer.settings, numbers, strict=True):
            setting.checked(value)
        for name, array in self.arrays().items():
            array[...] = arrays[name]

    def copy(self) -> OptimizerState:
        """The same state in memory of its own."""
        other = OptimizerState(self.optimizer, 0, np.float32)
        vectors = {name: aligned_zeros(vector.size, vector.dtype) for name, vector in self._vectors.items()}
        object.__setattr__(other, "_vectors", vectors)
        for name, array in other.arrays().items():
            array[...] = self.arrays()[name]
        return other

    def __copy__(self) -> OptimizerState:
        return self.copy()

    def __deepcopy__(self, memo: dict[int, Any]) -> OptimizerState:
        return self.copy()

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={getattr(self, name):g}" for name in self.setting_names)
        return f"OptimizerState({self.optimizer.kind}: {settings}; t={self.t})"

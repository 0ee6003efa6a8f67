"""Whole epochs of mini-batch training around a compiled function that does many steps in one call."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, TextIO

import numpy as np
import numpy.typing as npt

from symbp.errors import TrainingError
from symbp.runtime.optimizer import OptimizerState
from symbp.runtime.parameters import Array, Parameters

Order = npt.NDArray[np.int64]
# A compiled call of this length hides Python's share and still answers Ctrl-C at once.
_CALL_SECONDS = 0.075


class Held(Protocol):
    """What steps change, with a copy to go back to: parameters and the optimizer's state, wherever they lie."""

    def keep(self) -> None:
        """Copy what there is now."""

    def go_back(self) -> None:
        """Put back what was kept last."""

    def finite(self) -> bool:
        """Whether every weight is a finite number."""

    def diverged(self) -> list[str]:
        """The names of the parameters that hold a value that is not finite."""

    @property
    def settings(self) -> str:
        """The state in a line: what an error shows of it."""


class Steps(Protocol):
    """What a generated module hands in: do steps ``first`` to ``last - 1`` of an epoch in one compiled call.

    Step s takes the samples ``order[s*batch : min((s + 1)*batch, len(order))]``, updates parameters, state and the
    count of steps in place, and writes its loss to ``losses[s]`` (float64).
    """

    def __call__(
        self, order: Order, batch: int, first: int, last: int, losses: npt.NDArray[np.float64], /
    ) -> object: ...


@dataclass
class TrainingLog:
    """What happened in ``fit``: one entry per epoch in ``loss``, ``validation`` and ``seconds``.

    ``loss`` is the mean over the samples of the losses as the weights moved. ``steps`` counts all steps done.
    ``interrupted`` is true after Ctrl-C; the epoch that was cut short has no entry.
    """

    loss: list[float] = field(default_factory=list)
    validation: list[Any] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    steps: int = 0
    interrupted: bool = False

    def __repr__(self) -> str:
        """A line for each epoch; of a long training the first and last five."""
        lines = [_epoch_line(self, epoch) for epoch in range(len(self.loss))]
        if len(lines) > 12:
            lines = [*lines[:5], f"  ... {len(lines) - 10} more epochs", *lines[-5:]]
        ending = ", interrupted" if self.interrupted else ""
        return "\n".join(
            [f"TrainingLog: {len(self.loss)} epochs, {self.steps} steps, {sum(self.seconds):.2f} s{ending}", *lines]
        )


def fit_epochs(
    steps: Steps,
    params: Parameters,
    state: OptimizerState,
    n_samples: int,
    *,
    epochs: int = 1,
    batch: int = 32,
    seed: int = 0,
    shuffle: bool = True,
    validation: Callable[[], Any] | None = None,
    progress: bool | None = None,
    explain: Callable[[Order], str | None] | None = None,
) -> TrainingLog:
    """Train parameters in the host's memory: see :func:`train_epochs`, which this is otherwise."""
    return train_epochs(
        steps,
        lambda: _Held(params, state),
        n_samples,
        epochs=epochs,
        batch=batch,
        seed=seed,
        shuffle=shuffle,
        validation=validation,
        progress=progress,
        explain=explain,
    )


def train_epochs(
    steps: Steps,
    hold: Callable[[], Held],
    n_samples: int,
    *,
    epochs: int,
    batch: int,
    seed: int,
    shuffle: bool,
    validation: Callable[[], Any] | None,
    progress: bool | None,
    explain: Callable[[Order], str | None] | None,
) -> TrainingLog:
    """Train for ``epochs`` passes over ``n_samples`` samples in batches of ``batch``.

    The order of the samples in an epoch depends on ``seed`` and the number of the epoch alone. A last, smaller batch is
    used, not dropped; a batch larger than the data is all of it. ``validation`` is called after each epoch and what it
    returns is kept. ``progress`` is a bar on the standard error stream: None shows it on a terminal only.

    ``hold`` sets aside a copy of what the steps change; it is called once all settings have been found possible.

    Ctrl-C stops after the compiled call under way and returns normally, with the weights of the last whole step.

    Raises TrainingError for an impossible setting, and where a loss or a weight is not finite: the parameters and the
    state are then those before that step, the last at which all were finite. ``explain`` may name the cause of a loss
    that is not; it is given the samples of that step.
    """
    epochs = _positive("epochs", epochs)
    batch = batch_size(batch, n_samples)
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise TrainingError(f"seed: expected a whole number >= 0, found {seed!r}")
    n_steps = -(-n_samples // batch)
    losses = np.zeros(n_steps, np.float64)
    weights = np.full(n_steps, batch, np.float64)
    weights[-1] = n_samples - (n_steps - 1) * batch
    log = TrainingLog()
    bar = _Bar(epochs, n_steps, progress)
    held = hold()
    chunk = 1
    try:
        for epoch in range(epochs):
            began = time.perf_counter()
            order = _sample_order(n_samples, int(seed), epoch, shuffle)
            first = 0
            while first < n_steps:
                last = min(first + chunk, n_steps)
                held.keep()
                called = time.perf_counter()
                steps(order, batch, first, last, losses)
                elapsed = time.perf_counter() - called
                if not (np.isfinite(losses[first:last]).all() and held.finite()):
                    _refuse_not_finite(steps, held, order, batch, first, last, losses, epoch, explain)
                log.steps += last - first
                # How many steps a call does never changes a result: the kernel does them one after the other.
                fitting = int(_CALL_SECONDS * (last - first) / max(elapsed, 1e-9))
                chunk = max(1, min(fitting, 8 * chunk))
                first = last
                bar.show(epoch, first, losses[first - 1])
            log.loss.append(float(losses @ weights) / n_samples)
            log.seconds.append(time.perf_counter() - began)
            if validation is not None:
                log.validation.append(validation())
            bar.epoch_done(log, epoch)
    except KeyboardInterrupt:
        log.interrupted = True
    finally:
        bar.close()
    return log


def batch_size(batch: int, n_samples: int) -> int:
    """How many samples a step takes: `batch`, or all where there are fewer. TrainingError for an impossible one."""
    return min(_positive("batch", batch), n_samples)


def _positive(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise TrainingError(f"{name}: expected a whole number >= 1, found {value!r}")
    return int(value)


def _sample_order(n_samples: int, seed: int, epoch: int, shuffle: bool) -> Order:
    if not shuffle:
        return np.arange(n_samples, dtype=np.int64)
    random = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, epoch])))
    return random.permutation(n_samples).astype(np.int64)


class _Held:
    """Parameters and state, with a copy to go back to."""

    def __init__(self, params: Parameters, state: OptimizerState) -> None:
        self.params, self.state = params, state
        self._live: list[Array] = [params.flat, *state.vectors, state.count]
        self._copies = [array.copy() for array in self._live]

    def keep(self) -> None:
        """Copy what there is now."""
        for live, copy in zip(self._live, self._copies, strict=True):
            copy[...] = live

    def go_back(self) -> None:
        """Put back what was kept last."""
        for live, copy in zip(self._live, self._copies, strict=True):
            live[...] = copy

    def finite(self) -> bool:
        """Whether every weight is a finite number."""
        return bool(np.isfinite(self.params.flat).all())

    def diverged(self) -> list[str]:
        """The names of the parameters that hold a value that is not finite."""
        return [name for name, values in self.params.items() if not np.isfinite(values).all()]

    @property
    def settings(self) -> str:
        """The state in a line."""
        return repr(self.state)


def _refuse_not_finite(
    steps: Steps,
    held: Held,
    order: Order,
    batch: int,
    first: int,
    last: int,
    losses: npt.NDArray[np.float64],
    epoch: int,
    explain: Callable[[Order], str | None] | None,
) -> None:
    """Do the steps of the last call again, one by one, to stop before the one that goes wrong; then say so."""
    held.go_back()
    step = first
    while step < last:
        held.keep()
        steps(order, batch, step, step + 1, losses)
        if not (math.isfinite(losses[step]) and held.finite()):
            break
        step += 1
    diverged = held.diverged()
    held.go_back()
    step = min(step, last - 1)
    cause = None
    if math.isfinite(losses[step]):
        wrong = f"the step leaves values in {', '.join(diverged) or 'a weight'} that are not finite"
    else:
        wrong = f"the loss is {losses[step]}"
        cause = explain(order[step * batch : (step + 1) * batch]) if explain is not None else None
    raise TrainingError(
        f"epoch {epoch + 1}, step {step + 1} of {len(losses)}: {wrong}" + (f" ({cause})" if cause else ""),
        remedy="the parameters are those before that step; lower the learning rate or check the data "
        f"[{held.settings}]",
    )


def _epoch_line(log: TrainingLog, epoch: int) -> str:
    validation = f"  validation {_brief(log.validation[epoch])}" if epoch < len(log.validation) else ""
    return f"  epoch {epoch + 1}  loss {log.loss[epoch]:.6g}{validation}  {log.seconds[epoch]:.2f} s"


def _brief(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_brief(part)}" for name, part in value.items())
    return f"{value:.6g}" if isinstance(value, float | np.floating) else str(value)


class _Bar:
    """Progress on the standard error stream: a bar redrawn in place on a terminal, else a line for each epoch."""

    _WIDTH = 24
    _REDRAW_SECONDS = 0.1

    def __init__(self, epochs: int, n_steps: int, progress: bool | None, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._terminal = bool(self._stream and self._stream.isatty())
        self._shown = self._terminal if progress is None else bool(progress and self._stream)
        self._epochs, self._n_steps = epochs, n_steps
        self._drawn = 0.0
        self._open = False

    def show(self, epoch: int, done: int, loss: float) -> None:
        """Draw the bar, ten times a second at most."""
        now = time.monotonic()
        if not (self._shown and self._terminal) or now - self._drawn < self._REDRAW_SECONDS:
            return
        self._drawn = now
        filled = self._WIDTH * done // self._n_steps
        bar = "#" * filled + "." * (self._WIDTH - filled)
        self._stream.write(f"\repoch {epoch + 1}/{self._epochs} [{bar}] {done}/{self._n_steps}  loss {loss:.4g}\x1b[K")
        self._stream.flush()
        self._open = True

    def epoch_done(self, log: TrainingLog, epoch: int) -> None:
        """A line that stays."""
        if self._shown:
            self._stream.write(("\r\x1b[K" if self._open else "") + _epoch_line(log, epoch).strip() + "\n")
            self._stream.flush()
            self._open = False

    def close(self) -> None:
        """Leave the cursor at the start of a line."""
        if self._open:
            self._stream.write("\n")
            self._stream.flush()
            self._open = False

"""Training on the device: the data stay there, and a step of training is one graph that takes its own batch.

What a graph does is fixed when it is captured, so that which samples a step takes is read from device memory: the order
of the epoch, uploaded once, and the number of the step, which the graph itself counts up. One graph serves all full
batches of all epochs, another the last, smaller one.
"""

from __future__ import annotations

import itertools
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from symbp.runtime.cuda.array import Device, DeviceArray
from symbp.runtime.cuda.batches import advance, end_step, gather, not_finite, take
from symbp.runtime.cuda.optimizer import DeviceOptimizerState
from symbp.runtime.cuda.parameters import DeviceParameters
from symbp.runtime.training import Order, TrainingLog, batch_size, train_epochs

__all__ = ["advance", "fit_on_device", "take"]

_trainings = itertools.count()


def fit_on_device(
    device: Device,
    step: Callable[..., None],
    params: DeviceParameters,
    state: DeviceOptimizerState,
    inputs: Sequence[DeviceArray],
    loss: DeviceArray,
    *,
    batched: Sequence[bool],
    samples: int = 1,
    epochs: int = 1,
    batch: int = 32,
    seed: int = 0,
    shuffle: bool = True,
    validation: Callable[[], Any] | None = None,
    progress: bool | None = None,
    explain: Callable[[Order], str | None] | None = None,
) -> TrainingLog:
    """Train for ``epochs`` passes over inputs that lie on the device, in batches of those that are ``batched``.

    ``step(*inputs)`` launches one step of training on whole inputs or batches of them: forward, which writes
    ``loss[0]``, backward, count and update. It must launch the same kernels whenever it is called.

    Ctrl-C stops after a whole step. The rest is as in :func:`train_epochs`, whose errors it raises, and DeviceError.
    """
    rows = batch_size(batch, samples)
    steps = _Steps(device, step, inputs, batched, loss, samples, rows)
    try:
        return train_epochs(
            steps,
            lambda: _Held(params, state),
            samples,
            epochs=epochs,
            batch=batch,
            seed=seed,
            shuffle=shuffle,
            validation=validation,
            progress=progress,
            explain=explain,
        )
    finally:
        steps.forget()


class _Steps:
    """Several steps of an epoch, one graph after the other; the host waits once, for their losses."""

    def __init__(
        self,
        device: Device,
        step: Callable[..., None],
        inputs: Sequence[DeviceArray],
        batched: Sequence[bool],
        loss: DeviceArray,
        samples: int,
        batch: int,
    ) -> None:
        self._device, self._step, self._inputs, self._loss = device, step, tuple(inputs), loss
        self._samples, self._batch = samples, batch
        # A batch of each input that has samples, and None for the others.
        self._batches = [
            device.empty((batch, *array.shape[1:]), array.dtype) if taken else None
            for array, taken in zip(inputs, batched, strict=True)
        ]
        self._order = device.empty((samples,), np.int64)
        self._uploaded: Order | None = None
        self._losses = device.zeros((-(-samples // batch),), np.float64)
        self._position = device.zeros((1,), np.int64)
        self._training = next(_trainings)

    def __call__(self, order: Order, batch: int, first: int, last: int, losses: npt.NDArray[np.float64], /) -> None:
        """Do steps ``first`` to ``last - 1``, and write their losses. KeyboardInterrupt comes after a whole step."""
        with _between_steps() as interrupted:
            if order is not self._uploaded:
                self._order[...] = order
                self._uploaded = order
            self._position[...] = first
            for turn in range(first, last):
                if interrupted():
                    break
                self._run(min(batch, self._samples - turn * batch))
            losses[first:last] = self._losses[first:last].to_host()

    def _run(self, rows: int) -> None:
        self._device.captured((*self._key(), rows), lambda: self._one(rows))

    def _one(self, rows: int) -> None:
        """One step on the next ``rows`` samples of the order."""
        arrays = []
        for whole, held in zip(self._inputs, self._batches, strict=True):
            if held is not None:
                taken = held[:rows]
                gather(self._device, self._order, self._position, self._batch, whole, taken)
                arrays.append(taken)
            else:
                arrays.append(whole)
        self._step(*arrays)
        end_step(self._device, self._loss, self._losses, self._position)

    def _key(self) -> tuple[str, int]:
        return "fit", self._training

    def forget(self) -> None:
        """Let the graphs go, with the data that they keep alive."""
        for rows in {self._batch: 0, self._samples % self._batch: 0}:
            self._device.forget((*self._key(), rows))


class _Held:
    """Parameters and state, with a copy on the device to go back to."""

    def __init__(self, params: DeviceParameters, state: DeviceOptimizerState) -> None:
        self._params, self._state = params, state
        self._live = [params.flat, *state.vectors, state.count]
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
        flat = self._params.flat
        return flat.size == 0 or not_finite(flat.device, flat) == 0

    def diverged(self) -> list[str]:
        """The names of the parameters that hold a value that is not finite."""
        return [name for name, values in self._params.to_host().items() if not np.isfinite(values).all()]

    @property
    def settings(self) -> str:
        """The state in a line."""
        return repr(self._state)


@contextmanager
def _between_steps() -> Iterator[Callable[[], bool]]:
    """Within this, Ctrl-C is noted and answered at the end: a step of several launches is done whole or not at all."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGINT) is None:
        yield lambda: False
        return
    noted: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: noted.append(number))
    try:
        yield lambda: bool(noted)
    finally:
        signal.signal(signal.SIGINT, before)
    if noted:
        signal.raise_signal(signal.SIGINT)

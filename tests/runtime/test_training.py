"""The optimizer's state and the loop over epochs, on a model small enough to know: a mean of squares."""

from __future__ import annotations

import copy
import io
import math
import re
from itertools import chain
from typing import Any

import numpy as np
import pytest

from symbp.errors import TrainingError
from symbp.runtime import training
from symbp.runtime.optimizer import Optimizer, OptimizerState, Setting
from symbp.runtime.parameters import Layout, Parameter, Parameters
from symbp.runtime.training import TrainingLog, fit_epochs

LAYOUT = Layout((Parameter("w", (3,)),), np.float64)
MOMENTUM = Optimizer(
    "momentum",
    ("m",),
    (Setting("learning_rate", 0.01, above=0.0), Setting("momentum", 0.9, least=0.0, below=1.0)),
)


class Toy:
    """The part of a generated module: ``loss = mean((w - x)²)``, one step after the other, at float64."""

    def __init__(self, x: np.ndarray, learning_rate: float = 0.01) -> None:
        self.x = x
        self.params = LAYOUT.zeros()
        self.state = MOMENTUM.start(LAYOUT, learning_rate=learning_rate)
        self.seen: list[list[int]] = []
        self.calls: list[tuple[int, int]] = []

    def steps(self, order: np.ndarray, batch: int, first: int, last: int, losses: np.ndarray) -> None:
        self.calls.append((first, last))
        for step in range(first, last):
            rows = order[step * batch : min((step + 1) * batch, len(order))]
            self.seen.append(rows.tolist())
            difference = self.params.w - self.x[rows]
            losses[step] = np.mean(np.sum(difference**2, axis=1))
            rate, decay = self.state.numbers
            self.state.m[:] = decay * self.state.m + 2 * difference.mean(axis=0)
            self.params.w[:] -= rate * self.state.m
            self.state.count[0] += 1

    def fit(self, **options: Any) -> TrainingLog:
        return fit_epochs(self.steps, self.params, self.state, len(self.x), progress=False, **options)


def data(n: int = 13) -> np.ndarray:
    return np.random.default_rng(1).standard_normal((n, 3))


def test_state() -> None:
    state = MOMENTUM.start(LAYOUT)
    assert state.learning_rate == 0.01
    assert state.t == 0
    assert state.m.shape == (3,)
    assert [vector is state.m for vector in state.vectors] == [True]
    state.learning_rate = 0.5
    assert state.numbers.tolist() == [0.5, 0.9]
    state.count[0] = 7
    assert repr(state) == "OptimizerState(momentum: learning_rate=0.5, momentum=0.9; t=7)"


def test_state_copies() -> None:
    state = MOMENTUM.start(LAYOUT, learning_rate=0.25)
    state.m[:] = 3
    state.t = 4
    for other in (state.copy(), copy.copy(state), copy.deepcopy(state)):
        other.m[0] = 9
        other.learning_rate = 1
        other.t = 9
        assert other.m.tolist() == [9, 3, 3]
    assert (state.m.tolist(), state.learning_rate, state.t) == ([3, 3, 3], 0.25, 4)


def test_state_through_a_checkpoint() -> None:
    state = MOMENTUM.start(LAYOUT, learning_rate=0.25)
    state.m[:] = [1, 2, 3]
    state.t = 4
    arrays = {name: array.copy() for name, array in state.arrays().items()}
    assert {name: (array.shape, array.dtype) for name, array in arrays.items()} == MOMENTUM.shapes(LAYOUT)
    other = MOMENTUM.start(LAYOUT)
    other.restore(arrays)
    assert (other.m.tolist(), other.learning_rate, other.t) == ([1, 2, 3], 0.25, 4)
    arrays["optimizer.settings"][0] = -1
    with pytest.raises(TrainingError, match="learning_rate"):
        other.restore(arrays)


@pytest.mark.parametrize("value", [0, -0.1, math.nan, math.inf, "0.1", None, True])
def test_learning_rates_that_are_refused(value: Any) -> None:
    state = MOMENTUM.start(LAYOUT)
    text = f"learning_rate: expected a finite number > 0, found {value!r}; try 0.01"
    with pytest.raises(TrainingError, match=re.escape(text)):
        state.learning_rate = value
    with pytest.raises(TrainingError, match=re.escape(text)):
        MOMENTUM.start(LAYOUT, learning_rate=value)
    assert state.learning_rate == 0.01


def test_settings_that_are_refused() -> None:
    state = MOMENTUM.start(LAYOUT)
    with pytest.raises(TrainingError, match=re.escape("momentum: expected a finite number >= 0 and < 1, found 1.0")):
        state.momentum = 1.0
    with pytest.raises(TrainingError, match="no setting 'learning_rat'; did you mean 'learning_rate'"):
        state.learning_rat = 1.0
    with pytest.raises(TrainingError, match="no setting 'lr'"):
        MOMENTUM.start(LAYOUT, lr=1.0)
    with pytest.raises(
        TrainingError, match=re.escape("state.m cannot be replaced; write into it: state.m[:] = values")
    ):
        state.m = np.zeros(3)
    with pytest.raises(AttributeError, match="optimizer 'momentum' has no 'momentun'; did you mean 'momentum'"):
        _ = state.momentun
    with pytest.raises(TrainingError, match="t: expected a number of steps >= 0, found -1"):
        state.t = -1


def test_training_reaches_the_mean() -> None:
    toy = Toy(data())
    log = toy.fit(epochs=200, batch=13)
    np.testing.assert_allclose(toy.params.w, data().mean(axis=0), atol=1e-6)
    assert log.loss[-1] < log.loss[0]
    assert log.steps == toy.state.t == 200
    assert len(log.seconds) == 200


def test_every_sample_once_an_epoch_the_last_batch_smaller() -> None:
    toy = Toy(data(13))
    log = toy.fit(epochs=2, batch=5)
    assert [len(rows) for rows in toy.seen] == [5, 5, 3, 5, 5, 3]
    first, second = (list(chain(*toy.seen[start : start + 3])) for start in (0, 3))
    assert sorted(first) == sorted(second) == list(range(13))
    assert first != second
    assert log.steps == 6


def test_the_loss_of_an_epoch_is_the_mean_over_samples() -> None:
    toy = Toy(data(13), learning_rate=1e-300)
    assert toy.fit(batch=5).loss[0] == pytest.approx(np.mean(np.sum(data(13) ** 2, axis=1)), rel=1e-12)


def test_a_batch_larger_than_the_data_is_all_of_it() -> None:
    toy = Toy(data(7))
    toy.fit(batch=1000)
    assert [len(rows) for rows in toy.seen] == [7]


def test_the_order_depends_on_the_seed_alone() -> None:
    runs = []
    for seed in (0, 0, 1):
        toy = Toy(data())
        toy.fit(epochs=3, batch=4, seed=seed)
        runs.append((toy.seen, toy.params.flat.tolist()))
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]
    toy = Toy(data())
    toy.fit(batch=13, shuffle=False)
    assert toy.seen == [list(range(13))]


def test_the_size_of_the_calls_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    results = []
    for seconds in (0.0, 1e9):
        monkeypatch.setattr(training, "_CALL_SECONDS", seconds)
        toy = Toy(data(100))
        log = toy.fit(epochs=3, batch=3)
        results.append((toy.params.flat.tolist(), log.loss, len(toy.calls)))
    assert results[0][:2] == results[1][:2]
    assert results[0][2] == 3 * 34
    assert results[1][2] < 8


def test_validation_is_kept() -> None:
    toy = Toy(data())
    log = toy.fit(epochs=3, validation=lambda: {"loss": toy.state.t, "accuracy": 0.5})
    assert [entry["loss"] for entry in log.validation] == [1, 2, 3]
    assert "validation loss 2, accuracy 0.5" in repr(log)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"epochs": 0}, "epochs: expected a whole number >= 1, found 0"),
        ({"epochs": -3}, "epochs: expected a whole number >= 1, found -3"),
        ({"epochs": 1.5}, "epochs: expected a whole number >= 1, found 1.5"),
        ({"batch": 0}, "batch: expected a whole number >= 1, found 0"),
        ({"batch": True}, "batch: expected a whole number >= 1, found True"),
        ({"seed": -1}, "seed: expected a whole number >= 0, found -1"),
    ],
)
def test_impossible_settings(options: dict[str, Any], text: str) -> None:
    toy = Toy(data())
    with pytest.raises(TrainingError, match=re.escape(text)):
        toy.fit(**options)
    assert toy.state.t == 0


@pytest.mark.parametrize("seconds", [0.0, 1e9])
def test_a_loss_that_is_not_finite_goes_back_to_the_step_before(
    monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    monkeypatch.setattr(training, "_CALL_SECONDS", seconds)
    x = data(40)
    x[17] = np.inf
    toy = Toy(x)
    with np.errstate(invalid="ignore"), pytest.raises(TrainingError) as caught:
        toy.fit(epochs=2, batch=4, shuffle=False, explain=lambda rows: f"samples {rows.tolist()}")
    assert str(caught.value) == (
        "epoch 1, step 5 of 10: the loss is inf (samples [16, 17, 18, 19]); the parameters are those before that step; "
        "lower the learning rate or check the data [OptimizerState(momentum: learning_rate=0.01, momentum=0.9; t=4)]"
    )
    good = Toy(x)
    fit_epochs(good.steps, good.params, good.state, 16, batch=4, shuffle=False, progress=False)
    assert toy.state.t == 4
    assert np.array_equal(toy.params.flat, good.params.flat)
    assert np.array_equal(toy.state.m, good.state.m)


@pytest.mark.parametrize("seconds", [0.0, 1e9])
def test_diverging_weights_are_put_back_finite(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    monkeypatch.setattr(training, "_CALL_SECONDS", seconds)
    toy = Toy(data(100), learning_rate=1e60)
    with np.errstate(all="ignore"), pytest.raises(TrainingError, match="epoch 1, step 4 of 50: the loss is inf"):
        toy.fit(batch=2, shuffle=False)
    assert np.isfinite(toy.params.flat).all()
    assert toy.state.t == 3


def test_ctrl_c_keeps_the_last_whole_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "_CALL_SECONDS", 0.0)
    toy = Toy(data(40))

    def steps(order: np.ndarray, batch: int, first: int, last: int, losses: np.ndarray) -> None:
        if toy.state.t == 13:
            raise KeyboardInterrupt
        toy.steps(order, batch, first, last, losses)

    log = fit_epochs(steps, toy.params, toy.state, 40, epochs=9, batch=4, progress=False)
    assert log.interrupted
    assert log.steps == toy.state.t == 13
    assert len(log.loss) == 1
    assert ", interrupted" in repr(log)


def test_other_errors_pass() -> None:
    def steps(*arguments: Any) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fit_epochs(steps, LAYOUT.zeros(), MOMENTUM.start(LAYOUT), 4, progress=False)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "progress", "expected"),
    [
        (io.StringIO, None, 0),
        (io.StringIO, True, 2),
        (io.StringIO, False, 0),
        (Terminal, None, 2),
        (Terminal, False, 0),
    ],
)
def test_progress(monkeypatch: pytest.MonkeyPatch, stream: type[io.StringIO], progress: Any, expected: int) -> None:
    shown = stream()
    monkeypatch.setattr(training.sys, "stderr", shown)
    toy = Toy(data())
    fit_epochs(toy.steps, toy.params, toy.state, 13, epochs=2, batch=5, progress=progress)
    text = shown.getvalue()
    assert text.count("\n") == expected
    assert ("epoch 2  loss" in text) == bool(expected)
    assert ("\r" in text) == (stream is Terminal and expected > 0)


def test_repr_of_a_long_log_is_short() -> None:
    log = TrainingLog(loss=[1.0] * 40, seconds=[0.5] * 40, steps=80)
    lines = repr(log).splitlines()
    assert lines[0] == "TrainingLog: 40 epochs, 80 steps, 20.00 s"
    assert lines[1] == "  epoch 1  loss 1  0.50 s"
    assert len(lines) == 12


def test_state_is_sized_by_the_layout() -> None:
    assert isinstance(MOMENTUM.start(LAYOUT), OptimizerState)
    assert MOMENTUM.start(LAYOUT).m.dtype == np.float64
    assert isinstance(LAYOUT.zeros(), Parameters)

"""Training with generated modules: whole epochs against single steps, what stops them, and kernels in a user's code."""

from __future__ import annotations

import signal
from functools import cache
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numba import njit

import symbp as sb
from symbp import Adam, Model, Momentum, TrainingError, sum
from symbp.runtime import training
from tests.numeric.harness import compiled

N_SAMPLES, BATCH = 37, 8  # four whole batches and one of five


def classifier() -> Model:
    """Softmax regression with a hidden layer."""
    model = Model("classifier")
    b, j, h, k = model.axis("b", "batch"), model.axis("j", 5), model.axis("h", 7), model.axis("k", 3)
    x, label = model.input("x", b, j), model.input("label", b, dtype="int", below=k)
    W, V, c = model.parameter("W", j, h), model.parameter("V", h, k), model.parameter("c", k)
    a = model.define("a[b, h]", sb.tanh(sum(x[b, j] * W[j, h], j)))
    z = model.define("z[b, k]", sum(a[b, h] * V[h, k], h) + c[k])
    model.output(sb.softmax(z, name="p"))
    model.loss(sb.softmax_cross_entropy(z, label))
    model.optimizer(Adam(learning_rate=0.01))
    return model


@cache
def module() -> ModuleType:
    """In float32, which is what people train in."""
    return compiled(classifier(), "fit", "float32")


def data() -> tuple[Any, Any]:
    """Samples and labels that can be learnt."""
    random = np.random.default_rng(3)
    x = random.normal(size=(N_SAMPLES, 5)).astype(np.float32)
    return x, x[:, :3].argmax(1)


def start(seed: int = 0) -> tuple[ModuleType, Any, Any]:
    net = module()
    params = net.init(seed=seed)
    return net, params, net.optimizer_state(params)


def sample_order(seed: int, epoch: int) -> Any:
    """The order of the samples in an epoch, as the documentation promises it: the same for ever."""
    random = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, epoch])))
    return random.permutation(N_SAMPLES)


def steps_by_hand(net: ModuleType, params: Any, state: Any, epochs: int, seed: int, limit: int = 10**6) -> list[float]:
    """Single steps over the same samples in the same order; the mean loss of each epoch."""
    x, label = data()
    losses: list[float] = []
    for epoch in range(epochs):
        order = sample_order(seed, epoch)
        total = 0.0
        for first in range(0, N_SAMPLES, BATCH):
            if state.t == limit:
                return losses
            rows = order[first : first + BATCH]
            total += len(rows) * net.train_step(params, state, x[rows], label[rows])
        losses.append(total / N_SAMPLES)
    return losses


def assert_same_bits(one: tuple[Any, Any], other: tuple[Any, Any]) -> None:
    """Parameters and optimizer state are equal to the last bit."""
    for params, state in (one, other):
        assert np.isfinite(params.flat).all()
        assert state.t > 0
    np.testing.assert_array_equal(one[0].flat, other[0].flat)
    for vector, expected in zip(one[1].vectors, other[1].vectors, strict=True):
        np.testing.assert_array_equal(vector, expected)
    assert one[1].t == other[1].t


def test_fit_is_a_loop_of_single_steps() -> None:
    net, params, state = start()
    log = net.fit(params, state, *data(), epochs=3, batch=BATCH, seed=11)
    _, by_hand, state_by_hand = start()
    losses = steps_by_hand(net, by_hand, state_by_hand, 3, 11)
    assert_same_bits((params, state), (by_hand, state_by_hand))
    assert log.loss == pytest.approx(losses, rel=1e-14)
    assert log.steps == state.t == 3 * 5
    assert not log.interrupted
    # The order matters: another one gives other bits.
    _, other, other_state = start()
    net.fit(other, other_state, *data(), epochs=3, batch=BATCH, seed=12)
    assert (other.flat != params.flat).any()


def test_the_same_seed_gives_the_same_bits_and_training_learns() -> None:
    runs = []
    for _ in range(2):
        net, params, state = start(seed=4)
        runs.append(net.fit(params, state, *data(), epochs=40, batch=BATCH, seed=4))
        x, label = data()
        assert (net.predict(params, x).argmax(1) == label).mean() > 0.8
    assert runs[0].loss == runs[1].loss
    assert runs[0].loss[-1] < 0.6 * runs[0].loss[0]


def test_the_last_smaller_batch_is_used() -> None:
    """One epoch in file order: the samples after the last whole batch move the weights as a batch of their own."""
    net, params, state = start()
    x, label = data()
    net.fit(params, state, x, label, batch=BATCH, shuffle=False)
    _, by_hand, state_by_hand = start()
    for first in range(0, N_SAMPLES, BATCH):
        net.train_step(by_hand, state_by_hand, x[first : first + BATCH], label[first : first + BATCH])
    assert_same_bits((params, state), (by_hand, state_by_hand))
    assert state.t == 5
    # A batch of one, and one larger than the data.
    for batch, count in ((1, N_SAMPLES), (1000, 1)):
        _, params, state = start()
        assert net.fit(params, state, x, label, batch=batch).steps == state.t == count


def test_validation_is_logged() -> None:
    net, params, state = start()
    x, label = data()
    log = net.fit(params, state, x, label, epochs=2, batch=BATCH, validation=(x[:9], label[:9]))
    assert log.validation[1] == net.loss(params, x[:9], label[:9])
    assert log.validation[0] != log.validation[1]


def test_ctrl_c_between_epochs_keeps_the_weights() -> None:
    net, params, state = start()
    epochs_seen = []

    def press_ctrl_c() -> float:
        epochs_seen.append(None)
        if len(epochs_seen) == 2:
            signal.raise_signal(signal.SIGINT)
        return 0.0

    log = net.fit(params, state, *data(), epochs=9, batch=BATCH, seed=2, validation=press_ctrl_c)
    assert log.interrupted
    assert log.steps == 2 * 5
    _, by_hand, state_by_hand = start()
    steps_by_hand(net, by_hand, state_by_hand, 2, 2)
    assert_same_bits((params, state), (by_hand, state_by_hand))


@pytest.mark.parametrize("at", [3, 4, 7, 8, 11])
def test_ctrl_c_inside_an_epoch_keeps_whole_steps(at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal is delivered between two operations of Python: here at the reading of a clock."""
    calls = []
    clock = training.time.perf_counter

    def interrupted_clock() -> float:
        calls.append(None)
        if len(calls) == at:
            raise KeyboardInterrupt
        return clock()

    fake = SimpleNamespace(perf_counter=interrupted_clock, monotonic=training.time.monotonic)
    monkeypatch.setattr(training, "time", fake)
    net, params, state = start()
    log = net.fit(params, state, *data(), epochs=9, batch=BATCH, seed=2)
    assert log.interrupted
    assert 0 < state.t < 9 * 5
    _, by_hand, state_by_hand = start()
    steps_by_hand(net, by_hand, state_by_hand, 9, 2, limit=state.t)
    assert_same_bits((params, state), (by_hand, state_by_hand))


def growth() -> Model:
    """A line through logarithms: ``mean((w*x + c - log(t))**2)``."""
    model = Model("growth")
    b = model.axis("b", "batch")
    x, t = model.input("x", b), model.input("t", b)
    w, c = model.parameter("w"), model.parameter("c")
    e = model.define("e[b]", sb.log(t[b]))
    model.loss(sb.mean((w * x[b] + c - e[b]) ** 2, b))
    model.optimizer(Momentum(learning_rate=0.1))
    return model


@pytest.mark.parametrize("wrong", [0.0, -1.0])
def test_a_loss_that_is_not_finite_puts_the_parameters_back(wrong: float) -> None:
    net = compiled(growth(), "growth", "float64")
    x, t = np.linspace(-1.0, 1.0, N_SAMPLES), np.linspace(1.0, 3.0, N_SAMPLES)
    # An epoch on good data; then the third batch of the next goes wrong.
    params, before = net.init(seed=0), net.init(seed=0)
    state, state_before = net.optimizer_state(params), net.optimizer_state(before)
    for p, s in ((params, state), (before, state_before)):
        net.fit(p, s, x, t, epochs=1, batch=BATCH, seed=6)
    order = sample_order(9, 0)
    t[order[2 * BATCH + 3]] = wrong
    with pytest.raises(TrainingError, match=r"epoch 1, step 3 of 5: the loss is (inf|nan)") as error:
        net.fit(params, state, x, t, epochs=2, batch=BATCH, seed=9)
    assert "e[3] is" in str(error.value)  # which equation and which sample of the batch
    assert "the parameters are those before that step" in str(error.value)
    for first in (0, BATCH):
        rows = order[first : first + BATCH]
        net.train_step(before, state_before, x[rows], t[rows])
    assert_same_bits((params, state), (before, state_before))


def test_a_learning_rate_that_is_too_large_is_told() -> None:
    net, params, state = start()
    state.learning_rate = 1e38
    with pytest.raises(TrainingError, match="lower the learning rate"):
        net.fit(params, state, *data(), epochs=50, batch=BATCH)
    assert np.isfinite(params.flat).all()


def test_a_module_with_state_goes_on_where_it_was(tmp_path: Any) -> None:
    """Two epochs, saved, loaded and gone on with for one more are three."""
    net, params, state = start()
    net.fit(params, state, *data(), epochs=1, batch=BATCH, seed=0, shuffle=False)
    net.save(params, tmp_path / "w.safetensors", state)
    again, state_again = net.load(tmp_path / "w.safetensors"), net.load_state(tmp_path / "w.safetensors")
    for one, other in ((params, state), (again, state_again)):
        net.fit(one, other, *data(), epochs=2, batch=BATCH, shuffle=False)
    assert_same_bits((params, state), (again, state_again))


def test_kernels_in_a_users_compiled_code() -> None:
    net, params, _ = start()
    kernels = net.kernels

    @njit  # type: ignore[untyped-decorator]
    def best_loss(candidates, x, label, workspace, p):  # type: ignore[no-untyped-def]
        """The smallest loss among several sets of parameters, and how sure the best is of its first sample."""
        best, at = np.inf, 0
        for n in range(candidates.shape[0]):
            loss = kernels.forward(candidates[n], x, label, workspace)
            if loss < best:
                best, at = loss, n
        kernels.predict_into(candidates[at], x, workspace, p)
        return best, at, p[0].max()

    x, label = data()
    candidates = np.stack([net.init(seed=s).flat for s in range(4)])
    losses = []
    for n in range(4):
        params.flat[:] = candidates[n]
        losses.append(net.loss(params, x, label))
    workspace, p = np.empty(10_000, np.float32), np.empty((N_SAMPLES, 3), np.float32)
    best, at, sure = best_loss(candidates, x, label, workspace, p)
    assert best == pytest.approx(min(losses), rel=1e-6)
    assert at == int(np.argmin(losses))
    params.flat[:] = candidates[at]
    np.testing.assert_allclose(p, net.predict(params, x), rtol=1e-6)
    assert sure == p[0].max()

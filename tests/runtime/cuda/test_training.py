"""Training on a device does the same steps, in the same order, as training on the CPU."""

from __future__ import annotations

import gc
import os
import signal
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numba import cuda

from symbp.check.emulator.device import EmulatedDevice
from symbp.errors import DataError, TrainingError
from symbp.runtime.cuda import device
from symbp.runtime.cuda.array import Device, DeviceArray
from symbp.runtime.cuda.batches import end_step, gather, not_finite
from symbp.runtime.cuda.device import CudaDevice
from symbp.runtime.cuda.kernel import Integers, Kernel, Size, pointer, thread_kernel
from symbp.runtime.cuda.optimizer import start_state
from symbp.runtime.cuda.parameters import upload_parameters
from symbp.runtime.cuda.training import advance, fit_on_device, take
from symbp.runtime.cuda.views import view
from symbp.runtime.optimizer import Optimizer, Setting
from symbp.runtime.parameters import Layout, Parameter
from symbp.runtime.training import TrainingLog, fit_epochs
from tests.runtime.cuda.fake_device import FakeDevice
from tests.runtime.cuda.fake_driver import FakeDriver

Doubles = pointer(np.float64)
LAYOUT = Layout((Parameter("w", (2,)),), np.float64)
RULE = Optimizer("plain", ("m",), (Setting("learning_rate", 0.125, above=0.0),))


@thread_kernel
def learn(  # type: ignore[no-untyped-def]
    x: Doubles,  # type: ignore[valid-type]
    label: Integers,  # type: ignore[valid-type]
    params: Doubles,  # type: ignore[valid-type]
    m: Doubles,  # type: ignore[valid-type]
    numbers: Doubles,  # type: ignore[valid-type]
    count: Integers,  # type: ignore[valid-type]
    loss: Doubles,  # type: ignore[valid-type]
    rows: Size,  # type: ignore[valid-type]
):
    """One thread does a step whose result depends on the order of the samples and on the step's number."""
    point = cuda.grid(1)
    if point >= 1:
        return
    data = view(x, 0, (rows, 3))
    labels = view(label, 0, (rows,))
    total = 0.0
    for row in range(rows):
        total = 0.5 * total + data[row, labels[row]]
    loss[0] = total
    m[0] = 0.75 * m[0] + total * count[0]
    params[0] += numbers[0] * m[0]
    params[1] -= numbers[0] * total


def learn_on_host(x: Any, label: Any, flat: Any, m: Any, numbers: Any, count: Any) -> float:
    """The same step on NumPy arrays."""
    total = 0.0
    for row, column in zip(x, label, strict=True):
        total = 0.5 * total + row[column]
    m[0] = 0.75 * m[0] + total * count[0]
    flat[0] += numbers[0] * m[0]
    flat[1] -= numbers[0] * total
    return total


SAMPLES = 23
X = np.random.default_rng(7).normal(size=(SAMPLES, 3))
LABEL = np.random.default_rng(8).integers(0, 3, SAMPLES)


#: Kernels that were asked for, by what stands for their PTX: several may have one name, each for a dtype of its own.
COMPILED: dict[str, Kernel] = {}


def compiled(kernel: Kernel, cc: tuple[int, int]) -> str:
    text = f"{kernel.name} of {kernel.parameters}"
    COMPILED[text] = kernel
    return text


def gpu() -> CudaDevice:
    return CudaDevice(driver=FakeDriver(kernels=COMPILED))


@pytest.fixture(autouse=True)
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "cached_ptx", compiled)


class Training:
    """A model on a device, as the interface of a generated module sets it up."""

    def __init__(self, device: Device, x: Any = X, label: Any = LABEL) -> None:
        self.device = device
        self.params = upload_parameters(device, LAYOUT.initialise(0))
        self.state = start_state(device, RULE, LAYOUT)
        self.loss = device.empty((1,), np.float64)
        self.inputs = device.upload(x), device.upload(label)
        self.after_step: Callable[[], None] = lambda: None

    def step(self, x: DeviceArray, label: DeviceArray) -> None:
        advance(self.device, self.state.count)
        arguments = (self.params.flat, *self.state.vectors, self.state.numbers, self.state.count, self.loss)
        self.device.launch(learn, 1, x, label, *arguments, x.shape[0])
        self.after_step()

    def fit(self, **options: Any) -> TrainingLog:
        options = {"samples": self.inputs[0].shape[0], "batched": (True, True), **options}
        return fit_on_device(self.device, self.step, self.params, self.state, self.inputs, self.loss, **options)


def fit_on_host(x: Any = X, label: Any = LABEL, **options: Any) -> tuple[TrainingLog, Any, Any]:
    params, state = LAYOUT.initialise(0), RULE.start(LAYOUT)

    def steps(order: Any, batch: int, first: int, last: int, losses: Any) -> None:
        for turn in range(first, last):
            rows = order[turn * batch : (turn + 1) * batch]
            state.count[0] += 1
            losses[turn] = learn_on_host(x[rows], label[rows], params.flat, state.m, state.numbers, state.count)

    return fit_epochs(steps, params, state, len(x), **options), params, state


@pytest.mark.parametrize("make", [FakeDevice, gpu, EmulatedDevice])
@pytest.mark.parametrize(
    "options",
    [
        {"epochs": 3, "batch": 5, "seed": 3},  # a last batch of 3
        {"epochs": 2, "batch": 1},
        {"epochs": 2, "batch": 23},
        {"epochs": 2, "batch": 1000},
        {"epochs": 1, "batch": 11, "shuffle": False},
    ],
)
def test_the_steps_are_those_of_the_cpu(make: Callable[[], Device], options: dict[str, Any]) -> None:
    training = Training(make())
    log = training.fit(**options)
    expected, params, state = fit_on_host(**options)
    assert log.loss == expected.loss
    assert log.steps == expected.steps
    np.testing.assert_array_equal(training.params.flat.to_host(), params.flat)
    np.testing.assert_array_equal(training.state.m.to_host(), state.m)
    assert training.state.t == state.t


def test_one_graph_serves_all_full_batches() -> None:
    device = gpu()
    training = Training(device)
    driver = device._driver
    training.fit(epochs=6, batch=5)
    # A plain run and a capture of the full batch and of the last one; all 26 other steps are replays.
    names = [name for name in driver.log if "learn" in name]
    assert names == ["learn", "captured learn"] * 2
    assert driver.log.count("replay") == 6 * 5 - 2
    # The order goes up once an epoch.
    writes = driver.log.count("write")
    training.fit(epochs=6, batch=23)
    assert driver.log.count("write") - writes == 6 * 2


def test_nothing_of_a_training_is_kept_afterwards() -> None:
    device = gpu()
    training = Training(device)
    training.fit(epochs=2, batch=5)
    assert not device._graphs
    del training
    gc.collect()
    held = sum(len(pointers) for pointers in device._store.values())
    assert held == len(device._driver.pieces) - 1  # all but the scratch of the check of weights


def test_inputs_without_samples_are_passed_whole() -> None:
    training = Training(FakeDevice(), X[:4], LABEL[:4])
    log = training.fit(batched=(False, False), samples=1, epochs=3)
    params, state = LAYOUT.initialise(0), RULE.start(LAYOUT)
    for epoch in range(3):
        state.count[0] += 1
        assert log.loss[epoch] == learn_on_host(X[:4], LABEL[:4], params.flat, state.m, state.numbers, state.count)
    np.testing.assert_array_equal(training.params.flat.to_host(), params.flat)


def test_a_loss_that_is_not_finite_stops_before_its_step() -> None:
    x = X.copy()
    x[13] = np.nan
    training = Training(gpu(), x)
    told = []

    def explain(rows: Any) -> str:
        told.append(rows)
        return "a cause"

    options = {"epochs": 2, "batch": 5, "shuffle": False}
    with pytest.raises(TrainingError) as caught:
        training.fit(**options, explain=explain)
    with pytest.raises(TrainingError) as expected:
        fit_on_host(x, **options, explain=explain)
    ours, theirs = str(caught.value), str(expected.value)
    assert ours.partition(" [")[0] == theirs.partition(" [")[0]
    assert ours.startswith("epoch 1, step 3 of 5: the loss is nan (a cause); the parameters are those before that step")
    assert ours.endswith("[DeviceOptimizerState(plain: learning_rate=0.125; t=2; on a fake GPU)]")
    assert told[0].tolist() == told[1].tolist() == [10, 11, 12, 13, 14]
    before = Training(FakeDevice(), x[:10], LABEL[:10])
    before.fit(epochs=1, batch=5, shuffle=False)
    np.testing.assert_array_equal(training.params.flat.to_host(), before.params.flat.to_host())
    assert training.state.t == 2


def test_a_weight_that_is_not_finite_is_named() -> None:
    training = Training(FakeDevice())
    turns = []

    def spoil() -> None:
        turns.append(1)
        if training.state.t >= 3:
            training.params.w[0] = np.inf

    training.after_step = spoil
    with pytest.raises(TrainingError, match="epoch 1, step 3 of 5: the step leaves values in w that are not finite"):
        training.fit(batch=5)
    assert training.state.t == 2
    assert np.isfinite(training.params.flat.to_host()).all()


def test_validation_progress_and_settings(capsys: pytest.CaptureFixture[str]) -> None:
    training = Training(FakeDevice())
    log = training.fit(epochs=2, batch=5, validation=lambda: training.state.t, progress=True)
    assert log.validation == [5, 10]
    assert capsys.readouterr().err.count("validation") == 2
    with pytest.raises(TrainingError, match="batch: expected a whole number >= 1, found 0"):
        training.fit(batch=0)
    with pytest.raises(TrainingError, match="epochs: expected a whole number >= 1, found 0"):
        training.fit(epochs=0)
    assert training.state.t == 10


def test_ctrl_c_comes_after_a_whole_step() -> None:
    training = Training(FakeDevice())

    def interrupt() -> None:
        # In the middle of the third step's program: its last launches must still be done.
        if training.state.t == 3:
            os.kill(os.getpid(), signal.SIGINT)

    training.after_step = interrupt
    before = signal.getsignal(signal.SIGINT)
    log = training.fit(epochs=4, batch=5, shuffle=False)
    assert signal.getsignal(signal.SIGINT) is before
    assert log.interrupted
    expected = Training(FakeDevice(), X[:15], LABEL[:15])
    expected.fit(epochs=1, batch=5, shuffle=False)
    assert training.state.t == 3
    np.testing.assert_array_equal(training.params.flat.to_host(), expected.params.flat.to_host())


def test_training_in_another_thread() -> None:
    training = Training(FakeDevice())
    thread = threading.Thread(target=training.fit, kwargs={"batch": 5})
    thread.start()
    thread.join()
    np.testing.assert_array_equal(training.params.flat.to_host(), fit_on_host(batch=5)[1].flat)


# -------------------------------------------------------------------------------------------------------- small kernels


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
@pytest.mark.parametrize("shape", [(7,), (7, 1), (7, 3, 5)])
def test_samples_are_taken(shape: tuple[int, ...], dtype: Any) -> None:
    device = FakeDevice()
    values = np.arange(np.prod(shape), dtype=dtype).reshape(shape)
    rows = np.array([6, 0, 0, 3])
    taken = take(device, device.upload(values), rows)
    np.testing.assert_array_equal(taken.to_host(), values[rows])
    order = device.upload(np.array([3, 1, 4, 0, 6, 5, 2]))
    target = device.empty((2, *shape[1:]), dtype)
    gather(device, order, device.upload(np.array([2])), 2, device.upload(values), target)
    np.testing.assert_array_equal(target.to_host(), values[[6, 5]])


def test_samples_of_no_width_and_of_other_dtypes() -> None:
    device = FakeDevice()
    assert take(device, device.zeros((3, 0), np.float32), np.array([1, 2])).shape == (2, 0)
    with pytest.raises(DataError, match="expected float32 or float64 or int64, found uint8"):
        take(device, device.zeros((3,), np.uint8), np.array([1]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_end_of_a_step(dtype: Any) -> None:
    device = FakeDevice()
    losses, step = device.zeros((3,), np.float64), device.upload(np.array([1]))
    end_step(device, device.upload(np.array([0.1], dtype)), losses, step)
    assert losses.to_host().tolist() == [0, float(dtype(0.1)), 0]
    assert int(step) == 2


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [1, 13, 65_536, 65_537])
def test_values_that_are_not_finite_are_counted(size: int, dtype: Any) -> None:
    device = FakeDevice()
    values = np.ones(size, dtype)
    values[0] = np.finfo(dtype).max
    assert not_finite(device, device.upload(values)) == 0
    values[-1] = -np.inf
    assert not_finite(device, device.upload(values)) == 1
    values[: 1 + size // 2] = np.nan
    assert not_finite(device, device.upload(values)) == np.count_nonzero(~np.isfinite(values))

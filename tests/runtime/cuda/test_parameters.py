"""Parameters and optimizer states on a device behave as the CPU's, and change places with them."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from symbp.errors import DataError, DeviceError, TrainingError
from symbp.runtime.checkpoint import load_checkpoint, save_checkpoint
from symbp.runtime.cuda.optimizer import DeviceOptimizerState, check_state, start_state
from symbp.runtime.cuda.parameters import DeviceParameters, upload_parameters, zero_parameters
from symbp.runtime.initializers import Initializer
from symbp.runtime.optimizer import Optimizer, Setting
from symbp.runtime.parameters import Layout, Parameter
from tests.runtime.cuda.fake_device import FakeDevice

LAYOUT = Layout(
    (
        Parameter("W1", (3, 5), Initializer("glorot_uniform", fan_in=3, fan_out=5)),
        Parameter("c", ()),
        Parameter("b", (7,)),
    )
)
ADAM = Optimizer("adam", ("m", "v"), (Setting("learning_rate", 1e-3, above=0.0), Setting("beta1", 0.9, below=1.0)))


@pytest.fixture
def params() -> DeviceParameters:
    return upload_parameters(FakeDevice(), LAYOUT.initialise(3))


# ----------------------------------------------------------------------------------------------------------- parameters


def test_the_values_are_those_of_the_cpu(params: DeviceParameters) -> None:
    host = LAYOUT.initialise(3)
    assert params.to_host() == host
    assert params.flat.shape == (23,)
    for name in host:
        assert params[name].shape == host[name].shape
        np.testing.assert_array_equal(params[name].to_host(), host[name])
    assert list(params) == ["W1", "c", "b"]
    assert len(params) == 3
    assert "b" in params
    assert "b" in dir(params)
    assert params.W1.pointer == params.flat.pointer
    assert params.b.pointer == params.flat[16].pointer


def test_writing_a_parameter_writes_the_flat_array(params: DeviceParameters) -> None:
    params.W1 = np.arange(15, dtype=np.float32).reshape(3, 5)
    params.c = 2.5
    params["b"] = [1, 2, 3, 4, 5, 6, 7]
    expected = [*range(15), 2.5, 1, 2, 3, 4, 5, 6, 7]
    np.testing.assert_array_equal(params.flat.to_host(), np.array(expected, np.float32))
    params.b = params.flat[3:10]
    np.testing.assert_array_equal(params.b.to_host(), range(3, 10))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.zeros((5, 3), np.float32), "parameter 'W1': expected shape (3, 5), found (5, 3)"),
        (np.zeros((3, 5)), "parameter 'W1': expected float32, found float64; convert it on purpose"),
        (np.zeros((3, 5), np.int64), "parameter 'W1': expected float32, found int64"),
        (0.0, "parameter 'W1': expected shape (3, 5), found ()"),
    ],
)
def test_values_that_do_not_fit(params: DeviceParameters, value: Any, text: str) -> None:
    before = params.to_host()
    with pytest.raises(DataError) as caught:
        params.W1 = value
    assert text in str(caught.value)
    assert params.to_host() == before


def test_device_values_that_do_not_fit(params: DeviceParameters) -> None:
    with pytest.raises(DataError, match="parameter 'W1': expected float32, found int64"):
        params.W1 = params.device.zeros((3, 5), np.int64)
    with pytest.raises(DeviceError, match="expected an array on a fake device"):
        params.W1 = FakeDevice().zeros((3, 5), np.float32)


def test_names_that_are_not_there(params: DeviceParameters) -> None:
    with pytest.raises(AttributeError, match=r"no parameter 'W2'; known: W1, b, c"):
        params.W2  # noqa: B018
    with pytest.raises(DataError, match="no parameter 'bb' to set"):
        params.bb = 0
    with pytest.raises(KeyError):
        params["bb"]
    for name in ("flat", "layout", "device"):
        with pytest.raises(DataError, match=f"params.{name} cannot be replaced"):
            setattr(params, name, None)


def test_copies_are_apart(params: DeviceParameters) -> None:
    others = [params.copy(), copy.copy(params), copy.deepcopy(params)]
    before = params.to_host()
    params.b = np.ones(7, np.float32)
    for other in others:
        assert other.to_host() == before
        assert other != params
    assert params.copy() == params
    assert not params.zeros_like().flat.to_host().any()
    assert zero_parameters(params.device, LAYOUT) == params.zeros_like()


def test_the_flat_array_must_fit() -> None:
    device = FakeDevice()
    for wrong in (device.zeros((22,), np.float32), device.zeros((23,), np.float64), device.zeros((23, 2), np.float32)):
        with pytest.raises(DataError, match="flat parameters: expected a contiguous array of 23 float32"):
            DeviceParameters(LAYOUT, wrong)


def test_the_text_of_parameters(params: DeviceParameters) -> None:
    lines = repr(params).splitlines()
    assert lines[0] == "DeviceParameters: 23 numbers of float32, on a fake device"
    assert lines[1:] == repr(params.to_host()).splitlines()[1:]


# ------------------------------------------------------------------------------------------------------ optimizer state


def test_a_state_starts_as_the_cpus() -> None:
    state = start_state(FakeDevice(), ADAM, LAYOUT, learning_rate=0.5)
    host = ADAM.start(LAYOUT, learning_rate=0.5)
    assert list(state.arrays()) == list(host.arrays())
    for name, array in host.arrays().items():
        assert state.arrays()[name].dtype == array.dtype
        np.testing.assert_array_equal(state.arrays()[name], array)
    assert (state.learning_rate, state.beta1, state.t) == (0.5, 0.9, 0)
    assert [vector.shape for vector in state.vectors] == [(23,), (23,)]
    assert repr(state) == "DeviceOptimizerState(adam: learning_rate=0.5, beta1=0.9; t=0; on a fake device)"
    assert "learning_rate" in dir(state)


def test_settings_are_uploaded_at_once() -> None:
    state = start_state(FakeDevice(), ADAM, LAYOUT)
    state.learning_rate = 1e-4
    state.t = 12
    np.testing.assert_array_equal(state.numbers.to_host(), [1e-4, 0.9])
    assert state.count.to_host().tolist() == [12]
    assert state.t == 12
    with pytest.raises(TrainingError, match="learning_rate: expected a finite number > 0, found -1"):
        state.learning_rate = -1
    with pytest.raises(TrainingError, match="has no setting 'rate'"):
        state.rate = 1
    with pytest.raises(TrainingError, match=r"state\.m cannot be replaced"):
        state.m = 0
    with pytest.raises(TrainingError, match="t: expected a number of steps"):
        state.t = -1
    with pytest.raises(TrainingError, match="has no setting 'momentum'"):
        start_state(FakeDevice(), ADAM, LAYOUT, momentum=0.5)
    with pytest.raises(AttributeError, match=r"optimizer 'adam' has no 'learning_rat'; did you mean 'learning_rate'"):
        state.learning_rat  # noqa: B018
    np.testing.assert_array_equal(state.numbers.to_host(), [1e-4, 0.9])


def test_the_count_is_that_of_the_device() -> None:
    state = start_state(FakeDevice(), ADAM, LAYOUT)
    state.count[...] = 5  # as kernels count
    state.learning_rate = 0.5
    assert state.t == 5


def test_a_state_is_restored_from_the_cpus() -> None:
    host = ADAM.start(LAYOUT, learning_rate=0.25)
    host.m[:] = np.arange(23)
    host.t = 4
    state = start_state(FakeDevice(), ADAM, LAYOUT)
    state.restore(host.arrays())
    assert (state.learning_rate, state.t) == (0.25, 4)
    np.testing.assert_array_equal(state.m.to_host(), np.arange(23))
    np.testing.assert_array_equal(state.numbers.to_host(), [0.25, 0.9])
    back = state.to_host()
    for name, array in host.arrays().items():
        np.testing.assert_array_equal(back.arrays()[name], array)
    wrong = {**host.arrays(), "optimizer.settings": np.array([-1.0, 0.9]), "optimizer.m": np.ones(23, np.float32)}
    with pytest.raises(TrainingError, match="learning_rate"):
        state.restore(wrong)
    np.testing.assert_array_equal(state.m.to_host(), np.arange(23))
    assert state.learning_rate == 0.25


def test_copies_of_states_are_apart() -> None:
    state = start_state(FakeDevice(), ADAM, LAYOUT)
    others = [state.copy(), copy.copy(state), copy.deepcopy(state)]
    state.learning_rate, state.t = 0.5, 3
    state.m[...] = np.ones(23, np.float32)
    for other in others:
        assert (other.learning_rate, other.t, float(other.m[0])) == (1e-3, 0, 0)
        assert other.numbers.to_host()[0] == 1e-3


def test_states_are_checked(params: DeviceParameters) -> None:
    check_state(ADAM, start_state(params.device, ADAM, LAYOUT), params)
    sgd = Optimizer("sgd", (), (Setting("learning_rate", 0.1),))
    for wrong, found in (
        (start_state(params.device, sgd, LAYOUT), "that of 'sgd'"),
        (ADAM.start(LAYOUT), "one in the host's memory"),
        (None, "a NoneType"),
    ):
        with pytest.raises(TrainingError) as caught:
            check_state(ADAM, wrong, params)
        assert str(caught.value) == (
            f"state: expected the state of 'adam', found {found}; make it with optimizer_state()"
        )
    with pytest.raises(TrainingError, match="state: expected it on a fake device, with the parameters"):
        check_state(ADAM, start_state(FakeDevice(), ADAM, LAYOUT), params)


def test_a_state_without_vectors() -> None:
    sgd = Optimizer("sgd", (), (Setting("learning_rate", 0.1),))
    state = start_state(FakeDevice(), sgd, LAYOUT)
    assert state.vectors == ()
    assert state.copy().learning_rate == 0.1
    assert state.to_host().learning_rate == 0.1


def test_files_change_places_with_the_cpus(params: DeviceParameters, tmp_path: Path) -> None:
    state = start_state(params.device, ADAM, LAYOUT, learning_rate=0.5)
    state.v[...] = np.arange(23, dtype=np.float32)
    path = tmp_path / "w.safetensors"
    save_checkpoint(path, {**params.to_host(), **state.arrays()}, spec_hash="abc")
    arrays = load_checkpoint(path, {**LAYOUT.shapes(), **ADAM.shapes(LAYOUT)}, spec_hash="abc")
    fresh = start_state(params.device, ADAM, LAYOUT)
    fresh.restore(arrays)
    host = ADAM.start(LAYOUT)
    host.restore(arrays)
    for name, array in host.arrays().items():
        np.testing.assert_array_equal(fresh.arrays()[name], array)
    assert isinstance(fresh, DeviceOptimizerState)
    np.testing.assert_array_equal(arrays["W1"], params.W1.to_host())

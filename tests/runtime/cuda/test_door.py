"""What comes in by the door of a CUDA module: the CPU's checks, and arrays that lie on the device already."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from symbp.errors import DataError, DeviceError, ShapeError
from symbp.runtime.cuda.array import DeviceArray
from symbp.runtime.cuda.door import DeviceDoor
from symbp.runtime.cuda.parameters import DeviceParameters, upload_parameters, zero_parameters
from symbp.runtime.door import Input, Linear, Requirement
from symbp.runtime.interface import Door
from symbp.runtime.parameters import Layout, Parameter
from tests.runtime.cuda.fake_device import FakeDevice

LAYOUT = Layout((Parameter("W", (3, 5)),))
INPUTS = (
    Input("x", ("n_batch", 3)),
    Input("label", ("n_batch",), "int", below=5),
    Input("scale", ()),
)
X = np.arange(21, dtype=np.float32).reshape(7, 3)
LABEL = np.array([0, 4, 2, 1, 3, 0, 4])


@pytest.fixture
def door() -> DeviceDoor:
    return DeviceDoor(LAYOUT, INPUTS)


@pytest.fixture
def params() -> DeviceParameters:
    return upload_parameters(FakeDevice(), LAYOUT.initialise(0))


def test_numpy_arrays_are_copied_over(door: DeviceDoor, params: DeviceParameters) -> None:
    device, flat, (x, label, scale), sizes = door.enter(params, x=X[:, ::-1], label=LABEL.astype(np.uint8), scale=2.5)
    assert device is params.device
    assert flat is params.flat
    assert sizes == {"n_batch": 7}
    np.testing.assert_array_equal(x.to_host(), X[:, ::-1])
    np.testing.assert_array_equal(label.to_host(), LABEL)
    assert (x.dtype, label.dtype, scale.shape, float(scale)) == (np.float32, np.int64, (), 2.5)
    assert x.contiguous


def test_uploads_go_to_the_same_place_again(door: DeviceDoor, params: DeviceParameters) -> None:
    first = door.enter(params, x=X, label=LABEL)[2]
    assert isinstance(params.device, FakeDevice)
    params.device.calls.clear()
    second = door.enter(params, x=X + 1, label=LABEL)[2]
    smaller = door.stage(params, x=X[:3], label=LABEL[:3])[2]
    assert [a.pointer for a in first] == [a.pointer for a in second] == [a.pointer for a in smaller]
    assert smaller[0].shape == (3, 3)
    assert set(params.device.calls) == {"write"}
    other = DeviceDoor(LAYOUT, INPUTS).enter(params, x=X, label=LABEL)[2]
    assert other[0].pointer != first[0].pointer


def test_device_arrays_are_used_where_they_are(door: DeviceDoor, params: DeviceParameters) -> None:
    x, label = params.device.upload(X), params.device.upload(LABEL)
    entered = door.enter(params, x=x, label=label)[2]
    assert entered[0] is x
    assert entered[1] is label
    mixed = door.enter(params, x=x, label=LABEL)
    assert mixed[2][0] is x
    assert mixed[3] == {"n_batch": 7}


def test_staged_arrays_are_copied_to_the_same_place(door: DeviceDoor, params: DeviceParameters) -> None:
    place = door.stage(params, x=X)[2][0].pointer
    for turn in range(3):
        staged = door.stage(params, x=params.device.upload(X + turn))[2][0]
        assert staged.pointer == place
        np.testing.assert_array_equal(staged.to_host(), X + turn)


def test_loaded_arrays_are_apart(door: DeviceDoor, params: DeviceParameters) -> None:
    (x, label) = door.load(params, x=X, label=params.device.upload(LABEL.astype(np.int32)))[2]
    door.enter(params, x=X + 1, label=np.zeros(7, np.int64))
    door.enter(params, x=X, label=params.device.upload(np.zeros(7, np.int32)))
    np.testing.assert_array_equal(x.to_host(), X)
    np.testing.assert_array_equal(label.to_host(), LABEL)


@pytest.mark.parametrize("way", ["enter", "stage", "load"])
def test_whole_numbers_of_32_bits_are_widened(door: DeviceDoor, params: DeviceParameters, way: str) -> None:
    given = params.device.upload(LABEL.astype(np.int32))
    label = getattr(door, way)(params, x=X, label=given)[2][1]
    assert label.dtype == np.int64
    np.testing.assert_array_equal(label.to_host(), LABEL)


# The same arrays are refused in the same words whether NumPy holds them or the device.
WRONG: list[tuple[dict[str, Any], type[Exception]]] = [
    ({"x": X[:, :2], "label": LABEL}, ShapeError),
    ({"x": X[0], "label": LABEL}, ShapeError),
    ({"x": X, "label": LABEL[:4]}, ShapeError),
    ({"x": X[:0], "label": LABEL[:0]}, DataError),
    ({"x": X, "label": LABEL + 1}, DataError),
    ({"x": X, "label": LABEL - 1}, DataError),
    ({"x": X, "label": np.where(LABEL == 2, 77, LABEL)}, DataError),
]


@pytest.mark.parametrize(("arrays", "error"), WRONG)
def test_wrong_arrays_are_refused_in_the_words_of_the_cpu(
    door: DeviceDoor, params: DeviceParameters, arrays: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error) as expected:
        Door(LAYOUT, INPUTS).enter(LAYOUT.zeros(), **arrays)
    with pytest.raises(error) as found:
        door.enter(params, **arrays)
    assert str(found.value) == str(expected.value)
    with pytest.raises(error) as found:
        door.enter(params, **{name: params.device.upload(array) for name, array in arrays.items()})
    assert str(found.value) == str(expected.value)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (lambda d: d.upload(X.astype(np.float64)), "input 'x': expected float32, found float64; convert it on purpose"),
        (lambda d: d.upload(LABEL), "input 'x': expected float32, found int64"),
        (lambda d: d.upload(X.T.copy()).T, "input 'x': expected a C-contiguous array, found shape (7, 3) with strides"),
        (lambda d: FakeDevice().upload(X), "input 'x': expected an array on a fake device, found one on a fake device"),
        (lambda d: np.full((7, 3), np.nan, np.float32), "input 'x': expected finite numbers in float32, found nan"),
    ],
)
def test_arrays_that_kernels_cannot_take(door: DeviceDoor, params: DeviceParameters, given: Any, text: str) -> None:
    with pytest.raises((DataError, DeviceError)) as caught:
        door.enter(params, x=given(params.device), label=LABEL)
    assert str(caught.value).startswith(text)


def test_integers_of_other_widths_are_refused(door: DeviceDoor, params: DeviceParameters) -> None:
    with pytest.raises(DataError, match="input 'label': expected int64, found int16; convert it on purpose: label"):
        door.enter(params, x=X, label=params.device.upload(LABEL.astype(np.int16)))


class OnAnother:
    """An array of a library on a device that is not ours."""

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, 3


def test_arrays_of_other_libraries_elsewhere(door: DeviceDoor, params: DeviceParameters) -> None:
    with pytest.raises(DeviceError) as caught:
        door.enter(params, x=OnAnother(), label=LABEL)
    assert str(caught.value).startswith("input 'x': expected a NumPy array or one on a fake device, found ")
    assert "OnAnother" in str(caught.value)


def test_a_tensor_of_the_cpu_is_read_by_numpy(door: DeviceDoor, params: DeviceParameters) -> None:
    torch = pytest.importorskip("torch")
    (x, _) = door.enter(params, x=torch.from_numpy(X), label=LABEL)[2]
    np.testing.assert_array_equal(x.to_host(), X)


def test_requirements_and_sizes_that_depend_on_others(params: DeviceParameters) -> None:
    inputs = (Input("x", ("n_time",)), Input("h", (Linear("n_time + 1", (("n_time", 1),), 1),)))
    door = DeviceDoor(LAYOUT, inputs, (Requirement("n_time >= 3", (("n_time", 1),), -3),))
    upload = params.device.upload
    ones = [np.ones(n, np.float32) for n in range(8)]
    assert door.enter(params, x=upload(ones[3]), h=upload(ones[4]))[3] == {"n_time": 3}
    with pytest.raises(ShapeError, match=r"input 'h': expected n_time \+ 1 = 5 on axis 0"):
        door.enter(params, x=upload(ones[4]), h=upload(ones[4]))
    with pytest.raises(ShapeError, match="the model needs n_time >= 3, found n_time = 2"):
        door.enter(params, x=upload(ones[2]), h=ones[3])


def test_the_range_of_many_numbers_is_checked(params: DeviceParameters) -> None:
    door = DeviceDoor(LAYOUT, (Input("tokens", ("n",), "int", below=2**31),))
    device = params.device
    values = np.full(66_000, 2**31 - 1, np.int64)
    door.enter(params, tokens=device.upload(values))
    values[[65_999, 65_537]] = -1, 2**31
    with pytest.raises(DataError, match=r"found 2147483648 at tokens\[65537\] \(2 such values\)"):
        door.enter(params, tokens=device.upload(values))


def test_parameters_of_others_are_refused(door: DeviceDoor, params: DeviceParameters) -> None:
    other = zero_parameters(params.device, Layout((Parameter("V", (2,)),)))
    for wrong, found in (
        (other, "those of another model (V)"),
        (LAYOUT.zeros(), "those of the CPU"),
        (np.zeros(15), "ndarray"),
    ):
        with pytest.raises(DataError) as caught:
            door.enter(wrong, x=X)  # type: ignore[arg-type]
        assert str(caught.value) == (
            f"params: expected the parameters of this module (W), found {found}; make them with init() or load()"
        )


def test_validation_data(door: DeviceDoor, params: DeviceParameters) -> None:
    found = door.validation(params, (X, LABEL), "x", "label")
    assert all(isinstance(array, DeviceArray) for array in found)
    np.testing.assert_array_equal(found[0].to_host(), X)
    with pytest.raises(DataError, match=r"validation: expected 2 arrays \(x, label\) or a callable, found 1"):
        door.validation(params, [X], "x", "label")
    with pytest.raises(DataError, match=r"validation: expected 2 arrays .* found ndarray"):
        door.validation(params, X, "x", "label")
    with pytest.raises(DataError, match="expected 0 to 4, found 9"):
        door.validation(params, (X, LABEL * 0 + 9), "x", "label")

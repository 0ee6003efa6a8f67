"""Device arrays against NumPy arrays: the same indices give the same elements."""

from __future__ import annotations

import copy
import gc
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from symbp.errors import DataError, DeviceError, ShapeError
from symbp.runtime.cuda import dlpack
from symbp.runtime.cuda.array import DeviceArray, capture_key
from symbp.runtime.cuda.windows import c_strides
from tests.runtime.cuda.fake_device import FakeDevice, values_of


def numbered(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    return np.arange(np.prod(shape, dtype=int), dtype=dtype).reshape(shape)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
@pytest.mark.parametrize("shape", [(), (1,), (7,), (3, 5), (2, 1, 7), (0,), (3, 0, 2)])
def test_what_goes_up_comes_down(shape: tuple[int, ...], dtype: Any) -> None:
    values = numbered(*shape, dtype=dtype)
    array = FakeDevice().upload(values)
    assert (array.shape, array.ndim, array.size, array.nbytes) == (shape, values.ndim, values.size, values.nbytes)
    assert array.contiguous
    back = array.to_host()
    assert back.dtype == values.dtype
    assert back.shape == shape
    np.testing.assert_array_equal(back, values)
    np.testing.assert_array_equal(np.asarray(array), values)


def test_a_strided_source_is_uploaded_in_order() -> None:
    values = numbered(4, 6)[::2, ::-3].T
    np.testing.assert_array_equal(FakeDevice().upload(values).to_host(), values)


@st.composite
def shape_and_key(draw: st.DrawFn) -> tuple[tuple[int, ...], Any]:
    shape = tuple(draw(st.lists(st.integers(1, 5), min_size=1, max_size=4)))
    key: list[Any] = []
    for extent in shape[: draw(st.integers(0, len(shape)))]:
        if draw(st.booleans()):
            key.append(draw(st.integers(-extent, extent - 1)))
        else:
            bound = st.none() | st.integers(-extent - 2, extent + 2)
            key.append(slice(draw(bound), draw(bound)))
    if draw(st.booleans()):
        key.insert(draw(st.sampled_from([0, len(key)])), ...)
        # Dots in front stand for the axes before the others, which may then be shorter.
        if key[0] is ...:
            key = [..., *(slice(None) if isinstance(part, slice) else 0 for part in key[1:])]
    return shape, tuple(key)


@given(shape_and_key(), st.booleans())
def test_indices_are_those_of_numpy(case: tuple[tuple[int, ...], Any], turned: bool) -> None:
    shape, key = case
    values = numbered(*shape)
    array = FakeDevice().upload(values)
    if turned:
        values, array = values.T, array.T
        key = () if len(key) == 0 else (..., 0)
    expected = values[key]
    found = array[key]
    assert found.shape == np.shape(expected)
    np.testing.assert_array_equal(found.to_host(), expected)


def test_a_window_points_at_its_first_element() -> None:
    array = FakeDevice().upload(numbered(3, 4, 5))
    window = array[1:, 2, -3:]
    assert window.pointer == array.pointer + 4 * (20 + 10 + 2)
    assert window.strides == (20, 1)
    assert not window.contiguous
    assert array[1].contiguous
    assert array[:, :1, :].contiguous is False
    assert array[2:3, 1:3].contiguous
    assert window.copy().contiguous
    np.testing.assert_array_equal(window.copy().to_host(), numbered(3, 4, 5)[1:, 2, -3:])


@pytest.mark.parametrize(
    ("key", "text"),
    [
        (3, "index 3 is out of range for an axis of 3"),
        (-4, "index -4 is out of range for an axis of 3"),
        ((0, 0, 0), "expected at most 2 indices, found (0, 0, 0)"),
        (slice(None, None, 2), "expected slices of step 1"),
        (1.0, "expected whole numbers and slices, found 1.0"),
        (True, "expected whole numbers and slices, found True"),
        ((..., 0, ...), "expected at most 2 indices"),
    ],
)
def test_wrong_indices(key: Any, text: str) -> None:
    with pytest.raises(IndexError) as caught:
        FakeDevice().zeros((3, 4), np.float32)[key]
    assert text in str(caught.value)


def test_an_array_is_iterated_by_rows() -> None:
    rows = [row.to_host().tolist() for row in FakeDevice().upload(numbered(2, 3))]
    assert rows == [[0, 1, 2], [3, 4, 5]]
    with pytest.raises(TypeError, match="has no length"):
        len(FakeDevice().zeros((), np.float32))


def test_views_and_reshapes() -> None:
    array = FakeDevice().upload(numbered(24))
    np.testing.assert_array_equal(array.view(4, (2, 3)).to_host(), numbered(24)[4:10].reshape(2, 3))
    np.testing.assert_array_equal(array[6:].view(4, (2, 3)).to_host(), numbered(24)[10:16].reshape(2, 3))
    assert array.reshape(2, 3, 4).shape == array.reshape((2, 3, 4)).shape == array.reshape(2, -1, 4).shape
    assert array.view(24, (0, 3)).size == 0
    cube = array.reshape(2, 3, 4)
    assert cube.transpose(2, 0, 1).shape == (4, 2, 3)
    np.testing.assert_array_equal(cube.transpose((2, 0, 1)).to_host(), numbered(2, 3, 4).transpose(2, 0, 1))
    with pytest.raises(ShapeError, match="expected a window inside 24 elements, found \\(5, 5\\) from 0 on"):
        array.view(0, (5, 5))
    with pytest.raises(ShapeError, match="expected a window inside 24 elements"):
        array.view(-1, (2,))
    with pytest.raises(ShapeError, match="cannot reshape 24 elements"):
        array.reshape(5, 5)
    with pytest.raises(ShapeError, match="cannot reshape 24 elements"):
        array.reshape(-1, 5)
    with pytest.raises(ShapeError, match="expected each of 3 axes once"):
        cube.transpose(0, 0, 1)
    for refused in (lambda: cube.T.view(0, (4,)), lambda: cube.T.reshape(24)):
        with pytest.raises(DeviceError, match=r"expected a contiguous array, found shape \(4, 3, 2\)"):
            refused()


def test_assignment() -> None:
    device = FakeDevice()
    array = device.zeros((3, 4), np.float32)
    array[1] = numbered(4)
    array[0, 2] = 5
    array[2] = [1, 2, 3, 4]
    expected = [[0, 0, 5, 0], [0, 1, 2, 3], [1, 2, 3, 4]]
    np.testing.assert_array_equal(array.to_host(), expected)
    array[0] = array[2]
    array[1] = device.upload(numbered(4, 2))[:, 1]
    np.testing.assert_array_equal(array.to_host(), [[1, 2, 3, 4], [1, 3, 5, 7], [1, 2, 3, 4]])
    array[...] = 0.5
    assert (array.to_host() == 0.5).all()
    with pytest.raises(ShapeError, match=r"expected values of shape \(4,\), found \(3,\)"):
        array[0] = numbered(3)
    with pytest.raises(DataError, match="expected float32, found float64; convert it on purpose"):
        array[0] = numbered(4, dtype=np.float64)
    with pytest.raises(DataError, match="expected float32, found int64"):
        array[0] = device.upload(numbered(4, dtype=np.int64))
    with pytest.raises(DeviceError, match="assignment to a window: expected a contiguous array"):
        array[:, 0] = numbered(3)


def test_one_element_is_a_number() -> None:
    array = FakeDevice().upload(np.array([2.5], np.float32))
    assert float(array) == array.item() == float(array[0]) == 2.5
    assert int(array) == 2
    assert bool(array) is True
    assert bool(FakeDevice().zeros((1,), np.float32)) is False
    with pytest.raises(ShapeError, match=r"expected one element, found shape \(2,\)"):
        float(FakeDevice().zeros((2,), np.float32))


def test_copies_are_apart() -> None:
    array = FakeDevice().upload(numbered(5))
    copies = [array.copy(), copy.copy(array), copy.deepcopy(array)]
    array[...] = 0
    for other in copies:
        np.testing.assert_array_equal(other.to_host(), numbered(5))
    assert FakeDevice().zeros((0, 3), np.int64).copy().shape == (0, 3)


def test_numpy_takes_a_copy_only() -> None:
    array = FakeDevice().upload(numbered(3))
    assert np.asarray(array, np.float64).dtype == np.float64
    with pytest.raises(ValueError, match="only as a copy"):
        np.array(array, copy=False)


def test_strides() -> None:
    assert c_strides(()) == ()
    assert c_strides((5,)) == (1,)
    assert c_strides((3, 4, 5)) == (20, 5, 1)
    assert DeviceArray(FakeDevice().allocate(240), 0, (3, 4, 5), None, np.float32).strides == (20, 5, 1)


# --------------------------------------------------------------------------------------------- other libraries


def test_dlpack_lends_memory_without_a_copy() -> None:
    array = FakeDevice().upload(numbered(3, 4))
    borrowed = np.from_dlpack(array[1:, 1:3])
    np.testing.assert_array_equal(borrowed, numbered(3, 4)[1:, 1:3])
    values_of(array)[1, 1] = 99
    assert borrowed[0, 0] == 99
    assert "synchronise" in array.device.calls  # type: ignore[attr-defined]


def test_dlpack_copies_where_it_is_asked_to() -> None:
    array = FakeDevice().upload(numbered(3, 4))
    found = dlpack.read_capsule(array.__dlpack__(copy=True), None)
    assert found.pointer != array.pointer
    assert dlpack.read_capsule(array.__dlpack__(copy=False), None).pointer == array.pointer
    assert dlpack.read_capsule(array.__dlpack__(dl_device=(dlpack.CPU, 0)), None).pointer == array.pointer
    with pytest.raises(BufferError, match="the array lies on a fake device"):
        array.__dlpack__(dl_device=(dlpack.CUDA, 0))


def test_dlpack_keeps_memory_alive_while_it_is_lent_and_no_longer() -> None:
    lent = len(dlpack._lent)
    array = FakeDevice().upload(numbered(1000))
    borrowed = np.from_dlpack(array)
    del array
    gc.collect()
    np.testing.assert_array_equal(borrowed, numbered(1000))
    assert len(dlpack._lent) == lent + 1
    del borrowed
    gc.collect()
    assert len(dlpack._lent) == lent


def test_a_capsule_that_nobody_takes_is_cleared_away() -> None:
    lent = len(dlpack._lent)
    capsule = FakeDevice().upload(numbered(4)).__dlpack__()
    assert len(dlpack._lent) == lent + 1
    del capsule
    gc.collect()
    assert len(dlpack._lent) == lent


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.int32, np.uint8])
def test_a_capsule_of_numpy_is_read(dtype: Any) -> None:
    values = numbered(4, 6, dtype=dtype)[1:, ::2]
    found = dlpack.read_capsule(values.__dlpack__(), values)
    assert (found.shape, found.dtype, found.device) == ((3, 3), np.dtype(dtype), (dlpack.CPU, 0))
    assert found.strides == (6, 2)
    assert found.pointer == values.ctypes.data


def test_pytorch_and_ours_read_each_other() -> None:
    torch = pytest.importorskip("torch")
    array = FakeDevice().upload(numbered(3, 4))
    tensor = torch.from_dlpack(array)
    np.testing.assert_array_equal(tensor.numpy(), numbered(3, 4))
    tensor[0, 0] = 7
    assert float(array[0, 0]) == 7
    turned = tensor.T
    found = dlpack.read_capsule(turned.__dlpack__(), turned)
    assert (found.shape, found.strides, found.pointer) == ((4, 3), (1, 4), turned.data_ptr())
    half = torch.zeros(3, dtype=torch.bfloat16)
    with pytest.raises(DataError, match="expected numbers of a NumPy dtype, found DLPack type 4 of 16 bits"):
        dlpack.read_capsule(half.__dlpack__(), half)


def test_a_capsule_is_read_once_only() -> None:
    capsule = numbered(3).__dlpack__()

    class Once:
        def __dlpack__(self, **_: Any) -> Any:
            return capsule

        def __dlpack_device__(self) -> tuple[int, int]:
            return dlpack.CPU, 0

    np.from_dlpack(Once())
    with pytest.raises(DataError, match="has not been taken"):
        dlpack.read_capsule(capsule, None)


def test_memory_of_numpy_is_not_passed_off_as_that_of_a_gpu() -> None:
    array = FakeDevice().zeros((3,), np.float32)
    assert not hasattr(array, "__cuda_array_interface__")
    assert array.__dlpack_device__() == (dlpack.CPU, 0)


def test_the_cuda_array_interface() -> None:
    device = FakeDevice()
    device.dlpack_device = (dlpack.CUDA, 0)
    array = device.upload(numbered(3, 4))
    given = array.__cuda_array_interface__
    assert given == {
        "version": 3, "shape": (3, 4), "strides": None, "typestr": "<f4", "data": (array.pointer, False),
        "stream": None,
    }  # fmt: skip
    assert device.calls[-1] == "synchronise"
    assert array[:, 1:].__cuda_array_interface__["strides"] == (16, 4)
    assert device.zeros((0, 3), np.int64).__cuda_array_interface__["data"] == (0, False)


# ------------------------------------------------------------------------------------------------------ device


def test_scratch_is_kept_and_grows() -> None:
    device = FakeDevice()
    small = device.scratch("workspace", 10, np.float32)
    assert small.shape == (10,)
    assert device.scratch("workspace", 7, np.float32).pointer == small.pointer
    assert device.scratch("other", 7, np.float32).pointer != small.pointer
    assert device.scratch("workspace", 7, np.float64).pointer != small.pointer
    count = len(device.calls)
    assert device.scratch("workspace", 20, np.float32).shape == (20,)
    assert device.scratch("workspace", 10, np.float32).shape == (10,)
    assert len(device.calls) == count + 1


def test_wrapping() -> None:
    device, other = FakeDevice(), FakeDevice()
    array = device.zeros((3,), np.float32)
    assert device.wrap(array) is array
    with pytest.raises(DeviceError, match="expected an array on a fake device, found one on a fake device"):
        other.wrap(array)
    with pytest.raises(DeviceError, match=r"expected a NumPy array or one on a fake device, found builtins\.list"):
        device.wrap([1.0])


def test_the_key_of_a_program_tells_arrays_by_their_place() -> None:
    device = FakeDevice()
    array = device.zeros((4, 4), np.float32)
    assert capture_key(["step", array, 3]) == capture_key(["step", array[:], 3])
    assert hash(capture_key(["step", array, 3])) == hash(capture_key(["step", array, 3]))
    for other in (array[1:], array.T, array.copy(), array.reshape(16), array.reshape(2, 8)):
        assert capture_key([array]) != capture_key([other])


def test_the_text_of_an_array() -> None:
    assert repr(FakeDevice().zeros((3, 1), np.float32)) == "DeviceArray(shape (3, 1), float32, on a fake device)"

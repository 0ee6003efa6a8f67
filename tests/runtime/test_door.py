"""The check at the door: what is accepted, what is refused, and with which words."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numba import typeof

from symbp.errors import DataError, ShapeError, SymbpError
from symbp.runtime.door import Input, Linear, Requirement, check_inputs, check_output

X = Input("x", ("n_batch", 3))
LABEL = Input("label", ("n_batch",), "int", below=3)


def enter(x: Any, label: Any, dtype: type = np.float32) -> tuple[np.ndarray, np.ndarray]:
    (checked, labels), _ = check_inputs((X, LABEL), (x, label), dtype)
    return checked, labels


def data(n_batch: int = 4) -> np.ndarray:
    return np.arange(3 * n_batch, dtype=np.float32).reshape(n_batch, 3)


def test_right_arrays_pass_as_they_are() -> None:
    x, label = data(), np.array([0, 1, 2, 0])
    arrays, sizes = check_inputs((X, LABEL), (x, label), np.float32)
    assert arrays[0] is x
    assert arrays[1] is label
    assert sizes == {"n_batch": 4}


REFUSED: list[tuple[Callable[[], tuple[Any, Any]], type[SymbpError], str]] = [
    (
        lambda: (data(), np.array([0, 5000, 2, 0])),
        DataError,
        "input 'label': expected 0 to 2, found 5000 at label[1]",
    ),
    (lambda: (data(), np.array([0, 1, 2, -1])), DataError, "input 'label': expected 0 to 2, found -1 at label[3]"),
    (
        lambda: (data(), np.array([1, 2, 3, 3])),
        DataError,
        "input 'label': expected 0 to 2, found 3 at label[2] (2 such values); number the classes from 0",
    ),
    (
        lambda: (data(), np.array([0.0, 1.0, 2.0, 0.0])),
        DataError,
        "input 'label': expected whole numbers (any integer dtype), found float64; "
        "convert it on purpose: label.astype(np.int64)",
    ),
    (
        lambda: (data(), [0, 1.5, 2, 0]),
        DataError,
        "input 'label': expected whole numbers (any integer dtype), found a Python list of float64; "
        "convert it on purpose: label.astype(np.int64)",
    ),
    (
        lambda: (data(), np.array([True, False, True, True])),
        DataError,
        "input 'label': expected whole numbers (any integer dtype), found bool; "
        "convert it on purpose: label.astype(np.int64)",
    ),
    (
        lambda: (data(), np.array([0, 2**63, 2, 0], np.uint64)),
        DataError,
        "input 'label': expected numbers below 2^63, found 9223372036854775808",
    ),
    (
        lambda: (data(0), np.zeros(0, int)),
        DataError,
        "input 'x': expected n_batch >= 1 on axis 0, found an empty array: (0, 3)",
    ),
    (
        lambda: ([[0, 1, 2]], []),
        DataError,
        "input 'label': expected n_batch >= 1 on axis 0, found an empty array: (0,)",
    ),
    (
        lambda: (np.array([[1, 2, np.nan]], np.float32), [0]),
        DataError,
        "input 'x': expected finite numbers in float32, found nan at x[0, 2]; "
        "clean or scale the data, or declare the input with finite = false",
    ),
    (
        lambda: (np.array([[np.inf, 2, -np.inf]], np.float32), [0]),
        DataError,
        "input 'x': expected finite numbers in float32, found inf at x[0, 0] (2 such values); "
        "clean or scale the data, or declare the input with finite = false",
    ),
    (
        lambda: ([[1e300, 0.0, 0.0]], [0]),
        DataError,
        "input 'x': expected finite numbers in float32, found inf at x[0, 0]; "
        "clean or scale the data, or declare the input with finite = false",
    ),
    (
        lambda: (data().astype(np.complex64), [0, 0, 0, 0]),
        DataError,
        "input 'x': expected float32, found complex64; split it: x.real, x.imag",
    ),
    (
        lambda: (data().astype(np.float16), [0, 0, 0, 0]),
        DataError,
        "input 'x': expected float32, found float16; convert it on purpose: x.astype(np.float32)",
    ),
    (
        lambda: (data().astype(">f4"), [0, 0, 0, 0]),
        DataError,
        "input 'x': expected float32, found float32 in foreign byte order (>f4); "
        'convert it on purpose: x.astype(x.dtype.newbyteorder("="))',
    ),
    (
        lambda: (data().astype(object), [0, 0, 0, 0]),
        DataError,
        "input 'x': expected float32, found Python objects; convert it on purpose: np.asarray(x, np.float32)",
    ),
    (
        lambda: (np.ma.masked_greater(data(), 9), [0, 0, 0, 0]),
        DataError,
        "input 'x': expected a plain array, found a masked array (2 of 12 masked); "
        "fill or drop what is masked: x.filled(value)",
    ),
    (
        lambda: (data().astype(np.longdouble), [0, 0, 0, 0]),
        DataError,
        f"input 'x': expected float32, found {np.dtype(np.longdouble).name}; "
        "convert it on purpose: x.astype(np.float32)",
    ),
    (
        lambda: (data().astype(np.float64), [0, 0, 0, 0]),
        DataError,
        "input 'x': expected float32, found float64; convert it on purpose: x.astype(np.float32)",
    ),
    (
        lambda: (data().astype(np.uint8), [0, 0, 0, 0]),
        DataError,
        "input 'x': expected float32, found uint8; convert it on purpose: x.astype(np.float32)",
    ),
    (
        lambda: (data() > 3, [0, 0, 0, 0]),
        DataError,
        "input 'x': expected float32, found bool; convert it on purpose: x.astype(np.float32)",
    ),
    (lambda: ("abc", [0]), DataError, "input 'x': expected float32, found strings"),
    (lambda: (data()[0], [0]), ShapeError, "input 'x': expected 2 axes (n_batch, 3), found 1: shape (3,)"),
    (
        lambda: (data(), data()[:, 0].astype(int)[None]),
        ShapeError,
        "input 'label': expected 1 axis (n_batch,), found 2",
    ),
    (
        lambda: (data()[:, :2], [0]),
        ShapeError,
        "input 'x': expected shape (n_batch, 3), found (4, 2) (2 instead of 3 on axis 1)",
    ),
    (
        lambda: (data(), [0, 1]),
        ShapeError,
        "input 'label': expected n_batch = 4 on axis 0 (from 'x'), found 2: shape (2,)",
    ),
]


@pytest.mark.parametrize(("arrays", "kind", "text"), REFUSED, ids=[text[:60] for _, _, text in REFUSED])
def test_refused(arrays: Callable[[], tuple[Any, Any]], kind: type[SymbpError], text: str) -> None:
    with pytest.raises(kind, match=re.escape(text)) as caught:
        enter(*arrays())
    assert type(caught.value) is kind


def test_ragged_lists_are_refused() -> None:
    with pytest.raises(DataError, match="input 'x': expected an array of float32, found a Python list"):
        enter([[1, 2, 3], [4, 5]], [0, 0])


def test_a_wrong_number_of_arrays() -> None:
    with pytest.raises(DataError, match=re.escape("expected 2 arrays (x, label), found 1")):
        check_inputs((X, LABEL), (data(),), np.float32)


def test_python_lists_take_the_dtype_of_the_module() -> None:
    x, label = enter([[1, 2.5, 3]], [2])
    assert x.dtype == np.float32
    assert label.dtype == np.int64
    assert x.tolist() == [[1.0, 2.5, 3.0]]
    assert enter([[1, 2, 3]], [2], np.float64)[0].dtype == np.float64


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"])
def test_labels_of_any_integer_type_become_int64(dtype: str) -> None:
    label = enter(data(), np.array([0, 1, 2, 1], dtype))[1]
    assert label.dtype == np.int64
    assert label.tolist() == [0, 1, 2, 1]


def test_strided_and_misaligned_arrays_are_copied() -> None:
    wide = np.arange(24, dtype=np.float32).reshape(4, 6)
    odd = np.frombuffer(b"\0" + data().tobytes(), np.float32, offset=1).reshape(4, 3)
    for given in (wide[:, ::2], np.asfortranarray(data()), data()[::-1], odd):
        x = enter(given, [0, 0, 0, 0])[0]
        assert x.flags.carray
        assert np.array_equal(x, given)


def test_read_only_data_is_not_copied_and_has_the_usual_type() -> None:
    given = data()
    given.flags.writeable = False
    x = enter(given, [0, 0, 0, 0])[0]
    assert typeof(x) == typeof(data())
    assert np.shares_memory(x, given)
    assert not given.flags.writeable
    del given
    assert np.array_equal(x, data())


def test_finite_false_lets_nan_through() -> None:
    x = np.array([np.nan, np.inf], np.float32)
    (checked,), _ = check_inputs((Input("x", ("n",), finite=False),), (x,), np.float32)
    assert checked is x


def test_a_scalar_input() -> None:
    (checked,), _ = check_inputs((Input("rate", ()),), (0.5,), np.float32)
    assert checked.shape == ()
    assert checked == np.float32(0.5)
    with pytest.raises(DataError, match="found nan at rate;"):
        check_inputs((Input("rate", ()),), (float("nan"),), np.float32)
    with pytest.raises(DataError, match=r"expected 0 to 2, found 7 at label$"):
        check_inputs((Input("label", (), "int", below=3),), (7,), np.float32)


def test_extents_that_depend_on_sizes() -> None:
    inputs = (Input("x", ("n_time",)), Input("y", (Linear("n_time + 1", (("n_time", 1),), 1),)))
    check_inputs(inputs, (np.zeros(4), np.zeros(5)), np.float64)
    with pytest.raises(ShapeError) as caught:
        check_inputs(inputs, (np.zeros(4), np.zeros(4)), np.float64)
    assert str(caught.value) == ("input 'y': expected n_time + 1 = 5 on axis 0 (n_time = 4), found 4: shape (4,)")


def test_requirements() -> None:
    needs = (Requirement("n_time >= 3", (("n_time", 1),), -3),)
    inputs = (Input("x", ("n_time",)),)
    check_inputs(inputs, (np.zeros(3),), np.float64, needs)
    with pytest.raises(ShapeError, match=re.escape("the model needs n_time >= 3, found n_time = 2")):
        check_inputs(inputs, (np.zeros(2),), np.float64, needs)
    check_inputs(inputs, (np.zeros(2),), np.float64, (Requirement("n_batch >= 9", (("n_batch", 1),), -9),))


def test_output_accepted() -> None:
    out = np.empty((4, 2), np.float32)
    assert check_output("out", out, (4, 2), np.float32, (data(),)) is out


def read_only() -> np.ndarray:
    out = np.empty((4, 3), np.float32)
    out.flags.writeable = False
    return out


@pytest.mark.parametrize(
    ("make", "kind", "text"),
    [
        (
            read_only,
            DataError,
            "output 'out': expected an array to write to, found a read-only one; pass np.empty((4, 3)",
        ),
        (
            lambda: np.empty((4, 3)),
            DataError,
            "output 'out': expected float32, found float64; pass np.empty((4, 3), np.fl",
        ),
        (lambda: np.empty((3, 4), np.float32), ShapeError, "output 'out': expected shape (4, 3), found (3, 4)"),
        (
            lambda: np.empty((4, 6), np.float32)[:, ::2],
            DataError,
            "expected a C-contiguous array, found strides (24, 8)",
        ),
        (lambda: [[0.0] * 3] * 4, DataError, "output 'out': expected a NumPy array, found list"),
    ],
)
def test_output_refused(make: Callable[[], Any], kind: type[SymbpError], text: str) -> None:
    with pytest.raises(kind, match=re.escape(text)):
        check_output("out", make(), (4, 3), np.float32)


def test_output_aliased_with_an_input() -> None:
    room = np.zeros((6, 3), np.float32)
    check_output("out", room[:3], (3, 3), np.float32, (room[3:],))
    with pytest.raises(
        DataError, match="output 'out': expected memory of its own, found it shares memory with input 1"
    ):
        check_output("out", room[:3], (3, 3), np.float32, (room[2:],))

"""One flat array with a view for each name, and how the views start."""

from __future__ import annotations

import copy
import math
import re

import numpy as np
import pytest

from symbp.errors import DataError, SpecError
from symbp.runtime.initializers import KINDS, Initializer, initial_values
from symbp.runtime.parameters import Layout, Parameter, Parameters, aligned_zeros

LAYOUT = Layout(
    (
        Parameter("W1", (7, 13), Initializer("glorot_uniform", fan_in=7, fan_out=13)),
        Parameter("c1", (13,)),
        Parameter("gain", (), Initializer("constant", (2.5,))),
    ),
    np.float32,
)


def test_layout() -> None:
    assert LAYOUT.offsets == {"W1": 0, "c1": 91, "gain": 104}
    assert LAYOUT.size == 105
    assert LAYOUT.shapes()["W1"] == ((7, 13), np.dtype(np.float32))


def test_views_share_the_flat_array() -> None:
    params = LAYOUT.zeros()
    params.flat[:] = np.arange(105)
    assert params.W1[1, 0] == 13
    assert params["c1"].tolist() == list(range(91, 104))
    assert params.gain == 104
    params.W1[0, 0] = 500
    assert params.flat[0] == 500
    assert list(params) == ["W1", "c1", "gain"]
    assert dict(params)["gain"].shape == ()
    assert "W1" in params
    assert "V" not in params
    assert params.get("V") is None


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_alignment(size: int, dtype: type) -> None:
    array = aligned_zeros(size, dtype)
    assert array.ctypes.data % 64 == 0
    assert array.shape == (size,)
    assert array.dtype == dtype
    assert not array.any()


def test_setting_copies_into_the_view() -> None:
    params = LAYOUT.zeros()
    values = np.ones(13, np.float32)
    params.c1 = values
    values[:] = 9
    assert params.flat[91:104].tolist() == [1.0] * 13
    params.gain = 3
    assert params.flat[104] == 3
    params["c1"] = [2] * 13
    assert params.c1[12] == 2


def test_setting_is_checked() -> None:
    params = LAYOUT.zeros()
    with pytest.raises(DataError, match=re.escape("parameter 'c1': expected shape (13,), found (7,)")):
        params.c1 = np.ones(7, np.float32)
    with pytest.raises(DataError, match=re.escape("parameter 'c1': expected float32, found float64; convert it on")):
        params.c1 = np.ones(13)
    with pytest.raises(DataError, match="no parameter 'c2' to set; known: W1, c1, gain"):
        params.c2 = np.ones(13, np.float32)
    with pytest.raises(DataError, match=re.escape("params.flat cannot be replaced; write into it: params.flat[:] = v")):
        params.flat = np.ones(105, np.float32)
    with pytest.raises(AttributeError, match="no parameter 'w1'; did you mean 'W1'"):
        _ = params.w1
    assert not params.flat.any()


def test_copies_have_memory_of_their_own() -> None:
    params = LAYOUT.initialise(3)
    for other in (params.copy(), copy.copy(params), copy.deepcopy(params)):
        assert other == params
        other.W1[0, 0] += 1
        assert other != params
    assert not params.zeros_like().flat.any()


def test_wrapping_a_flat_array() -> None:
    flat = np.arange(105, dtype=np.float32)
    assert np.shares_memory(Parameters(LAYOUT, flat).W1, flat)
    with pytest.raises(DataError, match="expected a contiguous, writable array of 105 float32, found shape"):
        Parameters(LAYOUT, np.zeros(104, np.float32))


def test_repr_shows_names_shapes_and_norms() -> None:
    params = LAYOUT.zeros()
    params.gain = 2.0
    assert repr(params) == (
        "Parameters: 105 numbers of float32\n  W1    7x13  norm 0\n  c1    13    norm 0\n  gain  1     norm 2"
    )


def test_names_of_methods_are_ordinary_parameter_names() -> None:
    params = Layout((Parameter("copy", (2,)), Parameter("E", ()))).zeros()
    params["copy"] = [1, 2]
    assert params["copy"].tolist() == [1, 2]
    assert params.copy() == params


def test_a_parameter_keeps_its_values_when_others_come_and_go() -> None:
    alone = Layout(LAYOUT.entries[:1]).initialise(5)
    more = Layout((Parameter("V", (3,), Initializer("normal", (1.0,))), *LAYOUT.entries)).initialise(5)
    assert np.array_equal(alone.W1, more.W1)
    assert not np.array_equal(alone.W1, LAYOUT.initialise(6).W1)


def test_a_float32_model_starts_where_the_float64_model_does() -> None:
    double = Layout(LAYOUT.entries, np.float64).initialise(5)
    assert np.array_equal(LAYOUT.initialise(5).flat, double.flat.astype(np.float32))


@pytest.mark.parametrize("seed", [-1, 1.5, "a", True])
def test_a_seed_is_a_whole_number(seed: object) -> None:
    with pytest.raises(DataError, match="seed: expected a whole number >= 0, found"):
        LAYOUT.initialise(seed)  # type: ignore[arg-type]


VARIANCES = {
    "glorot_uniform": 2 / 500,
    "glorot_normal": 2 / 500,
    "he_uniform": 2 / 200,
    "he_normal": 2 / 200,
    "lecun_normal": 1 / 200,
    "lecun_uniform": 1 / 200,
}


@pytest.mark.parametrize("kind", VARIANCES)
def test_variances(kind: str) -> None:
    values = initial_values(Initializer(kind, fan_in=200, fan_out=300), "W", (200, 300), 0)
    assert values.var() == pytest.approx(VARIANCES[kind], rel=0.03)
    assert abs(values.mean()) < 0.02 * values.std()
    if kind.endswith("uniform"):
        assert abs(values).max() <= math.sqrt(3 * VARIANCES[kind])


def test_plain_kinds() -> None:
    assert not initial_values(Initializer("zeros"), "W", (3, 1), 0).any()
    assert initial_values(Initializer("ones"), "W", (2,), 0).tolist() == [1, 1]
    assert initial_values(Initializer("constant", (-0.5,)), "W", (), 0) == -0.5
    normal = initial_values(Initializer("normal", (0.02,)), "W", (100, 100), 1)
    assert normal.std() == pytest.approx(0.02, rel=0.03)
    uniform = initial_values(Initializer("uniform", (2.0, 3.0)), "W", (1000,), 1)
    assert 2.0 <= uniform.min() < 2.05
    assert 2.95 < uniform.max() < 3.0


@pytest.mark.parametrize("shape", [(7, 13), (13, 7), (5, 5), (4, 3, 2), (1, 1)])
def test_orthogonal(shape: tuple[int, ...]) -> None:
    values = initial_values(Initializer("orthogonal", (2.0,)), "W", shape, 2).reshape(shape[0], -1)
    product = values @ values.T if values.shape[0] <= values.shape[1] else values.T @ values
    np.testing.assert_allclose(product, 4 * np.eye(len(product)), atol=1e-13)


def test_bad_initializers() -> None:
    with pytest.raises(SpecError, match="unknown initializer 'glorot_unifrom'; did you mean 'glorot_uniform'"):
        Initializer("glorot_unifrom")
    with pytest.raises(SpecError, match="initializer 'uniform': expected 2 arguments, found 1"):
        Initializer("uniform", (1.0,))
    with pytest.raises(SpecError, match="initializer 'normal': expected finite arguments, found"):
        Initializer("normal", (math.nan,))
    with pytest.raises(SpecError, match="expected at least 2 axes, found shape"):
        initial_values(Initializer("orthogonal"), "c", (3,), 0)
    assert {*VARIANCES, "orthogonal", "zeros", "ones", "constant", "normal", "uniform"} == set(KINDS)

"""Cases 43 to 57: arrays that a generated module must not compute with, and those that it must."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from symbp import Model, mean, select
from symbp.frontend.spec_file import load_spec
from symbp.pipeline import compile_model, emit_model, load_generated

X = np.array([0.5, -1.0, 2.0, 0.25, 1.5], np.float32)
LABEL = np.array([0, 1, 2, 0, 1])


def changed(array: np.ndarray, position: int, value: float) -> np.ndarray:
    other = array.copy()
    other[position] = value
    return other


@pytest.mark.parametrize(
    ("x", "label", "message"),
    [
        pytest.param(X, changed(LABEL, 3, 5000), "'label': expected 0 to 2, found 5000 at label[3]", id="43"),
        pytest.param(X, changed(LABEL, 3, -1), "'label': expected 0 to 2, found -1 at label[3]", id="44"),
        pytest.param(
            X,
            LABEL + 1,
            "'label': expected 0 to 2, found 3 at label[2]; number the classes from 0",
            id="43 numbered from 1",
        ),
        pytest.param(
            X,
            LABEL.astype(np.float64),
            "'label': expected whole numbers (any integer dtype), found float64; convert it on purpose: "
            "label.astype(np.int64)",
            id="45",
        ),
        pytest.param(
            X[:0], LABEL[:0], "'x': expected n_batch >= 1 on axis 0, found an empty array: (0,)", id="46 empty batch"
        ),
        pytest.param(
            changed(X, 2, np.nan),
            LABEL,
            "'x': expected finite numbers in float32, found nan at x[2]; clean or scale the data, or declare the input "
            "with finite = false",
            id="47 NaN",
        ),
        pytest.param(
            changed(X, 4, -np.inf),
            LABEL,
            "'x': expected finite numbers in float32, found -inf at x[4]; clean or scale the data, or declare the "
            "input with finite = false",
            id="47 infinity",
        ),
        pytest.param(
            X.astype(np.complex64),
            LABEL,
            "'x': expected float32, found complex64; split it: x.real, x.imag",
            id="48 complex",
        ),
        pytest.param(
            X.astype(np.float16),
            LABEL,
            "'x': expected float32, found float16; convert it on purpose: x.astype(np.float32)",
            id="49 float16",
        ),
        pytest.param(
            X.astype(">f4"),
            LABEL,
            "'x': expected float32, found float32 in foreign byte order (>f4); convert it on purpose: "
            'x.astype(x.dtype.newbyteorder("="))',
            id="50 big-endian",
        ),
        pytest.param(
            X.astype(object),
            LABEL,
            "'x': expected float32, found Python objects; convert it on purpose: np.asarray(x, np.float32)",
            id="51 objects",
        ),
        pytest.param(
            np.ma.masked_array(X, [0, 0, 1, 0, 0]),
            LABEL,
            "'x': expected a plain array, found a masked array (1 of 5 masked); fill or drop what is masked: "
            "x.filled(value)",
            id="52 masked",
        ),
        pytest.param(
            X.astype(np.float64),
            LABEL,
            "'x': expected float32, found float64; convert it on purpose: x.astype(np.float32)",
            id="54 float64 into float32",
        ),
        pytest.param(None, LABEL, None, id="51 nothing at all"),
        pytest.param(["a", "b", "c", "d", "e"], LABEL, None, id="51 words"),
    ],
)
def test_data_that_is_refused(
    net: ModuleType, refused: Callable[..., str], x: Any, label: Any, message: str | None
) -> None:
    params = net.init()
    state = net.optimizer_state(params)
    for action in (
        lambda: net.loss(params, x, label),
        lambda: net.loss_and_grad(params, x, label),
        lambda: net.train_step(params, state, x, label),
        lambda: net.fit(params, state, x, label),
        lambda: net.fit(params, state, X, LABEL, validation=(x, label)),
    ):
        found = refused("DataError", action)
        assert found.startswith("input '")
        assert message is None or found == f"input {message}"
    assert params == net.init()
    assert state.t == 0


@pytest.mark.skipif(np.dtype(np.longdouble).itemsize == 8, reason="long double is double on this machine")
def test_long_doubles_are_refused(net: ModuleType, refused: Callable[..., str]) -> None:
    """Case 53."""
    found = refused("DataError", lambda: net.predict(net.init(), X.astype(np.longdouble)))
    assert found.startswith("input 'x': expected float32, found float")
    assert found.endswith("convert it on purpose: x.astype(np.float32)")


def test_what_loses_nothing_is_taken(net: ModuleType) -> None:
    """Case 55, and labels of other integer types."""
    params = net.init()
    expected = net.loss(params, X, LABEL)
    spread = np.zeros((5, 3), np.float32)
    spread[:, 1] = X
    frozen = X.copy()
    frozen.flags.writeable = False
    for x in (spread[:, 1], X[::-1].copy()[::-1], frozen, X.tolist()):
        assert net.loss(params, x, LABEL) == expected
    for dtype in (np.int8, np.uint8, np.int32, np.uint64):
        assert net.loss(params, X, LABEL.astype(dtype)) == expected


def test_a_result_never_shares_memory_with_what_comes_later(net: ModuleType) -> None:
    """Case 57: results are arrays of their own, not the module's scratch memory."""
    params = net.init()
    p, (_, grads) = net.predict(params, X), net.loss_and_grad(params, X, LABEL)
    kept, kept_grads = p.copy(), grads.copy()
    net.predict(params, -X)
    net.loss_and_grad(params, -X, LABEL[::-1])
    assert np.array_equal(p, kept)
    assert grads == kept_grads


def test_parameters_that_cannot_be_written_are_not_trained(net: ModuleType, refused: Callable[..., str]) -> None:
    """Case 56: what a step writes to is the parameters."""
    params = net.init()
    state = net.optimizer_state(params)
    params.flat.flags.writeable = False
    for action in (
        lambda: net.train_step(params, state, X, LABEL),
        lambda: net.fit(params, state, X, LABEL),
    ):
        assert refused("DataError", action) == (
            "params: expected parameters that can be written, found read-only ones; train params.copy()"
        )
    assert state.t == 0


def test_data_that_lies_in_the_parameters_is_not_trained_on(net: ModuleType, refused: Callable[..., str]) -> None:
    """Case 57: it would change under the training's feet."""
    params = net.init()
    state = net.optimizer_state(params)
    before = params.copy()
    for action in (
        lambda: net.train_step(params, state, params.flat[1:6], LABEL),
        lambda: net.fit(params, state, params.flat[:5], LABEL),
    ):
        assert refused("DataError", action) == (
            "an input of shape (5,): expected memory of its own, found that of the parameters; pass a copy of it"
        )
    assert params == before


@pytest.mark.parametrize(
    ("given", "found"),
    [(lambda net: net.init().flat, "ndarray"), (lambda net: dict(net.init()), "dict"), (lambda net: None, "NoneType")],
)
def test_parameters_that_are_none(
    net: ModuleType, refused: Callable[..., str], given: Callable[[ModuleType], Any], found: str
) -> None:
    params = given(net)
    assert refused("DataError", lambda: net.predict(params, X)) == (
        f"params: expected the parameters of this module (w, c), found {found}; make them with init() or load()"
    )


def test_nan_passes_where_the_model_says_so(tmp_path: Path) -> None:
    """Case 47: ``finite=False``, and equations that say what becomes of it."""
    model = Model("gaps")
    b = model.axis("b", "batch")
    x, w = model.input("x", b, finite=False), model.parameter("w", init=2.0)
    y = model.define("y[b]", select(x[b] >= 0, w * x[b], 0))
    model.output(y)
    model.loss(mean(y[b], b))
    net = load_generated(compile_model(model, tmp_path, standalone=False))
    given = np.array([1.0, np.nan, -np.inf, 3.0], np.float32)
    assert net.predict(net.init(), given).tolist() == [2.0, 0.0, 0.0, 6.0]
    loss, grads = net.loss_and_grad(net.init(), given)
    assert (loss, float(grads.w)) == (2.0, 1.0)


def test_the_switch_stands_in_files_too(tmp_path: Path) -> None:
    spec = tmp_path / "gaps.toml"
    spec.write_text(
        "equations = 'y[b] = x[b]*w'\nloss = 'mean(y[b]**2, b)'\n[axes]\nb = 'batch'\n[inputs]\n"
        "x = { axes = 'b', finite = false }\n[parameters]\nw = ''\n",
        encoding="utf-8",
    )
    assert 'Input("x", ("n_batch",), finite=False)' in emit_model(load_spec(spec))["__init__.py"]

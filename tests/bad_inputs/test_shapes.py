"""Cases 35 to 42: axes, extents and subscripts that do not fit, in a model and in the arrays given to a module."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from symbp import Conv2d, MaxPool2d, Model, ShapeError, mean, sum
from symbp.frontend.spec_file import load_spec
from symbp.pipeline import compile_model, load_generated
from tests.bad_inputs.conftest import LIMIT

SPEC = """
equations = '''
EQUATION
'''
[axes]
b = "batch"
j = 3
k = 4
[inputs]
x = "b, j"
v = "b, k"
[parameters]
W = "j, k"
"""


def write_spec(folder: Path, old: str, new: str) -> Path:
    assert SPEC.count(old) == 1
    path = folder / "spec.toml"
    path.write_text(SPEC.replace(old, new).replace("EQUATION", "z[b] = x[b, 0]"), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("equation", "message"),
    [
        pytest.param(
            "z[b] = W[7, 0]*x[b, 0]",
            "W[7, 0]: index 7 of axis 0 (j) of 'W' is out of range, but its extent is 3",
            id="35 a constant beyond the end",
        ),
        pytest.param(
            "z[b] = W[0, -1]*x[b, 0]",
            "W[0, -1]: index -1 of axis 1 (k) of 'W' is out of range, but its extent is 4",
            id="35 a constant before the start",
        ),
        pytest.param(
            "z[j] = W[j + 1, 0]",
            "W[j + 1, 0]: subscript j + 1 of axis 0 (j) of 'W' runs up to 3, but its extent is 3; shift the index, or "
            "restrict the equation with where",
            id="35 a shift beyond the end",
        ),
        pytest.param(
            "z[b] = W[0]*x[b, 0]",
            "tensor 'W' has 2 axes (j, k) but is read with 1: W[0]; add 1 subscript",
            id="36 rank",
        ),
        pytest.param(
            "z = sum(W[k, j], j, k)",
            "index k runs over 4 in W[k, j], but axis 0 of 'W' (j) has 3; use an index over 'j': model.axis(.., j)",
            id="37 one index, two extents",
        ),
        pytest.param(
            "z[b] = x[b, j]",
            "index j is free on the right side of z[b] but not on its left side; sum over it, sum(.., j), or write it "
            "on the left",
            id="39 free on one side",
        ),
        pytest.param(
            "z[b] = sum(x[b, k]*v[b, k], k)",
            "index k runs over 4 in x[b, k], but axis 1 of 'x' (j) has 3; use an index over 'j': model.axis(.., j)",
            id="40 shorter than its partner",
        ),
        pytest.param(
            "z[b] = sum(x[b, j]*v[b, j + 2], j)",
            "v[b, j + 2]: subscript j + 2 of axis 1 (k) of 'v' runs up to 4, but its extent is 4; shift the index, or "
            "restrict the equation with where",
            id="40 shorter than a shifted partner",
        ),
    ],
)
def test_an_equation_that_does_not_fit(tmp_path: Path, equation: str, message: str) -> None:
    spec = write_spec(tmp_path, "EQUATION", equation)
    began = time.perf_counter()
    with pytest.raises(ShapeError) as caught:
        load_spec(spec).program()
    assert time.perf_counter() - began < LIMIT
    place, _, rest = str(caught.value).partition(": ")
    assert place.startswith("spec.toml:3:")
    assert rest == message


@pytest.mark.parametrize(
    ("extent", "message"),
    [
        (0, "has extent 0, expected at least 1"),
        (-3, "has extent -3, expected at least 1"),
        (2.5, "has extent 2.5, expected a positive integer, the name of a run-time size or another axis"),
        (True, "has extent True, expected a positive integer, the name of a run-time size or another axis"),
        (2**40, "has extent 1099511627776, expected at most 2147483647"),
        ("", "has extent '', expected the name of a run-time size such as 'batch'"),
        ("a b", "has extent 'a b', expected the name of a run-time size such as 'batch'"),
    ],
)
def test_an_extent_that_is_none(extent: object, message: str) -> None:
    """Case 38."""
    with pytest.raises(ShapeError) as caught:
        Model("m").axis("q", extent)
    assert str(caught.value).partition(": ")[2] == f"axis 'q' {message}"


def test_an_extent_that_comes_out_negative() -> None:
    """Case 38."""
    model = Model("m")
    j = model.axis("j", 3)
    with pytest.raises(ShapeError, match="axis 'q' has extent -2"):
        model.axis("q", j.size - 5)


@pytest.mark.parametrize("extent", ["0", "-3"])
def test_an_extent_that_is_none_in_a_file(tmp_path: Path, extent: str) -> None:
    """Case 38, with its line and column."""
    with pytest.raises(ShapeError) as caught:
        load_spec(write_spec(tmp_path, "j = 3", f"j = {extent}"))
    assert str(caught.value) == f"spec.toml:7:5: axis 'j' has extent {extent}, expected at least 1"


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (Conv2d(2, 5), "layer 'conv': Conv2d has a window of 5, larger than axis 'h' of 3"),
        (MaxPool2d(5), "layer 'pool': MaxPool2d has a window of 5, larger than axis 'h' of 3"),
    ],
)
def test_a_window_larger_than_the_image(layer: Conv2d | MaxPool2d, message: str) -> None:
    """Case 42."""
    model = Model("m")
    b, c, h, w = model.axis("b", "batch"), model.axis("c", 1), model.axis("h", 3), model.axis("w", 3)
    image = model.input("image", b, c, h, w)
    with pytest.raises(ShapeError) as caught:
        layer(image)
    assert message in str(caught.value)
    assert str(caught.value).endswith("take a smaller window or add padding")


# A module's own door. None of these reaches a kernel.


@pytest.mark.parametrize(
    ("x", "label", "message"),
    [
        pytest.param(
            np.ones((5, 1), np.float32),
            np.zeros(5, int),
            "input 'x': expected 1 axis (n_batch,), found 2: shape (5, 1)",
            id="36",
        ),
        pytest.param(
            np.ones(5, np.float32),
            np.zeros(4, int),
            "input 'label': expected n_batch = 5 on axis 0 (from 'x'), found 4: shape (4,)",
            id="41",
        ),
    ],
)
def test_arrays_that_do_not_fit(
    net: ModuleType, refused: Callable[..., str], x: np.ndarray, label: np.ndarray, message: str
) -> None:
    params = net.init()
    state = net.optimizer_state(params)
    for action in (
        lambda: net.loss(params, x, label),
        lambda: net.loss_and_grad(params, x, label),
        lambda: net.train_step(params, state, x, label),
        lambda: net.fit(params, state, x, label),
    ):
        assert refused("ShapeError", action) == message
    assert params == net.init()


def test_a_window_larger_than_what_comes_at_run_time(tmp_path: Path) -> None:
    """Case 42, for an extent that only the data know."""
    model = Model("window")
    t, u = model.axis("t", "time"), model.axis("u", 5)
    p = model.axis("p", t.size - 4)
    x, w = model.input("x", t), model.parameter("w", u)
    y = model.define("y[p]", sum(x[p + u] * w[u], u))
    model.loss(mean(y[p] ** 2, p))
    net = load_generated(compile_model(model, tmp_path, standalone=False))
    with pytest.raises(ShapeError) as caught:
        net.predict(net.init(), np.ones(4, np.float32))
    assert str(caught.value) == "the model needs n_time >= 5, found n_time = 4"

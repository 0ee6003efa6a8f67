"""Derivatives of saturated functions, to the last digits."""

from __future__ import annotations

import math
from pathlib import Path

import mpmath
import numpy as np
import pytest

from symbp import Model, compile_model, load_generated, sigmoid, sin, sum, tanh
from symbp.check import ulp_error
from symbp.ir import statement_text
from symbp.pipeline import derive_model
from symbp.schedule.exact import keep_digits

POINTS = np.concatenate([np.linspace(-40, 40, 161), [0.0, 1e-6, -1e-6, 8.0, -16.5]]).astype(np.float32)


def model_of(function: object) -> Model:
    model = Model("saturated")
    i = model.axis("i", len(POINTS))
    w = model.parameter("w", i)
    a = model.define("a[i]", function(w[i]))  # type: ignore[operator]
    model.loss(sum(a[i], i))
    return model


def slope(name: str, x: float) -> mpmath.mpf:
    with mpmath.workdps(60):
        z = mpmath.mpf(float(x))
        return mpmath.sech(z) ** 2 if name == "tanh" else 1 / (4 * mpmath.cosh(z / 2) ** 2)


@pytest.mark.parametrize("function", [sigmoid, tanh], ids=["sigmoid", "tanh"])
def test_slopes_are_within_four_ulp_in_float32(function: object, tmp_path: Path) -> None:
    name = function.name  # type: ignore[attr-defined]
    expected = [slope(name, x) for x in POINTS]
    normal = np.array([abs(e) >= np.finfo(np.float32).tiny for e in expected])
    errors = {}
    for exact in (False, True):
        net = load_generated(compile_model(model_of(function), tmp_path / str(exact), standalone=False, exact=exact))
        params = net.init()
        params.w = POINTS
        _, gradient = net.loss_and_grad(params)
        errors[exact] = float(
            np.max(ulp_error(gradient.w[normal], [e for e, n in zip(expected, normal, strict=True) if n]))
        )
    assert errors[True] <= 4
    assert errors[False] > 1e4  # what the option is for


def test_the_equations_read_the_argument() -> None:
    model = Model("gate")
    k = model.axis("k", 5)
    u, v = model.parameter("u", k), model.parameter("v", k)
    a, s = model.define("a[k]", tanh(u[k])), model.define("s[k]", sigmoid(v[k]))
    model.loss(sum(a[k] * s[k], k))
    derivation = derive_model(model)
    texts = [statement_text(q) for q in keep_digits(derivation.program).statements]
    assert "u_bar[k] = s[k]*sech2(u[k])" in texts
    assert "v_bar[k] = a[k]*dsigmoid(v[k])" in texts


def test_elementary_functions_are_those_of_the_c_library(tmp_path: Path) -> None:
    """The sine of an angle that only the C library can reduce; in the text the import alone differs."""
    model = Model("far")
    b = model.axis("b", "batch")
    x, w = model.input("x", b), model.parameter("w", init="ones")
    model.output(model.define("y[b]", sin(x[b]) * w))
    angles = np.array([1e300, 3.0, -1e17])
    found = {}
    for exact in (False, True):
        package = compile_model(model, tmp_path / str(exact), dtype="float64", exact=exact)
        net = load_generated(package)
        found[exact] = (package / "kernels.py").read_text(encoding="utf-8"), net.predict(net.init(), angles)
    assert np.array_equal(found[True][1], [math.sin(angle) for angle in angles])
    assert np.isnan(found[False][1]).tolist() == [True, False, True]
    lines = [sorted(found[exact][0].replace("exact_scalar", "scalar").splitlines()) for exact in (False, True)]
    assert lines[0] == lines[1]

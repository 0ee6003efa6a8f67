"""Models without time: dense, convolutional, normalised, embedded, and single equations with awkward subscripts."""

from __future__ import annotations

import pytest
import torch

from symbp import Model, mean, sqrt, sum
from tests.numeric.harness import Case, Tensors, check_equations, check_module

BATCHES = ({"n_batch": 13}, {"n_batch": 1}, {"n_batch": 7})


def linear_rms() -> Model:
    model = Model("linear_rms")
    b, j, k = model.axis("b", "batch"), model.axis("j", 7), model.axis("k", 3)
    x, t = model.input("x", b, j), model.input("t", b, k)
    W, c = model.parameter("W", j, k), model.parameter("c", k)
    y = model.define("y[b, k]", sum(x[b, j] * W[j, k], j) + c[k])
    model.loss(sqrt(mean((y[b, k] - t[b, k]) ** 2, b, k)))
    return model


def linear_rms_torch(t: Tensors) -> torch.Tensor:
    return ((t["x"] @ t["W"] + t["c"] - t["t"]) ** 2).mean().sqrt()


CASES = (Case("linear, rms", linear_rms, linear_rms_torch, BATCHES),)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_equations(case: Case) -> None:
    check_equations(case)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_module_in_float64(case: Case) -> None:
    check_module(case, "float64")


@pytest.mark.parametrize("case", [c for c in CASES if c.single], ids=str)
def test_module_in_float32(case: Case) -> None:
    check_module(case, "float32")

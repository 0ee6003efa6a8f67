"""Losses against torch in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

import symbp as sb
from symbp.check import interpret

F = functional
PAIRS: dict[str, tuple[Any, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]]] = {
    "mse": (sb.mse, F.mse_loss),
    "rms": (sb.rms, lambda y, t: F.mse_loss(y, t).sqrt()),
    "mae": (sb.mae, F.l1_loss),
    "bce": (sb.bce, F.binary_cross_entropy),
    "bce_with_logits": (sb.bce_with_logits, F.binary_cross_entropy_with_logits),
    "softmax_cross_entropy": (sb.softmax_cross_entropy, F.cross_entropy),
}


@pytest.mark.parametrize("n", [1, 7, 13])
@pytest.mark.parametrize("name", PAIRS)
def test_loss_agrees_with_torch(name: str, n: int) -> None:
    loss, reference = PAIRS[name]
    model = sb.Model("m")
    b, k = model.axis("b", "batch"), model.axis("k", 5)
    y, t = model.input("y", b, k), model.input("t", b, k)
    model.loss(loss(y, t))
    source = np.random.default_rng(n)
    values, targets = source.uniform(0.1, 0.9, (n, 5)), source.dirichlet(np.ones(5), n)
    found = interpret(model.program(), {"n_batch": n}, {"y": values, "t": targets})
    expected = reference(torch.tensor(values), torch.tensor(targets))
    np.testing.assert_allclose(found["loss"], expected.item(), rtol=1e-13)


def test_cross_entropy_of_labels() -> None:
    model = sb.Model("m")
    b, k = model.axis("b", "batch"), model.axis("k", 5)
    z, label = model.input("z", b, k), model.input("label", b, dtype="int", below=k)
    model.loss(sb.softmax_cross_entropy(z, label))
    source = np.random.default_rng(0)
    logits, labels = source.normal(size=(7, 5)), source.integers(0, 5, 7)
    found = interpret(model.program(), {"n_batch": 7}, {"z": logits, "label": labels})
    np.testing.assert_allclose(found["loss"], F.cross_entropy(torch.tensor(logits), torch.tensor(labels)).item())


def test_scalars() -> None:
    model = sb.Model("m")
    y, t = model.input("y"), model.input("t")
    model.loss(sb.mse(y, t))
    assert interpret(model.program(), {}, {"y": np.array(3.0), "t": np.array(1.0)})["loss"] == 4.0


def test_bad_pairs() -> None:
    model = sb.Model("m")
    b, k, j = model.axis("b", "batch"), model.axis("k", 5), model.axis("j", 4)
    y, t, u = model.input("y", b, k), model.input("t", b), model.input("u", b, j)
    with pytest.raises(sb.ShapeError, match=r"mse: 'y' has axes \(b, k\), 't' has \(b\); expected the same"):
        sb.mse(y, t)
    with pytest.raises(sb.ShapeError, match="mse: 'y' is n_batch x 5, 'u' is n_batch x 4; expected the same"):
        sb.mse(y, u)
    with pytest.raises(sb.SpecError, match=r"mse takes tensors, found Element y\[b, k\]; name the expression first"):
        sb.mse(y[b, k], t)
    with pytest.raises(sb.ShapeError, match=r"'y' has axes \(b, k\), so the labels have axes \(b\)"):
        sb.softmax_cross_entropy(y, model.input("v"))

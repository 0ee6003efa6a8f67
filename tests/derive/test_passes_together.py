"""Stabilise, name calls, differentiate and simplify, one after the other, against torch in float64."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from symbp.derive.name_calls import name_calls
from symbp.derive.rule import differentiate
from symbp.derive.simplify import simplify
from symbp.derive.stabilise import stabilise
from tests.derive import torch_models as models
from tests.derive.references import TOLERANCE, Case, worst_error

MODELS: tuple[Callable[[int], Case], ...] = (
    models.mlp,
    models.norm_and_power,
    models.embedding,
    models.rnn,
    models.lstm,
    models.volterra,
    models.linear_scan,
    models.bidirectional,
    models.attention,
    models.branches,
)


def all_passes(case: Case) -> float:
    derivation = simplify(differentiate(name_calls(stabilise(case.program)), case.wrt))
    return worst_error(case, derivation)


@pytest.mark.parametrize("size", [1, 7, 13])
@pytest.mark.parametrize("model", MODELS, ids=lambda m: m.__name__)
def test_gradients_agree_with_torch(model: Callable[[int], Case], size: int) -> None:
    assert all_passes(model(size)) <= TOLERANCE


@pytest.mark.parametrize(
    ("stride", "padding", "dilation", "pool", "pool_stride"), [(1, 0, 1, 2, 2), (2, 1, 1, 2, 2), (1, 2, 2, 3, 1)]
)
def test_convolutions_agree_with_torch(stride: int, padding: int, dilation: int, pool: int, pool_stride: int) -> None:
    assert all_passes(models.convolution(stride, padding, dilation, pool, pool_stride)) <= TOLERANCE

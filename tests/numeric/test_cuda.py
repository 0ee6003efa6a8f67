"""Every model family as CUDA kernels, on the emulated device: numbers against torch, and every access checked.

The emulator refuses races, missing barriers, accesses out of bounds or misaligned, and reads of what nobody wrote.
"""

from __future__ import annotations

import pytest

from symbp.check.emulator import emulated
from symbp.errors import TargetError
from symbp.pipeline import emit_model
from tests.numeric import (
    attention_models,
    convolution_models,
    dense_models,
    pinn_models,
    recurrent_models,
    subscript_models,
)
from tests.numeric.harness import Case, check_against_torch, check_kernels, imported, model_of

CASES: tuple[Case, ...] = (
    *dense_models.CASES,
    *convolution_models.CASES,
    *recurrent_models.CASES,
    *recurrent_models.VARIANTS,
    *attention_models.CASES[:3],
    *attention_models.VARIANTS,
    *pinn_models.CASES,
    *subscript_models.CASES,
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_kernels_in_float64(case: Case) -> None:
    check_kernels(case, "float64")


@pytest.mark.parametrize("case", [c for c in CASES if c.single], ids=str)
def test_kernels_in_float32(case: Case) -> None:
    check_kernels(case, "float32")


@pytest.mark.parametrize("name", ["embedding, cross-entropy", "conv1d kernel 3, stride 2, padding 1, dilation 3"])
def test_atomics_give_the_same_gradients(name: str) -> None:
    """Added as they come: other last digits, the same sums."""
    case = next(c for c in CASES if c.name == name)
    files = emit_model(model_of(case), target="cuda", dtype="float64", standalone=False, atomics=True)
    assert "cuda.atomic.add(" in files["kernels.py"]
    assert "spread(" not in files["kernels.py"]
    net = imported(files, f"atomics/{case.name}", model_of(case).name)
    with emulated(net):
        check_against_torch(case, net, "float64", case.sizes[:1])


def test_atomics_are_refused_where_nothing_meets() -> None:
    with pytest.raises(TargetError, match="atomics are of use on the GPU alone, found target 'cpu'"):
        emit_model(model_of(dense_models.CASES[0]), target="cpu", atomics=True)

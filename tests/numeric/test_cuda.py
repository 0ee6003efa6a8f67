"""Every model family as CUDA kernels, on the emulated device: numbers against torch, and every access checked.

The emulator refuses races, missing barriers, accesses out of bounds or misaligned, and reads of what nobody wrote.
"""

from __future__ import annotations

import pytest

from tests.numeric import (
    attention_models,
    convolution_models,
    dense_models,
    pinn_models,
    recurrent_models,
    subscript_models,
)
from tests.numeric.harness import Case, check_kernels

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

"""Models without time: dense, convolutional, normalised, embedded, and single equations with awkward subscripts."""

from __future__ import annotations

import pytest

from tests.numeric import convolution_models, dense_models, subscript_models
from tests.numeric.harness import Case, check_equations, check_module

CASES = (
    *dense_models.CASES,
    dense_models.SATURATED,
    *convolution_models.CASES,
    *subscript_models.CASES,
    *subscript_models.KINKS,
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_equations(case: Case) -> None:
    check_equations(case)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_module_in_float64(case: Case) -> None:
    check_module(case, "float64")


@pytest.mark.parametrize("case", [c for c in CASES if c.single], ids=str)
def test_module_in_float32(case: Case) -> None:
    check_module(case, "float32")

"""Models with time: backpropagation through it comes from the same rule as everything else."""

from __future__ import annotations

import pytest

from tests.numeric.harness import Case, check_equations, check_module
from tests.numeric.recurrent_models import CASES, VARIANTS


@pytest.mark.parametrize("case", [*CASES, *VARIANTS], ids=str)
def test_equations(case: Case) -> None:
    check_equations(case)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_module_in_float64(case: Case) -> None:
    check_module(case, "float64")


@pytest.mark.parametrize("case", [c for c in CASES if c.single], ids=str)
def test_module_in_float32(case: Case) -> None:
    check_module(case, "float32")

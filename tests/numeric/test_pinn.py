"""Derivatives inside a loss, differentiated again."""

from __future__ import annotations

import pytest

from tests.numeric.harness import Case, check_equations, check_module
from tests.numeric.pinn_models import CASES


@pytest.mark.parametrize("case", CASES, ids=str)
def test_equations(case: Case) -> None:
    check_equations(case)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_module_in_float64(case: Case) -> None:
    check_module(case, "float64")


@pytest.mark.parametrize("case", [c for c in CASES if c.single], ids=str)
def test_module_in_float32(case: Case) -> None:
    check_module(case, "float32")

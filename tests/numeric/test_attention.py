"""Attention and transformer blocks."""

from __future__ import annotations

import pytest

from tests.numeric.attention_models import CASES, VARIANTS
from tests.numeric.harness import Case, check_equations, check_module


@pytest.mark.parametrize("case", [*CASES, *VARIANTS], ids=str)
def test_equations(case: Case) -> None:
    check_equations(case)


#: The last case is the longest by far to compile.
MODULES = [*CASES[:-1], pytest.param(CASES[-1], marks=pytest.mark.slow)]


@pytest.mark.parametrize("case", MODULES, ids=str)
def test_module_in_float64(case: Case) -> None:
    check_module(case, "float64")


@pytest.mark.parametrize("case", [c for c in CASES if c.single], ids=str)
def test_module_in_float32(case: Case) -> None:
    check_module(case, "float32")

"""Gradients of random programs against differences of their losses."""

from __future__ import annotations

import warnings

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from symbp.check import check_gradients
from symbp.derive import differentiate, name_calls
from symbp.errors import SymbpWarning
from symbp.ir import Program, program_text
from tests.check.random_programs import SMOOTH, programs

# No deadline: the first example of a form pays for SymPy's caches. Derandomized, so that a run can be repeated.
careful = settings(
    deadline=None,
    derandomize=True,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def check(program: Program, n: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SymbpWarning)  # parameters that nothing reads
        derivation = differentiate(name_calls(program))
    report = check_gradients(derivation, sizes={"n": n}, directions=1)
    assert report.passed, f"{report}\n{program_text(derivation.program)}"


@careful
@given(program=programs(), n=st.sampled_from([1, 2, 5, 7]))
def test_gradients_of_random_programs(program: Program, n: int) -> None:
    check(program, n)


@pytest.mark.parametrize("move", [*SMOOTH, "largest"])
@settings(parent=careful, max_examples=8)
@given(data=st.data(), n=st.sampled_from([1, 2, 7]))
def test_gradients_of_every_form(move: str, data: st.DataObject, n: int) -> None:
    check(data.draw(programs([move], most=2)), n)

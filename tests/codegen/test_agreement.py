"""Generated kernels compute what the equations say: awkward models, and random ones."""

from __future__ import annotations

import warnings
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import symbp as sb
from symbp import Model, mean, sum
from symbp.derive import differentiate, name_calls, simplify, simplify_primal, stabilise
from symbp.errors import SymbpWarning
from symbp.ir import Derivation, Program
from symbp.pipeline import prepare
from tests.check.random_programs import SMOOTH, programs
from tests.codegen.agreement import check_derivation, check_outputs, check_training, check_update, with_known_sizes
from tests.codegen.awkward_models import MODELS, Awkward

careful = settings(
    deadline=None,
    derandomize=True,
    max_examples=30,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def derivations(program: Program) -> dict[str, Derivation]:
    """The adjoint equations as the rule gives them, and simplified: two schedules that have little in common."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SymbpWarning)
        raw = differentiate(program)
    return {"raw": raw, "simplified": simplify(raw)}


@pytest.mark.parametrize("form", ["raw", "simplified"])
@pytest.mark.parametrize("model", MODELS, ids=str)
def test_training(model: Awkward, form: str) -> None:
    derivation = derivations(prepare(model.build().program()))[form]
    for seed, sizes in enumerate(model.sizes):
        check_training(derivation, sizes, seed)


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_exact_derivatives(model: Awkward) -> None:
    """Another way to the same numbers: derivatives of sigmoid and tanh from their arguments."""
    check_training(derivations(prepare(model.build().program()))["simplified"], model.sizes[-1], exact=True)


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_outputs(model: Awkward) -> None:
    program = model.build().program()
    if not program.outputs:
        pytest.skip("has none")
    wanted = simplify_primal(prepare(replace(program.keep_live(program.outputs), loss="")))
    for seed, sizes in enumerate(model.sizes):
        check_outputs(wanted, sizes, seed)


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_everything_in_one_kernel(model: Awkward) -> None:
    derivation = derivations(prepare(model.build().program()))["simplified"]
    for seed, sizes in enumerate(model.sizes):
        check_derivation(derivation, sizes, seed)


@pytest.mark.parametrize(
    "optimizer",
    [
        sb.SGD(0.1),
        sb.Momentum(0.1),
        sb.Momentum(0.1, nesterov=True),
        sb.AdaGrad(0.1),
        sb.RMSProp(0.1),
        sb.Adam(0.1),
        sb.AdamW(0.1),
    ],
    ids=str,
)
def test_optimizers(optimizer: sb.Optimizer) -> None:
    model = Model("line")
    n, k = model.axis("n", "n"), model.axis("k", 7)
    x, w = model.input("x", n, k), model.parameter("w", k)
    model.loss(mean(sum(x[n, k] * w[k], k) ** 2, n))
    model.optimizer(optimizer)
    check_update(model)


@careful
@given(
    program=programs([*SMOOTH, "largest"]), n=st.sampled_from([1, 2, 3, 7]), form=st.sampled_from(["raw", "simplified"])
)
def test_random_programs(program: Program, n: int, form: str) -> None:
    derivation = derivations(name_calls(stabilise(program)))[form]
    check_derivation(derivation, {"n": n})
    check_training(with_known_sizes(derivation, {"n": n}), {})

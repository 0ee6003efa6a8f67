"""The benchmarks' models at a small size: they compile, and their equations have the gradients that torch finds."""

from __future__ import annotations

import ast
from functools import cache, partial
from xml.etree import ElementTree

import pytest
import torch

from benchmarks import torch_models
from benchmarks.chart import draw
from benchmarks.workloads import WORKLOADS
from symbp import emit_model
from symbp.check import interpret, random_feed
from symbp.ir import Derivation
from symbp.pipeline import derive_model
from tests.numeric.harness import relative_error

LOSSES = {**torch_models.LOSSES, "tfblock": partial(torch_models.tfblock, heads=2)}
LOSS_TOLERANCE, GRADIENT_TOLERANCE = 1e-10, 1e-9


@cache
def small(name: str) -> Derivation:
    return derive_model(WORKLOADS[name].build(**WORKLOADS[name].small))


def test_every_workload_has_a_reference() -> None:
    assert list(torch_models.LOSSES) == list(WORKLOADS)


@pytest.mark.parametrize("name", WORKLOADS)
def test_gradients_are_those_of_torch(name: str) -> None:
    derivation, sizes = small(name), dict(WORKLOADS[name].small_sizes)
    feed = random_feed(derivation.primal, sizes, seed=1)
    given = {n: torch.tensor(array) for n, array in feed.items()}
    for parameter, _ in derivation.gradients:
        given[parameter].requires_grad_()
    loss = LOSSES[name](given)
    loss.backward()  # type: ignore[no-untyped-call]

    found = interpret(derivation.program, sizes, feed)
    assert relative_error(found[derivation.program.loss], loss.detach().numpy()) <= LOSS_TOLERANCE
    assert derivation.gradients
    for parameter, adjoint in derivation.gradients:
        expected = given[parameter].grad
        assert expected is not None
        error = relative_error(found[adjoint], expected.numpy())
        assert error <= GRADIENT_TOLERANCE, f"gradient of {parameter} is off by {error:.1e}"


@pytest.mark.parametrize("name", WORKLOADS)
def test_every_parameter_is_learnt(name: str) -> None:
    derivation = small(name)
    parameters = [t.name for t in derivation.primal.tensors if t.role.name == "PARAMETER"]
    assert [n for n, _ in derivation.gradients] == parameters


@pytest.mark.parametrize("name", WORKLOADS)
def test_full_size_is_emitted(name: str) -> None:
    workload = WORKLOADS[name]
    files = emit_model(workload.build(), dtype=workload.dtype)
    functions = {n.name for n in ast.parse(files["kernels.py"]).body if isinstance(n, ast.FunctionDef)}
    assert {"forward", "backward", "loss_and_grad_into"} <= functions
    assert ("train_step_into" in functions) == (name != "swiglu_rmsnorm")


def test_the_chart_shows_every_workload() -> None:
    steps = {
        n: {"median_s": s, "cpu_s": c} for n, s, c in (("symbp", 1.0, 1.0), ("torch", 4.0, 4.0), ("jax", 0.5, 0.9))
    }
    machine = {"cpu": "a processor", "date": "today"}
    drawn = draw({"machine": machine, "workloads": {"one": {"steps": steps}, "two": {"steps": steps}}})
    words = ["".join(e.itertext()) for e in ElementTree.fromstring(drawn).iter() if e.tag.endswith("text")]
    assert {"one", "two", "4.0", "0.50 +", "torch", "jax"} <= set(words)

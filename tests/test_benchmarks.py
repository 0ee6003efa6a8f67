"""The benchmarks' models at a small size: they compile, and their equations have the gradients that torch finds."""

from __future__ import annotations

import ast
import inspect
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from xml.etree import ElementTree

import pytest
import torch

from benchmarks import stepping, torch_models
from benchmarks.chart import draw
from benchmarks.children import Worker, summary
from benchmarks.contenders import CONTENDERS, LOOPED, STEPS_CHECKED, check, given
from benchmarks.report import ORDER, report, variants_report
from benchmarks.torch_contender import TorchStep, reference
from benchmarks.workload import Workload
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
    body = ast.parse(files["kernels.py"]).body
    functions = {n.name for n in body if isinstance(n, ast.FunctionDef)}
    functions |= {ast.unparse(t) for n in body if isinstance(n, ast.Assign) for t in n.targets}
    assert {"forward", "loss_and_grad_into"} <= functions
    assert ("train_step_into" in functions) == (name != "swiglu_rmsnorm")


def shrunk(name: str) -> Workload:
    workload = WORKLOADS[name]
    return replace(workload, extents=workload.small, sizes=workload.small_sizes)


def expected(workload: Workload) -> dict[str, Any]:
    return reference(workload, *given(workload), STEPS_CHECKED)


@pytest.mark.parametrize("name", WORKLOADS)
def test_torch_trains_as_in_float64(name: str) -> None:
    workload = shrunk(name)
    parameters, inputs = given(workload)
    assert 0 <= check(TorchStep(workload, parameters, inputs), parameters, expected(workload), workload.dtype) < 1e-3


def test_a_step_and_an_epoch_of_ours_train_as_in_float64(tmp_path: Path) -> None:
    workload = shrunk("linreg")
    stepping.write(workload, tmp_path)
    for name in ("symbp", "symbp fit"):
        contender = CONTENDERS[name](workload, tmp_path, 1)
        assert check(contender, given(workload)[0], expected(workload), workload.dtype) < 1e-5


@pytest.mark.parametrize("name", ["linreg", "logreg", "deep5", "swiglu_rmsnorm"])
def test_jax_trains_as_in_float64(name: str, tmp_path: Path) -> None:
    pytest.importorskip("jax")
    workload = shrunk(name)
    for form in ("jax", "jax loop") if name in LOOPED else ("jax",):
        contender = CONTENDERS[form](workload, tmp_path, 1)
        assert check(contender, given(workload)[0], expected(workload), workload.dtype) < 1e-3


def test_a_wrong_gradient_or_update_is_found() -> None:
    workload = shrunk("tiny_mlp")
    parameters, inputs = given(workload)
    contender, right = TorchStep(workload, parameters, inputs), expected(workload)
    with pytest.raises(AssertionError, match="the gradient of W2 is off"):
        check(contender, parameters, {**right, "gradient of W2": -right["gradient of W2"]}, "float32")
    with pytest.raises(AssertionError, match="the loss after 5 steps"):
        check(contender, parameters, {**right, "trained": 2 * right["trained"] - right["loss"]}, "float32")


def test_derivatives_written_out_are_those_of_the_network() -> None:
    parameters, inputs = given(shrunk("pinn"))
    arrays = {n: torch.tensor(a) for n, a in {**parameters, **inputs}.items()}
    torch.testing.assert_close(torch_models.pinn_taylor(arrays), torch_models.pinn(arrays).detach())


@pytest.mark.parametrize("name", WORKLOADS)
def test_variants_name_every_size(name: str) -> None:
    workload = WORKLOADS[name]
    own = {*inspect.signature(workload.build).parameters, *workload.sizes}
    assert len(workload.variants) >= 2
    for number, sizes in enumerate(workload.variants, start=1):
        assert set(sizes) <= own
        assert set(workload.sizes) <= set(sizes)
        varied = workload.variant(number)
        assert vars(varied.all_sizes()) == {**vars(workload.all_sizes()), **sizes}
        assert varied.flops() == 0 or varied.flops() != workload.flops()
        assert {s.name for s in varied.model().program().sizes()} == set(varied.sizes)


def test_operations_of_matrix_products() -> None:
    forward = 128 * (784 * 128 + 128 * 10)
    assert WORKLOADS["mlp_mnist"].flops() == 2 * (2 * forward + 128 * 128 * 10)  # no gradient of the pixels
    maps = 2 * 24**2 * 6 * 25 + 3 * 8**2 * 16 * 6 * 25
    assert WORKLOADS["lenet5"].flops() == 2 * 128 * (maps + 3 * (256 * 120 + 120 * 84 + 84 * 10))
    assert WORKLOADS["lstm_char"].flops() == 3 * 2 * 32 * 64 * (128 * 512 + 128 * 64)
    pairs = 64 * 65 // 2
    layers = 128 * 384 + 128 * 128 + 2 * 128 * 512 + 128 * 256
    assert WORKLOADS["tfblock"].flops() == 3 * 2 * 16 * (64 * layers + pairs * 2 * 128)
    assert WORKLOADS["big_mlp"].traffic(weights=100, state=0) == 400
    assert WORKLOADS["swiglu_rmsnorm"].traffic(weights=0, state=0) == 4 * 2048 * (3 * 1024 + 5 * 2816)


def test_kernels_for_threads_are_taken_where_the_module_takes_them() -> None:
    kernels = SimpleNamespace(train_step_into="one", train_step_threads="many", loss_into="l")

    def count(samples: int, chunk: int) -> int:
        return -(-samples // chunk)

    net: Any = SimpleNamespace(kernels=kernels, worker_count=count)
    assert stepping.worker_count(net, lambda: net.worker_count(100, 64)) == 2
    assert net.worker_count is count
    assert stepping.worker_count(SimpleNamespace(), lambda: None) == 1  # type: ignore[arg-type]
    assert [stepping.kernel(net, "train_step", workers) for workers in (1, 2)] == ["one", "many"]
    assert stepping.kernel(net, "loss", 2) == "l"


def test_memory_has_a_row_for_each_worker() -> None:
    net: Any = SimpleNamespace(
        train_workspace=lambda n_batch, **_: n_batch, train_chunk=lambda workers=1, *, n_batch, **_: (workers, n_batch)
    )
    assert stepping.memories(net, "train", {"n_batch": 7}, workers=3) == {"workspace": 7, "chunk": (3, 7)}
    assert stepping.memories(net, "predict", {"n_batch": 7}) == {}


def test_disturbed_rounds_are_left_out() -> None:
    calm = {"wall": [2.0, 1.0, 3.0], "cpu": [1.0, 1.0, 1.0], "disturbed": False}
    loud = {"wall": [9.0, 9.0, 9.0, 9.0], "cpu": [1.0, 1.0, 1.0, 1.0], "disturbed": True}
    worker = Worker("symbp", cast(Any, None), {"error": 0.0}, [calm, loud, calm])
    assert summary(worker) == {
        "error": 0.0, "median_s": 2.0, "p10_s": 1.0, "cpu_s": 1.0, "blocks": 6, "disturbed": False,
    }  # fmt: skip
    assert summary(replace(worker, rounds=[calm, loud]))["disturbed"]


def result() -> dict[str, Any]:
    """Of two workloads with one and with two threads; torch.compile has failed in all of them."""
    taken = {"symbp": 2.0, "symbp fit": 1.0, "torch": 4.0, "jax": 0.5, "jax loop": 0.25}
    steps: dict[str, Any] = {
        n: {"median_s": s, "p10_s": s, "cpu_s": s, "build_cpu_s": 1.0, "disturbed": n == "torch"}
        for n, s in taken.items()
    }
    steps["torch.compile"] = {"failed": "not ready"}
    first = {"cpu_s": 1.0, "wall_s": 2.0}
    found = {
        "steps": {"1": steps, "2": steps}, "emit_cpu_s": 0.1, "kernel_lines": 9, "cold": first, "warm": first,
        "flops": 3e9, "bytes": 4e9, "weight_bytes": 1e9, "dtype": "float32", "sizes": {"n": 7},
    }  # fmt: skip
    limits = {"float32": {"numpy": 1e9, "torch": 2e9}, "float64": {"numpy": 1e9}, "bandwidth": 5e9, "cache": 1 << 20}
    machine = {
        "date": "today", "cpu": "a processor", "cores": 2, "system": "a system", "python": "3", "load": None,
        "versions": {"symbp": "1"}, "limits": {"1": limits, "2": {**limits, "bandwidth": 1e9}},
    }  # fmt: skip
    return {"machine": machine, "workloads": {"one": found, "two": found}}


def test_the_table_has_ratios_and_floors() -> None:
    found = result()
    lines = report(found["machine"], found["workloads"]).splitlines()
    (head,) = {line for line in lines if line.startswith("| workload | symbp")}
    assert head == (
        "| workload | symbp | symbp fit | torch | jax | jax loop | best of others / symbp | floor | symbp / floor |"
    )
    rows = [line for line in lines if line.startswith("| one | 2 s")]
    assert rows[0] == (
        "| one | 2 s (2 s, 1.0) | 1 s (1 s, 1.0) | 4 s (4 s, 1.0) ~ | 500 ms (500 ms, 1.0) | 250 ms (250 ms, 1.0) "
        "| 0.25 | 1.5 s | 0.667 |"
    )
    assert rows[1].endswith("| 0.25 | 4 s | 0.25 |")  # by the bandwidth
    assert "- two: torch.compile: not ready" in lines
    assert "one: n 7" in variants_report(found["machine"], found["workloads"])


def test_the_chart_shows_every_workload() -> None:
    drawn = ElementTree.fromstring(draw(result()))
    words = ["".join(e.itertext()) for e in drawn.iter() if e.tag.endswith("text")]
    assert {"one", "two", "1 thread, on one core", "2 threads", "torch", "jax"} <= set(words)
    assert words.count("0.25") == 4  # the better of JAX's two forms over the better of ours
    assert "torch.compile" not in words
    assert sum(e.tag.endswith("circle") for e in drawn.iter()) == 4 + 1  # torch in each row, and in the legend


def test_every_contender_has_a_column() -> None:
    assert list(ORDER) == list(CONTENDERS)

"""What the backward pass computes again: the cheapest choice, the same gradients, and no whole array of scores."""

from __future__ import annotations

import pytest

from symbp import Model, SelfAttention, emit_model, mse
from symbp.ir.plan import Memory
from symbp.ir.program import Program
from symbp.pipeline import compile_to_plan
from symbp.schedule import recompute
from tests.numeric import attention_models, convolution_models, dense_models, recurrent_models
from tests.numeric.harness import Case, check_against_torch, imported, model_of

NAMES = ("several heads", "five layers, cross-entropy", "layer norm, rms norm", "lenet", "contrastive")
ALL = (
    *dense_models.CASES,
    *convolution_models.CASES,
    *attention_models.CASES,
    *recurrent_models.CASES,
)
CASES = [c for c in ALL if c.name in NAMES]


def attention(length: int) -> Model:
    model = Model("attention")
    b, t, e = model.axis("b", "batch"), model.axis("t", length), model.axis("e", 16)
    x, y = model.input("x", b, t, e), model.input("y", b, t, e)
    model.loss(mse(SelfAttention(2, name="heads", causal=True)(x), y))
    return model


def training(model: Model) -> Program:
    derivation = compile_to_plan(model).derivation
    assert derivation is not None
    return derivation.program


def test_every_case_is_there() -> None:
    assert {c.name for c in CASES} == set(NAMES)


@pytest.mark.parametrize(
    ("case", "chunk"), [*((c, 3) for c in CASES), *((c, 0) for c in CASES[:2])], ids=lambda v: str(v)
)
def test_gradients_are_the_same(case: Case, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recompute, "IN_CACHE", 0)
    monkeypatch.setattr(recompute, "BYTES_PER_NANOSECOND_OUTSIDE", 0.01)
    model = model_of(case)
    files = emit_model(model, dtype="float64", standalone=False, chunk=chunk)
    assert "_again" in files["kernels.py"]
    net = imported(files, f"again/{case.name}/{chunk}", model.name)
    check_against_torch(case, net, "float64", case.sizes)


def test_scores_that_fit_the_cache_are_kept() -> None:
    assert "_again" not in emit_model(attention(64))["kernels.py"]


def test_of_long_sequences_no_head_keeps_its_scores() -> None:
    """Nothing has two whole axes of time, neither what is kept nor what a head works with."""
    length = 2048
    plan = compile_to_plan(attention(length)).plan
    places = [b for p in plan.procedures for b in p.views if b.memory in (Memory.CHUNK, Memory.WORKSPACE)]
    tensors = plan.tensors | {t.name: t for p in plan.procedures for t in p.tensors}
    shapes = {b.tensor: [*map(str, tensors[b.tensor].shape)] for b in places}
    assert shapes["heads_a_again"] == ["256", "2048"]
    assert all(shape.count("2048") < 2 for shape in shapes.values()), shapes
    assert int(plan.workspaces["train"][Memory.CHUNK]) < length**2


def test_what_is_kept_anyhow_is_not_made_again() -> None:
    program = training(attention(2048))
    ahead = {s.tensor for s in program.keep_live([program.loss]).statements}
    again = recompute.save_or_recompute(program, ahead, [], {"n_batch": 1})[1]
    assert "heads_p_again" in again
    kept = recompute.save_or_recompute(program, ahead, ["heads_p"], {"n_batch": 1})[1]
    assert "heads_p_again" not in kept


def test_a_recurrence_is_never_run_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recompute, "IN_CACHE", 0)
    monkeypatch.setattr(recompute, "BYTES_PER_NANOSECOND_OUTSIDE", 1e-9)
    program = training(model_of(next(c for c in recurrent_models.CASES if c.name == "gru")))
    ahead = {s.tensor for s in program.keep_live([program.loss]).statements}
    assert recompute.save_or_recompute(program, ahead, [program.loss], {}) == (program, frozenset())

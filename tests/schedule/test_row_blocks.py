"""Scores in blocks of rows: the same gradients as torch whatever the length of a block, and only a block in memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from symbp import Model, SelfAttention, emit_model, mse
from symbp.ir.plan import Memory
from symbp.pipeline import compile_to_plan
from symbp.schedule import recompute, row_blocks
from tests.numeric import attention_models
from tests.numeric.harness import Case, check_against_torch, imported, model_of

CASES = [attention_models.ONE_HEAD_CASE, attention_models.BLOCK_CASE, *attention_models.CASES[2:4]]


def attention(length: int | None, causal: bool = True) -> Model:
    model = Model("attention")
    b, e = model.axis("b", "batch"), model.axis("e", 32)
    t = model.axis("t", "time" if length is None else length)
    x, y = model.input("x", b, t, e), model.input("y", b, t, e)
    model.loss(mse(SelfAttention(2, name="heads", causal=causal)(x), y))
    return model


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of sixteen rows, and scores computed again."""
    monkeypatch.setattr(row_blocks, "LARGE_MATRIX", 0)
    monkeypatch.setattr(row_blocks, "LARGEST_BLOCK", 0)
    monkeypatch.setattr(row_blocks, "FEWEST_ROWS", 16)
    monkeypatch.setattr(row_blocks, "ROWS_OF_A_BLOCK", 16)
    monkeypatch.setattr(recompute, "IN_CACHE", 0)
    monkeypatch.setattr(recompute, "BYTES_PER_NANOSECOND_OUTSIDE", 0.01)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("length", [37, 32, None])
def test_against_torch(length: int | None, causal: bool) -> None:
    files = emit_model(attention(length, causal), dtype="float64", standalone=False)
    assert "t_last = min(t_first + 16, " in files["kernels.py"]
    net = imported(files, f"row_blocks/{length}/{causal}", "attention")
    random = np.random.default_rng(0)
    for time in (length,) if length else (1, 15, 16, 33):
        params = net.init(seed=1)
        x, y = random.normal(size=(3, time, 32)), random.normal(size=(3, time, 32))
        loss, found = net.loss_and_grad(params, x, y)
        weights = {n: torch.tensor(np.array(params[n]), requires_grad=True) for n in params}
        expected = reference(weights, torch.tensor(x), torch.tensor(y), causal)
        expected.backward()  # type: ignore[no-untyped-call]
        assert loss == pytest.approx(expected.item(), rel=1e-12)
        for name, weight in weights.items():
            assert weight.grad is not None
            np.testing.assert_allclose(found[name], weight.grad.numpy(), rtol=1e-9, atol=1e-12, err_msg=name)


def reference(w: dict[str, torch.Tensor], x: torch.Tensor, y: torch.Tensor, causal: bool) -> torch.Tensor:
    q, k, v = (torch.einsum("bte,ehd->bhtd", x, w[f"heads_{m.upper()}"]) + w[f"heads_c_{m}"][:, None] for m in "qkv")
    o = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=causal)
    out = torch.einsum("bhtd,hdm->btm", o, w["heads_W"]) + w["heads_c"]
    return ((out - y) ** 2).mean()


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("case", CASES, ids=str)
def test_families_of_attention(case: Case) -> None:
    model = model_of(case)
    net = imported(emit_model(model, dtype="float64", standalone=False), f"row_blocks/{case.name}", model.name)
    check_against_torch(case, net, "float64", case.sizes)


@pytest.mark.parametrize("length", [2048, None])
def test_only_a_block_of_scores_is_in_memory(length: int | None) -> None:
    plan = compile_to_plan(attention(length)).plan
    tensors = plan.tensors | {t.name: t for p in plan.procedures for t in p.tensors}
    scores = {b.tensor for p in plan.procedures for b in p.views if b.memory is Memory.CHUNK and "_a" in b.tensor}
    assert scores
    assert all(str(tensors[n].shape[0]) == "256" for n in scores if tensors[n].rank == 2)


def test_small_matrices_stay_whole() -> None:
    assert "t_first" not in emit_model(attention(64))["kernels.py"]

"""What stays within one sample and what needs all of them; how long a chunk is."""

from __future__ import annotations

from dataclasses import replace

import pytest
import sympy as sp

from symbp import Model, mean, mse, relu, softmax_cross_entropy, sum, tanh
from symbp.errors import TargetError
from symbp.ir.affine import Size
from symbp.ir.plan import Machine, Memory, Portion
from symbp.pipeline import compile_to_plan, derive_model, emit_model
from symbp.schedule.build import PASSES
from symbp.schedule.slices import Slices, cut_batch


def dense(inputs: int = 300, hidden: int = 200, classes: int = 10) -> Model:
    model = Model("dense")
    b, j, k, o = model.axis("b", "batch"), model.axis("j", inputs), model.axis("k", hidden), model.axis("o", classes)
    x, y = model.input("x", b, j), model.input("y", b, dtype="int", below=classes)
    W, c, V = model.parameter("W", j, k), model.parameter("c", k), model.parameter("V", k, o)
    h = model.define("h[b, k]", relu(sum(x[b, j] * W[j, k], j) + c[k]))
    model.loss(softmax_cross_entropy(model.define("z[b, o]", sum(h[b, k] * V[k, o], k)), y))
    return model


def cut(model: Model, chunk: int | None = 16) -> Slices | None:
    derivation = derive_model(model)
    wanted = (derivation.program.loss, *(g for _, g in derivation.gradients))
    program = replace(derivation.program.keep_live(wanted), outputs=())
    return cut_batch(PASSES[Machine.LOOPS][0](program), chunk)


def names(slices: Slices) -> tuple[set[str], set[str], set[str]]:
    return tuple({s.tensor for s in part.statements} for part in (slices.before, slices.rows, slices.after))  # type: ignore[return-value]


def test_a_dense_net() -> None:
    slices = cut(dense())
    assert slices is not None
    before, rows, after = names(slices)
    assert not before
    assert {"h", "z", "z_bar", "h_bar", "loss_part", "c_bar_part"} <= rows
    assert {"W_bar", "V_bar", "c_bar", "loss"} == after  # V_bar: 2000 sums of 5 products are no part worth keeping
    assert {"x", "y"} == slices.given
    assert slices.exported == {"h", "z_bar", "h_pre_bar", "loss_part", "c_bar_part"}
    assert slices.rows.tensor("h").shape[0].as_atom() == Size("rows")
    assert str(slices.whole.tensor("c_bar_part").shape[0]) == "chunks"


def test_what_other_samples_are_read_for_stays_whole() -> None:
    model = Model("centred")  # every sample less the mean of all of them
    b, j, k = model.axis("b", "batch"), model.axis("j", 100), model.axis("k", 100)
    b2 = model.axis("b2", b)
    x, y, W = model.input("x", b, j), model.input("y", b, k), model.parameter("W", j, k)
    z = model.define("z[b, k]", sum(x[b, j] * W[j, k], j))
    m = model.define("m[k]", mean(z[b2, k], b2))
    model.loss(mse(model.define("p[b, k]", z[b, k] - m[k]), y))
    slices = cut(model)
    assert slices is None or {"p", "p_bar", "z_bar"} & names(slices)[1] == set()


def test_a_sample_at_another_place_is_not_its_own() -> None:
    model = Model("neighbours")
    b, j, k = model.axis("b", "batch"), model.axis("j", 64), model.axis("k", 64)
    x, y, W = model.input("x", b, j), model.input("y", b, k), model.parameter("W", j, k)
    z = model.define("z[b, k]", tanh(sum(x[b, j] * W[j, k], j)))
    p = model.variable("p", b, k)
    model.define(p[b, k], z[b, k] + z[b - 1, k], where=b >= 1)
    model.define(p[0, k], z[0, k])
    model.loss(mse(p, y))
    slices = cut(model)
    assert slices is None or "p" not in names(slices)[1]


def test_what_no_sample_is_needed_for_comes_first() -> None:
    model = Model("scaled")
    b, j, k = model.axis("b", "batch"), model.axis("j", 64), model.axis("k", 64)
    x, y, W, s = model.input("x", b, j), model.input("y", b, k), model.parameter("W", j, k), model.parameter("s", k)
    V = model.define("V[j, k]", W[j, k] * sp.exp(s[k]))
    model.loss(mse(model.define("z[b, k]", sum(x[b, j] * V[j, k], j)), y))
    slices = cut(model)
    assert slices is not None
    before, rows, after = names(slices)
    assert "V" in before
    assert "z" in rows
    assert {"V_bar", "W_bar", "s_bar"} <= after


def test_a_chunk_has_work_enough() -> None:
    assert cut(dense(3, 4, 2), None) is None  # a net so small that calls would cost more than threads win
    small, large = cut(dense(300, 200), None), cut(dense(3000, 2000), None)
    assert small is not None
    assert large is not None
    assert 8 <= small.cut.longest <= 64
    assert large.cut.longest >= 64  # the weights do not stay in the cache: each passes through it once for a chunk


def test_memory_of_a_chunk_does_not_grow_with_the_batch() -> None:
    plan = compile_to_plan(dense(), chunk=16).plan
    lengths = plan.workspaces["train"]
    assert lengths[Memory.CHUNK].is_constant
    assert lengths[Memory.CHUNK].constant >= 16 * 200
    portions = {p.name: p.portion for p in plan.procedures}
    assert portions == {
        "predict_rows": Portion.ROWS,
        "forward_rows": Portion.ROWS,
        "backward_rows": Portion.ROWS,
        "loss_of_rows": Portion.WHOLE,
        "gradients_share": Portion.SHARE,
    }


def test_no_chunks_on_request() -> None:
    plan = compile_to_plan(dense(), chunk=0).plan
    assert [p.name for p in plan.procedures] == ["predict_into", "forward", "backward"]
    assert not plan.cuts


def test_a_chunk_of_no_size() -> None:
    with pytest.raises(TargetError, match="chunk: expected a number of samples, or 0 for no chunks, found -1"):
        emit_model(dense(), chunk=-1)

"""Plans of contractions, carried out in NumPy, against numpy.einsum; and what the plans of known products look like."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from symbp.errors import ShapeError
from symbp.runtime.cuda.contraction import ContractionPlan, Layout, Pair, plan_contraction
from tests.runtime.cuda.contraction_cases import cases

Array = np.ndarray[Any, Any]


def layout(array: Array, *, aligned: bool = True) -> Layout:
    return Layout(array.shape, tuple(stride // array.itemsize for stride in array.strides), aligned)


def places(pair: Pair, side: str) -> Array:
    """How far each entry of a pair lies from the start of an operand."""
    outer, inner = (np.arange(axis.count) * getattr(axis, side) for axis in (pair.outer, pair.inner))
    return (outer[:, None] + inner).ravel()


def carry_out(plan: ContractionPlan, left: Array, right: Array, out: Array) -> None:
    """The plan in NumPy, on the memory of the arrays from their first elements on."""
    if plan.exchanged:
        left, right = right, left
    left, right, out = (np.lib.stride_tricks.as_strided(a, (_span(a),), (a.itemsize,)) for a in (left, right, out))
    for left_start, right_start, out_start, accumulate in plan.starts():
        for batch in range(plan.batch.count):
            rows, columns, summed = plan.rows, plan.columns, plan.summed
            of_left, of_right, of_out = (places(plan.batch, side)[batch] for side in ("left", "right", "out"))
            left_at = left_start + of_left + places(rows, "left")[:, None] + places(summed, "left")
            right_at = right_start + of_right + places(summed, "right")[:, None] + places(columns, "right")
            out_at = out_start + of_out + places(rows, "out")[:, None] + places(columns, "out")
            total = np.zeros(out_at.shape, out.dtype)
            for part in range(plan.parts):
                these = slice(part * plan.part_length, (part + 1) * plan.part_length)
                total += left[left_at[:, these]] @ right[right_at[these]]
            out[out_at] = out[out_at] + total if accumulate else total


def _span(array: Array) -> int:
    if array.size == 0:
        return 0
    return 1 + sum((n - 1) * s // array.itemsize for n, s in zip(array.shape, array.strides, strict=True))


@settings(max_examples=300, deadline=None)
@given(cases(), st.booleans(), st.sampled_from([1, 4, 132]))
def test_a_plan_computes_what_einsum_does(
    case: tuple[str, list[Array], Array], accumulate: bool, processors: int
) -> None:
    subscripts, (left, right), out = case
    expected = np.einsum(subscripts, left, right) + (out if accumulate else 0)
    memory = out if out.base is None else out.base
    before = memory.copy()
    plan = plan_contraction(
        subscripts, "float64", layout(left), layout(right), layout(out), accumulate, processors, shortest_part=2
    )
    carry_out(plan, left, right, out)
    np.testing.assert_allclose(out, expected, rtol=1e-12, atol=1e-12)
    out[...] = 0  # the same where the result lies, so that what differs lies between its elements
    after = memory.copy()
    memory[...] = before
    out[...] = 0
    np.testing.assert_array_equal(after, memory)


@settings(max_examples=200, deadline=None)
@given(cases())
def test_wide_words_are_aligned_and_whole(case: tuple[str, list[Array], Array]) -> None:
    subscripts, (left, right), out = case
    plan = plan_contraction(subscripts, "float32", layout(left), layout(right), layout(out))
    for access, side, own in ((plan.left, "left", plan.rows), (plan.right, "right", plan.columns)):
        if access.width == 4:
            along, other = (plan.summed, own) if access.summed_first else (own, plan.summed)
            starts = places(along, side).reshape(-1, 4)
            assert (np.diff(starts, axis=1) == 1).all()
            assert (starts[:, 0] % 4 == 0).all()
            assert (places(other, side) % 4 == 0).all()
            assert (places(plan.batch, side) % 4 == 0).all()
            assert all(start[side == "right"] % 4 == 0 for start in plan.starts())
    if plan.wide:
        starts = places(plan.columns, "out").reshape(-1, 4)
        assert (np.diff(starts, axis=1) == 1).all()
        assert (starts[:, 0] % 4 == 0).all()
        assert all((places(pair, "out") % 4 == 0).all() for pair in (plan.batch, plan.rows))
        assert all(start[2] % 4 == 0 for start in plan.starts())


def planned(subscripts: str, *shapes: tuple[int, ...], dtype: str = "float32") -> ContractionPlan:
    return plan_contraction(subscripts, dtype, *(layout(np.broadcast_to(np.empty(shape), shape)) for shape in shapes))


def test_a_dense_layer_is_one_product_with_wide_words() -> None:
    plan = planned("bj,jk->bk", (128, 784), (784, 128), (128, 128))
    assert (plan.rows.count, plan.columns.count, plan.summed.count) == (128, 128, 784)
    assert plan.left.summed_first
    assert not plan.right.summed_first
    assert (plan.left.width, plan.right.width, plan.wide) == (4, 4, True)
    assert not plan.loops


def test_axes_that_follow_each_other_in_memory_merge() -> None:
    plan = planned("btl,btqk->lqk", (16, 20, 12), (16, 20, 4, 12), (12, 4, 12))
    assert (plan.summed.folded, plan.summed.count) == (False, 320)
    assert (plan.columns.folded, plan.columns.count) == (False, 48)


def test_a_slice_in_time_is_walked_as_two_axes() -> None:
    h = np.empty((16, 21, 12), np.float32)[:, :20]
    z, bar = np.empty((16, 20, 48), np.float32), np.empty((12, 48), np.float32)
    plan = plan_contraction("btl,btk->lk", "float32", layout(h), layout(z), layout(bar))
    assert plan.summed.folded
    assert (plan.summed.outer.count, plan.summed.inner.count) == (16, 20)
    assert not plan.loops


def test_attention_is_a_batch_over_two_axes() -> None:
    plan = planned("bthe,bshe->bhts", (3, 7, 4, 8), (3, 5, 4, 8), (3, 4, 7, 5))
    assert (plan.batch.outer.count, plan.batch.inner.count) == (3, 4)
    assert (plan.rows.count, plan.columns.count, plan.summed.count) == (7, 5, 8)
    assert not plan.loops


def test_a_transposed_result_exchanges_the_operands() -> None:
    assert planned("bj,jk->kb", (8, 16), (16, 12), (12, 8)).exchanged
    assert not planned("bj,jk->bk", (8, 16), (16, 12), (8, 12)).exchanged


def test_a_long_sum_for_few_results_is_cut_into_parts() -> None:
    plan = planned("bj,bk->jk", (2048, 128), (2048, 512), (128, 512))
    assert plan.parts > 1
    assert plan.parts * plan.part_length >= 2048 > (plan.parts - 1) * plan.part_length
    assert 100 <= plan.blocks <= 132
    assert planned("bj,jk->bk", (2048, 2048), (2048, 2048), (2048, 2048)).parts == 1


def test_the_parts_do_not_depend_on_strides_or_alignment() -> None:
    shapes = (2048, 128), (2048, 512), (128, 512)
    plain = planned("bj,bk->jk", *shapes)
    odd = [layout(np.empty((shape[0], shape[1] + 3))[:, 1:-2], aligned=False) for shape in shapes]
    gapped = plan_contraction("bj,bk->jk", "float32", *odd)
    assert (gapped.left.width, gapped.right.width, gapped.wide) == (1, 1, False)
    assert (gapped.tile, gapped.parts, gapped.part_length) == (plain.tile, plain.parts, plain.part_length)


@pytest.mark.parametrize(
    ("subscripts", "shapes", "message"),
    [
        ("bj,jk", ((2, 3), (3, 4), (2, 4)), "expected subscripts such as"),
        ("bj,jk->bk", ((2, 3, 1), (3, 4), (2, 4)), "one letter for each axis"),
        ("bb,bk->bk", ((2, 2), (2, 4), (2, 4)), "one letter for each axis"),
        ("bj,k->bk", ((2, 3), (4,), (2, 4)), "expected 'j' in at least two"),
        ("bj,jk->bk", ((2, 3), (5, 4), (2, 4)), "one extent for 'j'"),
    ],
)
def test_what_does_not_fit_is_refused(subscripts: str, shapes: tuple[tuple[int, ...], ...], message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        plan_contraction(subscripts, "float32", *(layout(np.empty(shape)) for shape in shapes))

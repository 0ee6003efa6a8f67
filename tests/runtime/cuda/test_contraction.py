"""Contractions on the emulated device, where every access is checked, against numpy.einsum in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from symbp.check.emulator import EmulatedDevice
from symbp.errors import ShapeError
from symbp.runtime.cuda import contraction
from symbp.runtime.cuda.array import DeviceArray
from symbp.runtime.cuda.contraction import Layout, contract, plan_contraction, run_contraction
from tests.runtime.cuda.contraction_cases import cases

Array = np.ndarray[Any, Any]


@pytest.fixture
def device() -> EmulatedDevice:
    return EmulatedDevice()


class Case:
    """Random operands of given shapes with gaps along some axes, on the device and in NumPy."""

    def __init__(
        self,
        device: EmulatedDevice,
        subscripts: str,
        extents: dict[str, int],
        *,
        dtype: str = "float32",
        gaps: tuple[str, str, str] = ("", "", ""),
        shift: int = 0,
    ) -> None:
        self.device, self.subscripts, self.dtype = device, subscripts, dtype
        sources, _, target = subscripts.partition("->")
        self.random = np.random.default_rng(len(subscripts) + sum(extents.values()))
        self.arrays: list[DeviceArray] = []
        self.values: list[Array] = []
        for letters, gapped in zip((*sources.split(","), target), gaps, strict=True):
            shape = [extents[letter] for letter in letters]
            room = [extents[letter] + 3 * (letter in gapped) for letter in letters]
            memory = self.random.standard_normal(shift + int(np.prod(room))).astype(dtype)
            window = tuple(slice(0, extent) for extent in shape)
            self.arrays.append(device.upload(memory).view(shift, room)[window])
            self.values.append(memory[shift:].reshape(room)[(*window, ...)])

    def check(self, *, accumulate: bool = False, processors: int = 132, shortest_part: int = 128) -> None:
        left, right, out = self.arrays
        layouts = (Layout(a.shape, a.strides, a.pointer % 16 == 0) for a in self.arrays)
        plan = plan_contraction(self.subscripts, self.dtype, *layouts, accumulate, processors, shortest_part)
        run_contraction(self.device, plan, left, right, out)
        exact = [values.astype(np.float64) for values in self.values]
        expected = np.einsum(self.subscripts, *exact[:2])
        size = np.einsum(self.subscripts, *map(np.abs, exact[:2])) + np.abs(exact[2])
        if accumulate:
            expected = expected + exact[2]
        # Rounding of a sum in order is at most (terms * unit) of the sum of magnitudes; random signs make it less.
        terms = plan.summed.count + 2
        assert (np.abs(out.to_host() - expected) <= terms * np.finfo(self.dtype).eps * size).all()


PRODUCTS = {
    "rows by rows": ("bj,jk->bk", {"b": 7, "j": 13, "k": 5}),
    "columns by rows": ("jb,jk->bk", {"b": 13, "j": 7, "k": 33}),
    "rows by columns": ("bj,kj->bk", {"b": 33, "j": 17, "k": 34}),
    "columns by columns": ("jb,kj->bk", {"b": 5, "j": 31, "k": 7}),
    "words of four": ("bj,jk->bk", {"b": 36, "j": 20, "k": 40}),
    "words of four, transposed": ("jb,kj->bk", {"b": 36, "j": 20, "k": 40}),
    "a transposed result": ("bj,jk->kb", {"b": 8, "j": 4, "k": 12}),
    "one by one": ("bj,jk->bk", {"b": 1, "j": 1, "k": 1}),
    "one row": ("bj,jk->bk", {"b": 1, "j": 13, "k": 7}),
    "one column": ("bj,jk->bk", {"b": 13, "j": 7, "k": 1}),
    "an outer product": ("b,k->bk", {"b": 5, "k": 9}),
    "a dot product": ("j,j->", {"j": 37}),
    "a matrix and a vector": ("bj,j->b", {"b": 9, "j": 6}),
    "a batch of dots": ("bj,bj->b", {"b": 5, "j": 6}),
    "scores of attention": ("bthe,bshe->bhts", {"b": 2, "t": 5, "h": 3, "s": 4, "e": 7}),
    "values of attention": ("bhts,bshe->bthe", {"b": 2, "t": 5, "h": 3, "s": 4, "e": 8}),
    "a step of an LSTM": ("bl,lqk->bqk", {"b": 5, "l": 6, "q": 4, "k": 6}),
    "the weights of an LSTM": ("btl,btqk->lqk", {"b": 3, "t": 4, "l": 6, "q": 4, "k": 6}),
}


@pytest.mark.parametrize("accumulate", [False, True])
@pytest.mark.parametrize("name", PRODUCTS)
def test_products(device: EmulatedDevice, name: str, accumulate: bool) -> None:
    Case(device, *PRODUCTS[name]).check(accumulate=accumulate)


@pytest.mark.parametrize(
    ("subscripts", "extents", "gaps"),
    [
        ("btl,btk->lk", {"b": 3, "t": 5, "l": 8, "k": 12}, ("t", "", "")),
        ("btl,btk->lk", {"b": 3, "t": 5, "l": 7, "k": 13}, ("t", "t", "")),
        ("btj,jk->btk", {"b": 3, "t": 5, "j": 8, "k": 12}, ("t", "", "")),
        ("bj,jqk->bqk", {"b": 3, "j": 8, "q": 3, "k": 4}, ("", "k", "")),
        ("bj,jqk->bqk", {"b": 3, "j": 8, "q": 3, "k": 4}, ("j", "", "k")),
        ("bj,jk->bk", {"b": 5, "j": 6, "k": 7}, ("j", "k", "k")),
        ("qbtl,qbtk->qlk", {"q": 2, "b": 3, "t": 5, "l": 4, "k": 3}, ("bt", "bt", "k")),
    ],
)
def test_slices_of_longer_arrays(
    device: EmulatedDevice, subscripts: str, extents: dict[str, int], gaps: tuple[str, str, str]
) -> None:
    Case(device, subscripts, extents, gaps=gaps).check(accumulate=True)


def test_axes_that_fit_no_kernel_are_launched_one_by_one(device: EmulatedDevice) -> None:
    extents = {"a": 2, "b": 3, "c": 2, "k": 4, "x": 2, "y": 3, "z": 2}
    case = Case(device, "abckxyz,zxyacbk->k", extents, gaps=("abcxy", "abcxy", ""))
    case.check()
    case.check(accumulate=False)


def test_what_is_not_aligned_is_read_one_by_one(device: EmulatedDevice) -> None:
    Case(device, "bj,jk->bk", {"b": 36, "j": 20, "k": 40}, shift=1).check()


@pytest.mark.parametrize("accumulate", [False, True])
@pytest.mark.parametrize(("rows", "summed", "columns"), [(5, 100, 7), (8, 96, 12), (1, 70, 1)])
def test_a_sum_in_parts(device: EmulatedDevice, rows: int, summed: int, columns: int, accumulate: bool) -> None:
    case = Case(device, "jb,jk->bk", {"b": rows, "j": summed, "k": columns}, gaps=("", "", "b"))
    case.check(accumulate=accumulate, processors=4, shortest_part=20)


def test_parts_of_a_batch(device: EmulatedDevice) -> None:
    Case(device, "ajb,ajk->akb", {"a": 2, "b": 5, "j": 64, "k": 3}).check(processors=8, shortest_part=16)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_tile(device: EmulatedDevice, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for tile in contraction.TILES[dtype]:
        monkeypatch.setitem(contraction.TILES, dtype, (tile,))
        plan_contraction.cache_clear()
        edge = tile.edge
        Case(device, "bj,kj->bk", {"b": edge + 4, "j": 20, "k": edge // 2 + 1}, dtype=dtype).check(processors=1)
    plan_contraction.cache_clear()


@settings(max_examples=40, deadline=None)
@given(cases(), st.booleans())
def test_random_contractions(case: tuple[str, list[Array], Array], accumulate: bool) -> None:
    subscripts, inputs, out = case
    device = EmulatedDevice()
    expected = np.einsum(subscripts, *inputs) + (out if accumulate else 0)
    arrays = [on_device(device, values) for values in (*inputs, out)]
    contract(device, subscripts, *arrays, accumulate=accumulate)
    np.testing.assert_allclose(arrays[2].to_host(), expected, rtol=1e-12, atol=1e-12)


def on_device(device: EmulatedDevice, values: Array) -> DeviceArray:
    """The same values with the same strides, and around them what else lies in the same memory."""
    memory = values if values.base is None else values.base
    whole = device.upload(memory)
    strides = tuple(stride // values.itemsize for stride in values.strides)
    return DeviceArray(whole.memory, whole.offset, values.shape, strides, values.dtype)


def test_nothing_to_sum_gives_zeros(device: EmulatedDevice) -> None:
    left, right = device.empty((3, 0), np.float32), device.empty((0, 5), np.float32)
    out = device.upload(np.ones((3, 5), np.float32))
    contract(device, "bj,jk->bk", left, right, out, accumulate=True)
    np.testing.assert_array_equal(out.to_host(), 1)
    contract(device, "bj,jk->bk", left, right, out)
    np.testing.assert_array_equal(out.to_host(), 0)


def test_nothing_to_write_launches_nothing(device: EmulatedDevice) -> None:
    left, right = device.empty((0, 4), np.float32), device.empty((4, 5), np.float32)
    contract(device, "bj,jk->bk", left, right, device.empty((0, 5), np.float32))
    assert not device.launches


def test_a_result_is_not_finite_only_where_an_operand_is_not(device: EmulatedDevice) -> None:
    left = np.ones((5, 6), np.float32)
    left[2, 3], left[4, 5] = np.nan, np.inf
    out = device.empty((5, 7), np.float32)
    contract(device, "bj,jk->bk", device.upload(left), device.upload(np.ones((6, 7), np.float32)), out)
    found = out.to_host()
    assert np.isnan(found[2]).all()
    assert np.isinf(found[4]).all()
    assert (found[[0, 1, 3]] == 6).all()


def test_the_same_call_gives_the_same_bits(device: EmulatedDevice) -> None:
    random = np.random.default_rng(0)
    left, right = (device.upload(random.standard_normal((150, n)).astype(np.float32)) for n in (3, 5))
    found = []
    for shift in (0, 1):
        # Where an operand lies changes how it is read, not the order in which products are added.
        moved = device.upload(np.concatenate([np.zeros(shift, np.float32), left.to_host().ravel()]))
        out = device.empty((3, 5), np.float32)
        contract(device, "jb,jk->bk", moved.view(shift, (150, 3)), right, out)
        found.append(out.to_host())
    np.testing.assert_array_equal(found[0], found[1])


def test_extents_that_disagree_are_refused(device: EmulatedDevice) -> None:
    left, right = device.zeros((2, 3), np.float32), device.zeros((4, 5), np.float32)
    with pytest.raises(ShapeError, match="contraction 'bj,jk->bk': expected one extent for 'j'"):
        contract(device, "bj,jk->bk", left, right, device.zeros((2, 5), np.float32))

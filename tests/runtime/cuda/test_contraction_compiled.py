"""The contraction's kernels as machine code: everything a thread holds is in registers, and shared memory in words."""

from __future__ import annotations

import re

import pytest

from symbp.check.resources import ARCHITECTURES, assemble
from symbp.runtime.cuda.compile import to_ptx
from symbp.runtime.cuda.contraction import TILES
from symbp.runtime.cuda.contraction_kernels import Access, Tile, parts_kernel, tile_kernel
from tests.runtime.cuda.machine_code import has_ptxas, instructions, numba_cuda

pytestmark = numba_cuda

ROWS = Access(summed_first=False, width=4, folded=False, summed_folded=False)
SUMMED = Access(summed_first=True, width=4, folded=False, summed_folded=False)
ROWS_FOLDED = Access(summed_first=False, width=4, folded=False, summed_folded=True)
ONE_BY_ONE = Access(summed_first=True, width=1, folded=False, summed_folded=False)
LARGEST = TILES["float32"][0]
ALL_TILES = [(dtype, tile) for dtype, tiles in TILES.items() for tile in tiles]


def check(dtype: str, tile: Tile, left: Access, right: Access, *, wide: bool = True) -> str:
    """PTX of a kernel that keeps nothing in local memory on any architecture."""
    kernel = tile_kernel(dtype, tile, left, right, wide)
    for architecture, capability in ARCHITECTURES.items():
        ptx = to_ptx(kernel, capability)
        assert ".local" not in ptx
        if has_ptxas():
            found = assemble(kernel.name, ptx, architecture)
            assert not found.spills, found
            # A multiprocessor has 65536 registers: two blocks at least run on it at a time.
            assert found.registers * tile.threads <= 32768, found
            assert found.shared <= 48 * 1024
    return ptx


def test_the_largest_tile_multiplies_in_registers() -> None:
    names = instructions(check("float32", LARGEST, SUMMED, ROWS))
    # 8 x 8 results a thread, for one step of the sum; four loads of 128 bits bring what they are made of.
    assert names.count("fma.rn.f32") == 64
    assert names.count("ld.shared.v4.f32") == 4
    assert "ld.shared.f32" not in names
    # The block's number is taken apart; where an element lies costs no division.
    assert sum(bool(re.match(r"div|rem", name)) for name in names) <= 4


def test_wide_words_are_loaded_as_such() -> None:
    names = instructions(check("float32", TILES["float32"][1], SUMMED, ROWS))
    # For each operand the first step and the following ones, and the result's four rows that are added to.
    assert names.count("ld.global.v4.f32") == 2 * 2 + 4
    assert "ld.global.f32" not in names
    assert "st.global.f32" not in names


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "tile"), ALL_TILES)
@pytest.mark.parametrize(
    ("left", "right"),
    [(ROWS, ROWS), (SUMMED, SUMMED), (ROWS_FOLDED, ROWS_FOLDED), (ONE_BY_ONE, ROWS)],
    ids=["weights", "data", "weights of slices", "odd sizes"],
)
def test_nothing_is_spilled(dtype: str, tile: Tile, left: Access, right: Access) -> None:
    check(dtype, tile, left, right, wide=left is not ONE_BY_ONE)


def test_the_sum_of_parts_compiles() -> None:
    for dtype in TILES:
        ptx = to_ptx(parts_kernel(dtype))
        assert ".local" not in ptx
        if has_ptxas():
            assert not assemble("add_parts", ptx, "sm_90").spills

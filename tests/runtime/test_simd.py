"""Vectors in compiled code, one lane beside another, and that the inner loop of a product is made of them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numba import njit, types

from symbp.runtime import simd
from symbp.runtime.product import panel
from symbp.runtime.simd import (
    broadcast,
    fmuladd,
    horizontal_sum,
    lanes,
    load,
    load_first,
    store,
    store_first,
)
from symbp.runtime.tiles import ROWS, WIDEST

ROOT = Path(__file__).resolve().parents[2]


@njit
def multiply_add(x: np.ndarray, y: np.ndarray, factor: float, out: np.ndarray) -> None:
    """``out = factor*x + y``, whole vectors and then what is left."""
    step = lanes(x)
    scale = broadcast(factor)
    i = 0
    while i + step <= x.shape[0]:
        store(out, i, fmuladd(scale, load(x, i), load(y, i)))
        i += step
    rest = x.shape[0] - i
    if rest > 0:
        store_first(out, i, fmuladd(scale, load_first(x, i, rest), load_first(y, i, rest)), rest)


@njit
def total(x: np.ndarray) -> float:
    return horizontal_sum(load_first(x, 0, x.shape[0]))


@njit
def count(x: np.ndarray) -> int:
    return lanes(x)


@pytest.mark.parametrize("size", [1, 7, 13, 16, 100])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_tails_are_neither_read_nor_written(size: int, dtype: type) -> None:
    random = np.random.default_rng(1)
    x, y = random.standard_normal((2, size)).astype(dtype)
    room = np.full(size + 32, np.nan, dtype)
    multiply_add(x, y, dtype(0.5), room[:size])
    exact = 0.5 * x.astype(np.longdouble) + y
    assert np.all(abs(room[:size] - exact) <= np.finfo(dtype).eps * (abs(x) + abs(y)))
    assert np.all(np.isnan(room[size:]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_horizontal_sum(dtype: type) -> None:
    assert count(np.zeros(1, dtype)) * np.dtype(dtype).itemsize == simd.WIDTH
    for size in range(1, count(np.zeros(1, dtype)) + 1):
        x = np.arange(1, size + 1).astype(dtype)
        assert total(x) == size * (size + 1) / 2


def test_a_width_that_is_none_is_refused() -> None:
    environment = {**os.environ, "SYMBP_SIMD": "12", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", "import symbp.runtime.simd"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert "SYMBP_SIMD is '12', expected 16, 8 or 4 lanes of float32, or 0 for plain loops" in done.stderr


@pytest.mark.parametrize("register", ["zmm", "ymm"])
def test_the_inner_loop_multiplies_full_registers(register: str) -> None:
    """In the loop along k of the widest tile: one fused multiply-add for each accumulator, none of single numbers."""
    if {"zmm": 64, "ymm": 32}[register] != simd.WIDTH or simd.REGISTERS not in (16, 32):
        pytest.skip(f"vectors here are not {register} registers")
    text = panel.parts[types.float32].assembly()
    rows = ROWS[WIDEST]
    start = re.search(rf"^symbp_tile_float32_{rows}x{WIDEST}(_edge)?:$", text, re.MULTILINE)
    assert start is not None
    body = text[start.end() : text.index(".size\tsymbp_tile_float32_", start.end())]
    loops = re.split(r"^\.L\w+:", body, flags=re.MULTILINE)
    inner = max(loops, key=lambda block: len(re.findall(r"\bvf\w*madd\w*ps\b", block)))
    fused = re.findall(rf"\bvfmadd\d+ps\b.*%{register}\d+", inner)
    assert fused
    assert len(fused) % (rows * WIDEST) == 0  # LLVM may put several k into one turn
    assert not re.search(r"\bv\w+ss\b", inner.replace("vbroadcastss", ""))
    assert len(re.findall(rf"%{register}\d+, -?\d*\(%[er]sp", inner)) == 0  # no register is put aside

"""The barriers of the runtime's kernels: without any one of them the emulator reports a race."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numba import cuda

from symbp.check.emulator import EmulatedDevice, EmulatorError
from symbp.runtime.cuda import contraction, contraction_kernels, team
from symbp.runtime.cuda.kernel import Kernel, block_kernel, pointer
from symbp.runtime.cuda.views import view

Reals = pointer(np.float32)


def barriers(module: ModuleType) -> list[int]:
    lines = Path(str(module.__file__)).read_text(encoding="utf-8").splitlines()
    return [number for number, line in enumerate(lines) if line.strip() == "cuda.syncthreads()"]


def without_line(module: ModuleType, line: int, folder: Path) -> ModuleType:
    """The module with one line left out."""
    lines = Path(str(module.__file__)).read_text(encoding="utf-8").splitlines()
    path = folder / f"{module.__name__.rpartition('.')[2]}_without_{line + 1}.py"
    path.write_text("\n".join([*lines[:line], "", *lines[line + 1 :]]), encoding="utf-8")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    spoilt = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(spoilt)
    return spoilt


def call_teams(teams: ModuleType) -> None:
    """Every function twice in a row: the second call may not disturb the first."""
    for name in ("block_sum", "block_max", "column_sum", "column_max"):
        device = EmulatedDevice()
        device.launch(kernel_of(getattr(teams, name)), 3, device.zeros((768,), np.float32))


def kernel_of(combine: Callable[..., Any]) -> Kernel:
    @block_kernel
    def twice(x: Reals):
        here = view(x, 256 * cuda.blockIdx.x, (256,))
        rank = cuda.threadIdx.x
        value = combine(here[rank])
        here[rank] = combine(value + here[rank])

    return twice


def multiply(dtype: str) -> None:
    device = EmulatedDevice()
    random = np.random.default_rng(0)
    left, right = random.standard_normal((35, 70)).astype(dtype), random.standard_normal((70, 33)).astype(dtype)
    out = device.empty((35, 33), dtype)
    contraction.contract(device, "bj,jk->bk", device.upload(left), device.upload(right), out)
    np.testing.assert_allclose(out.to_host(), left @ right, rtol=0, atol=1e-4)


def test_right_ones_run() -> None:
    call_teams(team)
    multiply("float32")
    multiply("float64")


@pytest.mark.parametrize("line", barriers(team))
def test_a_missing_barrier_in_a_team_is_found(line: int, tmp_path: Path) -> None:
    with pytest.raises(EmulatorError, match=r"race on of_(warp|thread)\["):
        call_teams(without_line(team, line, tmp_path))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("line", barriers(contraction_kernels))
def test_a_missing_barrier_in_a_product_is_found(
    line: int, dtype: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoilt = without_line(contraction_kernels, line, tmp_path)
    monkeypatch.setattr(contraction, "tile_kernel", spoilt.tile_kernel)
    with pytest.raises(EmulatorError, match=r"race on (left|right)_tile\[\d+\]"):
        multiply(dtype)

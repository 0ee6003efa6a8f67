"""PTX is kept on disk, told apart by all that it depends on, and never believed when it is damaged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from symbp.runtime.cuda import batches, ptx_cache
from symbp.runtime.cuda.contraction import TILES, contract
from symbp.runtime.cuda.kernel import NUMBA_CUDA, Kernel, Size, raw_kernel
from symbp.runtime.cuda.ptx_cache import cached_ptx
from tests.runtime.cuda.fake_device import FakeDevice


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """What was really compiled; the cache lies in a folder of the test."""
    made: list[str] = []

    def to_ptx(kernel: Kernel, cc: tuple[int, int]) -> str:
        made.append(f"{kernel.name} {cc}")
        return f"ptx of {kernel.name} for {cc}\n"

    monkeypatch.setattr(ptx_cache, "to_ptx", to_ptx)
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    return made


def test_a_kernel_is_compiled_once_for_each_kind_of_gpu(compiled: list[str], tmp_path: Path) -> None:
    for _ in range(3):
        assert cached_ptx(batches.count_step, (9, 0)) == "ptx of count_step for (9, 0)\n"
    assert cached_ptx(batches.count_step, (8, 0)) == "ptx of count_step for (8, 0)\n"
    assert compiled == ["count_step (9, 0)", "count_step (8, 0)"]
    names = sorted(path.name for path in (tmp_path / "cache").iterdir())
    assert [name.rpartition(".sm_")[0] for name in names] == ["batches.count_step"] * 2


@pytest.mark.parametrize("damage", [b"", b"ptx of count_step for (9, 0)\n", b"\xff\xfe\x00", None])
def test_a_damaged_file_is_written_again(compiled: list[str], tmp_path: Path, damage: bytes | None) -> None:
    expected = cached_ptx(batches.count_step, (9, 0))
    (path,) = (tmp_path / "cache").iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] if damage is None else damage)
    assert cached_ptx(batches.count_step, (9, 0)) == expected
    assert len(compiled) == 2
    assert path.read_bytes() == whole


def test_a_folder_that_cannot_be_written_is_passed_over(
    compiled: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "file"))
    assert cached_ptx(batches.count_step, (9, 0)) == "ptx of count_step for (9, 0)\n"
    assert (tmp_path / "file").read_bytes() == b""


def closing_over(value: Any) -> Kernel:
    @raw_kernel()
    def closing(count: Size) -> None:  # type: ignore[valid-type]
        print(value)

    return closing


def test_kernels_from_one_place_are_told_by_what_they_close_over(compiled: list[str]) -> None:
    values = [1, 1.0, np.float32(1), "1", np.float32, np.dtype("f4"), *TILES["float32"], None, (1, 2)]
    values += [closing_over(1).function, closing_over(2).function]
    for _ in range(2):
        for value in values:
            cached_ptx(closing_over(value), (9, 0))
    assert len(compiled) == len(values)


def test_a_kernel_that_closes_over_anything_else_is_not_kept(compiled: list[str], tmp_path: Path) -> None:
    for _ in range(2):
        cached_ptx(closing_over(object()), (9, 0))
    assert len(compiled) == 2
    assert not (tmp_path / "cache").exists()


def test_another_version_of_a_compiler_or_a_source_is_another_file(
    compiled: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cached_ptx(batches.count_step, (9, 0))
    monkeypatch.setattr(ptx_cache, "_versions", lambda: ("numba 99",))
    cached_ptx(batches.count_step, (9, 0))
    source_hash = ptx_cache._source_hash
    monkeypatch.setattr(ptx_cache, "_source_hash", lambda path: source_hash(path) + ("!" * (path.stem == "team")))
    cached_ptx(batches.count_step, (9, 0))
    assert len(compiled) == 3


class Collecting(FakeDevice):
    """Runs nothing, and holds the kernels it was asked to run."""

    def launch_blocks(self, kernel: Any, blocks: Any, *arguments: Any) -> None:
        self.kernels = [*getattr(self, "kernels", ()), kernel]


def test_tiles_of_products_can_be_kept(compiled: list[str]) -> None:
    device = Collecting()
    for dtype in (np.float32, np.float64):
        for extents in ((7, 13, 5), (256, 64, 128)):
            rows, summed, columns = extents
            left, right = device.empty((rows, summed), dtype), device.empty((summed, columns), dtype)
            contract(device, "bj,jk->bk", left, right, device.empty((rows, columns), dtype))
    kernels = list(dict.fromkeys(device.kernels))
    assert len(kernels) >= 2
    for _ in range(2):
        for kernel in kernels:
            cached_ptx(kernel, (9, 0))
    assert len(compiled) == len(kernels)


@pytest.mark.skipif(not NUMBA_CUDA, reason="numba-cuda is not installed")
def test_what_is_read_is_what_was_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    fresh = cached_ptx(batches.count_step, (9, 0))
    assert ".visible .entry count_step(" in fresh
    assert cached_ptx(batches.count_step, (9, 0)) == fresh

"""The decorator of every kernel: its options, and a cache that is never stale and never fatal."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from numba.core.caching import FunctionCache

from symbp.runtime import jit
from symbp.runtime.jit import UncachedWarning, kernel, source_hash

ROOT = Path(__file__).resolve().parents[2]

PACKAGE = {
    "__init__.py": "",
    "kernels.py": "from pack._runtime.part import part\nfrom symbp.runtime.jit import kernel\n\n"
    "@kernel\ndef whole(x):\n    return part(x) + 1.0\n",
    "_runtime/__init__.py": "",
    "_runtime/part.py": "from symbp.runtime.jit import kernel\n\n@kernel\ndef part(x):\n    return x*2.0\n",
}


def write_package(folder: Path) -> None:
    for name, text in PACKAGE.items():
        path = folder / "pack" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def run_package(folder: Path) -> str:
    code = "from pack.kernels import whole; print(whole(10.0), sum(whole.stats.cache_hits.values()))"
    environment = {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}", "PYTHONDONTWRITEBYTECODE": "1"}
    environment["NUMBA_CACHE_DIR"] = str(folder / "cache")
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_cached_kernel_is_stale_when_a_callee_in_another_file_changed(tmp_path: Path) -> None:
    write_package(tmp_path)
    part = tmp_path / "pack/_runtime/part.py"
    before = part.stat()
    assert run_package(tmp_path) == "21.0 0"
    assert run_package(tmp_path) == "21.0 1"
    # Another constant, as many bytes, the same time: nothing but the contents tells them apart.
    part.write_text(part.read_text().replace("2.0", "3.0"))
    os.utime(part, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert run_package(tmp_path) == "31.0 0"


@pytest.mark.parametrize("contents", [b"", b"nonsense", b"\x80\x05"])
def test_a_damaged_cache_is_passed_over_and_mended(tmp_path: Path, contents: bytes) -> None:
    write_package(tmp_path)
    assert run_package(tmp_path) == "21.0 0"
    for file in (tmp_path / "cache").rglob("*.nb*"):
        file.write_bytes(contents)
    assert run_package(tmp_path) == "21.0 0"
    assert run_package(tmp_path) == "21.0 1"


def test_no_folder_to_cache_in_warns_once_and_works(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locator(self: FunctionCache, function: object) -> None:
        raise RuntimeError(f"cannot cache function {function}: no locator available")

    monkeypatch.setattr(FunctionCache, "__init__", no_locator)
    jit._told.clear()

    def first(x: float) -> float:
        return x + 1.0

    def second(x: float) -> float:
        return x + 2.0

    with pytest.warns(UncachedWarning, match="NUMBA_CACHE_DIR") as caught:
        compiled = [kernel(first), kernel(second)]
    assert len(caught) == 1
    assert [function(1.0) for function in compiled] == [2.0, 3.0]


def test_a_full_disk_while_caching_warns_and_works(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: FunctionCache, signature: object, data: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(FunctionCache, "save_overload", full)
    jit._told.clear()

    @kernel
    def twice(x: float) -> float:
        return x * 2.0

    with pytest.warns(UncachedWarning, match="No space left"):
        assert twice(4.0) == 8.0


def test_a_compiler_error_is_not_hidden() -> None:
    @kernel
    def wrong(x: float) -> float:
        return x.no_such_thing

    with pytest.raises(Exception, match="no_such_thing"):
        wrong(1.0)


def test_division_by_zero_follows_numpy() -> None:
    @kernel(cache=False)
    def divide(x: float, y: float) -> float:
        return x / y

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert divide(1.0, 0.0) == np.inf
        assert np.isnan(divide(0.0, 0.0))


def test_nan_and_infinity_keep_their_meaning() -> None:
    @kernel(cache=False)
    def count(x: np.ndarray) -> int:
        total = 0
        for i in range(x.shape[0]):
            if np.isnan(x[i]):
                total += 1
            if np.isinf(x[i]):
                total += 10
        return total

    assert count(np.array([np.nan, np.inf, 1.0, -np.inf])) == 21


def test_source_hash_reads_contents_only(tmp_path: Path) -> None:
    write_package(tmp_path)
    first = source_hash(tmp_path / "pack")
    source_hash.cache_clear()
    os.utime(tmp_path / "pack/kernels.py", (1, 1))
    assert source_hash(tmp_path / "pack") == first
    source_hash.cache_clear()
    (tmp_path / "pack/_runtime/part.py").write_text("")
    assert source_hash(tmp_path / "pack") != first

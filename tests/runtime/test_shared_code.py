"""Machine code that is made once: found again by other processes, and never the end of one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

SCRIPT = """
import sys, threading
import numpy as np
from symbp.runtime import shared_code
from symbp.runtime.contraction import matmul
from numba.core.ccallback import CFunc

made = []
uncached = CFunc._compile_uncached
CFunc._compile_uncached = lambda self: made.append(self.__name__) or uncached(self)
sys.path.insert(0, sys.argv[1])
from caller import call

a = np.arange(35, dtype=np.float32).reshape(5, 7)
results = [np.empty((5, 5), np.float32) for _ in range(4)]
threads = [threading.Thread(target=call, args=(a, a.T, c)) for c in results]
for t in threads: t.start()
for t in threads: t.join()
assert all(np.array_equal(c, a @ a.T) for c in results)
print(sum(call.stats.cache_hits.values()), "made" if made else "found")
"""

CALLER = """
from numba import njit
from symbp.runtime.contraction import matmul

@njit(cache=True, nogil=True)
def call(a, b, c):
    matmul(a, b, c)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "caller.py").write_text(CALLER)
    return tmp_path


def start(folder: Path, **settings: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    environment |= {"NUMBA_CACHE_DIR": str(folder / "cache"), **settings}
    environment.pop("SYMBP_SIMD", None)
    command = [sys.executable, "-c", SCRIPT, str(folder)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run(folder: Path, **settings: str) -> str:
    return finish(start(folder, **settings))


def finish(process: subprocess.Popen[str]) -> str:
    out, problems = process.communicate(timeout=300)
    assert process.returncode == 0, problems
    assert not problems, problems
    return out.strip()


def test_a_second_process_finds_what_the_first_made(folder: Path) -> None:
    assert run(folder) == "0 made"
    assert run(folder) == "1 found"
    # The caller's code is still there, that of the product is not: it is made at the first call.
    shutil.rmtree(folder / "cache/symbp")
    assert run(folder) == "1 made"
    for file in (folder / "cache/symbp").iterdir():
        file.write_bytes(b"nonsense")
    assert run(folder) == "1 made"
    assert run(folder) == "1 found"


@pytest.mark.slow
def test_two_processes_at_once(folder: Path) -> None:
    both = [start(folder), start(folder)]
    for process in both:
        assert finish(process).endswith("made")
    assert run(folder) == "1 found"


@pytest.mark.slow
def test_the_folder_of_the_user_when_numba_names_none(folder: Path) -> None:
    environment = {"NUMBA_CACHE_DIR": "", "XDG_CACHE_HOME": str(folder / "xdg")}
    assert run(folder, **environment) == "0 made"
    assert any(file.name.startswith("symbp_product_float32_") for file in (folder / "xdg/symbp").iterdir())
    assert not list((folder / "xdg/symbp").glob("*float64*"))
    assert run(folder, **environment) == "1 found"

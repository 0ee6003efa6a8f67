"""The runtime as generated packages carry it: copied flat, with relative imports, symbp itself out of reach."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

USE = """
import sys
sys.modules["symbp"] = None  # importing it raises ImportError
import importlib, pathlib, pkgutil
import numpy as np
import model._runtime
for found in pkgutil.iter_modules(model._runtime.__path__):
    importlib.import_module(f"model._runtime.{found.name}")
from model._runtime.contraction import matmul
from model._runtime.errors import DataError
from model._runtime.jit import kernel
from model._runtime.parameters import Layout, Parameter
from model._runtime.scalar import tanh

@kernel(cache=False)
def layer(x, w, y):
    matmul(x, w, y)
    for i in range(y.shape[0]):
        for j in range(y.shape[1]):
            y[i, j] = tanh(y[i, j])

params = Layout((Parameter("W", (5, 3)),), np.float64).initialise(1)
params.W = np.full((5, 3), 0.25)
y = np.empty((7, 3))
layer(np.ones((7, 5)), params.W, y)
assert np.allclose(y, np.tanh(1.25), rtol=1e-15)
try:
    params.W = np.ones((3, 5))
except DataError:
    print("works")
imported = {name.partition(".")[0] for name in sys.modules} - set(sys.stdlib_module_names)
# SciPy is not in the list: Numba itself looks for it.
print(*sorted(imported & {"sympy", "jinja2", "torch", "safetensors", "rich"}))
"""


def test_a_copy_needs_numpy_and_numba_only(tmp_path: Path) -> None:
    folder = tmp_path / "model" / "_runtime"
    folder.mkdir(parents=True)
    (tmp_path / "model" / "__init__.py").write_text("")
    sources = [*(ROOT / "symbp" / "runtime").glob("*.py"), ROOT / "symbp" / "errors.py"]
    for source in sources:
        text = source.read_text()
        text = text.replace("from symbp.errors import", "from .errors import")
        text = re.sub(r"from symbp\.runtime\.(\w+) import", r"from .\1 import", text)
        assert not re.search(r"^\s*(from|import) symbp", text, re.MULTILINE), source
        (folder / source.name).write_text(text)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", USE], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["works"]

"""A generated package needs NumPy and Numba alone: it trains where nothing else can be imported."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import symbp as sb
from symbp.pipeline import compile_model

#: Run in a fresh interpreter with the folder of the package as its argument. Everything but the standard library,
#: NumPy, Numba and the package itself is not there: importing it fails as in an environment that lacks it.
SCRIPT = """
import importlib.abc, sys

ALLOWED = {"numpy", "numba", "llvmlite", "lines", *sys.stdlib_module_names}
refused = []

class Bare(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in ALLOWED:
            refused.append(name)
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None

sys.meta_path.insert(0, Bare())
sys.path.insert(0, sys.argv[1])

import numpy as np
import lines as net

source = np.random.default_rng(0)
x = source.standard_normal((64, 5)).astype(np.float32)
y = (np.tanh(x @ source.standard_normal((5, 7)) / 2)).astype(np.float32)
params = net.init(seed=1)
first = net.loss(params, x, y)
state = net.optimizer_state(params)
net.fit(params, state, x, y, epochs=60, batch=16, progress=False)
last = net.loss(params, x, y)
net.save(params, sys.argv[1] + "/weights.safetensors")
again = net.load(sys.argv[1] + "/weights.safetensors")
assert all((again[name] == params[name]).all() for name in params)
assert net.predict(params, x).shape == (64, 7)
tried = {m.partition(".")[0] for m in [*refused, *sys.modules]}
assert not {"sympy", "jinja2", "symbp", "rich", "typer", "safetensors", "torch"} & tried, tried
print(f"{first:.6f} {last:.6f}")
"""


def lines() -> sb.Model:
    model = sb.Model("lines")
    b, j, k = model.axis("b", "batch"), model.axis("j", 5), model.axis("k", 7)
    x, y = model.input("x", b, j), model.input("y", b, k)
    p = sb.Dense(7, sb.tanh)(x)
    model.output(p)
    model.loss(sb.mse(p, y))
    model.optimizer(sb.Adam(learning_rate=0.02))
    return model


@pytest.mark.slow
def test_a_package_trains_without_symbp(tmp_path: Path) -> None:
    package = compile_model(lines(), tmp_path)
    # -I: neither PYTHONPATH nor the working folder can bring symbp in.
    command = [sys.executable, "-I", "-c", SCRIPT, str(package.parent)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    first, last = map(float, done.stdout.split())
    assert 0 < last < first / 10


def test_no_file_of_a_package_imports_anything_else(tmp_path: Path) -> None:
    package = compile_model(lines(), tmp_path)
    allowed = {"numpy", "numba", "llvmlite", *sys.stdlib_module_names}
    for path in sorted(package.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names.append(node.module or "")
            for name in names:
                assert name.partition(".")[0] in allowed, f"{path.name}:{node.lineno} imports {name}"

"""Kernels that call pieces, in later processes and from code of others."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from symbp import Adam, Dense, Model, compile_model, relu, softmax_cross_entropy

STEP = """
import numpy as np, net
params = net.init(0); state = net.optimizer_state(params)
x, y = np.linspace(-1, 1, 70, dtype=np.float32).reshape(10, 7), np.arange(10) % 3
print(net.train_step(params, state, x, y).hex(), params.flat.sum().item().hex())
kernels = [getattr(net.kernels, n) for n in ("train_step_into", "forward_rows", "update")]
print([sum(k.stats.cache_misses.values()) for k in kernels])
"""
OTHERS = """
import numpy as np, net
from numba import njit
loss_and_grad = net.kernels.loss_and_grad_into
@njit(cache=True)
def twice(*arguments):
    return 2*loss_and_grad(*arguments)
params, grads = net.init(0), net.PARAMETERS.zeros()
x, y = np.linspace(-1, 1, 70, dtype=np.float32).reshape(10, 7), np.arange(10) % 3
print(twice(params.flat, x, y, net.train_workspace(n_batch=10), net.train_chunk(1), grads.flat))
print(net.loss(params, x, y), sum(twice.stats.cache_hits.values()))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = Model("net")
    b, j = model.axis("b", "batch"), model.axis("j", 7)
    x, y = model.input("x", b, j), model.input("y", b, dtype="int", below=3)
    model.loss(softmax_cross_entropy(Dense(3, name="out")(Dense(11, relu, name="hidden")(x)), y))
    model.optimizer(Adam(learning_rate=0.01))
    made = tmp_path_factory.mktemp("pieces")
    compile_model(model, made, chunk=4)
    (made / "others.py").write_text(OTHERS, encoding="utf-8")
    return made


def run(folder: Path, *arguments: str) -> list[str]:
    environment = {k: v for k, v in os.environ.items() if k != "NUMBA_CACHE_DIR"}
    environment |= {"NUMBA_NUM_THREADS": "1", "XDG_CACHE_HOME": str(folder / "cache")}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.splitlines()


def test_a_second_process_and_a_lost_piece(folder: Path) -> None:
    first, misses = run(folder, "-c", STEP)
    assert misses == "[1, 1, 1]"
    assert run(folder, "-c", STEP) == [first, "[0, 0, 0]"]
    lost = list(folder.glob("net/**/__pycache__/*forward_rows*"))
    assert lost
    for path in lost:
        path.unlink()
    again, misses = run(folder, "-c", STEP)
    assert again == first
    assert misses.startswith("[1, 1") or misses == "[0, 1, 0]"  # the caller as well, if the symbol is another
    assert run(folder, "-c", STEP) == [first, "[0, 0, 0]"]


def test_compiled_code_of_others_holds_all_that_it_calls(folder: Path) -> None:
    found = [run(folder, "others.py") for _ in range(2)]
    for twice, rest in found:
        assert float(twice) == pytest.approx(2 * float(rest.split()[0]), rel=1e-6)
    assert [rest.split()[1] for _, rest in found] == ["0", "1"]

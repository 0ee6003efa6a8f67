"""What ``symbp compile`` does besides writing: it tells the schedule, and compiles kernels ahead of their use."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from symbp.cli import main

MODEL = """\
from symbp import SGD, Dense, Model, softmax_cross_entropy, tanh

model = Model("small_net")
b, j = model.axis("b", "batch"), model.axis("j", 7)
x, label = model.input("x", b, j), model.input("label", b, dtype="int", below=3)
z = Dense(3, name="out")(Dense(5, tanh, name="hidden")(x))
model.output(z)
model.loss(softmax_cross_entropy(z, label))
model.optimizer(SGD(learning_rate=0.1))
"""


LINE = """\
from symbp import Model, mean

model = Model("line")
b = model.axis("b", "batch")
x, y = model.input("x", b), model.input("y", b)
model.loss(mean((model.parameter("m")[()] * x[b] - y[b]) ** 2, b))
"""


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "spec.py"
    path.write_text(MODEL, encoding="utf-8")
    return path


class Ran:
    """What a command left behind."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("COLUMNS", "60")

    def command(*words: object) -> Ran:
        with pytest.raises(SystemExit) as stopped:
            main([str(word) for word in words])
        captured = capsys.readouterr()
        return Ran(int(stopped.value.code or 0), captured.out, captured.err)

    return command


# --explain-schedule


def test_the_schedule_is_told_and_the_package_written(run: Any, spec: Path, tmp_path: Path) -> None:
    ran = run("compile", spec, "-o", tmp_path, "--explain-schedule", "--sizes", "n_batch=13", "--target", "cpu,cuda")
    assert (ran.status, ran.err) == (0, "")
    assert ran.out.index("Schedule of small_net for cpu, float32") < ran.out.index("Schedule of small_net for cuda")
    assert "numbers for n_batch = 13" in ran.out
    assert ran.out.index("Memory of train") < ran.out.index("written ")
    assert (tmp_path / "small_net" / "kernels.py").is_file()
    assert "\x1b" not in ran.out


def test_the_schedule_for_machines(run: Any, spec: Path, tmp_path: Path) -> None:
    ran = run("compile", spec, "-o", tmp_path, "--explain-schedule", "--sizes", "n_batch = 13", "--json")
    found = json.loads(ran.out)
    (schedule,) = found["schedules"]
    assert schedule["sizes"] == {"n_batch": 13}
    assert found["model"] == "small_net"
    assert {w["procedure"] for w in schedule["work"]} >= {"update"}
    assert all(w["bytes"]["value"] >= 0 for w in schedule["work"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--sizes", "n_batch=13"], "--sizes is of use with --explain-schedule alone; add --explain-schedule"),
        (
            ["--explain-schedule", "--sizes", "n_bacth=1"],
            "there is no run-time size 'n_bacth'; did you mean 'n_batch'?",
        ),
        (
            ["--explain-schedule", "--sizes", "n_batch"],
            "expected NAME=N with N a whole number from 1, found 'n_batch'",
        ),
        (["--explain-schedule", "--sizes", "n_batch=0"], "found 'n_batch=0'"),
        (["--explain-schedule", "--sizes", "n_batch=-3"], "found 'n_batch=-3'"),
        (["--explain-schedule", "--sizes", "n_batch=1,,"], "found ''"),
    ],
)
def test_wrong_sizes_are_refused_before_anything_is_written(
    run: Any, spec: Path, tmp_path: Path, words: list[str], said: str
) -> None:
    ran = run("compile", spec, "-o", tmp_path / "out", *words)
    assert ran.status == 2
    assert said in " ".join(ran.err.split())
    assert not (tmp_path / "out").exists()


# --warm

SECOND_PROCESS = """\
import json, sys
import numpy as np
import small_net as net

x, label = np.ones((9, 7), np.float32), np.zeros(9, np.int64)
params = net.init()
state = net.optimizer_state(params)
net.predict(params, x)
net.loss(params, x, label)
net.loss_and_grad(params, x, label)
net.train_step(params, state, x, label)
net.fit(params, state, x, label, epochs=2, batch=4, progress=False)
ours = [m for name, m in sys.modules.items() if name.partition(".")[0] == "small_net"]
kernels = {id(v): v.stats for m in ours for v in vars(m).values() if hasattr(v, "py_func")}.values()
print(json.dumps([sum(sum(getattr(k, kind).values()) for k in kernels) for kind in ("cache_hits", "cache_misses")]))
"""


@pytest.mark.parametrize("beside", [True, False], ids=["beside the source", "NUMBA_CACHE_DIR"])
def test_after_warming_a_second_process_compiles_nothing(
    run: Any, spec: Path, tmp_path: Path, beside: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if beside:
        monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    else:
        monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    ran = run("compile", spec, "-o", tmp_path, "--warm", *(["--json"] if beside else []))
    assert ran.status == 0
    if beside:
        warmed = json.loads(ran.out)["warmed"]
        assert {"predict", "loss_and_grad", "train_step", "fit"} <= {step["name"] for step in warmed}
        assert sum(step["compiled"] for step in warmed) > 0
        assert all(step["seconds"] >= 0 for step in warmed)
    else:
        assert "functions compiled, " in ran.out
        assert "  train_step " in ran.out
        assert "for `import small_net` with " in ran.out

    before = cache_files(tmp_path)
    assert before
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-c", SECOND_PROCESS]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, cwd=tmp_path)
    hits, misses = json.loads(done.stdout)
    assert hits >= 4
    assert misses == 0
    assert cache_files(tmp_path) == before


def cache_files(folder: Path) -> dict[str, int]:
    """Files of compiled code, and when they were written."""
    return {str(p): p.stat().st_mtime_ns for p in folder.rglob("*") if p.suffix in (".nbi", ".nbc")}


def test_a_package_whose_name_is_taken_is_not_warmed(run: Any, spec: Path, tmp_path: Path) -> None:
    spec.write_text(MODEL.replace("small_net", "json"), encoding="utf-8")
    ran = run("compile", spec, "-o", tmp_path, "--warm")
    assert ran.status == 2
    assert "the kernels of 'json' cannot be compiled: 'json' is imported from " in " ".join(ran.err.split())


def test_warming_for_a_gpu_keeps_the_ptx_of_every_kernel(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("numba_cuda")
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    spec = tmp_path / "line.py"
    spec.write_text(LINE, encoding="utf-8")
    first = json.loads(run("compile", spec, "-o", tmp_path, "--target", "cuda", "--warm", "--json").out)["warmed"]
    kept = sorted(p.name for p in (tmp_path / "cache").rglob("*.ptx"))
    assert len(kept) == len(first) > 0
    assert all(step["compiled"] == 1 and step["loaded"] == 0 for step in first)
    again = json.loads(run("compile", spec, "-o", tmp_path, "--target", "cuda", "--warm", "--json").out)["warmed"]
    assert all(step["compiled"] == 0 and step["loaded"] == 1 for step in again)

"""Equal specs give equal bytes, however Python orders its sets."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import symbp as sb

ROOT = Path(__file__).resolve().parents[1]
SEEDS = ("0", "1", "4242")


def digits() -> sb.Model:
    model = sb.Model("digits")
    b, j, k = model.axis("b", "batch"), model.axis("j", 64), model.axis("k", 10)
    x, label = model.input("x", b, j), model.input("label", b, dtype="int", below=k)
    z = sb.Dense(10)(sb.Dense(32, sb.relu)(x))
    model.output(sb.softmax(z))
    model.loss(sb.softmax_cross_entropy(z, label))
    model.optimizer(sb.Adam(learning_rate=0.003))
    return model


def text() -> sb.Model:
    model = sb.Model("text")
    b, t, v = model.axis("b", "batch"), model.axis("t", "time"), model.axis("v", 29)
    token, label = (model.input(name, b, t, dtype="int", below=v) for name in ("token", "label"))
    z = sb.Dense(29)(sb.LSTM(16, sequences=True)(sb.Embedding(29, 8)(token)))
    model.loss(sb.softmax_cross_entropy(z, label))
    model.optimizer(sb.AdamW(learning_rate=0.01))
    return model


def block() -> sb.Model:
    model = sb.Model("block")
    b, t, d = model.axis("b", "batch"), model.axis("t", "time"), model.axis("d", 8)
    x, wanted = model.input("x", b, t, d), model.input("wanted", b, t, d)
    x = sb.Add()(x, sb.SelfAttention(2, causal=True)(sb.LayerNorm()(x)))
    x = sb.Add()(x, sb.Dense(8)(sb.Dense(16, sb.gelu)(sb.LayerNorm()(x))))
    model.loss(sb.mse(x, wanted))
    model.optimizer(sb.Momentum(learning_rate=0.1))
    return model


def digests() -> dict[str, str]:
    """The SHA-256 of every file of three packages for both targets."""
    from symbp.pipeline import emit_model  # late: a test run that only collects need not load the compiler

    found = {}
    for build in (digits, text, block):
        model = build()
        for name, content in emit_model(model, target="cpu,cuda").items():
            found[f"{model.name}/{name}"] = hashlib.sha256(content.encode()).hexdigest()
    return found


def test_the_bytes_do_not_depend_on_the_hash_seed() -> None:
    answers = []
    for seed in SEEDS:
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "tests.test_determinism"]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        answers.append(json.loads(done.stdout))
    first = answers[0]
    assert {"digits/kernels.py", "text/kernels.py", "block/kernels.py", "text/cuda_kernels.py"} <= first.keys()
    assert len({first["digits/kernels.py"], first["text/kernels.py"], first["block/kernels.py"]}) == 3
    for seed, other in zip(SEEDS[1:], answers[1:], strict=True):
        assert other.keys() == first.keys()
        differing = [name for name in first if first[name] != other[name]]
        assert not differing, f"PYTHONHASHSEED={seed} changes {', '.join(differing)}"


if __name__ == "__main__":
    print(json.dumps(digests()))

"""Whether what runs on the GPU agrees: one family of models, in a process of its own.

    python -m benchmarks.gpu.agreement FAMILY PART/PARTS SKIP [--emulate] [--cases a;b]

Loss, gradients and outputs of each case are held against PyTorch in float64 on the CPU, at the tolerances of the tests;
three steps of training of each workload are held against the module that was compiled for the CPU. SKIP cases are left
out at the start: after a case that ended its process, a new one goes on behind it.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

os.environ.setdefault("NUMBA_CACHE_DIR", str(Path(tempfile.gettempdir()) / "symbp-gpu-numba"))  # before Numba

import numpy as np

from benchmarks.gpu import zoo
from benchmarks.gpu.children import tell
from symbp import Adam, Model, emit_model
from symbp.check import random_feed
from tests.numeric import harness
from tests.numeric.harness import Case, Feed, gradient_error, relative_error

STEPS = 3
#: Largest difference after the steps, relative to the largest change of a parameter.
STEP_TOLERANCE = {"float64": 1e-6, "float32": 2e-2}

#: Gradients below this, relative to the largest, may be nothing but rounding.
NOISE = {"float64": 1e-9, "float32": 1e-3}


def net_for_cuda(model: Model, name: str, dtype: str, emulate: bool) -> ModuleType:
    """The CUDA package of a model, imported; on the emulator where that is asked for."""
    files = emit_model(model, target="cuda", dtype=dtype, standalone=False)
    net = harness.imported(files, f"cuda/{dtype}/{name}", model.name)
    if emulate:
        from symbp.check import emulator

        emulator.attach(net)
    return net


def gradients_of(case: Case, dtype: str, emulate: bool) -> dict[str, Any]:
    """Compare one case. Raises AssertionError where it is out of bounds; the worst error is given as a share of it."""
    net = net_for_cuda(harness.model_of(case), case.name, dtype, emulate)
    program = harness.derivation_of(case).primal
    worst = 0.0
    sizes_tried = case.sizes if dtype == "float64" else case.sizes[:1]
    for sizes in [min(case.sizes, key=lambda s: sum(s.values()))] if emulate else sizes_tried:
        feed = case.arrays(program, sizes)
        loss, gradients = harness.torch_answer(case, feed, tuple(net.PARAMETERS.names))
        loss_limit, limits = harness.tolerances(case, dtype, sizes, feed, loss, gradients)
        params, inputs = arguments(net, feed)
        found, grads = net.loss_and_grad(params, *inputs)
        errors = {"loss": relative_error(found, np.asarray(loss)) / loss_limit}
        errors["loss()"] = relative_error(net.loss(params, *inputs), np.asarray(found)) / loss_limit
        host = grads.to_host()
        for name in gradients:
            errors[name] = gradient_error(case, name, host[name], gradients) / limits[name]
        wrong = {name: f"{error:.2g} of what is allowed" for name, error in errors.items() if not error <= 1}
        assert not wrong, f"at {dict(sizes)}: {wrong}"
        worst = max(worst, *errors.values())
        if case.outputs is not None:
            check_outputs(case, net, dtype, feed)
    return {"worst": worst}


def check_outputs(case: Case, net: ModuleType, dtype: str, feed: Feed) -> None:
    """What ``predict`` returns against PyTorch."""
    import torch

    assert case.outputs is not None
    expected = case.outputs({name: torch.tensor(array) for name, array in feed.items()})
    params, _ = arguments(net, feed)
    found = net.predict(params, *harness.inputs_of(net.predict, net, feed))
    found = found if isinstance(found, tuple) else (found,)
    limit = 1e-10 if dtype == "float64" else 1e-4
    for k, (one, other) in enumerate(zip(found, expected, strict=True)):
        error = relative_error(one.to_host() if hasattr(one, "to_host") else one, other.numpy())
        assert error <= limit, f"output {k} is off by {error:.1e}"


def arguments(net: ModuleType, feed: Feed) -> tuple[Any, list[Any]]:
    """Parameters on the device with the feed's values, and inputs as NumPy arrays."""
    params = net.init(seed=0)
    for name in params:
        params[name] = np.asarray(feed[name], net.DTYPE)
    return params, harness.inputs_of(net.loss_and_grad, net, feed)


def steps_of(case: Case, dtype: str, emulate: bool) -> dict[str, Any]:
    """Three steps of training from the same parameters on the GPU and on the CPU."""
    model = case.build()
    if model.update() is None:
        model.optimizer(Adam(learning_rate=1e-2))
    cpu = harness.compiled(model, f"steps of {case.name}", dtype)
    gpu = net_for_cuda(model, f"steps of {case.name}", dtype, emulate)
    feed = random_feed(model.program(), dict(case.sizes[0]), 3)
    params, inputs = arguments(gpu, feed)
    expected, same = harness.arguments(cpu, feed)
    state, other_state = gpu.optimizer_state(params), cpu.optimizer_state(expected)
    start, slope = expected.flat.copy(), np.abs(cpu.loss_and_grad(expected, *same)[1].flat)
    # Adam moves a weight by the sign of its gradient, and where that is all rounding, the sign is as well.
    told = slope > NOISE[dtype] * slope.max()
    losses = []
    for _ in range(STEPS):
        losses.append((gpu.train_step(params, state, *inputs), cpu.train_step(expected, other_state, *same)))
    moved = float(np.abs(expected.flat - start).max())
    error = float(np.abs(params.to_host().flat - expected.flat)[told].max()) / (moved or 1.0)
    loss_error = max(abs(a - b) / (abs(b) or 1.0) for a, b in losses)
    limit = STEP_TOLERANCE[dtype]
    assert loss_error <= limit, f"losses {losses}"
    assert error <= limit, f"after {STEPS} steps parameters are apart by {error:.1e} of what they moved"
    return {"worst": max(error, loss_error) / limit}


def main() -> None:
    reader = argparse.ArgumentParser()
    reader.add_argument("family", choices=[*zoo.FAMILIES, "training"])
    reader.add_argument("part")
    reader.add_argument("skip", type=int)
    reader.add_argument("--emulate", action="store_true")
    reader.add_argument("--cases", default="")
    options = reader.parse_args()
    training = options.family == "training"
    todo = zoo.chosen("workloads" if training else options.family, filter(None, options.cases.split(";")))
    part, parts = map(int, options.part.split("/"))
    for case, dtype in todo[part - 1 :: parts][options.skip :]:
        row: dict[str, Any] = {"family": options.family, "case": case.name, "dtype": dtype}
        began = time.perf_counter()
        try:
            compare = steps_of if training else gradients_of
            row |= compare(case, dtype, options.emulate)
        except Exception as problem:
            row |= {"error": " ".join(f"{type(problem).__name__}: {problem}".split())[:500]}
            row |= {"traceback": traceback.format_exc()[-4000:]}
        tell({**row, "seconds": round(time.perf_counter() - began, 2)})
        if "error" in row and _device_lost(row["traceback"]):
            sys.exit(1)  # the context is gone, and with it every later case of this process


def _device_lost(text: str) -> bool:
    return any(word in text for word in ("ILLEGAL_ADDRESS", "illegal", "LAUNCH_FAILED", "misaligned", "ASSERT"))


if __name__ == "__main__":
    main()

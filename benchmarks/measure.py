"""What `benchmarks.run` starts in processes of their own; each prints one line of JSON.

python -m benchmarks.measure emit tiny_mlp folder            derive, write the package and random arrays
python -m benchmarks.measure time tiny_mlp folder seconds    check the contenders, then time them in turn
"""

from __future__ import annotations

import importlib.util
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.contenders import Contender, SymbpFit, SymbpStep, TorchStep, check, reference
from benchmarks.stepping import Stepper, generated, write
from benchmarks.workloads import WORKLOADS, Workload
from symbp.check import random_feed
from symbp.ir import Role

BLOCK_SECONDS = 0.01
FEWEST_BLOCKS = 5
Arrays = dict[str, npt.NDArray[Any]]


def emit(workload: Workload, folder: Path) -> dict[str, Any]:
    """Write the package, and what its step is given."""
    cpu = time.process_time()
    package = write(workload, folder)
    seconds = time.process_time() - cpu
    np.savez(folder / "arrays.npz", **given(workload)[1])
    lines = len((package / "kernels.py").read_text(encoding="utf-8").splitlines())
    return {"package": str(package), "emit_cpu_s": seconds, "kernel_lines": lines}


def given(workload: Workload) -> tuple[Arrays, Arrays]:
    """Random parameters and inputs in the workload's dtype."""
    program = workload.build().program()
    feed = random_feed(program, dict(workload.sizes), seed=0)
    if workload.name == "logreg":
        feed["y"] = (feed["y"] > 0).astype(np.float64)
    feed = {n: a.astype(workload.dtype) if a.dtype.kind == "f" else a for n, a in feed.items()}
    learnt = {t.name for t in program.tensors if t.role is Role.PARAMETER}
    return {n: a for n, a in feed.items() if n in learnt}, {n: a for n, a in feed.items() if n not in learnt}


def times(workload: Workload, folder: Path, seconds: float) -> dict[str, Any]:
    """Seconds per step of each contender; their gradients are compared with torch in float64 first."""
    parameters, inputs = given(workload)
    stepper = Stepper(generated(workload, folder), parameters, inputs, workload.sizes)
    rule = workload.build().optimizer_rule
    contenders: dict[str, Contender] = {"symbp": SymbpStep(stepper)}
    if rule is not None:
        contenders["symbp fit"] = SymbpFit(stepper, min(100, max(2, blocks_of(contenders["symbp"]))))
    contenders["torch"] = TorchStep(workload.name, rule, parameters, inputs)
    if importlib.util.find_spec("jax"):
        from benchmarks.jax_contender import JaxStep

        contenders["jax"] = JaxStep(workload.name, rule, parameters, inputs)
    expected = reference(workload.name, parameters, inputs)
    rows: dict[str, Any] = {}
    for name, contender in contenders.items():
        contender.reset(parameters)
        rows[name] = {"error": check(contender, expected, workload.dtype)}
    calls = {name: blocks_of(contender) for name, contender in contenders.items()}
    blocks: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    end = time.perf_counter() + seconds * len(contenders)
    while time.perf_counter() < end or len(blocks["symbp"]) < FEWEST_BLOCKS:
        for name, contender in contenders.items():
            # From the start each time: a model trained for long has subnormal numbers in it, which are slow.
            contender.reset(parameters)
            contender()
            blocks[name].append(block(contender, calls[name]))
    for name, row in rows.items():
        wall = sorted(w for w, _ in blocks[name])
        cpu = statistics.median(c for _, c in blocks[name])
        row |= {"median_s": statistics.median(wall), "p10_s": wall[len(wall) // 10], "cpu_s": cpu}
        row |= {"blocks": len(wall), "steps_per_block": calls[name] * contenders[name].steps}
    return rows


def blocks_of(contender: Contender) -> int:
    """How many calls fill a block."""
    contender()
    fastest = min(block(contender, 1)[0] for _ in range(3)) * contender.steps
    return max(1, int(BLOCK_SECONDS / fastest))


def block(contender: Contender, calls: int) -> tuple[float, float]:
    """Wall and CPU seconds per step."""
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(calls):
        contender()
    steps = calls * contender.steps
    return (time.perf_counter() - wall) / steps, (time.process_time() - cpu) / steps


def main(command: str, name: str, folder: str, seconds: str = "1") -> None:
    workload = WORKLOADS[name]
    found = emit(workload, Path(folder)) if command == "emit" else times(workload, Path(folder), float(seconds))
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])

"""A process that times one contender for one workload, whenever it is asked to.

    python -m benchmarks.worker symbp tiny_mlp 0 folder 1

The numbers are the variant and the threads. It makes the contender, compares its loss and gradients with those in the
folder, and answers each line of its input, ``{"seconds": .., "core": ..}``, with the seconds of each block of steps.
Every line that it prints is JSON.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.contenders import Contender

BLOCK_SECONDS = 0.01


def block(contender: Contender, steps: int) -> tuple[float, float]:
    """Wall and CPU seconds per step."""
    wall, cpu = time.perf_counter(), time.process_time()
    contender.train(steps)
    return (time.perf_counter() - wall) / steps, (time.process_time() - cpu) / steps


def steps_of_a_block(contender: Contender) -> int:
    """How many steps fill a block."""
    steps = 1
    while (seconds := min(block(contender, steps)[0] for _ in range(3)) * steps) < BLOCK_SECONDS / 2:
        steps *= 2
    return max(1, int(steps * BLOCK_SECONDS / seconds))


def pin(core: int | None) -> None:
    """Keep every thread of this process on one core, where the system can."""
    if core is None or not hasattr(os, "sched_setaffinity"):
        return
    for thread in Path("/proc/self/task").iterdir():
        try:
            os.sched_setaffinity(int(thread.name), {core})
        except ProcessLookupError:  # it has ended since
            continue


def answer(contender: Contender, parameters: Any, steps: int, seconds: float) -> dict[str, Any]:
    """Blocks of steps until time is up, at least one.

    Each begins at the first parameters: a model trained for long has subnormal numbers in it, which are slow.
    """
    blocks: list[tuple[float, float]] = []
    cpu = time.process_time()
    end = time.perf_counter() + seconds
    while not blocks or time.perf_counter() < end:
        contender.reset(parameters)
        contender.train(1)
        blocks.append(block(contender, steps))
    return {
        "wall": [w for w, _ in blocks],
        "cpu": [c for _, c in blocks],
        "cpu_s": time.process_time() - cpu,
    }


def main(name: str, workload_name: str, variant: str, folder: str, threads: str, core: str = "") -> None:
    said = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a framework prints is not an answer

    def say(words: dict[str, Any]) -> None:
        print(json.dumps(words), file=said, flush=True)

    if core and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {int(core)})  # before the frameworks count the cores
    import numpy as np

    from benchmarks.contenders import CONTENDERS, check, given
    from benchmarks.workloads import WORKLOADS

    workload = WORKLOADS[workload_name].variant(int(variant))
    parameters = given(workload)[0]
    wall, cpu = time.perf_counter(), cpu_seconds()
    try:
        contender = CONTENDERS[name](workload, Path(folder), int(threads))
        contender.reset(parameters)
        contender.train(1)
        wall, cpu = time.perf_counter() - wall, cpu_seconds() - cpu
        with np.load(Path(folder) / "expected.npz") as expected:
            error = check(contender, parameters, dict(expected), workload.dtype)
    except Exception as problem:
        say({"failed": f"{type(problem).__name__}: {problem}"[:300]})
        return
    steps = steps_of_a_block(contender)
    say({"build_s": wall, "build_cpu_s": cpu, "error": error, "steps_per_block": steps})
    gc.collect()
    gc.disable()
    for line in sys.stdin:
        asked = json.loads(line)
        pin(asked["core"])
        say(answer(contender, parameters, steps, asked["seconds"]))
    said.flush()
    os._exit(0)  # some frameworks take seconds to end


def cpu_seconds() -> float:
    """Of this process and the compilers that it has started."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


if __name__ == "__main__":
    main(*sys.argv[1:])

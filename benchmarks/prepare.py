"""Write a workload's package and what its contenders are given and compared with; print what it is.

    python -m benchmarks.prepare tiny_mlp 0 folder

The number is the variant: 0 is the size at which it is timed. What is printed is one line of JSON.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.contenders import STEPS_CHECKED, given
from benchmarks.stepping import write
from benchmarks.torch_contender import reference
from benchmarks.workload import Workload
from benchmarks.workloads import WORKLOADS
from symbp import Adam, Momentum

#: Arrays of the size of the parameters that an optimizer keeps.
STATE = {Momentum: 1, Adam: 2}


def prepare(workload: Workload, folder: Path) -> dict[str, Any]:
    """The folder then holds the package, ``arrays.npz`` and ``expected.npz``."""
    cpu = time.process_time()
    package = write(workload, folder)
    seconds = time.process_time() - cpu
    parameters, inputs = given(workload)
    np.savez(folder / "arrays.npz", **parameters, **inputs)
    np.savez(folder / "expected.npz", **reference(workload, parameters, inputs, STEPS_CHECKED))  # type: ignore[arg-type]
    weights = sum(a.nbytes for a in parameters.values())
    state = weights * STATE.get(type(workload.model().optimizer_rule), 0)
    return {
        "package": str(package),
        "emit_cpu_s": seconds,
        "kernel_lines": len((package / "kernels.py").read_text(encoding="utf-8").splitlines()),
        "sizes": vars(workload.all_sizes()),
        "dtype": workload.dtype,
        "flops": workload.flops(),
        "bytes": workload.traffic(weights, state),
        "weight_bytes": weights,
    }


if __name__ == "__main__":
    name, number, target = sys.argv[1:]
    print(json.dumps(prepare(WORKLOADS[name].variant(int(number)), Path(target))))

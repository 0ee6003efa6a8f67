"""Import a generated package and do its first step, in a process that has imported nothing else; print the seconds.

python -m benchmarks.first_step package arrays.npz

The clock starts before NumPy and Numba are imported. The machine code is found beside the package, or made and kept.
"""

import json
import sys
import time
from pathlib import Path


def main(package: str, arrays: str) -> None:
    wall, cpu = time.perf_counter(), time.process_time()
    sys.path.insert(0, str(Path(package).parent))
    net = __import__(Path(package).name)
    import numpy as np

    given = np.load(arrays)
    params = net.init()
    inputs = [given[declared.name] for declared in net.INPUTS]
    if hasattr(net, "train_step"):
        net.train_step(params, net.optimizer_state(params), *inputs)
    else:
        net.loss_and_grad(params, *inputs)
    print(json.dumps({"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}))


if __name__ == "__main__":
    main(*sys.argv[1:])

"""A few models and products, once each and small: what compute-sanitizer watches.

compute-sanitizer --tool racecheck python -m benchmarks.gpu.sanitised
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

os.environ.setdefault("NUMBA_CACHE_DIR", str(Path(tempfile.gettempdir()) / "symbp-gpu-numba"))  # before Numba

import numpy as np

from symbp import emit_model
from symbp.check import random_feed
from symbp.runtime.cuda.contraction import contract
from symbp.runtime.cuda.device import current_device
from tests.codegen.golden_models import MODELS
from tests.numeric import harness

SIZES = {"n_batch": 37, "n_time": 9, "n_points": 37}


def main() -> None:
    device = current_device()
    random = np.random.default_rng(0)
    for b, j, k in ((7, 13, 5), (129, 257, 65), (33, 2049, 17)):
        left, right = (random.standard_normal(s).astype(np.float32) for s in ((b, j), (j, k)))
        out = device.zeros((b, k), np.float32)
        contract(device, "bj,jk->bk", device.upload(left), device.upload(right), out)
        np.testing.assert_allclose(out.to_host(), left @ right, rtol=1e-3, atol=1e-3)
    for name, (build, dtype) in MODELS.items():
        model = build()
        net = harness.imported(emit_model(model, target="cuda", dtype=dtype, standalone=False), f"san/{name}", name)
        program = model.program()
        feed = random_feed(program, {s.name: SIZES[s.name] for s in program.sizes()}, 0)
        inputs = harness.inputs_of(net.loss_and_grad, net, feed)
        loss, _ = net.loss_and_grad(net.init(seed=0), *inputs)
        print(f"{name}: loss {loss}", flush=True)


if __name__ == "__main__":
    main()

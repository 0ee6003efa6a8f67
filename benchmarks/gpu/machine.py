"""What the numbers depend on: the device, the driver, the versions; and what the device can do at best."""

from __future__ import annotations

import importlib.metadata
import platform
import re
import statistics
import subprocess
import sys
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

PACKAGES = (
    "symbp", "numba", "numba-cuda", "cuda-core", "cuda-bindings", "llvmlite", "numpy", "sympy", "torch", "triton",
    "jax", "jaxlib", "cupy-cuda13x",
)  # fmt: skip


def about() -> dict[str, Any]:
    """Date, device, driver and versions; without a device its part says so."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    if "symbp" not in versions:
        from symbp.version import __version__

        versions["symbp"] = f"{__version__} (from the tree)"
    wanted = "name,driver_version,memory.total,clocks.max.sm,compute_cap,power.limit"
    try:
        asked = ["nvidia-smi", f"--query-gpu={wanted}", "--format=csv,noheader"]
        device = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=30).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        device = "none"
    return {
        "date": date.today().isoformat(),
        "device": device,
        "commit": _commit(),
        "python": platform.python_version(),
        "versions": versions,
    }


def _commit() -> str:
    try:
        asked = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
        return subprocess.run(asked, capture_output=True, text=True, check=True, timeout=30).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def stem(found: dict[str, Any], suffix: str = "") -> str:
    """A file name for results: the date and the device."""
    device = str(found["device"]).split(",")[0]
    words = "-".join(re.findall(r"[a-z0-9]+", device.lower()))
    return f"{found['date']}-gpu-{words or 'none'}{suffix}"


def ceilings() -> dict[str, float]:
    """Bytes per second of a large copy (read and written counted) and FLOP/s of a large matrix product, by PyTorch."""
    import torch

    source = torch.randn(2**29, device="cuda")  # 2 GiB: forty times the cache
    target = torch.empty_like(source)
    seconds = _median(partial(target.copy_, source))
    found = {"copy_bytes_per_s": 2 * source.nbytes / seconds}
    n = 8192
    a, b = torch.randn(n, n, device="cuda"), torch.randn(n, n, device="cuda")
    for name, precision in (("float32", False), ("tf32", True)):
        torch.backends.cuda.matmul.allow_tf32 = precision
        found[f"matmul_{name}_flop_per_s"] = 2 * n**3 / _median(partial(torch.mm, a, b))
    torch.backends.cuda.matmul.allow_tf32 = False
    a, b = (m[: n // 2, : n // 2].double() for m in (a, b))
    found["matmul_float64_flop_per_s"] = 2 * (n // 2) ** 3 / _median(partial(torch.mm, a, b))
    return found


def _median(work: Any, repeats: int = 7) -> float:
    """Seconds, by events on the device."""
    import torch

    for _ in range(3):
        work()
    spans = []
    for _ in range(repeats):
        start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        work()
        stop.record()
        stop.synchronize()
        spans.append(start.elapsed_time(stop) / 1e3)
    return statistics.median(spans)


if __name__ == "__main__":
    import json

    print(json.dumps(ceilings()))
    sys.exit(0)

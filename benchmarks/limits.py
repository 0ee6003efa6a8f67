"""What this machine can do: operations per second in a matrix product, bytes per second from memory.

    python -m benchmarks.limits THREADS [CORE]

Prints one line of JSON. A matrix product is timed in NumPy, in PyTorch and in what generated modules call, there one
for each thread, and the best of them is the peak; memory is timed by ``a = b + q*c`` on arrays that no cache holds.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SHAPES = (512, 1024, 2048)
SECONDS = 0.5
TRIAD_LENGTH = 1 << 24
#: Where the system does not say how large the last cache is.
USUAL_CACHE = 32 << 20


def fastest(work: Callable[[], object]) -> float:
    """Seconds of the best of many calls."""
    work()
    best, end = float("inf"), time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best


def products(dtype: str, threads: int) -> dict[str, float]:
    """Operations per second of the best matrix product of each library."""
    import numba
    import numpy as np
    import torch

    from symbp.runtime.contraction import matmul

    @numba.njit
    def product(a: Any, b: Any, c: Any) -> None:
        matmul(a, b, c)

    @numba.njit(parallel=threads > 1)
    def one_each(a: Any, b: Any, c: Any) -> None:
        for k in numba.prange(a.shape[0]):
            product(a[k], b[k], c[k])

    torch.set_num_threads(threads)
    source = np.random.default_rng(0)
    found: dict[str, float] = {}
    for n in SHAPES:
        a, b = (source.standard_normal((n, n)).astype(dtype) for _ in range(2))
        c = np.empty_like(a)
        A, B, C = map(torch.from_numpy, (a, b, c))
        several = [np.stack([array] * threads) for array in (a, b, c)]
        for name, work in (
            ("numpy", lambda a=a, b=b, c=c: np.matmul(a, b, out=c)),
            ("torch", lambda a=A, b=B, c=C: torch.mm(a, b, out=c)),
            ("symbp", lambda several=several: one_each(*several)),
        ):
            count = threads if name == "symbp" else 1
            found[name] = max(found.get(name, 0.0), 2 * count * n**3 / fastest(work))
    return found


def bandwidth() -> float:
    """Bytes per second of ``a = b + q*c``."""
    import numba
    import numpy as np

    @numba.njit(parallel=True, fastmath=True)
    def triad(a: Any, b: Any, c: Any, q: float) -> None:
        for i in numba.prange(a.shape[0]):
            a[i] = b[i] + q * c[i]

    a, b, c = (np.full(TRIAD_LENGTH, float(k)) for k in range(3))
    return 3 * a.nbytes / fastest(lambda: triad(a, b, c, 3.0))


def last_cache() -> int:
    """Bytes of the largest cache of the first core."""
    sizes = [0]
    for described in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"):
        found = re.fullmatch(r"(\d+)([KM])", described.read_text().strip())
        if found:
            sizes.append(int(found[1]) << {"K": 10, "M": 20}[found[2]])
    return max(sizes) or USUAL_CACHE


def main(threads: str, core: str = "") -> None:
    if core and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {int(core)})
    found: dict[str, Any] = {dtype: products(dtype, int(threads)) for dtype in ("float32", "float64")}
    print(json.dumps({**found, "bandwidth": bandwidth(), "cache": last_cache()}))


if __name__ == "__main__":
    main(*sys.argv[1:])

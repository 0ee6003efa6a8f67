"""Products of arrays of odd shapes on the GPU, against NumPy in float64.

python -m benchmarks.gpu.contractions [--emulate]
"""

from __future__ import annotations

import sys
import traceback
from typing import Any

import numpy as np

from benchmarks.gpu.children import tell
from symbp.runtime.cuda.contraction import contract
from symbp.runtime.cuda.device import current_device

#: Formula and sizes by letter. Odd, one, just above and below a tile, long sums, several axes at once.
SHAPES: tuple[tuple[str, tuple[dict[str, int], ...]], ...] = (
    (
        "bj,jk->bk",
        (
            {"b": 1, "j": 1, "k": 1},
            {"b": 7, "j": 13, "k": 5},
            {"b": 1, "j": 777, "k": 3},
            {"b": 63, "j": 65, "k": 127},
            {"b": 129, "j": 257, "k": 131},
            {"b": 4096, "j": 64, "k": 64},
            {"b": 33, "j": 8191, "k": 17},
            {"b": 1023, "j": 1025, "k": 1027},
        ),
    ),
    ("bj,bk->jk", ({"b": 5, "j": 7, "k": 3}, {"b": 10007, "j": 31, "k": 33}, {"b": 65537, "j": 64, "k": 64})),
    ("bk,jk->bj", ({"b": 7, "j": 13, "k": 1}, {"b": 257, "j": 129, "k": 70})),
    ("btj,jk->btk", ({"b": 3, "t": 7, "j": 13, "k": 11}, {"b": 17, "t": 33, "j": 65, "k": 9})),
    ("btj,btk->jk", ({"b": 3, "t": 7, "j": 13, "k": 11}, {"b": 65, "t": 63, "j": 33, "k": 31})),
    ("bhte,bhse->bhts", ({"b": 2, "h": 3, "t": 7, "s": 5, "e": 13}, {"b": 4, "h": 5, "t": 65, "s": 63, "e": 33})),
    ("bhts,bhse->bhte", ({"b": 2, "h": 3, "t": 7, "s": 5, "e": 1}, {"b": 4, "h": 5, "t": 65, "s": 63, "e": 33})),
    ("j,jk->k", ({"j": 13, "k": 7}, {"j": 5000, "k": 3})),
    ("bj,j->b", ({"b": 7, "j": 13}, {"b": 3, "j": 5000})),
    ("b,k->bk", ({"b": 7, "k": 13},)),
    ("bl,lqk->bqk", ({"b": 5, "l": 7, "q": 4, "k": 3}, {"b": 32, "l": 65, "q": 4, "k": 65})),
)
SMALL = 2000  # multiplications up to which the emulator runs a shape


def main(emulate: bool) -> None:
    if emulate:
        from symbp.check.emulator import EmulatedDevice
        from symbp.runtime.cuda.device import use_device

        use_device(EmulatedDevice())
    device = current_device()
    random = np.random.default_rng(0)
    for formula, several in SHAPES:
        for sizes in several:
            if emulate and np.prod(list(sizes.values())) > SMALL:
                continue
            for dtype in (np.float32, np.float64):
                for accumulate in (False, True):
                    tell(compare(device, random, formula, sizes, dtype, accumulate))


def compare(
    device: Any, random: np.random.Generator, formula: str, sizes: dict[str, int], dtype: Any, accumulate: bool
) -> dict[str, Any]:
    """One product; the error is relative to the sum of the terms' magnitudes, in units of what rounding may do."""
    shown = f"{formula} {'+= ' if accumulate else ''}{sizes}"
    row: dict[str, Any] = {"case": shown, "dtype": np.dtype(dtype).name}
    sides, _, result = formula.partition("->")
    left, right = (random.standard_normal([sizes[c] for c in letters]).astype(dtype) for letters in sides.split(","))
    before = random.standard_normal([sizes[c] for c in result]).astype(dtype)
    wide = [a.astype(np.float64) for a in (left, right)]
    expected = np.einsum(formula, *wide) + (before if accumulate else 0.0)
    magnitude = np.einsum(formula, *map(np.abs, wide)) + np.abs(before)
    length = int(np.prod([n for c, n in sizes.items() if c not in result]))
    try:
        out = device.upload(before)
        contract(device, formula, device.upload(left), device.upload(right), out, accumulate=accumulate)
        found = out.to_host()
        worst = float((np.abs(found - expected) / magnitude).max() / (np.finfo(dtype).eps * (4 + np.sqrt(length))))
        row["of what rounding may do"] = worst
        if not worst <= 1:
            row["error"] = f"off by {worst:.2g} of what rounding may do"
    except Exception as problem:
        row["error"] = " ".join(f"{type(problem).__name__}: {problem}".split())[:500]
        row["traceback"] = traceback.format_exc()[-3000:]
    return row


if __name__ == "__main__":
    main("--emulate" in sys.argv[1:])

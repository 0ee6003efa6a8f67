"""Draw a benchmark's result: how many times as long as ours the others' step takes, on a logarithmic scale.

python -m benchmarks.chart benchmarks/results/<name>.json docs/steps.svg
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

from benchmarks.run import ONE_CPU

COLOURS = {"torch": "#d95f30", "jax": "#3b6fb6"}
LEFT, RIGHT, TOP, ROW, BAR = 130, 60, 56, 34, 11
WIDTH = 720
#: The scale: from a third of our time to a hundred times it, and a bit.
LEAST, MOST = 0.35, 300.0
LEGEND = "right of 1 symbp is faster; +: took more than one CPU"
TICKS = (0.5, 1, 2, 5, 10, 20, 50, 100)


def draw(result: dict[str, Any]) -> str:
    """The chart as SVG."""
    rows = {name: ratios(found["steps"]) for name, found in result["workloads"].items()}
    height = TOP + ROW * len(rows) + 40
    bottom = TOP + ROW * len(rows)
    about = result["machine"]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
        'font-family="system-ui, sans-serif" font-size="12" fill="#222">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        text(LEFT, 20, "Time of one training step, as a multiple of symbp's", size=14, weight="600"),
        text(
            LEFT,
            38,
            f"one thread, {about['cpu']}, {about['date']}; right of 1 symbp is faster; +: took more than one CPU",
            fill="#666",
        ),
    ]
    for tick in TICKS:
        x = place(tick)
        colour = "#222" if tick == 1 else "#ddd"
        parts.append(f'<line x1="{x:.1f}" y1="{TOP - 6}" x2="{x:.1f}" y2="{bottom}" stroke="{colour}"/>')
        parts.append(text(x, bottom + 16, f"{tick:g}", anchor="middle", fill="#666"))
    for k, (name, found) in enumerate(rows.items()):
        y = TOP + ROW * k
        parts.append(text(LEFT - 10, y + ROW / 2 + 2, name, anchor="end"))
        for j, (other, (ratio, words)) in enumerate(found.items()):
            start, end = sorted((place(1), place(ratio)))
            bar_y = y + 4 + j * (BAR + 2)
            parts.append(
                f'<rect x="{start:.1f}" y="{bar_y}" width="{max(end - start, 1):.1f}" height="{BAR}" '
                f'fill="{COLOURS[other]}"/>'
            )
            parts.append(text(place(max(ratio, 1)) + 5, bar_y + BAR - 1.5, words, size=10, fill="#444"))
    for j, (other, colour) in enumerate(COLOURS.items()):
        x = WIDTH - RIGHT - 110 + 60 * j
        parts.append(f'<rect x="{x}" y="{bottom + 24}" width="10" height="10" fill="{colour}"/>')
        parts.append(text(x + 14, bottom + 33, other))
    return "\n".join([*parts, "</svg>"]) + "\n"


def ratios(steps: dict[str, Any]) -> dict[str, tuple[float, str]]:
    """The others' median over the better of ours, as a number and in words; ``+`` for one that took several CPUs."""
    ours = min(found["median_s"] for name, found in steps.items() if name.startswith("symbp"))
    found = {}
    for name in (n for n in COLOURS if n in steps):
        ratio = steps[name]["median_s"] / ours
        several = steps[name]["cpu_s"] > ONE_CPU * steps[name]["median_s"]
        found[name] = (ratio, f"{ratio:.{0 if ratio >= 10 else 1 if ratio >= 2 else 2}f}{' +' if several else ''}")
    return found


def place(ratio: float) -> float:
    """Where a ratio lies on the scale."""
    share = math.log(min(max(ratio, LEAST), MOST) / LEAST) / math.log(MOST / LEAST)
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def text(
    x: float, y: float, words: str, *, anchor: str = "start", size: int = 12, weight: str = "400", fill: str = "#222"
) -> str:
    """A line of text."""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" font-weight="{weight}" '
        f'fill="{fill}">{words}</text>'
    )


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:])
    target.write_text(draw(json.loads(source.read_text(encoding="utf-8"))), encoding="utf-8")

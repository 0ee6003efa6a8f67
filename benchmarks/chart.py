"""Draw a benchmark's result: how many times as long as ours the others' step takes, on a logarithmic scale.

    python -m benchmarks.chart benchmarks/results/<name>.json docs/steps.svg

One panel for each number of threads that was timed.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.report import best

#: Colour and shape of each; "jax loop" is drawn as "jax" where it is the better of the two.
MARKS = {
    "torch": ("#d95f30", "circle"),
    "torch.compile": ("#a3341b", "square"),
    "jax": ("#3b6fb6", "triangle"),
    "pytensor": ("#4f8a4b", "diamond"),
}
NAMES, PANEL, GAP, BEST = 116, 300, 74, 8
TOP, ROW, FOOT = 84, 25, 54
#: The scale: from a third of our time to some hundred times it.
LEAST, MOST = 0.35, 300.0
TICKS = (0.5, 1, 2, 5, 10, 20, 50, 100, 200)


def draw(result: dict[str, Any]) -> str:
    """The chart as SVG."""
    about, found = result["machine"], result["workloads"]
    counts = list(next(iter(found.values()))["steps"])
    width = NAMES + (PANEL + GAP) * len(counts)
    bottom = TOP + ROW * len(found)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{bottom + FOOT}" '
        f'viewBox="0 0 {width} {bottom + FOOT}" font-family="system-ui, sans-serif" font-size="12" fill="#222">',
        f'<rect width="{width}" height="{bottom + FOOT}" fill="white"/>',
        text(NAMES, 20, "Time of one training step, as a multiple of symbp's", size=14, weight="600"),
        text(NAMES, 38, f"right of 1 symbp is faster; {about['cpu']}, {about['date']}", fill="#666"),
    ]
    for row, name in enumerate(found):
        y = TOP + ROW * row
        if row % 2 == 0:
            parts.append(f'<rect x="0" y="{y}" width="{width}" height="{ROW}" fill="#f5f5f5"/>')
        parts.append(text(NAMES - 10, y + ROW / 2 + 4, name, anchor="end"))
    for number, threads in enumerate(counts):
        left = NAMES + (PANEL + GAP) * number
        title = f"{threads} thread{'s' if threads != '1' else ', on one core'}"
        parts += panel(left, bottom, title, [f["steps"][threads] for f in found.values()])
    seen = {shown for f in found.values() for steps in f["steps"].values() for shown in ratios(steps)}
    x: float = NAMES
    for name, (colour, shape) in MARKS.items():
        if name in seen:
            parts += [SHAPES[shape](x + 5, bottom + 40, colour), text(x + 15, bottom + 44, name)]
            x += 40 + 7.2 * len(name)
    return "\n".join([*parts, "</svg>"]) + "\n"


def panel(left: float, bottom: float, title: str, rows: list[dict[str, Any]]) -> list[str]:
    """A scale, a mark for each of the others in each row, and how many times as long the best of them takes."""

    def place(ratio: float) -> float:
        share = math.log(min(max(ratio, LEAST), MOST) / LEAST) / math.log(MOST / LEAST)
        return left + share * PANEL

    parts = [
        text(left, TOP - 22, title, weight="600"),
        text(left + PANEL + BEST, TOP - 6, "best", size=10, fill="#666"),
    ]
    for tick in TICKS:
        x, colour = place(tick), "#222" if tick == 1 else "#ddd"
        parts.append(f'<line x1="{x:.1f}" y1="{TOP - 4}" x2="{x:.1f}" y2="{bottom + 3}" stroke="{colour}"/>')
        parts.append(text(x, bottom + 17, f"{tick:g}", anchor="middle", size=11, fill="#666"))
    for number, steps in enumerate(rows):
        y, found = TOP + ROW * number + ROW / 2, ratios(steps)
        for name, ratio in sorted(found.items(), key=lambda item: -item[1]):
            colour, shape = MARKS[name]
            parts.append(SHAPES[shape](place(ratio), y, colour))
        if found:
            parts.append(text(left + PANEL + BEST, y + 4, ratio_words(min(found.values())), weight="600"))
    return parts


def ratios(steps: dict[str, Any]) -> dict[str, float]:
    """The median of each of the others over the better of ours."""
    ours = best(steps, ours=True)
    found: dict[str, float] = {}
    for name, row in steps.items():
        shown = name.removesuffix(" loop")
        if shown in MARKS and "failed" not in row and ours is not None:
            ratio = row["median_s"] / ours
            found[shown] = min(ratio, found.get(shown, ratio))
    return found


def ratio_words(ratio: float) -> str:
    return f"{ratio:.{0 if ratio >= 10 else 1 if ratio >= 2 else 2}f}"


def circle(x: float, y: float, colour: str) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{colour}" fill-opacity="0.9"/>'


def polygon(*corners: tuple[float, float]) -> Callable[[float, float, str], str]:
    def drawn(x: float, y: float, colour: str) -> str:
        points = " ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in corners)
        return f'<polygon points="{points}" fill="{colour}" fill-opacity="0.9"/>'

    return drawn


SHAPES: dict[str, Callable[[float, float, str], str]] = {
    "circle": circle,
    "square": polygon((-4.5, -4.5), (4.5, -4.5), (4.5, 4.5), (-4.5, 4.5)),
    "triangle": polygon((0, -6), (5.5, 4.5), (-5.5, 4.5)),
    "diamond": polygon((0, -6.5), (5.5, 0), (0, 6.5), (-5.5, 0)),
}


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

"""Apples and oranges: a line ``y = m x + c`` between two kinds of fruit, learnt step by step.

python examples/apples_oranges.py

The fruits are real: grapes of two cultivars, from scikit-learn's `wine` data. x is how much phenol they hold, y is
their hue, both scaled to mean 0 and deviation 1. What lies above the line is of one kind, what lies below of the other:

    height[n] = y[n] - (m*x[n] + c)             predicted: above or below the line, and by how much
    side[n]   = +1 or -1                        the truth: of the one kind or of the other
    loss      = sqrt(mean((height - side)**2))  the root mean square of what is wrong

The derivatives of the loss say how to correct a guess of m and c: m1 = m0 + delta, m2 = m1 + delta, .. This example
shows the derived equations, the first steps with their numbers, and that the sum of the deltas leads to where one could
have gone in one step.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from symbp import SGD, Model, mean, sqrt
from symbp.explain import text
from symbp.pipeline import compile_model, derive_model, load_generated

Numbers = npt.NDArray[np.float64]
STEPS = 100


def model() -> Model:
    """The line and its loss."""
    line = Model("apples_oranges")
    n = line.axis("n", "fruits")
    x, y, side = line.input("x", n), line.input("y", n), line.input("side", n)
    m, c = line.parameter("m"), line.parameter("c")
    height = line.define("height[n]", y[n] - (m * x[n] + c))
    line.output(height)
    line.loss(sqrt(mean((height[n] - side[n]) ** 2, n)))
    line.optimizer(SGD(learning_rate=0.2))
    return line


def fruits() -> tuple[Numbers, Numbers, Numbers]:
    """x, y and side of each fruit."""
    try:
        from sklearn.datasets import load_wine
    except ImportError:
        raise SystemExit("this example needs scikit-learn: pip install scikit-learn") from None
    wine = load_wine()
    two = wine.target != 1
    columns = [wine.feature_names.index(name) for name in ("total_phenols", "hue")]
    measured = wine.data[two][:, columns]
    x, y = ((measured - measured.mean(axis=0)) / measured.std(axis=0)).T
    return np.ascontiguousarray(x), np.ascontiguousarray(y), np.where(wine.target[two] == 0, 1.0, -1.0)


def in_one_go(x: Numbers, y: Numbers, side: Numbers) -> tuple[float, float]:
    """The m and c of the smallest error, from the two equations that say that both derivatives are 0."""
    m, c = np.linalg.lstsq(np.stack([x, np.ones_like(x)], axis=1), y - side, rcond=None)[0]
    return float(m), float(c)


def picture(x: Numbers, y: Numbers, side: Numbers, m: float, c: float, width: int = 66, height: int = 21) -> str:
    """The two kinds as ``A`` and ``o``, and the line as ``.``."""
    columns, rows = np.linspace(x.min(), x.max(), width), np.linspace(y.max(), y.min(), height)
    cells = np.full((height, width), " ")

    def put(mark: str, at_x: float, at_y: float) -> None:
        if rows[-1] <= at_y <= rows[0]:
            cells[np.abs(rows - at_y).argmin(), np.abs(columns - at_x).argmin()] = mark

    for at in columns:
        put(".", at, m * at + c)
    for at_x, at_y, kind in zip(x, y, side, strict=True):
        put("A" if kind > 0 else "o", at_x, at_y)
    lines = ["    |" + "".join(row).rstrip() for row in cells]
    return "\n".join(["  y", *lines, "    +" + "-" * width + " x"])


def main(folder: str = ".demo") -> float:
    """Derive, compile and step; returns the share of the fruits that end on their own side of the line."""
    line = model()
    print(text(derive_model(line), line.update()))
    package = compile_model(line, folder, dtype="float64")
    net = load_generated(package)
    print(f"The compiled module is {package}; in its kernels.py each of these equations heads its loop.\n")

    x, y, side = fruits()
    params = net.init()
    params.m, params.c = 2.0, -1.0  # a poor guess
    state = net.optimizer_state(params)
    start, total = params.copy(), params.zeros_like()
    print(f"delta = -{state.learning_rate:g}*(m_bar, c_bar)\n")
    print("  step     loss         m     m_bar     delta           c     c_bar     delta")
    for step in range(STEPS):
        before = params.copy()
        _, bar = net.loss_and_grad(params, x, y, side)
        loss = net.train_step(params, state, x, y, side)
        delta = params.flat - before.flat
        total.flat[:] += delta
        if step < 5 or step == STEPS - 1:
            numbers = np.stack([before.flat, bar.flat, delta], axis=1)
            print(f"  {step:4d} {loss:8.4f}  " + "   ".join("".join(f"{v:+10.4f}" for v in row) for row in numbers))
        elif step == 5:
            print("   ...")

    once = dict(zip(params, in_one_go(x, y, side), strict=True))
    print()
    for name in params:
        print(
            f"  {name}{STEPS} = {name}0 + sum of the deltas = {start[name]:.4f} {total[name]:+.4f} = {params[name]:.4f}"
            f"      in one go: {once[name]:.4f}"
        )

    right = float(np.mean(np.sign(net.predict(params, x, y)) == side))
    print(f"\n{right:.0%} of the {x.size} fruits are on their own side of y = {params.m:.2f}*x {params.c:+.2f}:\n")
    print(picture(x, y, side, float(params.m), float(params.c)))
    return right


if __name__ == "__main__":
    main()

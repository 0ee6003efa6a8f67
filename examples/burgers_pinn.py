"""Burgers' equation by a network that is its own solution: a physics-informed neural network.

python examples/burgers_pinn.py

A network u(x, t) is trained until it obeys, for -1 <= x <= 1 and 0 <= t <= 1,

    u_t + u*u_x = nu*u_xx        in the inside (the wave steepens to a front at x = 0)
    u(x, 0) = -sin(pi*x)         at the start
    u(-1, t) = u(1, t) = 0       at the two ends

The derivatives u_t, u_x and u_xx are part of the model, `diff(u[n], x[n])`, and the loss is differentiated through
them: third derivatives of the network, all from the one rule. Raissi, Perdikaris and Karniadakis 2019 made the example
known, with nu = 0.01/pi; this one has nu = 0.1/pi, so that half a minute is enough.

The answer is compared with the exact solution, which the transform of Cole and Hopf gives as two integrals.
"""

from __future__ import annotations

import time

import numpy as np
import numpy.typing as npt
import sympy as sp

from symbp import Adam, Model, diff, mean, sum, tanh
from symbp.pipeline import compile_model, load_generated

Numbers = npt.NDArray[np.float64]
VISCOSITY = 0.1 / np.pi
INSIDE, BORDER = 1024, 256  # points of each kind


def model(units: int = 20) -> Model:
    """The residual of the equation at the points (x, t) and the error at points (x_b, t_b) where u_b is known."""
    burgers = Model("burgers_pinn")
    n, m = burgers.axis("n", "points"), burgers.axis("m", "border")
    i, k = burgers.axis("i", 2), burgers.axis("k", units)
    l = burgers.axis("l", k)  # noqa: E741
    x, t = burgers.input("x", n), burgers.input("t", n)
    x_b, t_b, u_b = (burgers.input(name, m) for name in ("x_b", "t_b", "u_b"))
    W1, c1 = burgers.parameter("W1", i, k), burgers.parameter("c1", k)
    W2, c2 = burgers.parameter("W2", k, l), burgers.parameter("c2", l)
    W3, c3 = burgers.parameter("W3", l, init="glorot_uniform"), burgers.parameter("c3")

    def network(name: str, p: sp.Symbol, x: sp.Expr, t: sp.Expr) -> sp.Expr:
        """``u`` at the points that index p counts."""
        f = burgers.define(f"f_{name}[{p}, k]", tanh(x * W1[0, k] + t * W1[1, k] + c1[k]))
        g = burgers.define(f"g_{name}[{p}, l]", tanh(sum(f[p, k] * W2[k, l], k) + c2[l]))
        return burgers.define(f"{name}[{p}]", sum(g[p, l] * W3[l], l) + c3.here)

    u = network("u", n, x[n], t[n])
    u_x, u_t = burgers.define("u_x[n]", diff(u[n], x[n])), burgers.define("u_t[n]", diff(u[n], t[n]))
    u_xx = burgers.define("u_xx[n]", diff(u_x[n], x[n]))
    residual = burgers.define("residual[n]", u_t[n] + u[n] * u_x[n] - sp.Rational(1, 10) / sp.pi * u_xx[n])
    at_border = network("at_border", m, x_b[m], t_b[m])
    burgers.output(u)
    burgers.loss(mean(residual[n] ** 2, n) + 10 * mean((at_border[m] - u_b[m]) ** 2, m))
    burgers.optimizer(Adam(learning_rate=0.005))
    return burgers


def exact(x: Numbers, t: Numbers) -> Numbers:
    """Cole and Hopf: with ``u = -2 nu phi_x/phi`` the equation is that of heat, whose solution is a Gaussian mean.

    ``u(x, t) = -E[sin(pi y) F(y)] / E[F(y)]``, ``y = x - 2 sqrt(nu t) s``, ``F(y) = exp(-cos(pi y)/(2 pi nu))``, over
    ``s`` with weight ``exp(-s**2)``, by the quadrature of Gauss and Hermite.
    """
    s, weight = np.polynomial.hermite.hermgauss(100)
    y = x[:, None] - 2 * np.sqrt(VISCOSITY * t)[:, None] * s
    F = weight * np.exp(-np.cos(np.pi * y) / (2 * np.pi * VISCOSITY))
    return np.asarray(-(np.sin(np.pi * y) * F).sum(1) / F.sum(1))


def points(seed: int) -> tuple[Numbers, ...]:
    """Random points inside, and on the border with what u is there."""
    source = np.random.default_rng(seed)
    x, t = source.uniform(-1, 1, INSIDE), source.uniform(0, 1, INSIDE)
    third = BORDER // 2
    x_b = np.concatenate([source.uniform(-1, 1, third), source.choice([-1.0, 1.0], BORDER - third)])
    t_b = np.concatenate([np.zeros(third), source.uniform(0, 1, BORDER - third)])
    u_b = np.where(t_b == 0, -np.sin(np.pi * x_b), 0.0)
    return x, t, x_b, t_b, u_b


def picture(x: Numbers, u: Numbers, true: Numbers, height: int = 15) -> str:
    """The solution at one time: ``o`` the network, ``.`` the truth."""
    cells = np.full((height, len(x)), " ")
    for mark, values in ((".", true), ("o", u)):
        rows = np.clip(np.rint((1 - values) / 2 * (height - 1)), 0, height - 1).astype(int)
        cells[rows, np.arange(len(x))] = mark
    return "\n".join("    |" + "".join(row).rstrip() for row in cells)


def main(folder: str = ".demo", units: int = 20, steps: int = 6000) -> float:
    """Train, compare with the exact solution; return the error, the root mean square relative to that of u."""
    net = load_generated(compile_model(model(units), folder, dtype="float64"))
    params = net.init(seed=0)
    state = net.optimizer_state(params)
    grid_x, grid_t = (g.ravel() for g in np.meshgrid(np.linspace(-1, 1, 65), np.linspace(0, 1, 21)))
    true = exact(grid_x, grid_t)
    began = time.perf_counter()
    print("    step      loss     error      s")
    error = np.inf
    for step in range(steps + 1):
        if step % 200 == 0:  # fresh points, so that no gap between points stays unseen
            data = points(seed=step)
        if step % max(steps // 10, 1) == 0:
            found = net.predict(params, grid_x, grid_t)
            error = float(np.sqrt(np.mean((found - true) ** 2) / np.mean(true**2)))
            spent = time.perf_counter() - began
            print(f"  {step:6d}  {net.loss(params, *data):.2e}  {error:.2e}  {spent:5.1f}")
        state.learning_rate = 0.005 * min(1.0, 2 * (1 - step / (steps + 1)))
        net.train_step(params, state, *data)
    x = np.linspace(-1, 1, 65)
    for t in (0.0, 0.5, 1.0):
        at = np.full_like(x, t)
        print(f"\nu(x, {t}), from x = -1 to 1:")
        print(picture(x, net.predict(params, x, at), exact(x, at)))
    return error


if __name__ == "__main__":
    main()

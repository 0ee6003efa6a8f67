"""Losses with derivatives of the model in them: residuals of differential equations."""

from __future__ import annotations

import sympy as sp
import torch

from symbp import Model, diff, mean, sin, sum, tanh
from symbp.frontend.handle import TensorHandle
from tests.numeric.harness import Case, Tensors

POINTS = tuple({"n_points": n} for n in (7, 1, 13))


def burgers() -> Model:
    """``u_t + u u_x = u_xx/100`` for ``u(x, t)`` by a network with two hidden layers; the residual is an output."""
    model = Model("burgers")
    n, i, k, l = model.axis("n", "points"), model.axis("i", 2), model.axis("k", 7), model.axis("l", 5)  # noqa: E741
    x, t = model.input("x", n), model.input("t", n)
    W1, c1 = model.parameter("W1", i, k), model.parameter("c1", k)
    W2, c2, W3 = model.parameter("W2", k, l), model.parameter("c2", l), model.parameter("W3", l)
    f = model.define("f[n, k]", tanh(x[n] * W1[0, k] + t[n] * W1[1, k] + c1[k]))
    g = model.define("g[n, l]", tanh(sum(f[n, k] * W2[k, l], k) + c2[l]))
    u = model.define("u[n]", sum(g[n, l] * W3[l], l))
    u_x, u_t = model.define("u_x[n]", diff(u[n], x[n])), model.define("u_t[n]", diff(u[n], t[n]))
    u_xx = model.define("u_xx[n]", diff(u_x[n], x[n]))
    r = model.define("r[n]", u_t[n] + u[n] * u_x[n] - u_xx[n] / 100)
    model.output(u, r)
    model.loss(mean(r[n] ** 2, n))
    return model


def burgers_outputs(given: Tensors) -> tuple[torch.Tensor, torch.Tensor]:
    x, t = given["x"].clone().requires_grad_(), given["t"].clone().requires_grad_()
    points = torch.stack((x, t), -1)
    u = torch.tanh(torch.tanh(points @ given["W1"] + given["c1"]) @ given["W2"] + given["c2"]) @ given["W3"]
    u_x, u_t = torch.autograd.grad(u.sum(), (x, t), create_graph=True)
    (u_xx,) = torch.autograd.grad(u_x.sum(), x, create_graph=True)
    return u, u_t + u * u_x - u_xx / 100


def poisson() -> Model:
    """``u_00 + u_11 + u_22 = sin(x_0)`` with one derivative for each component of a point."""
    model = Model("poisson")
    n, i, k = model.axis("n", "points"), model.axis("i", 3), model.axis("k", 7)
    x, W, c, V = model.input("x", n, i), model.parameter("W", i, k), model.parameter("c", k), model.parameter("V", k)
    f = model.define("f[n, k]", tanh(sum(x[n, i] * W[i, k], i) + c[k]))
    u = model.define("u[n]", sum(f[n, k] * V[k], k))

    def second(axis: int) -> sp.Expr:
        first: TensorHandle = model.define(f"u_{axis}[n]", diff(u[n], x[n, axis]))
        return model.define(f"u_{axis}{axis}[n]", diff(first[n], x[n, axis]))[n]

    model.output(u)
    model.loss(mean((second(0) + second(1) + second(2) - sin(x[n, 0])) ** 2, n))
    return model


def poisson_torch(given: Tensors) -> torch.Tensor:
    x = given["x"].clone().requires_grad_()
    u = torch.tanh(x @ given["W"] + given["c"]) @ given["V"]
    (slope,) = torch.autograd.grad(u.sum(), x, create_graph=True)
    second = [torch.autograd.grad(slope[:, i].sum(), x, create_graph=True)[0][:, i] for i in range(3)]
    return ((second[0] + second[1] + second[2] - torch.sin(x[:, 0])) ** 2).mean()


BURGERS_CASE = Case(
    "burgers",
    burgers,
    lambda given: (burgers_outputs(given)[1] ** 2).mean(),
    POINTS,
    outputs=lambda given: tuple(o.detach() for o in burgers_outputs(given)),
)
CASES = (BURGERS_CASE, Case("poisson", poisson, poisson_torch, POINTS, single=False))

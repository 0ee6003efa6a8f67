"""Random models of scalar arithmetic: deep expressions over a few axes, whose derivatives exercise every rewrite.

Everything is drawn from one seed, so a failure is repeated by its number.
"""

from __future__ import annotations

from random import Random
from typing import Any

import sympy as sp

import symbp as sb
from symbp import Model, exp, log, max, mean, relu, select, sigmoid, softplus, sqrt, sum, tanh
from symbp.frontend.expression import Axis
from symbp.frontend.handle import TensorHandle


class RandomModel:
    """A model while it grows: inputs, parameters, two to five equations, and a loss that reads the last of them."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.model = model = Model(f"random_{seed}")
        self.b = model.axis("b", "batch")
        self.axes = [model.axis(name, 3) for name in "jkl"]
        j, k, _ = self.axes
        self.label = model.input("label", self.b, dtype="int", below=3)
        self.W = model.parameter("W", j, k)
        self.given = [model.input("x", self.b, j), model.parameter("v", j), model.parameter("s")]
        #: Tensors by the indices of their elements: over the batch and one axis, over one axis, none.
        self.known: list[TensorHandle] = list(self.given)
        last: TensorHandle | None = None
        for number in range(self.random.randint(2, 5)):
            last = self.equation(f"t{number}")
            self.known.append(last)
        assert last is not None
        tail = last.here if not last.rank else sum(last.here**2, *last.axes)
        body = self.expression(j, 2) * self.element(j) + self.W[j, k] * self.element(k)
        model.loss(mean(body, self.b, j, k) + tail)

    def element(self, axis: Axis) -> sp.Expr:
        """An element of some tensor at (b, axis)."""
        return self.at(self.random.choice(self.known), axis)

    def at(self, tensor: TensorHandle, axis: Axis) -> sp.Expr:
        return tensor[(self.b, axis)[2 - tensor.rank :]] if tensor.rank else tensor.here

    def expression(self, axis: Axis, depth: int) -> sp.Expr:
        """Finite for every value of the elements; no sum of two is ever 0 by construction alone."""
        if not depth:
            return self.element(axis) if self.random.random() < 0.85 else sp.Integer(self.random.choice([1, 2, 3, -1]))
        e, f, g, h = (self.expression(axis, depth - 1) for _ in range(4))
        exponent: Any = self.random.choice([self.known[2].here, *(sp.Rational(n, 2) for n in (-3, -1, 1, 3, 5)), -2, 2])
        forms = [
            e + f, e - f, e * f, e * f, e / (1 + f**2), tanh(e), sigmoid(e), softplus(e), exp(-(e**2)),
            log(1 + e**2), sqrt(1 + e**2), (1 + e**2) ** exponent, select(e > f, g, h), relu(e) * f,
        ]  # fmt: skip
        chosen: sp.Expr = self.random.choice(forms)
        return chosen

    def equation(self, name: str) -> TensorHandle:
        """A map, a product with W, a sum or a norm over an axis, a mean over the batch, a choice by label."""
        model, b = self.model, self.b
        axis, other = self.random.sample(self.axes, 2)
        here = self.element(axis)
        over_other = [
            exp(here) / sum(exp(self.element(other)), other),
            here - mean(self.element(other), other),
            here * sum(self.expression(other, 2), other),
            here / sqrt(1 + sum(self.element(other) ** 2, other)),
            here * max(self.expression(other, 1), other),
        ]
        kind = self.random.randrange(8)
        if kind <= 2:
            return model.define(f"{name}[b, {axis}]", self.expression(axis, 2))
        if kind == 3:
            guard = self.random.choice([None, other >= axis, other <= axis])
            product = self.expression(other, 2) * self.W[other, axis]
            return model.define(f"{name}[b, {axis}]", sum(product, other, where=guard))
        if kind == 4:
            return model.define(f"{name}[b, {axis}]", self.random.choice(over_other))
        if kind == 5:
            return model.define(f"{name}[{axis}]", mean(self.expression(axis, 2), b))
        if kind == 6:
            return model.define(name, mean(self.expression(axis, 2), b, axis))
        chosen = self.random.choice([t for t in self.known if t.rank == 2])
        return model.define(f"{name}[b, {axis}]", chosen[b, self.label[b]] * here)


def random_model(seed: int) -> sb.Model:
    return RandomModel(seed).model

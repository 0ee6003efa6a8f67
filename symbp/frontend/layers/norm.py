"""Normalisation over the last axis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import sympy as sp

from symbp.errors import SpecError
from symbp.frontend.functions import mean
from symbp.frontend.handle import TensorHandle
from symbp.frontend.layers.layer import Layer, Scope, check_rank_of_input


@dataclass(frozen=True)
class LayerNorm(Layer):
    """``y[.., k] = g[k]*(x[.., k] - mu[..])*r[..] + c[k]`` with ``r = (v + epsilon)**(-1/2)``.

    mu and v are the mean and the variance over the last axis. Ba, Kiros and Hinton 2016.
    """

    kind: ClassVar[str] = "norm"

    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        _check_epsilon("LayerNorm", self.epsilon)

    def expand(self, scope: Scope, x: TensorHandle) -> TensorHandle:
        check_rank_of_input("LayerNorm", x, 1, ".., k", at_least=True)
        *kept, k = x.axes
        g, c = scope.parameter("g", k, init=1.0), scope.parameter("c", k)
        mu = scope.define("mu", kept, mean(x.here, k)).here
        v = scope.define("v", kept, mean((x.here - mu) ** 2, k)).here
        r = scope.define("r", kept, (v + sp.Rational(repr(self.epsilon))) ** sp.Rational(-1, 2)).here
        # The normalised value has a name, so that the backward pass reads it: its adjoint needs one pass then.
        n = scope.define("n", x.axes, (x.here - mu) * r).here
        return scope.define("", x.axes, g[k] * n + c[k])


@dataclass(frozen=True)
class RMSNorm(Layer):
    """``y[.., k] = g[k]*x[.., k]*r[..]`` with ``r = (mean[k](x**2) + epsilon)**(-1/2)``. Zhang and Sennrich 2019."""

    kind: ClassVar[str] = "norm"

    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        _check_epsilon("RMSNorm", self.epsilon)

    def expand(self, scope: Scope, x: TensorHandle) -> TensorHandle:
        check_rank_of_input("RMSNorm", x, 1, ".., k", at_least=True)
        *kept, k = x.axes
        g = scope.parameter("g", k, init=1.0)
        v = scope.define("v", kept, mean(x.here**2, k)).here
        r = scope.define("r", kept, (v + sp.Rational(repr(self.epsilon))) ** sp.Rational(-1, 2)).here
        n = scope.define("n", x.axes, x.here * r).here
        return scope.define("", x.axes, g[k] * n)


def _check_epsilon(layer: str, value: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1:
        raise SpecError(f"{layer} has epsilon = {value!r}, expected a number between 0 and 1")

"""Dense: every output from every input."""

from __future__ import annotations

from dataclasses import dataclass

from symbp.frontend.functions import Function, sum
from symbp.frontend.handle import TensorHandle
from symbp.frontend.layers.layer import Layer, Scope, activate, check_activation, check_positive, check_rank_of_input
from symbp.ir import Initializer


@dataclass(frozen=True)
class Dense(Layer):
    """``y[.., k] = f(sum[j] x[.., j]*W[j, k] + c[k])``: the last axis is summed, all others are kept.

    The weights start by `init` (Glorot uniform), the bias at zero.
    """

    units: int
    activation: Function | None = None
    bias: bool = True
    init: str | Initializer = "glorot_uniform"

    def __post_init__(self) -> None:
        check_positive("Dense", "units", self.units)
        check_activation("Dense", self.activation)

    def expand(self, scope: Scope, x: TensorHandle) -> TensorHandle:
        check_rank_of_input("Dense", x, 1, ".., j", at_least=True)
        *kept, j = x.axes
        k = scope.axis("k", self.units)
        W = scope.parameter("W", j, k, init=self.init)
        z = sum(x[(*kept, j)] * W[j, k], j)
        if self.bias:
            z = z + scope.parameter("c", k)[k]
        return activate(scope, self.activation, (*kept, k), z)

"""Pooling over windows that do not overlap unless `stride` is smaller than `size`, and flattening."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import sympy as sp

from symbp.frontend.functions import max, sum
from symbp.frontend.handle import TensorHandle
from symbp.frontend.layers.layer import Layer, Scope, check_positive, check_rank_of_input
from symbp.frontend.layers.window import window_positions


@dataclass(frozen=True)
class MaxPool2d(Layer):
    """``y[b, c, p, q] = max[u, v] x[b, c, stride*p + u, stride*q + v]``.

    At a tie the first element, in row-major order, gets the whole gradient.
    """

    kind: ClassVar[str] = "pool"

    size: int = 2
    stride: int | None = None

    def __post_init__(self) -> None:
        _check_window("MaxPool2d", self.size, self.stride)

    def expand(self, scope: Scope, x: TensorHandle) -> TensorHandle:
        check_rank_of_input("MaxPool2d", x, 4, "b, c, i, j")
        b, c, i, j = x.axes
        step = self.stride or self.size
        p = scope.axis("p", window_positions("MaxPool2d", i, self.size, step, 0))
        q = scope.axis("q", window_positions("MaxPool2d", j, self.size, step, 0))
        u, v = scope.axis("u", self.size), scope.axis("v", self.size)
        return scope.define("", (b, c, p, q), max(x[b, c, step * p + u, step * q + v], u, v))


@dataclass(frozen=True)
class AvgPool2d(Layer):
    """``y[b, c, p, q] = sum[u, v] x[b, c, stride*p + u, stride*q + v]/size**2``."""

    kind: ClassVar[str] = "pool"

    size: int = 2
    stride: int | None = None

    def __post_init__(self) -> None:
        _check_window("AvgPool2d", self.size, self.stride)

    def expand(self, scope: Scope, x: TensorHandle) -> TensorHandle:
        check_rank_of_input("AvgPool2d", x, 4, "b, c, i, j")
        b, c, i, j = x.axes
        step = self.stride or self.size
        p = scope.axis("p", window_positions("AvgPool2d", i, self.size, step, 0))
        q = scope.axis("q", window_positions("AvgPool2d", j, self.size, step, 0))
        u, v = scope.axis("u", self.size), scope.axis("v", self.size)
        return scope.define("", (b, c, p, q), sum(x[b, c, step * p + u, step * q + v], u, v) / self.size**2)


@dataclass(frozen=True)
class Flatten(Layer):
    """``y[b, (c*I + i)*J + j] = x[b, c, i, j]``: all axes but the first become one, in row-major order."""

    def expand(self, scope: Scope, x: TensorHandle) -> TensorHandle:
        check_rank_of_input("Flatten", x, 2, "b, ..", at_least=True)
        b, *rest = x.axes
        place: sp.Expr = sp.Integer(0)
        extent: sp.Expr = sp.Integer(1)
        for axis in rest:
            place = place * axis.size + axis
            extent = extent * axis.size
        m = scope.axis("m", extent)
        y = scope.variable("", b, m)
        return scope.define(y[b, sp.expand(place)], x.here)


def _check_window(layer: str, size: int, stride: int | None) -> None:
    check_positive(layer, "size", size)
    if stride is not None:
        check_positive(layer, "stride", stride)

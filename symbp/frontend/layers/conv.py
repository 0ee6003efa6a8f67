"""Convolutions: channels first, ``x[b, c, i]`` and ``x[b, c, i, j]``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import sympy as sp

from symbp.errors import SpecError
from symbp.frontend.expression import Axis
from symbp.frontend.functions import Function, sum
from symbp.frontend.handle import TensorHandle
from symbp.frontend.layers.layer import Layer, Scope, activate, check_activation, check_positive, check_rank_of_input
from symbp.frontend.layers.window import window_positions
from symbp.ir import Initializer


@dataclass(frozen=True)
class Conv1d(Layer):
    """``y[b, o, p] = f(sum[c, u] x[b, c, stride*p + dilation*u - padding]*K[o, c, u] + c[o])``.

    Elements in the padding count as 0.
    """

    kind: ClassVar[str] = "conv"

    channels: int
    kernel: int
    activation: Function | None = None
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    bias: bool = True
    init: str | Initializer = "he_uniform"

    def __post_init__(self) -> None:
        _check_fields(self, "Conv1d")
        check_positive("Conv1d", "kernel", self.kernel)

    def expand(self, scope: Scope, x: TensorHandle) -> TensorHandle:
        check_rank_of_input("Conv1d", x, 3, "b, c, i")
        b, c, i = x.axes
        o, u = scope.axis("o", self.channels), scope.axis("u", self.kernel)
        p = scope.axis("p", window_positions("Conv1d", i, self.kernel, self.stride, self.padding, self.dilation))
        K = scope.parameter("K", o, c, u, init=self.init)
        at, inside = _window(self, i, p, u)
        z = sum(x[b, c, at] * K[o, c, u], c, u, where=inside)
        if self.bias:
            z = z + scope.parameter("c", o)[o]
        return activate(scope, self.activation, (b, o, p), z)


@dataclass(frozen=True)
class Conv2d(Layer):
    """``y[b, o, p, q] = f(sum[c, u, v] x[b, c, s*p + d*u - pad, s*q + d*v - pad]*K[o, c, u, v] + c[o])``.

    s, d and pad are `stride`, `dilation` and `padding`, the same on both axes; elements in the padding count as 0.
    """

    kind: ClassVar[str] = "conv"

    channels: int
    kernel: int | tuple[int, int]
    activation: Function | None = None
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    bias: bool = True
    init: str | Initializer = "he_uniform"

    def __post_init__(self) -> None:
        _check_fields(self, "Conv2d")
        for size in pair("Conv2d", "kernel", self.kernel):
            check_positive("Conv2d", "kernel", size)

    def expand(self, scope: Scope, x: TensorHandle) -> TensorHandle:
        check_rank_of_input("Conv2d", x, 4, "b, c, i, j")
        b, c, i, j = x.axes
        height, width = pair("Conv2d", "kernel", self.kernel)
        o, u, v = scope.axis("o", self.channels), scope.axis("u", height), scope.axis("v", width)
        p = scope.axis("p", window_positions("Conv2d", i, height, self.stride, self.padding, self.dilation))
        q = scope.axis("q", window_positions("Conv2d", j, width, self.stride, self.padding, self.dilation))
        K = scope.parameter("K", o, c, u, v, init=self.init)
        row, inside_rows = _window(self, i, p, u)
        column, inside_columns = _window(self, j, q, v)
        z = sum(x[b, c, row, column] * K[o, c, u, v], c, u, v, where=[*inside_rows, *inside_columns])
        if self.bias:
            z = z + scope.parameter("c", o)[o]
        return activate(scope, self.activation, (b, o, p, q), z)


def _window(layer: Conv1d | Conv2d, axis: Axis, p: Axis, u: Axis) -> tuple[sp.Expr, list[Any]]:
    """Where the window's element u lies when it stands at p, and the guards that keep it out of the padding."""
    at = layer.stride * p + layer.dilation * u - layer.padding
    return at, [at >= 0, at < axis.size] if layer.padding else []


def pair(layer: str, field_name: str, value: int | tuple[int, int]) -> tuple[int, int]:
    """One number for both axes, or a number each."""
    if isinstance(value, int):
        return value, value
    if not isinstance(value, tuple) or len(value) != 2:
        raise SpecError(f"{layer} has {field_name} = {value!r}, expected an integer or two")
    return value


def _check_fields(layer: Conv1d | Conv2d, kind: str) -> None:
    check_positive(kind, "channels", layer.channels)
    check_positive(kind, "stride", layer.stride)
    check_positive(kind, "dilation", layer.dilation)
    check_positive(kind, "padding", layer.padding, least=0)
    check_activation(kind, layer.activation)

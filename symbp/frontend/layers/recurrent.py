"""Recurrent layers over ``x[b, t, i]``. The state before the first step is 0.

The state is written for t = -1 as well, so that its equation reads like the textbook's; storage begins there.
"""

from __future__ import annotations

from dataclasses import dataclass

from symbp.frontend.expression import Axis
from symbp.frontend.functions import sigmoid, sum, tanh
from symbp.frontend.handle import TensorHandle
from symbp.frontend.layers.layer import Layer, Scope, check_positive, check_rank_of_input
from symbp.ir import Initializer


@dataclass(frozen=True)
class RNN(Layer):
    """``h[b, t, k] = tanh(sum[i] x[b, t, i]*W[i, k] + sum[l] h[b, t-1, l]*U[l, k] + c[k])``. Elman 1990.

    Gives the last state ``h[b, k]``, or with `sequences` all of them, ``h[b, t, k]``.
    """

    units: int
    sequences: bool = False
    recurrent_init: str | Initializer = "orthogonal"

    def __post_init__(self) -> None:
        check_positive("RNN", "units", self.units)

    def expand(self, scope: Scope, x: TensorHandle) -> TensorHandle:
        check_rank_of_input("RNN", x, 3, "b, t, i")
        b, t, i = x.axes
        k, l = scope.axis("k", self.units), scope.axis("l", self.units)  # noqa: E741
        W, U = scope.parameter("W", i, k), scope.parameter("U", l, k, init=self.recurrent_init)
        c = scope.parameter("c", k)
        h = scope.variable("" if self.sequences else "h", b, t, k)
        scope.define(h[b, -1, k], 0)
        z = scope.define("z", (b, t, k), sum(x[b, t, i] * W[i, k], i) + sum(h[b, t - 1, l] * U[l, k], l) + c[k])
        scope.define(h[b, t, k], tanh(z[b, t, k]))
        return _result(scope, h, t, self.sequences)


@dataclass(frozen=True)
class GRU(Layer):
    """Gated recurrent unit, the form of cuDNN (the reset gate acts after the product). Cho et al. 2014.

    ``r = sigmoid(a[0] + s[0])``, ``z = sigmoid(a[1] + s[1])``, ``n = tanh(a[2] + r*s[2])``,
    ``h[b, t, k] = (1 - z)*n + z*h[b, t-1, k]`` with ``a[b, t, g, k] = sum[i] x[b, t, i]*W[i, g, k] + c[g, k]`` and
    ``s[b, t, g, k] = sum[l] h[b, t-1, l]*U[l, g, k] + d[g, k]``.
    """

    units: int
    sequences: bool = False

    def __post_init__(self) -> None:
        check_positive("GRU", "units", self.units)

    def expand(self, scope: Scope, x: TensorHandle) -> TensorHandle:
        check_rank_of_input("GRU", x, 3, "b, t, i")
        b, t, i = x.axes
        k, l = scope.axis("k", self.units), scope.axis("l", self.units)  # noqa: E741
        g = scope.axis("g", 3)
        W, c = scope.parameter("W", i, g, k), scope.parameter("c", g, k, init=0.0)
        U, d = scope.parameter("U", l, g, k), scope.parameter("d", g, k, init=0.0)
        h = scope.variable("" if self.sequences else "h", b, t, k)
        scope.define(h[b, -1, k], 0)
        a = scope.define("a", (b, t, g, k), sum(x[b, t, i] * W[i, g, k], i) + c[g, k])
        s = scope.define("s", (b, t, g, k), sum(h[b, t - 1, l] * U[l, g, k], l) + d[g, k])
        r = scope.define("r", (b, t, k), sigmoid(a[b, t, 0, k] + s[b, t, 0, k]))
        z = scope.define("z", (b, t, k), sigmoid(a[b, t, 1, k] + s[b, t, 1, k]))
        n = scope.define("n", (b, t, k), tanh(a[b, t, 2, k] + r[b, t, k] * s[b, t, 2, k]))
        scope.define(h[b, t, k], (1 - z[b, t, k]) * n[b, t, k] + z[b, t, k] * h[b, t - 1, k])
        return _result(scope, h, t, self.sequences)


@dataclass(frozen=True)
class LSTM(Layer):
    """Long short-term memory. Hochreiter and Schmidhuber 1997; forget gate: Gers et al. 2000.

    ``s[b, t, k] = f*s[b, t-1, k] + i*g``, ``h[b, t, k] = o*tanh(s[b, t, k])`` with the gates ``i, f, o = sigmoid`` and
    ``g = tanh`` of ``z[b, t, q, k] = sum[i] x[b, t, i]*W[i, q, k] + sum[l] h[b, t-1, l]*U[l, q, k] + c[q, k]``,
    q = 0 .. 3 for i, f, g, o.
    """

    units: int
    sequences: bool = False

    def __post_init__(self) -> None:
        check_positive("LSTM", "units", self.units)

    def expand(self, scope: Scope, x: TensorHandle) -> TensorHandle:
        check_rank_of_input("LSTM", x, 3, "b, t, i")
        b, t, j = x.axes
        k, l = scope.axis("k", self.units), scope.axis("l", self.units)  # noqa: E741
        q = scope.axis("q", 4)
        W, U = scope.parameter("W", j, q, k), scope.parameter("U", l, q, k)
        c = scope.parameter("c", q, k, init=0.0)
        h, s = scope.variable("" if self.sequences else "h", b, t, k), scope.variable("s", b, t, k)
        scope.define(h[b, -1, k], 0)
        scope.define(s[b, -1, k], 0)
        z = scope.define(
            "z", (b, t, q, k), sum(x[b, t, j] * W[j, q, k], j) + sum(h[b, t - 1, l] * U[l, q, k], l) + c[q, k]
        )
        i = scope.define("i", (b, t, k), sigmoid(z[b, t, 0, k]))
        f = scope.define("f", (b, t, k), sigmoid(z[b, t, 1, k]))
        g = scope.define("g", (b, t, k), tanh(z[b, t, 2, k]))
        o = scope.define("o", (b, t, k), sigmoid(z[b, t, 3, k]))
        scope.define(s[b, t, k], f[b, t, k] * s[b, t - 1, k] + i[b, t, k] * g[b, t, k])
        scope.define(h[b, t, k], o[b, t, k] * tanh(s[b, t, k]))
        return _result(scope, h, t, self.sequences)


def _result(scope: Scope, h: TensorHandle, t: Axis, sequences: bool) -> TensorHandle:
    """All states, or a copy of the last."""
    if sequences:
        return h
    b, _, k = h.axes
    return scope.define("", (b, k), h[b, t.size - 1, k])

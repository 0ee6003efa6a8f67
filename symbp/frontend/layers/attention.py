"""Attention of a sequence to itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import sympy as sp

from symbp.errors import ShapeError
from symbp.frontend.functions import exp, sum
from symbp.frontend.handle import TensorHandle
from symbp.frontend.layers.layer import Layer, Scope, check_positive, check_rank_of_input


@dataclass(frozen=True)
class SelfAttention(Layer):
    """``y[b, t, m] = sum[h, e] o[b, t, h, e]*W[h, e, m] + c[m]``: attention of a sequence to itself.

    ``o[b, t, h, e] = sum[s] p[b, h, t, s]*v[b, s, h, e]``, where ``p[b, h, t, s]`` is the softmax over s of
    ``sum[e] q[b, t, h, e]*k[b, s, h, e]/sqrt(E)``; with `causal`, only s <= t count. q, k and v are linear in
    ``x[b, t, d]``. Vaswani et al. 2017.
    """

    kind: ClassVar[str] = "attention"

    heads: int
    causal: bool = False
    bias: bool = True

    def __post_init__(self) -> None:
        check_positive("SelfAttention", "heads", self.heads)

    def expand(self, scope: Scope, x: TensorHandle) -> TensorHandle:
        check_rank_of_input("SelfAttention", x, 3, "b, t, d")
        b, t, d = x.axes
        if not d.size.is_Integer or int(d.size) % self.heads:
            raise ShapeError(
                f"SelfAttention splits axis '{d}' of {d.size} into {self.heads} heads, which does not come out even"
            )
        width = int(d.size) // self.heads
        s, h, e = scope.axis("s", t), scope.axis("h", self.heads), scope.axis("e", width)

        def project(name: str) -> TensorHandle:
            W = scope.parameter(name.upper(), d, h, e)
            value = sum(x[b, t, d] * W[d, h, e], d)
            if self.bias:
                value = value + scope.parameter(f"c_{name}", h, e, init=0.0)[h, e]
            return scope.define(f"{name}_head", (b, t, h, e), value)

        q, k, v = project("q"), project("k"), project("v")
        past = [t >= s] if self.causal else None
        score = sum(q[b, t, h, e] * k[b, s, h, e], e) / sp.sqrt(width)
        a = scope.define("a", (b, h, t, s), score, where=past)
        p = scope.define("p", (b, h, t, s), exp(a.here) / sum(exp(a.here), s, where=past), where=past)
        o = scope.define("o", (b, t, h, e), sum(p[b, h, t, s] * v[b, s, h, e], s, where=past))
        m = scope.axis("m", d)
        O = scope.parameter("W", h, e, m)  # noqa: E741
        y = sum(o[b, t, h, e] * O[h, e, m], h, e)
        if self.bias:
            y = y + scope.parameter("c", m)[m]
        return scope.define("", (b, t, m), y)

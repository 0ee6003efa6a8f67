"""Small models as hand-built programs, each with sizes and data to run it on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import sympy as sp

from symbp.ir import Affine, NonNegative, Program, Reduction
from symbp.ir.functions import relu, sigmoid, softplus, sqrt, tanh
from tests.derive.equations import Equations, Handle

Case = tuple[Program, dict[str, Any]]
HALF = sp.Rational(1, 2)


def _normal(seed: int, *shape: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).normal(size=shape)


def softmax_cross_entropy(n: int) -> Case:
    eq = Equations()
    b, j, k, m = eq.axis("b", "n_batch"), eq.axis("j", 5), eq.axis("k", 4), eq.axis("m", 4)
    x, w, c = eq.given("x", b, j), eq.parameter("W", j, k), eq.parameter("c", k)
    label = eq.given("label", b, below=4)
    z_sum = eq.let("z_sum", (b, k), x[b, j] * w[j, k], over=(j,))
    z = eq.let("z", (b, k), z_sum[b, k] + c[k])
    p_sum = eq.let("p_sum", (b,), sp.exp(z[b, m]), over=(m,))
    p = eq.let("p", (b, k), sp.exp(z[b, k]) / p_sum[b])
    eq.let("loss", (), -sp.log(p[b, Affine.of(label.read(b))]) / eq.value(eq.extents[b]), over=(b,))
    feed = {"x": _normal(0, n, 5), "W": _normal(1, 5, 4), "c": _normal(2, 4)}
    return eq.program("loss", ("p",)), feed | {"label": np.random.default_rng(3).integers(0, 4, n)}


def logistic_regression(n: int) -> Case:
    eq = Equations()
    b, j = eq.axis("b", "n_batch"), eq.axis("j", 5)
    x, w, y = eq.given("x", b, j), eq.parameter("w", j), eq.given("y", b)
    z = eq.let("z", (b,), x[b, j] * w[j], over=(j,))
    p = eq.let("p", (b,), sigmoid(z[b]))
    loss = -(y[b] * sp.log(p[b]) + (1 - y[b]) * sp.log(1 - p[b])) / eq.value(eq.extents[b])
    eq.let("loss", (), loss, over=(b,))
    feed = {"x": _normal(0, n, 5), "w": _normal(1, 5), "y": (_normal(2, n) > 0) * 1.0}
    return eq.program("loss", ("p",)), feed


def linear_regression(n: int) -> Case:
    eq = Equations()
    b, j, k = eq.axis("b", "n_batch"), eq.axis("j", 5), eq.axis("k", 3)
    x, w, c, y = eq.given("x", b, j), eq.parameter("W", j, k), eq.parameter("c", k), eq.given("y", b, k)
    z_sum = eq.let("z_sum", (b, k), x[b, j] * w[j, k], over=(j,))
    z = eq.let("z", (b, k), z_sum[b, k] + c[k])
    eq.let("loss", (), (z[b, k] - y[b, k]) ** 2 / (3 * eq.value(eq.extents[b])), over=(b, k))
    feed = {"x": _normal(0, n, 5), "W": _normal(1, 5, 3), "c": _normal(2, 3), "y": _normal(3, n, 3)}
    return eq.program("loss", ("z",)), feed


def perceptron(n: int) -> Case:
    """Two hidden layers with different activations, a residual, and a squared error."""
    eq = Equations()
    b, j, k, m = eq.axis("b", "n_batch"), eq.axis("j", 5), eq.axis("k", 7), eq.axis("m", 7)
    x, w1, c1 = eq.given("x", b, j), eq.parameter("W1", j, k), eq.parameter("c1", k)
    w2, w3, y = eq.parameter("W2", m, k), eq.parameter("w3", k), eq.given("y", b)
    s1 = eq.let("s1", (b, k), x[b, j] * w1[j, k], over=(j,))
    a1 = eq.let("a1", (b, k), tanh(s1[b, k] + c1[k]))
    s2 = eq.let("s2", (b, k), a1[b, m] * w2[m, k], over=(m,))
    a2 = eq.let("a2", (b, k), a1[b, k] + relu(s2[b, k]) * sigmoid(s2[b, k]))
    o = eq.let("o", (b,), a2[b, k] * w3[k], over=(k,))
    error = eq.let("error", (b,), o[b] - y[b])
    eq.let("loss", (), error[b] ** 2 * HALF / eq.value(eq.extents[b]), over=(b,))
    feed = {"x": _normal(0, n, 5), "W1": _normal(1, 5, 7), "c1": _normal(2, 7), "W2": _normal(3, 7, 7)}
    return eq.program("loss", ("o",)), feed | {"w3": _normal(4, 7), "y": _normal(5, n)}


def attention(n: int) -> Case:
    """Causal attention of one head over a sequence of n."""
    eq = Equations()
    i, j, d, e = eq.axis("i", "n_time"), eq.axis("j", "n_time"), eq.axis("d", 3), eq.axis("e", 3)
    x, wq, wk, wv = eq.given("x", i, d), eq.parameter("Wq", d, e), eq.parameter("Wk", d, e), eq.parameter("Wv", d, e)
    q = eq.let("q", (i, e), x[i, d] * wq[d, e], over=(d,))
    key = eq.let("key", (i, e), x[i, d] * wk[d, e], over=(d,))
    v = eq.let("v", (i, e), x[i, d] * wv[d, e], over=(d,))
    causal = (NonNegative(i - j),)
    s_sum = eq.let("s_sum", (i, j), q[i, e] * key[j, e], over=(e,))
    s = eq.let("s", (i, j), s_sum[i, j] / sqrt(sp.Integer(3)))
    p_sum = eq.let("p_sum", (i,), sp.exp(s[i, j]), over=(j,), where=causal)
    p = eq.let("p", (i, j), sp.exp(s[i, j]) / p_sum[i], where=causal)
    y = eq.let("y", (i, e), p[i, j] * v[j, e], over=(j,), where=causal)
    eq.let("loss", (), y[i, e] ** 3, over=(i, e))
    feed = {"x": _normal(0, n, 3), "Wq": _normal(1, 3, 3), "Wk": _normal(2, 3, 3), "Wv": _normal(3, 3, 3)}
    return eq.program("loss", ("p", "y")), feed


def layer_norm(n: int) -> Case:
    eq = Equations()
    b, k = eq.axis("b", "n_batch"), eq.axis("k", 7)
    x, g, c, w = eq.parameter("x", b, k), eq.parameter("g", k), eq.parameter("c", k), eq.given("w", b, k)
    mean = eq.let("mean", (b,), x[b, k] / 7, over=(k,))
    centred = eq.let("centred", (b, k), x[b, k] - mean[b])
    variance = eq.let("variance", (b,), centred[b, k] ** 2 / 7, over=(k,))
    scale = eq.let("scale", (b,), (variance[b] + sp.Rational(1, 1000)) ** -HALF)
    normal = eq.let("normal", (b, k), centred[b, k] * scale[b])
    y = eq.let("y", (b, k), normal[b, k] * g[k] + c[k])
    eq.let("loss", (), w[b, k] * y[b, k], over=(b, k))
    feed = {"x": _normal(0, n, 7), "g": _normal(1, 7), "c": _normal(2, 7), "w": _normal(3, n, 7)}
    return eq.program("loss", ("y",)), feed


def lstm(n: int) -> Case:
    eq = Equations()
    t, b, j, k, m = eq.axis("t", "n_time"), eq.axis("b", 3), eq.axis("j", 2), eq.axis("k", 4), eq.axis("m", 4)
    n_time = eq.extents[t]
    x = eq.given("x", b, t, j)
    feed = {"x": _normal(0, 3, n, 2)}
    h = Handle(eq, "h")
    c = Handle(eq, "c")
    shape = (3, n_time + 1, 4)
    eq.let("h", (b, k), 0, at=(b, 0, k), shape=shape)
    eq.let("c", (b, k), 0, at=(b, 0, k), shape=shape)
    gates = {}
    for seed, (name, function) in enumerate({"i": sigmoid, "f": sigmoid, "g": tanh, "o": sigmoid}.items()):
        w, u, bias = eq.parameter(f"W{name}", j, k), eq.parameter(f"U{name}", m, k), eq.parameter(f"b{name}", k)
        feed |= {f"W{name}": _normal(3 * seed, 2, 4), f"U{name}": _normal(3 * seed + 1, 4, 4)}
        feed |= {f"b{name}": _normal(3 * seed + 2, 4)}
        drive = eq.let(f"{name}_x", (b, t, k), x[b, t, j] * w[j, k], over=(j,))
        back = eq.let(f"{name}_h", (b, t, k), h[b, t, m] * u[m, k], over=(m,))
        gates[name] = eq.let(name, (b, t, k), function(drive[b, t, k] + back[b, t, k] + bias[k]))
    i, f, g, o = (gates[name][b, t, k] for name in "ifgo")
    eq.let("c", (b, t, k), f * c[b, t, k] + i * g, at=(b, t + 1, k))
    eq.let("h", (b, t, k), o * tanh(c[b, t + 1, k]), at=(b, t + 1, k))
    eq.let("loss", (), h[b, n_time, k] ** 2, over=(b, k))
    return eq.program("loss"), feed


def convolution(n: int) -> Case:
    """Convolution with padding by guards, relu, max pooling, and a squared sum."""
    eq = Equations()
    b, p, u, f = eq.axis("b", "n_batch"), eq.axis("p", 8), eq.axis("u", 3), eq.axis("f", 2)
    q, v = eq.axis("q", 4), eq.axis("v", 2)
    x, kernel, bias = eq.parameter("x", b, p), eq.parameter("K", u, f), eq.parameter("c", f)
    inside = (NonNegative(p + u - 1), NonNegative(8 - (p + u)))
    s = eq.let("s", (b, p, f), x[b, p + u - 1] * kernel[u, f], over=(u,), where=inside)
    a = eq.let("a", (b, p, f), relu(s[b, p, f] + bias[f]))
    y = eq.let("y", (b, q, f), a[b, 2 * q + v, f], over=(v,), reduction=Reduction.MAX)
    eq.let("loss", (), y[b, q, f] ** 2 * sp.Rational(1, 3), over=(b, q, f))
    return eq.program("loss", ("y",)), {"x": _normal(0, n, 8), "K": _normal(1, 3, 2), "c": _normal(2, 2)}


def embedding(n: int) -> Case:
    """Mean of the embeddings of a window, scored with a norm and a softplus."""
    eq = Equations()
    b, t, k = eq.axis("b", "n_batch"), eq.axis("t", 3), eq.axis("k", 4)
    v = eq.axis("v", 6)
    table, token, w = eq.parameter("E", v, k), eq.given("token", b, t, below=6), eq.parameter("w", k)
    e = eq.let("e", (b, t, k), table[Affine.of(token.read(b, t)), k])
    mean = eq.let("mean", (b, k), e[b, t, k] / 3, over=(t,))
    square = eq.let("square", (b,), mean[b, k] ** 2, over=(k,))
    unit = eq.let("unit", (b, k), mean[b, k] / sqrt(square[b]))
    score = eq.let("score", (b,), unit[b, k] * w[k], over=(k,))
    eq.let("loss", (), softplus(-score[b]) - score[b] * HALF, over=(b,))
    tokens = np.random.default_rng(0).integers(0, 6, (n, 3))
    return eq.program("loss"), {"E": _normal(1, 6, 4), "w": _normal(2, 4), "token": tokens}


def normalised_recurrence(n: int) -> Case:
    """A recurrent cell whose preactivation is normalised over its units, and a softmax over them at every step."""
    eq = Equations()
    t, b, j, k, m = eq.axis("t", "n_time"), eq.axis("b", 3), eq.axis("j", 2), eq.axis("k", 4), eq.axis("m", 4)
    n_time = eq.extents[t]
    x, w, u = eq.given("x", b, t, j), eq.parameter("W", j, k), eq.parameter("U", m, k)
    h = Handle(eq, "h")
    eq.let("h", (b, k), 0, at=(b, 0, k), shape=(3, n_time + 1, 4))
    drive = eq.let("drive", (b, t, k), x[b, t, j] * w[j, k], over=(j,))
    back = eq.let("back", (b, t, k), h[b, t, m] * u[m, k], over=(m,))
    a = eq.let("a", (b, t, k), drive[b, t, k] + back[b, t, k])
    mean = eq.let("mean", (b, t), a[b, t, k] / 4, over=(k,))
    variance = eq.let("variance", (b, t), (a[b, t, k] - mean[b, t]) ** 2 / 4, over=(k,))
    scale = eq.let("scale", (b, t), (variance[b, t] + sp.Rational(1, 100)) ** -HALF)
    normal = eq.let("normal", (b, t, k), (a[b, t, k] - mean[b, t]) * scale[b, t])
    total = eq.let("total_", (b, t), sp.exp(normal[b, t, m]), over=(m,))
    gate = eq.let("gate", (b, t, k), sp.exp(normal[b, t, k]) / total[b, t])
    eq.let("h", (b, t, k), tanh(normal[b, t, k]) * gate[b, t, k] + h[b, t, k] / 2, at=(b, t + 1, k))
    eq.let("loss", (), h[b, n_time, k] ** 2, over=(b, k))
    return eq.program("loss"), {"x": _normal(0, 3, n, 2), "W": _normal(1, 2, 4), "U": _normal(2, 4, 4)}


MODELS: dict[str, Callable[[int], Case]] = {
    f.__name__: f
    for f in (
        softmax_cross_entropy,
        logistic_regression,
        linear_regression,
        perceptron,
        attention,
        layer_norm,
        lstm,
        convolution,
        embedding,
        normalised_recurrence,
    )
}

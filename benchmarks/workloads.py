"""Twelve models, from a straight line to a transformer block: what is timed, and examples of what can be written.

Each function declares one model in plain equations; its keyword arguments are the extents, so that the tests can run it
at a small size. Weights are (in, out), convolution kernels (out, in, height, width).
"""

from __future__ import annotations

import sympy as sp

from benchmarks.workload import Workload, dense_flops, gru_flops, lenet5_flops, tfblock_flops
from symbp import (
    SGD,
    Adam,
    Model,
    Momentum,
    bce,
    diff,
    max,
    mean,
    mse,
    relu,
    rms,
    sigmoid,
    silu,
    softmax_cross_entropy,
    sum,
    tanh,
)
from symbp.frontend.expression import Axis
from symbp.frontend.functions import Function
from symbp.frontend.handle import TensorHandle


def linreg() -> Model:
    """A straight line, ``y = m x + c``, by the root mean square of its errors."""
    model = Model("linreg")
    n = model.axis("n", "points")
    x, y = model.input("x", n), model.input("y", n)
    m, c = model.parameter("m"), model.parameter("c")
    model.loss(rms(model.define("p[n]", m * x[n] + c), y))
    model.optimizer(SGD(learning_rate=1e-2))
    return model


def logreg(features: int = 2) -> Model:
    """Logistic regression, its cross-entropy written as in textbooks."""
    model = Model("logreg")
    b, j, o = model.axis("b", "batch"), model.axis("j", features), model.axis("o", 1)
    x, y = model.input("x", b, j), model.input("y", b)
    W1, b1 = model.parameter("W1", j, o), model.parameter("b1", o)
    p = model.define("p[b]", sigmoid(sum(x[b, j] * W1[j, 0], j) + b1[0]))
    model.loss(bce(p, y))
    model.optimizer(Adam(learning_rate=1e-3))
    return model


def dense_layers(model: Model, x: TensorHandle, widths: tuple[int, ...], activation: Function) -> TensorHandle:
    """``h = f(x W1 + b1)``, .., the last layer without f: ``z[n, k]`` from ``x[n, j]``."""
    n, j = x.axes
    for layer, width in enumerate(widths, start=1):
        k = model.axis(f"k{layer}", width)
        W, c = model.parameter(f"W{layer}", j, k), model.parameter(f"b{layer}", k)
        z = sum(x[n, j] * W[j, k], j) + c[k]
        x = model.define(f"h{layer}[{n}, {k}]", activation(z) if layer < len(widths) else z)
        j = k
    return x


def mlp_mnist(pixels: int = 784, hidden: int = 128, classes: int = 10) -> Model:
    """Two dense layers that name a digit."""
    model = Model("mlp_mnist")
    b, j = model.axis("b", "batch"), model.axis("j", pixels)
    x, y = model.input("x", b, j), model.input("y", b, dtype="int", below=classes)
    model.loss(softmax_cross_entropy(dense_layers(model, x, (hidden, classes), relu), y))
    model.optimizer(Adam(learning_rate=1e-3))
    return model


def deep5(features: int = 64, wide: int = 128, narrow: int = 64, classes: int = 10) -> Model:
    """Five dense layers with tanh between them."""
    model = Model("deep5")
    b, j = model.axis("b", "batch"), model.axis("j", features)
    x, y = model.input("x", b, j), model.input("y", b, dtype="int", below=classes)
    model.loss(softmax_cross_entropy(dense_layers(model, x, (wide, narrow, wide, narrow, classes), tanh), y))
    model.optimizer(Momentum(learning_rate=1e-2, momentum=0.9))
    return model


def lenet5(size: int = 28, kernel: int = 5, channels: int = 6, more_channels: int = 16, hidden: int = 120) -> Model:
    """Two rounds of convolution, relu and max pooling, then three dense layers. LeCun et al. 1998, with relu."""
    model = Model("lenet5")
    b, c = model.axis("b", "batch"), model.axis("c", 1)
    i, j = model.axis("i", size), model.axis("j", size)
    image, y = model.input("x", b, c, i, j), model.input("y", b, dtype="int", below=10)
    x = conv_pool(model, image, 1, channels, kernel, (size - kernel + 1) // 2)
    x = conv_pool(model, x, 2, more_channels, kernel, ((size - kernel + 1) // 2 - kernel + 1) // 2)
    _, o, p, q = x.axes
    f = model.axis("f", o.size * p.size * q.size)
    flat = model.variable("flat", b, f)
    model.define(flat[b, (o * p.size + p) * q.size + q], x[b, o, p, q])
    model.loss(softmax_cross_entropy(dense_layers(model, flat, (hidden, hidden * 7 // 10, 10), relu), y))
    model.optimizer(Adam(learning_rate=3e-4))
    return model


def conv_pool(model: Model, x: TensorHandle, layer: int, channels: int, kernel: int, pooled: int) -> TensorHandle:
    """Maxima over squares of ``z[b, o, p, q] = relu(sum[c, u, v] x[b, c, p+u, q+v]*K[o, c, u, v] + bias[o])``."""
    b, c, _, _ = x.axes

    def axis(name: str, extent: int) -> Axis:
        return model.axis(f"{name}{layer}", extent)

    o, u, v = axis("o", channels), axis("u", kernel), axis("v", kernel)
    p, q, i, j = axis("p", 2 * pooled), axis("q", 2 * pooled), axis("r", pooled), axis("s", pooled)
    m, n = axis("m", 2), axis("n", 2)
    K, bias = model.parameter(f"K{layer}", o, c, u, v, init="he_uniform"), model.parameter(f"c{layer}", o)
    z = model.define(f"z{layer}[b, {o}, {p}, {q}]", relu(sum(x[b, c, p + u, q + v] * K[o, c, u, v], c, u, v) + bias[o]))
    return model.define(f"x{layer}[b, {o}, {i}, {j}]", max(z[b, o, 2 * i + m, 2 * j + n], m, n))


def lstm_char(characters: int = 64, hidden: int = 128, length: int = 64) -> Model:
    """An LSTM that foretells the next character at every step. Gates in the order i, f, g, o."""
    model = Model("lstm_char")
    b, t = model.axis("b", "batch"), model.axis("t", length)
    v, k, q = model.axis("v", characters), model.axis("k", hidden), model.axis("q", 4 * hidden)
    l = model.axis("l", k)  # noqa: E741
    tok = model.input("tok", b, t, dtype="int", below=v)
    y = model.input("y", b, t, dtype="int", below=v)
    Wi, Wh = model.parameter("Wi", v, q), model.parameter("Wh", l, q)
    bi, bh = model.parameter("bi", q), model.parameter("bh", q)
    Wo, bo = model.parameter("Wo", k, v), model.parameter("bo", v)
    h, s = model.variable("h", b, t, k), model.variable("s", b, t, k)
    model.define(h[b, -1, k], 0)
    model.define(s[b, -1, k], 0)
    a = model.define("a[b, t, q]", Wi[tok[b, t], q] + bi[q] + bh[q] + sum(h[b, t - 1, l] * Wh[l, q], l))
    i = model.define("i[b, t, k]", sigmoid(a[b, t, k]))
    f = model.define("f[b, t, k]", sigmoid(a[b, t, hidden + k]))
    g = model.define("g[b, t, k]", tanh(a[b, t, 2 * hidden + k]))
    o = model.define("o[b, t, k]", sigmoid(a[b, t, 3 * hidden + k]))
    model.define(s[b, t, k], f[b, t, k] * s[b, t - 1, k] + i[b, t, k] * g[b, t, k])
    model.define(h[b, t, k], o[b, t, k] * tanh(s[b, t, k]))
    z = model.define("z[b, t, v]", sum(h[b, t, k] * Wo[k, v], k) + bo[v])
    model.loss(softmax_cross_entropy(z, y))
    model.optimizer(Adam(learning_rate=1e-3))
    return model


def gru_cls(features: int = 32, hidden: int = 64, length: int = 50, classes: int = 10) -> Model:
    """A GRU whose last state names a class. Gates in the order r, z, n; the reset gate acts after the product."""
    model = Model("gru_cls")
    b, t, j = model.axis("b", "batch"), model.axis("t", length), model.axis("j", features)
    k, q, v = model.axis("k", hidden), model.axis("q", 3 * hidden), model.axis("v", classes)
    l = model.axis("l", k)  # noqa: E741
    x, y = model.input("x", b, t, j), model.input("y", b, dtype="int", below=v)
    Wi, Wh = model.parameter("Wi", j, q), model.parameter("Wh", l, q)
    bi, bh = model.parameter("bi", q), model.parameter("bh", q)
    Wo, bo = model.parameter("Wo", k, v), model.parameter("bo", v)
    h = model.variable("h", b, t, k)
    model.define(h[b, -1, k], 0)
    a = model.define("a[b, t, q]", sum(x[b, t, j] * Wi[j, q], j) + bi[q])
    s = model.define("s[b, t, q]", sum(h[b, t - 1, l] * Wh[l, q], l) + bh[q])
    r = model.define("r[b, t, k]", sigmoid(a[b, t, k] + s[b, t, k]))
    z = model.define("z[b, t, k]", sigmoid(a[b, t, hidden + k] + s[b, t, hidden + k]))
    n = model.define("n[b, t, k]", tanh(a[b, t, 2 * hidden + k] + r[b, t, k] * s[b, t, 2 * hidden + k]))
    model.define(h[b, t, k], (1 - z[b, t, k]) * n[b, t, k] + z[b, t, k] * h[b, t - 1, k])
    logits = model.define("logits[b, v]", sum(h[b, length - 1, k] * Wo[k, v], k) + bo[v])
    model.loss(softmax_cross_entropy(logits, y))
    model.optimizer(Adam(learning_rate=1e-3))
    return model


def tfblock(words: int = 256, width: int = 128, heads: int = 4, inner: int = 512, length: int = 64) -> Model:
    """A pre-norm transformer block between an embedding and a head: causal attention, then two dense layers.

    The projections of queries, keys and values are one matrix, their columns ordered (which of the three, head, unit).
    """
    model = Model("tfblock")
    size = width // heads
    b, t, s = model.axis("b", "batch"), model.axis("t", length), model.axis("s", length)
    w, d, i = model.axis("w", words), model.axis("d", width), model.axis("i", inner)
    l, q3 = model.axis("l", d), model.axis("q3", 3 * width)  # noqa: E741
    h, e = model.axis("h", heads), model.axis("e", size)
    tok = model.input("tok", b, t, dtype="int", below=w)
    y = model.input("y", b, t, dtype="int", below=w)

    def norm(layer: int, x: TensorHandle) -> TensorHandle:
        g, c = model.parameter(f"g{layer}", d, init=1.0), model.parameter(f"c{layer}", d)
        mu = model.define(f"mu{layer}[b, t]", mean(x[b, t, d], d))
        v = model.define(f"v{layer}[b, t]", mean((x[b, t, d] - mu[b, t]) ** 2, d))
        r = model.define(f"r{layer}[b, t]", (v[b, t] + sp.Rational(1, 10**5)) ** sp.Rational(-1, 2))
        n = model.define(f"n{layer}[b, t, d]", (x[b, t, d] - mu[b, t]) * r[b, t])
        return model.define(f"y{layer}[b, t, d]", g[d] * n[b, t, d] + c[d])

    E, P = model.parameter("E", w, d), model.parameter("P", t, d)
    x = model.define("x0[b, t, d]", E[tok[b, t], d] + P[t, d])

    n1, Wqkv, bqkv = norm(1, x), model.parameter("Wqkv", d, q3), model.parameter("bqkv", q3)
    qkv = model.define("qkv[b, t, q3]", sum(n1[b, t, d] * Wqkv[d, q3], d) + bqkv[q3])
    query, key, value = (lambda at, n=n: qkv[b, at, n * width + h * size + e] for n in range(3))  # type: ignore[misc]
    score = model.define("score[b, h, t, s]", sum(query(t) * key(s), e) / sp.sqrt(size), where=s <= t)
    weight = sp.exp(score[b, h, t, s])
    a = model.define("a[b, h, t, s]", weight / sum(weight, s, where=s <= t), where=s <= t)
    o = model.variable("o", b, t, d)
    model.define(o[b, t, h * size + e], sum(a[b, h, t, s] * value(s), s, where=s <= t))
    Wp, bp = model.parameter("Wp", d, l), model.parameter("bp", l)
    x = model.define("x1[b, t, l]", x[b, t, l] + sum(o[b, t, d] * Wp[d, l], d) + bp[l])

    n2, W1, b1 = norm(2, x), model.parameter("W1", d, i), model.parameter("b1", i)
    W2, b2 = model.parameter("W2", i, d), model.parameter("b2", d)
    z = model.define("z[b, t, i]", sum(n2[b, t, d] * W1[d, i], d) + b1[i])[b, t, i]
    slope = tanh(sp.sqrt(2 / sp.pi) * (z + sp.Rational("0.044715") * z**3))
    f = model.define("f[b, t, i]", z * (1 + slope) / 2)  # gelu, by the tanh of Hendrycks and Gimpel 2016
    x = model.define("x2[b, t, d]", x[b, t, d] + sum(f[b, t, i] * W2[i, d], i) + b2[d])

    n3, Wo = norm(3, x), model.parameter("Wo", d, w)
    logits = model.define("logits[b, t, w]", sum(n3[b, t, d] * Wo[d, w], d))
    model.loss(softmax_cross_entropy(logits, y))
    model.optimizer(Adam(learning_rate=1e-3))
    return model


def tiny_mlp(features: int = 3, hidden: int = 32) -> Model:
    """A small network for a controller, by its squared error; ``predict`` gives its output."""
    model = Model("tiny_mlp")
    b, j, o = model.axis("b", "batch"), model.axis("j", features), model.axis("o", 1)
    x, y = model.input("x", b, j), model.input("y", b, o)
    p = dense_layers(model, x, (hidden, hidden, 1), tanh)
    model.output(p)
    model.loss(mse(p, y))
    model.optimizer(SGD(learning_rate=1e-2))
    return model


def pinn(hidden: int = 32) -> Model:
    """Burgers' equation, ``u_t + u u_x = nu u_xx``, for ``u(x, t)`` by a network. Raissi et al. 2019."""
    model = Model("pinn")
    n, i = model.axis("n", "points"), model.axis("i", 2)
    x = model.input("x", n, i)  # columns: x, t
    h = dense_layers(model, x, (hidden, hidden, hidden, 1), tanh)
    u = model.define("u[n]", h[n, 0])
    u_x, u_t = model.define("u_x[n]", diff(u[n], x[n, 0])), model.define("u_t[n]", diff(u[n], x[n, 1]))
    u_xx = model.define("u_xx[n]", diff(u_x[n], x[n, 0]))
    nu = sp.Rational(1, 100) / sp.pi
    model.loss(mean((u_t[n] + u[n] * u_x[n] - nu * u_xx[n]) ** 2, n))
    model.optimizer(Adam(learning_rate=1e-3))
    return model


def big_mlp(features: int = 1024, hidden: int = 4096) -> Model:
    """Three large dense layers: nearly all of the time goes into matrix products."""
    model = Model("big_mlp")
    b, j, o = model.axis("b", "batch"), model.axis("j", features), model.axis("o", features)
    x, y = model.input("x", b, j), model.input("y", b, o)
    model.loss(mse(dense_layers(model, x, (hidden, hidden, features), relu), y))
    model.optimizer(SGD(learning_rate=1e-3))
    return model


def swiglu_rmsnorm(rows: int = 2048, width: int = 1024, inner: int = 2816) -> Model:
    """RMS norm of x and ``silu(a)*b``, forward and backward, given the adjoints dy and dh; no optimizer.

    What is differentiated is declared as parameters, ``loss = sum(y*dy) + sum(h*dh)``, so that its gradient is the
    product of the Jacobian with dy and dh.
    """
    model = Model("swiglu_rmsnorm")
    n, d, i = model.axis("n", rows), model.axis("d", width), model.axis("i", inner)
    x, g = model.parameter("x", n, d), model.parameter("g", d)
    a, b = model.parameter("a", n, i), model.parameter("b", n, i)
    dy, dh = model.input("dy", n, d), model.input("dh", n, i)
    r = model.define("r[n]", (mean(x[n, d] ** 2, d) + sp.Rational(1, 10**6)) ** sp.Rational(-1, 2))
    y = model.define("y[n, d]", x[n, d] * r[n] * g[d])
    h = model.define("h[n, i]", silu(a[n, i]) * b[n, i])
    model.output(y, h)
    model.loss(sum(y[n, d] * dy[n, d], n, d) + sum(h[n, i] * dh[n, i], n, i))
    return model


WORKLOADS: dict[str, Workload] = {
    w.name: w
    for w in (
        Workload(
            linreg,
            {"n_points": 256},
            {},
            {"n_points": 13},
            products=lambda s: 6 * s.n_points,
            variants=({"n_points": 1}, {"n_points": 1001}),
        ),
        Workload(
            logreg,
            {"n_batch": 64},
            {},
            {"n_batch": 7},
            products=lambda s: dense_flops(s.n_batch, s.features, 1),
            variants=({"features": 5, "n_batch": 33}, {"features": 130, "n_batch": 257}),
        ),
        Workload(
            mlp_mnist,
            {"n_batch": 128},
            {"pixels": 13, "hidden": 7, "classes": 5},
            {"n_batch": 3},
            products=lambda s: dense_flops(s.n_batch, s.pixels, s.hidden, s.classes),
            variants=(
                {"pixels": 300, "hidden": 77, "classes": 13, "n_batch": 50},
                {"pixels": 784, "hidden": 250, "classes": 10, "n_batch": 1},
                {"pixels": 1001, "hidden": 511, "classes": 100, "n_batch": 333},
            ),
        ),
        Workload(
            deep5,
            {"n_batch": 64},
            {"features": 5, "wide": 7, "narrow": 3, "classes": 4},
            {"n_batch": 3},
            products=lambda s: dense_flops(s.n_batch, s.features, s.wide, s.narrow, s.wide, s.narrow, s.classes),
            variants=(
                {"features": 50, "wide": 100, "narrow": 30, "classes": 7, "n_batch": 37},
                {"features": 13, "wide": 201, "narrow": 99, "classes": 3, "n_batch": 500},
            ),
        ),
        Workload(
            lenet5,
            {"n_batch": 128},
            {"size": 14, "kernel": 3, "channels": 2, "more_channels": 3, "hidden": 10},
            {"n_batch": 3},
            products=lenet5_flops,
            variants=(
                {"size": 28, "kernel": 3, "channels": 10, "more_channels": 20, "hidden": 100, "n_batch": 50},
                {"size": 33, "kernel": 4, "channels": 7, "more_channels": 25, "hidden": 90, "n_batch": 13},
            ),
        ),
        Workload(
            lstm_char,
            {"n_batch": 32},
            {"characters": 5, "hidden": 3, "length": 7},
            {"n_batch": 3},
            products=lambda s: 6 * s.n_batch * s.length * s.hidden * (4 * s.hidden + s.characters),
            variants=(
                {"characters": 50, "hidden": 100, "length": 37, "n_batch": 20},
                {"characters": 27, "hidden": 211, "length": 25, "n_batch": 9},
            ),
        ),
        Workload(
            gru_cls,
            {"n_batch": 64},
            {"features": 3, "hidden": 5, "length": 7, "classes": 4},
            {"n_batch": 3},
            products=gru_flops,
            variants=(
                {"features": 13, "hidden": 50, "length": 31, "classes": 7, "n_batch": 27},
                {"features": 40, "hidden": 150, "length": 20, "classes": 3, "n_batch": 100},
            ),
        ),
        Workload(
            tfblock,
            {"n_batch": 16},
            {"words": 7, "width": 6, "heads": 2, "inner": 13, "length": 5},
            {"n_batch": 3},
            products=tfblock_flops,
            variants=(
                {"words": 101, "width": 90, "heads": 3, "inner": 250, "length": 50, "n_batch": 7},
                {"words": 77, "width": 120, "heads": 6, "inner": 200, "length": 129, "n_batch": 3},
            ),
        ),
        Workload(
            tiny_mlp,
            {"n_batch": 32},
            {"features": 3, "hidden": 7},
            {"n_batch": 5},
            products=lambda s: dense_flops(s.n_batch, s.features, s.hidden, s.hidden, 1),
            variants=({"features": 5, "hidden": 20, "n_batch": 10}, {"features": 11, "hidden": 50, "n_batch": 77}),
        ),
        Workload(
            pinn,
            {"n_points": 1024},
            {"hidden": 5},
            {"n_points": 7},
            dtype="float64",
            # u, u_x, u_t and u_xx go through each layer, forward and backward.
            products=lambda s: 4 * 6 * s.n_points * s.hidden * (2 * s.hidden + 1),
            variants=({"hidden": 20, "n_points": 333}, {"hidden": 50, "n_points": 1000}),
        ),
        Workload(
            big_mlp,
            {"n_batch": 512},
            {"features": 5, "hidden": 7},
            {"n_batch": 3},
            products=lambda s: dense_flops(s.n_batch, s.features, s.hidden, s.hidden, s.features),
            variants=(
                {"features": 500, "hidden": 1500, "n_batch": 100},
                {"features": 777, "hidden": 2001, "n_batch": 333},
            ),
        ),
        Workload(
            swiglu_rmsnorm,
            {},
            {"rows": 3, "width": 7, "inner": 13},
            products=lambda s: 0,
            # x, dy and a, b, dh are read once, and the gradients of x, a and b written.
            memory=lambda s: 4 * s.rows * (3 * s.width + 5 * s.inner),
            variants=({"rows": 100, "width": 300, "inner": 777}, {"rows": 1001, "width": 999, "inner": 2001}),
        ),
    )
}

"""Whole models written by hand as equations: dense, convolutional, recurrent, attention."""

from __future__ import annotations

import sympy as sp
import torch

from symbp.ir import Affine, NonNegative, Reduction, Size
from symbp.ir.functions import relu, select, sigmoid, stop_gradient, tanh
from tests.derive.equations import Equations, Handle
from tests.derive.references import Case, case_of, declare, extent_axis

functional = torch.nn.functional


def add_cross_entropy(eq: Equations, z: Handle, names: str, label: Handle, size: str, loss: str = "loss") -> None:
    """``loss = mean over b of -log softmax(z)[b, label[b]]``, shifted by the largest logit."""
    b, k = (i for i in eq.extents if i.name in names)
    top = eq.let("top", (b,), stop_gradient(z[b, k]), (k,), Reduction.MAX)
    e = eq.let("e", (b, k), sp.exp(z[b, k] - top[b]))
    s = eq.let("s", (b,), e[b, k], (k,))
    logp = eq.let("logp", (b, k), z[b, k] - top[b] - sp.log(s[b]))
    eq.let(loss, (), -logp[b, label.read(b)] / eq.value(Size(size)), (b,))


def mlp(n: int) -> Case:
    """Two dense layers with a residual, softmax and cross-entropy."""
    eq = Equations()
    b, j, i, k = eq.axis("b", "B"), eq.axis("j", 5), eq.axis("i", 5), eq.axis("k", 4)
    x, label = eq.given("x", b, j), eq.given("label", b, below=4)
    W, V, c = eq.parameter("W", j, i), eq.parameter("V", i, k), eq.parameter("c", i)
    a = eq.let("a", (b, i), x[b, j] * W[j, i], (j,))
    h = eq.let("h", (b, i), tanh(a[b, i] + c[i]))
    r = eq.let("r", (b, i), relu(a[b, i]) + h[b, i] * x[b, i])
    z = eq.let("z", (b, k), r[b, i] * V[i, k], (i,))
    add_cross_entropy(eq, z, "bk", label, "B")

    def reference(t: dict[str, torch.Tensor]) -> torch.Tensor:
        a = t["x"] @ t["W"]
        return functional.cross_entropy((torch.relu(a) + torch.tanh(a + t["c"]) * t["x"]) @ t["V"], t["label"])

    return case_of(eq, reference, B=n)


def norm_and_power(n: int) -> Case:
    """Layer normalisation over an odd power of its output, and a norm."""
    eq = Equations()
    b, k = eq.axis("b", "B"), eq.axis("k", 7)
    x, g, w = eq.parameter("x", b, k), eq.parameter("g", k), eq.given("w", b, k)
    mu = eq.let("mu", (b,), x[b, k] / 7, (k,))
    xc = eq.let("xc", (b, k), x[b, k] - mu[b])
    v = eq.let("v", (b,), xc[b, k] ** 2 / 7, (k,))
    rs = eq.let("rs", (b,), (v[b] + sp.Rational(1, 100)) ** sp.Rational(-1, 2))
    y = eq.let("y", (b, k), xc[b, k] * rs[b] * g[k])
    eq.let("loss", (), w[b, k] * y[b, k] ** 3, (b, k))

    def reference(t: dict[str, torch.Tensor]) -> torch.Tensor:
        return (t["w"] * functional.layer_norm(t["x"], (7,), t["g"], None, 0.01) ** 3).sum()

    return case_of(eq, reference, B=n)


def convolution(stride: int, padding: int, dilation: int, pool: int, pool_stride: int, n: int = 1) -> Case:
    """A convolution, relu and max pooling."""
    eq = Equations()
    size = 9
    out = (size + 2 * padding - dilation * 2 - 1) // stride + 1
    pooled = (out - pool) // pool_stride + 1
    b, c, h, w = eq.axis("b", "B"), eq.axis("c", 2), eq.axis("h", size), eq.axis("w", size)
    o, p, q, u, v = eq.axis("o", 3), eq.axis("p", out), eq.axis("q", out), eq.axis("u", 3), eq.axis("v", 3)
    i, j, r, s = eq.axis("i", pooled), eq.axis("j", pooled), eq.axis("r", pool), eq.axis("s", pool)
    x, K, bias = eq.parameter("x", b, c, h, w), eq.parameter("K", o, c, u, v), eq.parameter("bias", o)
    g = eq.given("g", o, i, j)
    row, column = stride * p + dilation * u - padding, stride * q + dilation * v - padding
    inside = [NonNegative(e) for at in (row, column) for e in (at, size - 1 - at)] if padding else []
    y = eq.let("y", (b, o, p, q), x[b, c, row, column] * K[o, c, u, v], (c, u, v), where=inside)
    a = eq.let("a", (b, o, p, q), relu(y[b, o, p, q] + bias[o]))
    m = eq.let("m", (b, o, i, j), a[b, o, pool_stride * i + r, pool_stride * j + s], (r, s), reduction=Reduction.MAX)
    eq.let("loss", (), g[o, i, j] * m[b, o, i, j] ** 2, (b, o, i, j))

    def reference(t: dict[str, torch.Tensor]) -> torch.Tensor:
        y = functional.conv2d(t["x"], t["K"], t["bias"], stride=stride, padding=padding, dilation=dilation)
        return (functional.max_pool2d(torch.relu(y), pool, stride=pool_stride) ** 2 * t["g"]).sum()

    return case_of(eq, reference, B=n)


def embedding(n: int) -> Case:
    """A mean of embeddings, a projection, cross-entropy."""
    eq = Equations()
    b, t, k, v = eq.axis("b", "B"), eq.axis("t", "T"), eq.axis("k", 6), eq.axis("v", 9)
    tok, label = eq.given("tok", b, t, below=9), eq.given("label", b, below=9)
    E, V = eq.parameter("E", v, k), eq.parameter("V", k, v)
    h = eq.let("h", (b, k), E[tok.read(b, t), k] / eq.value(Size("T")), (t,))
    z = eq.let("z", (b, v), h[b, k] * V[k, v], (k,))
    add_cross_entropy(eq, z, "bv", label, "B")

    def reference(d: dict[str, torch.Tensor]) -> torch.Tensor:
        return functional.cross_entropy(d["E"][d["tok"]].mean(1) @ d["V"], d["label"])

    return case_of(eq, reference, B=n, T=3)


def rnn(n: int) -> Case:
    """``h[t+1] = tanh(x[t] W + h[t] U)``."""
    eq = Equations()
    b, t, j, k, i = eq.axis("b", "B"), eq.axis("t", "T"), eq.axis("j", 2), eq.axis("k", 3), eq.axis("i", 3)
    x, W, U, h0 = eq.given("x", b, t, j), eq.parameter("W", j, k), eq.parameter("U", i, k), eq.parameter("h0", b, k)
    h = declare(eq, "h", (Size("B"), Size("T") + 1, 3), "btk")
    eq.let("h", (b, k), h0[b, k], at=(b, 0, k))
    xw = eq.let("xw", (b, t, k), x[b, t, j] * W[j, k], (j,))
    hu = eq.let("hu", (b, t, k), h[b, t, i] * U[i, k], (i,))
    pre = eq.let("pre", (b, t, k), xw[b, t, k] + hu[b, t, k])
    eq.let("h", (b, t, k), tanh(pre[b, t, k]), at=(b, t + 1, k))
    eq.let("loss", (), h[b, t + 1, k] ** 2, (b, t, k))

    def reference(d: dict[str, torch.Tensor]) -> torch.Tensor:
        h, total = d["h0"], torch.zeros((), dtype=torch.float64)
        for step in range(d["x"].shape[1]):
            h = torch.tanh(d["x"][:, step] @ d["W"] + h @ d["U"])
            total = total + (h**2).sum()
        return total

    return case_of(eq, reference, B=2, T=n)


def lstm(n: int) -> Case:
    """An LSTM whose last step alone is used."""
    eq = Equations()
    b, t, j, k, i = eq.axis("b", "B"), eq.axis("t", "T"), eq.axis("j", 2), eq.axis("k", 3), eq.axis("i", 3)
    x = eq.given("x", b, t, j)
    shape = (Size("B"), Size("T") + 1, 3)
    h, c = declare(eq, "h", shape, "btk"), declare(eq, "c", shape, "btk")
    eq.let("h", (b, k), 0, at=(b, 0, k))
    eq.let("c", (b, k), 0, at=(b, 0, k))
    gates = {}
    for gate in "ifgo":
        W, U, bias = eq.parameter(f"W{gate}", j, k), eq.parameter(f"U{gate}", i, k), eq.parameter(f"b{gate}", k)
        xw = eq.let(f"xw{gate}", (b, t, k), x[b, t, j] * W[j, k], (j,))
        hu = eq.let(f"hu{gate}", (b, t, k), h[b, t, i] * U[i, k], (i,))
        pre = eq.let(f"pre{gate}", (b, t, k), xw[b, t, k] + hu[b, t, k] + bias[k])
        function = tanh if gate == "g" else sigmoid
        gates[gate] = eq.let(gate, (b, t, k), function(pre[b, t, k]))[b, t, k]
    eq.let("c", (b, t, k), gates["f"] * c[b, t, k] + gates["i"] * gates["g"], at=(b, t + 1, k))
    tc = eq.let("tc", (b, t, k), tanh(c[b, t + 1, k]))
    eq.let("h", (b, t, k), gates["o"] * tc[b, t, k], at=(b, t + 1, k))
    eq.let("loss", (), h[b, Affine.of(Size("T")), k] ** 3, (b, k))

    def reference(d: dict[str, torch.Tensor]) -> torch.Tensor:
        h = c = torch.zeros((2, 3), dtype=torch.float64)
        for step in range(d["x"].shape[1]):
            pre = {g: d["x"][:, step] @ d[f"W{g}"] + h @ d[f"U{g}"] + d[f"b{g}"] for g in "ifgo"}
            c = torch.sigmoid(pre["f"]) * c + torch.sigmoid(pre["i"]) * torch.tanh(pre["g"])
            h = torch.sigmoid(pre["o"]) * torch.tanh(c)
        return (h**3).sum()

    return case_of(eq, reference, B=2, T=n)


def volterra(n: int) -> Case:
    """A recurrence that remembers every earlier step: ``h[t+1] = tanh(sum[s <= t] a[t - s] h[s] U)``."""
    eq = Equations()
    t, s, k, i = eq.axis("t", "T"), eq.axis("s", "T"), eq.axis("k", 3), eq.axis("i", 3)
    a, U, h0 = eq.parameter("a", t), eq.parameter("U", i, k), eq.parameter("h0", k)
    h = declare(eq, "h", (Size("T") + 1, 3), "tk")
    eq.let("h", (k,), h0[k], at=(0, k))
    m = eq.let("m", (t, k), a[t - s] * h[s, k], (s,), where=[NonNegative(t - s)])
    pre = eq.let("pre", (t, k), m[t, i] * U[i, k], (i,))
    eq.let("h", (t, k), tanh(pre[t, k]), at=(t + 1, k))
    eq.let("loss", (), h[t + 1, k] ** 2, (t, k))

    def reference(d: dict[str, torch.Tensor]) -> torch.Tensor:
        states = [d["h0"]]
        for step in range(len(d["a"])):
            memory = sum(d["a"][step - s] * states[s] for s in range(step + 1))
            states.append(torch.tanh(memory @ d["U"]))
        return sum((state**2).sum() for state in states[1:])

    return case_of(eq, reference, T=n)


def linear_scan(n: int) -> Case:
    """``h[t+1] = a[t] h[t] + c[t]``."""
    eq = Equations()
    t = eq.axis("t", "T")
    a, c = eq.parameter("a", t), eq.parameter("c", t)
    h = declare(eq, "h", (Size("T") + 1,), "t")
    eq.let("h", (), 0, at=(0,))
    eq.let("h", (t,), a[t] * h[t] + c[t], at=(t + 1,))
    eq.let("loss", (), h[t + 1] ** 2, (t,))

    def reference(d: dict[str, torch.Tensor]) -> torch.Tensor:
        h = total = torch.zeros((), dtype=torch.float64)
        for step in range(len(d["a"])):
            h = d["a"][step] * h + d["c"][step]
            total = total + h**2
        return total

    return case_of(eq, reference, T=n)


def bidirectional(n: int) -> Case:
    """Two recurrences in opposite directions of time."""
    eq = Equations()
    t, k, i = eq.axis("t", "T"), eq.axis("k", 3), eq.axis("i", 3)
    x, U, V = eq.given("x", t, k), eq.parameter("U", i, k), eq.parameter("V", i, k)
    shape = (Size("T") + 1, 3)
    f, g = declare(eq, "f", shape, "tk"), declare(eq, "g", shape, "tk")
    eq.let("f", (k,), 0, at=(0, k))
    eq.let("g", (k,), 0, at=(Affine.of(Size("T")), k))
    fu = eq.let("fu", (t, k), f[t, i] * U[i, k], (i,))
    gv = eq.let("gv", (t, k), g[t + 1, i] * V[i, k], (i,))
    eq.let("f", (t, k), tanh(fu[t, k] + x[t, k]), at=(t + 1, k))
    eq.let("g", (t, k), tanh(gv[t, k] + x[t, k]), at=(t, k))
    eq.let("loss", (), f[t + 1, k] * g[t, k], (t, k))

    def reference(d: dict[str, torch.Tensor]) -> torch.Tensor:
        steps = d["x"].shape[0]
        forward = [torch.zeros(3, dtype=torch.float64)]
        backward = [torch.zeros(3, dtype=torch.float64)]
        for s in range(steps):
            forward.append(torch.tanh(forward[-1] @ d["U"] + d["x"][s]))
            backward.append(torch.tanh(backward[-1] @ d["V"] + d["x"][steps - 1 - s]))
        return sum((forward[s + 1] * backward[steps - s]).sum() for s in range(steps))

    return case_of(eq, reference, T=n)


def attention(n: int) -> Case:
    """Causal attention with several heads in one flattened axis ``h*3 + e``."""
    eq = Equations()
    i, j, d, h, e = eq.axis("i", "T"), eq.axis("j", "T"), eq.axis("d", 5), eq.axis("h", 2), eq.axis("e", 3)
    f = extent_axis(eq, "f", 6)
    x, g = eq.parameter("x", i, d), eq.given("g", i, f)
    causal = [NonNegative(i - j)]
    projected = {}
    for name in "qkv":
        W = eq.parameter(f"W{name}", d, f)
        projected[name] = eq.let(name, (i, f), x[i, d] * W[d, f], (d,))
    q, k, v = projected["q"], projected["k"], projected["v"]
    scores = q[i, 3 * h + e] * k[j, 3 * h + e] * sp.Rational(4, 7)
    s = eq.let("s", (h, i, j), scores, (e,), where=causal)
    top = eq.let("top", (h, i), stop_gradient(s[h, i, j]), (j,), Reduction.MAX, where=causal)
    w = eq.let("w", (h, i, j), sp.exp(s[h, i, j] - top[h, i]), where=causal)
    Z = eq.let("Z", (h, i), w[h, i, j], (j,), where=causal)
    p = eq.let("p", (h, i, j), w[h, i, j] / Z[h, i], where=causal)
    o = eq.let("o", (i, h, e), p[h, i, j] * v[j, 3 * h + e], (j,), where=causal)
    eq.let("loss", (), g[i, 3 * h + e] * o[i, h, e] ** 2, (i, h, e))

    def reference(t: dict[str, torch.Tensor]) -> torch.Tensor:
        q, k, v = ((t["x"] @ t[f"W{n}"]).reshape(-1, 2, 3).transpose(0, 1) for n in "qkv")
        o = functional.scaled_dot_product_attention(q, k, v, is_causal=True, scale=4 / 7)
        return (t["g"] * o.transpose(0, 1).reshape(-1, 6) ** 2).sum()

    return case_of(eq, reference, T=n)


def branches(n: int) -> Case:
    """A branch whose other side is not defined: log of a negative number."""
    eq = Equations()
    i = eq.axis("i", "N")
    x, w = eq.parameter("x", i), eq.given("w", i)
    y = eq.let("y", (i,), select(x[i] > 0, sp.log(x[i]), x[i] ** 2))
    eq.let("loss", (), w[i] * y[i], (i,))

    def reference(t: dict[str, torch.Tensor]) -> torch.Tensor:
        x = t["x"]
        safe = torch.where(x > 0, x, torch.ones_like(x))
        return (t["w"] * torch.where(x > 0, torch.log(safe), x**2)).sum()

    return case_of(eq, reference, N=n)

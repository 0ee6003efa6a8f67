"""Dense models, norms, embeddings and the ways a loss is put together."""

from __future__ import annotations

import numpy as np
import sympy as sp
import torch

import symbp as sb
from symbp import Dense, Model, log, mean, sigmoid, sqrt, sum
from tests.numeric.harness import Case, Feed, Tensors

functional = torch.nn.functional
BATCHES = ({"n_batch": 13}, {"n_batch": 1}, {"n_batch": 7})


def linear_rms() -> Model:
    model = Model("linear_rms")
    b, j, k = model.axis("b", "batch"), model.axis("j", 7), model.axis("k", 3)
    x, t = model.input("x", b, j), model.input("t", b, k)
    W, c = model.parameter("W", j, k), model.parameter("c", k)
    y = model.define("y[b, k]", sum(x[b, j] * W[j, k], j) + c[k])
    model.loss(sqrt(mean((y[b, k] - t[b, k]) ** 2, b, k)))
    return model


def linear_rms_torch(t: Tensors) -> torch.Tensor:
    return ((t["x"] @ t["W"] + t["c"] - t["t"]) ** 2).mean().sqrt()


def dense_bce() -> Model:
    """Binary cross-entropy as in textbooks: the stable form is the compiler's work."""
    model = Model("dense_bce")
    b, j, k = model.axis("b", "batch"), model.axis("j", 128), model.axis("k", 64)
    x, t = model.input("x", b, j), model.input("t", b, k)
    W, c = model.parameter("W", j, k), model.parameter("c", k)
    z = model.define("z[b, k]", sum(x[b, j] * W[j, k], j) + c[k])
    p = model.define("p[b, k]", sigmoid(z[b, k]))
    model.output(p)
    model.loss(mean(-(t[b, k] * log(p[b, k]) + (1 - t[b, k]) * log(1 - p[b, k])), b, k))
    return model


def dense_bce_torch(t: Tensors) -> torch.Tensor:
    return functional.binary_cross_entropy_with_logits(t["x"] @ t["W"] + t["c"], t["t"])


def zero_or_one(feed: Feed) -> None:
    feed["t"] = (feed["t"] > 0) * 1.0


def saturated(feed: Feed) -> None:
    """Logits of 900 and -900, right and wrong ones."""
    zero_or_one(feed)
    feed["W"] *= 0.0
    feed["c"] = np.where(np.arange(64) % 3 == 0, 900.0, np.where(np.arange(64) % 3 == 1, -900.0, 0.5))


def five_layers() -> Model:
    model = Model("five_layers")
    b, j = model.axis("b", "batch"), model.axis("j", 13)
    k = model.axis("k", 5)
    x, label = model.input("x", b, j), model.input("label", b, dtype="int", below=k)
    h = x
    for units, activation in ((11, sb.tanh), (7, sb.relu), (9, sb.sigmoid), (6, sb.softplus)):
        h = Dense(units, activation)(h)
    z = Dense(5, name="head")(h)
    model.output(sb.softmax(z))
    model.loss(sb.softmax_cross_entropy(z, label))
    return model


def five_layers_logits(t: Tensors) -> torch.Tensor:
    h = t["x"]
    activations = (torch.tanh, torch.relu, torch.sigmoid, functional.softplus)
    for name, f in zip(("dense", "dense_2", "dense_3", "dense_4"), activations, strict=True):
        h = f(h @ t[f"{name}_W"] + t[f"{name}_c"])
    return h @ t["head_W"] + t["head_c"]


def residual_mlp() -> Model:
    """``h = h + W2 gelu(W1 h)`` twice, and a textbook softmax cross-entropy."""
    model = Model("residual_mlp")
    b, j, k = model.axis("b", "batch"), model.axis("j", 7), model.axis("k", 3)
    x, label = model.input("x", b, j), model.input("label", b, dtype="int", below=k)
    h = x
    for n in (1, 2):
        a = Dense(13, sb.gelu, name=f"up{n}")(h)
        d = Dense(7, name=f"down{n}")(a)
        h = model.define(f"h{n}[b, j]", h[b, j] + d[b, j])
    z = Dense(3, name="z")(h)
    p = model.define("p[b, k]", sb.exp(z[b, k]) / sum(sb.exp(z[b, k]), k))
    model.output(p)
    model.loss(mean(-log(p[b, label[b]]), b))
    return model


def residual_logits(t: Tensors) -> torch.Tensor:
    h = t["x"]
    for n in (1, 2):
        a = functional.gelu(h @ t[f"up{n}_W"] + t[f"up{n}_c"])
        h = h + a @ t[f"down{n}_W"] + t[f"down{n}_c"]
    return h @ t["z_W"] + t["z_c"]


def line() -> Model:
    """Two scalar parameters: ``y = m x + c``."""
    model = Model("line")
    n = model.axis("n", "samples")
    x, t = model.input("x", n), model.input("t", n)
    m, c = model.parameter("m"), model.parameter("c")
    y = model.define("y[n]", m * x[n] + c)
    model.loss(mean((y[n] - t[n]) ** 2, n))
    return model


def several_outputs() -> Model:
    """A mean and a deviation predicted from one hidden layer; the outputs are not all on the way to the loss."""
    model = Model("several_outputs")
    b, j = model.axis("b", "batch"), model.axis("j", 5)
    x, t = model.input("x", b, j), model.input("t", b)
    h = Dense(7, sb.tanh, name="h")(x)
    k = h.axes[-1]
    u, v = model.parameter("u", k), model.parameter("v", k)
    mu = model.define("mu[b]", sum(h[b, k] * u[k], k))
    s = model.define("s[b]", sum(h[b, k] * v[k], k))
    model.define("sigma[b]", sb.exp(s[b]))
    top = model.define("top", sb.max(mu[b], b))
    model.output(mu, model.tensors["sigma"], h, top)
    model.loss(mean(s[b] + (t[b] - mu[b]) ** 2 * sb.exp(-2 * s[b]) / 2, b))
    return model


def several_outputs_torch(t: Tensors) -> torch.Tensor:
    mu, sigma, _, _ = several_outputs_values(t)
    return (torch.log(sigma) + (t["t"] - mu) ** 2 / sigma**2 / 2).mean()


def several_outputs_values(t: Tensors) -> tuple[torch.Tensor, ...]:
    h = torch.tanh(t["x"] @ t["h_W"] + t["h_c"])
    mu = h @ t["u"]
    return mu, torch.exp(h @ t["v"]), h, mu.max()


def embedding() -> Model:
    """The mean of a window's embeddings, projected; repeated tokens meet in one row of the gradient."""
    model = Model("embedding")
    b, t, v, k = model.axis("b", "batch"), model.axis("t", "time"), model.axis("v", 9), model.axis("k", 5)
    token = model.input("token", b, t, dtype="int", below=v)
    label = model.input("label", b, dtype="int", below=v)
    E, V = model.parameter("E", v, k), model.parameter("V", k, v)
    h = model.define("h[b, k]", mean(E[token[b, t], k], t))
    z = model.define("z[b, v]", sum(h[b, k] * V[k, v], k))
    model.loss(sb.softmax_cross_entropy(z, label))
    return model


def embedding_torch(t: Tensors) -> torch.Tensor:
    return functional.cross_entropy(t["E"][t["token"]].mean(1) @ t["V"], t["label"])


def integers_everywhere() -> Model:
    """Whole numbers as a row, as a column, as both, as a position, and as a value."""
    model = Model("integers")
    b, i, j = model.axis("b", "batch"), model.axis("i", 5), model.axis("j", 7)
    row = model.input("line_of", b, dtype="int", below=i)
    column = model.input("column", b, dtype="int", below=j)
    start = model.input("offset", b, dtype="int", below=3)
    r = model.input("r", b, j)
    A, w, q = model.parameter("A", i, j), model.parameter("w", j), model.parameter("q", j)
    entry = model.define("entry[b]", A[row[b], column[b]] * w[column[b]] * (1 + column[b]))
    line = model.define("line[b]", sum(A[row[b], j] * r[b, j], j))
    window = model.define("window[b]", sum(q[start[b] + i] ** 2 * A[i, 6], i))
    model.loss(mean(sb.sin(entry[b]) * line[b] + window[b] * r[b, column[b]], b))
    return model


def integers_torch(t: Tensors) -> torch.Tensor:
    entry = t["A"][t["line_of"], t["column"]] * t["w"][t["column"]] * (1 + t["column"])
    line = (t["A"][t["line_of"]] * t["r"]).sum(1)
    window = (t["q"][t["offset"][:, None] + torch.arange(5)] ** 2 * t["A"][:, 6]).sum(1)
    return (torch.sin(entry) * line + window * t["r"][torch.arange(len(entry)), t["column"]]).mean()


def tied_weights() -> Model:
    """An autoencoder that decodes with the transposed weights of its encoder, and a mean of two losses."""
    model = Model("tied")
    b, j, k = model.axis("b", "batch"), model.axis("j", 13), model.axis("k", 5)
    x = model.input("x", b, j)
    W, c, d = model.parameter("W", j, k), model.parameter("c", k), model.parameter("d", j)
    h = model.define("h[b, k]", sb.tanh(sum(x[b, j] * W[j, k], j) + c[k]))
    y = model.define("y[b, j]", sum(h[b, k] * W[j, k], k) + d[j])
    model.output(y, h)
    weight_decay = sp.Rational(1, 100) * mean(W[j, k] ** 2, j, k)
    model.loss(mean((y[b, j] - x[b, j]) ** 2, b, j) + mean(sb.abs(h[b, k]), b, k) / 10 + weight_decay)
    return model


def tied_values(t: Tensors) -> tuple[torch.Tensor, ...]:
    h = torch.tanh(t["x"] @ t["W"] + t["c"])
    return h @ t["W"].T + t["d"], h


def tied_torch(t: Tensors) -> torch.Tensor:
    y, h = tied_values(t)
    return ((y - t["x"]) ** 2).mean() + h.abs().mean() / 10 + (t["W"] ** 2).mean() / 100


def layer_norm() -> Model:
    model = Model("layer_norm")
    b, j = model.axis("b", "batch"), model.axis("j", 5)
    x = model.input("x", b, j)
    y = sb.LayerNorm(name="norm")(Dense(7, name="dense")(x))
    z = sb.RMSNorm(name="rms")(Dense(13, name="up")(y))
    r = model.input("r", *z.axes)
    model.output(y, z)
    model.loss(mean(r[z.axes] * z.here**3, *z.axes))
    return model


def norm_values(t: Tensors) -> tuple[torch.Tensor, ...]:
    h = t["x"] @ t["dense_W"] + t["dense_c"]
    y = functional.layer_norm(h, (7,), t["norm_g"], t["norm_c"], 1e-5)
    return y, functional.rms_norm(y @ t["up_W"] + t["up_c"], (13,), t["rms_g"], 1e-5)


def layer_norm_torch(t: Tensors) -> torch.Tensor:
    return (t["r"] * norm_values(t)[1] ** 3).mean()


def batch_norm() -> Model:
    """Batch normalisation as in training: the mean and the variance are those of the batch."""
    model = Model("batch_norm")
    b, j, k = model.axis("b", "batch"), model.axis("j", 5), model.axis("k", 7)
    x, r = model.input("x", b, j), model.input("r", b, k)
    W, g, c = model.parameter("W", j, k), model.parameter("g", k, init=1.0), model.parameter("c", k)
    h = model.define("h[b, k]", sum(x[b, j] * W[j, k], j))
    mu = model.define("mu[k]", mean(h[b, k], b))
    v = model.define("v[k]", mean((h[b, k] - mu[k]) ** 2, b))
    y = model.define("y[b, k]", g[k] * (h[b, k] - mu[k]) / sqrt(v[k] + sp.Rational(1, 1000)) + c[k])
    model.output(y)
    model.loss(sum(r[b, k] * sb.sin(y[b, k]), b, k))
    return model


def batch_norm_torch(t: Tensors) -> torch.Tensor:
    h = t["x"] @ t["W"]
    y = (h - h.mean(0)) / torch.sqrt(h.var(0, correction=0) + 1e-3) * t["g"] + t["c"]
    return (t["r"] * torch.sin(y)).sum()


def distances() -> Model:
    """All pairs of rows: ``exp(-|x_i - y_k|^2)`` with the centres and the width learnt."""
    model = Model("distances")
    b, k, d = model.axis("b", "batch"), model.axis("k", 5), model.axis("d", 3)
    x, t = model.input("x", b, d), model.input("t", b)
    centre, width, w = model.parameter("centre", k, d), model.parameter("width"), model.parameter("w", k)
    s = model.define("s[b, k]", sum((x[b, d] - centre[k, d]) ** 2, d))
    y = model.define("y[b]", sum(w[k] * sb.exp(-s[b, k] * width**2), k))
    model.loss(mean((y[b] - t[b]) ** 2, b))
    return model


def distances_torch(t: Tensors) -> torch.Tensor:
    s = ((t["x"][:, None] - t["centre"]) ** 2).sum(-1)
    return ((torch.exp(-s * t["width"] ** 2) @ t["w"] - t["t"]) ** 2).mean()


def powers() -> Model:
    """Powers of every kind: whole, half, third, and learnt ones, of a value and of a number."""
    model = Model("powers")
    b = model.axis("b", "batch")
    x, w, v = model.input("x", b), model.parameter("w"), model.parameter("v")
    a = model.define("a[b]", w**2 + x[b] ** 2 + 1)
    learnt = a[b] ** v + 2**v * a[b] ** -2
    fixed = a[b] ** sp.Rational(3, 2) + sqrt(a[b]) ** 3 + a[b] ** sp.Rational(-1, 3) + (x[b] * w) ** 3
    model.loss(mean(learnt + fixed, b))
    return model


def powers_torch(t: Tensors) -> torch.Tensor:
    a = t["w"] ** 2 + t["x"] ** 2 + 1
    return (a ** t["v"] + 2 ** t["v"] / a**2 + 2 * a**1.5 + a ** (-1 / 3) + (t["x"] * t["w"]) ** 3).mean()


def contrastive() -> Model:
    """Every sample against every other, both ways: the batch is two axes of one equation."""
    model = Model("contrastive")
    b, c = model.axis("b", "batch"), model.axis("c", "batch")
    k, l = model.axis("k", 5), model.axis("l", 3)  # noqa: E741
    x, y = model.input("x", b, k), model.input("y", b, k)
    W, Q, s = model.parameter("W", k, l), model.parameter("Q", k, l), model.parameter("s")
    u = model.define("u[b, l]", sum(x[b, k] * W[k, l], k))
    v = model.define("v[b, l]", sum(y[b, k] * Q[k, l], k))
    z = model.define("z[b, c]", sb.exp(s) * sum(u[b, l] * v[c, l], l))
    rows = mean(sb.logsumexp(z[b, c], c) - z[b, b], b)
    model.loss(rows + mean(sb.logsumexp(z[c, b], c) - z[b, b], b))
    return model


def contrastive_torch(t: Tensors) -> torch.Tensor:
    z = t["s"].exp() * (t["x"] @ t["W"]) @ (t["y"] @ t["Q"]).T
    n = torch.arange(len(z))
    return functional.cross_entropy(z, n) + functional.cross_entropy(z.T, n)


CASES = (
    Case("linear, rms", linear_rms, linear_rms_torch, BATCHES),
    Case("128x64 sigmoid, textbook bce", dense_bce, dense_bce_torch, BATCHES, zero_or_one,
         lambda t: (torch.sigmoid(t["x"] @ t["W"] + t["c"]),)),
    Case("five layers, cross-entropy", five_layers,
         lambda t: functional.cross_entropy(five_layers_logits(t), t["label"]), BATCHES,
         outputs=lambda t: (torch.softmax(five_layers_logits(t), -1),)),
    Case("residual mlp, textbook cross-entropy", residual_mlp,
         lambda t: functional.cross_entropy(residual_logits(t), t["label"]), BATCHES,
         outputs=lambda t: (torch.softmax(residual_logits(t), -1),)),
    Case("line", line, lambda t: ((t["m"] * t["x"] + t["c"] - t["t"]) ** 2).mean(),
         ({"n_samples": 13}, {"n_samples": 1})),
    Case("several outputs", several_outputs, several_outputs_torch, BATCHES, outputs=several_outputs_values),
    Case("embedding, cross-entropy", embedding, embedding_torch,
         ({"n_batch": 13, "n_time": 7}, {"n_batch": 7, "n_time": 1}, {"n_batch": 1, "n_time": 13})),
    Case("whole numbers in several places", integers_everywhere, integers_torch, BATCHES),
    Case("tied weights, sum of means", tied_weights, tied_torch, BATCHES, outputs=tied_values),
    Case("layer norm, rms norm", layer_norm, layer_norm_torch, BATCHES, outputs=norm_values),
    Case("batch norm", batch_norm, batch_norm_torch, BATCHES),
    Case("powers", powers, powers_torch, BATCHES),
    Case("contrastive", contrastive, contrastive_torch, BATCHES),
    Case("distances", distances, distances_torch, BATCHES),
)  # fmt: skip

SATURATED = Case("logits of 900", dense_bce, dense_bce_torch, BATCHES, saturated)

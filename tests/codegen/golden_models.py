"""Models whose kernels are kept as files: what people will read first."""

from __future__ import annotations

from collections.abc import Callable

import symbp as sb
from symbp import (
    LSTM,
    Adam,
    Conv2d,
    Dense,
    Flatten,
    LayerNorm,
    MaxPool2d,
    Model,
    Momentum,
    SelfAttention,
    diff,
    mean,
    relu,
    rms,
    sin,
    softmax,
    softmax_cross_entropy,
    sum,
    tanh,
)


def digits() -> Model:
    """A perceptron with one hidden layer, and Adam."""
    model = Model("digits")
    b, j, k = model.axis("b", "batch"), model.axis("j", 64), model.axis("k", 10)
    x, label = model.input("x", b, j), model.input("label", b, dtype="int", below=k)
    z = Dense(10, name="out")(Dense(32, relu, name="hidden")(x))
    model.output(softmax(z))
    model.loss(softmax_cross_entropy(z, label))
    model.optimizer(Adam(learning_rate=1e-3))
    return model


def linear() -> Model:
    """Linear regression to a root mean square."""
    model = Model("linear")
    b, j, k = model.axis("b", "batch"), model.axis("j", 7), model.axis("k", 5)
    x, t = model.input("x", b, j), model.input("t", b, k)
    y = Dense(5, name="y")(x)
    model.output(y)
    model.loss(rms(y, t))
    model.optimizer(Momentum(learning_rate=0.1))
    return model


def lstm() -> Model:
    """A sequence to one of ten classes."""
    model = Model("lstm")
    b, t, j, k = model.axis("b", "batch"), model.axis("t", "time"), model.axis("j", 8), model.axis("k", 10)
    x, label = model.input("x", b, t, j), model.input("label", b, dtype="int", below=k)
    model.loss(softmax_cross_entropy(Dense(10, name="out")(LSTM(16)(x)), label))
    return model


def convolution() -> Model:
    """Convolution, relu, pooling, and a dense layer."""
    model = Model("convolution")
    b, c, i, j = model.axis("b", "batch"), model.axis("c", 1), model.axis("i", 12), model.axis("j", 12)
    x, label = model.input("x", b, c, i, j), model.input("label", b, dtype="int", below=5)
    h = MaxPool2d(2, name="pool")(Conv2d(4, 3, relu, name="conv")(x))
    model.loss(softmax_cross_entropy(Dense(5, name="out")(Flatten()(h)), label))
    return model


def attention() -> Model:
    """Causal attention with two heads on normalised rows."""
    model = Model("attention")
    b, t, e = model.axis("b", "batch"), model.axis("t", "time"), model.axis("e", 8)
    x, y = model.input("x", b, t, e), model.input("y", b, t, e)
    h = SelfAttention(2, causal=True, name="attention")(x)
    model.output(h)
    model.loss(mean((h[b, t, e] - y[b, t, e]) ** 2, b, t, e))
    return model


def layer_norm() -> Model:
    """A normalised row through a dense layer."""
    model = Model("layer_norm")
    b, j, k = model.axis("b", "batch"), model.axis("j", 16), model.axis("k", 6)
    x, t = model.input("x", b, j), model.input("t", b, k)
    y = Dense(6, tanh, name="y")(LayerNorm(name="norm")(x))
    model.output(y)
    model.loss(mean((y[b, k] - t[b, k]) ** 2, b, k))
    return model


def embedding() -> Model:
    """The mean of the embedded words of a text, to one of four classes."""
    model = Model("embedding")
    b, t, v, e = model.axis("b", "batch"), model.axis("t", "time"), model.axis("v", 50), model.axis("e", 8)
    token, label = model.input("token", b, t, dtype="int", below=v), model.input("label", b, dtype="int", below=4)
    E = model.parameter("E", v, e, init=sb.Initializer("normal", (("std", 0.1),)))
    text = model.define("text[b, e]", mean(E[token[b, t], e], t))
    model.loss(softmax_cross_entropy(Dense(4, name="out")(text), label))
    return model


def pinn() -> Model:
    """``u'' = -sin(x)`` by a network: the derivatives of u are part of the loss."""
    model = Model("pinn")
    n, k = model.axis("n", "points"), model.axis("k", 16)
    x = model.input("x", n)
    W, c, v = model.parameter("W", k), model.parameter("c", k), model.parameter("v", k)
    u = model.define("u[n]", sum(v[k] * tanh(W[k] * x[n] + c[k]), k))
    u_x = model.define("u_x[n]", diff(u[n], x[n]))
    u_xx = model.define("u_xx[n]", diff(u_x[n], x[n]))
    model.output(u)
    model.loss(mean((u_xx[n] + sin(x[n])) ** 2, n))
    return model


def volterra() -> Model:
    """A learnt memory of all earlier steps: ``h[t + 1] = tanh(sum[s <= t] a[t - s] h[s] + x[t])``."""
    model = Model("volterra")
    b, t, s, k = model.axis("b", "batch"), model.axis("t", 12), model.axis("s", 12), model.axis("k", 6)
    x, a, start = model.input("x", b, t, k), model.parameter("a", t), model.parameter("start", k)
    h = model.variable("h", b, t, k)
    model.define(h[b, 0, k], start[k])
    memory = model.define("memory[b, t, k]", sum(a[t - s] * h[b, s, k], s, where=t >= s))
    model.define(h[b, t + 1, k], tanh(memory[b, t, k] + x[b, t, k]))
    model.loss(mean(h[b, t + 1, k] ** 2, b, t, k))
    return model


MODELS: dict[str, tuple[Callable[[], Model], str]] = {
    "digits": (digits, "float32"),
    "linear": (linear, "float32"),
    "lstm": (lstm, "float32"),
    "convolution": (convolution, "float32"),
    "attention": (attention, "float32"),
    "layer_norm": (layer_norm, "float32"),
    "embedding": (embedding, "float32"),
    "pinn": (pinn, "float64"),
    "volterra": (volterra, "float32"),
}


#: The models whose CUDA kernels are kept as well.
CUDA_MODELS = ("digits", "lstm", "convolution", "embedding")


def kernels_of(name: str, target: str = "cpu") -> str:
    """The text of kernels.py, as it stands in the package."""
    build, dtype = MODELS[name]
    return sb.emit_model(build(), dtype=dtype, target=target)["kernels.py"]

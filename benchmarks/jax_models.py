"""The losses of the workloads in JAX; inputs and parameters by name, as the models declare them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

Arrays = dict[str, Any]


def mlp(t: Arrays, x: Any, layers: int, activation: Callable[[Any], Any]) -> Any:
    for layer in range(1, layers):
        x = activation(x @ t[f"W{layer}"] + t[f"b{layer}"])
    return x @ t[f"W{layers}"] + t[f"b{layers}"]


def cross_entropy(logits: Any, label: Any) -> Any:
    logp = jax.nn.log_softmax(logits)
    return -jnp.mean(jnp.sum(jax.nn.one_hot(label, logits.shape[-1], dtype=logits.dtype) * logp, -1))


def linreg(t: Arrays) -> Any:
    return jnp.sqrt(jnp.mean((t["m"] * t["x"] + t["c"] - t["y"]) ** 2))


def logreg(t: Arrays) -> Any:
    z = (t["x"] @ t["W1"] + t["b1"])[:, 0]
    return jnp.mean(jax.nn.softplus(z) - t["y"] * z)


def mlp_mnist(t: Arrays) -> Any:
    return cross_entropy(mlp(t, t["x"], 2, jax.nn.relu), t["y"])


def deep5(t: Arrays) -> Any:
    return cross_entropy(mlp(t, t["x"], 5, jnp.tanh), t["y"])


def lenet5(t: Arrays) -> Any:
    x = t["x"]
    for layer in (1, 2):
        x = lax.conv_general_dilated(x, t[f"K{layer}"], (1, 1), "VALID", dimension_numbers=("NCHW", "OIHW", "NCHW"))
        x = jax.nn.relu(x + t[f"c{layer}"][:, None, None])
        b, c, h, w = x.shape
        h, w = h // 2, w // 2
        x = x[:, :, : 2 * h, : 2 * w].reshape(b, c, h, 2, w, 2).max((3, 5))
    return cross_entropy(mlp(t, x.reshape(len(x), -1), 3, jax.nn.relu), t["y"])


def lstm_char(t: Arrays) -> Any:
    def cell(state: Any, x: Any) -> Any:
        h, s = state
        i, f, g, o = jnp.split(x + h @ t["Wh"], 4, -1)
        s = jax.nn.sigmoid(f) * s + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(s)
        return (h, s), h

    x = t["Wi"][t["tok"].T] + (t["bi"] + t["bh"])
    zero = jnp.zeros((x.shape[1], t["Wo"].shape[0]), x.dtype)
    _, h = lax.scan(cell, (zero, zero), x)
    return cross_entropy(h @ t["Wo"] + t["bo"], t["y"].T)


def gru_cls(t: Arrays) -> Any:
    def cell(h: Any, x: Any) -> Any:
        x_r, x_z, x_n = jnp.split(x, 3, -1)
        h_r, h_z, h_n = jnp.split(h @ t["Wh"] + t["bh"], 3, -1)
        r, z = jax.nn.sigmoid(x_r + h_r), jax.nn.sigmoid(x_z + h_z)
        return (1 - z) * jnp.tanh(x_n + r * h_n) + z * h, None

    x = t["x"].swapaxes(0, 1) @ t["Wi"] + t["bi"]
    h, _ = lax.scan(cell, jnp.zeros((x.shape[1], t["Wo"].shape[0]), x.dtype), x)
    return cross_entropy(h @ t["Wo"] + t["bo"], t["y"])


def tfblock(t: Arrays, heads: int = 4) -> Any:
    def norm(layer: int) -> Any:
        d = x - x.mean(-1, keepdims=True)
        return d * lax.rsqrt((d * d).mean(-1, keepdims=True) + 1e-5) * t[f"g{layer}"] + t[f"c{layer}"]

    x = t["E"][t["tok"]] + t["P"]
    b, time, width = x.shape
    qkv = (norm(1) @ t["Wqkv"] + t["bqkv"]).reshape(b, time, 3, heads, -1)
    q, k, v = qkv.transpose(2, 0, 3, 1, 4)
    score = q @ k.swapaxes(-1, -2) / math.sqrt(width // heads)
    weight = jax.nn.softmax(jnp.where(jnp.tril(jnp.ones((time, time), bool)), score, -1e30))
    x = x + (weight @ v).swapaxes(1, 2).reshape(x.shape) @ t["Wp"] + t["bp"]
    x = x + jax.nn.gelu(norm(2) @ t["W1"] + t["b1"], approximate=True) @ t["W2"] + t["b2"]
    return cross_entropy(norm(3) @ t["Wo"], t["y"])


def tiny_mlp(t: Arrays) -> Any:
    return jnp.mean((mlp(t, t["x"], 3, jnp.tanh) - t["y"]) ** 2)


def pinn(t: Arrays) -> Any:
    def residual(x: Any, time: Any) -> Any:
        def u(x: Any, time: Any) -> Any:
            return mlp(t, jnp.stack([x, time]), 4, jnp.tanh)[0]

        u_x = jax.grad(u)
        return jax.grad(u, 1)(x, time) + u(x, time) * u_x(x, time) - 0.01 / math.pi * jax.grad(u_x)(x, time)

    return jnp.mean(jax.vmap(residual)(t["x"][:, 0], t["x"][:, 1]) ** 2)


def big_mlp(t: Arrays) -> Any:
    return jnp.mean((mlp(t, t["x"], 3, jax.nn.relu) - t["y"]) ** 2)


def swiglu_rmsnorm(t: Arrays) -> Any:
    y = t["x"] * lax.rsqrt((t["x"] ** 2).mean(-1, keepdims=True) + 1e-6) * t["g"]
    return (y * t["dy"]).sum() + (jax.nn.silu(t["a"]) * t["b"] * t["dh"]).sum()


LOSSES: dict[str, Callable[[Arrays], Any]] = {
    f.__name__: f
    for f in (
        linreg, logreg, mlp_mnist, deep5, lenet5, lstm_char, gru_cls, tfblock, tiny_mlp, pinn, big_mlp, swiglu_rmsnorm,
    )
}  # fmt: skip

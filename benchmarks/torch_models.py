"""The losses of the workloads in PyTorch: what gradients are compared with, and what is timed beside.

Each takes inputs and parameters by name, laid out as the models declare them.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

functional = torch.nn.functional
Tensors = dict[str, torch.Tensor]


def mlp(t: Tensors, x: torch.Tensor, layers: int, activation: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    for layer in range(1, layers):
        x = activation(torch.addmm(t[f"b{layer}"], x, t[f"W{layer}"]))
    return torch.addmm(t[f"b{layers}"], x, t[f"W{layers}"])


def linreg(t: Tensors) -> torch.Tensor:
    return torch.sqrt(torch.mean((t["m"] * t["x"] + t["c"] - t["y"]) ** 2))


def logreg(t: Tensors) -> torch.Tensor:
    z = (t["x"] @ t["W1"] + t["b1"])[:, 0]
    return torch.mean(functional.softplus(z) - t["y"] * z)  # y need not lie between 0 and 1


def mlp_mnist(t: Tensors) -> torch.Tensor:
    return functional.cross_entropy(mlp(t, t["x"], 2, torch.relu), t["y"])


def deep5(t: Tensors) -> torch.Tensor:
    return functional.cross_entropy(mlp(t, t["x"], 5, torch.tanh), t["y"])


def lenet5(t: Tensors) -> torch.Tensor:
    x = t["x"]
    for layer in (1, 2):
        x = functional.max_pool2d(torch.relu(functional.conv2d(x, t[f"K{layer}"], t[f"c{layer}"])), 2)
    return functional.cross_entropy(mlp(t, x.flatten(1), 3, torch.relu), t["y"])


def lstm_char(t: Tensors) -> torch.Tensor:
    words, units = t["Wo"].shape[1], t["Wo"].shape[0]
    x = functional.one_hot(t["tok"], words).to(t["Wi"].dtype)
    weights = [t["Wi"].T, t["Wh"].T, t["bi"], t["bh"]]
    zero = x.new_zeros(1, len(x), units)
    h, _, _ = torch.lstm(x, (zero, zero), weights, True, 1, 0.0, True, False, True)
    return functional.cross_entropy((h @ t["Wo"] + t["bo"]).flatten(0, 1), t["y"].flatten())


def gru_cls(t: Tensors) -> torch.Tensor:
    weights = [t["Wi"].T, t["Wh"].T, t["bi"], t["bh"]]
    zero = t["x"].new_zeros(1, len(t["x"]), t["Wo"].shape[0])
    h, _ = torch.gru(t["x"], zero, weights, True, 1, 0.0, True, False, True)
    return functional.cross_entropy(torch.addmm(t["bo"], h[:, -1], t["Wo"]), t["y"])


def tfblock(t: Tensors, heads: int = 4) -> torch.Tensor:
    def norm(layer: int) -> torch.Tensor:
        return functional.layer_norm(x, x.shape[-1:], t[f"g{layer}"], t[f"c{layer}"])

    x = functional.embedding(t["tok"], t["E"]) + t["P"]
    qkv = (norm(1) @ t["Wqkv"] + t["bqkv"]).unflatten(-1, (3, heads, -1))
    q, k, v = qkv.permute(2, 0, 3, 1, 4)
    o = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
    x = x + o.transpose(1, 2).flatten(2) @ t["Wp"] + t["bp"]
    x = x + functional.gelu(norm(2) @ t["W1"] + t["b1"], approximate="tanh") @ t["W2"] + t["b2"]
    return functional.cross_entropy((norm(3) @ t["Wo"]).flatten(0, 1), t["y"].flatten())


def tiny_mlp(t: Tensors) -> torch.Tensor:
    return functional.mse_loss(mlp(t, t["x"], 3, torch.tanh), t["y"])


def pinn(t: Tensors) -> torch.Tensor:
    x = t["x"].detach().requires_grad_()
    u = mlp(t, x, 4, torch.tanh)
    (slope,) = torch.autograd.grad(u.sum(), x, create_graph=True)
    u_x, u_t = slope[:, :1], slope[:, 1:]
    u_xx = torch.autograd.grad(u_x.sum(), x, create_graph=True)[0][:, :1]
    return torch.mean((u_t + u * u_x - 0.01 / math.pi * u_xx) ** 2)


def pinn_taylor(t: Tensors) -> torch.Tensor:
    """The same loss as `pinn`, its derivatives written out by hand."""
    z = t["x"] @ t["W1"] + t["b1"]
    z_x, z_t, z_xx = t["W1"][0].expand_as(z), t["W1"][1].expand_as(z), torch.zeros_like(z)
    for layer in (2, 3, 4):
        h, W = torch.tanh(z), t[f"W{layer}"]
        slope = 1 - h * h
        h_x, h_t, h_xx = slope * z_x, slope * z_t, slope * z_xx - 2 * h * slope * z_x * z_x
        z, z_x, z_t, z_xx = h @ W + t[f"b{layer}"], h_x @ W, h_t @ W, h_xx @ W
    return torch.mean((z_t + z * z_x - 0.01 / math.pi * z_xx) ** 2)


def big_mlp(t: Tensors) -> torch.Tensor:
    return functional.mse_loss(mlp(t, t["x"], 3, torch.relu), t["y"])


def swiglu_rmsnorm(t: Tensors) -> torch.Tensor:
    y = functional.rms_norm(t["x"], t["x"].shape[-1:], t["g"], 1e-6)
    return (y * t["dy"]).sum() + (functional.silu(t["a"]) * t["b"] * t["dh"]).sum()


LOSSES: dict[str, Callable[[Tensors], torch.Tensor]] = {
    f.__name__: f
    for f in (
        linreg, logreg, mlp_mnist, deep5, lenet5, lstm_char, gru_cls, tfblock, tiny_mlp, pinn, big_mlp, swiglu_rmsnorm,
    )
}  # fmt: skip

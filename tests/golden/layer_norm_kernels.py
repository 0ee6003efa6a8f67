"""Kernels of layer_norm, in float32: plain functions that Numba compiles.

Written by symbp 0.1.0 from the spec f6015f3a9de1: change the spec, not this file.
Each group of loops is headed by the equation that it carries out. Arrays are
C-contiguous; the interface in `__init__.py` has checked them.
"""

import numpy as np

from ._runtime.contraction import matmul, matmul_add
from ._runtime.jit import kernel
from ._runtime.scalar import sqrt, square, tanh
from ._runtime.views import view

real = np.float32


@kernel
def predict_into(params, x, workspace, y):
    """Evaluate the model."""
    n_batch = x.shape[0]
    norm_g = view(params, 0, (16,))
    norm_c = view(params, 16, (16,))
    y_W = view(params, 32, (16, 6))
    y_c = view(params, 128, (6,))
    x = view(x, 0, (n_batch, 16))
    norm = view(workspace, 0, (n_batch, 16))
    y_z = view(workspace, 16 * n_batch, (n_batch, 6))
    y = view(y, 0, (n_batch, 6))

    for b in range(n_batch):
        # norm_mu[b] = sum[j] 0.0625*x[b, j]
        total = real(0.0)
        for j in range(16):
            total += x[b, j]
        norm_mu = real(0.0625) * total
        # norm_v[b] = sum[j] 0.0625*(x[b, j] - norm_mu[b])**2
        total = real(0.0)
        for j in range(16):
            total += square(x[b, j] - norm_mu)
        norm_v = real(0.0625) * total
        # norm_r_base[b] = 1e-5 + norm_v[b]
        norm_r_base = real(1e-05) + norm_v
        # norm_r[b] = 1/sqrt(norm_r_base[b])
        norm_r = real(1.0) / sqrt(norm_r_base)
        # norm_n[b, j] = norm_r[b]*(x[b, j] - norm_mu[b])
        # norm[b, j] = norm_c[j] + norm_g[j]*norm_n[b, j]
        for j in range(16):
            norm_n = norm_r * (x[b, j] - norm_mu)
            norm[b, j] = norm_c[j] + norm_g[j] * norm_n
        # y_z[b, k] = y_c[k]
        for k in range(6):
            y_z[b, k] = y_c[k]

    # y_z[b, k] += sum[j] norm[b, j]*y_W[j, k]
    matmul_add(norm, y_W, y_z)

    # y[b, k] = tanh(y_z[b, k])
    for b in range(n_batch):
        for k in range(6):
            y[b, k] = tanh(y_z[b, k])


@kernel
def forward(params, x, t, workspace):
    """Evaluate the loss."""
    n_batch = x.shape[0]
    norm_g = view(params, 0, (16,))
    norm_c = view(params, 16, (16,))
    y_W = view(params, 32, (16, 6))
    y_c = view(params, 128, (6,))
    x = view(x, 0, (n_batch, 16))
    t = view(t, 0, (n_batch, 6))
    norm_n = view(workspace, 0, (n_batch, 16))
    norm = view(workspace, 16 * n_batch, (n_batch, 16))
    y_z = view(workspace, 48 * n_batch, (n_batch, 6))
    y = view(workspace, 54 * n_batch, (n_batch, 6))

    for b in range(n_batch):
        # norm_mu[b] = sum[j] 0.0625*x[b, j]
        total = real(0.0)
        for j in range(16):
            total += x[b, j]
        norm_mu = real(0.0625) * total
        # norm_v[b] = sum[j] 0.0625*(x[b, j] - norm_mu[b])**2
        total = real(0.0)
        for j in range(16):
            total += square(x[b, j] - norm_mu)
        norm_v = real(0.0625) * total
        # norm_r_base[b] = 1e-5 + norm_v[b]
        norm_r_base = real(1e-05) + norm_v
        # norm_r[b] = 1/sqrt(norm_r_base[b])
        norm_r = real(1.0) / sqrt(norm_r_base)
        # norm_n[b, j] = norm_r[b]*(x[b, j] - norm_mu[b])
        # norm[b, j] = norm_c[j] + norm_g[j]*norm_n[b, j]
        for j in range(16):
            norm_n[b, j] = norm_r * (x[b, j] - norm_mu)
            norm[b, j] = norm_c[j] + norm_g[j] * norm_n[b, j]
        # y_z[b, k] = y_c[k]
        for k in range(6):
            y_z[b, k] = y_c[k]

    # y_z[b, k] += sum[j] norm[b, j]*y_W[j, k]
    matmul_add(norm, y_W, y_z)

    # y[b, k] = tanh(y_z[b, k])
    for b in range(n_batch):
        for k in range(6):
            y[b, k] = tanh(y_z[b, k])

    # loss = sum[b, k] (y[b, k] - t[b, k])**2/(6*n_batch)
    total = real(0.0)
    for b in range(n_batch):
        for k in range(6):
            total += square(y[b, k] - t[b, k])
    loss = total / (real(6.0) * real(n_batch))

    return loss


@kernel
def backward(params, t, workspace, grads):
    """Differentiate the loss; follows `forward`."""
    n_batch = t.shape[0]
    y_W = view(params, 32, (16, 6))
    t = view(t, 0, (n_batch, 6))
    norm_n = view(workspace, 0, (n_batch, 16))
    norm = view(workspace, 16 * n_batch, (n_batch, 16))
    y = view(workspace, 54 * n_batch, (n_batch, 6))
    norm_g_bar = view(grads, 0, (16,))
    norm_c_bar = view(grads, 16, (16,))
    y_W_bar = view(grads, 32, (16, 6))
    y_c_bar = view(grads, 128, (6,))
    norm_bar = view(workspace, 32 * n_batch, (n_batch, 16))
    y_z_bar = view(workspace, 48 * n_batch, (n_batch, 6))

    # y_z_bar[b, k] = (1 - y[b, k]**2)*(y[b, k] - t[b, k])/(3*n_batch)
    # y_c_bar[k] = sum[b] y_z_bar[b, k]
    y_c_bar[:] = real(0.0)
    for b in range(n_batch):
        for k in range(6):
            y_z_bar[b, k] = (
                (real(1.0) - y[b, k] * y[b, k])
                * (y[b, k] - t[b, k])
                / (real(3.0) * real(n_batch))
            )
            y_c_bar[k] += y_z_bar[b, k]

    # norm_bar[b, j] = sum[k] y_W[j, k]*y_z_bar[b, k]
    matmul(y_z_bar, y_W.T, norm_bar)

    # y_W_bar[j, k] = sum[b] norm[b, j]*y_z_bar[b, k]
    matmul(norm.T, y_z_bar, y_W_bar)

    # norm_g_bar[j] = sum[b] norm_n[b, j]*norm_bar[b, j]
    # norm_c_bar[j] = sum[b] norm_bar[b, j]
    norm_g_bar[:] = real(0.0)
    norm_c_bar[:] = real(0.0)
    for b in range(n_batch):
        for j in range(16):
            norm_g_bar[j] += norm_n[b, j] * norm_bar[b, j]
            norm_c_bar[j] += norm_bar[b, j]


@kernel
def loss_and_grad_into(params, x, t, workspace, grads):
    """Write the gradient of the loss to `grads`; return the loss."""
    loss = forward(params, x, t, workspace)
    backward(params, t, workspace, grads)
    return loss

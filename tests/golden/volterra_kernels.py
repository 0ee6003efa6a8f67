"""Kernels of volterra, in float32: plain functions that Numba compiles.

Written by symbp 0.1.0 from the spec 95d3960ee973: change the spec, not this file.
Each group of loops is headed by the equation that it carries out. Arrays are
C-contiguous; the interface in `__init__.py` has checked them.
"""

import numpy as np

from ._runtime.jit import kernel
from ._runtime.scalar import tanh
from ._runtime.views import apart, view

real = np.float32


@kernel
def predict_into(params, x, workspace, memory):
    """Evaluate the model."""
    n_batch = x.shape[0]
    a = view(params, 0, (12,))
    start = view(params, 12, (6,))
    h = view(workspace, 0, (n_batch, 13, 6))

    # h[b, 0, k] = start[k]
    for b in range(n_batch):
        for k in range(6):
            h[b, 0, k] = start[k]

    for t in range(12):
        for b in range(n_batch):
            b = apart(b)
            # memory[b, t, k] = sum[s] a[t - s]*h[b, s, k]    where t >= s
            for k in range(6):
                memory[b, t, k] = real(0.0)
            for s in range(t + 1):
                s = apart(s)
                for k in range(6):
                    memory[b, t, k] += a[t - s] * h[b, s, k]
            # h[b, t + 1, k] = tanh(x[b, t, k] + memory[b, t, k])
            for k in range(6):
                h[b, t + 1, k] = tanh(x[b, t, k] + memory[b, t, k])


@kernel
def forward(params, x, workspace):
    """Evaluate the loss."""
    n_batch = x.shape[0]
    a = view(params, 0, (12,))
    start = view(params, 12, (6,))
    h = view(workspace, 72 * n_batch, (n_batch, 13, 6))
    memory = view(workspace, 0, (n_batch, 12, 6))

    # h[b, 0, k] = start[k]
    for b in range(n_batch):
        for k in range(6):
            h[b, 0, k] = start[k]

    for t in range(12):
        for b in range(n_batch):
            b = apart(b)
            # memory[b, t, k] = sum[s] a[t - s]*h[b, s, k]    where t >= s
            for k in range(6):
                memory[b, t, k] = real(0.0)
            for s in range(t + 1):
                s = apart(s)
                for k in range(6):
                    memory[b, t, k] += a[t - s] * h[b, s, k]
            # h[b, t + 1, k] = tanh(x[b, t, k] + memory[b, t, k])
            for k in range(6):
                h[b, t + 1, k] = tanh(x[b, t, k] + memory[b, t, k])

    # loss = sum[b, t, k] h[b, t + 1, k]**2/(72*n_batch)
    total = real(0.0)
    for b in range(n_batch):
        for t in range(12):
            for k in range(6):
                total += h[b, t + 1, k] * h[b, t + 1, k]
    loss = total / (real(72.0) * real(n_batch))

    return loss


@kernel
def backward(params, x, workspace, grads):
    """Differentiate the loss; follows `forward`."""
    n_batch = x.shape[0]
    a = view(params, 0, (12,))
    h = view(workspace, 72 * n_batch, (n_batch, 13, 6))
    a_bar = view(grads, 0, (12,))
    start_bar = view(grads, 12, (6,))
    h_bar = view(workspace, 150 * n_batch, (n_batch, 13, 6))
    h_pre_bar = view(workspace, 0, (n_batch, 12, 6))

    # h_bar[b, t, k] += h[b, t, k]/(36*n_batch)
    h_bar[:, :, :] = real(0.0)
    for b in range(n_batch):
        for t in range(1, 13):
            for k in range(6):
                h_bar[b, t, k] += h[b, t, k] / (real(36.0) * real(n_batch))

    for t in range(11, -1, -1):
        for b in range(n_batch):
            b = apart(b)
            # h_pre_bar[b, t, k] = h_bar[b, t + 1, k]*(1 - h[b, t + 1, k]**2)
            for k in range(6):
                h_pre_bar[b, t, k] = (
                    h_bar[b, t + 1, k] * (real(1.0) - h[b, t + 1, k] * h[b, t + 1, k])
                )
            # h_bar[b, t, k] += sum[s] a[s - t]*h_pre_bar[b, s, k]
            #     where s >= t
            for s in range(t, 12):
                s = apart(s)
                for k in range(6):
                    h_bar[b, t, k] += a[s - t] * h_pre_bar[b, s, k]

    # a_bar[t] = sum[b, k, s] h[b, s, k]*h_pre_bar[b, s + t, k]
    #     where s + t <= 11
    for t in range(12):
        total = real(0.0)
        for b in range(n_batch):
            for s in range(12 - t):
                for k in range(6):
                    total += h[b, s, k] * h_pre_bar[b, s + t, k]
        a_bar[t] = total

    # start_bar[k] = sum[b] h_bar[b, 0, k]
    start_bar[:] = real(0.0)
    for b in range(n_batch):
        for k in range(6):
            start_bar[k] += h_bar[b, 0, k]


@kernel
def loss_and_grad_into(params, x, workspace, grads):
    """Write the gradient of the loss to `grads`; return the loss."""
    loss = forward(params, x, workspace)
    backward(params, x, workspace, grads)
    return loss

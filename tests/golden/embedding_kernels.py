"""Kernels of embedding, in float32: plain functions that Numba compiles.

Written by symbp 0.1.0 from the spec cf7481b95550: change the spec, not this file.
Each group of loops is headed by the equation that it carries out. Arrays are
C-contiguous; the interface in `__init__.py` has checked them.
"""

import math

import numpy as np

from ._runtime.contraction import matmul, matmul_add
from ._runtime.jit import kernel
from ._runtime.scalar import exp, log, maximum
from ._runtime.views import view

real = np.float32


@kernel
def predict_into(params, token, workspace, out):
    """Evaluate the model."""
    n_batch = token.shape[0]
    n_time = token.shape[1]
    E = view(params, 0, (50, 8))
    out_W = view(params, 400, (8, 4))
    out_c = view(params, 432, (4,))
    text = view(workspace, 0, (n_batch, 8))
    out = view(out, 0, (n_batch, 4))

    for b in range(n_batch):
        # text[b, e] = sum[t] E[token[b, t], e]/n_time
        for e in range(8):
            text[b, e] = real(0.0)
        for t in range(n_time):
            token_bt = token[b, t]
            for e in range(8):
                text[b, e] += E[token_bt, e]
        for e in range(8):
            text[b, e] = text[b, e] / real(n_time)
        # out[b, k] = out_c[k]
        for k in range(4):
            out[b, k] = out_c[k]

    # out[b, k] += sum[e] text[b, e]*out_W[e, k]
    matmul_add(text, out_W, out)


@kernel
def forward(params, token, label, workspace):
    """Evaluate the loss."""
    n_batch = token.shape[0]
    n_time = token.shape[1]
    E = view(params, 0, (50, 8))
    out_W = view(params, 400, (8, 4))
    out_c = view(params, 432, (4,))
    text = view(workspace, 0, (n_batch, 8))
    out = view(workspace, 16 * n_batch, (n_batch, 4))
    loss_max = view(workspace, 24 * n_batch, (n_batch,))
    loss_total = view(workspace, 25 * n_batch, (n_batch,))
    loss_exp = view(workspace, 20 * n_batch, (n_batch, 4))
    log_loss_total = view(workspace, 26 * n_batch, (n_batch,))

    for b in range(n_batch):
        # text[b, e] = sum[t] E[token[b, t], e]/n_time
        for e in range(8):
            text[b, e] = real(0.0)
        for t in range(n_time):
            token_bt = token[b, t]
            for e in range(8):
                text[b, e] += E[token_bt, e]
        for e in range(8):
            text[b, e] = text[b, e] / real(n_time)
        # out[b, k] = out_c[k]
        for k in range(4):
            out[b, k] = out_c[k]

    # out[b, k] += sum[e] text[b, e]*out_W[e, k]
    matmul_add(text, out_W, out)

    for b in range(n_batch):
        # loss_max[b] = max[k] stop_gradient(out[b, k])
        best = real(-math.inf)
        for k in range(4):
            best = maximum(best, out[b, k])
        loss_max[b] = best
        # loss_exp[b, k] = exp(out[b, k] - loss_max[b])
        for k in range(4):
            loss_exp[b, k] = exp(out[b, k] - loss_max[b])
        # loss_total[b] = sum[k] loss_exp[b, k]
        total = real(0.0)
        for k in range(4):
            total += loss_exp[b, k]
        loss_total[b] = total
        # log_loss_total[b] = log(loss_total[b])
        log_loss_total[b] = log(loss_total[b])

    # loss = sum[b] (loss_max[b] + log_loss_total[b] - out[b, label[b]])/n_batch
    total = real(0.0)
    for b in range(n_batch):
        total += loss_max[b] + log_loss_total[b] - out[b, label[b]]
    loss = total / real(n_batch)

    return loss


@kernel
def backward(params, token, label, workspace, grads):
    """Differentiate the loss; follows `forward`."""
    n_batch = token.shape[0]
    n_time = token.shape[1]
    out_W = view(params, 400, (8, 4))
    text = view(workspace, 0, (n_batch, 8))
    loss_total = view(workspace, 25 * n_batch, (n_batch,))
    loss_exp = view(workspace, 20 * n_batch, (n_batch, 4))
    E_bar = view(grads, 0, (50, 8))
    out_W_bar = view(grads, 400, (8, 4))
    out_c_bar = view(grads, 432, (4,))
    text_bar = view(workspace, 8 * n_batch, (n_batch, 8))
    out_bar = view(workspace, 16 * n_batch, (n_batch, 4))

    # out_bar[b, k] = (loss_exp[b, k]/loss_total[b] - select(k == label[b], 1, 0))
    #     /n_batch
    # out_c_bar[k] = sum[b] out_bar[b, k]
    out_c_bar[:] = real(0.0)
    for b in range(n_batch):
        for k in range(4):
            out_bar[b, k] = (
                loss_exp[b, k] / loss_total[b]
                - (real(1.0) if k == label[b] else real(0.0))
            ) / real(n_batch)
            out_c_bar[k] += out_bar[b, k]

    # text_bar[b, e] = sum[k] out_W[e, k]*out_bar[b, k]
    matmul(out_bar, out_W.T, text_bar)

    # out_W_bar[e, k] = sum[b] text[b, e]*out_bar[b, k]
    matmul(text.T, out_bar, out_W_bar)

    # E_bar[token[b, t], e] += text_bar[b, e]/n_time
    E_bar[:, :] = real(0.0)
    for b in range(n_batch):
        for t in range(n_time):
            token_bt = token[b, t]
            for e in range(8):
                E_bar[token_bt, e] += text_bar[b, e] / real(n_time)


@kernel
def loss_and_grad_into(params, token, label, workspace, grads):
    """Write the gradient of the loss to `grads`; return the loss."""
    loss = forward(params, token, label, workspace)
    backward(params, token, label, workspace, grads)
    return loss

"""Kernels of lstm, in float32: plain functions that Numba compiles.

Written by symbp 0.1.0 from the spec 051d1963f177: change the spec, not this file.
Each group of loops is headed by the equation that it carries out. Arrays are
C-contiguous; the interface in `__init__.py` has checked them.
"""

import math

import numpy as np

from ._runtime.contraction import matmul, matmul_add
from ._runtime.jit import kernel
from ._runtime.scalar import exp, log, maximum, sigmoid, tanh
from ._runtime.views import apart, view

real = np.float32


@kernel
def predict_into(params, x, workspace, out):
    """Evaluate the model."""
    n_batch = x.shape[0]
    n_time = x.shape[1]
    lstm_W = view(params, 0, (8, 4, 16))
    lstm_U = view(params, 512, (16, 4, 16))
    lstm_c = view(params, 1536, (4, 16))
    out_W = view(params, 1600, (16, 10))
    out_c = view(params, 1760, (10,))
    lstm_h = view(workspace, 0, (n_batch, n_time + 1, 16))
    lstm_s = view(
        workspace, 16 * n_batch + 16 * n_batch * n_time, (n_batch, n_time + 1, 16)
    )
    lstm_z = view(
        workspace, 32 * n_batch + 32 * n_batch * n_time, (n_batch, n_time, 4, 16)
    )
    lstm = view(workspace, 32 * n_batch + 96 * n_batch * n_time, (n_batch, 16))

    for b in range(n_batch):
        # lstm_h[b, 0, k] = 0
        # lstm_s[b, 0, k] = 0
        for k in range(16):
            lstm_h[b, 0, k] = real(0.0)
            lstm_s[b, 0, k] = real(0.0)
        # lstm_z[b, t, q, k] = lstm_c[q, k]
        for t in range(n_time):
            for q in range(4):
                for k in range(16):
                    lstm_z[b, t, q, k] = lstm_c[q, k]

    # lstm_z[b, t, q, k] += sum[j] x[b, t, j]*lstm_W[j, q, k]
    matmul_add(
        view(x, 0, (n_batch * n_time, 8)),
        view(lstm_W, 0, (8, 64)),
        view(lstm_z, 0, (n_batch * n_time, 64)),
    )

    for t in range(n_time):
        # lstm_z[b, t, q, k] += sum[l] lstm_U[l, q, k]*lstm_h[b, t, l]
        matmul_add(
            lstm_h[:, t],
            view(lstm_U, 0, (16, 64)),
            view(lstm_z, 0, (n_batch, n_time, 64))[:, t],
        )
        # lstm_i[b, t, k] = sigmoid(lstm_z[b, t, 0, k])
        # lstm_f[b, t, k] = sigmoid(lstm_z[b, t, 1, k])
        # lstm_g[b, t, k] = tanh(lstm_z[b, t, 2, k])
        # lstm_o[b, t, k] = sigmoid(lstm_z[b, t, 3, k])
        # lstm_s[b, t + 1, k] = lstm_s[b, t, k]*lstm_f[b, t, k]
        #     + lstm_i[b, t, k]*lstm_g[b, t, k]
        # tanh_lstm_s[b, t, k] = tanh(lstm_s[b, t + 1, k])
        # lstm_h[b, t + 1, k] = tanh_lstm_s[b, t, k]*lstm_o[b, t, k]
        for b in range(n_batch):
            b = apart(b)
            for k in range(16):
                lstm_i = sigmoid(lstm_z[b, t, 0, k])
                lstm_f = sigmoid(lstm_z[b, t, 1, k])
                lstm_g = tanh(lstm_z[b, t, 2, k])
                lstm_o = sigmoid(lstm_z[b, t, 3, k])
                lstm_s[b, t + 1, k] = lstm_s[b, t, k] * lstm_f + lstm_i * lstm_g
                tanh_lstm_s = tanh(lstm_s[b, t + 1, k])
                lstm_h[b, t + 1, k] = tanh_lstm_s * lstm_o

    for b in range(n_batch):
        # lstm[b, k] = lstm_h[b, n_time, k]
        for k in range(16):
            lstm[b, k] = lstm_h[b, n_time, k]
        # out[b, k] = out_c[k]
        for k in range(10):
            out[b, k] = out_c[k]

    # out[b, k] += sum[k2] lstm[b, k2]*out_W[k2, k]
    matmul_add(lstm, out_W, out)


@kernel
def forward(params, x, label, workspace):
    """Evaluate the loss."""
    n_batch = x.shape[0]
    n_time = x.shape[1]
    lstm_W = view(params, 0, (8, 4, 16))
    lstm_U = view(params, 512, (16, 4, 16))
    lstm_c = view(params, 1536, (4, 16))
    out_W = view(params, 1600, (16, 10))
    out_c = view(params, 1760, (10,))
    lstm_h = view(workspace, 0, (n_batch, n_time + 1, 16))
    lstm_s = view(
        workspace, 16 * n_batch + 16 * n_batch * n_time, (n_batch, n_time + 1, 16)
    )
    lstm_z = view(
        workspace, 32 * n_batch + 32 * n_batch * n_time, (n_batch, n_time, 4, 16)
    )
    lstm_i = view(
        workspace, 32 * n_batch + 96 * n_batch * n_time, (n_batch, n_time, 16)
    )
    lstm_f = view(
        workspace, 32 * n_batch + 112 * n_batch * n_time, (n_batch, n_time, 16)
    )
    lstm_g = view(
        workspace, 32 * n_batch + 128 * n_batch * n_time, (n_batch, n_time, 16)
    )
    lstm_o = view(
        workspace, 32 * n_batch + 144 * n_batch * n_time, (n_batch, n_time, 16)
    )
    lstm = view(workspace, 32 * n_batch + 176 * n_batch * n_time, (n_batch, 16))
    out = view(workspace, 96 * n_batch + 208 * n_batch * n_time, (n_batch, 10))
    loss_max = view(workspace, 116 * n_batch + 208 * n_batch * n_time, (n_batch,))
    loss_total = view(workspace, 117 * n_batch + 208 * n_batch * n_time, (n_batch,))
    tanh_lstm_s = view(
        workspace, 32 * n_batch + 160 * n_batch * n_time, (n_batch, n_time, 16)
    )
    loss_exp = view(workspace, 106 * n_batch + 208 * n_batch * n_time, (n_batch, 10))
    log_loss_total = view(workspace, 118 * n_batch + 208 * n_batch * n_time, (n_batch,))

    for b in range(n_batch):
        # lstm_h[b, 0, k] = 0
        # lstm_s[b, 0, k] = 0
        for k in range(16):
            lstm_h[b, 0, k] = real(0.0)
            lstm_s[b, 0, k] = real(0.0)
        # lstm_z[b, t, q, k] = lstm_c[q, k]
        for t in range(n_time):
            for q in range(4):
                for k in range(16):
                    lstm_z[b, t, q, k] = lstm_c[q, k]

    # lstm_z[b, t, q, k] += sum[j] x[b, t, j]*lstm_W[j, q, k]
    matmul_add(
        view(x, 0, (n_batch * n_time, 8)),
        view(lstm_W, 0, (8, 64)),
        view(lstm_z, 0, (n_batch * n_time, 64)),
    )

    for t in range(n_time):
        # lstm_z[b, t, q, k] += sum[l] lstm_U[l, q, k]*lstm_h[b, t, l]
        matmul_add(
            lstm_h[:, t],
            view(lstm_U, 0, (16, 64)),
            view(lstm_z, 0, (n_batch, n_time, 64))[:, t],
        )
        # lstm_i[b, t, k] = sigmoid(lstm_z[b, t, 0, k])
        # lstm_f[b, t, k] = sigmoid(lstm_z[b, t, 1, k])
        # lstm_g[b, t, k] = tanh(lstm_z[b, t, 2, k])
        # lstm_o[b, t, k] = sigmoid(lstm_z[b, t, 3, k])
        # lstm_s[b, t + 1, k] = lstm_s[b, t, k]*lstm_f[b, t, k]
        #     + lstm_i[b, t, k]*lstm_g[b, t, k]
        # tanh_lstm_s[b, t, k] = tanh(lstm_s[b, t + 1, k])
        # lstm_h[b, t + 1, k] = tanh_lstm_s[b, t, k]*lstm_o[b, t, k]
        for b in range(n_batch):
            b = apart(b)
            for k in range(16):
                lstm_i[b, t, k] = sigmoid(lstm_z[b, t, 0, k])
                lstm_f[b, t, k] = sigmoid(lstm_z[b, t, 1, k])
                lstm_g[b, t, k] = tanh(lstm_z[b, t, 2, k])
                lstm_o[b, t, k] = sigmoid(lstm_z[b, t, 3, k])
                lstm_s[b, t + 1, k] = (
                    lstm_s[b, t, k] * lstm_f[b, t, k]
                    + lstm_i[b, t, k] * lstm_g[b, t, k]
                )
                tanh_lstm_s[b, t, k] = tanh(lstm_s[b, t + 1, k])
                lstm_h[b, t + 1, k] = tanh_lstm_s[b, t, k] * lstm_o[b, t, k]

    for b in range(n_batch):
        # lstm[b, k] = lstm_h[b, n_time, k]
        for k in range(16):
            lstm[b, k] = lstm_h[b, n_time, k]
        # out[b, k] = out_c[k]
        for k in range(10):
            out[b, k] = out_c[k]

    # out[b, k] += sum[k2] lstm[b, k2]*out_W[k2, k]
    matmul_add(lstm, out_W, out)

    for b in range(n_batch):
        # loss_max[b] = max[k] stop_gradient(out[b, k])
        best = real(-math.inf)
        for k in range(10):
            best = maximum(best, out[b, k])
        loss_max[b] = best
        # loss_exp[b, k] = exp(out[b, k] - loss_max[b])
        for k in range(10):
            loss_exp[b, k] = exp(out[b, k] - loss_max[b])
        # loss_total[b] = sum[k] loss_exp[b, k]
        total = real(0.0)
        for k in range(10):
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
def backward(params, x, label, workspace, grads):
    """Differentiate the loss; follows `forward`."""
    n_batch = x.shape[0]
    n_time = x.shape[1]
    lstm_U = view(params, 512, (16, 4, 16))
    out_W = view(params, 1600, (16, 10))
    lstm_h = view(workspace, 0, (n_batch, n_time + 1, 16))
    lstm_s = view(
        workspace, 16 * n_batch + 16 * n_batch * n_time, (n_batch, n_time + 1, 16)
    )
    lstm_i = view(
        workspace, 32 * n_batch + 96 * n_batch * n_time, (n_batch, n_time, 16)
    )
    lstm_f = view(
        workspace, 32 * n_batch + 112 * n_batch * n_time, (n_batch, n_time, 16)
    )
    lstm_g = view(
        workspace, 32 * n_batch + 128 * n_batch * n_time, (n_batch, n_time, 16)
    )
    lstm_o = view(
        workspace, 32 * n_batch + 144 * n_batch * n_time, (n_batch, n_time, 16)
    )
    lstm = view(workspace, 32 * n_batch + 176 * n_batch * n_time, (n_batch, 16))
    loss_total = view(workspace, 117 * n_batch + 208 * n_batch * n_time, (n_batch,))
    tanh_lstm_s = view(
        workspace, 32 * n_batch + 160 * n_batch * n_time, (n_batch, n_time, 16)
    )
    loss_exp = view(workspace, 106 * n_batch + 208 * n_batch * n_time, (n_batch, 10))
    lstm_W_bar = view(grads, 0, (8, 4, 16))
    lstm_U_bar = view(grads, 512, (16, 4, 16))
    lstm_c_bar = view(grads, 1536, (4, 16))
    out_W_bar = view(grads, 1600, (16, 10))
    out_c_bar = view(grads, 1760, (10,))
    lstm_h_bar = view(
        workspace, 64 * n_batch + 176 * n_batch * n_time, (n_batch, n_time + 1, 16)
    )
    lstm_s_bar = view(
        workspace, 80 * n_batch + 192 * n_batch * n_time, (n_batch, n_time + 1, 16)
    )
    lstm_z_bar = view(
        workspace, 32 * n_batch + 32 * n_batch * n_time, (n_batch, n_time, 4, 16)
    )
    lstm_bar = view(workspace, 48 * n_batch + 176 * n_batch * n_time, (n_batch, 16))
    out_bar = view(workspace, 96 * n_batch + 208 * n_batch * n_time, (n_batch, 10))

    # out_bar[b, k] = (loss_exp[b, k]/loss_total[b] - select(k == label[b], 1, 0))
    #     /n_batch
    # out_c_bar[k] = sum[b] out_bar[b, k]
    out_c_bar[:] = real(0.0)
    for b in range(n_batch):
        for k in range(10):
            out_bar[b, k] = (
                loss_exp[b, k] / loss_total[b]
                - (real(1.0) if k == label[b] else real(0.0))
            ) / real(n_batch)
            out_c_bar[k] += out_bar[b, k]

    # lstm_bar[b, k] = sum[k2] out_W[k, k2]*out_bar[b, k2]
    matmul(out_bar, out_W.T, lstm_bar)

    # out_W_bar[k, k2] = sum[b] lstm[b, k]*out_bar[b, k2]
    matmul(lstm.T, out_bar, out_W_bar)

    # lstm_h_bar[b, n_time, k] = lstm_bar[b, k]
    for b in range(n_batch):
        for k in range(16):
            lstm_h_bar[b, n_time, k] = lstm_bar[b, k]

    lstm_s_bar[:, :, :] = real(0.0)
    for t in range(n_time - 1, -1, -1):
        # lstm_s_bar[b, t + 1, k] += lstm_o[b, t, k]*lstm_h_bar[b, t + 1, k]
        #     *(1 - tanh_lstm_s[b, t, k]**2)
        # lstm_s_bar[b, t, k] += lstm_f[b, t, k]*lstm_s_bar[b, t + 1, k]
        # lstm_z_bar[b, t, 3, k] = lstm_o[b, t, k]*tanh_lstm_s[b, t, k]
        #     *lstm_h_bar[b, t + 1, k]*(1 - lstm_o[b, t, k])
        # lstm_z_bar[b, t, 2, k] = lstm_i[b, t, k]*lstm_s_bar[b, t + 1, k]
        #     *(1 - lstm_g[b, t, k]**2)
        # lstm_z_bar[b, t, 1, k] = lstm_f[b, t, k]*lstm_s[b, t, k]
        #     *lstm_s_bar[b, t + 1, k]*(1 - lstm_f[b, t, k])
        # lstm_z_bar[b, t, 0, k] = lstm_i[b, t, k]*lstm_g[b, t, k]
        #     *lstm_s_bar[b, t + 1, k]*(1 - lstm_i[b, t, k])
        for b in range(n_batch):
            b = apart(b)
            for k in range(16):
                lstm_s_bar[b, t + 1, k] += (
                    lstm_o[b, t, k]
                    * lstm_h_bar[b, t + 1, k]
                    * (real(1.0) - tanh_lstm_s[b, t, k] * tanh_lstm_s[b, t, k])
                )
                lstm_s_bar[b, t, k] += lstm_f[b, t, k] * lstm_s_bar[b, t + 1, k]
                lstm_z_bar[b, t, 3, k] = (
                    lstm_o[b, t, k]
                    * tanh_lstm_s[b, t, k]
                    * lstm_h_bar[b, t + 1, k]
                    * (real(1.0) - lstm_o[b, t, k])
                )
                lstm_z_bar[b, t, 2, k] = (
                    lstm_i[b, t, k]
                    * lstm_s_bar[b, t + 1, k]
                    * (real(1.0) - lstm_g[b, t, k] * lstm_g[b, t, k])
                )
                lstm_z_bar[b, t, 1, k] = (
                    lstm_f[b, t, k]
                    * lstm_s[b, t, k]
                    * lstm_s_bar[b, t + 1, k]
                    * (real(1.0) - lstm_f[b, t, k])
                )
                lstm_z_bar[b, t, 0, k] = (
                    lstm_i[b, t, k]
                    * lstm_g[b, t, k]
                    * lstm_s_bar[b, t + 1, k]
                    * (real(1.0) - lstm_i[b, t, k])
                )
        # lstm_h_bar[b, t, k] = sum[q, l] lstm_U[k, q, l]*lstm_z_bar[b, t, q, l]
        matmul(
            view(lstm_z_bar, 0, (n_batch, n_time, 64))[:, t],
            view(lstm_U, 0, (16, 64)).T,
            lstm_h_bar[:, t],
        )

    # lstm_c_bar[q, k] = sum[b, t] lstm_z_bar[b, t, q, k]
    for q in range(4):
        for k in range(16):
            lstm_c_bar[q, k] = real(0.0)
        for b in range(n_batch):
            for t in range(n_time):
                for k in range(16):
                    lstm_c_bar[q, k] += lstm_z_bar[b, t, q, k]

    # lstm_W_bar[j, q, k] = sum[b, t] x[b, t, j]*lstm_z_bar[b, t, q, k]
    matmul(
        view(x, 0, (n_batch * n_time, 8)).T,
        view(lstm_z_bar, 0, (n_batch * n_time, 64)),
        view(lstm_W_bar, 0, (8, 64)),
    )

    # lstm_U_bar[l, q, k] = sum[b, t] lstm_h[b, t, l]*lstm_z_bar[b, t, q, k]
    lstm_U_bar[:, :, :] = real(0.0)
    for b in range(n_batch):
        matmul_add(
            lstm_h[b, :n_time].T,
            view(lstm_z_bar, 0, (n_batch, n_time, 64))[b],
            view(lstm_U_bar, 0, (16, 64)),
        )


@kernel
def loss_and_grad_into(params, x, label, workspace, grads):
    """Write the gradient of the loss to `grads`; return the loss."""
    loss = forward(params, x, label, workspace)
    backward(params, x, label, workspace, grads)
    return loss

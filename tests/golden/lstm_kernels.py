"""Kernels of lstm, in float32: plain functions that Numba compiles.

Written by symbp 0.1.0 from the spec 051d1963f177: change the spec, not this file.
Each group of loops is headed by the equation that it carries out. Arrays are
C-contiguous; the interface in `__init__.py` has checked them.
"""

import math

import numpy as np
from numba import prange

from ._runtime.contraction import matmul, matmul_add
from ._runtime.jit import kernel, piece
from ._runtime.scalar import exp, log, maximum, sigmoid, tanh
from ._runtime.shares import chunk_count, share
from ._runtime.views import rolled, view

real = np.float32


@piece
def predict_rows(params, x, chunk, out, first, last):
    """Evaluate the model for the samples `first` to `last - 1`."""
    n_time = x.shape[1]
    rows = last - first
    lstm_W = view(params, 0, (8, 4, 16))
    lstm_U = view(params, 512, (16, 4, 16))
    lstm_c = view(params, 1536, (4, 16))
    out_W = view(params, 1600, (16, 10))
    out_c = view(params, 1760, (10,))
    x = view(x, 8 * first * n_time, (rows, n_time, 8))
    lstm_h = view(chunk, 0, (n_time + 1, rows, 16))
    lstm_s = view(chunk, 256 * n_time + 256, (n_time + 1, rows, 16))
    lstm_z = view(chunk, 512 * n_time + 512, (n_time, rows, 4, 16))
    lstm = view(chunk, 1536 * n_time + 512, (rows, 16))
    out = view(out, 10 * first, (rows, 10))

    # lstm_h[0, b, k] = 0
    # lstm_s[0, b, k] = 0
    for b in range(rows):
        for k in range(16):
            lstm_h[0, b, k] = real(0.0)
            lstm_s[0, b, k] = real(0.0)

    for t in range(n_time):
        # lstm_z[t, b, q, k] = lstm_c[q, k]
        for b in range(rows):
            for q in range(4):
                for k in range(16):
                    lstm_z[t, b, q, k] = lstm_c[q, k]
        # lstm_z[t, b, q, k] += sum[j] x[b, t, j]*lstm_W[j, q, k]
        matmul_add(
            x[:, t], view(lstm_W, 0, (8, 64)), view(lstm_z, 0, (n_time, rows, 64))[t]
        )

    for t in range(n_time):
        # lstm_z[t, b, q, k] += sum[l] lstm_U[l, q, k]*lstm_h[t, b, l]
        matmul_add(
            lstm_h[t], view(lstm_U, 0, (16, 64)), view(lstm_z, 0, (n_time, rows, 64))[t]
        )
        # lstm_i[t, b, k] = sigmoid(lstm_z[t, b, 0, k])
        # lstm_f[t, b, k] = sigmoid(lstm_z[t, b, 1, k])
        # lstm_g[t, b, k] = tanh(lstm_z[t, b, 2, k])
        # lstm_o[t, b, k] = sigmoid(lstm_z[t, b, 3, k])
        # lstm_s[t + 1, b, k] = lstm_s[t, b, k]*lstm_f[t, b, k]
        #     + lstm_i[t, b, k]*lstm_g[t, b, k]
        # tanh_lstm_s[t, b, k] = tanh(lstm_s[t + 1, b, k])
        # lstm_h[t + 1, b, k] = tanh_lstm_s[t, b, k]*lstm_o[t, b, k]
        for b in range(rows):
            for k in range(16):
                lstm_i = sigmoid(lstm_z[t, b, 0, k])
                lstm_f = sigmoid(lstm_z[t, b, 1, k])
                lstm_g = tanh(lstm_z[t, b, 2, k])
                lstm_o = sigmoid(lstm_z[t, b, 3, k])
                lstm_s[t + 1, b, k] = lstm_s[t, b, k] * lstm_f + lstm_i * lstm_g
                tanh_lstm_s = tanh(lstm_s[t + 1, b, k])
                lstm_h[t + 1, b, k] = tanh_lstm_s * lstm_o

    for b in range(rows):
        # lstm[b, k] = lstm_h[n_time, b, k]
        for k in range(16):
            lstm[b, k] = lstm_h[n_time, b, k]
        # out[b, k] = out_c[k]
        for k in range(10):
            out[b, k] = out_c[k]

    # out[b, k] += sum[k2] lstm[b, k2]*out_W[k2, k]
    matmul_add(lstm, out_W, out)


@piece
def forward_rows(params, x, label, workspace, chunk, first, last, number):
    """Evaluate the samples `first` to `last - 1`."""
    n_batch = x.shape[0]
    n_time = x.shape[1]
    chunks = chunk_count(n_batch, 16, 8)
    rows = last - first
    lstm_W = view(params, 0, (8, 4, 16))
    lstm_U = view(params, 512, (16, 4, 16))
    lstm_c = view(params, 1536, (4, 16))
    out_W = view(params, 1600, (16, 10))
    out_c = view(params, 1760, (10,))
    x = view(x, 8 * first * n_time, (rows, n_time, 8))
    label = view(label, first, (rows,))
    lstm_h = view(chunk, 0, (n_time + 1, rows, 16))
    lstm_s = view(chunk, 256 * n_time + 256, (n_time + 1, rows, 16))
    lstm_z = view(chunk, 512 * n_time + 512, (n_time, rows, 4, 16))
    lstm_i = view(chunk, 1536 * n_time + 512, (n_time, rows, 16))
    lstm_f = view(chunk, 1792 * n_time + 512, (n_time, rows, 16))
    lstm_g = view(chunk, 2048 * n_time + 512, (n_time, rows, 16))
    lstm_o = view(chunk, 2304 * n_time + 512, (n_time, rows, 16))
    lstm = view(workspace, 16 * first, (rows, 16))
    out = view(chunk, 2816 * n_time + 512, (rows, 10))
    loss_max = view(chunk, 2816 * n_time + 672, (rows,))
    loss_total = view(chunk, 2816 * n_time + 688, (rows,))
    tanh_lstm_s = view(chunk, 2560 * n_time + 512, (n_time, rows, 16))
    loss_exp = view(chunk, 2816 * n_time + 704, (rows, 10))
    log_loss_total = view(chunk, 2816 * n_time + 864, (rows,))
    loss_part = view(workspace, 1610 * chunks + 26 * n_batch + number, (1,))

    # lstm_h[0, b, k] = 0
    # lstm_s[0, b, k] = 0
    for b in range(rows):
        for k in range(16):
            lstm_h[0, b, k] = real(0.0)
            lstm_s[0, b, k] = real(0.0)

    for t in range(n_time):
        # lstm_z[t, b, q, k] = lstm_c[q, k]
        for b in range(rows):
            for q in range(4):
                for k in range(16):
                    lstm_z[t, b, q, k] = lstm_c[q, k]
        # lstm_z[t, b, q, k] += sum[j] x[b, t, j]*lstm_W[j, q, k]
        matmul_add(
            x[:, t], view(lstm_W, 0, (8, 64)), view(lstm_z, 0, (n_time, rows, 64))[t]
        )

    for t in range(n_time):
        # lstm_z[t, b, q, k] += sum[l] lstm_U[l, q, k]*lstm_h[t, b, l]
        matmul_add(
            lstm_h[t], view(lstm_U, 0, (16, 64)), view(lstm_z, 0, (n_time, rows, 64))[t]
        )
        # lstm_i[t, b, k] = sigmoid(lstm_z[t, b, 0, k])
        # lstm_f[t, b, k] = sigmoid(lstm_z[t, b, 1, k])
        # lstm_g[t, b, k] = tanh(lstm_z[t, b, 2, k])
        # lstm_o[t, b, k] = sigmoid(lstm_z[t, b, 3, k])
        # lstm_s[t + 1, b, k] = lstm_s[t, b, k]*lstm_f[t, b, k]
        #     + lstm_i[t, b, k]*lstm_g[t, b, k]
        # tanh_lstm_s[t, b, k] = tanh(lstm_s[t + 1, b, k])
        # lstm_h[t + 1, b, k] = tanh_lstm_s[t, b, k]*lstm_o[t, b, k]
        for b in range(rows):
            for k in range(16):
                lstm_i[t, b, k] = sigmoid(lstm_z[t, b, 0, k])
                lstm_f[t, b, k] = sigmoid(lstm_z[t, b, 1, k])
                lstm_g[t, b, k] = tanh(lstm_z[t, b, 2, k])
                lstm_o[t, b, k] = sigmoid(lstm_z[t, b, 3, k])
                lstm_s[t + 1, b, k] = (
                    lstm_s[t, b, k] * lstm_f[t, b, k]
                    + lstm_i[t, b, k] * lstm_g[t, b, k]
                )
                tanh_lstm_s[t, b, k] = tanh(lstm_s[t + 1, b, k])
                lstm_h[t + 1, b, k] = tanh_lstm_s[t, b, k] * lstm_o[t, b, k]

    for b in range(rows):
        # lstm[b, k] = lstm_h[n_time, b, k]
        for k in range(16):
            lstm[b, k] = lstm_h[n_time, b, k]
        # out[b, k] = out_c[k]
        for k in range(10):
            out[b, k] = out_c[k]

    # out[b, k] += sum[k2] lstm[b, k2]*out_W[k2, k]
    matmul_add(lstm, out_W, out)

    for b in range(rows):
        # loss_max[b] = max[k] stop_gradient(out[b, k])
        best = real(-math.inf)
        for k in range(rolled(10)):
            best = maximum(best, out[b, k])
        loss_max[b] = best
        # loss_exp[b, k] = exp(out[b, k] - loss_max[b])
        loss_max_b = loss_max[b]
        for k in range(10):
            loss_exp[b, k] = exp(out[b, k] - loss_max_b)
        # loss_total[b] = sum[k] loss_exp[b, k]
        total = real(0.0)
        for k in range(10):
            total += loss_exp[b, k]
        loss_total[b] = total
        # log_loss_total[b] = log(loss_total[b])
        log_loss_total[b] = log(loss_total[b])

    # loss_part = sum[b] (loss_max[b] + log_loss_total[b] - out[b, label[b]])/n_batch
    total = real(0.0)
    for b in range(rows):
        total += loss_max[b] + log_loss_total[b] - out[b, label[b]]
    loss_part[0] = total / real(n_batch)


@piece
def backward_rows(params, x, label, workspace, chunk, first, last, number):
    """Differentiate the same samples; follows `forward_rows`."""
    n_batch = x.shape[0]
    n_time = x.shape[1]
    chunks = chunk_count(n_batch, 16, 8)
    rows = last - first
    lstm_U = view(params, 512, (16, 4, 16))
    out_W = view(params, 1600, (16, 10))
    x = view(x, 8 * first * n_time, (rows, n_time, 8))
    label = view(label, first, (rows,))
    lstm_h = view(chunk, 0, (n_time + 1, rows, 16))
    lstm_s = view(chunk, 256 * n_time + 256, (n_time + 1, rows, 16))
    lstm_i = view(chunk, 1536 * n_time + 512, (n_time, rows, 16))
    lstm_f = view(chunk, 1792 * n_time + 512, (n_time, rows, 16))
    lstm_g = view(chunk, 2048 * n_time + 512, (n_time, rows, 16))
    lstm_o = view(chunk, 2304 * n_time + 512, (n_time, rows, 16))
    loss_total = view(chunk, 2816 * n_time + 688, (rows,))
    tanh_lstm_s = view(chunk, 2560 * n_time + 512, (n_time, rows, 16))
    loss_exp = view(chunk, 2816 * n_time + 704, (rows, 10))
    lstm_h_bar = view(chunk, 2816 * n_time + 1136, (n_time + 1, rows, 16))
    lstm_s_bar = view(chunk, 3072 * n_time + 1392, (n_time + 1, rows, 16))
    lstm_z_bar = view(chunk, 512 * n_time + 512, (n_time, rows, 4, 16))
    lstm_bar = view(chunk, 2816 * n_time + 880, (rows, 16))
    out_bar = view(workspace, 1600 * chunks + 10 * first + 16 * n_batch, (rows, 10))
    out_c_bar_part = view(workspace, 1600 * chunks + 26 * n_batch + 10 * number, (10,))
    lstm_c_bar_part = view(workspace, 16 * n_batch + 64 * number, (4, 16))
    lstm_W_bar_part = view(
        workspace, 64 * chunks + 16 * n_batch + 512 * number, (8, 4, 16)
    )
    lstm_U_bar_part = view(
        workspace, 576 * chunks + 16 * n_batch + 1024 * number, (16, 4, 16)
    )

    # out_bar[b, k] = (loss_exp[b, k]/loss_total[b] - select(k == label[b], 1, 0))
    #     /n_batch
    # out_c_bar_part[k] = sum[b] out_bar[b, k]
    out_c_bar_part[:] = real(0.0)
    for b in range(rows):
        label_b = label[b]
        loss_total_b = loss_total[b]
        for k in range(10):
            out_bar[b, k] = (
                loss_exp[b, k] / loss_total_b
                - (real(1.0) if k == label_b else real(0.0))
            ) / real(n_batch)
            out_c_bar_part[k] += out_bar[b, k]

    # lstm_bar[b, k] = sum[k2] out_W[k, k2]*out_bar[b, k2]
    matmul(out_bar, out_W.T, lstm_bar)

    # lstm_h_bar[n_time, b, k] = lstm_bar[b, k]
    for b in range(rows):
        for k in range(16):
            lstm_h_bar[n_time, b, k] = lstm_bar[b, k]

    lstm_s_bar[:, :, :] = real(0.0)
    for t in range(n_time - 1, -1, -1):
        # lstm_s_bar[t + 1, b, k] += lstm_o[t, b, k]*lstm_h_bar[t + 1, b, k]
        #     *(1 - tanh_lstm_s[t, b, k]**2)
        # lstm_s_bar[t, b, k] += lstm_f[t, b, k]*lstm_s_bar[t + 1, b, k]
        # lstm_z_bar[t, b, 3, k] = lstm_o[t, b, k]*tanh_lstm_s[t, b, k]
        #     *lstm_h_bar[t + 1, b, k]*(1 - lstm_o[t, b, k])
        # lstm_z_bar[t, b, 2, k] = lstm_i[t, b, k]*lstm_s_bar[t + 1, b, k]
        #     *(1 - lstm_g[t, b, k]**2)
        # lstm_z_bar[t, b, 1, k] = lstm_f[t, b, k]*lstm_s[t, b, k]
        #     *lstm_s_bar[t + 1, b, k]*(1 - lstm_f[t, b, k])
        # lstm_z_bar[t, b, 0, k] = lstm_i[t, b, k]*lstm_g[t, b, k]
        #     *lstm_s_bar[t + 1, b, k]*(1 - lstm_i[t, b, k])
        for b in range(rows):
            for k in range(16):
                lstm_s_bar[t + 1, b, k] += (
                    lstm_o[t, b, k]
                    * lstm_h_bar[t + 1, b, k]
                    * (real(1.0) - tanh_lstm_s[t, b, k] * tanh_lstm_s[t, b, k])
                )
                lstm_s_bar[t, b, k] += lstm_f[t, b, k] * lstm_s_bar[t + 1, b, k]
                lstm_z_bar[t, b, 3, k] = (
                    lstm_o[t, b, k]
                    * tanh_lstm_s[t, b, k]
                    * lstm_h_bar[t + 1, b, k]
                    * (real(1.0) - lstm_o[t, b, k])
                )
                lstm_z_bar[t, b, 2, k] = (
                    lstm_i[t, b, k]
                    * lstm_s_bar[t + 1, b, k]
                    * (real(1.0) - lstm_g[t, b, k] * lstm_g[t, b, k])
                )
                lstm_z_bar[t, b, 1, k] = (
                    lstm_f[t, b, k]
                    * lstm_s[t, b, k]
                    * lstm_s_bar[t + 1, b, k]
                    * (real(1.0) - lstm_f[t, b, k])
                )
                lstm_z_bar[t, b, 0, k] = (
                    lstm_i[t, b, k]
                    * lstm_g[t, b, k]
                    * lstm_s_bar[t + 1, b, k]
                    * (real(1.0) - lstm_i[t, b, k])
                )
        # lstm_h_bar[t, b, k] = sum[q, l] lstm_U[k, q, l]*lstm_z_bar[t, b, q, l]
        matmul(
            view(lstm_z_bar, 0, (n_time, rows, 64))[t],
            view(lstm_U, 0, (16, 64)).T,
            lstm_h_bar[t],
        )

    # lstm_c_bar_part[q, k] = sum[b, t] lstm_z_bar[t, b, q, k]
    for q in range(4):
        for k in range(16):
            lstm_c_bar_part[q, k] = real(0.0)
        for t in range(n_time):
            for b in range(rows):
                for k in range(16):
                    lstm_c_bar_part[q, k] += lstm_z_bar[t, b, q, k]

    # lstm_W_bar_part[j, q, k] = sum[b, t] x[b, t, j]*lstm_z_bar[t, b, q, k]
    lstm_W_bar_part[:, :, :] = real(0.0)
    for b in range(rows):
        matmul_add(
            x[b].T,
            view(lstm_z_bar, 0, (n_time, rows, 64))[:, b],
            view(lstm_W_bar_part, 0, (8, 64)),
        )

    # lstm_U_bar_part[l, q, k] = sum[b, t] lstm_h[t, b, l]*lstm_z_bar[t, b, q, k]
    matmul(
        view(lstm_h, 0, (n_time * rows + rows, 16))[: n_time * rows].T,
        view(lstm_z_bar, 0, (n_time * rows, 64)),
        view(lstm_U_bar_part, 0, (16, 64)),
    )


@piece
def loss_of_rows(x, workspace):
    """The loss, from what all samples have left."""
    n_batch = x.shape[0]
    chunks = chunk_count(n_batch, 16, 8)
    loss_part = view(workspace, 1610 * chunks + 26 * n_batch, (chunks,))

    # loss = sum[c] loss_part[c]
    total = real(0.0)
    for c in range(chunks):
        total += loss_part[c]
    loss = total

    return loss


@piece
def gradients_share(x, workspace, grads, part, parts):
    """One of several equal shares of the gradients."""
    n_batch = x.shape[0]
    chunks = chunk_count(n_batch, 16, 8)
    first_8, last_8 = share(8, part, parts)
    first_16, last_16 = share(16, part, parts)
    first_10, last_10 = share(10, part, parts)
    lstm = view(workspace, 0, (n_batch, 16))
    lstm_W_bar = view(grads, 0, (8, 4, 16))
    lstm_U_bar = view(grads, 512, (16, 4, 16))
    lstm_c_bar = view(grads, 1536, (4, 16))
    out_W_bar = view(grads, 1600, (16, 10))
    out_c_bar = view(grads, 1760, (10,))
    out_bar = view(workspace, 1600 * chunks + 16 * n_batch, (n_batch, 10))
    out_c_bar_part = view(workspace, 1600 * chunks + 26 * n_batch, (chunks, 10))
    lstm_c_bar_part = view(workspace, 16 * n_batch, (chunks, 4, 16))
    lstm_W_bar_part = view(workspace, 64 * chunks + 16 * n_batch, (chunks, 8, 4, 16))
    lstm_U_bar_part = view(workspace, 576 * chunks + 16 * n_batch, (chunks, 16, 4, 16))

    # out_c_bar[k] = sum[c] out_c_bar_part[c, k]
    for k in range(first_10, last_10):
        out_c_bar[k] = real(0.0)
    for c in range(chunks):
        for k in range(first_10, last_10):
            out_c_bar[k] += out_c_bar_part[c, k]

    # out_W_bar[k, k2] = sum[b] lstm[b, k]*out_bar[b, k2]
    matmul(lstm[:, first_16:last_16].T, out_bar, out_W_bar[first_16:last_16])

    # lstm_c_bar[q, k] = sum[c] lstm_c_bar_part[c, q, k]
    for q in range(4):
        for k in range(first_16, last_16):
            lstm_c_bar[q, k] = real(0.0)
        for c in range(chunks):
            for k in range(first_16, last_16):
                lstm_c_bar[q, k] += lstm_c_bar_part[c, q, k]

    # lstm_W_bar[j, q, k] = sum[c] lstm_W_bar_part[c, j, q, k]
    for j in range(first_8, last_8):
        for q in range(4):
            for k in range(16):
                lstm_W_bar[j, q, k] = real(0.0)
            for c in range(chunks):
                for k in range(16):
                    lstm_W_bar[j, q, k] += lstm_W_bar_part[c, j, q, k]

    # lstm_U_bar[l, q, k] = sum[c] lstm_U_bar_part[c, l, q, k]
    for l in range(first_16, last_16):
        for q in range(4):
            for k in range(16):
                lstm_U_bar[l, q, k] = real(0.0)
            for c in range(chunks):
                for k in range(16):
                    lstm_U_bar[l, q, k] += lstm_U_bar_part[c, l, q, k]


def _predict(params, x, chunk, out):
    """Evaluate the model.

    Up to 16 samples at a time, by a worker for each row of `chunk`: the result is
    the same for any number of them.
    """
    n_batch = x.shape[0]
    chunks = chunk_count(n_batch, 16, 8)
    workers = chunk.shape[0]
    for worker in prange(workers):
        for number in range(worker, chunks, workers):
            begin, end = share(n_batch, number, chunks, 8)
            predict_rows(params, x, chunk[worker], out, begin, end)


predict_into = kernel(_predict)
predict_threads = kernel(_predict, parallel=True)


def _forward(params, x, label, workspace, chunk):
    """Evaluate the loss.

    Up to 16 samples at a time, by a worker for each row of `chunk`: the result is
    the same for any number of them.
    """
    n_batch = x.shape[0]
    chunks = chunk_count(n_batch, 16, 8)
    workers = chunk.shape[0]
    for worker in prange(workers):
        for number in range(worker, chunks, workers):
            begin, end = share(n_batch, number, chunks, 8)
            forward_rows(params, x, label, workspace, chunk[worker], begin, end, number)
    loss = loss_of_rows(x, workspace)
    return loss


forward = kernel(_forward)
forward_threads = kernel(_forward, parallel=True)


def _loss_and_grad(params, x, label, workspace, chunk, grads):
    """Write the gradient of the loss to `grads`; return the loss.

    Up to 16 samples at a time, by a worker for each row of `chunk`: the result is
    the same for any number of them.
    """
    n_batch = x.shape[0]
    chunks = chunk_count(n_batch, 16, 8)
    workers = chunk.shape[0]
    for worker in prange(workers):
        for number in range(worker, chunks, workers):
            begin, end = share(n_batch, number, chunks, 8)
            forward_rows(params, x, label, workspace, chunk[worker], begin, end, number)
            backward_rows(
                params, x, label, workspace, chunk[worker], begin, end, number
            )
    loss = loss_of_rows(x, workspace)
    for worker in prange(workers):
        gradients_share(x, workspace, grads, np.int64(worker), workers)
    return loss


loss_and_grad_into = kernel(_loss_and_grad)
loss_and_grad_threads = kernel(_loss_and_grad, parallel=True)

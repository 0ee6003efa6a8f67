"""Kernels of convolution, in float32: plain functions that Numba compiles.

Written by symbp 0.1.0 from the spec 32edf58ba97b: change the spec, not this file.
Each group of loops is headed by the equation that it carries out. Arrays are
C-contiguous; the interface in `__init__.py` has checked them.
"""

import math

import numpy as np
from numba import prange

from ._runtime.contraction import matmul, matmul_add
from ._runtime.convolution import convolve, correlate
from ._runtime.jit import kernel, piece
from ._runtime.scalar import exp, log, maximum, relu, step
from ._runtime.shares import chunk_count, share
from ._runtime.views import view

real = np.float32


@piece
def predict_rows(params, x, chunk, out, first, last):
    """Evaluate the model for the samples `first` to `last - 1`."""
    rows = last - first
    conv_K = view(params, 0, (4, 1, 3, 3))
    conv_c = view(params, 36, (4,))
    out_W = view(params, 40, (100, 5))
    out_c = view(params, 540, (5,))
    x = view(x, 144 * first, (rows, 1, 12, 12))
    conv = view(chunk, 34816, (10, 10, rows))
    pool = view(chunk, 41216, (4, 5, 5, rows))
    flatten = view(chunk, 34816, (rows, 100))
    out = view(out, 5 * first, (rows, 5))
    conv_z_sum = view(chunk, 9216, (4, 10, 10, rows))
    x_lanes = view(chunk, 0, (1, 12, 12, rows))

    # x_lanes[c, i, j, b] = x[b, c, i, j]
    for c in range(1):
        for i in range(12):
            for j in range(12):
                for b in range(rows):
                    x_lanes[c, i, j, b] = x[b, c, i, j]

    # conv_z_sum[o, p, q, b] = sum[c, u, v] x_lanes[c, p + u, q + v, b]
    #     *conv_K[o, c, u, v]
    convolve("o c u v, c p+u q+v b -> o p q b", conv_K, x_lanes, conv_z_sum)

    for o in range(4):
        # conv[o, p, q, b] = relu(conv_z_sum[o, p, q, b] + conv_c[o])
        for p in range(10):
            for q in range(10):
                conv_c_o = conv_c[o]
                for b in range(rows):
                    conv[p, q, b] = relu(conv_z_sum[o, p, q, b] + conv_c_o)
        # pool[o, p, q, b] = max[u, v] conv[o, 2*p + u, 2*q + v, b]
        for p in range(5):
            for q in range(5):
                for b in range(rows):
                    best = real(-math.inf)
                    for u in range(2):
                        for v in range(2):
                            best = maximum(best, conv[2 * p + u, 2 * q + v, b])
                    pool[o, p, q, b] = best

    for b in range(rows):
        # flatten[b, 25*o + 5*p + q] = pool[o, p, q, b]
        for o in range(4):
            for p in range(5):
                for q in range(5):
                    flatten[b, 25 * o + 5 * p + q] = pool[o, p, q, b]
        # out[b, k] = out_c[k]
        for k in range(5):
            out[b, k] = out_c[k]

    # out[b, k] += sum[m] flatten[b, m]*out_W[m, k]
    matmul_add(flatten, out_W, out)


@piece
def forward_rows(params, x, label, workspace, chunk, first, last, number):
    """Evaluate the samples `first` to `last - 1`."""
    n_batch = x.shape[0]
    chunks = chunk_count(n_batch, 64, 16)
    rows = last - first
    conv_K = view(params, 0, (4, 1, 3, 3))
    conv_c = view(params, 36, (4,))
    out_W = view(params, 40, (100, 5))
    out_c = view(params, 540, (5,))
    x = view(x, 144 * first, (rows, 1, 12, 12))
    label = view(label, first, (rows,))
    conv = view(chunk, 34816, (4, 10, 10, rows))
    pool = view(chunk, 60416, (4, 5, 5, rows))
    flatten = view(chunk, 66816, (rows, 100))
    out = view(chunk, 73216, (rows, 5))
    conv_z_sum = view(chunk, 9216, (4, 10, 10, rows))
    loss_max = view(chunk, 73536, (rows,))
    loss_total = view(chunk, 73600, (rows,))
    loss_exp = view(chunk, 73664, (rows, 5))
    log_loss_total = view(chunk, 73984, (rows,))
    loss_part = view(workspace, 540 * chunks + number, (1,))
    x_lanes = view(chunk, 0, (1, 12, 12, rows))

    # x_lanes[c, i, j, b] = x[b, c, i, j]
    for c in range(1):
        for i in range(12):
            for j in range(12):
                for b in range(rows):
                    x_lanes[c, i, j, b] = x[b, c, i, j]

    # conv_z_sum[o, p, q, b] = sum[c, u, v] x_lanes[c, p + u, q + v, b]
    #     *conv_K[o, c, u, v]
    convolve("o c u v, c p+u q+v b -> o p q b", conv_K, x_lanes, conv_z_sum)

    for o in range(4):
        # conv[o, p, q, b] = relu(conv_z_sum[o, p, q, b] + conv_c[o])
        for p in range(10):
            for q in range(10):
                conv_c_o = conv_c[o]
                for b in range(rows):
                    conv[o, p, q, b] = relu(conv_z_sum[o, p, q, b] + conv_c_o)
        # pool[o, p, q, b] = max[u, v] conv[o, 2*p + u, 2*q + v, b]
        for p in range(5):
            for q in range(5):
                for b in range(rows):
                    best = real(-math.inf)
                    for u in range(2):
                        for v in range(2):
                            best = maximum(best, conv[o, 2 * p + u, 2 * q + v, b])
                    pool[o, p, q, b] = best

    for b in range(rows):
        # flatten[b, 25*o + 5*p + q] = pool[o, p, q, b]
        for o in range(4):
            for p in range(5):
                for q in range(5):
                    flatten[b, 25 * o + 5 * p + q] = pool[o, p, q, b]
        # out[b, k] = out_c[k]
        for k in range(5):
            out[b, k] = out_c[k]

    # out[b, k] += sum[m] flatten[b, m]*out_W[m, k]
    matmul_add(flatten, out_W, out)

    for b in range(rows):
        # loss_max[b] = max[k] stop_gradient(out[b, k])
        best = real(-math.inf)
        for k in range(5):
            best = maximum(best, out[b, k])
        loss_max[b] = best
        # loss_exp[b, k] = exp(out[b, k] - loss_max[b])
        for k in range(5):
            loss_exp[b, k] = exp(out[b, k] - loss_max[b])
        # loss_total[b] = sum[k] loss_exp[b, k]
        total = real(0.0)
        for k in range(5):
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
def backward_rows(
    params, label, workspace, chunk, chunk_positions, first, last, number
):
    """Differentiate the same samples; follows `forward_rows`."""
    n_batch = label.shape[0]
    chunks = chunk_count(n_batch, 64, 16)
    rows = last - first
    out_W = view(params, 40, (100, 5))
    label = view(label, first, (rows,))
    conv = view(chunk, 34816, (4, 10, 10, rows))
    flatten = view(chunk, 66816, (rows, 100))
    loss_total = view(chunk, 73600, (rows,))
    loss_exp = view(chunk, 73664, (rows, 5))
    pool_argmax = view(chunk_positions, 0, (5, rows))
    conv_z_bar = view(chunk, 9216, (4, 10, 10, rows))
    flatten_bar = view(chunk, 60416, (rows, 100))
    out_bar = view(chunk, 73216, (rows, 5))
    out_c_bar_part = view(workspace, 541 * chunks + 5 * number, (5,))
    out_W_bar_part = view(workspace, 500 * number, (100, 5))
    conv_c_bar_part = view(workspace, 500 * chunks + 4 * number, (4,))
    conv_K_bar_part = view(workspace, 504 * chunks + 36 * number, (4, 1, 3, 3))
    x_lanes = view(chunk, 0, (1, 12, 12, rows))
    flatten_bar_lanes = view(chunk, 74048, (100, rows))
    conv_c_bar_part_lanes = view(chunk, 73536, (rows,))

    # out_bar[b, k] = (loss_exp[b, k]/loss_total[b] - select(k == label[b], 1, 0))
    #     /n_batch
    # out_c_bar_part[k] = sum[b] out_bar[b, k]
    out_c_bar_part[:] = real(0.0)
    for b in range(rows):
        for k in range(5):
            out_bar[b, k] = (
                loss_exp[b, k] / loss_total[b]
                - (real(1.0) if k == label[b] else real(0.0))
            ) / real(n_batch)
            out_c_bar_part[k] += out_bar[b, k]

    # flatten_bar[b, m] = sum[k] out_W[m, k]*out_bar[b, k]
    matmul(out_bar, out_W.T, flatten_bar)

    # flatten_bar_lanes[m, b] = flatten_bar[b, m]
    for m in range(100):
        for b in range(rows):
            flatten_bar_lanes[m, b] = flatten_bar[b, m]

    for o in range(4):
        for p in range(5):
            # pool_argmax[o, p, q, b] = argmax[u, v] conv[o, 2*p + u, 2*q + v, b]
            for q in range(5):
                for b in range(rows):
                    best = real(-math.inf)
                    place = -1
                    for u in range(2):
                        for v in range(2):
                            value = conv[o, 2 * p + u, 2 * q + v, b]
                            if value > best:
                                best = value
                                place = 2 * u + v
                    pool_argmax[q, b] = place
            # conv_z_bar[o, 2*p + u, 2*q + v, b] = select(pool_argmax[o, p, q, b] == (2
            #     *u + v), flatten_bar_lanes[25*o + 5*p + q, b], 0)
            #     *step(conv[o, 2*p + u, 2*q + v, b])
            for u in range(2):
                for q in range(5):
                    for v in range(2):
                        for b in range(rows):
                            conv_z_bar[o, 2 * p + u, 2 * q + v, b] = (
                                (
                                    flatten_bar_lanes[25 * o + 5 * p + q, b]
                                    if pool_argmax[q, b] == 2 * u + v
                                    else real(0.0)
                                )
                                * step(conv[o, 2 * p + u, 2 * q + v, b])
                            )
        # conv_c_bar_part_lanes[o, b] = sum[p, q] conv_z_bar[o, p, q, b]
        for b in range(rows):
            conv_c_bar_part_lanes[b] = real(0.0)
        for p in range(10):
            for q in range(10):
                for b in range(rows):
                    conv_c_bar_part_lanes[b] += conv_z_bar[o, p, q, b]
        # conv_c_bar_part[o] = sum[b] conv_c_bar_part_lanes[o, b]
        total = real(0.0)
        for b in range(rows):
            total += conv_c_bar_part_lanes[b]
        conv_c_bar_part[o] = total

    # out_W_bar_part[m, k] = sum[b] flatten[b, m]*out_bar[b, k]
    matmul(flatten.T, out_bar, out_W_bar_part)

    # conv_K_bar_part[o, c, u, v] = sum[b, p, q] x_lanes[c, p + u, q + v, b]
    #     *conv_z_bar[o, p, q, b]
    correlate("o p q b, c p+u q+v b -> o c u v", conv_z_bar, x_lanes, conv_K_bar_part)


@piece
def loss_of_rows(x, workspace):
    """The loss, from what all samples have left."""
    n_batch = x.shape[0]
    chunks = chunk_count(n_batch, 64, 16)
    loss_part = view(workspace, 540 * chunks, (chunks,))

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
    chunks = chunk_count(n_batch, 64, 16)
    first_4, last_4 = share(4, part, parts)
    first_100, last_100 = share(100, part, parts)
    first_5, last_5 = share(5, part, parts)
    conv_K_bar = view(grads, 0, (4, 1, 3, 3))
    conv_c_bar = view(grads, 36, (4,))
    out_W_bar = view(grads, 40, (100, 5))
    out_c_bar = view(grads, 540, (5,))
    out_c_bar_part = view(workspace, 541 * chunks, (chunks, 5))
    out_W_bar_part = view(workspace, 0, (chunks, 100, 5))
    conv_c_bar_part = view(workspace, 500 * chunks, (chunks, 4))
    conv_K_bar_part = view(workspace, 504 * chunks, (chunks, 4, 1, 3, 3))

    # out_c_bar[k] = sum[c] out_c_bar_part[c, k]
    for k in range(first_5, last_5):
        out_c_bar[k] = real(0.0)
    for c in range(chunks):
        for k in range(first_5, last_5):
            out_c_bar[k] += out_c_bar_part[c, k]

    # out_W_bar[m, k] = sum[c] out_W_bar_part[c, m, k]
    for m in range(first_100, last_100):
        for k in range(5):
            out_W_bar[m, k] = real(0.0)
        for c in range(chunks):
            for k in range(5):
                out_W_bar[m, k] += out_W_bar_part[c, m, k]

    # conv_c_bar[o] = sum[c] conv_c_bar_part[c, o]
    for o in range(first_4, last_4):
        conv_c_bar[o] = real(0.0)
    for c in range(chunks):
        for o in range(first_4, last_4):
            conv_c_bar[o] += conv_c_bar_part[c, o]

    # conv_K_bar[o, c, u, v] = sum[c2] conv_K_bar_part[c2, o, c, u, v]
    for o in range(first_4, last_4):
        for c in range(1):
            for u in range(3):
                for v in range(3):
                    total = real(0.0)
                    for c2 in range(chunks):
                        total += conv_K_bar_part[c2, o, c, u, v]
                    conv_K_bar[o, c, u, v] = total


def _predict(params, x, chunk, out):
    """Evaluate the model.

    Up to 64 samples at a time, by a worker for each row of `chunk`: the result is
    the same for any number of them.
    """
    n_batch = x.shape[0]
    chunks = chunk_count(n_batch, 64, 16)
    workers = chunk.shape[0]
    for worker in prange(workers):
        for number in range(worker, chunks, workers):
            begin, end = share(n_batch, number, chunks, 16)
            predict_rows(params, x, chunk[worker], out, begin, end)


predict_into = kernel(_predict)
predict_threads = kernel(_predict, parallel=True)


def _forward(params, x, label, workspace, chunk):
    """Evaluate the loss.

    Up to 64 samples at a time, by a worker for each row of `chunk`: the result is
    the same for any number of them.
    """
    n_batch = x.shape[0]
    chunks = chunk_count(n_batch, 64, 16)
    workers = chunk.shape[0]
    for worker in prange(workers):
        for number in range(worker, chunks, workers):
            begin, end = share(n_batch, number, chunks, 16)
            forward_rows(params, x, label, workspace, chunk[worker], begin, end, number)
    loss = loss_of_rows(x, workspace)
    return loss


forward = kernel(_forward)
forward_threads = kernel(_forward, parallel=True)


def _loss_and_grad(params, x, label, workspace, chunk, chunk_positions, grads):
    """Write the gradient of the loss to `grads`; return the loss.

    Up to 64 samples at a time, by a worker for each row of `chunk`: the result is
    the same for any number of them.
    """
    n_batch = x.shape[0]
    chunks = chunk_count(n_batch, 64, 16)
    workers = chunk.shape[0]
    for worker in prange(workers):
        for number in range(worker, chunks, workers):
            begin, end = share(n_batch, number, chunks, 16)
            forward_rows(params, x, label, workspace, chunk[worker], begin, end, number)
            backward_rows(
                params,
                label,
                workspace,
                chunk[worker],
                chunk_positions[worker],
                begin,
                end,
                number,
            )
    loss = loss_of_rows(x, workspace)
    for worker in prange(workers):
        gradients_share(x, workspace, grads, np.int64(worker), workers)
    return loss


loss_and_grad_into = kernel(_loss_and_grad)
loss_and_grad_threads = kernel(_loss_and_grad, parallel=True)

"""Kernels of volterra, in float32: plain functions that Numba compiles.

Written by symbp 0.1.0 from the spec 95d3960ee973: change the spec, not this file.
Each group of loops is headed by the equation that it carries out. Arrays are
C-contiguous; the interface in `__init__.py` has checked them.
"""

import numpy as np
from numba import prange

from ._runtime.convolution import correlate
from ._runtime.jit import kernel, piece
from ._runtime.scalar import tanh
from ._runtime.shares import chunk_count, share
from ._runtime.views import apart, view

real = np.float32


@kernel
def predict_into(params, x, workspace, memory):
    """Evaluate the model."""
    n_batch = x.shape[0]
    a = view(params, 0, (12,))
    start = view(params, 12, (6,))
    x = view(x, 0, (n_batch, 12, 6))
    h = view(workspace, 0, (13, n_batch, 6))
    memory = view(memory, 0, (n_batch, 12, 6))

    # h[0, b, k] = start[k]
    for b in range(n_batch):
        for k in range(6):
            h[0, b, k] = start[k]

    for t in range(12):
        for b in range(n_batch):
            b = apart(b)
            # memory[b, t, k] = sum[s] a[t - s]*h[s, b, k]    where t >= s
            for k in range(6):
                memory[b, t, k] = real(0.0)
            for s in range(t + 1):
                s = apart(s)
                for k in range(6):
                    memory[b, t, k] += a[t - s] * h[s, b, k]
            # h[t + 1, b, k] = tanh(x[b, t, k] + memory[b, t, k])
            for k in range(6):
                h[t + 1, b, k] = tanh(x[b, t, k] + memory[b, t, k])


@piece
def forward_rows(params, x, workspace, chunk, first, last, number):
    """Evaluate the samples `first` to `last - 1`."""
    n_batch = x.shape[0]
    chunks = chunk_count(n_batch, 128, 64)
    rows = last - first
    a = view(params, 0, (12,))
    start = view(params, 12, (6,))
    x = view(x, 72 * first, (rows, 12, 6))
    h = view(chunk, 0, (13, rows, 6))
    memory = view(chunk, 29184, (6,))
    loss_part = view(workspace, 18 * chunks + number, (1,))

    # h[0, b, k] = start[k]
    for b in range(rows):
        for k in range(6):
            h[0, b, k] = start[k]

    for t in range(12):
        for b in range(rows):
            # memory[t, b, k] = sum[s] a[t - s]*h[s, b, k]    where t >= s
            for k in range(6):
                memory[k] = real(0.0)
            for s in range(t + 1):
                for k in range(6):
                    memory[k] += a[t - s] * h[s, b, k]
            # h[t + 1, b, k] = tanh(x[b, t, k] + memory[t, b, k])
            for k in range(6):
                h[t + 1, b, k] = tanh(x[b, t, k] + memory[k])

    # loss_part = sum[b, t, k] h[t + 1, b, k]**2/(72*n_batch)
    total = real(0.0)
    for t in range(12):
        for b in range(rows):
            for k in range(6):
                total += h[t + 1, b, k] * h[t + 1, b, k]
    loss_part[0] = total / (real(72.0) * real(n_batch))


@piece
def backward_rows(params, x, workspace, chunk, first, last, number):
    """Differentiate the same samples; follows `forward_rows`."""
    n_batch = x.shape[0]
    chunks = chunk_count(n_batch, 128, 64)
    rows = last - first
    a = view(params, 0, (12,))
    h = view(chunk, 0, (13, rows, 6))
    h_bar = view(chunk, 9984, (13, rows, 6))
    h_pre_bar = view(chunk, 19968, (12, rows, 6))
    a_bar_part = view(workspace, 12 * number, (12,))
    start_bar_part = view(workspace, 12 * chunks + 6 * number, (6,))

    # h_bar[t, b, k] += h[t, b, k]/(36*n_batch)
    h_bar[:, :, :] = real(0.0)
    for t in range(1, 13):
        for b in range(rows):
            for k in range(6):
                h_bar[t, b, k] += h[t, b, k] / (real(36.0) * real(n_batch))

    for t in range(11, -1, -1):
        for b in range(rows):
            # h_pre_bar[t, b, k] = h_bar[t + 1, b, k]*(1 - h[t + 1, b, k]**2)
            for k in range(6):
                h_pre_bar[t, b, k] = (
                    h_bar[t + 1, b, k] * (real(1.0) - h[t + 1, b, k] * h[t + 1, b, k])
                )
            # h_bar[t, b, k] += sum[s] a[s - t]*h_pre_bar[s, b, k]
            #     where s >= t
            for s in range(t, 12):
                for k in range(6):
                    h_bar[t, b, k] += a[s - t] * h_pre_bar[s, b, k]

    # a_bar_part[t] = sum[b, k, s] h[s, b, k]*h_pre_bar[s + t, b, k]
    #     where s + t <= 11
    correlate("s b k, s+t b k -> t", h[:12], h_pre_bar, a_bar_part)

    # start_bar_part[k] = sum[b] h_bar[0, b, k]
    start_bar_part[:] = real(0.0)
    for b in range(rows):
        for k in range(6):
            start_bar_part[k] += h_bar[0, b, k]


@piece
def loss_of_rows(x, workspace):
    """The loss, from what all samples have left."""
    n_batch = x.shape[0]
    chunks = chunk_count(n_batch, 128, 64)
    loss_part = view(workspace, 18 * chunks, (chunks,))

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
    chunks = chunk_count(n_batch, 128, 64)
    first_12, last_12 = share(12, part, parts)
    first_6, last_6 = share(6, part, parts)
    a_bar = view(grads, 0, (12,))
    start_bar = view(grads, 12, (6,))
    a_bar_part = view(workspace, 0, (chunks, 12))
    start_bar_part = view(workspace, 12 * chunks, (chunks, 6))

    # a_bar[t] = sum[c] a_bar_part[c, t]
    for t in range(first_12, last_12):
        a_bar[t] = real(0.0)
    for c in range(chunks):
        for t in range(first_12, last_12):
            a_bar[t] += a_bar_part[c, t]

    # start_bar[k] = sum[c] start_bar_part[c, k]
    for k in range(first_6, last_6):
        start_bar[k] = real(0.0)
    for c in range(chunks):
        for k in range(first_6, last_6):
            start_bar[k] += start_bar_part[c, k]


def _forward(params, x, workspace, chunk):
    """Evaluate the loss.

    Up to 128 samples at a time, by a worker for each row of `chunk`: the result is
    the same for any number of them.
    """
    n_batch = x.shape[0]
    chunks = chunk_count(n_batch, 128, 64)
    workers = chunk.shape[0]
    for worker in prange(workers):
        for number in range(worker, chunks, workers):
            begin, end = share(n_batch, number, chunks, 16)
            forward_rows(params, x, workspace, chunk[worker], begin, end, number)
    loss = loss_of_rows(x, workspace)
    return loss


forward = kernel(_forward)
forward_threads = kernel(_forward, parallel=True)


def _loss_and_grad(params, x, workspace, chunk, grads):
    """Write the gradient of the loss to `grads`; return the loss.

    Up to 128 samples at a time, by a worker for each row of `chunk`: the result is
    the same for any number of them.
    """
    n_batch = x.shape[0]
    chunks = chunk_count(n_batch, 128, 64)
    workers = chunk.shape[0]
    for worker in prange(workers):
        for number in range(worker, chunks, workers):
            begin, end = share(n_batch, number, chunks, 16)
            forward_rows(params, x, workspace, chunk[worker], begin, end, number)
            backward_rows(params, x, workspace, chunk[worker], begin, end, number)
    loss = loss_of_rows(x, workspace)
    for worker in prange(workers):
        gradients_share(x, workspace, grads, np.int64(worker), workers)
    return loss


loss_and_grad_into = kernel(_loss_and_grad)
loss_and_grad_threads = kernel(_loss_and_grad, parallel=True)

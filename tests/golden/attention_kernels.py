"""Kernels of attention, in float32: plain functions that Numba compiles.

Written by symbp 0.1.0 from the spec 0c3a9bbe7a93: change the spec, not this file.
Each group of loops is headed by the equation that it carries out. Arrays are
C-contiguous; the interface in `__init__.py` has checked them.
"""

import math

import numpy as np
from numba import prange

from ._runtime.contraction import (
    matmul,
    matmul_add,
    matmul_add_of_upper,
    matmul_lower,
    matmul_of_lower,
    matmul_of_upper,
)
from ._runtime.jit import kernel, piece
from ._runtime.scalar import exp, maximum, square
from ._runtime.shares import chunk_count, share
from ._runtime.views import view

real = np.float32


@piece
def predict_rows(params, x, chunk, attention, first, last):
    """Evaluate the model for the samples `first` to `last - 1`."""
    n_time = x.shape[1]
    rows = last - first
    attention_Q = view(params, 0, (8, 2, 4))
    attention_c_q = view(params, 64, (2, 4))
    attention_K = view(params, 72, (8, 2, 4))
    attention_c_k = view(params, 136, (2, 4))
    attention_V = view(params, 144, (8, 2, 4))
    attention_c_v = view(params, 208, (2, 4))
    attention_W = view(params, 216, (2, 4, 8))
    attention_c = view(params, 280, (8,))
    x = view(x, 8 * first * n_time, (rows, n_time, 8))
    attention_q_head = view(chunk, 0, (rows, n_time, 2, 4))
    attention_k_head = view(chunk, 128 * n_time, (rows, n_time, 2, 4))
    attention_v_head = view(chunk, 256 * n_time, (rows, n_time, 2, 4))
    attention_a = view(chunk, 384 * n_time, (256, n_time))
    attention_p = view(chunk, 640 * n_time, (256, n_time))
    attention_o = view(chunk, 896 * n_time, (rows, n_time, 2, 4))
    attention = view(attention, 8 * first * n_time, (rows, n_time, 8))
    attention_p_exp = view(chunk, 1024 * n_time, (n_time,))

    # attention_q_head[b, t, h, e] = attention_c_q[h, e]
    # attention_k_head[b, t, h, e] = attention_c_k[h, e]
    # attention_v_head[b, t, h, e] = attention_c_v[h, e]
    for b in range(rows):
        for t in range(n_time):
            for h in range(2):
                for e in range(4):
                    attention_q_head[b, t, h, e] = attention_c_q[h, e]
                    attention_k_head[b, t, h, e] = attention_c_k[h, e]
                    attention_v_head[b, t, h, e] = attention_c_v[h, e]

    # attention_q_head[b, t, h, e] += sum[e2] x[b, t, e2]*attention_Q[e2, h, e]
    matmul_add(
        view(x, 0, (n_time * rows, 8)),
        view(attention_Q, 0, (8, 8)),
        view(attention_q_head, 0, (n_time * rows, 8)),
    )

    # attention_k_head[b, t, h, e] += sum[e2] x[b, t, e2]*attention_K[e2, h, e]
    matmul_add(
        view(x, 0, (n_time * rows, 8)),
        view(attention_K, 0, (8, 8)),
        view(attention_k_head, 0, (n_time * rows, 8)),
    )

    # attention_v_head[b, t, h, e] += sum[e2] x[b, t, e2]*attention_V[e2, h, e]
    matmul_add(
        view(x, 0, (n_time * rows, 8)),
        view(attention_V, 0, (8, 8)),
        view(attention_v_head, 0, (n_time * rows, 8)),
    )

    for b in range(rows):
        for h in range(2):
            for t_first in range(0, n_time, 256):
                t_last = min(t_first + 256, n_time)
                # attention_a[b, h, t, s] = sum[e] attention_q_head[b, t, h, e]
                #     *attention_k_head[b, s, h, e]/2
                #     where t >= s
                matmul_lower(
                    attention_q_head[b, t_first:t_last, h],
                    attention_k_head[b, :t_last, h].T,
                    attention_a[: t_last - t_first, :t_last],
                    t_first,
                )
                for t in range(t_first, t_last):
                    for s in range(t + 1):
                        attention_a[t - t_first, s] = (
                            real(0.5) * attention_a[t - t_first, s]
                        )
                    # attention_p_max[b, h, t] =
                    #     max[s] stop_gradient(attention_a[b, h, t, s])
                    #     where t >= s
                    attention_p_max = real(-math.inf)
                    for s in range(t + 1):
                        attention_p_max = maximum(
                            attention_p_max, attention_a[t - t_first, s]
                        )
                    # attention_p_exp[b, h, t, s] = exp(attention_a[b, h, t, s]
                    #     - attention_p_max[b, h, t])
                    #     where t >= s
                    for s in range(t + 1):
                        attention_p_exp[s] = exp(
                            attention_a[t - t_first, s] - attention_p_max
                        )
                    # attention_p_total[b, h, t] = sum[s] attention_p_exp[b, h, t, s]
                    #     where t >= s
                    attention_p_total = real(0.0)
                    for s in range(t + 1):
                        attention_p_total += attention_p_exp[s]
                    # attention_p[b, h, t, s] = attention_p_exp[b, h, t, s]
                    #     /attention_p_total[b, h, t]
                    #     where t >= s
                    for s in range(t + 1):
                        attention_p[t - t_first, s] = (
                            attention_p_exp[s] / attention_p_total
                        )
                # attention_o[b, t, h, e] = sum[s] attention_v_head[b, s, h, e]
                #     *attention_p[b, h, t, s]
                #     where t >= s
                matmul_of_lower(
                    attention_p[: t_last - t_first],
                    attention_v_head[b, :, h],
                    attention_o[b, t_first:t_last, h],
                    t_first,
                )
        # attention[b, t, m] = attention_c[m]
        for t in range(n_time):
            for m in range(8):
                attention[b, t, m] = attention_c[m]

    # attention[b, t, m] += sum[h, e] attention_o[b, t, h, e]*attention_W[h, e, m]
    matmul_add(
        view(attention_o, 0, (n_time * rows, 8)),
        view(attention_W, 0, (8, 8)),
        view(attention, 0, (n_time * rows, 8)),
    )


@piece
def forward_rows(params, x, y, workspace, chunk, first, last, number):
    """Evaluate the samples `first` to `last - 1`."""
    n_batch = x.shape[0]
    n_time = x.shape[1]
    chunks = chunk_count(n_batch, 8, 4)
    rows = last - first
    attention_Q = view(params, 0, (8, 2, 4))
    attention_c_q = view(params, 64, (2, 4))
    attention_K = view(params, 72, (8, 2, 4))
    attention_c_k = view(params, 136, (2, 4))
    attention_V = view(params, 144, (8, 2, 4))
    attention_c_v = view(params, 208, (2, 4))
    attention_W = view(params, 216, (2, 4, 8))
    attention_c = view(params, 280, (8,))
    x = view(x, 8 * first * n_time, (rows, n_time, 8))
    y = view(y, 8 * first * n_time, (rows, n_time, 8))
    attention_q_head = view(chunk, 0, (rows, n_time, 2, 4))
    attention_k_head = view(chunk, 64 * n_time, (rows, n_time, 2, 4))
    attention_v_head = view(chunk, 128 * n_time, (rows, n_time, 2, 4))
    attention_a = view(chunk, 192 * n_time, (256, n_time))
    attention_p = view(chunk, 448 * n_time, (rows, 2, n_time, n_time))
    attention_o = view(chunk, 448 * n_time + 16 * n_time * n_time, (rows, n_time, 2, 4))
    attention = view(chunk, 512 * n_time + 16 * n_time * n_time, (rows, n_time, 8))
    attention_p_exp = view(chunk, 960 * n_time + 16 * n_time * n_time, (n_time,))
    loss_part = view(workspace, 288 * chunks + number, (1,))

    # attention_q_head[b, t, h, e] = attention_c_q[h, e]
    # attention_k_head[b, t, h, e] = attention_c_k[h, e]
    # attention_v_head[b, t, h, e] = attention_c_v[h, e]
    for b in range(rows):
        for t in range(n_time):
            for h in range(2):
                for e in range(4):
                    attention_q_head[b, t, h, e] = attention_c_q[h, e]
                    attention_k_head[b, t, h, e] = attention_c_k[h, e]
                    attention_v_head[b, t, h, e] = attention_c_v[h, e]

    # attention_q_head[b, t, h, e] += sum[e2] x[b, t, e2]*attention_Q[e2, h, e]
    matmul_add(
        view(x, 0, (n_time * rows, 8)),
        view(attention_Q, 0, (8, 8)),
        view(attention_q_head, 0, (n_time * rows, 8)),
    )

    # attention_k_head[b, t, h, e] += sum[e2] x[b, t, e2]*attention_K[e2, h, e]
    matmul_add(
        view(x, 0, (n_time * rows, 8)),
        view(attention_K, 0, (8, 8)),
        view(attention_k_head, 0, (n_time * rows, 8)),
    )

    # attention_v_head[b, t, h, e] += sum[e2] x[b, t, e2]*attention_V[e2, h, e]
    matmul_add(
        view(x, 0, (n_time * rows, 8)),
        view(attention_V, 0, (8, 8)),
        view(attention_v_head, 0, (n_time * rows, 8)),
    )

    for b in range(rows):
        for h in range(2):
            for t_first in range(0, n_time, 256):
                t_last = min(t_first + 256, n_time)
                # attention_a[b, h, t, s] = sum[e] attention_q_head[b, t, h, e]
                #     *attention_k_head[b, s, h, e]/2
                #     where t >= s
                matmul_lower(
                    attention_q_head[b, t_first:t_last, h],
                    attention_k_head[b, :t_last, h].T,
                    attention_a[: t_last - t_first, :t_last],
                    t_first,
                )
                for t in range(t_first, t_last):
                    for s in range(t + 1):
                        attention_a[t - t_first, s] = (
                            real(0.5) * attention_a[t - t_first, s]
                        )
                    # attention_p_max[b, h, t] =
                    #     max[s] stop_gradient(attention_a[b, h, t, s])
                    #     where t >= s
                    attention_p_max = real(-math.inf)
                    for s in range(t + 1):
                        attention_p_max = maximum(
                            attention_p_max, attention_a[t - t_first, s]
                        )
                    # attention_p_exp[b, h, t, s] = exp(attention_a[b, h, t, s]
                    #     - attention_p_max[b, h, t])
                    #     where t >= s
                    for s in range(t + 1):
                        attention_p_exp[s] = exp(
                            attention_a[t - t_first, s] - attention_p_max
                        )
                    # attention_p_total[b, h, t] = sum[s] attention_p_exp[b, h, t, s]
                    #     where t >= s
                    attention_p_total = real(0.0)
                    for s in range(t + 1):
                        attention_p_total += attention_p_exp[s]
                    # attention_p[b, h, t, s] = attention_p_exp[b, h, t, s]
                    #     /attention_p_total[b, h, t]
                    #     where t >= s
                    for s in range(t + 1):
                        attention_p[b, h, t, s] = attention_p_exp[s] / attention_p_total
            # attention_o[b, t, h, e] = sum[s] attention_v_head[b, s, h, e]
            #     *attention_p[b, h, t, s]
            #     where t >= s
            matmul_of_lower(
                attention_p[b, h], attention_v_head[b, :, h], attention_o[b, :, h], 0
            )
        # attention[b, t, m] = attention_c[m]
        for t in range(n_time):
            for m in range(8):
                attention[b, t, m] = attention_c[m]

    # attention[b, t, m] += sum[h, e] attention_o[b, t, h, e]*attention_W[h, e, m]
    matmul_add(
        view(attention_o, 0, (n_time * rows, 8)),
        view(attention_W, 0, (8, 8)),
        view(attention, 0, (n_time * rows, 8)),
    )

    # loss_part = sum[b, t, e] (attention[b, t, e] - y[b, t, e])**2/(8*n_batch*n_time)
    total = real(0.0)
    for b in range(rows):
        for t in range(n_time):
            for e in range(8):
                total += square(attention[b, t, e] - y[b, t, e])
    loss_part[0] = real(0.125) * total / (real(n_batch) * real(n_time))


@piece
def backward_rows(params, x, y, workspace, chunk, first, last, number):
    """Differentiate the same samples; follows `forward_rows`."""
    n_batch = x.shape[0]
    n_time = x.shape[1]
    chunks = chunk_count(n_batch, 8, 4)
    rows = last - first
    attention_W = view(params, 216, (2, 4, 8))
    x = view(x, 8 * first * n_time, (rows, n_time, 8))
    y = view(y, 8 * first * n_time, (rows, n_time, 8))
    attention_q_head = view(chunk, 0, (rows, n_time, 2, 4))
    attention_k_head = view(chunk, 64 * n_time, (rows, n_time, 2, 4))
    attention_v_head = view(chunk, 128 * n_time, (rows, n_time, 2, 4))
    attention_p = view(chunk, 448 * n_time, (rows, 2, n_time, n_time))
    attention_o = view(chunk, 448 * n_time + 16 * n_time * n_time, (rows, n_time, 2, 4))
    attention = view(chunk, 512 * n_time + 16 * n_time * n_time, (rows, n_time, 8))
    attention_q_head_bar = view(
        chunk, 448 * n_time + 16 * n_time * n_time, (rows, n_time, 2, 4)
    )
    attention_k_head_bar = view(
        chunk, 576 * n_time + 16 * n_time * n_time, (rows, n_time, 2, 4)
    )
    attention_v_head_bar = view(
        chunk, 640 * n_time + 16 * n_time * n_time, (rows, n_time, 2, 4)
    )
    attention_a_bar = view(chunk, 192 * n_time, (256, n_time))
    attention_p_bar = view(chunk, 704 * n_time + 16 * n_time * n_time, (256, n_time))
    attention_o_bar = view(
        chunk, 512 * n_time + 16 * n_time * n_time, (rows, n_time, 2, 4)
    )
    attention_bar = view(chunk, 576 * n_time + 16 * n_time * n_time, (rows, n_time, 8))
    attention_c_bar_part = view(workspace, 256 * chunks + 8 * number, (8,))
    attention_W_bar_part = view(workspace, 64 * number, (2, 4, 8))
    attention_c_v_bar_part = view(workspace, 264 * chunks + 8 * number, (2, 4))
    attention_V_bar_part = view(workspace, 64 * chunks + 64 * number, (8, 2, 4))
    attention_c_k_bar_part = view(workspace, 272 * chunks + 8 * number, (2, 4))
    attention_K_bar_part = view(workspace, 128 * chunks + 64 * number, (8, 2, 4))
    attention_c_q_bar_part = view(workspace, 280 * chunks + 8 * number, (2, 4))
    attention_Q_bar_part = view(workspace, 192 * chunks + 64 * number, (8, 2, 4))

    # attention_bar[b, t, m] = (attention[b, t, m] - y[b, t, m])/(4*n_batch*n_time)
    # attention_c_bar_part[m] = sum[b, t] attention_bar[b, t, m]
    attention_c_bar_part[:] = real(0.0)
    for b in range(rows):
        for t in range(n_time):
            for m in range(8):
                attention_bar[b, t, m] = (
                    real(0.25)
                    * (attention[b, t, m] - y[b, t, m])
                    / (real(n_batch) * real(n_time))
                )
                attention_c_bar_part[m] += attention_bar[b, t, m]

    # attention_o_bar[b, t, h, e] = sum[m] attention_W[h, e, m]*attention_bar[b, t, m]
    matmul(
        view(attention_bar, 0, (n_time * rows, 8)),
        view(attention_W, 0, (8, 8)).T,
        view(attention_o_bar, 0, (n_time * rows, 8)),
    )

    # attention_W_bar_part[h, e, m] = sum[b, t] attention_o[b, t, h, e]
    #     *attention_bar[b, t, m]
    matmul(
        view(attention_o, 0, (n_time * rows, 8)).T,
        view(attention_bar, 0, (n_time * rows, 8)),
        view(attention_W_bar_part, 0, (8, 8)),
    )

    for b in range(rows):
        for h in range(2):
            # attention_v_head_bar[b, t, h, e] = sum[s] attention_p[b, h, s, t]
            #     *attention_o_bar[b, s, h, e]
            #     where s >= t
            matmul_of_upper(
                attention_p[b, h].T,
                attention_o_bar[b, :, h],
                attention_v_head_bar[b, :, h],
                0,
            )
            for i in range(n_time):
                for i2 in range(4):
                    attention_k_head_bar[b, i, h, i2] = real(0.0)
            for t_first in range(0, n_time, 256):
                t_last = min(t_first + 256, n_time)
                # attention_p_bar[b, h, t, s] = sum[e] attention_v_head[b, s, h, e]
                #     *attention_o_bar[b, t, h, e]
                #     where t >= s
                matmul_lower(
                    attention_o_bar[b, t_first:t_last, h],
                    attention_v_head[b, :t_last, h].T,
                    attention_p_bar[: t_last - t_first, :t_last],
                    t_first,
                )
                for t in range(t_first, t_last):
                    # D_attention_p[b, h, t] = sum[s] attention_p_bar[b, h, t, s]
                    #     *attention_p[b, h, t, s]
                    #     where t >= s
                    D_attention_p = real(0.0)
                    for s in range(t + 1):
                        D_attention_p += (
                            attention_p_bar[t - t_first, s] * attention_p[b, h, t, s]
                        )
                    # attention_a_bar[b, h, t, s] = attention_p[b, h, t, s]
                    #     *(attention_p_bar[b, h, t, s] - D_attention_p[b, h, t])
                    #     where t >= s
                    for s in range(t + 1):
                        attention_a_bar[t - t_first, s] = (
                            attention_p[b, h, t, s]
                            * (attention_p_bar[t - t_first, s] - D_attention_p)
                        )
                # attention_q_head_bar[b, t, h, e] = sum[s] attention_k_head[b, s, h, e]
                #     *attention_a_bar[b, h, t, s]/2
                #     where t >= s
                matmul_of_lower(
                    attention_a_bar[: t_last - t_first],
                    attention_k_head[b, :, h],
                    attention_q_head_bar[b, t_first:t_last, h],
                    t_first,
                )
                for t in range(t_first, t_last):
                    for e in range(4):
                        attention_q_head_bar[b, t, h, e] = (
                            real(0.5) * attention_q_head_bar[b, t, h, e]
                        )
                # attention_k_head_bar[b, t, h, e] = sum[s] attention_q_head[b, s, h, e]
                #     *attention_a_bar[b, h, s, t]/2
                #     where s >= t
                matmul_add_of_upper(
                    attention_a_bar[: t_last - t_first].T,
                    attention_q_head[b, t_first:t_last, h],
                    attention_k_head_bar[b, :, h],
                    -t_first,
                )
            for t in range(n_time):
                for e in range(4):
                    attention_k_head_bar[b, t, h, e] = (
                        real(0.5) * attention_k_head_bar[b, t, h, e]
                    )

    for h in range(2):
        # attention_c_v_bar_part[h, e] = sum[b, t] attention_v_head_bar[b, t, h, e]
        for e in range(4):
            attention_c_v_bar_part[h, e] = real(0.0)
        for b in range(rows):
            for t in range(n_time):
                for e in range(4):
                    attention_c_v_bar_part[h, e] += attention_v_head_bar[b, t, h, e]
        # attention_c_k_bar_part[h, e] = sum[b, t] attention_k_head_bar[b, t, h, e]
        for e in range(4):
            attention_c_k_bar_part[h, e] = real(0.0)
        for b in range(rows):
            for t in range(n_time):
                for e in range(4):
                    attention_c_k_bar_part[h, e] += attention_k_head_bar[b, t, h, e]
        # attention_c_q_bar_part[h, e] = sum[b, t] attention_q_head_bar[b, t, h, e]
        for e in range(4):
            attention_c_q_bar_part[h, e] = real(0.0)
        for b in range(rows):
            for t in range(n_time):
                for e in range(4):
                    attention_c_q_bar_part[h, e] += attention_q_head_bar[b, t, h, e]

    # attention_V_bar_part[e, h, e2] = sum[b, t] x[b, t, e]
    #     *attention_v_head_bar[b, t, h, e2]
    matmul(
        view(x, 0, (n_time * rows, 8)).T,
        view(attention_v_head_bar, 0, (n_time * rows, 8)),
        view(attention_V_bar_part, 0, (8, 8)),
    )

    # attention_K_bar_part[e, h, e2] = sum[b, t] x[b, t, e]
    #     *attention_k_head_bar[b, t, h, e2]
    matmul(
        view(x, 0, (n_time * rows, 8)).T,
        view(attention_k_head_bar, 0, (n_time * rows, 8)),
        view(attention_K_bar_part, 0, (8, 8)),
    )

    # attention_Q_bar_part[e, h, e2] = sum[b, t] x[b, t, e]
    #     *attention_q_head_bar[b, t, h, e2]
    matmul(
        view(x, 0, (n_time * rows, 8)).T,
        view(attention_q_head_bar, 0, (n_time * rows, 8)),
        view(attention_Q_bar_part, 0, (8, 8)),
    )


@piece
def loss_of_rows(x, workspace):
    """The loss, from what all samples have left."""
    n_batch = x.shape[0]
    chunks = chunk_count(n_batch, 8, 4)
    loss_part = view(workspace, 288 * chunks, (chunks,))

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
    chunks = chunk_count(n_batch, 8, 4)
    first_8, last_8 = share(8, part, parts)
    first_2, last_2 = share(2, part, parts)
    attention_Q_bar = view(grads, 0, (8, 2, 4))
    attention_c_q_bar = view(grads, 64, (2, 4))
    attention_K_bar = view(grads, 72, (8, 2, 4))
    attention_c_k_bar = view(grads, 136, (2, 4))
    attention_V_bar = view(grads, 144, (8, 2, 4))
    attention_c_v_bar = view(grads, 208, (2, 4))
    attention_W_bar = view(grads, 216, (2, 4, 8))
    attention_c_bar = view(grads, 280, (8,))
    attention_c_bar_part = view(workspace, 256 * chunks, (chunks, 8))
    attention_W_bar_part = view(workspace, 0, (chunks, 2, 4, 8))
    attention_c_v_bar_part = view(workspace, 264 * chunks, (chunks, 2, 4))
    attention_V_bar_part = view(workspace, 64 * chunks, (chunks, 8, 2, 4))
    attention_c_k_bar_part = view(workspace, 272 * chunks, (chunks, 2, 4))
    attention_K_bar_part = view(workspace, 128 * chunks, (chunks, 8, 2, 4))
    attention_c_q_bar_part = view(workspace, 280 * chunks, (chunks, 2, 4))
    attention_Q_bar_part = view(workspace, 192 * chunks, (chunks, 8, 2, 4))

    # attention_c_bar[m] = sum[c] attention_c_bar_part[c, m]
    for m in range(first_8, last_8):
        attention_c_bar[m] = real(0.0)
    for c in range(chunks):
        for m in range(first_8, last_8):
            attention_c_bar[m] += attention_c_bar_part[c, m]

    # attention_W_bar[h, e, m] = sum[c] attention_W_bar_part[c, h, e, m]
    for h in range(2):
        for e in range(4):
            for m in range(first_8, last_8):
                attention_W_bar[h, e, m] = real(0.0)
            for c in range(chunks):
                for m in range(first_8, last_8):
                    attention_W_bar[h, e, m] += attention_W_bar_part[c, h, e, m]

    for h in range(first_2, last_2):
        # attention_c_v_bar[h, e] = sum[c] attention_c_v_bar_part[c, h, e]
        for e in range(4):
            attention_c_v_bar[h, e] = real(0.0)
        for c in range(chunks):
            for e in range(4):
                attention_c_v_bar[h, e] += attention_c_v_bar_part[c, h, e]
        # attention_c_k_bar[h, e] = sum[c] attention_c_k_bar_part[c, h, e]
        for e in range(4):
            attention_c_k_bar[h, e] = real(0.0)
        for c in range(chunks):
            for e in range(4):
                attention_c_k_bar[h, e] += attention_c_k_bar_part[c, h, e]
        # attention_c_q_bar[h, e] = sum[c] attention_c_q_bar_part[c, h, e]
        for e in range(4):
            attention_c_q_bar[h, e] = real(0.0)
        for c in range(chunks):
            for e in range(4):
                attention_c_q_bar[h, e] += attention_c_q_bar_part[c, h, e]

    for e in range(first_8, last_8):
        for h in range(2):
            # attention_V_bar[e, h, e2] = sum[c] attention_V_bar_part[c, e, h, e2]
            for e2 in range(4):
                attention_V_bar[e, h, e2] = real(0.0)
            for c in range(chunks):
                for e2 in range(4):
                    attention_V_bar[e, h, e2] += attention_V_bar_part[c, e, h, e2]
            # attention_K_bar[e, h, e2] = sum[c] attention_K_bar_part[c, e, h, e2]
            for e2 in range(4):
                attention_K_bar[e, h, e2] = real(0.0)
            for c in range(chunks):
                for e2 in range(4):
                    attention_K_bar[e, h, e2] += attention_K_bar_part[c, e, h, e2]
            # attention_Q_bar[e, h, e2] = sum[c] attention_Q_bar_part[c, e, h, e2]
            for e2 in range(4):
                attention_Q_bar[e, h, e2] = real(0.0)
            for c in range(chunks):
                for e2 in range(4):
                    attention_Q_bar[e, h, e2] += attention_Q_bar_part[c, e, h, e2]


def _predict(params, x, chunk, attention):
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
            predict_rows(params, x, chunk[worker], attention, begin, end)


predict_into = kernel(_predict)
predict_threads = kernel(_predict, parallel=True)


def _forward(params, x, y, workspace, chunk):
    """Evaluate the loss.

    Up to 8 samples at a time, by a worker for each row of `chunk`: the result is
    the same for any number of them.
    """
    n_batch = x.shape[0]
    chunks = chunk_count(n_batch, 8, 4)
    workers = chunk.shape[0]
    for worker in prange(workers):
        for number in range(worker, chunks, workers):
            begin, end = share(n_batch, number, chunks, 4)
            forward_rows(params, x, y, workspace, chunk[worker], begin, end, number)
    loss = loss_of_rows(x, workspace)
    return loss


forward = kernel(_forward)
forward_threads = kernel(_forward, parallel=True)


def _loss_and_grad(params, x, y, workspace, chunk, grads):
    """Write the gradient of the loss to `grads`; return the loss.

    Up to 8 samples at a time, by a worker for each row of `chunk`: the result is
    the same for any number of them.
    """
    n_batch = x.shape[0]
    chunks = chunk_count(n_batch, 8, 4)
    workers = chunk.shape[0]
    for worker in prange(workers):
        for number in range(worker, chunks, workers):
            begin, end = share(n_batch, number, chunks, 4)
            forward_rows(params, x, y, workspace, chunk[worker], begin, end, number)
            backward_rows(params, x, y, workspace, chunk[worker], begin, end, number)
    loss = loss_of_rows(x, workspace)
    for worker in prange(workers):
        gradients_share(x, workspace, grads, np.int64(worker), workers)
    return loss


loss_and_grad_into = kernel(_loss_and_grad)
loss_and_grad_threads = kernel(_loss_and_grad, parallel=True)

"""Kernels of attention, in float32: plain functions that Numba compiles.

Written by symbp 0.1.0 from the spec 0c3a9bbe7a93: change the spec, not this file.
Each group of loops is headed by the equation that it carries out. Arrays are
C-contiguous; the interface in `__init__.py` has checked them.
"""

import math

import numpy as np

from ._runtime.contraction import (
    matmul,
    matmul_add,
    matmul_lower,
    matmul_of_lower,
    matmul_of_upper,
)
from ._runtime.jit import kernel
from ._runtime.scalar import exp, maximum
from ._runtime.views import view

real = np.float32


@kernel
def predict_into(params, x, workspace, attention):
    """Evaluate the model."""
    n_batch = x.shape[0]
    n_time = x.shape[1]
    attention_Q = view(params, 0, (8, 2, 4))
    attention_c_q = view(params, 64, (2, 4))
    attention_K = view(params, 72, (8, 2, 4))
    attention_c_k = view(params, 136, (2, 4))
    attention_V = view(params, 144, (8, 2, 4))
    attention_c_v = view(params, 208, (2, 4))
    attention_W = view(params, 216, (2, 4, 8))
    attention_c = view(params, 280, (8,))
    attention_q_head = view(workspace, 0, (n_batch, n_time, 2, 4))
    attention_k_head = view(workspace, 8 * n_batch * n_time, (n_batch, n_time, 2, 4))
    attention_v_head = view(workspace, 16 * n_batch * n_time, (n_batch, n_time, 2, 4))
    attention_a = view(workspace, 32 * n_batch * n_time, (n_batch, 2, n_time, n_time))
    attention_p = view(
        workspace,
        32 * n_batch * n_time + 2 * n_batch * n_time * n_time,
        (n_batch, 2, n_time, n_time),
    )
    attention_o = view(workspace, 24 * n_batch * n_time, (n_batch, n_time, 2, 4))
    attention_p_exp = view(
        workspace,
        32 * n_batch * n_time + 4 * n_batch * n_time * n_time,
        (n_batch, 2, n_time, n_time),
    )

    # attention_q_head[b, t, h, e] = attention_c_q[h, e]
    # attention_k_head[b, t, h, e] = attention_c_k[h, e]
    # attention_v_head[b, t, h, e] = attention_c_v[h, e]
    for b in range(n_batch):
        for t in range(n_time):
            for h in range(2):
                for e in range(4):
                    attention_q_head[b, t, h, e] = attention_c_q[h, e]
                    attention_k_head[b, t, h, e] = attention_c_k[h, e]
                    attention_v_head[b, t, h, e] = attention_c_v[h, e]

    # attention_q_head[b, t, h, e] += sum[e2] x[b, t, e2]*attention_Q[e2, h, e]
    matmul_add(
        view(x, 0, (n_batch * n_time, 8)),
        view(attention_Q, 0, (8, 8)),
        view(attention_q_head, 0, (n_batch * n_time, 8)),
    )

    # attention_k_head[b, t, h, e] += sum[e2] x[b, t, e2]*attention_K[e2, h, e]
    matmul_add(
        view(x, 0, (n_batch * n_time, 8)),
        view(attention_K, 0, (8, 8)),
        view(attention_k_head, 0, (n_batch * n_time, 8)),
    )

    # attention_v_head[b, t, h, e] += sum[e2] x[b, t, e2]*attention_V[e2, h, e]
    matmul_add(
        view(x, 0, (n_batch * n_time, 8)),
        view(attention_V, 0, (8, 8)),
        view(attention_v_head, 0, (n_batch * n_time, 8)),
    )

    for b in range(n_batch):
        for h in range(2):
            # attention_a[b, h, t, s] = sum[e] attention_q_head[b, t, h, e]
            #     *attention_k_head[b, s, h, e]/2
            #     where t >= s
            matmul_lower(
                attention_q_head[b, :, h],
                attention_k_head[b, :, h].T,
                attention_a[b, h],
                0,
            )
            for t in range(n_time):
                for s in range(t + 1):
                    attention_a[b, h, t, s] = real(0.5) * attention_a[b, h, t, s]
                # attention_p_max[b, h, t] =
                #     max[s] stop_gradient(attention_a[b, h, t, s])
                #     where t >= s
                attention_p_max = real(-math.inf)
                for s in range(t + 1):
                    attention_p_max = maximum(attention_p_max, attention_a[b, h, t, s])
                # attention_p_exp[b, h, t, s] = exp(attention_a[b, h, t, s]
                #     - attention_p_max[b, h, t])
                #     where t >= s
                for s in range(t + 1):
                    attention_p_exp[b, h, t, s] = exp(
                        attention_a[b, h, t, s] - attention_p_max
                    )
                # attention_p_total[b, h, t] = sum[s] attention_p_exp[b, h, t, s]
                #     where t >= s
                attention_p_total = real(0.0)
                for s in range(t + 1):
                    attention_p_total += attention_p_exp[b, h, t, s]
                # attention_p[b, h, t, s] = attention_p_exp[b, h, t, s]
                #     /attention_p_total[b, h, t]
                #     where t >= s
                for s in range(t + 1):
                    attention_p[b, h, t, s] = (
                        attention_p_exp[b, h, t, s] / attention_p_total
                    )
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
        view(attention_o, 0, (n_batch * n_time, 8)),
        view(attention_W, 0, (8, 8)),
        view(attention, 0, (n_batch * n_time, 8)),
    )


@kernel
def forward(params, x, y, workspace):
    """Evaluate the loss."""
    n_batch = x.shape[0]
    n_time = x.shape[1]
    attention_Q = view(params, 0, (8, 2, 4))
    attention_c_q = view(params, 64, (2, 4))
    attention_K = view(params, 72, (8, 2, 4))
    attention_c_k = view(params, 136, (2, 4))
    attention_V = view(params, 144, (8, 2, 4))
    attention_c_v = view(params, 208, (2, 4))
    attention_W = view(params, 216, (2, 4, 8))
    attention_c = view(params, 280, (8,))
    attention_q_head = view(workspace, 0, (n_batch, n_time, 2, 4))
    attention_k_head = view(workspace, 8 * n_batch * n_time, (n_batch, n_time, 2, 4))
    attention_v_head = view(workspace, 16 * n_batch * n_time, (n_batch, n_time, 2, 4))
    attention_a = view(workspace, 56 * n_batch * n_time, (n_batch, 2, n_time, n_time))
    attention_p = view(
        workspace,
        56 * n_batch * n_time + 2 * n_batch * n_time * n_time,
        (n_batch, 2, n_time, n_time),
    )
    attention_o = view(workspace, 24 * n_batch * n_time, (n_batch, n_time, 2, 4))
    attention = view(workspace, 32 * n_batch * n_time, (n_batch, n_time, 8))
    attention_p_exp = view(
        workspace,
        56 * n_batch * n_time + 4 * n_batch * n_time * n_time,
        (n_batch, 2, n_time, n_time),
    )

    # attention_q_head[b, t, h, e] = attention_c_q[h, e]
    # attention_k_head[b, t, h, e] = attention_c_k[h, e]
    # attention_v_head[b, t, h, e] = attention_c_v[h, e]
    for b in range(n_batch):
        for t in range(n_time):
            for h in range(2):
                for e in range(4):
                    attention_q_head[b, t, h, e] = attention_c_q[h, e]
                    attention_k_head[b, t, h, e] = attention_c_k[h, e]
                    attention_v_head[b, t, h, e] = attention_c_v[h, e]

    # attention_q_head[b, t, h, e] += sum[e2] x[b, t, e2]*attention_Q[e2, h, e]
    matmul_add(
        view(x, 0, (n_batch * n_time, 8)),
        view(attention_Q, 0, (8, 8)),
        view(attention_q_head, 0, (n_batch * n_time, 8)),
    )

    # attention_k_head[b, t, h, e] += sum[e2] x[b, t, e2]*attention_K[e2, h, e]
    matmul_add(
        view(x, 0, (n_batch * n_time, 8)),
        view(attention_K, 0, (8, 8)),
        view(attention_k_head, 0, (n_batch * n_time, 8)),
    )

    # attention_v_head[b, t, h, e] += sum[e2] x[b, t, e2]*attention_V[e2, h, e]
    matmul_add(
        view(x, 0, (n_batch * n_time, 8)),
        view(attention_V, 0, (8, 8)),
        view(attention_v_head, 0, (n_batch * n_time, 8)),
    )

    for b in range(n_batch):
        for h in range(2):
            # attention_a[b, h, t, s] = sum[e] attention_q_head[b, t, h, e]
            #     *attention_k_head[b, s, h, e]/2
            #     where t >= s
            matmul_lower(
                attention_q_head[b, :, h],
                attention_k_head[b, :, h].T,
                attention_a[b, h],
                0,
            )
            for t in range(n_time):
                for s in range(t + 1):
                    attention_a[b, h, t, s] = real(0.5) * attention_a[b, h, t, s]
                # attention_p_max[b, h, t] =
                #     max[s] stop_gradient(attention_a[b, h, t, s])
                #     where t >= s
                attention_p_max = real(-math.inf)
                for s in range(t + 1):
                    attention_p_max = maximum(attention_p_max, attention_a[b, h, t, s])
                # attention_p_exp[b, h, t, s] = exp(attention_a[b, h, t, s]
                #     - attention_p_max[b, h, t])
                #     where t >= s
                for s in range(t + 1):
                    attention_p_exp[b, h, t, s] = exp(
                        attention_a[b, h, t, s] - attention_p_max
                    )
                # attention_p_total[b, h, t] = sum[s] attention_p_exp[b, h, t, s]
                #     where t >= s
                attention_p_total = real(0.0)
                for s in range(t + 1):
                    attention_p_total += attention_p_exp[b, h, t, s]
                # attention_p[b, h, t, s] = attention_p_exp[b, h, t, s]
                #     /attention_p_total[b, h, t]
                #     where t >= s
                for s in range(t + 1):
                    attention_p[b, h, t, s] = (
                        attention_p_exp[b, h, t, s] / attention_p_total
                    )
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
        view(attention_o, 0, (n_batch * n_time, 8)),
        view(attention_W, 0, (8, 8)),
        view(attention, 0, (n_batch * n_time, 8)),
    )

    # loss = sum[b, t, e] (attention[b, t, e] - y[b, t, e])**2/(8*n_batch*n_time)
    total = real(0.0)
    for b in range(n_batch):
        for t in range(n_time):
            for e in range(8):
                total += (attention[b, t, e] - y[b, t, e]) ** 2
    loss = real(0.125) * total / (real(n_batch) * real(n_time))

    return loss


@kernel
def backward(params, x, y, workspace, grads):
    """Differentiate the loss; follows `forward`."""
    n_batch = x.shape[0]
    n_time = x.shape[1]
    attention_W = view(params, 216, (2, 4, 8))
    attention_q_head = view(workspace, 0, (n_batch, n_time, 2, 4))
    attention_k_head = view(workspace, 8 * n_batch * n_time, (n_batch, n_time, 2, 4))
    attention_v_head = view(workspace, 16 * n_batch * n_time, (n_batch, n_time, 2, 4))
    attention_p = view(
        workspace,
        56 * n_batch * n_time + 2 * n_batch * n_time * n_time,
        (n_batch, 2, n_time, n_time),
    )
    attention_o = view(workspace, 24 * n_batch * n_time, (n_batch, n_time, 2, 4))
    attention = view(workspace, 32 * n_batch * n_time, (n_batch, n_time, 8))
    attention_Q_bar = view(grads, 0, (8, 2, 4))
    attention_c_q_bar = view(grads, 64, (2, 4))
    attention_K_bar = view(grads, 72, (8, 2, 4))
    attention_c_k_bar = view(grads, 136, (2, 4))
    attention_V_bar = view(grads, 144, (8, 2, 4))
    attention_c_v_bar = view(grads, 208, (2, 4))
    attention_W_bar = view(grads, 216, (2, 4, 8))
    attention_c_bar = view(grads, 280, (8,))
    attention_q_head_bar = view(
        workspace, 24 * n_batch * n_time, (n_batch, n_time, 2, 4)
    )
    attention_k_head_bar = view(
        workspace, 40 * n_batch * n_time, (n_batch, n_time, 2, 4)
    )
    attention_v_head_bar = view(
        workspace, 48 * n_batch * n_time, (n_batch, n_time, 2, 4)
    )
    attention_a_bar = view(
        workspace, 56 * n_batch * n_time, (n_batch, 2, n_time, n_time)
    )
    attention_p_bar = view(
        workspace,
        56 * n_batch * n_time + 4 * n_batch * n_time * n_time,
        (n_batch, 2, n_time, n_time),
    )
    attention_o_bar = view(workspace, 32 * n_batch * n_time, (n_batch, n_time, 2, 4))
    attention_bar = view(workspace, 40 * n_batch * n_time, (n_batch, n_time, 8))

    # attention_bar[b, t, m] = (attention[b, t, m] - y[b, t, m])/(4*n_batch*n_time)
    # attention_c_bar[m] = sum[b, t] attention_bar[b, t, m]
    attention_c_bar[:] = real(0.0)
    for b in range(n_batch):
        for t in range(n_time):
            for m in range(8):
                attention_bar[b, t, m] = (
                    real(0.25)
                    * (attention[b, t, m] - y[b, t, m])
                    / (real(n_batch) * real(n_time))
                )
                attention_c_bar[m] += attention_bar[b, t, m]

    # attention_o_bar[b, t, h, e] = sum[m] attention_W[h, e, m]*attention_bar[b, t, m]
    matmul(
        view(attention_bar, 0, (n_batch * n_time, 8)),
        view(attention_W, 0, (8, 8)).T,
        view(attention_o_bar, 0, (n_batch * n_time, 8)),
    )

    # attention_W_bar[h, e, m] = sum[b, t] attention_o[b, t, h, e]
    #     *attention_bar[b, t, m]
    matmul(
        view(attention_o, 0, (n_batch * n_time, 8)).T,
        view(attention_bar, 0, (n_batch * n_time, 8)),
        view(attention_W_bar, 0, (8, 8)),
    )

    for b in range(n_batch):
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
            # attention_p_bar[b, h, t, s] = sum[e] attention_v_head[b, s, h, e]
            #     *attention_o_bar[b, t, h, e]
            #     where t >= s
            matmul_lower(
                attention_o_bar[b, :, h],
                attention_v_head[b, :, h].T,
                attention_p_bar[b, h],
                0,
            )
            for t in range(n_time):
                # D_attention_p[b, h, t] = sum[s] attention_p_bar[b, h, t, s]
                #     *attention_p[b, h, t, s]
                #     where t >= s
                D_attention_p = real(0.0)
                for s in range(t + 1):
                    D_attention_p += (
                        attention_p_bar[b, h, t, s] * attention_p[b, h, t, s]
                    )
                # attention_a_bar[b, h, t, s] = attention_p[b, h, t, s]
                #     *(attention_p_bar[b, h, t, s] - D_attention_p[b, h, t])
                #     where t >= s
                for s in range(t + 1):
                    attention_a_bar[b, h, t, s] = (
                        attention_p[b, h, t, s]
                        * (attention_p_bar[b, h, t, s] - D_attention_p)
                    )
            # attention_q_head_bar[b, t, h, e] = sum[s] attention_k_head[b, s, h, e]
            #     *attention_a_bar[b, h, t, s]/2
            #     where t >= s
            matmul_of_lower(
                attention_a_bar[b, h],
                attention_k_head[b, :, h],
                attention_q_head_bar[b, :, h],
                0,
            )
            for t in range(n_time):
                for e in range(4):
                    attention_q_head_bar[b, t, h, e] = (
                        real(0.5) * attention_q_head_bar[b, t, h, e]
                    )
            # attention_k_head_bar[b, t, h, e] = sum[s] attention_q_head[b, s, h, e]
            #     *attention_a_bar[b, h, s, t]/2
            #     where s >= t
            matmul_of_upper(
                attention_a_bar[b, h].T,
                attention_q_head[b, :, h],
                attention_k_head_bar[b, :, h],
                0,
            )
            for t in range(n_time):
                for e in range(4):
                    attention_k_head_bar[b, t, h, e] = (
                        real(0.5) * attention_k_head_bar[b, t, h, e]
                    )

    for h in range(2):
        # attention_c_v_bar[h, e] = sum[b, t] attention_v_head_bar[b, t, h, e]
        for e in range(4):
            attention_c_v_bar[h, e] = real(0.0)
        for b in range(n_batch):
            for t in range(n_time):
                for e in range(4):
                    attention_c_v_bar[h, e] += attention_v_head_bar[b, t, h, e]
        # attention_c_k_bar[h, e] = sum[b, t] attention_k_head_bar[b, t, h, e]
        for e in range(4):
            attention_c_k_bar[h, e] = real(0.0)
        for b in range(n_batch):
            for t in range(n_time):
                for e in range(4):
                    attention_c_k_bar[h, e] += attention_k_head_bar[b, t, h, e]
        # attention_c_q_bar[h, e] = sum[b, t] attention_q_head_bar[b, t, h, e]
        for e in range(4):
            attention_c_q_bar[h, e] = real(0.0)
        for b in range(n_batch):
            for t in range(n_time):
                for e in range(4):
                    attention_c_q_bar[h, e] += attention_q_head_bar[b, t, h, e]

    # attention_V_bar[e, h, e2] = sum[b, t] x[b, t, e]*attention_v_head_bar[b, t, h, e2]
    matmul(
        view(x, 0, (n_batch * n_time, 8)).T,
        view(attention_v_head_bar, 0, (n_batch * n_time, 8)),
        view(attention_V_bar, 0, (8, 8)),
    )

    # attention_K_bar[e, h, e2] = sum[b, t] x[b, t, e]*attention_k_head_bar[b, t, h, e2]
    matmul(
        view(x, 0, (n_batch * n_time, 8)).T,
        view(attention_k_head_bar, 0, (n_batch * n_time, 8)),
        view(attention_K_bar, 0, (8, 8)),
    )

    # attention_Q_bar[e, h, e2] = sum[b, t] x[b, t, e]*attention_q_head_bar[b, t, h, e2]
    matmul(
        view(x, 0, (n_batch * n_time, 8)).T,
        view(attention_q_head_bar, 0, (n_batch * n_time, 8)),
        view(attention_Q_bar, 0, (8, 8)),
    )


@kernel
def loss_and_grad_into(params, x, y, workspace, grads):
    """Write the gradient of the loss to `grads`; return the loss."""
    loss = forward(params, x, y, workspace)
    backward(params, x, y, workspace, grads)
    return loss

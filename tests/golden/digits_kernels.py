"""Kernels of digits, in float32: plain functions that Numba compiles.

Written by symbp 0.1.0 from the spec a8b7ddc49f74: change the spec, not this file.
Each group of loops is headed by the equation that it carries out. Arrays are
C-contiguous; the interface in `__init__.py` has checked them.
"""

import math

import numpy as np

from ._runtime.contraction import matmul, matmul_add
from ._runtime.jit import kernel
from ._runtime.scalar import exp, expm1, log, maximum, relu, sqrt, step
from ._runtime.views import rolled, view

real = np.float32


@kernel
def predict_into(params, x, workspace, softmax):
    """Evaluate the model."""
    n_batch = x.shape[0]
    hidden_W = view(params, 0, (64, 32))
    hidden_c = view(params, 2048, (32,))
    out_W = view(params, 2080, (32, 10))
    out_c = view(params, 2400, (10,))
    hidden_z = view(workspace, 0, (n_batch, 32))
    hidden = view(workspace, 32 * n_batch, (n_batch, 32))
    out = view(workspace, 64 * n_batch, (n_batch, 10))
    softmax = view(softmax, 0, (n_batch, 10))
    softmax_exp = view(workspace, 74 * n_batch, (10,))

    # hidden_z[b, k] = hidden_c[k]
    for b in range(n_batch):
        for k in range(32):
            hidden_z[b, k] = hidden_c[k]

    # hidden_z[b, k] += sum[j] x[b, j]*hidden_W[j, k]
    matmul_add(x, hidden_W, hidden_z)

    for b in range(n_batch):
        # hidden[b, k] = relu(hidden_z[b, k])
        for k in range(32):
            hidden[b, k] = relu(hidden_z[b, k])
        # out[b, k] = out_c[k]
        for k in range(10):
            out[b, k] = out_c[k]

    # out[b, k] += sum[k2] hidden[b, k2]*out_W[k2, k]
    matmul_add(hidden, out_W, out)

    for b in range(n_batch):
        # softmax_max[b] = max[k] stop_gradient(out[b, k])
        softmax_max = real(-math.inf)
        for k in range(rolled(10)):
            softmax_max = maximum(softmax_max, out[b, k])
        # softmax_exp[b, k] = exp(out[b, k] - softmax_max[b])
        for k in range(10):
            softmax_exp[k] = exp(out[b, k] - softmax_max)
        # softmax_total[b] = sum[k] softmax_exp[b, k]
        softmax_total = real(0.0)
        for k in range(10):
            softmax_total += softmax_exp[k]
        # softmax[b, k] = softmax_exp[b, k]/softmax_total[b]
        for k in range(10):
            softmax[b, k] = softmax_exp[k] / softmax_total


@kernel
def forward(params, x, label, workspace):
    """Evaluate the loss."""
    n_batch = x.shape[0]
    hidden_W = view(params, 0, (64, 32))
    hidden_c = view(params, 2048, (32,))
    out_W = view(params, 2080, (32, 10))
    out_c = view(params, 2400, (10,))
    hidden_z = view(workspace, 0, (n_batch, 32))
    hidden = view(workspace, 32 * n_batch, (n_batch, 32))
    out = view(workspace, 96 * n_batch, (n_batch, 10))
    softmax_max = view(workspace, 116 * n_batch, (n_batch,))
    softmax_total = view(workspace, 117 * n_batch, (n_batch,))
    softmax_exp = view(workspace, 106 * n_batch, (n_batch, 10))
    log_loss_total = view(workspace, 118 * n_batch, (n_batch,))

    # hidden_z[b, k] = hidden_c[k]
    for b in range(n_batch):
        for k in range(32):
            hidden_z[b, k] = hidden_c[k]

    # hidden_z[b, k] += sum[j] x[b, j]*hidden_W[j, k]
    matmul_add(x, hidden_W, hidden_z)

    for b in range(n_batch):
        # hidden[b, k] = relu(hidden_z[b, k])
        for k in range(32):
            hidden[b, k] = relu(hidden_z[b, k])
        # out[b, k] = out_c[k]
        for k in range(10):
            out[b, k] = out_c[k]

    # out[b, k] += sum[k2] hidden[b, k2]*out_W[k2, k]
    matmul_add(hidden, out_W, out)

    for b in range(n_batch):
        # softmax_max[b] = max[k] stop_gradient(out[b, k])
        best = real(-math.inf)
        for k in range(rolled(10)):
            best = maximum(best, out[b, k])
        softmax_max[b] = best
        # softmax_exp[b, k] = exp(out[b, k] - softmax_max[b])
        softmax_max_b = softmax_max[b]
        for k in range(10):
            softmax_exp[b, k] = exp(out[b, k] - softmax_max_b)
        # softmax_total[b] = sum[k] softmax_exp[b, k]
        total = real(0.0)
        for k in range(10):
            total += softmax_exp[b, k]
        softmax_total[b] = total
        # log_loss_total[b] = log(softmax_total[b])
        log_loss_total[b] = log(softmax_total[b])

    # loss = sum[b] (softmax_max[b] + log_loss_total[b] - out[b, label[b]])/n_batch
    total = real(0.0)
    for b in range(n_batch):
        total += softmax_max[b] + log_loss_total[b] - out[b, label[b]]
    loss = total / real(n_batch)

    return loss


@kernel
def backward(params, x, label, workspace, grads):
    """Differentiate the loss; follows `forward`."""
    n_batch = x.shape[0]
    out_W = view(params, 2080, (32, 10))
    hidden = view(workspace, 32 * n_batch, (n_batch, 32))
    softmax_total = view(workspace, 117 * n_batch, (n_batch,))
    softmax_exp = view(workspace, 106 * n_batch, (n_batch, 10))
    hidden_W_bar = view(grads, 0, (64, 32))
    hidden_c_bar = view(grads, 2048, (32,))
    out_W_bar = view(grads, 2080, (32, 10))
    out_c_bar = view(grads, 2400, (10,))
    hidden_z_bar = view(workspace, 64 * n_batch, (n_batch, 32))
    hidden_bar = view(workspace, 0, (n_batch, 32))
    out_bar = view(workspace, 96 * n_batch, (n_batch, 10))

    # softmax[b, k] = softmax_exp[b, k]/softmax_total[b]
    # out_bar[b, k] = (softmax[b, k] - select(k == label[b], 1, 0))/n_batch
    # out_c_bar[k] = sum[b] out_bar[b, k]
    out_c_bar[:] = real(0.0)
    for b in range(n_batch):
        softmax_total_b = softmax_total[b]
        label_b = label[b]
        for k in range(10):
            softmax = softmax_exp[b, k] / softmax_total_b
            out_bar[b, k] = (
                softmax - (real(1.0) if k == label_b else real(0.0))
            ) / real(n_batch)
            out_c_bar[k] += out_bar[b, k]

    # hidden_bar[b, k] = sum[k2] out_W[k, k2]*out_bar[b, k2]
    matmul(out_bar, out_W.T, hidden_bar)

    # out_W_bar[k, k2] = sum[b] hidden[b, k]*out_bar[b, k2]
    matmul(hidden.T, out_bar, out_W_bar)

    # hidden_z_bar[b, k] = hidden_bar[b, k]*step(hidden[b, k])
    # hidden_c_bar[k] = sum[b] hidden_z_bar[b, k]
    hidden_c_bar[:] = real(0.0)
    for b in range(n_batch):
        for k in range(32):
            hidden_z_bar[b, k] = hidden_bar[b, k] * step(hidden[b, k])
            hidden_c_bar[k] += hidden_z_bar[b, k]

    # hidden_W_bar[j, k] = sum[b] x[b, j]*hidden_z_bar[b, k]
    matmul(x.T, hidden_z_bar, hidden_W_bar)


@kernel
def update(params, grads, m, v, numbers, count):
    """One step of adam."""
    n_parameters = params.size
    w = params
    g = grads
    learning_rate = numbers[0]
    t = float(count[0])

    # m_bias = -expm1(t*log(0.9))
    m_bias = -expm1(-0.1053605156578263 * t)

    # v_bias = -expm1(t*log(0.999))
    v_bias = -expm1(-0.0010005003335835335 * t)

    # m_next[i] = 0.1*g[i] + 0.9*m[i]
    # v_next[i] = 0.001*g[i]**2 + 0.999*v[i]
    # w_next[i] = w[i] - learning_rate*m_next[i]
    #     /(m_bias*(1e-8 + sqrt(v_next[i]/v_bias)))
    for i in range(n_parameters):
        m_next = real(0.1) * g[i] + real(0.9) * m[i]
        v_next = real(0.001) * g[i] * g[i] + real(0.999) * v[i]
        w[i] = (
            w[i]
            - real(learning_rate)
            * m_next
            / (real(m_bias) * (real(1e-08) + sqrt(v_next / real(v_bias))))
        )
        m[i] = m_next
        v[i] = v_next


@kernel
def loss_and_grad_into(params, x, label, workspace, grads):
    """Write the gradient of the loss to `grads`; return the loss."""
    loss = forward(params, x, label, workspace)
    backward(params, x, label, workspace, grads)
    return loss


@kernel
def train_step_into(params, x, label, workspace, grads, m, v, numbers, count):
    """One step of training in place: forward, backward, update. Return the loss."""
    loss = forward(params, x, label, workspace)
    backward(params, x, label, workspace, grads)
    count[0] += 1
    update(params, grads, m, v, numbers, count)
    return loss


@kernel(unroll=True)
def train_steps_into(
    params,
    x,
    label,
    x_batch,
    label_batch,
    workspace,
    grads,
    m,
    v,
    numbers,
    count,
    order,
    batch,
    first,
    last,
    losses,
):
    """Do the steps `first` to `last - 1` of an epoch and write their losses.

    Step n trains on the samples order[n * batch : (n + 1) * batch], gathered in the
    arrays of one batch.
    """
    for turn in range(first, last):
        start = turn * batch
        rows = min(batch, order.shape[0] - start)
        for row in range(rows):
            sample = order[start + row]
            for i1 in range(x.shape[1]):
                x_batch[row, i1] = x[sample, i1]
            label_batch[row] = label[sample]
        x_rows = x_batch[:rows]
        label_rows = label_batch[:rows]
        losses[turn] = forward(params, x_rows, label_rows, workspace)
        backward(params, x_rows, label_rows, workspace, grads)
        count[0] += 1
        update(params, grads, m, v, numbers, count)

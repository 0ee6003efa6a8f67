"""Kernels of linear, in float32: plain functions that Numba compiles.

Written by symbp 0.1.0 from the spec 90eccb38c5da: change the spec, not this file.
Each group of loops is headed by the equation that it carries out. Arrays are
C-contiguous; the interface in `__init__.py` has checked them.
"""

import numpy as np

from ._runtime.contraction import matmul, matmul_add
from ._runtime.jit import kernel
from ._runtime.scalar import safe_div, sqrt, square
from ._runtime.views import view

real = np.float32


@kernel
def predict_into(params, x, y):
    """Evaluate the model."""
    n_batch = x.shape[0]
    y_W = view(params, 0, (7, 5))
    y_c = view(params, 35, (5,))
    y = view(y, 0, (n_batch, 5))

    # y[b, k] = y_c[k]
    for b in range(n_batch):
        for k in range(5):
            y[b, k] = y_c[k]

    # y[b, k] += sum[j] x[b, j]*y_W[j, k]
    matmul_add(x, y_W, y)


@kernel
def forward(params, x, t, workspace):
    """Evaluate the loss."""
    n_batch = x.shape[0]
    y_W = view(params, 0, (7, 5))
    y_c = view(params, 35, (5,))
    t = view(t, 0, (n_batch, 5))
    y = view(workspace, 0, (n_batch, 5))
    loss = view(workspace, 5 * n_batch, (1,))

    # y[b, k] = y_c[k]
    for b in range(n_batch):
        for k in range(5):
            y[b, k] = y_c[k]

    # y[b, k] += sum[j] x[b, j]*y_W[j, k]
    matmul_add(x, y_W, y)

    # loss_sum = sum[b, k] (y[b, k] - t[b, k])**2
    total = real(0.0)
    for b in range(n_batch):
        for k in range(5):
            total += square(y[b, k] - t[b, k])
    loss_sum = total

    # loss = sqrt(loss_sum/(5*n_batch))
    loss[0] = sqrt(real(0.2) * loss_sum / real(n_batch))

    return loss[0]


@kernel
def backward(x, t, workspace, grads):
    """Differentiate the loss; follows `forward`."""
    n_batch = x.shape[0]
    t = view(t, 0, (n_batch, 5))
    y = view(workspace, 0, (n_batch, 5))
    loss = view(workspace, 5 * n_batch, (1,))
    y_W_bar = view(grads, 0, (7, 5))
    y_c_bar = view(grads, 35, (5,))
    y_bar = view(workspace, 5 * n_batch + 1, (n_batch, 5))

    # loss_sum_bar = safe_div(1/2, loss)/(5*n_batch)
    loss_sum_bar = real(0.2) * safe_div(real(0.5), loss[0]) / real(n_batch)

    # y_bar[b, k] = 2*loss_sum_bar*(y[b, k] - t[b, k])
    # y_c_bar[k] = sum[b] y_bar[b, k]
    y_c_bar[:] = real(0.0)
    for b in range(n_batch):
        for k in range(5):
            y_bar[b, k] = real(2.0) * loss_sum_bar * (y[b, k] - t[b, k])
            y_c_bar[k] += y_bar[b, k]

    # y_W_bar[j, k] = sum[b] x[b, j]*y_bar[b, k]
    matmul(x.T, y_bar, y_W_bar)


@kernel
def update(params, grads, v, numbers):
    """One step of momentum."""
    n_parameters = params.size
    w = params
    g = grads
    learning_rate = numbers[0]

    # v_next[i] = g[i] + 0.9*v[i]
    # w_next[i] = w[i] - learning_rate*v_next[i]
    for i in range(n_parameters):
        v_next = g[i] + real(0.9) * v[i]
        w[i] = w[i] - real(learning_rate) * v_next
        v[i] = v_next


@kernel
def loss_and_grad_into(params, x, t, workspace, grads):
    """Write the gradient of the loss to `grads`; return the loss."""
    loss = forward(params, x, t, workspace)
    backward(x, t, workspace, grads)
    return loss


@kernel
def train_step_into(params, x, t, workspace, grads, v, numbers, count):
    """One step of training in place: forward, backward, update. Return the loss."""
    loss = forward(params, x, t, workspace)
    backward(x, t, workspace, grads)
    count[0] += 1
    update(params, grads, v, numbers)
    return loss


@kernel(unroll=True)
def train_steps_into(
    params,
    x,
    t,
    x_batch,
    t_batch,
    workspace,
    grads,
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
            for i1 in range(t.shape[1]):
                t_batch[row, i1] = t[sample, i1]
        x_rows = x_batch[:rows]
        t_rows = t_batch[:rows]
        losses[turn] = forward(params, x_rows, t_rows, workspace)
        backward(x_rows, t_rows, workspace, grads)
        count[0] += 1
        update(params, grads, v, numbers)

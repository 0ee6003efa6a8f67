"""CUDA kernels of digits, in float32, and the order in which they run.

Written by symbp 0.1.0 from the spec a8b7ddc49f74: change the spec, not this file.
The kernels come first: at each point of a box a team of threads (one thread, a warp,
a block, a column of a block) carries out the equations above its lines. Arrays arrive
as addresses; the functions at the end, which run on the host, launch the kernels one
after the other. Arrays are C-contiguous; the interface has checked them.
"""

import math

import numpy as np
from numba import cuda

from ._runtime.cuda.contraction import contract
from ._runtime.cuda.kernel import (
    Doubles,
    Integers,
    Size,
    block_kernel,
    column_kernel,
    pointer,
    thread_kernel,
)
from ._runtime.cuda.scalar import exp, expm1, log, maximum, relu, sqrt, step
from ._runtime.cuda.team import BLOCK, COLUMN, WARP, block_sum, column_sum
from ._runtime.cuda.training import advance
from ._runtime.cuda.views import unravel, view

real = np.float32
Reals = pointer(real)


@thread_kernel
def predict_hidden(params: Reals, workspace: Reals, n_batch: Size):
    """One thread for each (b, k)."""
    hidden_c = view(params, 2048, (32,))
    hidden = view(workspace, 32 * n_batch, (n_batch, 32))
    hidden_z_sum = view(workspace, 0, (n_batch, 32))

    point = cuda.grid(1)
    if point >= 32 * n_batch:
        return
    b, k = unravel(point, (n_batch, 32))
    # hidden_z[b, k] = hidden_z_sum[b, k] + hidden_c[k]
    # hidden[b, k] = relu(hidden_z[b, k])
    hidden_z = hidden_z_sum[b, k] + hidden_c[k]
    hidden[b, k] = relu(hidden_z)


@thread_kernel
def predict_softmax(params: Reals, workspace: Reals, softmax: Reals, n_batch: Size):
    """One thread for each b."""
    out_c = view(params, 2400, (10,))
    out = view(workspace, 74 * n_batch, (n_batch, 10))
    out_sum = view(workspace, 64 * n_batch, (n_batch, 10))
    softmax_exp = view(workspace, 84 * n_batch, (n_batch, 10))
    softmax = view(softmax, 0, (n_batch, 10))

    b = cuda.grid(1)
    if b >= n_batch:
        return
    # out[b, k] = out_sum[b, k] + out_c[k]
    # softmax_max[b] = max[k] stop_gradient(out[b, k])
    softmax_max = real(-math.inf)
    for k in range(10):
        out[b, k] = out_sum[b, k] + out_c[k]
        softmax_max = maximum(softmax_max, out[b, k])
    # softmax_exp[b, k] = exp(out[b, k] - softmax_max[b])
    # softmax_total[b] = sum[k] softmax_exp[b, k]
    softmax_total = real(0.0)
    for k in range(10):
        softmax_exp[b, k] = exp(out[b, k] - softmax_max)
        softmax_total += softmax_exp[b, k]
    # softmax[b, k] = softmax_exp[b, k]/softmax_total[b]
    for k in range(10):
        softmax[b, k] = softmax_exp[b, k] / softmax_total


@thread_kernel
def forward_hidden(params: Reals, workspace: Reals, n_batch: Size):
    """One thread for each (b, k)."""
    hidden_c = view(params, 2048, (32,))
    hidden = view(workspace, 32 * n_batch, (n_batch, 32))
    hidden_z_sum = view(workspace, 0, (n_batch, 32))

    point = cuda.grid(1)
    if point >= 32 * n_batch:
        return
    b, k = unravel(point, (n_batch, 32))
    # hidden_z[b, k] = hidden_z_sum[b, k] + hidden_c[k]
    # hidden[b, k] = relu(hidden_z[b, k])
    hidden_z = hidden_z_sum[b, k] + hidden_c[k]
    hidden[b, k] = relu(hidden_z)


@thread_kernel
def forward_log_loss_total(params: Reals, workspace: Reals, n_batch: Size):
    """One thread for each b."""
    out_c = view(params, 2400, (10,))
    out = view(workspace, 32 * ((n_batch + 511) // 512) + 106 * n_batch, (n_batch, 10))
    out_sum = view(
        workspace, 32 * ((n_batch + 511) // 512) + 96 * n_batch, (n_batch, 10)
    )
    softmax_max = view(
        workspace, 42 * ((n_batch + 511) // 512) + 126 * n_batch, (n_batch,)
    )
    softmax_total = view(
        workspace, 42 * ((n_batch + 511) // 512) + 127 * n_batch, (n_batch,)
    )
    softmax_exp = view(
        workspace, 32 * ((n_batch + 511) // 512) + 116 * n_batch, (n_batch, 10)
    )
    log_loss_total = view(
        workspace, 42 * ((n_batch + 511) // 512) + 128 * n_batch, (n_batch,)
    )

    b = cuda.grid(1)
    if b >= n_batch:
        return
    # out[b, k] = out_sum[b, k] + out_c[k]
    # softmax_max[b] = max[k] stop_gradient(out[b, k])
    softmax_max_b = real(-math.inf)
    for k in range(10):
        out[b, k] = out_sum[b, k] + out_c[k]
        softmax_max_b = maximum(softmax_max_b, out[b, k])
    softmax_max[b] = softmax_max_b
    # softmax_exp[b, k] = exp(out[b, k] - softmax_max[b])
    # softmax_total[b] = sum[k] softmax_exp[b, k]
    softmax_total_b = real(0.0)
    for k in range(10):
        softmax_exp[b, k] = exp(out[b, k] - softmax_max_b)
        softmax_total_b += softmax_exp[b, k]
    softmax_total[b] = softmax_total_b
    # log_loss_total[b] = log(softmax_total[b])
    log_loss_total[b] = log(softmax_total_b)


@block_kernel
def forward_loss_part(label: Integers, workspace: Reals, n_batch: Size):
    """One block for each c."""
    label = view(label, 0, (n_batch,))
    out = view(workspace, 32 * ((n_batch + 511) // 512) + 106 * n_batch, (n_batch, 10))
    softmax_max = view(
        workspace, 42 * ((n_batch + 511) // 512) + 126 * n_batch, (n_batch,)
    )
    log_loss_total = view(
        workspace, 42 * ((n_batch + 511) // 512) + 128 * n_batch, (n_batch,)
    )
    loss_part = view(
        workspace,
        42 * ((n_batch + 511) // 512) + 129 * n_batch,
        ((n_batch + 511) // 512,),
    )

    c = cuda.blockIdx.x
    rank = cuda.threadIdx.x
    # loss_part[c] = sum[b] (softmax_max[b] + log_loss_total[b] - out[b, label[b]])
    #     /n_batch
    #     where b >= 512*c, 512*c + 511 >= b
    total = real(0.0)
    for b in range(512 * c + rank, min(n_batch, 512 * c + 512), BLOCK):
        total += softmax_max[b] + log_loss_total[b] - out[b, label[b]]
    total = block_sum(total)
    if rank == 0:
        loss_part[c] = total / real(n_batch)


@block_kernel
def forward_loss(workspace: Reals, loss: Reals, n_batch: Size):
    """One block."""
    loss_part = view(
        workspace,
        42 * ((n_batch + 511) // 512) + 129 * n_batch,
        ((n_batch + 511) // 512,),
    )
    loss = view(loss, 0, (1,))

    rank = cuda.threadIdx.x
    # loss = sum[c] loss_part[c]
    total = real(0.0)
    for c in range(rank, (n_batch + 511) // 512, BLOCK):
        total += loss_part[c]
    total = block_sum(total)
    if rank == 0:
        loss[0] = total


@thread_kernel
def backward_out_bar(label: Integers, workspace: Reals, n_batch: Size):
    """One thread for each (b, k)."""
    label = view(label, 0, (n_batch,))
    softmax_total = view(
        workspace, 42 * ((n_batch + 511) // 512) + 127 * n_batch, (n_batch,)
    )
    softmax_exp = view(
        workspace, 32 * ((n_batch + 511) // 512) + 116 * n_batch, (n_batch, 10)
    )
    out_bar = view(
        workspace, 32 * ((n_batch + 511) // 512) + 96 * n_batch, (n_batch, 10)
    )

    point = cuda.grid(1)
    if point >= 10 * n_batch:
        return
    b, k = unravel(point, (n_batch, 10))
    # softmax[b, k] = softmax_exp[b, k]/softmax_total[b]
    # out_bar[b, k] = (softmax[b, k] - select(k == label[b], 1, 0))/n_batch
    softmax = softmax_exp[b, k] / softmax_total[b]
    out_bar[b, k] = (
        softmax - (real(1.0) if k == label[b] else real(0.0))
    ) / real(n_batch)


@column_kernel
def backward_out_c_bar_part(workspace: Reals, n_batch: Size):
    """One column of threads for each (c, k)."""
    out_bar = view(
        workspace, 32 * ((n_batch + 511) // 512) + 96 * n_batch, (n_batch, 10)
    )
    out_c_bar_part = view(
        workspace,
        32 * ((n_batch + 511) // 512) + 126 * n_batch,
        ((n_batch + 511) // 512, 10),
    )

    point = cuda.blockIdx.x * WARP + cuda.laneid
    # Columns beyond the last take its point as well: all threads must reach the barriers.
    c, k = unravel(
        min(point, 10 * ((n_batch + 511) // 512) - 1), ((n_batch + 511) // 512, 10)
    )
    rank = cuda.threadIdx.x // WARP
    # out_c_bar_part[c, k] = sum[b] out_bar[b, k]
    #     where b >= 512*c, 512*c + 511 >= b
    total = real(0.0)
    for b in range(512 * c + rank, min(n_batch, 512 * c + 512), COLUMN):
        total += out_bar[b, k]
    total = column_sum(total)
    if rank == 0 and point < 10 * ((n_batch + 511) // 512):
        out_c_bar_part[c, k] = total


@column_kernel
def backward_out_c_bar(workspace: Reals, grads: Reals, n_batch: Size):
    """One column of threads for each k."""
    out_c_bar = view(grads, 2400, (10,))
    out_c_bar_part = view(
        workspace,
        32 * ((n_batch + 511) // 512) + 126 * n_batch,
        ((n_batch + 511) // 512, 10),
    )

    point = cuda.blockIdx.x * WARP + cuda.laneid
    # Columns beyond the last take its point as well: all threads must reach the barriers.
    k = min(point, 9)
    rank = cuda.threadIdx.x // WARP
    # out_c_bar[k] = sum[c] out_c_bar_part[c, k]
    total = real(0.0)
    for c in range(rank, (n_batch + 511) // 512, COLUMN):
        total += out_c_bar_part[c, k]
    total = column_sum(total)
    if rank == 0 and point < 10:
        out_c_bar[k] = total


@thread_kernel
def backward_hidden_z_bar(workspace: Reals, n_batch: Size):
    """One thread for each (b, k)."""
    hidden = view(workspace, 32 * n_batch, (n_batch, 32))
    hidden_z_bar = view(workspace, 64 * n_batch, (n_batch, 32))
    hidden_bar = view(workspace, 0, (n_batch, 32))

    point = cuda.grid(1)
    if point >= 32 * n_batch:
        return
    b, k = unravel(point, (n_batch, 32))
    # hidden_z_bar[b, k] = hidden_bar[b, k]*step(hidden[b, k])
    hidden_z_bar[b, k] = hidden_bar[b, k] * step(hidden[b, k])


@column_kernel
def backward_hidden_c_bar_part(workspace: Reals, n_batch: Size):
    """One column of threads for each (c, k)."""
    hidden_z_bar = view(workspace, 64 * n_batch, (n_batch, 32))
    hidden_c_bar_part = view(workspace, 96 * n_batch, ((n_batch + 511) // 512, 32))

    point = cuda.blockIdx.x * WARP + cuda.laneid
    # Columns beyond the last take its point as well: all threads must reach the barriers.
    c, k = unravel(
        min(point, 32 * ((n_batch + 511) // 512) - 1), ((n_batch + 511) // 512, 32)
    )
    rank = cuda.threadIdx.x // WARP
    # hidden_c_bar_part[c, k] = sum[b] hidden_z_bar[b, k]
    #     where b >= 512*c, 512*c + 511 >= b
    total = real(0.0)
    for b in range(512 * c + rank, min(n_batch, 512 * c + 512), COLUMN):
        total += hidden_z_bar[b, k]
    total = column_sum(total)
    if rank == 0 and point < 32 * ((n_batch + 511) // 512):
        hidden_c_bar_part[c, k] = total


@column_kernel
def backward_hidden_c_bar(workspace: Reals, grads: Reals, n_batch: Size):
    """One column of threads for each k."""
    hidden_c_bar = view(grads, 2048, (32,))
    hidden_c_bar_part = view(workspace, 96 * n_batch, ((n_batch + 511) // 512, 32))

    point = cuda.blockIdx.x * WARP + cuda.laneid
    # Columns beyond the last take its point as well: all threads must reach the barriers.
    k = min(point, 31)
    rank = cuda.threadIdx.x // WARP
    # hidden_c_bar[k] = sum[c] hidden_c_bar_part[c, k]
    total = real(0.0)
    for c in range(rank, (n_batch + 511) // 512, COLUMN):
        total += hidden_c_bar_part[c, k]
    total = column_sum(total)
    if rank == 0 and point < 32:
        hidden_c_bar[k] = total


@thread_kernel
def update_parameters(
    params: Reals,
    grads: Reals,
    m: Reals,
    v: Reals,
    numbers: Doubles,
    count: Integers,
    n_parameters: Size,
):
    """One thread for each i."""
    w = view(params, 0, (n_parameters,))
    g = view(grads, 0, (n_parameters,))
    m = view(m, 0, (n_parameters,))
    v = view(v, 0, (n_parameters,))
    numbers = view(numbers, 0, (1,))
    count = view(count, 0, (1,))
    learning_rate = numbers[0]
    t = float(count[0])

    i = cuda.grid(1)
    if i >= n_parameters:
        return
    # m_bias = -expm1(t*log(0.9))
    # v_bias = -expm1(t*log(0.999))
    # m_next[i] = 0.1*g[i] + 0.9*m[i]
    # v_next[i] = 0.001*g[i]**2 + 0.999*v[i]
    # w_next[i] = w[i] - learning_rate*m_next[i]
    #     /(m_bias*(1e-8 + sqrt(v_next[i]/v_bias)))
    m_bias = -expm1(-0.1053605156578263 * t)
    v_bias = -expm1(-0.0010005003335835335 * t)
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


def predict_into(device, params, x, workspace, softmax):
    """Evaluate the model."""
    n_batch = x.shape[0]
    hidden_W = params.view(0, (64, 32))
    out_W = params.view(2080, (32, 10))
    hidden = workspace.view(32 * n_batch, (n_batch, 32))
    hidden_z_sum = workspace.view(0, (n_batch, 32))
    out_sum = workspace.view(64 * n_batch, (n_batch, 10))

    # hidden_z_sum[b, k] = sum[j] x[b, j]*hidden_W[j, k]
    contract(device, "bj,jk->bk", x, hidden_W, hidden_z_sum)
    # hidden_z[b, k] = hidden_z_sum[b, k] + hidden_c[k]
    # hidden[b, k] = relu(hidden_z[b, k])
    device.launch(predict_hidden, 32 * n_batch, params, workspace, n_batch)
    # out_sum[b, k] = sum[k2] hidden[b, k2]*out_W[k2, k]
    contract(device, "bl,lk->bk", hidden, out_W, out_sum)
    # out[b, k] = out_sum[b, k] + out_c[k]
    # softmax_max[b] = max[k] stop_gradient(out[b, k])
    # softmax_exp[b, k] = exp(out[b, k] - softmax_max[b])
    # softmax_total[b] = sum[k] softmax_exp[b, k]
    # softmax[b, k] = softmax_exp[b, k]/softmax_total[b]
    device.launch(predict_softmax, n_batch, params, workspace, softmax, n_batch)


def forward(device, params, x, label, workspace, loss):
    """Evaluate the loss."""
    n_batch = x.shape[0]
    hidden_W = params.view(0, (64, 32))
    out_W = params.view(2080, (32, 10))
    hidden = workspace.view(32 * n_batch, (n_batch, 32))
    hidden_z_sum = workspace.view(0, (n_batch, 32))
    out_sum = workspace.view(
        32 * ((n_batch + 511) // 512) + 96 * n_batch, (n_batch, 10)
    )

    # hidden_z_sum[b, k] = sum[j] x[b, j]*hidden_W[j, k]
    contract(device, "bj,jk->bk", x, hidden_W, hidden_z_sum)
    # hidden_z[b, k] = hidden_z_sum[b, k] + hidden_c[k]
    # hidden[b, k] = relu(hidden_z[b, k])
    device.launch(forward_hidden, 32 * n_batch, params, workspace, n_batch)
    # out_sum[b, k] = sum[k2] hidden[b, k2]*out_W[k2, k]
    contract(device, "bl,lk->bk", hidden, out_W, out_sum)
    # out[b, k] = out_sum[b, k] + out_c[k]
    # softmax_max[b] = max[k] stop_gradient(out[b, k])
    # softmax_exp[b, k] = exp(out[b, k] - softmax_max[b])
    # softmax_total[b] = sum[k] softmax_exp[b, k]
    # log_loss_total[b] = log(softmax_total[b])
    device.launch(forward_log_loss_total, n_batch, params, workspace, n_batch)
    # loss_part[c] = sum[b] (softmax_max[b] + log_loss_total[b] - out[b, label[b]])
    #     /n_batch
    #     where b >= 512*c, 512*c + 511 >= b
    device.launch(forward_loss_part, (n_batch + 511) // 512, label, workspace, n_batch)
    # loss = sum[c] loss_part[c]
    device.launch(forward_loss, 1, workspace, loss, n_batch)


def backward(device, params, x, label, workspace, grads):
    """Differentiate the loss; follows `forward`."""
    n_batch = x.shape[0]
    out_W = params.view(2080, (32, 10))
    hidden = workspace.view(32 * n_batch, (n_batch, 32))
    hidden_W_bar = grads.view(0, (64, 32))
    out_W_bar = grads.view(2080, (32, 10))
    hidden_z_bar = workspace.view(64 * n_batch, (n_batch, 32))
    hidden_bar = workspace.view(0, (n_batch, 32))
    out_bar = workspace.view(
        32 * ((n_batch + 511) // 512) + 96 * n_batch, (n_batch, 10)
    )

    # softmax[b, k] = softmax_exp[b, k]/softmax_total[b]
    # out_bar[b, k] = (softmax[b, k] - select(k == label[b], 1, 0))/n_batch
    device.launch(backward_out_bar, 10 * n_batch, label, workspace, n_batch)
    # out_c_bar_part[c, k] = sum[b] out_bar[b, k]
    #     where b >= 512*c, 512*c + 511 >= b
    device.launch(
        backward_out_c_bar_part, 10 * ((n_batch + 511) // 512), workspace, n_batch
    )
    # out_c_bar[k] = sum[c] out_c_bar_part[c, k]
    device.launch(backward_out_c_bar, 10, workspace, grads, n_batch)
    # hidden_bar[b, k] = sum[k2] out_W[k, k2]*out_bar[b, k2]
    contract(device, "bl,kl->bk", out_bar, out_W, hidden_bar)
    # out_W_bar[k, k2] = sum[b] hidden[b, k]*out_bar[b, k2]
    contract(device, "bk,bl->kl", hidden, out_bar, out_W_bar)
    # hidden_z_bar[b, k] = hidden_bar[b, k]*step(hidden[b, k])
    device.launch(backward_hidden_z_bar, 32 * n_batch, workspace, n_batch)
    # hidden_c_bar_part[c, k] = sum[b] hidden_z_bar[b, k]
    #     where b >= 512*c, 512*c + 511 >= b
    device.launch(
        backward_hidden_c_bar_part, 32 * ((n_batch + 511) // 512), workspace, n_batch
    )
    # hidden_c_bar[k] = sum[c] hidden_c_bar_part[c, k]
    device.launch(backward_hidden_c_bar, 32, workspace, grads, n_batch)
    # hidden_W_bar[j, k] = sum[b] x[b, j]*hidden_z_bar[b, k]
    contract(device, "bj,bk->jk", x, hidden_z_bar, hidden_W_bar)


def update(device, params, grads, m, v, numbers, count):
    """One step of adam."""
    n_parameters = params.size

    # m_bias = -expm1(t*log(0.9))
    # v_bias = -expm1(t*log(0.999))
    # m_next[i] = 0.1*g[i] + 0.9*m[i]
    # v_next[i] = 0.001*g[i]**2 + 0.999*v[i]
    # w_next[i] = w[i] - learning_rate*m_next[i]
    #     /(m_bias*(1e-8 + sqrt(v_next[i]/v_bias)))
    device.launch(
        update_parameters,
        n_parameters,
        params,
        grads,
        m,
        v,
        numbers,
        count,
        n_parameters,
    )


def train_step_into(
    device, params, x, label, workspace, loss, grads, m, v, numbers, count
):
    """One step of training in place: forward, backward, update."""
    forward(device, params, x, label, workspace, loss)
    backward(device, params, x, label, workspace, grads)
    advance(device, count)
    update(device, params, grads, m, v, numbers, count)

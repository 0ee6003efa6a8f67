"""CUDA kernels of convolution, in float32, and the order in which they run.

Written by symbp 0.1.0 from the spec 32edf58ba97b: change the spec, not this file.
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
    Integers,
    Size,
    block_kernel,
    column_kernel,
    pointer,
    thread_kernel,
)
from ._runtime.cuda.scalar import exp, log, maximum, relu, step
from ._runtime.cuda.team import BLOCK, COLUMN, WARP, block_sum, column_sum
from ._runtime.cuda.views import unravel, view

real = np.float32
Reals = pointer(real)


@thread_kernel
def predict_conv(params: Reals, x: Reals, workspace: Reals, n_batch: Size):
    """One thread for each (b, o, p, q)."""
    x = view(x, 0, (n_batch, 1, 12, 12))
    conv_K = view(params, 0, (4, 1, 3, 3))
    conv_c = view(params, 36, (4,))
    conv = view(workspace, 0, (n_batch, 4, 10, 10))

    point = cuda.grid(1)
    if point >= 400 * n_batch:
        return
    b, o, p, q = unravel(point, (n_batch, 4, 10, 10))
    # conv_z_sum[b, o, p, q] = sum[c, u, v] x[b, c, p + u, q + v]*conv_K[o, c, u, v]
    conv_z_sum = real(0.0)
    for c in range(1):
        for u in range(3):
            for v in range(3):
                conv_z_sum += x[b, c, p + u, q + v] * conv_K[o, c, u, v]
    # conv[b, o, p, q] = relu(conv_z_sum[b, o, p, q] + conv_c[o])
    conv[b, o, p, q] = relu(conv_z_sum + conv_c[o])


@thread_kernel
def predict_flatten(workspace: Reals, n_batch: Size):
    """One thread for each (b, o, p, q)."""
    conv = view(workspace, 0, (n_batch, 4, 10, 10))
    flatten = view(workspace, 400 * n_batch, (n_batch, 100))

    point = cuda.grid(1)
    if point >= 100 * n_batch:
        return
    b, o, p, q = unravel(point, (n_batch, 4, 5, 5))
    # pool[b, o, p, q] = max[u, v] conv[b, o, 2*p + u, 2*q + v]
    pool = real(-math.inf)
    for u in range(2):
        for v in range(2):
            pool = maximum(pool, conv[b, o, 2 * p + u, 2 * q + v])
    # flatten[b, 25*o + 5*p + q] = pool[b, o, p, q]
    flatten[b, 25 * o + 5 * p + q] = pool


@thread_kernel
def predict_out(params: Reals, workspace: Reals, out: Reals, n_batch: Size):
    """One thread for each (b, k)."""
    out_c = view(params, 540, (5,))
    out_sum = view(workspace, 500 * n_batch, (n_batch, 5))
    out = view(out, 0, (n_batch, 5))

    point = cuda.grid(1)
    if point >= 5 * n_batch:
        return
    b, k = unravel(point, (n_batch, 5))
    # out[b, k] = out_sum[b, k] + out_c[k]
    out[b, k] = out_sum[b, k] + out_c[k]


@thread_kernel
def forward_conv(params: Reals, x: Reals, workspace: Reals, n_batch: Size):
    """One thread for each (b, o, p, q)."""
    x = view(x, 0, (n_batch, 1, 12, 12))
    conv_K = view(params, 0, (4, 1, 3, 3))
    conv_c = view(params, 36, (4,))
    conv = view(workspace, 0, (n_batch, 4, 10, 10))

    point = cuda.grid(1)
    if point >= 400 * n_batch:
        return
    b, o, p, q = unravel(point, (n_batch, 4, 10, 10))
    # conv_z_sum[b, o, p, q] = sum[c, u, v] x[b, c, p + u, q + v]*conv_K[o, c, u, v]
    conv_z_sum = real(0.0)
    for c in range(1):
        for u in range(3):
            for v in range(3):
                conv_z_sum += x[b, c, p + u, q + v] * conv_K[o, c, u, v]
    # conv[b, o, p, q] = relu(conv_z_sum[b, o, p, q] + conv_c[o])
    conv[b, o, p, q] = relu(conv_z_sum + conv_c[o])


@thread_kernel
def forward_flatten(workspace: Reals, n_batch: Size):
    """One thread for each (b, o, p, q)."""
    conv = view(workspace, 0, (n_batch, 4, 10, 10))
    flatten = view(workspace, 1200 * n_batch, (n_batch, 100))

    point = cuda.grid(1)
    if point >= 100 * n_batch:
        return
    b, o, p, q = unravel(point, (n_batch, 4, 5, 5))
    # pool[b, o, p, q] = max[u, v] conv[b, o, 2*p + u, 2*q + v]
    pool = real(-math.inf)
    for u in range(2):
        for v in range(2):
            pool = maximum(pool, conv[b, o, 2 * p + u, 2 * q + v])
    # flatten[b, 25*o + 5*p + q] = pool[b, o, p, q]
    flatten[b, 25 * o + 5 * p + q] = pool


@thread_kernel
def forward_log_loss_total(params: Reals, workspace: Reals, n_batch: Size):
    """One thread for each b."""
    out_c = view(params, 540, (5,))
    out = view(workspace, 40 * ((n_batch + 4) // 5) + 1405 * n_batch, (n_batch, 5))
    out_sum = view(workspace, 40 * ((n_batch + 4) // 5) + 1400 * n_batch, (n_batch, 5))
    loss_max = view(workspace, 40 * ((n_batch + 4) // 5) + 1410 * n_batch, (n_batch,))
    loss_total = view(workspace, 40 * ((n_batch + 4) // 5) + 1411 * n_batch, (n_batch,))
    loss_exp = view(workspace, 40 * ((n_batch + 4) // 5) + 1412 * n_batch, (n_batch, 5))
    log_loss_total = view(
        workspace, 40 * ((n_batch + 4) // 5) + 1417 * n_batch, (n_batch,)
    )

    b = cuda.grid(1)
    if b >= n_batch:
        return
    # out[b, k] = out_sum[b, k] + out_c[k]
    # loss_max[b] = max[k] stop_gradient(out[b, k])
    loss_max_b = real(-math.inf)
    for k in range(5):
        out[b, k] = out_sum[b, k] + out_c[k]
        loss_max_b = maximum(loss_max_b, out[b, k])
    loss_max[b] = loss_max_b
    # loss_exp[b, k] = exp(out[b, k] - loss_max[b])
    # loss_total[b] = sum[k] loss_exp[b, k]
    loss_total_b = real(0.0)
    for k in range(5):
        loss_exp[b, k] = exp(out[b, k] - loss_max_b)
        loss_total_b += loss_exp[b, k]
    loss_total[b] = loss_total_b
    # log_loss_total[b] = log(loss_total[b])
    log_loss_total[b] = log(loss_total_b)


@block_kernel
def forward_loss_part(label: Integers, workspace: Reals, n_batch: Size):
    """One block for each c."""
    label = view(label, 0, (n_batch,))
    out = view(workspace, 40 * ((n_batch + 4) // 5) + 1405 * n_batch, (n_batch, 5))
    loss_max = view(workspace, 40 * ((n_batch + 4) // 5) + 1410 * n_batch, (n_batch,))
    log_loss_total = view(
        workspace, 40 * ((n_batch + 4) // 5) + 1417 * n_batch, (n_batch,)
    )
    loss_part = view(
        workspace, 40 * ((n_batch + 4) // 5) + 1418 * n_batch, ((n_batch + 511) // 512,)
    )

    c = cuda.blockIdx.x
    rank = cuda.threadIdx.x
    # loss_part[c] = sum[b] (loss_max[b] + log_loss_total[b] - out[b, label[b]])/n_batch
    #     where b >= 512*c, 512*c + 511 >= b
    total = real(0.0)
    for b in range(512 * c + rank, min(n_batch, 512 * c + 512), BLOCK):
        total += loss_max[b] + log_loss_total[b] - out[b, label[b]]
    total = block_sum(total)
    if rank == 0:
        loss_part[c] = total / real(n_batch)


@block_kernel
def forward_loss(workspace: Reals, loss: Reals, n_batch: Size):
    """One block."""
    loss_part = view(
        workspace, 40 * ((n_batch + 4) // 5) + 1418 * n_batch, ((n_batch + 511) // 512,)
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
def backward_pool_argmax(workspace: Reals, positions: Integers, n_batch: Size):
    """One thread for each (b, o, p, q)."""
    conv = view(workspace, 0, (n_batch, 4, 10, 10))
    pool_argmax = view(positions, 0, (n_batch, 4, 5, 5))

    point = cuda.grid(1)
    if point >= 100 * n_batch:
        return
    b, o, p, q = unravel(point, (n_batch, 4, 5, 5))
    # pool_argmax[b, o, p, q] = argmax[u, v] conv[b, o, 2*p + u, 2*q + v]
    best = real(-math.inf)
    place = -1
    for u in range(2):
        for v in range(2):
            value = conv[b, o, 2 * p + u, 2 * q + v]
            if value > best:
                best = value
                place = 2 * u + v
    pool_argmax[b, o, p, q] = place


@thread_kernel
def backward_out_bar(label: Integers, workspace: Reals, n_batch: Size):
    """One thread for each (b, k)."""
    label = view(label, 0, (n_batch,))
    loss_total = view(workspace, 40 * ((n_batch + 4) // 5) + 1411 * n_batch, (n_batch,))
    loss_exp = view(workspace, 40 * ((n_batch + 4) // 5) + 1412 * n_batch, (n_batch, 5))
    out_bar = view(workspace, 40 * ((n_batch + 4) // 5) + 1400 * n_batch, (n_batch, 5))

    point = cuda.grid(1)
    if point >= 5 * n_batch:
        return
    b, k = unravel(point, (n_batch, 5))
    # out_bar[b, k] = (loss_exp[b, k]/loss_total[b] - select(k == label[b], 1, 0))
    #     /n_batch
    out_bar[b, k] = (
        loss_exp[b, k] / loss_total[b] - (real(1.0) if k == label[b] else real(0.0))
    ) / real(n_batch)


@column_kernel
def backward_out_c_bar_part(workspace: Reals, n_batch: Size):
    """One column of threads for each (c, k)."""
    out_bar = view(workspace, 40 * ((n_batch + 4) // 5) + 1400 * n_batch, (n_batch, 5))
    out_c_bar_part = view(
        workspace,
        40 * ((n_batch + 4) // 5) + (n_batch + 511) // 512 + 1418 * n_batch,
        ((n_batch + 511) // 512, 5),
    )

    point = cuda.blockIdx.x * WARP + cuda.laneid
    # Columns beyond the last take its point as well: all threads must reach the barriers.
    c, k = unravel(
        min(point, 5 * ((n_batch + 511) // 512) - 1), ((n_batch + 511) // 512, 5)
    )
    rank = cuda.threadIdx.x // WARP
    # out_c_bar_part[c, k] = sum[b] out_bar[b, k]
    #     where b >= 512*c, 512*c + 511 >= b
    total = real(0.0)
    for b in range(512 * c + rank, min(n_batch, 512 * c + 512), COLUMN):
        total += out_bar[b, k]
    total = column_sum(total)
    if rank == 0 and point < 5 * ((n_batch + 511) // 512):
        out_c_bar_part[c, k] = total


@column_kernel
def backward_out_c_bar(workspace: Reals, grads: Reals, n_batch: Size):
    """One column of threads for each k."""
    out_c_bar = view(grads, 540, (5,))
    out_c_bar_part = view(
        workspace,
        40 * ((n_batch + 4) // 5) + (n_batch + 511) // 512 + 1418 * n_batch,
        ((n_batch + 511) // 512, 5),
    )

    point = cuda.blockIdx.x * WARP + cuda.laneid
    # Columns beyond the last take its point as well: all threads must reach the barriers.
    k = min(point, 4)
    rank = cuda.threadIdx.x // WARP
    # out_c_bar[k] = sum[c] out_c_bar_part[c, k]
    total = real(0.0)
    for c in range(rank, (n_batch + 511) // 512, COLUMN):
        total += out_c_bar_part[c, k]
    total = column_sum(total)
    if rank == 0 and point < 5:
        out_c_bar[k] = total


@thread_kernel
def backward_conv_bar(workspace: Reals, positions: Integers, n_batch: Size):
    """One thread for each (b, o, p, u, q)."""
    pool_argmax = view(positions, 0, (n_batch, 4, 5, 5))
    conv_bar = view(workspace, 400 * n_batch, (n_batch, 4, 10, 10))
    flatten_bar = view(workspace, 1300 * n_batch, (n_batch, 100))

    point = cuda.grid(1)
    if point >= 200 * n_batch:
        return
    b, o, p, u, q = unravel(point, (n_batch, 4, 5, 2, 5))
    # conv_bar[b, o, 2*p + u, 2*q + v] += flatten_bar[b, 25*o + 5*p + q]
    #     where 2*u + v == pool_argmax[b, o, p, q]
    v = pool_argmax[b, o, p, q] - 2 * u
    if 0 <= v <= 1:
        conv_bar[b, o, 2 * p + u, 2 * q + v] += flatten_bar[b, 25 * o + 5 * p + q]


@thread_kernel
def backward_conv_z_bar(workspace: Reals, n_batch: Size):
    """One thread for each (b, o, p, q)."""
    conv = view(workspace, 0, (n_batch, 4, 10, 10))
    conv_z_bar = view(workspace, 800 * n_batch, (n_batch, 4, 10, 10))
    conv_bar = view(workspace, 400 * n_batch, (n_batch, 4, 10, 10))

    point = cuda.grid(1)
    if point >= 400 * n_batch:
        return
    b, o, p, q = unravel(point, (n_batch, 4, 10, 10))
    # conv_z_bar[b, o, p, q] = conv_bar[b, o, p, q]*step(conv[b, o, p, q])
    conv_z_bar[b, o, p, q] = conv_bar[b, o, p, q] * step(conv[b, o, p, q])


@block_kernel
def backward_conv_c_bar_part(workspace: Reals, n_batch: Size):
    """One block for each (c, o)."""
    conv_z_bar = view(workspace, 800 * n_batch, (n_batch, 4, 10, 10))
    conv_c_bar_part = view(workspace, 1400 * n_batch, ((n_batch + 4) // 5, 4))

    point = cuda.blockIdx.x
    c, o = unravel(point, ((n_batch + 4) // 5, 4))
    rank = cuda.threadIdx.x
    # conv_c_bar_part[c, o] = sum[b, p, q] conv_z_bar[b, o, p, q]
    #     where b >= 5*c, 5*c + 4 >= b
    total = real(0.0)
    first, stop = 5 * c, min(n_batch, 5 * c + 5)
    for i in range(rank, (stop - first) * 100, BLOCK):
        b, p, q = unravel(i, (stop - first, 10, 10))
        b += first
        total += conv_z_bar[b, o, p, q]
    total = block_sum(total)
    if rank == 0:
        conv_c_bar_part[c, o] = total


@column_kernel
def backward_conv_c_bar(workspace: Reals, grads: Reals, n_batch: Size):
    """One column of threads for each o."""
    conv_c_bar = view(grads, 36, (4,))
    conv_c_bar_part = view(workspace, 1400 * n_batch, ((n_batch + 4) // 5, 4))

    point = cuda.blockIdx.x * WARP + cuda.laneid
    # Columns beyond the last take its point as well: all threads must reach the barriers.
    o = min(point, 3)
    rank = cuda.threadIdx.x // WARP
    # conv_c_bar[o] = sum[c] conv_c_bar_part[c, o]
    total = real(0.0)
    for c in range(rank, (n_batch + 4) // 5, COLUMN):
        total += conv_c_bar_part[c, o]
    total = column_sum(total)
    if rank == 0 and point < 4:
        conv_c_bar[o] = total


@column_kernel
def backward_conv_K_bar_part(x: Reals, workspace: Reals, n_batch: Size):
    """One column of threads for each (c2, o, c, u, v)."""
    x = view(x, 0, (n_batch, 1, 12, 12))
    conv_z_bar = view(workspace, 800 * n_batch, (n_batch, 4, 10, 10))
    conv_K_bar_part = view(
        workspace,
        4 * ((n_batch + 4) // 5) + 1400 * n_batch,
        ((n_batch + 4) // 5, 4, 1, 3, 3),
    )

    point = cuda.blockIdx.x * WARP + cuda.laneid
    # Columns beyond the last take its point as well: all threads must reach the barriers.
    c2, o, c, u, v = unravel(
        min(point, 36 * ((n_batch + 4) // 5) - 1), ((n_batch + 4) // 5, 4, 1, 3, 3)
    )
    rank = cuda.threadIdx.x // WARP
    # conv_K_bar_part[c2, o, c, u, v] = sum[b, p, q] x[b, c, p + u, q + v]
    #     *conv_z_bar[b, o, p, q]
    #     where b >= 5*c2, 5*c2 + 4 >= b
    total = real(0.0)
    first, stop = 5 * c2, min(n_batch, 5 * c2 + 5)
    for i in range(rank, (stop - first) * 100, COLUMN):
        b, p, q = unravel(i, (stop - first, 10, 10))
        b += first
        total += x[b, c, p + u, q + v] * conv_z_bar[b, o, p, q]
    total = column_sum(total)
    if rank == 0 and point < 36 * ((n_batch + 4) // 5):
        conv_K_bar_part[c2, o, c, u, v] = total


@column_kernel
def backward_conv_K_bar(workspace: Reals, grads: Reals, n_batch: Size):
    """One column of threads for each (o, c, u, v)."""
    conv_K_bar = view(grads, 0, (4, 1, 3, 3))
    conv_K_bar_part = view(
        workspace,
        4 * ((n_batch + 4) // 5) + 1400 * n_batch,
        ((n_batch + 4) // 5, 4, 1, 3, 3),
    )

    point = cuda.blockIdx.x * WARP + cuda.laneid
    # Columns beyond the last take its point as well: all threads must reach the barriers.
    o, c, u, v = unravel(min(point, 35), (4, 1, 3, 3))
    rank = cuda.threadIdx.x // WARP
    # conv_K_bar[o, c, u, v] = sum[c2] conv_K_bar_part[c2, o, c, u, v]
    total = real(0.0)
    for c2 in range(rank, (n_batch + 4) // 5, COLUMN):
        total += conv_K_bar_part[c2, o, c, u, v]
    total = column_sum(total)
    if rank == 0 and point < 36:
        conv_K_bar[o, c, u, v] = total


def predict_into(device, params, x, workspace, out):
    """Evaluate the model."""
    n_batch = x.shape[0]
    out_W = params.view(40, (100, 5))
    flatten = workspace.view(400 * n_batch, (n_batch, 100))
    out_sum = workspace.view(500 * n_batch, (n_batch, 5))

    # conv_z_sum[b, o, p, q] = sum[c, u, v] x[b, c, p + u, q + v]*conv_K[o, c, u, v]
    # conv[b, o, p, q] = relu(conv_z_sum[b, o, p, q] + conv_c[o])
    device.launch(predict_conv, 400 * n_batch, params, x, workspace, n_batch)
    # pool[b, o, p, q] = max[u, v] conv[b, o, 2*p + u, 2*q + v]
    # flatten[b, 25*o + 5*p + q] = pool[b, o, p, q]
    device.launch(predict_flatten, 100 * n_batch, workspace, n_batch)
    # out_sum[b, k] = sum[m] flatten[b, m]*out_W[m, k]
    contract(device, "bm,mk->bk", flatten, out_W, out_sum)
    # out[b, k] = out_sum[b, k] + out_c[k]
    device.launch(predict_out, 5 * n_batch, params, workspace, out, n_batch)


def forward(device, params, x, label, workspace, loss):
    """Evaluate the loss."""
    n_batch = x.shape[0]
    out_W = params.view(40, (100, 5))
    flatten = workspace.view(1200 * n_batch, (n_batch, 100))
    out_sum = workspace.view(40 * ((n_batch + 4) // 5) + 1400 * n_batch, (n_batch, 5))

    # conv_z_sum[b, o, p, q] = sum[c, u, v] x[b, c, p + u, q + v]*conv_K[o, c, u, v]
    # conv[b, o, p, q] = relu(conv_z_sum[b, o, p, q] + conv_c[o])
    device.launch(forward_conv, 400 * n_batch, params, x, workspace, n_batch)
    # pool[b, o, p, q] = max[u, v] conv[b, o, 2*p + u, 2*q + v]
    # flatten[b, 25*o + 5*p + q] = pool[b, o, p, q]
    device.launch(forward_flatten, 100 * n_batch, workspace, n_batch)
    # out_sum[b, k] = sum[m] flatten[b, m]*out_W[m, k]
    contract(device, "bm,mk->bk", flatten, out_W, out_sum)
    # out[b, k] = out_sum[b, k] + out_c[k]
    # loss_max[b] = max[k] stop_gradient(out[b, k])
    # loss_exp[b, k] = exp(out[b, k] - loss_max[b])
    # loss_total[b] = sum[k] loss_exp[b, k]
    # log_loss_total[b] = log(loss_total[b])
    device.launch(forward_log_loss_total, n_batch, params, workspace, n_batch)
    # loss_part[c] = sum[b] (loss_max[b] + log_loss_total[b] - out[b, label[b]])/n_batch
    #     where b >= 512*c, 512*c + 511 >= b
    device.launch(forward_loss_part, (n_batch + 511) // 512, label, workspace, n_batch)
    # loss = sum[c] loss_part[c]
    device.launch(forward_loss, 1, workspace, loss, n_batch)


def backward(device, params, x, label, workspace, positions, grads):
    """Differentiate the loss; follows `forward`."""
    n_batch = x.shape[0]
    out_W = params.view(40, (100, 5))
    flatten = workspace.view(1200 * n_batch, (n_batch, 100))
    out_W_bar = grads.view(40, (100, 5))
    conv_bar = workspace.view(400 * n_batch, (n_batch, 4, 10, 10))
    flatten_bar = workspace.view(1300 * n_batch, (n_batch, 100))
    out_bar = workspace.view(40 * ((n_batch + 4) // 5) + 1400 * n_batch, (n_batch, 5))

    # pool_argmax[b, o, p, q] = argmax[u, v] conv[b, o, 2*p + u, 2*q + v]
    device.launch(backward_pool_argmax, 100 * n_batch, workspace, positions, n_batch)
    # out_bar[b, k] = (loss_exp[b, k]/loss_total[b] - select(k == label[b], 1, 0))
    #     /n_batch
    device.launch(backward_out_bar, 5 * n_batch, label, workspace, n_batch)
    # out_c_bar_part[c, k] = sum[b] out_bar[b, k]
    #     where b >= 512*c, 512*c + 511 >= b
    device.launch(
        backward_out_c_bar_part, 5 * ((n_batch + 511) // 512), workspace, n_batch
    )
    # out_c_bar[k] = sum[c] out_c_bar_part[c, k]
    device.launch(backward_out_c_bar, 5, workspace, grads, n_batch)
    # flatten_bar[b, m] = sum[k] out_W[m, k]*out_bar[b, k]
    contract(device, "bk,mk->bm", out_bar, out_W, flatten_bar)
    # out_W_bar[m, k] = sum[b] flatten[b, m]*out_bar[b, k]
    contract(device, "bm,bk->mk", flatten, out_bar, out_W_bar)
    # conv_bar[b, o, 2*p + u, 2*q + v] += flatten_bar[b, 25*o + 5*p + q]
    #     where 2*u + v == pool_argmax[b, o, p, q]
    device.clear(conv_bar)
    device.launch(backward_conv_bar, 200 * n_batch, workspace, positions, n_batch)
    # conv_z_bar[b, o, p, q] = conv_bar[b, o, p, q]*step(conv[b, o, p, q])
    device.launch(backward_conv_z_bar, 400 * n_batch, workspace, n_batch)
    # conv_c_bar_part[c, o] = sum[b, p, q] conv_z_bar[b, o, p, q]
    #     where b >= 5*c, 5*c + 4 >= b
    device.launch(
        backward_conv_c_bar_part, 4 * ((n_batch + 4) // 5), workspace, n_batch
    )
    # conv_c_bar[o] = sum[c] conv_c_bar_part[c, o]
    device.launch(backward_conv_c_bar, 4, workspace, grads, n_batch)
    # conv_K_bar_part[c2, o, c, u, v] = sum[b, p, q] x[b, c, p + u, q + v]
    #     *conv_z_bar[b, o, p, q]
    #     where b >= 5*c2, 5*c2 + 4 >= b
    device.launch(
        backward_conv_K_bar_part, 36 * ((n_batch + 4) // 5), x, workspace, n_batch
    )
    # conv_K_bar[o, c, u, v] = sum[c2] conv_K_bar_part[c2, o, c, u, v]
    device.launch(backward_conv_K_bar, 36, workspace, grads, n_batch)

"""CUDA kernels of lstm, in float32, and the order in which they run.

Written by symbp 0.1.0 from the spec 051d1963f177: change the spec, not this file.
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
    warp_kernel,
)
from ._runtime.cuda.scalar import exp, log, maximum, sigmoid, tanh
from ._runtime.cuda.team import BLOCK, COLUMN, WARP, block_sum, column_sum
from ._runtime.cuda.views import unravel, view

real = np.float32
Reals = pointer(real)


@thread_kernel
def predict_lstm_s(workspace: Reals, n_batch: Size, n_time: Size):
    """One thread for each (b, k)."""
    lstm_h = view(workspace, 64 * n_batch * n_time, (n_batch, n_time + 1, 16))
    lstm_s = view(
        workspace, 16 * n_batch + 80 * n_batch * n_time, (n_batch, n_time + 1, 16)
    )

    point = cuda.grid(1)
    if point >= 16 * n_batch:
        return
    b, k = unravel(point, (n_batch, 16))
    # lstm_h[b, 0, k] = 0
    # lstm_s[b, 0, k] = 0
    lstm_h[b, 0, k] = real(0.0)
    lstm_s[b, 0, k] = real(0.0)


@warp_kernel
def predict_lstm_h(params: Reals, workspace: Reals, n_batch: Size, n_time: Size):
    """One warp for each b."""
    lstm_U = view(params, 512, (16, 4, 16))
    lstm_c = view(params, 1536, (4, 16))
    lstm_h = view(workspace, 64 * n_batch * n_time, (n_batch, n_time + 1, 16))
    lstm_s = view(
        workspace, 16 * n_batch + 80 * n_batch * n_time, (n_batch, n_time + 1, 16)
    )
    lstm_z = view(
        workspace, 32 * n_batch + 96 * n_batch * n_time, (n_batch, n_time, 4, 16)
    )
    lstm_z_sum_2 = view(workspace, 0, (n_batch, n_time, 4, 16))

    b = cuda.grid(1) // WARP
    if b >= n_batch:
        return
    lane = cuda.laneid
    for t in range(n_time):
        for i in range(lane, 64, WARP):
            q, k = unravel(i, (4, 16))
            # lstm_z_sum[b, t, q, k] = sum[l] lstm_U[l, q, k]*lstm_h[b, t, l]
            lstm_z_sum = real(0.0)
            for l in range(16):
                lstm_z_sum += lstm_U[l, q, k] * lstm_h[b, t, l]
            # lstm_z[b, t, q, k] = lstm_z_sum[b, t, q, k] + lstm_z_sum_2[b, t, q, k]
            #     + lstm_c[q, k]
            lstm_z[b, t, q, k] = lstm_z_sum + lstm_z_sum_2[b, t, q, k] + lstm_c[q, k]
        cuda.syncwarp()
        # lstm_i[b, t, k] = sigmoid(lstm_z[b, t, 0, k])
        # lstm_f[b, t, k] = sigmoid(lstm_z[b, t, 1, k])
        # lstm_g[b, t, k] = tanh(lstm_z[b, t, 2, k])
        # lstm_o[b, t, k] = sigmoid(lstm_z[b, t, 3, k])
        # lstm_s[b, t + 1, k] = lstm_s[b, t, k]*lstm_f[b, t, k]
        #     + lstm_i[b, t, k]*lstm_g[b, t, k]
        # tanh_lstm_s[b, t, k] = tanh(lstm_s[b, t + 1, k])
        # lstm_h[b, t + 1, k] = tanh_lstm_s[b, t, k]*lstm_o[b, t, k]
        for k in range(lane, 16, WARP):
            lstm_i = sigmoid(lstm_z[b, t, 0, k])
            lstm_f = sigmoid(lstm_z[b, t, 1, k])
            lstm_g = tanh(lstm_z[b, t, 2, k])
            lstm_o = sigmoid(lstm_z[b, t, 3, k])
            lstm_s[b, t + 1, k] = lstm_s[b, t, k] * lstm_f + lstm_i * lstm_g
            tanh_lstm_s = tanh(lstm_s[b, t + 1, k])
            lstm_h[b, t + 1, k] = tanh_lstm_s * lstm_o
        cuda.syncwarp()


@thread_kernel
def predict_lstm(workspace: Reals, n_batch: Size, n_time: Size):
    """One thread for each (b, k)."""
    lstm_h = view(workspace, 64 * n_batch * n_time, (n_batch, n_time + 1, 16))
    lstm = view(workspace, 32 * n_batch + 160 * n_batch * n_time, (n_batch, 16))

    point = cuda.grid(1)
    if point >= 16 * n_batch:
        return
    b, k = unravel(point, (n_batch, 16))
    # lstm[b, k] = lstm_h[b, n_time, k]
    lstm[b, k] = lstm_h[b, n_time, k]


@thread_kernel
def predict_out(
    params: Reals, workspace: Reals, out: Reals, n_batch: Size, n_time: Size
):
    """One thread for each (b, k)."""
    out_c = view(params, 1760, (10,))
    out_sum = view(workspace, 48 * n_batch + 160 * n_batch * n_time, (n_batch, 10))
    out = view(out, 0, (n_batch, 10))

    point = cuda.grid(1)
    if point >= 10 * n_batch:
        return
    b, k = unravel(point, (n_batch, 10))
    # out[b, k] = out_sum[b, k] + out_c[k]
    out[b, k] = out_sum[b, k] + out_c[k]


@thread_kernel
def forward_lstm_s(workspace: Reals, n_batch: Size, n_time: Size):
    """One thread for each (b, k)."""
    lstm_h = view(workspace, 64 * n_batch * n_time, (n_batch, n_time + 1, 16))
    lstm_s = view(
        workspace, 16 * n_batch + 80 * n_batch * n_time, (n_batch, n_time + 1, 16)
    )

    point = cuda.grid(1)
    if point >= 16 * n_batch:
        return
    b, k = unravel(point, (n_batch, 16))
    # lstm_h[b, 0, k] = 0
    # lstm_s[b, 0, k] = 0
    lstm_h[b, 0, k] = real(0.0)
    lstm_s[b, 0, k] = real(0.0)


@warp_kernel
def forward_lstm_h(params: Reals, workspace: Reals, n_batch: Size, n_time: Size):
    """One warp for each b."""
    lstm_U = view(params, 512, (16, 4, 16))
    lstm_c = view(params, 1536, (4, 16))
    lstm_h = view(workspace, 64 * n_batch * n_time, (n_batch, n_time + 1, 16))
    lstm_s = view(
        workspace, 16 * n_batch + 80 * n_batch * n_time, (n_batch, n_time + 1, 16)
    )
    lstm_z = view(
        workspace, 32 * n_batch + 96 * n_batch * n_time, (n_batch, n_time, 4, 16)
    )
    lstm_i = view(
        workspace, 32 * n_batch + 160 * n_batch * n_time, (n_batch, n_time, 16)
    )
    lstm_f = view(
        workspace, 32 * n_batch + 176 * n_batch * n_time, (n_batch, n_time, 16)
    )
    lstm_g = view(
        workspace, 32 * n_batch + 192 * n_batch * n_time, (n_batch, n_time, 16)
    )
    lstm_o = view(
        workspace, 32 * n_batch + 208 * n_batch * n_time, (n_batch, n_time, 16)
    )
    lstm_z_sum_2 = view(workspace, 0, (n_batch, n_time, 4, 16))
    tanh_lstm_s = view(
        workspace, 32 * n_batch + 224 * n_batch * n_time, (n_batch, n_time, 16)
    )

    b = cuda.grid(1) // WARP
    if b >= n_batch:
        return
    lane = cuda.laneid
    for t in range(n_time):
        for i in range(lane, 64, WARP):
            q, k = unravel(i, (4, 16))
            # lstm_z_sum[b, t, q, k] = sum[l] lstm_U[l, q, k]*lstm_h[b, t, l]
            lstm_z_sum = real(0.0)
            for l in range(16):
                lstm_z_sum += lstm_U[l, q, k] * lstm_h[b, t, l]
            # lstm_z[b, t, q, k] = lstm_z_sum[b, t, q, k] + lstm_z_sum_2[b, t, q, k]
            #     + lstm_c[q, k]
            lstm_z[b, t, q, k] = lstm_z_sum + lstm_z_sum_2[b, t, q, k] + lstm_c[q, k]
        cuda.syncwarp()
        # lstm_i[b, t, k] = sigmoid(lstm_z[b, t, 0, k])
        # lstm_f[b, t, k] = sigmoid(lstm_z[b, t, 1, k])
        # lstm_g[b, t, k] = tanh(lstm_z[b, t, 2, k])
        # lstm_o[b, t, k] = sigmoid(lstm_z[b, t, 3, k])
        # lstm_s[b, t + 1, k] = lstm_s[b, t, k]*lstm_f[b, t, k]
        #     + lstm_i[b, t, k]*lstm_g[b, t, k]
        # tanh_lstm_s[b, t, k] = tanh(lstm_s[b, t + 1, k])
        # lstm_h[b, t + 1, k] = tanh_lstm_s[b, t, k]*lstm_o[b, t, k]
        for k in range(lane, 16, WARP):
            lstm_i[b, t, k] = sigmoid(lstm_z[b, t, 0, k])
            lstm_f[b, t, k] = sigmoid(lstm_z[b, t, 1, k])
            lstm_g[b, t, k] = tanh(lstm_z[b, t, 2, k])
            lstm_o[b, t, k] = sigmoid(lstm_z[b, t, 3, k])
            lstm_s[b, t + 1, k] = (
                lstm_s[b, t, k] * lstm_f[b, t, k] + lstm_i[b, t, k] * lstm_g[b, t, k]
            )
            tanh_lstm_s[b, t, k] = tanh(lstm_s[b, t + 1, k])
            lstm_h[b, t + 1, k] = tanh_lstm_s[b, t, k] * lstm_o[b, t, k]
        cuda.syncwarp()


@thread_kernel
def forward_lstm(workspace: Reals, n_batch: Size, n_time: Size):
    """One thread for each (b, k)."""
    lstm_h = view(workspace, 64 * n_batch * n_time, (n_batch, n_time + 1, 16))
    lstm = view(workspace, 32 * n_batch + 240 * n_batch * n_time, (n_batch, 16))

    point = cuda.grid(1)
    if point >= 16 * n_batch:
        return
    b, k = unravel(point, (n_batch, 16))
    # lstm[b, k] = lstm_h[b, n_time, k]
    lstm[b, k] = lstm_h[b, n_time, k]


@thread_kernel
def forward_log_loss_total(
    params: Reals, workspace: Reals, n_batch: Size, n_time: Size
):
    """One thread for each b."""
    out_c = view(params, 1760, (10,))
    out = view(
        workspace,
        64 * ((n_batch + 15) // 16) + 106 * n_batch + 272 * n_batch * n_time + 1024,
        (n_batch, 10),
    )
    out_sum = view(
        workspace,
        64 * ((n_batch + 15) // 16) + 96 * n_batch + 272 * n_batch * n_time + 1024,
        (n_batch, 10),
    )
    loss_max = view(
        workspace,
        64 * ((n_batch + 15) // 16)
        + 10 * ((n_batch + 511) // 512)
        + 126 * n_batch
        + 272 * n_batch * n_time
        + 1024,
        (n_batch,),
    )
    loss_total = view(
        workspace,
        64 * ((n_batch + 15) // 16)
        + 10 * ((n_batch + 511) // 512)
        + 127 * n_batch
        + 272 * n_batch * n_time
        + 1024,
        (n_batch,),
    )
    loss_exp = view(
        workspace,
        64 * ((n_batch + 15) // 16) + 116 * n_batch + 272 * n_batch * n_time + 1024,
        (n_batch, 10),
    )
    log_loss_total = view(
        workspace,
        64 * ((n_batch + 15) // 16)
        + 10 * ((n_batch + 511) // 512)
        + 128 * n_batch
        + 272 * n_batch * n_time
        + 1024,
        (n_batch,),
    )

    b = cuda.grid(1)
    if b >= n_batch:
        return
    # out[b, k] = out_sum[b, k] + out_c[k]
    # loss_max[b] = max[k] stop_gradient(out[b, k])
    loss_max_b = real(-math.inf)
    for k in range(10):
        out[b, k] = out_sum[b, k] + out_c[k]
        loss_max_b = maximum(loss_max_b, out[b, k])
    loss_max[b] = loss_max_b
    # loss_exp[b, k] = exp(out[b, k] - loss_max[b])
    # loss_total[b] = sum[k] loss_exp[b, k]
    loss_total_b = real(0.0)
    for k in range(10):
        loss_exp[b, k] = exp(out[b, k] - loss_max_b)
        loss_total_b += loss_exp[b, k]
    loss_total[b] = loss_total_b
    # log_loss_total[b] = log(loss_total[b])
    log_loss_total[b] = log(loss_total_b)


@block_kernel
def forward_loss_part(label: Integers, workspace: Reals, n_batch: Size, n_time: Size):
    """One block for each c."""
    label = view(label, 0, (n_batch,))
    out = view(
        workspace,
        64 * ((n_batch + 15) // 16) + 106 * n_batch + 272 * n_batch * n_time + 1024,
        (n_batch, 10),
    )
    loss_max = view(
        workspace,
        64 * ((n_batch + 15) // 16)
        + 10 * ((n_batch + 511) // 512)
        + 126 * n_batch
        + 272 * n_batch * n_time
        + 1024,
        (n_batch,),
    )
    log_loss_total = view(
        workspace,
        64 * ((n_batch + 15) // 16)
        + 10 * ((n_batch + 511) // 512)
        + 128 * n_batch
        + 272 * n_batch * n_time
        + 1024,
        (n_batch,),
    )
    loss_part = view(
        workspace,
        64 * ((n_batch + 15) // 16)
        + 10 * ((n_batch + 511) // 512)
        + 129 * n_batch
        + 272 * n_batch * n_time
        + 1024,
        ((n_batch + 511) // 512,),
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
def forward_loss(workspace: Reals, loss: Reals, n_batch: Size, n_time: Size):
    """One block."""
    loss_part = view(
        workspace,
        64 * ((n_batch + 15) // 16)
        + 10 * ((n_batch + 511) // 512)
        + 129 * n_batch
        + 272 * n_batch * n_time
        + 1024,
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
def backward_out_bar(label: Integers, workspace: Reals, n_batch: Size, n_time: Size):
    """One thread for each (b, k)."""
    label = view(label, 0, (n_batch,))
    loss_total = view(
        workspace,
        64 * ((n_batch + 15) // 16)
        + 10 * ((n_batch + 511) // 512)
        + 127 * n_batch
        + 272 * n_batch * n_time
        + 1024,
        (n_batch,),
    )
    loss_exp = view(
        workspace,
        64 * ((n_batch + 15) // 16) + 116 * n_batch + 272 * n_batch * n_time + 1024,
        (n_batch, 10),
    )
    out_bar = view(
        workspace,
        64 * ((n_batch + 15) // 16) + 96 * n_batch + 272 * n_batch * n_time + 1024,
        (n_batch, 10),
    )

    point = cuda.grid(1)
    if point >= 10 * n_batch:
        return
    b, k = unravel(point, (n_batch, 10))
    # out_bar[b, k] = (loss_exp[b, k]/loss_total[b] - select(k == label[b], 1, 0))
    #     /n_batch
    out_bar[b, k] = (
        loss_exp[b, k] / loss_total[b] - (real(1.0) if k == label[b] else real(0.0))
    ) / real(n_batch)


@column_kernel
def backward_out_c_bar_part(workspace: Reals, n_batch: Size, n_time: Size):
    """One column of threads for each (c, k)."""
    out_bar = view(
        workspace,
        64 * ((n_batch + 15) // 16) + 96 * n_batch + 272 * n_batch * n_time + 1024,
        (n_batch, 10),
    )
    out_c_bar_part = view(
        workspace,
        64 * ((n_batch + 15) // 16) + 126 * n_batch + 272 * n_batch * n_time + 1024,
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
def backward_out_c_bar(workspace: Reals, grads: Reals, n_batch: Size, n_time: Size):
    """One column of threads for each k."""
    out_c_bar = view(grads, 1760, (10,))
    out_c_bar_part = view(
        workspace,
        64 * ((n_batch + 15) // 16) + 126 * n_batch + 272 * n_batch * n_time + 1024,
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
def backward_lstm_U_turned(
    params: Reals, workspace: Reals, n_batch: Size, n_time: Size
):
    """One thread for each (q, l, k)."""
    lstm_U = view(params, 512, (16, 4, 16))
    lstm_U_turned = view(workspace, 64 * n_batch + 240 * n_batch * n_time, (4, 16, 16))

    point = cuda.grid(1)
    if point >= 1024:
        return
    q, l, k = unravel(point, (4, 16, 16))
    # lstm_U_turned[q, l, k] = lstm_U[k, q, l]
    lstm_U_turned[q, l, k] = lstm_U[k, q, l]


@thread_kernel
def backward_lstm_h_bar(workspace: Reals, n_batch: Size, n_time: Size):
    """One thread for each (b, k)."""
    lstm_h_bar = view(
        workspace,
        64 * n_batch + 240 * n_batch * n_time + 1024,
        (n_batch, n_time + 1, 16),
    )
    lstm_bar = view(workspace, 48 * n_batch + 240 * n_batch * n_time, (n_batch, 16))

    point = cuda.grid(1)
    if point >= 16 * n_batch:
        return
    b, k = unravel(point, (n_batch, 16))
    # lstm_h_bar[b, n_time, k] = lstm_bar[b, k]
    lstm_h_bar[b, n_time, k] = lstm_bar[b, k]


@warp_kernel
def backward_lstm_h_bar_2(workspace: Reals, n_batch: Size, n_time: Size):
    """One warp for each b."""
    lstm_s = view(
        workspace, 16 * n_batch + 80 * n_batch * n_time, (n_batch, n_time + 1, 16)
    )
    lstm_i = view(
        workspace, 32 * n_batch + 160 * n_batch * n_time, (n_batch, n_time, 16)
    )
    lstm_f = view(
        workspace, 32 * n_batch + 176 * n_batch * n_time, (n_batch, n_time, 16)
    )
    lstm_g = view(
        workspace, 32 * n_batch + 192 * n_batch * n_time, (n_batch, n_time, 16)
    )
    lstm_o = view(
        workspace, 32 * n_batch + 208 * n_batch * n_time, (n_batch, n_time, 16)
    )
    tanh_lstm_s = view(
        workspace, 32 * n_batch + 224 * n_batch * n_time, (n_batch, n_time, 16)
    )
    lstm_h_bar = view(
        workspace,
        64 * n_batch + 240 * n_batch * n_time + 1024,
        (n_batch, n_time + 1, 16),
    )
    lstm_s_bar = view(
        workspace,
        80 * n_batch + 256 * n_batch * n_time + 1024,
        (n_batch, n_time + 1, 16),
    )
    lstm_z_bar = view(workspace, 0, (n_batch, n_time, 4, 16))
    lstm_U_turned = view(workspace, 64 * n_batch + 240 * n_batch * n_time, (4, 16, 16))

    b = cuda.grid(1) // WARP
    if b >= n_batch:
        return
    lane = cuda.laneid
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
        for k in range(lane, 16, WARP):
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
        cuda.syncwarp()
        # lstm_h_bar[b, t, k] = sum[q, l] lstm_U_turned[q, l, k]*lstm_z_bar[b, t, q, l]
        for k in range(lane, 16, WARP):
            total = real(0.0)
            for q in range(4):
                for l in range(16):
                    total += lstm_U_turned[q, l, k] * lstm_z_bar[b, t, q, l]
            lstm_h_bar[b, t, k] = total


@column_kernel
def backward_lstm_c_bar_part(workspace: Reals, n_batch: Size, n_time: Size):
    """One column of threads for each (c, q, k)."""
    lstm_z_bar = view(workspace, 0, (n_batch, n_time, 4, 16))
    lstm_c_bar_part = view(
        workspace,
        96 * n_batch + 272 * n_batch * n_time + 1024,
        ((n_batch + 15) // 16, 4, 16),
    )

    point = cuda.blockIdx.x * WARP + cuda.laneid
    # Columns beyond the last take its point as well: all threads must reach the barriers.
    c, q, k = unravel(
        min(point, 64 * ((n_batch + 15) // 16) - 1), ((n_batch + 15) // 16, 4, 16)
    )
    rank = cuda.threadIdx.x // WARP
    # lstm_c_bar_part[c, q, k] = sum[b, t] lstm_z_bar[b, t, q, k]
    #     where b >= 16*c, 16*c + 15 >= b
    total = real(0.0)
    first, stop = 16 * c, min(n_batch, 16 * c + 16)
    for i in range(rank, (stop - first) * n_time, COLUMN):
        b, t = unravel(i, (stop - first, n_time))
        b += first
        total += lstm_z_bar[b, t, q, k]
    total = column_sum(total)
    if rank == 0 and point < 64 * ((n_batch + 15) // 16):
        lstm_c_bar_part[c, q, k] = total


@column_kernel
def backward_lstm_c_bar(workspace: Reals, grads: Reals, n_batch: Size, n_time: Size):
    """One column of threads for each (q, k)."""
    lstm_c_bar = view(grads, 1536, (4, 16))
    lstm_c_bar_part = view(
        workspace,
        96 * n_batch + 272 * n_batch * n_time + 1024,
        ((n_batch + 15) // 16, 4, 16),
    )

    point = cuda.blockIdx.x * WARP + cuda.laneid
    # Columns beyond the last take its point as well: all threads must reach the barriers.
    q, k = unravel(min(point, 63), (4, 16))
    rank = cuda.threadIdx.x // WARP
    # lstm_c_bar[q, k] = sum[c] lstm_c_bar_part[c, q, k]
    total = real(0.0)
    for c in range(rank, (n_batch + 15) // 16, COLUMN):
        total += lstm_c_bar_part[c, q, k]
    total = column_sum(total)
    if rank == 0 and point < 64:
        lstm_c_bar[q, k] = total


def predict_into(device, params, x, workspace, out):
    """Evaluate the model."""
    n_batch = x.shape[0]
    n_time = x.shape[1]
    lstm_W = params.view(0, (8, 4, 16))
    out_W = params.view(1600, (16, 10))
    lstm = workspace.view(32 * n_batch + 160 * n_batch * n_time, (n_batch, 16))
    lstm_z_sum_2 = workspace.view(0, (n_batch, n_time, 4, 16))
    out_sum = workspace.view(48 * n_batch + 160 * n_batch * n_time, (n_batch, 10))

    # lstm_z_sum_2[b, t, q, k] = sum[j] x[b, t, j]*lstm_W[j, q, k]
    contract(device, "btj,jqk->btqk", x, lstm_W, lstm_z_sum_2)
    # lstm_h[b, 0, k] = 0
    # lstm_s[b, 0, k] = 0
    device.launch(predict_lstm_s, 16 * n_batch, workspace, n_batch, n_time)
    # lstm_z_sum[b, t, q, k] = sum[l] lstm_U[l, q, k]*lstm_h[b, t, l]
    # lstm_z[b, t, q, k] = lstm_z_sum[b, t, q, k] + lstm_z_sum_2[b, t, q, k]
    #     + lstm_c[q, k]
    # lstm_i[b, t, k] = sigmoid(lstm_z[b, t, 0, k])
    # lstm_f[b, t, k] = sigmoid(lstm_z[b, t, 1, k])
    # lstm_g[b, t, k] = tanh(lstm_z[b, t, 2, k])
    # lstm_o[b, t, k] = sigmoid(lstm_z[b, t, 3, k])
    # lstm_s[b, t + 1, k] = lstm_s[b, t, k]*lstm_f[b, t, k]
    #     + lstm_i[b, t, k]*lstm_g[b, t, k]
    # tanh_lstm_s[b, t, k] = tanh(lstm_s[b, t + 1, k])
    # lstm_h[b, t + 1, k] = tanh_lstm_s[b, t, k]*lstm_o[b, t, k]
    device.launch(predict_lstm_h, n_batch, params, workspace, n_batch, n_time)
    # lstm[b, k] = lstm_h[b, n_time, k]
    device.launch(predict_lstm, 16 * n_batch, workspace, n_batch, n_time)
    # out_sum[b, k] = sum[k2] lstm[b, k2]*out_W[k2, k]
    contract(device, "bl,lk->bk", lstm, out_W, out_sum)
    # out[b, k] = out_sum[b, k] + out_c[k]
    device.launch(predict_out, 10 * n_batch, params, workspace, out, n_batch, n_time)


def forward(device, params, x, label, workspace, loss):
    """Evaluate the loss."""
    n_batch = x.shape[0]
    n_time = x.shape[1]
    lstm_W = params.view(0, (8, 4, 16))
    out_W = params.view(1600, (16, 10))
    lstm = workspace.view(32 * n_batch + 240 * n_batch * n_time, (n_batch, 16))
    lstm_z_sum_2 = workspace.view(0, (n_batch, n_time, 4, 16))
    out_sum = workspace.view(
        64 * ((n_batch + 15) // 16) + 96 * n_batch + 272 * n_batch * n_time + 1024,
        (n_batch, 10),
    )

    # lstm_z_sum_2[b, t, q, k] = sum[j] x[b, t, j]*lstm_W[j, q, k]
    contract(device, "btj,jqk->btqk", x, lstm_W, lstm_z_sum_2)
    # lstm_h[b, 0, k] = 0
    # lstm_s[b, 0, k] = 0
    device.launch(forward_lstm_s, 16 * n_batch, workspace, n_batch, n_time)
    # lstm_z_sum[b, t, q, k] = sum[l] lstm_U[l, q, k]*lstm_h[b, t, l]
    # lstm_z[b, t, q, k] = lstm_z_sum[b, t, q, k] + lstm_z_sum_2[b, t, q, k]
    #     + lstm_c[q, k]
    # lstm_i[b, t, k] = sigmoid(lstm_z[b, t, 0, k])
    # lstm_f[b, t, k] = sigmoid(lstm_z[b, t, 1, k])
    # lstm_g[b, t, k] = tanh(lstm_z[b, t, 2, k])
    # lstm_o[b, t, k] = sigmoid(lstm_z[b, t, 3, k])
    # lstm_s[b, t + 1, k] = lstm_s[b, t, k]*lstm_f[b, t, k]
    #     + lstm_i[b, t, k]*lstm_g[b, t, k]
    # tanh_lstm_s[b, t, k] = tanh(lstm_s[b, t + 1, k])
    # lstm_h[b, t + 1, k] = tanh_lstm_s[b, t, k]*lstm_o[b, t, k]
    device.launch(forward_lstm_h, n_batch, params, workspace, n_batch, n_time)
    # lstm[b, k] = lstm_h[b, n_time, k]
    device.launch(forward_lstm, 16 * n_batch, workspace, n_batch, n_time)
    # out_sum[b, k] = sum[k2] lstm[b, k2]*out_W[k2, k]
    contract(device, "bl,lk->bk", lstm, out_W, out_sum)
    # out[b, k] = out_sum[b, k] + out_c[k]
    # loss_max[b] = max[k] stop_gradient(out[b, k])
    # loss_exp[b, k] = exp(out[b, k] - loss_max[b])
    # loss_total[b] = sum[k] loss_exp[b, k]
    # log_loss_total[b] = log(loss_total[b])
    device.launch(forward_log_loss_total, n_batch, params, workspace, n_batch, n_time)
    # loss_part[c] = sum[b] (loss_max[b] + log_loss_total[b] - out[b, label[b]])/n_batch
    #     where b >= 512*c, 512*c + 511 >= b
    device.launch(
        forward_loss_part, (n_batch + 511) // 512, label, workspace, n_batch, n_time
    )
    # loss = sum[c] loss_part[c]
    device.launch(forward_loss, 1, workspace, loss, n_batch, n_time)


def backward(device, params, x, label, workspace, grads):
    """Differentiate the loss; follows `forward`."""
    n_batch = x.shape[0]
    n_time = x.shape[1]
    out_W = params.view(1600, (16, 10))
    lstm_h = workspace.view(64 * n_batch * n_time, (n_batch, n_time + 1, 16))
    lstm = workspace.view(32 * n_batch + 240 * n_batch * n_time, (n_batch, 16))
    lstm_W_bar = grads.view(0, (8, 4, 16))
    lstm_U_bar = grads.view(512, (16, 4, 16))
    out_W_bar = grads.view(1600, (16, 10))
    lstm_s_bar = workspace.view(
        80 * n_batch + 256 * n_batch * n_time + 1024, (n_batch, n_time + 1, 16)
    )
    lstm_z_bar = workspace.view(0, (n_batch, n_time, 4, 16))
    lstm_bar = workspace.view(48 * n_batch + 240 * n_batch * n_time, (n_batch, 16))
    out_bar = workspace.view(
        64 * ((n_batch + 15) // 16) + 96 * n_batch + 272 * n_batch * n_time + 1024,
        (n_batch, 10),
    )

    # out_bar[b, k] = (loss_exp[b, k]/loss_total[b] - select(k == label[b], 1, 0))
    #     /n_batch
    device.launch(backward_out_bar, 10 * n_batch, label, workspace, n_batch, n_time)
    # out_c_bar_part[c, k] = sum[b] out_bar[b, k]
    #     where b >= 512*c, 512*c + 511 >= b
    device.launch(
        backward_out_c_bar_part,
        10 * ((n_batch + 511) // 512),
        workspace,
        n_batch,
        n_time,
    )
    # out_c_bar[k] = sum[c] out_c_bar_part[c, k]
    device.launch(backward_out_c_bar, 10, workspace, grads, n_batch, n_time)
    # lstm_bar[b, k] = sum[k2] out_W[k, k2]*out_bar[b, k2]
    contract(device, "bl,kl->bk", out_bar, out_W, lstm_bar)
    # out_W_bar[k, k2] = sum[b] lstm[b, k]*out_bar[b, k2]
    contract(device, "bk,bl->kl", lstm, out_bar, out_W_bar)
    # lstm_U_turned[q, l, k] = lstm_U[k, q, l]
    device.launch(backward_lstm_U_turned, 1024, params, workspace, n_batch, n_time)
    # lstm_h_bar[b, n_time, k] = lstm_bar[b, k]
    device.launch(backward_lstm_h_bar, 16 * n_batch, workspace, n_batch, n_time)
    # lstm_s_bar[b, t + 1, k] += lstm_o[b, t, k]*lstm_h_bar[b, t + 1, k]
    #     *(1 - tanh_lstm_s[b, t, k]**2)
    # lstm_s_bar[b, t, k] += lstm_f[b, t, k]*lstm_s_bar[b, t + 1, k]
    # lstm_z_bar[b, t, 3, k] = lstm_o[b, t, k]*tanh_lstm_s[b, t, k]
    #     *lstm_h_bar[b, t + 1, k]*(1 - lstm_o[b, t, k])
    # lstm_z_bar[b, t, 2, k] = lstm_i[b, t, k]*lstm_s_bar[b, t + 1, k]
    #     *(1 - lstm_g[b, t, k]**2)
    # lstm_z_bar[b, t, 1, k] = lstm_f[b, t, k]*lstm_s[b, t, k]*lstm_s_bar[b, t + 1, k]
    #     *(1 - lstm_f[b, t, k])
    # lstm_z_bar[b, t, 0, k] = lstm_i[b, t, k]*lstm_g[b, t, k]*lstm_s_bar[b, t + 1, k]
    #     *(1 - lstm_i[b, t, k])
    # lstm_h_bar[b, t, k] = sum[q, l] lstm_U_turned[q, l, k]*lstm_z_bar[b, t, q, l]
    device.clear(lstm_s_bar)
    device.launch(backward_lstm_h_bar_2, n_batch, workspace, n_batch, n_time)
    # lstm_c_bar_part[c, q, k] = sum[b, t] lstm_z_bar[b, t, q, k]
    #     where b >= 16*c, 16*c + 15 >= b
    device.launch(
        backward_lstm_c_bar_part,
        64 * ((n_batch + 15) // 16),
        workspace,
        n_batch,
        n_time,
    )
    # lstm_c_bar[q, k] = sum[c] lstm_c_bar_part[c, q, k]
    device.launch(backward_lstm_c_bar, 64, workspace, grads, n_batch, n_time)
    # lstm_W_bar[j, q, k] = sum[b, t] x[b, t, j]*lstm_z_bar[b, t, q, k]
    contract(device, "btj,btqk->jqk", x, lstm_z_bar, lstm_W_bar)
    # lstm_U_bar[l, q, k] = sum[b, t] lstm_h[b, t, l]*lstm_z_bar[b, t, q, k]
    contract(device, "btl,btqk->lqk", lstm_h[:, :n_time], lstm_z_bar, lstm_U_bar)

"""CUDA kernels of embedding, in float32, and the order in which they run.

Written by symbp 0.1.0 from the spec cf7481b95550: change the spec, not this file.
The kernels come first: at each point of a box a team of threads (one thread, a warp,
a block, a column of a block) carries out the equations above its lines. Arrays arrive
as addresses; the functions at the end, which run on the host, launch the kernels one
after the other. Arrays are C-contiguous; the interface has checked them.
"""

import math

import numpy as np
from numba import cuda

from ._runtime.cuda.contraction import contract
from ._runtime.cuda.exact_sum import largest, settled, spread
from ._runtime.cuda.kernel import (
    Integers,
    Size,
    block_kernel,
    column_kernel,
    pointer,
    thread_kernel,
)
from ._runtime.cuda.scalar import exp, log, maximum
from ._runtime.cuda.team import BLOCK, COLUMN, WARP, block_sum, column_sum
from ._runtime.cuda.views import unravel, view

real = np.float32
Reals = pointer(real)


@column_kernel
def predict_text(
    params: Reals, token: Integers, workspace: Reals, n_batch: Size, n_time: Size
):
    """One column of threads for each (b, e)."""
    token = view(token, 0, (n_batch, n_time))
    E = view(params, 0, (50, 8))
    text = view(workspace, 0, (n_batch, 8))

    point = cuda.blockIdx.x * WARP + cuda.laneid
    # Columns beyond the last take its point as well: all threads must reach the barriers.
    b, e = unravel(min(point, 8 * n_batch - 1), (n_batch, 8))
    rank = cuda.threadIdx.x // WARP
    # text[b, e] = sum[t] E[token[b, t], e]/n_time
    total = real(0.0)
    for t in range(rank, n_time, COLUMN):
        total += E[token[b, t], e]
    total = column_sum(total)
    if rank == 0 and point < 8 * n_batch:
        text[b, e] = total / real(n_time)


@thread_kernel
def predict_out(params: Reals, workspace: Reals, out: Reals, n_batch: Size):
    """One thread for each (b, k)."""
    out_c = view(params, 432, (4,))
    out_sum = view(workspace, 8 * n_batch, (n_batch, 4))
    out = view(out, 0, (n_batch, 4))

    point = cuda.grid(1)
    if point >= 4 * n_batch:
        return
    b, k = unravel(point, (n_batch, 4))
    # out[b, k] = out_sum[b, k] + out_c[k]
    out[b, k] = out_sum[b, k] + out_c[k]


@column_kernel
def forward_text(
    params: Reals, token: Integers, workspace: Reals, n_batch: Size, n_time: Size
):
    """One column of threads for each (b, e)."""
    token = view(token, 0, (n_batch, n_time))
    E = view(params, 0, (50, 8))
    text = view(workspace, 0, (n_batch, 8))

    point = cuda.blockIdx.x * WARP + cuda.laneid
    # Columns beyond the last take its point as well: all threads must reach the barriers.
    b, e = unravel(min(point, 8 * n_batch - 1), (n_batch, 8))
    rank = cuda.threadIdx.x // WARP
    # text[b, e] = sum[t] E[token[b, t], e]/n_time
    total = real(0.0)
    for t in range(rank, n_time, COLUMN):
        total += E[token[b, t], e]
    total = column_sum(total)
    if rank == 0 and point < 8 * n_batch:
        text[b, e] = total / real(n_time)


@thread_kernel
def forward_log_loss_total(params: Reals, workspace: Reals, n_batch: Size):
    """One thread for each b."""
    out_c = view(params, 432, (4,))
    out = view(workspace, 20 * n_batch, (n_batch, 4))
    out_sum = view(workspace, 16 * n_batch, (n_batch, 4))
    loss_max = view(workspace, 4 * ((n_batch + 511) // 512) + 28 * n_batch, (n_batch,))
    loss_total = view(
        workspace, 4 * ((n_batch + 511) // 512) + 29 * n_batch, (n_batch,)
    )
    loss_exp = view(workspace, 24 * n_batch, (n_batch, 4))
    log_loss_total = view(
        workspace, 4 * ((n_batch + 511) // 512) + 30 * n_batch, (n_batch,)
    )

    b = cuda.grid(1)
    if b >= n_batch:
        return
    # out[b, k] = out_sum[b, k] + out_c[k]
    # loss_max[b] = max[k] stop_gradient(out[b, k])
    loss_max_b = real(-math.inf)
    for k in range(4):
        out[b, k] = out_sum[b, k] + out_c[k]
        loss_max_b = maximum(loss_max_b, out[b, k])
    loss_max[b] = loss_max_b
    # loss_exp[b, k] = exp(out[b, k] - loss_max[b])
    # loss_total[b] = sum[k] loss_exp[b, k]
    loss_total_b = real(0.0)
    for k in range(4):
        loss_exp[b, k] = exp(out[b, k] - loss_max_b)
        loss_total_b += loss_exp[b, k]
    loss_total[b] = loss_total_b
    # log_loss_total[b] = log(loss_total[b])
    log_loss_total[b] = log(loss_total_b)


@block_kernel
def forward_loss_part(label: Integers, workspace: Reals, n_batch: Size):
    """One block for each c."""
    label = view(label, 0, (n_batch,))
    out = view(workspace, 20 * n_batch, (n_batch, 4))
    loss_max = view(workspace, 4 * ((n_batch + 511) // 512) + 28 * n_batch, (n_batch,))
    log_loss_total = view(
        workspace, 4 * ((n_batch + 511) // 512) + 30 * n_batch, (n_batch,)
    )
    loss_part = view(
        workspace,
        4 * ((n_batch + 511) // 512) + 31 * n_batch,
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
def forward_loss(workspace: Reals, loss: Reals, n_batch: Size):
    """One block."""
    loss_part = view(
        workspace,
        4 * ((n_batch + 511) // 512) + 31 * n_batch,
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
    loss_total = view(
        workspace, 4 * ((n_batch + 511) // 512) + 29 * n_batch, (n_batch,)
    )
    loss_exp = view(workspace, 24 * n_batch, (n_batch, 4))
    out_bar = view(workspace, 16 * n_batch, (n_batch, 4))

    point = cuda.grid(1)
    if point >= 4 * n_batch:
        return
    b, k = unravel(point, (n_batch, 4))
    # out_bar[b, k] = (loss_exp[b, k]/loss_total[b] - select(k == label[b], 1, 0))
    #     /n_batch
    out_bar[b, k] = (
        loss_exp[b, k] / loss_total[b] - (real(1.0) if k == label[b] else real(0.0))
    ) / real(n_batch)


@column_kernel
def backward_out_c_bar_part(workspace: Reals, n_batch: Size):
    """One column of threads for each (c, k)."""
    out_bar = view(workspace, 16 * n_batch, (n_batch, 4))
    out_c_bar_part = view(workspace, 28 * n_batch, ((n_batch + 511) // 512, 4))

    point = cuda.blockIdx.x * WARP + cuda.laneid
    # Columns beyond the last take its point as well: all threads must reach the barriers.
    c, k = unravel(
        min(point, 4 * ((n_batch + 511) // 512) - 1), ((n_batch + 511) // 512, 4)
    )
    rank = cuda.threadIdx.x // WARP
    # out_c_bar_part[c, k] = sum[b] out_bar[b, k]
    #     where b >= 512*c, 512*c + 511 >= b
    total = real(0.0)
    for b in range(512 * c + rank, min(n_batch, 512 * c + 512), COLUMN):
        total += out_bar[b, k]
    total = column_sum(total)
    if rank == 0 and point < 4 * ((n_batch + 511) // 512):
        out_c_bar_part[c, k] = total


@column_kernel
def backward_out_c_bar(workspace: Reals, grads: Reals, n_batch: Size):
    """One column of threads for each k."""
    out_c_bar = view(grads, 432, (4,))
    out_c_bar_part = view(workspace, 28 * n_batch, ((n_batch + 511) // 512, 4))

    point = cuda.blockIdx.x * WARP + cuda.laneid
    # Columns beyond the last take its point as well: all threads must reach the barriers.
    k = min(point, 3)
    rank = cuda.threadIdx.x // WARP
    # out_c_bar[k] = sum[c] out_c_bar_part[c, k]
    total = real(0.0)
    for c in range(rank, (n_batch + 511) // 512, COLUMN):
        total += out_c_bar_part[c, k]
    total = column_sum(total)
    if rank == 0 and point < 4:
        out_c_bar[k] = total


@thread_kernel
def backward_E_bar_largest(workspace: Reals, n_batch: Size, n_time: Size):
    """One thread for each (b, t, e)."""
    text_bar = view(workspace, 8 * n_batch, (n_batch, 8))
    E_bar_largest = view(workspace, 5 * ((n_batch + 511) // 512) + 31 * n_batch, (1,))

    point = cuda.grid(1)
    if point >= 8 * n_batch * n_time:
        return
    b, t, e = unravel(point, (n_batch, n_time, 8))
    # E_bar[token[b, t], e] += text_bar[b, e]/n_time
    largest(E_bar_largest, text_bar[b, e] / real(n_time))


@thread_kernel
def backward_E_bar_sums(
    token: Integers, workspace: Reals, positions: Integers, n_batch: Size, n_time: Size
):
    """One thread for each (b, t, e)."""
    token = view(token, 0, (n_batch, n_time))
    text_bar = view(workspace, 8 * n_batch, (n_batch, 8))
    E_bar_largest = view(workspace, 5 * ((n_batch + 511) // 512) + 31 * n_batch, (1,))
    E_bar_sums = view(positions, 0, (50, 8))

    point = cuda.grid(1)
    if point >= 8 * n_batch * n_time:
        return
    b, t, e = unravel(point, (n_batch, n_time, 8))
    # E_bar[token[b, t], e] += text_bar[b, e]/n_time
    spread(
        E_bar_sums,
        (token[b, t], e),
        text_bar[b, e] / real(n_time),
        E_bar_largest[0],
        8 * n_batch * n_time,
    )


@thread_kernel
def backward_E_bar(
    workspace: Reals, positions: Integers, grads: Reals, n_batch: Size, n_time: Size
):
    """One thread for each (v, e)."""
    E_bar = view(grads, 0, (50, 8))
    E_bar_largest = view(workspace, 5 * ((n_batch + 511) // 512) + 31 * n_batch, (1,))
    E_bar_sums = view(positions, 0, (50, 8))

    point = cuda.grid(1)
    if point >= 400:
        return
    v, e = unravel(point, (50, 8))
    # E_bar[token[b, t], e] += text_bar[b, e]/n_time
    E_bar[v, e] = settled(E_bar_sums[v, e], E_bar_largest[0], 8 * n_batch * n_time)


def predict_into(device, params, token, workspace, out):
    """Evaluate the model."""
    n_batch = token.shape[0]
    n_time = token.shape[1]
    out_W = params.view(400, (8, 4))
    text = workspace.view(0, (n_batch, 8))
    out_sum = workspace.view(8 * n_batch, (n_batch, 4))

    # text[b, e] = sum[t] E[token[b, t], e]/n_time
    device.launch(predict_text, 8 * n_batch, params, token, workspace, n_batch, n_time)
    # out_sum[b, k] = sum[e] text[b, e]*out_W[e, k]
    contract(device, "be,ek->bk", text, out_W, out_sum)
    # out[b, k] = out_sum[b, k] + out_c[k]
    device.launch(predict_out, 4 * n_batch, params, workspace, out, n_batch)


def forward(device, params, token, label, workspace, loss):
    """Evaluate the loss."""
    n_batch = token.shape[0]
    n_time = token.shape[1]
    out_W = params.view(400, (8, 4))
    text = workspace.view(0, (n_batch, 8))
    out_sum = workspace.view(16 * n_batch, (n_batch, 4))

    # text[b, e] = sum[t] E[token[b, t], e]/n_time
    device.launch(forward_text, 8 * n_batch, params, token, workspace, n_batch, n_time)
    # out_sum[b, k] = sum[e] text[b, e]*out_W[e, k]
    contract(device, "be,ek->bk", text, out_W, out_sum)
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


def backward(device, params, token, label, workspace, positions, grads):
    """Differentiate the loss; follows `forward`."""
    n_batch = token.shape[0]
    n_time = token.shape[1]
    out_W = params.view(400, (8, 4))
    text = workspace.view(0, (n_batch, 8))
    out_W_bar = grads.view(400, (8, 4))
    text_bar = workspace.view(8 * n_batch, (n_batch, 8))
    out_bar = workspace.view(16 * n_batch, (n_batch, 4))
    E_bar_largest = workspace.view(5 * ((n_batch + 511) // 512) + 31 * n_batch, (1,))
    E_bar_sums = positions.view(0, (50, 8))

    # out_bar[b, k] = (loss_exp[b, k]/loss_total[b] - select(k == label[b], 1, 0))
    #     /n_batch
    device.launch(backward_out_bar, 4 * n_batch, label, workspace, n_batch)
    # out_c_bar_part[c, k] = sum[b] out_bar[b, k]
    #     where b >= 512*c, 512*c + 511 >= b
    device.launch(
        backward_out_c_bar_part, 4 * ((n_batch + 511) // 512), workspace, n_batch
    )
    # out_c_bar[k] = sum[c] out_c_bar_part[c, k]
    device.launch(backward_out_c_bar, 4, workspace, grads, n_batch)
    # text_bar[b, e] = sum[k] out_W[e, k]*out_bar[b, k]
    contract(device, "bk,ek->be", out_bar, out_W, text_bar)
    # out_W_bar[e, k] = sum[b] text[b, e]*out_bar[b, k]
    contract(device, "be,bk->ek", text, out_bar, out_W_bar)
    # E_bar[token[b, t], e] += text_bar[b, e]/n_time
    device.clear(E_bar_largest)
    device.launch(
        backward_E_bar_largest, 8 * n_batch * n_time, workspace, n_batch, n_time
    )
    # E_bar[token[b, t], e] += text_bar[b, e]/n_time
    device.clear(E_bar_sums)
    device.launch(
        backward_E_bar_sums,
        8 * n_batch * n_time,
        token,
        workspace,
        positions,
        n_batch,
        n_time,
    )
    # E_bar[token[b, t], e] += text_bar[b, e]/n_time
    device.launch(backward_E_bar, 400, workspace, positions, grads, n_batch, n_time)

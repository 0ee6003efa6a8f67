"""Kernels of convolution, in float32: plain functions that Numba compiles.

Written by symbp 0.1.0 from the spec 32edf58ba97b: change the spec, not this file.
Each group of loops is headed by the equation that it carries out. Arrays are
C-contiguous; the interface in `__init__.py` has checked them.
"""

import math

import numpy as np

from ._runtime.contraction import matmul, matmul_add
from ._runtime.jit import kernel
from ._runtime.scalar import exp, log, maximum, relu, step
from ._runtime.views import view

real = np.float32


@kernel
def predict_into(params, x, workspace, out):
    """Evaluate the model."""
    n_batch = x.shape[0]
    conv_K = view(params, 0, (4, 1, 3, 3))
    conv_c = view(params, 36, (4,))
    out_W = view(params, 40, (100, 5))
    out_c = view(params, 540, (5,))
    conv = view(workspace, 0, (n_batch, 4, 10, 10))
    flatten = view(workspace, 800 * n_batch, (n_batch, 100))
    conv_z_sum = view(workspace, 400 * n_batch, (n_batch, 4, 10, 10))
    x_patches = view(workspace, 900 * n_batch, (n_batch, 1, 3, 3, 10, 10))

    for b in range(n_batch):
        # x_patches[b, c, u, v, p, q] = x[b, c, p + u, q + v]
        for c in range(1):
            for u in range(3):
                for v in range(3):
                    for p in range(10):
                        for q in range(10):
                            x_patches[b, c, u, v, p, q] = x[b, c, p + u, q + v]
        # conv_z_sum[b, o, p, q] = sum[c, u, v] x_patches[b, c, u, v, p, q]
        #     *conv_K[o, c, u, v]
        matmul(
            view(conv_K, 0, (4, 9)),
            view(x_patches, 0, (n_batch, 9, 100))[b],
            view(conv_z_sum, 0, (n_batch, 4, 100))[b],
        )
        for o in range(4):
            # conv[b, o, p, q] = relu(conv_z_sum[b, o, p, q] + conv_c[o])
            for p in range(10):
                for q in range(10):
                    conv[b, o, p, q] = relu(conv_z_sum[b, o, p, q] + conv_c[o])
            for p in range(5):
                for q in range(5):
                    # pool[b, o, p, q] = max[u, v] conv[b, o, 2*p + u, 2*q + v]
                    pool = real(-math.inf)
                    for u in range(2):
                        for v in range(2):
                            pool = maximum(pool, conv[b, o, 2 * p + u, 2 * q + v])
                    # flatten[b, 25*o + 5*p + q] = pool[b, o, p, q]
                    flatten[b, 25 * o + 5 * p + q] = pool
        # out[b, k] = out_c[k]
        for k in range(5):
            out[b, k] = out_c[k]

    # out[b, k] += sum[m] flatten[b, m]*out_W[m, k]
    matmul_add(flatten, out_W, out)


@kernel
def forward(params, x, label, workspace):
    """Evaluate the loss."""
    n_batch = x.shape[0]
    conv_K = view(params, 0, (4, 1, 3, 3))
    conv_c = view(params, 36, (4,))
    out_W = view(params, 40, (100, 5))
    out_c = view(params, 540, (5,))
    conv = view(workspace, 0, (n_batch, 4, 10, 10))
    flatten = view(workspace, 1200 * n_batch, (n_batch, 100))
    out = view(workspace, 2300 * n_batch, (n_batch, 5))
    conv_z_sum = view(workspace, 400 * n_batch, (n_batch, 4, 10, 10))
    loss_max = view(workspace, 2305 * n_batch, (n_batch,))
    loss_total = view(workspace, 2306 * n_batch, (n_batch,))
    loss_exp = view(workspace, 2307 * n_batch, (n_batch, 5))
    log_loss_total = view(workspace, 2312 * n_batch, (n_batch,))
    x_patches = view(workspace, 1300 * n_batch, (n_batch, 1, 3, 3, 10, 10))

    for b in range(n_batch):
        # x_patches[b, c, u, v, p, q] = x[b, c, p + u, q + v]
        for c in range(1):
            for u in range(3):
                for v in range(3):
                    for p in range(10):
                        for q in range(10):
                            x_patches[b, c, u, v, p, q] = x[b, c, p + u, q + v]
        # conv_z_sum[b, o, p, q] = sum[c, u, v] x_patches[b, c, u, v, p, q]
        #     *conv_K[o, c, u, v]
        matmul(
            view(conv_K, 0, (4, 9)),
            view(x_patches, 0, (n_batch, 9, 100))[b],
            view(conv_z_sum, 0, (n_batch, 4, 100))[b],
        )
        for o in range(4):
            # conv[b, o, p, q] = relu(conv_z_sum[b, o, p, q] + conv_c[o])
            for p in range(10):
                for q in range(10):
                    conv[b, o, p, q] = relu(conv_z_sum[b, o, p, q] + conv_c[o])
            for p in range(5):
                for q in range(5):
                    # pool[b, o, p, q] = max[u, v] conv[b, o, 2*p + u, 2*q + v]
                    pool = real(-math.inf)
                    for u in range(2):
                        for v in range(2):
                            pool = maximum(pool, conv[b, o, 2 * p + u, 2 * q + v])
                    # flatten[b, 25*o + 5*p + q] = pool[b, o, p, q]
                    flatten[b, 25 * o + 5 * p + q] = pool
        # out[b, k] = out_c[k]
        for k in range(5):
            out[b, k] = out_c[k]

    # out[b, k] += sum[m] flatten[b, m]*out_W[m, k]
    matmul_add(flatten, out_W, out)

    for b in range(n_batch):
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

    # loss = sum[b] (loss_max[b] + log_loss_total[b] - out[b, label[b]])/n_batch
    total = real(0.0)
    for b in range(n_batch):
        total += loss_max[b] + log_loss_total[b] - out[b, label[b]]
    loss = total / real(n_batch)

    return loss


@kernel
def backward(params, label, workspace, positions, grads):
    """Differentiate the loss; follows `forward`."""
    n_batch = label.shape[0]
    out_W = view(params, 40, (100, 5))
    conv = view(workspace, 0, (n_batch, 4, 10, 10))
    flatten = view(workspace, 1200 * n_batch, (n_batch, 100))
    loss_total = view(workspace, 2306 * n_batch, (n_batch,))
    loss_exp = view(workspace, 2307 * n_batch, (n_batch, 5))
    pool_argmax = view(positions, 0, (n_batch, 4, 5, 5))
    conv_K_bar = view(grads, 0, (4, 1, 3, 3))
    conv_c_bar = view(grads, 36, (4,))
    out_W_bar = view(grads, 40, (100, 5))
    out_c_bar = view(grads, 540, (5,))
    conv_z_bar = view(workspace, 400 * n_batch, (n_batch, 4, 10, 10))
    conv_bar = view(workspace, 800 * n_batch, (n_batch, 4, 10, 10))
    flatten_bar = view(workspace, 2200 * n_batch, (n_batch, 100))
    out_bar = view(workspace, 2300 * n_batch, (n_batch, 5))
    x_patches = view(workspace, 1300 * n_batch, (n_batch, 1, 3, 3, 10, 10))

    out_c_bar[:] = real(0.0)
    for b in range(n_batch):
        # pool_argmax[b, o, p, q] = argmax[u, v] conv[b, o, 2*p + u, 2*q + v]
        for o in range(4):
            for p in range(5):
                for q in range(5):
                    best = real(-math.inf)
                    place = -1
                    for u in range(2):
                        for v in range(2):
                            value = conv[b, o, 2 * p + u, 2 * q + v]
                            if value > best:
                                best = value
                                place = 2 * u + v
                    pool_argmax[b, o, p, q] = place
        # out_bar[b, k] = (loss_exp[b, k]/loss_total[b] - select(k == label[b], 1, 0))
        #     /n_batch
        # out_c_bar[k] = sum[b] out_bar[b, k]
        for k in range(5):
            out_bar[b, k] = (
                loss_exp[b, k] / loss_total[b]
                - (real(1.0) if k == label[b] else real(0.0))
            ) / real(n_batch)
            out_c_bar[k] += out_bar[b, k]

    # flatten_bar[b, m] = sum[k] out_W[m, k]*out_bar[b, k]
    matmul(out_bar, out_W.T, flatten_bar)

    # out_W_bar[m, k] = sum[b] flatten[b, m]*out_bar[b, k]
    matmul(flatten.T, out_bar, out_W_bar)

    conv_bar[:, :, :, :] = real(0.0)
    conv_K_bar[:, :, :, :] = real(0.0)
    for b in range(n_batch):
        for o in range(4):
            # conv_bar[b, o, 2*p + u, 2*q + v] += flatten_bar[b, 25*o + 5*p + q]
            #     where 2*u + v == pool_argmax[b, o, p, q]
            for p in range(5):
                for u in range(2):
                    for q in range(5):
                        v = pool_argmax[b, o, p, q] - 2 * u
                        if 0 <= v <= 1:
                            conv_bar[b, o, 2 * p + u, 2 * q + v] += (
                                flatten_bar[b, 25 * o + 5 * p + q]
                            )
            # conv_z_bar[b, o, p, q] = conv_bar[b, o, p, q]*step(conv[b, o, p, q])
            for p in range(10):
                for q in range(10):
                    conv_z_bar[b, o, p, q] = (
                        conv_bar[b, o, p, q] * step(conv[b, o, p, q])
                    )
        # conv_K_bar[o, c, u, v] = sum[b, p, q] x_patches[b, c, u, v, p, q]
        #     *conv_z_bar[b, o, p, q]
        matmul_add(
            view(conv_z_bar, 0, (n_batch, 4, 100))[b],
            view(x_patches, 0, (n_batch, 9, 100))[b].T,
            view(conv_K_bar, 0, (4, 9)),
        )

    # conv_c_bar[o] = sum[b, p, q] conv_z_bar[b, o, p, q]
    for o in range(4):
        total = real(0.0)
        for b in range(n_batch):
            for p in range(10):
                for q in range(10):
                    total += conv_z_bar[b, o, p, q]
        conv_c_bar[o] = total


@kernel
def loss_and_grad_into(params, x, label, workspace, positions, grads):
    """Write the gradient of the loss to `grads`; return the loss."""
    loss = forward(params, x, label, workspace)
    backward(params, label, workspace, positions, grads)
    return loss

"""Kernels of pinn, in float64: plain functions that Numba compiles.

Written by symbp 0.1.0 from the spec 655ae31e1fdd: change the spec, not this file.
Each group of loops is headed by the equation that it carries out. Arrays are
C-contiguous; the interface in `__init__.py` has checked them.
"""

import numpy as np

from ._runtime.jit import kernel
from ._runtime.scalar import sin, square, tanh
from ._runtime.views import view

real = np.float64


@kernel
def predict_into(params, x, workspace, u):
    """Evaluate the model."""
    n_points = x.shape[0]
    W = view(params, 0, (16,))
    c = view(params, 16, (16,))
    v = view(params, 32, (16,))
    u_tanh = view(workspace, 0, (16,))

    for n in range(n_points):
        # u_tanh[n, k] = tanh(c[k] + x[n]*W[k])
        x_n = x[n]
        for k in range(16):
            u_tanh[k] = tanh(c[k] + x_n * W[k])
        # u[n] = sum[k] u_tanh[n, k]*v[k]
        total = 0.0
        for k in range(16):
            total += u_tanh[k] * v[k]
        u[n] = total


@kernel
def forward(params, x, workspace):
    """Evaluate the loss."""
    n_points = x.shape[0]
    W = view(params, 0, (16,))
    c = view(params, 16, (16,))
    v = view(params, 32, (16,))
    u_xx = view(workspace, 64 * n_points, (n_points,))
    u_tanh = view(workspace, 0, (n_points, 16))
    sin_x = view(workspace, 65 * n_points, (n_points,))
    u_tanh_x = view(workspace, 16 * n_points, (n_points, 16))
    u_tanh_xx = view(workspace, 32 * n_points, (n_points, 16))

    for n in range(n_points):
        # u_tanh[n, k] = tanh(c[k] + x[n]*W[k])
        x_n = x[n]
        for k in range(16):
            u_tanh[n, k] = tanh(c[k] + x_n * W[k])
        # sin_x[n] = sin(x[n])
        sin_x[n] = sin(x[n])
        # u_tanh_x[n, k] = W[k]*(1 - u_tanh[n, k]**2)
        # u_tanh_xx[n, k] = -2*u_tanh[n, k]*W[k]*u_tanh_x[n, k]
        for k in range(16):
            u_tanh_x[n, k] = W[k] * (1.0 - u_tanh[n, k] * u_tanh[n, k])
            u_tanh_xx[n, k] = -2.0 * u_tanh[n, k] * W[k] * u_tanh_x[n, k]
        # u_xx[n] = sum[k] v[k]*u_tanh_xx[n, k]
        total = 0.0
        for k in range(16):
            total += v[k] * u_tanh_xx[n, k]
        u_xx[n] = total

    # loss = sum[n] (sin_x[n] + u_xx[n])**2/n_points
    total = 0.0
    for n in range(n_points):
        total += square(sin_x[n] + u_xx[n])
    loss = total / real(n_points)

    return loss


@kernel
def backward(params, x, workspace, grads):
    """Differentiate the loss; follows `forward`."""
    n_points = x.shape[0]
    W = view(params, 0, (16,))
    v = view(params, 32, (16,))
    u_xx = view(workspace, 64 * n_points, (n_points,))
    u_tanh = view(workspace, 0, (n_points, 16))
    sin_x = view(workspace, 65 * n_points, (n_points,))
    u_tanh_x = view(workspace, 16 * n_points, (n_points, 16))
    u_tanh_xx = view(workspace, 32 * n_points, (n_points, 16))
    W_bar = view(grads, 0, (16,))
    c_bar = view(grads, 16, (16,))
    v_bar = view(grads, 32, (16,))
    u_tanh_pre_bar = view(workspace, 48 * n_points, (n_points, 16))

    v_bar[:] = 0.0
    W_bar[:] = 0.0
    for n in range(n_points):
        # u_xx_bar[n] = 2*(sin_x[n] + u_xx[n])/n_points
        u_xx_bar = 2.0 * (sin_x[n] + u_xx[n]) / real(n_points)
        # v_bar[k] = sum[n] u_tanh_xx[n, k]*u_xx_bar[n]
        # u_tanh_pre_x_bar[n, k] = 2*u_tanh[n, k]*v[k]*u_xx_bar[n]
        #     *(W[k]*u_tanh[n, k]**2 - u_tanh_x[n, k] - W[k])
        # u_tanh_pre_bar[n, k] = -2*v[k]*u_xx_bar[n]
        #     *(u_tanh_x[n, k]**2 + u_tanh[n, k]*u_tanh_xx[n, k])
        # W_bar[k] = sum[n] u_tanh_pre_x_bar[n, k]
        for k in range(16):
            v_bar[k] += u_tanh_xx[n, k] * u_xx_bar
            u_tanh_pre_x_bar = (
                2.0
                * u_tanh[n, k]
                * v[k]
                * u_xx_bar
                * (W[k] * u_tanh[n, k] * u_tanh[n, k] - u_tanh_x[n, k] - W[k])
            )
            u_tanh_pre_bar[n, k] = (
                -2.0
                * v[k]
                * u_xx_bar
                * (u_tanh_x[n, k] * u_tanh_x[n, k] + u_tanh[n, k] * u_tanh_xx[n, k])
            )
            W_bar[k] += u_tanh_pre_x_bar

    # W_bar[k] += sum[n] x[n]*u_tanh_pre_bar[n, k]
    # c_bar[k] = sum[n] u_tanh_pre_bar[n, k]
    c_bar[:] = 0.0
    for n in range(n_points):
        x_n = x[n]
        for k in range(16):
            W_bar[k] += x_n * u_tanh_pre_bar[n, k]
            c_bar[k] += u_tanh_pre_bar[n, k]


@kernel
def loss_and_grad_into(params, x, workspace, grads):
    """Write the gradient of the loss to `grads`; return the loss."""
    loss = forward(params, x, workspace)
    backward(params, x, workspace, grads)
    return loss

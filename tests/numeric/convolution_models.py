"""Convolutions and pooling. A learnt factor on the input makes the gradient pass through to the very first tensor."""

from __future__ import annotations

from functools import partial

import torch

import symbp as sb
from symbp import Conv1d, Conv2d, Dense, Flatten, MaxPool2d, Model, mean, sum
from symbp.frontend.handle import TensorHandle
from tests.numeric.harness import Case, Tensors

functional = torch.nn.functional
BATCHES = ({"n_batch": 3}, {"n_batch": 1}, {"n_batch": 7})


def scaled_image(model: Model, channels: int, height: int, width: int) -> TensorHandle:
    """``a[b, c, i, j] = g[c, i, j]*x[b, c, i, j]``."""
    b, c = model.axis("b", "batch"), model.axis("c", channels)
    i, j = model.axis("i", height), model.axis("j", width)
    x, g = model.input("x", b, c, i, j), model.parameter("g", c, i, j)
    return model.define("a[b, c, i, j]", g[c, i, j] * x[b, c, i, j])


def scaled_signal(model: Model, channels: int, width: int) -> TensorHandle:
    """``a[b, c, i] = g[c, i]*x[b, c, i]``."""
    b, c, i = model.axis("b", "batch"), model.axis("c", channels), model.axis("i", width)
    x, g = model.input("x", b, c, i), model.parameter("g", c, i)
    return model.define("a[b, c, i]", g[c, i] * x[b, c, i])


def add_weighted_loss(model: Model, y: TensorHandle) -> None:
    """An uneven weighting, so that no gradient is the same everywhere."""
    r = model.input("r", *y.axes)
    model.loss(sum(y.here**2 * r[y.axes], *y.axes))


def weighted(t: Tensors, y: torch.Tensor) -> torch.Tensor:
    return (y**2 * t["r"]).sum()


def image(size: tuple[int, int], kernel: int | tuple[int, int], stride: int, padding: int, dilation: int) -> Model:
    model = Model("image")
    a = scaled_image(model, 2, *size)
    y = Conv2d(3, kernel, sb.tanh, stride=stride, padding=padding, dilation=dilation)(a)
    add_weighted_loss(model, y)
    return model


def image_torch(stride: int, padding: int, dilation: int, t: Tensors) -> torch.Tensor:
    y = functional.conv2d(t["g"] * t["x"], t["conv_K"], t["conv_c"], stride=stride, padding=padding, dilation=dilation)
    return weighted(t, torch.tanh(y))


def image_case(size: tuple[int, int], kernel: int | tuple[int, int], stride: int, padding: int, dilation: int) -> Case:
    return Case(
        f"conv2d {size[0]}x{size[1]}, kernel {kernel}, stride {stride}, padding {padding}, dilation {dilation}",
        partial(image, size, kernel, stride, padding, dilation),
        partial(image_torch, stride, padding, dilation),
        BATCHES,
        single=stride == 1,
    )


def pooled(pool: int, pool_stride: int) -> Model:
    """Convolution, relu, max pooling."""
    model = Model("pooled")
    a = scaled_image(model, 2, 9, 7)
    y = MaxPool2d(pool, pool_stride, name="pool")(Conv2d(3, 3, sb.relu, name="conv")(a))
    add_weighted_loss(model, y)
    return model


def pooled_torch(pool: int, pool_stride: int, t: Tensors) -> torch.Tensor:
    y = torch.relu(functional.conv2d(t["g"] * t["x"], t["conv_K"], t["conv_c"]))
    return weighted(t, functional.max_pool2d(y, pool, pool_stride))


def lenet() -> Model:
    """Two rounds of convolution and pooling, then dense layers; small."""
    model = Model("lenet")
    b, c, i, j = model.axis("b", "batch"), model.axis("c", 1), model.axis("i", 14), model.axis("j", 14)
    x, label = model.input("x", b, c, i, j), model.input("label", b, dtype="int", below=5)
    h = MaxPool2d(2, name="pool1")(Conv2d(2, 3, sb.relu, name="conv1")(x))
    h = MaxPool2d(2, name="pool2")(Conv2d(3, 3, sb.relu, name="conv2")(h))
    z = Dense(5, name="head")(Dense(7, sb.relu, name="hidden")(Flatten()(h)))
    model.loss(sb.softmax_cross_entropy(z, label))
    return model


def lenet_torch(t: Tensors) -> torch.Tensor:
    h = t["x"]
    for n in (1, 2):
        h = functional.max_pool2d(torch.relu(functional.conv2d(h, t[f"conv{n}_K"], t[f"conv{n}_c"])), 2)
    h = torch.relu(h.flatten(1) @ t["hidden_W"] + t["hidden_c"])
    return functional.cross_entropy(h @ t["head_W"] + t["head_c"], t["label"])


def signal(kernel: int, stride: int, padding: int, dilation: int) -> Model:
    model = Model("signal")
    a = scaled_signal(model, 2, 13)
    add_weighted_loss(model, Conv1d(5, kernel, stride=stride, padding=padding, dilation=dilation)(a))
    return model


def signal_torch(stride: int, padding: int, dilation: int, t: Tensors) -> torch.Tensor:
    a = t["g"] * t["x"]
    return weighted(t, functional.conv1d(a, t["conv_K"], t["conv_c"], stride, padding, dilation))


def signal_case(kernel: int, stride: int, padding: int, dilation: int) -> Case:
    return Case(
        f"conv1d kernel {kernel}, stride {stride}, padding {padding}, dilation {dilation}",
        partial(signal, kernel, stride, padding, dilation),
        partial(signal_torch, stride, padding, dilation),
        BATCHES,
        single=False,
    )


def run_time_width() -> Model:
    """A convolution over a signal whose length is known at run time only, averaged."""
    model = Model("run_time_width")
    b, c, i = model.axis("b", "batch"), model.axis("c", 2), model.axis("i", "width")
    y = Conv1d(3, 3, sb.tanh, padding=1)(model.input("x", b, c, i))
    model.loss(mean(y.here**2, *y.axes))
    return model


def run_time_width_torch(t: Tensors) -> torch.Tensor:
    return (torch.tanh(functional.conv1d(t["x"], t["conv_K"], t["conv_c"], padding=1)) ** 2).mean()


def pooled_width() -> Model:
    """The same with strides and pooling: the number of windows depends on the width."""
    model = Model("pooled_width")
    b, c = model.axis("b", "batch"), model.axis("c", 2)
    i, j = model.axis("i", "width"), model.axis("j", 7)
    x, g = model.input("x", b, c, i, j), model.parameter("g", c)
    a = model.define("a[b, c, i, j]", g[c] * x[b, c, i, j])
    y = MaxPool2d(2, name="pool")(Conv2d(3, 3, sb.tanh, stride=2, padding=1, name="conv")(a))
    model.loss(mean(y.here**2, *y.axes))
    return model


def pooled_width_torch(t: Tensors) -> torch.Tensor:
    a = t["g"][:, None, None] * t["x"]
    y = torch.tanh(functional.conv2d(a, t["conv_K"], t["conv_c"], stride=2, padding=1))
    return (functional.max_pool2d(y, 2) ** 2).mean()


def grouped() -> Model:
    """``y[b, g*2 + o, p]`` from channels ``g*3 + c``: three channels in and two out for each of three groups."""
    model = Model("grouped")
    a = scaled_signal(model, 9, 7)
    b = a.axes[0]
    n, o, c = model.axis("n", 3), model.axis("o", 2), model.axis("c3", 3)
    p, u = model.axis("p", 5), model.axis("u", 3)
    K = model.parameter("K", n, o, c, u)
    y = model.define("y[b, n, o, p]", sum(a[b, n * 3 + c, p + u] * K[n, o, c, u], c, u))
    r = model.input("r", b, n, o, p)
    model.loss(sum(y[b, n, o, p] ** 2 * r[b, n, o, p], b, n, o, p))
    return model


def grouped_torch(t: Tensors) -> torch.Tensor:
    y = functional.conv1d(t["g"] * t["x"], t["K"].reshape(6, 3, 3), groups=3)
    return weighted(t, y.reshape(-1, 3, 2, 5))


def depthwise() -> Model:
    model = Model("depthwise")
    a = scaled_image(model, 3, 7, 5)
    b, c, _, _ = a.axes
    p, q, u, v = model.axis("p", 5), model.axis("q", 3), model.axis("u", 3), model.axis("v", 3)
    K = model.parameter("K", c, u, v)
    y = model.define("y[b, c, p, q]", sum(a[b, c, p + u, q + v] * K[c, u, v], u, v))
    add_weighted_loss(model, y)
    return model


def depthwise_torch(t: Tensors) -> torch.Tensor:
    return weighted(t, functional.conv2d(t["g"] * t["x"], t["K"][:, None], groups=3))


def transposed() -> Model:
    """A transposed convolution of stride 2, as a gather: ``y[n] = sum[p] a[p]*K[n - 2p]`` where n - 2p is in K."""
    model = Model("transposed")
    a = scaled_signal(model, 2, 7)
    b, c, p = a.axes
    o, n, u = model.axis("o", 3), model.axis("n", 15), model.axis("u", 3)
    K = model.parameter("K", c, o, u)
    inside = [n - 2 * p >= 0, n - 2 * p < 3]
    y = model.define("y[b, o, n]", sum(a[b, c, p] * K[c, o, n - 2 * p], c, p, where=inside))
    add_weighted_loss(model, y)
    return model


def transposed_torch(t: Tensors) -> torch.Tensor:
    return weighted(t, functional.conv_transpose1d(t["g"] * t["x"], t["K"], stride=2))


def scattered() -> Model:
    """The same by its left side: every window adds itself where it stands."""
    model = Model("spread")
    a = scaled_signal(model, 2, 7)
    b, c, p = a.axes
    n, s = model.axis("n", 14), model.axis("s", 2)
    K = model.parameter("K", c, s)
    y = model.variable("y", b, c, n)
    model.define(y[b, c, 2 * p + s], a[b, c, p] * K[c, s])
    add_weighted_loss(model, y)
    return model


def scattered_torch(t: Tensors) -> torch.Tensor:
    y = (t["g"] * t["x"])[..., None] * t["K"][:, None]
    return weighted(t, y.flatten(2))


def circular() -> Model:
    model = Model("circular")
    a = scaled_signal(model, 1, 7)
    b, c, n = a.axes
    u = model.axis("u", 3)
    K = model.parameter("K", u)
    y = model.define("y[b, c, i]", sum(a[b, c, (n + u) % 7] * K[u], u))
    add_weighted_loss(model, y)
    return model


def circular_torch(t: Tensors) -> torch.Tensor:
    a = t["g"] * t["x"]
    return weighted(t, torch.stack([a.roll(-s, 2) * t["K"][s] for s in range(3)]).sum(0))


CASES = (
    image_case((7, 5), 3, 1, 0, 1),
    image_case((7, 5), (3, 2), 1, 1, 1),
    image_case((9, 7), 3, 2, 1, 1),
    image_case((7, 9), 2, 1, 0, 3),
    image_case((9, 7), 3, 2, 0, 2),
    Case("conv2d, relu, max pooling", partial(pooled, 2, 2), partial(pooled_torch, 2, 2), BATCHES),
    Case("conv2d, relu, overlapping max pooling", partial(pooled, 3, 2), partial(pooled_torch, 3, 2), BATCHES),
    Case("lenet", lenet, lenet_torch, BATCHES),
    signal_case(3, 1, 0, 1),
    signal_case(4, 3, 2, 1),
    signal_case(3, 2, 1, 3),
    signal_case(1, 1, 0, 1),
    Case("conv1d over a run-time width", run_time_width, run_time_width_torch,
         ({"n_batch": 3, "n_width": 13}, {"n_batch": 1, "n_width": 7}, {"n_batch": 2, "n_width": 1})),
    Case("strides and pooling over a run-time width", pooled_width, pooled_width_torch,
         ({"n_batch": 3, "n_width": 13}, {"n_batch": 1, "n_width": 6}, {"n_batch": 2, "n_width": 3})),
    Case("grouped convolution", grouped, grouped_torch, BATCHES),
    Case("depthwise convolution", depthwise, depthwise_torch, BATCHES),
    Case("transposed convolution", transposed, transposed_torch, BATCHES),
    Case("spread by the left side", scattered, scattered_torch, BATCHES),
    Case("circular convolution", circular, circular_torch, BATCHES),
)  # fmt: skip

"""What is timed on a GPU: the workloads of `benchmarks.workloads` and more, at sizes that fill the card.

Each has the least work that it can be done with: FLOPs of its matrix products, and bytes that must be read or written
once. The larger of the two, at the speeds measured on the device, is the floor that a time is held against.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from typing import Any

import torch

from benchmarks import torch_models
from benchmarks.workloads import WORKLOADS, big_mlp, dense_layers, lenet5, lstm_char, mlp_mnist, swiglu_rmsnorm, tfblock
from symbp import Adam, Model, mse, relu, softmax_cross_entropy


@dataclass(frozen=True)
class Timed:
    """A model at one size, the name of its loss in PyTorch and in JAX, and the least work of a step.

    `small` is the same model at a size that the emulator runs, with run-time sizes `small_sizes`.
    """

    name: str
    build: Callable[[], Model]
    sizes: Mapping[str, int]
    loss: str
    small: Callable[[], Model]
    small_sizes: Mapping[str, int] = field(default_factory=dict)
    flops: float = 0.0
    bytes: float = 0.0

    def shrunk(self) -> Timed:
        """The small one in its place: its times say nothing."""
        return replace(self, build=self.small, sizes=self.small_sizes, flops=0.0, bytes=0.0)


def mlp_flops(batch: int, *widths: int) -> float:
    """Forward, weight gradients, and data gradients of all layers but the first."""
    return float(sum((4 if layer == 0 else 6) * batch * a * b for layer, (a, b) in enumerate(pairwise(widths))))


def lenet5_flops(batch: int) -> float:
    first = 4 * batch * 24 * 24 * 6 * 25
    second = 6 * batch * 8 * 8 * 16 * 150
    dense = 6 * batch * (256 * 120 + 120 * 84 + 84 * 10)
    return float(first + second + dense)


def lstm_flops(batch: int, length: int = 64, hidden: int = 128, characters: int = 64) -> float:
    """The projection of the input is a gather of rows."""
    return 6.0 * batch * length * (hidden * 4 * hidden + hidden * characters)


def tfblock_flops(batch: int, length: int = 64, width: int = 128, inner: int = 512, words: int = 256) -> float:
    """Attention counted as causal: half of the scores."""
    dense = 6.0 * batch * length * width * (3 * width + width + 2 * inner + words)
    return dense + 12.0 * batch * (length * (length + 1) // 2) * width


def swiglu_bytes(rows: int, width: int = 1024, inner: int = 2816) -> float:
    return 4.0 * rows * (3 * width + 5 * inner)  # x, dy, x_bar; a, b, dh, a_bar, b_bar


def softmax_ce(rows: int, classes: int) -> Model:
    """``loss = mean(-log softmax(z)[label])`` and its gradient: the logits are declared as parameters."""
    model = Model("softmax_ce")
    b, k = model.axis("b", rows), model.axis("k", classes)
    y = model.input("y", b, dtype="int", below=classes)
    model.loss(softmax_cross_entropy(model.parameter("z", b, k), y))
    return model


def softmax_ce_torch(t: dict[str, Any]) -> Any:
    return torch.nn.functional.cross_entropy(t["z"], t["y"])


def mlp64(features: int = 64, outputs: int = 16) -> Model:
    """Four hidden layers of width 64, for a batch of many thousands."""
    model = Model("mlp64")
    b, j, o = model.axis("b", "batch"), model.axis("j", features), model.axis("o", outputs)
    x, y = model.input("x", b, j), model.input("y", b, o)
    model.loss(mse(dense_layers(model, x, (64, 64, 64, 64, outputs), relu), y))
    model.optimizer(Adam(learning_rate=1e-3))
    return model


def mlp64_torch(t: dict[str, Any]) -> Any:
    return torch.nn.functional.mse_loss(torch_models.mlp(t, t["x"], 5, torch.relu), t["y"])


def _shared(build: Callable[..., Model], batch: int, flops: float) -> Timed:
    """A workload that the CPU is timed with as well, at this batch."""
    known = WORKLOADS[build.__name__]
    return Timed(
        f"{known.name} batch {batch}",
        build,
        {"n_batch": batch},
        known.name,
        partial(build, **known.small),
        known.small_sizes,
        flops=flops,
    )


def _swiglu(rows: int) -> Timed:
    small = partial(swiglu_rmsnorm, **WORKLOADS["swiglu_rmsnorm"].small)
    return Timed(
        f"swiglu_rmsnorm {rows} rows",
        partial(swiglu_rmsnorm, rows),
        {},
        "swiglu_rmsnorm",
        small,
        bytes=swiglu_bytes(rows),
    )


def _softmax(rows: int) -> Timed:
    return Timed(
        f"softmax_ce {rows} x 32768",
        partial(softmax_ce, rows, 32768),
        {},
        "softmax_ce",
        partial(softmax_ce, 5, 33),
        bytes=8.0 * rows * 32768,
    )


TORCH_LOSSES = {**torch_models.LOSSES, "softmax_ce": softmax_ce_torch, "mlp64": mlp64_torch}

#: In this order, the most telling first: time may run out.
TIMED: dict[str, Timed] = {
    t.name: t
    for t in (
        _shared(mlp_mnist, 128, mlp_flops(128, 784, 128, 10)),
        _swiglu(2048),
        _shared(tfblock, 16, tfblock_flops(16)),
        _shared(lstm_char, 32, lstm_flops(32)),
        _shared(lenet5, 128, lenet5_flops(128)),
        _softmax(4096),
        Timed(
            "mlp64 batch 262144", mlp64, {"n_batch": 2**18}, "mlp64", partial(mlp64, 5, 3), {"n_batch": 3},
            flops=mlp_flops(2**18, 64, 64, 64, 64, 64, 16), bytes=4.0 * 2**18 * 80,
        ),
        _swiglu(16384),
        _shared(tfblock, 1024, tfblock_flops(1024)),
        _shared(lenet5, 8192, lenet5_flops(8192)),
        _shared(lstm_char, 2048, lstm_flops(2048)),
        _shared(big_mlp, 4096, mlp_flops(4096, 1024, 4096, 4096, 1024)),
    )
}  # fmt: skip


def floor_seconds(timed: Timed, ceilings: dict[str, float]) -> float | None:
    """The least time of a step on a device with these ceilings."""
    rate, bandwidth = ceilings.get("matmul_float32_flop_per_s"), ceilings.get("copy_bytes_per_s")
    if not rate or not bandwidth:
        return None
    return max(timed.flops / rate, timed.bytes / bandwidth)

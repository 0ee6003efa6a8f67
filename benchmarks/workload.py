"""A workload: a model at a size, and the least work that one training step of it can be done with."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from types import SimpleNamespace

from symbp import Model

Sizes = SimpleNamespace


@dataclass(frozen=True)
class Workload:
    """A model at the size at which it is timed, at one at which it is tested, and the least work of a step.

    `extents` are keyword arguments of `build`, `sizes` the run-time sizes by their names in the program; each of the
    `variants` is another choice of both. `products` gives the floating-point operations that the matrix products of one
    step cannot do without, and `memory` the bytes that it must move if nothing stays in the caches: both from all of
    the sizes by name. Without `memory` they are the weights', read forward and backward, and read and written by the
    update together with the optimizer's state.
    """

    build: Callable[..., Model]
    sizes: Mapping[str, int]
    small: Mapping[str, int] = field(default_factory=dict)
    small_sizes: Mapping[str, int] = field(default_factory=dict)
    dtype: str = "float32"
    products: Callable[[Sizes], int] = field(kw_only=True)
    memory: Callable[[Sizes], int] | None = field(default=None, kw_only=True)
    extents: Mapping[str, int] = field(default_factory=dict, kw_only=True)
    variants: tuple[Mapping[str, int], ...] = field(default=(), kw_only=True)

    @property
    def name(self) -> str:
        return self.build.__name__

    def model(self) -> Model:
        """At the size at which it is timed."""
        return self.build(**self.extents)

    def variant(self, number: int) -> Workload:
        """The same model at its ``number``-th other size, from 1; 0 is the size at which it is timed."""
        if not number:
            return self
        chosen = self.variants[number - 1]
        sizes = {name: size for name, size in chosen.items() if name in self.sizes}
        return replace(self, extents={n: size for n, size in chosen.items() if n not in sizes}, sizes=sizes)

    def all_sizes(self) -> Sizes:
        """Extents and run-time sizes, by name."""
        declared = {n: p.default for n, p in inspect.signature(self.build).parameters.items()}
        return SimpleNamespace(**{**declared, **self.extents, **self.sizes})

    def options(self) -> dict[str, int]:
        """What a loss in another framework must be told, because the arrays do not show it."""
        return {"heads": self.all_sizes().heads} if hasattr(self.all_sizes(), "heads") else {}

    def flops(self) -> int:
        """Of the matrix products of one step, as `products` counts them."""
        return self.products(self.all_sizes())

    def traffic(self, weights: int, state: int) -> int:
        """Bytes that one step moves if nothing stays in the caches; `weights` and `state` are bytes of each."""
        return 4 * weights + 2 * state if self.memory is None else self.memory(self.all_sizes())


def dense_flops(rows: int, *widths: int) -> int:
    """Of dense layers: forward, weight gradients, and data gradients of all layers but the first."""
    return sum((4 if k == 0 else 6) * rows * a * b for k, (a, b) in enumerate(pairwise(widths)))


def lenet5_flops(s: Sizes) -> int:
    first = (s.size - s.kernel + 1) // 2
    second = (first - s.kernel + 1) // 2
    maps = 4 * (2 * first) ** 2 * s.channels + 6 * (2 * second) ** 2 * s.more_channels * s.channels
    dense = s.more_channels * second**2 * s.hidden + s.hidden * (s.hidden * 7 // 10) + s.hidden * 7 // 10 * 10
    return int(s.n_batch * (maps * s.kernel**2 + 6 * dense))


def gru_flops(s: Sizes) -> int:
    cell = 3 * s.hidden * (4 * s.features + 6 * s.hidden)
    return int(s.n_batch * (s.length * cell + 6 * s.hidden * s.classes))


def tfblock_flops(s: Sizes) -> int:
    """Attention is counted where ``s <= t`` only."""
    projections = s.width * (4 * s.width + 2 * s.inner + s.words)
    return int(6 * s.n_batch * (s.length * projections + 2 * s.width * s.length * (s.length + 1) // 2))

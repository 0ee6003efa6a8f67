"""Embedding: a row of a table for each whole number."""

from __future__ import annotations

from dataclasses import dataclass

from symbp.errors import SpecError
from symbp.frontend.handle import TensorHandle
from symbp.frontend.layers.layer import Layer, Scope, check_positive
from symbp.ir import DType, Initializer


@dataclass(frozen=True)
class Embedding(Layer):
    """``y[.., k] = E[x[..], k]`` with `words` rows of `units` numbers; the input holds whole numbers below `words`.

    The rows start normal with standard deviation 1.
    """

    words: int
    units: int
    init: str | Initializer | None = None

    def __post_init__(self) -> None:
        check_positive("Embedding", "words", self.words)
        check_positive("Embedding", "units", self.units)

    def expand(self, scope: Scope, x: TensorHandle) -> TensorHandle:
        if scope.model.declarations().tensors[x.name].dtype is not DType.INT:
            raise SpecError(
                f"Embedding takes whole numbers, but '{x.name}' is of floats",
                remedy=f"declare '{x.name}' with dtype='int' and below={self.words}",
            )
        v = scope.axis("v", self.words)
        k = scope.axis("k", self.units)
        E = scope.parameter("E", v, k, init=self.init or Initializer("normal", (("std", 1.0),)))
        row = x[x.axes] if x.axes else x._sympy_()
        return scope.define("", (*x.axes, k), E[row, k])

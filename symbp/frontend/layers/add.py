"""Skip connections."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sympy as sp

from symbp.errors import ShapeError
from symbp.frontend.handle import TensorHandle
from symbp.frontend.layers.layer import Layer, Scope


@dataclass(frozen=True)
class Add(Layer):
    """``y[..] = x[..] + z[..] + ..`` of two or more tensors of one shape; its axes are those of the first."""

    def expand(self, scope: Scope, *inputs: Any) -> TensorHandle:
        first: TensorHandle = inputs[0]
        total: sp.Expr = sp.Integer(0)
        for x in inputs:
            if [a.size for a in x.axes] != [a.size for a in first.axes]:
                raise ShapeError(f"Add takes tensors of one shape, found {_shape(first)} and {_shape(x)}")
            total = total + (x[first.axes] if first.axes else x._sympy_())
        return scope.define("", first.axes, total)


def _shape(x: TensorHandle) -> str:
    return f"'{x.name}' of {' x '.join(str(a.size) for a in x.axes) or 'no axes'}"

"""What a model consists of before it is lowered: axes, tensors and equations, each with the place that declared it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sympy as sp

from symbp.frontend.expression import Axis
from symbp.ir import Affine, DType, Initializer, Role


@dataclass(frozen=True, slots=True)
class AxisDeclaration:
    """An index and its extent. `hint` is the short name that statements print; layers' axes have long unique names."""

    axis: Axis
    extent: Affine
    hint: str
    place: str = ""

    @property
    def name(self) -> str:
        return str(self.axis.name)


@dataclass(frozen=True, slots=True)
class TensorDeclaration:
    """A tensor. `axes` gives its rank and the names of its axes; what equations define may extend beyond them."""

    name: str
    axes: tuple[Axis, ...]
    role: Role
    dtype: DType = DType.FLOAT
    below: Affine | None = None
    initializer: Initializer | None = None
    default: float | None = None
    finite: bool = True
    place: str = ""
    layer: str = ""

    @property
    def rank(self) -> int:
        return len(self.axes)

    @property
    def is_given(self) -> bool:
        return self.role in (Role.INPUT, Role.PARAMETER, Role.HYPER, Role.STATE)


@dataclass(frozen=True, slots=True)
class Definition:
    """One equation: ``tensor[subscripts] = expression where guards``."""

    tensor: str
    subscripts: tuple[sp.Expr, ...]
    expression: sp.Expr
    guards: tuple[Any, ...] = ()
    place: str = ""
    layer: str = ""

    @property
    def left(self) -> str:
        inside = ", ".join(map(str, self.subscripts))
        return f"{self.tensor}[{inside}]" if inside else self.tensor

    @property
    def text(self) -> str:
        """The equation in the notation of spec files."""
        guards = f" where {', '.join(map(str, self.guards))}" if self.guards else ""
        return f"{self.left} = {sp.sstr(self.expression)}{guards}"

    @property
    def axes(self) -> tuple[Axis, ...]:
        """The indices on the left, in the order they are written."""
        found: dict[Axis, None] = {}
        for subscript in self.subscripts:
            found.update(dict.fromkeys(sorted(subscript.atoms(Axis), key=lambda a: str(a.name))))
        return tuple(found)


@dataclass(frozen=True, slots=True)
class Declarations:
    """Everything that a model declares."""

    name: str
    axes: dict[str, AxisDeclaration]
    tensors: dict[str, TensorDeclaration]
    definitions: tuple[Definition, ...]
    outputs: tuple[str, ...]
    loss: str

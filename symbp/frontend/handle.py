"""What a declaration gives back: a tensor by name, to be subscripted into elements."""

from __future__ import annotations

from typing import Any, Protocol

import sympy as sp

from symbp.errors import ShapeError, SpecError, SymbpError
from symbp.frontend.expression import Axis, Element, to_expression
from symbp.frontend.place import caller


class Declarations(Protocol):
    """What a handle asks of the model that it belongs to."""

    def apply(self, function: Any, tensor: TensorHandle, name: str = "") -> TensorHandle:
        """Define a tensor by applying a function or a layer to a whole tensor."""


class TensorHandle:
    """A declared tensor. ``x[b, j]`` is an element; a scalar's handle is itself an expression."""

    def __init__(self, model: Declarations, name: str, axes: tuple[Axis, ...]) -> None:
        self.model = model
        self.name = name
        self.axes = axes

    @property
    def rank(self) -> int:
        return len(self.axes)

    @property
    def here(self) -> sp.Expr:
        """The element at the tensor's own axes: ``x[b, j]`` for a tensor declared over b and j."""
        return Element(self.name, *self.axes)

    def __getitem__(self, subscripts: Any) -> Element:
        try:
            return self._element(subscripts if isinstance(subscripts, tuple) else (subscripts,))
        except SymbpError as error:
            raise error.at(caller()) from None

    def _element(self, items: tuple[Any, ...]) -> Element:
        for item in items:
            if isinstance(item, slice) or item is Ellipsis or item is None:
                raise ShapeError(
                    f"tensor '{self.name}' is read with {'a slice' if isinstance(item, slice) else repr(item)}",
                    remedy="write one index per axis, such as x[b, j]",
                )
        expressions = tuple(to_expression(item, f"a subscript of '{self.name}'") for item in items)
        check_rank(self.name, self.axes, expressions)
        return Element(self.name, *expressions)

    def __iter__(self) -> Any:
        raise SpecError(
            f"tensor '{self.name}' cannot be looped over", remedy="write one index per axis, such as x[b, j]"
        )

    def _sympy_(self) -> sp.Expr:
        if self.axes:
            inside = ", ".join(a.name for a in self.axes)
            raise SpecError(
                f"tensor '{self.name}' has {count(self.rank)} and stands here without an index",
                place=caller(),
                remedy=f"write {self.name}[{inside}]",
            )
        return Element(self.name)

    def __repr__(self) -> str:
        return f"<{self.name}[{', '.join(a.name for a in self.axes)}]>" if self.axes else f"<{self.name}>"

    # A scalar handle stands for its one element; for others `_sympy_` says what to write.
    def __add__(self, other: Any) -> sp.Expr:
        return self._sympy_() + to_expression(other)

    def __radd__(self, other: Any) -> sp.Expr:
        return to_expression(other) + self._sympy_()

    def __sub__(self, other: Any) -> sp.Expr:
        return self._sympy_() - to_expression(other)

    def __rsub__(self, other: Any) -> sp.Expr:
        return to_expression(other) - self._sympy_()

    def __mul__(self, other: Any) -> sp.Expr:
        return self._sympy_() * to_expression(other)

    def __rmul__(self, other: Any) -> sp.Expr:
        return to_expression(other) * self._sympy_()

    def __truediv__(self, other: Any) -> sp.Expr:
        return self._sympy_() / to_expression(other)

    def __rtruediv__(self, other: Any) -> sp.Expr:
        return to_expression(other) / self._sympy_()

    def __pow__(self, other: Any) -> sp.Expr:
        return self._sympy_() ** to_expression(other)

    def __rpow__(self, other: Any) -> sp.Expr:
        return to_expression(other) ** self._sympy_()

    def __neg__(self) -> sp.Expr:
        return -self._sympy_()


def check_rank(name: str, axes: tuple[Axis, ...] | tuple[str, ...], subscripts: tuple[sp.Expr, ...]) -> None:
    """Refuse a wrong number of subscripts. Raises ShapeError."""
    if len(axes) == len(subscripts):
        return
    names = f" ({', '.join(str(a) for a in axes)})" if axes else ""
    inside = ", ".join(map(str, subscripts))
    missing = len(axes) - len(subscripts)
    remedy = f"drop {count(-missing, 'subscript')}" if missing < 0 else f"add {count(missing, 'subscript')}"
    raise ShapeError(
        f"tensor '{name}' has {count(len(axes))}{names} but is read with {len(subscripts)}: {name}[{inside}]",
        remedy=remedy,
    )


def count(number: int, noun: str = "axis") -> str:
    plural = "axes" if noun == "axis" else f"{noun}s"
    return f"{number} {noun if number == 1 else plural}"

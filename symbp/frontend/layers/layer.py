"""What a layer is: declared fields, a formula, and one method that writes equations. No derivatives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from symbp.errors import SpecError
from symbp.frontend.expression import Axis, Element, to_expression
from symbp.frontend.functions import ACTIVATIONS, Function
from symbp.frontend.handle import TensorHandle
from symbp.frontend.model import Model
from symbp.ir import Initializer


@dataclass(frozen=True)
class Layer:
    """A layer called on a tensor writes its equations into the tensor's model and gives its output.

    Subclass it as a frozen dataclass with an `expand` method. Each call makes weights of its own, under the layer's
    `name`; without a name, one is made from the class (``dense``, ``dense_2``).
    """

    name: str = field(default="", kw_only=True)

    #: What a layer without a name is called.
    kind: ClassVar[str] = ""

    def __call__(self, *inputs: TensorHandle) -> TensorHandle:
        if not inputs or not all(isinstance(x, TensorHandle) for x in inputs):
            shown = ", ".join(f"{type(x).__name__} {x}" for x in inputs) or "nothing"
            raise SpecError(f"layer {type(self).__name__} is called on tensors, found {shown}")
        model = inputs[0].model
        if not isinstance(model, Model) or any(x.model is not model for x in inputs):
            raise SpecError(f"the inputs of layer {type(self).__name__} belong to different models")
        with model.layer(self.name, self.kind or type(self).__name__.lower()) as name:
            return self.expand(Scope(model, name), *inputs)

    def expand(self, scope: Scope, *inputs: Any) -> TensorHandle:
        """Write the layer's equations; return its output."""
        raise NotImplementedError(f"{type(self).__name__} has no expand method")


@dataclass(frozen=True)
class Scope:
    """Where a layer declares: names get the layer's name before them, ``hidden_W``; the name "" is the layer's own."""

    model: Model
    name: str

    def axis(self, hint: str, extent: Any) -> Axis:
        """An axis of the layer; statements print it as `hint`."""
        return self.model.axis(self.model.fresh(self._full(hint)), extent, hint=hint)

    def parameter(self, name: str, *axes: Axis, init: str | float | Initializer | None = None) -> TensorHandle:
        return self.model.parameter(self._full(name), *axes, init=init)

    def variable(self, name: str, *axes: Axis) -> TensorHandle:
        """A tensor whose equations follow, for recurrences."""
        return self.model.variable(self._full(name), *axes)

    def define(
        self, left: str | Element, axes_or_expression: Any, expression: Any = None, *, where: Any = None
    ) -> TensorHandle:
        """``define("z", (b, k), expression)``, or ``define(h[b, t + 1, k], expression)`` for a declared variable."""
        if isinstance(left, Element):
            return self.model.define(left, axes_or_expression, where=where)
        element = Element(self._full(left), *(to_expression(a) for a in axes_or_expression))
        return self.model.define(element, expression, where=where)

    def _full(self, name: str) -> str:
        return f"{self.name}_{name}" if name else self.name


def activate(scope: Scope, activation: Function | None, axes: tuple[Axis, ...], expression: Any) -> TensorHandle:
    """The layer's output ``f(z)``, the preactivation named ``z``; the expression itself without an activation."""
    if activation is None:
        return scope.define("", axes, expression)
    z = scope.define("z", axes, expression)
    return scope.define("", axes, activation.on_element(z))


def check_activation(layer: str, activation: Any) -> None:
    """Refuse an activation that is not a function of one element. Raises SpecError."""
    if activation is None or (isinstance(activation, Function) and activation.name in ACTIVATIONS):
        return
    raise SpecError(
        f"{layer} has activation {activation!r}, expected one of {', '.join(ACTIVATIONS)} or None",
        remedy="write other functions as an equation on the layer's output",
    )


def check_positive(layer: str, field_name: str, value: Any, least: int = 1) -> None:
    """Refuse a count that is not an integer of at least `least`. Raises SpecError."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise SpecError(f"{layer} has {field_name} = {value!r}, expected an integer of at least {least}")


def check_rank_of_input(layer: str, x: TensorHandle, rank: int, axes: str, *, at_least: bool = False) -> None:
    """Refuse an input of another rank. Raises SpecError."""
    if x.rank == rank or (at_least and x.rank > rank):
        return
    more = "at least " if at_least else ""
    found = ", ".join(a.name for a in x.axes)
    raise SpecError(f"{layer} takes a tensor of {more}{rank} axes ({axes}), found '{x.name}' with {x.rank} ({found})")

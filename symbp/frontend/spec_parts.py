"""Layers, losses and optimizers of a spec: found by name, their options being the fields that they declare."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields
from functools import partial
from typing import Any, TypeVar

from symbp.errors import SymbpError, did_you_mean
from symbp.frontend.functions import ACTIVATIONS
from symbp.frontend.handle import TensorHandle, count
from symbp.frontend.initializers import KINDS as INITIALIZERS
from symbp.frontend.layers import LAYERS
from symbp.frontend.losses import LOSSES
from symbp.frontend.model import Model
from symbp.frontend.optimizers import OPTIMIZERS
from symbp.frontend.spec_table import Table
from symbp.frontend.syntax import Place, shorten
from symbp.ir import Initializer

Part = TypeVar("Part")

#: What TOML gives for a field, by the words of its annotation.
_TOML_KINDS: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "str": (str,),
    "tuple": (list,),
    "Function": (str,),
    "Initializer": (str, int, float, dict),
}


@dataclass(frozen=True)
class LayerCall:
    """One table of ``[[layers]]``: a layer or an activation, the names of its inputs and of its output."""

    table: Table
    layer: Callable[..., TensorHandle]
    inputs: tuple[str, ...]
    output: str

    def write(self, model: Model, inputs: Sequence[TensorHandle]) -> TensorHandle:
        """Write the layer's equations into the model."""
        with model._at(str(self.table.place())):
            return self.layer(*inputs)


def read_layer(table: Table) -> LayerCall:
    """``type``, ``input`` (one name or several), ``output``, and the layer's own fields. Raises SpecError.

    The type is a layer, or a function such as "softmax" that is applied to every element.
    """
    if table.text("type") in ACTIVATIONS:
        function = ACTIVATIONS[table.text("type")]
        inputs, output, name = _names(table, function.name, (), 1)
        return LayerCall(table, partial(function, name=name), inputs, output)
    layer = _find(table, "layer", LAYERS, ACTIVATIONS)
    own = [f for f in fields(layer) if f.init and f.name != "name"]
    takes = list(inspect.signature(layer.expand).parameters.values())[2:]  # after self and scope
    number = None if any(p.kind is p.VAR_POSITIONAL for p in takes) else len(takes)
    inputs, output, name = _names(table, layer.__name__, [f.name for f in own], number)
    options = {**_options(table, layer.__name__, own), "name": name}
    return LayerCall(table, _make(table, layer, options), inputs, output)


def _names(table: Table, kind: str, own: Sequence[str], number: int | None) -> tuple[tuple[str, ...], str, str]:
    """The inputs, the output's name in equations, and the layer's own name, after which its tensors are called."""
    table.check_keys(["type", "input", "output", "name", *own], f"option of {kind}")
    table.get("input", str, list)
    inputs = tuple(word.strip() for word in table.texts("input"))
    if number is not None and len(inputs) != number:
        raise table.error(f"{kind} takes {count(number, 'input')}, found {len(inputs)}", "input")
    output = table.text("output") if "output" in table or "name" not in table else table.text("name")
    return inputs, output, table.text("name", output)


def set_optimizer(model: Model, table: Table) -> None:
    """``type`` and the optimizer's fields."""
    optimizer_type = _find(table, "optimizer", OPTIMIZERS)
    own = [f for f in fields(optimizer_type) if f.init]
    table.check_keys(["type", *(f.name for f in own)], f"option of {optimizer_type.__name__}")
    with model._at(str(table.place())):
        model.optimizer(_make(table, optimizer_type, _options(table, optimizer_type.__name__, own)))


def read_loss(table: Table) -> tuple[str, dict[str, str]]:
    """``type`` and one tensor name for each argument of the loss: ``logits = "z"``, ``label = "label"``."""
    function = _find(table, "loss", LOSSES)
    arguments = list(inspect.signature(function).parameters)
    table.check_keys(["type", *arguments], f"argument of {function.__name__}")
    return table.text("type"), {name: table.text(name) for name in arguments}


def read_initializer(table: Table, key: str) -> Any:
    """A name, a number, or ``{ kind = "normal", std = 0.02 }``."""
    value = table.get(key, str, int, float, dict)
    if not isinstance(value, dict):
        return value
    entry = table.table(key, f"{key} of {table.what}")
    kind = entry.text("kind")
    if kind in INITIALIZERS:
        needed, optional = INITIALIZERS[kind]
        entry.check_keys(("kind", *needed, *optional), "number")
    numbers = tuple((name, float(entry.get(name, int, float))) for name in entry.values if name != "kind")
    return Initializer(kind, numbers)


def _find(table: Table, noun: str, known: Mapping[str, Part], others: Iterable[str] = ()) -> Part:
    name = table.text("type")
    if name not in known:
        remedy = did_you_mean(name, [*known, *others]) or f"known: {', '.join(known)}"
        raise table.error(f"unknown {noun} '{shorten(name)}'", "type", remedy=remedy)
    return known[name]


def _options(table: Table, kind: str, own: Sequence[Field[Any]]) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for field in own:
        if field.name in table:
            options[field.name] = _option(table, field)
        elif field.default is MISSING and field.default_factory is MISSING:
            raise table.error(f"{kind} lacks '{field.name}'", remedy=f"add {field.name} = ..")
    return options


def _option(table: Table, field: Field[Any]) -> Any:
    words = re.findall(r"\w+", field.type if isinstance(field.type, str) else getattr(field.type, "__name__", ""))
    kinds = tuple(dict.fromkeys(kind for word in words for kind in _TOML_KINDS.get(word, ())))
    value = table.get(field.name, *kinds) if kinds else table.values[field.name]
    if "Function" in words:
        if value not in ACTIVATIONS:
            raise table.error(
                f"unknown function '{shorten(value)}'",
                field.name,
                remedy=did_you_mean(value, ACTIVATIONS) or f"known: {', '.join(ACTIVATIONS)}",
            )
        return ACTIVATIONS[value]
    if "Initializer" in words:
        return read_initializer(table, field.name)
    return tuple(value) if isinstance(value, list) else value


def _make(table: Table, kind: type[Part], options: Mapping[str, Any]) -> Part:
    try:
        return kind(**options)
    except SymbpError as problem:
        place = str(_guilty(table, problem.message))
        raise type(problem)(problem.message, place=place, remedy=problem.remedy) from None
    except (TypeError, ValueError) as problem:
        raise table.error(f"{kind.__name__}: {problem}") from None


def _guilty(table: Table, message: str) -> Place:
    """The place of the option that a message speaks of, else of the table."""
    named = [key for key in table.values if re.search(rf"\b{re.escape(key)} =", message)]
    return table.place(named[0]) if named else table.place()

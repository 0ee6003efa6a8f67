"""The equations and layers of a spec, in the order in which they can be written down.

Equations keep the order of the file; a tensor may be read before its equation. A layer is placed as soon as its inputs
are there, an equation that reads a layer's output after the layer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from symbp.errors import SpecError, did_you_mean
from symbp.frontend.expression import Axis
from symbp.frontend.handle import TensorHandle
from symbp.frontend.model import Model
from symbp.frontend.reader import Names, Outline, outline_equation, read_equation
from symbp.frontend.spec_parts import LayerCall, read_layer
from symbp.frontend.spec_table import Table
from symbp.frontend.syntax import Source, split_equations


@dataclass(frozen=True)
class PendingEquation:
    """One equation of the file, and what it defines and reads."""

    source: Source
    outline: Outline


class SpecEquations:
    """Collects equations and layers, then writes them into the model."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.equations: list[PendingEquation] = []
        self.layers: list[LayerCall] = []
        self.outputs: dict[str, TensorHandle] = {}  # what layers give, under the names of the spec

    def add_texts(self, table: Table) -> None:
        """``equations``: one text with an equation per line, or a list of texts."""
        value = table.get("equations", str, list, dict)
        if isinstance(value, dict):
            raise table.error(
                "'equations' is a table, expected text", "equations", remedy='write equations = """ .. """ above it'
            )
        for position, text in enumerate(table.texts("equations")):
            place = table.place("equations", position) if isinstance(value, list) else table.place("equations")
            for source in split_equations(Source(text, place)):
                self.add(source)

    def add(self, source: Source) -> Outline:
        outline = outline_equation(source.text, source.place)
        self.equations.append(PendingEquation(source, outline))
        return outline

    def add_layer(self, table: Table) -> None:
        """One table of ``[[layers]]``."""
        call = read_layer(table)
        if call.output in [other.output for other in self.layers]:
            raise table.error(
                f"two layers give '{call.output}'", "output" if "output" in table else "name", remedy="choose two names"
            )
        self.layers.append(call)

    def define_all(self) -> None:
        """Write everything collected so far into the model."""
        while self.equations or self.layers:
            layer = next((call for call in self.layers if self._has_all(call.inputs)), None)
            if layer is not None:
                self.layers.remove(layer)
                self._write_layer(layer)
            elif self.equations and not self._awaits_layer(self.equations[0]):
                self._define(self.equations.pop(0))
            else:
                self._release_one()

    def defined(self) -> list[str]:
        """Every tensor that the spec has or will have."""
        later = [e.outline.defines for e in self.equations] + [call.output for call in self.layers]
        return [*self.names().tensors, *later]

    def names(self) -> Names:
        """What the names in equations mean now."""
        return Names(self.model.axes, self.model.sizes, {**self.model.tensors, **self.outputs})

    def tensor(self, table: Table, name: str, *keys: str | int) -> TensorHandle:
        """The tensor of a name that stands at the given key."""
        known = self.names().tensors
        if name not in known:
            raise table.error(f"unknown tensor '{name}'", *keys, remedy=did_you_mean(name, known))
        return known[name]

    def _has_all(self, names: tuple[str, ...]) -> bool:
        return all(name in self.model.tensors or name in self.outputs for name in names)

    def _awaits_layer(self, equation: PendingEquation) -> bool:
        waited = {call.output for call in self.layers}
        return any(name in waited for name in equation.outline.reads)

    def _release_one(self) -> None:
        """Nothing at the front can be placed: take a later equation that can, or say what is missing."""
        for position, equation in enumerate(self.equations):
            if not self._awaits_layer(equation):
                self._define(self.equations.pop(position))
                return
        given = self.defined()
        for layer in self.layers:
            is_list = isinstance(layer.table.values["input"], list)
            for position, name in enumerate(layer.inputs):
                if name not in given:
                    keys = ("input", position) if is_list else ("input",)
                    raise layer.table.error(f"unknown tensor '{name}'", *keys, remedy=did_you_mean(name, given))
        names = ", ".join(call.output for call in self.layers)
        raise self.layers[0].table.error(
            f"layers and equations wait for each other: {names}",
            "input",
            remedy="a loop in time is written with equations: h[b, t + 1, k] = ..",
        )

    def _write_layer(self, call: LayerCall) -> None:
        known = self.names().tensors
        if call.output in known:
            key = "output" if "output" in call.table else "name"
            raise call.table.error(f"the name '{call.output}' is taken", key, remedy="choose another output")
        self.outputs[call.output] = call.write(self.model, [known[name] for name in call.inputs])

    def _define(self, equation: PendingEquation) -> None:
        outline = equation.outline
        for name in (outline.defines, *outline.reads):
            self._declare_ahead(name, equation)
        if outline.defines in self.outputs:
            raise SpecError(
                f"'{outline.defines}' is a layer's output and cannot be defined by an equation",
                place=str(outline.place),
                remedy="choose another name",
            )
        found = read_equation(equation.source.text, self.names(), equation.source.place)
        self.model.define(found.left, found.right, where=list(found.guards), place=str(outline.place))

    def _declare_ahead(self, name: str, current: PendingEquation) -> None:
        """Declare a tensor that is read, or written at a constant index, before the equation that names its axes."""
        if name in self.model.tensors or name in self.outputs:
            return
        definitions = [e.outline for e in (current, *self.equations) if e.outline.defines == name]
        if not definitions:
            return
        is_first = current.outline.defines == name
        axes = list(_axes_on_the_left(definitions, self.model.axes))
        first_axes = list(_axes_on_the_left(definitions[:1], self.model.axes))
        if is_first and name not in current.outline.reads and first_axes == axes and None not in axes:
            return  # the equation itself declares it
        known = [axis for axis in axes if axis is not None]
        if any(w not in self.model.axes for o in definitions for words in o.subscripts for w in words):
            return  # the reader says what is wrong with the subscript
        if len(known) < len(axes):
            raise SpecError(
                f"no equation of '{name}' has an index at axis {axes.index(None)}",
                place=str(definitions[0].place),
                remedy="write an index there, such as h[b, t + 1, k]",
            )
        self.model.variable(name, *known, place=str(definitions[0].place))


def _axes_on_the_left(definitions: list[Outline], axes: Mapping[str, Axis]) -> Iterator[Axis | None]:
    """For each subscript, the first axis that one of the equations has there."""
    rank = max(len(outline.subscripts) for outline in definitions)
    for position in range(rank):
        words = [w for o in definitions if position < len(o.subscripts) for w in o.subscripts[position]]
        yield next((axes[word] for word in words if word in axes), None)

"""The tensors of a model: shapes from declarations and from what the equations write, and names for their axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sympy as sp

from symbp.errors import ShapeError, SpecError
from symbp.frontend.binding import Bound
from symbp.frontend.declarations import Declarations, Definition, TensorDeclaration
from symbp.frontend.expression import Axis, Element, Reduce
from symbp.frontend.guards import Guards, lower_guard
from symbp.frontend.integers import is_integer_expression, lower_integer
from symbp.frontend.regions import Layout, Written, check_injective, infer_layout
from symbp.ir import Affine, Domain, DType, Index, Range, Read, Role, Tensor, fresh_index
from symbp.ir.names import fresh_name


class TensorTable:
    """The program's tensors while it is being built; filled in two steps, what is given and what is defined."""

    def __init__(self, declared: Declarations) -> None:
        self.declared = declared
        self.tensors: dict[str, Tensor] = {}
        self.layouts: dict[str, Layout] = {}
        self.written: dict[str, list[Written]] = {}
        self.bound: dict[Axis, Bound] = {}

    def add_given(self, tensor: TensorDeclaration) -> None:
        """An input, parameter, state or hyper-parameter."""
        self.tensors[tensor.name] = Tensor(
            tensor.name,
            tuple(self.extent(a) for a in tensor.axes),
            tensor.role,
            self.axis_names(tensor.axes),
            tensor.dtype,
            tensor.below,
            tensor.initializer,
            default=tensor.default,
            finite=tensor.finite,
        )

    def record_written(self, definition: Definition) -> None:
        """Note which elements an equation writes."""
        names = self.index_names(definition.axes)
        ranges = self.ranges(definition.axes, names)
        subscripts = tuple(
            lower_integer(s, lambda a: Affine.of(names[a]), _no_data_on_the_left) for s in definition.subscripts
        )
        guards: list[Any] = []
        for relation in definition.guards:
            sides = relation.args
            if all(is_integer_expression(s) for s in sides) and not isinstance(relation, sp.Ne):
                guards += lower_guard(
                    relation, Guards(lambda a: Affine.of(names[a]), _no_data_on_the_left, None), ranges
                )
        written = Written(subscripts, Domain(ranges, tuple(guards)), definition.place, definition.left)
        check_injective(definition.tensor, written)
        self.written.setdefault(definition.tensor, []).append(written)

    def add_defined(self, tensor: TensorDeclaration) -> None:
        """A tensor that equations define; they have all been recorded."""
        written = self.written.get(tensor.name)
        if not written:
            raise SpecError(
                f"'{tensor.name}' has no equation", place=tensor.place or None, remedy="define it or drop it"
            )
        layout = infer_layout(tensor.name, [self.extent(a) for a in tensor.axes], written)
        self.layouts[tensor.name] = layout
        role = Role.LOSS if tensor.name == self.declared.loss else tensor.role
        dtype, below = self._integer_result(tensor.name)
        self.tensors[tensor.name] = Tensor(tensor.name, layout.shape, role, self.axis_names(tensor.axes), dtype, below)

    def _integer_result(self, name: str) -> tuple[DType, Affine | None]:
        """A tensor defined as an argmax alone holds integers."""
        mine = [d for d in self.declared.definitions if d.tensor == name]
        expression = mine[0].expression
        if len(mine) == 1 and isinstance(expression, Reduce) and expression.operation == "argmax":
            below = Affine.of(1)
            for axis in expression.axes:
                below = below * self.extent(axis)
            return DType.INT, below
        return DType.FLOAT, None

    def extent(self, axis: Axis) -> Affine:
        return self.bound[axis].extent if axis in self.bound else self.declared.axes[axis.name].extent

    def hint(self, axis: Axis) -> str:
        return self.bound[axis].hint if axis in self.bound else self.declared.axes[axis.name].hint

    def axis_names(self, axes: Sequence[Axis]) -> tuple[str, ...]:
        names: list[Index] = []
        for axis in axes:
            names.append(fresh_index(self.hint(axis), names))
        return tuple(i.name for i in names)

    def index_names(self, axes: Sequence[Axis]) -> dict[Axis, Index]:
        names: dict[Axis, Index] = {}
        for axis in axes:
            names[axis] = fresh_index(self.hint(axis), names.values())
        return names

    def ranges(self, axes: Sequence[Axis], names: dict[Axis, Index]) -> tuple[Range, ...]:
        return tuple(Range(names[a], Affine.of(0), self.extent(a)) for a in axes)

    def declare_temporary(self, hint: str, free: tuple[Axis, ...]) -> str:
        name = fresh_name(hint, self.tensors)
        shape = tuple(self.extent(a) for a in free)
        self.tensors[name] = Tensor(name, shape, Role.ACTIVATION, self.axis_names(free))
        return name


def _no_data_on_the_left(element: Element) -> Read:
    raise ShapeError(
        f"the left side has the data-dependent subscript {element}",
        remedy="write the equation for the element that is defined, and choose its source on the right",
    )

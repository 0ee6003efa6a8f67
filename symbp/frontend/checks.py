"""What can be said against an equation as soon as it is written, before the rest of the model is known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sympy as sp

from symbp.errors import ShapeError, SpecError, did_you_mean
from symbp.frontend.declarations import AxisDeclaration, Definition, TensorDeclaration
from symbp.frontend.expression import Axis, Element, Reduce
from symbp.frontend.handle import TensorHandle, check_rank


def check_declared(handle: Any, tensors: Mapping[str, TensorDeclaration], what: str) -> None:
    """Refuse what is not a tensor of this model."""
    if not isinstance(handle, TensorHandle):
        raise SpecError(f"{what} must be a tensor of the model, found {type(handle).__name__} {handle}")
    if handle.name not in tensors:
        raise SpecError(f"{what} '{handle.name}' is not of this model", remedy=did_you_mean(handle.name, tensors))


def check_definition(
    definition: Definition, axes: Mapping[str, AxisDeclaration], tensors: Mapping[str, TensorDeclaration]
) -> None:
    """Ranks, indices and axes of one equation. Tensors that are not declared yet are left for later."""
    declared = tensors[definition.tensor]
    if declared.is_given:
        raise SpecError(
            f"'{definition.tensor}' is {_a(declared.role.value)} and cannot be defined by an equation",
            remedy="choose another name",
        )
    check_rank(definition.tensor, declared.axes, definition.subscripts)
    for axis in sorted(_mentioned(definition), key=lambda a: str(a.name)):
        if axis.name not in axes:
            raise SpecError(
                f"index '{axis}' in {definition.left} is not an axis of this model",
                remedy=did_you_mean(axis.name, axes) or "declare it with model.axis(..)",
            )
    left = set(definition.axes)
    for what, part in (("right side", definition.expression), *(("guard", g) for g in definition.guards)):
        extra = sorted(str(a.name) for a in part.free_symbols if isinstance(a, Axis) and a not in left)
        if extra:
            raise ShapeError(
                f"index {extra[0]} is free on the {what} of {definition.left} but not on its left side",
                remedy=f"sum over it, sum(.., {extra[0]}), or write it on the left",
            )
    for part in (definition.expression, *definition.guards):
        for element in _elements(part):
            if element.tensor in tensors:
                check_element(element, tensors[element.tensor], axes)


def check_element(element: Element, tensor: TensorDeclaration, axes: Mapping[str, AxisDeclaration]) -> None:
    """Rank, and extents where an index stands alone: ``x[b, j]`` needs j to run over the axis of x, not another."""
    check_rank(element.tensor, tensor.axes, element.subscripts)
    if not tensor.is_given:
        return
    for position, (subscript, axis) in enumerate(zip(element.subscripts, tensor.axes, strict=True)):
        if not isinstance(subscript, Axis) or subscript.name not in axes:
            continue
        mine, theirs = axes[subscript.name].extent, axes[axis.name].extent
        if mine == theirs or mine.is_constant != theirs.is_constant:
            continue
        both_plain = mine.as_atom() is not None and theirs.as_atom() is not None
        if mine.is_constant or both_plain:
            raise ShapeError(
                f"index {subscript} runs over {mine} in {element}, but axis {position} of '{element.tensor}' "
                f"({axis}) has {theirs}",
                remedy=f"use an index over '{axis}': model.axis(.., {axis})",
            )


def _elements(expression: sp.Basic) -> list[Element]:
    return sorted(expression.atoms(Element), key=str)


def _mentioned(definition: Definition) -> set[Axis]:
    found: set[Axis] = set()
    for part in (*definition.subscripts, definition.expression, *definition.guards):
        found |= part.atoms(Axis)
        for reduce in part.atoms(Reduce):
            found |= set(reduce.axes)
    return found


def _a(word: str) -> str:
    return f"an {word}" if word[0] in "aeiou" else f"a {word}"

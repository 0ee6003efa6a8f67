"""The equation reader: ``z[b, k] = sum(x[b, j]*W[j, k], j) + c[k]`` as text to expressions, never evaluated.

`syntax` checks characters, words and limits and parses; `build` takes the tree node by node.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass

import sympy as sp

from symbp.frontend.build import Builder, Names, not_an_element, subscripts_of
from symbp.frontend.expression import Element, Relation
from symbp.frontend.syntax import Place, Source, parse_equation, parse_expression

__all__ = [
    "Equation",
    "Names",
    "Outline",
    "Place",
    "outline_equation",
    "read_element",
    "read_equation",
    "read_expression",
]


@dataclass(frozen=True)
class Equation:
    """``left = right, where guards``."""

    left: Element
    right: sp.Expr
    guards: tuple[Relation, ...] = ()


@dataclass(frozen=True)
class Outline:
    """What an equation is about before its names are known: the tensor on its left, the names in each subscript of it,
    and all names on its right.
    """

    defines: str
    subscripts: tuple[tuple[str, ...], ...]
    reads: tuple[str, ...]
    place: Place


def read_equation(text: str, names: Names, place: Place | str) -> Equation:
    """Read ``z[b, k] = expression [where condition, ...]``.

    `place` is the file, line and column of the first character, or any text for messages. The tensor on the left need
    not be known. Raises SpecError (ShapeError for a wrong number of indices), with file, line and column.
    """
    tree = parse_equation(_source(text, place))
    left = Builder(tree.left, names).left()
    right = Builder(tree.right, names).right()
    guards = tuple(Builder(guard, names).condition(guard.tree) for guard in tree.guards)
    return Equation(left, right, tuple(guard for guard in guards if guard != sp.true))


def read_element(text: str, names: Names, place: Place | str) -> Element:
    """Read the left side of an equation: ``z[b, t + 1, k]``, or ``L`` for a scalar."""
    piece = parse_expression(_source(text, place))
    return Builder(piece, names).left()


def read_expression(text: str, names: Names, place: Place | str) -> sp.Expr:
    """Read the right side of an equation alone: ``mean(-log(p[b, label[b]]), b)``."""
    piece = parse_expression(_source(text, place))
    return Builder(piece, names).right()


def outline_equation(text: str, place: Place | str) -> Outline:
    """Find what an equation defines and what it reads, without looking any name up."""
    source = _source(text, place)
    tree = parse_equation(source)
    left = tree.left.tree
    target = left.value if isinstance(left, ast.Subscript) else left
    if not isinstance(target, ast.Name):
        raise not_an_element(tree.left)
    subscripts = subscripts_of(left) if isinstance(left, ast.Subscript) else []
    reads = dict.fromkeys(name for piece in (tree.right, *tree.guards) for name in _names_in(piece.tree))
    place = source.place.moved(source.text, tree.left.offset(target))
    return Outline(target.id, tuple(map(_names_in, subscripts)), tuple(reads), place)


def _names_in(tree: ast.expr) -> tuple[str, ...]:
    return tuple(dict.fromkeys(node.id for node in ast.walk(tree) if isinstance(node, ast.Name)))


def _source(text: str, place: Place | str) -> Source:
    return Source(text, place if isinstance(place, Place) else Place(place))

"""Bound indices: renamed so that no two reductions share one, and none shares one with the left side."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sympy as sp

from symbp.frontend.expression import Axis, Element, Extent, Reduce
from symbp.ir import Affine


@dataclass(frozen=True, slots=True)
class Bound:
    """What is known of a renamed axis: the extent and the name that statements print."""

    extent: Affine
    hint: str


def rename_bound_axes(
    expression: sp.Expr,
    guards: tuple[Any, ...],
    bound: dict[Axis, Bound],
    describe: Callable[[Axis], Bound],
) -> tuple[sp.Expr, tuple[Any, ...]]:
    """The same expression in which every reduction binds axes of its own, recorded in `bound`.

    In ``exp(z[b, k])/sum(exp(z[b, k]), k)`` the two k are different indices. Equal reductions get equal axes, so that
    they are computed once.
    """
    known: dict[Any, sp.Expr] = {}

    def rename(node: sp.Basic, scope: dict[Axis, Axis]) -> Any:
        if isinstance(node, Axis):
            return scope.get(node, node)
        if not node.args:
            return node
        if isinstance(node, Reduce):
            free = sorted((a for a in node.free_symbols if isinstance(a, Axis)), key=lambda a: str(a.name))
            key = (node, tuple(scope.get(a, a) for a in free))
            if key not in known:
                inner = dict(scope)
                for axis in node.axes:
                    fresh = Axis(f"{axis.name}~{len(bound)}", axis.size)
                    bound[fresh] = describe(axis)
                    inner[axis] = fresh
                known[key] = Reduce(
                    node.operation,
                    rename(node.body, inner),
                    [inner[a] for a in node.axes],
                    [rename(g, inner) for g in node.guards],
                )
            return known[key]
        arguments = [rename(a, scope) for a in node.args]
        return node if all(a is b for a, b in zip(arguments, node.args, strict=True)) else node.func(*arguments)

    return rename(expression, {}), tuple(rename(g, {}) for g in guards)


@dataclass(frozen=True, slots=True)
class Split:
    """An expression as at most one reduction of a body that has none at its top."""

    operation: str
    axes: tuple[Axis, ...]
    guards: tuple[Any, ...]
    body: sp.Expr


def split_reduction(expression: sp.Expr) -> Split:
    """Take the reduction off the top of `expression`: ``sum(f, i)/n`` is ``sum[i] f/n``; nested sums become one.

    A factor may be moved inside a sum if it is made of numbers and sizes only.
    """
    operation, body = "", expression
    axes: tuple[Axis, ...] = ()
    guards: tuple[Any, ...] = ()
    while True:
        factors = sp.Mul.make_args(body)
        inner = [f for f in factors if isinstance(f, Reduce)]
        rest = [f for f in factors if not isinstance(f, Reduce)]
        if len(inner) != 1 or not all(_is_constant(f) for f in rest):
            break
        found = inner[0]
        if operation not in ("", found.operation) or (found.operation == "argmax" and (operation or rest)):
            break
        if found.operation == "max" and rest:
            break
        operation = found.operation
        axes, guards = axes + found.axes, guards + found.guards
        body = sp.Mul(*rest, found.body)
        if operation == "argmax":
            break
    return Split(operation, axes, guards, body)


def _is_constant(factor: sp.Expr) -> bool:
    return not factor.atoms(Element, Reduce) and all(isinstance(s, Extent) for s in factor.free_symbols)

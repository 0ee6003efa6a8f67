"""Keep of a tensor only what one turn of the loops around it needs.

    for b: for h: a[b, h, t, s] = ..; p[b, h, t, s] = ..      ==>      for b: for h: a[t, s] = ..; p[t, s] = ..

A tensor loses an axis if every access to it lies in one nest, below one loop, and has the loop's index there: the next
turn then writes where this one did, while it is still in the cache. (A tensor that loses all axes is a local scalar:
see `scalarise`.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from symbp.ir.affine import Affine, Index, Read
from symbp.ir.body import Operand
from symbp.ir.nodes import If, Loop, Node, Product, SetIndex, Slice, Store, Track
from symbp.ir.plan import Nest
from symbp.ir.program import Tensor
from symbp.ir.statement import Guard, Holds
from symbp.ir.trace import counted, tell
from symbp.schedule.access import accesses


def contract_arrays(
    nests: Sequence[Nest], tensors: Mapping[str, Tensor], candidates: Iterable[str]
) -> tuple[tuple[Nest, ...], dict[str, Tensor]]:
    """The nests with every candidate that loses axes, and those tensors as they are then."""
    homes: dict[str, set[int]] = {}
    for k, nest in enumerate(nests):
        for access in accesses(nest.nodes):
            homes.setdefault(access.tensor, set()).add(k)
    result = list(nests)
    found: dict[str, Tensor] = {}
    for name in candidates:
        home = homes.get(name, set())
        if len(home) != 1:
            continue
        k = next(iter(home))
        lost = _fixed_axes(result[k].nodes, name, ())
        if lost and len(lost) < tensors[name].rank:
            kept = [axis for axis in range(tensors[name].rank) if axis not in lost]
            result[k] = replace(result[k], nodes=tuple(_narrowed(n, name, kept) for n in result[k].nodes))
            found[name] = replace(tensors[name], shape=tuple(tensors[name].shape[axis] for axis in kept))
    if found:
        tell("contract_arrays", counted(len(found), "array"), counted(len(found), "array"), made=sorted(found))
    return tuple(result), found


def _fixed_axes(nodes: Sequence[Node], name: str, around: tuple[Index, ...]) -> tuple[int, ...]:
    """The axes along which every access stands at the index of a loop around all of them."""
    users = [n for n in nodes if any(a.tensor == name for a in accesses((n,)))]
    if len(users) == 1 and isinstance(loop := users[0], Loop):
        return _fixed_axes(loop.body, name, (*around, loop.index))
    places = [a.subscripts for a in accesses(users) if a.tensor == name]
    first = places[0]
    if first is None or any(p is None for p in places):
        return ()
    return tuple(
        axis
        for axis, subscript in enumerate(first)
        if subscript.as_index() in around and all(p is not None and p[axis] == subscript for p in places)
    )


def _narrowed(node: Node, name: str, kept: Sequence[int]) -> Node:
    """The node with the tensor subscripted along its kept axes alone."""

    def read(element: Read) -> Read:
        if element.tensor != name:
            return element
        return Read(name, tuple(element.subscripts[axis] for axis in kept))

    def part(value: Slice) -> Slice:
        if value.tensor != name:
            return value
        return replace(value, axes=tuple(value.axes[axis] for axis in kept))

    return map_subscripts(node, read, part)


def map_subscripts(
    node: Node, change: Callable[[Read], Read], change_slice: Callable[[Slice], Slice] = lambda part: part
) -> Node:
    """The node with other elements, innermost first, and other slices in the place of those it touches."""

    def affine(value: Affine) -> Affine:
        return value.map_reads(change) if value.reads() else value

    def element(value: Read) -> Read:
        return change(Read(value.tensor, tuple(map(affine, value.subscripts))))

    def operand(value: Operand) -> Operand:
        return affine(value) if isinstance(value, Affine) else element(value)

    def guard(value: Guard) -> Guard:
        if isinstance(value, Holds):
            return Holds(value.condition.map_operands(operand))
        return replace(value, value=affine(value.value))

    def inside(nodes: Iterable[Node]) -> tuple[Node, ...]:
        return tuple(map_subscripts(n, change, change_slice) for n in nodes)

    if isinstance(node, Loop):
        return replace(node, body=inside(node.body))
    if isinstance(node, If):
        return If(tuple(map(guard, node.guards)), inside(node.body))
    if isinstance(node, Store):
        return Store(element(node.target), node.value.map_operands(operand), node.update)
    if isinstance(node, Track):
        return replace(node, value=node.value.map_operands(operand))
    if isinstance(node, SetIndex):
        return replace(node, value=affine(node.value))
    if isinstance(node, Product):
        return replace(node, out=change_slice(node.out), left=change_slice(node.left), right=change_slice(node.right))
    return node

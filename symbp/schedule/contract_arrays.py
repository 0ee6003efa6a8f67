"""Keep of a tensor only what one turn of the loops around it needs.

    for b: for h: a[b, h, t, s] = ..; p[b, h, t, s] = ..      ==>      for b: for h: a[t, s] = ..; p[t, s] = ..

A tensor loses an axis if every access to it lies in one nest, below one loop, and has the loop's index there: the next
turn then writes where this one did, while it is still in the cache. (A tensor that loses all axes is a local scalar:
see `scalarise`.)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from symbp.ir.affine import Index, Read
from symbp.ir.nodes import Loop, Node, Slice
from symbp.ir.plan import Nest
from symbp.ir.program import Tensor
from symbp.ir.trace import counted, tell
from symbp.ir.walk_nodes import map_elements
from symbp.schedule.access import accesses, users_of_tensors


def contract_arrays(
    nests: Sequence[Nest], tensors: Mapping[str, Tensor], candidates: Iterable[str]
) -> tuple[tuple[Nest, ...], dict[str, Tensor]]:
    """The nests with every candidate that loses axes, and those tensors as they are then."""
    homes = users_of_tensors(nest.nodes for nest in nests)
    result = list(nests)
    found: dict[str, Tensor] = {}
    for name in candidates:
        home = homes.get(name, [])
        if len(home) != 1:
            continue
        (k,) = home
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

    return map_elements(node, read, part)

"""Walk and rename the nodes of a plan."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

from symbp.ir.affine import Affine, Index, Read
from symbp.ir.nodes import (
    AddAtomically,
    Bound,
    Contract,
    Dealt,
    Factor,
    If,
    Kept,
    Largest,
    Loop,
    Node,
    Note,
    Once,
    Product,
    SetIndex,
    Settle,
    Share,
    Slice,
    Slide,
    Sliding,
    Spread,
    Store,
    Track,
)
from symbp.ir.statement import ElementMap, Guard, Holds


def walk(nodes: Iterable[Node]) -> Iterator[Node]:
    """Every node, outer before inner."""
    for node in nodes:
        yield node
        if isinstance(node, Loop | If | Share | Once):
            yield from walk(node.body)


def rename_index(nodes: Iterable[Node], old: Index, new: Index) -> tuple[Node, ...]:
    """The nodes with one loop index called otherwise."""
    return substitute(nodes, {old: Affine.of(new)}, {old: new})


def substitute(
    nodes: Iterable[Node], mapping: Mapping[Index, Affine], names: Mapping[Index, Index]
) -> tuple[Node, ...]:
    def bound(value: Bound) -> Bound:
        return Bound(tuple(v.substitute(mapping) for v in value.values))

    def axes(values: Kept) -> Kept:
        return tuple(
            a.substitute(mapping) if isinstance(a, Affine) else (a[0].substitute(mapping), a[1].substitute(mapping))
            for a in values
        )

    def part(value: Slice) -> Slice:
        return Slice(value.tensor, axes(value.axes), value.rows, value.columns, value.transposed)

    def sliding(value: Sliding) -> Sliding:
        return Sliding(value.tensor, axes(value.axes), value.subscripts)

    def dealt(axis: Dealt) -> Dealt:
        return Dealt(names.get(axis.index, axis.index), bound(axis.lower), bound(axis.stop))

    def factor(value: Factor) -> Factor:
        axes = tuple(a.substitute(mapping) if isinstance(a, Affine) else dealt(a) for a in value.axes)
        return Factor(value.tensor, axes)

    def guard(value: Guard) -> Guard:
        return Holds(value.condition.substitute(mapping)) if isinstance(value, Holds) else value.substitute(mapping)

    def change(node: Node) -> Node:
        if isinstance(node, Loop):
            index = names.get(node.index, node.index)
            lower, stop, body = bound(node.lower), bound(node.stop), tuple(map(change, node.body))
            last = None if node.last is None else names.get(node.last, node.last)
            return Loop(index, lower, stop, body, node.step, node.interleaves, last)
        if isinstance(node, If):
            return If(tuple(map(guard, node.guards)), tuple(map(change, node.body)))
        if isinstance(node, Store):
            return Store(node.target.substitute(mapping), node.value.substitute(mapping), node.update)
        if isinstance(node, Track):
            at = node.at.substitute(mapping) if node.at is not None else None
            return Track(node.best, node.value.substitute(mapping), node.position, at)
        if isinstance(node, SetIndex):
            return SetIndex(names.get(node.index, node.index), node.value.substitute(mapping))
        if isinstance(node, Product):
            shift = node.shift.substitute(mapping)
            return Product(part(node.out), part(node.left), part(node.right), node.accumulate, node.triangle, shift)
        if isinstance(node, Slide):
            return replace(node, left=sliding(node.left), right=sliding(node.right), out=sliding(node.out))
        if isinstance(node, Share):
            return Share(tuple(map(dealt, node.axes)), tuple(map(change, node.body)))
        if isinstance(node, Once):
            return Once(tuple(map(change, node.body)))
        if isinstance(node, Largest):
            return Largest(node.largest, node.value.substitute(mapping))
        if isinstance(node, Spread):
            subscripts = tuple(s.substitute(mapping) for s in node.subscripts)
            return Spread(node.sums, subscripts, node.value.substitute(mapping), node.largest, node.count)
        if isinstance(node, Settle):
            return Settle(node.target.substitute(mapping), node.sums, node.largest, node.count, node.update)
        if isinstance(node, AddAtomically):
            return AddAtomically(node.target.substitute(mapping), node.value.substitute(mapping))
        if isinstance(node, Contract):
            return Contract(factor(node.out), factor(node.left), factor(node.right), node.accumulate)
        if isinstance(node, Note):
            return Note(node.statement.rename({k: v for k, v in names.items() if k in node.statement.indices}))
        return node

    return tuple(map(change, nodes))


def map_elements(
    node: Node, change: Callable[[Read], Read], change_slice: Callable[[Slice], Slice] = lambda part: part
) -> Node:
    """The node with other elements, innermost first, and other slices in the place of those that loops touch."""
    mapped = ElementMap(change)

    def inside(nodes: Iterable[Node]) -> tuple[Node, ...]:
        return tuple(map_elements(n, change, change_slice) for n in nodes)

    if isinstance(node, Loop):
        return replace(node, body=inside(node.body))
    if isinstance(node, If):
        return If(tuple(map(mapped.guard, node.guards)), inside(node.body))
    if isinstance(node, Store):
        return Store(mapped.element(node.target), node.value.map_operands(mapped.operand), node.update)
    if isinstance(node, Track):
        return replace(node, value=node.value.map_operands(mapped.operand))
    if isinstance(node, SetIndex):
        return replace(node, value=mapped.affine(node.value))
    if isinstance(node, Product):
        return replace(node, out=change_slice(node.out), left=change_slice(node.left), right=change_slice(node.right))
    return node

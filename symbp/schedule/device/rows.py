"""Keep what a kernel stores once for its point in a register too, and read it from there afterwards.

    softmax_max[b] = best                                    softmax_max_b = best;  softmax_max[b] = softmax_max_b
    .. exp(out[b, k] - softmax_max[b])          ==>          .. exp(out[b, k] - softmax_max_b)

Every thread of a team has the value, so none has to wait until the one that stores it has done so.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import replace

from symbp.ir.affine import Affine, Read
from symbp.ir.body import Body, Operand
from symbp.ir.names import fresh_name
from symbp.ir.nodes import (
    BEST,
    PLACE,
    TOTAL,
    Fill,
    If,
    Largest,
    Loop,
    Node,
    SetIndex,
    Settle,
    Spread,
    Store,
    Track,
    Update,
)
from symbp.ir.statement import Guard, Holds
from symbp.ir.walk_nodes import walk
from symbp.schedule.access import accesses
from symbp.schedule.scalarise import rename_local


def keep_rows(nodes: tuple[Node, ...], taken: Container[str]) -> tuple[Node, ...]:
    """The nodes with every element that is stored once, at their own level, and read later, in a local as well."""
    for place, node in enumerate(nodes):
        if not isinstance(node, Store) or not node.target.subscripts or node.update is not Update.SET:
            continue
        element, later = node.target, nodes[place + 1 :]
        if not _is_only_access(element, nodes) or not any(_reads(n, element) for n in later):
            continue
        bound = {n.index for n in walk(later) if isinstance(n, Loop | SetIndex)}
        if bound & {i for s in element.subscripts for i in s.indices()}:
            continue  # the same letters, but another element: the index runs again
        local = Read(fresh_name("_".join([element.tensor, *_index_names(element)]), taken))
        start, value = place, node.value
        before = nodes[:place]
        source = value.operands[0] if value.is_read else None
        if isinstance(source, Read) and source in (TOTAL, BEST, PLACE):  # the sum gets the name
            start = max(k for k, n in enumerate(before) if isinstance(n, Store) and n.target == source)
            made: tuple[Node, ...] = tuple(rename_local(n, source, local) for n in before[start:])
        else:
            made = (Store(local, value),)
        rest = keep_rows(tuple(_from_local(n, element, local) for n in later), taken)
        return (*nodes[:start], *made, Store(element, Body.of(local)), *rest)
    return nodes


def _is_only_access(element: Read, nodes: Iterable[Node]) -> bool:
    """True if the nodes touch the tensor at this element alone, and write it once."""
    found = [a for a in accesses(nodes) if a.tensor == element.tensor]
    return all(a.subscripts == element.subscripts for a in found) and sum(a.writes for a in found) == 1


def _reads(node: Node, element: Read) -> bool:
    return any(a.tensor == element.tensor for a in accesses((node,)))


def _index_names(element: Read) -> list[str]:
    return [i.name for s in element.subscripts for i in s.indices()]


def _from_local(node: Node, element: Read, local: Read) -> Node:
    """The node with reads of the element replaced by reads of the local."""

    def read(value: Read) -> Read:
        return local if value == element else value

    def affine(value: Affine) -> Affine:
        return value.map_reads(read) if element in value.reads() else value

    def operand(value: Operand) -> Operand:
        if isinstance(value, Affine):
            return affine(value)
        return read(Read(value.tensor, tuple(map(affine, value.subscripts))))

    def guard(value: Guard) -> Guard:
        if isinstance(value, Holds):
            return Holds(value.condition.map_operands(operand))
        return replace(value, value=affine(value.value))

    if isinstance(node, Loop):
        return replace(node, body=tuple(_from_local(n, element, local) for n in node.body))
    if isinstance(node, If):
        return If(tuple(map(guard, node.guards)), tuple(_from_local(n, element, local) for n in node.body))
    if isinstance(node, Store):
        target = Read(node.target.tensor, tuple(map(affine, node.target.subscripts)))
        return Store(target, node.value.map_operands(operand), node.update)
    if isinstance(node, Track | Largest | Spread):
        return replace(node, value=node.value.map_operands(operand))
    if isinstance(node, SetIndex):
        return replace(node, value=affine(node.value))
    assert not isinstance(node, Settle | Fill), "nothing else reads an element that a kernel has stored"
    return node

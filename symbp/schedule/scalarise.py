"""Keep in a register what lives inside one iteration.

    for b:  m[b] = max z[b, ..];  s[b] = sum exp(z[b, ..] - m[b])      ==>      for b:  m = ..;  s = ..

A tensor qualifies if every access to it lies in one nest, below one innermost common loop, always with the same
subscripts made of the indices of the loops around, and if each iteration sets it before reading it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from symbp.ir.affine import Index, Read
from symbp.ir.body import Body
from symbp.ir.nodes import BEST, PLACE, TOTAL, If, Loop, Node, Note, Store, Track, Update
from symbp.ir.plan import Nest
from symbp.ir.trace import counted, tell
from symbp.ir.walk_nodes import map_elements
from symbp.schedule.access import accesses, users_of_tensors


def scalarise(nests: Sequence[Nest], candidates: Sequence[str]) -> tuple[tuple[Nest, ...], tuple[str, ...]]:
    """The nests with every qualifying tensor among `candidates` as a local scalar, and the names of those."""
    homes = users_of_tensors(nest.nodes for nest in nests)
    result = list(nests)
    gone: list[str] = []
    for name in candidates:
        home = homes.get(name, [])
        if len(home) != 1:
            continue
        (k,) = home
        nodes = _localise(result[k].nodes, name, ())
        if nodes is not None:
            result[k] = replace(result[k], nodes=nodes)
            gone.append(name)
    found = sum(name in homes for name in candidates)
    tell("scalarise", counted(found, "array"), counted(found - len(gone), "array"), gone=gone)
    return tuple(result), tuple(gone)


def _localise(nodes: tuple[Node, ...], name: str, around: tuple[Index, ...]) -> tuple[Node, ...] | None:
    """The nodes with the tensor as a scalar, or None if it does not stay within one iteration."""
    users = [k for k, n in enumerate(nodes) if _uses(n, name)]
    if len(users) == 1 and isinstance(loop := nodes[users[0]], Loop):
        body = _localise(loop.body, name, (*around, loop.index))
        return None if body is None else (*nodes[: users[0]], replace(loop, body=body), *nodes[users[0] + 1 :])
    found = {a.subscripts for a in accesses(nodes) if a.tensor == name}
    first = nodes[users[0]]
    if len(found) != 1 or not isinstance(first, Store) or first.update is not Update.SET:
        return None
    subscripts = found.pop()
    if not around or subscripts is None or any(s.as_index() not in around for s in subscripts):
        return None
    return _stored_at_once(_without_copies(tuple(_to_scalar(n, name) for n in nodes), name), name)


def _stored_at_once(nodes: tuple[Node, ...], name: str) -> tuple[Node, ...]:
    """``w_next = value; w[i] = w_next``  becomes  ``w[i] = value``, if nothing else reads the scalar."""
    users = [k for k, n in enumerate(nodes) if _uses(n, name)]
    if len(users) != 2 or users[1] != users[0] + 1 or any(isinstance(n, Note) for n in nodes[users[0] : users[1]]):
        return nodes
    first, second = nodes[users[0]], nodes[users[1]]
    if not isinstance(first, Store) or not isinstance(second, Store) or first.update is not Update.SET:
        return nodes
    if second.value.is_read and second.value.operands == (Read(name),) and second.target.tensor != name:
        return (*nodes[: users[0]], replace(second, value=first.value), *nodes[users[1] + 1 :])
    return nodes


def _uses(node: Node, name: str) -> bool:
    return any(a.tensor == name for a in accesses((node,)))


def _to_scalar(node: Node, name: str) -> Node:
    return map_elements(node, lambda element: Read(name) if element.tensor == name else element)


def _without_copies(nodes: tuple[Node, ...], name: str) -> tuple[Node, ...]:
    """``total = 0; ..; name = total``  becomes  ``name = 0; ..``."""
    scalar = Read(name)
    for k, node in enumerate(nodes):
        if not (isinstance(node, Store) and node.target == scalar and node.value.is_read):
            continue
        source = node.value.operands[0]
        if not isinstance(source, Read) or source not in (TOTAL, BEST, PLACE) or node.update is not Update.SET:
            continue
        start = max(i for i, n in enumerate(nodes[:k]) if isinstance(n, Store) and n.target == source)
        renamed = tuple(rename_local(n, source, scalar) for n in nodes[start:k])
        return (*nodes[:start], *renamed, *_without_copies(nodes[k + 1 :], name))
    return nodes


def rename_local(node: Node, old: Read, new: Read) -> Node:
    """The node with one local scalar called otherwise."""

    def body(value: Body) -> Body:
        return value.replace_reads(lambda r: Body.of(new) if r == old else None)

    if isinstance(node, Loop | If):
        return replace(node, body=tuple(rename_local(n, old, new) for n in node.body))
    if isinstance(node, Store):
        return Store(new if node.target == old else node.target, body(node.value), node.update)
    if isinstance(node, Track):
        best, position = (new if local == old else local for local in (node.best, node.position))
        assert best is not None
        return replace(node, best=best, value=body(node.value), position=position)
    return node

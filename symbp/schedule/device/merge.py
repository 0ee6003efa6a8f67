"""Walk a row once where it was walked several times.

    for k: e[b, k] = exp(z[b, k] - m)                     total = 0
    total = 0                                  ==>        for k: e[b, k] = exp(z[b, k] - m); total += e[b, k]
    for k: total += e[b, k]

Two loops over the same range become one if the second needs from the first only what the same turn made, and if what
lies between them can go before the first or after the second.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from symbp.ir.affine import Read
from symbp.ir.names import fresh_name
from symbp.ir.nodes import BEST, TOTAL, If, Loop, Node, Note, Store, Update
from symbp.schedule.access import accesses, conflict
from symbp.schedule.device.independence import is_private, locals_of, uses
from symbp.schedule.fuse import fuse_loops
from symbp.schedule.scalarise import rename_local


def merge_loops(nodes: tuple[Node, ...], taken: Iterable[str]) -> tuple[Node, ...]:
    """The nodes of a kernel with neighbouring loops merged, at every level. No local is called like one of `taken`."""
    names = set(taken)
    result: list[Node] = []
    for node in nodes:
        if isinstance(node, Loop | If):
            node = replace(node, body=merge_loops(node.body, names))
        if not isinstance(node, Loop) or not _merge_into(result, node):
            result.append(node)
    if len(result) == len(nodes):
        # Sums of one name stand in each other's way: try again with names of their own.
        apart = _with_own_locals(nodes, names)
        if apart != nodes:
            merged = merge_loops(apart, names)
            return merged if len(merged) < len(nodes) else tuple(result)
    return tuple(result)


def _merge_into(done: list[Node], loop: Loop) -> bool:
    """Merge the loop into the last one of `done`, if that may be; `done` is changed."""
    place = next((k for k in range(len(done) - 1, -1, -1) if isinstance(done[k], Loop)), None)
    if place is None:
        return False
    first = done[place]
    assert isinstance(first, Loop)
    before: list[Node] = []
    after: list[Node] = []
    for node in done[place + 1 :]:
        if isinstance(node, Note) or (_is_start(node) and _independent(node, (first, *after))):
            before.append(node)
        elif isinstance(node, Store) and _independent(node, (loop,)):
            after.append(node)
        else:
            return False
    if not _independent_all(before, after) or _shares_a_local(first, loop):
        return False
    merged = fuse_loops(first, loop)
    if merged is None:
        return False
    lead = place
    while lead > 0 and isinstance(done[lead - 1], Note):
        lead -= 1
    notes = [n for n in before if isinstance(n, Note)]
    starts = [n for n in before if not isinstance(n, Note)]
    done[lead:] = [*done[lead:place], *notes, *starts, merged, *after]
    return True


def _is_start(node: Node) -> bool:
    """``total = 0``."""
    return (
        isinstance(node, Store) and not node.target.subscripts and node.update is Update.SET and not node.value.operands
    )


def _independent(node: Node, others: Iterable[Node]) -> bool:
    """True if the node and the others touch nothing that either writes, locals included."""
    return not any(conflict((node,), (other,)) or _locals_meet(node, other) for other in others)


def _independent_all(nodes: Iterable[Node], others: Iterable[Node]) -> bool:
    return all(_independent(n, others) for n in nodes if not isinstance(n, Note))


def _locals_meet(node: Node, other: Node) -> bool:
    found = {a.tensor for a in accesses((node,)) if not a.subscripts}
    return any(uses(other, Read(name)) for name in found)


def _shares_a_local(one: Loop, other: Loop) -> bool:
    """True if the second loop would see, in the middle of the first, a local that it should see at its end."""
    return any(uses(other, local) and not is_private(local, other.body) for local in locals_of(one.body)) or any(
        uses(one, local) and not is_private(local, one.body) for local in locals_of(other.body)
    )


def _with_own_locals(nodes: tuple[Node, ...], names: set[str]) -> tuple[Node, ...]:
    """Every sum after the first under a name of its own: ``total_2``."""
    result = list(nodes)
    for local in (TOTAL, BEST):
        starts = [k for k, n in enumerate(nodes) if _is_start(n) and isinstance(n, Store) and n.target == local]
        if len(starts) < 2:
            continue
        for start, stop in zip(starts[1:], [*starts[2:], len(nodes)], strict=True):
            plain = local.tensor.strip("<>")
            own = Read(fresh_name(plain, {*names, plain}))
            names.add(own.tensor)
            result[start:stop] = [rename_local(n, local, own) for n in result[start:stop]]
    return tuple(result)

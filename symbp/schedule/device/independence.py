"""Which iterations of a loop may run at once, on different threads.

Two iterations are independent if nothing that one writes is touched by the other. A local that both only add to (or
take the maximum with) is no obstacle: each thread keeps its part, and the parts are combined afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from symbp.ir.affine import Affine, Index, Read
from symbp.ir.nodes import Contract, Fill, If, Loop, Node, Note, Once, Product, Share, Store, Track, Update
from symbp.ir.statement import Range, Reduction
from symbp.ir.walk_nodes import walk
from symbp.schedule.access import Access, accesses, loop_indices

Ranges = Mapping[Index, Range]


def ranges_of(nodes: Iterable[Node]) -> dict[Index, Range]:
    """What is known of the indices in the nodes: the box of the equations that they carry out."""
    found: dict[Index, Range] = {}
    for node in walk(nodes):
        if isinstance(node, Note):
            for loop in node.statement.domain.ranges:
                found.setdefault(loop.index, loop)
    return found


def carried(loop: Loop, ranges: Ranges) -> dict[Read, Reduction] | None:
    """The locals through which iterations of the loop meet, and how; None if they meet in any other way.

    Empty for a loop whose iterations are independent.
    """
    found: dict[Read, Reduction] = {}
    for local in locals_of(loop.body):
        if is_private(local, loop.body):
            continue
        reduction = _contribution(local, loop.body)
        if reduction is None:
            return None
        found[local] = reduction
    if any(isinstance(n, Fill | Product | Contract) for n in walk(loop.body)):
        return None
    groups: dict[str, list[Access]] = {}
    for access in accesses(loop.body):
        if access.subscripts or access.writes:
            groups.setdefault(access.tensor, []).append(access)
    inner = loop_indices(loop.body)
    for group in groups.values():
        written = [a for a in group if a.writes and a.subscripts]
        if not written or all(a.commutes for a in group):
            continue
        if not tells_apart(loop.index, [a.subscripts for a in group], inner, ranges):
            return None
    return found


def tells_apart(
    index: Index, group: Iterable[tuple[Affine, ...] | None], inner: Iterable[Index], ranges: Ranges
) -> bool:
    """True if accesses at two values of `index` never meet, whatever the indices `inner` to it are.

    Sufficient: along some axis all have one and the same subscript ``c*index + rest``, and `rest` spans less than `c`:
    ``2*p + u`` with u < 2 tells p apart. Indices of outer loops have one value for both, so they may be part of it.
    """
    found = list(group)
    first = found[0]
    if first is None or any(g is None or len(g) != len(first) for g in found):
        return False
    within = set(inner)
    for axis, subscript in enumerate(first):
        if not all(g is not None and g[axis] == subscript for g in found):
            continue
        factor = subscript.coefficient(index)
        if factor is None or not factor.is_constant or not int(factor):
            continue
        span = _span(subscript.without(index), within, ranges)
        if span is not None and span < abs(int(factor)):
            return True
    return False


def _span(rest: Affine, inner: set[Index], ranges: Ranges) -> int | None:
    """The largest difference of two values of `rest` as the inner indices run; None if there is no known limit."""
    total = 0
    for index in rest.indices():
        if index not in inner:
            continue
        factor = rest.coefficient(index)
        loop = ranges.get(index)
        if factor is None or not factor.is_constant or loop is None or not loop.extent.is_constant:
            return None
        total += abs(int(factor)) * (int(loop.extent) - 1)
    if any(set(s.indices()) & inner for r in rest.reads() for s in r.subscripts):
        return None
    return total


# ------------------------------------------------------------------------------------------------------------- locals


def locals_of(nodes: Iterable[Node]) -> list[Read]:
    """The scalars that the nodes set, in order."""
    found: dict[Read, None] = {}
    for node in walk(nodes):
        if isinstance(node, Store) and not node.target.subscripts:
            found[node.target] = None
        elif isinstance(node, Track):
            found[node.best] = None
            if node.position is not None:
                found[node.position] = None
    return list(found)


def is_private(local: Read, body: Iterable[Node]) -> bool:
    """True if every iteration sets the local before it uses it."""
    for node in body:
        if isinstance(node, Store) and node.target == local and node.update is Update.SET:
            return local not in node.value.all_reads
        if isinstance(node, Loop | If | Share | Once) and local.tensor not in _bound_reads(node):
            if not is_private(local, node.body):
                return False
        elif uses(node, local):
            return False
    return True


def uses(node: Node, local: Read) -> bool:
    """True if the node reads or changes the local."""
    if isinstance(node, Note):
        return False
    if isinstance(node, Track) and local in (node.best, node.position):
        return True
    if isinstance(node, Loop | If | Share | Once):
        return any(uses(n, local) for n in node.body) or local.tensor in _bound_reads(node)
    return any(a.tensor == local.tensor and not a.subscripts for a in accesses((node,)))


def _bound_reads(node: Loop | If | Share | Once) -> set[str]:
    """Names read by the bounds or guards of a node itself."""
    hollow: Node
    if isinstance(node, Loop):
        hollow = Loop(node.index, node.lower, node.stop, ())
    elif isinstance(node, If):
        hollow = If(node.guards, ())
    elif isinstance(node, Share):
        hollow = Share(node.axes, ())
    else:
        return set()
    return {a.tensor for a in accesses((hollow,))}


def _contribution(local: Read, body: tuple[Node, ...]) -> Reduction | None:
    """How iterations contribute to the local, if each only adds to it or only takes the maximum with it."""
    kinds: set[Reduction | None] = set()
    for node in walk(body):
        if isinstance(node, Track) and local in (node.best, node.position):
            kinds.add(Reduction.MAX if node.position is None and local not in node.value.all_reads else None)
        elif isinstance(node, Store) and node.target == local:
            adds = node.update is Update.ADD and local not in node.value.all_reads
            kinds.add(Reduction.SUM if adds else None)
        elif isinstance(node, Loop | If | Share | Once):
            kinds |= {None} if local.tensor in _bound_reads(node) else set()
        elif uses(node, local):
            kinds.add(None)
    return kinds.pop() if len(kinds) == 1 else None

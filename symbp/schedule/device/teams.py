"""Who carries out one point of a nest, and how a team of threads shares its inner loops.

A point with nothing but assignments, or with a short loop, is one thread's work: neighbouring threads then take
neighbouring elements. A row (a softmax, a norm) is a warp's, a long row a block's. A sum down the columns of a matrix
is made by columns of threads, so that a warp reads neighbouring elements at every step.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from symbp.ir.affine import ONE, FloorDiv, Index, Read
from symbp.ir.nodes import Combine, Dealt, If, Loop, Node, Note, Once, SetIndex, Settle, Share, Store, Track, Update
from symbp.ir.plan import Team
from symbp.ir.statement import Reduction
from symbp.ir.walk_nodes import walk
from symbp.schedule.device.independence import Ranges, carried

#: A loop of at most so many turns is one thread's work.
SHORT = 16
#: With plenty of points whose neighbours lie side by side in memory, a thread may take a longer loop.
LONG_FOR_A_THREAD = 1024
#: A warp makes at least 32 steps of a row this long; a block then pays.
LONG_FOR_A_WARP = 1024
#: In a scan the other warps of a block wait at every step, which pays if each has something to do.
WIDE_FOR_A_WARP = 64


@dataclass(frozen=True, slots=True)
class Shape:
    """A nest as a box of points and what is done at each."""

    points: tuple[Dealt, ...]
    body: tuple[Node, ...]


def find_points(nodes: Sequence[Node], ranges: Ranges, fixed: Iterable[Index] = ()) -> Shape:
    """Peel off the outer loops whose iterations are independent and which form a box. `fixed` are set from outside."""
    notes: list[Node] = []
    points: list[Dealt] = []
    rest = tuple(nodes)
    while True:
        lead = tuple(n for n in rest if isinstance(n, Note))
        work = tuple(n for n in rest if not isinstance(n, Note))
        if len(work) != 1 or rest[: len(lead)] != lead:
            break
        loop = _sunk(work[0])
        known = frozenset(fixed)
        if not isinstance(loop, Loop) or not is_box_axis(loop, known) or carried(loop, ranges) != {}:
            break
        notes += lead
        points.append(Dealt(loop.index, loop.lower, loop.stop))
        rest = loop.body
    return Shape(tuple(points), (*notes, *rest))


def _sunk(node: Node) -> Node:
    """``if g: for i: body``  as  ``for i: if g: body``: a condition is cheaper than a loop that cannot be shared."""
    if isinstance(node, If) and len(node.body) == 1:
        inner = _sunk(node.body[0])
        if isinstance(inner, Loop):
            return replace(inner, body=(If(node.guards, inner.body),))
    return node


def is_box_axis(loop: Loop, fixed: frozenset[Index] = frozenset()) -> bool:
    """True for a loop upwards with one lower bound and one stop that no running index moves."""
    bounds = (*loop.lower.values, *loop.stop.values)
    steady = all(set(b.indices()) <= fixed and not b.reads() for b in bounds)
    return loop.step == 1 and len(loop.lower.values) == len(loop.stop.values) == 1 and steady


# ------------------------------------------------------------------------------------------------------------ choosing


def choose_team(shape: Shape, ranges: Ranges) -> Team:
    """The team that takes one point."""
    loops = [n for n in walk(shape.body) if isinstance(n, Loop)]
    if not shape.points:
        return Team.BLOCK
    if not loops or not _can_share(shape.body, ranges):
        return Team.THREAD
    turns = [_turns(n) for n in _outer_loops(shape.body)]
    length = None if None in turns else max(t for t in turns if t is not None)
    if length is not None and length <= SHORT:
        return Team.THREAD
    if None in turns and (width := _width(shape.body, ranges)):  # a scan: how much there is to share at each step
        return Team.BLOCK if width > WIDE_FOR_A_WARP else Team.WARP
    few, parted = _is_few(shape.points), _is_parted(shape.points)
    side_by_side = _neighbours(shape)
    if side_by_side and not few and not parted and length is not None and length <= LONG_FOR_A_THREAD:
        return Team.THREAD
    if side_by_side and (few or parted or length is None) and _is_one_sum(shape.body):
        return Team.COLUMN
    if few or parted or (length is not None and length > LONG_FOR_A_WARP):
        return Team.BLOCK
    return Team.WARP


def _outer_loops(nodes: Iterable[Node]) -> list[Loop]:
    found: list[Loop] = []
    for node in nodes:
        if isinstance(node, Loop):
            found.append(node)
        elif isinstance(node, If):
            found += _outer_loops(node.body)
    return found


def _turns(loop: Loop) -> int | None:
    """How often the body of the innermost loop runs; None if only known at run time."""
    if len(loop.lower.values) != 1 or len(loop.stop.values) != 1:
        return None
    extent = loop.stop.values[0] - loop.lower.values[0]
    if not extent.is_constant:
        return None
    inner = [_turns(n) for n in _outer_loops(loop.body)]
    return None if None in inner else int(extent) * max((t for t in inner if t is not None), default=1)


def _width(nodes: Iterable[Node], ranges: Ranges) -> int:
    """The largest known number of points that one step of a scan deals out; 0 if there is no scan."""
    found = 0
    for node in nodes:
        if isinstance(node, If):
            found = max(found, _width(node.body, ranges))
        elif isinstance(node, Loop) and carried(node, ranges) is None:
            found = max(found, 1, *(_box(n, ranges) for n in _outer_loops(node.body)), _width(node.body, ranges))
    return found


def _box(loop: Loop, ranges: Ranges) -> int:
    """Points of a loop and those directly in it that can be dealt out; 0 if unknown."""
    parts = carried(loop, ranges)
    if parts is None or not is_box_axis(loop):
        return 0
    axes, _ = _flat(loop, ranges, frozenset(), parts)
    total = ONE
    for axis in axes:
        total = total * axis.extent
    return int(total) if total.is_constant else 0


def _is_few(points: Sequence[Dealt]) -> bool:
    """True if the number of points is known and small."""
    total = ONE
    for axis in points:
        total = total * axis.extent
    return total.is_constant and int(total) <= 1 << 14


def _is_parted(points: Sequence[Dealt]) -> bool:
    """True for the parts of a long sum: each of them is long, whatever their number."""
    return any(isinstance(a, FloorDiv) for axis in points for a in axis.extent.atoms())


def _is_one_sum(body: Iterable[Node]) -> bool:
    """True for locals that are summed up and then stored, and nothing else."""
    work = [n for n in body if not isinstance(n, Note)]
    inside = [n for loop in work if isinstance(loop, Loop) for n in walk(loop.body)]
    only_sums = all(isinstance(n, Loop | If | SetIndex | Note) or _adds_to_local(n) for n in inside)
    return only_sums and all(isinstance(n, Store | Loop) for n in work)


def _adds_to_local(node: Node) -> bool:
    return isinstance(node, Store) and not node.target.subscripts and node.update is Update.ADD


def _neighbours(shape: Shape) -> bool:
    """True if neighbouring points read neighbouring elements in the inner loops, as much as turns of a loop do."""
    last = shape.points[-1].index
    loops = [n for n in walk(shape.body) if isinstance(n, Loop)]
    innermost = [n for n in loops if not any(isinstance(m, Loop) for m in walk(n.body))]
    by_point = by_loop = streams = 0
    for loop in innermost:
        for node in walk(loop.body):
            if isinstance(node, Store | Track):
                streams += sum(last in s.indices() for r in node.value.reads for s in r.subscripts[-1:])
                by_point += sum(_jumps(r, last) for r in node.value.reads)
                by_loop += sum(_jumps(r, loop.index) for r in node.value.reads)
    return bool(streams) and by_point <= by_loop


def _jumps(read: Read, index: Index) -> bool:
    """True if the read moves through memory in larger steps than one element when `index` runs."""
    if not any(index in s.indices() for s in read.subscripts):
        return False
    return read.subscripts[-1].coefficient(index) != ONE or any(index in s.indices() for s in read.subscripts[:-1])


def _can_share(nodes: Iterable[Node], ranges: Ranges) -> bool:
    """True if some loop's iterations can be dealt out."""
    for node in nodes:
        if isinstance(node, Loop) and (carried(node, ranges) is not None or _can_share(node.body, ranges)):
            return True
        if isinstance(node, If) and _can_share(node.body, ranges):
            return True
    return False


# ------------------------------------------------------------------------------------------------------------- sharing


def share(nodes: Iterable[Node], ranges: Ranges, fixed: frozenset[Index] = frozenset()) -> tuple[Node, ...]:
    """Deal out the iterations of every loop that allows it; what is left is done by all threads, or stored by one.

    `fixed` are the indices that all threads of the team agree on.
    """
    result: list[Node] = []
    for node in nodes:
        if isinstance(node, Loop):
            parts = carried(node, ranges)
            if parts is None:
                result.append(replace(node, body=share(node.body, ranges, fixed | {node.index})))
            else:
                axes, body = _flat(node, ranges, fixed, parts)
                result.append(Share(axes, body))
                result += [Combine(local, reduction) for local, reduction in parts.items()]
        elif isinstance(node, If):
            result.append(If(node.guards, share(node.body, ranges, fixed)))
        elif isinstance(node, Settle) or (isinstance(node, Store) and node.target.subscripts):
            _do_once(result, node)
        else:
            result.append(node)
    return tuple(result)


def store_once(nodes: Iterable[Node], in_memory: frozenset[str]) -> tuple[Node, ...]:
    """Scalars that live in memory are stored by one thread too."""
    result: list[Node] = []
    for node in nodes:
        if isinstance(node, Loop | If):
            result.append(replace(node, body=store_once(node.body, in_memory)))
        elif isinstance(node, Store) and not node.target.subscripts and node.target.tensor in in_memory:
            _do_once(result, node)
        else:
            result.append(node)
    return tuple(result)


def _do_once(result: list[Node], node: Store | Settle) -> None:
    if result and isinstance(result[-1], Once):
        result[-1] = Once((*result[-1].body, node))
    else:
        result.append(Once((node,)))


def _flat(
    loop: Loop, ranges: Ranges, fixed: frozenset[Index], parts: dict[Read, Reduction]
) -> tuple[tuple[Dealt, ...], tuple[Node, ...]]:
    """The loop and those directly in it as one box: more to deal out than the outermost loop has turns.

    The first axis may have any bounds; those of the others must be the same everywhere.
    """
    axes = [Dealt(loop.index, loop.lower, loop.stop)]
    body: tuple[Node, ...] = loop.body
    while True:
        work = [n for n in body if not isinstance(n, Note)]
        if len(work) != 1 or not isinstance(work[0], Loop) or not is_box_axis(work[0], fixed):
            return tuple(axes), body
        inner = work[0]
        meets = carried(inner, ranges)
        if meets is None or not set(meets) <= set(parts):
            return tuple(axes), body
        axes.append(Dealt(inner.index, inner.lower, inner.stop))
        body = (*(n for n in body if isinstance(n, Note)), *inner.body)

"""Which part of a tensor nodes touch, as boxes, and whether the turns of a loop keep to boxes of their own.

    o[b, t, 32*h + e]  for t, e          the box  b, 0..64, 32*h..32*h + 32

Heads that share an axis are told apart only so: no single subscript says which head an element belongs to.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from symbp.ir.affine import Affine, Index
from symbp.ir.bounds import is_nonnegative, lower_bound, upper_bound
from symbp.ir.nodes import If, Loop, Node, Product, SetIndex
from symbp.ir.statement import Range
from symbp.schedule.access import accesses

#: ``[lower, stop)`` along an axis, or None where nothing is known.
Stretch = tuple[Affine, Affine] | None


@dataclass(frozen=True, slots=True)
class Region:
    """A part of a tensor that is read or written; `box` is None where all of it may be."""

    tensor: str
    box: tuple[Stretch, ...] | None
    writes: bool


def regions(nodes: Iterable[Node], inside: Mapping[Index, Range | None] | None = None) -> Iterator[Region]:
    """What the nodes touch, over all turns of the loops among them. `inside` are indices that run; None: anyhow."""
    running = dict(inside or {})
    for node in nodes:
        if isinstance(node, Product):
            parts = [(node.left, False), (node.right, False), (node.out, True)]
            for part, writes in (*parts, *([(node.out, False)] if node.accumulate else [])):
                axes = (a if isinstance(a, tuple) else (a, a + 1) for a in part.axes)
                yield Region(part.tensor, tuple(_stretch(a, running) for a in axes), writes)
            continue
        alone = replace(node, body=()) if isinstance(node, Loop | If) else node
        for access in accesses((alone,)):
            box = access.subscripts
            yield Region(
                access.tensor,
                None if box is None else tuple(_stretch((s, s + 1), running) for s in box),
                access.writes,
            )
        if isinstance(node, Loop):
            loop = Range(node.index, node.lower.values[0], node.stop.values[0])
            yield from regions(node.body, {**running, node.index: loop})
        elif isinstance(node, If):
            yield from regions(node.body, running)
        elif isinstance(node, SetIndex):
            running[node.index] = None


def _stretch(axis: tuple[Affine, Affine], running: Mapping[Index, Range | None]) -> Stretch:
    lower, stop = axis
    if any(running.get(i, ()) is None for value in axis for i in value.indices()):
        return None
    ranges = [r for r in running.values() if r is not None]
    first, last = lower_bound(lower, ranges), upper_bound(stop - 1, ranges)
    return None if first is None or last is None else (first, last + 1)


def turns_stay_apart(one: Iterable[Node], other: Iterable[Node], loop: Loop, tensors: Iterable[str]) -> bool:
    """True if in no tensor of these one body at one turn of the loop meets the other at another turn."""
    names = frozenset(tensors)
    first, second = ([r for r in regions(nodes) if r.tensor in names] for nodes in (one, other))
    return all(_apart(a, b, loop) for a in first for b in second if a.tensor == b.tensor and (a.writes or b.writes))


def _apart(one: Region, other: Region, loop: Loop) -> bool:
    if one.box is None or other.box is None or len(one.box) != len(other.box):
        return False
    return any(
        a is not None and b is not None and _apart_along_axis(a, b, loop)
        for a, b in zip(one.box, other.box, strict=True)
    )


def _apart_along_axis(one: tuple[Affine, Affine], other: tuple[Affine, Affine], loop: Loop) -> bool:
    return _begin_after_each_other(one, other, loop.index) or _never_meet(one, other, loop)


def _begin_after_each_other(one: tuple[Affine, Affine], other: tuple[Affine, Affine], index: Index) -> bool:
    """True if at the next turn each begins where the other has ended, or after it."""
    step, *steps = (value.coefficient(index) for value in (*one, *other))
    if step is None or not is_nonnegative(step - 1) or any(s != step for s in steps):
        return False
    return is_nonnegative(other[0] + step - one[1]) and is_nonnegative(one[0] + step - other[1])


def _never_meet(one: tuple[Affine, Affine], other: tuple[Affine, Affine], loop: Loop) -> bool:
    """True if, over all turns, one ends before the other begins."""
    turns = [Range(loop.index, loop.lower.values[0], loop.stop.values[0])]
    ends = [(lower_bound(a[0], turns), upper_bound(b[1], turns)) for a, b in ((other, one), (one, other))]
    return any(begin is not None and end is not None and is_nonnegative(begin - end) for begin, end in ends)

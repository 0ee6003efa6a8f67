"""What a node reads and writes, and whether two loops may become one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from symbp.ir.affine import ZERO, Affine, Index, Read
from symbp.ir.nodes import (
    AddAtomically,
    Contract,
    Factor,
    Fill,
    If,
    Largest,
    Loop,
    Node,
    Once,
    Product,
    SetIndex,
    Settle,
    Share,
    Slice,
    Slide,
    Spread,
    Store,
    Track,
    Update,
)
from symbp.ir.statement import guard_reads


@dataclass(frozen=True, slots=True)
class Access:
    """One tensor access of a node; `subscripts` is None where the whole tensor may be touched.

    `commutes` marks a contribution that may come in any order, and from several threads at once.
    """

    tensor: str
    subscripts: tuple[Affine, ...] | None
    writes: bool
    commutes: bool = False


def accesses(nodes: Iterable[Node]) -> Iterator[Access]:
    """Every access of the nodes, nested ones included, in order."""
    for node in nodes:
        if isinstance(node, Loop | Share):
            for axis in node.axes if isinstance(node, Share) else (node,):
                for bound in (axis.lower, axis.stop):
                    yield from _reads(r for v in bound.values for r in v.reads())
            yield from accesses(node.body)
        elif isinstance(node, Once):
            yield from accesses(node.body)
        elif isinstance(node, If):
            yield from _reads(r for g in node.guards for r in guard_reads(g))
            yield from accesses(node.body)
        elif isinstance(node, Store):
            yield from _reads(node.value.all_reads)
            yield from _reads(r for s in node.target.subscripts for r in s.reads())
            if node.update is Update.ADD:
                yield Access(node.target.tensor, node.target.subscripts, False)
            yield Access(node.target.tensor, node.target.subscripts, True)
        elif isinstance(node, Track):
            yield from _reads(node.value.all_reads)
        elif isinstance(node, SetIndex):
            yield from _reads(node.value.reads())
        elif isinstance(node, Fill):
            yield Access(node.tensor, None, True)
        elif isinstance(node, Product):
            for part in (node.left, node.right):
                yield Access(part.tensor, _fixed(part), False)
            if node.accumulate:
                yield Access(node.out.tensor, _fixed(node.out), False)
            yield Access(node.out.tensor, _fixed(node.out), True)
        elif isinstance(node, Slide):
            for sliding in (node.left, node.right):
                yield Access(sliding.tensor, None, False)
            if node.accumulate:
                yield Access(node.out.tensor, None, False)
            yield Access(node.out.tensor, None, True)
        elif isinstance(node, Contract):
            for factor in (node.left, node.right):
                yield Access(factor.tensor, _first(factor), False)
            if node.accumulate:
                yield Access(node.out.tensor, _first(node.out), False)
            yield Access(node.out.tensor, _first(node.out), True)
        elif isinstance(node, Largest):
            yield from _reads(node.value.all_reads)
            yield Access(node.largest, (ZERO,), True, commutes=True)
        elif isinstance(node, Spread):
            yield from _reads(node.value.all_reads)
            yield from _reads(r for s in node.subscripts for r in s.reads())
            yield Access(node.largest, (ZERO,), False)
            yield Access(node.sums, node.subscripts, True, commutes=True)
        elif isinstance(node, AddAtomically):
            yield from _reads(node.value.all_reads)
            yield from _reads(r for s in node.target.subscripts for r in s.reads())
            yield Access(node.target.tensor, node.target.subscripts, True, commutes=True)
        elif isinstance(node, Settle):
            yield Access(node.largest, (ZERO,), False)
            yield Access(node.sums, node.target.subscripts, False)
            if node.update is Update.ADD:
                yield Access(node.target.tensor, node.target.subscripts, False)
            yield Access(node.target.tensor, node.target.subscripts, True)


def _reads(reads: Iterable[Read]) -> Iterator[Access]:
    for read in reads:
        yield Access(read.tensor, read.subscripts, False)


def _fixed(part: Slice) -> tuple[Affine, ...] | None:
    """A slice's subscripts: those of kept axes name no loop, so they never tell two iterations apart."""
    return tuple(a if isinstance(a, Affine) else ZERO for a in part.axes)


def _first(factor: Factor) -> tuple[Affine, ...]:
    """As `_fixed`, of a factor of a contraction."""
    return tuple(a if isinstance(a, Affine) else a.lower.values[0] for a in factor.axes)


def touched(nodes: Iterable[Node]) -> tuple[set[str], set[str]]:
    """Names read, names written."""
    read: set[str] = set()
    written: set[str] = set()
    for access in accesses(nodes):
        (written if access.writes else read).add(access.tensor)
    return read, written


def users_of_tensors(groups: Iterable[Iterable[Node]]) -> dict[str, list[int]]:
    """The numbers of the groups of nodes that touch each tensor, ascending."""
    found: dict[str, list[int]] = {}
    for k, nodes in enumerate(groups):
        for name in dict.fromkeys(access.tensor for access in accesses(nodes)):
            found.setdefault(name, []).append(k)
    return found


def conflict(one: Iterable[Node], other: Iterable[Node], private: frozenset[str] = frozenset()) -> set[str]:
    """Tensors that one writes and the other touches."""
    read_1, written_1 = touched(one)
    read_2, written_2 = touched(other)
    return ((written_1 & (read_2 | written_2)) | (written_2 & read_1)) - private


def same_iteration(one: Iterable[Node], other: Iterable[Node], index: Index, tensors: set[str]) -> bool:
    """True if the two bodies meet, in each of `tensors`, only at equal values of `index`.

    Sufficient: along some axis every access of both has one and the same subscript, made of `index` and constants.
    """
    found: dict[str, list[tuple[Affine, ...] | None]] = {}
    for access in (*accesses(one), *accesses(other)):
        if access.tensor in tensors:
            found.setdefault(access.tensor, []).append(access.subscripts)
    return all(_split_by(index, group) for group in found.values())


def _split_by(index: Index, group: list[tuple[Affine, ...] | None]) -> bool:
    first = group[0]
    if first is None or any(g is None or len(g) != len(first) for g in group):
        return False
    for axis, subscript in enumerate(first):
        factor = subscript.coefficient(index)
        alone = factor is not None and bool(factor.terms) and subscript.indices() == (index,)
        if alone and all(g is not None and g[axis] == subscript for g in group):
            return True
    return False


def loop_indices(nodes: Iterable[Node]) -> set[Index]:
    found: set[Index] = set()
    for node in nodes:
        if isinstance(node, Loop):
            found |= {node.index} | loop_indices(node.body)
            found |= {node.last} if node.last is not None else set()
        elif isinstance(node, Share):
            found |= {axis.index for axis in node.axes} | loop_indices(node.body)
        elif isinstance(node, If | Once):
            found |= loop_indices(node.body)
        elif isinstance(node, SetIndex):
            found.add(node.index)
    return found

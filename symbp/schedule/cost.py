"""Count what statements and nests cost, before anything runs.

A statement is counted by its form alone: the points of its box, each with the operations of its body. Of its guards, an
equation ``k == label[b]`` fixes an index, so that the index counts once; the first inequality between two indices (a
triangle) counts as half of the box; all others count as if they always held.

A nest is counted as it was lowered: a loop whose bounds another loop sets is summed exactly where that is a polynomial,
what is behind a condition counts as if it always held, and what became a local scalar costs no traffic.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import assert_never

from symbp.ir.affine import ONE, ZERO, Affine, Atom, FloorDiv, Index, Read, floor_div
from symbp.ir.body import Body
from symbp.ir.bounds import lower_bound, upper_bound
from symbp.ir.cost import Cost, evaluate, nanoseconds
from symbp.ir.nodes import (
    AddAtomically,
    Barrier,
    Combine,
    Contract,
    Dealt,
    Factor,
    Fill,
    If,
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
    Spread,
    Store,
    Track,
    Triangle,
    Update,
)
from symbp.ir.plan import Kind, Nest
from symbp.ir.program import DType, Program, Tensor
from symbp.ir.statement import Guard, Holds, NonNegative, Range, Reduction, Statement, Zero, guard_reads
from symbp.ir.walk_nodes import substitute
from symbp.schedule.classify import classify
from symbp.schedule.operations import operations

#: Bytes of a position or a label.
INT_BYTES = 8

_PRODUCTS = (Kind.CONTRACTION, Kind.BATCHED_CONTRACTION)


def cost_of(statement: Statement, program: Program, itemsize: int = 4) -> Cost:
    """What one statement costs by itself; `itemsize` is the size of a float in bytes."""
    counter = _Counter({t.name: t for t in program.tensors}, itemsize)
    work = counter.statement(statement)
    if classify(statement, program) in _PRODUCTS:
        work = replace(work, in_products=work.flops)
    return work + Cost(bytes=counter.bytes())


def nest_cost(nest: Nest, tensors: Mapping[str, Tensor], itemsize: int = 4) -> Cost:
    """What a nest costs, as it was lowered."""
    return nodes_cost(nest.nodes, tensors, itemsize)


def nodes_cost(
    nodes: Sequence[Node], tensors: Mapping[str, Tensor], itemsize: int = 4, points: Sequence[Dealt] = ()
) -> Cost:
    """What nodes cost, carried out at every one of the `points` of a box."""
    counter = _Counter(tensors, itemsize)
    work = counter.dealt(points, nodes)
    if counter.tiled:
        work = Cost(*map(_without_rounding, (work.flops, work.calls, work.bytes, work.in_products)))
    return work + Cost(bytes=counter.bytes())


@dataclass(frozen=True, slots=True)
class _Stretch:
    """A part of an axis: where it starts, if that is known, and how many places it takes."""

    lower: Affine | None
    extent: Affine


@dataclass
class _Touched:
    """The part of a tensor that is touched: a stretch of each axis, and how many times it passes through memory."""

    part: tuple[_Stretch, ...]
    passes: int
    written: bool


@dataclass
class _Counter:
    """Counts work; keeps what is touched, and the ranges of the indices that run where it counts.

    The ranges are boxes: they mention no other index.
    """

    tensors: Mapping[str, Tensor]
    itemsize: int
    ranges: dict[Index, Range] = field(default_factory=dict)
    values: dict[Index, Affine] = field(default_factory=dict)
    touched: dict[str, _Touched] = field(default_factory=dict)
    tiled: bool = False  # a loop runs over blocks of which the last may be shorter

    # ------------------------------------------------------------------------------------------------------ statements

    def statement(self, statement: Statement) -> Cost:
        for one in statement.domain.ranges:
            self._enter(one.index, one.lower, one.stop)
        fixed = _fixed_by_guards(statement)
        points = self._points(i for i in statement.indices if i not in fixed)
        written = self._points(i for i in statement.free if i not in fixed)
        if any(map(_is_triangle, statement.guards)):
            points = floor_div(points, 2)
            written = written if statement.reduced else points
        for read in dict.fromkeys((*statement.body.all_reads, *(r for g in statement.guards for r in guard_reads(g)))):
            self._touch(read)
        self._touch(statement.target, Update.ADD if statement.accumulate else Update.SET)
        arithmetic, calls = operations(statement.body.expr)
        reduces = statement.reduction is not Reduction.NONE
        flops = points * (arithmetic + reduces) + written * int(statement.accumulate)
        return Cost(flops, points * calls)

    def _points(self, indices: Iterable[Index]) -> Affine:
        return math.prod((self.ranges[index].extent for index in indices), start=ONE)

    # ----------------------------------------------------------------------------------------------------------- nodes

    def nodes(self, nodes: Iterable[Node]) -> Cost:
        total = Cost()
        for node in nodes:
            total = total + self.node(node)
        return total

    def node(self, node: Node) -> Cost:
        """What a node costs each time that it is carried out: a polynomial in the indices around it as well."""
        match node:
            case Loop(last=Index() as last):  # the blocks together are everything
                lower, stop = self._bounds(Dealt(node.index, node.lower, node.stop))
                return self.nodes(substitute(node.body, {node.index: lower, last: stop}, {}))
            case Loop():
                return self.dealt((Dealt(node.index, node.lower, node.stop),), node.body)
            case Share():
                return self.dealt(node.axes, node.body)
            case If():
                return self._guards(node.guards) + self.nodes(node.body)
            case Once():
                return self.nodes(node.body)
            case SetIndex():
                self._touch_all(node.value.reads())
                self.values[node.index] = node.value.substitute(self.values)
            case Fill():
                self._keep_whole(node.tensor, Update.SET)
            case Store():
                return self._store(node.target, node.value, node.update)
            case AddAtomically():
                return self._store(node.target, node.value, Update.ADD)
            case Track():
                return self._body(node.value, further=1)
            case Largest():
                return self._body(node.value, further=2)
            case Spread():
                self._touch(Read(node.sums, node.subscripts), Update.ADD)
                return self._body(node.value, further=2)
            case Settle():
                self._touch(Read(node.sums, node.target.subscripts))
                self._touch(node.target, node.update)
                return Cost(ONE)
            case Product():
                return self._product(node)
            case Contract():
                return self._contract(node)
            case Slide():
                return self._slide(node)
            case Note() | Barrier() | Combine():  # a team's locals are as many as it has threads
                pass
            case _:
                assert_never(node)
        return Cost()

    def dealt(self, axes: Sequence[Dealt], body: Sequence[Node]) -> Cost:
        """The body at every point of a box."""
        if not axes:
            return self.nodes(body)
        axis = axes[0]
        lower, stop = (value.substitute(self.values) for value in self._bounds(axis))
        outer = self.ranges.get(axis.index), self.values.pop(axis.index, None)
        self._touch_all((*lower.reads(), *stop.reads()))
        self._enter(axis.index, lower, stop)
        inside = self.dealt(axes[1:], body)
        box = self.ranges.pop(axis.index)
        if outer[0] is not None:
            self.ranges[axis.index] = outer[0]
        if outer[1] is not None:
            self.values[axis.index] = outer[1]
        if lower.hidden_indices() or stop.hidden_indices() or lower.reads() or stop.reads():
            lower, stop = box.lower, box.stop
        parts = (inside.flops, inside.calls, inside.in_products)
        flops, calls, products = (_sum_over(value, axis.index, lower, stop) for value in parts)
        return Cost(flops, calls, in_products=products)

    def _bounds(self, axis: Dealt) -> tuple[Affine, Affine]:
        """Of several bounds the ones that leave an extent that no loop around moves: they are those of most points."""
        lower = next((v for v in axis.lower.values if not v.indices()), axis.lower.values[0])
        stop = next((v for v in axis.stop.values if not (v - lower).indices()), axis.stop.values[0])
        if len(axis.stop.values) > 1 and lower.indices():
            self.tiled = True
        return lower, stop

    def _store(self, target: Read, value: Body, update: Update) -> Cost:
        cost = self._body(value, further=int(update is Update.ADD))
        self._touch(target, update)
        return cost

    def _body(self, body: Body, further: int = 0) -> Cost:
        self._touch_all(body.all_reads)
        arithmetic, calls = operations(body.expr)
        return Cost(Affine.of(arithmetic + further), Affine.of(calls))

    def _guards(self, guards: Iterable[Guard]) -> Cost:
        total = Cost()
        for guard in guards:
            if isinstance(guard, Holds):
                total = total + self._body(guard.condition)
            else:
                self._touch_all(guard_reads(guard))
        return total

    def _product(self, product: Product) -> Cost:
        self._touch_slice(product.left)
        self._touch_slice(product.right)
        self._touch_slice(product.out, Update.ADD if product.accumulate else Update.SET)
        left = self._kept(product.left)
        inner = left[: product.left.rows] if product.left.transposed else left[product.left.rows :]
        out = self._kept(product.out)
        flops = 2 * _times((*out, *inner))
        if product.triangle is Triangle.LOWER:
            rows, columns = out[: product.out.rows], out[product.out.rows :]
            flops = 2 * _of_triangle(_times(rows), _times(columns), product.shift) * _times(inner)
        elif product.triangle is not None:
            rows, columns = out[: product.out.rows], out[product.out.rows :]
            shift = product.shift if product.triangle is Triangle.OF_LOWER else -product.shift
            flops = 2 * _of_triangle(_times(rows), _times(inner), shift) * _times(columns)
        return Cost(flops, in_products=flops)

    def _slide(self, slide: Slide) -> Cost:
        """Steps that are left out, at the edge of what is slid over, count as well."""
        self._keep_whole(slide.left.tensor)
        self._keep_whole(slide.right.tensor)
        self._keep_whole(slide.out.tensor, Update.ADD if slide.accumulate else Update.SET)
        flops = 2 * _times(slide.extents)
        return Cost(flops, in_products=flops)

    def _kept(self, part: Slice) -> list[Affine]:
        """The extents of the axes that a slice keeps. They may follow the loops around it, as a triangle's do."""
        extents = []
        for k, axis in enumerate(part.axes):
            if not isinstance(axis, Affine):
                extent = (axis[1] - axis[0]).substitute(self.values)
                exact = not extent.hidden_indices() and not extent.reads()
                whole = _Stretch(ZERO, self.tensors[part.tensor].shape[k])
                extents.append(extent if exact else self._between(axis[0], axis[1], whole).extent)
        return extents

    def _contract(self, contract: Contract) -> Cost:
        self._touch_factor(contract.left)
        self._touch_factor(contract.right)
        self._touch_factor(contract.out, Update.ADD if contract.accumulate else Update.SET)
        factors = (contract.out, contract.left, contract.right)
        axes = {a.index: a for factor in factors for a in factor.axes if isinstance(a, Dealt)}
        flops = 2 * _times(a.extent for a in axes.values())
        return Cost(flops, in_products=flops)

    # --------------------------------------------------------------------------------------------------------- traffic

    def bytes(self) -> Affine:
        """The traffic of everything that was touched."""
        total = ZERO
        for name, touched in self.touched.items():
            item = INT_BYTES if self.tensors[name].dtype is DType.INT else self.itemsize
            extents = [stretch.extent for stretch in touched.part]
            total = total + _times(map(_without_rounding, extents) if self.tiled else extents) * (item * touched.passes)
        return total

    def _touch_all(self, reads: Iterable[Read]) -> None:
        for read in reads:
            self._touch(read)

    def _touch(self, read: Read, update: Update | None = None) -> None:
        """An element is read, or written if there is an `update`."""
        if read.subscripts and read.tensor in self.tensors:  # a scalar is in a register
            self._keep(read.tensor, read.subscripts, update)

    def _touch_slice(self, part: Slice, update: Update | None = None) -> None:
        self._keep(part.tensor, part.axes, update)

    def _touch_factor(self, factor: Factor, update: Update | None = None) -> None:
        axes = tuple(a if isinstance(a, Affine) else self._bounds(a) for a in factor.axes)
        self._keep(factor.tensor, axes, update)

    def _keep_whole(self, tensor: str, update: Update | None = None) -> None:
        self._keep(tensor, tuple((ZERO, extent) for extent in self.tensors[tensor].shape), update)

    def _keep(self, tensor: str, axes: Sequence[Affine | tuple[Affine, Affine]], update: Update | None) -> None:
        """Of every axis a place is touched, or the stretch between two."""
        whole = tuple(_Stretch(ZERO, extent) for extent in self.tensors[tensor].shape)
        used: set[Index] = set()
        part = tuple(
            self._along(axis.substitute(self.values), full, used)
            if isinstance(axis, Affine)
            else self._between(axis[0].substitute(self.values), axis[1].substitute(self.values), full)
            for axis, full in zip(axes, whole, strict=True)
        )
        before = self.touched.get(tensor)
        if before is None:
            self.touched[tensor] = _Touched(part, 2 if update is Update.ADD else 1, update is not None)
        else:
            if update is not None and not before.written:
                before.written = True
                before.passes = 2 if part == before.part else 1  # in place; or a recurrence, which reads what it wrote
            both = zip(before.part, part, whole, strict=True)
            before.part = tuple(one if one == other else full for one, other, full in both)

    def _along(self, subscript: Affine, whole: _Stretch, used: set[Index]) -> _Stretch:
        """The places of an axis that a subscript takes; an index that an earlier axis has counted counts no more."""
        running = [i for i in subscript.indices() if i in self.ranges and i not in used]
        used.update(running)
        lower = lower_bound(subscript, self.ranges.values())
        if not running:
            return _Stretch(lower, ONE)
        if subscript.reads():  # as many as there are points: how many are equal only the data tell
            return _Stretch(lower, _times(self.ranges[i].extent for i in running))
        if len(running) == 1 and not subscript.hidden_indices():
            return _Stretch(lower, self.ranges[running[0]].extent)
        return self._between(subscript, subscript + 1, whole)

    def _between(self, lower: Affine, stop: Affine, whole: _Stretch) -> _Stretch:
        least, most = lower_bound(lower, self.ranges.values()), upper_bound(stop, self.ranges.values())
        return _Stretch(least, most - least) if least is not None and most is not None else whole

    def _enter(self, index: Index, lower: Affine, stop: Affine) -> None:
        ranges = list(self.ranges.values())
        least, most = lower_bound(lower, ranges), upper_bound(stop, ranges)
        self.ranges[index] = Range(index, least if least is not None else ZERO, most if most is not None else ONE)


def _fixed_by_guards(statement: Statement) -> set[Index]:
    """Indices that an equation among the guards sets, one for each."""
    fixed: set[Index] = set()
    for guard in statement.guards:
        if isinstance(guard, Zero):
            plain = [i for i in guard.value.plain_indices() if i in statement.indices and i not in fixed]
            fixed.update([i for i in plain if guard.value.coefficient(i) in (ONE, -ONE)][-1:])
    return fixed


def _is_triangle(guard: Guard) -> bool:
    if not isinstance(guard, NonNegative):
        return False
    factors = [guard.value.coefficient(i) for i in guard.value.plain_indices()]
    return len(factors) == 2 and ONE in factors and -ONE in factors


def _of_triangle(rows: Affine, columns: Affine, shift: Affine) -> Affine:
    """Elements with ``column <= row + shift``: exact in a square, of which a corner is cut; else about a half."""
    if rows != columns or not shift.is_constant:
        return floor_div(rows * columns, 2)
    short = -int(shift)  # rows that are empty; the last of the others is as long as there are others
    if short >= 0:
        return floor_div((rows - short) * (rows - short + 1), 2)
    return rows * columns - floor_div((rows + short - 1) * (rows + short), 2)


def _times(factors: Iterable[Affine]) -> Affine:
    return math.prod(factors, start=ONE)


def _without_rounding(value: Affine) -> Affine:
    """``16*((n + 15)//16)`` as ``n``: blocks of which the last is as long as there is left."""
    total = ZERO
    for monomial, factor in value.terms:
        term = Affine(((monomial, factor),))
        block = next((a for a in monomial if isinstance(a, FloorDiv) and _rounds_up(a)), None)
        if block is not None:
            others = list(monomial)
            others.remove(block)
            whole, further = divmod(factor, int(block.divisor))  # what is done at every point; what once for a block
            points = block.numerator - (int(block.divisor) - 1)
            term = _monomial(others, whole) * points + _monomial(others, further) * block
        total = total + term
    return total


def _rounds_up(division: FloorDiv) -> bool:
    return division.divisor.is_constant and division.numerator.constant >= int(division.divisor) - 1


def _monomial(atoms: Iterable[Atom], factor: int) -> Affine:
    return Affine(((tuple(atoms), factor),)) if factor else ZERO


def _sum_over(value: Affine, index: Index, lower: Affine, stop: Affine) -> Affine:
    """``sum of value for lower <= index < stop``, exact up to degree one; above, each power counts as its largest."""
    extent = stop - lower
    total = ZERO
    for monomial, factor in value.terms:
        power = monomial.count(index)
        rest = _monomial((a for a in monomial if a != index), factor)
        if power == 0:
            total = total + rest * extent
        elif power == 1 and not extent.indices() and not lower.indices():
            total = total + rest * floor_div((lower + stop - 1) * extent, 2)  # the product is even
        else:
            total = total + rest * _times([stop - 1] * power) * extent
    return total


__all__ = ["Cost", "cost_of", "evaluate", "nanoseconds", "nest_cost", "nodes_cost"]

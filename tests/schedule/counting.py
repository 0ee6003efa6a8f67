"""Work counted the slow way: every loop is run, every operation and every touched element noted down."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import sympy as sp

from symbp.ir import Affine, Size, Tensor
from symbp.ir.affine import FloorDiv, Index, Mod, Read
from symbp.ir.nodes import (
    Bound,
    Contract,
    Dealt,
    Fill,
    If,
    Loop,
    Node,
    Product,
    Share,
    Slice,
    Store,
    Track,
    Triangle,
    Update,
)

Values = dict[Index, int]


@dataclass
class Counted:
    """What was done: operations one by one, and the elements of each tensor that were touched."""

    sizes: Mapping[str, int]
    tensors: Mapping[str, Tensor]
    flops: int = 0
    calls: int = 0
    in_products: int = 0
    #: Each element that is touched: whether it was read before anything was written, and whether it was written.
    elements: dict[tuple[str, tuple[int, ...]], tuple[bool, bool]] = field(default_factory=dict)

    def number(self, value: Affine, at: Values) -> int:
        total = 0
        for monomial, factor in value.terms:
            for atom in monomial:
                if isinstance(atom, Size):
                    factor *= self.sizes[atom.name]
                elif isinstance(atom, Index):
                    factor *= at[atom]
                elif isinstance(atom, FloorDiv):
                    factor *= self.number(atom.numerator, at) // self.number(atom.divisor, at)
                elif isinstance(atom, Mod):
                    factor *= self.number(atom.numerator, at) % self.number(atom.divisor, at)
                else:
                    raise AssertionError(f"{atom} is known at run time only")
            total += factor
        return total

    def along(self, lower: Bound, stop: Bound, at: Values) -> range:
        return range(max(self.number(v, at) for v in lower.values), min(self.number(v, at) for v in stop.values))

    def run(self, nodes: Iterable[Node], at: Values) -> None:
        for node in nodes:
            if isinstance(node, Loop):
                self.box((Dealt(node.index, node.lower, node.stop),), node.body, at)
            elif isinstance(node, Share):
                self.box(node.axes, node.body, at)
            elif isinstance(node, If):
                raise AssertionError("conditions are not counted here")
            elif isinstance(node, Store):
                self.count(node.value.expr)
                self.flops += node.update is Update.ADD
                self.read(node.value.all_reads, at)
                if node.update is Update.ADD:
                    self.read((node.target,), at)
                self.touch(node.target.tensor, _one(node.target.subscripts), at, writes=True)
            elif isinstance(node, Track):
                self.count(node.value.expr)
                self.flops += 1
                self.read(node.value.all_reads, at)
            elif isinstance(node, Fill):
                self.touch(node.tensor, [(Affine.of(0), e) for e in self.tensors[node.tensor].shape], at, writes=True)
            elif isinstance(node, Product):
                self.product(node, at)
            elif isinstance(node, Contract):
                raise AssertionError("contractions of a team are not counted here")

    def box(self, axes: Sequence[Dealt], body: Sequence[Node], at: Values) -> None:
        if not axes:
            return self.run(body, at)
        for value in self.along(axes[0].lower, axes[0].stop, at):
            self.box(axes[1:], body, {**at, axes[0].index: value})

    def count(self, expr: sp.Expr) -> None:
        for kind in sp.Add.make_args(sp.count_ops(expr, visual=True)):
            number, name = kind.as_coeff_Mul()
            if str(name) in ("ADD", "SUB", "MUL", "DIV", "POW", "FUNC_RELU", "FUNC_STEP", "FUNC_SELECT", "GT"):
                self.flops += int(number)
            elif str(name) in ("EXP", "LOG", "FUNC_TANH", "FUNC_SIGMOID"):
                self.calls += int(number)
            else:
                assert str(name) in ("0", "1", "NEG", "FUNC_STOP_GRADIENT"), name

    def read(self, reads: Iterable[Read], at: Values) -> None:
        for read in reads:
            self.touch(read.tensor, _one(read.subscripts), at)

    def touch(self, tensor: str, axes: Sequence[tuple[Affine, Affine]], at: Values, writes: bool = False) -> None:
        """The elements between lower and stop of every axis are read or written. Local scalars have none."""
        if tensor not in self.tensors or not axes:
            return
        stretches = (range(self.number(lower, at), self.number(stop, at)) for lower, stop in axes)
        for point in itertools.product(*stretches):
            was_read, written = self.elements.get((tensor, point), (not writes, False))
            self.elements[tensor, point] = (was_read, written or writes)

    @property
    def passes(self) -> int:
        """How often an element moves: once, or twice where its old value is read and a new one written."""
        return sum(1 + (read and written) for read, written in self.elements.values())

    def product(self, node: Product, at: Values) -> None:
        rows, columns = self.matrix(node.out, at)
        _, inner = self.matrix(node.left, at)
        shift = self.number(node.shift, at)
        multiplications = rows * columns * inner
        if node.triangle is Triangle.LOWER:
            multiplications = inner * sum(c <= r + shift for r in range(rows) for c in range(columns))
        elif node.triangle is not None:
            below = node.triangle is Triangle.OF_LOWER
            kept = ((k <= r + shift) if below else (k >= r + shift) for r in range(rows) for k in range(inner))
            multiplications = columns * sum(kept)
        self.flops += 2 * multiplications
        self.in_products += 2 * multiplications
        for part in (node.left, node.right, *([node.out] if node.accumulate else [])):
            self.touch(part.tensor, _one(part.axes), at)
        self.touch(node.out.tensor, _one(node.out.axes), at, writes=True)

    def matrix(self, part: Slice, at: Values) -> tuple[int, int]:
        """Rows and columns of a slice."""
        extents = [self.number(a[1] - a[0], at) for a in part.axes if not isinstance(a, Affine)]
        shape = math.prod(extents[: part.rows]), math.prod(extents[part.rows :])
        return shape[::-1] if part.transposed else shape


def _one(axes: Iterable[Affine | tuple[Affine, Affine]]) -> list[tuple[Affine, Affine]]:
    """Single places as stretches of one."""
    return [(a, a + 1) if isinstance(a, Affine) else a for a in axes]

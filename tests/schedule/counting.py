"""Work counted the slow way: every loop is run, every operation and every touched element noted down."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import sympy as sp

from symbp.ir import Affine, Size, Tensor
from symbp.ir.affine import FloorDiv, Index, Mod, Read
from symbp.ir.nodes import Bound, Contract, Dealt, Fill, If, Loop, Node, Product, Share, Slice, Store, Track, Update

Values = dict[Index, int]


@dataclass
class Counted:
    """What was done: operations one by one, and the elements of each tensor that were touched."""

    sizes: Mapping[str, int]
    tensors: Mapping[str, Tensor]
    flops: int = 0
    calls: int = 0
    in_products: int = 0
    elements: dict[str, set[tuple[int, ...]]] = field(default_factory=dict)

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
                for read in (node.target, *node.value.all_reads):
                    self.touch(read.tensor, read.subscripts, at)
            elif isinstance(node, Track):
                self.count(node.value.expr)
                self.flops += 1
                for read in node.value.all_reads:
                    self.touch(read.tensor, read.subscripts, at)
            elif isinstance(node, Fill):
                extents = [range(self.number(e, at)) for e in self.tensors[node.tensor].shape]
                self.elements.setdefault(node.tensor, set()).update(_points(extents))
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

    def touch(self, tensor: str, subscripts: Sequence[Affine], at: Values) -> None:
        if tensor in self.tensors and len(subscripts) == len(self.tensors[tensor].shape) > 0:
            self.elements.setdefault(tensor, set()).add(tuple(self.number(s, at) for s in subscripts))

    def product(self, node: Product, at: Values) -> None:
        inner = self.extents(node.left, at)
        inner = inner[: node.left.rows] if node.left.transposed else inner[node.left.rows :]
        multiplications = 1
        for extent in (*self.extents(node.out, at), *inner):
            multiplications *= extent
        self.flops += 2 * multiplications
        self.in_products += 2 * multiplications
        for part in (node.out, node.left, node.right):
            axes = [
                range(self.number(a, at), self.number(a, at) + 1)
                if isinstance(a, Affine)
                else range(self.number(a[0], at), self.number(a[1], at))
                for a in part.axes
            ]
            self.elements.setdefault(part.tensor, set()).update(_points(axes))

    def extents(self, part: Slice, at: Values) -> list[int]:
        return [self.number(a[1] - a[0], at) for a in part.axes if not isinstance(a, Affine)]


def _points(axes: Sequence[range]) -> set[tuple[int, ...]]:
    found: set[tuple[int, ...]] = {()}
    for axis in axes:
        found = {(*point, k) for point in found for k in axis}
    return found


def reads_data(read: Read) -> bool:
    """True if only the data tell which element this is."""
    return any(s.reads() for s in read.subscripts)

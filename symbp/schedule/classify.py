"""Say what each statement is: a map, a gather, a reduction, a contraction, a scatter.

A contraction is ``out[.., m, .., n] (+)= sum[k] left[.., m, .., k]*right[.., k, .., n]`` in which every index sits
alone on an axis (up to a shift). It becomes a matrix product inside loops over whatever is left.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from symbp.ir.affine import ONE, Affine, Index, Read
from symbp.ir.body import slot
from symbp.ir.nodes import Slice
from symbp.ir.plan import Kind
from symbp.ir.program import Program, Tensor
from symbp.ir.statement import Range, Reduction, Statement

#: A product whose inner or outer extent is a constant below this is a plain loop nest: a call costs more than it saves.
SMALLEST_EXTENT = 4


@dataclass(frozen=True, slots=True)
class Contraction:
    """A statement as a matrix product: loops over `batch` and `summed` around ``out (+)= left @ right``.

    `batch` are free indices, `summed` reduced ones that could not be merged into the inner extent of the product.
    """

    batch: tuple[Index, ...]
    summed: tuple[Index, ...]
    out: Slice
    left: Slice
    right: Slice


def classify(statement: Statement, program: Program) -> Kind:
    """The kind of a statement, by its form alone."""
    if any(s.reads() for s in statement.subscripts):
        return Kind.SCATTER
    contraction = as_contraction(statement, program)
    if contraction is not None:
        return Kind.BATCHED_CONTRACTION if contraction.batch or contraction.summed else Kind.CONTRACTION
    if statement.reduction is not Reduction.NONE:
        return Kind.REDUCTION
    reads_data = any(s.reads() for r in statement.body.reads for s in r.subscripts)
    return Kind.GATHER if reads_data else Kind.MAP


def as_contraction(statement: Statement, program: Program, bound: Iterable[Index] = ()) -> Contraction | None:
    """The statement as a matrix product, or None. `bound` are indices that an outer loop (a scan) has fixed."""
    body = statement.body
    if statement.reduction is not Reduction.SUM or statement.guards or body.expr != slot(0) * slot(1):
        return None
    a, b = body.operands
    if not isinstance(a, Read) or not isinstance(b, Read):
        return None
    fixed = tuple(bound)
    ranges = {r.index: r for r in statement.domain.ranges}
    target = statement.target
    accesses = [_Access.of(r, program.tensor(r.tensor), ranges, fixed) for r in (target, a, b)]
    if any(access is None for access in accesses):
        return None
    out, left, right = (access for access in accesses if access is not None)
    inner = [i for i in statement.reduced if i in left.axis_of and i in right.axis_of]
    rows = [i for i in statement.free if i in left.axis_of and i not in right.axis_of]
    columns = [i for i in statement.free if i in right.axis_of and i not in left.axis_of]
    batch = [i for i in statement.free if i in left.axis_of and i in right.axis_of and i not in fixed]
    loose = set(statement.indices) - set(inner) - set(rows) - set(columns) - set(batch) - set(fixed)
    if loose or not rows or not columns or not inner or not all(i in out.axis_of for i in (*rows, *columns)):
        return None
    if out.before(columns[-1], rows[-1]):  # the last axis of the result belongs to the columns
        left, right, rows, columns = right, left, columns, rows
    row_group = _merge(rows, (out, left))
    column_group = _merge(columns, (out, right))
    inner_group = _merge(inner, (left, right))
    if any(_is_small(group, ranges) for group in (column_group, inner_group)):
        return None
    batch += [i for i in (*rows, *columns) if i not in (*row_group, *column_group)]
    order = [i for i in statement.free if i in batch]
    return Contraction(
        tuple(order),
        tuple(i for i in inner if i not in inner_group),
        out.matrix(row_group, column_group),
        left.matrix(row_group, inner_group),
        right.matrix(inner_group, column_group),
    )


def strided_reads(statement: Statement, index: Index) -> int:
    """How many reads jump through memory when `index` runs: it occurs in them, but not alone on the last axis."""
    return sum(
        index in (i for s in r.subscripts for i in s.indices())
        and (r.subscripts[-1].coefficient(index) != ONE or index in (i for s in r.subscripts[:-1] for i in s.indices()))
        for r in statement.body.reads
        if r.subscripts
    )


@dataclass(frozen=True, slots=True)
class _Access:
    """A read or write in which every running index sits alone on one axis."""

    tensor: Tensor
    subscripts: tuple[Affine, ...]
    axis_of: dict[Index, int]
    ranges: dict[Index, Range]

    @staticmethod
    def of(read: Read, tensor: Tensor, ranges: dict[Index, Range], fixed: tuple[Index, ...]) -> _Access | None:
        axis_of: dict[Index, int] = {}
        for axis, subscript in enumerate(read.subscripts):
            running = [i for i in subscript.indices() if i not in fixed]
            if not running:
                continue
            if len(running) > 1 or subscript.reads() or subscript.coefficient(running[0]) != ONE:
                return None
            if running[0] in axis_of:  # a diagonal
                return None
            axis_of[running[0]] = axis
        return _Access(tensor, read.subscripts, axis_of, ranges)

    def before(self, one: Index, other: Index) -> bool:
        return self.axis_of[one] < self.axis_of[other]

    def span(self, axis: int) -> tuple[Affine, Affine]:
        """The part of `axis` that its index covers."""
        index = next(i for i, a in self.axis_of.items() if a == axis)
        shift = self.subscripts[axis].without(index)
        return self.ranges[index].lower + shift, self.ranges[index].stop + shift

    def is_whole(self, axis: int) -> bool:
        lower, stop = self.span(axis)
        return not lower.terms and stop == self.tensor.shape[axis]

    def merges(self, group: list[Index]) -> bool:
        """True if the group's axes follow each other and all but the first are covered whole."""
        axes = [self.axis_of[i] for i in group]
        return axes == list(range(axes[0], axes[0] + len(axes))) and all(map(self.is_whole, axes[1:]))

    def matrix(self, rows: list[Index], columns: list[Index]) -> Slice:
        kept = {self.axis_of[i] for i in (*rows, *columns)}
        axes = tuple(self.span(a) if a in kept else s for a, s in enumerate(self.subscripts))
        transposed = self.axis_of[rows[0]] > self.axis_of[columns[0]]
        first, second = (columns, rows) if transposed else (rows, columns)
        return Slice(self.tensor.name, axes, len(first), len(second), transposed)


def _merge(group: list[Index], accesses: tuple[_Access, _Access]) -> list[Index]:
    """As many of the group, the last ones first, as both tensors let act as one axis."""
    ordered = sorted(group, key=lambda i: accesses[0].axis_of[i])
    suffixes = (ordered[k:] for k in range(len(ordered)))
    return next(s for s in suffixes if all(a.merges(s) for a in accesses))


def _is_small(group: list[Index], ranges: dict[Index, Range]) -> bool:
    total = ONE
    for index in group:
        total = total * ranges[index].extent
    return total.is_constant and int(total) < SMALLEST_EXTENT

"""Say what each statement is: a map, a gather, a reduction, a contraction, a scatter.

A contraction is ``out[.., m, .., n] (+)= scale * sum[k] left[.., m, .., k]*right[.., k, .., n]`` in which every index
sits alone on an axis (up to a shift), or both factors have it. It becomes a matrix product inside loops over whatever
is left. One guard may compare two of m, n and k, as causal attention does: the product is then a triangular one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from symbp.ir.affine import ONE, ZERO, Affine, Index, Read
from symbp.ir.body import Body
from symbp.ir.nodes import Slice, Triangle
from symbp.ir.plan import Kind
from symbp.ir.program import Program, Tensor
from symbp.ir.statement import NonNegative, Range, Reduction, Statement

#: A product whose inner or outer extent is a constant below this is a plain loop nest: a call costs more than it saves.
SMALLEST_EXTENT = 4


@dataclass(frozen=True, slots=True)
class Contraction:
    """A statement as a matrix product: loops over `batch` and `summed` around ``out (+)= left @ right``.

    `batch` are free indices, `summed` reduced ones that could not be merged into the inner extent of the product.
    `triangle` and `shift` say which elements count, `scale` what multiplies the result.
    """

    batch: tuple[Index, ...]
    summed: tuple[Index, ...]
    out: Slice
    left: Slice
    right: Slice
    triangle: Triangle | None = None
    shift: Affine = ZERO
    scale: Body | None = None

    @property
    def is_plain(self) -> bool:
        """True for a product of whole matrices that can be added to anything."""
        return self.triangle is None and self.scale is None


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


def is_plain_contraction(statement: Statement, program: Program) -> bool:
    """True for a contraction without guards or factors outside the sum: its result may as well be added to another."""
    contraction = as_contraction(statement, program)
    return contraction is not None and contraction.is_plain


def as_contraction(statement: Statement, program: Program, bound: Iterable[Index] = ()) -> Contraction | None:
    """The statement as a matrix product, or None. `bound` are indices that an outer loop (a scan) has fixed."""
    if statement.reduction is not Reduction.SUM:
        return None
    inside, scale = split_invariant(statement)
    _, factors = inside.factors()
    if len(factors) != 2 or not all(f.is_read for f in factors):
        return None
    reads = (statement.target, *(r for f in factors for r in f.reads))
    _, a, b = (dict.fromkeys(i for s in r.subscripts for i in s.indices()) for r in reads)
    step = tuple(bound)
    batch = [i for i in statement.free if i in a and i in b and i not in step]
    fixed = (*step, *batch)
    ranges = {r.index: r for r in statement.domain.ranges}
    accesses = [_Access.of(r, program.tensor(r.tensor), ranges, fixed) for r in reads]
    if any(s.reads() and not set(s.indices()) <= set(step) for r in reads for s in r.subscripts):
        return None
    if any(access is None for access in accesses):
        return None
    out, left, right = (access for access in accesses if access is not None)
    inner = [i for i in statement.reduced if i in left.axis_of and i in right.axis_of]
    rows = [i for i in statement.free if i in left.axis_of and i not in right.axis_of]
    columns = [i for i in statement.free if i in right.axis_of and i not in left.axis_of]
    loose = set(statement.indices) - set(inner) - set(rows) - set(columns) - set(fixed)
    if loose or not rows or not columns or not inner or not all(i in out.axis_of for i in (*rows, *columns)):
        return None
    if out.before(columns[-1], rows[-1]):  # the last axis of the result belongs to the columns
        left, right, rows, columns = right, left, columns, rows
    tie = _Tie.of(statement, (*rows, *columns, *inner))
    if statement.guards and tie is None:
        return None
    row_group = _merge(rows, (out, left), tie)
    column_group = _merge(columns, (out, right), tie)
    inner_group = _merge(inner, (left, right), tie)
    if any(_is_small(group, ranges) for group in (column_group, inner_group)):
        return None
    batch += [i for i in (*rows, *columns) if i not in (*row_group, *column_group)]
    product = Contraction(
        tuple(i for i in statement.free if i in batch),
        tuple(i for i in inner if i not in inner_group),
        out.matrix(row_group, column_group),
        left.matrix(row_group, inner_group),
        right.matrix(inner_group, column_group),
        scale=scale,
    )
    return product if tie is None else _triangular(product, tie, row_group, column_group, inner_group)


def _triangular(
    product: Contraction, tie: _Tie, rows: list[Index], columns: list[Index], inner: list[Index]
) -> Contraction | None:
    """The product under the guard, turned if that makes the rows what the guard ties to the columns or the sum."""
    if tie.lets(rows, columns) or tie.lets(inner, columns) or tie.lets(columns, inner):
        left, right = (replace(part, transposed=not part.transposed) for part in (product.right, product.left))
        out = replace(product.out, transposed=not product.out.transposed)
        product, rows, columns = replace(product, out=out, left=left, right=right), columns, rows
    if tie.lets(columns, rows):
        return replace(product, triangle=Triangle.LOWER, shift=tie.shift)
    if tie.lets(inner, rows):
        return replace(product, triangle=Triangle.OF_LOWER, shift=tie.shift)
    if tie.lets(rows, inner):  # row <= k + shift
        return replace(product, triangle=Triangle.OF_UPPER, shift=-tie.shift)
    return None


def split_invariant(statement: Statement) -> tuple[Body, Body | None]:
    """The body without the factors that no reduced index touches, and those factors."""
    coefficient, factors = statement.body.factors()
    inner = [f for f in factors if set(f.indices) & set(statement.reduced)]
    outer = [f for f in factors if not set(f.indices) & set(statement.reduced)]
    if not inner or (not outer and coefficient == 1):
        return statement.body, None
    return _product(inner), _product([Body(coefficient), *outer])


def _product(parts: list[Body]) -> Body:
    result = parts[0]
    for part in parts[1:]:
        result = result * part
    return result


def strided_reads(statement: Statement, index: Index) -> int:
    """How many reads jump through memory when `index` runs: it occurs in them, but not alone on the last axis."""
    return sum(
        index in (i for s in r.subscripts for i in s.indices())
        and (r.subscripts[-1].coefficient(index) != ONE or index in (i for s in r.subscripts[:-1] for i in s.indices()))
        for r in statement.body.reads
        if r.subscripts
    )


@dataclass(frozen=True, slots=True)
class _Tie:
    """The guard ``less <= more + shift``, where both count from the start of their ranges."""

    less: Index
    more: Index
    shift: Affine

    @staticmethod
    def of(statement: Statement, running: Iterable[Index]) -> _Tie | None:
        """What the only guard says, if that is all it says of the `running` indices."""
        if len(statement.guards) != 1 or not isinstance(guard := statement.guards[0], NonNegative):
            return None
        signs = {i: guard.value.coefficient(i) for i in running if i in guard.value.indices()}
        less = next((i for i, sign in signs.items() if sign == Affine.of(-1)), None)
        more = next((i for i, sign in signs.items() if sign == ONE), None)
        if less is None or more is None or len(signs) > 2 or guard.value.reads():
            return None
        below, above = (statement.domain.range_of(i).lower for i in (less, more))
        return _Tie(less, more, guard.value.without(less).without(more) + above - below)

    def lets(self, less: list[Index], more: list[Index]) -> bool:
        """True if this is what it says of these two axes of a product."""
        return [self.less] == less and [self.more] == more


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
            if len(running) > 1 or subscript.coefficient(running[0]) != ONE:
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


def _merge(group: list[Index], accesses: tuple[_Access, _Access], tie: _Tie | None) -> list[Index]:
    """As many of the group, the last ones first, as both tensors let act as one axis; what a guard ties stays alone."""
    tied = [i for i in group if tie is not None and i in (tie.less, tie.more)]
    if tied:
        return tied[-1:]
    ordered = sorted(group, key=lambda i: accesses[0].axis_of[i])
    suffixes = (ordered[k:] for k in range(len(ordered)))
    return next(s for s in suffixes if all(a.merges(s) for a in accesses))


def _is_small(group: list[Index], ranges: dict[Index, Range]) -> bool:
    total = ONE
    for index in group:
        total = total * ranges[index].extent
    return total.is_constant and int(total) < SMALLEST_EXTENT

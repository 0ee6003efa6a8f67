"""Contractions as einsum knows them: ``out[..] (=|+=) sum left[..]*right[..]`` with each index alone on an axis."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from symbp.ir.affine import ONE, Affine, Index, Read
from symbp.ir.body import slot
from symbp.ir.nodes import Bound, Contract, Dealt, Factor
from symbp.ir.statement import Range, Reduction, Statement

#: Products with a smaller (constant) extent than this are plain kernels: most of a tile would lie idle.
SMALLEST_EXTENT = 4


def as_contract(statement: Statement, *, accumulate: bool, bound: Iterable[Index] = ()) -> Contract | None:
    """The statement as a contraction, or None. `bound` are indices that an outer loop (a scan) has fixed.

    There must be something to sum that both factors have, and something of either factor in the result.
    """
    body = statement.body
    if statement.reduction is not Reduction.SUM or statement.guards or body.expr != slot(0) * slot(1):
        return None
    a, b = body.operands
    if not isinstance(a, Read) or not isinstance(b, Read):
        return None
    fixed = frozenset(bound)
    ranges = {r.index: r for r in statement.domain.ranges}
    factors = [_factor(r, ranges, fixed) for r in (statement.target, a, b)]
    out, left, right = factors
    if out is None or left is None or right is None:
        return None
    inner = [i for i in statement.reduced if i in left.indices and i in right.indices]
    rows = [i for i in statement.free if i in left.indices and i not in right.indices]
    columns = [i for i in statement.free if i in right.indices and i not in left.indices]
    batch = [i for i in statement.free if i in left.indices and i in right.indices]
    running = [i for i in statement.indices if i not in fixed]
    if set(running) - {*inner, *rows, *columns, *batch} or not {*rows, *columns, *batch} <= set(out.indices):
        return None
    if not all((inner, rows, columns)) or any(_is_small(g, ranges) for g in (inner, columns, rows)):
        return None
    if out.indices.index(columns[-1]) < out.indices.index(rows[-1]):  # the last axis of the result is the right's
        left, right = right, left
    return Contract(out, left, right, accumulate)


def _factor(read: Read, ranges: dict[Index, Range], fixed: frozenset[Index]) -> Factor | None:
    axes: list[Affine | Dealt] = []
    seen: set[Index] = set()
    for subscript in read.subscripts:
        running = [i for i in subscript.indices() if i not in fixed]
        if subscript.reads() or len(running) > 1:
            return None
        if not running:
            axes.append(subscript)
            continue
        index = running[0]
        if subscript.coefficient(index) != ONE or index in seen:
            return None
        seen.add(index)
        shift, loop = subscript.without(index), ranges[index]
        axes.append(Dealt(index, Bound((loop.lower + shift,)), Bound((loop.stop + shift,))))
    return Factor(read.tensor, tuple(axes))


def _is_small(group: Sequence[Index], ranges: dict[Index, Range]) -> bool:
    total = ONE
    for index in group:
        total = total * ranges[index].extent
    return total.is_constant and int(total) < SMALLEST_EXTENT

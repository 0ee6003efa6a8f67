"""Lower one statement to loops. This is where guards become loop bounds and where the order of loops is chosen.

Two shapes carry a sum:

    for free: total = 0; for reduced: total += body; target = total          (a scalar in a register)
    for outer free: for inner: target = 0; for reduced: for inner: target += body      (a row of the target in cache)

The second is taken when the innermost free index walks through memory with stride 1 where the innermost reduced index
does not, because the innermost loop is the one that must vectorise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sympy as sp

from symbp.ir.affine import ONE, ZERO, Affine, Index, Read, floor_div
from symbp.ir.body import Body, slot
from symbp.ir.bounds import is_nonnegative, lower_bound
from symbp.ir.nodes import BEST, PLACE, TOTAL, Bound, Fill, If, Loop, Node, Product, SetIndex, Store, Track, Update
from symbp.ir.program import Program
from symbp.ir.statement import Guard, Holds, NonNegative, Range, Reduction, Statement, Zero, guard_indices
from symbp.schedule.classify import SMALLEST_EXTENT, Contraction, as_contraction, split_invariant, strided_reads
from symbp.schedule.slide import as_slide

#: A constant extent below this is a window that slides, not an axis to sum along.
WINDOW = 8


@dataclass(frozen=True, slots=True)
class _Job:
    """A statement to lower, the program that declares its tensors, and the indices that are set already."""

    statement: Statement
    program: Program
    bound: tuple[Index, ...]


def lower_statement(
    statement: Statement, program: Program, *, fresh: bool, bound: tuple[Index, ...] = (), by_element: bool = False
) -> tuple[Node, ...]:
    """Loops for one statement. `fresh`: an accumulation is the first to write its elements, so it may set them.

    `bound` are indices that an enclosing loop has set already (the step of a scan). `by_element`: each element of the
    result is made by itself, so that elements can be shared out; no matrix products, no rows kept in cache.
    """
    sets = fresh or not statement.accumulate
    contraction = None if by_element else as_contraction(statement, program, bound)
    if contraction is not None and (sets or contraction.scale is None):
        return _lower_contraction(contraction, _Job(statement, program, bound), sets)
    sliding = None if by_element or bound else as_slide(statement, program, sets=sets)
    job = _Job(statement, program, bound)
    if sliding is not None:
        return _loops(job, sliding.around, (), (sliding.node,))
    free = _by_target(statement, bound)
    reduced = _innermost_contiguous(statement)
    if statement.reduction is Reduction.NONE:
        update = Update.SET if sets else Update.ADD
        return _loops(job, free, statement.guards, (Store(statement.target, statement.body, update),))
    if statement.reduction is Reduction.SUM:
        if free and not by_element and _row_form_pays(job, free[-1], reduced[-1]):
            return _lower_rows(job, free, reduced, sets)
        return _lower_total(job, free, reduced, sets)
    return _lower_maximum(job, free, reduced)


def loops_of(statement: Statement, program: Program, body: tuple[Node, ...]) -> tuple[Node, ...]:
    """Loops over the free and the reduced indices of a statement around `body`, where its guards hold."""
    job = _Job(statement, program, ())
    return _loops(job, [*_by_target(statement, ()), *statement.reduced], statement.guards, body)


def needs_zero(statement: Statement) -> bool:
    """True if an accumulation cannot set its elements itself, even as the first to write them."""
    return bool(free_guards(statement)) or len(set(statement.free)) > len(_plain_target(statement))


def free_guards(statement: Statement) -> tuple[Guard, ...]:
    """The guards that decide which elements are written; those on reduced indices only decide what is summed."""
    return tuple(g for g in statement.guards if not set(guard_indices(g)) & set(statement.reduced))


def _plain_target(statement: Statement) -> set[Index]:
    return {i for s in statement.subscripts for i in s.plain_indices()}


# ------------------------------------------------------------------------------------------------------------ shapes


def _lower_contraction(contraction: Contraction, job: _Job, sets: bool) -> tuple[Node, ...]:
    """Loops over what is not in the product around it; what multiplies the result follows in the same turn."""
    statement = job.statement
    accumulate = not sets or bool(contraction.summed)
    product = Product(
        contraction.out,
        contraction.left,
        contraction.right,
        accumulate,
        contraction.triangle,
        contraction.shift,
    )
    nodes: tuple[Node, ...] = (product,)
    for index in reversed(contraction.summed):
        nodes = (_loop(statement.domain.range_of(index), nodes),)
    if contraction.scale is not None:
        value = Body.of(statement.target) * contraction.scale
        made = [i for i in _by_target(statement, job.bound) if i not in contraction.batch]
        nodes += _loops(job, made, free_guards(statement), (Store(statement.target, value),))
    for index in reversed(contraction.batch):
        nodes = (_loop(statement.domain.range_of(index), nodes),)
    return (*_clear(job), *nodes) if sets and contraction.summed else nodes


def _clear(job: _Job) -> tuple[Node, ...]:
    """Set to 0 what the statement writes, and nothing else of its tensor."""
    if _writes_whole(job):
        return (Fill(job.statement.tensor),)
    zero = Store(job.statement.target, Body(sp.S.Zero))
    return _loops(job, _by_target(job.statement, job.bound), free_guards(job.statement), (zero,))


def _lower_total(job: _Job, free: Sequence[Index], reduced: Sequence[Index], sets: bool) -> tuple[Node, ...]:
    statement = job.statement
    inside, outside = split_invariant(statement)
    total = Body.combine(slot(0) * slot(1), {slot(0): Body.of(TOTAL), slot(1): outside}) if outside else Body.of(TOTAL)
    outer_guards = tuple(g for g in statement.guards if not set(guard_indices(g)) & set(reduced))
    inner_guards = tuple(g for g in statement.guards if g not in outer_guards)
    inner = _loops(job, reduced, inner_guards, (Store(TOTAL, inside, Update.ADD),))
    body = (
        Store(TOTAL, Body(sp.S.Zero)),
        *inner,
        Store(statement.target, total, Update.SET if sets else Update.ADD),
    )
    return _loops(job, free, outer_guards, body)


def _lower_rows(job: _Job, free: Sequence[Index], reduced: Sequence[Index], sets: bool) -> tuple[Node, ...]:
    statement = job.statement
    *outer, last = free
    outer_guards = tuple(g for g in statement.guards if not set(guard_indices(g)) & {last, *reduced})
    inner_guards = tuple(g for g in statement.guards if g not in outer_guards)
    inside, outside = split_invariant(statement)
    work = _loops(job, (*reduced, last), inner_guards, (Store(statement.target, inside, Update.ADD),))
    # Elements outside the guards may belong to another statement: leave them alone.
    row_guards = tuple(g for g in inner_guards if not set(guard_indices(g)) & set(reduced))
    clear: tuple[Node, ...] = ()
    if sets and not outer and _writes_whole(job):
        clear = (Fill(statement.tensor),)
    elif sets:
        clear = _loops(job, (last,), row_guards, (Store(statement.target, Body(sp.S.Zero)),))
    if outside is not None and sets:
        scale = Body.combine(slot(0) * slot(1), {slot(0): Body.of(statement.target), slot(1): outside})
        work += _loops(job, (last,), row_guards, (Store(statement.target, scale),))
    elif outside is not None:
        work = _loops(job, (*reduced, last), inner_guards, (Store(statement.target, statement.body, Update.ADD),))
    return _loops(job, outer, outer_guards, (*clear, *work))


def _writes_whole(job: _Job) -> bool:
    """True for ``c[k] = ..`` with an index over all of each axis, without guards, outside a scan."""
    statement = job.statement
    indices = [s.as_index() for s in statement.subscripts]
    if free_guards(statement) or job.bound or len(set(indices)) < len(indices):
        return False
    for index, extent in zip(indices, job.program.tensor(statement.tensor).shape, strict=True):
        if index is None:
            return False
        loop = statement.domain.range_of(index)
        if loop.lower != ZERO or loop.stop != extent:
            return False
    return True


def _lower_maximum(job: _Job, free: Sequence[Index], reduced: Sequence[Index]) -> tuple[Node, ...]:
    statement = job.statement
    is_argmax = statement.reduction is Reduction.ARGMAX
    # The position counts the reduced indices as declared, whatever the order of the loops.
    flat = ZERO
    for index in statement.reduced:
        loop = statement.domain.range_of(index)
        flat = flat * loop.extent + (index - loop.lower)
    order = statement.reduced if is_argmax else reduced  # the first maximum: loops in declared order
    track = Track(BEST, statement.body, PLACE, flat) if is_argmax else Track(BEST, statement.body)
    outer_guards = tuple(g for g in statement.guards if not set(guard_indices(g)) & set(reduced))
    inner_guards = tuple(g for g in statement.guards if g not in outer_guards)
    inner = _loops(job, order, inner_guards, (track,))
    start: tuple[Node, ...] = (Store(BEST, Body(sp.S.NegativeInfinity)),)
    if is_argmax:
        start += (Store(PLACE, Body(sp.S.NegativeOne)),)
    body = (*start, *inner, Store(statement.target, Body.of(PLACE if is_argmax else BEST)))
    return _loops(job, free, outer_guards, body)


# --------------------------------------------------------------------------------------------------- order of loops


def _by_target(statement: Statement, bound: tuple[Index, ...]) -> list[Index]:
    """The free indices in the order of the target's axes, so that the last axis is the innermost loop.

    Of several indices on one axis (``e + 32*h``) the one that moves farthest comes first.
    """
    order = [i for s in statement.subscripts for i in _farthest_first(s) if i in statement.free]
    rest = _by_memory([i for i in statement.free if i not in order], statement)
    return [i for i in dict.fromkeys((*rest, *order)) if i not in bound]


def _farthest_first(subscript: Affine) -> list[Index]:
    def distance(index: Index) -> int:
        factor = subscript.coefficient(index)
        return abs(int(factor)) if factor is not None and factor.is_constant else 0

    return sorted(subscript.plain_indices(), key=lambda index: -distance(index))


def _innermost_contiguous(statement: Statement) -> list[Index]:
    """The reduced indices with the one that walks memory with stride 1 most often last."""
    if len(statement.reduced) < 2:
        return list(statement.reduced)
    ordered = _by_memory(list(statement.reduced), statement)
    best = min(reversed(ordered), key=lambda i: strided_reads(statement, i))
    return [*(i for i in ordered if i != best), best]


def _by_memory(indices: list[Index], statement: Statement) -> list[Index]:
    """Indices in the order of the axes of the first element read that walks along all of them, if there is one."""
    for read in statement.body.reads:
        axes = [next((k for k, s in enumerate(read.subscripts) if i in s.plain_indices()), -1) for i in indices]
        if axes and min(axes) >= 0:
            return [i for _, i in sorted(zip(axes, indices, strict=True), key=lambda pair: pair[0])]
    return indices


def _row_form_pays(job: _Job, free: Index, reduced: Index) -> bool:
    """True if the loop over `free` runs through memory in strides of 1 where the loop over `reduced` would not."""
    statement = job.statement
    loop = statement.domain.range_of(free)
    if loop.extent.is_constant and int(loop.extent) < SMALLEST_EXTENT:
        return False
    extents = job.program.tensor(statement.tensor).shape
    along_memory = [s for s, extent in zip(statement.subscripts, extents, strict=True) if extent != ONE]
    if not along_memory or along_memory[-1].coefficient(free) != ONE:
        return False
    along, across = strided_reads(statement, free), strided_reads(statement, reduced)
    if along != across:
        return along < across
    # A window (3 x 3) is too short a loop to vectorise; the row it slides along is not.
    window = statement.domain.range_of(reduced).extent
    return window.is_constant and int(window) < WINDOW and any(_streams(r, free) for r in statement.body.reads)


def _streams(read: Read, index: Index) -> bool:
    return bool(read.subscripts) and read.subscripts[-1].coefficient(index) == ONE


# --------------------------------------------------------------------------------------------------- guards to bounds


@dataclass
class _Limits:
    """What the guards make of one loop."""

    lower: list[Affine]
    stop: list[Affine]
    fixed: Affine | None = None


def _loops(job: _Job, order: Sequence[Index], guards: Sequence[Guard], body: tuple[Node, ...]) -> tuple[Node, ...]:
    """Loops over `order` around `body`; each guard narrows the innermost loop it can, or becomes a condition."""
    statement = job.statement
    ranges = {i: statement.domain.range_of(i) for i in order}
    limits = {i: _Limits([r.lower], [r.stop]) for i, r in ranges.items()}
    conditions: dict[Index | None, list[Guard]] = {}
    for guard in guards:
        depth = [i for i in order if i in guard_indices(guard)]
        innermost = depth[-1] if depth else None
        if innermost is None or not _narrow(limits[innermost], innermost, guard):
            conditions.setdefault(innermost, []).append(guard)
    nodes = body
    for index in reversed(order):
        if index in conditions:
            nodes = (If(tuple(conditions[index]), nodes),)
        limit = limits[index]
        if limit.fixed is not None:
            nodes = _set_index(index, limit, nodes, job)
        else:
            every = tuple(statement.domain.ranges)
            nodes = (Loop(index, _tightest(limit.lower, every, -1), _tightest(limit.stop, every, 1), nodes),)
    return (If(tuple(conditions[None]), nodes),) if None in conditions else nodes


def _loop(loop: Range, body: tuple[Node, ...]) -> Loop:
    return Loop(loop.index, Bound((loop.lower,)), Bound((loop.stop,)), body)


def _narrow(limits: _Limits, index: Index, guard: Guard) -> bool:
    """Make the guard part of the loop's bounds, if it is linear in the index with a constant factor."""
    if isinstance(guard, Holds) or not isinstance(guard, NonNegative | Zero):
        return False
    factor = guard.value.coefficient(index)
    if factor is None or not factor.is_constant or int(factor) == 0:
        return False
    c, rest = int(factor), guard.value.without(index)
    if isinstance(guard, Zero):
        if limits.fixed is not None or c not in (1, -1):
            return False
        limits.fixed = -rest if c == 1 else rest
        return True
    if rest.reads():
        return False
    if c > 0:  # c*i + rest >= 0  <=>  i >= ceil(-rest/c)
        limits.lower.append(floor_div(-rest + (c - 1), c))
    else:  # i <= floor(rest/|c|)
        limits.stop.append(floor_div(rest, -c) + 1)
    return True


def _set_index(index: Index, limits: _Limits, body: tuple[Node, ...], job: _Job) -> tuple[Node, ...]:
    """``index = value``, and a check that it lies in the loop's range wherever that is not certain."""
    value = limits.fixed
    assert value is not None
    checks: list[Guard] = []
    atom = value.as_atom()
    below = job.program.tensor(atom.tensor).below if isinstance(atom, Read) else None
    for lower in limits.lower:
        if not (below is not None and lower == ZERO) and not _certain(value - lower, job.statement):
            checks.append(NonNegative(index - lower))
    for stop in limits.stop:
        if not (below is not None and is_nonnegative(stop - below)) and not _certain(stop - 1 - value, job.statement):
            checks.append(NonNegative(stop - 1 - index))
    return (SetIndex(index, value), If(tuple(checks), body)) if checks else (SetIndex(index, value), *body)


def _certain(value: Affine, statement: Statement) -> bool:
    low = lower_bound(value, statement.domain.ranges)
    return low is not None and is_nonnegative(low)


def _tightest(values: list[Affine], ranges: tuple[Range, ...], sign: int) -> Bound:
    """Drop the bounds that another one implies: ``max(0, i - 2)`` with i >= 2 is ``i - 2``."""
    distinct = list(dict.fromkeys(values))
    kept: list[Affine] = []
    for k, value in enumerate(distinct):
        others = [*kept, *distinct[k + 1 :]]
        if not any(_never_tighter(value, other, ranges, sign) for other in others):
            kept.append(value)
    return Bound(tuple(kept))


def _never_tighter(value: Affine, other: Affine, ranges: tuple[Range, ...], sign: int) -> bool:
    difference = (value - other) * sign
    low = lower_bound(difference, ranges)
    return low is not None and is_nonnegative(low)

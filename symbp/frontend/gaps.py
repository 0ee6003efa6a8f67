"""Elements that equations read but none defines: a recurrence without an initial value, a border left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations, product

from symbp.errors import SpecError
from symbp.frontend.regions import Layout, Written, no_initial_value, provable, with_subscript
from symbp.ir import Affine, Domain, FloorDiv, Index, Mod, NonNegative, Range, Read, Size, Statement, Zero
from symbp.ir.affine import Atom
from symbp.ir.bounds import is_nonnegative, lower_bound, upper_bound


def check_written(
    name: str,
    layout: Layout,
    written: Sequence[Written],
    statements: Sequence[Statement],
    owners: Mapping[str, str],
) -> None:
    """Refuse reads of elements that no equation writes: a recurrence without an initial value.

    Looks at axes along which the equations differ or leave a gap. Strided and guarded equations leave zeros between
    the elements they write, on purpose.
    """
    if len(layout.shape) == 0:
        return
    all_spans = [_spans(position, layout, written) for position in range(len(layout.shape))]
    if all(spans is not None for spans in all_spans):
        _check_corners(name, layout, written, statements)
    for position, (extent, spans) in enumerate(zip(layout.shape, all_spans, strict=True)):
        if spans is None:
            continue
        gaps = _gaps(spans, extent)
        if not gaps:
            continue
        for statement in statements:
            for read in statement.reads:
                if read.tensor == name:
                    _check_covered(
                        read, position, spans, layout, statement, owners.get(statement.tensor, statement.tensor)
                    )


Span = tuple[Affine, Affine]


def _spans(position: int, layout: Layout, written: Sequence[Written]) -> list[Span] | None:
    """The stored intervals [first, last] that the equations write along one axis, joined where they meet."""
    spans: list[Span] = []
    for w in written:
        value = w.subscripts[position] + layout.offsets[position]
        indices = value.plain_indices()
        if any(c is None or c not in (Affine.of(1), Affine.of(-1)) for c in map(value.coefficient, indices)):
            return None
        ranges = _tightened(w.domain, indices)
        if ranges is None:
            return None
        low, high = lower_bound(value, ranges), upper_bound(value, ranges)
        if low is None or high is None:
            return None
        if (low, high) not in spans:
            spans.append((low, high))
    merged = True
    while merged:
        merged = False
        for one, other in combinations(spans, 2):
            for (a, b), (c, d) in ((one, other), (other, one)):
                if is_nonnegative(c - a) and is_nonnegative(b + 1 - c):
                    last = d if is_nonnegative(d - b) else b
                    spans = [s for s in spans if s not in (one, other)] + [(a, last)]
                    merged = True
                    break
            if merged:
                break
    return spans


def _tightened(domain: Domain, indices: tuple[Index, ...]) -> tuple[Range, ...] | None:
    """The ranges cut by guards such as ``t >= 1``; None if a guard ties one of `indices` to others."""
    ranges = list(domain.ranges)
    for guard in domain.guards:
        mentioned = guard.value.indices() if isinstance(guard, NonNegative | Zero) else ()
        if not set(mentioned) & set(indices):
            continue
        if not isinstance(guard, NonNegative) or len(mentioned) > 1 or guard.value.hidden_indices():
            return None
        index = mentioned[0]
        factor, rest = guard.value.coefficient(index), guard.value.without(index)
        at = next(k for k, r in enumerate(ranges) if r.index == index)
        if factor == Affine.of(1):
            ranges[at] = replace(ranges[at], lower=-rest)
        elif factor == Affine.of(-1):
            ranges[at] = replace(ranges[at], stop=rest + 1)
        else:
            return None
    return tuple(ranges)


def _gaps(spans: list[Span], extent: Affine) -> bool:
    return not any(is_nonnegative(-low) and is_nonnegative(high + 1 - extent) for low, high in spans)


def _check_covered(
    read: Read, position: int, spans: list[Span], layout: Layout, statement: Statement, defined: str
) -> None:
    value = read.subscripts[position]
    if value.reads() or any(
        provable(value - low, statement.domain) and provable(high - value, statement.domain) for low, high in spans
    ):
        return
    offset = layout.offsets[position]
    first = lower_bound(value, statement.domain.ranges)
    shown = Read(read.tensor, tuple(s - o for s, o in zip(read.subscripts, layout.offsets, strict=True)))
    starts = ", ".join(str(low - offset) for low, _ in spans)
    missing = first - offset if first is not None else shown.subscripts[position]
    place = statement.origin.place or None
    if defined == read.tensor:
        raise no_initial_value(read, shown, position, missing, f", but its equations begin at {starts}", place)
    at = with_subscript(shown, position, missing)
    raise SpecError(
        f"{shown} reads elements of '{read.tensor}' that no equation defines, such as {at}",
        place=place,
        remedy=f"add an equation for {at}, or restrict this one with where",
    )


MOST_POINTS = 20_000


def _check_corners(name: str, layout: Layout, written: Sequence[Written], statements: Sequence[Statement]) -> None:
    """Elements that are missing although every axis is covered: ``a[0, j]`` and ``a[i + 1, j + 1]`` leave ``a[i, 0]``.

    Found by trying small run-time sizes, on the axes that some equation writes in part.
    """
    partial = [
        p for p, extent in enumerate(layout.shape) if any(not _writes_all(w, p, layout, extent) for w in written)
    ]
    if len(partial) < 2:
        return
    mentioned = [s for e in layout.shape for s in e.sizes()]
    mentioned += [s for t in statements for r in t.domain.ranges for e in (r.lower, r.stop) for s in e.sizes()]
    sizes: dict[Index | Size, int] = {s: 3 + k for k, s in enumerate(dict.fromkeys(mentioned))}
    points: set[tuple[int, ...]] = set()
    for w in written:
        subscripts = [w.subscripts[p] + layout.offsets[p] for p in partial]
        found = _points(subscripts, w.domain, sizes)
        if found is None:
            return
        points.update(found)
    for statement in statements:
        for read in statement.reads:
            if read.tensor != name or any(read.subscripts[p].reads() for p in partial):
                continue
            for point in _points([read.subscripts[p] for p in partial], statement.domain, sizes) or ():
                if point not in points:
                    at = read
                    for p, value in zip(partial, point, strict=True):
                        at = with_subscript(at, p, Affine.of(value))
                    at = Read(name, tuple(s - o for s, o in zip(at.subscripts, layout.offsets, strict=True)))
                    raise SpecError(
                        f"{read} reads elements of '{name}' that no equation defines, such as {at}",
                        place=statement.origin.place or None,
                        remedy=f"add an equation for {at}, or restrict this one with where",
                    )


def _writes_all(w: Written, position: int, layout: Layout, extent: Affine) -> bool:
    value = w.subscripts[position] + layout.offsets[position]
    ranges = _tightened(w.domain, value.plain_indices())
    if ranges is None:
        return False
    low, high = lower_bound(value, ranges), upper_bound(value, ranges)
    return low is not None and high is not None and is_nonnegative(-low) and is_nonnegative(high + 1 - extent)


def _points(
    subscripts: Sequence[Affine], domain: Domain, sizes: Mapping[Index | Size, int]
) -> list[tuple[int, ...]] | None:
    """Where the subscripts go over the box and its affine guards; None if that is too many places to try."""
    guards = [g for g in domain.guards if isinstance(g, NonNegative | Zero) and not g.value.reads()]
    indices = dict.fromkeys(i for value in (*subscripts, *(g.value for g in guards)) for i in value.indices())
    spans = []
    number = 1
    for index in indices:
        span = domain.range_of(index)
        spans.append(range(_value(span.lower, sizes), _value(span.stop, sizes)))
        number *= max(1, len(spans[-1]))
    if number > MOST_POINTS:
        return None
    found = []
    for values in product(*spans):
        at: dict[Index | Size, int] = {**sizes, **dict(zip(indices, values, strict=True))}
        if all(_value(g.value, at) >= 0 if isinstance(g, NonNegative) else _value(g.value, at) == 0 for g in guards):
            found.append(tuple(_value(s, at) for s in subscripts))
    return found


def _value(affine: Affine, at: Mapping[Index | Size, int]) -> int:
    total = 0
    for monomial, factor in affine.terms:
        for atom in monomial:
            factor *= _atom_value(atom, at)
        total += factor
    return total


def _atom_value(atom: Atom, at: Mapping[Index | Size, int]) -> int:
    if isinstance(atom, FloorDiv):
        return _value(atom.numerator, at) // _value(atom.divisor, at)
    if isinstance(atom, Mod):
        return _value(atom.numerator, at) % _value(atom.divisor, at)
    return at[atom]  # type: ignore[index]

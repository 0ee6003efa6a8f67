"""Which elements equations write and read: shapes of defined tensors, gaps, and bounds of every subscript.

A subscript that is out of range for some index is refused; one whose bound depends on run-time sizes becomes a
requirement that the generated module checks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from symbp.errors import ShapeError, SpecError
from symbp.ir import (
    ZERO,
    Affine,
    Domain,
    FloorDiv,
    Index,
    NonNegative,
    Program,
    Range,
    Read,
    Statement,
    Tensor,
    Zero,
    fresh_index,
)
from symbp.ir.bounds import is_nonnegative, lower_bound, upper_bound
from symbp.ir.statement import Guard


@dataclass(frozen=True)
class Written:
    """What one equation writes: subscripts over a box, before the tensor's axes are shifted to begin at 0."""

    subscripts: tuple[Affine, ...]
    domain: Domain
    place: str
    text: str


@dataclass(frozen=True)
class Layout:
    """The stored shape of a defined tensor, and what is added to each subscript so that the axis begins at 0."""

    shape: tuple[Affine, ...]
    offsets: tuple[int, ...]


def infer_layout(name: str, declared: Sequence[Affine], written: Sequence[Written]) -> Layout:
    """The smallest box that holds everything the equations write.

    An axis keeps its declared extent if everything fits in it; it grows for ``h[b, t + 1, k]`` and begins below 0 for
    ``h[b, -1, k]``.
    """
    shape: list[Affine] = []
    offsets: list[int] = []
    for position, extent in enumerate(declared):
        offset = 0
        stop = extent
        fits = True
        for w in written:
            value = w.subscripts[position]
            if _covers_axis(value, w.domain, extent):
                continue
            low, high = lower_bound(value, w.domain.ranges), upper_bound(value, w.domain.ranges)
            if low is None or high is None:
                raise ShapeError(f"cannot tell which elements {w.text} writes on axis {position}", place=w.place)
            if not is_nonnegative(low) and not provable(value, w.domain):
                if not low.is_constant:
                    raise ShapeError(
                        f"{w.text} writes axis {position} of '{name}' from {low} on, expected a start known now",
                        place=w.place,
                    )
                offset = max(offset, -int(low))
            fits &= provable(extent - 1 - value, w.domain)
        if not fits:
            highs = [upper_bound(w.subscripts[position], w.domain.ranges) for w in written]
            stop = _largest([h + 1 for h in highs if h is not None], name, written[0].place)
        shape.append(stop + offset)
        offsets.append(offset)
    return Layout(tuple(shape), tuple(offsets))


def _largest(stops: list[Affine], name: str, place: str) -> Affine:
    best = stops[0]
    for stop in stops[1:]:
        if is_nonnegative(stop - best):
            best = stop
        elif not is_nonnegative(best - stop):
            raise ShapeError(
                f"the equations of '{name}' write up to {best} and up to {stop}, which cannot be compared", place=place
            )
    return best


def provable(value: Affine, domain: Domain) -> bool:
    """True if ``value >= 0`` follows from the box and at most two of the guards."""
    if _bounded_below(value, domain.ranges):
        return True
    forms: list[Affine] = []
    for guard in domain.guards:
        if isinstance(guard, NonNegative):
            forms.append(guard.value)
        elif isinstance(guard, Zero):
            forms += [guard.value, -guard.value]
    return any(
        _bounded_below(value - sum(chosen, Affine.of(0)), domain.ranges)
        for number in (1, 2)
        for chosen in combinations(forms, number)
    )


def clear_divisions(value: Affine) -> Affine:
    """A form without floor division that is >= 0 exactly where `value` is.

    For integers, ``r - n//d >= 0`` is ``d*r + d - 1 - n >= 0``, and ``r + n//d >= 0`` is ``d*r + n >= 0``.
    """
    for monomial, factor in value.terms:
        if len(monomial) == 1 and isinstance(monomial[0], FloorDiv) and factor in (1, -1):
            atom = monomial[0]
            rest = atom.divisor * (value - factor * atom)
            return clear_divisions(rest + atom.numerator if factor == 1 else rest + atom.divisor - 1 - atom.numerator)
    return value


def _bounded_below(value: Affine, ranges: Iterable[Range]) -> bool:
    bound = lower_bound(value, ranges)
    return bound is not None and is_nonnegative(bound)


def check_reads(statement: Statement, program: Program, owners: Mapping[str, str]) -> tuple[Affine, ...]:
    """Refuse subscripts that leave their axis. Returns what must be >= 0 at run time for the rest to be right."""
    place = statement.origin.place or None
    needed: dict[Affine, None] = {}
    for read in (statement.target, *statement.reads):
        needed.update(
            dict.fromkeys(
                check_read(read, statement.domain, program, place, owners.get(statement.tensor, statement.tensor))
            )
        )
    return tuple(needed)


def check_read(
    read: Read, domain: Domain, program: Program, place: str | None, defined: str = ""
) -> tuple[Affine, ...]:
    """The same for one element, in an equation of `defined`."""
    needed: list[Affine] = []
    tensor = program.tensor(read.tensor)
    for position, (subscript, extent) in enumerate(zip(read.subscripts, tensor.shape, strict=True)):
        if _covers_axis(subscript, domain, extent):
            continue
        value, ranges = _elements_as_indices(subscript, domain.ranges, program, place)
        guards = tuple(_guard_elements_as_indices(g, ranges, subscript, value) for g in domain.guards)
        box = Domain(ranges, guards)
        for slack, side in ((value, "lower"), (extent - 1 - value, "upper")):
            slack = clear_divisions(slack)
            if provable(slack, box):
                continue
            bound = lower_bound(slack, ranges)
            if bound is None or is_nonnegative(-bound - 1):
                if read.tensor == defined and side == "lower" and (low := lower_bound(value, ranges)) is not None:
                    raise no_initial_value(read, read, position, low, "", place)
                raise _out_of_range(read, position, tensor, subscript, value, ranges, side, place)
            needed.append(bound)
    return tuple(needed)


def _covers_axis(value: Affine, domain: Domain, extent: Affine) -> bool:
    """True for the common case, an index alone that runs over just this axis."""
    index = value.as_index()
    if index is None:
        return False
    span = domain.range_of(index)
    return span.lower == ZERO and span.stop == extent


def _elements_as_indices(
    subscript: Affine, ranges: tuple[Range, ...], program: Program, place: str | None
) -> tuple[Affine, tuple[Range, ...]]:
    """A data-dependent subscript as one over a box: an element of integers below k is an index in [0, k)."""
    added: list[Range] = []

    def as_index(read: Read) -> Affine:
        below = program.tensor(read.tensor).below
        if below is None:
            raise ShapeError(
                f"{read} is used as a subscript, but nothing says below what its values stay",
                place=place,
                remedy=f"declare '{read.tensor}' with dtype='int' and below=",
            )
        index = fresh_index(f"~{read}", [r.index for r in added])
        added.append(Range(index, Affine.of(0), below))
        return Affine.of(index)

    value = subscript.map_reads(as_index) if subscript.reads() else subscript
    return value, (*ranges, *added)


def _guard_elements_as_indices(guard: Guard, ranges: tuple[Range, ...], subscript: Affine, value: Affine) -> Guard:
    """The same replacement in a guard that speaks of the same elements (``tok[b] < 5``)."""
    if not isinstance(guard, NonNegative | Zero) or not guard.value.reads():
        return guard
    known = {r.index.name: r.index for r in ranges}

    def as_index(read: Read) -> Affine:
        index = known.get(f"~{read}")
        return Affine.of(index) if index is not None else Affine.of(read)

    return replace(guard, value=guard.value.map_reads(as_index))


def _out_of_range(
    read: Read,
    position: int,
    tensor: Tensor,
    subscript: Affine,
    value: Affine,
    ranges: tuple[Range, ...],
    side: str,
    place: str | None,
) -> ShapeError:
    low, high = lower_bound(value, ranges), upper_bound(value, ranges)
    extent = tensor.shape[position]
    reach = f"from {low}" if side == "lower" else f"up to {high}"
    if (low if side == "lower" else high) is None:
        reach = "over a range that cannot be told"
    named = f" ({tensor.axes[position]})" if position < len(tensor.axes) else ""
    single = value.is_constant
    what = f"index {value} of axis {position}{named}" if single else f"subscript {subscript} of axis {position}{named}"
    found = "is out of range" if single else f"runs {reach}"
    return ShapeError(
        f"{read}: {what} of '{tensor.name}' {found}, but its extent is {extent}",
        place=place,
        remedy=None if single else "shift the index, or restrict the equation with where",
    )


def no_initial_value(read: Read, shown: Read, position: int, first: Affine, but: str, place: str | None) -> SpecError:
    at = with_subscript(shown, position, first)
    return SpecError(
        f"the recurrence of '{read.tensor}' has no initial value: {shown} is read at {at}{but}",
        place=place,
        remedy=f"add an equation for {at}",
    )


def with_subscript(read: Read, position: int, value: Affine) -> Read:
    return Read(read.tensor, (*read.subscripts[:position], value, *read.subscripts[position + 1 :]))


def check_injective(name: str, written: Written) -> None:
    """Refuse a left side on which two values of its indices name one element: ``y[i + j] = ..``."""
    pending = list(written.subscripts)
    known: set[Index] = set()
    for value in pending:
        if value.hidden_indices() or value.reads():
            raise ShapeError(
                f"the left side {written.text} has a subscript {value}, expected sums of indices",
                place=written.place,
                remedy="write the equation for the element that is defined, and compute its source on the right",
            )
    progress = True
    while progress and pending:
        progress = False
        for value in pending:
            unknown = [i for i in value.plain_indices() if i not in known]
            if len(unknown) <= 1 or _is_mixed_radix(value, unknown, written.domain):
                known.update(unknown)
                pending.remove(value)
                progress = True
                break
    if pending:
        raise ShapeError(
            f"the left side {written.text} names one element for several values of its indices",
            place=written.place,
            remedy="write the sum on the right: sum(.., i)",
        )


def _is_mixed_radix(value: Affine, unknown: list[Index], domain: Domain) -> bool:
    """``h*E + e`` with ``0 <= e < E``: digits of one number."""
    digits = {i: c for i in unknown if (c := value.coefficient(i)) is not None and is_nonnegative(c - 1)}
    if len(digits) < len(unknown):
        return False
    while len(digits) > 1:  # the lowest digit stays below every other's unit
        lowest = next(
            (
                i
                for i, c in digits.items()
                if all(is_nonnegative(d - c * domain.range_of(i).extent) for j, d in digits.items() if j != i)
            ),
            None,
        )
        if lowest is None:
            return False
        del digits[lowest]
    return True

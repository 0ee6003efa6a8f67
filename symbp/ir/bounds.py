"""What can be proved about an affine value over a box of indices, for every value of the sizes.

Sizes are at least 1. "Cannot be proved" is always an allowed answer: callers then keep a guard or check at run time.
"""

from __future__ import annotations

from collections.abc import Iterable

from symbp.ir.affine import ZERO, Affine, FloorDiv, Mod, Monomial, Read, Size
from symbp.ir.statement import Domain, Guard, NonNegative, Range, Zero


def is_nonnegative(value: Affine) -> bool:
    """True if ``value >= 0`` for all sizes (value free of indices and reads)."""
    shifted = ZERO
    for monomial, factor in value.terms:
        division = monomial[0] if len(monomial) == 1 else None
        if factor < 0 and isinstance(division, FloorDiv) and division.divisor.is_constant:
            # -d*(a//d) is at least -a, and a - d*(a//d) at least 0
            d = int(division.divisor)
            if factor % d == 0:
                return is_nonnegative(value - Affine(((monomial, factor),)) + factor // d * division.numerator)
        term = Affine.of(factor)
        for atom in monomial:
            if isinstance(atom, Size):
                term = term * (atom + atom.least)  # a size is its least value plus something >= 0
            elif isinstance(atom, FloorDiv | Mod) and factor > 0 and is_nonnegative(atom.numerator):
                term = term * atom
            else:
                return False
        shifted = shifted + term
    return all(c >= 0 for _, c in shifted.terms)


def without_divisions(value: Affine) -> Affine:
    """A form that is >= 0 exactly where `value` is: ``(n - 3)//2 - 1 >= 0`` where ``n - 5 >= 0``.

    Divisions that are added or subtracted once, by a number, are cleared; others stay.
    """
    for monomial, factor in value.terms:
        if len(monomial) != 1 or factor not in (1, -1):
            continue
        division = monomial[0]
        if isinstance(division, FloorDiv) and division.divisor.is_constant:
            d, rest = int(division.divisor), value - Affine(((monomial, factor),))
            # a//d + r >= 0 where a + d*r >= 0; r - a//d >= 0 where a//d < r + 1, so where a < d*(r + 1)
            cleared = division.numerator + d * rest if factor == 1 else d * (rest + 1) - 1 - division.numerator
            return without_divisions(cleared)
    return value


def lower_bound(value: Affine, ranges: Iterable[Range]) -> Affine | None:
    """A bound from below of `value` over the box, free of its indices; None if none is known."""
    return _bound(value, {r.index: r for r in ranges}, upper=False)


def upper_bound(value: Affine, ranges: Iterable[Range]) -> Affine | None:
    """An inclusive bound from above of `value` over the box, free of its indices; None if none is known."""
    return _bound(value, {r.index: r for r in ranges}, upper=True)


def is_implied(guard: Guard, ranges: Iterable[Range]) -> bool:
    """True if the box alone makes the guard hold everywhere."""
    if isinstance(guard, NonNegative):
        bound = lower_bound(guard.value, ranges)
        return bound is not None and is_nonnegative(bound)
    return isinstance(guard, Zero) and guard.value == ZERO


def holds_everywhere(value: Affine, domain: Domain) -> bool:
    """True if ``value >= 0`` is implied by the domain's box, or by the box together with one of its guards."""
    bound = lower_bound(value, domain.ranges)
    if bound is not None and is_nonnegative(bound):
        return True
    for guard in domain.guards:
        if isinstance(guard, NonNegative):
            bound = lower_bound(value - guard.value, domain.ranges)
            if bound is not None and is_nonnegative(bound):
                return True
    return False


def _bound(value: Affine, ranges: dict[object, Range], *, upper: bool) -> Affine | None:
    # Eliminate the indices one at a time, innermost range first: a range may mention another index.
    for index in value.plain_indices():
        if index not in ranges:
            continue
        factor = value.coefficient(index)
        if factor is None:
            return None
        if is_nonnegative(factor):
            at_stop = upper
        elif is_nonnegative(-factor):
            at_stop = not upper
        else:
            return None
        at = ranges[index].stop - 1 if at_stop else ranges[index].lower
        value = value.without(index) + factor * at
    if value.plain_indices() and any(i in ranges for i in value.plain_indices()):
        return _bound(value, ranges, upper=upper)
    total = ZERO
    for monomial, factor_ in value.terms:
        bound = _bound_opaque(monomial, factor_, ranges, upper=upper)
        if bound is None:
            return None
        total = total + bound
    return total


def _bound_opaque(monomial: Monomial, factor: int, ranges: dict[object, Range], *, upper: bool) -> Affine | None:
    """Bounds of one term in which divisions and remainders are opaque atoms."""
    term = Affine(((monomial, factor),))
    opaque = [a for a in monomial if isinstance(a, Mod | FloorDiv | Read)]
    if not opaque:
        return term
    if len(monomial) > 1 or isinstance(opaque[0], Read):
        return None
    wants_upper = upper == (factor > 0)
    atom = opaque[0]
    if isinstance(atom, Mod):
        return factor * (atom.divisor - 1) if wants_upper else ZERO
    if isinstance(atom, FloorDiv):
        if any(i in ranges for i in atom.numerator.indices()):
            inner = _bound(atom.numerator, ranges, upper=wants_upper)
            if inner is None or not atom.divisor.is_constant:
                return None
            if inner.is_constant:
                return Affine.of(factor * (int(inner) // int(atom.divisor)))
            k = int(atom.divisor)
            # (n*k + r)//k = n + r//k, which decides the usual upsampling x[q//2] with q < 2*n
            whole = Affine(tuple((m, c // k) for m, c in inner.terms if m and c % k == 0))
            rest = inner - k * whole
            return factor * (whole + int(rest) // k) if rest.is_constant else None
        return term
    return None

"""Floor divisions and remainders that a box of indices decides: ``(E*h + e)//E`` is h, and ``(E*h + e) % E`` is e."""

from __future__ import annotations

from collections.abc import Collection

from symbp.ir import ZERO, Affine, FloorDiv, Mod, Range, Read, floor_div, mod
from symbp.ir.affine import Monomial
from symbp.ir.bounds import is_nonnegative, lower_bound, upper_bound


def simplify_divisions(value: Affine, ranges: Collection[Range]) -> Affine:
    """`value` with every division taken out that can be: multiples of the divisor leave it, small rests vanish."""
    if not any(isinstance(a, FloorDiv | Mod | Read) for a in value.atoms()):
        return value
    total = ZERO
    for monomial, factor in value.terms:
        term = Affine.of(factor)
        for atom in monomial:
            if isinstance(atom, FloorDiv | Mod):
                term = term * _simplify(atom, ranges)
            elif isinstance(atom, Read):
                term = term * Read(atom.tensor, tuple(simplify_divisions(s, ranges) for s in atom.subscripts))
            else:
                term = term * atom
        total = total + term
    return total


def _simplify(atom: FloorDiv | Mod, ranges: Collection[Range]) -> Affine:
    numerator = simplify_divisions(atom.numerator, ranges)
    divisor = atom.divisor
    if isinstance(atom, Mod):  # (a % N + b) % N is (a + b) % N
        inner = {a: a.numerator for a in numerator.atoms() if isinstance(a, Mod) and a.divisor == divisor}
        numerator = Affine.of(0) + sum((_opened(m, c, inner) for m, c in numerator.terms), ZERO)
    whole, rest = _split(numerator, divisor)
    if _is_between(rest, divisor, ranges):
        return whole if isinstance(atom, FloorDiv) else rest
    return whole + floor_div(rest, divisor) if isinstance(atom, FloorDiv) else mod(rest, divisor)


def _opened(monomial: Monomial, factor: int, inner: dict[Mod, Affine]) -> Affine:
    if len(monomial) == 1 and isinstance(monomial[0], Mod) and monomial[0] in inner:
        return factor * inner[monomial[0]]
    return Affine(((monomial, factor),))


def _split(numerator: Affine, divisor: Affine) -> tuple[Affine, Affine]:
    """``numerator = divisor*whole + rest``, with every term in `whole` that the divisor's one term divides."""
    if len(divisor.terms) != 1:
        return ZERO, numerator
    (atoms, factor), whole, rest = divisor.terms[0], ZERO, ZERO
    for monomial, c in numerator.terms:
        left = list(monomial)
        divides = c % factor == 0
        for atom in atoms:
            if atom in left:
                left.remove(atom)
            else:
                divides = False
        if divides:
            whole = whole + Affine(((tuple(left), c // factor),))
        else:
            rest = rest + Affine(((monomial, c),))
    return whole, rest


def _is_between(value: Affine, stop: Affine, ranges: Collection[Range]) -> bool:
    """True if ``0 <= value < stop`` over the whole box."""
    low, high = lower_bound(value, ranges), upper_bound(value, ranges)
    return low is not None and high is not None and is_nonnegative(low) and is_nonnegative(stop - 1 - high)

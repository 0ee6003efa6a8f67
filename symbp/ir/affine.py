"""Integer index arithmetic: subscripts, loop bounds and guards.

    Affine  ::=  integer polynomial over atoms, linear in the loop indices
    Atom    ::=  Index | Size | Read | FloorDiv | Mod

Sizes may multiply (a flattened head ``h*E + e``), so a value is a polynomial; what makes it *affine* is that an index
occurs in a monomial at most once and with no other index. A `Read` atom makes a subscript data-dependent
(``z[b, label[b]]``). SymPy is not used here: its ``Min``/``Max``/``ceiling`` cost milliseconds each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Union


class _Linear:
    """Arithmetic shared by atoms and polynomials; every result is an `Affine`."""

    __slots__ = ()

    def __add__(self, other: Scalar) -> Affine:
        return _sum(Affine.of(self), Affine.of(other))  # type: ignore[arg-type]

    def __radd__(self, other: Scalar) -> Affine:
        return self + other

    def __sub__(self, other: Scalar) -> Affine:
        return _sum(Affine.of(self), -Affine.of(other))  # type: ignore[arg-type]

    def __rsub__(self, other: Scalar) -> Affine:
        return Affine.of(other) - self

    def __neg__(self) -> Affine:
        return Affine(tuple((m, -c) for m, c in Affine.of(self).terms))  # type: ignore[arg-type]

    def __mul__(self, other: Scalar) -> Affine:
        return _product(Affine.of(self), Affine.of(other))  # type: ignore[arg-type]

    def __rmul__(self, other: Scalar) -> Affine:
        return self * other


@dataclass(frozen=True, slots=True)
class Index(_Linear):
    """A loop variable, bound by one statement: its name need only be unique there. Its range is in the domain."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Size(_Linear):
    """A run-time extent of at least 1, read from the shapes of the inputs: ``n_batch``.

    With ``least=0`` a place that is known at run time only: where a thread's share of an axis begins.
    """

    name: str
    least: int = 1

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Read(_Linear):
    """One element of a tensor: ``x[b, j + 1]``. A scalar tensor has no subscripts."""

    tensor: str
    subscripts: tuple[Affine, ...] = ()

    def __str__(self) -> str:
        return f"{self.tensor}[{', '.join(map(str, self.subscripts))}]" if self.subscripts else self.tensor

    def substitute(self, mapping: Mapping[Index, Affine]) -> Read:
        return Read(self.tensor, tuple(s.substitute(mapping) for s in self.subscripts))


@dataclass(frozen=True, slots=True)
class FloorDiv(_Linear):
    """``numerator // divisor``, rounded down; the divisor is positive."""

    numerator: Affine
    divisor: Affine

    def __str__(self) -> str:
        return f"{_wrap(self.numerator)}//{_wrap(self.divisor)}"


@dataclass(frozen=True, slots=True)
class Mod(_Linear):
    """``numerator % divisor`` in ``[0, divisor)``; the divisor is positive."""

    numerator: Affine
    divisor: Affine

    def __str__(self) -> str:
        return f"{_wrap(self.numerator)} % {_wrap(self.divisor)}"


Atom = Index | Size | Read | FloorDiv | Mod
Monomial = tuple[Atom, ...]
Scalar = Union["Affine", Atom, int]

_RANK = {Index: 0, Read: 1, FloorDiv: 2, Mod: 3, Size: 4}


@cache
def _atom_key(atom: Atom) -> tuple[int, str]:
    return (_RANK[type(atom)], str(atom))


@cache
def _monomial_key(monomial: Monomial) -> tuple[bool, tuple[tuple[int, str], ...]]:
    return (not monomial, tuple(map(_atom_key, monomial)))  # the constant comes last


@dataclass(frozen=True, eq=False, repr=False)
class Affine(_Linear):
    """An integer polynomial as sorted ``(monomial, coefficient)`` pairs without zeros. Hashable, ordered, immutable."""

    terms: tuple[tuple[Monomial, int], ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "_hash", hash(self.terms))

    def __hash__(self) -> int:
        return self._hash  # type: ignore[attr-defined, no-any-return]

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Affine) and self.terms == other.terms)

    @staticmethod
    def of(value: Scalar) -> Affine:
        if isinstance(value, Affine):
            return value
        if isinstance(value, int):
            return Affine((((), value),)) if value else ZERO
        return Affine((((value,), 1),))

    @property
    def constant(self) -> int:
        return self.terms[-1][1] if self.terms and not self.terms[-1][0] else 0

    @property
    def is_constant(self) -> bool:
        return not self.terms or (len(self.terms) == 1 and not self.terms[0][0])

    def __int__(self) -> int:
        if not self.is_constant:
            raise ValueError(f"{self} is not a constant")
        return self.constant

    def as_index(self) -> Index | None:
        """The index that this is, if it is exactly one index with coefficient 1."""
        atom = self.as_atom()
        return atom if isinstance(atom, Index) else None

    def as_atom(self) -> Atom | None:
        if len(self.terms) == 1 and self.terms[0][1] == 1 and len(self.terms[0][0]) == 1:
            return self.terms[0][0][0]
        return None

    def plain_indices(self) -> tuple[Index, ...]:
        """Indices that occur linearly, outside reads and divisions, in the order they are written."""
        return self._indices[0]

    def hidden_indices(self) -> tuple[Index, ...]:
        """Indices that occur inside a read, a floor division or a remainder."""
        return self._indices[1]

    def indices(self) -> tuple[Index, ...]:
        return self._indices[2]

    def atoms(self) -> Iterator[Atom]:
        """Top-level atoms, once each."""
        yield from dict.fromkeys(a for m, _ in self.terms for a in m)

    def sizes(self) -> tuple[Size, ...]:
        """Every size in it, also those inside reads and divisions."""
        return self._sizes

    def reads(self) -> tuple[Read, ...]:
        """Every read in it, outermost first, nested ones included."""
        return self._reads

    @cached_property
    def _indices(self) -> tuple[tuple[Index, ...], tuple[Index, ...], tuple[Index, ...]]:
        plain: dict[Index, None] = {}
        hidden: dict[Index, None] = {}
        for atom in self.atoms():
            if isinstance(atom, Index):
                plain[atom] = None
            for part in _parts(atom):
                hidden.update(dict.fromkeys(part.indices()))
        return tuple(plain), tuple(hidden), tuple({**plain, **hidden})

    @cached_property
    def _sizes(self) -> tuple[Size, ...]:
        found: dict[Size, None] = {}
        for atom in self.atoms():
            if isinstance(atom, Size):
                found[atom] = None
            for part in _parts(atom):
                found.update(dict.fromkeys(part.sizes()))
        return tuple(found)

    @cached_property
    def _reads(self) -> tuple[Read, ...]:
        found: dict[Read, None] = {}
        for atom in self.atoms():
            if isinstance(atom, Read):
                found[atom] = None
            for part in _parts(atom):
                found.update(dict.fromkeys(part.reads()))
        return tuple(found)

    def coefficient(self, index: Index) -> Affine | None:
        """``c`` in ``c*index + rest`` where `c` and `rest` are free of `index`; None if it is not of that form."""
        if index in self.hidden_indices():
            return None
        terms = []
        for monomial, factor in self.terms:
            if index in monomial:
                rest = tuple(a for a in monomial if a != index)
                if len(rest) != len(monomial) - 1 or any(isinstance(a, Index) for a in rest):
                    return None
                terms.append((rest, factor))
        return _collect(terms)

    def without(self, index: Index) -> Affine:
        """The part that does not mention `index`."""
        return Affine(tuple((m, c) for m, c in self.terms if index not in m))

    def substitute(self, mapping: Mapping[Index, Affine]) -> Affine:
        """Replace indices everywhere, also inside reads and divisions."""
        if not any(i in mapping for i in self.indices()):
            return self
        atom = self.as_atom()
        if isinstance(atom, Index):  # as most subscripts are
            return mapping[atom]
        total = ZERO
        for monomial, factor in self.terms:
            term = Affine.of(factor)
            for atom in monomial:
                term = _product(term, _substitute_atom(atom, mapping))
            total = total + term
        return total

    def map_reads(self, change: Callable[[Read], Scalar]) -> Affine:
        """Replace every read, innermost first."""
        total = ZERO
        for monomial, factor in self.terms:
            term = Affine.of(factor)
            for atom in monomial:
                if isinstance(atom, Read):
                    inner = Read(atom.tensor, tuple(s.map_reads(change) for s in atom.subscripts))
                    term = term * change(inner)
                elif isinstance(atom, FloorDiv):
                    term = term * floor_div(atom.numerator.map_reads(change), atom.divisor)
                elif isinstance(atom, Mod):
                    term = term * mod(atom.numerator.map_reads(change), atom.divisor)
                else:
                    term = term * atom
            total = total + term
        return total

    def __str__(self) -> str:
        if not self.terms:
            return "0"
        parts: list[str] = []
        # Positive terms first, the constant last, unless it is all that is positive: 1 - u.
        constant_leads = self.constant > 0 and not any(m and c > 0 for m, c in self.terms)
        ordered = sorted(self.terms, key=lambda t: (not t[0] and not constant_leads, t[1] < 0, _monomial_key(t[0])))
        for monomial, factor in ordered:
            names = "*".join(_factor_text(a, len(monomial) > 1 or abs(factor) != 1) for a in monomial)
            magnitude = abs(factor)
            text = names if names and magnitude == 1 else f"{magnitude}*{names}" if names else str(magnitude)
            parts.append(f"{'-' if factor < 0 else '+'} {text}")
        first = parts[0]
        return " ".join([first[2:] if first[0] == "+" else f"-{first[2:]}", *parts[1:]])

    __repr__ = __str__


ZERO = Affine(())
ONE = Affine((((), 1),))


def floor_div(numerator: Scalar, divisor: Scalar) -> Affine:
    """``numerator // divisor``, simplified where every term divides."""
    n, d = Affine.of(numerator), Affine.of(divisor)
    if d == ONE:
        return n
    if d.is_constant:
        k = int(d)
        if all(c % k == 0 for _, c in n.terms):
            return Affine(tuple((m, c // k) for m, c in n.terms))
    return Affine.of(FloorDiv(n, d))


def mod(numerator: Scalar, divisor: Scalar) -> Affine:
    """``numerator % divisor``, simplified where every term divides."""
    n, d = Affine.of(numerator), Affine.of(divisor)
    if d.is_constant and all(c % int(d) == 0 for _, c in n.terms):
        return ZERO
    if d.is_constant and n.is_constant:
        return Affine.of(int(n) % int(d))
    return Affine.of(Mod(n, d))


def _parts(atom: Atom) -> tuple[Affine, ...]:
    if isinstance(atom, Read):
        return atom.subscripts
    if isinstance(atom, FloorDiv | Mod):
        return (atom.numerator, atom.divisor)
    return ()


def _substitute_atom(atom: Atom, mapping: Mapping[Index, Affine]) -> Affine:
    if isinstance(atom, Index):
        return mapping[atom] if atom in mapping else Affine.of(atom)
    if isinstance(atom, Read):
        return Affine.of(atom.substitute(mapping))
    if isinstance(atom, FloorDiv):
        return floor_div(atom.numerator.substitute(mapping), atom.divisor.substitute(mapping))
    if isinstance(atom, Mod):
        return mod(atom.numerator.substitute(mapping), atom.divisor.substitute(mapping))
    return Affine.of(atom)


def _collect(terms: Iterable[tuple[Monomial, int]]) -> Affine:
    total: dict[Monomial, int] = {}
    for monomial, factor in terms:
        total[monomial] = total.get(monomial, 0) + factor
    kept = [(m, c) for m, c in total.items() if c]
    kept.sort(key=lambda t: _monomial_key(t[0]))
    return Affine(tuple(kept)) if kept else ZERO


def _sum(one: Affine, other: Affine) -> Affine:
    if not one.terms or not other.terms:
        return one if one.terms else other
    return _collect((*one.terms, *other.terms))


def _product(a: Affine, b: Affine) -> Affine:
    if a == ONE:
        return b
    if b == ONE:
        return a
    return _collect(
        (tuple(sorted((*m, *n), key=_atom_key)) if m and n else m or n, c * d) for m, c in a.terms for n, d in b.terms
    )


def _wrap(value: Affine) -> str:
    text = str(value)
    return f"({text})" if len(value.terms) > 1 or text.startswith("-") or "*" in text else text


def _factor_text(atom: Atom, inside_product: bool) -> str:
    return f"({atom})" if inside_product and isinstance(atom, FloorDiv | Mod) else str(atom)

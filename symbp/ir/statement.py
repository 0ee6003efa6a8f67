"""The one statement form. Primal, adjoint, tangent and second-order equations all have it, so the transforms compose.

Statement  ::=  for free indices, where guards hold:   tensor[subscripts]  (= | +=)  reduction[reduced]  body
Range      ::=  index in [lower, stop)
Guard      ::=  value >= 0  |  value == 0  |  value divisible by k  |  a condition on data
Reduction  ::=  none | sum | max | argmax
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cached_property

from symbp.ir.affine import Affine, Index, Read
from symbp.ir.body import Body, Operand


class Reduction(Enum):
    NONE = "none"
    SUM = "sum"
    MAX = "max"
    ARGMAX = (
        "argmax"  # the row-major position, over the reduced indices, of the first maximum; -1 if no element is there
    )


@dataclass(frozen=True, slots=True)
class Range:
    """``lower <= index < stop``."""

    index: Index
    lower: Affine
    stop: Affine

    @property
    def extent(self) -> Affine:
        return self.stop - self.lower

    def __str__(self) -> str:
        return f"{self.lower} <= {self.index} < {self.stop}"


@dataclass(frozen=True, slots=True)
class NonNegative:
    """The guard ``value >= 0``."""

    value: Affine

    def substitute(self, mapping: Mapping[Index, Affine]) -> NonNegative:
        return NonNegative(self.value.substitute(mapping))


@dataclass(frozen=True, slots=True)
class Zero:
    """The guard ``value == 0``: a Kronecker delta, or ``r == argmax[..]`` when it reads data."""

    value: Affine

    def substitute(self, mapping: Mapping[Index, Affine]) -> Zero:
        return Zero(self.value.substitute(mapping))


@dataclass(frozen=True, slots=True)
class Divisible:
    """The guard ``value % by == 0``."""

    value: Affine
    by: int

    def substitute(self, mapping: Mapping[Index, Affine]) -> Divisible:
        return Divisible(self.value.substitute(mapping), self.by)


@dataclass(frozen=True, slots=True)
class Holds:
    """A condition on data: the body is a relation, such as ``x[b] > 0``."""

    condition: Body

    def substitute(self, mapping: Mapping[Index, Affine]) -> Holds:
        return Holds(self.condition.substitute(mapping))


Guard = NonNegative | Zero | Divisible | Holds


def guard_indices(guard: Guard) -> tuple[Index, ...]:
    return guard.condition.indices if isinstance(guard, Holds) else guard.value.indices()


def guard_reads(guard: Guard) -> tuple[Read, ...]:
    return guard.condition.all_reads if isinstance(guard, Holds) else guard.value.reads()


@dataclass(frozen=True, slots=True)
class Domain:
    """The box of ranges, cut by guards. Guards stay canonical; loop bounds are made from them only when lowering."""

    ranges: tuple[Range, ...] = ()
    guards: tuple[Guard, ...] = ()

    def range_of(self, index: Index) -> Range:
        return next(r for r in self.ranges if r.index == index)

    def substitute_guards(self, mapping: Mapping[Index, Affine]) -> tuple[Guard, ...]:
        return tuple(g.substitute(mapping) for g in self.guards)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a statement comes from, for messages and for the comments in generated code.

    `equation` is the user's own line, `layer` the layer that wrote it, `place` its file and line, `note` what a
    transform did ("weight gradient of hidden").
    """

    equation: str = ""
    layer: str = ""
    place: str = ""
    note: str = ""


@dataclass(frozen=True)
class Statement:
    """``for free, where guards:  tensor[subscripts] (=|+=) reduction over reduced of body``.

    `free` and `reduced` are in loop order; `domain` has one range for each of them. At most one reduction.
    """

    tensor: str
    subscripts: tuple[Affine, ...]
    free: tuple[Index, ...]
    body: Body
    domain: Domain
    reduced: tuple[Index, ...] = ()
    reduction: Reduction = Reduction.NONE
    accumulate: bool = False
    origin: Origin = field(default=Origin(), compare=False)

    @property
    def target(self) -> Read:
        return Read(self.tensor, self.subscripts)

    @property
    def guards(self) -> tuple[Guard, ...]:
        return self.domain.guards

    @property
    def indices(self) -> tuple[Index, ...]:
        return self.free + self.reduced

    @cached_property
    def reads(self) -> tuple[Read, ...]:
        """Every element that running the statement reads: body, subscripts on both sides, guards."""
        found: dict[Read, None] = dict.fromkeys(self.body.all_reads)
        for subscript in self.subscripts:
            found.update(dict.fromkeys(subscript.reads()))
        for guard in self.guards:
            found.update(dict.fromkeys(guard_reads(guard)))
        return tuple(found)

    @cached_property
    def tensors_read(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(r.tensor for r in self.reads))

    def rename(self, names: Mapping[Index, Index]) -> Statement:
        """Alpha-conversion: the same statement with other names for its own indices."""
        mapping = {old: Affine.of(new) for old, new in names.items()}
        ranges = tuple(
            Range(names.get(r.index, r.index), r.lower.substitute(mapping), r.stop.substitute(mapping))
            for r in self.domain.ranges
        )
        return replace(
            self,
            subscripts=tuple(s.substitute(mapping) for s in self.subscripts),
            free=tuple(names.get(i, i) for i in self.free),
            reduced=tuple(names.get(i, i) for i in self.reduced),
            body=self.body.substitute(mapping),
            domain=Domain(ranges, self.domain.substitute_guards(mapping)),
        )

    def map_elements(self, change: Callable[[Read], Read]) -> Statement:
        """Replace every element that is written or read, innermost first: in subscripts, the body and the guards."""

        mapped = ElementMap(change)
        target = mapped.element(self.target)
        return replace(
            self,
            tensor=target.tensor,
            subscripts=target.subscripts,
            body=self.body.map_operands(mapped.operand),
            domain=Domain(self.domain.ranges, tuple(map(mapped.guard, self.guards))),
        )

    def rename_apart(self, taken: Iterable[Index]) -> Statement:
        """Rename the statement's indices that clash with `taken`."""
        used = set(taken)
        names: dict[Index, Index] = {}
        for index in self.indices:
            if index in used:
                names[index] = fresh_index(index.name, {*used, *self.indices, *names.values()})
        return self.rename(names) if names else self


@dataclass(frozen=True, slots=True)
class ElementMap:
    """Replaces every element, innermost first, in whatever holds elements."""

    change: Callable[[Read], Read]

    def affine(self, value: Affine) -> Affine:
        return value.map_reads(self.change) if value.reads() else value

    def element(self, value: Read) -> Read:
        return self.change(Read(value.tensor, tuple(map(self.affine, value.subscripts))))

    def operand(self, value: Operand) -> Operand:
        return self.affine(value) if isinstance(value, Affine) else self.element(value)

    def guard(self, value: Guard) -> Guard:
        if isinstance(value, Holds):
            return Holds(value.condition.map_operands(self.operand))
        return replace(value, value=self.affine(value.value))


def fresh_index(hint: str, taken: Iterable[Index]) -> Index:
    """An index named after `hint` that is not in `taken`: ``j``, else ``j2``, ``j3``, .."""
    names = {i.name for i in taken}
    if hint not in names:
        return Index(hint)
    stem = hint.rstrip("0123456789") or hint
    number = 2
    while f"{stem}{number}" in names:
        number += 1
    return Index(f"{stem}{number}")

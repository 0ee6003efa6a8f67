"""The table of numbers that the loops of a product that slides go by, made of its subscripts and its arrays.

A table holds what a loop needs of an index: how many values it has, and how many elements each next one lies further
on in each array. Of a tap it says when it falls off an edge.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from llvmlite import ir
from numba.core import cgutils

from symbp.runtime.simd import INDEX
from symbp.runtime.subscripts import LEFT, OUT, RIGHT, Place, Roles, Subscripts

#: So many places and so long a window; what is missing has one value.
PLACES, WINDOW = 3, 4


class Table(NamedTuple):
    """Where the first elements of left, right and out lie, how many samples there are, and where the table lies."""

    left: Any
    right: Any
    out: Any
    lanes: Any
    numbers: Any


class _Step(NamedTuple):
    """Of an index: how many values it has, and how many elements the next one lies further on in each array."""

    count: Any
    left: Any
    right: Any
    out: Any


_ALONE = _Step(INDEX(1), INDEX(0), INDEX(0), INDEX(0))


def write_table(builder: Any, subscripts: Subscripts, roles: Roles, arrays: Sequence[Any], sums_lanes: bool) -> Table:
    """Write the code that fills the table; it lasts as long as the function.

    The row comes first, ``(count, left, out)``, then three places ``(count, left, right, out)`` and four taps
    ``(count, left, right, place, a, b, shift, size)``, which count where ``0 <= a*place + b*tap + shift < size``, with
    `place` the number of one of the places, or -1 for everywhere. If the sum runs over the lanes, there are four
    columns ``(count, right, out, place, a, b, shift, size)``, with `a` the factor of the column and `b` that of the
    place, before three places ``(count, left, right)``.
    """
    writer = _Writer(builder, subscripts, arrays)
    row, places = writer.row_and_places(roles)
    numbers = {name: PLACES - len(roles.places) + k for k, name in enumerate(roles.places)}
    window = [_ALONE] * (WINDOW - len(roles.window)) + [writer.step(i) for i in roles.window]
    bounds = [_EVERYWHERE] * (WINDOW - len(roles.window))
    bounds += [writer.bound(i, numbers, sums_lanes) for i in roles.window]
    values = [row.count, row.left, row.out]
    if sums_lanes:
        values += [v for s, bound in zip(window, bounds, strict=True) for v in (s.count, s.right, s.out, *bound)]
        values += [v for s in places for v in (s.count, s.left, s.right)]
    else:
        values += [v for s in places for v in s]
        values += [v for s, bound in zip(window, bounds, strict=True) for v in (s.count, s.left, s.right, *bound)]
    left, right, out = (writer.start(array) for array in (LEFT, RIGHT, OUT))
    return Table(left, right, out, writer.step(roles.lane).count, _stored(builder, values))


class _Bound(NamedTuple):
    place: Any
    a: Any
    b: Any
    shift: Any
    size: Any


_EVERYWHERE = _Bound(INDEX(-1), INDEX(0), INDEX(1), INDEX(0), INDEX(1))


class _Writer:
    def __init__(self, builder: Any, subscripts: Subscripts, arrays: Sequence[Any]) -> None:
        self._builder = builder
        self._subscripts = subscripts
        self._arrays = arrays
        self._extents = [cgutils.unpack_tuple(builder, a.shape) for a in arrays]
        self._strides = [cgutils.unpack_tuple(builder, a.strides) for a in arrays]

    def row_and_places(self, roles: Roles) -> tuple[_Step, list[_Step]]:
        """The row is the longest of those that could be; the others of them are places."""
        row, *others = [*map(self.step, roles.rows)] or [_ALONE]
        apart = {*roles.rows[1:]}
        places = [_ALONE] * (PLACES - len(roles.places)) + [self.step(i) for i in roles.places if i not in apart]
        for other in others:
            longer = self._builder.icmp_signed(">", other.count, row.count)
            places.append(self._choice(longer, row, other))
            row = self._choice(longer, other, row)
        return row, places

    def _choice(self, condition: Any, this: Any, that: Any) -> Any:
        return type(this)(*(self._builder.select(condition, a, b) for a, b in zip(this, that, strict=True)))

    def step(self, index: str) -> _Step:
        return _Step(self._count(index), *(self._moved(array, index) for array in (LEFT, RIGHT, OUT)))

    def _count(self, index: str) -> Any:
        place = self._subscripts.extent(index)
        assert place is not None, "asked when the subscripts were read"
        return self._extents[place.array][place.axis]

    def _moved(self, array: int, index: str) -> Any:
        """In elements."""
        factors = [s.factors.get(index, 0) for s in self._subscripts.arrays[array]]
        moved = self._sum(INDEX(0), factors, self._strides[array])
        return self._builder.sdiv(moved, self._arrays[array].itemsize, flags=["exact"])

    def start(self, array: int) -> Any:
        """The address of the element that has 0 for every index."""
        data = self._builder.ptrtoint(self._arrays[array].data, INDEX)
        return self._sum(data, [s.shift for s in self._subscripts.arrays[array]], self._strides[array])

    def _sum(self, start: Any, factors: Sequence[int], values: Sequence[Any]) -> Any:
        for factor, value in zip(factors, values, strict=True):
            if factor:
                start = self._builder.add(start, self._builder.mul(INDEX(factor), value))
        return start

    def bound(self, tap: str, numbers: dict[str, int], sums_lanes: bool) -> _Bound:
        """Where the tap stays in its array. The schedule sees to it that one axis at most is ever left."""
        found = _EVERYWHERE
        for place in self._subscripts.sliding(tap):
            subscript = self._subscripts.at(place)
            others = [i for i in subscript.factors if i != tap]
            if len(others) > 1 or any(i not in numbers for i in others) or (sums_lanes and not others):
                continue  # it cannot leave this axis
            of_tap, of_place = subscript.factors[tap], sum(subscript.factors[i] for i in others)
            a, b = (of_tap, of_place) if sums_lanes else (of_place, of_tap)
            number = numbers[others[0]] if others else 0
            size = self._extents[place.array][place.axis]
            bound = _Bound(INDEX(number), INDEX(a), INDEX(b), INDEX(subscript.shift), size)
            found = self._choice(self._stays_inside(place), found, bound)
        return found

    def _stays_inside(self, place: Place) -> Any:
        """True if no value of any index leads out of the axis."""
        subscript = self._subscripts.at(place)
        least = most = INDEX(subscript.shift)
        for index, factor in subscript.factors.items():
            farthest = self._builder.mul(INDEX(factor), self._builder.sub(self._count(index), INDEX(1)))
            if factor < 0:
                least = self._builder.add(least, farthest)
            else:
                most = self._builder.add(most, farthest)
        size = self._extents[place.array][place.axis]
        from_zero = self._builder.icmp_signed(">=", least, INDEX(0))
        return self._builder.and_(from_zero, self._builder.icmp_signed("<", most, size))


def _stored(builder: Any, values: Sequence[Any]) -> Any:
    table = cgutils.alloca_once(builder, ir.ArrayType(INDEX, len(values)))
    for k, value in enumerate(values):
        builder.store(value, builder.gep(table, [INDEX(0), INDEX(k)]))
    return builder.ptrtoint(table, INDEX)

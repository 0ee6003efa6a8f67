"""How the arrays of a product that slides are subscripted, as text.

    "o c u v, c p+u q+v b -> o p q b"       out[o, p, q, b] = sum[c, u, v] left[o, c, u, v]*right[c, p + u, q + v, b]

Axes are set apart by spaces, arrays by a comma and an arrow. A subscript is an index, or a sum of indices that may have
factors, and of a whole number: ``2*p+u-1``. Every index runs from 0 along an axis of which it is the whole subscript.
Whatever would lie outside an axis counts as zero.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

LEFT, RIGHT, OUT = 0, 1, 2
_TERM = re.compile(r"(?P<sign>[+-]?)(?:(?P<factor>\d+)\*)?(?P<index>[^\W\d]\w*)|(?P<shift>[+-]?\d+)")


class Place(NamedTuple):
    """Axis number `axis` of array number `array`: LEFT, RIGHT or OUT."""

    array: int
    axis: int


@dataclass(frozen=True)
class Subscript:
    """``sum factors*indices + shift``"""

    factors: dict[str, int]
    shift: int

    @property
    def alone(self) -> str | None:
        """The index that is all of it."""
        ((index, factor),) = self.factors.items() if len(self.factors) == 1 else ((None, 0),)
        return index if factor == 1 and self.shift == 0 else None


@dataclass(frozen=True)
class Subscripts:
    """Those of left, right and out, axis by axis."""

    arrays: tuple[tuple[Subscript, ...], ...]

    @staticmethod
    def read(text: str) -> Subscripts:
        """Raise ValueError unless the text has three parts and each index an axis of its own."""
        factors, arrow, out = text.partition("->")
        parts = [*factors.split(","), out]
        if not arrow or len(parts) != 3:
            raise ValueError(f"'{text}': expected 'left, right -> out'")
        found = Subscripts(tuple(tuple(map(_subscript, part.split())) for part in parts))
        lacking = [i for i in found.indices if found.extent(i) is None]
        if lacking:
            raise ValueError(f"'{text}': '{lacking[0]}' is nowhere the whole subscript of an axis")
        return found

    @property
    def indices(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(i for part in self.arrays for s in part for i in s.factors))

    def of(self, array: int) -> tuple[str, ...]:
        """The indices of one array, in the order of its axes."""
        return tuple(dict.fromkeys(i for s in self.arrays[array] for i in s.factors))

    def extent(self, index: str) -> Place | None:
        """An axis as long as the index runs."""
        places = (Place(a, k) for a, part in enumerate(self.arrays) for k, s in enumerate(part) if s.alone == index)
        return next(places, None)

    def sliding(self, index: str) -> tuple[Place, ...]:
        """The axes of left and right of which it is one part of the subscript: along these it may leave the array."""
        return tuple(
            Place(array, axis)
            for array in (LEFT, RIGHT)
            for axis, s in enumerate(self.arrays[array])
            if index in s.factors and s.alone is None
        )

    def at(self, place: Place) -> Subscript:
        return self.arrays[place.array][place.axis]


def _subscript(text: str) -> Subscript:
    factors: dict[str, int] = {}
    shift = position = 0
    while position < len(text):
        term = _TERM.match(text, position)
        if term is None or (position and text[position] not in "+-"):
            raise ValueError(f"subscript '{text}': expected a sum like 2*p+u-1")
        position = term.end()
        if term["shift"]:
            shift += int(term["shift"])
        else:
            factors[term["index"]] = factors.get(term["index"], 0) + int(f"{term['sign']}{term['factor'] or 1}")
    return Subscript(factors, shift)


# ---------------------------------------------------------------------------------------------------- who does what


@dataclass(frozen=True)
class Roles:
    """What each index does in a product: `lane` counts samples, the longest of `rows` the rows of a tile.

    The others are loops: `places` where something slides, and its `window`. Of `convolve` the window is summed, of
    `correlate` the places are.
    """

    lane: str
    rows: tuple[str, ...]
    places: tuple[str, ...]
    window: tuple[str, ...]


def convolve_roles(subscripts: Subscripts) -> Roles:
    """Of ``out[m, p, l] = sum[t] left[m, p, t]*right[p, t, l]``."""
    lane = _last(subscripts, RIGHT)
    made, summed = _made_and_summed(subscripts)
    if lane is None or lane != _last(subscripts, OUT) or lane in subscripts.of(LEFT):
        raise ValueError("right and out have the samples last, and left has none")
    rows = tuple(i for i in made if i != lane and _is_row(subscripts, i))
    places = tuple(i for i in made if i != lane and i not in rows[:1])
    return Roles(lane, rows, places, summed)


def correlate_roles(subscripts: Subscripts) -> Roles:
    """Of ``out[m, n] = sum[p, l] left[m, p, l]*right[n, p, l]``."""
    lane = _last(subscripts, RIGHT)
    made, _ = _made_and_summed(subscripts)
    if lane is None or lane != _last(subscripts, LEFT) or lane in made:
        raise ValueError("left and right have the samples last, and out has none")
    rows = tuple(i for i in made if i not in subscripts.of(RIGHT))
    window = tuple(i for i in made if i not in rows)
    if len(rows) > 1 or set(window) & set(subscripts.of(LEFT)):
        raise ValueError("out has one index of left alone, and else those of right alone")
    summed = (i for i in dict.fromkeys((*subscripts.of(RIGHT), *subscripts.of(LEFT))) if i not in made)
    return Roles(lane, rows, tuple(i for i in summed if i != lane), window)


def _last(subscripts: Subscripts, array: int) -> str | None:
    part = subscripts.arrays[array]
    return part[-1].alone if part else None


def _made_and_summed(subscripts: Subscripts) -> tuple[tuple[str, ...], tuple[str, ...]]:
    made = subscripts.of(OUT)
    return made, tuple(i for i in subscripts.indices if i not in made)


def _is_row(subscripts: Subscripts, index: str) -> bool:
    """True if the index moves `left` and `out` and nothing else, and cannot leave them."""
    if index not in subscripts.of(LEFT) or index in subscripts.of(RIGHT):
        return False
    return not subscripts.sliding(index)

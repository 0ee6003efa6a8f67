"""Products of something that slides with something that does not, where samples are the lanes of vector registers.

    convolve("o c u, c p+u b -> o p b", K, x, z)        z[o, p, b] = sum[c, u] K[o, c, u]*x[c, p + u, b]
    convolve("o c u, o i-u b -> c i b", K, z_bar, x_bar)                            the gradient of its input
    correlate("o p b, c p+u b -> o c u", z_bar, x, K_bar)                           the gradient of its kernel

The last axis, here `b`, counts samples: neighbours in memory do the same work on different samples, so that no window,
stride or odd extent ever leaves a register half empty, and nothing is copied into patches. A tap that would fall off an
edge is left out, so that padding costs nothing.

Each element of `convolve` is one chain of fused multiply-adds in the order of the taps: it depends on its own sample
alone, however many lie beside it. `correlate` adds up as many partial sums as a register has lanes, and then these; its
bits depend on the number of samples alone. One thread; on one core of a Zen 5 (AVX-512) in float32, with 16 to 128
samples, `convolve` ran at 190 to 250 GFLOP/s and `correlate` at 80 to 160.
"""

# mypy: disable-error-code="call-arg, no-untyped-def, no-untyped-call, var-annotated"

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import types
from numba.core.errors import TypingError
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

from symbp.runtime.jit import kernel
from symbp.runtime.shared_code import shared_parts
from symbp.runtime.simd import INDEX, scalar_of
from symbp.runtime.sliding_table import write_table
from symbp.runtime.sliding_tiles import (
    ROWS,
    VECTOR_BYTES,
    WIDEST,
    convolve_tile,
    correlate_tile,
    itemsize,
    number,
    numbers,
)
from symbp.runtime.subscripts import Roles, Subscripts, convolve_roles, correlate_roles

_IN_ORDER: dict[str, Any] = {"fastmath": False, "cache": False, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
# The most rows of a tile by its columns; tiles of four exist only where there are registers for them.
_ROWS_1, _ROWS_2, _ROWS_4 = (ROWS.get(columns, 1) for columns in (1, 2, 4))
# Where the parts of a table begin (see `write_table`).
_ROW, _PLACES, _TAPS = 0, 3, 15
_COLUMNS, _SUMMED = 3, 35


# ------------------------------------------------------------------------------------------------------------- bounds


@kernel(**_IN_ORDER)
def _from(bound, steps, place):
    """The first of `steps` taps t with ``0 <= a*place + b*t + shift < size``; `bound` is where these numbers are."""
    b, value = number(bound, 1), number(bound, 0) * place + number(bound, 2)
    first = -(value // b) if b > 0 else -((number(bound, 3) - 1 - value) // -b)
    return min(max(first, 0), steps)


@kernel(**_IN_ORDER)
def _to(bound, steps, place):
    """One past the last of `steps` taps t with ``0 <= a*place + b*t + shift < size``."""
    b, value = number(bound, 1), number(bound, 0) * place + number(bound, 2)
    last = (number(bound, 3) - 1 - value) // b if b > 0 else value // -b
    return min(max(last + 1, 0), steps)


@kernel(**_IN_ORDER)
def _inside(tap, i, j, k):
    """The first tap that counts at the place (i, j, k), and one past the last."""
    steps, level = number(tap, 0), number(tap, 3)
    if level < 0:
        return 0, steps
    place = i if level == 0 else j if level == 1 else k
    first = _from(tap + 32, steps, place)
    return first, max(first, _to(tap + 32, steps, place))


@kernel(**_IN_ORDER)
def _same_taps(taps, i, j, k, other):
    """True if the same taps count at the places (i, j, k) and (i, j, other)."""
    for t in range(4):
        if number(taps, 8 * t + 3) == 2 and _inside(taps + 64 * t, i, j, k) != _inside(taps + 64 * t, i, j, other):
            return False
    return True


# ----------------------------------------------------------------------------------------------------------- convolve


@shared_parts
def _convolve(like, left, right, out, lanes, table, adds):
    """For each place all rows and lanes; neighbouring places with the same taps are so many more lanes."""
    size = itemsize(like)
    width = VECTOR_BYTES // size
    places, taps = table + 8 * _PLACES, table + 8 * _TAPS
    rows, left_row, out_row = number(table, _ROW), number(table, _ROW + 1), number(table, _ROW + 2)
    n_k = number(places, 8)
    merges = number(places, 9) == 0 and number(places, 10) == lanes and number(places, 11) == lanes
    for i in range(number(places, 0)):
        for j in range(number(places, 4)):
            k = 0
            while k < n_k:
                run = 1
                while merges and k + run < n_k and _same_taps(taps, i, j, k, k + run):
                    run += 1
                first_0, last_0 = _inside(taps, i, j, k)
                first_1, last_1 = _inside(taps + 64, i, j, k)
                first_2, last_2 = _inside(taps + 128, i, j, k)
                first_3, last_3 = _inside(taps + 192, i, j, k)
                left_at = i * number(places, 1) + j * number(places, 5) + k * number(places, 9)
                left_at += first_0 * number(taps, 1) + first_1 * number(taps, 9)
                left_at += first_2 * number(taps, 17) + first_3 * number(taps, 25)
                right_at = i * number(places, 2) + j * number(places, 6) + k * number(places, 10)
                right_at += first_0 * number(taps, 2) + first_1 * number(taps, 10)
                right_at += first_2 * number(taps, 18) + first_3 * number(taps, 26)
                out_at = i * number(places, 3) + j * number(places, 7) + k * number(places, 11)
                steps = numbers(
                    (
                        (last_0 - first_0, number(taps, 1), number(taps, 2)),
                        (last_1 - first_1, number(taps, 9), number(taps, 10)),
                        (last_2 - first_2, number(taps, 17), number(taps, 18)),
                        (last_3 - first_3, number(taps, 25), number(taps, 26)),
                    )
                )
                at, end = 0, run * lanes
                while at < end:
                    vectors = (end - at + width - 1) // width
                    columns = _columns(vectors)
                    taken = min(end - at, columns * width)
                    tiles = _tiles(rows, columns)
                    here, there = (right_at + at) * size, (out_at + at) * size
                    row = 0
                    for tile in range(tiles):
                        height = (rows - row + tiles - tile - 1) // (tiles - tile)
                        convolve_tile(
                            like,
                            height,
                            columns,
                            left + (left_at + row * left_row) * size,
                            left_row,
                            right + here,
                            out + there + row * out_row * size,
                            out_row,
                            taken,
                            steps,
                            adds,
                        )
                        row += height
                    at += taken
                k += run


@kernel(**_IN_ORDER)
def _columns(left_over):
    """How many columns the next tile has."""
    return 4 if left_over >= 4 and WIDEST == 4 else min(left_over, 2)


@kernel(**_IN_ORDER)
def _tiles(rows, columns):
    """How many tiles one below the other make up the rows."""
    most = _ROWS_4 if columns == 4 else _ROWS_2 if columns == 2 else _ROWS_1
    return (rows + most - 1) // most


# ---------------------------------------------------------------------------------------------------------- correlate


@kernel(**_IN_ORDER)
def _together(columns, level):
    """How many columns of one index no bound tells apart."""
    return 1 if number(columns, 8 * level + 3) >= 0 else number(columns, 8 * level)


@kernel(**_IN_ORDER)
def _column(flat, columns, what):
    """How far in `right` (1) or `out` (2) one of the columns lies that no bound tells apart."""
    offset = 0
    for level in range(3, -1, -1):
        count = _together(columns, level)
        offset += flat % count * number(columns, 8 * level + what)
        flat //= count
    return offset


@kernel(**_IN_ORDER)
def _within(axis, steps, columns, c_0, c_1, c_2, c_3):
    """The places along one axis that count for a column, first and one past the last."""
    first, last = 0, steps
    for level in range(4):
        if number(columns, 8 * level + 3) == axis:
            at = c_0 if level == 0 else c_1 if level == 1 else c_2 if level == 2 else c_3
            bound = columns + 64 * level + 32
            first = max(first, _from(bound, steps, at))
            last = min(last, _to(bound, steps, at))
    return first, max(first, last)


@shared_parts
def _correlate(like, left, right, out, lanes, table, adds):
    """Columns that a bound tells apart come one by one, all others in tiles; the sum runs inside."""
    size = itemsize(like)
    columns, places = table + 8 * _COLUMNS, table + 8 * _SUMMED
    rows, left_row, out_row = number(table, _ROW), number(table, _ROW + 1), number(table, _ROW + 2)
    merges = number(places, 7) == lanes and number(places, 8) == lanes
    together = _together(columns, 0) * _together(columns, 1) * _together(columns, 2) * _together(columns, 3)
    for c_0 in range(number(columns, 0) if number(columns, 3) >= 0 else 1):
        for c_1 in range(number(columns, 8) if number(columns, 11) >= 0 else 1):
            for c_2 in range(number(columns, 16) if number(columns, 19) >= 0 else 1):
                for c_3 in range(number(columns, 24) if number(columns, 27) >= 0 else 1):
                    first_i, last_i = _within(0, number(places, 0), columns, c_0, c_1, c_2, c_3)
                    first_j, last_j = _within(1, number(places, 3), columns, c_0, c_1, c_2, c_3)
                    first_k, last_k = _within(2, number(places, 6), columns, c_0, c_1, c_2, c_3)
                    left_at = first_i * number(places, 1)
                    left_at += first_j * number(places, 4) + first_k * number(places, 7)
                    base = first_i * number(places, 2)
                    base += first_j * number(places, 5) + first_k * number(places, 8)
                    base += c_0 * number(columns, 1) + c_1 * number(columns, 9)
                    base += c_2 * number(columns, 17) + c_3 * number(columns, 25)
                    to = c_0 * number(columns, 2) + c_1 * number(columns, 10)
                    to += c_2 * number(columns, 18) + c_3 * number(columns, 26)
                    many = last_k - first_k
                    run = many * lanes if merges else lanes
                    steps = (
                        (last_i - first_i, number(places, 1), number(places, 2)),
                        (last_j - first_j, number(places, 4), number(places, 5)),
                        (min(many, 1) if merges else many, number(places, 7), number(places, 8)),
                    )
                    n = 0
                    while n < together:
                        width = _columns(together - n)
                        # Of a narrower tile the last entries are not looked at.
                        n_1, n_2, n_3 = (min(n + 1, together - 1), min(n + 2, together - 1), min(n + 3, together - 1))
                        tables = numbers(
                            (
                                steps,
                                (base + _column(n, columns, 1), to + _column(n, columns, 2)),
                                (base + _column(n_1, columns, 1), to + _column(n_1, columns, 2)),
                                (base + _column(n_2, columns, 1), to + _column(n_2, columns, 2)),
                                (base + _column(n_3, columns, 1), to + _column(n_3, columns, 2)),
                            )
                        )
                        tiles = _tiles(rows, width)
                        row = 0
                        for tile in range(tiles):
                            height = (rows - row + tiles - tile - 1) // (tiles - tile)
                            correlate_tile(
                                like,
                                height,
                                width,
                                left + (left_at + row * left_row) * size,
                                left_row,
                                right,
                                out + row * out_row * size,
                                out_row,
                                run,
                                tables,
                                adds,
                            )
                            row += height
                        n += width


# ------------------------------------------------------------------------------------------------------- what is called


@intrinsic(prefer_literal=True)
def convolve(typing_context: Any, subscripts: Any, left: Any, right: Any, out: Any) -> Any:
    """``out[m, p, l] = sum[t] left[m, p, t]*right[p, t, l]``, with subscripts as `symbp.runtime.subscripts` reads them.

    Arrays are of one float dtype, and samples, the last axis of `right` and `out`, lie side by side. There are up to
    three places p, and up to four indices t in a window. Nothing of the arrays is checked.
    """
    return _call(subscripts, (left, right, out), convolve_roles, _convolve, adds=False)


@intrinsic(prefer_literal=True)
def convolve_add(typing_context: Any, subscripts: Any, left: Any, right: Any, out: Any) -> Any:
    """``out[m, p, l] += ..``; the rest as in :func:`convolve`."""
    return _call(subscripts, (left, right, out), convolve_roles, _convolve, adds=True)


@intrinsic(prefer_literal=True)
def correlate(typing_context: Any, subscripts: Any, left: Any, right: Any, out: Any) -> Any:
    """``out[m, n] = sum[p, l] left[m, p, l]*right[n, p, l]``, summed over samples, the last axis of `left` and `right`.

    As :func:`convolve`, but for the window, which is n.
    """
    return _call(subscripts, (left, right, out), correlate_roles, _correlate, adds=False)


@intrinsic(prefer_literal=True)
def correlate_add(typing_context: Any, subscripts: Any, left: Any, right: Any, out: Any) -> Any:
    """``out[m, n] += ..``; the rest as in :func:`correlate`."""
    return _call(subscripts, (left, right, out), correlate_roles, _correlate, adds=True)


def _call(
    text: Any, arrays: tuple[Any, ...], roles: Callable[[Subscripts], Roles], parts: dict[Any, Any], *, adds: bool
) -> Any:
    """A table for the arrays, and a call with it."""
    if not isinstance(text, types.StringLiteral):
        return None
    try:
        subscripts = Subscripts.read(text.literal_value)
        found = roles(subscripts)
    except ValueError as error:
        raise TypingError(str(error)) from None

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        given = [make_array(kind)(context, builder, value) for kind, value in zip(arrays, arguments[1:], strict=True)]
        table = write_table(builder, subscripts, found, given, sums_lanes=roles is correlate_roles)
        part = parts[arrays[-1].dtype]
        part.call(builder, [scalar_of(arrays[-1].dtype)(0.0), *table, INDEX(int(adds))])
        return context.get_dummy_value()

    return types.void(text, *arrays), generate

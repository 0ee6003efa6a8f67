"""Products of something that slides with something that does not, where samples are the lanes of vector registers.

    out[m, p, l]  (=|+=)  sum[t] left[m, p, t]*right[p + t, l]        convolve: its input's gradient is one, too
    out[m, n]     (=|+=)  sum[p, l] left[m, p, l]*right[n + p, l]     correlate: the gradient of its kernel

The last axis, `l`, counts samples: neighbours in memory do the same work on different samples, so that no window,
stride or odd extent ever leaves a register half empty, and nothing is copied into patches. All other axes are steps
through flat memory, given as numbers: how far a row, a place, a tap lies from the next. A tap that would fall off an
edge is left out, as its bound says, so that padding costs nothing.

Each element of `convolve` is one chain of fused multiply-adds in the order of the taps: it depends on its own sample
alone, however many lie beside it. `correlate` adds up as many partial sums as a register has lanes, and then these; its
bits depend on the number of samples alone. One thread; on one core of a Zen 5 (AVX-512) in float32, with 16 to 128
samples, `convolve` ran at 190 to 250 GFLOP/s and `correlate` at 80 to 160.
"""

# mypy: disable-error-code="call-arg, no-untyped-def, no-untyped-call, var-annotated"

from __future__ import annotations

from typing import Any

from symbp.runtime.jit import kernel
from symbp.runtime.shared_code import shared
from symbp.runtime.sliding_tiles import (
    ROWS,
    VECTOR_BYTES,
    WIDEST,
    address,
    convolve_tile,
    correlate_tile,
    itemsize,
    number,
    numbers,
)

_IN_ORDER: dict[str, Any] = {"fastmath": False, "cache": False, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
# The most rows of a tile by its columns; tiles of four exist only where there are registers for them.
_ROWS_1, _ROWS_2, _ROWS_4 = (ROWS.get(columns, 1) for columns in (1, 2, 4))
# Where the parts of a table begin: after start and row; a place has four numbers, a tap or column has eight.
_START, _ROW, _PLACES, _TAPS = 0, 3, 6, 18
_COLUMNS, _SUMMED = 6, 38


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


@shared
def _convolve(like, left, right, out, lanes, table, adds):
    """For each place all rows and lanes; neighbouring places with the same taps are so many more lanes."""
    size = itemsize(like)
    width = VECTOR_BYTES // size
    places, taps = table + 8 * _PLACES, table + 8 * _TAPS
    rows, left_row, out_row = number(table, _ROW), number(table, _ROW + 1), number(table, _ROW + 2) * lanes
    n_k = number(places, 8)
    merges = number(places, 9) == 0 and number(places, 10) == 1 and number(places, 11) == 1
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
                left_at = number(table, 0) + i * number(places, 1) + j * number(places, 5) + k * number(places, 9)
                left_at += first_0 * number(taps, 1) + first_1 * number(taps, 9)
                left_at += first_2 * number(taps, 17) + first_3 * number(taps, 25)
                right_at = number(table, 1) + i * number(places, 2) + j * number(places, 6) + k * number(places, 10)
                right_at += first_0 * number(taps, 2) + first_1 * number(taps, 10)
                right_at += first_2 * number(taps, 18) + first_3 * number(taps, 26)
                out_at = number(table, 2) + i * number(places, 3) + j * number(places, 7) + k * number(places, 11)
                steps = numbers(
                    (
                        (last_0 - first_0, number(taps, 1), number(taps, 2) * lanes),
                        (last_1 - first_1, number(taps, 9), number(taps, 10) * lanes),
                        (last_2 - first_2, number(taps, 17), number(taps, 18) * lanes),
                        (last_3 - first_3, number(taps, 25), number(taps, 26) * lanes),
                    )
                )
                at, end = 0, run * lanes
                while at < end:
                    vectors = (end - at + width - 1) // width
                    columns = _columns(vectors)
                    taken = min(end - at, columns * width)
                    tiles = _tiles(rows, columns)
                    here, there = (right_at * lanes + at) * size, (out_at * lanes + at) * size
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


@shared
def _correlate(like, left, right, out, lanes, table, adds):
    """Columns that a bound tells apart come one by one, all others in tiles; the sum runs inside."""
    size = itemsize(like)
    columns, places = table + 8 * _COLUMNS, table + 8 * _SUMMED
    rows, left_row, out_row = number(table, _ROW), number(table, _ROW + 1) * lanes, number(table, _ROW + 2)
    merges = number(places, 7) == 1 and number(places, 8) == 1
    together = _together(columns, 0) * _together(columns, 1) * _together(columns, 2) * _together(columns, 3)
    for c_0 in range(number(columns, 0) if number(columns, 3) >= 0 else 1):
        for c_1 in range(number(columns, 8) if number(columns, 11) >= 0 else 1):
            for c_2 in range(number(columns, 16) if number(columns, 19) >= 0 else 1):
                for c_3 in range(number(columns, 24) if number(columns, 27) >= 0 else 1):
                    first_i, last_i = _within(0, number(places, 0), columns, c_0, c_1, c_2, c_3)
                    first_j, last_j = _within(1, number(places, 3), columns, c_0, c_1, c_2, c_3)
                    first_k, last_k = _within(2, number(places, 6), columns, c_0, c_1, c_2, c_3)
                    left_at = number(table, 0) + first_i * number(places, 1)
                    left_at += first_j * number(places, 4) + first_k * number(places, 7)
                    base = number(table, 1) + first_i * number(places, 2)
                    base += first_j * number(places, 5) + first_k * number(places, 8)
                    base += c_0 * number(columns, 1) + c_1 * number(columns, 9)
                    base += c_2 * number(columns, 17) + c_3 * number(columns, 25)
                    to = number(table, 2) + c_0 * number(columns, 2) + c_1 * number(columns, 10)
                    to += c_2 * number(columns, 18) + c_3 * number(columns, 26)
                    many = last_k - first_k
                    run = many * lanes if merges else lanes
                    steps = (
                        (last_i - first_i, number(places, 1) * lanes, number(places, 2) * lanes),
                        (last_j - first_j, number(places, 4) * lanes, number(places, 5) * lanes),
                        (min(many, 1) if merges else many, number(places, 7) * lanes, number(places, 8) * lanes),
                    )
                    n = 0
                    while n < together:
                        width = _columns(together - n)
                        # Of a narrower tile the last entries are not looked at.
                        n_1, n_2, n_3 = (min(n + 1, together - 1), min(n + 2, together - 1), min(n + 3, together - 1))
                        tables = numbers(
                            (
                                steps,
                                ((base + _column(n, columns, 1)) * lanes, to + _column(n, columns, 2)),
                                ((base + _column(n_1, columns, 1)) * lanes, to + _column(n_1, columns, 2)),
                                ((base + _column(n_2, columns, 1)) * lanes, to + _column(n_2, columns, 2)),
                                ((base + _column(n_3, columns, 1)) * lanes, to + _column(n_3, columns, 2)),
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
                                left + (left_at * lanes + row * left_row) * size,
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


@kernel(inline="always", cache=False)
def convolve(left, right, out, lanes, start, row, places, taps):
    """``out[m, p, l] = sum[t] left[m, p, t]*right[p, t, l]``, a product with something that slides.

    Arrays are C-contiguous and of one float dtype; `right` and `out` end in an axis of `lanes` samples. `start` says
    where the first elements of left, right and out lie. Then indices, each with how many values it has and how far each
    next one lies: `row` ``(count, left, out)``, three `places` ``(count, left, right, out)``, and four `taps`
    ``(count, left, right, place, a, b, shift, size)``, which count where ``0 <= a*place + b*tap + shift < size``, with
    `place` the number of one of the places, or -1 for everywhere. Distances in `right` and `out` are in multiples of
    `lanes`. Nothing is checked.
    """
    like = out.dtype.type(0)
    table = numbers((start, row, places, taps))
    _convolve(like, (address(left), address(right), address(out), lanes, table, 0))


@kernel(inline="always", cache=False)
def convolve_add(left, right, out, lanes, start, row, places, taps):
    """``out[m, p, l] += ..``; the rest as in :func:`convolve`."""
    like = out.dtype.type(0)
    table = numbers((start, row, places, taps))
    _convolve(like, (address(left), address(right), address(out), lanes, table, 1))


@kernel(inline="always", cache=False)
def correlate(left, right, out, lanes, start, row, columns, places):
    """``out[m, n] = sum[p, l] left[m, p, l]*right[n, p, l]``, summed over samples.

    As :func:`convolve`, but for `left` and `right` ending in the axis of samples: four `columns`
    ``(count, right, out, place, a, b, shift, size)``, of whose sums the places with ``0 <= a*column + b*place + shift <
    size`` are part, and three `places` ``(count, left, right)``.
    """
    like = out.dtype.type(0)
    table = numbers((start, row, columns, places))
    _correlate(like, (address(left), address(right), address(out), lanes, table, 0))


@kernel(inline="always", cache=False)
def correlate_add(left, right, out, lanes, start, row, columns, places):
    """``out[m, n] += ..``; the rest as in :func:`correlate`."""
    like = out.dtype.type(0)
    table = numbers((start, row, columns, places))
    _correlate(like, (address(left), address(right), address(out), lanes, table, 1))

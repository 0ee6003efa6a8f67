"""Products of which a triangle is empty: a causal mask leaves half of the scores, and half of the weights.

By the tiles of :mod:`symbp.runtime.product`: tiles that are empty are passed over, those on the diagonal are cut.
"""

# mypy: disable-error-code="call-arg, no-untyped-def, no-untyped-call, var-annotated"

from __future__ import annotations

from numba import njit

from symbp.runtime.addresses import allocate, itemsize, release
from symbp.runtime.product import OPTIONS_IN_ORDER, copy_back, pack_lines, panel, rows_of_tile, widest_panel
from symbp.runtime.shared_code import shared, shared_parts
from symbp.runtime.simd import lanes
from symbp.runtime.tiles import guarded_tile

LOWER, OF_LOWER, OF_UPPER = 0, 1, 2
# Farther from the diagonal than any row of a tile.
_FAR = 64
# Rows of a band that has a jagged edge: low tiles waste less on it, and six rows keep the arithmetic units busy.
_LOW = 6


@njit(**OPTIONS_IN_ORDER)
def _band(like, m, k, vectors, a, a0, a1, b, b0, c, c0, columns, fresh):
    """A rectangle of the product: m rows, and as many k."""
    most = rows_of_tile(vectors)
    panel(like, (m, most, vectors, k, a, a0, a1, b, b0, c, c0, columns, columns, 0, fresh))


@shared
def _edge(like, m, k, vectors, a, a0, a1, b, b0, c, c0, columns, fresh, sign, bound):
    """What is on the diagonal: row i takes part in step k if ``sign*(k - i) <= bound``."""
    if k > 0 or fresh:
        guarded_tile(like, m, vectors, k, a, a0, a1, b, b0, c, c0, columns, fresh, sign, bound)


def triangular_product(like, m, n, k, a, a0, a1, b, b0, b1, c, c0, c1, kind, shift, fresh):
    """``c[i, j] (+)= sum[k] a[i, k]*b[k, j]`` for some of the elements, or over some of k.

    `kind` LOWER: for ``j <= i + shift``; OF_LOWER: over ``k <= i + shift``; OF_UPPER: over ``k >= i + shift``. The
    other arguments are those of :func:`symbp.runtime.product.product`.
    """
    size, full = itemsize(like), lanes(like)
    if m <= 0 or n <= 0:
        return
    # Room for a copy of B, and of C, with contiguous rows.
    room_b = k * n * size if b1 != size and n > 1 else 0
    room_c = m * n * size if c1 != size and n > 1 else 0
    heap = allocate(room_b + room_c) if room_b + room_c else 0
    if room_b:
        pack_lines(like, (b, b1, b0, n, k, heap, n * size))
        b, b0 = heap, n * size
    target, down = c, c0
    if room_c:
        target, down = heap + room_b, n * size
        pack_lines(like, (c, c1, c0, n, m, target, down))
    j = 0
    while j < n:
        vectors = widest_panel((n - j + full - 1) // full)
        if kind == LOWER:  # a wide panel has more elements on the wrong side of the diagonal
            vectors = min(vectors, 2)
        columns = min(n - j, vectors * full)
        most = rows_of_tile(vectors)
        bj, cj = b + j * size, target + j * size
        i = 0
        if kind == LOWER:
            i = min(m, max(0, j - shift))
            if i < m:
                ai, ci, end = a + i * a0, cj + i * down, i + shift + 1 - j
                panel(like, (m - i, most, vectors, k, ai, a0, a1, bj, b0, ci, down, columns, end, 1, fresh))
        while kind != LOWER and i < m:
            # What all rows of the band have in common, and after or before it what only some of them have.
            rows = min(_LOW, m - i)
            ai, ci = a + i * a0, cj + i * down
            if kind == OF_LOWER:
                first = min(k, max(0, i + shift + 1))
                last = min(k, max(0, i + rows + shift))
                bound = max(-_FAR, i + shift - first)
                _band(like, rows, first, vectors, ai, a0, a1, bj, b0, ci, down, columns, fresh)
                ai, bi = ai + first * a1, bj + first * b0
                _edge(like, (rows, last - first, vectors, ai, a0, a1, bi, b0, ci, down, columns, 0, 1, bound))
            else:
                first = min(k, max(0, i + shift))
                last = min(k, max(0, i + rows - 1 + shift))
                bound = min(_FAR, first - i - shift)
                ae, be = ai + first * a1, bj + first * b0
                _edge(like, (rows, last - first, vectors, ae, a0, a1, be, b0, ci, down, columns, fresh, -1, bound))
                ai, bi = ai + last * a1, bj + last * b0
                _band(like, rows, k - last, vectors, ai, a0, a1, bi, b0, ci, down, columns, 0)
            i += rows
        j += columns
    if room_c:
        copy_back(like, m, n, target, c, c0, c1)
    if heap:
        release(heap)


TRIANGULAR_PRODUCT = shared_parts(triangular_product)

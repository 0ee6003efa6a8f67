"""Products of which a triangle is empty: a causal mask leaves half of the scores, and half of the weights.

By the tiles of :mod:`symbp.runtime.product`: tiles that are empty are passed over, those on the diagonal are cut.
"""

# mypy: disable-error-code="call-arg, no-untyped-def, no-untyped-call, var-annotated"

from __future__ import annotations

from numba import njit

from symbp.runtime.addresses import allocate, itemsize, release
from symbp.runtime.product import OPTIONS_IN_ORDER, copy_back, pack_lines, panel, rows_of_tile, widest_panel
from symbp.runtime.shared_code import shared_parts
from symbp.runtime.simd import lanes

LOWER, OF_LOWER, OF_UPPER = 0, 1, 2


@njit(**OPTIONS_IN_ORDER)
def _band(like, m, k, vectors, a, a0, a1, b, b0, c, c0, columns, fresh):
    """A rectangle of the product: m rows, and as many k."""
    most = rows_of_tile(vectors)
    panel(like, (m, most, vectors, k, a, a0, a1, b, b0, c, c0, columns, columns, 0, fresh))


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
            # What all rows of the band have in common, and before or after it what each has besides.
            rows = min(most, m - i)
            ai, ci = a + i * a0, cj + i * down
            if kind == OF_LOWER:
                split = min(k, max(0, i + shift + 1))
                _band(like, rows, split, vectors, ai, a0, a1, bj, b0, ci, down, columns, fresh)
            else:
                split = min(k, max(0, i + rows - 1 + shift))
            for r in range(rows):
                edge = min(k, max(0, i + r + shift + (kind == OF_LOWER)))
                first, last = min(split, edge), max(split, edge)
                ar, br, cr = ai + r * a0 + first * a1, bj + first * b0, ci + r * down
                _band(like, 1, last - first, vectors, ar, a0, a1, br, b0, cr, down, columns, fresh * (kind == OF_UPPER))
            if kind == OF_UPPER:
                ai, bi = ai + split * a1, bj + split * b0
                _band(like, rows, k - split, vectors, ai, a0, a1, bi, b0, ci, down, columns, 0)
            i += rows
        j += columns
    if room_c:
        copy_back(like, m, n, target, c, c0, c1)
    if heap:
        release(heap)


TRIANGULAR_PRODUCT = shared_parts(triangular_product)

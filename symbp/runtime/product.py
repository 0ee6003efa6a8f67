"""A matrix product by register tiles: which operand is turned or packed, and in which blocks it runs.

`by_tiles` blocks k so that a panel of B stays near, as Goto and van de Geijn do (Anatomy of High-Performance Matrix
Multiplication, 2008), but packs no more than B, and that only where its rows are not contiguous or it is large: A is
read in place at full speed in either order.

All functions here work on addresses, and steps in bytes; `like` is a zero of the dtype.
"""

# mypy: disable-error-code="call-arg, no-untyped-def, no-untyped-call, var-annotated"

from __future__ import annotations

from numba import njit

from symbp.runtime.addresses import (
    allocate,
    get,
    get_vector,
    itemsize,
    put,
    put_vector,
    release,
    stack_room,
    transpose_block,
)
from symbp.runtime.jit import OPTIONS
from symbp.runtime.shared_code import shared, shared_parts
from symbp.runtime.simd import add, broadcast, fmuladd, horizontal_sum, lanes
from symbp.runtime.tiles import ROWS, WIDEST, tiles

_ROWS_4, _ROWS_2, _ROWS_1 = ROWS.get(4, 1), ROWS[2], ROWS[1]
# No fastmath: the order of operations is a promise.
OPTIONS_IN_ORDER = {**OPTIONS, "fastmath": False}
# A panel of B as high as this and four vectors of AVX-512 wide is 64 KB.
_BLOCK_K = 256
# A packed block of B is at most 2 MB in float32.
_BLOCK_COLUMNS = 2048
# A larger B does not stay in the second cache level: it pays to pack it where so many rows of A go over it.
_LARGE = 2 << 20
_MANY_ROWS = 256
# A packed block of B that fits into this many bytes lies on the stack.
_STACK = 32768


@shared
def pack_lines(like, source, line, across, lines, depth, target, target_step):
    """``target[k, x] = source[x, k]`` for x < lines, k < depth; `line` and `across` are the source's steps for x, k."""
    size = itemsize(like)
    full = lanes(like)
    if line == size:
        for k in range(depth):
            x = 0
            while x < lines:
                put_vector(
                    target + k * target_step + x * size,
                    get_vector(like, source + k * across + x * size, lines - x),
                    lines - x,
                )
                x += full
    elif across == size:
        for x in range(0, lines, full):
            for k in range(0, depth, full):
                transpose_block(
                    like,
                    source + x * line + k * size,
                    line,
                    min(full, lines - x),
                    min(full, depth - k),
                    target + k * target_step + x * size,
                    target_step,
                )
    else:
        for x in range(lines):
            for k in range(depth):
                put(target + k * target_step + x * size, get(like, source + x * line + k * across))


@njit(inline="always", **OPTIONS_IN_ORDER)
def widest_panel(vectors):
    """How many vectors the next panel of B has, of those that are left."""
    if WIDEST == 4 and vectors >= 4:
        return 4
    return 2 if vectors >= 2 else 1


@njit(inline="always", **OPTIONS_IN_ORDER)
def rows_of_tile(vectors):
    return _ROWS_4 if vectors == 4 else _ROWS_2 if vectors == 2 else _ROWS_1


@shared
def panel(like, m, most, vectors, k, a, a0, a1, b, b0, c, c0, columns, limit, slope, fresh):
    """``c[i, j] (+)= sum[k] a[i, k]*b[k, j]`` for one panel of B, at most as wide as `vectors`.

    The m > 0 rows are divided into tiles of at most `most`, all about as high. Row i of C is written up to column
    ``min(columns, limit + i*slope)``.
    """
    count = (m + most - 1) // most
    rows = m // count
    taller = m % count
    done = 0
    for more in range(1, -1, -1):
        height = rows + more
        tiles_here = taller if more else count - taller
        at, ct, lt = a + done * a0, c + done * c0, limit + done * slope
        tiles(like, height, vectors, tiles_here, k, at, a0, a1, height * a0, b, b0, ct, c0, columns, lt, slope, fresh)
        done = taller * height


@njit(**OPTIONS_IN_ORDER)
def _pack_columns(like, n, k, b, b0, b1, target):
    """Panels of B one after another, and in each its columns side by side for each k."""
    size, full = itemsize(like), lanes(like)
    j = 0
    while j < n:
        width = widest_panel((n - j + full - 1) // full) * full
        pack_lines(like, (b + j * b1, b1, b0, min(n - j, width), k, target + j * k * size, width * size))
        j += width


@shared
def by_tiles(like, m, n, k, a, a0, a1, b, b0, b1, c, c0, fresh):
    """C (+)= A B where the rows of C are contiguous."""
    size, full = itemsize(like), lanes(like)
    pack = (b1 != size and n > 1) or (m >= _MANY_ROWS and n * k * size > _LARGE)
    block_k = min(max(k, 1), _BLOCK_K)
    block_n = min(n, _BLOCK_COLUMNS)
    packed = stack_room(_STACK)
    room = block_k * (block_n + full) * size
    heap = 0
    if pack and room > _STACK:
        heap = allocate(room + 64)
        packed = (heap + 63) // 64 * 64
    for j0 in range(0, n, block_n):
        nj = min(block_n, n - j0)
        k0 = 0
        while True:  # once for k = 0 too: C is to be cleared
            nk = min(block_k, k - k0)
            at, bt = a + k0 * a1, b + k0 * b0 + j0 * b1
            if pack:
                _pack_columns(like, nj, nk, bt, b0, b1, packed)
            start = fresh if k0 == 0 else 0
            j = 0
            while j < nj:
                vectors = widest_panel((nj - j + full - 1) // full)
                width = vectors * full
                columns = min(nj - j, width)
                most = rows_of_tile(vectors)
                source, down = bt + j * size, b0
                if pack:
                    source, down = packed + j * nk * size, width * size
                ct = c + (j0 + j) * size
                panel(like, (m, most, vectors, nk, at, a0, a1, source, down, ct, c0, columns, columns, 0, start))
                j += width
            k0 += block_k
            if k0 >= k:
                break
    if heap:
        release(heap)


@shared
def dots(like, m, k, a, a0, b, b0, c, c0, fresh):
    """C (+)= A b for a vector b, where the rows of A are contiguous: a dot product for each row."""
    size = itemsize(like)
    full = lanes(like)
    zero = broadcast(like)
    heap = 0
    if b0 != size and k > 1:
        heap = allocate(k * size)
        pack_lines(like, (b, size, b0, 1, k, heap, size))
        b = heap
    for i in range(m):
        row = a + i * a0
        s0 = s1 = s2 = s3 = zero
        x = 0
        while x + 4 * full <= k:
            at, bt = row + x * size, b + x * size
            step = full * size
            s0 = fmuladd(get_vector(like, at, full), get_vector(like, bt, full), s0)
            s1 = fmuladd(get_vector(like, at + step, full), get_vector(like, bt + step, full), s1)
            s2 = fmuladd(get_vector(like, at + 2 * step, full), get_vector(like, bt + 2 * step, full), s2)
            s3 = fmuladd(get_vector(like, at + 3 * step, full), get_vector(like, bt + 3 * step, full), s3)
            x += 4 * full
        while x < k:
            s0 = fmuladd(get_vector(like, row + x * size, k - x), get_vector(like, b + x * size, k - x), s0)
            x += full
        total = horizontal_sum(add(add(s0, s1), add(s2, s3)))
        put(c + i * c0, total if fresh else get(like, c + i * c0) + total)
    if heap:
        release(heap)


@njit(**OPTIONS_IN_ORDER)
def copy_back(like, m, n, source, c, c0, c1):
    """``c[i, j] = source[i, j]`` for a source without gaps."""
    size = itemsize(like)
    if c0 == size:
        pack_lines(like, (source, n * size, size, m, n, c, c1))
    elif c1 == size:
        pack_lines(like, (source, size, n * size, n, m, c, c0))
    else:
        for i in range(m):
            for j in range(n):
                put(c + i * c0 + j * c1, get(like, source + (i * n + j) * size))


@njit(**OPTIONS_IN_ORDER)
def _by_copy(like, m, n, k, a, a0, a1, b, b0, b1, c, c0, c1, fresh):
    """C (+)= A B for any strides of C, by a copy with contiguous rows."""
    size = itemsize(like)
    heap = allocate(m * n * size)
    if not fresh:
        pack_lines(like, (c, c1, c0, n, m, heap, n * size))
    by_tiles(like, (m, n, k, a, a0, a1, b, b0, b1, heap, n * size, fresh))
    copy_back(like, m, n, heap, c, c0, c1)
    release(heap)


@shared
def _any_way(like, m, n, k, a, a0, a1, b, b0, b1, c, c0, c1, fresh):
    """C (+)= A B or Cᵀ (+)= Bᵀ Aᵀ, whichever takes less time; no bit of the result depends on it.

    The unit of cost is a vector by a tile's row, or an element that is moved: half a cycle on a Zen 5.
    """
    size, full = itemsize(like), lanes(like)
    rows_of_c = c1 == size or n == 1
    columns_of_c = c0 == size or m == 1
    direct = k * m * ((n + full - 1) // full)
    turned = k * n * ((m + full - 1) // full)
    if b1 != size and n > 1:
        direct += n * k
    if a0 != size and m > 1:
        turned += m * k
    if not rows_of_c:
        direct += 2 * m * n
    if not columns_of_c:
        turned += 2 * m * n
    if direct > turned:
        m, n, a, a0, a1, b, b0, b1, c0, c1 = n, m, b, b1, b0, a, a1, a0, c1, c0
        rows_of_c = columns_of_c
    if rows_of_c:
        by_tiles(like, (m, n, k, a, a0, a1, b, b0, b1, c, c0, fresh))
    else:
        _by_copy(like, m, n, k, a, a0, a1, b, b0, b1, c, c0, c1, fresh)


def product(like, m, n, k, a, a0, a1, b, b0, b1, c, c0, c1, fresh):
    """``c[i, j] (+)= sum[k] a[i, k]*b[k, j]``: m, n, k, then for each array its address and its steps."""
    size = itemsize(like)
    if m <= 0 or n <= 0:
        return
    if n == 1 and a1 == size:
        dots(like, (m, k, a, a0, b, b0, c, c0, fresh))
    elif b1 == size and c1 == size and n >= lanes(like):
        by_tiles(like, (m, n, k, a, a0, a1, b, b0, b1, c, c0, fresh))
    else:
        _any_way(like, (m, n, k, a, a0, a1, b, b0, b1, c, c0, c1, fresh))


PRODUCT = shared_parts(product)

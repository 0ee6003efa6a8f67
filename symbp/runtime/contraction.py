"""Matrix products in plain loops: ``C = A @ B`` and ``C += A @ B`` for two-dimensional arrays of any strides.

The loops are written so that LLVM vectorises them, with no vector intrinsics, so one source serves every processor.
Two loop shapes, chosen at run time from the strides:

- rows of B contiguous: four rows of C by four values of k; the innermost loop runs along the columns of B and C. Each
  element of C is one chain of fused multiply-adds in the order of k, whatever the sizes;
- columns of B contiguous (``B = W.T``): sixteen dot products at a time along k. Where k is short, or A has no
  contiguous rows, B is packed into row order first and the first shape is used.

Where C has few columns, the product is turned so that a longer axis runs inside.

The order of summation depends on the sizes and strides alone, so the same call gives the same bits each time. C must
share no memory with A or B. One thread; in float32, 256x256x256 ran at 160 GFLOP/s for ``A @ B``, 155 for ``A @ W.T``
and 135 for ``X.T @ B`` on one core of a Zen 4 (AVX-512), 64x64x128 at 90 to 125.

The machine code is compiled once for float32 and once for float64, not for each combination of array layouts: the
layout is erased first, because a compile takes the better part of a second.
"""

# mypy: disable-error-code="call-arg, no-untyped-def, var-annotated"

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.core import cgutils
from numba.core.imputils import impl_ret_borrowed
from numba.extending import intrinsic
from numba.np.arrayobj import make_array, populate_array

from symbp.runtime.jit import kernel

# Blocks that stay in the caches: a panel of B of 256 x 512 float32 takes 512 KB of the second level, four rows of C
# and four of B take 16 KB of the first.
_BLOCK_K = 256
_BLOCK_COLUMNS = 512
# Below this length of k a dot product spends its time summing up the lanes of its registers, and packing B pays.
_SHORT_K = 48
# With so few rows of A there is nothing to pay for the packing with.
_FEW_ROWS = 8
# Rows of C shorter than a vector register leave it empty; such products are turned so that a longer axis runs inside.
_NARROW = 16
# In these rows the order of k is the promise of this module: no "reassoc".
_IN_ORDER = {"contract"}


@intrinsic
def _any_layout(typing_context: Any, array: Any) -> Any:
    """The same array with its layout forgotten, so that one compiled function serves all layouts."""
    result = array.copy(layout="A")

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source = make_array(array)(context, builder, arguments[0])
        view = make_array(result)(context, builder)
        populate_array(
            view,
            data=source.data,
            shape=source.shape,
            strides=source.strides,
            itemsize=source.itemsize,
            meminfo=source.meminfo,
        )
        return impl_ret_borrowed(context, builder, result, view._getvalue())

    return result(array), generate


@intrinsic
def _row(typing_context: Any, array: Any, index: Any, start: Any, stop: Any) -> Any:
    """``array[index, start:stop]``, which the caller knows to be contiguous in memory."""
    result = types.Array(array.dtype, 1, "C")

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source = make_array(array)(context, builder, arguments[0])
        row_stride, _ = cgutils.unpack_tuple(builder, source.strides)
        offset = builder.add(builder.mul(arguments[1], row_stride), builder.mul(arguments[2], source.itemsize))
        view = make_array(result)(context, builder)
        populate_array(
            view,
            data=cgutils.pointer_add(builder, source.data, offset),
            shape=[builder.sub(arguments[3], arguments[2])],
            strides=[source.itemsize],
            itemsize=source.itemsize,
            # No owner: a row never outlives the array that it is taken from, and the loops need no reference counts.
            meminfo=None,
        )
        return view._getvalue()

    return result(array, types.intp, types.intp, types.intp), generate


@kernel(fastmath=_IN_ORDER, no_cpython_wrapper=True, no_cfunc_wrapper=True)
def _add_along_columns(a, b, c):
    """C += A @ B where the rows of B and of C are contiguous."""
    n_rows, n_inner = a.shape
    n_columns = c.shape[1]
    for j in range(0, n_columns, _BLOCK_COLUMNS):
        j_end = min(j + _BLOCK_COLUMNS, n_columns)
        for k_start in range(0, n_inner, _BLOCK_K):
            k_end = min(k_start + _BLOCK_K, n_inner)
            for i in range(0, n_rows // 4 * 4, 4):
                c0 = _row(c, i, j, j_end)
                c1 = _row(c, i + 1, j, j_end)
                c2 = _row(c, i + 2, j, j_end)
                c3 = _row(c, i + 3, j, j_end)
                k = k_start
                while k + 4 <= k_end:
                    b0 = _row(b, k, j, j_end)
                    b1 = _row(b, k + 1, j, j_end)
                    b2 = _row(b, k + 2, j, j_end)
                    b3 = _row(b, k + 3, j, j_end)
                    a00, a01, a02, a03 = a[i, k], a[i, k + 1], a[i, k + 2], a[i, k + 3]
                    a10, a11, a12, a13 = a[i + 1, k], a[i + 1, k + 1], a[i + 1, k + 2], a[i + 1, k + 3]
                    a20, a21, a22, a23 = a[i + 2, k], a[i + 2, k + 1], a[i + 2, k + 2], a[i + 2, k + 3]
                    a30, a31, a32, a33 = a[i + 3, k], a[i + 3, k + 1], a[i + 3, k + 2], a[i + 3, k + 3]
                    for x in range(j_end - j):
                        v0, v1, v2, v3 = b0[x], b1[x], b2[x], b3[x]
                        c0[x] = c0[x] + a00 * v0 + a01 * v1 + a02 * v2 + a03 * v3
                        c1[x] = c1[x] + a10 * v0 + a11 * v1 + a12 * v2 + a13 * v3
                        c2[x] = c2[x] + a20 * v0 + a21 * v1 + a22 * v2 + a23 * v3
                        c3[x] = c3[x] + a30 * v0 + a31 * v1 + a32 * v2 + a33 * v3
                    k += 4
                while k < k_end:
                    b0 = _row(b, k, j, j_end)
                    a00, a10, a20, a30 = a[i, k], a[i + 1, k], a[i + 2, k], a[i + 3, k]
                    for x in range(j_end - j):
                        v0 = b0[x]
                        c0[x] = c0[x] + a00 * v0
                        c1[x] = c1[x] + a10 * v0
                        c2[x] = c2[x] + a20 * v0
                        c3[x] = c3[x] + a30 * v0
                    k += 1
            for i in range(n_rows // 4 * 4, n_rows):
                c0 = _row(c, i, j, j_end)
                k = k_start
                while k + 4 <= k_end:
                    b0 = _row(b, k, j, j_end)
                    b1 = _row(b, k + 1, j, j_end)
                    b2 = _row(b, k + 2, j, j_end)
                    b3 = _row(b, k + 3, j, j_end)
                    a00, a01, a02, a03 = a[i, k], a[i, k + 1], a[i, k + 2], a[i, k + 3]
                    for x in range(j_end - j):
                        c0[x] = c0[x] + a00 * b0[x] + a01 * b1[x] + a02 * b2[x] + a03 * b3[x]
                    k += 4
                while k < k_end:
                    b0 = _row(b, k, j, j_end)
                    a00 = a[i, k]
                    for x in range(j_end - j):
                        c0[x] = c0[x] + a00 * b0[x]
                    k += 1


@kernel(no_cpython_wrapper=True, no_cfunc_wrapper=True)
def _add_dots(a, b_transposed, c):
    """C += A @ B where the rows of A and of Bᵀ are contiguous: sixteen dot products at a time."""
    n_rows, n_inner = a.shape
    n_columns = c.shape[1]
    zero = c.dtype.type(0)
    for j in range(0, n_columns // 4 * 4, 4):
        b0 = _row(b_transposed, j, 0, n_inner)
        b1 = _row(b_transposed, j + 1, 0, n_inner)
        b2 = _row(b_transposed, j + 2, 0, n_inner)
        b3 = _row(b_transposed, j + 3, 0, n_inner)
        for i in range(0, n_rows // 4 * 4, 4):
            a0 = _row(a, i, 0, n_inner)
            a1 = _row(a, i + 1, 0, n_inner)
            a2 = _row(a, i + 2, 0, n_inner)
            a3 = _row(a, i + 3, 0, n_inner)
            s00 = s01 = s02 = s03 = s10 = s11 = s12 = s13 = zero
            s20 = s21 = s22 = s23 = s30 = s31 = s32 = s33 = zero
            for k in range(n_inner):
                u0, u1, u2, u3 = a0[k], a1[k], a2[k], a3[k]
                v0, v1, v2, v3 = b0[k], b1[k], b2[k], b3[k]
                s00 += u0 * v0
                s01 += u0 * v1
                s02 += u0 * v2
                s03 += u0 * v3
                s10 += u1 * v0
                s11 += u1 * v1
                s12 += u1 * v2
                s13 += u1 * v3
                s20 += u2 * v0
                s21 += u2 * v1
                s22 += u2 * v2
                s23 += u2 * v3
                s30 += u3 * v0
                s31 += u3 * v1
                s32 += u3 * v2
                s33 += u3 * v3
            c0 = _row(c, i, j, j + 4)
            c1 = _row(c, i + 1, j, j + 4)
            c2 = _row(c, i + 2, j, j + 4)
            c3 = _row(c, i + 3, j, j + 4)
            c0[0], c0[1], c0[2], c0[3] = c0[0] + s00, c0[1] + s01, c0[2] + s02, c0[3] + s03
            c1[0], c1[1], c1[2], c1[3] = c1[0] + s10, c1[1] + s11, c1[2] + s12, c1[3] + s13
            c2[0], c2[1], c2[2], c2[3] = c2[0] + s20, c2[1] + s21, c2[2] + s22, c2[3] + s23
            c3[0], c3[1], c3[2], c3[3] = c3[0] + s30, c3[1] + s31, c3[2] + s32, c3[3] + s33
        for i in range(n_rows // 4 * 4, n_rows):
            a0 = _row(a, i, 0, n_inner)
            s00 = s01 = s02 = s03 = zero
            for k in range(n_inner):
                u0 = a0[k]
                s00 += u0 * b0[k]
                s01 += u0 * b1[k]
                s02 += u0 * b2[k]
                s03 += u0 * b3[k]
            c0 = _row(c, i, j, j + 4)
            c0[0], c0[1], c0[2], c0[3] = c0[0] + s00, c0[1] + s01, c0[2] + s02, c0[3] + s03
    for j in range(n_columns // 4 * 4, n_columns):
        b0 = _row(b_transposed, j, 0, n_inner)
        for i in range(n_rows):
            a0 = _row(a, i, 0, n_inner)
            s00 = zero
            for k in range(n_inner):
                s00 += a0[k] * b0[k]
            c[i, j] += s00


@kernel(inline="always", cache=False)
def _packed(b):
    """A copy of B with contiguous rows, read eight rows at a time so that each cache line is used whole."""
    n_inner, n_columns = b.shape
    copy = np.empty((n_inner, n_columns), b.dtype)
    for k_start in range(0, n_inner, 8):
        k_end = min(k_start + 8, n_inner)
        for j in range(n_columns):
            for k in range(k_start, k_end):
                copy[k, j] = b[k, j]
    return copy


@kernel(inline="always", cache=False)
def _add_any(a, b, c):
    """C += A @ B with no assumption on strides: for a C with neither contiguous rows nor columns."""
    for i in range(c.shape[0]):
        for j in range(c.shape[1]):
            total = c[i, j]
            for k in range(a.shape[1]):
                total += a[i, k] * b[k, j]
            c[i, j] = total


@kernel(fastmath=_IN_ORDER)
def _add(a, b, c, fresh):
    """C += A @ B on arrays whose layout has been erased: choose the loop shape from the strides.

    With `fresh`, C = A @ B. It is no literal: each of its values would be compiled by itself.
    """
    if fresh != 0:
        for i in range(c.shape[0]):
            for j in range(c.shape[1]):
                c[i, j] = 0
    if c.strides[1] != c.itemsize and c.shape[1] > 1:
        if c.strides[0] != c.itemsize and c.shape[0] > 1:
            _add_any(a, b, c)
            return
        # Cᵀ += Bᵀ Aᵀ, and the rows of Cᵀ are contiguous.
        a, b, c = b.T, a.T, c.T
    n_rows, n_inner = a.shape
    n_columns = b.shape[1]
    rows_of_a = a.strides[1] == a.itemsize or n_inner == 1
    columns_of_a = a.strides[0] == a.itemsize or n_rows == 1
    rows_of_b = b.strides[1] == b.itemsize or n_columns == 1
    columns_of_b = b.strides[0] == b.itemsize or n_inner == 1
    narrow = n_columns < _NARROW
    dots_pay = n_columns == 1 or (not rows_of_b and (n_inner >= _SHORT_K or n_rows < _FEW_ROWS))
    if columns_of_b and rows_of_a and dots_pay:
        _add_dots(a, b.T, c)
    elif narrow and rows_of_a and n_inner >= _SHORT_K:
        _add_dots(a, _any_layout(_packed(b.T)), c)
    elif narrow and columns_of_a and n_rows >= _NARROW:
        # Cᵀ = Bᵀ Aᵀ has long rows.
        transposed = np.zeros((n_columns, n_rows), c.dtype)
        _add_along_columns(b.T, a.T, _any_layout(transposed))
        for i in range(n_rows):
            for j in range(n_columns):
                c[i, j] += transposed[j, i]
    elif rows_of_b:
        _add_along_columns(a, b, c)
    else:
        _add_along_columns(a, _any_layout(_packed(b)), c)


@kernel(inline="always", cache=False)
def matmul_add(a, b, c):
    """``c[i, j] += sum[k] a[i, k]*b[k, j]`` for ``a`` (M, K), ``b`` (K, N), ``c`` (M, N), all of one float dtype.

    Any strides, any sizes with zero included. ``c`` must share no memory with ``a`` or ``b``. Shapes are not checked:
    kernels call this after the check at the door.
    """
    _add(_any_layout(a), _any_layout(b), _any_layout(c), np.intp(0))


@kernel(inline="always", cache=False)
def matmul(a, b, c):
    """``c[i, j] = sum[k] a[i, k]*b[k, j]``; the rest as in :func:`matmul_add`."""
    _add(_any_layout(a), _any_layout(b), _any_layout(c), np.intp(1))


@kernel
def _add_triangular(a, b, c, shift, of_lower, of_upper, fresh):
    """The products below on arrays whose layout has been erased, element by element."""
    n_inner = a.shape[1]
    for i in range(c.shape[0]):
        last_column = c.shape[1] if of_lower or of_upper else min(c.shape[1], max(0, i + shift + 1))
        first = min(n_inner, max(0, i + shift)) if of_upper else 0
        end = min(n_inner, max(0, i + shift + 1)) if of_lower else n_inner
        for j in range(last_column):
            if fresh:
                c[i, j] = 0
        for k in range(first, end):
            factor = a[i, k]
            for j in range(last_column):
                c[i, j] += factor * b[k, j]


@kernel(inline="always", cache=False)
def matmul_lower(a, b, c, shift):
    """``c[i, j] = sum[k] a[i, k]*b[k, j]`` where ``j <= i + shift``; all other elements of ``c`` are left as they are.

    Arrays as for :func:`matmul_add`; ``shift`` is any whole number.
    """
    _add_triangular(_any_layout(a), _any_layout(b), _any_layout(c), np.intp(shift), False, False, True)


@kernel(inline="always", cache=False)
def matmul_add_lower(a, b, c, shift):
    """``c[i, j] += sum[k] a[i, k]*b[k, j]`` where ``j <= i + shift``; the rest as in :func:`matmul_lower`."""
    _add_triangular(_any_layout(a), _any_layout(b), _any_layout(c), np.intp(shift), False, False, False)


@kernel(inline="always", cache=False)
def matmul_of_lower(a, b, c, shift):
    """``c[i, j] = sum[k: k <= i + shift] a[i, k]*b[k, j]``; the other elements of ``a`` are not read.

    Arrays as for :func:`matmul_add`; ``shift`` is any whole number. A row whose sum is empty becomes zero.
    """
    _add_triangular(_any_layout(a), _any_layout(b), _any_layout(c), np.intp(shift), True, False, True)


@kernel(inline="always", cache=False)
def matmul_add_of_lower(a, b, c, shift):
    """``c[i, j] += sum[k: k <= i + shift] a[i, k]*b[k, j]``; the rest as in :func:`matmul_of_lower`."""
    _add_triangular(_any_layout(a), _any_layout(b), _any_layout(c), np.intp(shift), True, False, False)


@kernel(inline="always", cache=False)
def matmul_of_upper(a, b, c, shift):
    """``c[i, j] = sum[k: k >= i + shift] a[i, k]*b[k, j]``; the rest as in :func:`matmul_of_lower`."""
    _add_triangular(_any_layout(a), _any_layout(b), _any_layout(c), np.intp(shift), False, True, True)


@kernel(inline="always", cache=False)
def matmul_add_of_upper(a, b, c, shift):
    """``c[i, j] += sum[k: k >= i + shift] a[i, k]*b[k, j]``; the rest as in :func:`matmul_of_lower`."""
    _add_triangular(_any_layout(a), _any_layout(b), _any_layout(c), np.intp(shift), False, True, False)


@kernel
def dot(a, b):
    """``sum[k] a[k]*b[k]`` for two vectors of any strides and one dtype, in that dtype; zero where they are empty."""
    total = a.dtype.type(0)
    for k in range(a.shape[0]):
        total += a[k] * b[k]
    return total

"""Matrix products in plain loops, for every processor and for comparison: the form without vector types.

The loops are written so that LLVM vectorises them: four rows of C by four values of k; the innermost loop runs along
the columns of B and C. Where the rows of B are not contiguous a copy with such rows is made first. Each element of C is
one chain of fused multiply-adds in the order of k, except for a product with one column, which is a dot product for
each row: the order of summation depends on K, N and the strides, never on how many rows there are.
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
# In these rows the order of k is the promise of this module: no "reassoc".
_IN_ORDER = {"contract"}


@intrinsic
def any_layout(typing_context: Any, array: Any) -> Any:
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


@kernel(inline="always", cache=False, fastmath=_IN_ORDER)
def _add_any(a, b, c):
    """C += A @ B with no assumption on strides: for a C with neither contiguous rows nor columns."""
    for i in range(c.shape[0]):
        for j in range(c.shape[1]):
            total = c[i, j]
            for k in range(a.shape[1]):
                total += a[i, k] * b[k, j]
            c[i, j] = total


@kernel(inline="always", cache=False)
def _add_vector(a, b, c):
    """C += A @ B for a B of one column."""
    for i in range(c.shape[0]):
        total = c.dtype.type(0)
        for k in range(a.shape[1]):
            total += a[i, k] * b[k, 0]
        c[i, 0] += total


@kernel(fastmath=_IN_ORDER)
def add_product(a, b, c, fresh):
    """C += A @ B on arrays whose layout has been erased: choose the loop shape from the strides.

    With `fresh`, C = A @ B. It is no literal: each of its values would be compiled by itself.
    """
    if fresh != 0:
        for i in range(c.shape[0]):
            for j in range(c.shape[1]):
                c[i, j] = 0
    if c.shape[1] == 1:
        _add_vector(a, b, c)
        return
    if c.strides[1] != c.itemsize:
        if c.strides[0] != c.itemsize:
            _add_any(a, b, c)
            return
        # Cᵀ += Bᵀ Aᵀ, and the rows of Cᵀ are contiguous.
        a, b, c = b.T, a.T, c.T
    if b.strides[1] == b.itemsize or b.shape[1] == 1:
        _add_along_columns(a, b, c)
    else:
        _add_along_columns(a, any_layout(_packed(b)), c)


@kernel(fastmath=_IN_ORDER)
def add_triangular(a, b, c, shift, of_lower, of_upper, fresh):
    """The triangular products, element by element."""
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

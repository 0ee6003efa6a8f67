"""Matrix products: ``C = A @ B`` and ``C += A @ B`` for two-dimensional arrays of any strides, and their triangles.

By register tiles (:mod:`symbp.runtime.product`), or in plain loops where ``SYMBP_SIMD`` is 0. Each element of C is one
chain of fused multiply-adds in the order of k; for a single column, N = 1, it is a dot product over the lanes of
vectors where the rows of A are contiguous. The order depends on K, N and the strides alone: the same call gives the
same bits each time, and some rows of A give the bits of these rows of the whole product.

C must share no memory with A or B. One thread. On one core of a Zen 5 with AVX-512, float32, in GFLOP/s as M x N x K:
512x512x512 226, 2048x2048x2048 190 to 200, 128x784x128 with B turned 215, 784x128x128 with A turned 234, 64x128x64 225,
16x512x128 215, 32x32x32 200, 32x32x3 70 (0.09 us), 128x10x128 115. A triangle of 512x64x512 takes 0.53 of the whole
product's time, one of 64x32x64 as long as the whole.
"""

# mypy: disable-error-code="call-arg, no-untyped-def, no-untyped-call, var-annotated"

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

from symbp.runtime.jit import kernel
from symbp.runtime.plain_product import add_product, add_triangular, any_layout
from symbp.runtime.product import PRODUCT
from symbp.runtime.simd import INDEX, VECTORS, scalar_of
from symbp.runtime.triangles import LOWER, OF_LOWER, OF_UPPER, TRIANGULAR_PRODUCT


def _check(arrays: tuple[Any, ...]) -> None:
    for array in arrays:
        if not isinstance(array, types.Array) or array.ndim != 2 or array.dtype not in PRODUCT:
            raise TypingError(f"a matrix product: expected 2-D arrays of float32 or float64, found {array}")
        if array.dtype != arrays[0].dtype:
            raise TypingError(f"a matrix product: expected one dtype, found {arrays[0].dtype} and {array.dtype}")


def _numbers(context: Any, builder: Any, kinds: tuple[Any, ...], values: Any) -> list[Any]:
    """A zero of the dtype, then M, N, K, and the address and steps of each array."""
    a, b, c = (make_array(kind)(context, builder, value) for kind, value in zip(kinds, values, strict=True))
    (rows, columns), (_, depth) = (cgutils.unpack_tuple(builder, x.shape) for x in (c, a))
    numbers = [ir.Constant(scalar_of(kinds[0].dtype), 0.0), rows, columns, depth]
    for array in (a, b, c):
        numbers += [builder.ptrtoint(array.data, INDEX), *cgutils.unpack_tuple(builder, array.strides)]
    return numbers


@intrinsic
def _multiply_by_tiles(typing_context: Any, a: Any, b: Any, c: Any, fresh: Any) -> Any:
    """C (+)= A @ B by the shared machine code."""
    _check((a, b, c))

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        PRODUCT[c.dtype].call(builder, [*_numbers(context, builder, (a, b, c), arguments[:3]), arguments[3]])
        return context.get_dummy_value()

    return types.void(a, b, c, types.intp), generate


@intrinsic
def _multiply_triangle_by_tiles(typing_context: Any, a: Any, b: Any, c: Any, kind: Any, shift: Any, fresh: Any) -> Any:
    """As above, of a triangle."""
    _check((a, b, c))

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        numbers = _numbers(context, builder, (a, b, c), arguments[:3])
        TRIANGULAR_PRODUCT[c.dtype].call(builder, [*numbers, *arguments[3:]])
        return context.get_dummy_value()

    return types.void(a, b, c, types.intp, types.intp, types.intp), generate


@kernel(inline="always", cache=False)
def _multiply_in_loops(a, b, c, fresh):
    add_product(any_layout(a), any_layout(b), any_layout(c), np.intp(fresh))


@kernel(inline="always", cache=False)
def _multiply_triangle_in_loops(a, b, c, kind, shift, fresh):
    add_triangular(
        any_layout(a), any_layout(b), any_layout(c), np.intp(shift), kind == OF_LOWER, kind == OF_UPPER, fresh == 1
    )


_multiply = _multiply_by_tiles if VECTORS else _multiply_in_loops
_multiply_triangle = _multiply_triangle_by_tiles if VECTORS else _multiply_triangle_in_loops


@kernel(inline="always", cache=False)
def matmul_add(a, b, c):
    """``c[i, j] += sum[k] a[i, k]*b[k, j]`` for ``a`` (M, K), ``b`` (K, N), ``c`` (M, N), all of one float dtype.

    Any strides, any sizes with zero included. ``c`` must share no memory with ``a`` or ``b``. Shapes are not checked:
    kernels call this after the check at the door.
    """
    _multiply(a, b, c, 0)


@kernel(inline="always", cache=False)
def matmul(a, b, c):
    """``c[i, j] = sum[k] a[i, k]*b[k, j]``; the rest as in :func:`matmul_add`."""
    _multiply(a, b, c, 1)


@kernel(inline="always", cache=False)
def matmul_lower(a, b, c, shift):
    """``c[i, j] = sum[k] a[i, k]*b[k, j]`` where ``j <= i + shift``; all other elements of ``c`` are left as they are.

    Arrays as for :func:`matmul_add`; ``shift`` is any whole number.
    """
    _multiply_triangle(a, b, c, LOWER, shift, 1)


@kernel(inline="always", cache=False)
def matmul_add_lower(a, b, c, shift):
    """``c[i, j] += sum[k] a[i, k]*b[k, j]`` where ``j <= i + shift``; the rest as in :func:`matmul_lower`."""
    _multiply_triangle(a, b, c, LOWER, shift, 0)


@kernel(inline="always", cache=False)
def matmul_of_lower(a, b, c, shift):
    """``c[i, j] = sum[k: k <= i + shift] a[i, k]*b[k, j]``; the other elements of ``a`` are not read.

    Arrays as for :func:`matmul_add`; ``shift`` is any whole number. A row whose sum is empty becomes zero.
    """
    _multiply_triangle(a, b, c, OF_LOWER, shift, 1)


@kernel(inline="always", cache=False)
def matmul_add_of_lower(a, b, c, shift):
    """``c[i, j] += sum[k: k <= i + shift] a[i, k]*b[k, j]``; the rest as in :func:`matmul_of_lower`."""
    _multiply_triangle(a, b, c, OF_LOWER, shift, 0)


@kernel(inline="always", cache=False)
def matmul_of_upper(a, b, c, shift):
    """``c[i, j] = sum[k: k >= i + shift] a[i, k]*b[k, j]``; the rest as in :func:`matmul_of_lower`."""
    _multiply_triangle(a, b, c, OF_UPPER, shift, 1)


@kernel(inline="always", cache=False)
def matmul_add_of_upper(a, b, c, shift):
    """``c[i, j] += sum[k: k >= i + shift] a[i, k]*b[k, j]``; the rest as in :func:`matmul_of_lower`."""
    _multiply_triangle(a, b, c, OF_UPPER, shift, 0)


@kernel
def dot(a, b):
    """``sum[k] a[k]*b[k]`` for two vectors of any strides and one dtype, in that dtype; zero where they are empty."""
    total = a.dtype.type(0)
    for k in range(a.shape[0]):
        total += a[k] * b[k]
    return total

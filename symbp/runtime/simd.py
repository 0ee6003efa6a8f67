"""Vectors as values in compiled code: one LLVM vector of float32 or float64, as wide as the host's registers.

    total = broadcast(x.dtype.type(0))
    for k in range(0, n, lanes(x)):
        total = fmuladd(load(x, k), load(y, k), total)

The width is that of the widest registers that the host multiplies and adds on: 64 bytes with AVX-512, 32 with AVX2,
16 elsewhere. ``SYMBP_SIMD`` = 16, 8 or 4 (lanes of float32) overrides it, for tests and comparison, and 0 says that
kernels with a form in plain loops shall use that.

`fmuladd` is ``llvm.fmuladd``: one rounding where the processor has the instruction, two where it has not; never a call
of the C library's ``fma``, which emulates it.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

import os
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.datamodel.models import PrimitiveModel
from numba.extending import intrinsic, register_model
from numba.np.arrayobj import make_array


def _float32_lanes() -> int:
    asked = os.environ.get("SYMBP_SIMD", "")
    if asked in ("0", "4", "8", "16"):
        return int(asked)
    if asked:
        raise ValueError(f"SYMBP_SIMD is '{asked}', expected 16, 8 or 4 lanes of float32, or 0 for plain loops")
    try:
        features = llvm.get_host_cpu_features()
    except RuntimeError:  # LLVM does not know this host
        return 4
    if features.get("avx512f"):
        return 16
    return 8 if features.get("avx2") and features.get("fma") else 4


_ASKED = _float32_lanes()
#: Whether kernels shall use vectors at all; False in the plain-loop mode.
VECTORS = _ASKED > 0
#: Bytes of a vector.
WIDTH = 4 * (_ASKED or 4)
#: Vector registers: AVX-512 and NEON have 32, the rest 16.
REGISTERS = 32 if WIDTH == 64 or not llvm.get_process_triple().startswith(("x86_64", "i386", "i686", "AMD64")) else 16

INDEX = ir.IntType(64)
LANE = ir.IntType(32)


class Vector(types.Type):
    """The type of a vector of `dtype`."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype
        self.lanes = WIDTH * 8 // dtype.bitwidth
        super().__init__(name=f"vector({dtype}, {self.lanes})")


@register_model(Vector)
class _VectorModel(PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, vector_of(kind.dtype))


# What other builders of LLVM code need: the functions below take and give LLVM values.


def scalar_of(dtype: Any) -> Any:
    """LLVM's type of a float32 or float64."""
    return ir.FloatType() if dtype.bitwidth == 32 else ir.DoubleType()


def vector_of(dtype: Any) -> Any:
    """LLVM's type of a full vector of `dtype`."""
    return ir.VectorType(scalar_of(dtype), WIDTH * 8 // dtype.bitwidth)


def splat(builder: Any, value: Any, lanes: int) -> Any:
    """A vector with `value` in each lane."""
    vector = ir.VectorType(value.type, lanes)
    single = builder.insert_element(ir.Constant(vector, ir.Undefined), value, LANE(0))
    return builder.shuffle_vector(
        single, ir.Constant(vector, ir.Undefined), ir.Constant(_lanes_type(lanes), [0] * lanes)
    )


def first_lanes(builder: Any, count: Any, lanes: int, start: int = 0) -> Any:
    """A mask with lane l set where ``start + l < count``."""
    numbers = ir.Constant(_lanes_type(lanes), list(range(start, start + lanes)))
    # Beyond 32 bits the count would wrap round: more than the widest tile is as good as all.
    most = INDEX(1 << 20)
    small = builder.select(builder.icmp_signed("<", count, most), count, most)
    least = builder.select(builder.icmp_signed(">", small, INDEX(0)), small, INDEX(0))
    return builder.icmp_signed("<", numbers, splat(builder, builder.trunc(least, LANE), lanes))


def vector_at(builder: Any, address: Any, kind: Any) -> Any:
    """The pointer to a vector at an address."""
    return builder.bitcast(address, kind.as_pointer())


def load_vector(builder: Any, address: Any, kind: Any, mask: Any = None) -> Any:
    """The vector at `address`; lanes outside the mask are zero, and their memory is not touched."""
    pointer = vector_at(builder, address, kind)
    align = scalar_bytes(kind.element)
    if mask is None:
        return builder.load(pointer, align=align)
    function = ir.FunctionType(kind, [pointer.type, LANE, mask.type, kind])
    load = cgutils.get_or_insert_function(builder.module, function, f"llvm.masked.load.{_suffix(kind)}.p0")
    return builder.call(load, [pointer, LANE(align), mask, ir.Constant(kind, None)])


def store_vector(builder: Any, value: Any, address: Any, mask: Any = None) -> None:
    """Write the lanes in the mask, or all of them."""
    kind = value.type
    pointer = vector_at(builder, address, kind)
    align = scalar_bytes(kind.element)
    if mask is None:
        builder.store(value, pointer, align=align)
        return
    function = ir.FunctionType(ir.VoidType(), [kind, pointer.type, LANE, mask.type])
    store = cgutils.get_or_insert_function(builder.module, function, f"llvm.masked.store.{_suffix(kind)}.p0")
    builder.call(store, [value, pointer, LANE(align), mask])


def multiply_add(builder: Any, x: Any, y: Any, z: Any) -> Any:
    """``x*y + z``"""
    function = ir.FunctionType(x.type, [x.type] * 3)
    fused = cgutils.get_or_insert_function(builder.module, function, f"llvm.fmuladd.{_suffix(x.type)}")
    return builder.call(fused, [x, y, z])


def scalar_bytes(kind: Any) -> int:
    """Bytes of a float or double."""
    return 4 if isinstance(kind, ir.FloatType) else 8


def _lanes_type(lanes: int) -> Any:
    return ir.VectorType(LANE, lanes)


def _suffix(kind: Any) -> str:
    return f"v{kind.count}f{scalar_bytes(kind.element) * 8}"


# What kernels call. An array is one with contiguous elements; nothing is checked.


def _element(context: Any, builder: Any, kind: Any, array: Any, index: Any) -> Any:
    return builder.gep(make_array(kind)(context, builder, array).data, [index])


@intrinsic
def load(typing_context: Any, array: Any, index: Any) -> Any:
    """``array[index : index + lanes]``"""
    result = Vector(array.dtype)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return load_vector(builder, _element(context, builder, array, *arguments), vector_of(array.dtype))

    return result(array, types.intp), generate


@intrinsic
def load_first(typing_context: Any, array: Any, index: Any, count: Any) -> Any:
    """``array[index : index + count]``, count < lanes, and zeros."""
    result = Vector(array.dtype)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        mask = first_lanes(builder, arguments[2], result.lanes)
        return load_vector(builder, _element(context, builder, array, *arguments[:2]), vector_of(array.dtype), mask)

    return result(array, types.intp, types.intp), generate


@intrinsic
def store(typing_context: Any, array: Any, index: Any, vector: Any) -> Any:
    """``array[index : index + lanes] = vector``"""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        store_vector(builder, arguments[2], _element(context, builder, array, *arguments[:2]))
        return context.get_dummy_value()

    return types.void(array, types.intp, vector), generate


@intrinsic
def store_first(typing_context: Any, array: Any, index: Any, vector: Any, count: Any) -> Any:
    """``array[index : index + count] = vector[:count]``, count < lanes"""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        mask = first_lanes(builder, arguments[3], vector.lanes)
        store_vector(builder, arguments[2], _element(context, builder, array, *arguments[:2]), mask)
        return context.get_dummy_value()

    return types.void(array, types.intp, vector, types.intp), generate


@intrinsic
def broadcast(typing_context: Any, value: Any) -> Any:
    """A vector with the value, a float32 or float64, in each lane."""
    result = Vector(value)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return splat(builder, arguments[0], result.lanes)

    return result(value), generate


@intrinsic
def fmuladd(typing_context: Any, x: Any, y: Any, z: Any) -> Any:
    """``x*y + z`` in each lane."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return multiply_add(builder, *arguments)

    return x(x, x, x), generate


@intrinsic
def add(typing_context: Any, x: Any, y: Any) -> Any:
    """``x + y`` in each lane."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fadd(*arguments)

    return x(x, x), generate


@intrinsic
def horizontal_sum(typing_context: Any, vector: Any) -> Any:
    """The sum over the lanes, halves added to halves: ``((x0+x2) + (x1+x3))`` of four."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        total = arguments[0]
        while total.type.count > 1:
            half = total.type.count // 2
            low, high = (ir.Constant(_lanes_type(half), list(range(at, at + half))) for at in (0, half))
            undefined = ir.Constant(total.type, ir.Undefined)
            total = builder.fadd(
                builder.shuffle_vector(total, undefined, low), builder.shuffle_vector(total, undefined, high)
            )
        return builder.extract_element(total, LANE(0))

    return vector.dtype(vector), generate


@intrinsic
def lanes(typing_context: Any, value: Any) -> Any:
    """Lanes of a vector of the dtype of `value`, a number, an array or a vector: a constant in compiled code."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return INDEX(Vector(getattr(value, "dtype", value)).lanes)

    return types.intp(value), generate

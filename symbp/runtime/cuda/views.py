"""Named arrays at an address, whole numbers taken apart into subscripts, and accesses of 128 bits.

All are intrinsics: a kernel contains their few instructions and no call. Nothing is checked: a kernel's subscripts are
right because the generator proved them so, and are never negative.
"""

# mypy: disable-error-code="attr-defined, misc, name-defined, no-redef"

from __future__ import annotations

import operator
from typing import Any

from llvmlite import ir

from symbp.runtime.cuda.kernel import NUMBA_CUDA, intrinsic

if NUMBA_CUDA:
    from numba.cuda import cgutils, types
    from numba.cuda.extending import core_models, lower_builtin, register_model
    from numba.cuda.np.arrayobj import make_array, populate_array
else:
    # Nothing is compiled then; with these the definitions below can still be read.
    from numba.core import cgutils, types
    from numba.core.datamodel import models as core_models
    from numba.extending import lower_builtin, register_model
    from numba.np.arrayobj import make_array, populate_array


class View(types.Array):
    """Numba's contiguous array, except that a negative subscript does not count from the end.

    That costs a comparison and a selection for every subscript that the compiler cannot tell to be positive.
    """

    def __init__(self, dtype: Any, ndim: int) -> None:
        super().__init__(dtype, ndim, "C", name=f"view({dtype}, {ndim}d)")


register_model(View)(core_models.ArrayModel)


@intrinsic
def view(typing_context: Any, pointer: Any, start: Any, shape: Any) -> Any:
    """``pointer[start : start + size]`` seen with `shape`, a tuple of one or more whole numbers."""
    result = View(pointer.dtype, len(shape))

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, start_type, shape_type = signature.args
        size = context.get_abi_sizeof(context.get_data_type(pointer.dtype))
        extents = _whole_numbers(context, builder, shape_type, arguments[2])
        strides = [context.get_constant(types.intp, size)]
        for extent in reversed(extents[1:]):
            strides.insert(0, builder.mul(strides[0], extent))
        made = make_array(result)(context, builder)
        populate_array(
            made,
            data=builder.gep(arguments[0], [_whole_number(context, builder, start_type, arguments[1])]),
            shape=extents,
            strides=strides,
            itemsize=strides[-1],
            meminfo=None,
        )
        return made._getvalue()

    return result(pointer, start, shape), generate


@intrinsic
def unravel(typing_context: Any, position: Any, shape: Any) -> Any:
    """The subscripts of element `position` of an array of `shape`, the last running fastest; `position` below 2^32.

    A division of 64 bits is a call of seventy instructions; one of 32 bits is twenty, and a multiplication where the
    extent is known. The subscripts are 64 bits wide again, so that no address is cut off.
    """
    short, long = ir.IntType(32), ir.IntType(64)
    result = types.UniTuple(types.int64, len(shape))

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        position_type, shape_type = signature.args
        rest = builder.trunc(_whole_number(context, builder, position_type, arguments[0]), short)
        extents = [builder.trunc(e, short) for e in _whole_numbers(context, builder, shape_type, arguments[1])]
        subscripts: list[Any] = []
        for extent in reversed(extents[1:]):
            subscripts.insert(0, builder.zext(builder.urem(rest, extent), long))
            rest = builder.udiv(rest, extent)
        subscripts.insert(0, builder.zext(rest, long))
        return context.make_tuple(builder, result, subscripts)

    return result(position, shape), generate


@intrinsic
def load4(typing_context: Any, array: Any, index: Any) -> Any:
    """``(array[index], .., array[index + 3])`` at once.

    `array` is a pointer, or an array of any rank seen as the flat one that it is, in global or shared memory;
    its element `index` lies at a multiple of 16 bytes (shared arrays: ``cuda.shared.array(.., alignment=16)``).
    A load of 128 bits in float32, two of them in float64.
    """
    return _load(4, array, index)


@intrinsic
def load2(typing_context: Any, array: Any, index: Any) -> Any:
    """``(array[index], array[index + 1])`` at once, as in `load4`; aligned to 8 bytes in float32, 16 in float64."""
    return _load(2, array, index)


@intrinsic
def store4(typing_context: Any, array: Any, index: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
    """``array[index : index + 4] = (a, b, c, d)`` at once; `array` and `index` as in `load4`."""
    return _store(array, index, a, b, c, d)


@intrinsic
def store2(typing_context: Any, array: Any, index: Any, a: Any, b: Any) -> Any:
    """``array[index : index + 2] = (a, b)`` at once; `array` and `index` as in `load2`."""
    return _store(array, index, a, b)


def _load(width: int, array: Any, index: Any) -> Any:
    result = types.UniTuple(array.dtype, width)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address = _vector_address(context, builder, signature, arguments, width)
        loaded = builder.load(address, align=_alignment(context, array, width))
        items = [builder.extract_element(loaded, ir.IntType(32)(lane)) for lane in range(width)]
        return context.make_tuple(builder, result, items)

    return result(array, index), generate


def _store(array: Any, index: Any, *items: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address = _vector_address(context, builder, signature, arguments, len(items))
        stored = ir.Constant(address.type.pointee, ir.Undefined)
        for lane, value in enumerate(arguments[2:]):
            stored = builder.insert_element(stored, value, ir.IntType(32)(lane))
        builder.store(stored, address, align=_alignment(context, array, len(items)))
        return context.get_dummy_value()

    return types.void(array, index, *(array.dtype for _ in items)), generate


def _vector_address(context: Any, builder: Any, signature: Any, arguments: Any, width: int) -> Any:
    """The address of `width` neighbouring numbers, as one vector of LLVM's."""
    array, index = signature.args[:2]
    data = arguments[0] if isinstance(array, types.CPointer) else make_array(array)(context, builder, arguments[0]).data
    element = builder.gep(data, [_whole_number(context, builder, index, arguments[1])], inbounds=True)
    vector = ir.VectorType(context.get_data_type(array.dtype), width)
    return builder.bitcast(element, vector.as_pointer(data.type.addrspace))


def _alignment(context: Any, array: Any, width: int) -> int:
    return min(16, width * int(context.get_abi_sizeof(context.get_data_type(array.dtype))))


def _whole_number(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    return context.cast(builder, value, kind, types.int64)


def _whole_numbers(context: Any, builder: Any, kind: Any, values: Any) -> list[Any]:
    """The members of a tuple."""
    return [
        _whole_number(context, builder, *pair) for pair in zip(kind, cgutils.unpack_tuple(builder, values), strict=True)
    ]


def _element(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """The address of ``view[subscripts]``: ``((i0*n1 + i1)*n2 + i2)..`` elements after the first."""
    array = make_array(signature.args[0])(context, builder, arguments[0])
    kind, value = signature.args[1], arguments[1]
    if isinstance(kind, types.BaseTuple):
        subscripts = _whole_numbers(context, builder, kind, value)
    else:
        subscripts = [_whole_number(context, builder, kind, value)]
    place = subscripts[0]
    for extent, subscript in zip(cgutils.unpack_tuple(builder, array.shape)[1:], subscripts[1:], strict=True):
        place = builder.add(builder.mul(place, extent), subscript)
    return builder.gep(array.data, [place], inbounds=True)


def _read(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    return builder.load(_element(context, builder, signature, arguments))


def _write(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    value = context.cast(builder, arguments[2], signature.args[2], signature.args[0].dtype)
    builder.store(value, _element(context, builder, signature, arguments))
    return context.get_dummy_value()


for _subscript in (types.Integer, types.BaseTuple):
    lower_builtin(operator.getitem, View, _subscript)(_read)
    lower_builtin(operator.setitem, View, _subscript, types.Any)(_write)

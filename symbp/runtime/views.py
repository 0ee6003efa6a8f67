"""Named arrays inside flat ones."""

# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import make_array, populate_array


@intrinsic
def view(typing_context: Any, flat: Any, start: Any, shape: Any) -> Any:
    """``flat[start : start + size]`` seen with `shape`, a tuple; shares the memory of `flat`, itself of any shape.

    For use inside a kernel that was given `flat`, contiguous and long enough: nothing is checked, and the view does not
    keep `flat` alive. Only a pointer, extents and strides are made. A slice and a reshape come with checks, error paths
    and reference counts, on which a kernel with twenty views spends seconds of compile time.
    """
    result = types.Array(flat.dtype, len(shape), "C")

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def whole_number(value: Any, kind: Any) -> Any:
            return context.cast(builder, value, kind, types.intp)

        source = make_array(flat)(context, builder, arguments[0])
        # A number, not the field of the array: strides that LLVM knows are what it vectorises by.
        itemsize = context.get_constant(types.intp, context.get_abi_sizeof(context.get_data_type(flat.dtype)))
        offset = builder.mul(whole_number(arguments[1], signature.args[1]), itemsize)
        extents = list(map(whole_number, cgutils.unpack_tuple(builder, arguments[2]), signature.args[2]))
        strides = [itemsize]
        for extent in reversed(extents[1:]):
            strides.insert(0, builder.mul(strides[0], extent))
        made = make_array(result)(context, builder)
        populate_array(
            made,
            data=_somewhere(builder, cgutils.pointer_add(builder, source.data, offset)),
            shape=extents,
            strides=strides,
            itemsize=itemsize,
            meminfo=None,
        )
        return made._getvalue()

    return result(flat, start, shape), generate


def _unknown(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """The first argument as an index of which the compiler knows nothing; no instruction."""
    value = context.cast(builder, arguments[0], signature.args[0], types.intp)
    same = ir.FunctionType(value.type, [value.type])
    return builder.asm(same, "", "=r,0", [value], False)


def _somewhere(builder: Any, pointer: Any) -> Any:
    """The pointer as it is, and nothing that LLVM could know of it.

    Of two views of one array it would work out how far they lie from each other, and where it cannot, because one is
    read at the same place in every turn of a loop, not vectorise the loop; of arrays it knows nothing of it compares
    the ends first.
    """
    same = ir.FunctionType(pointer.type, [pointer.type])
    return builder.asm(same, "", "=r,0", [pointer], False)


@intrinsic
def apart(typing_context: Any, index: Any) -> Any:
    """The index as it is, and nothing that the compiler could know of it: ``b = apart(b)``.

    For the outer of two loops where rows of one array lie between each other, as ``h[b, t]`` and ``h[b, t + 1]`` do for
    all b. LLVM would compare the ranges of all turns at once, find that they overlap, and run the inner loop one
    element at a time, which takes the cells of an LSTM six times as long. So it compares row by row. It costs no
    instruction.
    """
    return types.intp(index), _unknown


@intrinsic
def rolled(typing_context: Any, extent: Any) -> Any:
    """The extent as it is, and nothing that the compiler could know of it: ``for k in range(rolled(64))``.

    For a sum or a search along a short row. LLVM writes out a loop of so few turns before it looks for vectors, and is
    left with a chain of single operations: the largest of 64 took nine times as long.
    """
    return types.intp(extent), _unknown

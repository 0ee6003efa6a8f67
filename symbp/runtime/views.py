"""Named arrays inside flat ones."""

# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

from typing import Any

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
        offset = builder.mul(whole_number(arguments[1], signature.args[1]), source.itemsize)
        extents = list(map(whole_number, cgutils.unpack_tuple(builder, arguments[2]), signature.args[2]))
        strides = [source.itemsize]
        for extent in reversed(extents[1:]):
            strides.insert(0, builder.mul(strides[0], extent))
        made = make_array(result)(context, builder)
        populate_array(
            made,
            data=cgutils.pointer_add(builder, source.data, offset),
            shape=extents,
            strides=strides,
            itemsize=source.itemsize,
            meminfo=None,
        )
        return made._getvalue()

    return result(flat, start, shape), generate

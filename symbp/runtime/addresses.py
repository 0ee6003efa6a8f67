"""Memory by its address, for products that are compiled once and for all layouts: addresses are whole numbers.

Nothing is checked. `like` is a number of the dtype that lies there.
"""

# mypy: disable-error-code="call-arg, no-untyped-def, no-untyped-call, var-annotated"

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from symbp.runtime.simd import (
    INDEX,
    LANE,
    WIDTH,
    Vector,
    first_lanes,
    load_vector,
    scalar_bytes,
    scalar_of,
    store_vector,
    vector_of,
)


def _pointer(builder: Any, address: Any) -> Any:
    return builder.inttoptr(address, ir.IntType(8).as_pointer())


@intrinsic
def get(typing_context: Any, like: Any, address: Any) -> Any:
    """The number there."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load(builder.inttoptr(arguments[1], scalar_of(like).as_pointer()))

    return like(like, types.intp), generate


@intrinsic
def put(typing_context: Any, address: Any, value: Any) -> Any:
    """Write a number there."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.store(arguments[1], builder.inttoptr(arguments[0], scalar_of(value).as_pointer()))
        return context.get_dummy_value()

    return types.void(types.intp, value), generate


@intrinsic
def get_vector(typing_context: Any, like: Any, address: Any, count: Any) -> Any:
    """The first `count` lanes from there, or all lanes where there are fewer; the others are zero."""
    result = Vector(like)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _get_first(builder, _pointer(builder, arguments[1]), arguments[2], vector_of(like))

    return result(like, types.intp, types.intp), generate


@intrinsic
def put_vector(typing_context: Any, address: Any, vector: Any, count: Any) -> Any:
    """Write the first `count` lanes, or all where there are fewer."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer, value = _pointer(builder, arguments[0]), arguments[1]
        _put_first(builder, value, pointer, arguments[2])
        return context.get_dummy_value()

    return types.void(types.intp, vector, types.intp), generate


def _get_first(builder: Any, pointer: Any, count: Any, kind: Any) -> Any:
    """A masked load is slow on some processors, so not where the vector is full."""
    if WIDTH == 64:
        return load_vector(builder, pointer, kind, first_lanes(builder, count, kind.count))
    with builder.if_else(builder.icmp_signed(">=", count, INDEX(kind.count))) as (full, part):
        with full:
            whole = load_vector(builder, pointer, kind)
            from_full = builder.block
        with part:
            some = load_vector(builder, pointer, kind, first_lanes(builder, count, kind.count))
            from_part = builder.block
    value = builder.phi(kind)
    value.add_incoming(whole, from_full)
    value.add_incoming(some, from_part)
    return value


def _put_first(builder: Any, value: Any, pointer: Any, count: Any) -> None:
    lanes = value.type.count
    if WIDTH == 64:
        return store_vector(builder, value, pointer, first_lanes(builder, count, lanes))
    with builder.if_else(builder.icmp_signed(">=", count, INDEX(lanes))) as (full, part):
        with full:
            store_vector(builder, value, pointer)
        with part:
            store_vector(builder, value, pointer, first_lanes(builder, count, lanes))
    return None


@intrinsic
def transpose_block(
    typing_context: Any,
    like: Any,
    source: Any,
    source_step: Any,
    rows: Any,
    columns: Any,
    target: Any,
    target_step: Any,
) -> Any:
    """``target[j, i] = source[i, j]`` for i < rows and j < columns, both at most the lanes of a vector and at least 1.

    In registers: stage d = 1, 2, 4, .. exchanges the blocks of d x d beside the diagonal (Eklundh, 1972).
    """
    kind = vector_of(like)
    lanes = kind.count

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, source, source_step, rows, columns, target, target_step = arguments
        values = []
        for i in range(lanes):
            # Rows that are not there are read from the last one, and not written.
            row = builder.select(builder.icmp_signed("<", INDEX(i), rows), INDEX(i), builder.sub(rows, INDEX(1)))
            pointer = _pointer(builder, builder.add(source, builder.mul(row, source_step)))
            values.append(_get_first(builder, pointer, columns, kind))
        for j, value in enumerate(_transposed(builder, values)):
            pointer = _pointer(builder, builder.add(target, builder.mul(INDEX(j), target_step)))
            with builder.if_then(builder.icmp_signed("<", INDEX(j), columns)):
                _put_first(builder, value, pointer, rows)
        return context.get_dummy_value()

    return types.void(like, *[types.intp] * 6), generate


def _transposed(builder: Any, rows: list[Any]) -> list[Any]:
    lanes = len(rows)
    rows = list(rows)
    block = 1
    while block < lanes:
        upper = [lane if not lane & block else lanes + lane - block for lane in range(lanes)]
        lower = [lane + block if not lane & block else lanes + lane for lane in range(lanes)]
        for i in range(lanes):
            if not i & block:
                pair = rows[i], rows[i + block]
                for row, order in ((i, upper), (i + block, lower)):
                    rows[row] = builder.shuffle_vector(*pair, ir.Constant(ir.VectorType(LANE, lanes), order))
        block *= 2
    return rows


@intrinsic
def stack_room(typing_context: Any, size: Any) -> Any:
    """The address of `size` bytes, a constant, that last as long as the function that asks for them."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        with builder.goto_entry_block():  # not Numba's own alloca: it fills with zeros, byte by byte
            room = builder.alloca(ir.ArrayType(ir.IntType(8), size.literal_value))
            room.align = 64
        return builder.ptrtoint(room, INDEX)

    return (types.intp(size), generate) if isinstance(size, types.IntegerLiteral) else None


@intrinsic
def allocate(typing_context: Any, size: Any) -> Any:
    """The address of `size` bytes of memory, to be given back by :func:`release`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ptrtoint(context.nrt.allocate(builder, arguments[0]), INDEX)

    return types.intp(types.intp), generate


@intrinsic
def release(typing_context: Any, address: Any) -> Any:
    """Give memory back."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        context.nrt.free(builder, _pointer(builder, arguments[0]))
        return context.get_dummy_value()

    return types.void(types.intp), generate


@intrinsic
def itemsize(typing_context: Any, like: Any) -> Any:
    """Bytes of a number, a constant."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return INDEX(scalar_bytes(scalar_of(like)))

    return types.intp(like), generate

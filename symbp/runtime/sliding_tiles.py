"""The inner loops of products in which something slides: a tile of the result held in vector registers.

    convolve_tile:   out[i, l] (+)= sum[t] left[i, t]*right[t, l]          vectors of lanes beside each other
    correlate_tile:  out[i, n] (+)= sum[p, l] left[i, p, l]*right[n, p, l] a vector of partial sums for each element

Written as LLVM code, one function for each number of rows and of columns. What a call needs besides a few numbers lies
in a table of whole numbers in memory. Offsets and steps count elements.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from symbp.runtime.simd import (
    INDEX,
    LANE,
    REGISTERS,
    WIDTH,
    first_lanes,
    load_vector,
    multiply_add,
    scalar_bytes,
    scalar_of,
    splat,
    store_vector,
    vector_of,
)

#: The most rows of a tile, by its columns (vectors, or vectors of partial sums): all sums stay in registers.
ROWS = {4: 6, 2: 8, 1: 8} if REGISTERS == 32 else {2: 6, 1: 8}
#: The most columns of a tile.
WIDEST = max(ROWS)


# ------------------------------------------------------------------------------------------------------ whole numbers


@intrinsic
def numbers(typing_context: Any, values: Any) -> Any:
    """The address of a table of the whole numbers in nested tuples; it lasts as long as the function."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        flat = list(_flat(builder, values, arguments[0]))
        table = cgutils.alloca_once(builder, ir.ArrayType(INDEX, len(flat)))
        for k, (value, kind) in enumerate(flat):
            whole = context.cast(builder, value, kind, types.intp)
            builder.store(whole, builder.gep(table, [LANE(0), LANE(k)]))
        return builder.ptrtoint(table, INDEX)

    return types.intp(values), generate


def _flat(builder: Any, kind: Any, value: Any) -> Any:
    if not isinstance(kind, types.BaseTuple):
        yield value, kind
        return
    members: Any = kind
    for k, part in enumerate(members):
        yield from _flat(builder, part, builder.extract_value(value, k))


@intrinsic
def number(typing_context: Any, table: Any, place: Any) -> Any:
    """``table[place]``"""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load(builder.gep(_pointer(builder, arguments[0], INDEX), [arguments[1]]))

    return types.intp(types.intp, types.intp), generate


def _pointer(builder: Any, place: Any, kind: Any) -> Any:
    return builder.inttoptr(place, kind.as_pointer())


# -------------------------------------------------------------------------------------------------------------- tiles


@intrinsic
def convolve_tile(
    typing_context: Any,
    like: Any,
    rows: Any,
    columns: Any,
    left: Any,
    left_row: Any,
    right: Any,
    out: Any,
    out_row: Any,
    lanes: Any,
    taps: Any,
    adds: Any,
) -> Any:
    """``out[i, l] (+)= sum[t] left[i, t]*right[t, l]`` for `rows` rows and `lanes` lanes, which fill `columns` vectors.

    `left`, `right` and `out` are addresses. `taps` is a table of four times ``(count, left, right)``, the last one
    innermost. Each element is one chain of fused multiply-adds in the order of the taps.
    """
    return _tiles(like, _write_convolve, 11)


@intrinsic
def correlate_tile(
    typing_context: Any,
    like: Any,
    rows: Any,
    columns: Any,
    left: Any,
    left_row: Any,
    right: Any,
    out: Any,
    out_row: Any,
    lanes: Any,
    tables: Any,
    adds: Any,
) -> Any:
    """``out[i, n] (+)= sum[p, l] left[i, p, l]*right[n, p, l]`` for `rows` rows, `columns` columns, `lanes` lanes.

    `left`, `right` and `out` are addresses. `tables` has three times ``(count, left, right)`` for the places, then
    ``(right, out)`` for each column.
    """
    return _tiles(like, _write_correlate, 11)


def _tiles(like: Any, write: Callable[..., Any], count: int) -> Any:
    """A call of the function for so many rows and columns."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        done = builder.append_basic_block("done")
        key = builder.add(builder.mul(arguments[2], INDEX(32)), arguments[1])
        switch = builder.switch(key, done)
        for columns, most in ROWS.items():
            for rows in range(1, most + 1):
                function = _function(builder.module, like, write, rows, columns)
                block = builder.append_basic_block(function.name)
                switch.add_case(INDEX(columns * 32 + rows), block)
                with builder.goto_block(block):
                    builder.call(function, arguments[3:])
                    builder.branch(done)
        builder.position_at_end(done)
        return context.get_dummy_value()

    return types.void(like, *[types.intp] * (count - 1)), generate


def _function(module: Any, like: Any, write: Callable[..., Any], rows: int, columns: int) -> Any:
    """The function in this module; the same if asked again."""
    name = f"{write.__name__}_{like}_{rows}x{columns}"
    if name in module.globals:
        return module.globals[name]
    kind = ir.FunctionType(ir.VoidType(), [INDEX] * 8)
    function = ir.Function(module, kind, name)
    function.linkage = "internal"
    function.attributes.add("noinline")  # or all tiles become one function, which takes LLVM minutes
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    write(builder, like, rows, columns, function.args)
    builder.ret_void()
    return function


def _along(builder: Any, start: Any, counters: Sequence[Any], steps: Sequence[Any]) -> Any:
    """``start + sum counters*steps``."""
    for counter, step in zip(counters, steps, strict=True):
        start = builder.add(start, builder.mul(counter, step))
    return start


def _loops(builder: Any, counts: Sequence[Any], body: Callable[[list[Any]], None], outer: tuple[Any, ...] = ()) -> None:
    """Loops one in the other, the first outermost, around `body`, which is given their counters."""
    if not counts:
        body(list(outer))
        return
    with cgutils.for_range(builder, counts[0], intp=INDEX) as loop:
        _loops(builder, counts[1:], body, (*outer, loop.index))


def _table(builder: Any, place: Any, count: int) -> list[Any]:
    table = _pointer(builder, place, INDEX)
    return [builder.load(builder.gep(table, [INDEX(k)])) for k in range(count)]


def _rows_of(builder: Any, base: Any, row: Any, rows: int) -> list[Any]:
    places = [base]
    for _ in range(rows - 1):
        places.append(builder.gep(places[-1], [row]))
    return places


def _write_convolve(builder: Any, like: Any, rows: int, columns: int, arguments: Any) -> None:
    left, left_row, right, out, out_row, lanes, taps, adds = arguments
    scalar, kind = scalar_of(like), vector_of(like)
    width = kind.count
    left, right, out = (_pointer(builder, place, scalar) for place in (left, right, out))
    # All but the last vector are full.
    mask = first_lanes(builder, builder.sub(lanes, INDEX((columns - 1) * width)), width)
    masks = [None] * (columns - 1) + [mask]
    sums = [[cgutils.alloca_once(builder, kind) for _ in range(columns)] for _ in range(rows)]
    table = _table(builder, taps, 12)

    def across(base: Any) -> list[Any]:
        return [builder.gep(base, [INDEX(v * width)]) for v in range(columns)]

    with builder.if_else(cgutils.is_not_null(builder, adds)) as (then, otherwise):
        with then:
            for i, place in enumerate(_rows_of(builder, out, out_row, rows)):
                for v, part in enumerate(across(place)):
                    builder.store(load_vector(builder, part, kind, masks[v]), sums[i][v])
        with otherwise:
            for row in sums:
                for total in row:
                    builder.store(ir.Constant(kind, None), total)

    def step(counters: list[Any]) -> None:
        from_left = builder.gep(left, [_along(builder, INDEX(0), counters, table[1::3])])
        from_right = builder.gep(right, [_along(builder, INDEX(0), counters, table[2::3])])
        parts = [load_vector(builder, part, kind, masks[v]) for v, part in enumerate(across(from_right))]
        for i, place in enumerate(_rows_of(builder, from_left, left_row, rows)):
            factor = splat(builder, builder.load(place), width)
            for v, part in enumerate(parts):
                builder.store(multiply_add(builder, factor, part, builder.load(sums[i][v])), sums[i][v])

    _loops(builder, table[0::3], step)
    for i, place in enumerate(_rows_of(builder, out, out_row, rows)):
        for v, part in enumerate(across(place)):
            store_vector(builder, builder.load(sums[i][v]), part, masks[v])


def _write_correlate(builder: Any, like: Any, rows: int, columns: int, arguments: Any) -> None:
    left, left_row, right, out, out_row, lanes, tables, adds = arguments
    scalar, kind = scalar_of(like), vector_of(like)
    width = kind.count
    left, right, out = (_pointer(builder, place, scalar) for place in (left, right, out))
    sums = [[cgutils.alloca_once(builder, kind) for _ in range(columns)] for _ in range(rows)]
    for row in sums:
        for total in row:
            builder.store(ir.Constant(kind, None), total)
    table = _table(builder, tables, 9 + 2 * columns)
    rights = [builder.gep(right, [place]) for place in table[9::2]]
    full = builder.sdiv(lanes, INDEX(width))
    done = builder.mul(full, INDEX(width))
    rest = builder.sub(lanes, done)
    mask = first_lanes(builder, rest, width)

    def add(from_left: Any, offset: Any, masked: Any) -> None:
        parts = [load_vector(builder, builder.gep(place, [offset]), kind, masked) for place in rights]
        for i, place in enumerate(_rows_of(builder, from_left, left_row, rows)):
            factor = load_vector(builder, place, kind, masked)
            for n, part in enumerate(parts):
                builder.store(multiply_add(builder, factor, part, builder.load(sums[i][n])), sums[i][n])

    def step(counters: list[Any]) -> None:
        from_left = builder.gep(left, [_along(builder, INDEX(0), counters, table[1:9:3])])
        from_right = _along(builder, INDEX(0), counters, table[2:9:3])
        with cgutils.for_range(builder, full, intp=INDEX) as loop:
            offset = builder.mul(loop.index, INDEX(width))
            add(builder.gep(from_left, [offset]), builder.add(from_right, offset), None)
        with builder.if_then(builder.icmp_signed(">", rest, INDEX(0))):
            add(builder.gep(from_left, [done]), builder.add(from_right, done), mask)

    _loops(builder, table[0:9:3], step)
    # In memory from here on, so that one loop can go through them.
    partial = cgutils.alloca_once(builder, ir.ArrayType(kind, rows * columns))
    for k, total in enumerate(total for row in sums for total in row):
        builder.store(builder.load(total), builder.gep(partial, [INDEX(0), INDEX(k)]))
    adding = cgutils.is_not_null(builder, adds)
    with (
        cgutils.for_range(builder, INDEX(rows), intp=INDEX) as row,
        cgutils.for_range(builder, INDEX(columns), intp=INDEX) as column,
    ):
        flat = builder.add(builder.mul(row.index, INDEX(columns)), column.index)
        total = _total(builder, builder.load(builder.gep(partial, [INDEX(0), flat])))
        entry = builder.add(builder.mul(column.index, INDEX(2)), INDEX(10))
        place = builder.load(builder.gep(_pointer(builder, tables, INDEX), [entry]))
        place = builder.gep(out, [builder.add(place, builder.mul(row.index, out_row))])
        builder.store(builder.select(adding, builder.fadd(builder.load(place), total), total), place)


def _total(builder: Any, vector: Any) -> Any:
    """The sum of the lanes, halves added to halves."""
    while vector.type.count > 1:
        half = vector.type.count // 2
        order = ir.VectorType(LANE, half)
        low, high = (ir.Constant(order, list(range(at, at + half))) for at in (0, half))
        nothing = ir.Constant(vector.type, ir.Undefined)
        vector = builder.fadd(
            builder.shuffle_vector(vector, nothing, low), builder.shuffle_vector(vector, nothing, high)
        )
    return builder.extract_element(vector, LANE(0))


@intrinsic
def itemsize(typing_context: Any, like: Any) -> Any:
    """Bytes of a number, a constant."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return INDEX(scalar_bytes(scalar_of(like)))

    return types.intp(like), generate


#: Bytes of a vector.
VECTOR_BYTES = WIDTH

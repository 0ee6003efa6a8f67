"""The inner loop of matrix products: a tile of C held in vector registers while k runs.

    for k in range(depth):
        b[0..vectors] = row k of B
        for i in range(rows):
            c[i][0..vectors] += a[i, k]*b[0..vectors]

Written as LLVM code, one function for each number of rows and of vectors. Each element is one chain of fused
multiply-adds that starts from what C holds (or from zero) and takes k in order, in whichever tile it lies: how a
product is cut into tiles does not change a bit of it.
"""

# mypy: disable-error-code="call-arg, no-untyped-def, no-untyped-call, var-annotated"

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llvmlite import ir
from numba import types
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

#: The most rows of a tile, by its vectors. Accumulators, the vectors of B and one of A have a register each; from eight
#: accumulators on the arithmetic units are busy, so more of them would only take longer to compile.
ROWS = {4: 6, 2: 8, 1: 8} if REGISTERS == 32 else {2: 6, 1: 8}
#: The widest tile in vectors.
WIDEST = max(ROWS)
# AVX-512 reads under a mask at no cost; elsewhere only tiles at the right edge of B do.
_MASKS_ARE_FREE = WIDTH == 64

_ARGUMENTS = (
    "tiles", "depth", "a", "a_row", "a_depth", "a_tile", "b", "b_depth", "c", "c_row", "columns", "limit", "slope",
    "fresh",
)  # fmt: skip


@intrinsic
def tiles(
    typing_context: Any,
    like: Any,
    rows: Any,
    vectors: Any,
    tiles: Any,
    depth: Any,
    a: Any,
    a_row: Any,
    a_depth: Any,
    a_tile: Any,
    b: Any,
    b_depth: Any,
    c: Any,
    c_row: Any,
    columns: Any,
    limit: Any,
    slope: Any,
    fresh: Any,
) -> Any:
    """``c[i, j] (+)= sum[k] a[i, k]*b[k, j]`` for `tiles` tiles of `rows` x `vectors`, one below the other.

    All are whole numbers, the arrays are addresses, the steps bytes: of `a` to the next row, k and tile, of `b` to the
    next k, of `c` to the next row; rows of B and C are contiguous. Row i is written up to column
    ``min(columns, limit + i*slope)``. With `fresh`, C is set. `like` is a number of the dtype.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _choose(builder, like, arguments[1], arguments[2], arguments[3:], guarded=False)
        return context.get_dummy_value()

    integers = [types.intp] * (2 + len(_ARGUMENTS))
    return types.void(like, *integers), generate


@intrinsic
def guarded_tile(
    typing_context: Any,
    like: Any,
    rows: Any,
    vectors: Any,
    depth: Any,
    a: Any,
    a_row: Any,
    a_depth: Any,
    b: Any,
    b_depth: Any,
    c: Any,
    c_row: Any,
    columns: Any,
    fresh: Any,
    sign: Any,
    bound: Any,
) -> Any:
    """As `tiles`, of one tile, in which row i takes part in step k only if ``sign*(k - i) <= bound``; sign is 1 or -1.

    A product that a row takes no part in is computed and dropped, so what B holds there does no harm.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, rows, vectors, depth, a, a_row, a_depth, b, b_depth, c, c_row, columns, fresh, sign, bound = arguments
        zero = INDEX(0)
        rest = [
            INDEX(1),
            depth,
            a,
            a_row,
            a_depth,
            zero,
            b,
            b_depth,
            c,
            c_row,
            columns,
            columns,
            zero,
            fresh,
            sign,
            bound,
        ]
        _choose(builder, like, rows, vectors, rest, guarded=True)
        return context.get_dummy_value()

    return types.void(like, *[types.intp] * 14), generate


def _choose(builder: Any, like: Any, rows: Any, vectors: Any, arguments: list[Any], guarded: bool) -> None:
    """Call the function for this shape of tile."""
    done = builder.append_basic_block("done")
    if _MASKS_ARE_FREE:
        kinds = [True]
        masked = INDEX(1)
    else:
        kinds = [False, True]
        whole = builder.mul(vectors, INDEX(WIDTH // scalar_bytes(scalar_of(like))))
        masked = builder.zext(builder.icmp_signed("<", arguments[_ARGUMENTS.index("columns")], whole), INDEX)
    key = builder.add(builder.mul(builder.add(builder.mul(vectors, INDEX(2)), masked), INDEX(32)), rows)
    switch = builder.switch(key, done)
    for tile in [_Tile(like, r, v, m, guarded) for v, most in ROWS.items() for r in range(1, most + 1) for m in kinds]:
        function = tile.function(builder.module)
        block = builder.append_basic_block(function.name)
        switch.add_case(INDEX((tile.vectors * 2 + tile.masked) * 32 + tile.rows), block)
        with builder.goto_block(block):
            builder.call(function, arguments)
            builder.branch(done)
    builder.position_at_end(done)


@dataclass(frozen=True)
class _Tile:
    """One shape of tile: rows of C by vectors, the last vector of B whole or under a mask, each row guarded or not."""

    dtype: Any
    rows: int
    vectors: int
    masked: bool
    guarded: bool

    @property
    def lanes(self) -> int:
        return int(vector_of(self.dtype).count)

    def function(self, module: Any) -> Any:
        """The function in this module; the same if asked again."""
        name = f"symbp_tile_{self.dtype}_{self.rows}x{self.vectors}{'_edge' * self.masked}{'_guarded' * self.guarded}"
        if name in module.globals:
            return module.globals[name]
        names = (*_ARGUMENTS, "sign", "bound") if self.guarded else _ARGUMENTS
        function = ir.Function(module, ir.FunctionType(ir.VoidType(), [INDEX] * len(names)), name)
        function.linkage = "linkonce_odr"
        function.attributes.add("noinline")
        function.attributes.add("nounwind")
        values = dict(zip(names, function.args, strict=True))
        for name, value in values.items():
            value.name = name
        self._write(ir.IRBuilder(function.append_basic_block("entry")), values)
        return function

    def _write(self, builder: Any, given: dict[str, Any]) -> None:
        """The loop over the tiles: take C, run along k, put C back."""
        entry = builder.block
        head, set_zero, take, take_whole, take_part, put, put_whole, put_part, last, done = (
            builder.append_basic_block(name)
            for name in [
                "head",
                "zero",
                "take",
                "take_whole",
                "take_part",
                "put",
                "put_whole",
                "put_part",
                "last",
                "done",
            ]
        )
        kind = vector_of(self.dtype)
        width = INDEX(self.vectors * self.lanes)
        fresh = builder.icmp_signed("!=", given["fresh"], INDEX(0))
        mask = None
        if self.masked:
            mask = first_lanes(builder, given["columns"], self.lanes, (self.vectors - 1) * self.lanes)
        row_steps = [builder.mul(given["a_row"], INDEX(i)) for i in range(self.rows)]
        builder.cbranch(builder.icmp_signed(">", given["tiles"], INDEX(0)), head, done)

        builder.position_at_end(head)
        tile, a, c, limit = (builder.phi(INDEX) for _ in range(4))
        for phi, value in ((tile, INDEX(0)), (a, given["a"]), (c, given["c"]), (limit, given["limit"])):
            phi.add_incoming(value, entry)
        smallest = builder.select(builder.icmp_signed("<", limit, given["columns"]), limit, given["columns"])
        whole = builder.icmp_signed(">=", smallest, width)
        c_rows = [builder.add(c, builder.mul(given["c_row"], INDEX(i))) for i in range(self.rows)]
        builder.cbranch(fresh, set_zero, take)
        cells = [(i, v) for i in range(self.rows) for v in range(self.vectors)]

        builder.position_at_end(set_zero)
        from_zero = [ir.Constant(kind, None)] * len(cells)
        body = builder.append_basic_block("body")
        builder.branch(body)
        builder.position_at_end(take)
        builder.cbranch(whole, take_whole, take_part)
        builder.position_at_end(take_whole)
        from_whole = [load_vector(builder, self._at(builder, c_rows[i], v), kind) for i, v in cells]
        builder.branch(body)
        builder.position_at_end(take_part)
        masks = self._masks(builder, given, limit)
        from_part = [load_vector(builder, self._at(builder, c_rows[i], v), kind, masks[i, v]) for i, v in cells]
        builder.branch(body)

        builder.position_at_end(body)
        start = []
        for values in zip(from_zero, from_whole, from_part, strict=True):
            phi = builder.phi(kind)
            for value, block in zip(values, (set_zero, take_whole, take_part), strict=True):
                phi.add_incoming(value, block)
            start.append(phi)
        totals = self._along_k(builder, given, a, row_steps, mask, start, put)

        builder.position_at_end(put)
        builder.cbranch(whole, put_whole, put_part)
        builder.position_at_end(put_whole)
        for (i, v), total in zip(cells, totals, strict=True):
            store_vector(builder, total, self._at(builder, c_rows[i], v))
        builder.branch(last)
        builder.position_at_end(put_part)
        masks = self._masks(builder, given, limit)
        for (i, v), total in zip(cells, totals, strict=True):
            store_vector(builder, total, self._at(builder, c_rows[i], v), masks[i, v])
        builder.branch(last)

        builder.position_at_end(last)
        next_tile = builder.add(tile, INDEX(1))
        tile.add_incoming(next_tile, last)
        a.add_incoming(builder.add(a, given["a_tile"]), last)
        c.add_incoming(builder.add(c, builder.mul(given["c_row"], INDEX(self.rows))), last)
        limit.add_incoming(builder.add(limit, builder.mul(given["slope"], INDEX(self.rows))), last)
        builder.cbranch(builder.icmp_signed("<", next_tile, given["tiles"]), head, done)
        builder.position_at_end(done)
        builder.ret_void()

    def _along_k(
        self, builder: Any, given: dict[str, Any], a: Any, row_steps: Any, mask: Any, start: Any, put: Any
    ) -> Any:
        """The loop along k; gives the totals in `put`, where it goes when it is done."""
        before = builder.block
        loop = builder.append_basic_block("along_k")
        builder.cbranch(builder.icmp_signed(">", given["depth"], INDEX(0)), loop, put)
        builder.position_at_end(loop)
        kind = vector_of(self.dtype)
        k, a_k, b_k = (builder.phi(INDEX) for _ in range(3))
        totals = [builder.phi(kind) for _ in start]
        for phi, value in ((k, INDEX(0)), (a_k, a), (b_k, given["b"]), *zip(totals, start, strict=True)):
            phi.add_incoming(value, before)
        columns = [
            load_vector(builder, self._at(builder, b_k, v), kind, mask if v == self.vectors - 1 else None)
            for v in range(self.vectors)
        ]
        results = []
        for i in range(self.rows):
            pointer = builder.inttoptr(builder.add(a_k, row_steps[i]), scalar_of(self.dtype).as_pointer())
            factor = splat(builder, builder.load(pointer), self.lanes)
            old = totals[i * self.vectors : (i + 1) * self.vectors]
            new = [multiply_add(builder, factor, column, total) for column, total in zip(columns, old, strict=True)]
            if self.guarded:
                takes_part = self._takes_part(builder, given, k, i)
                new = [builder.select(takes_part, *pair) for pair in zip(new, old, strict=True)]
            results += new
        next_k = builder.add(k, INDEX(1))
        for phi, value in (
            (k, next_k),
            (a_k, builder.add(a_k, given["a_depth"])),
            (b_k, builder.add(b_k, given["b_depth"])),
            *zip(totals, results, strict=True),
        ):
            phi.add_incoming(value, loop)
        builder.cbranch(builder.icmp_signed("<", next_k, given["depth"]), loop, put)
        builder.position_at_end(put)
        ends = []
        for first, result in zip(start, results, strict=True):
            phi = builder.phi(kind)
            phi.add_incoming(first, before)
            phi.add_incoming(result, loop)
            ends.append(phi)
        return ends

    def _takes_part(self, builder: Any, given: dict[str, Any], k: Any, row: int) -> Any:
        """A mask of all lanes or none."""
        distance = builder.mul(given["sign"], builder.sub(k, INDEX(row)))
        sides = (splat(builder, builder.trunc(side, LANE), self.lanes) for side in (distance, given["bound"]))
        return builder.icmp_signed("<=", *sides)

    def _at(self, builder: Any, address: Any, vector: int) -> Any:
        return builder.inttoptr(builder.add(address, INDEX(vector * WIDTH)), ir.IntType(8).as_pointer())

    def _masks(self, builder: Any, given: dict[str, Any], limit: Any) -> dict[tuple[int, int], Any]:
        masks = {}
        for i in range(self.rows):
            end = builder.add(limit, builder.mul(given["slope"], INDEX(i)))
            end = builder.select(builder.icmp_signed("<", end, given["columns"]), end, given["columns"])
            for v in range(self.vectors):
                masks[i, v] = first_lanes(builder, end, self.lanes, v * self.lanes)
        return masks

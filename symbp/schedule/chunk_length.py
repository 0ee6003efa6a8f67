"""How many samples make a chunk."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from symbp.ir.affine import ONE, Affine, Index, Size
from symbp.ir.cost import Cost, evaluate, nanoseconds
from symbp.ir.order import Scan, order
from symbp.ir.plan import ROWS
from symbp.ir.program import Program, Role
from symbp.ir.statement import Domain, Reduction, Statement
from symbp.schedule.buffers import element_count
from symbp.schedule.classify import as_contraction
from symbp.schedule.cost import cost_of

#: A chunk is to take about so long on one core, in nanoseconds as `nanoseconds` estimates them (a machine with 512-bit
#: vectors needs a third): handing it to a thread costs a few thousand.
CHUNK_NANOSECONDS = 80_000.0
#: And each of its statements so long, or calls and views cost more than the work.
NANOSECONDS_OF_A_STATEMENT = 2_000.0
#: Rows that a matrix product needs to be near its full speed, and with weights that fill the second cache.
ROWS_OF_A_PRODUCT = 16
ROWS_BESIDE_LARGE_WEIGHTS = 128
#: Samples that lie side by side where a window slides over them (`samples_last`), and bytes of a result of that many
#: above which half as many are enough.
SAMPLES_SIDE_BY_SIDE = 64
LARGE_RESULT = 1 << 20
#: Bytes of weights that no longer stay in the second cache beside everything else.
LARGE_WEIGHTS = 1 << 19
#: A chunk of more samples than this to fill its time: calls and views would cost more than threads win.
LONGEST_CHUNK = 128
#: Bytes that a core reads or writes in a nanosecond.
BYTES_PER_NANOSECOND = 20.0


def time_of(cost: Cost, sizes: Mapping[str, int] | None = None) -> float:
    """About how long a piece of work takes, in nanoseconds, with its way through memory."""
    return nanoseconds(cost, sizes) + evaluate(cost.bytes, sizes) / BYTES_PER_NANOSECOND


def over_chunk(statement: Statement, index: Index) -> Statement:
    """The statement over the samples of a chunk, which `index` counts from its first."""
    ranges = tuple(replace(r, stop=Affine.of(ROWS)) if r.index == index else r for r in statement.domain.ranges)
    return replace(statement, domain=Domain(ranges, statement.guards))


def chunk_length(program: Program, extent: Affine, rows: Mapping[int, Index], costs: Mapping[int, Cost]) -> int:
    """How many samples make a chunk: a power of two, enough of them for threads and for matrix products.

    `rows` are the statements, by id, that stay within a sample, with the index that counts samples; `costs` has that
    of every statement. 0 if samples are so small that cutting does not pay.
    """
    statements = [s for s in program.statements if id(s) in rows]
    times = {id(s): _time_of_row(s, rows[id(s)], program, extent, costs[id(s)]) for s in statements}
    time = max(sum(times.values()), 1.0)
    least = max(1.0, CHUNK_NANOSECONDS / time, NANOSECONDS_OF_A_STATEMENT * len(rows) / time)
    if least > LONGEST_CHUNK:
        return 0
    parameters = frozenset(t.name for t in program.with_role(Role.PARAMETER))
    scanned = {s.tensor: step.index for step in order(program) if isinstance(step, Scan) for s in step.statements}
    weights: set[str] = set()
    for statement in statements:
        if 20 * times[id(statement)] < time:
            continue
        if _slides(statement):
            one = 4 * evaluate(element_count(program.tensor(statement.tensor))) // evaluate(extent)
            large = SAMPLES_SIDE_BY_SIDE * one > LARGE_RESULT
            least = max(least, SAMPLES_SIDE_BY_SIDE // (2 if large else 1))
        fixed = (scanned[statement.tensor],) if statement.tensor in scanned else ()
        each = _rows_of_product(statement, rows[id(statement)], program, fixed, parameters)
        if each is None:
            continue
        weights |= parameters.intersection(statement.tensors_read)
        least = max(least, ROWS_OF_A_PRODUCT / each)
        if 4 * sum(evaluate(element_count(program.tensor(name))) for name in sorted(weights)) > LARGE_WEIGHTS:
            least = max(least, ROWS_BESIDE_LARGE_WEIGHTS / each)
    length = 1
    while length < least:
        length *= 2
    return length


def _time_of_row(statement: Statement, index: Index, program: Program, extent: Affine, cost: Cost) -> float:
    """The time of one more row: without that of reading weights, which all rows share."""
    size = extent.as_atom()
    if not isinstance(size, Size):
        size, cost = ROWS, cost_of(over_chunk(statement, index), program)
    return time_of(cost, {size.name: 2}) - time_of(cost, {size.name: 1})


def _slides(statement: Statement) -> bool:
    """True for a sum over products in which one factor is read along a window."""
    windows = [s for r in statement.body.reads for s in r.subscripts if len(s.plain_indices()) > 1]
    return statement.reduction is Reduction.SUM and len(statement.body.reads) == 2 and bool(windows)


def _rows_of_product(
    statement: Statement, index: Index, program: Program, fixed: tuple[Index, ...], parameters: frozenset[str]
) -> int | None:
    """How many rows of a matrix product one sample makes; None if samples are products of their own."""
    inside = tuple(i for i in fixed if i in statement.free)
    contraction = as_contraction(statement, program, inside)
    if contraction is None or index in contraction.batch or index in contraction.summed:
        return None
    columns = {i for r in statement.reads if r.tensor in parameters for s in r.subscripts for i in s.indices()}
    rows = [i for i in statement.free if i not in (index, *inside, *contraction.batch) and i not in columns]
    return evaluate(math.prod((statement.domain.range_of(i).extent for i in rows), start=ONE))

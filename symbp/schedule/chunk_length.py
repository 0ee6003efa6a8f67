"""How many samples make a chunk: at most for speed, and at least where the batch is short."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from symbp.ir.affine import ONE, ZERO, Affine, Index, Size
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
#: Where the batch is too short for two of these, so many times less is enough.
SHORTER = 2
#: And each of its statements so long, or calls and views cost more than the work.
NANOSECONDS_OF_A_STATEMENT = 2_000.0
#: Rows that a matrix product needs to be near its full speed, and with weights that fill the second cache.
ROWS_OF_A_PRODUCT = 16
ROWS_BESIDE_LARGE_WEIGHTS = 128
#: Rows with which two threads are still faster than one with twice as many; with large weights most of the time goes
#: into bringing these from memory, which a recurrence does once for many steps.
FEWEST_ROWS_OF_A_PRODUCT = 8
FEWEST_ROWS_BESIDE_LARGE_WEIGHTS = 64
#: Samples that lie side by side where a window slides over them (`samples_last`), and bytes of a result of that many
#: above which half as many are enough.
SAMPLES_SIDE_BY_SIDE = 64
FEWEST_SIDE_BY_SIDE = 16
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


def chunk_lengths(
    program: Program, extent: Affine, rows: Mapping[int, Index], costs: Mapping[int, Cost]
) -> tuple[int, int] | None:
    """How many samples make a chunk, at most and at least: powers of two.

    With the first matrix products are fast; with the second handing a chunk to a thread still pays.

    `rows` are the statements, by id, that stay within a sample, with the index that counts samples; `costs` has that
    of every statement. None if samples are so small that cutting does not pay.
    """
    statements = [s for s in program.statements if id(s) in rows]
    times = {id(s): _time_of_row(s, rows[id(s)], program, extent, costs[id(s)]) for s in statements}
    time = max(sum(times.values()), 1.0)
    overhead = NANOSECONDS_OF_A_STATEMENT * len(rows) / time
    least = max(1.0, CHUNK_NANOSECONDS / time, overhead)
    if least > LONGEST_CHUNK:
        return None
    shortest = max(1.0, CHUNK_NANOSECONDS / SHORTER / time, overhead)
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
            shortest = max(shortest, FEWEST_SIDE_BY_SIDE)
        fixed = (scanned[statement.tensor],) if statement.tensor in scanned else ()
        each = _rows_of_product(statement, rows[id(statement)], program, fixed, parameters)
        if each is None:
            continue
        weights |= parameters.intersection(statement.tensors_read)
        least = max(least, ROWS_OF_A_PRODUCT / each)
        shortest = max(shortest, FEWEST_ROWS_OF_A_PRODUCT / each)
        if 4 * sum(evaluate(element_count(program.tensor(name))) for name in sorted(weights)) > LARGE_WEIGHTS:
            least = max(least, ROWS_BESIDE_LARGE_WEIGHTS / each)
            if not fixed:
                shortest = max(shortest, FEWEST_ROWS_BESIDE_LARGE_WEIGHTS / each)
    return _power_of_two(least), _power_of_two(shortest)


def _power_of_two(least: float) -> int:
    number = 1
    while number < least:
        number *= 2
    return number


def _time_of_row(statement: Statement, index: Index, program: Program, extent: Affine, cost: Cost) -> float:
    """The time of one more row: without that of reading weights, which all rows share."""
    size = extent.as_atom()
    if not isinstance(size, Size):
        size, cost = ROWS, cost_of(over_chunk(statement, index), program)
    return time_of(cost, {size.name: 2}) - time_of(cost, {size.name: 1})


def _slides(statement: Statement) -> bool:
    """True for a sum over products in which one factor is read along a window that overlaps with the next."""
    if statement.reduction is not Reduction.SUM or len(statement.body.reads) != 2:
        return False
    return any(_overlaps(s, statement) for r in statement.body.reads for s in r.subscripts)


def _overlaps(subscript: Affine, statement: Statement) -> bool:
    """True for ``2*i + k`` with k from 0 to 4: unlike ``5*i + k``, the next i does not begin behind the last k."""
    steps = {i: abs(evaluate(subscript.coefficient(i) or ZERO)) for i in subscript.plain_indices()}
    return any(
        steps[i] < steps[k] * evaluate(statement.domain.range_of(k).extent)
        for i in steps
        for k in steps
        if i in statement.free and k in statement.reduced
    )


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

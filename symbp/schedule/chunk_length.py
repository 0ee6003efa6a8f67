"""How many samples make a chunk."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from symbp.ir.affine import ONE, Affine, Index
from symbp.ir.cost import Cost, evaluate, nanoseconds
from symbp.ir.order import Scan, order
from symbp.ir.program import Program, Role
from symbp.ir.statement import Domain, Reduction, Statement
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


def nanoseconds_of(program: Program, wanted: Iterable[int] | None) -> float:
    """The time of a program's statements, all of them or those of these ids."""
    chosen = None if wanted is None else set(wanted)
    return sum(_time(cost_of(s, program)) for s in program.statements if chosen is None or id(s) in chosen)


def _time(cost: Cost) -> float:
    return nanoseconds(cost) + evaluate(cost.bytes) / BYTES_PER_NANOSECOND


def chunk_length(program: Program, extent: Affine, rows: Mapping[int, Index]) -> int:
    """How many samples make a chunk: a power of two, enough of them for threads and for matrix products.

    0 if samples are so small that cutting does not pay.
    """
    costs = {id(s): _cost_of_row(s, rows[id(s)], program) for s in program.statements if id(s) in rows}
    time = max(sum(costs.values()), 1.0)
    least = max(1.0, CHUNK_NANOSECONDS / time, NANOSECONDS_OF_A_STATEMENT * len(rows) / time)
    if least > LONGEST_CHUNK:
        return 0
    scanned = {s.tensor: step.index for step in order(program) if isinstance(step, Scan) for s in step.statements}
    weights: frozenset[str] = frozenset()
    for statement in program.statements:
        if id(statement) not in rows or 20 * costs[id(statement)] < time:
            continue
        if _slides(statement):
            large = (
                4 * SAMPLES_SIDE_BY_SIDE * element_total(statement.tensor, program) // evaluate(extent) > LARGE_RESULT
            )
            least = max(least, SAMPLES_SIDE_BY_SIDE // (2 if large else 1))
        fixed = (scanned[statement.tensor],) if statement.tensor in scanned else ()
        each = _rows_of_product(statement, rows[id(statement)], program, fixed)
        if each is None:
            continue
        weights |= {r.tensor for r in statement.reads} & _weights(program)
        least = max(least, ROWS_OF_A_PRODUCT / each)
        if 4 * sum(element_total(name, program) for name in sorted(weights)) > LARGE_WEIGHTS:
            least = max(least, ROWS_BESIDE_LARGE_WEIGHTS / each)
    length = 1
    while length < least:
        length *= 2
    return length


def _slides(statement: Statement) -> bool:
    """True for a sum over products in which one factor is read along a window."""
    windows = [s for r in statement.body.reads for s in r.subscripts if len(s.plain_indices()) > 1]
    return statement.reduction is Reduction.SUM and len(statement.body.reads) == 2 and bool(windows)


def _weights(program: Program) -> frozenset[str]:
    return frozenset(t.name for t in program.with_role(Role.PARAMETER))


def element_total(name: str, program: Program) -> int:
    """How many elements a tensor has, run-time sizes taken as `evaluate` takes them."""
    total = ONE
    for extent in program.tensor(name).shape:
        total = total * extent
    return evaluate(total)


def _cost_of_row(statement: Statement, index: Index, program: Program) -> float:
    """The time of one more row: without that of reading weights, which all rows share."""
    two, one = (_time(cost_of(_some_rows(statement, index, n), program)) for n in (2, 1))
    return two - one


def _some_rows(statement: Statement, index: Index, count: int) -> Statement:
    ranges = tuple(replace(r, stop=Affine.of(count)) if r.index == index else r for r in statement.domain.ranges)
    return replace(statement, domain=Domain(ranges, statement.guards))


def _rows_of_product(statement: Statement, index: Index, program: Program, fixed: tuple[Index, ...]) -> int | None:
    """How many rows of a matrix product one sample makes; None if samples are products of their own."""
    inside = tuple(i for i in fixed if i in statement.free)
    contraction = as_contraction(statement, program, inside)
    if contraction is None or index in contraction.batch or index in contraction.summed:
        return None
    rows = ONE
    for i in statement.free:
        if i in (index, *inside, *contraction.batch):
            continue
        if sum(any(i in s.indices() for s in r.subscripts) for r in statement.reads if r.tensor in _weights(program)):
            continue  # a column
        rows = rows * statement.domain.range_of(i).extent
    return evaluate(rows)

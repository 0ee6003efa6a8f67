"""Sum over samples that lie side by side at the very end, not at the end of every row of them.

    c_bar[o] = sum[b, p, q] z_bar[o, p, q, b]

    c_bar_lanes[o, b] = sum[p, q] z_bar[o, p, q, b]
    c_bar[o] = sum[b] c_bar_lanes[o, b]

The sum over the lanes of a vector register takes longer than adding up a row of 64 samples: of the first layer of a
LeNet the sum of all took four times as long.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from symbp.ir.affine import ZERO, Affine, Index, Read
from symbp.ir.body import Body
from symbp.ir.names import fresh_name
from symbp.ir.program import Program, Tensor
from symbp.ir.statement import Domain, Reduction, Statement


def sum_lanes_last(program: Program, lanes: Iterable[str]) -> Program:
    """The program with such sums in two steps; `lanes` are the tensors that have the samples last."""
    wanted, names = frozenset(lanes), {t.name for t in program.tensors}
    tensors, statements = list(program.tensors), list[Statement]()
    for statement in program.statements:
        lane = _lane(statement, wanted)
        if lane is None:
            statements.append(statement)
            continue
        rows = fresh_name(f"{statement.tensor}_lanes", names)
        names.add(rows)
        whole = program.tensor(statement.tensor)
        loop = statement.domain.range_of(lane)
        tensors.append(Tensor(rows, (*whole.shape, loop.stop), whole.role, (*whole.axes, lane.name)))
        subscripts = (*statement.subscripts, Affine.of(lane))
        free, others = (*statement.free, lane), tuple(i for i in statement.reduced if i != lane)
        per_lane = replace(statement, tensor=rows, subscripts=subscripts, free=free, reduced=others, accumulate=False)
        kept = Domain(tuple(r for r in statement.domain.ranges if r.index not in others))
        over_lanes = replace(statement, body=Body.of(Read(rows, subscripts)), domain=kept, reduced=(lane,))
        statements += [per_lane, over_lanes]
    return replace(program, tensors=tuple(tensors), statements=tuple(statements))


def _lane(statement: Statement, lanes: frozenset[str]) -> Index | None:
    """The index of samples of a sum over these and more, if they come last wherever they are counted.

    No element may serve several results, as in a product: there would be too many sums to keep.
    """
    if statement.reduction is not Reduction.SUM or len(statement.reduced) < 2 or statement.guards:
        return None
    for index in statement.reduced:
        reads = [r for r in statement.body.reads if any(index in s.indices() for s in r.subscripts)]
        last = all(
            r.tensor in lanes
            and r.subscripts[-1].as_index() == index
            and not any(index in s.indices() for s in r.subscripts[:-1])
            and all(any(i in s.indices() for s in r.subscripts) for i in statement.free)
            for r in reads
        )
        if reads and last and statement.domain.range_of(index).lower == ZERO:
            return index
    return None

"""Lay the weights of a recurrence out as the threads of a step read them.

    h_bar[b, t, k] = sum[q, l] U[k, q, l]*z_bar[b, t, q, l]

A thread takes one k, and neighbouring threads would read U whole rows apart, at every step. So U is turned once,

    U_turned[q, l, k] = U[k, q, l]          h_bar[b, t, k] = sum[q, l] U_turned[q, l, k]*z_bar[b, t, q, l]

and a warp reads neighbouring numbers. Products outside of recurrences need none of this: their tiles pass through
shared memory, which may be read in any order.
"""

from __future__ import annotations

from dataclasses import replace

from symbp.ir.affine import ZERO, Affine, Index, Read
from symbp.ir.body import Body
from symbp.ir.names import fresh_name
from symbp.ir.program import Program, Role, Tensor
from symbp.ir.statement import Domain, Range, Reduction, Statement
from symbp.schedule.device.lower import LARGEST_STEP, work_of_a_step
from symbp.schedule.reach import depends_on, is_recurrent


def turn_weights(program: Program) -> Program:
    """Every sum of a recurrence that walks a constant array across its rows reads a turned copy of it."""
    names = {t.name for t in program.tensors}
    tensors = list(program.tensors)
    statements: list[Statement] = []
    made: dict[Read, Read] = {}
    for statement in program.statements:
        read = _read_across(statement, program)
        if read is None:
            statements.append(statement)
            continue
        if read not in made:
            tensor, copy = _turned(read, statement, fresh_name(f"{read.tensor}_turned", names))
            names.add(tensor.name)
            tensors.append(tensor)
            statements.append(copy)
            made[read] = copy.target
        statements.append(replace(statement, body=_with_read(statement.body, read, made[read])))
    return replace(program, tensors=tuple(tensors), statements=tuple(statements))


def _with_read(body: Body, old: Read, new: Read) -> Body:
    return body.replace_reads(lambda read: Body.of(new) if read == old else None)


def _read_across(statement: Statement, program: Program) -> Read | None:
    """The read whose rows neighbouring threads would take: it has the last free index, but not on its last axis."""
    if statement.reduction is not Reduction.SUM or not statement.subscripts or not statement.free:
        return None
    if work_of_a_step(statement) > LARGEST_STEP or not is_recurrent(statement, program):
        return None
    last = statement.subscripts[-1].as_index()
    if last is None:
        return None
    for read in statement.body.reads:
        indices = [s.as_index() for s in read.subscripts]
        if None in indices or last not in indices[:-1] or indices[-1] == last or len(set(indices)) < len(indices):
            continue
        if not depends_on(read.tensor, statement.tensor, program) and _is_constant(read, statement):
            return read
    return None


def _is_constant(read: Read, statement: Statement) -> bool:
    """True if all extents are known numbers: weights, which are small beside the work of all the steps."""
    ranges = (statement.domain.range_of(i) for s in read.subscripts for i in s.indices())
    return all(r.extent.is_constant and r.lower == ZERO for r in ranges)


def _turned(read: Read, statement: Statement, name: str) -> tuple[Tensor, Statement]:
    last = statement.subscripts[-1].as_index()
    indices = [i for s in read.subscripts for i in s.indices()]
    order: list[Index] = [i for i in indices if i != last] + [i for i in indices if i == last]
    ranges: list[Range] = [statement.domain.range_of(i) for i in order]
    tensor = Tensor(name, tuple(r.stop for r in ranges), Role.ACTIVATION, tuple(i.name for i in order))
    copy = Statement(
        name,
        tuple(map(Affine.of, order)),
        tuple(order),
        Body.of(read),
        Domain(tuple(ranges)),
        origin=statement.origin,
    )
    return tensor, copy

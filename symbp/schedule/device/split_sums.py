"""Cut long sums that have few results into parts, so that more than a handful of blocks work on them.

    c_bar[k] = sum[b, t] z_bar[b, t, k]

    c_bar_part[c, k] = sum[b, t] z_bar[b, t, k]    where 16*c <= b < 16*c + 16
    c_bar[k] = sum[c] c_bar_part[c, k]

The length of a part is fixed, so the order of addition, and every bit, depends on the sizes alone.
"""

from __future__ import annotations

from dataclasses import replace

from symbp.ir.affine import ONE, ZERO, Affine, Index, Read, floor_div
from symbp.ir.body import Body
from symbp.ir.names import fresh_name
from symbp.ir.program import Program, Role, Tensor
from symbp.ir.statement import Domain, NonNegative, Range, Reduction, Statement, fresh_index
from symbp.schedule.device.einsum import as_contract
from symbp.schedule.lower import free_guards

#: More results than this keep the device busy by themselves.
FEW_RESULTS = 1 << 14
#: About so many terms make a part.
PART = 512


def split_sums(program: Program) -> Program:
    """Every long sum with few results in two steps."""
    names = {t.name for t in program.tensors}
    tensors = list(program.tensors)
    statements: list[Statement] = []
    for statement in program.statements:
        axis = _axis_to_cut(statement, program)
        if axis is None:
            statements.append(statement)
            continue
        tensor, parts, total = _cut(statement, axis, program, fresh_name(f"{statement.tensor}_part", names))
        names.add(tensor.name)
        tensors.append(tensor)
        statements += [parts, total]
    return replace(program, tensors=tuple(tensors), statements=tuple(statements))


def _axis_to_cut(statement: Statement, program: Program) -> Index | None:
    """The summed index to cut: the first whose extent is known at run time only."""
    if statement.reduction is not Reduction.SUM or statement.tensor in statement.tensors_read:
        return None
    if free_guards(statement) or as_contract(statement, accumulate=False) is not None:
        return None
    results = ONE
    for index in statement.free:
        results = results * statement.domain.range_of(index).extent
    if not results.is_constant or int(results) > FEW_RESULTS:
        return None
    for index in statement.reduced:
        loop = statement.domain.range_of(index)
        if not loop.extent.is_constant and loop.lower == ZERO:
            return index
    return None


def _cut(statement: Statement, axis: Index, program: Program, name: str) -> tuple[Tensor, Statement, Statement]:
    loop = statement.domain.range_of(axis)
    rows = _rows(statement, axis)
    c = fresh_index("c", statement.indices)
    count = floor_div(loop.stop + (rows - 1), rows)
    inside = (NonNegative(axis - rows * Affine.of(c)), NonNegative(rows * Affine.of(c) + (rows - 1) - axis))
    chunk = Range(c, ZERO, count)
    free_ranges = tuple(statement.domain.range_of(i) for i in statement.free)
    # Counted from 0 along every axis, whatever the ranges of the free indices are.
    places = (Affine.of(c), *(i - r.lower for i, r in zip(statement.free, free_ranges, strict=True)))
    owner = program.tensor(statement.tensor)
    tensor = Tensor(
        name,
        (count, *(r.extent for r in free_ranges)),
        Role.ACTIVATION if owner.role is Role.LOSS else owner.role,
        axes=(c.name, *(i.name for i in statement.free)),
    )
    if tensor.role is Role.PARAMETER or tensor.is_given:
        tensor = replace(tensor, role=Role.ADJOINT)
    parts = replace(
        statement,
        tensor=name,
        subscripts=places,
        free=(c, *statement.free),
        domain=Domain((chunk, *statement.domain.ranges), (*statement.guards, *inside)),
        accumulate=False,
    )
    total = replace(
        statement,
        reduced=(c,),
        body=Body.of(Read(name, places)),
        domain=Domain((*free_ranges, chunk), ()),
    )
    return tensor, parts, total


def _rows(statement: Statement, axis: Index) -> int:
    """How many values of `axis` make a part: fewer where each stands for many terms."""
    others = ONE
    for index in statement.reduced:
        if index != axis:
            others = others * statement.domain.range_of(index).extent
    if not others.is_constant:
        return 16
    return max(1, PART // int(others))

"""Sums to which many points contribute in no fixed order, such as the gradient of an embedding's rows.

    E_bar[token[n], k] += z_bar[n, k]

Points that meet must add atomically, and floating-point sums depend on their order. So the contributions are added as
whole numbers, in a unit made from the largest of them: any order gives the same bits, and no digit that the result
could hold is lost.

    largest[0] = max |z_bar[n, k]|;    sums[token[n], k] += whole(z_bar[n, k]);    E_bar[v, k] += real(sums[v, k])
"""

from __future__ import annotations

from dataclasses import replace

from symbp.ir.affine import ONE, ZERO, Affine, Index, Read
from symbp.ir.names import fresh_name
from symbp.ir.nodes import AddAtomically, Bound, Fill, Largest, Loop, Node, Note, Settle, Spread, Update
from symbp.ir.plan import Kind, Nest
from symbp.ir.program import DType, Program, Role, Tensor
from symbp.ir.statement import Statement, fresh_index
from symbp.schedule.device.independence import tells_apart
from symbp.schedule.lower import loops_of

LARGEST, SUMS = "_largest", "_sums"


def points_meet(statement: Statement) -> bool:
    """True if several values of the free indices may write one element, so that they cannot run at once."""
    ranges = {r.index: r for r in statement.domain.ranges}
    left = list(statement.free)
    while left:
        # An index that is told apart from the element alone is as good as fixed for the others.
        told = next((i for i in left if tells_apart(i, [statement.subscripts], left, ranges)), None)
        if told is None:
            return True
        left.remove(told)
    return False


def is_exact_sum(statement: Statement) -> bool:
    """True for an accumulation whose points may meet."""
    return statement.accumulate and points_meet(statement)


def declare_sums(program: Program) -> Program:
    """The program with the two tensors that the sums of each such statement are kept in."""
    names = {t.name for t in program.tensors}
    found: list[Tensor] = []
    for tensor in program.tensors:
        if any(map(is_exact_sum, program.definitions(tensor.name))):
            for suffix, shape, dtype in ((LARGEST, (ONE,), DType.FLOAT), (SUMS, tensor.shape, DType.INT)):
                name = fresh_name(tensor.name + suffix, names)
                names.add(name)
                found.append(Tensor(name, shape, Role.ADJOINT, dtype=dtype, primal=tensor.name))
    return replace(program, tensors=(*program.tensors, *found))


def lower_exact(statement: Statement, program: Program, *, sets: bool) -> tuple[Nest, ...]:
    """Three nests: the largest contribution, the sums, the result. `sets`: the result is the first to be written."""
    largest, sums = (_companion(statement.tensor, suffix, program) for suffix in (LARGEST, SUMS))
    count = ONE
    for index in statement.indices:
        count = count * statement.domain.range_of(index).extent
    note = Note(statement)  # with +=, as several points add to one element
    spread = Spread(sums, statement.subscripts, statement.body, largest, count)
    find = (Fill(largest), note, *loops_of(statement, program, (Largest(largest, statement.body),)))
    add = (Fill(sums), note, *loops_of(statement, program, (spread,)))
    settle = (note, *_settle(statement, program, sums, largest, count, sets))
    kinds = (Kind.REDUCTION, Kind.SCATTER, Kind.MAP)
    return tuple(Nest((statement,), nodes, kind) for nodes, kind in zip((find, add, settle), kinds, strict=True))


def lower_atomic(statement: Statement, program: Program) -> Nest:
    """One nest, whose result depends in its last bits on the order in which the points happen to come."""
    add = AddAtomically(statement.target, statement.body)
    return Nest((statement,), (Note(statement), *loops_of(statement, program, (add,))), Kind.SCATTER)


def _companion(name: str, suffix: str, program: Program) -> str:
    return next(t.name for t in program.tensors if t.primal == name and t.name.startswith(name + suffix))


def _settle(
    statement: Statement, program: Program, sums: str, largest: str, count: Affine, sets: bool
) -> tuple[Node, ...]:
    tensor = program.tensor(statement.tensor)
    indices: list[Index] = []
    for axis in range(tensor.rank):
        hint = tensor.axes[axis] if axis < len(tensor.axes) else "e"
        indices.append(fresh_index(hint, indices))
    target = Read(tensor.name, tuple(map(Affine.of, indices)))
    nodes: tuple[Node, ...] = (Settle(target, sums, largest, count, Update.SET if sets else Update.ADD),)
    for index, extent in zip(reversed(indices), reversed(tensor.shape), strict=True):
        nodes = (Loop(index, Bound((ZERO,)), Bound((extent,)), nodes),)
    return nodes

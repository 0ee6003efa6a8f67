"""Lower the steps of a program to nests: whole statements, and scans with a statement for each turn."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from symbp.ir.affine import ZERO, Affine, Index
from symbp.ir.body import Body
from symbp.ir.nodes import Bound, Fill, If, Loop, Node, Note
from symbp.ir.order import Block, Scan, Step
from symbp.ir.plan import Kind, Machine, Nest, share_sizes
from symbp.ir.program import Program
from symbp.ir.statement import Domain, NonNegative, Range, Statement
from symbp.ir.walk_nodes import walk
from symbp.schedule.classify import classify
from symbp.schedule.coverage import plan_writes
from symbp.schedule.device.exact_sums import is_exact_sum
from symbp.schedule.device.lower import is_one_kernel, lower_for_teams, lower_turn
from symbp.schedule.fuse import fuse_nests
from symbp.schedule.lower import lower_statement

#: Tensors that threads share out, each along one of its axes: the number of the axis and its extent.
Shares = Mapping[str, tuple[int, Affine]]
NO_SHARES: Shares = {}


def lower_steps(
    steps: Iterable[Step], program: Program, wanted: Iterable[str], machine: Machine, shares: Shares = NO_SHARES
) -> tuple[Nest, ...]:
    """Lower every statement; the first nest that writes a tensor fills it if its writes leave gaps.

    Whoever asked for the tensors `wanted` sees all of them; of the others, gaps that nothing reads may stay. Of the
    tensors in `shares` one share is made, from ``first_128`` to ``last_128`` along an axis of 128.
    """
    steps, seen = tuple(steps), frozenset(wanted)
    writes: dict[str, list[Statement]] = {}
    carriers: dict[str, list[Scan | None]] = {}
    for step in steps:
        for statement in step.statements:
            writes.setdefault(statement.tensor, []).append(statement)
            carriers.setdefault(statement.tensor, []).append(step if isinstance(step, Scan) else None)
    may_set: dict[int, bool] = {}
    to_fill: dict[str, None] = {}
    for name, statements in writes.items():
        readers = None if name in seen else program.readers(name)
        sets, fill = plan_writes(statements, program.tensor(name), readers, carriers[name])
        may_set |= {id(s): value for s, value in zip(statements, sets, strict=True)}
        if fill:
            to_fill[name] = None
    nests: list[Nest] = []
    for step in steps:
        names = [n for n in dict.fromkeys(s.tensor for s in step.statements) if n in to_fill]
        fills = tuple(node for n in names for node in _fill(n, program, shares))
        for name in names:
            del to_fill[name]
        if isinstance(step, Block):
            for k, statement in enumerate(step.statements):
                exact = machine is Machine.TEAMS and is_exact_sum(statement)
                if exact and Fill(statement.tensor) in fills and k == 0:
                    fills = ()  # the sums are complete when the result is written, all of it
                    may_set[id(statement)] = True
                lowered = _lower_one(_share_of(statement, shares), program, may_set[id(statement)], machine)
                if k == 0:
                    lowered = (replace(lowered[0], nodes=(*fills, *lowered[0].nodes)), *lowered[1:])
                nests += lowered
        else:
            nests.append(Nest(step.statements, (*fills, _lower_scan(step, program, may_set, machine)), Kind.SCAN))
    return tuple(nests)


def _share_of(statement: Statement, shares: Shares) -> Statement:
    """The statement for one share of what it writes."""
    if statement.tensor not in shares:
        return statement
    axis, extent = shares[statement.tensor]
    index = statement.subscripts[axis].as_index()
    first, last = map(Affine.of, share_sizes(extent))
    ranges = tuple(Range(r.index, first, last) if r.index == index else r for r in statement.domain.ranges)
    return replace(statement, domain=Domain(ranges, statement.guards))


def _fill(name: str, program: Program, shares: Shares) -> tuple[Node, ...]:
    """Clear a tensor, or one share of it."""
    if name not in shares:
        return (Fill(name),)
    shape = program.tensor(name).shape
    indices = tuple(Index(f"i{k}") for k in range(len(shape)))
    ranges = tuple(Range(i, ZERO, extent) for i, extent in zip(indices, shape, strict=True))
    zero = Statement(name, tuple(map(Affine.of, indices)), indices, Body.of(0), Domain(ranges))
    return lower_statement(_share_of(zero, shares), program, fresh=True)


def _lower_one(statement: Statement, program: Program, sets: bool, machine: Machine) -> tuple[Nest, ...]:
    if machine.in_teams:
        return lower_for_teams(statement, program, sets=sets, atomics=machine is Machine.ATOMICS)
    note = Note(replace(statement, accumulate=not sets))
    nodes = lower_statement(statement, program, fresh=sets)
    return (Nest((statement,), (note, *nodes), classify(statement, program)),)


def _lower_scan(scan: Scan, program: Program, may_set: dict[int, bool], machine: Machine) -> Loop:
    body: list[Node] = []
    whole = is_one_kernel(scan)
    for turn in scan.turns:
        statement = turn.statement
        sets = may_set[id(statement)]
        if machine.in_teams:
            nodes = lower_turn(statement, program, sets=sets, step=scan.index, whole=whole)
        else:
            nodes = lower_statement(statement, program, fresh=sets, bound=(scan.index,))
        if not scan.runs_always(turn):
            checks = (NonNegative(scan.index - turn.first), NonNegative(turn.stop - 1 - scan.index))
            nodes = (If(tuple(c for c in checks if c.value != scan.index - scan.start), nodes),)
        body += [Note(replace(statement, accumulate=not may_set[id(statement)])), *nodes]
    nodes = _fuse_turns(body)
    if machine is Machine.LOOPS and any(axis > 0 for _, axis in scan.axes):
        nodes = tuple(map(_interleaved, nodes))
    return Loop(scan.index, Bound((scan.start,)), Bound((scan.stop,)), nodes, scan.direction)


def _interleaved(node: Node) -> Node:
    """Mark the loops around the innermost ones: in a scan rows of several steps lie between each other."""
    if isinstance(node, If):
        return replace(node, body=tuple(map(_interleaved, node.body)))
    if isinstance(node, Loop) and any(isinstance(n, Loop) for n in walk(node.body)):
        return replace(node, body=tuple(map(_interleaved, node.body)), interleaves=True)
    return node


def _fuse_turns(nodes: list[Node]) -> tuple[Node, ...]:
    """Fuse the loops of one step of a scan among themselves."""
    groups: list[list[Node]] = []
    for node in nodes:
        if isinstance(node, Note) or not groups:
            groups.append([node])
        else:
            groups[-1].append(node)
    nests = [Nest((), tuple(group), Kind.MAP) for group in groups]
    return tuple(n for nest in fuse_nests(nests) for n in nest.nodes)

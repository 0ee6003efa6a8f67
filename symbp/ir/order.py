"""Dependency order: which statements come first, and which must run step by step along an axis.

Step  ::=  Block(statements)                   equations of one tensor, each run over its whole domain
        |  Scan(index, start, stop, direction, turns)      a recurrence: at each step, every turn once

A program is an unordered set of equations. Strongly connected components of its tensors, split again into components of
its statements, leave the recurrences alone: whatever does not take part in one (input projections, weight gradients,
initial values, what the loss adds to a state's adjoint at every step) is a block before or after.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from symbp.ir.affine import Read
from symbp.ir.bounds import is_nonnegative, lower_bound
from symbp.ir.program import Program
from symbp.ir.recurrence import Dependence, Scan, Turn, components, order_recurrence
from symbp.ir.statement import Statement

__all__ = ["Block", "Scan", "Step", "Turn", "order"]


@dataclass(frozen=True, slots=True)
class Block:
    """Equations of one tensor that need no order among their elements. Any ``=`` comes before every ``+=``."""

    statements: tuple[Statement, ...]

    @property
    def tensors(self) -> tuple[str, ...]:
        return (self.statements[0].tensor,)


Step = Block | Scan


def order(program: Program) -> tuple[Step, ...]:
    """The steps of a program, dependencies first, otherwise as near to the order of its statements as can be.

    Raises SpecError (DerivativeError for derived equations) for equations that define an element by itself, that read
    both earlier and later elements, or that advance along two axes at once.
    """
    names = list(dict.fromkeys(s.tensor for s in program.statements))
    reads = {n: _tensors_needed(program, n) for n in names}
    steps: list[Step] = []
    for component in components(names, reads):
        if len(component) == 1 and component[0] not in reads[component[0]]:
            steps.append(Block(tuple(sorted(program.definitions(component[0]), key=lambda s: s.accumulate))))
        else:
            steps.extend(_order_cycle(program, [s for s in program.statements if s.tensor in component]))
    return tuple(steps)


def _tensors_needed(program: Program, name: str) -> dict[str, None]:
    return dict.fromkeys(m for s in program.definitions(name) for m in s.tensors_read if program.definitions(m))


def _order_cycle(program: Program, statements: list[Statement]) -> Iterator[Step]:
    """Split tensors that read each other in a circle into blocks and scans, statement by statement."""
    dependences = _dependences(statements)
    needs: dict[int, dict[int, None]] = {k: {} for k in range(len(statements))}
    for d in dependences:
        needs[d.reader][d.writer] = None
    block: list[int] = []
    for component in components(range(len(statements)), needs):
        members = sorted(component)
        first = members[0]
        if len(members) == 1 and first not in needs[first]:
            joins = block and statements[block[-1]].tensor == statements[first].tensor
            if not joins or any(k in needs[first] for k in block):
                yield from _block(statements, block)
                block = []
            block.append(first)
            continue
        yield from _block(statements, block)
        block = []
        inside = [d for d in dependences if d.reader in component and d.writer in component]
        yield order_recurrence(program, {k: statements[k] for k in members}, inside)
    yield from _block(statements, block)


def _block(statements: list[Statement], members: list[int]) -> Iterator[Block]:
    if members:
        yield Block(tuple(statements[k] for k in members))


def _dependences(statements: list[Statement]) -> list[Dependence]:
    writers: dict[str, list[int]] = {}
    for k, statement in enumerate(statements):
        writers.setdefault(statement.tensor, []).append(k)
    found = []
    for k, statement in enumerate(statements):
        for read in statement.reads:
            for w in writers.get(read.tensor, ()):
                if _may_meet(read, statement, statements[w]):
                    found.append(Dependence(k, w, read))
        for w in writers[statement.tensor]:
            other = statements[w]
            if statement.accumulate and not other.accumulate and _may_meet(statement.target, statement, other):
                found.append(Dependence(k, w, None))
    return found


def _may_meet(element: Read, owner: Statement, writer: Statement) -> bool:
    """False if `element`, over the box of `owner`, is provably never one that `writer` writes."""
    writer = writer.rename_apart(owner.indices)
    ranges = (*owner.domain.ranges, *writer.domain.ranges)
    for a, b in zip(element.subscripts, writer.subscripts, strict=True):
        for difference in (a - b - 1, b - a - 1):
            low = lower_bound(difference, ranges)
            if low is not None and is_nonnegative(low):
                return False
    return True

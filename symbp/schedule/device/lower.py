"""Statements to nests for a target of many threads: every element by itself, contractions as einsum knows them."""

from __future__ import annotations

from dataclasses import replace

from symbp.ir.affine import ONE, Index
from symbp.ir.nodes import Node, Note
from symbp.ir.order import Scan
from symbp.ir.plan import Kind, Nest
from symbp.ir.program import Program
from symbp.ir.statement import Reduction, Statement
from symbp.schedule.classify import classify
from symbp.schedule.device.einsum import as_contract
from symbp.schedule.device.exact_sums import is_exact_sum, lower_atomic, lower_exact
from symbp.schedule.lower import lower_statement

#: Multiply-adds for one row and one step of a scan that a block still does by itself: LSTM cells of up to 362 units.
LARGEST_STEP = 1 << 19


def lower_for_teams(statement: Statement, program: Program, *, sets: bool, atomics: bool = False) -> tuple[Nest, ...]:
    """The nests of one statement. `sets`: an accumulation is the first to write its elements.

    With `atomics`, points that may meet in one element add to it as they come.
    """
    if is_exact_sum(statement):
        if atomics:
            return (lower_atomic(statement, program),)
        return lower_exact(statement, program, sets=sets)
    note = Note(replace(statement, accumulate=not sets))
    contract = as_contract(statement, accumulate=not sets)
    if contract is not None:
        return (Nest((statement,), (note, contract), Kind.CONTRACTION),)
    kind = classify(statement, program)
    if kind in (Kind.CONTRACTION, Kind.BATCHED_CONTRACTION):
        kind = Kind.REDUCTION
    return (Nest((statement,), (note, *lower_statement(statement, program, fresh=sets, by_element=True)), kind),)


def lower_turn(statement: Statement, program: Program, *, sets: bool, step: Index, whole: bool) -> tuple[Node, ...]:
    """The nodes of one turn of a scan; `whole`: the scan is one kernel, so that nothing is launched inside it."""
    contract = None if whole else as_contract(statement, accumulate=not sets, bound=(step,))
    if contract is not None:
        return (contract,)
    return lower_statement(statement, program, fresh=sets, bound=(step,), by_element=True)


def is_one_kernel(scan: Scan) -> bool:
    """True for a recurrence so small that one block can take a row of the batch through all its steps."""
    return all(work_of_a_step(t.statement) <= LARGEST_STEP for t in scan.turns)


def work_of_a_step(statement: Statement) -> int:
    """Multiply-adds of one row and step: axes whose extent is known at run time only are rows."""
    if statement.reduction is Reduction.NONE:
        return 0
    total = ONE
    for loop in statement.domain.ranges:
        if loop.extent.is_constant:
            total = total * loop.extent
    return int(total)

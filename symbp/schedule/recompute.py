"""Keep what the backward pass needs of the forward pass, or compute it again: a minimum cut.

    forward:   a = q @ k.T;  p = exp(a - m)/z                  of T*T scores per head only m and z are kept, T of each
    backward:  a_again = q @ k.T;  p_again = exp(a_again - m)/z;  ..

To keep a tensor costs its way to memory and back: little while it stays in the cache. Computing it again costs its
operations, and whatever it is made from has to be there as well: kept, or computed again. Of all choices the cheapest
is a minimum cut of a graph in which every tensor v has two nodes,

    v is there  ->  v is made again        cut if v is kept, at the cost of keeping it
    v is made again  ->  the end           cut if v is made again, at the cost of that
    v is made again  ->  u is there        never cut: u is what v is made from

with what the backward pass reads on the side of the start.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from symbp.ir.affine import Read
from symbp.ir.cost import evaluate
from symbp.ir.names import fresh_name
from symbp.ir.order import Scan, Step, order
from symbp.ir.program import Program
from symbp.ir.statement import Statement
from symbp.ir.trace import counted, tell
from symbp.schedule.buffers import element_count
from symbp.schedule.chunk_length import BYTES_PER_NANOSECOND, time_of
from symbp.schedule.cost import cost_of
from symbp.schedule.min_cut import source_side

#: Bytes of one tensor that a core's cache holds beside everything else. A larger one goes out to memory that all cores
#: share, and takes room there as long as the step lasts.
IN_CACHE = 1 << 22
#: Bytes that come and go in a nanosecond there; less than a core alone would have.
BYTES_PER_NANOSECOND_OUTSIDE = 1.0

_START, _END = "<start>", "<end>"


def save_or_recompute(
    program: Program, ahead: Collection[str], kept: Iterable[str], sizes: Mapping[str, int]
) -> tuple[Program, frozenset[str]]:
    """The program with what is cheaper to compute again defined a second time, for the backward pass; the new names.

    `ahead` are the tensors that the forward pass makes, `kept` those among them that are kept anyhow, because something
    outside the program reads them. Run-time sizes are those of `sizes`; others are taken as `evaluate` takes them.
    """
    chosen = _cheaper_again(program, frozenset(ahead), frozenset(kept), sizes)
    if not chosen:
        return program, frozenset()
    taken = {t.name for t in program.tensors}
    again: dict[str, str] = {}
    for name in chosen:
        again[name] = fresh_name(f"{name}_again", taken)
        taken.add(again[name])

    def renamed(statement: Statement) -> Statement:
        return statement.map_elements(lambda r: Read(again.get(r.tensor, r.tensor), r.subscripts))

    copies = [renamed(s) for name in chosen for s in program.definitions(name)]
    statements = [s if s.tensor in ahead else renamed(s) for s in program.statements]
    tensors = [replace(program.tensor(name), name=other) for name, other in again.items()]
    tell("save_or_recompute", counted(len(ahead), "array"), counted(len(chosen), "array"), made=again.values())
    return program.with_statements(statements).add(tensors, copies), frozenset(again.values())


def as_late_as_can_be(steps: Iterable[Step], names: Collection[str]) -> tuple[Step, ...]:
    """The steps, those that make the tensors `names` moved right before the first that needs them."""
    waiting: dict[str, Step] = {}
    result: list[Step] = []

    def place(step: Step) -> None:
        for name in (n for s in step.statements for n in s.tensors_read):
            if name in waiting:
                place(waiting.pop(name))
        result.append(step)

    for step in steps:
        if len(step.tensors) == 1 and step.tensors[0] in names:
            waiting[step.tensors[0]] = step
        else:
            place(step)
    return tuple(result)


def _cheaper_again(
    program: Program, ahead: frozenset[str], kept: frozenset[str], sizes: Mapping[str, int]
) -> tuple[str, ...]:
    needed = dict.fromkeys(
        n for s in program.statements if s.tensor not in ahead for n in s.tensors_read if n in ahead and n not in kept
    )
    if not any(_bytes(n, program, sizes) > IN_CACHE for n in needed):
        return ()  # whatever is computed again is written again
    in_scans = {s.tensor for step in order(program) if isinstance(step, Scan) for s in step.statements}
    edges: dict[tuple[str, str], float] = {(_START, _there(n)): math.inf for n in needed}
    for name in sorted(ahead):
        made = program.definitions(name)
        if not made:
            continue
        edges[_there(name), _again(name)] = 0.0 if name in kept else _time_to_keep(name, program, sizes)
        costs = [time_of(cost_of(s, program), sizes) for s in made]
        edges[_again(name), _END] = math.inf if name in in_scans else sum(costs)
        for source in dict.fromkeys(n for s in made for n in s.tensors_read if n in ahead and n != name):
            edges[_again(name), _there(source)] = math.inf
    side = source_side(edges, _START, _END)
    return tuple(t.name for t in program.tensors if t.name in ahead and _again(t.name) in side)


def _there(name: str) -> str:
    return f"{name} is there"


def _again(name: str) -> str:
    return f"{name} is made again"


def _bytes(name: str, program: Program, sizes: Mapping[str, int]) -> int:
    return 4 * evaluate(element_count(program.tensor(name)), sizes)


def _time_to_keep(name: str, program: Program, sizes: Mapping[str, int]) -> float:
    count = _bytes(name, program, sizes)
    return 2 * count / (BYTES_PER_NANOSECOND if count <= IN_CACHE else BYTES_PER_NANOSECOND_OUTSIDE)

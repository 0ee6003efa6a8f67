"""Which statements carry a derivative: those on a path from the sources to the targets.

A path goes through float tensors that a body reads, not through subscripts or guards (they are piecewise constant), and
ends where a derivative is identically 0 (``stop_gradient``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from symbp.derive.partials import place_of, scaled_partial
from symbp.errors import DerivativeError
from symbp.ir import DType, Program, Read, Reduction, Statement

_Edges = Mapping[Statement, tuple[Read, ...]]


@dataclass(frozen=True)
class Activity:
    """The active part of a program: its tensors, and the reads through which each statement passes a derivative on."""

    tensors: Mapping[str, None]  # in the order of the program
    edges: _Edges

    def __contains__(self, tensor: str) -> bool:
        return tensor in self.tensors

    def reads(self, statement: Statement) -> tuple[Read, ...]:
        """The active reads of a statement, in slot order."""
        return self.edges.get(statement, ())


def find_activity(program: Program, sources: Iterable[str], targets: Iterable[str]) -> Activity:
    """What lies on a path from one of `sources` to one of `targets`.

    Raises DerivativeError for a function without derivative that does.
    """
    sources, targets = tuple(sources), tuple(targets)
    reachable = _closure(program, {s: float_reads(program, s) for s in program.statements}, sources)
    needed = dict.fromkeys(t for t in targets if t in reachable)
    edges: dict[Statement, tuple[Read, ...]] = {}
    failures: list[tuple[Statement, Read, DerivativeError]] = []
    pending = list(needed)
    while pending:
        for statement in program.definitions(pending.pop()):
            kept = []
            for read in float_reads(program, statement):
                if read.tensor not in reachable:
                    continue
                try:
                    if scaled_partial(statement, read, None) is None:
                        continue
                except DerivativeError as failure:
                    # It is one only if a path goes on from here to a source, which is not known yet.
                    failures.append((statement, read, failure))
                kept.append(read)
                if read.tensor not in needed:
                    needed[read.tensor] = None
                    pending.append(read.tensor)
            edges[statement] = tuple(kept)
    active = _closure(program, edges, [s for s in sources if s in needed])
    for statement, read, error in failures:
        if statement.tensor in active and read.tensor in active:
            raise error
    edges = {s: tuple(r for r in reads if r.tensor in active) for s, reads in edges.items()}
    _refuse_argmax(program, edges, reachable)
    _refuse_argmax(program, _value_edges(program, targets), reachable)
    return Activity({t.name: None for t in program.tensors if t.name in active}, edges)


def float_reads(program: Program, statement: Statement) -> tuple[Read, ...]:
    """The elements through which a derivative may pass: integers have none."""
    if program.tensor(statement.tensor).dtype is DType.INT:
        return ()
    return tuple(r for r in statement.body.reads if program.tensor(r.tensor).dtype is DType.FLOAT)


def _closure(program: Program, edges: _Edges, sources: Iterable[str]) -> dict[str, None]:
    """The tensors that depend on `sources` along `edges`, the sources included."""
    written: dict[str, list[str]] = {}
    for statement in program.statements:
        for read in edges.get(statement, ()):
            written.setdefault(read.tensor, []).append(statement.tensor)
    found = dict.fromkeys(sources)
    pending = list(found)
    while pending:
        for name in written.get(pending.pop(), ()):
            if name not in found:
                found[name] = None
                pending.append(name)
    return found


def _value_edges(program: Program, targets: Iterable[str]) -> _Edges:
    """The reads through whose values the targets change, integers too: a loss may have no other path to a weight."""
    edges: dict[Statement, tuple[Read, ...]] = {}
    needed = dict.fromkeys(targets)
    pending = list(needed)
    while pending:
        for statement in program.definitions(pending.pop()):
            if program.tensor(statement.tensor).dtype is DType.INT:
                continue
            try:
                kept = [r for r in statement.body.reads if scaled_partial(statement, r, None) is not None]
            except DerivativeError:  # told already where it lies on a path of floats
                continue
            edges[statement] = tuple(kept)
            pending += [r.tensor for r in kept if r.tensor not in needed]
            needed.update(dict.fromkeys(r.tensor for r in kept))
    return edges


def _refuse_argmax(program: Program, edges: _Edges, reachable: Mapping[str, None]) -> None:
    """Refuse the position of a maximum as a value or a subscript: its derivative is 0 where it has one.

    In a guard it is welcome: that is how the derivative of a maximum is written.
    """
    for statement, reads in edges.items():
        for read in statement.body.all_reads if reads else ():
            for source in program.definitions(read.tensor):
                if source.reduction is Reduction.ARGMAX and any(
                    r.tensor in reachable and scaled_partial(source, r, None) is not None
                    for r in source.body.reads
                    if program.tensor(r.tensor).dtype is DType.FLOAT
                ):
                    raise DerivativeError(
                        f"argmax has no derivative, but '{read.tensor}' lies on a path from a weight to the loss",
                        place=place_of(source),
                        remedy="take the argmax of stop_gradient(...) to hold the choice constant",
                    )

"""A record of the passes that made a plan: which ran, in which order, and what each did.

    with tracing() as trace:
        make_plan(..)
    trace.records

Passes tell of themselves where they are run. As with a log, whoever wants to know listens; nobody else is handed it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from symbp.ir.program import Program
from symbp.ir.statement import Statement


@dataclass(frozen=True, slots=True)
class PassRecord:
    """What one pass did in one part of the work (predict, training, update).

    `before` and `after` say how much there was, in words: 14 equations, 9 nests. The rest are names of tensors whose
    equations, or whose place, the pass changed, made or took away.
    """

    part: str
    name: str
    before: str
    after: str
    changed: tuple[str, ...] = ()
    made: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()


@dataclass
class Trace:
    """The records of the passes that ran, in order."""

    records: list[PassRecord] = field(default_factory=list)


_listening: ContextVar[Trace | None] = ContextVar("_listening", default=None)
_part: ContextVar[str] = ContextVar("_part", default="")


@contextmanager
def tracing() -> Iterator[Trace]:
    """Collect what the passes run within this tell of themselves."""
    trace = Trace()
    token = _listening.set(trace)
    try:
        yield trace
    finally:
        _listening.reset(token)


@contextmanager
def part_of_work(name: str) -> Iterator[None]:
    """The passes run within this work on the part called so."""
    token = _part.set(name)
    try:
        yield
    finally:
        _part.reset(token)


def tell_rewrite(name: str, before: Program, after: Program) -> Program:
    """A pass has turned one program into another, which is handed on."""
    trace = _listening.get()
    if trace is not None:
        old, new = _equations(before), _equations(after)
        record = PassRecord(
            _part.get(),
            name,
            counted(len(before.statements), "equation"),
            counted(len(after.statements), "equation"),
            changed=tuple(t for t in new if t in old and new[t] != old[t]),
            made=tuple(t for t in new if t not in old),
            gone=tuple(t for t in old if t not in new),
        )
        trace.records.append(record)
    return after


def tell(name: str, before: str, after: str, *, made: Iterable[str] = (), gone: Iterable[str] = ()) -> None:
    """A pass has made one thing from another, each said in words: ``counted(14, "equation")``."""
    trace = _listening.get()
    if trace is not None:
        trace.records.append(PassRecord(_part.get(), name, before, after, made=tuple(made), gone=tuple(gone)))


def counted(number: int, what: str) -> str:
    """``1 nest``, ``2 nests``."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def _equations(program: Program) -> dict[str, tuple[Statement, ...]]:
    return {s.tensor: program.definitions(s.tensor) for s in program.statements}

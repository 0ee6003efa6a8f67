"""What the values of a tensor are made from."""

from __future__ import annotations

from symbp.ir.program import Program
from symbp.ir.statement import Statement


def is_recurrent(statement: Statement, program: Program) -> bool:
    """True if what the statement reads is made from what it writes: its turns must stay in their order."""
    return any(depends_on(name, statement.tensor, program) for name in statement.tensors_read)


def depends_on(name: str, source: str, program: Program) -> bool:
    """True if `name` is `source`, or is made from it."""
    pending, seen = [name], set[str]()
    while pending:
        found = pending.pop()
        if found == source:
            return True
        if found not in seen:
            seen.add(found)
            pending += [n for s in program.definitions(found) for n in s.tensors_read]
    return False

"""Equations with def-use chains, for passes that change a few of many equations at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from symbp.ir.affine import Read
from symbp.ir.body import Body
from symbp.ir.names import fresh_name
from symbp.ir.program import Program, Tensor
from symbp.ir.statement import Statement


class EquationGraph:
    """A program's statements by number, who writes and who reads each tensor, and a worklist of what has changed.

    `keep` names tensors that must stay: outputs, the loss, gradients. `backward` holds the numbers of the statements
    that differentiation made; the others are the user's, and their right-hand sides are left alone.
    """

    def __init__(self, program: Program, keep: Iterable[str], backward: Iterable[Statement] = ()) -> None:
        self.keep = frozenset(keep)
        self.tensors = {t.name: t for t in program.tensors}
        self.statements: dict[int, Statement] = {}
        self.writers: dict[str, dict[int, None]] = {}
        self.readers: dict[str, dict[int, None]] = {}
        self.backward: set[int] = set()
        self._program = program
        self._place: dict[int, tuple[int, int]] = {}
        self._pending: dict[int, None] = {}
        made = set(map(id, backward))
        for number, statement in enumerate(program.statements):
            self._place[number] = (number, 0)
            self._link(number, statement)
            if id(statement) in made:
                self.backward.add(number)

    # -- looking ------------------------------------------------------------------------------------------------------

    def definition(self, name: str) -> int | None:
        """The number of the statement that writes the tensor, if it is the only one."""
        writers = self.writers.get(name, {})
        return next(iter(writers)) if len(writers) == 1 else None

    def readers_of(self, name: str) -> tuple[int, ...]:
        return tuple(self.readers.get(name, ()))

    def tensor_of(self, number: int) -> Tensor:
        return self.tensors[self.statements[number].tensor]

    def in_order(self) -> list[int]:
        """The numbers of all statements in the order in which they are written."""
        return sorted(self.statements, key=self._place.__getitem__)

    # -- changing -----------------------------------------------------------------------------------------------------

    def replace(self, number: int, statement: Statement) -> None:
        before = self.statements[number]
        self._unlink(number)
        self._link(number, statement)
        self._touch(number, *before.tensors_read, *statement.tensors_read)

    def remove(self, number: int) -> None:
        statement = self.statements[number]
        self._unlink(number)
        self._pending.pop(number, None)
        self._touch(None, statement.tensor, *statement.tensors_read)

    def insert(self, number: int, statement: Statement, tensor: Tensor) -> int:
        """Add a statement, and the tensor that it defines, in front of statement `number`; gives its own number."""
        self.tensors[tensor.name] = tensor
        new = len(self._place)
        major, minor = self._place[number]
        self._place[new] = (major, minor - new)
        if number in self.backward:
            self.backward.add(new)
        self._link(new, statement)
        self._touch(new, *statement.tensors_read)
        return new

    def fresh(self, hint: str) -> str:
        return fresh_name(hint, self.tensors)

    def run(self, *rules: Callable[[EquationGraph, int], bool]) -> None:
        """Apply the first rule that changes something to each statement, and again to whatever that touched."""
        self._pending = dict.fromkeys(self.statements)
        # Each rule makes the program smaller or plainer. Should two ever undo one another, what stands is still right.
        budget = 100 * len(self.statements) + 1000
        while self._pending and budget:
            budget -= 1
            number = next(iter(self._pending))
            if not any(number in self.statements and rule(self, number) for rule in rules):
                self._pending.pop(number, None)

    def program(self) -> Program:
        statements = tuple(self.statements[n] for n in self.in_order())
        return replace(self._program, tensors=tuple(self.tensors.values()), statements=statements)

    def primal(self) -> Program:
        """The statements that are not of the backward pass, and their tensors."""
        statements = tuple(self.statements[n] for n in self.in_order() if n not in self.backward)
        written = {s.tensor for s in statements}
        tensors = tuple(t for t in self.tensors.values() if t.is_given or t.name in written)
        return replace(self._program, tensors=tensors, statements=statements)

    def _link(self, number: int, statement: Statement) -> None:
        self.statements[number] = statement
        self.writers.setdefault(statement.tensor, {})[number] = None
        for name in statement.tensors_read:
            self.readers.setdefault(name, {})[number] = None

    def _unlink(self, number: int) -> None:
        statement = self.statements.pop(number)
        del self.writers[statement.tensor][number]
        for name in statement.tensors_read:
            del self.readers[name][number]

    def _touch(self, number: int | None, *names: str) -> None:
        """Put a statement, those that read it and those that write what it reads back on the worklist."""
        if number is not None:
            self._pending[number] = None
            name = self.statements[number].tensor
            self._pending.update(dict.fromkeys(self.readers.get(name, ())))
            self._pending.update(dict.fromkeys(self.writers.get(name, ())))
        for name in names:
            self._pending.update(dict.fromkeys(self.writers.get(name, ())))


def replace_element(statement: Statement, name: str, change: Callable[[Read], Body]) -> Statement | None:
    """The statement with a body in place of each element of tensor `name` that its body reads.

    None if the tensor is also read in a subscript or a guard, where only an element can stand.
    """
    direct = [r for r in statement.body.reads if r.tensor == name]
    if sum(r.tensor == name for r in statement.reads) != len(direct):
        return None
    body = statement.body.replace_reads(lambda r: change(r) if r.tensor == name else None)
    return replace(statement, body=body)


def rename_read(statement: Statement, name: str, change: Callable[[Read], Read]) -> Statement:
    """The statement with other elements in place of those of tensor `name`, wherever it reads them."""

    def moved(read: Read) -> Read:
        return change(read) if read.tensor == name else read

    target = statement.target
    renamed = statement.map_elements(moved)
    if target.tensor != name:
        return renamed
    subscripts = tuple(s.map_reads(moved) if s.reads() else s for s in target.subscripts)
    return replace(renamed, tensor=target.tensor, subscripts=subscripts)

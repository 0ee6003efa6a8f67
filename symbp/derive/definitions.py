"""Seeing through names: what an element that an equation reads is itself defined as."""

from __future__ import annotations

from collections.abc import Iterable

import sympy as sp

from symbp.ir.affine import ZERO, Affine, Index, Read
from symbp.ir.body import Body, Operand, slot
from symbp.ir.program import Program, Tensor
from symbp.ir.statement import Domain, Guard, Reduction, Statement


def plain_indices(statement: Statement) -> tuple[Index, ...] | None:
    """The left-hand side's subscripts if they are distinct indices, all of the free ones: ``y[b, k] = ..``."""
    indices = tuple(s.as_index() for s in statement.subscripts)
    found = tuple(i for i in indices if i is not None)
    if len(found) < len(indices) or len(set(found)) < len(found) or set(found) != set(statement.free):
        return None
    return found


def covers(statement: Statement, tensor: Tensor) -> bool:
    """True if the ranges of the statement (guards aside) reach every element of its tensor, each once."""
    indices = plain_indices(statement)
    if indices is None:
        return False
    ranges = (statement.domain.range_of(i) for i in indices)
    return all(r.lower == ZERO and r.stop == extent for r, extent in zip(ranges, tensor.shape, strict=True))


def is_map(statement: Statement) -> bool:
    """True for one value an element, set once: no reduction, no accumulation."""
    return statement.reduction is Reduction.NONE and not statement.accumulate


def binding(statement: Statement, read: Read) -> dict[Index, Affine]:
    """The values of the statement's indices at which it writes the element that is read; see `plain_indices`."""
    indices = plain_indices(statement)
    assert indices is not None, statement
    return dict(zip(indices, read.subscripts, strict=True))


def canonical(body: Body, order: Iterable[Index], domain: Domain) -> tuple[object, ...]:
    """A key that is equal for bodies that differ only in the names of their indices, over equal ranges and guards."""
    order = tuple(order)
    names: dict[Index, Affine] = {i: Affine.of(Index(f"#{k}")) for k, i in enumerate(order)}
    ranges = tuple((domain.range_of(i).lower, domain.range_of(i).stop) for i in order)
    return (body.substitute(names), ranges, frozenset(domain.substitute_guards(names)))


class Elements:
    """Bodies as expressions over one symbol for each operand, so that bodies of several statements can be combined."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._symbols: dict[Operand, sp.Symbol] = {}
        self._operands: dict[sp.Symbol, Operand] = {}

    def symbol(self, operand: Operand) -> sp.Symbol:
        found = self._symbols.get(operand)
        if found is None:
            found = sp.Symbol(f"@{len(self._symbols):05d}", real=True)
            self._symbols[operand] = found
            self._operands[found] = operand
        return found

    def operand(self, symbol: sp.Symbol) -> Operand:
        return self._operands[symbol]

    def read(self, expr: sp.Expr) -> Read | None:
        """The element that the expression stands for, if it is one."""
        operand = self._operands.get(expr) if expr.is_Symbol else None
        return operand if isinstance(operand, Read) else None

    def expression(self, body: Body) -> sp.Expr:
        return body.expr.xreplace({slot(k): self.symbol(o) for k, o in enumerate(body.operands)})

    def body(self, expr: sp.Expr, like: Body | None = None) -> Body:
        """The body of an expression; operands that `like` has keep their order and come first."""
        first = [self.symbol(o) for o in like.operands] if like is not None else []
        rest = sorted(expr.free_symbols.difference(first), key=lambda s: s.name)
        return Body.build(expr, {s: self._operands[s] for s in (*first, *rest)})

    def map_statement(self, read: Read, guards: Iterable[Guard] = ()) -> Statement | None:
        """The one statement that sets the element, if it is a map that holds wherever `guards` do."""
        statement = self.program.definition(read.tensor)
        if statement is None or not is_map(statement) or not covers(statement, self.program.tensor(read.tensor)):
            return None
        if statement.guards:
            needed = statement.domain.substitute_guards(binding(statement, read))
            if not set(needed) <= set(guards):
                return None
        return statement

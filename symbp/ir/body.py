"""The right-hand side of a statement: a scalar template applied to operands.

    body  ::=  f(_00, _01, ...)  with  _0k = operand k
    operand  ::=  Read (an element of a tensor)  |  Affine (the value of an index or a size)

SymPy only ever sees the template, so two layers of one shape share one derivative, and index arithmetic never touches
SymPy: renaming, shifting and substituting indices changes operands only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property

import sympy as sp

from symbp.ir.affine import Affine, Index, Read

Operand = Read | Affine


@cache
def slot(position: int) -> sp.Symbol:
    """The template symbol of operand `position`. Zero-padded, so that SymPy's order is the operands' order."""
    return sp.Symbol(f"_{position:02d}", real=True)


@dataclass(frozen=True)
class Body:
    """``expr`` over the slots ``_00, _01, ...``, one per operand; operands are distinct and all used."""

    expr: sp.Expr
    operands: tuple[Operand, ...] = ()

    @staticmethod
    def build(expr: sp.Expr, operands: Mapping[sp.Symbol, Operand]) -> Body:
        """Make a body from any expression over the given symbols: equal operands share a slot, unused ones go.

        Slots are numbered by the order of `operands`.
        """
        used = expr.free_symbols
        position: dict[Operand, int] = {}
        renaming: dict[sp.Symbol, sp.Expr] = {}
        for symbol, operand in operands.items():
            if symbol in used:
                k = position.setdefault(operand, len(position))
                if symbol != slot(k):
                    renaming[symbol] = slot(k)
        result = expr.xreplace(renaming) if renaming else expr
        left: dict[sp.Symbol, Operand] = {slot(k): o for o, k in position.items()}
        if result.free_symbols != set(left):  # operands that coincide have cancelled (x - x): renumber the rest
            return Body.build(result, left)
        return Body(result, tuple(position))

    @staticmethod
    def of(value: Operand | int | sp.Expr) -> Body:
        """A body that is one operand, or a number."""
        if isinstance(value, Read):
            return Body(slot(0), (value,))
        if isinstance(value, Affine):
            return Body(sp.Integer(int(value))) if value.is_constant else Body(slot(0), (value,))
        return Body(sp.Integer(value) if isinstance(value, int) else value)

    @staticmethod
    def combine(template: sp.Expr, parts: Mapping[sp.Symbol, Body]) -> Body:
        """Substitute whole bodies for the symbols of `template` (any symbols of the caller's choice)."""
        operands: dict[sp.Symbol, Operand] = {}
        renaming: dict[sp.Symbol, sp.Expr] = {}
        for symbol, part in parts.items():
            mine = {}
            for k, operand in enumerate(part.operands):
                fresh = _scratch(len(operands))
                operands[fresh] = operand
                mine[slot(k)] = fresh
            renaming[symbol] = part.expr.xreplace(mine)
        return Body.build(template.xreplace(renaming), operands)

    @cached_property
    def reads(self) -> tuple[Read, ...]:
        """Distinct elements read by the template itself, in slot order (not those inside subscripts)."""
        return tuple(o for o in self.operands if isinstance(o, Read))

    @cached_property
    def all_reads(self) -> tuple[Read, ...]:
        """Every element read, also inside subscripts."""
        found: dict[Read, None] = {}
        for operand in self.operands:
            if isinstance(operand, Read):
                found[operand] = None
                for subscript in operand.subscripts:
                    found.update(dict.fromkeys(subscript.reads()))
            else:
                found.update(dict.fromkeys(operand.reads()))
        return tuple(found)

    @cached_property
    def indices(self) -> tuple[Index, ...]:
        found: dict[Index, None] = {}
        for operand in self.operands:
            for part in operand.subscripts if isinstance(operand, Read) else (operand,):
                found.update(dict.fromkeys(part.indices()))
        return tuple(found)

    @property
    def is_read(self) -> bool:
        return len(self.operands) == 1 and self.expr == slot(0) and isinstance(self.operands[0], Read)

    def map_operands(self, change: Callable[[Operand], Operand]) -> Body:
        operands = tuple(map(change, self.operands))
        if operands == self.operands:
            return self
        if len(set(operands)) == len(operands) and not any(isinstance(o, Affine) and o.is_constant for o in operands):
            return Body(self.expr, operands)
        return Body.combine(self.expr, {slot(k): Body.of(o) for k, o in enumerate(operands)})

    def substitute(self, mapping: Mapping[Index, Affine]) -> Body:
        """Replace indices in every operand."""
        return self.map_operands(lambda o: o.substitute(mapping))

    def replace_reads(self, change: Callable[[Read], Body | None]) -> Body:
        """Put a body in place of each operand read for which `change` gives one."""
        parts: dict[sp.Symbol, Body] = {}
        changed = False
        for k, operand in enumerate(self.operands):
            new = change(operand) if isinstance(operand, Read) else None
            changed |= new is not None
            parts[slot(k)] = new if new is not None else Body.of(operand)
        return Body.combine(self.expr, parts) if changed else self

    def with_expr(self, expr: sp.Expr) -> Body:
        """The same operands under another template (over the same slots)."""
        return Body.build(expr, {slot(k): o for k, o in enumerate(self.operands)})

    def factors(self) -> tuple[sp.Rational, tuple[Body, ...]]:
        """``c * f1 * f2 * ..`` with a rational `c`."""
        c, rest = self.expr.as_coeff_Mul()
        return c, tuple(self.with_expr(f) for f in sp.Mul.make_args(rest)) if rest != 1 else ()

    def terms(self) -> tuple[Body, ...]:
        return tuple(self.with_expr(t) for t in sp.Add.make_args(self.expr))

    def __add__(self, other: Body) -> Body:
        return Body.combine(_LEFT + _RIGHT, {_LEFT: self, _RIGHT: other})

    def __mul__(self, other: Body) -> Body:
        return Body.combine(_LEFT * _RIGHT, {_LEFT: self, _RIGHT: other})


@cache
def _scratch(position: int) -> sp.Symbol:
    return sp.Symbol(f"~{position:03d}", real=True)


_LEFT, _RIGHT = sp.symbols("left right", real=True)

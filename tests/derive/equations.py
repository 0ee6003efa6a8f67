"""A small builder of programs by hand, for tests that must not depend on the front end."""

from __future__ import annotations

from collections.abc import Iterable

import sympy as sp

from symbp.ir import (
    Affine,
    Body,
    Domain,
    DType,
    Guard,
    Index,
    Operand,
    Program,
    Range,
    Read,
    Reduction,
    Role,
    Size,
    Statement,
    Tensor,
    verify,
)


class Handle:
    """A declared tensor; subscripting it gives a SymPy symbol that stands for the element."""

    def __init__(self, equations: Equations, name: str) -> None:
        self.equations = equations
        self.name = name

    def read(self, *subscripts: Affine | Index | int) -> Read:
        return Read(self.name, tuple(map(Affine.of, subscripts)))

    def __getitem__(self, subscripts: object) -> sp.Symbol:
        many = subscripts if isinstance(subscripts, tuple) else (subscripts,)
        return self.equations.symbol(self.read(*many))


class Equations:
    """Collects declarations and equations, then makes a verified `Program`."""

    def __init__(self, name: str = "test") -> None:
        self.name = name
        self.tensors: dict[str, Tensor] = {}
        self.statements: list[Statement] = []
        self.extents: dict[Index, Affine] = {}
        self.operands: dict[sp.Symbol, Operand] = {}

    def axis(self, name: str, extent: str | int) -> Index:
        index = Index(name)
        self.extents[index] = Affine.of(Size(extent) if isinstance(extent, str) else extent)
        return index

    def symbol(self, operand: Operand) -> sp.Symbol:
        symbol = sp.Symbol(f"<{operand}>", real=True)
        self.operands[symbol] = operand
        return symbol

    def value(self, affine: Affine | Index | Size) -> sp.Symbol:
        return self.symbol(Affine.of(affine))

    def given(self, name: str, *axes: Index, role: Role = Role.INPUT, below: int | None = None) -> Handle:
        shape = tuple(self.extents[a] for a in axes)
        dtype = DType.FLOAT if below is None else DType.INT
        bound = None if below is None else Affine.of(below)
        self.tensors[name] = Tensor(name, shape, role, tuple(a.name for a in axes), dtype, bound)
        return Handle(self, name)

    def parameter(self, name: str, *axes: Index) -> Handle:
        return self.given(name, *axes, role=Role.PARAMETER)

    def let(
        self,
        name: str,
        free: Iterable[Index],
        expr: sp.Expr | int,
        over: Iterable[Index] = (),
        reduction: Reduction = Reduction.SUM,
        where: Iterable[Guard] = (),
        at: tuple[Affine | Index | int, ...] | None = None,
        shape: tuple[Affine | int, ...] | None = None,
        starts: dict[Index, int] | None = None,
        accumulate: bool = False,
        role: Role = Role.ACTIVATION,
    ) -> Handle:
        free, over = tuple(free), tuple(over)
        expr = sp.Integer(expr) if isinstance(expr, int) else expr
        body = Body.build(expr, {s: o for s, o in self.operands.items() if s in expr.free_symbols})
        starts = starts or {}
        ranges = tuple(Range(i, Affine.of(starts.get(i, 0)), self.extents[i]) for i in free + over)
        subscripts = tuple(map(Affine.of, free if at is None else at))
        extents = tuple(self.extents[i] for i in free) if shape is None else tuple(map(Affine.of, shape))
        if name not in self.tensors:
            axes = tuple(i.name for i in free) if len(free) == len(extents) else ()
            self.tensors[name] = Tensor(name, extents, role, axes)
        self.statements.append(
            Statement(
                name,
                subscripts,
                free,
                body,
                Domain(ranges, tuple(where)),
                over,
                reduction if over else Reduction.NONE,
                accumulate,
            )
        )
        return Handle(self, name)

    def program(self, loss: str = "", outputs: tuple[str, ...] = ()) -> Program:
        return verify(Program(self.name, tuple(self.tensors.values()), tuple(self.statements), outputs, loss))

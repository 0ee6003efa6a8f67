"""A program: tensors and an unordered set of equations over them. The scheduler finds the order.

Program  ::=  tensors, statements, derivatives asked for, outputs, loss
Tensor   ::=  name, shape, axis names, dtype, role
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cached_property

from symbp.ir.affine import Affine, Read, Size
from symbp.ir.names import fresh_name
from symbp.ir.statement import Origin, Range, Statement


class Role(Enum):
    INPUT = "input"
    PARAMETER = "parameter"
    HYPER = "hyper"  # a run-time scalar of an optimizer: learning rate, step count
    STATE = "state"  # a vector that an optimizer keeps from step to step
    ACTIVATION = "activation"
    LOSS = "loss"
    ADJOINT = "adjoint"
    TANGENT = "tangent"


class DType(Enum):
    FLOAT = "float"
    INT = "int"


@dataclass(frozen=True, slots=True)
class Initializer:
    """How a parameter starts, as plain data: ``Initializer("normal", (("std", 0.02),))``."""

    kind: str
    arguments: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Tensor:
    """A named array. ``shape`` has one extent per axis; a scalar has none.

    `axes` names the axes for people (and gives the indices their names); `below` is the exclusive upper bound of an
    integer tensor's values; `primal` is the tensor of which an adjoint or tangent is taken.
    """

    name: str
    shape: tuple[Affine, ...]
    role: Role
    axes: tuple[str, ...] = ()
    dtype: DType = DType.FLOAT
    below: Affine | None = None
    initializer: Initializer | None = None
    primal: str = ""
    default: float | None = None  # of a hyper-parameter
    finite: bool = True  # an input in which NaN and infinity are refused

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def is_given(self) -> bool:
        """True if it comes from outside, so that no statement defines it."""
        return self.role in (Role.INPUT, Role.PARAMETER, Role.HYPER, Role.STATE)


@dataclass(frozen=True, slots=True)
class DerivativeRequest:
    """``output[I] = d of[I] / d wrt[J]``, to be expanded by forward mode before anything else looks at the program.

    `of` and `wrt` are reads whose plain indices are shared (``u[n]``, ``x[n, 0]``): the value at one point depends on
    the input at the same point only.
    """

    output: str
    of: Read
    wrt: Read
    ranges: tuple[Range, ...]
    origin: Origin = field(default=Origin(), compare=False)


@dataclass(frozen=True)
class Program:
    """Tensors and the statements that define them; order carries no meaning (but is kept, so that output is stable)."""

    name: str
    tensors: tuple[Tensor, ...]
    statements: tuple[Statement, ...]
    outputs: tuple[str, ...] = ()
    loss: str = ""
    derivatives: tuple[DerivativeRequest, ...] = ()
    requirements: tuple[Affine, ...] = ()  # linear forms in sizes that must be >= 0, checked at run time

    @cached_property
    def _by_name(self) -> dict[str, Tensor]:
        return {t.name: t for t in self.tensors}

    @cached_property
    def _definitions(self) -> dict[str, tuple[Statement, ...]]:
        found: dict[str, list[Statement]] = {}
        for statement in self.statements:
            found.setdefault(statement.tensor, []).append(statement)
        return {name: tuple(group) for name, group in found.items()}

    @cached_property
    def _readers(self) -> dict[str, tuple[Statement, ...]]:
        found: dict[str, list[Statement]] = {}
        for statement in self.statements:
            for name in statement.tensors_read:
                found.setdefault(name, []).append(statement)
        return {name: tuple(group) for name, group in found.items()}

    def tensor(self, name: str) -> Tensor:
        return self._by_name[name]

    def has(self, name: str) -> bool:
        return name in self._by_name

    def definitions(self, name: str) -> tuple[Statement, ...]:
        """The statements that write `name`."""
        return self._definitions.get(name, ())

    def definition(self, name: str) -> Statement | None:
        """The statement that writes `name`, if it is the only one."""
        found = self.definitions(name)
        return found[0] if len(found) == 1 else None

    def readers(self, name: str) -> tuple[Statement, ...]:
        return self._readers.get(name, ())

    def with_role(self, *roles: Role) -> tuple[Tensor, ...]:
        return tuple(t for t in self.tensors if t.role in roles)

    def sizes(self) -> tuple[Size, ...]:
        """Run-time sizes, in order of first appearance in the tensors' shapes."""
        return tuple(dict.fromkeys(s for t in self.tensors for extent in t.shape for s in extent.sizes()))

    def add(self, tensors: Iterable[Tensor] = (), statements: Iterable[Statement] = ()) -> Program:
        return replace(self, tensors=self.tensors + tuple(tensors), statements=self.statements + tuple(statements))

    def with_statements(self, statements: Iterable[Statement]) -> Program:
        return replace(self, statements=tuple(statements))

    def fresh_tensor(self, hint: str) -> str:
        """A tensor name after `hint` that the program does not have."""
        return fresh_name(hint, self._by_name)

    def with_tensors(self, changed: Mapping[str, Tensor]) -> Program:
        """The same statements over tensors of which those in `changed`, by name, are declared otherwise."""
        return replace(self, tensors=tuple(changed.get(t.name, t) for t in self.tensors))

    def keep_live(self, names: Iterable[str]) -> Program:
        """Drop every statement and intermediate tensor that `names` do not depend on, outputs and loss as well."""
        live = dict.fromkeys(names)
        pending = list(live)
        while pending:
            name = pending.pop()
            needed = [n for s in self.definitions(name) for n in s.tensors_read]
            needed += [n for d in self.derivatives if d.output == name for n in (d.of.tensor, d.wrt.tensor)]
            for other in needed:
                if other not in live:
                    live[other] = None
                    pending.append(other)
        statements = tuple(s for s in self.statements if s.tensor in live)
        tensors = tuple(t for t in self.tensors if t.name in live or t.is_given)
        outputs = tuple(name for name in self.outputs if name in live)
        loss = self.loss if self.loss in live else ""
        derivatives = tuple(d for d in self.derivatives if d.output in live)
        return replace(
            self, tensors=tensors, statements=statements, outputs=outputs, loss=loss, derivatives=derivatives
        )

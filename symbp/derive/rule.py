"""The one rule. Every derivative that symbp takes backwards comes from here.

    y[L(I)] = red_R f(.., x[J(I,R)], ..)      ==>      x_bar[J(I,R)] += y_bar[L(I)] * df/dx[J]

for every distinct read of x in f. The guards of the equation stay. A maximum passes its adjoint to the element that
won. The right-hand side is a scatter; `solver.gather` turns it into "each element collects its own".
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import replace

from symbp.derive.activity import Activity, find_activity
from symbp.derive.maxima import Maxima
from symbp.derive.partials import scaled_partial
from symbp.derive.solver import gather
from symbp.errors import DerivativeError, ShapeError, SymbpWarning, did_you_mean
from symbp.ir import (
    ZERO,
    Affine,
    Body,
    Domain,
    DType,
    Index,
    Origin,
    Program,
    Range,
    Read,
    Reduction,
    Role,
    Statement,
    Tensor,
    fresh_index,
    verify,
)
from symbp.ir.derivation import Derivation
from symbp.ir.names import fresh_name


def differentiate(program: Program, wrt: Iterable[str] | None = None, loss: str | None = None) -> Derivation:
    """The gradient of a scalar with respect to tensors: ``x_bar[..] = d loss / d x[..]``.

    `wrt` names tensors of floats (parameters, inputs or intermediate ones), by default every parameter; `loss` is the
    program's own by default. A tensor that the loss does not depend on gets the gradient 0 and a SymbpWarning.

    Raises DerivativeError if a function on a path from `wrt` to the loss has no derivative, ShapeError if the loss is
    not a scalar.
    """
    verify(program, "the stage before differentiate")
    assert not program.derivatives, "expand_derivatives comes before differentiate"
    loss = _scalar_loss(program, loss)
    sources = tuple(_sources(program, wrt))
    activity = find_activity(program, sources, [loss])
    adjoints = _Adjoints(program, activity, loss)
    for statement in reversed(program.statements):
        adjoints.pull_back(statement)
    for name in sources:
        if name not in activity:
            adjoints.add_zero(name)
            place = f"program '{program.name}'"
            message = f"{place}: the loss '{loss}' does not depend on '{name}', so its gradient is 0"
            warnings.warn(message, SymbpWarning, stacklevel=2)
    maxima = adjoints.maxima
    result = program.add(
        (*maxima.tensors, *adjoints.tensors.values()),
        (*maxima.statements, *adjoints.statements),
    )
    gradients = tuple((name, adjoints.tensors[name].name) for name in sources)
    return Derivation(verify(result, "differentiate"), program, gradients)


class _Adjoints:
    """The adjoint tensors and equations of a program, as the rule makes them."""

    def __init__(self, program: Program, activity: Activity, loss: str) -> None:
        self._program = program
        self._activity = activity
        self._taken = {t.name for t in program.tensors}
        self.tensors = {name: self._adjoint(program.tensor(name)) for name in activity.tensors}
        self.maxima = Maxima(program, self._fresh)
        self.statements: list[Statement] = []
        if loss in activity:
            one = Statement(self.tensors[loss].name, (), (), Body.of(1), Domain(), origin=Origin(note="the seed"))
            self.statements.append(one)

    def _fresh(self, hint: str) -> str:
        name = fresh_name(hint, self._taken)
        self._taken.add(name)
        return name

    def _adjoint(self, primal: Tensor) -> Tensor:
        name = self._fresh(f"{primal.name}_bar")
        return Tensor(name, primal.shape, Role.ADJOINT, primal.axes, primal=primal.name)

    def pull_back(self, statement: Statement) -> None:
        """The rule, for one equation."""
        reads = self._activity.reads(statement)
        if not reads or statement.tensor not in self._activity:
            return
        domain = statement.domain
        if statement.reduction is Reduction.MAX:
            domain = Domain(domain.ranges, (*domain.guards, self.maxima.guard(statement)))
        upstream = Read(self.tensors[statement.tensor].name, statement.subscripts)
        for read in reads:
            contribution = scaled_partial(statement, read, upstream)
            assert contribution is not None, "an active read has a derivative"
            gathered = gather(
                self.tensors[read.tensor],
                read.subscripts,
                statement.free,
                statement.reduced,
                domain,
                contribution,
                replace(statement.origin, note=f"gradient of {read.tensor}"),
            )
            if gathered is not None:
                self.statements.append(gathered)

    def add_zero(self, name: str) -> None:
        """The gradient of a tensor that the loss does not depend on."""
        primal = self._program.tensor(name)
        adjoint = self.tensors[name] = self._adjoint(primal)
        self.statements.append(fill(adjoint, 0, Origin(note=f"gradient of {name}")))


def fill(tensor: Tensor, value: int, origin: Origin) -> Statement:
    """``tensor[I] = value`` at every element."""
    indices: list[Index] = []
    for axis in tensor.axes or ("n",) * tensor.rank:
        indices.append(fresh_index(axis, indices))
    ranges = tuple(Range(i, ZERO, extent) for i, extent in zip(indices, tensor.shape, strict=True))
    subscripts = tuple(map(Affine.of, indices))
    return Statement(tensor.name, subscripts, tuple(indices), Body.of(value), Domain(ranges), origin=origin)


def _scalar_loss(program: Program, loss: str | None) -> str:
    name = loss or program.loss
    if not name:
        raise DerivativeError(
            f"program '{program.name}' has no loss to differentiate", remedy="declare one: model.loss(...)"
        )
    if not program.has(name):
        known = did_you_mean(name, (t.name for t in program.tensors))
        raise DerivativeError(f"program '{program.name}' has no tensor '{name}' to differentiate", remedy=known)
    tensor = program.tensor(name)
    if tensor.shape:
        axes = f" ({', '.join(tensor.axes)})" if tensor.axes else ""
        raise ShapeError(
            f"the loss '{name}' must be a scalar but has {tensor.rank} {'axis' if tensor.rank == 1 else 'axes'}{axes}",
            remedy="reduce it with mean or sum",
        )
    return name


def _sources(program: Program, wrt: Iterable[str] | None) -> Iterable[str]:
    if wrt is None:
        yield from (t.name for t in program.with_role(Role.PARAMETER))
        return
    for name in dict.fromkeys(wrt):
        if not program.has(name):
            known = did_you_mean(name, (t.name for t in program.tensors))
            raise DerivativeError(f"there is no tensor '{name}' to differentiate with respect to", remedy=known)
        if program.tensor(name).dtype is DType.INT:
            raise DerivativeError(f"tensor '{name}' holds integers, which have no derivative")
        yield name

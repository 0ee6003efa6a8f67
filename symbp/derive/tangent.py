"""Forward mode: the rule read in the other direction.

    y[L(I)] = red_R f(.., x[J(I,R)], ..)      ==>      y_dot[L(I)] = sum_R  sum over reads  df/dx[J] * x_dot[J(I,R)]

It takes any program, also one with adjoints in it: the tangent of a gradient is a Hessian-vector product.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from symbp.derive.activity import find_activity
from symbp.derive.deltas import eliminate_deltas
from symbp.derive.maxima import Maxima
from symbp.derive.partials import scaled_partial
from symbp.derive.rule import fill
from symbp.ir import (
    Affine,
    Body,
    Domain,
    DType,
    Guard,
    Origin,
    Program,
    Range,
    Read,
    Reduction,
    Role,
    Statement,
    Tensor,
    Zero,
    verify,
)
from symbp.ir.names import fresh_name


@dataclass(frozen=True, slots=True)
class Direction:
    """The seed ``x_dot[J] = direction[J]``: another tensor of the same shape."""

    tensor: str


@dataclass(frozen=True, slots=True)
class Delta:
    """The seed ``x_dot[J] = 1 where J == at``, else 0; an axis whose entry is None does not matter.

    ``Delta((None, None))`` is 1 everywhere. An entry may be an extra index, which every tangent then carries as an axis
    of its own: one tangent for each element of x.
    """

    at: tuple[Affine | None, ...]


Seed = Direction | Delta


def tangent(
    program: Program, seeds: Mapping[str, Seed], of: Iterable[str] | None = None, extra: tuple[Range, ...] = ()
) -> Program:
    """The program with the tangents of `of` (by default of every tensor that depends on a seeded one) added to it.

    The tangent of ``y`` is called ``y_dot``; it has the role TANGENT and ``primal == "y"``. A tensor of `of` that does
    not depend on the seeds has the tangent 0.

    Raises DerivativeError if a function on the way has no derivative.
    """
    verify(program, "the stage before tangent")
    wanted = tuple(t.name for t in program.tensors if t.dtype is DType.FLOAT) if of is None else tuple(of)
    forward = ForwardMode(seeds, extra)
    result = forward.push(program, wanted)
    if of is not None:
        result = forward.fill_missing(result, wanted)
    return verify(result, "tangent")


def _dot(tensor: Tensor) -> str:
    return f"{tensor.name}_dot"


@dataclass
class ForwardMode:
    """Tangents for one set of seeds. `names` are the tangents made so far, so that several pushes share them."""

    seeds: Mapping[str, Seed]
    extra: tuple[Range, ...] = ()
    hint: Callable[[Tensor], str] = _dot
    note: str = "tangent of {}"
    names: dict[str, str] = field(default_factory=dict)

    def push(self, program: Program, wanted: Iterable[str], into: Mapping[str, str] | None = None) -> Program:
        """Add the tangents of `wanted`, and those that they need, to the program that has the primal equations.

        `into` names tensors that are declared already and wait for the tangents of some.
        """
        activity = find_activity(program, self.seeds, wanted)
        active = [s for s in program.statements if s.tensor in activity]
        active = [s for s in active if s.tensor not in self.seeds and s.tensor not in self.names]
        new = tuple(dict.fromkeys(s.tensor for s in active))
        taken = {t.name for t in program.tensors}

        def fresh(hint: str) -> str:
            name = fresh_name(hint, taken)
            taken.add(name)
            return name

        waiting = {n: d for n, d in (into or {}).items() if n in new}
        self.names.update(waiting)
        tensors = [self._declare(program.tensor(n), fresh) for n in new if n not in waiting]
        maxima = Maxima(program, fresh)
        groups = [self._pushed(s, activity.reads(s), maxima) for s in active]
        # Equations with = and += for one tensor would depend on their order: one sum makes sums of all.
        sums = {g[0].tensor for g in groups if len(g) > 1 or (g and g[0].accumulate)}
        statements = [replace(s, accumulate=s.tensor in sums) for group in groups for s in group]
        return program.add((*maxima.tensors, *tensors), (*maxima.statements, *statements))

    def fill_missing(self, program: Program, wanted: Iterable[str]) -> Program:
        """Add tangents that are 0 for the tensors of `wanted` that do not depend on the seeds."""
        for name in wanted:
            if name not in self.names and name not in self.seeds:
                tensor = self._declare(program.tensor(name), program.fresh_tensor)
                program = program.add([tensor], [fill(tensor, 0, Origin(note=self.note.format(name)))])
        return program

    def _declare(self, primal: Tensor, fresh: Callable[[str], str]) -> Tensor:
        name = self.names[primal.name] = fresh(self.hint(primal))
        axes = (*primal.axes, *(r.index.name for r in self.extra)) if primal.axes or not primal.rank else ()
        return Tensor(name, primal.shape + self._extents(), Role.TANGENT, axes, primal=primal.name)

    def _extents(self) -> tuple[Affine, ...]:
        return tuple(r.extent for r in self.extra)

    def _pushed(self, statement: Statement, reads: tuple[Read, ...], maxima: Maxima) -> list[Statement]:
        """The equations that give the tangent of one equation: one, or one for each term where seeds bring guards."""
        guards = statement.guards
        if statement.reduction is Reduction.MAX and reads:
            guards = (*guards, maxima.guard(statement))
        free_terms: list[Body] = []
        guarded_terms: list[tuple[Body, tuple[Guard, ...]]] = []
        for read in reads:
            factor, selection = self.tangent_of(read)
            term = scaled_partial(statement, read, factor)
            if term is None or selection is None:
                continue
            if selection:
                guarded_terms.append((term, selection))
            else:
                free_terms.append(term)
        made = [(_sum(free_terms), guards)] if free_terms else []
        made += [(term, guards + selection) for term, selection in guarded_terms]
        found = [self._statement(statement, body, its_guards) for body, its_guards in made]
        return [s for s in found if s is not None]

    def tangent_of(self, read: Read) -> tuple[Read | None, tuple[Guard, ...] | None]:
        """The tangent of an element: a read (or 1), and the guards under which it is that (None: never)."""
        seed = self.seeds.get(read.tensor)
        if seed is None:
            return Read(self.names[read.tensor], read.subscripts + tuple(Affine.of(r.index) for r in self.extra)), ()
        if isinstance(seed, Direction):
            return Read(seed.tensor, read.subscripts), ()
        guards = []
        for subscript, at in zip(read.subscripts, seed.at, strict=True):
            difference = subscript - at if at is not None else Affine.of(0)
            if difference.is_constant and int(difference) != 0:
                return None, None
            if not difference.is_constant:
                guards.append(Zero(difference))
        return None, tuple(guards)

    def _statement(self, primal: Statement, body: Body, guards: tuple[Guard, ...]) -> Statement | None:
        indices = tuple(r.index for r in self.extra)
        free = primal.free + indices
        ranges = tuple(primal.domain.range_of(i) for i in primal.free) + self.extra
        ranges += tuple(primal.domain.range_of(i) for i in primal.reduced)
        return eliminate_deltas(
            Statement(
                self.names[primal.tensor],
                primal.subscripts + tuple(map(Affine.of, indices)),
                free,
                body,
                Domain(ranges, guards),
                primal.reduced,
                Reduction.SUM if primal.reduced else Reduction.NONE,
                primal.accumulate,
                replace(primal.origin, note=self.note.format(primal.tensor)),
            )
        )


def _sum(bodies: list[Body]) -> Body:
    total = bodies[0]
    for body in bodies[1:]:
        total = total + body
    return total

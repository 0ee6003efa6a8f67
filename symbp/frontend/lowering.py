"""Equations to statements: one reduction each, bound indices renamed apart, guards and subscripts in affine form.

z[b, k] = sum(x[b, j]*W[j, k], j) + c[k]
==>  z_sum[b, k] = sum[j] x[b, j]*W[j, k]
     z[b, k] = z_sum[b, k] + c[k]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import sympy as sp
from sympy.core.relational import Relational

from symbp.errors import ShapeError, SpecError, SymbpError, did_you_mean
from symbp.frontend.binding import Bound, rename_bound_axes, split_reduction
from symbp.frontend.checks import check_element
from symbp.frontend.declarations import Declarations, Definition
from symbp.frontend.expression import Axis, Diff, Element, Reduce
from symbp.frontend.gaps import check_written
from symbp.frontend.guards import Guards, lower_guard
from symbp.frontend.integers import lower_integer
from symbp.frontend.regions import (
    check_read,
    check_reads,
    provable,
)
from symbp.frontend.results import choose_outputs, copy_shifted_outputs, give_fans, warn_of_unused
from symbp.frontend.scalars import Path, lower_scalar
from symbp.frontend.tensor_table import TensorTable
from symbp.ir import (
    Affine,
    Body,
    DerivativeRequest,
    Domain,
    DType,
    Index,
    Operand,
    Origin,
    Program,
    Range,
    Read,
    Reduction,
    Statement,
)
from symbp.ir.bounds import is_nonnegative, without_divisions
from symbp.ir.verify import are_disjoint

REDUCTIONS = {"sum": Reduction.SUM, "max": Reduction.MAX, "argmax": Reduction.ARGMAX}


def lower_model(declared: Declarations) -> Program:
    """The program of a model. Raises SpecError and ShapeError with the place of the equation at fault."""
    if not declared.definitions:
        raise SpecError(f"model '{declared.name}' has no equations", remedy="write one: model.define(..)")
    return ModelLowering(declared).lower()


@dataclass
class StatementContext:
    """The statement being built: its indices, what its guards are, and the operands met so far."""

    target: str
    definition: Definition
    names: dict[Axis, Index]
    relations: tuple[Any, ...]  # the guards as users wrote them, for temporaries that need them too
    operands: dict[sp.Symbol, Operand] = field(default_factory=dict)
    symbols: dict[Operand, sp.Symbol] = field(default_factory=dict)

    def symbol(self, operand: Operand) -> sp.Symbol:
        if operand not in self.symbols:
            self.symbols[operand] = sp.Symbol(f"~{len(self.symbols):03d}", real=True)
            self.operands[self.symbols[operand]] = operand
        return self.symbols[operand]


class ModelLowering:
    """Builds one program; used once."""

    def __init__(self, declared: Declarations) -> None:
        self.declared = declared
        self.table = TensorTable(declared)
        self.statements: list[Statement] = []
        self.requests: list[DerivativeRequest] = []
        self.requirements: dict[Affine, None] = {}
        self.owners: dict[str, str] = {}  # of temporaries: the tensor whose equation they come from
        self.temporaries: dict[tuple[Any, ...], tuple[str, tuple[Axis, ...]]] = {}

    def lower(self) -> Program:
        declared = self.declared
        for axis in declared.axes.values():
            if not is_nonnegative(axis.extent - 1):
                self.requirements[axis.extent - 1] = None
        for tensor in declared.tensors.values():
            if tensor.is_given:
                self.table.add_given(tensor)
        for definition in declared.definitions:
            self._place_errors(definition, self.table.record_written)
        for tensor in declared.tensors.values():
            if not tensor.is_given:
                self.table.add_defined(tensor)
        for definition in declared.definitions:
            self._place_errors(definition, self._lower_definition)
        return self._finish()

    def _place_errors(self, definition: Definition, step: Any) -> None:
        try:
            step(definition)
        except SymbpError as error:
            place = f"{definition.place}: layer '{definition.layer}'" if definition.layer else definition.place
            raise (error.at(place) if place else error) from None

    # Equations

    def _lower_definition(self, definition: Definition) -> None:
        self.temporaries.clear()
        expression, guards = rename_bound_axes(
            definition.expression,
            definition.guards,
            self.table.bound,
            lambda a: Bound(self.table.extent(a), self.table.hint(a)),
        )
        if isinstance(expression, Diff):
            self._request(definition.tensor, definition.axes, definition, expression)
            return
        self._emit(definition.tensor, definition.subscripts, definition.axes, guards, expression, definition)

    def _emit(
        self,
        target: str,
        subscripts: Sequence[sp.Expr],
        free: tuple[Axis, ...],
        relations: tuple[Any, ...],
        expression: sp.Expr,
        definition: Definition,
    ) -> None:
        """Add the statement ``target[subscripts] = expression``, and before it the temporaries that it needs."""
        found = split_reduction(expression)
        reduced = found.axes
        names = self.table.index_names((*free, *reduced))
        context = StatementContext(target, definition, names, (*relations, *found.guards))
        ranges = self.table.ranges((*free, *reduced), names)
        template = lower_scalar(found.body, lambda e, path: self._leaf(e, path, context))
        guards = tuple(
            guard for relation in context.relations for guard in lower_guard(relation, self._guards(context), ranges)
        )
        statement = Statement(
            target,
            tuple(self._affine(s, context) for s in self._stored(target, subscripts)),
            tuple(names[a] for a in free),
            self._body(template, context),
            Domain(ranges, tuple(dict.fromkeys(guards))),
            tuple(names[a] for a in reduced),
            REDUCTIONS[found.operation] if reduced else Reduction.NONE,
            origin=Origin(definition.text, definition.layer, definition.place),
        )
        self.statements.append(statement)

    def _body(self, template: sp.Expr, context: StatementContext) -> Body:
        """Operands are numbered temporaries first, then in the order of declaration, which is how they print."""
        order = {name: k for k, name in enumerate(self.declared.tensors)}

        def rank(item: tuple[sp.Symbol, Operand]) -> tuple[int, int, str]:
            operand = item[1]
            if isinstance(operand, Read):
                return (0, order.get(operand.tensor, -1), str(operand))
            return (1, 0, str(operand))

        return Body.build(template, dict(sorted(context.operands.items(), key=rank)))

    def _stored(self, tensor: str, subscripts: Sequence[sp.Expr]) -> tuple[sp.Expr, ...]:
        layout = self.table.layouts.get(tensor)
        return tuple(s + o for s, o in zip(subscripts, layout.offsets, strict=True)) if layout else tuple(subscripts)

    def _leaf(self, expression: sp.Expr, path: Path, context: StatementContext) -> sp.Expr:
        if isinstance(expression, Element):
            read = self._read(expression, context)
            if path and not self._stays_inside(read, context):
                return self._temporary(expression, "branch", path, context)
            return context.symbol(read)
        if isinstance(expression, Reduce):
            return self._temporary(expression, expression.operation, path, context)
        if isinstance(expression, Diff):
            return self._derivative(expression, context)
        value = self._affine(expression, context)
        return sp.Integer(int(value)) if value.is_constant else context.symbol(value)

    def _read(self, element: Element, context: StatementContext) -> Read:
        tensor = self.declared.tensors.get(element.tensor)
        if tensor is None:
            raise SpecError(
                f"nothing defines '{element.tensor}', which is read as {element}",
                remedy=did_you_mean(element.tensor, self.declared.tensors),
            )
        check_element(element, tensor, self.declared.axes)
        return Read(
            element.tensor, tuple(self._affine(s, context) for s in self._stored(element.tensor, element.subscripts))
        )

    def _affine(self, expression: sp.Expr, context: StatementContext) -> Affine:
        def read(element: Element) -> Read:
            found = self._read(element, context)
            if self.table.tensors[element.tensor].dtype is not DType.INT:
                raise ShapeError(
                    f"{element} is used as a subscript, but '{element.tensor}' is not of integers",
                    remedy=f"declare '{element.tensor}' with dtype='int' and below=",
                )
            return found

        return lower_integer(expression, lambda a: Affine.of(context.names[a]), read)

    def _guards(self, context: StatementContext) -> Guards:
        def index(axis: Axis) -> Affine:
            return Affine.of(context.names[axis])

        def condition(relation: Relational) -> Body:
            inner = replace(context, operands={}, symbols={}, relations=())
            template = relation.func(*(lower_scalar(s, lambda e, p: self._leaf(e, p, inner)) for s in relation.args))
            return self._body(template, inner)

        return Guards(index, lambda e: self._read(e, context), condition, self._is_integer)

    def _is_integer(self, name: str) -> bool:
        return name in self.table.tensors and self.table.tensors[name].dtype is DType.INT

    # Temporaries

    def _temporary(self, part: sp.Expr, suffix: str, path: Path, context: StatementContext) -> sp.Symbol:
        """A part of an expression, named after the left side: ``p_sum[b] = sum[k] exp(z[b, k])``.

        A reduction, or an element that only its branch keeps inside its tensor: ``select(t >= 1, x[t - 1], 0)``. It
        keeps the guards that speak of its own indices, and the condition of the select branch that it stands in: what a
        branch does not take is never computed.
        """
        mentioned = part.free_symbols.union(*(c.free_symbols for c in path))
        free = tuple(a for a in context.names if a in mentioned)
        inside = set(free)
        relations = tuple(
            r for r in (*context.relations, *path) if all(a in inside for a in r.free_symbols if isinstance(a, Axis))
        )
        name = self._named_temporary(suffix, free, (part, relations), context, part, relations)
        return context.symbol(Read(name, tuple(Affine.of(context.names[a]) for a in free)))

    def _named_temporary(
        self,
        suffix: str,
        free: tuple[Axis, ...],
        key: tuple[Any, ...],
        context: StatementContext,
        expression: sp.Expr,
        relations: tuple[Any, ...],
    ) -> str:
        key = (free, *key)
        if key not in self.temporaries:
            name = self.table.declare_temporary(f"{context.definition.tensor}_{suffix}", free)
            if isinstance(expression, Reduce) and expression.operation == "argmax":
                self.table.tensors[name] = replace(self.table.tensors[name], dtype=DType.INT)
            self.owners[name] = context.definition.tensor
            self._emit(name, free, free, relations, expression, context.definition)
            self.temporaries[key] = (name, free)
        return self.temporaries[key][0]

    def _stays_inside(self, read: Read, context: StatementContext) -> bool:
        """True if the statement's own ranges and guards keep the element inside its tensor."""
        ranges = self.table.ranges(tuple(context.names), context.names)
        guards = [g for r in context.relations for g in lower_guard(r, self._guards(context), ranges)]
        known = Program("", tuple(self.table.tensors.values()), ())
        try:
            return not check_read(read, Domain(ranges, tuple(guards)), known, None)
        except SymbpError:
            return False

    # Derivatives inside the model

    def _derivative(self, derivative: Diff, context: StatementContext) -> sp.Symbol:
        mentioned = derivative.free_symbols
        free = tuple(a for a in context.names if a in mentioned)
        key = (free, derivative)
        if key not in self.temporaries:
            of = derivative.of.tensor if isinstance(derivative.of, Element) else context.definition.tensor
            name = self.table.declare_temporary(f"{of}_{derivative.wrt.tensor}", free)
            self._request(name, free, context.definition, derivative)
            self.temporaries[key] = (name, free)
        return context.symbol(Read(self.temporaries[key][0], tuple(Affine.of(context.names[a]) for a in free)))

    def _request(self, target: str, free: tuple[Axis, ...], definition: Definition, derivative: Diff) -> None:
        """Ask forward mode for ``target[free] = d of / d wrt``."""
        names = self.table.index_names(free)
        context = StatementContext(target, definition, names, ())
        if target == definition.tensor and (definition.subscripts != free or definition.guards):
            raise SpecError(
                f"{definition.left} is a derivative, so its left side must have plain indices and no where",
                remedy="define the derivative first, then the rest from it",
            )
        of = derivative.of
        if isinstance(of, Element):
            read = self._read(of, context)
        else:
            leaf = self._leaf(of, (), context) if isinstance(of, Diff) else None
            if leaf is not None:
                read = context.operands[leaf]  # type: ignore[assignment]
            else:
                name = self._named_temporary("argument", free, (of,), context, of, ())
                read = Read(name, tuple(Affine.of(names[a]) for a in free))
        wrt = self._read(derivative.wrt, context)
        self.requests.append(
            DerivativeRequest(
                target,
                read,
                wrt,
                self.table.ranges(free, names),
                Origin(definition.text, definition.layer, definition.place),
            )
        )

    # The whole

    def _finish(self) -> Program:
        program = Program(
            self.declared.name,
            tuple(self.table.tensors.values()),
            tuple(self.statements),
            loss=self.declared.loss,
            derivatives=tuple(self.requests),
        )
        self._check_written_once(program)
        for statement in program.statements:
            if statement.target in statement.reads:
                raise SpecError(
                    f"{statement.target} is defined by itself",
                    place=statement.origin.place or None,
                    remedy="read an earlier element, such as the one at t - 1, or give the result another name",
                )
            self.requirements.update(dict.fromkeys(check_reads(statement, program, self.owners)))
        for request in program.derivatives:
            domain = Domain(request.ranges)
            for read in (request.of, request.wrt):
                place = request.origin.place or None
                self.requirements.update(dict.fromkeys(check_read(read, domain, program, place)))
        for name, written in self.table.written.items():
            check_written(name, self.table.layouts[name], written, program.statements, self.owners)
        self._check_requirements()
        program = replace(program, requirements=tuple(self.requirements))
        program = choose_outputs(program, self.declared)
        warn_of_unused(program, self.declared)
        program = copy_shifted_outputs(program, {n: layout.offsets for n, layout in self.table.layouts.items()})
        return give_fans(program)

    def _check_written_once(self, program: Program) -> None:
        for name in self.table.written:
            mine = program.definitions(name)
            for k, one in enumerate(mine):
                for other in mine[k + 1 :]:
                    if not are_disjoint(one, other):
                        raise SpecError(
                            f"'{name}' is defined twice: by {one.target} ({one.origin.place}) and by {other.target}",
                            place=other.origin.place or None,
                            remedy="give each element one equation",
                        )

    def _check_requirements(self) -> None:
        # Extents that are provably too small were refused where they are; what is left depends on run-time sizes.
        ranges: tuple[Range, ...] = ()
        needed = dict.fromkeys(map(without_divisions, self.requirements))
        self.requirements = {r: None for r in needed if not provable(r, Domain(ranges))}

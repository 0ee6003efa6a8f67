"""Give every nonlinear call a name, and its arguments too.

    a[I] = tanh(z1[I] + z2[I])      ==>      a_pre[I] = z1[I] + z2[I]
                                             a[I] = tanh(a_pre[I])

The adjoint of the argument is then a tensor of its own (the delta of the textbooks: ``a_pre_bar = a_bar*(1 - a**2)``),
and the derivative of the call can read the call's stored value instead of computing it again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import sympy as sp

from symbp.ir.affine import ZERO, Affine, Index, Read
from symbp.ir.body import Body, slot
from symbp.ir.bounds import holds_everywhere
from symbp.ir.functions import NONLINEAR, relu, select, sigmoid, softplus, tanh
from symbp.ir.names import fresh_name
from symbp.ir.program import Program, Role, Tensor
from symbp.ir.statement import Domain, Guard, Holds, Reduction, Statement, guard_indices
from symbp.ir.verify import verify

ACTIVATIONS = (sigmoid, tanh, relu, softplus)


def name_calls(program: Program) -> Program:
    """The same program, in which a nonlinear call is the whole right-hand side of a statement and reads plain elements.

    Calls of the same function at the same elements share one name. A call inside a branch of ``select`` stays there:
    out of it, it would be evaluated where the branch is not taken. Calls of numbers, sizes and indices alone stay too.
    """
    verify(program, "the stage before name_calls")
    naming = _Naming(program)
    statements = [named for statement in program.statements for named in naming.statement(statement)]
    added = tuple(naming.tensors)
    return verify(replace(program, tensors=program.tensors + added, statements=tuple(statements)), "name_calls")


def is_call(expr: sp.Expr) -> bool:
    """True for a call worth naming; powers that are not whole count as calls: ``v**(-1/2)``."""
    return isinstance(expr, NONLINEAR) or (isinstance(expr, sp.Pow) and not expr.exp.is_Integer)


@dataclass
class _Naming:
    """The temporaries made so far for one program."""

    program: Program
    tensors: list[Tensor] = field(default_factory=list)
    _taken: set[str] = field(default_factory=set)
    _made: dict[object, tuple[Statement, tuple[Index, ...]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._taken = {t.name for t in self.program.tensors}
        for statement in self.program.statements:
            if _is_named_call(statement) and len(self.program.definitions(statement.tensor)) == 1:
                order = _used_indices(statement, statement.body)
                if set(order) == set(statement.free):
                    self._made.setdefault(_key(statement.body, order, statement.domain), (statement, order))

    def statement(self, statement: Statement) -> list[Statement]:
        """The statement with its calls named, after the temporaries that it needs."""
        if not _has_calls(statement.body.expr):
            return [statement]
        made: list[Statement] = []
        whole = is_call(statement.body.expr) and statement.reduction is Reduction.NONE and not statement.accumulate
        body = self._arguments(statement, statement.body, statement.tensor, made, whole=True) if whole else None
        if body is None:
            body = self._calls(statement, statement.body, made)
        return [*made, replace(statement, body=body)]

    def _calls(self, statement: Statement, body: Body, made: list[Statement]) -> Body:
        """`body` with a read in place of each of its outermost calls."""
        parts: dict[sp.Symbol, Body] = {slot(k): Body.of(o) for k, o in enumerate(body.operands)}
        position = {slot(k): (k, 1) for k in range(len(body.operands))}

        def visit(expr: sp.Expr) -> sp.Expr:
            if isinstance(expr, select) or not expr.args or not _has_calls(expr):
                return expr
            if not is_call(expr):
                return expr.func(*map(visit, expr.args))
            call = body.with_expr(expr)
            if not call.reads:
                return expr
            symbol = sp.Symbol(f"call{len(parts)}", real=True)
            parts[symbol] = Body.of(self._name(statement, call, made))
            position[symbol] = (min(position[s][0] for s in expr.free_symbols), 0)
            return symbol

        template = visit(body.expr)
        # A read takes the place of its call in the order of the operands, which is the order of the printed text.
        return Body.combine(template, {s: parts[s] for s in sorted(parts, key=position.__getitem__)})

    def _name(self, statement: Statement, call: Body, made: list[Statement]) -> Read:
        """The element of a temporary that holds `call`."""
        function = _function_name(call.expr)
        simple = all(a.is_Symbol or a.is_number for a in call.expr.args)
        reads = dict.fromkeys(r.tensor for r in call.reads)
        stem = statement.tensor.removesuffix("_total").removesuffix("_sum")  # the terms of a sum of exp: p_exp
        hint = f"{function}_{next(iter(reads))}" if simple and len(reads) == 1 else f"{stem}_{function}"
        named = self._arguments(statement, call, hint, made, whole=False)
        return self._temporary(statement, named, hint, made)

    def _arguments(self, statement: Statement, call: Body, hint: str, made: list[Statement], *, whole: bool) -> Body:
        """`call` with a read in place of each argument that is neither a read nor free of reads."""
        suffix = "pre" if isinstance(call.expr, ACTIVATIONS) else "base" if call.expr.is_Pow else "arg"
        parts: dict[sp.Symbol, Body] = {}
        arguments = []
        for argument in call.expr.args:
            body = self._calls(statement, call.with_expr(argument), made)
            if body.reads and not body.is_read:
                body = Body.of(self._temporary(statement, body, f"{hint}_{suffix}", made))
            symbol = sp.Symbol(f"argument{len(parts)}", real=True)
            parts[symbol] = body
            arguments.append(symbol if body.operands else body.expr)
        # The function is applied to fresh symbols, so nothing is evaluated here that was not before.
        return Body.combine(call.expr.func(*arguments), parts)

    def _temporary(self, statement: Statement, body: Body, hint: str, made: list[Statement]) -> Read:
        """A statement that gives `body` a name, over the indices that it needs; one that exists already is used."""
        domain = _domain_for(self.program, self.tensors, statement, body)
        order = tuple(r.index for r in domain.ranges)
        key = _key(body, order, domain)
        if key not in self._made:
            name = fresh_name(hint, self._taken)
            self._taken.add(name)
            starts = [r.lower if _may_be_negative(r.lower) else ZERO for r in domain.ranges]
            subscripts = tuple(i - s for i, s in zip(order, starts, strict=True))
            shape = tuple(r.stop - s for r, s in zip(domain.ranges, starts, strict=True))
            self.tensors.append(Tensor(name, shape, Role.ACTIVATION, tuple(i.name for i in order)))
            new = Statement(name, subscripts, order, body, domain, origin=statement.origin)
            self._made[key] = (new, order)
            made.append(new)
        found, its_order = self._made[key]
        mapping = {mine: Affine.of(here) for mine, here in zip(its_order, order, strict=True)}
        return Read(found.tensor, tuple(s.substitute(mapping) for s in found.subscripts))


def _domain_for(program: Program, added: Iterable[Tensor], statement: Statement, body: Body) -> Domain:
    """The part of the statement's domain on which `body` is needed.

    A guard is kept if it speaks of these indices only. One that also speaks of others brings them in where it may be
    what keeps the reads inside their tensors, or where it depends on data: values that nobody wants must not be made,
    for a NaN in one of them would spread through its adjoint.
    """
    shapes = {t.name: t.shape for t in (*program.tensors, *added)}
    used = set(_used_indices(statement, body))
    while True:
        kept = tuple(g for g in statement.guards if set(guard_indices(g)) <= used)
        domain = Domain(tuple(statement.domain.range_of(i) for i in statement.indices if i in used), kept)
        apart = [g for g in statement.guards if g not in kept and used & set(guard_indices(g))]
        if not apart:
            return domain
        safe = all(_is_inside(r, shapes[r.tensor], domain) for r in body.all_reads)
        needed = [g for g in apart if not safe or isinstance(g, Holds) or _reads_data(g)]
        if not needed:
            return domain
        used.update(i for g in needed for i in guard_indices(g))


def _is_inside(read: Read, shape: tuple[Affine, ...], domain: Domain) -> bool:
    return all(
        bool(subscript.reads())
        or (holds_everywhere(subscript, domain) and holds_everywhere(extent - 1 - subscript, domain))
        for subscript, extent in zip(read.subscripts, shape, strict=True)
    )


def _reads_data(guard: Guard) -> bool:
    return isinstance(guard, Holds) or bool(guard.value.reads())


def _used_indices(statement: Statement, body: Body) -> tuple[Index, ...]:
    used = set(body.indices)
    return tuple(i for i in statement.indices if i in used)


def _has_calls(expr: sp.Expr) -> bool:
    return is_call(expr) or (not isinstance(expr, select) and any(_has_calls(a) for a in expr.args))


def _is_named_call(statement: Statement) -> bool:
    call = statement.body.expr
    return (
        is_call(call)
        and statement.reduction is Reduction.NONE
        and not statement.accumulate
        and not any(s.hidden_indices() or s.reads() for s in statement.subscripts)
        and all(a.is_Symbol or a.is_number for a in call.args)
    )


def _key(body: Body, order: tuple[Index, ...], domain: Domain) -> object:
    """Equal for bodies that differ in the names of their indices only, over the same ranges and guards."""
    names: dict[Index, Affine] = {i: Affine.of(Index(f"#{k}")) for k, i in enumerate(order)}
    ranges = tuple((domain.range_of(i).lower, domain.range_of(i).stop) for i in order)
    return (body.substitute(names), ranges, frozenset(domain.substitute_guards(names)))


def _may_be_negative(lower: Affine) -> bool:
    return any(c < 0 for _, c in lower.terms)


def _function_name(call: sp.Expr) -> str:
    if call.is_Pow:
        return "rsqrt" if call.exp == sp.Rational(-1, 2) else "power"
    return str(call.func.__name__)

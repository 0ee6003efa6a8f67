"""Values of the forward pass that the backward pass would otherwise compute again.

p[b, k] = e[b, k]/s[b]       lets the adjoints read p for every e/s
p[b] = sigmoid(z[b])         lets them read p for every sigmoid(z)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import sympy as sp

from symbp.derive.definitions import covers, is_map
from symbp.derive.name_calls import is_call
from symbp.derive.simplify.graph import EquationGraph
from symbp.derive.simplify.tidy import cost, tidy
from symbp.ir.affine import Affine, Index, Read
from symbp.ir.body import Body, Operand, slot
from symbp.ir.functions import select
from symbp.ir.program import DType, Program
from symbp.ir.statement import Guard, Statement


@dataclass(frozen=True)
class _Monomial:
    """``y = number * product of factor**power``, found by one of its elements that shows all of y's indices.

    A factor is an element, a size or a sum: ``y = r*(x - mean)``.
    """

    statement: Statement
    anchor: Read
    number: sp.Rational
    powers: tuple[tuple[Body, int], ...]


@dataclass(frozen=True)
class _Call:
    """``y = f(elements and numbers)``, found by one of its arguments."""

    statement: Statement
    anchor: Read


class ForwardValues:
    """What the equations of a program compute, by the tensors that they compute it from."""

    def __init__(self, program: Program) -> None:
        self._monomials: dict[str, list[_Monomial]] = {}
        self._calls: dict[str, list[_Call]] = {}
        for statement in program.statements:
            tensor = program.tensor(statement.tensor)
            if not is_map(statement) or not covers(statement, tensor) or tensor.dtype is not DType.FLOAT:
                continue
            anchor = _anchor(statement)
            if anchor is None:
                continue
            expr = statement.body.expr
            if is_call(expr) and all(a.is_Symbol or a.is_number for a in expr.args):
                self._calls.setdefault(anchor.tensor, []).append(_Call(statement, anchor))
            elif expr.is_Mul or expr.is_Pow:
                self._add_monomial(statement)

    def _add_monomial(self, statement: Statement) -> None:
        number, factors = _powers(statement.body.expr)
        powers = tuple((statement.body.with_expr(base), int(p)) for base, p in factors.items() if p.is_Integer)
        plain = all(base.is_Symbol or base.is_Add for base in factors)
        if len(powers) < len(factors) or not plain or sum(bool(f.reads) for f, _ in powers) < 2:
            return
        for anchor in statement.body.reads:
            if _shows(anchor, statement):
                known = self._monomials.setdefault(anchor.tensor, [])
                known.append(_Monomial(statement, anchor, number, powers))

    def reuse(self, body: Body, guards: Iterable[Guard]) -> Body:
        """The body with stored values in place of what they were computed from, where that is shorter."""
        guards = frozenset(guards)
        if self._calls and body.expr.atoms(sp.Function, sp.Pow):
            body = self._reuse_calls(body, guards)
        if self._monomials and any(r.tensor in self._monomials for r in body.reads):
            body = self._reuse_monomials(body, guards)
        return body

    def multiples(self, factor: Body) -> Iterator[tuple[Read, sp.Rational, tuple[tuple[Body, int], ...]]]:
        """Stored values ``number * factor * product of other**power``, with that number and those others."""
        for element in factor.reads:
            for known in self._monomials.get(element.tensor, ()):
                mapping = _bind(known.anchor, element)
                if mapping is None or known.statement.guards:
                    continue
                powers = [(f.substitute(mapping), p) for f, p in known.powers]
                for sign, same in ((1, factor), (-1, factor.with_expr(-factor.expr))):
                    others = tuple((f, p) for f, p in powers if not _same(f, same))
                    if len(others) == len(powers) - 1 and any(_same(f, same) and p == 1 for f, p in powers):
                        yield known.statement.target.substitute(mapping), sign * known.number, others

    # -- calls --------------------------------------------------------------------------------------------------------

    def _reuse_calls(self, body: Body, guards: frozenset[Guard]) -> Body:
        parts: dict[sp.Symbol, Body] = {slot(k): Body.of(o) for k, o in enumerate(body.operands)}
        replaced: dict[sp.Expr, sp.Symbol] = {}
        for call in sorted((c for c in body.expr.atoms(sp.Function, sp.Pow) if is_call(c)), key=sp.default_sort_key):
            value = self._value_of(body.with_expr(call), guards) if not call.has(select) else None
            if value is not None:
                symbol = sp.Symbol(f"value{len(parts)}", real=True)
                parts[symbol] = Body.of(value)
                replaced[call] = symbol
        if not replaced:
            return body
        return Body.combine(tidy(body.expr.xreplace(replaced)), parts)

    def _value_of(self, call: Body, guards: frozenset[Guard]) -> Read | None:
        for read in call.reads:
            for known in self._calls.get(read.tensor, ()):
                mapping = _bind(known.anchor, read)
                if mapping is None or not _holds(known.statement, mapping, guards):
                    continue
                if _same(known.statement.body.substitute(mapping), call):
                    return known.statement.target.substitute(mapping)
        return None

    # -- products -----------------------------------------------------------------------------------------------------

    def _reuse_monomials(self, body: Body, guards: frozenset[Guard]) -> Body:
        """Try the body as it stands and multiplied out; the shorter result wins."""
        best = self._rewrite(body, guards)
        if body.expr.has(sp.Add):
            wide = sp.expand_mul(body.expr)
            if wide != body.expr:
                other = self._rewrite(body.with_expr(wide), guards)
                if cost(other.expr) < cost(best.expr):
                    best = other
        return best if cost(best.expr) < cost(body.expr) else body

    def _rewrite(self, body: Body, guards: frozenset[Guard]) -> Body:
        table = _Table(body)

        def visit(expr: sp.Expr) -> sp.Expr:
            if isinstance(expr, select) or not expr.args:
                return expr
            expr = expr.func(*map(visit, expr.args))
            return self._shorter(expr, table, guards) if expr.is_Mul or expr.is_Pow else expr

        return table.body(tidy(visit(body.expr)))

    def _shorter(self, expr: sp.Expr, table: _Table, guards: frozenset[Guard]) -> sp.Expr:
        """Trade factors of a product for stored products while that leaves fewer of them."""
        number, powers = _powers(expr)
        changed = False
        while True:
            found = self._best_trade(powers, table, guards)
            if found is None:
                break
            powers, factor = found
            number *= factor
            changed = True
        return number * sp.Mul(*(b**p for b, p in powers.items())) if changed else expr

    def _best_trade(
        self, powers: Mapping[sp.Expr, sp.Expr], table: _Table, guards: frozenset[Guard]
    ) -> tuple[dict[sp.Expr, sp.Expr], sp.Rational] | None:
        best = None
        least = _weight(powers)
        for read in dict.fromkeys(r for base in powers for r in table.reads(base)):
            for known in self._monomials.get(read.tensor, ()):
                mapping = _bind(known.anchor, read)
                if mapping is None or not _holds(known.statement, mapping, guards):
                    continue
                value = table.symbol(known.statement.target.substitute(mapping))
                product = sp.Mul(*(table.expression(f.substitute(mapping)) ** p for f, p in known.powers))
                sign, factors = _powers(product)
                for direction in (1, -1):
                    traded = dict(powers)
                    for factor, power in factors.items():
                        traded[factor] = traded.get(factor, sp.S.Zero) - direction * power
                    traded[value] = traded.get(value, sp.S.Zero) + direction
                    traded = {b: p for b, p in traded.items() if p != 0}
                    # 1/value is 1/(product of its factors): those must have been divided by before.
                    divisors = [f for f, p in factors.items() if p > 0] if value in _divisors(traded) else []
                    divisors += [b for b in _divisors(traded) if b != value]
                    if _weight(traded) < least and all(powers.get(b, 0) < 0 for b in divisors):
                        best, least = (traded, (sign * known.number) ** -direction), _weight(traded)
        return best


class _Table:
    """Symbols for the operands of one body, and for those that rewriting brings in."""

    def __init__(self, body: Body) -> None:
        self._symbols: dict[Operand, sp.Symbol] = {o: slot(k) for k, o in enumerate(body.operands)}
        self._operands = {s: o for o, s in self._symbols.items()}

    def symbol(self, operand: Operand) -> sp.Symbol:
        if operand not in self._symbols:
            symbol = sp.Symbol(f"~value{len(self._symbols):03d}", real=True)
            self._symbols[operand] = symbol
            self._operands[symbol] = operand
        return self._symbols[operand]

    def reads(self, factor: sp.Expr) -> list[Read]:
        """The elements in a factor that is an element, or a sum."""
        symbols = [factor] if factor.is_Symbol else factor.free_symbols if factor.is_Add else []
        operands = (self._operands.get(s) for s in sorted(symbols, key=lambda s: s.name))
        return [o for o in operands if isinstance(o, Read)]

    def expression(self, body: Body) -> sp.Expr:
        return body.expr.xreplace({slot(k): self.symbol(o) for k, o in enumerate(body.operands)})

    def body(self, expr: sp.Expr) -> Body:
        return Body.build(expr, self._operands)


def _divisors(powers: Mapping[sp.Expr, sp.Expr]) -> list[sp.Expr]:
    """What a product divides by. A rewritten one must not divide by anything else: that may be 0."""
    return [base for base, power in powers.items() if power.is_negative]


def _weight(powers: Mapping[sp.Expr, sp.Expr]) -> int:
    """Multiplications and divisions of a product."""
    return sum(abs(int(p)) if p.is_Integer else 1 for p in powers.values())


def _powers(expr: sp.Expr) -> tuple[sp.Rational, dict[sp.Expr, sp.Expr]]:
    """A product as a number and its factors with their powers; of a sum and its negative one stands for both."""
    number, rest = expr.as_coeff_Mul()
    powers: dict[sp.Expr, sp.Expr] = {}
    for factor in sp.Mul.make_args(rest) if rest != 1 else ():
        base, power = factor.as_base_exp()
        if base.is_Add and power.is_Integer and base.could_extract_minus_sign():
            base, number = -base, number * (-1) ** power
        powers[base] = powers.get(base, sp.S.Zero) + power
    return number, powers


def _same(one: Body, other: Body) -> bool:
    """Equality that does not depend on the order in which the operands were met."""
    if len(one.operands) != len(other.operands) or set(one.operands) != set(other.operands):
        return False
    order = {o: k for k, o in enumerate(one.operands)}
    renaming = {slot(k): slot(order[o]) for k, o in enumerate(other.operands)}
    return bool(other.expr.xreplace(renaming) == one.expr)


def _anchor(statement: Statement) -> Read | None:
    """An element that the statement reads at plain subscripts that show all of its indices."""
    return next((r for r in statement.body.reads if _shows(r, statement)), None)


def _shows(read: Read, statement: Statement) -> bool:
    shown = {s.as_index() for s in read.subscripts}
    plain = all(s.as_index() is not None or s.is_constant for s in read.subscripts)
    distinct = len([s for s in read.subscripts if s.as_index() is not None]) == len(shown - {None})
    return plain and distinct and set(statement.free) <= shown


def _bind(anchor: Read, read: Read) -> dict[Index, Affine] | None:
    """The values of the indices at which `anchor` is `read`, if there are any."""
    mapping: dict[Index, Affine] = {}
    for subscript, value in zip(anchor.subscripts, read.subscripts, strict=True):
        index = subscript.as_index()
        if index is not None:
            mapping[index] = value
        elif subscript != value:
            return None
    return mapping


def _holds(statement: Statement, mapping: Mapping[Index, Affine], guards: frozenset[Guard]) -> bool:
    return set(statement.domain.substitute_guards(mapping)) <= guards


class ReuseValues:
    """The rule that lets a statement of the backward pass read stored values."""

    def __init__(self, values: ForwardValues) -> None:
        self._values = values

    def __call__(self, graph: EquationGraph, number: int) -> bool:
        if number not in graph.backward:
            return False
        statement = graph.statements[number]
        body = self._values.reuse(statement.body, statement.guards)
        if body == statement.body:
            return False
        graph.replace(number, replace(statement, body=body))
        return True

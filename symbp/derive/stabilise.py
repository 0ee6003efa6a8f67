"""Rewrite textbook equations so that neither they nor their derivatives overflow or lose their digits.

It is done on the primal, before differentiating, so that the adjoint equations are stable for free:

    sum[k] exp(z[k])                     shifted by the largest z[k], held constant, where the shift cancels
    log(exp(z[k])/sum[j] exp(z[j]))      z[k] - m - log(sum[j] exp(z[j] - m))
    log(sigmoid(z)), log(1 - sigmoid(z)) -softplus(-z), -softplus(z)
    -(y*log(p) + (1 - y)*log(1 - p))     softplus(z) - y*z      where p = sigmoid(z)
    log(1 + x), exp(x) - 1, log(exp(x))  log1p(x), expm1(x), x
    1/(1 + exp(-z))                      sigmoid(z)

Definitions are seen through: ``p`` may be named in one equation and its logarithm taken in another.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import sympy as sp

from symbp.derive.definitions import Elements, binding, canonical, covers, plain_indices
from symbp.ir.affine import Affine, Index, Read
from symbp.ir.body import Body
from symbp.ir.bounds import is_nonnegative
from symbp.ir.functions import expm1, log1p, select, sigmoid, softplus, sqrt, stop_gradient
from symbp.ir.names import fresh_name
from symbp.ir.program import Program, Role, Tensor
from symbp.ir.statement import Domain, Guard, Reduction, Statement, guard_indices
from symbp.ir.verify import verify

#: How many names a definition is followed through.
DEPTH = 8


def stabilise(program: Program) -> Program:
    """The same equations in forms that are exact for large arguments; statements that nothing needs any more go."""
    verify(program, "the stage before stabilise")
    work = _Stabiliser(program)
    improved = [work.improved(statement) for statement in program.statements]
    # The pieces of a shifted sum stand where the sum stood: the order is for readers only.
    statements = [new for one in improved for new in (*work.pieces.get(one.tensor, ()), one)]
    result = replace(program, tensors=program.tensors + tuple(work.tensors), statements=tuple(statements))
    wanted = (*program.outputs, *filter(None, [program.loss]))
    if wanted and not program.derivatives:
        result = result.keep_live(wanted)
    return verify(result, "stabilise")


@dataclass(frozen=True)
class _Shift:
    """``S = exp(m)*S'``: the largest exponent, and the sum without it, as tensors over the given axes of ``S``."""

    exponent: str
    exponent_axes: tuple[int, ...]
    total: str


@dataclass
class _Stabiliser:
    program: Program
    tensors: list[Tensor] = field(default_factory=list)
    pieces: dict[str, list[Statement]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._elements = Elements(self.program)
        self._taken = {t.name for t in self.program.tensors}
        self._improved: dict[int, Statement] = {}
        self._under_way: set[int] = set()
        self._shifts: dict[str, _Shift | None] = {}
        self._largest: dict[object, str] = {}
        self._positive: dict[str, bool] = {}

    # -- statements ---------------------------------------------------------------------------------------------------

    def improved(self, statement: Statement) -> Statement:
        """The statement with its body rewritten; each is done once, also when others see through it first."""
        key = id(statement)
        if key in self._improved:
            return self._improved[key]
        if key in self._under_way:
            return statement
        self._under_way.add(key)
        expr = self._elements.expression(statement.body)
        better = self._improve(expr, statement.guards)
        result = statement
        if better != expr:
            result = replace(statement, body=self._elements.body(better, statement.body))
        self._under_way.discard(key)
        self._improved[key] = result
        return result

    def _definition(self, expr: sp.Expr, guards: Iterable[Guard]) -> sp.Expr | None:
        """What the element is defined as, in its improved form; None if it is not one or not known."""
        read = self._elements.read(expr)
        statement = self._elements.map_statement(read, guards) if read is not None else None
        if statement is None or read is None:
            return None
        return self._elements.expression(self.improved(statement).body.substitute(binding(statement, read)))

    def _is_softplus(self, symbol: sp.Symbol) -> bool:
        read = self._elements.read(symbol)
        statement = self.program.definition(read.tensor) if read is not None else None
        return statement is not None and isinstance(self.improved(statement).body.expr.as_coeff_Mul()[1], softplus)

    # -- expressions --------------------------------------------------------------------------------------------------

    def _improve(self, expr: sp.Expr, guards: tuple[Guard, ...]) -> sp.Expr:
        if not expr.args or expr.is_Boolean or expr.is_Relational:
            return expr
        arguments = [self._improve(a, guards) for a in expr.args]
        if arguments != list(expr.args):
            expr = expr.func(*arguments)
        if isinstance(expr, sp.log):
            better = self._log(expr.args[0], guards, DEPTH)
            if better is None:
                return expr
            return self._add(better, guards) if better.is_Add else better
        if isinstance(expr, sp.exp):
            return self._exp(expr)
        if expr.is_Add:
            return self._add(expr, guards)
        if expr.is_Mul or expr.is_Pow:
            return self._product(expr, guards)
        return expr

    def _log(self, expr: sp.Expr, guards: tuple[Guard, ...], depth: int) -> sp.Expr | None:
        """A better form of ``log(expr)``, or None."""
        if depth == 0:
            return None
        if expr.is_Symbol:
            shift = self._shift(expr)
            if shift is not None:
                exponent, total = shift
                return exponent + sp.log(total)
            definition = self._definition(expr, guards)
            return None if definition is None else self._log(definition, guards, depth - 1)
        if isinstance(expr, sp.exp):
            return expr.args[0]
        if isinstance(expr, sigmoid):
            return -softplus(-expr.args[0])
        if isinstance(expr, sqrt):
            inner = self._log(expr.args[0], guards, depth)
            return None if inner is None else inner / 2
        if isinstance(expr, stop_gradient):
            inner = self._log(expr.args[0], guards, depth)
            return None if inner is None else stop_gradient(inner)
        if expr.is_Add:
            return self._log_of_sum(expr, guards)
        if expr.is_Pow and self._is_positive(expr.base, guards):
            inner = self._log(expr.base, guards, depth)
            return expr.exp * (sp.log(expr.base) if inner is None else inner)
        if expr.is_Mul and all(self._is_positive(a, guards) for a in expr.args):
            logs = [self._log(a, guards, depth) for a in expr.args]
            if any(found is not None for found in logs):
                return sp.Add(*(sp.log(a) if b is None else b for a, b in zip(expr.args, logs, strict=True)))
        return None

    def _log_of_sum(self, expr: sp.Expr, guards: tuple[Guard, ...]) -> sp.Expr | None:
        one, rest = expr.as_coeff_Add()
        if one != 1:
            return None
        sign, factor = rest.as_coeff_Mul()
        seen = self._see(factor, guards, (sp.exp, sigmoid))
        if isinstance(seen, sp.exp) and sign == 1:
            return softplus(seen.args[0])
        if isinstance(seen, sigmoid) and sign == -1:
            return -softplus(seen.args[0])
        return log1p(rest)

    def _exp(self, expr: sp.Expr) -> sp.Expr:
        inner = expr.args[0]
        if isinstance(inner, log1p):
            return 1 + inner.args[0]
        return expr

    def _add(self, expr: sp.Expr, guards: tuple[Guard, ...]) -> sp.Expr:
        constant, rest = expr.as_coeff_Add()
        if constant != 0:
            for term in sp.Add.make_args(rest):
                factor, power = term.as_coeff_Mul()
                if isinstance(power, sp.exp) and factor == -constant:
                    return factor * expm1(power.args[0]) + (rest - term)
        return self._pair_softplus(expr, guards)

    def _pair_softplus(self, expr: sp.Expr, guards: tuple[Guard, ...]) -> sp.Expr:
        """``softplus(-a) = softplus(a) - a`` where both occur and the two then share a plainer factor."""
        seen = {}
        for symbol in sorted(expr.free_symbols, key=lambda s: s.name):
            definition = self._definition(symbol, guards) if self._is_softplus(symbol) else None
            if definition is not None:
                seen[symbol] = definition
        whole = expr.xreplace(seen) if len(seen) > 1 or (seen and expr.has(softplus)) else expr
        for call in sorted(whole.atoms(softplus), key=sp.default_sort_key):
            argument = call.args[0]
            opposite = softplus(-argument)
            if argument.could_extract_minus_sign() or not whole.has(opposite):
                continue
            wide = sp.expand(whole, deep=False)
            kept, other = wide.coeff(call), wide.coeff(opposite)
            rest = sp.expand(wide - kept * call - other * opposite)
            if rest.has(call, opposite):
                continue
            both = sp.expand(kept + other)
            if both.is_number or both.free_symbols < (kept.free_symbols | other.free_symbols):
                return both * call - sp.expand(other) * argument + rest
        return expr

    def _product(self, expr: sp.Expr, guards: tuple[Guard, ...]) -> sp.Expr:
        """Quotients of exponentials, of sums of them, and of the logistic function written out."""
        expr = self._logistic(expr, guards)
        factors = dict(f.as_base_exp() if not isinstance(f, sp.exp) else (f, sp.S.One) for f in sp.Mul.make_args(expr))
        if not any(p.is_negative or isinstance(b, sp.exp) for b, p in factors.items()):
            return expr
        wide = self._widen(factors, guards, DEPTH)
        sums = {b: found for b in wide if b.is_Symbol and (found := self._could_shift(b)) is not None}
        below = {found for b, found in sums.items() if wide[b].is_negative}
        sums = {b: found for b, found in sums.items() if found in below}
        exponentials = any(isinstance(b, sp.exp) for b in wide)
        if not sums or not (exponentials or any(wide[b].is_positive for b in sums)):
            return expr
        exponent = sp.S.Zero
        product = sp.S.One
        for base, power in wide.items():
            shift = self._shift(base) if base in sums else None
            if shift is not None:
                exponent += power * shift[0]
                product *= shift[1] ** power
            elif isinstance(base, sp.exp):
                exponent += power * base.args[0]
            else:
                product *= base**power
        return product * sp.exp(exponent)

    def _widen(self, factors: dict[sp.Expr, sp.Expr], guards: tuple[Guard, ...], depth: int) -> dict[sp.Expr, sp.Expr]:
        """The factors with names of exponentials and of quotients by sums of them written out."""
        wide: dict[sp.Expr, sp.Expr] = {}
        for base, power in factors.items():
            definition = self._definition(base, guards) if depth and power.is_Integer else None
            inner = {base: sp.S.One}
            if definition is not None and (definition.has(sp.exp) or definition.is_Pow or definition.is_Mul):
                parts = dict(
                    f.as_base_exp() if not isinstance(f, sp.exp) else (f, sp.S.One)
                    for f in sp.Mul.make_args(definition)
                )
                parts = self._widen(parts, guards, depth - 1)
                if any(isinstance(b, sp.exp) or (b.is_Symbol and self._could_shift(b)) for b in parts):
                    inner = parts
            for b, p in inner.items():
                wide[b] = wide.get(b, sp.S.Zero) + p * power
        return {b: p for b, p in wide.items() if p != 0}

    def _logistic(self, expr: sp.Expr, guards: tuple[Guard, ...]) -> sp.Expr:
        """``1/(1 + exp(a)) = sigmoid(-a)``, ``exp(a)/(1 + exp(a)) = sigmoid(a)``, ``1/(1 - sigmoid(a))`` and roots."""
        changed: dict[sp.Expr, sp.Expr] = {}
        for factor in sp.Mul.make_args(expr):
            base, power = factor.as_base_exp()
            if isinstance(base, sqrt) and power.is_Integer and (power.is_negative or power % 2 == 0):
                changed[factor] = base.args[0] ** (power / 2)
            if not (base.is_Add and power.is_Integer and power.is_negative):
                continue
            one, rest = base.as_coeff_Add()
            sign, call = rest.as_coeff_Mul()
            if one == 1 and sign == 1 and isinstance(call, sp.exp):
                changed[factor] = sigmoid(-call.args[0]) ** -power
            elif one == 1 and sign == -1:
                seen = self._see(call, guards, (sigmoid,))
                if seen is not None:
                    changed[factor] = sigmoid(-seen.args[0]) ** power
        factors = [changed.get(f, f) for f in sp.Mul.make_args(expr)]
        for k, factor in enumerate(factors):
            if isinstance(factor, sigmoid) and (other := sp.exp(-factor.args[0])) in factors:
                factors[k] = sigmoid(-factor.args[0])
                factors.remove(other)
        return sp.Mul(*factors)

    def _see(self, expr: sp.Expr, guards: tuple[Guard, ...], kinds: tuple[type, ...]) -> sp.Expr | None:
        """The call of one of the kinds that the expression is, through its definitions."""
        for _ in range(DEPTH):
            if isinstance(expr, kinds):
                return expr
            definition = self._definition(expr, guards)
            if definition is None:
                return None
            expr = definition
        return None

    def _is_positive(self, expr: sp.Expr, guards: tuple[Guard, ...]) -> bool:
        """True if the value can be shown to be above zero."""
        if isinstance(expr, sp.exp | sigmoid | softplus):
            return True
        if expr.is_number:
            return bool(expr.is_positive)
        if expr.is_Pow:
            return self._is_positive(expr.base, guards)
        if isinstance(expr, sqrt | stop_gradient):
            return self._is_positive(expr.args[0], guards)
        if isinstance(expr, select):
            return all(self._is_positive(a, guards) for a in expr.args[1:])
        if expr.is_Add:
            one, rest = expr.as_coeff_Add()
            if one == 1 and self._see(-rest, guards, (sigmoid,)) is not None:
                return True
        if expr.is_Add or expr.is_Mul:
            return all(self._is_positive(a, guards) for a in expr.args)
        if expr.is_Symbol:
            operand = self._elements.operand(expr)
            if isinstance(operand, Read):
                return self._is_positive_tensor(operand.tensor)
            return not operand.indices() and is_nonnegative(operand - 1)
        return False

    def _is_positive_tensor(self, name: str) -> bool:
        if name not in self._positive:
            self._positive[name] = False  # while it is under way: an equation that refers to itself proves nothing
            statement = self.program.definition(name)
            self._positive[name] = (
                statement is not None
                and not statement.accumulate
                and statement.reduction is not Reduction.ARGMAX
                and self._is_positive(self._elements.expression(statement.body), statement.guards)
            )
        return self._positive[name]

    # -- sums of exponentials -----------------------------------------------------------------------------------------

    def _could_shift(self, symbol: sp.Symbol) -> object | None:
        """A key of the exponent and of what it is summed over, if the element is a sum of exponentials."""
        read = self._elements.read(symbol)
        statement = self.program.definition(read.tensor) if read is not None else None
        found = self._exponential_sum(statement) if statement is not None else None
        if found is None or statement is None:
            return None
        exponent = self._elements.body(found[0])
        domain = _domain_of(statement, exponent)
        free = tuple(r.index for r in domain.ranges if r.index in statement.free)
        indices = plain_indices(statement)
        assert indices is not None
        assert read is not None
        where = tuple(read.subscripts[indices.index(i)] for i in free)
        return (canonical(exponent, [r.index for r in domain.ranges], domain), where)

    def _exponential_sum(self, statement: Statement) -> tuple[sp.Expr, sp.Expr] | None:
        """``g`` and ``c`` of a sum of ``c*exp(g)`` that has not been shifted yet."""
        if statement.reduction is not Reduction.SUM or statement.accumulate:
            return None
        if not covers(statement, self.program.tensor(statement.tensor)):
            return None
        expr = self._elements.expression(statement.body)
        exponent, rest = sp.S.Zero, sp.S.One
        for factor in sp.Mul.make_args(expr):
            seen = self._see(factor, statement.guards, (sp.exp,))
            if seen is None:
                rest *= factor
            else:
                exponent += seen.args[0]
        body = self._elements.body(exponent)
        if not any(i in body.indices for i in statement.reduced) or exponent.has(stop_gradient) or rest.has(sp.exp):
            return None
        for read in body.reads:
            definition = self.program.definition(read.tensor)
            if definition is not None and definition.reduction is Reduction.MAX:
                return None  # someone has shifted it by hand
        return exponent, rest

    def _shift(self, symbol: sp.Symbol) -> tuple[sp.Expr, sp.Expr] | None:
        """``m`` and ``S'`` of an element ``S = exp(m)*S'`` of a sum of exponentials, made when first needed."""
        read = self._elements.read(symbol)
        if read is None:
            return None
        if read.tensor not in self._shifts:
            self._shifts[read.tensor] = self._make_shift(read.tensor)
        shift = self._shifts[read.tensor]
        if shift is None:
            return None
        exponent = Read(shift.exponent, tuple(read.subscripts[a] for a in shift.exponent_axes))
        return self._elements.symbol(exponent), self._elements.symbol(Read(shift.total, read.subscripts))

    def _make_shift(self, name: str) -> _Shift | None:
        statement = self.program.definition(name)
        found = self._exponential_sum(statement) if statement is not None else None
        if found is None or statement is None:
            return None
        exponent, rest = found
        body = self._elements.body(exponent, statement.body)
        domain = _domain_of(statement, body)
        indices = plain_indices(statement)
        assert indices is not None
        free = tuple(i for i in indices if any(r.index == i for r in domain.ranges))
        order = (*free, *(i for i in statement.reduced if any(r.index == i for r in domain.ranges)))
        key = canonical(body, order, domain)
        origin = replace(statement.origin, note=f"shift of {name}, so that exp cannot overflow")
        stem = name.removesuffix("_sum")
        if key not in self._largest:
            self._largest[key] = self._fresh(f"{stem}_max")
            largest_of = self._largest_of(self._largest[key], free, order, body, domain)
            self.pieces.setdefault(name, []).append(replace(largest_of, origin=origin))
        largest = self._largest[key]
        tensor = self.program.tensor(name)
        total = self._fresh(f"{stem}_total")
        m = self._elements.symbol(Read(largest, tuple(map(Affine.of, free))))
        shifted = self._elements.body(sp.exp(exponent - m) * rest, statement.body)
        self.tensors.append(replace(tensor, name=total, role=Role.ACTIVATION))
        self.pieces.setdefault(name, []).append(replace(statement, tensor=total, body=shifted, origin=origin))
        self._positive[total] = self._is_positive(rest, statement.guards)
        return _Shift(largest, tuple(indices.index(i) for i in free), total)

    def _largest_of(
        self, name: str, free: tuple[Index, ...], order: tuple[Index, ...], exponent: Body, domain: Domain
    ) -> Statement:
        shape = tuple(domain.range_of(i).stop for i in free)
        self.tensors.append(Tensor(name, shape, Role.ACTIVATION, tuple(i.name for i in free)))
        constant = exponent.with_expr(stop_gradient(exponent.expr))
        subscripts = tuple(map(Affine.of, free))
        return Statement(name, subscripts, free, constant, domain, order[len(free) :], Reduction.MAX)

    def _fresh(self, hint: str) -> str:
        name = fresh_name(hint, self._taken)
        self._taken.add(name)
        return name


def _domain_of(statement: Statement, exponent: Body) -> Domain:
    """The part of the statement's domain over which the largest exponent is taken: its own indices and the guards'."""
    used = {*exponent.indices, *(i for g in statement.guards for i in guard_indices(g))}
    order = (*statement.free, *statement.reduced)
    return Domain(tuple(statement.domain.range_of(i) for i in order if i in used), statement.guards)

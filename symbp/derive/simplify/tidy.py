"""Scalar arithmetic in its plainest form: fewer operations, never more."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import sympy as sp

from symbp.ir.body import Body
from symbp.ir.functions import expm1, select

#: Above this many operations only the cheap rewrites are tried.
LONG = 60

#: A shared number is taken out of a sum if what stays is not above this: with long decimals (0.1234567890123456) there
#: would stay whole numbers that no reader wants and that float32 cannot hold.
LARGEST_LEFT = 1000


@cache
def cost(expr: sp.Expr) -> int:
    """How many operations a reader, or a processor, has to go through."""
    return int(sp.count_ops(expr))


@cache
def _size(expr: sp.Expr) -> tuple[int, int]:
    """Operations first, then how many symbols and numbers are written: ``2*(z - y)`` is plainer than ``2*z - 2*y``."""
    written = (node for node in sp.preorder_traversal(expr) if not node.args and node not in (1, -1))
    return cost(expr), sum(1 for _ in written)


def tidy_body(body: Body) -> Body:
    tidied = tidy(body.expr)
    return body if tidied == body.expr else body.with_expr(tidied)


@cache
def tidy(expr: sp.Expr) -> sp.Expr:
    """The plainest of a few equal forms of a template; ties go to the form that is there."""
    if not (expr.is_Add or expr.is_Mul or expr.has(expm1)):
        return expr
    if expr.has(expm1):
        expr = expr.replace(_is_shifted_exponential, _exponential)
    # What happens inside a branch or under a condition is left alone: only the arithmetic around it is rewritten.
    calls = sorted(expr.atoms(select), key=sp.default_sort_key)
    hidden = {call: sp.Symbol(f"~select{k}", real=True) for k, call in enumerate(calls)}
    best = expr.xreplace(hidden)
    for form in _forms(best):
        if _size(form) < _size(best):
            best = form
    return best.xreplace({symbol: call for call, symbol in hidden.items()}) if hidden else best


def _forms(expr: sp.Expr) -> Iterator[sp.Expr]:
    # Numbers come last: a - b/7 rather than (7*a - b)/7.
    yield factored(expr, numbers=False)
    yield factored(expr)
    if cost(expr) > LONG:
        return
    wide = sp.expand_mul(expr)
    yield wide
    yield factored(wide, numbers=False)
    yield factored(wide)
    for symbol in _shared_factors(wide):
        # Only some of the terms share it: a + r*x - r*y is plainer as a + r*(x - y).
        inside = [t / symbol for t in sp.Add.make_args(wide) if _is_factor(symbol, t)]
        outside = [t for t in sp.Add.make_args(wide) if not _is_factor(symbol, t)]
        yield sp.Add(symbol * factored(sp.Add(*inside), numbers=False), factored(sp.Add(*outside)))


def factored(expr: sp.Expr, *, numbers: bool = True) -> sp.Expr:
    """Sums with the factors that all their terms share in front: ``p*(d - e)``; with `numbers`, numbers too.

    SymPy's `factor_terms` does this and more, at a hundred times the price.
    """
    if expr.is_Mul:
        return expr.func(*(factored(a, numbers=numbers) for a in expr.args))
    if not expr.is_Add:
        return expr
    terms = [_split(factored(t, numbers=numbers)) for t in expr.args]
    first = terms[0][1]
    shared = {b: p for b in first if (p := _shared_power(b, [powers for _, powers in terms])) != 0}
    number = _shared_number([c for c, _ in terms]) if numbers else sp.S.One
    if not shared and number == 1:
        return sp.Add(*(_product(c, powers) for c, powers in terms))
    rest = sp.Add(
        *(_product(c / number, {b: p - shared.get(b, sp.S.Zero) for b, p in powers.items()}) for c, powers in terms)
    )
    if not shared:
        return sp.Mul(number, rest, evaluate=False)  # evaluated, SymPy would multiply it out again
    return _product(number, shared) * rest


def _split(term: sp.Expr) -> tuple[sp.Rational, dict[sp.Expr, sp.Expr]]:
    """A product as its number and its factors with their powers; ``a**v``, of unknown power, is a factor itself."""
    number, rest = term.as_coeff_Mul()
    powers: dict[sp.Expr, sp.Expr] = {}
    for factor in sp.Mul.make_args(rest) if rest != 1 else ():
        base, power = factor.as_base_exp()
        if not power.is_Rational:
            base, power = factor, sp.S.One
        powers[base] = powers.get(base, sp.S.Zero) + power
    return number, powers


def _product(number: sp.Rational, powers: dict[sp.Expr, sp.Expr]) -> sp.Expr:
    return sp.Mul(number, *(base**power for base, power in powers.items()))


def _shared_power(base: sp.Expr, terms: list[dict[sp.Expr, sp.Expr]]) -> sp.Expr:
    """The power of `base` that divides every term."""
    powers = [t.get(base, sp.S.Zero) for t in terms]
    if all(p == powers[0] for p in powers):
        return powers[0]
    if not all(p.is_Rational for p in powers):
        return sp.S.Zero
    low, high = min(powers), max(powers)
    return low if low > 0 else high if high < 0 else sp.S.Zero


def _shared_number(numbers: list[sp.Rational]) -> sp.Rational:
    """The greatest number of which all are whole multiples, and small ones; negative if all are negative."""
    if not all(n.is_Rational for n in numbers):
        return sp.S.One
    shared = sp.Rational(sp.igcd(*(n.p for n in numbers)), sp.ilcm(*(n.q for n in numbers)))
    if any(abs(n) > LARGEST_LEFT * shared for n in numbers):
        return sp.S.One
    return -shared if all(n < 0 for n in numbers) else shared


def _is_shifted_exponential(expr: sp.Expr) -> bool:
    """``expm1(x) + 1``, which the derivative of expm1 brings."""
    return bool(expr.is_Add and expr.args[0] == 1 and any(isinstance(a, expm1) for a in expr.args))


def _exponential(expr: sp.Expr) -> sp.Expr:
    call = next(a for a in expr.args if isinstance(a, expm1))
    return expr - 1 - call + sp.exp(call.args[0])


def _shared_factors(wide: sp.Expr) -> list[sp.Symbol]:
    """Symbols that multiply some of the terms, at least two, and not all."""
    terms = sp.Add.make_args(wide)
    symbols = sorted(wide.free_symbols, key=lambda s: s.name)
    return [s for s in symbols if 2 <= sum(_is_factor(s, t) for t in terms) < len(terms)]


def _is_factor(symbol: sp.Symbol, term: sp.Expr) -> bool:
    return any(
        f == symbol or (f.is_Pow and f.base == symbol and f.exp.is_Integer and f.exp > 0)
        for f in sp.Mul.make_args(term)
    )

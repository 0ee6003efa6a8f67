"""Scalar arithmetic in its plainest form: fewer operations, never more."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import sympy as sp

from symbp.ir.body import Body
from symbp.ir.functions import ScalarFunction, expm1, select

#: Above this many operations only the cheap rewrites are tried.
LONG = 60


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
    yield sp.factor_terms(expr)
    if cost(expr) > LONG:
        return
    wide = sp.expand_mul(expr)
    yield wide
    yield sp.factor_terms(wide)
    for symbol in _shared_factors(wide):
        # Only some of the terms share it: a + r*x - r*y is plainer as a + r*(x - y).
        inside = [t / symbol for t in sp.Add.make_args(wide) if _is_factor(symbol, t)]
        outside = [t for t in sp.Add.make_args(wide) if not _is_factor(symbol, t)]
        yield sp.Add(symbol * sp.factor_terms(sp.Add(*inside)), sp.factor_terms(sp.Add(*outside)))
    if expr.is_Add and not expr.has(ScalarFunction) and all(s.is_Symbol for s in expr.free_symbols):
        yield sp.factor_terms(sp.together(wide))


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

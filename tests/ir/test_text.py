"""Numbers in the text of equations: as people write them."""

from __future__ import annotations

import pytest
import sympy as sp

from symbp.ir import Body, Read
from symbp.ir.text import body_text

a = sp.Symbol("a", real=True)


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        (sp.Rational(9, 10) * a, "0.9*x"),
        (a / 3 + sp.Rational(1, 10**8), "1e-8 + x/3"),
        (sp.Rational("0.1234567890123456") * a + 1, "1 + 0.1234567890123456*x"),
        (a**2 - sp.Rational("-1.234567890123456e-9"), "1.234567890123456e-9 + x**2"),
        (-sp.Rational(10**30 + 1, 3 * 10**30) * a, "-0.3333333333333333*x"),
        (a / 123456, "x/123456"),
        (sp.sqrt(2) * a / sp.pi, "x*sqrt(2)/pi"),
    ],
    ids=str,
)
def test_numbers(expression: sp.Expr, text: str) -> None:
    assert body_text(Body.combine(expression, {a: Body.of(Read("x"))})) == text

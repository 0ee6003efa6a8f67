"""Scalar expressions as code: brackets, powers, numbers."""

from __future__ import annotations

import pytest
import sympy as sp

from symbp.codegen.printer import WHOLE_POWERS, CodePrinter, Names
from symbp.ir import Body, Read
from symbp.ir.functions import relu, select, tanh

x, y = (Body.of(Read(name)) for name in "xy")
a, b = sp.symbols("a b", real=True)
HALF = sp.Rational(1, 2)


@pytest.mark.parametrize(
    ("expression", "code"),
    [
        ((1 + a) ** (3 * HALF), "(1.0 + x) * sqrt(1.0 + x)"),
        (b * (1 + a) ** (5 * HALF), "y * (1.0 + x)**2 * sqrt(1.0 + x)"),
        (b / (1 + a) ** (3 * HALF), "y / ((1.0 + x) * sqrt(1.0 + x))"),
        ((1 + a) ** (-3 * HALF), "1.0 / ((1.0 + x) * sqrt(1.0 + x))"),
        (a ** (3 * HALF), "x * sqrt(x)"),
        ((1 + a) ** HALF, "sqrt(1.0 + x)"),
        (b**2 / a**2, "y * y / (x * x)"),
        ((-a) ** 2 - (a + b) * (a - b), "x * x - (x + y) * (x - y)"),
        (a**b / a, "power(x, y) / x"),
        ((a + 1) ** (b + 1), "power(1.0 + x, 1.0 + y)"),
        (2 * relu(sp.Integer(2)), "2.0 * relu(2.0)"),
        (a * tanh(3 * relu(sp.Integer(-1))), "x * tanh(3.0 * relu(-1.0))"),
        (1 + relu(sp.Integer(2)), "1.0 + relu(2.0)"),
        (relu(sp.Integer(3)) ** 2 * a**2, "x * x * relu(3.0)**2"),
        (select(sp.Gt(a, b), a + 1, b) * b, "y * (1.0 + x if x > y else y)"),
        (2 * a / 3, "2.0 * x / 3.0"),
        (sp.Rational("0.1234567890123456") * a, "0.1234567890123456 * x"),
        (sp.Rational(10**40, 3 * 10**40 + 1) * a, "0.3333333333333333 * x"),  # not 1e40/3e40: float32 holds neither
        (10**16 * a, "1e+16 * x"),
        (2 * sp.pi * a, "6.283185307179586 * x"),
    ],
    ids=str,
)
def test_text(expression: sp.Expr, code: str) -> None:
    body = Body.combine(expression, {a: x, b: y})
    printed = CodePrinter("float64", Names(scalars=frozenset("xy"))).body(body)
    assert printed.replace(" ** ", "**") == code


@pytest.mark.parametrize(
    ("expression", "code"),
    [
        (a**2, "x * x"),
        ((a + b) ** 2, "square(x + y)"),
        (a**3 * b, "y * cube(x)"),
        ((a + b) ** 4, "square(square(x + y))"),
        ((a + b) ** 6, "square(cube(x + y))"),
        (b / (a + b) ** 7, "y / ((x + y) * square(cube(x + y)))"),
        (b / (a + b) ** 2, "y / square(x + y)"),
        ((1 + a) ** (5 * HALF), "square(1.0 + x) * sqrt(1.0 + x)"),
    ],
    ids=str,
)
def test_whole_powers_as_functions(expression: sp.Expr, code: str) -> None:
    printer = CodePrinter("float64", Names(scalars=frozenset("xy")))
    printer.whole_powers = WHOLE_POWERS
    assert printer.body(Body.combine(expression, {a: x, b: y})) == code

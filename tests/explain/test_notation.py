"""Signs, order, fractions and brackets: one table, in text and LaTeX."""

from __future__ import annotations

import pytest
import sympy as sp

from symbp.explain.names import Names
from symbp.explain.notation import affine_node, body_node, guard_node
from symbp.explain.write_latex import LatexWriter
from symbp.explain.write_text import node_text
from symbp.ir import Affine, Body, Divisible, Guard, Holds, Index, NonNegative, Read, Size, Zero, floor_div, mod, slot
from symbp.ir.functions import absolute, maximum, relu, safe_div, select, sigmoid, sqrt, step

i, j = Index("i"), Index("j")
n = Size("n_batch")
x, y = slot(0), slot(1)
half, tenth = sp.Rational(1, 2), sp.Rational(1, 10)
LATEX = LatexWriter(Names())


@pytest.mark.parametrize(
    ("expr", "text", "latex"),
    [
        (1 - x**2, "1 - x**2", r"1 - x^{2}"),
        (x + half, "x + 1/2", r"x + \frac{1}{2}"),
        (-x + y, "y - x", "y - x"),
        (-x - y, "-x - y", "-x - y"),
        (-x * y / 2, "-x*y/2", r"-\frac{x\,y}{2}"),
        (3 * x, "3*x", r"3\,x"),
        (x * (1 - x), "x*(1 - x)", r"x\,\left(1 - x\right)"),
        (x / (1 + sp.exp(-y)), "x/(exp(-y) + 1)", r"\frac{x}{\exp\left(-y\right) + 1}"),
        (1 / (x * y), "1/(x*y)", r"\frac{1}{x\,y}"),
        (x ** sp.Rational(3, 2), "x**(3/2)", r"x^{\frac{3}{2}}"),
        (sp.exp(x) ** 2 * y, "y*exp(2*x)", r"y\,\exp\left(2\,x\right)"),
        (sp.sin(x) ** 2, "sin(x)**2", r"\left(\sin\left(x\right)\right)^{2}"),
        (sp.Rational(9, 10) * x + tenth * y, "0.1*y + 0.9*x", r"0.1\,y + 0.9\,x"),
        (x + sp.Rational(1, 10**8), "x + 1e-8", r"x + 10^{-8}"),
        (x * sp.Rational(12, 10**7), "1.2e-6*x", r"1.2 \cdot 10^{-6}\,x"),
        (x * sp.Rational("0.1234567890123456"), "0.1234567890123456*x", r"0.1234567890123456\,x"),
        (x + sp.Rational("-1.234567890123456e-9"), "x - 1.234567890123456e-9", r"x - 1.234567890123456 \cdot 10^{-9}"),
        (x / 64, "x/64", r"\frac{x}{64}"),
        (x / 3, "x/3", r"\frac{x}{3}"),
        (sp.pi * x, "pi*x", r"\pi\,x"),
        (sqrt(x), "sqrt(x)", r"\sqrt{x}"),
        (absolute(x), "abs(x)", r"\left|x\right|"),
        (sigmoid(x), "sigmoid(x)", r"\sigma\left(x\right)"),
        (relu(x), "relu(x)", r"\operatorname{relu}\left(x\right)"),
        (maximum(x, y), "maximum(x, y)", r"\max\left(x, y\right)"),
        (step(x), "[x > 0]", r"\left[x > 0\right]"),
        (safe_div(x, y), "safe_div(x, y)", r"\left(\frac{x}{y}\right)_{\!0}"),
        (select(sp.Ge(x, y), sp.S.One, sp.S.Zero), "[x >= y]", r"\left[x \ge y\right]"),
        (
            select(sp.Gt(x, 0), y, -y),
            "select(x > 0, y, -y)",
            r"\begin{cases} y & \text{if } x > 0 \\ -y & \text{otherwise} \end{cases}",
        ),
    ],
)
def test_bodies(expr: sp.Expr, text: str, latex: str) -> None:
    names = [Read("x"), Read("y")]
    body = Body.build(expr, {slot(k): names[k] for k in range(2)})
    node = body_node(body)
    assert node_text(node) == text
    assert LATEX.node(node) == latex


@pytest.mark.parametrize(
    ("value", "text", "latex"),
    [
        (2 * i + j, "2*i + j", r"2\,i + j"),
        (i - 1, "i - 1", "i - 1"),
        (n - 1 - i, "n_batch - i - 1", r"n_{\mathrm{batch}} - i - 1"),
        (Affine.of(0), "0", "0"),
        (-Affine.of(i), "-i", "-i"),
        (floor_div(i + 1, 2), "(i + 1)//2", r"\left\lfloor \frac{i + 1}{2} \right\rfloor"),
        (mod(i + j, n), "((i + j) % n_batch)", r"\left(i + j\right) \bmod n_{\mathrm{batch}}"),
        (Affine.of(Read("label", (Affine.of(i),))), "label[i]", r"\mathrm{label}_{i}"),
    ],
)
def test_indices(value: Affine, text: str, latex: str) -> None:
    assert node_text(affine_node(value)) == text
    assert LATEX.node(affine_node(value)) == latex


@pytest.mark.parametrize(
    ("guard", "text"),
    [
        (NonNegative(i - j), "i >= j"),
        (NonNegative(i - j - 1), "i > j"),
        (NonNegative(i - 1), "i >= 1"),
        (NonNegative(n - 1 - i), "i < n_batch"),
        (NonNegative(4 - i + Affine.of(0)), "i <= 4"),
        (Zero(i - j), "i == j"),
        (Divisible(i + j, 2), "((i + j) % 2) == 0"),
        (Holds(Body(sp.Gt(x, 0), (Read("x", (Affine.of(i),)),))), "x[i] > 0"),
    ],
)
def test_guards(guard: Guard, text: str) -> None:
    assert node_text(guard_node(guard)) == text

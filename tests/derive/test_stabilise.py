"""Textbook equations are rewritten into forms that are exact for large arguments, through any names in between."""

from __future__ import annotations

from collections.abc import Callable

import mpmath
import numpy as np
import pytest
import sympy as sp

from symbp.check.interpreter import interpret
from symbp.derive.name_calls import name_calls
from symbp.derive.rule import differentiate
from symbp.derive.stabilise import stabilise
from symbp.ir import Affine, NonNegative, Program, Reduction, statement_text
from symbp.ir.functions import expm1, log1p, sigmoid, softplus, sqrt
from tests.derive.equations import Equations

X = sp.Symbol("x", real=True)


def texts(program: Program) -> list[str]:
    return [statement_text(s) for s in program.statements]


def cross_entropy(style: str) -> Program:
    """-mean log softmax(z)[label], written in the ways people write it."""
    eq = Equations()
    b, k, j = eq.axis("b", "n_batch"), eq.axis("k", 4), eq.axis("j", 4)
    z, label = eq.parameter("z", b, k), eq.given("label", b, below=4)
    picked = Affine.of(label.read(b))
    n_batch = eq.value(eq.extents[b])
    if style == "named":
        e = eq.let("e", (b, k), sp.exp(z[b, k]))
        s = eq.let("s", (b,), e[b, j], over=(j,))
        p = eq.let("p", (b, k), e[b, k] / s[b])
    elif style == "inverse":
        s = eq.let("s", (b,), sp.exp(z[b, j]), over=(j,))
        r = eq.let("r", (b,), 1 / s[b])
        p = eq.let("p", (b, k), sp.exp(z[b, k]) * r[b])
    else:
        s = eq.let("s", (b,), sp.exp(z[b, j]), over=(j,))
        p = eq.let("p", (b, k), sp.exp(z[b, k]) / s[b])
    if style == "logsumexp":
        eq.let("loss", (), (sp.log(s[b]) - z[b, picked]) / n_batch, over=(b,))
    elif style == "twice":
        q = eq.let("q", (b,), p[b, picked])
        eq.let("loss", (), -sp.log(q[b]) / n_batch, over=(b,))
    else:
        eq.let("loss", (), -sp.log(p[b, picked]) / n_batch, over=(b,))
    return eq.program("loss", ("p",))


def binary_cross_entropy(style: str) -> Program:
    """-mean(y log p + (1 - y) log(1 - p)) with p = sigmoid(z), written in the ways people write it."""
    eq = Equations()
    b = eq.axis("b", "n_batch")
    z, y = eq.parameter("z", b), eq.given("y", b)
    n_batch = eq.value(eq.extents[b])
    p = eq.let("p", (b,), 1 / (1 + sp.exp(-z[b])) if style == "by hand" else sigmoid(z[b]))
    log_p, log_q = sp.log(p[b]), sp.log(1 - p[b])
    if style == "named":
        q = eq.let("q", (b,), 1 - p[b])
        log_p = eq.let("l1", (b,), log_p)[b]
        log_q = eq.let("l2", (b,), sp.log(q[b]))[b]
    if style == "terms":
        eq.let("term", (b,), y[b] * log_p + (1 - y[b]) * log_q)
        eq.let("loss", (), -eq.symbol(eq.statements[-1].target) / n_batch, over=(b,))
    else:
        eq.let("loss", (), -(y[b] * log_p + (1 - y[b]) * log_q) / n_batch, over=(b,))
    return eq.program("loss", ("p",))


def gradient(program: Program) -> Program:
    return differentiate(name_calls(stabilise(program)), ["z"]).program


@pytest.mark.parametrize("style", ["plain", "named", "inverse", "twice"])
def test_softmax_is_total_and_its_logarithm_is_not_taken(style: str) -> None:
    loss = texts(stabilise(cross_entropy(style)))[-1] if style != "twice" else ""
    if style != "twice":
        assert loss == "loss = sum[b] -(z[b, label[b]] - s_max[b] - log(s_total[b]))/n_batch"
    assert "p[b, k] = exp(z[b, k] - s_max[b])/s_total[b]" in texts(stabilise(cross_entropy(style)))
    assert "s_max[b] = max[j] stop_gradient(z[b, j])" in texts(stabilise(cross_entropy(style)))
    assert "s_total[b] = sum[j] exp(z[b, j] - s_max[b])" in texts(stabilise(cross_entropy(style)))


@pytest.mark.parametrize("style", ["plain", "named", "inverse", "twice", "logsumexp"])
def test_cross_entropy_is_exact_in_float32_at_logits_of_900(style: str) -> None:
    z = np.array(
        [[900, -900, 3, 0], [-900, -899, -905, -1000], [0, 0, 0, 0], [-900, 900, 899.5, 880]], dtype=np.float32
    )
    label = np.array([1, 1, 2, 2])
    got = interpret(gradient(cross_entropy(style)), {"n_batch": 4}, {"z": z, "label": label}, dtype=np.float32)
    with mpmath.workdps(60):
        rows = [[mpmath.mpf(float(v)) for v in row] for row in z]
        sums = [mpmath.fsum(map(mpmath.exp, row)) for row in rows]
        loss = mpmath.fsum(mpmath.log(s) - row[k] for s, row, k in zip(sums, rows, label, strict=True)) / 4
        expected = [
            [float((mpmath.exp(v) / s - (j == k)) / 4) for j, v in enumerate(row)]
            for row, s, k in zip(rows, sums, label, strict=True)
        ]
    assert got["loss"] == pytest.approx(float(loss), rel=3e-7)
    np.testing.assert_allclose(got["z_bar"], expected, atol=1e-7)


@pytest.mark.parametrize("style", ["plain", "named", "by hand", "terms"])
def test_binary_cross_entropy_becomes_softplus(style: str) -> None:
    program = stabilise(binary_cross_entropy(style))
    if style == "terms":
        assert texts(program)[1:] == ["term[b] = y[b]*z[b] - softplus(z[b])", "loss = sum[b] -term[b]/n_batch"]
    else:
        assert texts(program) == [
            "p[b] = sigmoid(z[b])",
            "loss = sum[b] (softplus(z[b]) - y[b]*z[b])/n_batch",
        ]


@pytest.mark.parametrize("style", ["plain", "named", "by hand", "terms"])
def test_binary_cross_entropy_is_exact_in_float32_at_logits_of_900(style: str) -> None:
    z = np.array([900, -900, 900, -900, 0, 30, -5], dtype=np.float32)
    y = np.array([1, 1, 0, 0, 1, 0.25, 1], dtype=np.float32)
    got = interpret(gradient(binary_cross_entropy(style)), {"n_batch": 7}, {"z": z, "y": y}, dtype=np.float32)
    with mpmath.workdps(60):
        terms = [
            mpmath.log1p(mpmath.exp(float(v))) - float(w) * mpmath.mpf(float(v)) for v, w in zip(z, y, strict=True)
        ]
        expected = [float((1 / (1 + mpmath.exp(-float(v))) - float(w)) / 7) for v, w in zip(z, y, strict=True)]
    assert got["loss"] == pytest.approx(float(mpmath.fsum(terms) / 7), rel=3e-7)
    np.testing.assert_allclose(got["z_bar"], expected, atol=1e-7)


def test_guarded_attention_shares_one_shift_between_numerator_and_denominator() -> None:
    eq = Equations()
    i, j, d = eq.axis("i", "n"), eq.axis("j", "n"), eq.axis("d", 2)
    s, v = eq.parameter("s", i, j), eq.given("v", j, d)
    causal = (NonNegative(i - j),)
    below = eq.let("below_", (i,), sp.exp(s[i, j]), over=(j,), where=causal)
    above = eq.let("above", (i, d), sp.exp(s[i, j]) * v[j, d], over=(j,), where=causal)
    y = eq.let("y", (i, d), above[i, d] / below[i])
    eq.let("loss", (), y[i, d] ** 2, over=(i, d))
    program = stabilise(eq.program("loss"))
    assert sorted(texts(program)) == [
        "above_max[i] = max[j] stop_gradient(s[i, j])    where i >= j",
        "above_total[i, d] = sum[j] v[j, d]*exp(s[i, j] - above_max[i])    where i >= j",
        "below__total[i] = sum[j] exp(s[i, j] - above_max[i])    where i >= j",
        "loss = sum[i, d] y[i, d]**2",
        "y[i, d] = above_total[i, d]/below__total[i]",
    ]
    rng = np.random.default_rng(0)
    feed = {"s": 800 + rng.normal(size=(7, 7)), "v": rng.normal(size=(7, 2))}
    got = interpret(differentiate(name_calls(program), ["s"]).program, {"n": 7}, feed)
    low = interpret(
        differentiate(name_calls(eq.program("loss")), ["s"]).program, {"n": 7}, {**feed, "s": feed["s"] - 800}
    )
    np.testing.assert_allclose(got["y"], low["y"], rtol=1e-11)
    np.testing.assert_allclose(got["s_bar"], low["s_bar"], atol=1e-11)


def test_recurrence_in_log_space() -> None:
    eq = Equations()
    t, k, j = eq.axis("t", "n"), eq.axis("k", 3), eq.axis("j", 3)
    n = eq.extents[t]
    move = eq.parameter("z", j, k)
    alpha = eq.let("alpha", (k,), 0, at=(0, k), shape=(n + 1, 3))
    s = eq.let("s", (t, k), sp.exp(alpha[t, j] + move[j, k]), over=(j,))
    eq.let("alpha", (t, k), sp.log(s[t, k]), at=(t + 1, k))
    eq.let("loss", (), alpha[n, k], over=(k,))
    program = stabilise(eq.program("loss"))
    assert "alpha[t + 1, k] = s_max[t, k] + log(s_total[t, k])" in texts(program)
    z = np.random.default_rng(1).normal(size=(3, 3)) * 700
    got = interpret(gradient(eq.program("loss")), {"n": 7}, {"z": z})
    step = 1e-4
    high = interpret(program, {"n": 7}, {"z": z + step * np.eye(3)})["loss"]
    low = interpret(program, {"n": 7}, {"z": z - step * np.eye(3)})["loss"]
    assert np.isfinite(got["loss"])
    assert np.trace(got["z_bar"]) == pytest.approx((high - low) / (2 * step), rel=1e-6)


def test_partition_function_that_is_wanted_itself_is_left_alone() -> None:
    eq = Equations()
    b, k = eq.axis("b", "n_batch"), eq.axis("k", 4)
    z, w = eq.parameter("z", b, k), eq.given("w", k)
    eq.let("y", (b,), w[k] * sp.exp(-(z[b, k] ** 2)), over=(k,))
    before = eq.program(outputs=("y",))
    assert stabilise(before) == before


def test_total_by_hand_is_left_alone() -> None:
    eq = Equations()
    b, k = eq.axis("b", "n_batch"), eq.axis("k", 4)
    z = eq.parameter("z", b, k)
    m = eq.let("m", (b,), z[b, k], over=(k,), reduction=Reduction.MAX)
    s = eq.let("s", (b,), sp.exp(z[b, k] - m[b]), over=(k,))
    eq.let("p", (b, k), sp.exp(z[b, k] - m[b]) / s[b])
    before = eq.program(outputs=("p",))
    assert stabilise(before) == before


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (sp.log(1 + X), log1p(X)),
        (sp.log(1 - X / 2), log1p(-X / 2)),
        (sp.exp(X) - 1, expm1(X)),
        (3 - 3 * sp.exp(X), -3 * expm1(X)),
        (sp.log(sp.exp(X)), X),
        (sp.log(1 + sp.exp(X)), softplus(X)),
        (sp.log(1 + sp.exp(-2 * X)), softplus(-2 * X)),
        (softplus(X) - softplus(-X), X),
        (1 / (1 + sp.exp(-X)), sigmoid(X)),
        (sp.exp(X) / (1 + sp.exp(X)), sigmoid(X)),
        (sp.log(sigmoid(X)), -softplus(-X)),
        (sp.log(1 - sigmoid(X)), -softplus(X)),
        (sp.log(sigmoid(X) / (1 - sigmoid(X))), X),
        (sp.log(sp.exp(-(X**2) / 2) / 3), -sp.log(3) - X**2 / 2),
        (1 / (1 - sigmoid(X)), 1 / sigmoid(-X)),
        (1 / sqrt(X), X ** sp.Rational(-1, 2)),
        (sqrt(X) ** 2, X),
        # Nothing is known about the sign of these factors, so the logarithm of the product is not split.
        (sp.log(X * sp.exp(X)), sp.log(X * sp.exp(X))),
        (1 - sigmoid(X), 1 - sigmoid(X)),
        (X * softplus(-X) + 3 * softplus(X), X * softplus(-X) + 3 * softplus(X)),
    ],
)
def test_scalar_rewrites(written: sp.Expr, expected: sp.Expr) -> None:
    eq = Equations()
    b = eq.axis("b", "n_batch")
    x = eq.given("x", b)
    eq.let("y", (b,), written.xreplace({X: x[b]}))
    eq.let("expected", (b,), expected.xreplace({X: x[b]}))
    program = eq.program()
    got = stabilise(program.with_statements(program.statements[:1])).statements[0]
    assert got.body == program.statements[1].body, statement_text(got)


def test_statements_that_nothing_needs_go() -> None:
    program = stabilise(cross_entropy("named"))
    assert not program.has("e")
    assert not program.has("s")
    assert program.has("label")


@pytest.mark.parametrize("make", [cross_entropy, binary_cross_entropy])
def test_values_do_not_change_where_nothing_overflows(make: Callable[[str], Program]) -> None:
    program = make("named")
    rng = np.random.default_rng(2)
    for n in (1, 7, 13):
        shape = (n, 4) if make is cross_entropy else (n,)
        feed = {"z": rng.normal(size=shape)}
        feed |= {"label": rng.integers(0, 4, n)} if make is cross_entropy else {"y": rng.uniform(size=n)}
        raw = interpret(differentiate(name_calls(program), ["z"]).program, {"n_batch": n}, feed)
        got = interpret(gradient(program), {"n_batch": n}, feed)
        for name in ("loss", "p", "z_bar"):
            np.testing.assert_allclose(got[name], raw[name], rtol=1e-12, atol=1e-14)

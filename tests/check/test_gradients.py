"""Gradient checks: they agree on what is right and must not agree on what is wrong."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import sympy as sp

from symbp.check import GradientReport, check_gradients, random_feed, random_sizes
from symbp.check.gradients import longest_reduction
from symbp.check.interpreter import interpret
from symbp.derive import differentiate, name_calls
from symbp.errors import DataError
from symbp.ir import NonNegative, Program, Reduction, Role, Size
from symbp.ir import functions as fn
from symbp.ir.body import Body
from symbp.ir.derivation import Derivation
from tests.derive.equations import Equations


def network(function: Any = fn.tanh) -> Program:
    """A layer, an embedding and a mean of squares."""
    eq = Equations("network")
    b, j, k, v = eq.axis("b", "n_batch"), eq.axis("j", 7), eq.axis("k", 3), eq.axis("v", 5)
    x, token = eq.given("x", b, j), eq.given("token", b, below=5)
    W, c, table = eq.parameter("W", j, k), eq.parameter("c", k), eq.parameter("table", v, k)
    s = eq.let("s", (b, k), x[b, j] * W[j, k], (j,))
    a = eq.let("a", (b, k), function(s[b, k] + c[k] + table[token.read(b) + 0, k]))
    eq.let("loss", (), a[b, k] ** 2 / eq.value(Size("n_batch")), (b, k), role=Role.LOSS)
    return name_calls(eq.program("loss"))


def spoil(derivation: Derivation, tensor: str) -> Derivation:
    """The same derivation with one gradient wrong by a factor of 1.0001."""
    statements = tuple(
        replace(s, body=Body(s.body.expr * sp.Rational(10001, 10000), s.body.operands)) if s.tensor == tensor else s
        for s in derivation.program.statements
    )
    return replace(derivation, program=derivation.program.with_statements(statements))


def comparison(report: GradientReport, name: str, method: str) -> Any:
    row = next(r for r in report.rows if r.name == name)
    return next(c for c in row.comparisons if c.method == method)


def test_all_methods_agree_on_a_right_gradient() -> None:
    report = check_gradients(differentiate(network()))
    assert report.passed, report
    assert report.methods == ("central differences", "complex step", "equations in float32")
    assert [r.name for r in report.rows] == ["W", "c", "table", "loss"]
    assert [dict(s)["n_batch"] for s in report.sizes][1] == 1
    assert all(r.largest > 0 for r in report.rows)
    assert comparison(report, "W", "complex step").error < 1e-13
    assert comparison(report, "W", "central differences").error < 1e-7


@pytest.mark.parametrize("name", ["W", "c", "table"])
def test_a_wrong_gradient_is_found_by_every_method(name: str) -> None:
    derivation = differentiate(network())
    report = check_gradients(spoil(derivation, derivation.gradient_of(name)))
    assert not report.passed
    assert not comparison(report, name, "central differences").passed
    assert not comparison(report, name, "complex step").passed
    others = [r for r in report.rows if r.name != name]
    assert all(r.passed for r in others)
    assert str(report).startswith("gradients of 'network': FAILED")
    assert f"  {name}: central differences" in str(report)


@pytest.mark.parametrize(
    ("function", "kink"),
    [
        (fn.relu, "relu"),
        (fn.absolute, "absolute"),
        (lambda z: fn.maximum(z, sp.Integer(0)), "maximum"),
        (lambda z: fn.select(sp.Gt(z, 0), z, z / 10), "select"),
    ],
)
def test_functions_with_kinks_have_no_complex_step(function: Any, kink: str) -> None:
    report = check_gradients(differentiate(network(function)))
    assert report.passed, report
    assert comparison(report, "W", "complex step").note == f"not analytic: {kink}"
    assert comparison(report, "W", "complex step").error is None
    assert comparison(report, "W", "central differences").error < 1e-6


def test_a_branch_on_something_constant_is_analytic() -> None:
    eq = Equations()
    i = eq.axis("i", 7)
    w, x = eq.parameter("w", i), eq.given("x", i)
    eq.let("loss", (), fn.select(sp.Gt(x[i], 0), sp.exp(w[i]), w[i] ** 2), (i,), role=Role.LOSS)
    report = check_gradients(differentiate(eq.program("loss")))
    assert report.passed, report
    assert comparison(report, "w", "complex step").note == ""


def softmax_loss(shifted: bool) -> Program:
    eq = Equations("softmax")
    b, j, k = eq.axis("b", "n_batch"), eq.axis("j", 4), eq.axis("k", 3)
    x, label, W = eq.given("x", b, j), eq.given("label", b, below=3), eq.parameter("W", j, k)
    z = eq.let("z", (b, k), x[b, j] * W[j, k], (j,))
    held = fn.stop_gradient(z[b, k]) if shifted else z[b, k]
    m = eq.let("m", (b,), held, (k,), Reduction.MAX)
    e = eq.let("e", (b, k), sp.exp(z[b, k] - m[b]))
    s = eq.let("s", (b,), e[b, k], (k,))
    p = eq.let("p", (b, k), e[b, k] / s[b])
    eq.let("loss", (), -sp.log(p[b, label.read(b) + 0]), (b,), role=Role.LOSS)
    return eq.program("loss")


def test_the_shift_of_a_softmax_is_no_kink() -> None:
    report = check_gradients(differentiate(softmax_loss(shifted=True)))
    assert report.passed, report
    assert comparison(report, "W", "complex step").note == ""
    report = check_gradients(differentiate(softmax_loss(shifted=False)))
    assert report.passed, report
    assert comparison(report, "W", "complex step").note == "not analytic: max"


def test_differences_are_not_asked_through_stop_gradient() -> None:
    eq = Equations()
    i = eq.axis("i", 7)
    w = eq.parameter("w", i)
    eq.let("loss", (), w[i] * fn.stop_gradient(w[i]), (i,), role=Role.LOSS)
    report = check_gradients(differentiate(eq.program("loss")))
    assert report.passed, report
    assert comparison(report, "w", "central differences").note == "not valid: stop_gradient on the way"
    assert comparison(report, "w", "complex step").error < 1e-13


def test_recurrence_and_causal_guard() -> None:
    eq = Equations("memory")
    n = Size("n_time")
    t, s = eq.axis("t", "n_time"), eq.axis("s", "n_time")
    x, a = eq.given("x", t), eq.parameter("a", t)
    u = eq.parameter("u")
    h = eq.let("h", (), 1, at=(0,), shape=(n + 1,))
    memory = eq.let("memory", (t,), a[t - s] * h[s], (s,), where=[NonNegative(t - s)])
    eq.let("h", (t,), fn.tanh(memory[t] * u[()] + x[t]), at=(t + 1,))
    eq.let("loss", (), h[t + 1] ** 2, (t,), role=Role.LOSS)
    report = check_gradients(differentiate(name_calls(eq.program("loss"))))
    assert report.passed, report
    assert {r.name for r in report.rows} == {"a", "u", "loss"}


def as_module(derivation: Derivation, dtype: type, wrong: float = 0.0) -> Any:
    """A stand-in for a generated module: the equations themselves, in one dtype."""

    def loss_and_gradients(feed: dict[str, np.ndarray]) -> tuple[float, dict[str, np.ndarray]]:
        assert all(v.dtype == dtype for v in feed.values() if v.dtype.kind == "f")
        found = interpret(derivation.program, {"n_batch": feed["x"].shape[0]}, feed, dtype)
        gradients = {name: found[bar] for name, bar in derivation.gradients}
        gradients["c"] = gradients["c"] + wrong * np.abs(gradients["c"]).max()
        return found["loss"], gradients

    return loss_and_gradients


def test_generated_modules_are_compared_element_by_element() -> None:
    derivation = differentiate(network())
    modules = {"float32": as_module(derivation, np.float32), "float64": as_module(derivation, np.float64)}
    report = check_gradients(derivation, modules)
    assert report.passed, report
    assert comparison(report, "W", "module in float64").error == 0
    assert 0 < comparison(report, "W", "module in float32").error < 1e-5
    assert comparison(report, "loss", "module in float32").error < 1e-5

    report = check_gradients(derivation, {"float32": as_module(derivation, np.float32, wrong=1e-4)})
    failed = [(r.name, c.method) for r in report.rows for c in r.comparisons if not c.passed]
    assert failed == [("c", "module in float32")]
    assert "c: central differences" in str(report)
    assert "FAILED" in str(report)


def test_a_module_that_returns_nan_fails() -> None:
    derivation = differentiate(network())
    report = check_gradients(derivation, {"float64": as_module(derivation, np.float64, wrong=np.nan)})
    assert not report.passed


def test_checks_are_repeatable() -> None:
    derivation = differentiate(network())
    assert check_gradients(derivation, seed=3) == check_gradients(derivation, seed=3)


def test_a_loss_that_is_not_finite_is_refused() -> None:
    eq = Equations("logs")
    i = eq.axis("i", 7)
    w = eq.parameter("w", i)
    eq.let("loss", (), sp.log(w[i]), (i,), role=Role.LOSS)
    derivation = differentiate(eq.program("loss"))
    with pytest.raises(DataError, match="the loss of 'logs' is nan at random inputs; give a feed"):
        check_gradients(derivation)
    report = check_gradients(derivation, sizes={}, feed={"w": np.linspace(0.5, 2, 7)})
    assert report.passed, report


def test_random_feeds_respect_bounds_and_repeat() -> None:
    program = network()
    sizes = {"n_batch": 13}
    feed = random_feed(program, sizes, 1)
    assert sorted(feed) == ["W", "c", "table", "token", "x"]
    assert feed["token"].dtype.kind == "i"
    assert 0 <= feed["token"].min() <= feed["token"].max() < 5
    assert feed["x"].shape == (13, 7)
    again = random_feed(program, sizes, 1)
    assert all(np.array_equal(feed[n], again[n]) for n in feed)


def test_random_sizes_meet_the_requirements() -> None:
    eq = Equations()
    i, u = eq.axis("i", "n"), eq.axis("u", "window")
    x, k = eq.given("x", i), eq.given("k", u)
    p = eq.axis("p", "n")
    eq.extents[p] = Size("n") - Size("window") + 1
    eq.let("y", (p,), x[p + u] * k[u], (u,))
    program = replace(eq.program(), requirements=(Size("n") - Size("window") * 2,))
    for seed in range(20):
        sizes = random_sizes(program, seed)
        assert sizes["n"] >= 2 * sizes["window"] >= 2
    impossible = replace(program, requirements=(Size("n") * -1,))
    with pytest.raises(DataError, match="no small sizes satisfy -n >= 0; give the sizes to check at"):
        random_sizes(impossible, 0)


def test_longest_reduction() -> None:
    assert longest_reduction(network(), {"n_batch": 4}) == 12


def biased_scores() -> Program:
    """``p = softmax(k + c)`` over another axis than the bias: c changes nothing, its gradient is 0 but for rounding."""
    eq = Equations("biased")
    b, s, m = eq.axis("b", "n_batch"), eq.axis("s", 5), eq.axis("m", 5)
    x, w, c = eq.given("x", b, s), eq.parameter("w", s), eq.parameter("c")
    a = eq.let("a", (b, s), sp.sin(3 * x[b, s] * w[s]) + c[()] * x[b, 0])
    e_total = eq.let("e_total", (b,), sp.exp(a[b, m]), (m,))
    p = eq.let("p", (b, s), sp.exp(a[b, s]) / e_total[b])
    eq.let("loss", (), p[b, s] ** 2 * x[b, s], (b, s), role=Role.LOSS)
    return name_calls(eq.program("loss"))


def test_a_gradient_that_is_only_rounding_is_measured_by_the_others() -> None:
    derivation = differentiate(biased_scores())
    report = check_gradients(derivation)
    row = next(r for r in report.rows if r.name == "c")
    assert 0 < row.largest < 1e-14
    assert report.passed, report
    assert not check_gradients(spoil(derivation, derivation.gradient_of("w"))).passed

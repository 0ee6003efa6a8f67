"""Nonlinear calls get names of their own, and their arguments too."""

from __future__ import annotations

import sympy as sp

from symbp.derive.name_calls import name_calls
from symbp.ir import Affine, Body, Holds, Index, NonNegative, Program, statement_text
from symbp.ir.functions import NONLINEAR, maximum, relu, select, sigmoid, sqrt, tanh
from tests.derive.equations import Equations


def texts(program: Program) -> list[str]:
    return [statement_text(s) for s in program.statements]


def test_argument_of_an_activation_becomes_its_preactivation() -> None:
    eq = Equations()
    b, k = eq.axis("b", "n_batch"), eq.axis("k", 3)
    z1, z2 = eq.given("z1", b, k), eq.given("z2", b, k)
    eq.let("a", (b, k), tanh(z1[b, k] + z2[b, k]))
    program = name_calls(eq.program())
    assert texts(program) == ["a_pre[b, k] = z1[b, k] + z2[b, k]", "a[b, k] = tanh(a_pre[b, k])"]
    assert program.tensor("a_pre").shape == program.tensor("a").shape
    assert program.tensor("a_pre").axes == ("b", "k")


def test_call_of_a_read_stays_as_it_is() -> None:
    eq = Equations()
    b = eq.axis("b", "n_batch")
    z = eq.given("z", b)
    eq.let("a", (b,), relu(z[b]))
    eq.let("m", (b,), maximum(z[b], sp.Integer(0)))
    before = eq.program()
    assert name_calls(before) == before


def test_one_name_for_equal_calls_over_their_own_indices() -> None:
    eq = Equations()
    b, k, m = eq.axis("b", "n_batch"), eq.axis("k", 3), eq.axis("m", 3)
    z, x = eq.given("z", b, k), eq.given("x", b)
    total = eq.let("total_", (b,), sp.exp(z[b, m]), over=(m,))
    eq.let("p", (b, k), sp.exp(z[b, k]) * sigmoid(x[b]) / total[b])
    assert texts(name_calls(eq.program())) == [
        "exp_z[b, m] = exp(z[b, m])",
        "total_[b] = sum[m] exp_z[b, m]",
        "sigmoid_x[b] = sigmoid(x[b])",
        "p[b, k] = exp_z[b, k]*sigmoid_x[b]/total_[b]",
    ]


def test_existing_tensor_is_used_for_the_same_call() -> None:
    eq = Equations()
    t, k = eq.axis("t", "n_time"), eq.axis("k", 2)
    c = eq.given("c", t, k)
    n_time = eq.extents[t]
    eq.let("e", (t, k), tanh(c[t, k]), at=(t + 1, k), shape=(n_time + 1, 2))
    eq.let("y", (t, k), 2 * tanh(c[t, k]))
    assert texts(name_calls(eq.program())) == ["e[t + 1, k] = tanh(c[t, k])", "y[t, k] = 2*e[t + 1, k]"]


def test_nested_calls_and_powers() -> None:
    eq = Equations()
    b, k = eq.axis("b", "n_batch"), eq.axis("k", 3)
    x, v = eq.given("x", b, k), eq.given("v", b)
    eq.let("y", (b, k), x[b, k] * (v[b] + 1) ** sp.Rational(-1, 2) + sqrt(1 + tanh(x[b, k]) ** 2))
    program = name_calls(eq.program())
    assert sorted(texts(program)) == [
        "tanh_x[b, k] = tanh(x[b, k])",
        "y[b, k] = y_sqrt[b, k] + x[b, k]*y_rsqrt[b]",
        "y_rsqrt[b] = 1/sqrt(y_rsqrt_base[b])",
        "y_rsqrt_base[b] = 1 + v[b]",
        "y_sqrt[b, k] = sqrt(y_sqrt_arg[b, k])",
        "y_sqrt_arg[b, k] = 1 + tanh_x[b, k]**2",
    ]


def test_call_in_a_branch_stays_in_the_branch() -> None:
    eq = Equations()
    b = eq.axis("b", "n_batch")
    x = eq.given("x", b)
    eq.let("y", (b,), 2 * select(x[b] > 0, sp.log(x[b]), sp.Integer(0)) + sp.exp(x[b]))
    assert texts(name_calls(eq.program())) == [
        "exp_x[b] = exp(x[b])",
        "y[b] = exp_x[b] + 2*select(x[b] > 0, log(x[b]), 0)",
    ]


def test_call_of_indices_and_numbers_stays() -> None:
    eq = Equations()
    b, i = eq.axis("b", "n_batch"), eq.axis("i", 8)
    x = eq.given("x", b, i)
    eq.let("y", (b, i), x[b, i] * sp.sin(eq.value(i) / 10) / sqrt(sp.Integer(8)))
    before = eq.program()
    assert name_calls(before) == before


def test_guards_of_the_indices_go_with_the_temporary() -> None:
    eq = Equations()
    i, j = eq.axis("i", "n"), eq.axis("j", "n")
    s, m = eq.given("s", i, j), eq.given("m", i)
    causal = NonNegative(i - j)
    total = eq.let("total_", (i,), sp.exp(s[i, j] - m[i]), over=(j,), where=(causal,))
    eq.let("p", (i, j), sp.exp(s[i, j] - m[i]) / total[i] * tanh(m[i]), where=(causal,))
    assert texts(name_calls(eq.program())) == [
        "total__exp_arg[i, j] = s[i, j] - m[i]    where i >= j",
        "total__exp[i, j] = exp(total__exp_arg[i, j])    where i >= j",
        "total_[i] = sum[j] total__exp[i, j]    where i >= j",
        "tanh_m[i] = tanh(m[i])",
        "p[i, j] = total__exp[i, j]*tanh_m[i]/total_[i]    where i >= j",
    ]


def test_guard_that_keeps_a_read_inside_brings_its_indices() -> None:
    eq = Equations()
    t, u, w = eq.axis("t", "n"), eq.axis("u", "n"), eq.axis("w", 2)
    x = eq.given("x", t)
    inside = NonNegative(t - u - w)
    eq.let("y", (t, w), sp.exp(x[t - u]), over=(u,), where=(inside,))
    assert texts(name_calls(eq.program()))[0] == "exp_x[t, w, u] = exp(x[t - u])    where t >= u + w"


def test_guard_on_data_brings_its_indices() -> None:
    eq = Equations()
    b, j = eq.axis("b", "n_batch"), eq.axis("j", 4)
    v, mask = eq.given("v", b), eq.given("mask", b, j)
    wanted = Holds(Body.build(mask[b, j] > 0, eq.operands))
    eq.let("y", (b,), sp.log(v[b]), over=(j,), where=(wanted,))
    assert texts(name_calls(eq.program()))[0] == "log_v[b, j] = log(v[b])    where mask[b, j] > 0"


def test_data_dependent_reads_and_shifted_ranges() -> None:
    eq = Equations()
    b, k = eq.axis("b", "n_batch"), eq.axis("k", 5)
    p, label = eq.given("p", b, k), eq.given("label", b, below=5)
    eq.let("loss", (), -sp.log(p[b, Affine.of(label.read(b))]) / eq.value(eq.extents[b]), over=(b,))
    x = eq.given("x", b)
    eq.let("y", (b,), 1 + tanh(x[b - 1]), starts={b: 1})
    assert texts(name_calls(eq.program())) == [
        "log_p[b] = log(p[b, label[b]])",
        "loss = sum[b] -log_p[b]/n_batch",
        "tanh_x[b] = tanh(x[b - 1])",
        "y[b] = 1 + tanh_x[b]",
    ]


def test_every_call_left_reads_plain_elements_and_nothing_else() -> None:
    eq = Equations()
    b, k = eq.axis("b", "n_batch"), eq.axis("k", 3)
    x = eq.given("x", b, k)
    e = x[b, k]
    eq.let("y", (b, k), tanh(sigmoid(e * 2 + 1) ** 2 - sp.exp(-e)) * relu(maximum(e, e**2 + sp.sin(3 * e))))
    program = name_calls(eq.program())
    for statement in program.statements:
        expr = statement.body.expr
        if expr.has(*NONLINEAR):
            assert isinstance(expr, NONLINEAR)
            assert all(a.is_Symbol or a.is_number for a in expr.args), statement_text(statement)
    assert name_calls(program) == program
    assert Index("b") in program.statements[0].free

"""Equations to statements: the exact text of small models, and their values against NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sympy as sp

import symbp as sb
from symbp import Model
from symbp.check import interpret
from symbp.ir import program_text, statement_text

Array = np.ndarray[Any, Any]


def statements(model: Model) -> list[str]:
    return [statement_text(s) for s in model.program().statements]


def digits() -> Model:
    model = Model("digits")
    b, j, k = model.axis("b", "batch"), model.axis("j", 64), model.axis("k", 10)
    x, label = model.input("x", b, j), model.input("label", b, dtype="int", below=k)
    W, c = model.parameter("W", j, k), model.parameter("c", k)
    z = model.define("z[b, k]", sb.sum(x[b, j] * W[j, k], j) + c[k])
    p = sb.softmax(z, name="p")
    model.loss(sb.mean(-sb.log(p[b, label[b]]), b))
    return model


def test_program_of_digits() -> None:
    assert (
        program_text(digits().program())
        == """\
program digits
  input x[n_batch, 64]: float
  input label[n_batch]: int
  parameter W[64, 10]: float
  parameter c[10]: float
  activation z[n_batch, 10]: float
  activation p[n_batch, 10]: float
  loss loss: float
  activation z_sum[n_batch, 10]: float
  activation p_sum[n_batch]: float
  z_sum[b, k] = sum[j] x[b, j]*W[j, k]    for 0 <= b < n_batch, 0 <= k < 10, 0 <= j < 64
  z[b, k] = z_sum[b, k] + c[k]    for 0 <= b < n_batch, 0 <= k < 10
  p_sum[b] = sum[k] exp(z[b, k])    for 0 <= b < n_batch, 0 <= k < 10
  p[b, k] = exp(z[b, k])/p_sum[b]    for 0 <= b < n_batch, 0 <= k < 10
  loss = sum[b] -log(p[b, label[b]])/n_batch    for 0 <= b < n_batch"""
    )


def test_program_carries_what_was_declared() -> None:
    program = digits().program()
    assert program.outputs == ("p",)
    assert program.loss == "loss"
    assert program.tensor("W").axes == ("j", "k")
    assert dict(program.tensor("W").initializer.arguments) == {"fan_in": 64.0, "fan_out": 10.0}  # type: ignore[union-attr]
    assert program.tensor("c").initializer.kind == "zeros"  # type: ignore[union-attr]
    assert str(program.tensor("label").below) == "10"
    origin = program.definitions("z")[0].origin
    assert origin.equation == "z[b, k] = c[k] + sum(W[j, k]*x[b, j], j)"
    assert origin.place.startswith("test_lowering.py:")


def test_the_same_model_gives_the_same_program() -> None:
    assert digits().program() == digits().program()


class Small:
    """A model with the axes and inputs that the cases below use."""

    def __init__(self) -> None:
        self.model = Model("m")
        self.b, self.t = self.model.axis("b", "batch"), self.model.axis("t", "time")
        self.j, self.k = self.model.axis("j", 4), self.model.axis("k", 3)
        self.l = self.model.axis("l", self.j)
        self.x = self.model.input("x", self.b, self.j)
        self.s = self.model.input("s", self.t)
        self.y = self.model.input("y", self.j)
        self.n = self.model.input("n", self.b, dtype="int", below=4)


X = np.random.default_rng(0).normal(size=(5, 4))
S = np.random.default_rng(1).normal(size=7)
Y = np.random.default_rng(2).normal(size=4)
N = np.array([0, 3, 1, 2, 2])
J, T = np.arange(4), np.arange(7)


def run(small: Small, name: str = "a") -> Array:
    with pytest.warns(sb.SymbpWarning, match="is not used"):  # a case uses few of the inputs
        program = small.model.program()
    return interpret(program, {"n_batch": 5, "n_time": 7}, {"x": X, "s": S, "y": Y, "n": N})[name]


VALUES: dict[str, tuple[Callable[[Small], tuple[str, Any]], Array]] = {
    "shadowed index": (
        lambda m: ("a[b, j]", sb.exp(m.x[m.b, m.j]) / sb.sum(sb.exp(m.x[m.b, m.j]), m.j)),
        np.exp(X) / np.exp(X).sum(1, keepdims=True),
    ),
    "sum in a sum": (
        lambda m: ("a[b]", sb.sum(m.y[m.j] * sb.sum(m.x[m.b, m.l] * m.y[m.l], m.l) ** 2, m.j)),
        Y.sum() * (X @ Y) ** 2,
    ),
    "one index bound twice": (
        lambda m: ("a[b]", sb.sum(m.x[m.b, m.j] * sb.sum(m.y[m.j], m.j), m.j)),
        X.sum(1) * Y.sum(),
    ),
    "max, min, mean": (
        lambda m: ("a[b]", sb.max(m.x[m.b, m.j], m.j) - sb.min(m.x[m.b, m.j], m.j) + sb.mean(m.x[m.b, m.j], m.j)),
        X.max(1) - X.min(1) + X.mean(1),
    ),
    "log-sum-exp": (lambda m: ("a[b]", sb.logsumexp(m.x[m.b, m.j], m.j)), np.log(np.exp(X).sum(1))),
    "argmax as a subscript": (
        lambda m: ("a[b]", m.x[m.b, m.model.define("i[b]", sb.argmax(m.x[m.b, m.j], m.j))[m.b]]),
        X.max(1),
    ),
    "index values": (lambda m: ("a[t]", m.s[m.t] * m.t + m.t.size), S * T + 7),
    "remainder": (lambda m: ("a[t]", m.s[(m.t + 3) % m.t.size]), np.roll(S, -3)),
    "reversed": (lambda m: ("a[t]", m.s[m.t.size - 1 - m.t]), S[::-1]),
    "halved": (lambda m: ("a[t]", m.s[m.t // 2]), S[T // 2]),
    "data-dependent": (lambda m: ("a[b]", m.x[m.b, m.n[m.b]]), X[np.arange(5), N]),
    "guarded sum": (
        lambda m: ("a[b]", sb.sum(m.x[m.b, m.j], m.j, where=m.j < m.n[m.b])),
        np.where(N[:, None] > J, X, 0).sum(1),
    ),
    "guard on data": (
        lambda m: ("a[b]", sb.sum(m.x[m.b, m.j], m.j, where=[m.x[m.b, m.j] > 0, sb.Ne(m.j, 2)])),
        np.where((X > 0) & (J != 2), X, 0).sum(1),
    ),
    "guarded shift": (
        lambda m: ("a[t]", sb.select(m.t >= 1, m.s[m.t - 1], m.s[m.t])),
        np.concatenate([S[:1], S[:-1]]),
    ),
    "branch with a reduction": (
        lambda m: ("a[b]", sb.select(m.x[m.b, 0] > 0, sb.sum(m.x[m.b, m.j], m.j), 1)),
        np.where(X[:, 0] > 0, X.sum(1), 1),
    ),
    "compound condition": (
        lambda m: ("a[b, j]", sb.select(sp.And(m.x[m.b, m.j] > 0, m.j > 1), m.x[m.b, m.j], 5)),
        np.where((X > 0) & (J > 1), X, 5),
    ),
    "alternatives": (
        lambda m: ("a[b, j]", sb.select(sp.Or(m.x[m.b, m.j] > 0, m.j > 1), m.x[m.b, m.j], 5)),
        np.where((X > 0) | (J > 1), X, 5),
    ),
    "piecewise": (
        lambda m: ("a[t]", sp.Piecewise((m.s[m.t], m.s[m.t] > 1), (-m.s[m.t], m.s[m.t] < 0), (3, True))),
        np.where(S > 1, S, np.where(S < 0, -S, 3)),
    ),
    "SymPy's own functions": (
        lambda m: (
            "a[t]",
            sp.tanh(m.s[m.t]) + sp.Max(m.s[m.t], 0) + sp.Min(m.s[m.t], 1, 0) + sp.Abs(m.s[m.t]) ** 0.5
            + sp.sqrt(2) * sp.pi + sp.sign(m.s[m.t]),
        ),
        np.tanh(S) + np.maximum(S, 0) + np.minimum(S, 0) + np.abs(S) ** 0.5 + np.sqrt(2) * np.pi + np.sign(S),
    ),
    "floor and remainder of numbers": (
        lambda m: ("a[t]", sb.floor(m.s[m.t]) + m.s[m.t] % 2 + m.t % 2 + m.t // 3),
        np.floor(S) + S % 2 + T % 2 + T // 3,
    ),
    "decimal numbers": (lambda m: ("a[t]", 0.1 * m.s[m.t] + 1e-3), 0.1 * S + 1e-3),
    "gelu, silu, elu, leaky relu": (
        lambda m: ("a[t]", sb.silu(m.s[m.t]) + sb.elu(m.s[m.t]) + sb.leaky_relu(m.s[m.t])),
        S / (1 + np.exp(-S)) + np.where(S > 0, S, np.expm1(S)) + np.where(S > 0, S, 0.01 * S),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", VALUES)
def test_values(name: str) -> None:
    equation, expected = VALUES[name]
    small = Small()
    small.model.define(*equation(small))
    np.testing.assert_allclose(run(small), expected, rtol=1e-13, atol=1e-13)


def test_one_reduction_needs_no_temporary() -> None:
    model = Model("m")
    b, j = model.axis("b", "batch"), model.axis("j", 4)
    x = model.input("x", b, j)
    model.loss(sb.mean(2 * sb.sum(x[b, j] ** 2, j), b))
    assert statements(model) == ["loss = sum[b, j] 2*x[b, j]**2/n_batch"]


def test_equal_reductions_are_computed_once() -> None:
    model = Model("m")
    b, j = model.axis("b", "batch"), model.axis("j", 4)
    x = model.input("x", b, j)
    mu = sb.mean(x[b, j], j)
    model.define("y[b, j]", (x[b, j] - mu) * mu)
    assert statements(model) == ["y_sum[b] = sum[j] x[b, j]", "y[b, j] = y_sum[b]*(x[b, j] - y_sum[b]/4)/4"]


def test_a_branch_keeps_what_it_guards() -> None:
    model = Model("m")
    b, j = model.axis("b", "batch"), model.axis("j", 4)
    x = model.input("x", b, j)
    model.define("y[b]", sb.select(x[b, 0] > 0, sb.sum(sb.log(x[b, j]), j), 0))
    assert statements(model)[0] == "y_sum[b] = sum[j] log(x[b, j])    where x[b, 0] > 0"


def test_guards_are_affine_where_they_can_be() -> None:
    model = Model("m")
    i, j = model.axis("i", "time"), model.axis("j", "time")
    x = model.input("x", i)
    model.define("y[i, j]", x[i], where=[i > j, i >= 0, sb.Eq(i % 2, 1), sb.Ne(i, 5), x[i] > 0])
    assert statements(model) == ["y[i, j] = x[i]    where i >= j + 1, (i - 1) % 2 == 0, i != 5, x[i] > 0"]


def test_an_equation_may_come_before_what_it_reads() -> None:
    model = Model("m")
    b = model.axis("b", "batch")
    x, h = model.input("x", b), model.variable("h", b)
    model.define("y[b]", 2 * h[b])
    model.define("h[b]", x[b] ** 2)
    found = interpret(model.program(), {"n_batch": 3}, {"x": np.array([1.0, 2.0, 3.0])})
    np.testing.assert_array_equal(found["y"], [2.0, 8.0, 18.0])


# Recurrences.


def recurrence(start: int, shift: int) -> Model:
    """``h[0] = .., h[t+1] = h[t] + x[t]``, and the same from -1 on."""
    model = Model("m")
    b, t = model.axis("b", "batch"), model.axis("t", "time")
    x, h = model.input("x", b, t), model.variable("h", b, t)
    model.define(h[b, start], 0)
    model.define(h[b, t + shift], h[b, t + shift - 1] / 2 + x[b, t])
    model.define("y[b]", h[b, t.size - 1 + shift])
    return model


@pytest.mark.parametrize(("start", "shift"), [(0, 1), (-1, 0), (4, 5)])
def test_a_recurrence_may_begin_anywhere(start: int, shift: int) -> None:
    program = recurrence(start, shift).program()
    assert str(program.tensor("h").shape[1]) == f"n_time + {max(start, 0) + 1}"
    x = np.random.default_rng(0).normal(size=(2, 7))
    expected = (x * 0.5 ** np.arange(6, -1, -1)).sum(1)
    np.testing.assert_allclose(interpret(program, {"n_batch": 2, "n_time": 7}, {"x": x})["y"], expected)


def test_an_output_begins_at_0() -> None:
    model = Model("m")
    t = model.axis("t", "time")
    x, h = model.input("x", t), model.variable("h", t)
    model.define(h[-1], 0)
    model.define(h[t], h[t - 1] + x[t])
    model.output(h)
    program = model.program()
    assert program.outputs == ("h_output",)
    np.testing.assert_allclose(interpret(program, {"n_time": 7}, {"x": S})["h_output"], np.cumsum(S))


def test_a_recurrence_in_two_guarded_equations() -> None:
    model = Model("m")
    t = model.axis("t", "time")
    x, h = model.input("x", t), model.variable("h", t)
    model.define(h[0], x[0])
    model.define(h[t], h[t - 1] + x[t], where=t >= 1)
    program = model.program()
    assert [str(e) for e in program.tensor("h").shape] == ["n_time"]
    np.testing.assert_allclose(interpret(program, {"n_time": 7}, {"x": S})["h"], np.cumsum(S))


def test_a_recurrence_backwards() -> None:
    model = Model("m")
    t = model.axis("t", "time")
    x, h = model.input("x", t), model.variable("h", t)
    model.define(h[t.size], 0)
    model.define(h[t], h[t + 1] + x[t])
    found = interpret(model.program(), {"n_time": 7}, {"x": S})["h"]
    np.testing.assert_allclose(found[:-1], np.cumsum(S[::-1])[::-1])


def test_interleaved_and_flattened_left_sides() -> None:
    model = Model("m")
    t, j, k = model.axis("t", "time"), model.axis("j", 4), model.axis("k", 3)
    s, w = model.input("s", t), model.input("w", j, k)
    model.define("a[2*t]", s[t])
    model.define("a[2*t + 1]", -s[t])
    model.define("f[3*j + k]", w[j, k])
    model.output(model.tensors["a"], model.tensors["f"])
    weights = np.arange(12.0).reshape(4, 3)
    found = interpret(model.program(), {"n_time": 7}, {"s": S, "w": weights})
    np.testing.assert_array_equal(found["a"], np.stack([S, -S], 1).ravel())
    np.testing.assert_array_equal(found["f"], weights.ravel())


def test_two_equations_on_two_sides_of_a_diagonal() -> None:
    model = Model("m")
    i, j = model.axis("i", "time"), model.axis("j", "time")
    s = model.input("s", i)
    model.define("a[i, j]", s[i], where=i >= j)
    model.define("a[i, j]", -s[j], where=i < j)
    found = interpret(model.program(), {"n_time": 7}, {"s": S})["a"]
    np.testing.assert_array_equal(found, np.where(T[:, None] >= T, S[:, None], -S))


def test_run_time_requirements() -> None:
    model = Model("m")
    t, u = model.axis("t", "time"), model.axis("u", 5)
    p = model.axis("p", t.size - u.size + 1)
    position = model.axis("q", 512)
    x, E = model.input("x", t), model.parameter("E", position)
    model.define("y[p]", sb.sum(x[p + u], u))
    model.define("z[t]", E[t] + x[2])
    model.output(model.tensors["y"], model.tensors["z"])
    assert [str(r) for r in model.program().requirements] == ["n_time - 5", "n_time - 3", "512 - n_time"]


def test_names_that_sympy_would_read_otherwise() -> None:
    model = Model("m")
    E = model.axis("E", 3)
    I, S, N = model.input("I", E), model.parameter("S", E), model.parameter("N")  # noqa: E741
    model.define("pi[E]", I[E] * S[E] + N)
    assert statements(model) == ["pi[E] = N + I[E]*S[E]"]


def test_derivatives_inside_the_model() -> None:
    model = Model("m")
    n, d = model.axis("n", "points"), model.axis("d", 2)
    x, w = model.input("x", n, d), model.parameter("w", d)
    u = model.define("u[n]", sb.sin(sb.sum(w[d] * x[n, d], d)))
    u_x = model.define("u_x[n]", sb.diff(u[n], x[n, 0]))
    model.loss(sb.mean((sb.diff(u_x[n], x[n, 0]) + sb.diff(u[n], x[n, 1])) ** 2, n))
    requests = [(r.output, str(r.of), str(r.wrt)) for r in model.program().derivatives]
    assert requests == [("u_x", "u[n]", "x[n, 0]"), ("u_x_2", "u[n]", "x[n, 1]"), ("u_x_x", "u_x[n]", "x[n, 0]")]

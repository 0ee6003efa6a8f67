"""The interpreter against plain loops and torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import sympy as sp
import torch

from symbp.check.interpreter import InterpretationError, Interpreter, interpret
from symbp.errors import DataError, SpecError
from symbp.ir import (
    Affine,
    Body,
    Divisible,
    DType,
    Holds,
    Index,
    NonNegative,
    Reduction,
    Role,
    Size,
    Zero,
    floor_div,
    mod,
)
from symbp.ir import functions as fn
from symbp.ir.order import Scan
from tests.derive.equations import Equations

EXTENTS = [1, 2, 7, 13]
N = Size("n")


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def integers(eq: Equations, name: str, *axes: Index, below: int = 2**31) -> None:
    """Declare an integer tensor that the program computes itself."""
    eq.given(name, *axes, role=Role.ACTIVATION, below=below)


@pytest.mark.parametrize("n", EXTENTS)
def test_matrix_product_and_bias(n: int) -> None:
    eq = Equations()
    b, j, k = eq.axis("b", "n"), eq.axis("j", 7), eq.axis("k", 5)
    x, W, c = eq.given("x", b, j), eq.parameter("W", j, k), eq.parameter("c", k)
    s = eq.let("s", (b, k), x[b, j] * W[j, k], (j,))
    eq.let("z", (b, k), s[b, k] + c[k])
    feed = {"x": random(n, 7), "W": random(7, 5, seed=1), "c": random(5, seed=2)}
    found = interpret(eq.program(), {"n": n}, feed)
    np.testing.assert_allclose(found["z"], feed["x"] @ feed["W"] + feed["c"], rtol=1e-13)
    assert found["z"].dtype == np.float64


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128])
def test_dtype_is_kept_throughout(dtype: type) -> None:
    eq = Equations()
    b = eq.axis("b", "n")
    x = eq.given("x", b)
    every = [x[b] / 3, eq.value(N) * x[b], fn.sigmoid(x[b]), sp.erf(x[b]), fn.maximum(x[b], sp.Integer(0)), sp.sqrt(2)]
    for position, expr in enumerate(every):
        eq.let(f"y{position}", (b,), expr)
    found = interpret(eq.program(), {"n": 7}, {"x": random(7)}, dtype)
    assert {v.dtype for v in found.values()} == {np.dtype(dtype)}


@pytest.mark.parametrize("n", EXTENTS)
def test_recurrence_forward_in_time(n: int) -> None:
    eq = Equations()
    t, k, m = eq.axis("t", "n"), eq.axis("k", 3), eq.axis("m", 3)
    x, U = eq.given("x", t, k), eq.parameter("U", m, k)
    h = eq.let("h", (k,), sp.Rational(1, 10), at=(0, k), shape=(N + 1, 3))
    r = eq.let("r", (t, k), h[t, m] * U[m, k], (m,))
    eq.let("h", (t, k), fn.tanh(r[t, k] + x[t, k]), at=(t + 1, k))
    feed = {"x": random(n, 3), "U": random(3, 3, seed=1)}
    states = [np.full(3, 0.1)]
    for step in range(n):
        states.append(np.tanh(states[-1] @ feed["U"] + feed["x"][step]))
    np.testing.assert_allclose(interpret(eq.program(), {"n": n}, feed)["h"], states, rtol=1e-13)


@pytest.mark.parametrize("n", EXTENTS)
def test_recurrence_backward_in_time(n: int) -> None:
    eq = Equations()
    t = eq.axis("t", "n")
    x = eq.given("x", t)
    g = eq.let("g", (), 1, at=(N,), shape=(N + 1,))
    eq.let("g", (t,), sp.sin(g[t + 1]) + x[t])
    feed = {"x": random(n)}
    expected = [1.0]
    for step in reversed(range(n)):
        expected.insert(0, np.sin(expected[0]) + feed["x"][step])
    np.testing.assert_allclose(interpret(eq.program(), {"n": n}, feed)["g"], expected, rtol=1e-13)


@pytest.mark.parametrize("n", EXTENTS)
def test_memory_over_all_earlier_steps(n: int) -> None:
    eq = Equations()
    t, s = eq.axis("t", "n"), eq.axis("s", "n")
    a = eq.parameter("a", t)
    h = eq.let("h", (), 1, at=(0,), shape=(N + 1,))
    memory = eq.let("memory", (t,), a[t - s] * h[s], (s,), where=[NonNegative(t - s)])
    eq.let("h", (t,), fn.tanh(memory[t]), at=(t + 1,))
    weights = random(n)
    expected = [1.0]
    for step in range(n):
        expected.append(np.tanh(sum(weights[step - q] * expected[q] for q in range(step + 1))))
    np.testing.assert_allclose(interpret(eq.program(), {"n": n}, {"a": weights})["h"], expected, rtol=1e-12)


@pytest.mark.parametrize("n", EXTENTS)
def test_lstm_with_two_states(n: int) -> None:
    eq = Equations()
    b, t, k, m = eq.axis("b", 2), eq.axis("t", "n"), eq.axis("k", 3), eq.axis("m", 3)
    shape = (2, N + 1, 3)
    h = eq.let("h", (b, k), 0, at=(b, 0, k), shape=shape)
    c = eq.let("c", (b, k), 0, at=(b, 0, k), shape=shape)
    gates = {}
    for gate in "ifgo":  # torch's order
        x, U = eq.given(f"x{gate}", b, t, k), eq.parameter(f"U{gate}", k, m)
        r = eq.let(f"r{gate}", (b, t, k), h[b, t, m] * U[k, m], (m,))
        function = fn.tanh if gate == "g" else fn.sigmoid
        gates[gate] = eq.let(gate, (b, t, k), function(x[b, t, k] + r[b, t, k]))
    eq.let("h", (b, t, k), gates["o"][b, t, k] * fn.tanh(c[b, t + 1, k]), at=(b, t + 1, k))
    carry = gates["f"][b, t, k] * c[b, t, k]
    eq.let("c", (b, t, k), carry + gates["i"][b, t, k] * gates["g"][b, t, k], at=(b, t + 1, k))
    feed = {f"x{g}": random(2, n, 3, seed=q) for q, g in enumerate("ifgo")}
    feed |= {f"U{g}": random(3, 3, seed=q + 10) for q, g in enumerate("ifgo")}

    cell = torch.nn.LSTM(12, 3, batch_first=True, bias=False, dtype=torch.float64)
    with torch.no_grad():
        cell.weight_ih_l0[:] = torch.eye(12)
        cell.weight_hh_l0[:] = torch.tensor(np.concatenate([feed[f"U{g}"] for g in "ifgo"]))
        expected = cell(torch.tensor(np.concatenate([feed[f"x{g}"] for g in "ifgo"], axis=2)))[0].numpy()
    np.testing.assert_allclose(interpret(eq.program(), {"n": n}, feed)["h"][:, 1:], expected, rtol=1e-12)


@pytest.mark.parametrize("n", EXTENTS)
def test_late_start_inside_a_scan(n: int) -> None:
    """A term that joins two steps late: its turn does not run at every step."""
    eq = Equations()
    t = eq.axis("t", "n")
    g = eq.given("g", t, role=Role.ACTIVATION)
    h = eq.let("h", (), 1, at=(0,), shape=(N + 1,))
    eq.let("h", (t,), h[t] + g[t], at=(t + 1,))
    eq.let("g", (t,), h[t - 2] + h[t], starts={t: 2})
    expected = [1.0]
    for step in range(n):
        expected.append(expected[step] + (expected[step - 2] + expected[step] if step >= 2 else 0))
    np.testing.assert_array_equal(interpret(eq.program(), {"n": n}, {})["h"], expected)


@pytest.mark.parametrize("n", EXTENTS)
def test_gather_and_scatter_by_data(n: int) -> None:
    eq = Equations()
    b, k, v = eq.axis("b", "n"), eq.axis("k", 3), eq.axis("v", 5)
    table = eq.parameter("table", v, k)
    token = eq.given("token", b, below=5)
    row = eq.let("row", (b, k), table[token.read(b) + 0, k])
    eq.let("bar", (b, k), row[b, k], at=(token.read(b) + 0, k), shape=(5, 3), accumulate=True)
    tokens = np.random.default_rng(3).integers(0, 5, n)
    feed = {"table": random(5, 3), "token": tokens}
    found = interpret(eq.program(), {"n": n}, feed)
    np.testing.assert_array_equal(found["row"], feed["table"][tokens])
    expected = np.zeros((5, 3))
    for token_ in tokens:
        expected[token_] += feed["table"][token_]
    np.testing.assert_allclose(found["bar"], expected, rtol=1e-14)


@pytest.mark.parametrize("n", EXTENTS)
def test_argmax_is_the_first_row_major_position(n: int) -> None:
    eq = Equations()
    b, i, j = eq.axis("b", "n"), eq.axis("i", 2), eq.axis("j", 3)
    x = eq.given("x", b, i, j)
    integers(eq, "first", b)
    eq.let("first", (b,), x[b, i, j], (i, j), Reduction.ARGMAX)
    eq.let("largest", (b,), x[b, i, j], (i, j), Reduction.MAX)
    values = np.round(random(n, 2, 3))  # with ties
    found = interpret(eq.program(), {"n": n}, {"x": values})
    np.testing.assert_array_equal(found["first"], values.reshape(n, 6).argmax(1))
    np.testing.assert_array_equal(found["largest"], values.reshape(n, 6).max(1))


def test_argmax_and_max_over_nothing() -> None:
    eq = Equations()
    b, j = eq.axis("b", 3), eq.axis("j", 3)
    x = eq.given("x", j)
    integers(eq, "first", b)
    guard = [NonNegative(b - j - 1)]  # j < b: nothing for b = 0
    eq.let("first", (b,), x[j], (j,), Reduction.ARGMAX, where=guard)
    eq.let("largest", (b,), x[j], (j,), Reduction.MAX, where=guard)
    found = interpret(eq.program(), {}, {"x": np.array([1.0, 2.0, 3.0])})
    np.testing.assert_array_equal(found["first"], [-1, 0, 1])
    np.testing.assert_array_equal(found["largest"], [-np.inf, 1, 2])


def test_argmax_among_minus_infinities_stays_inside_the_guard() -> None:
    eq = Equations()
    j = eq.axis("j", 3)
    x = eq.given("x", j)
    integers(eq, "first")
    eq.let("first", (), x[j], (j,), Reduction.ARGMAX, where=[NonNegative(j - 1)])
    assert interpret(eq.program(), {}, {"x": np.full(3, -np.inf)})["first"] == 1


def test_max_lets_nan_through() -> None:
    eq = Equations()
    j = eq.axis("j", 3)
    x = eq.given("x", j)
    eq.let("largest", (), x[j], (j,), Reduction.MAX)
    assert np.isnan(interpret(eq.program(), {}, {"x": np.array([1.0, np.nan, 3.0])})["largest"])


@pytest.mark.parametrize("n", [2, 7, 13])
def test_max_pooling_windows(n: int) -> None:
    eq = Equations()
    p, r = eq.axis("p", "n"), eq.axis("r", 2)
    q = eq.axis("q", "n")
    eq.extents[q] = N * 2
    x = eq.given("x", q)
    eq.let("y", (p,), x[p * 2 + r], (r,), Reduction.MAX)
    values = random(2 * n)
    expected = torch.nn.functional.max_pool1d(torch.tensor(values)[None], 2)[0].numpy()
    np.testing.assert_array_equal(interpret(eq.program(), {"n": n}, {"x": values})["y"], expected)


@pytest.mark.parametrize("n", EXTENTS)
@pytest.mark.parametrize("stride", [1, 2])
def test_convolution_with_padding_guards(n: int, stride: int) -> None:
    eq = Equations()
    p, h, u, c, o = eq.axis("p", "m"), eq.axis("h", "n"), eq.axis("u", 3), eq.axis("c", 2), eq.axis("o", 4)
    x, K = eq.given("x", c, h), eq.parameter("K", o, c, u)
    place = p * stride + u - 1
    eq.let("y", (o, p), x[c, place] * K[o, c, u], (c, u), where=[NonNegative(place), NonNegative(N - 1 - place)])
    feed = {"x": random(2, n), "K": random(4, 2, 3, seed=1)}
    expected = torch.nn.functional.conv1d(
        torch.tensor(feed["x"])[None], torch.tensor(feed["K"]), stride=stride, padding=1
    )[0].numpy()
    found = interpret(eq.program(), {"n": n, "m": expected.shape[1]}, feed)["y"]
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("n", EXTENTS)
def test_transposed_convolution_by_division_guard(n: int) -> None:
    """``y[q] = sum[u] x[(q - u)/2]*K[u]`` where it divides."""
    eq = Equations()
    q, p, u = eq.axis("q", "n"), eq.axis("p", "n"), eq.axis("u", 3)
    eq.extents[q] = N * 2 + 1
    x, K = eq.given("x", p), eq.parameter("K", u)
    source = floor_div(q - u, 2)
    guards = [Divisible(q - u, 2), NonNegative(q - u), NonNegative(N * 2 - 2 - q + u)]
    eq.let("y", (q,), x[source] * K[u], (u,), where=guards)
    feed = {"x": random(n), "K": random(3, seed=1)}
    expected = torch.nn.functional.conv_transpose1d(
        torch.tensor(feed["x"])[None, None], torch.tensor(feed["K"])[None, None], stride=2
    )[0, 0].numpy()
    np.testing.assert_allclose(interpret(eq.program(), {"n": n}, feed)["y"], expected, rtol=1e-12, atol=1e-14)


def test_circular_index_and_diagonal_and_kronecker() -> None:
    eq = Equations()
    i, j = eq.axis("i", "n"), eq.axis("j", "n")
    A, x = eq.given("A", i, j), eq.given("x", i)
    eq.let("rolled", (i,), x[mod(i + 3, N)])
    eq.let("trace", (), A[i, i], (i,))
    eq.let("eye", (i, j), 1, where=[Zero(i - j)])
    eq.let("value", (i,), eq.value(i * 2 + N))
    feed = {"A": random(7, 7), "x": random(7, seed=1)}
    found = interpret(eq.program(), {"n": 7}, feed)
    np.testing.assert_array_equal(found["rolled"], np.roll(feed["x"], -3))
    np.testing.assert_allclose(found["trace"], np.trace(feed["A"]))
    np.testing.assert_array_equal(found["eye"], np.eye(7))
    np.testing.assert_array_equal(found["value"], np.arange(7) * 2 + 7)


def test_guards_on_data() -> None:
    eq = Equations()
    i = eq.axis("i", 7)
    x = eq.given("x", i)
    positive = Holds(Body.build(sp.Gt(x[i], 0), {x[i]: x.read(i)}))
    eq.let("total", (), x[i], (i,), where=[positive])
    eq.let("kept", (i,), x[i], where=[positive])
    values = random(7)
    found = interpret(eq.program(), {}, {"x": values})
    np.testing.assert_allclose(found["total"], values[values > 0].sum())
    np.testing.assert_array_equal(found["kept"], np.where(values > 0, values, 0))


def test_reads_outside_the_guards_do_not_matter_and_inside_are_errors() -> None:
    eq = Equations()
    i = eq.axis("i", "n")
    x = eq.given("x", i)
    eq.let("good", (i,), x[i - 1], where=[NonNegative(i - 1)])
    feed = {"x": np.array([1.0, 2.0, 3.0])}
    np.testing.assert_array_equal(interpret(eq.program(), {"n": 3}, feed)["good"], [0, 1, 2])
    eq.let("bad", (i,), x[i - 1])
    with pytest.raises(InterpretationError, match=r"x\[i - 1\] is read at i - 1 = -1, outside its extent 3, in: bad"):
        interpret(eq.program(), {"n": 3}, feed)


def test_a_guard_on_data_is_read_only_where_guards_on_indices_hold() -> None:
    eq = Equations()
    i = eq.axis("i", 3)
    x = eq.given("x", i)
    before = Holds(Body.build(sp.Gt(x[i - 1], 1), {x[i - 1]: x.read(i - 1)}))
    eq.let("y", (i,), 1, where=[before, NonNegative(i - 1)])
    np.testing.assert_array_equal(interpret(eq.program(), {}, {"x": np.array([1.0, 2.0, 3.0])})["y"], [0, 0, 1])


def test_a_branch_not_taken_reads_nothing() -> None:
    eq = Equations()
    i = eq.axis("i", 3)
    x = eq.given("x", i)
    eq.let("y", (i,), fn.select(sp.Gt(eq.value(i), 0), x[i - 1], sp.Integer(9)))
    np.testing.assert_array_equal(interpret(eq.program(), {}, {"x": np.array([1.0, 2.0, 3.0])})["y"], [9, 1, 2])


def test_a_branch_not_taken_does_not_spread_nan() -> None:
    eq = Equations()
    i = eq.axis("i", 3)
    x = eq.given("x", i)
    eq.let("y", (i,), fn.select(sp.Gt(x[i], 0), sp.log(x[i]), x[i]))
    found = interpret(eq.program(), {}, {"x": np.array([-1.0, 0.0, 1.0])})["y"]
    np.testing.assert_array_equal(found, [-1, 0, 0])


def test_an_element_defined_twice_is_an_error() -> None:
    eq = Equations()
    i = eq.axis("i", 3)
    to = eq.given("to", i, below=3)
    eq.let("y", (i,), 1, at=(to.read(i) + 0,))
    interpret(eq.program(), {}, {"to": np.array([2, 0, 1])})
    with pytest.raises(InterpretationError, match="an element of 'y' is defined twice"):
        interpret(eq.program(), {}, {"to": np.array([2, 0, 2])})


def test_a_write_outside_is_an_error() -> None:
    eq = Equations()
    i = eq.axis("i", 3)
    eq.let("y", (i,), 1, at=(i + 1,), shape=(3,))
    with pytest.raises(InterpretationError, match=r"y\[i \+ 1\] is written at i \+ 1 = 1 .. 3, outside its extent 3"):
        interpret(eq.program(), {}, {})


def test_an_order_that_reads_too_early_is_found() -> None:
    """The last turn of a scan, run first, must not go unnoticed."""
    eq = Equations()
    t = eq.axis("t", "n")
    h = eq.let("h", (), 1, at=(0,), shape=(N + 1,))
    z = eq.let("z", (t,), h[t] * 2)
    eq.let("h", (t,), fn.tanh(z[t]), at=(t + 1,))
    interpreter = Interpreter(eq.program())
    scan = interpreter.steps[1]
    assert isinstance(scan, Scan)
    interpreter.run({"n": 7}, {})
    interpreter.steps = (interpreter.steps[0], replace(scan, turns=scan.turns[::-1]))
    with pytest.raises(InterpretationError, match=r"z\[t\] is read before it is complete"):
        interpreter.run({"n": 7}, {})


def test_integers_are_exact() -> None:
    eq = Equations()
    i = eq.axis("i", 3)
    k = eq.given("k", i, below=2**62)
    integers(eq, "m", i, below=2**62)
    eq.let("m", (i,), k[i] * 3 + eq.value(i))
    big = np.array([2**60 + 1, 5, 0])
    found = interpret(eq.program(), {}, {"k": big})["m"]
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, big * 3 + np.arange(3))
    assert eq.tensors["m"].dtype is DType.INT


REAL = {
    fn.sigmoid: torch.sigmoid,
    fn.tanh: torch.tanh,
    fn.relu: torch.relu,
    fn.step: lambda x: (x > 0).double(),
    fn.softplus: lambda x: torch.nn.functional.softplus(x, threshold=1e9),
    fn.expm1: torch.expm1,
    fn.absolute: torch.abs,
    fn.sign: torch.sign,
    fn.floor: torch.floor,
    fn.stop_gradient: lambda x: x,
    sp.exp: torch.exp,
    sp.sin: torch.sin,
    sp.cos: torch.cos,
    sp.tan: torch.tan,
    sp.atan: torch.atan,
    sp.sinh: torch.sinh,
    sp.cosh: torch.cosh,
    sp.asinh: torch.asinh,
    sp.erf: torch.erf,
    sp.erfc: torch.erfc,
}
POSITIVE = {fn.log1p: torch.log1p, fn.sqrt: torch.sqrt, sp.log: torch.log}
UNIT = {sp.asin: torch.asin, sp.acos: torch.acos}


@pytest.mark.parametrize(
    ("function", "reference", "points"),
    [(f, r, np.linspace(-5, 5, 13)) for f, r in REAL.items()]
    + [(f, r, np.linspace(0.1, 9, 13)) for f, r in POSITIVE.items()]
    + [(f, r, np.linspace(-0.9, 0.9, 7)) for f, r in UNIT.items()],
    ids=lambda v: getattr(v, "__name__", ""),
)
def test_functions_and_their_complex_step(
    function: type, reference: Callable[[torch.Tensor], torch.Tensor], points: np.ndarray
) -> None:
    eq = Equations()
    i = eq.axis("i", "n")
    x = eq.given("x", i)
    eq.let("y", (i,), function(x[i]))
    program, sizes = eq.program(), {"n": len(points)}
    np.testing.assert_allclose(
        interpret(program, sizes, {"x": points})["y"], reference(torch.tensor(points)).numpy(), rtol=1e-14, atol=1e-300
    )
    if function in (fn.step, fn.sign, fn.floor, fn.stop_gradient):
        return
    argument = torch.tensor(points, requires_grad=True)
    reference(argument).sum().backward()
    step = 1e-200
    slope = interpret(program, sizes, {"x": points + 1j * step}, np.complex128)["y"].imag / step
    kink = points == 0
    # torch forms 1 - tanh(x)^2, which has lost three digits at 5
    np.testing.assert_allclose(slope[~kink], argument.grad.numpy()[~kink], rtol=1e-12, atol=1e-300)


def test_two_argument_functions() -> None:
    eq = Equations()
    i = eq.axis("i", 4)
    a, b = eq.given("a", i), eq.given("b", i)
    eq.let("largest", (i,), fn.maximum(a[i], b[i]))
    eq.let("smallest", (i,), fn.minimum(a[i], b[i]))
    eq.let("ratio", (i,), fn.safe_div(a[i], b[i]))
    one, other = np.array([1.0, -2.0, np.nan, 3.0]), np.array([0.0, 4.0, 1.0, np.nan])
    found = interpret(eq.program(), {}, {"a": one, "b": other})
    np.testing.assert_array_equal(found["largest"], np.maximum(one, other))
    np.testing.assert_array_equal(found["smallest"], np.minimum(one, other))
    np.testing.assert_array_equal(found["ratio"], [0, -0.5, np.nan, np.nan])


def test_extreme_arguments_do_not_overflow() -> None:
    eq = Equations()
    i = eq.axis("i", 4)
    x = eq.given("x", i)
    eq.let("s", (i,), fn.sigmoid(x[i]))
    eq.let("p", (i,), fn.softplus(x[i]))
    found = interpret(eq.program(), {}, {"x": np.array([-900, -100, 100, 900], np.float32)}, np.float32)
    np.testing.assert_allclose(found["s"], [0, np.exp(np.float32(-100)), 1, 1], rtol=1e-6)
    np.testing.assert_allclose(found["p"], [0, np.exp(np.float32(-100)), 100, 900], rtol=1e-6)


def test_powers() -> None:
    eq = Equations()
    i = eq.axis("i", 3)
    x, y = eq.given("x", i), eq.given("y", i)
    powers = [x[i] ** 3, x[i] ** -2, x[i] ** sp.Rational(-3, 2), x[i] ** sp.Rational(1, 3), x[i] ** y[i], sp.pi * x[i]]
    for position, expr in enumerate(powers):
        eq.let(f"p{position}", (i,), expr)
    one, other = np.array([0.5, 1.5, 7.0]), np.array([2.0, -1.0, 0.5])
    found = interpret(eq.program(), {}, {"x": one, "y": other})
    for name, expected in zip(
        ("p0", "p1", "p2", "p3", "p4", "p5"),
        (one**3, one**-2, one**-1.5, np.cbrt(one), one**other, np.pi * one),
        strict=True,
    ):
        np.testing.assert_allclose(found[name], expected, rtol=1e-14)


def test_unknown_function_is_named() -> None:
    eq = Equations()
    i = eq.axis("i", 3)
    x = eq.given("x", i)
    eq.let("y", (i,), sp.gamma(x[i]))
    with pytest.raises(SpecError, match="the interpreter has no function 'gamma'"):
        interpret(eq.program(), {}, {"x": np.ones(3)})


@pytest.mark.parametrize(
    ("sizes", "feed", "message"),
    [
        ({"n": 3}, {}, r"input 'x' is not fed; expected an array of shape \(3,\)"),
        ({"n": 3}, {"x": np.ones(4)}, r"input 'x' has shape \(4,\), not \(3,\)"),
        ({"n": 0}, {"x": np.ones(0)}, "size 'n' is 0, not at least 1"),
        ({}, {"x": np.ones(3)}, "size 'n' is not given, not at least 1"),
        ({"n": 3}, {"x": np.ones(3), "u": np.ones(3)}, "has no tensor 'u'"),
    ],
)
def test_feeds_that_do_not_fit(sizes: dict[str, int], feed: dict[str, np.ndarray], message: str) -> None:
    eq = Equations()
    i = eq.axis("i", "n")
    x = eq.given("x", i)
    eq.let("y", (i,), x[i])
    with pytest.raises(DataError, match=message):
        interpret(eq.program(), sizes, feed)


def test_one_interpreter_runs_at_many_sizes() -> None:
    eq = Equations()
    i = eq.axis("i", "n")
    x = eq.given("x", i)
    eq.let("y", (), x[i] / eq.value(Affine.of(N)), (i,))
    interpreter = Interpreter(eq.program())
    for n in EXTENTS:
        values = random(n)
        np.testing.assert_allclose(interpreter.run({"n": n}, {"x": values})["y"], values.mean(), rtol=1e-13)

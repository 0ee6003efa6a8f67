"""The order of equations: blocks where there is no recurrence, scans where there is one."""

from __future__ import annotations

import pytest
import sympy as sp

from symbp.errors import DerivativeError, SpecError
from symbp.ir import NonNegative, Program, Role, Size, statement_text
from symbp.ir.functions import sigmoid, tanh
from symbp.ir.order import Scan, order
from tests.derive.equations import Equations


def lines(program: Program) -> list[str]:
    """One line per step, for comparison."""
    found = []
    for step in order(program):
        if isinstance(step, Scan):
            sign = "up" if step.direction > 0 else "down"
            found.append(f"scan {step.index} {step.start}..{step.stop} {sign}")
            for turn in step.turns:
                only = "" if step.runs_always(turn) else f"    [{turn.first}..{turn.stop}]"
                found.append(f"  {statement_text(turn.statement)}{only}")
        else:
            found += [statement_text(s) for s in step.statements]
    return found


def recurrence(eq: Equations) -> Equations:
    """``h[t+1] = tanh(z[t])``, ``z[t] = h[t] U + x[t] W``."""
    t, j, k, m = eq.axis("t", "n_time"), eq.axis("j", 3), eq.axis("k", 4), eq.axis("m", 4)
    x, W, U = eq.given("x", t, j), eq.parameter("W", j, k), eq.parameter("U", m, k)
    h = eq.let("h", (k,), 0, at=(0, k), shape=(Size("n_time") + 1, 4))
    r = eq.let("r", (t, k), h[t, m] * U[m, k], (m,))
    p = eq.let("p", (t, k), x[t, j] * W[j, k], (j,))
    eq.let("h", (t, k), tanh(r[t, k] + p[t, k]), at=(t + 1, k))
    return eq


def test_dependencies_come_first_and_program_order_is_kept_otherwise() -> None:
    eq = Equations()
    i = eq.axis("i", "n")
    x = eq.given("x", i)
    later = eq.given("c", i, role=Role.ACTIVATION)
    eq.let("a", (i,), later[i] + 1)
    eq.let("b", (i,), x[i] * 2)
    eq.let("c", (i,), x[i] * 3)
    eq.let("d", (i,), x[i] * 4)
    assert lines(eq.program()) == [
        "c[i] = 3*x[i]",
        "a[i] = 1 + c[i]",
        "b[i] = 2*x[i]",
        "d[i] = 4*x[i]",
    ]


def test_a_long_chain_needs_no_deep_stack() -> None:
    eq = Equations()
    i = eq.axis("i", "n")
    handles = [eq.given(f"a{n}", i, role=Role.ACTIVATION) for n in range(1200)]
    for n in range(1199):
        eq.let(f"a{n}", (i,), handles[n + 1][i] + 1)
    eq.let("a1199", (i,), 1)
    assert [step.tensors[0] for step in order(eq.program())] == [f"a{n}" for n in reversed(range(1200))]


def test_accumulation_follows_the_plain_equation_of_a_tensor() -> None:
    eq = Equations()
    i = eq.axis("i", "n")
    x = eq.given("x", i)
    eq.let("a", (i,), x[i], accumulate=True)
    eq.let("a", (i,), 1)
    assert lines(eq.program()) == ["a[i] = 1", "a[i] += x[i]"]


def test_simple_recurrence_leaves_projection_and_initial_value_outside() -> None:
    assert lines(recurrence(Equations()).program()) == [
        "p[t, k] = sum[j] x[t, j]*W[j, k]",
        "h[0, k] = 0",
        "scan t 0..n_time up",
        "  r[t, k] = sum[m] h[t, m]*U[m, k]",
        "  h[t + 1, k] = tanh(r[t, k] + p[t, k])",
    ]


def test_two_states_share_the_step_of_their_gate() -> None:
    eq = Equations()
    b, t, k, m = eq.axis("b", "n_batch"), eq.axis("t", "n_time"), eq.axis("k", 4), eq.axis("m", 4)
    U = eq.parameter("U", m, k)
    shape = (Size("n_batch"), Size("n_time") + 1, 4)
    h = eq.let("h", (b, k), 0, at=(b, 0, k), shape=shape)
    c = eq.let("c", (b, k), 0, at=(b, 0, k), shape=shape)
    f = eq.given("f", b, t, k, role=Role.ACTIVATION)
    eq.let("h", (b, t, k), f[b, t, k] * tanh(c[b, t + 1, k]), at=(b, t + 1, k))
    eq.let("c", (b, t, k), f[b, t, k] * c[b, t, k] + 1, at=(b, t + 1, k))
    eq.let("f", (b, t, k), h[b, t, m] * U[m, k], (m,))
    program = eq.program()
    assert lines(program) == [
        "h[b, 0, k] = 0",
        "c[b, 0, k] = 0",
        "scan t 0..n_time up",
        "  f[b, t, k] = sum[m] h[b, t, m]*U[m, k]",
        "  c[b, t + 1, k] = 1 + f[b, t, k]*c[b, t, k]",
        "  h[b, t + 1, k] = f[b, t, k]*tanh(c[b, t + 1, k])",
    ]
    scan = order(program)[-1]
    assert isinstance(scan, Scan)
    assert sorted(scan.axes) == [("c", 1), ("f", 1), ("h", 1)]


def test_adjoint_of_a_recurrence_runs_backwards_with_shifted_statements_aligned() -> None:
    """The statements of backpropagation through time as the index solver writes them, some with a range from 1."""
    eq = Equations()
    t, u, k = eq.axis("t", "n_time"), eq.axis("u", "n_time"), eq.axis("k", 4)
    eq.extents[u] = Size("n_time") + 1  # u runs over 1 .. n_time
    shape = (Size("n_time") + 1, 4)
    f, g, y = eq.given("f", t, k), eq.given("g", t, k), eq.given("y", u, k)
    h_bar = eq.let("h_bar", (u, k), y[u, k], accumulate=True, shape=shape, starts={u: 1}, role=Role.ADJOINT)
    c_bar = eq.let("c_bar", (u, k), h_bar[u, k] * g[u - 1, k], accumulate=True, shape=shape, starts={u: 1})
    eq.let("c_bar", (t, k), c_bar[t + 1, k] * f[t, k], accumulate=True)
    f_bar = eq.let("f_bar", (t, k), c_bar[t + 1, k] * g[t, k], accumulate=True)
    eq.let("h_bar", (t, k), f_bar[t, k] * g[t, k], accumulate=True)
    W_bar = eq.let("W_bar", (k,), f_bar[t, k], (t,), accumulate=True)
    assert W_bar.name == "W_bar"
    assert lines(eq.program()) == [
        "h_bar[u, k] += y[u, k]",
        "scan t 0..n_time down",
        "  c_bar[t + 1, k] += h_bar[t + 1, k]*g[t, k]",
        "  c_bar[t, k] += c_bar[t + 1, k]*f[t, k]",
        "  f_bar[t, k] += c_bar[t + 1, k]*g[t, k]",
        "  h_bar[t, k] += g[t, k]*f_bar[t, k]",
        "W_bar[k] += sum[t] f_bar[t, k]",
    ]


def test_two_directions_give_two_scans() -> None:
    eq = Equations()
    t = eq.axis("t", "n_time")
    x = eq.given("x", t)
    shape = (Size("n_time") + 1,)
    f = eq.let("f", (), 0, at=(0,), shape=shape)
    g = eq.let("g", (), 0, at=(Size("n_time"),), shape=shape)
    eq.let("f", (t,), tanh(f[t] + x[t]), at=(t + 1,))
    eq.let("g", (t,), tanh(g[t + 1] + x[t]), at=(t,))
    eq.let("y", (t,), f[t + 1] * g[t])
    assert lines(eq.program()) == [
        "f[0] = 0",
        "scan t 0..n_time up",
        "  f[t + 1] = tanh(f[t] + x[t])",
        "g[n_time] = 0",
        "scan t 0..n_time down",
        "  g[t] = tanh(x[t] + g[t + 1])",
        "y[t] = f[t + 1]*g[t]",
    ]


def test_memory_over_all_earlier_steps_is_bounded_by_its_guard() -> None:
    eq = Equations()
    t, s = eq.axis("t", "n_time"), eq.axis("s", "n_time")
    a = eq.parameter("a", t)
    h = eq.let("h", (), 1, at=(0,), shape=(Size("n_time") + 1,))
    memory = eq.let("memory", (t,), a[t - s] * h[s], (s,), where=[NonNegative(t - s)])
    eq.let("h", (t,), tanh(memory[t]), at=(t + 1,))
    assert lines(eq.program()) == [
        "h[0] = 1",
        "scan t 0..n_time up",
        "  memory[t] = sum[s] a[t - s]*h[s]    where t >= s",
        "  h[t + 1] = tanh(memory[t])",
    ]


def test_a_self_contained_sum_over_earlier_steps() -> None:
    eq = Equations()
    t, s = eq.axis("t", "n_time"), eq.axis("s", "n_time")
    h = eq.given("h", t, role=Role.ACTIVATION)
    x = eq.given("x", t)
    eq.let("h", (t,), x[t] * h[s], (s,), where=[NonNegative(t - s - 1)])
    assert lines(eq.program())[0] == "scan t 0..n_time up"


def test_reversed_index_is_written_through_the_step() -> None:
    eq = Equations()
    t = eq.axis("t", "n_time")
    n = Size("n_time")
    x = eq.given("x", t)
    h = eq.let("h", (), 0, at=(n,), shape=(n + 1,))
    eq.let("h", (t,), h[n - t] + x[t], at=(n - t - 1,))
    assert lines(eq.program())[1:] == ["scan t 0..n_time down", "  h[t] = h[t + 1] + x[n_time - t - 1]"]


def test_names_of_other_indices_make_way_for_the_step() -> None:
    """z calls its time s and its feature t; the scan's index is t."""
    eq = Equations()
    t, k = eq.axis("t", "n_time"), eq.axis("k", 4)
    s = eq.axis("s", "n_time")
    feature = eq.axis("t", 4)
    eq.extents[feature] = Size("n_time") * 0 + 4
    U = eq.parameter("U", feature, k)
    z = eq.given("z", k, k, role=Role.ACTIVATION)
    eq.tensors["z"] = type(eq.tensors["z"])("z", (Size("n_time") + 0, Size("n_time") * 0 + 4), Role.ACTIVATION)
    h = eq.let("h", (k,), 0, at=(0, k), shape=(Size("n_time") + 1, 4))
    eq.let("z", (s, k), h[s, feature] * U[feature, k], (feature,))
    eq.extents[t] = Size("n_time") + 0
    eq.let("h", (t, k), tanh(z[t, k]), at=(t + 1, k))
    eq.let("h2", (t, k), z[t, k])
    found = lines(eq.program())
    assert "scan s 0..n_time up" in found
    assert "  z[s, k] = sum[t] h[s, t]*U[t, k]" in found
    assert "  h[s + 1, k] = tanh(z[s, k])" in found


def test_a_piece_that_reads_another_piece_of_its_tensor_is_no_recurrence() -> None:
    eq = Equations()
    k = eq.axis("k", 3)
    x = eq.given("x", k)
    both = eq.let("both", (k,), x[k], shape=(6,))
    eq.let("both", (k,), both[k] * 2, at=(k + 3,))
    assert lines(eq.program()) == ["both[k] = x[k]", "both[k + 3] = 2*both[k]"]


def test_constant_first_steps_come_before_the_scan() -> None:
    """y[0] and h[0] are in the circle of tensors, but not in the recurrence."""
    eq = Equations()
    t = eq.axis("t", "n_time")
    y = eq.given("y", t, role=Role.ACTIVATION)
    h = eq.let("h", (), 1, at=(0,), shape=(Size("n_time"),))
    eq.let("h", (t,), y[t - 1], starts={t: 1})
    eq.let("y", (), h[0] * 2, at=(0,))
    eq.let("y", (t,), h[t] * sigmoid(h[t]), starts={t: 1})
    assert lines(eq.program()) == [
        "h[0] = 1",
        "y[0] = 2*h[0]",
        "scan t 0..n_time - 1 up",
        "  h[t + 1] = y[t]",
        "  y[t + 1] = h[t + 1]*sigmoid(h[t + 1])",
    ]


def test_a_late_start_is_a_condition_on_the_step() -> None:
    """A second state that joins in at step 2."""
    eq = Equations()
    t = eq.axis("t", "n_time")
    shape = (Size("n_time") + 1,)
    g = eq.given("g", t, role=Role.ACTIVATION)
    h = eq.let("h", (), 1, at=(0,), shape=shape)
    eq.let("h", (t,), h[t] + g[t], at=(t + 1,))
    eq.let("g", (t,), h[t - 2] + h[t], starts={t: 2})
    found = lines(eq.program())
    assert found == [
        "h[0] = 1",
        "scan t 0..n_time up",
        "  g[t] = h[t] + h[t - 2]    [2..n_time]",
        "  h[t + 1] = h[t] + g[t]",
    ]


def test_order_is_stable_from_run_to_run() -> None:
    program = recurrence(Equations()).program()
    assert order(program) == order(program)


def test_an_element_defined_by_itself_is_refused() -> None:
    eq = Equations()
    t = eq.axis("t", "n_time")
    a = eq.given("a", t, role=Role.ACTIVATION)
    eq.let("a", (t,), tanh(a[t]))
    with pytest.raises(SpecError) as caught:
        order(eq.program())
    assert str(caught.value) == (
        "the equation 'a[t] = tanh(a[t])' defines a[t] by itself; "
        "read an earlier element, such as index - 1, or give the result another name"
    )


def test_two_equations_that_define_each_other_are_refused() -> None:
    eq = Equations()
    t = eq.axis("t", "n_time")
    a, b = eq.given("a", t, role=Role.ACTIVATION), eq.given("b", t, role=Role.ACTIVATION)
    eq.let("a", (t,), tanh(b[t]))
    eq.let("b", (t,), sp.exp(a[t]))
    with pytest.raises(SpecError, match=r"the equation 'a\[t\] = tanh\(b\[t\]\)' defines a\[t\] by itself through b;"):
        order(eq.program())


def test_a_scalar_defined_by_itself_is_refused() -> None:
    eq = Equations()
    a = eq.given("a", role=Role.ACTIVATION)
    eq.let("a", (), tanh(a[()]))
    with pytest.raises(SpecError, match="defines a by itself"):
        order(eq.program())


def test_a_wavefront_is_refused() -> None:
    eq = Equations()
    i, j = eq.axis("i", "n"), eq.axis("j", "m")
    h = eq.given("h", i, j, role=Role.ACTIVATION)
    eq.let("h", (i, j), h[i - 1, j] + h[i, j - 1], starts={i: 1, j: 1})
    with pytest.raises(SpecError) as caught:
        order(eq.program())
    assert str(caught.value) == (
        "the recurrence 'h[i, j] = h[i - 1, j] + h[i, j - 1]' advances along axis 'i' and axis 'j' of 'h' at once; "
        "only one axis can be stepped through; make every element depend on earlier elements along one of them"
    )


def test_reading_past_and_future_is_refused() -> None:
    eq = Equations()
    t = eq.axis("t", "n_time")
    h = eq.given("h", t, role=Role.ACTIVATION)
    eq.extents[t] = Size("n_time") - 1
    eq.let("h", (t,), h[t - 1] + h[t + 1], starts={t: 1})
    with pytest.raises(SpecError, match=r"reads h\[t \+ 1\] and h\[t - 1\], both earlier and later") as caught:
        order(eq.program())
    assert not isinstance(caught.value, DerivativeError)


def test_a_data_dependent_step_is_refused() -> None:
    eq = Equations()
    t = eq.axis("t", "n_time")
    parent = eq.given("parent", t, below=7)
    h = eq.given("h", t, role=Role.ACTIVATION)
    eq.let("h", (t,), h[parent.read(t) + 0] * 2)
    with pytest.raises(SpecError, match=r"reads h\[parent\[t\]\].*a guard such as 't >= s' can say so"):
        order(eq.program())


def test_a_derived_circle_is_a_derivative_error() -> None:
    eq = Equations()
    t = eq.axis("t", "n_time")
    a = eq.given("a_bar", t, role=Role.ADJOINT)
    eq.let("a_bar", (t,), a[t] * 2, accumulate=True)
    with pytest.raises(DerivativeError, match="defines a_bar"):
        order(eq.program())


def test_a_step_of_two_is_refused() -> None:
    eq = Equations()
    t = eq.axis("t", "n_time")
    h = eq.given("h", t, role=Role.ACTIVATION)
    eq.let("h", (t,), h[t * 2 - 2], at=(t * 2,), starts={t: 1})
    with pytest.raises(SpecError, match=r"writes h\[2\*t\], which is not one step per index; write its left side"):
        order(eq.program())


def test_ranges_that_cannot_be_compared_are_refused() -> None:
    eq = Equations()
    t, s = eq.axis("t", "n_time"), eq.axis("s", "n_other")
    h = eq.given("h", t, role=Role.ACTIVATION)
    z = eq.given("z", t, role=Role.ACTIVATION)
    eq.let("h", (t,), z[t - 1], starts={t: 1})
    eq.let("z", (s,), h[s] * 2)
    with pytest.raises(SpecError, match=r"ranges that cannot be compared: .*n_other.*; give the axes .* one size"):
        order(eq.program())

"""Raw and simplified derivations give the same numbers, and the simplified ones read as textbooks do."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp

from symbp.check.interpreter import interpret
from symbp.derive.name_calls import name_calls
from symbp.derive.rule import differentiate
from symbp.derive.simplify import simplify, simplify_primal
from symbp.derive.simplify.tidy import tidy
from symbp.derive.stabilise import stabilise
from symbp.ir import Affine, NonNegative, Program, Reduction, Role, Zero, statement_text
from symbp.ir.derivation import Derivation
from symbp.ir.functions import relu, select, sigmoid, tanh
from tests.derive.equations import Equations
from tests.derive.models import MODELS


def derive(program: Program) -> Derivation:
    return differentiate(name_calls(stabilise(program)))


def backward(program: Program) -> list[str]:
    return [statement_text(s) for s in simplify(derive(program)).backward]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("n", [1, 2, 7, 13])
def test_gradients_stay_the_same(name: str, n: int) -> None:
    program, feed = MODELS[name](n)
    raw = derive(program)
    plain = simplify(raw)
    sizes = {s.name: n for s in program.sizes()}
    before = interpret(raw.program, sizes, feed)
    after = interpret(plain.program, sizes, feed)
    assert plain.gradients == raw.gradients
    for tensor in (program.loss, *program.outputs, *(adjoint for _, adjoint in raw.gradients)):
        assert np.all(np.isfinite(before[tensor]))
        np.testing.assert_allclose(after[tensor], before[tensor], rtol=1e-11, atol=1e-13, err_msg=tensor)
    assert len(plain.program.statements) < len(raw.program.statements)


@pytest.mark.parametrize("name", MODELS)
def test_simplify_leaves_the_primal_and_is_done_after_one_go(name: str) -> None:
    raw = derive(MODELS[name](3)[0])
    plain = simplify(raw)
    assert {s.tensor for s in plain.primal.statements} <= {s.tensor for s in raw.primal.statements}
    assert all(s in plain.program.statements for s in plain.primal.statements)
    again = simplify(plain)
    assert [statement_text(s) for s in again.backward] == [statement_text(s) for s in plain.backward]


def test_softmax_cross_entropy() -> None:
    assert backward(MODELS["softmax_cross_entropy"](3)[0]) == [
        "z_bar[b, k] = (p[b, k] - select(k == label[b], 1, 0))/n_batch",
        "c_bar[k] = sum[b] z_bar[b, k]",
        "W_bar[j, k] = sum[b] x[b, j]*z_bar[b, k]",
    ]


def test_logistic_regression() -> None:
    assert backward(MODELS["logistic_regression"](3)[0]) == [
        "z_bar[b] = (p[b] - y[b])/n_batch",
        "w_bar[j] = sum[b] x[b, j]*z_bar[b]",
    ]


def test_squared_error() -> None:
    assert backward(MODELS["linear_regression"](3)[0]) == [
        "z_bar[b, k] = 2*(z[b, k] - y[b, k])/(3*n_batch)",
        "c_bar[k] = sum[b] z_bar[b, k]",
        "W_bar[j, k] = sum[b] x[b, j]*z_bar[b, k]",
    ]


def test_attention() -> None:
    text = backward(MODELS["attention"](3)[0])
    assert "D_p[i] = sum[j] p_bar[i, j]*p[i, j]    where i >= j" in text
    assert "s_sum_bar[i, j] = p[i, j]*sqrt(3)*(p_bar[i, j] - D_p[i])/3    where i >= j" in text
    assert len(text) == 10


def test_layer_norm_in_one_pass() -> None:
    assert backward(MODELS["layer_norm"](3)[0]) == [
        "normal_bar[b, k] = g[k]*w[b, k]",
        "g_bar[k] = sum[b] normal[b, k]*w[b, k]",
        "c_bar[k] = sum[b] w[b, k]",
        "D_normal[b] = sum[k] normal[b, k]*normal_bar[b, k]",
        "x_bar[b, k] = scale[b]*(normal_bar[b, k] - normal_bar_sum[b]/7 - D_normal[b]*normal[b, k]/7)",
        "normal_bar_sum[b] = sum[k] normal_bar[b, k]",
    ]


def test_hidden_layers_show_their_deltas() -> None:
    text = backward(MODELS["perceptron"](3)[0])
    assert "error_bar[b] = error[b]/n_batch" in text
    assert "a1_pre_bar[b, k] = a1_bar[b, k]*(1 - a1[b, k]**2)" in text
    assert "W1_bar[j, k] = sum[b] x[b, j]*a1_pre_bar[b, k]" in text


def test_lstm_deltas() -> None:
    text = backward(MODELS["lstm"](3)[0])
    for gate in (
        "o_pre_bar[b, t, k] = o[b, t, k]*tanh_c[b, t, k]*h_bar[b, t + 1, k]*(1 - o[b, t, k])",
        "g_pre_bar[b, t, k] = i[b, t, k]*c_bar[b, t + 1, k]*(1 - g[b, t, k]**2)",
        "f_pre_bar[b, t, k] = f[b, t, k]*c[b, t, k]*c_bar[b, t + 1, k]*(1 - f[b, t, k])",
        "i_pre_bar[b, t, k] = i[b, t, k]*g[b, t, k]*c_bar[b, t + 1, k]*(1 - i[b, t, k])",
        "c_bar[b, t, k] += f[b, t, k]*c_bar[b, t + 1, k]",
    ):
        assert gate in text


def test_gradients_that_are_copies_stay() -> None:
    eq = Equations()
    k = eq.axis("k", 3)
    w, c = eq.parameter("w", k), eq.parameter("c", k)
    y = eq.let("y", (k,), w[k] + c[k])
    eq.let("loss", (), y[k] ** 2, over=(k,))
    plain = simplify(derive(eq.program("loss")))
    assert sorted(statement_text(s) for s in plain.backward) == [
        "c_bar[k] = 2*y[k]",
        "w_bar[k] = 2*y[k]",
    ]


def test_copies_of_the_primal_go_unless_they_are_outputs() -> None:
    eq = Equations()
    b, k = eq.axis("b", "n_batch"), eq.axis("k", 3)
    x, w = eq.given("x", b, k), eq.parameter("w", k)
    first = eq.let("first", (b, k), x[b, k])
    shown = eq.let("shown", (b, k), first[b, k])
    y = eq.let("y", (b,), first[b, k] * w[k], over=(k,))
    eq.let("unused", (b,), y[b] * 2)
    eq.let("loss", (), y[b] * shown[b, 0], over=(b,))
    program = eq.program("loss", ("shown",))
    assert [statement_text(s) for s in simplify_primal(program).statements] == [
        "shown[b, k] = x[b, k]",
        "y[b] = sum[k] x[b, k]*w[k]",
        "loss = sum[b] y[b]*shown[b, 0]",
    ]
    assert simplify(derive(program)).primal == simplify_primal(program)


def test_gather_is_not_a_copy() -> None:
    program, _ = MODELS["embedding"](3)
    assert "e[b, t, k] = E[token[b, t], k]" in [statement_text(s) for s in simplify_primal(program).statements]


def test_stored_product_is_not_divided_by_what_may_be_zero() -> None:
    """``-v**2*r`` is ``y/r`` with ``y = -v**2*r**2``, but only where r is not 0."""
    eq = Equations()
    k = eq.axis("k", 3)
    v, s = eq.parameter("v", k), eq.parameter("s")
    r = eq.let("r", (), relu(s[()]))
    y = eq.let("y", (k,), -(v[k] ** 2) * r[()] ** 2)
    eq.let("loss", (), sp.exp(y[k]), over=(k,))
    program = eq.program("loss")
    for value in (-0.5, 0.5):
        assert_same_gradients(program, {"v": np.array([0.5, -1.0, 2.0]), "s": np.array(value)})


def test_tensor_that_is_written_in_part_is_not_written_into_its_reader() -> None:
    """x_bar[0] must stay 0: the copy covers only the rest."""
    eq = Equations()
    t = eq.axis("t", 5)
    x, y = eq.parameter("x", t), eq.given("y", t)
    d = eq.let("d", (t,), x[t] * 2, starts={t: 1})
    e = eq.let("e", (t,), tanh(d[t]))
    eq.let("loss", (), (e[t] - y[t] + d[t]) ** 2, over=(t,))
    program = eq.program("loss")
    rng = np.random.default_rng(0)
    feed = {"x": rng.normal(size=5), "y": rng.normal(size=5)}
    raw = derive(program)
    np.testing.assert_allclose(
        interpret(simplify(raw).program, {}, feed)["x_bar"], interpret(raw.program, {}, feed)["x_bar"], rtol=1e-13
    )


def test_guarded_adjoint_is_not_written_where_its_guard_may_fail() -> None:
    """y_bar is 0 below the diagonal; 1 + y_bar is not, so it must not take the guard on."""
    eq = Equations()
    i, j = eq.axis("i", 4), eq.axis("j", 4)
    x, w = eq.parameter("x", i, j), eq.given("w", i, j)
    y = eq.let("y", (i, j), x[i, j] * w[i, j])
    eq.let("a", (i, j), y[i, j] ** 2, where=(NonNegative(i - j),))
    a = eq.symbol(eq.statements[-1].target)
    eq.let("loss", (), a + 3 * x[i, j], over=(i, j))
    program = eq.program("loss")
    rng = np.random.default_rng(0)
    feed = {"x": rng.normal(size=(4, 4)), "w": rng.normal(size=(4, 4))}
    raw = derive(program)
    np.testing.assert_allclose(
        interpret(simplify(raw).program, {}, feed)["x_bar"], interpret(raw.program, {}, feed)["x_bar"], rtol=1e-13
    )


def assert_same_gradients(program: Program, feed: dict[str, np.ndarray], sizes: dict[str, int] | None = None) -> None:
    raw = derive(program)
    before = interpret(raw.program, sizes or {}, feed)
    after = interpret(simplify(raw).program, sizes or {}, feed)
    for _, adjoint in raw.gradients:
        np.testing.assert_allclose(after[adjoint], before[adjoint], rtol=1e-12, atol=1e-13)


def test_contribution_under_a_guard_is_not_merged_where_it_would_read_outside() -> None:
    """c[j - 3] is inside c only where j == i + 3."""
    eq = Equations()
    i, j = eq.axis("i", 5), eq.axis("j", 5)
    x, c, w = eq.parameter("x", i, j), eq.given("c", i), eq.given("w", i, j)
    diagonal = eq.let("diagonal", (), x[i, j] * c[j - 3], over=(i, j), where=(Zero(j - i - 3),))
    y = eq.let("y", (i, j), x[i, j] * w[i, j])
    eq.let("loss", (), y[i, j] ** 2 + diagonal[()], over=(i, j))
    program = eq.program("loss")
    assert len([s for s in simplify(derive(program)).backward if s.tensor == "x_bar"]) == 2
    rng = np.random.default_rng(0)
    assert_same_gradients(
        program, {"x": rng.normal(size=(5, 5)), "c": rng.normal(size=5), "w": rng.normal(size=(5, 5))}
    )


def test_weighted_cross_entropy_is_one_equation_too() -> None:
    eq = Equations()
    b, k = eq.axis("b", "n_batch"), eq.axis("k", 4)
    z, label, w = eq.parameter("z", b, k), eq.given("label", b, below=4), eq.given("w", k)
    picked = Affine.of(label.read(b))
    s = eq.let("s", (b,), sp.exp(z[b, k]), over=(k,))
    p = eq.let("p", (b, k), sp.exp(z[b, k]) / s[b])
    eq.let("loss", (), -w[picked] * sp.log(p[b, picked]), over=(b,))
    program = eq.program("loss", ("p",))
    assert len(simplify(derive(program)).backward) == 1
    rng = np.random.default_rng(0)
    feed = {"z": rng.normal(size=(3, 4)), "label": np.array([3, 0, 3]), "w": rng.uniform(size=4)}
    assert_same_gradients(program, feed, {"n_batch": 3})


def test_stored_value_is_read_only_where_it_was_stored() -> None:
    """p is e/s on the diagonal alone: elsewhere the quotient must be taken."""
    eq = Equations()
    i, j = eq.axis("i", 4), eq.axis("j", 4)
    e, s = eq.parameter("e", i, j), eq.given("s", i)
    p = eq.let("p", (i, j), e[i, j] / s[i], where=(Zero(i - j),))
    y = eq.let("y", (i, j), e[i, j] ** 2 / (2 * s[i]))
    eq.let("loss", (), y[i, j] + p[i, j], over=(i, j))
    program = eq.program("loss")
    rng = np.random.default_rng(0)
    feed = {"e": rng.normal(size=(4, 4)), "s": 2 + rng.uniform(size=4)}
    raw = derive(program)
    np.testing.assert_allclose(
        interpret(simplify(raw).program, {}, feed)["e_bar"], interpret(raw.program, {}, feed)["e_bar"], rtol=1e-13
    )


def test_sum_that_only_looks_like_a_mean_is_not_dropped() -> None:
    """x - mean sums to 0 only with the mean over the same range and with the right factor."""
    for factor in (7, 6):
        eq = Equations()
        b, k = eq.axis("b", "n_batch"), eq.axis("k", 7)
        x, w = eq.parameter("x", b, k), eq.given("w", b)
        mean = eq.let("mean", (b,), x[b, k] / factor, over=(k,))
        xc = eq.let("xc", (b, k), x[b, k] - mean[b])
        square = eq.let("square", (b,), xc[b, k] ** 2, over=(k,))
        eq.let("loss", (), square[b] ** 2 * w[b] + xc[b, 0] ** 3, over=(b,))
        program = eq.program("loss")
        rng = np.random.default_rng(0)
        feed = {"x": rng.normal(size=(3, 7)), "w": rng.normal(size=3)}
        raw = derive(program)
        np.testing.assert_allclose(
            interpret(simplify(raw).program, {"n_batch": 3}, feed)["x_bar"],
            interpret(raw.program, {"n_batch": 3}, feed)["x_bar"],
            rtol=1e-12,
        )


def test_mean_over_a_part_does_not_centre_the_whole() -> None:
    eq = Equations()
    b, k = eq.axis("b", "n_batch"), eq.axis("k", 7)
    x, w = eq.parameter("x", b, k), eq.given("w", b)
    mean = eq.let("mean", (b,), x[b, k] / 7, over=(k,), starts={k: 1})
    xc = eq.let("xc", (b, k), x[b, k] - mean[b])
    square = eq.let("square", (b,), xc[b, k] ** 2, over=(k,))
    eq.let("loss", (), square[b] ** 2 * w[b], over=(b,))
    rng = np.random.default_rng(0)
    feed = {"x": rng.normal(size=(3, 7)), "w": rng.normal(size=3)}
    assert_same_gradients(eq.program("loss"), feed, {"n_batch": 3})


def test_every_model_is_simplified_the_same_way_twice() -> None:
    program, _ = MODELS["attention"](3)
    assert simplify(derive(program)) == simplify(derive(program))


def test_names_of_sums_do_not_collide_with_those_of_the_user() -> None:
    eq = Equations()
    i, j = eq.axis("i", 4), eq.axis("j", 3)
    z, t = eq.parameter("z", i, j), eq.given("D_p", i, j)
    s = eq.let("s", (i,), sp.exp(z[i, j]), over=(j,))
    p = eq.let("p", (i, j), sp.exp(z[i, j]) / s[i])
    eq.let("loss", (), (p[i, j] - t[i, j]) ** 2, over=(i, j))
    text = backward(eq.program("loss", ("p",)))
    assert "z_bar[i, j] = p[i, j]*(p_bar[i, j] - D_p_2[i])" in text


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        ("p*d - p*e", "p*(d - e)"),
        ("2*d - 2*e", "2*(d - e)"),
        ("d*(1 - d)", "d*(1 - d)"),
        ("d*(1 - e) + d*e", "d"),
        ("d/p - e/p", "(d - e)/p"),
    ],
)
def test_tidy(written: str, plain: str) -> None:
    d, e, p = sp.symbols("d e p", real=True)
    forms = {
        "p*d - p*e": p * d - p * e,
        "p*(d - e)": p * (d - e),
        "2*d - 2*e": 2 * d - 2 * e,
        "2*(d - e)": sp.Mul(2, d - e, evaluate=False),
        "d*(1 - d)": d * (1 - d),
        "d*(1 - e) + d*e": d * (1 - e) + d * e,
        "d": d,
        "d/p - e/p": d / p - e / p,
        "(d - e)/p": (d - e) / p,
    }
    assert tidy(forms[written]) == forms[plain]


def test_tidy_keeps_every_power_of_a_base() -> None:
    # d**p and 1/d have one base; neither stands for both.
    d, e, p = sp.symbols("d e p", positive=True)
    form = e * (p * d**p / d + d**3) + e * d ** (p / 2) / d
    values = {d: sp.Rational(3, 2), e: sp.Integer(5), p: sp.Rational(7, 3)}
    assert float(tidy(form).subs(values)) == pytest.approx(float(form.subs(values)), rel=1e-14)


def test_tidy_takes_no_long_numbers_out() -> None:
    # A common denominator would leave whole numbers of 16 digits; of three such factors, more than float32 holds.
    d = sp.Symbol("d", real=True)
    form = (sp.Rational("0.1234567890123456") * d + sp.Rational("0.2345678901234567")) * (1 + d * sp.Rational("0.3"))
    derivative = tidy(sp.diff(form, d))
    assert max(max(abs(n.p) / n.q, n.q / abs(n.p)) for n in derivative.atoms(sp.Rational)) < 100
    assert sp.expand(derivative - sp.diff(form, d)) == 0


def test_tidy_leaves_branches_and_conditions_alone() -> None:
    d, e = sp.symbols("d e", real=True)
    branch = select(sp.Gt(2 * d, 2 * e), d * (e + 1) - d * e, sp.S.Zero)
    assert tidy(3 * branch * e - 3 * branch * d).has(branch)


def test_adjoints_are_set_once_and_scatters_still_add() -> None:
    plain = simplify(derive(MODELS["embedding"](3)[0]))
    adding = [s for s in plain.backward if s.accumulate]
    assert [s.tensor for s in adding] == ["E_bar"]
    assert all(plain.program.tensor(s.tensor).role is Role.ADJOINT for s in plain.backward)


def test_maximum_keeps_its_argmax() -> None:
    plain = simplify(derive(MODELS["convolution"](3)[0]))
    assert [s.tensor for s in plain.backward if s.reduction is Reduction.ARGMAX] == ["y_argmax"]


def test_value_of_a_call_is_read_from_the_forward_pass() -> None:
    eq = Equations()
    b = eq.axis("b", "n_batch")
    z = eq.parameter("z", b)
    s = eq.let("s", (b,), sigmoid(z[b]))
    eq.let("loss", (), sp.log(1 + sp.exp(z[b])) * s[b], over=(b,))
    (text,) = backward(eq.program("loss"))
    assert "sigmoid(" not in text


def test_equal_sums_are_taken_once() -> None:
    eq = Equations()
    b, k, m = eq.axis("b", "n_batch"), eq.axis("k", 3), eq.axis("m", 3)
    z, w = eq.parameter("z", b, k), eq.given("w", k)
    s = eq.let("s", (b,), z[b, k] * w[k], over=(k,))
    r = eq.let("r", (b,), z[b, m] * w[m], over=(m,))
    eq.let("loss", (), s[b] * r[b], over=(b,))
    program = eq.program("loss")
    plain = simplify(derive(program))
    assert [statement_text(q) for q in plain.program.statements] == [
        "s[b] = sum[k] z[b, k]*w[k]",
        "loss = sum[b] s[b]**2",
        "z_bar[b, k] = 2*w[k]*s[b]",
    ]
    feed = {"z": np.arange(6.0).reshape(2, 3), "w": np.ones(3)}
    got = interpret(plain.program, {"n_batch": 2}, feed)["z_bar"]
    np.testing.assert_allclose(got, interpret(derive(program).program, {"n_batch": 2}, feed)["z_bar"])


def test_layer_norm_whose_normalised_value_has_no_name() -> None:
    """The sum of what is centred vanishes, also when it is written out in place."""
    eq = Equations()
    b, k = eq.axis("b", "n_batch"), eq.axis("k", 7)
    x, g, w = eq.parameter("x", b, k), eq.given("g", k), eq.given("w", b, k)
    mean = eq.let("mean", (b,), x[b, k] / 7, over=(k,))
    variance = eq.let("variance", (b,), (x[b, k] - mean[b]) ** 2 / 7, over=(k,))
    scale = eq.let("scale", (b,), (variance[b] + sp.Rational(1, 1000)) ** sp.Rational(-1, 2))
    y = eq.let("y", (b, k), g[k] * (x[b, k] - mean[b]) * scale[b])
    eq.let("loss", (), w[b, k] * y[b, k], over=(b, k))
    program = eq.program("loss")
    plain = simplify(derive(program))
    sums = [statement_text(s) for s in plain.backward if s.reduction is Reduction.SUM]
    assert len(sums) == 2
    rng = np.random.default_rng(0)
    feed = {"x": rng.normal(size=(3, 7)), "g": rng.normal(size=7), "w": rng.normal(size=(3, 7))}
    np.testing.assert_allclose(
        interpret(plain.program, {"n_batch": 3}, feed)["x_bar"],
        interpret(derive(program).program, {"n_batch": 3}, feed)["x_bar"],
        rtol=1e-11,
        atol=1e-13,
    )


def random_program(seed: int) -> tuple[Program, dict[str, np.ndarray]]:
    """Equations of all kinds over two axes of one run-time size: maps, broadcasts, sums, guards, quotients, calls."""
    rng = np.random.default_rng(seed)
    eq = Equations()
    i, j = eq.axis("i", "n"), eq.axis("j", "n")
    n = int(rng.integers(1, 5))
    causal = NonNegative(i - j)
    feed = {"x": rng.normal(size=(n, n)), "y": rng.normal(size=(n, n)), "w": rng.normal(size=n)}
    over_both = [eq.parameter("x", i, j), eq.given("y", i, j)]
    over_one = [eq.parameter("w", i)]

    def element(wide: bool) -> sp.Expr:
        if wide and rng.random() < 0.6:
            handle = over_both[int(rng.integers(len(over_both)))]
            return handle[j, i] if rng.random() < 0.2 else handle[i, j]
        handle = over_one[int(rng.integers(len(over_one)))]
        return handle[j] if wide and rng.random() < 0.4 else handle[i]

    def expression(wide: bool) -> sp.Expr:
        a, b, c = element(wide), element(wide), element(wide)
        choices = (
            a * b + c,
            a - b,
            2 * a * b,
            a,
            a / (2 + b**2),
            tanh(a) * b,
            sp.exp(-(a**2)) * c,
            sigmoid(a + b) - c / 3,
            a * (b - c),
            select(a > b, c, a),
        )
        return choices[int(rng.integers(len(choices)))]

    for number in range(int(rng.integers(4, 10))):
        name = f"t{number}"
        kind = rng.random()
        guards = (causal,) if rng.random() < 0.3 else ()
        if kind < 0.5:
            over_both.append(eq.let(name, (i, j), expression(True), where=guards))
        elif kind < 0.65:
            over_one.append(eq.let(name, (i,), expression(False)))
        else:
            scale = sp.Rational(1, 3) if rng.random() < 0.5 else 1 / eq.value(eq.extents[i])
            over_one.append(eq.let(name, (i,), expression(True) * scale, over=(j,), where=guards))
    wide = over_both[-1][i, j] * over_one[-1][i] + over_both[int(rng.integers(len(over_both)))][i, j] ** 2 / 2
    eq.let("loss", (), wide / eq.value(eq.extents[i]), over=(i, j))
    return eq.program("loss", (over_both[-1].name,)), feed


@pytest.mark.parametrize("seed", range(80))
@pytest.mark.filterwarnings("ignore::symbp.errors.SymbpWarning")
def test_random_programs_keep_their_gradients(seed: int) -> None:
    program, feed = random_program(seed)
    if program.outputs[0] == "y":
        program = Program(program.name, program.tensors, program.statements, (), program.loss)
    raw = derive(program)
    plain = simplify(raw)
    sizes = {"n": len(feed["w"])}
    before, after = interpret(raw.program, sizes, feed), interpret(plain.program, sizes, feed)
    untouched = interpret(differentiate(name_calls(program)).program, sizes, feed)
    for _, adjoint in raw.gradients:
        np.testing.assert_allclose(after[adjoint], before[adjoint], rtol=1e-9, atol=1e-11)
        np.testing.assert_allclose(untouched[adjoint], before[adjoint], rtol=1e-9, atol=1e-11)


def softmax_model(loss: str) -> tuple[Program, dict[str, np.ndarray]]:
    eq = Equations()
    b, k = eq.axis("b", "n_batch"), eq.axis("k", 4)
    z, label = eq.parameter("z", b, k), eq.given("label", b, below=4)
    s = eq.let("s", (b,), sp.exp(z[b, k]), over=(k,))
    p = eq.let("p", (b, k), sp.exp(z[b, k]) / s[b])
    if loss == "entropy":
        eq.let("loss", (), -p[b, k] * sp.log(p[b, k]), over=(b, k))
    else:
        spread = eq.let("spread", (b,), sp.log(p[b, k]), over=(k,))
        picked = sp.log(p[b, Affine.of(label.read(b))])
        eq.let("loss", (), -sp.Rational(9, 10) * picked - spread[b] / 40, over=(b,))
    rng = np.random.default_rng(0)
    return eq.program("loss", ("p",)), {"z": rng.normal(size=(3, 4)), "label": np.array([3, 0, 3])}


def test_probabilities_sum_to_one() -> None:
    program, feed = softmax_model("entropy")
    assert backward(program) == [
        "p_bar[b, k] = s_max[b] + log_s_total[b] - z[b, k]",
        "z_bar[b, k] = p[b, k]*(p_bar[b, k] - D_p[b])",
        "D_p[b] = sum[k] p_bar[b, k]*p[b, k]",
    ]
    assert_same_gradients(program, feed, {"n_batch": 3})


def test_sum_of_constants_is_not_taken() -> None:
    program, feed = softmax_model("label smoothing")
    (text,) = backward(program)
    assert text.startswith("z_bar[b, k] = p[b, k] - ")
    assert "select(k == label[b], 1, 0)" in text
    assert_same_gradients(program, feed, {"n_batch": 3})

"""The one rule, against torch's gradients in float64."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
import sympy as sp

from symbp.check.interpreter import interpret
from symbp.derive import partials
from symbp.derive.name_calls import name_calls
from symbp.derive.rule import differentiate
from symbp.errors import DerivativeError, ShapeError, SymbpWarning
from symbp.ir import (
    Affine,
    Body,
    DType,
    Holds,
    Origin,
    Read,
    Reduction,
    Role,
    Size,
    Tensor,
    statement_text,
)
from symbp.ir.derivation import Derivation
from symbp.ir.functions import floor, relu, select, sigmoid, sqrt, step, stop_gradient, tanh
from tests.derive import torch_models as models
from tests.derive.equations import Equations
from tests.derive.references import TOLERANCE, Case, worst_error

MODELS: dict[str, Callable[[int], Case]] = {
    "mlp": models.mlp,
    "norm_and_power": models.norm_and_power,
    "embedding": models.embedding,
    "rnn": models.rnn,
    "lstm": models.lstm,
    "volterra": models.volterra,
    "linear_scan": models.linear_scan,
    "bidirectional": models.bidirectional,
    "attention": models.attention,
    "branches": models.branches,
}


def texts(derivation: Derivation) -> list[str]:
    return [statement_text(s) for s in derivation.backward]


@pytest.mark.parametrize("size", [1, 7, 13])
@pytest.mark.parametrize("model", MODELS)
def test_gradients_agree_with_torch(model: str, size: int) -> None:
    case = MODELS[model](size)
    assert worst_error(case) <= TOLERANCE


@pytest.mark.parametrize("model", MODELS)
def test_gradients_agree_with_torch_when_calls_are_named(model: str) -> None:
    case = MODELS[model](3)
    derivation = differentiate(name_calls(case.program), case.wrt)
    assert worst_error(case, derivation) <= TOLERANCE


@pytest.mark.parametrize(
    ("stride", "padding", "dilation", "pool", "pool_stride"),
    [(1, 0, 1, 2, 2), (2, 1, 1, 2, 1), (1, 2, 2, 3, 2), (3, 1, 1, 2, 2), (2, 0, 2, 3, 1)],
)
def test_convolution_and_max_pooling(stride: int, padding: int, dilation: int, pool: int, pool_stride: int) -> None:
    assert worst_error(models.convolution(stride, padding, dilation, pool, pool_stride, n=2)) <= TOLERANCE


# --------------------------------------------------------------------------------------------- the equations themselves


def dense() -> Equations:
    eq = Equations()
    b, j, k = eq.axis("b", "B"), eq.axis("j", 3), eq.axis("k", 2)
    x, W = eq.given("x", b, j), eq.parameter("W", j, k)
    z = eq.let("z", (b, k), x[b, j] * W[j, k], (j,))
    a = eq.let("a", (b, k), tanh(z[b, k]))
    eq.let("loss", (), a[b, k] ** 2, (b, k))
    return eq


def test_the_equations_of_a_dense_layer_are_the_textbook_ones() -> None:
    assert texts(differentiate(dense().program("loss"))) == [
        "loss_bar = 1",
        "a_bar[b, k] += 2*a[b, k]*loss_bar",
        "z_bar[b, k] += a_bar[b, k]*(1 - a[b, k]**2)",
        "W_bar[j, k] += sum[b] x[b, j]*z_bar[b, k]",
    ]


def test_the_default_is_every_parameter_and_inputs_can_be_asked_for() -> None:
    program = dense().program("loss")
    assert differentiate(program).gradients == (("W", "W_bar"),)
    derivation = differentiate(program, ["x", "W"])
    assert derivation.gradients == (("x", "x_bar"), ("W", "W_bar"))
    assert "x_bar[b, j] += sum[k] W[j, k]*z_bar[b, k]" in texts(derivation)


def test_adjoints_are_declared_like_their_primals_and_say_where_they_come_from() -> None:
    eq = dense()
    eq.statements[0] = replace(eq.statements[0], origin=Origin("z[b,k] = ..", "hidden", "spec.toml:3"))
    derivation = differentiate(eq.program("loss"))
    tensor = derivation.program.tensor("W_bar")
    assert (tensor.role, tensor.primal, tensor.axes, tensor.shape) == (
        Role.ADJOINT,
        "W",
        ("j", "k"),
        derivation.primal.tensor("W").shape,
    )
    (statement,) = derivation.program.definitions("W_bar")
    assert statement.origin == Origin("z[b,k] = ..", "hidden", "spec.toml:3", "gradient of W")
    assert derivation.primal == eq.program("loss")


def test_an_adjoint_never_takes_a_name_that_exists() -> None:
    eq = dense()
    eq.tensors["W_bar"] = Tensor("W_bar", (), Role.INPUT)
    derivation = differentiate(eq.program("loss"))
    assert derivation.gradient_of("W") == "W_bar_2"


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (sp.exp, "x_bar[i] += y[i]*y_bar[i]"),
        (tanh, "x_bar[i] += y_bar[i]*(1 - y[i]**2)"),
        (sigmoid, "x_bar[i] += y[i]*y_bar[i]*(1 - y[i])"),
        (relu, "x_bar[i] += y_bar[i]*step(y[i])"),
        (sqrt, "x_bar[i] += y_bar[i]*safe_div(1/2, y[i])"),
        (lambda v: v ** sp.Rational(-1, 2), "x_bar[i] += -y_bar[i]*y[i]**3/2"),
        (lambda v: 1 / v, "x_bar[i] += -y_bar[i]*y[i]**2"),
        (sp.sin, "x_bar[i] += y_bar[i]*cos(x[i])"),
    ],
)
def test_derivatives_read_the_value_that_is_there(function: Callable[[sp.Expr], sp.Expr], expected: str) -> None:
    eq = Equations()
    i = eq.axis("i", 3)
    x = eq.parameter("x", i)
    y = eq.let("y", (i,), function(x[i]))
    eq.let("loss", (), y[i], (i,))
    assert texts(differentiate(eq.program("loss")))[-1] == expected


def test_a_sum_does_not_read_its_own_total_as_the_value_of_a_call() -> None:
    eq = Equations()
    i = eq.axis("i", 3)
    x = eq.parameter("x", i)
    eq.let("loss", (), sp.exp(x[i]), (i,))
    assert texts(differentiate(eq.program("loss")))[-1] == "x_bar[i] += loss_bar*exp(x[i])"


def test_guards_go_along() -> None:
    eq = Equations()
    i = eq.axis("i", "N")
    x, m = eq.parameter("x", i), eq.given("m", i)
    condition = Holds(Body.build(m[i] > 0, {m[i]: eq.operands[m[i]]}))
    eq.let("loss", (), sp.log(x[i]), (i,), where=[condition])
    program = eq.program("loss")
    derivation = differentiate(program)
    assert texts(derivation)[-1] == "x_bar[i] += loss_bar/x[i]    where m[i] > 0"
    found = interpret(derivation.program, {"N": 3}, {"x": np.array([-1.0, 2.0, 0.0]), "m": np.array([-1.0, 1.0, -1.0])})
    assert found["x_bar"].tolist() == [0.0, 0.5, 0.0]


def test_a_maximum_gives_its_adjoint_to_the_first_winner() -> None:
    eq = Equations()
    b, k = eq.axis("b", "B"), eq.axis("k", 3)
    x = eq.parameter("x", b, k)
    m = eq.let("m", (b,), x[b, k], (k,), Reduction.MAX)
    eq.let("loss", (), m[b] ** 2, (b,))
    derivation = differentiate(eq.program("loss"))
    assert texts(derivation) == [
        "m_argmax[b] = argmax[k] x[b, k]",
        "loss_bar = 1",
        "m_bar[b] += 2*m[b]*loss_bar",
        "x_bar[b, k] += m_bar[b]    where k == m_argmax[b]",
    ]
    assert derivation.program.tensor("m_argmax").dtype is DType.INT
    found = interpret(derivation.program, {"B": 1}, {"x": np.array([[2.0, 5.0, 5.0]])})
    assert found["x_bar"].tolist() == [[0.0, 10.0, 0.0]]


def test_a_maximum_that_is_held_constant_needs_no_argmax() -> None:
    derivation = differentiate(models.mlp(2).program)
    assert not any(s.reduction is Reduction.ARGMAX for s in derivation.program.statements)


# -------------------------------------------------------------------------------------------------- errors and warnings


def floor_model(wrap: Callable[[sp.Expr], sp.Expr], named: bool) -> Equations:
    eq = Equations("stairs")
    i = eq.axis("i", 3)
    x = eq.parameter("x", i)
    y = eq.let("y", (i,), floor(x[i]))
    eq.statements[-1] = replace(eq.statements[-1], origin=Origin("y[i] = floor(x[i])", place="spec.toml:7"))
    eq.let("loss", (), (wrap(y[i]) if named else y[i]) * x[i], (i,))
    return eq


def test_a_function_without_derivative_is_refused_by_name_and_place() -> None:
    with pytest.raises(DerivativeError) as caught:
        differentiate(floor_model(stop_gradient, named=False).program("loss"))
    assert str(caught.value) == (
        "spec.toml:7: in 'y[i] = floor(x[i])': floor has no derivative but lies on a path from a weight to the loss; "
        "wrap it in stop_gradient(...) to treat it as a constant"
    )


def test_a_function_without_derivative_is_welcome_behind_stop_gradient() -> None:
    derivation = differentiate(floor_model(stop_gradient, named=True).program("loss"))
    assert texts(derivation)[-1] == "x_bar[i] += loss_bar*stop_gradient(y[i])"


def test_the_position_of_a_maximum_is_refused_as_a_subscript() -> None:
    eq = Equations()
    b, k = eq.axis("b", "B"), eq.axis("k", 3)
    x, v = eq.parameter("x", b, k), eq.parameter("v", k)
    eq.tensors["best"] = Tensor("best", (Affine.of(Size("B")),), Role.ACTIVATION, ("b",), DType.INT)
    best = eq.let("best", (b,), x[b, k], (k,), Reduction.ARGMAX)
    eq.let("loss", (), v[best.read(b)] ** 2, (b,))
    with pytest.raises(DerivativeError, match="argmax has no derivative, but 'best' lies on a path"):
        differentiate(eq.program("loss"), ["x", "v"])
    assert texts(differentiate(eq.program("loss"), ["v"]))[-1] == "v_bar[best[b]] += 2*v[best[b]]*loss_bar"


def test_an_unknown_function_is_refused() -> None:
    eq = Equations()
    x = eq.parameter("x")
    eq.let("loss", (), sp.Function("mystery")(x[()]))
    with pytest.raises(DerivativeError, match="no derivative is known for mystery"):
        differentiate(eq.program("loss"))


def test_a_loss_with_axes_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"the loss 'a' must be a scalar but has 2 axes \(b, k\); reduce it with mean"):
        differentiate(dense().program("loss"), loss="a")
    with pytest.raises(DerivativeError, match="has no loss to differentiate"):
        differentiate(dense().program())


def test_an_unknown_or_integer_tensor_is_refused() -> None:
    with pytest.raises(DerivativeError, match="there is no tensor 'w' to differentiate with respect to"):
        differentiate(dense().program("loss"), ["w"])
    with pytest.raises(DerivativeError, match="tensor 'label' holds integers"):
        differentiate(models.mlp(2).program, ["label"])


def test_a_parameter_that_the_loss_does_not_depend_on_gets_zero_and_a_warning() -> None:
    eq = dense()
    V = eq.parameter("V", *list(eq.extents)[:2])
    eq.let("unused", (), V[0, 0])
    with pytest.warns(SymbpWarning, match="the loss 'loss' does not depend on 'V', so its gradient is 0"):
        derivation = differentiate(eq.program("loss"))
    assert derivation.gradients == (("W", "W_bar"), ("V", "V_bar"))
    assert texts(derivation)[-1] == "V_bar[b, j] = 0"


# --------------------------------------------------------------------------------------------------- the tests can fail


@pytest.fixture
def no_cached_partials() -> Iterator[None]:
    caches = (partials.partial, partials.partial_by_value, partials._times_factor)
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


@pytest.mark.usefixtures("no_cached_partials")
@pytest.mark.parametrize(
    ("function", "broken", "model"),
    [
        (tanh, lambda self, argindex=1: 1 + self**2, models.rnn),
        (sigmoid, lambda self, argindex=1: self, models.lstm),
        (relu, lambda self, argindex=1: -step(self), models.mlp),
        (select, None, models.branches),
    ],
)
def test_a_broken_derivative_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
    function: type[sp.Function],
    broken: Callable[..., sp.Expr] | None,
    model: Callable[[int], Case],
) -> None:
    if broken is None:
        monkeypatch.setattr(function, "_eval_derivative", lambda self, s: self.args[1].diff(s))
    else:
        monkeypatch.setattr(function, "fdiff", broken)
    sp.core.cache.clear_cache()
    try:
        assert worst_error(model(7)) > 1e-3
    finally:
        monkeypatch.undo()
        sp.core.cache.clear_cache()


def test_a_flipped_sign_in_the_rule_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    right = partials.scaled_partial
    calls = 0

    def flipped(statement: object, operand: Read, factor: Read | None) -> Body | None:
        nonlocal calls
        body = right(statement, operand, factor)  # type: ignore[arg-type]
        calls += factor is not None
        return Body.of(-1) * body if body is not None and calls == 1 else body

    monkeypatch.setattr("symbp.derive.rule.scaled_partial", flipped)
    assert worst_error(models.mlp(3)) > 1e-3


def test_derivation_is_the_same_every_time() -> None:
    case = models.attention(2)
    assert differentiate(case.program).program == differentiate(models.attention(2).program).program


def test_warnings_are_not_given_for_models_that_use_every_parameter() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", SymbpWarning)
        differentiate(models.lstm(2).program)

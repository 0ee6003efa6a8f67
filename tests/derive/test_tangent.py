"""Forward mode against torch, and derivatives inside a model."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import sympy as sp
import torch

from symbp.check.interpreter import interpret
from symbp.derive.requests import expand_derivatives
from symbp.derive.rule import differentiate
from symbp.derive.tangent import Delta, Direction, tangent
from symbp.errors import DerivativeError, SpecError, SymbpWarning
from symbp.ir import (
    Affine,
    DerivativeRequest,
    Origin,
    Program,
    Range,
    Read,
    Reduction,
    Role,
    Size,
    Tensor,
    statement_text,
)
from symbp.ir.functions import tanh
from tests.derive import torch_models as models
from tests.derive.equations import Equations
from tests.derive.references import TOLERANCE, Case, error, random_feed, reference_gradients, worst_error

ZERO = Affine.of(0)


@pytest.mark.parametrize("size", [1, 7])
@pytest.mark.parametrize(
    "model",
    [models.mlp, models.norm_and_power, models.embedding, models.lstm, models.volterra, models.attention,
     lambda n: models.convolution(2, 1, 1, 2, 1, n)],
)  # fmt: skip
def test_directional_derivative_is_the_gradient_times_the_direction(model: Callable[[int], Case], size: int) -> None:
    case = model(size)
    program = case.program
    directions = [Tensor(f"{n}_along", program.tensor(n).shape, Role.INPUT, program.tensor(n).axes) for n in case.wrt]
    program = program.add(directions)
    result = tangent(program, {n: Direction(f"{n}_along") for n in case.wrt}, of=("loss",))
    feed = {**random_feed(program, case.sizes, seed=3), **case.feed}
    found = interpret(result, case.sizes, feed)["loss_dot"]
    _, gradients = reference_gradients(case)
    expected = sum(float(np.sum(gradients[n] * feed[f"{n}_along"])) for n in case.wrt)
    assert error(found, np.asarray(expected)) <= TOLERANCE


def test_the_equations_of_a_tangent() -> None:
    eq = Equations()
    b, j = eq.axis("b", "B"), eq.axis("j", 3)
    x, w = eq.given("x", b, j), eq.given("w", j)
    z = eq.let("z", (b,), x[b, j] * w[j], (j,))
    a = eq.let("a", (b,), tanh(z[b]))
    top = eq.let("top", (), a[b], (b,), Reduction.MAX)
    eq.let("loss", (), top[()] ** 2)
    program = tangent(eq.program("loss"), {"x": Delta((None, ZERO))})
    assert [statement_text(s) for s in program.statements[4:]] == [
        "top_argmax = argmax[b] a[b]",
        "z_dot[b] = w[0]",
        "a_dot[b] = z_dot[b]*(1 - a[b]**2)",
        "top_dot = sum[b] a_dot[b]    where b == top_argmax",
        "loss_dot = 2*top*top_dot",
    ]
    assert program.tensor("z_dot").role is Role.TANGENT
    assert program.tensor("z_dot").primal == "z"


def test_a_tensor_that_does_not_depend_on_the_seeds_has_tangent_zero() -> None:
    eq = Equations()
    x, y = eq.given("x"), eq.given("y")
    eq.let("z", (), y[()] ** 2)
    program = tangent(eq.program(), {"x": Delta(())}, of=("z",))
    assert statement_text(program.statements[-1]) == "z_dot = 0"
    assert x.name == "x"


# ---------------------------------------------------------------------------------------- derivatives inside a model


class Burgers:
    """``u = tanh(tanh(x W0 + t W1 + c) V) . w``, of points n, as equations."""

    def __init__(self, joint: bool) -> None:
        self.eq = eq = Equations("burgers")
        self.n, self.h, self.g, self.i = eq.axis("n", "N"), eq.axis("h", 4), eq.axis("g", 3), eq.axis("i", 2)
        n, h, g, i = self.n, self.h, self.g, self.i
        W, c, V, w = eq.parameter("W", i, h), eq.parameter("c", h), eq.parameter("V", h, g), eq.parameter("w", g)
        if joint:
            x = eq.given("x", n, i)
            first = eq.let("first", (n, h), x[n, i] * W[i, h], (i,))[n, h]
        else:
            first = eq.given("x", n)[n] * W[0, h] + eq.given("t", n)[n] * W[1, h]
        a1 = eq.let("a1", (n, h), tanh(first + c[h]))
        s2 = eq.let("s2", (n, g), a1[n, h] * V[h, g], (h,))
        a2 = eq.let("a2", (n, g), tanh(s2[n, g]))
        eq.let("u", (n,), a2[n, g] * w[g], (g,))
        self.requests: list[DerivativeRequest] = []

    def derivative(self, output: str, of: str, wrt: str, *component: int, place: str = "") -> sp.Symbol:
        at = Affine.of(self.n)
        self.eq.tensors[output] = Tensor(output, (Affine.of(Size("N")),), Role.ACTIVATION, ("n",))
        read = Read(wrt, (at, *map(Affine.of, component)))
        ranges = (Range(self.n, ZERO, Affine.of(Size("N"))),)
        self.requests.append(DerivativeRequest(output, Read(of, (at,)), read, ranges, Origin(place=place)))
        return self.eq.symbol(Read(output, (at,)))

    def program(self, loss: str = "loss") -> Program:
        program = self.eq.program(loss)
        return Program(program.name, program.tensors, program.statements, loss=loss, derivatives=tuple(self.requests))


def residual(u: torch.Tensor, ux: torch.Tensor, ut: torch.Tensor, uxx: torch.Tensor) -> torch.Tensor:
    return ((ut + u * ux - uxx / 100) ** 2).sum()


def burgers_reference(joint: bool) -> Callable[[dict[str, torch.Tensor]], torch.Tensor]:
    def reference(d: dict[str, torch.Tensor]) -> torch.Tensor:
        x, t = (d["x"][:, 0], d["x"][:, 1]) if joint else (d["x"], d["t"])
        x, t = x.clone().requires_grad_(), t.clone().requires_grad_()
        first = x[:, None] * d["W"][0] + t[:, None] * d["W"][1]
        u = torch.tanh(torch.tanh(first + d["c"]) @ d["V"]) @ d["w"]
        ux, ut = torch.autograd.grad(u.sum(), (x, t), create_graph=True)
        (uxx,) = torch.autograd.grad(ux.sum(), x, create_graph=True)
        return residual(u, ux, ut, uxx)

    return reference


@pytest.mark.parametrize("size", [1, 7])
@pytest.mark.parametrize("joint", [False, True])
def test_residual_of_burgers_equation(joint: bool, size: int) -> None:
    model = Burgers(joint)
    eq, n = model.eq, model.n
    ux = model.derivative("u_x", "u", "x", *([0] if joint else []))
    uxx = model.derivative("u_xx", "u_x", "x", *([0] if joint else []))
    ut = model.derivative("u_t", "u", "x" if joint else "t", *([1] if joint else []))
    u = eq.symbol(Read("u", (Affine.of(n),)))
    eq.let("loss", (), (ut + u * ux - uxx / 100) ** 2, (n,))
    program = expand_derivatives(model.program())
    assert program.derivatives == ()
    wrt = ("W", "c", "V", "w")
    sizes = {"N": size}
    case = Case(program, sizes, random_feed(program, sizes), burgers_reference(joint), wrt)
    assert worst_error(case, differentiate(program, wrt)) <= TOLERANCE


def test_the_equations_of_derivatives_inside_a_model_reuse_values_and_tangents() -> None:
    model = Burgers(joint=False)
    model.derivative("u_xx", "u_x", "x")
    model.derivative("u_x", "u", "x")
    n = model.n
    model.eq.let("loss", (), model.eq.symbol(Read("u_xx", (Affine.of(n),))) ** 2, (n,))
    program = expand_derivatives(model.program())
    texts = [statement_text(s) for s in program.statements]
    assert texts[texts.index("loss = sum[n] u_xx[n]**2") + 1 :] == [
        "a1_pre_x[n, h] = W[0, h]",
        "a1_x[n, h] = a1_pre_x[n, h]*(1 - a1[n, h]**2)",
        "s2_x[n, g] = sum[h] V[h, g]*a1_x[n, h]",
        "a2_x[n, g] = s2_x[n, g]*(1 - a2[n, g]**2)",
        "u_x[n] = sum[g] w[g]*a2_x[n, g]",
        "a1_xx[n, h] = -2*a1[n, h]*a1_pre_x[n, h]*a1_x[n, h]",
        "s2_xx[n, g] = sum[h] V[h, g]*a1_xx[n, h]",
        "a2_xx[n, g] = s2_xx[n, g]*(1 - a2[n, g]**2) - 2*a2[n, g]*s2_x[n, g]*a2_x[n, g]",
        "u_xx[n] = sum[g] w[g]*a2_xx[n, g]",
    ]


def test_the_derivative_for_each_component() -> None:
    model = Burgers(joint=True)
    eq, n, i = model.eq, model.n, model.i
    eq.tensors["du"] = Tensor("du", (Affine.of(Size("N")), Affine.of(2)), Role.ACTIVATION, ("n", "i"))
    at = (Affine.of(n), Affine.of(i))
    ranges = (Range(n, ZERO, Affine.of(Size("N"))), Range(i, ZERO, Affine.of(2)))
    model.requests.append(DerivativeRequest("du", Read("u", at[:1]), Read("x", at), ranges))
    eq.let("loss", (), eq.symbol(Read("du", at)) ** 3, (n, i))
    program = expand_derivatives(model.program())

    def reference(d: dict[str, torch.Tensor]) -> torch.Tensor:
        x = d["x"].clone().requires_grad_()
        u = torch.tanh(torch.tanh(x @ d["W"] + d["c"]) @ d["V"]) @ d["w"]
        return (torch.autograd.grad(u.sum(), x, create_graph=True)[0] ** 3).sum()

    case = Case(program, {"N": 7}, random_feed(program, {"N": 7}), reference, ("W", "V"))
    assert worst_error(case) <= TOLERANCE


def test_a_component_of_the_output_is_copied_out_of_the_tangent() -> None:
    eq = Equations()
    n, k = eq.axis("n", "N"), eq.axis("k", 2)
    x, w = eq.given("x", n), eq.parameter("w", k)
    y = eq.let("y", (n, k), sp.sin(x[n] * w[k]))
    eq.tensors["y0_x"] = Tensor("y0_x", (Affine.of(Size("N")),), Role.ACTIVATION, ("n",))
    eq.let("loss", (), eq.symbol(Read("y0_x", (Affine.of(n),))) ** 2 + y[n, 1], (n,))
    whole = Range(n, ZERO, Affine.of(Size("N")))
    request = DerivativeRequest("y0_x", y.read(n, 0), x.read(n), (whole,))
    built = eq.program("loss")
    program = expand_derivatives(Program("p", built.tensors, built.statements, loss="loss", derivatives=(request,)))

    def reference(d: dict[str, torch.Tensor]) -> torch.Tensor:
        w = d["w"]
        return ((w[0] * torch.cos(d["x"] * w[0])) ** 2 + torch.sin(d["x"] * w[1])).sum()

    case = Case(program, {"N": 7}, random_feed(program, {"N": 7}), reference, ("w",))
    assert worst_error(case) <= TOLERANCE
    assert statement_text(program.statements[-1]) == "y0_x[n] = y_x[n, 0]"


def test_points_that_are_mixed_on_the_way_are_refused() -> None:
    model = Burgers(joint=False)
    eq, n = model.eq, model.n
    u = Read("u", (Affine.of(n),))
    mean = eq.let("mean", (), eq.symbol(u) / eq.value(Size("N")), (n,))
    eq.let("centred", (n,), eq.symbol(u) - mean[()])
    v = model.derivative("v", "centred", "x", place="spec.toml:9")
    eq.let("loss", (), v**2, (n,))
    with pytest.raises(SpecError) as caught:
        expand_derivatives(model.program())
    assert str(caught.value) == (
        "spec.toml:9: the derivative of centred[n] with respect to x[n] does not exist point by point: 'centred' at "
        "one n depends on 'mean' at others (in 'centred[n] = u[n] - mean'); keep 'n' out of reductions, shifts and "
        "normalisations on this path"
    )


def test_a_shifted_point_is_refused() -> None:
    eq = Equations()
    n = eq.axis("n", "N")
    x = eq.given("x", n)
    eq.tensors["d"] = Tensor("d", (Affine.of(Size("N")),), Role.ACTIVATION, ("n",))
    y = eq.let("y", (n,), x[Size("N") - 1 - n] ** 2)
    built = eq.program()
    whole = Range(n, ZERO, Affine.of(Size("N")))
    request = DerivativeRequest("d", y.read(n), x.read(n), (whole,))
    with pytest.raises(SpecError, match="'y' at one n depends on 'x' at others"):
        expand_derivatives(Program("p", built.tensors, built.statements, derivatives=(request,)))


def test_a_derivative_in_terms_of_itself_is_refused() -> None:
    model = Burgers(joint=False)
    first = model.derivative("u_x", "v", "x")
    model.eq.let("v", (model.n,), first**2)
    with pytest.raises(DerivativeError, match="the derivatives u_x are asked for in terms of each other"):
        expand_derivatives(model.program(loss=""))


def test_a_derivative_that_is_zero_is_given_with_a_warning() -> None:
    model = Burgers(joint=False)
    eq = model.eq
    other = eq.given("other", model.n)
    v = model.derivative("u_y", "u", "other")
    eq.let("loss", (), v + other[model.n], (model.n,))
    with pytest.warns(SymbpWarning, match=r"u\[n\] does not depend on other\[n\], so the derivative 'u_y' is 0"):
        program = expand_derivatives(model.program())
    assert statement_text(program.statements[-1]) == "u_y[n] = 0"


def test_a_program_without_requests_is_left_alone() -> None:
    program = models.rnn(2).program
    assert expand_derivatives(program) is program

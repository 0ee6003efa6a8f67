"""Derivations written by hand, as the derive stage makes them, so that these tests are of the explaining alone."""

from __future__ import annotations

from dataclasses import replace

import sympy as sp

from symbp.ir import Affine, Initializer, NonNegative, Origin, Program, Reduction, Role, Size, Statement, Tensor
from symbp.ir.derivation import Derivation
from symbp.ir.functions import relu, select, step, tanh
from tests.derive.equations import Equations


def derivation(equations: Equations, backward: int, gradients: tuple[str, ...], loss: str = "loss") -> Derivation:
    """The derivation whose last `backward` statements are the adjoint ones."""
    program = equations.program(loss)
    tensors = tuple(_with_primal(t, program) for t in program.tensors)
    program = replace(program, tensors=tensors)
    primal = replace(program, statements=program.statements[: len(program.statements) - backward])
    return Derivation(program, primal, tuple((name, f"{name}_bar") for name in gradients))


def _with_primal(tensor: Tensor, program: Program) -> Tensor:
    stem = tensor.name.removesuffix("_bar")
    if stem == tensor.name:
        return tensor
    return replace(tensor, role=Role.ADJOINT, primal=stem)


def equation(program: Program, tensor: str, text: str, layer: str = "") -> Program:
    """The program with the user's own line (and layer) noted on the statements of a tensor."""

    def noted(statement: Statement) -> Statement:
        if statement.tensor != tensor:
            return statement
        return replace(statement, origin=Origin(equation=text, layer=layer, place="model.py:7"))

    return program.with_statements(map(noted, program.statements))


def noted(subject: Derivation, lines: dict[str, tuple[str, str]]) -> Derivation:
    """The derivation with ``tensor: (equation, layer)`` noted on the primal statements."""
    program, primal = subject.program, subject.primal
    for tensor, (text, layer) in lines.items():
        program, primal = equation(program, tensor, text, layer), equation(primal, tensor, text, layer)
    return Derivation(program, primal, subject.gradients)


def classifier() -> Derivation:
    """Two dense layers, softmax cross-entropy: ``z2_bar = (p - [k = label])/n_batch``."""
    e = Equations("digits")
    b, j, h, k = e.axis("b", "n_batch"), e.axis("j", 64), e.axis("h", 32), e.axis("k", 10)
    n = e.value(Size("n_batch"))
    x, label = e.given("x", b, j), e.given("label", b, below=10)
    w1, c1, w2, c2 = e.parameter("W1", j, h), e.parameter("c1", h), e.parameter("W2", h, k), e.parameter("c2", k)
    e.tensors["W1"] = replace(e.tensors["W1"], initializer=Initializer("glorot_uniform"))
    z1_sum = e.let("z1_sum", (b, h), x[b, j] * w1[j, h], over=(j,))
    z1 = e.let("z1", (b, h), z1_sum[b, h] + c1[h])
    a1 = e.let("a1", (b, h), relu(z1[b, h]))
    z2_sum = e.let("z2_sum", (b, k), a1[b, h] * w2[h, k], over=(h,))
    z2 = e.let("z2", (b, k), z2_sum[b, k] + c2[k])
    top = e.let("z2_max", (b,), z2[b, k], over=(k,), reduction=Reduction.MAX)
    total = e.let("p_sum", (b,), sp.exp(z2[b, k] - top[b]), over=(k,))
    p = e.let("p", (b, k), sp.exp(z2[b, k] - top[b]) / total[b])
    e.let("loss", (), -sp.log(p.equations.symbol(p.read(b, Affine.of(label.read(b))))) / n, over=(b,), role=Role.LOSS)
    hot = select(sp.Eq(e.value(k), e.symbol(label.read(b))), sp.S.One, sp.S.Zero)
    z2_bar = e.let("z2_bar", (b, k), (p[b, k] - hot) / n)
    e.let("c2_bar", (k,), z2_bar[b, k], over=(b,), accumulate=True)
    e.let("W2_bar", (h, k), a1[b, h] * z2_bar[b, k], over=(b,), accumulate=True)
    a1_bar = e.let("a1_bar", (b, h), w2[h, k] * z2_bar[b, k], over=(k,), accumulate=True)
    z1_bar = e.let("z1_bar", (b, h), a1_bar[b, h] * step(a1[b, h]))
    e.let("c1_bar", (h,), z1_bar[b, h], over=(b,), accumulate=True)
    e.let("W1_bar", (j, h), x[b, j] * z1_bar[b, h], over=(b,), accumulate=True)
    lines = {
        "z1_sum": ("z1[b, h] = sum(x[b, j]*W1[j, h], j) + c1[h]", "hidden"),
        "z1": ("z1[b, h] = sum(x[b, j]*W1[j, h], j) + c1[h]", "hidden"),
        "a1": ("a1[b, h] = relu(z1[b, h])", "hidden"),
        "z2_sum": ("z2[b, k] = sum(a1[b, h]*W2[h, k], h) + c2[k]", "out"),
        "z2": ("z2[b, k] = sum(a1[b, h]*W2[h, k], h) + c2[k]", "out"),
        "z2_max": ("p[b, k] = softmax(z2[b, k], k)", ""),
        "p_sum": ("p[b, k] = softmax(z2[b, k], k)", ""),
    }
    return noted(derivation(e, 7, ("W1", "c1", "W2", "c2")), lines)


def recurrent() -> Derivation:
    """``h[b, t + 1, k] = tanh(a[b, t, k])``: shifted subscripts, several contributions, sums over batch and time."""
    e = Equations("rnn")
    b, t, j, k, l = e.axis("b", "n_batch"), e.axis("t", "n_time"), e.axis("j", 7), e.axis("k", 5), e.axis("l", 5)  # noqa: E741
    steps = Affine.of(Size("n_time"))
    x, w, u = e.given("x", b, t, j), e.parameter("W", j, k), e.parameter("U", l, k)
    shape = (Affine.of(Size("n_batch")), steps + 1, 5)
    h = e.let("h", (b, k), 0, at=(b, 0, k), shape=shape)
    from_x = e.let("x_sum", (b, t, k), x[b, t, j] * w[j, k], over=(j,))
    from_h = e.let("h_sum", (b, t, k), h[b, t, l] * u[l, k], over=(l,))
    a = e.let("a", (b, t, k), from_x[b, t, k] + from_h[b, t, k])
    e.let("h", (b, t, k), tanh(a[b, t, k]), at=(b, t + 1, k))
    e.let("loss", (), h[b, steps, k] ** 2, over=(b, k), role=Role.LOSS)
    h_bar = e.let("h_bar", (b, k), 2 * h[b, steps, k], at=(b, steps, k), shape=shape, accumulate=True)
    a_bar = e.let("a_bar", (b, t, k), h_bar[b, t + 1, k] * (1 - h[b, t + 1, k] ** 2))
    e.let("h_bar", (b, t, l), a_bar[b, t, k] * u[l, k], over=(k,), where=(NonNegative(t - 1),), accumulate=True)
    e.let("W_bar", (j, k), x[b, t, j] * a_bar[b, t, k], over=(b, t), accumulate=True)
    e.let("U_bar", (l, k), h[b, t, l] * a_bar[b, t, k], over=(b, t), accumulate=True)
    lines = dict.fromkeys(
        ("x_sum", "h_sum"), ("a[b, t, k] = sum(x[b, t, j]*W[j, k], j) + sum(h[b, t, l]*U[l, k], l)", "")
    )
    return noted(derivation(e, 5, ("W", "U")), lines)

"""Derivations as plain text: what is told, in which order, and how it is written."""

from __future__ import annotations

from dataclasses import replace

import pytest

from symbp.errors import SpecError
from symbp.explain import records, text
from symbp.ir import Role, Size, slot
from symbp.ir.functions import tanh
from tests.derive.equations import Equations
from tests.explain.models import classifier, recurrent

CLASSIFIER = """\
digits
======

  input       x[b, j]    n_batch × 64
  input       label[b]   n_batch        int, below 10
  parameter   W1[j, h]   64 × 32        glorot_uniform
  parameter   c1[h]      32
  parameter   W2[h, k]   32 × 10
  parameter   c2[k]      10

Forward pass
------------

hidden:
  z1[b, h] = sum[j] x[b, j]*W1[j, h] + c1[h]   n_batch × 32   z1 = x W1 + 1 c1ᵀ
  a1[b, h] = relu(z1[b, h])                    n_batch × 32

out:
  z2[b, k] = sum[h] a1[b, h]*W2[h, k] + c2[k]   n_batch × 10   z2 = a1 W2 + 1 c2ᵀ

loss:
  z2_max[b] = max[k] z2[b, k]                                                  n_batch
  p[b, k]   = exp(z2[b, k] - z2_max[b])/(sum[k2] exp(z2[b, k2] - z2_max[b]))   n_batch × 10
  loss      = -sum[b] log(p[b, label[b]])/n_batch                              scalar

Backward pass
-------------

W2, c2 (layer out):
  z2_bar[b, k] = (p[b, k] - [k == label[b]])/n_batch   n_batch × 10
  W2_bar[h, k] = sum[b] a1[b, h]*z2_bar[b, k]          32 × 10        W2_bar = a1ᵀ z2_bar
  c2_bar[k]    = sum[b] z2_bar[b, k]                   10             c2_bar = z2_barᵀ 1

W1, c1 (layer hidden):
  a1_bar[b, h] = sum[k] z2_bar[b, k]*W2[h, k]   n_batch × 32   a1_bar = z2_bar W2ᵀ
  z1_bar[b, h] = a1_bar[b, h]*[a1[b, h] > 0]    n_batch × 32
  W1_bar[j, h] = sum[b] x[b, j]*z1_bar[b, h]    64 × 32        W1_bar = xᵀ z1_bar
  c1_bar[h]    = sum[b] z1_bar[b, h]            32             c1_bar = z1_barᵀ 1

Notation
--------
x_bar is the adjoint of x: the derivative of loss with respect to x.
The delta of textbooks: z1_bar, z2_bar.
[condition] is 1 where the condition holds, else 0.
In matrix form, 1 is a column of ones and ᵀ transposes.
"""


def test_a_classifier_reads_like_a_textbook() -> None:
    assert text(classifier()).splitlines() == CLASSIFIER.splitlines()


def lines_of(report: str) -> list[str]:
    """The report's lines without what the columns' widths are."""
    return [" ".join(line.split()) for line in report.splitlines()]


def test_time_runs_backwards_through_a_recurrence() -> None:
    lines = lines_of(text(recurrent()))
    assert "step by step, t = 0, .., n_time - 1:" in lines
    start = lines.index("W, U; step by step, t = n_time - 1, .., 0:")
    assert lines[start + 1 : start + 4] == [
        "h_bar[b, n_time, k] = 2*h[b, n_time, k] n_batch × (n_time + 1) × 5",
        "a_bar[b, t, k] = h_bar[b, t + 1, k]*(1 - h[b, t + 1, k]**2) n_batch × n_time × 5",
        "h_bar[b, t, l] = sum[k] a_bar[b, t, k]*U[l, k] where t >= 1 n_batch × (n_time + 1) × 5",
    ]
    assert lines[start + 5].endswith("U_bar = sum[t] h[:, t]ᵀ a_bar[:, t]")


def test_wrt_keeps_what_one_gradient_needs() -> None:
    told = [r["tensor"] for r in records(classifier(), wrt=["c2"])]
    assert told == ["z1", "a1", "z2", "z2_max", "p", "loss", "z2_bar", "c2_bar"]


def test_wrt_of_an_unknown_name_is_refused() -> None:
    with pytest.raises(SpecError) as error:
        text(classifier(), wrt=["W3"])
    assert str(error.value) == "'W3' has no gradient in model 'digits'; known: W1, W2, c1, c2"
    with pytest.raises(SpecError, match="did you mean 'W1'"):
        text(classifier(), wrt=["w1"])


def test_what_another_equation_reuses_is_not_written_out() -> None:
    """z1_sum is written out in z1; once a second equation reads it, it keeps its name."""
    assert "z1_sum" not in text(classifier())
    subject = classifier()
    reader = subject.program.definition("a1")
    assert reader is not None
    body = reader.body.replace_reads(lambda read: replace(reader.body, operands=(replace(read, tensor="z1_sum"),)))
    second = replace(reader, tensor="a2", body=body)
    tensor = replace(subject.program.tensor("a1"), name="a2")
    program = subject.program.add([tensor], [second])
    shown = text(replace(subject, program=program, primal=subject.primal.add([tensor], [second])))
    assert "z1_sum[b, h] = sum[j] x[b, j]*W1[j, h]" in shown


def test_several_contributions_to_one_element_are_added() -> None:
    e = Equations()
    b = e.axis("b", "n_batch")
    x = e.given("x", b)
    e.let("y", (b,), 2 * x[b], accumulate=True)
    e.let("y", (b,), 3 * x[b], accumulate=True)
    e.let("z", (b,), 3 * x[b], accumulate=True)
    shown = [" ".join(r["equation"].split()) for r in records(e.program())]
    assert shown == ["y[b] += 2*x[b]", "y[b] += 3*x[b]", "z[b] = 3*x[b]"]


def test_the_forward_pass_tells_only_what_the_model_did_not() -> None:
    subject = classifier()
    chapters = [(r["chapter"], r["tensor"]) for r in records(subject, declared=subject.primal)]
    assert ("forward", "z1") not in chapters
    sharp = {s: replace(s, body=s.body.with_expr(tanh(slot(0)))) for s in subject.primal.definitions("a1")}
    other = subject.primal.with_statements(sharp.get(s, s) for s in subject.primal.statements)
    shown = text(subject, declared=other)
    assert "The model above is computed, but for these equations" in shown
    assert [r["tensor"] for r in records(subject, declared=other) if r["chapter"] == "forward"] == ["a1"]


def test_the_update_closes_the_report() -> None:
    e = Equations("sgd")
    i = e.axis("i", "n_parameters")
    w, g = e.parameter("w", i), e.given("g", i)
    rate = e.given("learning_rate", role=Role.HYPER)
    e.let("w_next", (i,), w[i] - e.symbol(rate.read()) * g[i])
    shown = text(classifier(), e.program())
    assert "One step of sgd, for every weight i at once." in shown
    assert "  w_next[i] = w[i] - learning_rate*g[i]   n_parameters" in shown.splitlines()


def test_a_program_alone_has_equations_and_no_gradients() -> None:
    e = Equations("plain")
    b = e.axis("b", 3)
    x = e.given("x", b)
    e.let("y", (b,), x[b] * e.value(b) + e.value(Size("n")))
    shown = text(e.program())
    assert "Equations\n---------" in shown
    assert "y[b] = n + x[b]*b" in shown
    assert "adjoint" not in shown

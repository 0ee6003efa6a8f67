"""LaTeX: exact rows, names, and text that must not act."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from symbp.explain import latex
from symbp.explain.names import Name, split_name, typeset_names
from symbp.explain.write_latex import escape, name_latex
from symbp.ir import Role
from tests.derive.equations import Equations
from tests.explain.models import classifier, noted, recurrent

BACKWARD = r"""
\paragraph*{Backward pass}
\noindent\textbf{W2, c2 (layer out)}
\begin{align}
  \bar{z}^{(2)}_{bk} &= \frac{p_{bk} - \left[k = \mathrm{label}_{b}\right]}{n_{\mathrm{batch}}} \\
  \bar{W}^{(2)}_{hk} &= \sum_{b} a^{(1)}_{bh}\,\bar{z}^{(2)}_{bk} \\  % \bar{W}^{(2)} = a^{(1)\top}\,\bar{z}^{(2)}
  \bar{c}^{(2)}_{k} &= \sum_{b} \bar{z}^{(2)}_{bk}  % \bar{c}^{(2)} = \bar{z}^{(2)\top}\,\mathbf{1}
\end{align}
\noindent\textbf{W1, c1 (layer hidden)}
\begin{align}
  \bar{a}^{(1)}_{bh} &= \sum_{k} \bar{z}^{(2)}_{bk}\,W^{(2)}_{hk} \\  % \bar{a}^{(1)} = \bar{z}^{(2)}\,W^{(2)\top}
  \bar{z}^{(1)}_{bh} &= \bar{a}^{(1)}_{bh}\,\left[a^{(1)}_{bh} > 0\right] \\
  \bar{W}^{(1)}_{jh} &= \sum_{b} x_{bj}\,\bar{z}^{(1)}_{bh} \\  % \bar{W}^{(1)} = x^{\top}\,\bar{z}^{(1)}
  \bar{c}^{(1)}_{h} &= \sum_{b} \bar{z}^{(1)}_{bh}  % \bar{c}^{(1)} = \bar{z}^{(1)\top}\,\mathbf{1}
\end{align}
"""


def test_the_backward_pass_of_a_classifier() -> None:
    assert BACKWARD in latex(classifier())


def test_a_recurrence() -> None:
    shown = latex(recurrent())
    assert r"h_{b,t + 1,k} &= \tanh\left(a_{btk}\right)" in shown
    assert r"\bar{h}_{btl} &= \sum_{k} \bar{a}_{btk}\,U_{lk} \qquad \text{for } t \ge 1" in shown
    assert r"\textbf{W, U; step by step, $t = n_{\mathrm{time}} - 1, \dots, 0$}" in shown
    assert r"\mathrm{loss} &= \sum_{b, k} h_{b,n_{\mathrm{time}},k}^{2}" in shown


@pytest.mark.parametrize("standalone", [False, True])
@pytest.mark.parametrize("subject", [classifier(), recurrent()], ids=["classifier", "recurrent"])
def test_braces_and_environments_are_balanced(subject: object, standalone: bool) -> None:
    shown = latex(subject, standalone=standalone)  # type: ignore[arg-type]
    bare = re.sub(r"\\[{}]", "", shown)
    assert bare.count("{") == bare.count("}")
    assert bare.count(r"\left") == bare.count(r"\right")
    for name in ("align", "document", "tabular", "center", "cases"):
        assert shown.count(rf"\begin{{{name}}}") == shown.count(rf"\end{{{name}}}")
    assert shown.startswith(r"\documentclass") is standalone


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("x", "x"),
        ("W2", "W^{(2)}"),
        ("dense_W", r"W^{(\mathrm{dense})}"),
        ("dense_2_W", r"W^{(\mathrm{dense}\,2)}"),
        ("u_xx", r"u_{\mathrm{xx}}"),
        ("p_max", r"p^{(\mathrm{max})}"),
        ("learning_rate", r"\mathrm{learning~rate}"),
        ("alpha", r"\alpha"),
        ("alpha_t", r"\alpha_{t}"),
        ("Omega", r"\Omega"),
        ("loss", r"\mathrm{loss}"),
        ("_", r"\mathtt{\_}"),
    ],
)
def test_names(name: str, expected: str) -> None:
    assert name_latex(split_name(name)) == expected


def test_adjoints_and_tangents_wear_their_marks() -> None:
    assert name_latex(Name("W", "1", marks=("bar",)), "jk") == r"\bar{W}^{(1)}_{jk}"
    assert name_latex(Name("loss", marks=("bar",))) == r"\overline{\mathrm{loss}}"
    assert name_latex(Name("u", marks=("dot", "bar"))) == r"\bar{\dot{u}}"


def test_no_two_tensors_look_alike() -> None:
    e = Equations()
    b = e.axis("b", 3)
    same = ("dense_W", "W_dense", "dense_W_", "W__dense")
    for name in same:
        e.given(name, b)
    names = typeset_names([e.program()])
    shown = {name_latex(names.tensor(name)) for name in same}
    assert len(shown) == len(same)
    assert r"\mathtt{W\_dense}" in shown


def test_text_is_escaped() -> None:
    assert escape(r"50% of {x} & \input~^$#_<>") == (
        r"50\% of \{x\} \& \textbackslash{}input\textasciitilde{}\textasciicircum{}\$\#\_\textless{}\textgreater{}"
    )
    hostile = noted(classifier(), {"z1": ("z1[b, h] = x", r"\input{/etc/passwd}")})
    program = replace(hostile.program, name="a\n\\input{b}")
    shown = latex(replace(hostile, program=program))
    assert not re.search(r"(?m)^[^%\n]*\\input", shown)
    assert r"\textbackslash{}input\{/etc/passwd\}" in shown


def test_ranges_and_guards_stand_below_the_sum() -> None:
    e = Equations()
    i, j = e.axis("i", 3), e.axis("j", 5)
    x = e.given("x", j)
    e.let("y", (i,), x[j], over=(j,), starts={j: 1})
    assert r"y_{i} &= \sum_{j=1}^{4} x_{j}" in latex(e.program())


def test_a_long_sum_is_broken_before_a_sign() -> None:
    e = Equations()
    b = e.axis("b", 3)
    xs = [e.given(f"long_name_{k}", b, role=Role.INPUT) for k in range(12)]
    total = sum((x[b] for x in xs[1:]), xs[0][b])
    e.let("y", (b,), total)
    rows = latex(e.program()).split("\n")
    assert any(row.startswith(r"    &\qquad + ") for row in rows)
    assert max(map(len, rows)) < 250


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
@pytest.mark.parametrize("subject", [classifier(), recurrent()], ids=["classifier", "recurrent"])
def test_a_document_compiles(subject: object, tmp_path: Path) -> None:
    (tmp_path / "report.tex").write_text(latex(subject, standalone=True), encoding="utf-8")  # type: ignore[arg-type]
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "-no-shell-escape", "report.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]

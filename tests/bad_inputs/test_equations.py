"""Hostile and mistaken equations: each gets one line that says what, where and what to do, at once and unexecuted."""

from __future__ import annotations

import builtins
import os
import subprocess
import time
import warnings
from pathlib import Path
from types import CodeType
from typing import Any

import pytest
import sympy

from symbp.errors import SpecError, SymbpWarning
from symbp.frontend.expression import Axis, Extent
from symbp.frontend.handle import TensorHandle
from symbp.frontend.reader import Names, Place, read_equation
from symbp.frontend.spec_file import load_spec

PLACE = Place("spec.toml", 14, 9)
LIMIT = 2.0  # seconds
LIBRARIES = (str(Path(sympy.__file__).parent), str(Path(os.__file__).parent))


class NoModel:
    def apply(self, function: Any, tensor: TensorHandle, name: str = "") -> TensorHandle:
        raise AssertionError


b, k = Axis("b", Extent("batch")), Axis("k", Extent("n"))
NAMES = Names(
    {"b": b, "k": k},
    {"batch": Extent("batch")},
    {"x": TensorHandle(NoModel(), "x", (b, k)), "c": TensorHandle(NoModel(), "c", (k,))},
)


@pytest.fixture(autouse=True)
def nothing_is_executed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every way by which text could be run fails the test that takes it.

    SymPy and pytest import some modules when they first need them; importing such a file is allowed.
    """
    importing = builtins.exec

    def trap(*arguments: Any, **options: Any) -> Any:
        code = arguments[0]
        if isinstance(code, CodeType) and code.co_name == "<module>" and code.co_filename.startswith(LIBRARIES):
            return importing(*arguments, **options)
        raise AssertionError(f"executed: {arguments}")

    for module, name in (
        (builtins, "eval"),
        (builtins, "exec"),
        (builtins, "open"),
        (os, "system"),
        (os, "popen"),
        (subprocess, "Popen"),
    ):
        monkeypatch.setattr(module, name, trap)


def refusal(text: str) -> str:
    start = time.perf_counter()
    with pytest.raises(SpecError) as caught:
        read_equation(text, NAMES, PLACE)
    assert time.perf_counter() - start < LIMIT
    message = str(caught.value)
    assert message.startswith("spec.toml:14:")
    assert "\n" not in message
    assert len(message) < 300
    return message.removeprefix("spec.toml:14:")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(
            'z = __import__("os").system("touch owned")',
            "24: text in quotes is not understood; an equation contains names, numbers and operators only",
            id="1 import in quotes",
        ),
        pytest.param(
            "z = __import__(os)",
            "13: unknown function '__import__'; docs/spec-format.md lists the functions",
            id="1 import",
        ),
        pytest.param(
            "z = ().__class__",
            "15: '.' is not understood; write names without a dot; a decimal point stands between digits",
            id="2 attribute",
        ),
        pytest.param(
            "z = x.__class__[b]",
            "14: '.' is not understood; write names without a dot; a decimal point stands between digits",
            id="2 attribute of a name",
        ),
        pytest.param(
            "z = (lambda: 1)()",
            "14: 'lambda' is a Python keyword and not understood here; choose another name",
            id="3 lambda",
        ),
        pytest.param(
            "z = sum(x[i, k] for i in b)",
            "25: 'for' is a Python keyword and not understood here; use sum(..., index)",
            id="4 comprehension",
        ),
        pytest.param(
            "z = (y := 3)", "16: ':=' is not understood; an equation defines: use =", id="5 assignment expression"
        ),
        pytest.param(
            'z = f"{b}"',
            "13: text in quotes is not understood; an equation contains names, numbers and operators only",
            id="6 f-string",
        ),
        pytest.param("z = 9**9**9**9", "16: a constant exponent is at most 100, found 9**9", id="7 tower of powers"),
        pytest.param("z = x[b, k]**1e9", "13: a constant exponent is at most 100, found 1e9", id="7 power"),
        pytest.param("z = 1" + "0" * 39 + "**9", None, id="7 large base"),
        pytest.param(
            "z = factorial(10**8)",
            "13: unknown function 'factorial'; docs/spec-format.md lists the functions",
            id="8 factorial",
        ),
        pytest.param("z = exp(exp(exp(100)))", "17: exp(exp(100)) is too large for a float", id="8 tower of exp"),
        pytest.param("z = log(exp(exp(exp(9))) - 1)", "21: exp(exp(9)) is too large for a float", id="8 log of it"),
        pytest.param(
            "z = " + "(" * 300 + "b" + ")" * 300,
            "63: brackets are nested at most 50 deep; give inner parts equations of their own",
            id="9 nested brackets",
        ),
        pytest.param(
            "z = " + "-" * 200_000 + "b",
            "9: an equation has at most 10,000 characters, found 200,005; split it in several",
            id="10 many signs",
        ),
        pytest.param("z = " + "-" * 2_500 + "b", "21: at most 8 signs stand in a row", id="10 fewer signs"),
        pytest.param(
            "z = " + "~" * 2_500 + "b", "13: '~' is not understood; use the opposite condition", id="10 tildes"
        ),
        pytest.param(
            "z = " + "not " * 2_000 + "b",
            "13: 'not' is a Python keyword and not understood here; use the opposite condition",
            id="10 nots",
        ),
        pytest.param("z = " + "7" * 5_000, "13: a number has at most 40 digits, found 5,000", id="11 long integer"),
        pytest.param(
            "z = 1e400*b", "13: 1e400 does not fit a float; numbers lie within 1e-308 .. 1e308", id="12 large number"
        ),
        pytest.param(
            "z = 1e999999999", "13: 1e999999999 does not fit a float; numbers lie within 1e-308 .. 1e308", id="12 giant"
        ),
        pytest.param("z = 1e300*1e300", "13: 1e300*1e300 is too large for a float", id="12 product"),
        pytest.param(
            "z = floor(exp(700))", "13: floor(exp(700)) is a constant; write the whole number that it is", id="12 floor"
        ),
        pytest.param("z = exp(700)//3", "13: exp(700)//3 is a constant; write the whole number that it is"),
        pytest.param("z = 1/0", "15: 1/0 divides by zero", id="13 division by zero"),
        pytest.param("z = b/(1 - 1)", "16: b/(1 - 1) divides by zero", id="13 by a hidden zero"),
        pytest.param("z = 0**-1", "13: 0**-1 divides by zero", id="13 by a power"),
        pytest.param("z = 1j", "13: '1j' is a complex number; models are real", id="14 complex number"),
        pytest.param("z = (-1)**0.5", "13: (-1)**0.5 is not a real number", id="14 complex power"),
        pytest.param("z = log(-1)", "13: log(-1) is not a real number", id="14 complex logarithm"),
        pytest.param(
            "z = \uff45xp(b)",
            "13: the character '\\uff45' is not understood; use ASCII letters, digits and operators",
            id="15 full-width letter",
        ),
        pytest.param("z = tahn(b)", "13: unknown function 'tahn'; did you mean 'tanh'?", id="16 misspelt function"),
        pytest.param("z = exp(b, b)", "13: exp takes 1 argument, found 2; write exp(a)", id="17 arguments"),
        pytest.param(
            "z = select(b > 1, b)", "13: select takes 3 arguments, found 2; write select(a, b, c)", id="17 few"
        ),
        pytest.param(
            "", "9: the equation is empty; write, for example, z[b, k] = x[b, k] + c[k]", id="18 empty equation"
        ),
        pytest.param("z = x[k", "14: '[' is never closed; add ']'", id="19 open bracket"),
        pytest.param(
            "z = x[:, k]",
            "15: ':' is not understood; slices do not exist here: name every index, as in x[b, j], and sum over it",
            id="20 slice",
        ),
        pytest.param(
            "z = x[..., k]",
            "15: '.' is not understood; write names without a dot; a decimal point stands between digits",
            id="20 ellipsis",
        ),
        pytest.param(
            "lambda = b",
            "9: 'lambda' is a Python keyword and not understood here; choose another name",
            id="21 the name lambda",
        ),
        pytest.param(
            "W[0]];import os = 1",
            "14: ';' is not understood; write one equation per line",
            id="24 code in a name",
        ),
        pytest.param("z = <script>alert(1)</script>", None, id="28 script"),
        pytest.param(
            "z = b\x00", "14: the character '\\x00' is not understood; use ASCII letters, digits and operators"
        ),
        pytest.param("z = b;import os", "14: ';' is not understood; write one equation per line"),
        pytest.param("z = sum(*b)", "17: '*' has nothing on its left"),
        pytest.param("z = sum(x[b, k], **b)", "26: '**' has nothing on its left"),
        pytest.param("z = yield b", "13: 'yield' is a Python keyword and not understood here; choose another name"),
        pytest.param("z = " + "a" * 500, "13: a name has at most 100 characters, found 500"),
        pytest.param("z = " + "**".join("2" * 900), "614: an equation has at most 200 powers"),
        pytest.param("z = " + "**".join("b" * 150), None),
        pytest.param("z = x[b, " + "+".join("k" * 1500) + "]", None),
        pytest.param("z = " + "[" * 40 + "b" + "]" * 40, "13: expected a number, found a list; group with ( )"),
    ],
)
def test_an_equation_is_refused(text: str, message: str | None) -> None:
    found = refusal(text)
    assert message is None or found == message


@pytest.mark.parametrize(
    "text",
    [
        "z = " + " + ".join(["x[b, k]"] * 300),
        "z = " + "*".join(["(1 + c[k])"] * 200),
        "z = " + "(" * 49 + "b" + ")" * 49,
        "z = " + " - ".join(["b*0.1"] * 400),
        "z = 1.2345678901234567**0.1234567",
        "z = sin(1e300)",
    ],
)
def test_large_equations_within_the_limits_are_read_quickly(text: str) -> None:
    start = time.perf_counter()
    read_equation(text, NAMES, PLACE)
    assert time.perf_counter() - start < LIMIT


SPEC = """
equations = '''
z[b, k] = sum(x[b, j]*W[j, k], j) + c[k]
'''
[axes]
b = "batch"
j = 7
k = 3
[inputs]
x = "b, j"
label = { axes = "b", dtype = "int", below = "k" }
[parameters]
W = "j, k"
c = "k"
[loss]
type = "softmax_cross_entropy"
logits = "z"
label = "label"
[optimizer]
type = "Adam"
"""
LAYER = '[[layers]]\ntype = "Dense"\ninput = "x"\noutput = "q"\nunits = 2\n[loss]'


def write(folder: Path, old: str, new: str) -> Path:
    assert SPEC.count(old) == 1
    path = folder / "spec.toml"
    path.write_text(SPEC.replace(old, new), encoding="utf-8")
    return path


def parameter(name: str) -> tuple[str, str]:
    return 'c = "k"', f'c = "k"\n{name} = "k"'


def equation(text: str) -> tuple[str, str]:
    return "+ c[k]\n", f"+ c[k]\n{text}\n"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(
            parameter("lambda"), "15:11: parameter name 'lambda' is a Python keyword; try 'lambda_'", id="21 lambda"
        ),
        pytest.param(
            parameter('lambda_ = "k"\nlambda'),
            "16:11: parameter name 'lambda' is a Python keyword; try 'lambda_'",
            id="22 lambda and lambda_",
        ),
        pytest.param(
            parameter("W_bar"),
            "15:10: parameter name 'W_bar' is of a form kept for derived quantities (x_bar, x_dot, __x); choose "
            "another name",
            id="23 prints like a derivative",
        ),
        pytest.param(
            parameter('"W[0]];import os"'),
            "15:22: parameter name 'W[0]];import os' is not an identifier; use ASCII letters, digits and _, not "
            "starting with a digit",
            id="24 code as a name",
        ),
        pytest.param(
            parameter("len"),
            "15:8: parameter name 'len' is a name that generated code uses for itself; try 'len_'",
            id="25 a builtin",
        ),
        pytest.param(
            parameter("np"),
            "15:7: parameter name 'np' is a name that generated code uses for itself; try 'np_'",
            id="25 np",
        ),
        pytest.param(
            parameter("math"),
            "15:9: parameter name 'math' is a name that generated code uses for itself; try 'math_'",
            id="25 math",
        ),
        pytest.param(
            parameter("C"),
            "15:6: parameter names 'c' and 'C' differ only by case; choose names that read apart",
            id="26 case",
        ),
        pytest.param(
            equation("Z[b] = 1"),
            "4:1: tensor names 'z' and 'Z' differ only by case; choose names that read apart",
            id="26 case of an equation",
        ),
        pytest.param(parameter("c"), "15:8: a key stands twice in one table; keep one of them", id="27 twice"),
        pytest.param(
            parameter("x"),
            "15:6: parameter name 'x' is taken: it is a tensor of the model (spec.toml:10:6); choose another name",
            id="27 twice in two tables",
        ),
        pytest.param(equation("z[b, k] = c[k]"), None, id="27 two equations for one element"),
        pytest.param(
            parameter('"<script>alert(1)</script>"'),
            "15:32: parameter name '<script>alert(1)</script>' is not an identifier; use ASCII letters, digits and _, "
            "not starting with a digit",
            id="28 script",
        ),
        pytest.param(
            equation("h[b, k+1] = h[b, k]*c[k]"),
            "4:1: the recurrence of 'h' has no initial value: h[b, k] is read at h[b, 0], but its equations begin at "
            "1; add an equation for h[b, 0]",
            id="30 no initial value",
        ),
        pytest.param(
            equation("a[b] = tanh(a[b])"),
            "4:1: a[b] is defined by itself; read an earlier element, such as the one at t - 1, or give the result "
            "another name",
            id="31 defined by itself",
        ),
        pytest.param(
            ("+ c[k]\n", "+ nothing[k]\n"),
            "3:37: unknown tensor 'nothing'; known: W, c, label, x",
            id="32 nothing defines it",
        ),
        pytest.param(
            ('type = "Adam"', 'type = "Adm"'), "20:9: unknown optimizer 'Adm'; did you mean 'Adam'?", id="75 optimizer"
        ),
        pytest.param(
            ("[loss]", LAYER.replace("Dense", "Dens")),
            "16:9: unknown layer 'Dens'; did you mean 'Dense'?",
            id="75 layer",
        ),
        pytest.param(
            ("[loss]", LAYER.replace("units", "unit")),
            "19:1: [[layers]] 1 has the unknown option of Dense 'unit'; did you mean 'units'?",
            id="75 option",
        ),
        pytest.param(
            ('"softmax_cross_entropy"', '"softmax_crossentropy"'),
            "16:9: unknown loss 'softmax_crossentropy'; did you mean 'softmax_cross_entropy'?",
            id="75 loss",
        ),
        pytest.param(
            ('type = "Adam"', 'type = "Adam"\nlearningrate = 1'),
            "21:1: [optimizer] has the unknown option of Adam 'learningrate'; did you mean 'learning_rate'?",
            id="75 hyper-parameter",
        ),
    ],
)
def test_a_spec_is_refused(tmp_path: Path, change: tuple[str, str], message: str | None) -> None:
    path = write(tmp_path, *change)
    start = time.perf_counter()
    with pytest.raises(SpecError) as caught:
        load_spec(path).program()
    assert time.perf_counter() - start < LIMIT
    found = str(caught.value)
    assert found.startswith("spec.toml:")
    assert "\n" not in found
    assert message is None or found == f"spec.toml:{message}"


def test_names_that_mean_something_to_sympy_are_ordinary(tmp_path: Path) -> None:
    """Case 29: E, I, S, N and pi are names like others."""
    path = tmp_path / "spec.toml"
    path.write_text(
        "equations = 'I[S] = E[S]*N + pi'\nloss = 'mean(I[S]**2, S)'\n"
        "[axes]\nS = 3\n[inputs]\nE = 'S'\n[parameters]\nN = ''\npi = ''\n",
        encoding="utf-8",
    )
    program = load_spec(path).program()
    assert [t.name for t in program.tensors] == ["E", "N", "pi", "I", "loss"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(
            equation("y[b] = 1 + x[b, 0]"),
            "spec.toml:4:1: the loss 'loss' does not depend on output 'y'",
            id="33 an output beside the loss",
        ),
        pytest.param(
            parameter("unused"),
            "spec.toml:15:11: parameter 'unused' is not used by the loss or any output",
            id="34 a parameter that nothing reads",
        ),
    ],
)
def test_what_is_odd_but_allowed_is_warned_of(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    path = write(tmp_path, *change)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        load_spec(path).program()
    assert [str(w.message) for w in caught if w.category is SymbpWarning] == [message]

"""Hostile and mistaken equations: each gets one line that says what, where and what to do, at once and unexecuted."""

from __future__ import annotations

import builtins
import os
import subprocess
import time
from typing import Any

import pytest

from symbp.errors import SpecError
from symbp.frontend.expression import Axis, Extent
from symbp.frontend.handle import TensorHandle
from symbp.frontend.reader import Names, Place, read_equation

PLACE = Place("spec.toml", 14, 9)
LIMIT = 2.0  # seconds


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
    """Every way by which text could be run fails the test that takes it."""

    def trap(*arguments: Any, **options: Any) -> Any:
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

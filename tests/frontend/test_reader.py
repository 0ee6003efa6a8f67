"""Equation text to SymPy expressions: what it means, and what is refused once names are known."""

from __future__ import annotations

from typing import Any

import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from symbp.errors import ShapeError, SpecError
from symbp.frontend import functions as f
from symbp.frontend.expression import Axis, Element, Extent
from symbp.frontend.handle import TensorHandle
from symbp.frontend.reader import Names, Place, outline_equation, read_element, read_equation, read_expression

BATCH = Extent("batch")
b, j, k, t = Axis("b", BATCH), Axis("j", sp.Integer(7)), Axis("k", sp.Integer(13)), Axis("t", sp.Integer(5))
AXES = {"b": b, "j": j, "k": k, "t": t}
TENSORS = {"x": (b, j), "W": (j, k), "c": (k,), "label": (b,), "h": (b, t), "E": (k,), "S": (), "pi": (), "a": ()}
PLACE = Place("spec.toml", 14, 9)


class NoModel:
    """Handles ask their model for nothing while an equation is read."""

    def apply(self, function: Any, tensor: TensorHandle, name: str = "") -> TensorHandle:
        raise AssertionError


NAMES = Names(AXES, {"batch": BATCH}, {name: TensorHandle(NoModel(), name, axes) for name, axes in TENSORS.items()})


def x(*subscripts: Any) -> Element:
    return element("x", *subscripts)


def element(name: str, *subscripts: Any) -> Element:
    return Element(name, *(sp.Integer(s) if isinstance(s, int) else s for s in subscripts))


def right(text: str) -> sp.Expr:
    return read_expression(text, NAMES, PLACE)


def refusal(text: str) -> str:
    with pytest.raises(SpecError) as caught:
        read_equation(text, NAMES, PLACE)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("sum(x[b, j]*W[j, k], j) + c[k]", f.sum(x(b, j) * element("W", j, k), j) + element("c", k)),
        ("mean(-log(x[b, label[b]]), b)", f.mean(-f.log(x(b, element("label", b))), b)),
        ("exp(c[k])/sum(exp(c[k]), k)", f.exp(element("c", k)) / f.sum(f.exp(element("c", k)), k)),
        ("sum(c[k], k, where=k >= 1)", f.sum(element("c", k), k, where=k >= 1)),
        (
            "max(c[k], k, where=[k >= 1, c[k] > a])",
            f.max(element("c", k), k, where=[k >= 1, element("c", k) > element("a")]),
        ),
        ("maximum(a, S)", f.maximum(element("a"), element("S"))),
        ("select(k > 2, a, -1)", f.select(k > 2, element("a"), -1)),
        ("diff(h[b, t], x[b, 0])", f.diff(element("h", b, t), x(b, 0))),
        ("a - S - 1", element("a") - element("S") - 1),
        ("a/S/2*3", element("a") / element("S") / 2 * 3),
        ("a/(S/2)", 2 * element("a") / element("S")),
        ("-a**2", -(element("a") ** 2)),
        ("2**a**2", 2 ** (element("a") ** 2)),
        ("+a", element("a")),
        ("a*t + batch", element("a") * t + BATCH),
    ],
)
def test_text_means_what_python_means(text: str, expression: sp.Expr) -> None:
    assert right(text) == expression


@pytest.mark.parametrize(
    ("text", "subscript"),
    [
        ("x[b, j + 1]", j + 1),
        ("x[b, 2*j + t]", 2 * j + t),
        ("x[b, batch - 1 - j]", BATCH - 1 - j),
        ("x[b, batch*j]", BATCH * j),
        ("x[b, (j + t) % 7]", (j + t) % 7),
        ("x[b, j//2]", j // 2),
        ("x[b, floor(j/2)]", j // 2),
        ("x[b, -(j - 6)]", 6 - j),
        ("x[b, label[b]]", Element("label", b)),
        ("x[b, 3]", sp.Integer(3)),
    ],
)
def test_subscripts(text: str, subscript: sp.Expr) -> None:
    assert right(text) == Element("x", b, subscript)


def test_numbers_are_exact() -> None:
    assert right("0.1") == sp.Rational(1, 10)
    assert right("1e-3*2.5E2 + 1/3") == sp.Rational(1, 4) + sp.Rational(1, 3)
    assert right("1234567890123456789012345678901234567890") == 1234567890123456789012345678901234567890
    assert right(".5") == sp.Rational(1, 2)


def test_names_that_mean_something_to_sympy_are_ordinary() -> None:
    assert right("E[k] + S*pi") == Element("E", k) + Element("S") * Element("pi")
    assert "unknown name 'I'" in refusal("z = I")
    assert "unknown name 'e'" in refusal("z = e")


def test_guards_are_relations_and_those_that_always_hold_go() -> None:
    equation = read_equation("z[b, j] = a where b >= j, x[b, j] > 0, j == 2, b != 3, j <= j", NAMES, PLACE)
    assert equation.left == Element("z", b, j)
    assert equation.guards == (b >= j, Element("x", b, j) > 0, sp.Eq(j, 2), sp.Ne(b, 3))


def test_a_left_side_may_be_a_tensor_that_is_not_known_yet() -> None:
    assert read_element("fresh[b, t + 1]", NAMES, PLACE) == Element("fresh", b, t + 1)
    assert read_element("L", NAMES, PLACE) == Element("L")
    assert read_equation("h[b, 0] = 0", NAMES, PLACE).left == Element("h", b, sp.Integer(0))


def test_a_layers_output_is_read_under_the_name_that_the_spec_gives_it() -> None:
    names = Names(AXES, {}, {"hidden": TensorHandle(NoModel(), "dense_2", (b, k))})
    assert read_expression("hidden[b, k]", names, PLACE) == Element("dense_2", b, k)


def test_the_outline_needs_no_names() -> None:
    outline = outline_equation("h[b, t+1] = tanh(h[b, t] + u[t]) where t < n", PLACE)
    assert outline.defines == "h"
    assert outline.subscripts == (("b",), ("t",))
    assert {"h", "u", "tanh", "n"} <= set(outline.reads)
    assert str(outline.place) == "spec.toml:14:9"
    with pytest.raises(SpecError, match=r"14:9: the left side is one element of a tensor, found 2\*z\[b\]"):
        outline_equation("2*z[b] = 3", PLACE)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("z = kk", "14:13: unknown name 'kk'; did you mean 'k'?"),
        ("z = Y[k]", "14:13: unknown tensor 'Y'; known: E, S, W, a, c, h, label, pi, x"),
        ("z = c[k] + sum(a, q)", "14:27: unknown axis 'q'; known: b, j, k, t"),
        ("z = exp", "14:13: 'exp' is a function and stands here without its argument; write exp(..)"),
        ("z = exp[k]", "14:13: 'exp' is a function; write exp(..)"),
        ("z = c(k)", "14:13: tensor 'c' is called like a function; write c[k]"),
        ("z = k(c)", "14:13: 'k' is an axis or a size, not a function; write * for a product"),
        ("z = 2(a)", "14:13: 2 is not a function; write * for a product"),
        ("z = (a + a)[k]", "14:14: a + a has no index; only tensors do; give it an equation of its own"),
        ("z = k[b]", "14:13: 'k' is an axis or a size and has no index"),
        (
            "z = a, a",
            "14:13: expected a number, found several formulas between commas; write one equation for each",
        ),
        ("z = [a]", "14:13: expected a number, found a list; group with ( )"),
        ("z = a < S", "14:13: expected a number, found a comparison; use select(condition, 1, 0)"),
        ("z = sum(c[k])", "14:13: sum needs at least one axis; write sum(x[b, j], j)"),
        ("z = max(c[k], a)", "14:23: max runs over axes, found a; the larger or smaller of two is maximum(a, b)"),
        ("z = sum(c[k], k, k)", "14:13: sum names an axis twice: k, k"),
        ("z = sum(c[k], k, start=1)", "14:26: sum does not take 'start='; only 'where=' is known"),
        ("z = mean(c[k], k, where=k > 1)", "14:27: mean does not take 'where='"),
        ("z = select(a, 1, 0)", "14:20: expected a condition such as i >= j, found a"),
        (
            "z = select(0 < k < 5, 1, 0)",
            "14:20: 0 < k < 5 compares more than two things; write two conditions, the first being 0 < k",
        ),
        ("z = select(2 > 1, a, S)", "14:20: 2 > 1 compares constants; leave it out"),
        ("z[b] = a where b > b", "14:24: b > b never holds"),
        ("k = 3", "14:9: 'k' is an axis and cannot be defined; choose another name"),
        ("batch = 3", "14:9: 'batch' is a size and cannot be defined; choose another name"),
        ("z = x[b, 1.5]", "14:18: a subscript of 'x' is whole, found 1.5"),
        ("z = x[b, j/2]", "14:18: a subscript of 'x' is whole, found j/2; divide with //"),
        (
            "z = x[b, j*t]",
            "14:18: j*t is not linear in the indices; multiply an index by a size or number",
        ),
        ("z = x[b, j//0]", "14:21: the divisor is a positive whole number or a size, found 0"),
        ("z = x[b, j % -2]", "14:22: the divisor is a positive whole number or a size, found -2"),
        (
            "z = x[b, sin(j)]",
            "14:18: a subscript of 'x' is made of indices, sizes, whole numbers, integer tensors, + - * // %, "
            "found sin(j)",
        ),
    ],
)
def test_what_has_no_meaning_is_refused_at_its_place(text: str, message: str) -> None:
    assert refusal(text) == f"spec.toml:{message}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("z = x[b]", "14:13: tensor 'x' has 2 axes (b, j) but is read with 1: x[b]; add 1 subscript"),
        ("z = c[k, b]", "14:13: tensor 'c' has 1 axis (k) but is read with 2: c[k, b]; drop 1 subscript"),
        ("z = S[k]", "14:13: tensor 'S' has 0 axes but is read with 1: S[k]; drop 1 subscript"),
        ("z = 2*c", "14:15: tensor 'c' has 1 axis (k) but is read without an index; write c[k]"),
    ],
)
def test_a_wrong_number_of_indices_is_a_shape_error(text: str, message: str) -> None:
    with pytest.raises(ShapeError) as caught:
        read_equation(text, NAMES, PLACE)
    assert str(caught.value) == f"spec.toml:{message}"


def test_the_place_follows_the_lines_of_the_equation() -> None:
    assert refusal("z[b] = sum(x[b, j]\n   *Wx[j], j)") == "spec.toml:15:5: unknown tensor 'Wx'; did you mean 'x'?"


WORDS = """b j k t x W c h E S a batch label pi 0 1 2 0.5 1e5 9 ( ) [ ] , = + - * / % < >
** // == != <= >= sum max mean exp log sqrt floor select diff maximum where where=
lambda if ' . : ; ^ { # é"""


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(st.sampled_from([*WORDS.split(), "\n"]), max_size=25), st.sampled_from(["", " "]))
def test_any_text_is_read_or_refused_in_one_line(words: list[str], between: str) -> None:
    problem: SpecError | None = None
    try:
        read_equation("z[b] = " + between.join(words), NAMES, PLACE)
    except SpecError as refused:
        problem = refused
    assert problem is None or "\n" not in str(problem)
    assert problem is None or str(problem.place).startswith("spec.toml:1")

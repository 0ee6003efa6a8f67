"""Declarations and equations that are refused, with the exact text, and what only earns a warning."""

from __future__ import annotations

import inspect
import subprocess
import sys
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import sympy as sp

import symbp as sb
from symbp import Model


class Parts:
    """A model with a few axes and an input, to be spoiled by one line."""

    def __init__(self) -> None:
        self.model = Model("m")
        self.b, self.t = self.model.axis("b", "batch"), self.model.axis("t", "time")
        self.j, self.k = self.model.axis("j", 4), self.model.axis("k", 3)
        self.x = self.model.input("x", self.b, self.j)
        self.s = self.model.input("s", self.b, self.t)
        self.W = self.model.parameter("W", self.k, self.j)


def shifted(m: Parts) -> None:
    h = m.model.variable("h", m.b, m.t)
    m.model.define(h[m.b, m.t + 1], sb.tanh(h[m.b, m.t]))


def unstarted(m: Parts) -> None:
    h = m.model.variable("h", m.b, m.t)
    m.model.define(h[m.b, m.t], sb.tanh(h[m.b, m.t - 1]))


def through_a_sum(m: Parts) -> None:
    h, l = m.model.variable("h", m.t, m.k), m.model.axis("l", m.k)  # noqa: E741
    m.model.define(h[m.t + 1, m.k], sb.sum(h[m.t, l], l) + 1)


def late_start(m: Parts) -> None:
    h = m.model.variable("h", m.t)
    m.model.define(h[0], 0)
    m.model.define(h[m.t + 3], h[m.t + 2])


def no_border(m: Parts) -> None:
    a, i = m.model.variable("a", m.t, m.j), m.model.axis("i", 3)
    m.model.define(a[0, m.j], 1)
    m.model.define(a[m.t + 1, i + 1], a[m.t, i] + 1)


def itself(m: Parts) -> None:
    a = m.model.variable("a", m.t)
    m.model.define(a[m.t], sb.tanh(a[m.t]))


def twice(m: Parts) -> None:
    m.model.define("y[b, j]", m.x[m.b, m.j])
    m.model.define("y[b, j]", 2 * m.x[m.b, m.j])


def a_label(below: int | None = None, dtype: str = "int") -> Callable[[Parts], None]:
    def spoil(m: Parts) -> None:
        label = m.model.input("label", m.b, dtype=dtype, below=below)
        m.model.define("y[b]", m.x[m.b, label[m.b]])

    return spoil


# The line that is at fault is the last one of `spoil`; {at} stands for its place.
REFUSED: dict[str, tuple[Callable[[Parts], Any], str]] = {
    # Shapes (the numbers are those of the list of bad inputs).
    "35 constant out of range": (
        lambda m: m.model.define("y", m.W[7, 0]),
        "W[7, 0]: index 7 of axis 0 (k) of 'W' is out of range, but its extent is 3",
    ),
    "36 wrong rank": (
        lambda m: m.model.define("y", m.W[0]),
        "tensor 'W' has 2 axes (k, j) but is read with 1: W[0]; add 1 subscript",
    ),
    "36 too many": (
        lambda m: m.model.define("y[b]", m.x[m.b, 0, 0]),
        "tensor 'x' has 2 axes (b, j) but is read with 3: x[b, 0, 0]; drop 1 subscript",
    ),
    "37 two extents": (
        lambda m: m.model.define("y[j, k]", m.W[m.j, m.k]),
        "index j runs over 4 in W[j, k], but axis 0 of 'W' (k) has 3; use an index over 'k': model.axis(.., k)",
    ),
    "37 two run-time sizes": (
        lambda m: m.model.define("y[t]", m.x[m.t, 0]),
        "index t runs over n_time in x[t, 0], but axis 0 of 'x' (b) has n_batch; "
        "use an index over 'b': model.axis(.., b)",
    ),
    "38 zero": (lambda m: m.model.axis("q", 0), "axis 'q' has extent 0, expected at least 1"),
    "38 negative": (lambda m: m.model.axis("q", -3), "axis 'q' has extent -3, expected at least 1"),
    "38 a fraction": (
        lambda m: m.model.axis("q", 2.5),
        "axis 'q' has extent 2.5, expected a positive integer, the name of a run-time size or another axis",
    ),
    "39 free on the right": (
        lambda m: m.model.define("y[b]", m.x[m.b, m.j]),
        "index j is free on the right side of y[b] but not on its left side; sum over it, sum(.., j), "
        "or write it on the left",
    ),
    "39 free in a loss": (
        lambda m: m.model.loss(m.x[m.b, m.j]),
        "the loss has a free index: b, j; write mean(.., b, j) or sum(.., b, j)",
    ),
    "40 shifted beyond the end": (
        lambda m: m.model.define("y[b, j]", m.x[m.b, m.j + 1]),
        "x[b, j + 1]: subscript j + 1 of axis 1 (j) of 'x' runs up to 4, but its extent is 4; "
        "shift the index, or restrict the equation with where",
    ),
    "42 window larger than the axis": (
        lambda m: m.model.axis("p", m.j.size - 5),
        "axis 'p' has extent -1, expected at least 1",
    ),
    "labels above the classes": (
        a_label(below=5),
        "x[b, label[b]]: subscript label[b] of axis 1 (j) of 'x' runs up to 4, but its extent is 4; "
        "shift the index, or restrict the equation with where",
    ),
    "labels without a bound": (
        a_label(),
        "label[b] is used as a subscript, but nothing says below what its values stay; "
        "declare 'label' with dtype='int' and below=",
    ),
    "labels of floats": (
        a_label(dtype="float"),
        "label[b] is used as a subscript, but 'label' is not of integers; declare 'label' with dtype='int' and below=",
    ),
    "two values for one element": (
        lambda m: m.model.define("y[j + k]", m.W[m.k, m.j]),
        "the left side y[j + k] names one element for several values of its indices; "
        "write the sum on the right: sum(.., i)",
    ),
    "a product of indices": (
        lambda m: m.model.define("y[j, k]", m.x[0, m.j * m.k]),
        "subscript j*k: two indices are multiplied; an index may be multiplied by integers and sizes only",
    ),
    "half an index": (
        lambda m: m.model.define("y[j]", m.x[0, m.j / 2]),
        "subscript j/2: 1/2 is not an integer; use // for a division that is rounded down",
    ),
    "a parameter over the batch": (
        lambda m: m.model.parameter("V", m.b),
        "parameter 'V' runs over axis 'b', whose extent n_batch is known at run time only; "
        "give the axis a fixed extent",
    ),
    # Recurrences.
    "30 no initial value": (
        shifted,
        "the recurrence of 'h' has no initial value: h[b, t] is read at h[b, 0], but its equations begin at 1; "
        "add an equation for h[b, 0]",
    ),
    "30 no value at -1": (
        unstarted,
        "the recurrence of 'h' has no initial value: h[b, t - 1] is read at h[b, -1]; add an equation for h[b, -1]",
    ),
    "30 through a sum": (
        through_a_sum,
        "the recurrence of 'h' has no initial value: h[t, l] is read at h[0, l], but its equations begin at 1; "
        "add an equation for h[0, l]",
    ),
    "30 a gap": (
        late_start,
        "the recurrence of 'h' has no initial value: h[t + 2] is read at h[2], but its equations begin at 0, 3; "
        "add an equation for h[2]",
    ),
    "30 a border left out": (
        no_border,
        "a[t, i] reads elements of 'a' that no equation defines, such as a[1, 0]; "
        "add an equation for a[1, 0], or restrict this one with where",
    ),
    "31 by itself": (
        itself,
        "a[t] is defined by itself; read an earlier element, such as the one at t - 1, or give the result another name",
    ),
    "defined twice": (
        twice,
        "'y' is defined twice: by y[b, j] ({before}) and by y[b, j]; give each element one equation",
    ),
    "32 never defined": (
        lambda m: m.model.define("y[b]", sb.exp(m.model.variable("h", m.b)[m.b])),
        "'h' has no equation; define it or drop it",
    ),
    # Names.
    "27 declared twice": (
        lambda m: m.model.parameter("W", m.j),
        "parameter name 'W' is taken: it is a tensor of the model ({declared}); choose another name",
    ),
    "26 differ by case": (
        lambda m: m.model.parameter("w", m.j),
        "parameter names 'W' and 'w' differ only by case; choose names that read apart",
    ),
    "an axis's name": (
        lambda m: m.model.input("b", m.j),
        "input name 'b' is taken: it is an axis of the model ({axes}); choose another name",
    ),
    "a size's name": (
        lambda m: m.model.input("n_batch", m.j),
        "input name 'n_batch' is taken: it is a run-time size of the model; choose another name",
    ),
    "21 a keyword": (
        lambda m: m.model.parameter("lambda", m.j),
        "parameter name 'lambda' is a Python keyword; try 'lambda_'",
    ),
    "24 code in a name": (
        lambda m: m.model.define("W[0]];import os", 1),
        "left side 'W[0]];import os' is not of the form name[index, ..]; write \"z[b, k]\"",
    ),
    "25 a builtin": (
        lambda m: m.model.input("print", m.j),
        "input name 'print' is a name that generated code uses for itself; try 'print_'",
    ),
    "an unknown axis": (
        lambda m: m.model.define("y[bb]", 1),
        "subscript 'bb' in 'y[bb]': no axis is called 'bb'; did you mean 'b'?",
    ),
    "a number for an axis": (
        lambda m: m.model.parameter("V", 64),  # type: ignore[arg-type]
        "parameter 'V' is declared over int 64, expected axes; declare an axis first: j = model.axis('j', 64)",
    ),
    "another model's axis": (
        lambda m: m.model.parameter("V", Model("other").axis("q", 3)),
        "parameter 'V' runs over axis 'q', which this model does not have; known: b, j, k, t",
    ),
    "an input that is defined": (
        lambda m: m.model.define(m.x[m.b, m.j], 1),
        "'x' is an input and cannot be defined by an equation; choose another name",
    ),
    # Expressions.
    "12 beyond float64": (
        lambda m: m.model.define("y[b]", sp.Float("1e400") * m.x[m.b, 0]),
        "number 1" + 29 * "0" + ".. is beyond float64",
    ),
    "11 a long integer": (
        lambda m: m.model.define("y[b]", 10**400 * m.x[m.b, 0]),
        "number of 401 characters is beyond float64",
    ),
    "13 division by zero": (
        lambda m: m.model.define("y[b]", m.x[m.b, 0] / 0),
        "division by zero gives no number",
    ),
    "14 complex": (lambda m: m.model.define("y[b]", 1j * m.x[m.b, 0]), "I is not a real number"),
    "NaN": (
        lambda m: m.model.define("y[b]", float("nan") * m.x[m.b, 0]),
        "the equation holds NaN, which is not a number",
    ),
    "infinity": (
        lambda m: m.model.define("y[b]", float("inf") + m.x[m.b, 0]),
        "the equation holds an infinite number; use the largest number that is needed",
    ),
    "an unknown symbol": (
        lambda m: m.model.define("y[b]", sp.Symbol("a") * m.x[m.b, 0]),
        "symbol 'a' is neither an axis nor a tensor of the model; declare it with model.axis(..) or model.input(..)",
    ),
    "an unknown function": (
        lambda m: m.model.define("y[b]", sp.besselj(0, m.x[m.b, 0])),
        "function 'besselj' is not known; write it with the functions that symbp exports",
    ),
    "text": (
        lambda m: m.model.define("y[b]", "x[b, 0]"),
        "expected an expression for 'y', found str 'x[b, 0]'; write elements, such as x[b, j]",
    ),
    "a whole tensor": (
        lambda m: m.model.define("y[b]", 2 * m.x),
        "tensor 'x' has 2 axes and stands here without an index; write x[b, j]",
    ),
    "a slice": (
        lambda m: m.x[m.b, :],
        "tensor 'x' is read with a slice; write one index per axis, such as x[b, j]",
    ),
    "a Python bool as a guard": (
        lambda m: m.model.define("y[b, j]", m.x[m.b, m.j], where=m.b == m.j),
        "expected a relation after where, found a Python bool; write Eq(i, j) for i == j, Ne(i, j) for !=",
    ),
    "a guard that never holds": (
        lambda m: m.model.define("y[b, j]", m.x[m.b, m.j], where=m.j > 9),
        "guard j > 9 never holds; drop the equation or mend its where",
    ),
    "a loss with axes": (
        lambda m: m.model.loss(m.x),
        "the loss is a scalar, but 'x' has axes (b, j); write mean(x[b, j], b, j)",
    ),
    "an unknown dtype": (
        lambda m: m.model.input("v", m.b, dtype="integer"),
        "input 'v' has dtype 'integer', expected 'float' or 'int'; did you mean 'int'?",
    ),
    "an unknown initializer": (
        lambda m: m.model.parameter("V", m.j, init="glorot_unifrom"),
        "parameter 'V' has the unknown initializer 'glorot_unifrom'; did you mean 'glorot_uniform'?",
    ),
    "an initializer without its number": (
        lambda m: m.model.parameter("V", m.j, init="normal"),
        "initializer 'normal' of parameter 'V' takes std, found none",
    ),
}


def spoil_and_lower(spoil: Callable[[Parts], Any], parts: Parts) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        spoil(parts)
        parts.model.program()


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    spoil, text = REFUSED[name]
    parts = Parts()
    with pytest.raises(sb.SpecError) as error:
        spoil_and_lower(spoil, parts)
    place, found = str(error.value).split(": ", 1)
    file = place.partition(":")[0]
    first = inspect.getsourcelines(Parts.__init__)[1]
    text = text.replace("{declared}", f"{file}:{first + 6}").replace("{axes}", f"{file}:{first + 2}")
    text = text.replace("{before}", f"{file}:{inspect.getsourcelines(twice)[1] + 1}")
    assert found == text
    assert file == "test_model.py"


def test_the_place_is_the_users_line() -> None:
    model = Model("m")
    line = inspect.currentframe().f_lineno + 2  # type: ignore[union-attr]
    with pytest.raises(sb.ShapeError) as error:
        model.axis("j", 0)
    assert error.value.place == f"test_model.py:{line}"


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda x, j: sb.exp(x, j), "exp takes 1 argument, found 2"),
        (lambda x, j: sb.maximum(x), "maximum takes 2 arguments, found 1"),
        (lambda x, j: sb.sum(x), "sum needs at least one axis; write sum(x[b, j], j)"),
        (lambda x, j: sb.sum(x, j, j), "sum names an axis twice: j, j"),
        (
            lambda x, j: sb.max(x, 3),
            "max runs over axes, found int 3; two-argument forms are maximum(a, b), minimum(a, b)",
        ),
        (lambda x, j: sb.mean(x, j, where=j > 1), "mean takes no where; write it with sum(.., where=..)"),
        (lambda x, j: sb.select(x, 1, 2), "select takes a relation such as x[b] > 0 first, found x[j]"),
        (
            lambda x, j: sb.diff(x, j),
            "diff differentiates with respect to an element, found j; write diff(u[n], x[n]) or x[n, 0]",
        ),
    ],
)
def test_functions_check_their_arguments(call: Callable[..., object], text: str) -> None:
    model = Model("m")
    j = model.axis("j", 3)
    x = model.input("x", j)
    with pytest.raises(sb.SpecError) as error:
        call(x[j], j)
    assert str(error.value) == text


def warned(model: Model) -> list[str]:
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        model.program()
    return [str(w.message).split(": ", 1)[1] for w in found]


def test_a_parameter_that_nothing_reads() -> None:
    m = Parts()
    m.model.loss(sb.mean(m.x[m.b, m.j] + m.s[m.b, 0], m.b, m.j))
    assert warned(m.model) == ["parameter 'W' is not used by the loss or any output"]


def test_an_output_that_the_loss_does_not_depend_on() -> None:
    model = Model("m")
    b, j = model.axis("b", "batch"), model.axis("j", 4)
    x, W, V = model.input("x", b, j), model.parameter("W", j), model.parameter("V", j)
    y = model.define("y[b]", sb.sum(x[b, j] * V[j], j))
    model.output(y)
    model.loss(sb.mean(x[b, j] * W[j], b, j))
    assert warned(model) == ["the loss 'loss' does not depend on output 'y': parameter 'V' is never trained"]


def test_no_warning_for_probabilities_beside_a_loss_of_logits() -> None:
    model = Model("m")
    b, j = model.axis("b", "batch"), model.axis("j", 4)
    x, label = model.input("x", b, j), model.input("label", b, dtype="int", below=3)
    z = sb.Dense(3)(x)
    model.output(sb.softmax(z))
    model.loss(sb.softmax_cross_entropy(z, label))
    assert warned(model) == []


def test_importing_symbp_is_light() -> None:
    code = "import sys, symbp; print(sorted({'numba', 'torch', 'llvmlite'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_models_of_one_process_keep_their_own_extents() -> None:
    # SymPy caches sums: 0 + i gives back the axis i of whichever model asked first.
    for extent in (5, 9):
        model = Model("m")
        i = model.axis("i", extent)
        x = model.input("x", i)
        y = model.define("y[i]", 2 * x[i])
        assert [int(a.size) for a in y.axes] == [extent]
        model.loss(sb.mean(y.here, *y.axes))
        assert [str(t.shape) for t in model.program().tensors if t.name == "y"] == [f"({extent},)"]


def test_a_scalar_handle_is_an_expression() -> None:
    model = Model("m")
    w = model.parameter("w")
    element = w.here
    for found, expected in (
        (w + 1, element + 1), (1 + w, element + 1), (w - 1, element - 1), (1 - w, 1 - element), (2 * w, 2 * element),
        (w * 2, 2 * element), (w / 2, element / 2), (2 / w, 2 / element), (w**2, element**2), (2**w, 2**element),
        (-w, -element),
    ):  # fmt: skip
        assert found == expected

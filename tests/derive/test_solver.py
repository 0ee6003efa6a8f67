"""The index solver: each form of subscript, its equation as text, and its numbers against torch."""

from __future__ import annotations

import warnings
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from symbp.check.interpreter import interpret
from symbp.derive.divisions import simplify_divisions
from symbp.derive.rule import differentiate
from symbp.derive.solver import gather
from symbp.errors import SymbpWarning
from symbp.ir import (
    ZERO,
    Affine,
    Body,
    Domain,
    FloorDiv,
    Index,
    Mod,
    NonNegative,
    Origin,
    Range,
    Read,
    Role,
    Size,
    Tensor,
    Zero,
    floor_div,
    mod,
    statement_text,
)
from tests.derive.equations import Equations
from tests.derive.references import TOLERANCE, Case, case_of, extent_axis, random_feed, worst_error

functional = torch.nn.functional
Tensors = dict[str, torch.Tensor]


def gradient_texts(case: Case, name: str) -> list[str]:
    derivation = differentiate(case.program, case.wrt)
    return [statement_text(s) for s in derivation.program.definitions(derivation.gradient_of(name))]


def check(case: Case, **expected: str | list[str]) -> None:
    """The equations of some gradients, word by word, and the numbers of all."""
    for name, text in expected.items():
        assert gradient_texts(case, name) == ([text] if isinstance(text, str) else text)
    assert worst_error(case) <= TOLERANCE


def test_diagonal_transposed_and_repeated_reads() -> None:
    eq = Equations()
    i, j = eq.axis("i", "N"), eq.axis("j", "N")
    A, x = eq.parameter("A", i, j), eq.parameter("x", i)
    quadratic = eq.let("quadratic", (), x[i] * A[i, j] * x[j], (i, j))
    diagonal = eq.let("diagonal", (), A[i, i] ** 2, (i,))
    crossed = eq.let("crossed", (), A[i, j] * A[j, i] * x[j], (i, j))
    eq.let("loss", (), quadratic[()] + diagonal[()] + crossed[()])

    def reference(t: Tensors) -> torch.Tensor:
        A, x = t["A"], t["x"]
        return x @ A @ x + (torch.diagonal(A) ** 2).sum() + (A * A.T * x).sum()

    for size in (1, 5):
        check(
            case_of(eq, reference, N=size),
            A=[
                "A_bar[i, j] += x[j]*A[j, i]*crossed_bar",
                "A_bar[i, j] += A[j, i]*x[i]*crossed_bar",
                "A_bar[i, i] += 2*A[i, i]*diagonal_bar",
                "A_bar[i, j] += x[i]*x[j]*quadratic_bar",
            ],
        )


def test_reversed_read_is_gathered() -> None:
    eq = Equations()
    i = eq.axis("i", "N")
    x, w = eq.parameter("x", i), eq.given("w", i)
    eq.let("loss", (), x[Size("N") - 1 - i] ** 2 * w[i], (i,))
    for size in (1, 7):
        check(
            case_of(eq, lambda t: (t["x"].flip(0) ** 2 * t["w"]).sum(), N=size),
            x="x_bar[i] += 2*x[i]*w[N - i - 1]*loss_bar",
        )


def test_last_element_and_strided_read_are_written_as_they_are() -> None:
    eq = Equations()
    p = eq.axis("p", "N")
    i = extent_axis(eq, "i", 2 * Size("N"))
    x, w = eq.parameter("x", i), eq.given("w", p)
    strided = eq.let("strided", (), x[2 * p] ** 2 * w[p], (p,))
    eq.let("loss", (), strided[()] + x[2 * Size("N") - 1] ** 3)
    check(
        case_of(eq, lambda t: (t["x"][::2] ** 2 * t["w"]).sum() + t["x"][-1] ** 3, N=7),
        x=["x_bar[2*N - 1] += 3*loss_bar*x[2*N - 1]**2", "x_bar[2*p] += 2*x[2*p]*w[p]*strided_bar"],
    )


def test_upsampling_sums_over_the_copies() -> None:
    eq = Equations()
    p = eq.axis("p", "N")
    q = extent_axis(eq, "q", 3 * Size("N"))
    y, x = eq.parameter("y", p), eq.given("x", q)
    eq.let("loss", (), y[floor_div(q, 3)] ** 2 * x[q], (q,))
    check(
        case_of(eq, lambda t: (t["y"].repeat_interleave(3) ** 2 * t["x"]).sum(), N=7),
        y="y_bar[p] += sum[q] 2*y[p]*x[3*p + q]*loss_bar",
    )


def test_upsampling_with_an_offset_keeps_its_bounds() -> None:
    eq = Equations()
    p, q = eq.axis("p", 4), eq.axis("q", 5)
    y, x = eq.parameter("y", p), eq.given("x", q)
    eq.let("loss", (), y[floor_div(q + 1, 2)] ** 2 * x[q], (q,))
    check(case_of(eq, lambda t: (t["y"][(torch.arange(5) + 1) // 2] ** 2 * t["x"]).sum()))


def test_transposed_convolution() -> None:
    eq = Equations()
    m, u = Size("M"), Size("U")
    n = extent_axis(eq, "n", 2 * m + u - 2)
    p, v = eq.axis("p", "M"), eq.axis("v", "U")
    x, k = eq.parameter("x", p), eq.parameter("k", v)
    inside = [NonNegative(n - 2 * p), NonNegative(u - 1 - n + 2 * p)]
    y = eq.let("y", (n,), x[p] * k[n - 2 * p], (p,), where=inside)
    eq.let("loss", (), y[n] ** 2, (n,))

    def reference(t: Tensors) -> torch.Tensor:
        return (functional.conv_transpose1d(t["x"][None, None], t["k"][None, None], stride=2) ** 2).sum()

    for size in (1, 7):
        check(case_of(eq, reference, M=size, U=3), k="k_bar[v] += sum[p] x[p]*y_bar[2*p + v]")


def test_flattened_heads_are_an_injective_write_and_come_back_as_divisions() -> None:
    eq = Equations()
    b, h, e = eq.axis("b", "B"), eq.axis("h", "H"), eq.axis("e", "E")
    f = extent_axis(eq, "f", Size("H") * Size("E"))
    x, w, v = eq.parameter("x", b, f), eq.parameter("w", h, e), eq.parameter("v", h, e)
    split = eq.let("split", (), (x[b, h * Size("E") + e] * w[h, e]) ** 2, (b, h, e))
    joined = eq.let("joined", (), x[b, f] * v[floor_div(f, Size("E")), mod(f, Size("E"))], (b, f))
    eq.let("loss", (), split[()] + joined[()])

    def reference(t: Tensors) -> torch.Tensor:
        heads = t["x"].reshape(3, 2, 5)
        return ((heads * t["w"]) ** 2).sum() + (heads * t["v"]).sum()

    case = case_of(eq, reference, B=3, H=2, E=5)
    check(
        case,
        x=["x_bar[b, f] += v[f//E, f % E]*joined_bar", "x_bar[b, e + h*E] += 2*x[b, e + h*E]*split_bar*w[h, e]**2"],
        v="v_bar[h, e] += sum[b] x[b, e + h*E]*joined_bar",
    )
    (statement,) = (s for s in differentiate(case.program).program.statements if s.subscripts[1:] and len(s.free) == 3)
    assert [i.name for i in statement.free] == ["b", "h", "e"]


def test_circular_convolution() -> None:
    eq = Equations()
    n, u = eq.axis("n", "N"), eq.axis("u", 3)
    x, k = eq.parameter("x", n), eq.parameter("k", u)
    y = eq.let("y", (n,), x[mod(n + u, Size("N"))] * k[u], (u,))
    eq.let("loss", (), y[n] ** 3, (n,))

    def reference(t: Tensors) -> torch.Tensor:
        return (sum(t["x"].roll(-s) * t["k"][s] for s in range(3)) ** 3).sum()

    for size in (1, 2, 7):
        check(case_of(eq, reference, N=size), x="x_bar[n] += sum[u] k[u]*y_bar[(n - u) % N]")


def test_remainder_of_an_index_that_goes_round_more_than_once_is_a_scatter() -> None:
    eq = Equations()
    i, m = eq.axis("i", 7), eq.axis("m", 3)
    x, w = eq.parameter("x", m), eq.given("w", i)
    eq.let("loss", (), x[mod(i, 3)] ** 2 * w[i], (i,))
    check(
        case_of(eq, lambda t: (t["x"][torch.arange(7) % 3] ** 2 * t["w"]).sum()),
        x="x_bar[i % 3] += 2*x[i % 3]*w[i]*loss_bar",
    )


def test_grouped_convolution() -> None:
    eq = Equations()
    b, g, c, p, u, o = (
        eq.axis("b", "B"), eq.axis("g", "G"), eq.axis("c", 2), eq.axis("p", "O"), eq.axis("u", 3), eq.axis("o", 2)
    )  # fmt: skip
    channel, i = extent_axis(eq, "channel", 2 * Size("G")), extent_axis(eq, "i", Size("O") + 2)
    x, k = eq.parameter("x", b, channel, i), eq.parameter("k", g, o, c, u)
    y = eq.let("y", (b, g, o, p), x[b, 2 * g + c, p + u] * k[g, o, c, u], (c, u))
    eq.let("loss", (), y[b, g, o, p] ** 2, (b, g, o, p))

    def reference(t: Tensors) -> torch.Tensor:
        return (functional.conv1d(t["x"], t["k"].reshape(-1, 2, 3), groups=3) ** 2).sum()

    check(
        case_of(eq, reference, B=2, G=3, O=7),
        x="x_bar[b, c + 2*g, i] += sum[o, u] k[g, o, c, u]*y_bar[b, g, o, i - u]    where i >= u, u + O >= i + 1",
    )


def test_a_window_that_does_not_overlap_is_an_injective_write() -> None:
    eq = Equations()
    p, u = eq.axis("p", "P"), eq.axis("u", 4)
    i = extent_axis(eq, "i", 4 * Size("P"))
    x, k = eq.parameter("x", i), eq.parameter("k", u)
    y = eq.let("y", (p,), x[4 * p + u] * k[u], (u,))
    eq.let("loss", (), y[p] ** 2, (p,))
    check(
        case_of(eq, lambda t: ((t["x"].reshape(-1, 4) @ t["k"]) ** 2).sum(), P=7),
        x="x_bar[4*p + u] += k[u]*y_bar[p]",
    )


def test_band_of_a_matrix_solves_for_the_offset() -> None:
    eq = Equations()
    b, i = eq.axis("b", "B"), eq.axis("i", 3)
    m = extent_axis(eq, "m", Size("B") + 2)
    x, w = eq.parameter("x", b, m), eq.given("w", i)
    eq.let("loss", (), x[b, b + i] ** 2 * w[i], (b, i))

    def reference(t: Tensors) -> torch.Tensor:
        return sum(t["x"][b, b + i] ** 2 * t["w"][i] for b in range(len(t["x"])) for i in range(3))

    check(
        case_of(eq, reference, B=7),
        x="x_bar[b, m] += 2*x[b, m]*w[m - b]*loss_bar    where m >= b, b + 2 >= m",
    )


def test_one_hot_where_the_row_is_owned_and_scatter_where_it_is_not() -> None:
    eq = Equations()
    b, k = eq.axis("b", "B"), eq.axis("k", 5)
    label = eq.given("label", b, below=5)
    z, E = eq.parameter("z", b, k), eq.parameter("E", k)
    eq.let("loss", (), z[b, label.read(b)] ** 2 * E[label.read(b)], (b,))

    def reference(t: Tensors) -> torch.Tensor:
        return (t["z"][torch.arange(len(t["z"])), t["label"]] ** 2 * t["E"][t["label"]]).sum()

    for size in (1, 13):
        check(
            case_of(eq, reference, B=size),
            z="z_bar[b, k] += 2*z[b, k]*E[k]*loss_bar    where k == label[b]",
            E="E_bar[label[b]] += loss_bar*z[b, label[b]]**2",
        )


def test_two_strides_with_no_unit_coefficient_are_a_scatter() -> None:
    eq = Equations()
    p, u = eq.axis("p", 3), eq.axis("u", 3)
    i = eq.axis("i", 9)
    x, k = eq.parameter("x", i), eq.parameter("k", u)
    y = eq.let("y", (p,), x[2 * p + 2 * u] * k[u], (u,))
    eq.let("loss", (), y[p] ** 2, (p,))

    def reference(t: Tensors) -> torch.Tensor:
        return (functional.conv1d(t["x"][None, None], t["k"][None, None], stride=2, dilation=2) ** 2).sum()

    check(case_of(eq, reference), x="x_bar[2*p + 2*u] += k[u]*y_bar[p]")


def test_an_index_that_occurs_in_two_axes() -> None:
    eq = Equations()
    i, j = eq.axis("i", 3), eq.axis("j", 4)
    total, difference = eq.axis("t", 6), eq.axis("d", 6)
    x, w = eq.parameter("x", total, difference), eq.given("w", i, j)
    eq.let("loss", (), x[i + j, i - j + 3] ** 2 * w[i, j], (i, j))

    def reference(t: Tensors) -> torch.Tensor:
        return sum(t["x"][i + j, i - j + 3] ** 2 * t["w"][i, j] for i in range(3) for j in range(4))

    check(case_of(eq, reference))


def test_reduced_and_free_indices_change_places_in_name() -> None:
    eq = Equations()
    b, k, i = eq.axis("b", "B"), eq.axis("k", 3), eq.axis("i", 3)
    h, U = eq.parameter("h", b, k), eq.given("U", i, k)
    z = eq.let("z", (b, k), h[b, i] * U[i, k], (i,))
    eq.let("loss", (), z[b, k] ** 2, (b, k))
    case = case_of(eq, lambda t: ((t["h"] @ t["U"]) ** 2).sum(), B=7)
    check(case, h="h_bar[b, k] += sum[i] U[k, i]*z_bar[b, i]")


def test_an_empty_sum_is_not_written_outside_the_tensor() -> None:
    """With i = 1 no k is left, and there is no ``x[-1]`` that the gradient could be added to."""
    eq = Equations()
    i, k, m = eq.axis("i", 6), eq.axis("k", 3), eq.axis("m", 4)
    x, w = eq.parameter("x", m), eq.parameter("w", k)
    y = eq.let("y", (i,), x[i - 2] * w[k], (k,), where=[NonNegative(i - 2 - k)])
    eq.let("loss", (), y[i] ** 2, (i,))

    def reference(t: Tensors) -> torch.Tensor:
        return sum((t["x"][n] * t["w"][: n + 1].sum()) ** 2 for n in range(4))

    check(case_of(eq, reference), x="x_bar[m] += sum[k] w[k]*y_bar[m + 2]    where m >= k, m >= 0")


# --------------------------------------------------------------------------------------------------------- small pieces


def whole(index: Index, stop: Affine | Size | int) -> Range:
    return Range(index, ZERO, Affine.of(stop))


def test_a_guard_that_fixes_a_reduced_index_leaves_nothing_to_sum() -> None:
    i, r = Index("i"), Index("r")
    n = Size("n")
    target = Tensor("x_bar", (Affine.of(n),), Role.ADJOINT, ("i",))
    domain = Domain((whole(i, n), whole(r, n)), (Zero(r - i - 1),))
    body = Body.of(Read("g", (Affine.of(i), Affine.of(r))))
    found = gather(target, (Affine.of(i),), (i,), (r,), domain, body, Origin())
    assert found is not None
    assert statement_text(found) == "x_bar[i] += g[i, i + 1]    where n >= i + 2"


def test_a_contribution_that_never_happens_is_no_statement() -> None:
    i = Index("i")
    target = Tensor("x_bar", (Affine.of(3),), Role.ADJOINT, ("i",))
    domain = Domain((whole(i, 3),), (NonNegative(Affine.of(-1)),))
    assert gather(target, (Affine.of(i),), (i,), (), domain, Body.of(1), Origin()) is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (floor_div(Size("E") * Index("h") + Index("e"), Size("E")), "h"),
        (mod(Size("E") * Index("h") + Index("e"), Size("E")), "e"),
        (floor_div(6 * Index("h") + Index("q") + 5, 6), "h + (q + 5)//6"),
        (mod(mod(Index("h") + 1, 7) + 3, 7), "(h + 4) % 7"),
        (mod(Index("h") + 14, 7), "h % 7"),
    ],
)
def test_divisions_that_a_box_decides(value: Affine, expected: str) -> None:
    ranges = (whole(Index("h"), Size("H")), whole(Index("e"), Size("E")), whole(Index("q"), 3))
    assert str(simplify_divisions(value, ranges)) == expected


@st.composite
def readings(draw: st.DrawFn) -> tuple[dict[str, int], tuple[Affine, ...], tuple[int, ...], tuple[NonNegative, ...]]:
    """Extents of three indices, subscripts of one or two axes over them, the shape that they fit in, and guards."""
    extents = {name: draw(st.integers(1, 4)) for name in "ijk"}
    subscripts, shape = [], []
    for _ in range(draw(st.integers(1, 2))):
        factors = {name: draw(st.sampled_from([0, 0, 1, 1, -1, 2, 3])) for name in "ijk"}
        value = sum((f * Index(name) for name, f in factors.items()), ZERO)
        lowest = sum(f * (extents[name] - 1) for name, f in factors.items() if f < 0)
        highest = sum(abs(f) * (extents[name] - 1) for name, f in factors.items())
        value = value - lowest
        form, divisor = draw(st.sampled_from(["affine", "affine", "floor", "remainder"])), draw(st.integers(2, 5))
        if form == "floor":
            value, highest = floor_div(value, divisor), highest // divisor
        elif form == "remainder":
            value, highest = mod(value, divisor), divisor - 1
        subscripts.append(value)
        shape.append(highest + 1 + draw(st.integers(0, 2)))
    guards = []
    if draw(st.booleans()):
        bound = {name: draw(st.integers(-2, 2)) for name in "ijk"}
        guards.append(NonNegative(sum((f * Index(n) for n, f in bound.items()), Affine.of(draw(st.integers(-2, 3))))))
    return extents, tuple(subscripts), tuple(shape), tuple(guards)


def value_at(value: Affine, at: dict[str, int]) -> int:
    """The value of an affine expression at one point, in plain Python."""
    total = 0
    for monomial, factor in value.terms:
        term = factor
        for atom in monomial:
            if isinstance(atom, Index):
                term *= at[atom.name]
            elif isinstance(atom, FloorDiv):
                term *= value_at(atom.numerator, at) // value_at(atom.divisor, at)
            else:
                assert isinstance(atom, Mod)
                term *= value_at(atom.numerator, at) % value_at(atom.divisor, at)
        total += term
    return total


@settings(max_examples=300, deadline=None, derandomize=True)
@given(readings())
def test_any_reading_collects_what_a_plain_scatter_sends(
    reading: tuple[dict[str, int], tuple[Affine, ...], tuple[int, ...], tuple[NonNegative, ...]],
) -> None:
    extents, subscripts, shape, guards = reading
    eq = Equations()
    i, j, k = (eq.axis(name, extent) for name, extent in extents.items())
    axes = [eq.axis(f"x{d}", extent) for d, extent in enumerate(shape)]
    x, w = eq.parameter("x", *axes), eq.given("w", i, j, k)
    y = eq.let("y", (i,), w[i, j, k] * x[subscripts], (j, k), where=guards)
    eq.let("loss", (), y[i], (i,))
    program = eq.program("loss")
    feed = random_feed(program, {})
    expected = np.zeros(shape)
    for point in product(*(range(e) for e in extents.values())):
        at = dict(zip("ijk", point, strict=True))
        if all(value_at(g.value, at) >= 0 for g in guards):
            expected[tuple(value_at(s, at) for s in subscripts)] += feed["w"][point]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SymbpWarning)
        found = interpret(differentiate(program).program, {}, feed)["x_bar"]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)

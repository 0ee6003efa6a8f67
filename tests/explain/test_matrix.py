"""Matrix forms are computed with NumPy and compared with the equations that they stand for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product as every

import numpy as np
import pytest
from numpy.typing import NDArray

from symbp.check import interpret, random_feed
from symbp.explain.formula import Formula, formulas, temporaries
from symbp.explain.matrix import MatrixForm, matrix_form
from symbp.explain.notation import (
    Element,
    IndexName,
    MatrixProduct,
    Node,
    Number,
    Ones,
    Product,
    Quotient,
    Reduced,
    SizeName,
    Total,
    Transposed,
)
from symbp.explain.write_text import matrix_text
from symbp.ir import Affine, NonNegative, Program, Role, Size
from tests.derive.equations import Equations
from tests.explain.models import classifier, recurrent

Array = NDArray[np.float64]
Values = dict[str, Array]


class Evaluator:
    """The value of a matrix expression at given labels; vectors are columns."""

    def __init__(self, values: Values, sizes: dict[str, int], extents: dict[str, int], labels: dict[str, int]) -> None:
        self.values, self.sizes, self.extents, self.labels = values, sizes, extents, labels

    def index(self, node: Node) -> int:
        match node:
            case Number(value):
                return value
            case IndexName(name):
                return self.labels[name]
            case SizeName(name):
                return self.sizes[name]
            case Total(terms):
                return sum(-self.index(t) if negative else self.index(t) for negative, t in terms)
            case Product(factors):
                return int(np.prod([self.index(f) for f in factors]))
        raise AssertionError(node)

    def matrix(self, node: Node) -> Array:
        match node:
            case Element(tensor, subscripts):
                key = tuple(slice(None) if s is None else self.index(s) for s in subscripts)
                found = np.asarray(self.values[tensor][key])
                assert found.ndim <= 2
                return found.reshape(-1, 1) if found.ndim == 1 else found
            case Number() | SizeName():
                return np.array(float(self.index(node)))
            case Transposed(matrix):
                return self.matrix(matrix).T
            case MatrixProduct((first, Ones())):
                left = self.matrix(first)
                return left @ np.ones((left.shape[1], 1))
            case MatrixProduct((first, second)):
                return self.matrix(first) @ self.matrix(second)
            case Product((*scalars, last)):
                return np.prod([self.matrix(s) for s in scalars]) * self.matrix(last)
            case Quotient(above, below):
                return self.matrix(above) / self.matrix(below)
            case Reduced("sum", (index, *others), (), body):
                inner = Reduced("sum", tuple(others), (), body) if others else body
                return sum(self.at(index.name, k).matrix(inner) for k in range(self.extents[index.name]))
        raise AssertionError(node)

    def at(self, name: str, value: int) -> Evaluator:
        return Evaluator(self.values, self.sizes, self.extents, {**self.labels, name: value})

    def total(self, node: Node, shape: tuple[int, ...]) -> Array:
        """A sum of matrices; a column of ones is as long as the result."""
        terms = node.terms if isinstance(node, Total) else ((False, node),)
        result = np.zeros(shape)
        for negative, term in terms:
            ones = isinstance(term, MatrixProduct) and isinstance(term.factors[0], Ones)
            value = self.matrix(term.factors[1]) if ones and isinstance(term, MatrixProduct) else self.matrix(term)
            result = result + (-value if negative else value)
        return result


def labels_of(node: Element, form: MatrixForm) -> list[str]:
    assert isinstance(form.left, Element)
    names: dict[str, None] = {}

    def visit(part: Node) -> None:
        match part:
            case IndexName(name):
                names[name] = None
            case Total(terms):
                for _, term in terms:
                    visit(term)
            case Product(factors):
                for factor in factors:
                    visit(factor)

    for subscript in form.left.subscripts:
        if subscript is not None:
            visit(subscript)
    return list(names)


def check_forms(program: Program, sizes: dict[str, int]) -> list[str]:
    """Compare every matrix form of a program with the interpreter; their texts."""
    feed = random_feed(program, sizes, seed=1)
    values = {**feed, **interpret(program, sizes, feed)}
    told = []
    for formula in formulas(program, program.statements, temporaries(program)):
        form = matrix_form(formula)
        if form is None or len(program.definitions(formula.left.tensor)) > 1:
            continue
        extents = {r.index.name: _extent(r.extent, sizes) for s in program.statements for r in s.domain.ranges}
        assert isinstance(form.left, Element)
        names = labels_of(form.left, form)
        for position in every(*(range(extents[n]) for n in names)):
            at = Evaluator(values, sizes, extents, dict(zip(names, position, strict=True)))
            expected = at.matrix(form.left)
            np.testing.assert_allclose(at.total(form.right, expected.shape), expected, rtol=1e-12)
        told.append(matrix_text(form, formula.adds))
    return told


def _extent(extent: Affine, sizes: dict[str, int]) -> int:
    return sum(c * int(np.prod([sizes[a.name] for a in m if isinstance(a, Size)])) for m, c in extent.terms)


def test_a_classifier() -> None:
    assert check_forms(classifier().program, {"n_batch": 7}) == [
        "z1 = x W1 + 1 c1ᵀ",
        "z2 = a1 W2 + 1 c2ᵀ",
        "c2_bar = z2_barᵀ 1",
        "W2_bar = a1ᵀ z2_bar",
        "a1_bar = z2_bar W2ᵀ",
        "c1_bar = z1_barᵀ 1",
        "W1_bar = xᵀ z1_bar",
    ]


def test_a_recurrence() -> None:
    assert check_forms(recurrent().program, {"n_batch": 3, "n_time": 4}) == [
        "a[:, t] = x[:, t] W + h[:, t] U",
        "W_bar = sum[t] x[:, t]ᵀ a_bar[:, t]",
        "U_bar = sum[t] h[:, t]ᵀ a_bar[:, t]",
    ]


def products() -> Iterator[tuple[str, str | None, Callable[[Equations], None]]]:
    """Name, expected form, and what builds ``y``."""

    def case(name: str, form: str | None) -> Callable[[Callable[[Equations], None]], None]:
        def add(build: Callable[[Equations], None]) -> None:
            found.append((name, form, build))

        return add

    found: list[tuple[str, str | None, Callable[[Equations], None]]] = []

    @case("matrix times vector", "y = A v")
    def _(e: Equations) -> None:
        i, j = e.axis("i", 3), e.axis("j", 5)
        A, v = e.given("A", i, j), e.given("v", j)
        e.let("y", (i,), v[j] * A[i, j], over=(j,))

    @case("transposed matrix times vector", "y = Aᵀ v")
    def _(e: Equations) -> None:
        i, j = e.axis("i", 3), e.axis("j", 5)
        A, v = e.given("A", i, j), e.given("v", i)
        e.let("y", (j,), v[i] * A[i, j], over=(i,))

    @case("scalar product", "y = uᵀ v")
    def _(e: Equations) -> None:
        i = e.axis("i", 3)
        u, v = e.given("u", i), e.given("v", i)
        e.let("y", (), u[i] * v[i], over=(i,))

    @case("result transposed", "y = B Aᵀ")
    def _(e: Equations) -> None:
        i, j, k = e.axis("i", 3), e.axis("j", 5), e.axis("k", 4)
        A, B = e.given("A", i, j), e.given("B", k, j)
        e.let("y", (k, i), A[i, j] * B[k, j], over=(j,))

    @case("squares are not told as a product", None)
    def _(e: Equations) -> None:
        i, j, k = e.axis("i", 3), e.axis("j", 5), e.axis("k", 4)
        A, B = e.given("A", i, j), e.given("B", j, k)
        e.let("y", (i, k), A[i, j] * B[j, k] * B[j, k], over=(j,))

    @case("batches of scores", "y[b] = q[b] s[b]ᵀ/4")
    def _(e: Equations) -> None:
        b, i, j, d = e.axis("b", 2), e.axis("i", 3), e.axis("j", 5), e.axis("d", 4)
        q, s = e.given("q", b, i, d), e.given("s", b, j, d)
        e.let("y", (b, i, j), q[b, i, d] * s[b, j, d] / 4, over=(d,))

    @case("a convolution", "y[:, p] = sum[u] x[:, :, p + u] K[:, :, u]ᵀ")
    def _(e: Equations) -> None:
        b, c, o, u, p = e.axis("b", 2), e.axis("c", 3), e.axis("o", 4), e.axis("u", 3), e.axis("p", 5)
        q = e.axis("q", 7)
        x, K = e.given("x", b, c, q), e.given("K", o, c, u)
        e.let("y", (b, p, o), x[b, c, p + u] * K[o, c, u], over=(c, u))

    @case("a triangle is no matrix product", None)
    def _(e: Equations) -> None:
        i, j = e.axis("i", 3), e.axis("j", 3)
        A, v = e.given("A", i, j), e.given("v", j)
        e.let("y", (i,), A[i, j] * v[j], over=(j,), where=(NonNegative(i - j),))

    @case("a diagonal is no matrix", None)
    def _(e: Equations) -> None:
        i = e.axis("i", 3)
        A, v = e.given("A", i, i), e.given("v", i)
        e.let("y", (), A[i, i] * v[i], over=(i,))

    @case("a part of an axis is no matrix product", None)
    def _(e: Equations) -> None:
        i, j = e.axis("i", 3), e.axis("j", 5)
        A, v = e.given("A", i, j), e.given("v", j)
        e.let("y", (i,), A[i, j] * v[j], over=(j,), starts={j: 1})

    @case("three factors are not told as two", None)
    def _(e: Equations) -> None:
        i, j = e.axis("i", 3), e.axis("j", 5)
        A, v, w = e.given("A", i, j), e.given("v", j), e.given("w", j)
        e.let("y", (i,), A[i, j] * v[j] * w[j], over=(j,))

    yield from found


@pytest.mark.parametrize(("form", "build"), [(f, b) for _, f, b in products()], ids=[n for n, _, _ in products()])
def test_products(form: str | None, build: Callable[[Equations], None]) -> None:
    e = Equations()
    build(e)
    assert check_forms(e.program(), {}) == ([] if form is None else [form])


def test_a_scalar_tensor_scales() -> None:
    e = Equations()
    b, j, k = e.axis("b", "n_batch"), e.axis("j", 5), e.axis("k", 4)
    rate = e.given("rate", role=Role.HYPER)
    x, z, n = e.given("x", b, j), e.given("z", b, k), e.value(Size("n_batch"))
    e.let("y", (j, k), 2 * e.symbol(rate.read()) * x[b, j] * z[b, k] / n, over=(b,))
    assert check_forms(e.program(), {"n_batch": 3}) == ["y = 2*rate*xᵀ z/n_batch"]


def test_a_form_of_an_inlined_sum_needs_a_formula() -> None:
    formula: Formula = formulas(classifier().program, classifier().program.definitions("a1"), {})[0]
    assert matrix_form(formula) is None

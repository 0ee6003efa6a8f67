"""The matrix form of an equation that has one: ``W_bar[j, k] = sum[b] x[b, j]*z_bar[b, k]`` is ``W_bar = xᵀ z_bar``.

Each term of the right-hand side must be a product of two tensors summed over an index that both have. Up to one row
index and one column index stay; every further index that factors and left-hand side share labels a matrix of its own:
``s[b] = q[b] k[b]ᵀ``. Sums over labels are written out: ``U_bar = sum[t] h[t]ᵀ z_bar[t + 1]``.
"""

from __future__ import annotations

from dataclasses import dataclass

from symbp.explain.formula import Formula
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
    product,
)


@dataclass(frozen=True)
class MatrixForm:
    """``left = right`` in whole matrices."""

    left: Node
    right: Node


def matrix_form(formula: Formula) -> MatrixForm | None:
    """The matrix form, or None where there is none or where conditions cut the matrices."""
    if formula.conditions:
        return None
    terms = formula.right.terms if isinstance(formula.right, Total) else ((False, formula.right),)
    if not any(_is_sum(term) for _, term in terms):
        return None
    kept = _matrix_indices(formula.left, [term for _, term in terms if _is_sum(term)])
    if kept is None:
        return None
    parts: list[tuple[bool, Node]] = []
    for negative, term in terms:
        part = _term(term, kept)
        if part is None:
            return None
        parts.append((negative, part))
    left = _slice(formula.left, kept)
    right = parts[0][1] if len(parts) == 1 and not parts[0][0] else Total(tuple(parts))
    return MatrixForm(left, right) if left is not None else None


def _is_sum(node: Node) -> bool:
    return isinstance(node, Reduced) and node.operator == "sum"


def _plain(node: Element) -> list[str | None]:
    return [s.name if isinstance(s, IndexName) else None for s in node.subscripts]


def _factors(node: Node) -> tuple[list[Node], list[Element], list[Node]]:
    """Scalar factors, elements with subscripts, and scalar divisors of a product."""
    below: list[Node] = []
    if isinstance(node, Quotient) and not node.guarded:
        below = list(node.denominator.factors) if isinstance(node.denominator, Product) else [node.denominator]
        node = node.numerator
    above = list(node.factors) if isinstance(node, Product) else [node]
    elements = [f for f in above if isinstance(f, Element) and f.subscripts]
    return [f for f in above if f not in elements], elements, below


def _is_scalar(node: Node) -> bool:
    return isinstance(node, Number | SizeName) or (isinstance(node, Element) and not node.subscripts)


def _contraction(node: Reduced) -> str | None:
    """The first summed index that every factor has, by itself: the inner dimension of the product."""
    _, elements, _ = _factors(node.body)
    for index in node.indices:
        if elements and all(_plain(e).count(index.name) == 1 for e in elements):
            return index.name
    return None


def _matrix_indices(left: Element, sums: list[Node]) -> tuple[str, ...] | None:
    """The row and column index of the result: free indices that only one factor of each product has."""
    plain = [i for i in _plain(left) if i is not None]
    if len(set(plain)) < len(plain):
        return None
    owners: dict[str, list[Element]] = {i: [] for i in plain}
    for node in sums:
        assert isinstance(node, Reduced)
        _, elements, _ = _factors(node.body)
        for i in plain:
            mine = [e for e in elements if i in _plain(e)]
            if len(mine) != 1:  # shared by both factors, or by none: a label
                owners.pop(i, None)
            elif i in owners:
                owners[i].extend(mine)
    # Of several rows that one factor owns, (b, t), the first is the matrix's and the others are labels.
    kept: dict[int, str] = {}
    for i, mine in owners.items():
        kept.setdefault(next((n for n, j in kept.items() if owners[j] == mine), len(kept)), i)
    return tuple(kept.values()) if len(kept) <= 2 else None


def _term(node: Node, kept: tuple[str, ...]) -> Node | None:
    if isinstance(node, Reduced) and node.operator == "sum":
        return _sum_term(node, kept)
    if isinstance(node, Element):  # a matrix of the same shape, or a row added to every row
        have = tuple(i for i in _plain(node) if i in kept)
        whole = _slice(node, kept)
        if have == kept:
            return whole
        if len(kept) == 2 and have == kept[1:] and whole is not None:
            return MatrixProduct((Ones(), Transposed(whole)))
    return None


def _sum_term(node: Reduced, kept: tuple[str, ...]) -> Node | None:
    inner = _contraction(node)
    scalars, elements, below = _factors(node.body)
    if inner is None or node.conditions or not 1 <= len(elements) <= 2 or not all(map(_is_scalar, scalars + below)):
        return None
    if len(elements) == 1 and (scalars or below or len(kept) != 1):
        return None
    if not kept and len(node.indices) > 1:  # a sum of scalar products says less than the sum itself
        return None
    # The factor that owns the row index stands first; without one, it is a matrix times a vector.
    ordered = sorted(elements, key=lambda e: _position(e, kept))
    matrices = []
    for position, matrix in enumerate(ordered):
        oriented = _orient(matrix, inner, kept, rows_first=position == 0)
        if oriented is None:
            return None
        matrices.append(oriented)
    if len(ordered) == 1:
        matrices.append(Ones())
    result: Node = product((*scalars, MatrixProduct(tuple(matrices)))) if scalars else MatrixProduct(tuple(matrices))
    if below:
        result = Quotient(result, product(tuple(below)))
    labels = tuple(i for i in node.indices if i.name != inner)
    return Reduced("sum", labels, (), result) if labels else result


def _position(matrix: Element, kept: tuple[str, ...]) -> int:
    return min([kept.index(i) for i in _plain(matrix) if i in kept], default=len(kept))


def _orient(matrix: Element, inner: str, kept: tuple[str, ...], *, rows_first: bool) -> Node | None:
    """The factor, transposed where its axes stand the other way round."""
    axes = [i for i in _plain(matrix) if i == inner or i in kept]
    whole = _slice(matrix, (*kept, inner))
    if whole is None or len(axes) > 2:
        return None
    if len(axes) == 1:  # a vector is a column; as a first factor it is a row
        return Transposed(whole) if rows_first else whole
    as_it_is = axes[1] == inner if rows_first else axes[0] == inner
    return whole if as_it_is else Transposed(whole)


def _slice(matrix: Element, axes: tuple[str, ...]) -> Element | None:
    """The tensor with its matrix axes left whole; leading labels stay, ``x[:, t]`` shows what lies between."""
    kept = [None if i is not None and i in axes else s for i, s in zip(_plain(matrix), matrix.subscripts, strict=True)]
    if any(_mentions(s, axes) for s in kept if s is not None):
        return None
    while kept and kept[-1] is None:
        kept.pop()
    return Element(matrix.tensor, tuple(kept))


def _mentions(node: Node, names: tuple[str, ...]) -> bool:
    """True if an index of a matrix also occurs inside a label, as in ``h[b, t - b]``."""
    if isinstance(node, IndexName):
        return node.name in names
    if isinstance(node, Total):
        return any(_mentions(term, names) for _, term in node.terms)
    if isinstance(node, Product):
        return any(_mentions(f, names) for f in node.factors)
    return not isinstance(node, Number | SizeName)

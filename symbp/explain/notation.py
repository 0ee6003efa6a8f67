"""What is written, before how: the tree that the text, LaTeX and MathML writers share.

Node  ::=  Number | Decimal | Constant | IndexName | SizeName | Element
        |  Total | Product | Quotient | Power | Call | Choice | Bracket | Derivative | Relation | Logic
        |  Reduced                                         a sum, maximum or argmax with what it runs over
        |  Transposed | MatrixProduct | Ones                (matrix form only)

Signs, the order of terms, fractions and brackets are decided here once; a writer only knows what each node looks like.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import sympy as sp
from sympy.core.relational import Relational

from symbp.ir import Affine, Body, Divisible, FloorDiv, Guard, Holds, Index, Mod, NonNegative, Read, Reduction, Size
from symbp.ir.affine import Atom
from symbp.ir.body import Operand, slot
from symbp.ir.functions import safe_div, select, sqrt, step
from symbp.ir.text import LONGEST_FRACTION


@dataclass(frozen=True, slots=True)
class Number:
    """A non-negative integer; signs are in `Total`, fractions in `Quotient`."""

    value: int


@dataclass(frozen=True, slots=True)
class Decimal:
    """``digits * 10**exponent``, for what a user wrote as a decimal number: 0.9, 1e-8."""

    digits: str
    exponent: int = 0


@dataclass(frozen=True, slots=True)
class Constant:
    """``pi``, ``e`` or ``infinity``."""

    name: str


@dataclass(frozen=True, slots=True)
class IndexName:
    name: str


@dataclass(frozen=True, slots=True)
class SizeName:
    name: str


@dataclass(frozen=True, slots=True)
class Element:
    """``x[b, j + 1]``, or a whole tensor; a subscript of None is a whole axis (matrix form only)."""

    tensor: str
    subscripts: tuple[Node | None, ...] = ()


@dataclass(frozen=True, slots=True)
class Total:
    """A sum of signed terms: ``(negative, node)``. One negative term is a unary minus."""

    terms: tuple[tuple[bool, Node], ...]


@dataclass(frozen=True, slots=True)
class Product:
    factors: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Quotient:
    """``numerator/denominator``; a guarded one is 0 where the denominator is 0."""

    numerator: Node
    denominator: Node
    guarded: bool = False


@dataclass(frozen=True, slots=True)
class Power:
    base: Node
    exponent: Node


@dataclass(frozen=True, slots=True)
class Call:
    function: str
    arguments: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """``yes`` where the condition holds, else ``no``."""

    condition: Node
    yes: Node
    no: Node


@dataclass(frozen=True, slots=True)
class Bracket:
    """Iverson's bracket: 1 where the condition holds, else 0."""

    condition: Node


@dataclass(frozen=True, slots=True)
class Relation:
    """``left operator right`` with one of ``== != < <= > >=``."""

    left: Node
    operator: str
    right: Node


@dataclass(frozen=True, slots=True)
class Logic:
    """``and``, ``or`` (any number of arguments) or ``not`` (one)."""

    operator: str
    arguments: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Derivative:
    """The derivative of one element with respect to another, as a model may ask for it."""

    of: Node
    wrt: Node


@dataclass(frozen=True, slots=True)
class Span:
    """An index that does not run over a whole axis: ``lower <= index <= last``."""

    index: IndexName
    lower: Node
    last: Node


@dataclass(frozen=True, slots=True)
class Reduced:
    """``sum over indices, where conditions hold, of body``; `conditions` are spans and relations."""

    operator: str
    indices: tuple[IndexName, ...]
    conditions: tuple[Node, ...]
    body: Node


@dataclass(frozen=True, slots=True)
class Transposed:
    matrix: Node


@dataclass(frozen=True, slots=True)
class MatrixProduct:
    factors: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Ones:
    """A column of ones, as long as it must be."""


Node = (
    Number | Decimal | Constant | IndexName | SizeName | Element | Total | Product | Quotient | Power | Call | Choice
    | Bracket | Derivative | Relation | Logic | Span | Reduced | Transposed | MatrixProduct | Ones
)  # fmt: skip

ONE = Number(1)

#: How tightly a node binds. Below a writer's limit it goes in brackets.
LOOSE, TERM, FACTOR, BASE, ATOM = range(5)


def binding(node: Node) -> int:
    """Where `node` stands among LOOSE (relations), TERM (sums), FACTOR (products), BASE (powers) and ATOM."""
    if isinstance(node, Relation | Logic | Span):
        return LOOSE
    if isinstance(node, Total | Reduced):
        return TERM
    if isinstance(node, Product | Quotient | MatrixProduct | Derivative):
        return FACTOR
    if isinstance(node, Decimal) and node.exponent:
        return FACTOR
    if isinstance(node, Power | Transposed):
        return BASE
    return ATOM


def product(factors: tuple[Node, ...]) -> Node:
    """The product without needless ones."""
    kept = tuple(f for f in factors if f != ONE)
    return kept[0] if len(kept) == 1 else Product(kept) if kept else ONE


def negate(node: Node) -> Node:
    if isinstance(node, Total):
        return Total(tuple((not negative, term) for negative, term in node.terms))
    return Total(((True, node),))


# Index arithmetic.


def affine_node(value: Affine) -> Node:
    """Positive terms first, the constant last: ``i - j + 1``."""
    if not value.terms:
        return Number(0)
    ordered = sorted(value.terms, key=lambda term: (not term[0], term[1] < 0))
    terms = []
    for monomial, factor in ordered:
        atoms = tuple(map(_atom_node, monomial))
        terms.append((factor < 0, product((Number(abs(factor)), *atoms))))
    return terms[0][1] if len(terms) == 1 and not terms[0][0] else Total(tuple(terms))


def _atom_node(atom: Atom) -> Node:
    if isinstance(atom, Index):
        return IndexName(atom.name)
    if isinstance(atom, Size):
        return SizeName(atom.name)
    if isinstance(atom, Read):
        return element(atom)
    if isinstance(atom, FloorDiv):
        return Call("floor", (Quotient(affine_node(atom.numerator), affine_node(atom.divisor)),))
    assert isinstance(atom, Mod)
    return Call("mod", (affine_node(atom.numerator), affine_node(atom.divisor)))


def element(read: Read) -> Element:
    return Element(read.tensor, tuple(map(affine_node, read.subscripts)))


def guard_node(guard: Guard) -> Node:
    """A guard as people write it: ``a - b >= 0`` as ``a >= b``."""
    if isinstance(guard, Holds):
        return body_node(guard.condition)
    if isinstance(guard, Divisible):
        return Relation(Call("mod", (affine_node(guard.value), Number(guard.by))), "==", Number(0))
    left = Affine(tuple((m, c) for m, c in guard.value.terms if c > 0))
    right = Affine(tuple((m, -c) for m, c in guard.value.terms if c < 0))
    operator = ">=" if isinstance(guard, NonNegative) else "=="
    # i >= j + 1 over integers is i > j; 7 >= i is better read as i <= 7.
    if operator == ">=" and right.constant == 1 and len(right.terms) > 1:
        operator, right = ">", right - 1
    if not left.indices() and right.indices() and not left.reads():
        left, operator, right = right, {">=": "<=", ">": "<", "==": "=="}[operator], left
    return Relation(affine_node(left), operator, affine_node(right))


# Scalar bodies.

OperandNode = Callable[[Operand], "Node"]


def operand_node(operand: Operand) -> Node:
    return element(operand) if isinstance(operand, Read) else affine_node(operand)


def body_node(body: Body, operand: OperandNode = operand_node) -> Node:
    """The notation of a body, its operands written by `operand`."""
    nodes = {slot(k): operand(o) for k, o in enumerate(body.operands)}
    return _expression(body.expr, nodes)


def _expression(expr: sp.Basic, slots: dict[sp.Symbol, Node]) -> Node:
    def inner(part: sp.Basic) -> Node:
        return _expression(part, slots)

    if isinstance(expr, sp.Symbol):
        return slots.get(expr) or Constant(expr.name)
    if isinstance(expr, sp.Rational):
        return _rational(expr)
    if expr is sp.pi or expr is sp.E:
        return Constant("pi" if expr is sp.pi else "e")
    if expr in (sp.oo, -sp.oo):
        return Constant("infinity") if expr is sp.oo else negate(Constant("infinity"))
    if isinstance(expr, sp.Add):
        return _total(expr, slots)
    if isinstance(expr, sp.Mul):
        return _product(expr, slots)
    if isinstance(expr, sp.Pow):
        return _power(expr, slots)
    if isinstance(expr, Relational):
        return Relation(inner(expr.lhs), expr.rel_op, inner(expr.rhs))
    if isinstance(expr, sp.And | sp.Or | sp.Not):
        names = {sp.And: "and", sp.Or: "or", sp.Not: "not"}
        ordered = sorted(expr.args, key=sp.default_sort_key)
        return Logic(names[type(expr)], tuple(map(inner, ordered)))
    if isinstance(expr, select):
        return _choice(*map(inner, expr.args))
    if isinstance(expr, step):
        return Bracket(Relation(inner(expr.args[0]), ">", Number(0)))
    if isinstance(expr, safe_div):
        return Quotient(inner(expr.args[0]), inner(expr.args[1]), guarded=True)
    if isinstance(expr, sqrt):
        return Call("sqrt", (inner(expr.args[0]),))
    return Call({"absolute": "abs"}.get(expr.func.__name__, expr.func.__name__), tuple(map(inner, expr.args)))


def _choice(condition: Node, yes: Node, no: Node) -> Node:
    if (yes, no) == (ONE, Number(0)):
        return Bracket(condition)
    return Choice(condition, yes, no)


def _rational(value: sp.Rational) -> Node:
    above, below = _coefficient(value)
    size = above if below == ONE else Quotient(above, below)
    return negate(size) if value < 0 else size


def _coefficient(value: sp.Rational) -> tuple[Node, Node]:
    """Numerator and denominator of a number's size; what was written as a decimal is one: 9/10 is 0.9, 1/64 stays."""
    p, q = abs(int(value.p)), int(value.q)
    if q != 1 and len(f"{p}/{q}") > LONGEST_FRACTION:
        mantissa, _, exponent = repr(p / q).partition("e")
        return Decimal(mantissa, int(exponent or 0)), ONE
    digits = len(str(q)) - 1
    if q == 1 or q % 10 or (p == 1 and q != 10**digits) or 10**12 % q:
        return Number(p), Number(q)
    whole, part = divmod(p * (10**12 // q), 10**12)
    decimals = f"{part:012d}".rstrip("0")
    if whole == 0 and decimals.startswith("000"):
        figures = decimals.lstrip("0")
        mantissa = figures if len(figures) == 1 else f"{figures[0]}.{figures[1:]}"
        return Decimal(mantissa, len(figures) - len(decimals) - 1), ONE
    return Decimal(f"{whole}.{decimals}"), ONE


def _total(expr: sp.Add, slots: dict[sp.Symbol, Node]) -> Node:
    terms: list[tuple[bool, Node]] = []
    for term in expr.args:
        negative = bool(term.as_coeff_Mul()[0].is_negative)
        node = _expression(-term if negative else term, slots)
        terms.append((negative, node))
    # Positive terms first, and sums before what is added to them, as in x W + c. A constant leads only a difference.
    constant_leads = any(negative for negative, _ in terms)
    terms.sort(key=lambda t: (t[0], 0 if _is_reduced(t[1]) else 1, 0 if constant_leads == _is_number(t[1]) else 1))
    flat: list[tuple[bool, Node]] = []
    for negative, node in terms:
        if isinstance(node, Total):  # an operand that was written out
            flat.extend((negative != inner, part) for inner, part in node.terms)
        else:
            flat.append((negative, node))
    return Total(tuple(flat))


def _is_number(node: Node) -> bool:
    return isinstance(node, Number | Decimal) or (isinstance(node, Quotient) and _is_number(node.numerator))


def _is_reduced(node: Node) -> bool:
    return isinstance(node, Reduced) or (isinstance(node, Product) and any(map(_is_reduced, node.factors)))


def _product(expr: sp.Mul, slots: dict[sp.Symbol, Node]) -> Node:
    coefficient, rest = expr.as_coeff_Mul()
    numerator, denominator = _coefficient(coefficient)
    above, below = [numerator], [denominator]
    for factor in sp.Mul.make_args(rest):
        base, exponent = factor.as_base_exp() if isinstance(factor, sp.Pow) else (factor, sp.S.One)
        if exponent.is_Rational and exponent < 0:
            below.append(_expression(base**-exponent, slots))
        else:
            above.append(_expression(factor, slots))
    # A written-out sum goes last, where it needs no brackets.
    above.sort(key=_is_reduced)
    top, bottom = product(tuple(above)), product(tuple(below))
    node = top if bottom == ONE else Quotient(top, bottom)
    return negate(node) if coefficient < 0 else node


def _power(expr: sp.Pow, slots: dict[sp.Symbol, Node]) -> Node:
    base, exponent = expr.as_base_exp()
    if exponent.is_Rational and exponent < 0:
        return Quotient(ONE, _expression(base**-exponent, slots))
    node = _expression(base, slots)
    if exponent == sp.S.Half:
        return Call("sqrt", (node,))
    return Power(node, _expression(exponent, slots))


def reduced(operator: Reduction, indices: tuple[Index, ...], conditions: tuple[Node, ...], body: Node) -> Node:
    """A reduction over nothing is its body; a minus sign leaves a sum."""
    if operator is Reduction.NONE:
        return body
    names = tuple(IndexName(i.name) for i in indices)
    if operator is Reduction.SUM and isinstance(body, Total) and all(negative for negative, _ in body.terms):
        return negate(
            Reduced(operator.value, names, conditions, negate(body) if len(body.terms) > 1 else body.terms[0][1])
        )
    return Reduced(operator.value, names, conditions, body)


def children(node: Node) -> tuple[Node, ...]:
    """The nodes right below."""
    match node:
        case Element(_, subscripts):
            return tuple(s for s in subscripts if s is not None)
        case Total(terms):
            return tuple(term for _, term in terms)
        case Product(parts) | MatrixProduct(parts) | Call(_, parts) | Logic(_, parts):
            return parts
        case Derivative(one, other) | Quotient(one, other, _) | Power(one, other) | Relation(one, _, other):
            return (one, other)
        case Choice(condition, yes, no):
            return (condition, yes, no)
        case Bracket(only) | Transposed(only):
            return (only,)
        case Span(index, lower, last):
            return (index, lower, last)
        case Reduced(_, indices, conditions, body):
            return (*indices, *conditions, body)
        case _:
            return ()


def contains(node: Node, wanted: Callable[[Node], bool]) -> bool:
    """True if `node`, or a node inside it, is wanted."""
    return wanted(node) or any(contains(child, wanted) for child in children(node))

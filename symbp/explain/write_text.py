"""Equations as plain text, in the notation of spec files: ``z[b, k] = sum[j] x[b, j]*W[j, k] + c[k]``."""

from __future__ import annotations

from symbp.explain.formula import Formula
from symbp.explain.matrix import MatrixForm
from symbp.explain.notation import (
    ATOM,
    BASE,
    FACTOR,
    LOOSE,
    TERM,
    Bracket,
    Call,
    Choice,
    Constant,
    Decimal,
    Derivative,
    Element,
    IndexName,
    Logic,
    MatrixProduct,
    Node,
    Number,
    Ones,
    Power,
    Product,
    Quotient,
    Reduced,
    Relation,
    SizeName,
    Span,
    Total,
    Transposed,
    binding,
)


def node_text(node: Node, limit: int = LOOSE) -> str:
    """The text of a node, in brackets if it binds more loosely than `limit`."""
    text = _text(node)
    return f"({text})" if binding(node) < limit else text


def _text(node: Node) -> str:
    match node:
        case Number(value):
            return str(value)
        case Decimal(digits, exponent):
            return f"{digits}e{exponent}" if exponent else digits
        case Constant(name) | IndexName(name) | SizeName(name):
            return name
        case Element(tensor, subscripts):
            inside = ", ".join(":" if s is None else node_text(s) for s in subscripts)
            return f"{tensor}[{inside}]" if subscripts else tensor
        case Total(terms):
            return _total(terms)
        case Product(factors):
            return "*".join(_factor(f, last=k == len(factors) - 1) for k, f in enumerate(factors))
        case Quotient(numerator, denominator, guarded):
            if guarded:
                return f"safe_div({node_text(numerator)}, {node_text(denominator)})"
            return f"{node_text(numerator, FACTOR)}/{node_text(denominator, BASE)}"
        case Power(base, exponent):
            return f"{node_text(base, ATOM)}**{node_text(exponent, ATOM)}"
        case Call("floor", (Quotient(numerator, denominator),)):
            return f"{node_text(numerator, FACTOR)}//{node_text(denominator, BASE)}"
        case Call("mod", (value, divisor)):
            return f"({node_text(value, FACTOR)} % {node_text(divisor, BASE)})"
        case Call(function, arguments):
            return f"{function}({', '.join(map(node_text, arguments))})"
        case Choice(condition, yes, no):
            return f"select({node_text(condition)}, {node_text(yes)}, {node_text(no)})"
        case Bracket(condition):
            return f"[{node_text(condition)}]"
        case Derivative(of, wrt):
            return f"diff({node_text(of)}, {node_text(wrt)})"
        case Relation(left, operator, right):
            return f"{node_text(left, TERM)} {operator} {node_text(right, TERM)}"
        case Logic("not", (argument,)):
            return f"not ({node_text(argument)})"
        case Logic(operator, arguments):
            return f" {operator} ".join(node_text(a, TERM if isinstance(a, Logic) else LOOSE) for a in arguments)
        case Span(index, lower, last):
            return f"{node_text(lower)} <= {index.name} <= {node_text(last)}"
        case Reduced(operator, indices, conditions, body):
            where = f" where {', '.join(map(node_text, conditions))}" if conditions else ""
            return f"{operator}[{', '.join(i.name for i in indices)}{where}] {_summand(body)}"
        case Transposed(matrix):
            return f"{node_text(matrix, ATOM)}ᵀ"
        case MatrixProduct(factors):
            return " ".join(node_text(f, BASE) for f in factors)
        case Ones():
            return "1"


def _total(terms: tuple[tuple[bool, Node], ...]) -> str:
    pieces = []
    for position, (negative, term) in enumerate(terms):
        # A reduction takes in all that follows in its term only; what is added to it stands outside.
        text = _text(term) if isinstance(term, Reduced) else node_text(term, FACTOR)
        sign = ("-" if negative else "") if position == 0 else (" - " if negative else " + ")
        pieces.append(sign + text)
    return "".join(pieces)


def _factor(node: Node, *, last: bool) -> str:
    if isinstance(node, Quotient | Product) and not last:
        return f"({_text(node)})"
    return node_text(node, FACTOR)


def _summand(body: Node) -> str:
    return f"({_text(body)})" if isinstance(body, Total) else _text(body)


def formula_text(formula: Formula) -> tuple[str, str, str, str]:
    """Left-hand side, ``=`` or ``+=``, right-hand side, conditions."""
    sign = "+=" if formula.adds else "="
    where = f"where {', '.join(map(node_text, formula.conditions))}" if formula.conditions else ""
    return node_text(formula.left), sign, node_text(formula.right), where


def shape_text(shape: tuple[Node, ...]) -> str:
    return " × ".join(node_text(s, FACTOR) for s in shape) if shape else "scalar"


def matrix_text(form: MatrixForm, adds: bool) -> str:
    return f"{node_text(form.left)} {'+=' if adds else '='} {node_text(form.right)}"


def steps_text(span: Span) -> str:
    return f"{span.index.name} = {node_text(span.lower)}, .., {node_text(span.last)}"

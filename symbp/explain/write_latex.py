"""Equations as LaTeX; `amsmath` is all that they need."""

from __future__ import annotations

from dataclasses import dataclass

from symbp.explain.formula import Formula
from symbp.explain.matrix import MatrixForm
from symbp.explain.names import GREEK, Name, Names, split_number
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

_RELATIONS = {"==": "=", "!=": r"\neq", "<=": r"\le", ">=": r"\ge", "<": "<", ">": ">"}
_REDUCTIONS = {"sum": r"\sum", "max": r"\max", "argmax": r"\operatorname*{arg\,max}"}
_CONSTANTS = {"pi": r"\pi", "e": r"\mathrm{e}", "infinity": r"\infty"}
#: Functions that LaTeX has a name for; others are set with \operatorname.
_FUNCTIONS = {n: rf"\{n}" for n in ("exp", "log", "sin", "cos", "tan", "sinh", "cosh", "tanh", "max", "min")} | {
    "sigmoid": r"\sigma",
    "maximum": r"\max",
    "minimum": r"\min",
    "asin": r"\arcsin",
    "acos": r"\arccos",
    "atan": r"\arctan",
}
_ESCAPES = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}", ">": r"\textgreater{}",
}  # fmt: skip
_ROW_END = r" \\ "
#: A right-hand side longer than this is broken before a + or -.
_WIDEST = 170


def escape(text: str) -> str:
    """Any text, to be read as it stands."""
    return "".join(_ESCAPES.get(c, c) for c in text)


def name_latex(name: Name, below: str = "", power: str = "") -> str:
    """A typeset name; `below` is what its subscripts add, `power` a sign after what stands above."""
    if name.whole:
        head = rf"\mathtt{{{escape(name.head)}}}"
    else:
        head = _head(name.head)
    for mark in name.marks:
        wide = len(name.head) > 1 and name.head not in GREEK
        head = rf"\{'overline' if wide and mark == 'bar' else mark}{{{head}}}"
    above = f"({_words(name.above)}){power}" if name.above else power
    if above:
        head += f"^{{{above}}}"
    inside = r";\,".join(part for part in (_words(name.below), below) if part)
    return f"{head}_{{{inside}}}" if inside else head


def _head(head: str) -> str:
    if head in GREEK:
        return rf"\{head}"
    return head if len(head) == 1 else rf"\mathrm{{{escape(head).replace(' ', '~')}}}"


def _words(text: str) -> str:
    """What stands above or below a head: digits and single letters as they are, words upright."""
    parts = [rf"\{p}" if p in GREEK else p if len(p) == 1 or p.isdigit() else rf"\mathrm{{{p}}}" for p in text.split()]
    return r"\,".join(parts)


@dataclass(frozen=True)
class LatexWriter:
    """Writes nodes with the typeset names of one report."""

    names: Names

    def node(self, node: Node, limit: int = LOOSE) -> str:
        """The LaTeX of a node, in brackets if it binds more loosely than `limit`."""
        text = self._node(node)
        return rf"\left({text}\right)" if binding(node) < limit else text

    def _node(self, node: Node) -> str:
        match node:
            case Number(value):
                return str(value)
            case Decimal("1", exponent) if exponent:
                return f"10^{{{exponent}}}"
            case Decimal(digits, exponent):
                return rf"{digits} \cdot 10^{{{exponent}}}" if exponent else digits
            case Constant(name):
                return _CONSTANTS.get(name, _head(name))
            case IndexName(name):
                return name_latex(split_number(name))
            case SizeName(name):
                return name_latex(split_number(name))
            case Element(tensor, subscripts):
                return name_latex(self.names.tensor(tensor), self._subscripts(subscripts))
            case Transposed(Element(tensor, subscripts)):
                return name_latex(self.names.tensor(tensor), self._subscripts(subscripts), r"\top")
            case Total(terms):
                return "".join(self._signed_terms(terms))
            case Product(factors):
                return self._factors(factors)
            case Quotient(numerator, denominator, guarded):
                fraction = rf"\frac{{{self.node(numerator)}}}{{{self.node(denominator)}}}"
                return rf"\left({fraction}\right)_{{\!0}}" if guarded else fraction
            case Power(base, exponent):
                return self._power(base, exponent)
            case Call(function, arguments):
                return self._call(function, arguments)
            case Choice(condition, yes, no):
                first = rf"{self.node(yes)} & \text{{if }} {self.node(condition)}"
                return rf"\begin{{cases}} {first} \\ {self.node(no)} & \text{{otherwise}} \end{{cases}}"
            case Bracket(condition):
                return rf"\left[{self.node(condition)}\right]"
            case Derivative(of, wrt):
                return rf"\frac{{\partial {self.node(of)}}}{{\partial {self.node(wrt)}}}"
            case Relation(left, operator, right):
                return f"{self.node(left, TERM)} {_RELATIONS[operator]} {self.node(right, TERM)}"
            case Logic("not", (argument,)):
                return rf"\lnot\left({self.node(argument)}\right)"
            case Logic(operator, arguments):
                sign = rf" \mathbin{{\text{{{operator}}}}} "
                return sign.join(self.node(a, TERM if isinstance(a, Logic) else LOOSE) for a in arguments)
            case Span(index, lower, last):
                return rf"{self.node(lower)} \le {self.node(index)} \le {self.node(last)}"
            case Reduced():
                return self._reduced(node)
            case Transposed(matrix):
                return f"{{{self.node(matrix, ATOM)}}}^{{\\top}}"
            case MatrixProduct(factors):
                return r"\,".join(self.node(f, BASE) for f in factors)
            case Ones():
                return r"\mathbf{1}"

    def _subscripts(self, subscripts: tuple[Node | None, ...]) -> str:
        parts = [":" if s is None else self.node(s) for s in subscripts]
        # One-letter indices side by side need no commas as long as nothing is computed.
        plain = all(s is None or isinstance(s, IndexName) for s in subscripts) and all(len(p) == 1 for p in parts)
        return ("" if plain and ":" not in parts else ",").join(parts)

    def _signed_terms(self, terms: tuple[tuple[bool, Node], ...]) -> list[str]:
        pieces = []
        for position, (negative, term) in enumerate(terms):
            text = self._node(term) if isinstance(term, Reduced) else self.node(term, FACTOR)
            pieces.append((("-" if negative else "") if position == 0 else " - " if negative else " + ") + text)
        return pieces

    def _factors(self, factors: tuple[Node, ...]) -> str:
        pieces: list[str] = []
        for position, factor in enumerate(factors):
            last = position == len(factors) - 1
            loose = binding(factor) < FACTOR and not (last and isinstance(factor, Reduced))
            pieces.append(rf"\left({self._node(factor)}\right)" if loose else self._node(factor))
        # 2·3, not 23: only a number after a factor needs a sign.
        text = pieces[0]
        for piece in pieces[1:]:
            text += (r" \cdot " if piece[0].isdigit() else r"\,") + piece
        return text

    def _power(self, base: Node, exponent: Node) -> str:
        text = self.node(base, ATOM)
        if isinstance(base, Element) and self.names.tensor(base.tensor).above:
            text = rf"\left({text}\right)"  # its own superscript must not meet the exponent
        elif isinstance(base, Call | Choice):
            text = rf"\left({text}\right)"
        return f"{text}^{{{self.node(exponent)}}}"

    def _call(self, function: str, arguments: tuple[Node, ...]) -> str:
        inside = ", ".join(map(self.node, arguments))
        match function:
            case "sqrt":
                return rf"\sqrt{{{inside}}}"
            case "abs":
                return rf"\left|{inside}\right|"
            case "floor":
                return rf"\left\lfloor {inside} \right\rfloor"
            case "mod":
                return rf"{self.node(arguments[0], FACTOR)} \bmod {self.node(arguments[1], BASE)}"
        name = _FUNCTIONS.get(function, rf"\operatorname{{{escape(function)}}}")
        return rf"{name}\left({inside}\right)"

    def _reduced(self, node: Reduced) -> str:
        names = ", ".join(self.node(i) for i in node.indices)
        spans = {c.index: c for c in node.conditions if isinstance(c, Span)}
        if len(node.indices) == len(spans) == 1 and len(node.conditions) == 1:
            (span,) = spans.values()
            limits = rf"_{{{names}={self.node(span.lower)}}}^{{{self.node(span.last)}}}"
        elif node.conditions:
            rows = [names, *(self.node(c) for c in node.conditions)]
            limits = "_{" + rf"\substack{{{_ROW_END.join(rows)}}}" + "}"
        else:
            limits = f"_{{{names}}}"
        body = self.node(node.body, FACTOR if isinstance(node.body, Total) else LOOSE)
        return f"{_REDUCTIONS[node.operator]}{limits} {body}"

    def formula(self, formula: Formula) -> str:
        """One row of an ``align`` environment: ``left &= right``, with its conditions."""
        sign = r"\mathrel{+}=" if formula.adds else "="
        right = self.node(formula.right)
        if isinstance(formula.right, Total) and len(right) > _WIDEST:
            right = f"{_ROW_END}\n    &\\qquad".join(_lines(self._signed_terms(formula.right.terms)))
        conditions = ",\\ ".join(map(self.node, formula.conditions))
        where = rf" \qquad \text{{for }} {conditions}" if conditions else ""
        return f"{self.node(formula.left)} &{sign} {right}{where}"

    def matrix(self, form: MatrixForm, adds: bool) -> str:
        sign = r"\mathrel{+}=" if adds else "="
        return f"{self.node(form.left)} {sign} {self.node(form.right)}"

    def shape(self, shape: tuple[Node, ...]) -> str:
        return r" \times ".join(self.node(s, FACTOR) for s in shape)

    def steps(self, span: Span) -> str:
        return rf"{self.node(span.index)} = {self.node(span.lower)}, \dots, {self.node(span.last)}"


def _lines(pieces: list[str]) -> list[str]:
    lines = [""]
    for piece in pieces:
        if lines[-1] and len(lines[-1]) + len(piece) > _WIDEST:
            lines.append("")
        lines[-1] += piece
    return lines

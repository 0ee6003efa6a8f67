"""Equations as presentation MathML, which browsers draw without any script. All text is escaped here."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup, escape

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

_RELATIONS = {"==": "=", "!=": "≠", "<=": "≤", ">=": "≥", "<": "<", ">": ">"}
_REDUCTIONS = {"sum": "∑", "max": "max", "argmax": "arg max"}
_CONSTANTS = {"pi": "π", "e": "e", "infinity": "∞"}
_FUNCTIONS = {
    "sigmoid": "σ",
    "maximum": "max",
    "minimum": "min",
    "asin": "arcsin",
    "acos": "arccos",
    "atan": "arctan",
}
_THIN_SPACE = Markup('<mspace width="0.17em"></mspace>')


def tag(name: str, *inside: Markup, **attributes: str) -> Markup:
    written = "".join(f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"' for key, value in attributes.items())
    return Markup(f"<{name}{written}>{Markup('').join(inside)}</{name}>")


def word(name: str, text: str, **attributes: str) -> Markup:
    """A leaf: its text is escaped."""
    return tag(name, escape(text), **attributes)


def operator(text: str, **attributes: str) -> Markup:
    return word("mo", text, **attributes)


def row(*parts: Markup) -> Markup:
    return parts[0] if len(parts) == 1 else tag("mrow", *parts)


def name_mathml(name: Name, below: tuple[Markup, ...] = (), power: Markup | None = None) -> Markup:
    """A typeset name; `below` is what its subscripts add, `power` an exponent (or a sign of transposition)."""
    head = word("mtext", name.head, class_="whole") if name.whole else _head(name.head)
    for mark in name.marks:
        # Browsers set an accent too close to the letter to be seen: the page's style draws the bar.
        head = tag("mrow", head, class_="bar") if mark == "bar" else tag("mover", head, operator("˙"), accent="true")
    parts = [_words(name.below)] if name.below else []
    if below:
        parts += [operator(";"), _THIN_SPACE, *below] if parts else below
    above = _fenced(_words(name.above)) if name.above else None
    if power is not None:
        above = power if above is None else row(above, power)
    if above is not None and parts:
        return tag("msubsup", head, row(*parts), above)
    if parts:
        return tag("msub", head, row(*parts))
    return tag("msup", head, above) if above is not None else head


def _head(head: str) -> Markup:
    return word("mi", GREEK.get(head, head.replace(" ", "\N{NO-BREAK SPACE}")))


def _words(text: str) -> Markup:
    parts: list[Markup] = []
    for position, part in enumerate(text.split()):
        parts += [_THIN_SPACE] if position else []
        parts.append(word("mn", part) if part.isdigit() else _head(part))
    return row(*parts)


@dataclass(frozen=True)
class MathmlWriter:
    """Writes nodes with the typeset names of one report. Every tensor carries its name, for the reader's pointer."""

    names: Names

    def node(self, node: Node, limit: int = LOOSE) -> Markup:
        """The MathML of a node, in brackets if it binds more loosely than `limit`."""
        inside = self._node(node)
        return _fenced(inside) if binding(node) < limit else inside

    def _node(self, node: Node) -> Markup:
        match node:
            case Number(value):
                return word("mn", str(value))
            case Decimal("1", exponent) if exponent:
                return tag("msup", word("mn", "10"), word("mn", f"−{-exponent}"))
            case Decimal(digits, exponent):
                power = tag("msup", word("mn", "10"), word("mn", f"−{-exponent}"))
                return row(word("mn", digits), operator("·"), power) if exponent else word("mn", digits)
            case Constant(name):
                return word("mi", _CONSTANTS.get(name, name))
            case IndexName(name) | SizeName(name):
                return name_mathml(split_number(name))
            case Element():
                return self._element(node)
            case Total(terms):
                return self._total(terms)
            case Product(factors):
                return self._factors(factors)
            case Quotient(numerator, denominator, guarded):
                fraction = tag("mfrac", self.node(numerator), self.node(denominator))
                return tag("msub", _fenced(fraction), word("mn", "0")) if guarded else fraction
            case Power(base, exponent):
                return self._power(base, exponent)
            case Call(function, arguments):
                return self._call(function, arguments)
            case Choice(condition, yes, no):
                return self._choice(condition, yes, no)
            case Bracket(condition):
                return _fenced(self.node(condition), "[", "]")
            case Derivative(of, wrt):
                sign = operator("∂", lspace="0", rspace="0")
                return tag("mfrac", row(sign, self.node(of)), row(sign, self.node(wrt)))
            case Relation(left, sign, right):
                return row(self.node(left, TERM), operator(_RELATIONS[sign]), self.node(right, TERM))
            case Logic("not", (argument,)):
                return row(operator("¬"), _fenced(self.node(argument)))
            case Logic(sign, arguments):
                parts = [self.node(a, TERM if isinstance(a, Logic) else LOOSE) for a in arguments]
                between = word("mtext", f"\N{NO-BREAK SPACE}{sign}\N{NO-BREAK SPACE}")
                return row(*(p for k, part in enumerate(parts) for p in ([between] if k else []) + [part]))
            case Span(index, lower, last):
                return row(self.node(lower), operator("≤"), self.node(index), operator("≤"), self.node(last))
            case Reduced():
                return self._reduced(node)
            case Transposed(Element() as matrix):
                return self._element(matrix, operator("⊤"))
            case Transposed(matrix):
                return tag("msup", self.node(matrix, ATOM), operator("⊤"))
            case MatrixProduct(factors):
                parts = [self.node(f, BASE) for f in factors]
                return row(*(p for k, part in enumerate(parts) for p in ([_THIN_SPACE] if k else []) + [part]))
            case Ones():
                return word("mn", "1", class_="ones")

    def _element(self, element: Element, power: Markup | None = None) -> Markup:
        subscripts = element.subscripts
        plain = all(isinstance(s, IndexName) and len(s.name) == 1 for s in subscripts)
        parts: list[Markup] = []
        for position, subscript in enumerate(subscripts):
            if position:
                parts.append(_THIN_SPACE if plain else operator(",", separator="true"))
            parts.append(operator(":") if subscript is None else self.node(subscript))
        name = name_mathml(self.names.tensor(element.tensor), tuple(parts), power)
        return tag("mrow", name, class_="t", data_tensor=element.tensor)

    def _total(self, terms: tuple[tuple[bool, Node], ...]) -> Markup:
        parts: list[Markup] = []
        for position, (negative, term) in enumerate(terms):
            if position or negative:
                sign = "−" if negative else "+"
                parts.append(operator(sign, form="infix" if position else "prefix"))
            parts.append(self._node(term) if isinstance(term, Reduced) else self.node(term, FACTOR))
        return row(*parts)

    def _factors(self, factors: tuple[Node, ...]) -> Markup:
        parts: list[Markup] = []
        for position, factor in enumerate(factors):
            if position:
                parts.append(operator("·") if isinstance(factor, Number | Decimal) else _THIN_SPACE)
            loose = binding(factor) < FACTOR and not (position == len(factors) - 1 and isinstance(factor, Reduced))
            parts.append(_fenced(self._node(factor)) if loose else self._node(factor))
        return row(*parts)

    def _power(self, base: Node, exponent: Node) -> Markup:
        if isinstance(base, Element) and not self.names.tensor(base.tensor).above:
            return self._element(base, self.node(exponent))
        inside = self.node(base, ATOM)
        if isinstance(base, Element | Call | Choice):
            inside = _fenced(inside)  # a superscript of its own must not meet the exponent
        return tag("msup", inside, self.node(exponent))

    def _call(self, function: str, arguments: tuple[Node, ...]) -> Markup:
        parts: list[Markup] = []
        for position, argument in enumerate(arguments):
            parts += [operator(",", separator="true")] if position else []
            parts.append(self.node(argument))
        inside = row(*parts)
        match function:
            case "sqrt":
                return tag("msqrt", inside)
            case "abs":
                return _fenced(inside, "|", "|")
            case "floor":
                return _fenced(inside, "⌊", "⌋")
            case "mod":
                return row(self.node(arguments[0], FACTOR), operator("mod"), self.node(arguments[1], BASE))
        return row(word("mi", _FUNCTIONS.get(function, function), mathvariant="normal"), _fenced(inside))

    def _choice(self, condition: Node, yes: Node, no: Node) -> Markup:
        def case(value: Node, *when: Markup) -> Markup:
            return tag("mtr", tag("mtd", self.node(value)), tag("mtd", *when))

        space = "\N{NO-BREAK SPACE}"
        first = case(yes, word("mtext", f"if{space}"), self.node(condition))
        table = tag("mtable", first, case(no, word("mtext", "otherwise")), columnalign="left")
        return row(operator("{", stretchy="true"), table)

    def _reduced(self, node: Reduced) -> Markup:
        names: list[Markup] = []
        for position, index in enumerate(node.indices):
            names += [operator(",", separator="true")] if position else []
            names.append(self.node(index))
        spans = [c for c in node.conditions if isinstance(c, Span)]
        large = operator(_REDUCTIONS[node.operator], movablelimits="false")
        if len(node.indices) == len(spans) == len(node.conditions) == 1:
            lower = row(*names, operator("="), self.node(spans[0].lower))
            sign = tag("munderover", large, lower, self.node(spans[0].last))
        elif node.conditions:
            lines = [row(*names), *(self.node(c) for c in node.conditions)]
            rows = [tag("mtr", tag("mtd", line)) for line in lines]
            sign = tag("munder", large, tag("mtable", *rows, rowspacing="0"))
        else:
            sign = tag("munder", large, row(*names))
        return row(sign, self.node(node.body, FACTOR if isinstance(node.body, Total) else LOOSE))

    def math(self, *parts: Markup) -> Markup:
        return tag("math", *parts, displaystyle="true")

    def left(self, formula: Formula) -> Markup:
        return self.math(self.node(formula.left))

    def right(self, formula: Formula) -> Markup:
        """The sign and all that is to its right."""
        return self.math(operator("+=" if formula.adds else "=", form="infix"), self.node(formula.right))

    def conditions(self, formula: Formula) -> list[Markup]:
        return [tag("math", self.node(c)) for c in formula.conditions]

    def matrix(self, form: MatrixForm, adds: bool) -> Markup:
        return tag("math", self.node(form.left), operator("+=" if adds else "="), self.node(form.right))

    def shape(self, shape: tuple[Node, ...]) -> Markup:
        parts: list[Markup] = []
        for position, extent in enumerate(shape):
            parts += [operator("×")] if position else []
            parts.append(self.node(extent, FACTOR))
        return tag("math", row(*parts)) if parts else Markup("scalar")

    def tensor(self, name: str) -> Markup:
        return tag("math", self.node(Element(name)))

    def steps(self, span: Span) -> Markup:
        ends = (self.node(span.lower), operator(","), operator("…"), operator(","), self.node(span.last))
        return tag("math", self.node(span.index), operator("="), *ends)


def _fenced(inside: Markup, left: str = "(", right: str = ")") -> Markup:
    return tag(
        "mrow",
        operator(left, form="prefix", lspace="0", rspace="0"),
        inside,
        operator(right, form="postfix", lspace="0", rspace="0"),
    )

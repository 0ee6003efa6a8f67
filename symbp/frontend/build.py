"""Syntax trees of equations to SymPy expressions, by a closed list of node types.

Names are looked up in tables, and expressions are made by calling classes and functions on nodes that are already
built. SymPy never sees text, and no node is evaluated.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

import sympy as sp

from symbp.errors import ShapeError, SpecError, did_you_mean
from symbp.frontend.constants import constant_value
from symbp.frontend.expression import Axis, Element, Relation
from symbp.frontend.functions import FUNCTIONS, Function
from symbp.frontend.handle import TensorHandle, count
from symbp.frontend.syntax import Piece, shorten

#: The largest constant exponent: ``x**100``.
MAX_EXPONENT = 100
#: Levels of the tree. Long sums and products are one level.
MAX_LEVELS = 120
#: Decimal exponents of numbers: float64 ends at 1.8e308.
MAX_DECIMAL_EXPONENT = 308

_RELATIONS: dict[type[ast.cmpop], Callable[[sp.Expr, sp.Expr], Relation]] = {
    ast.Lt: sp.Lt,
    ast.LtE: sp.Le,
    ast.Gt: sp.Gt,
    ast.GtE: sp.Ge,
    ast.Eq: sp.Eq,
    ast.NotEq: sp.Ne,
}


@dataclass(frozen=True)
class Names:
    """What a name may mean. A tensor is found by the name that the spec gives it; its handle has the model's own."""

    axes: Mapping[str, Axis] = field(default_factory=dict)
    sizes: Mapping[str, sp.Expr] = field(default_factory=dict)
    tensors: Mapping[str, TensorHandle] = field(default_factory=dict)

    def suggestion(self, name: str) -> str | None:
        return did_you_mean(name, [*self.axes, *self.sizes, *self.tensors])


class Builder:
    """Builds the expression of one piece, node by node."""

    def __init__(self, piece: Piece, names: Names) -> None:
        self.piece = piece
        self.names = names
        self.level = 0

    def left(self) -> Element:
        node = self.piece.tree
        target = node.value if isinstance(node, ast.Subscript) else node
        if not isinstance(target, ast.Name):
            raise not_an_element(self.piece)
        kind = "an axis" if target.id in self.names.axes else "a size" if target.id in self.names.sizes else ""
        if kind:
            raise self.error(target, f"'{target.id}' is {kind} and cannot be defined", "choose another name")
        known = self.names.tensors.get(target.id)
        subscripts = (
            tuple(self.subscript(s, target.id) for s in subscripts_of(node)) if isinstance(node, ast.Subscript) else ()
        )
        return Element(known.name if known else target.id, *subscripts)

    def right(self) -> sp.Expr:
        return self.value(self.piece.tree)

    # Values: the scalars of bodies.

    def value(self, node: ast.expr) -> sp.Expr:
        self.level += 1
        if self.level > MAX_LEVELS:
            raise self.error(node, f"the formula is nested more than {MAX_LEVELS} levels deep", "split it in several")
        match node:
            case ast.Constant():
                found = self.number(node)
            case ast.Name():
                found = self.name(node)
            case ast.Subscript():
                found = self.element(node)
            case ast.Call():
                found = self.call(node)
            case ast.UnaryOp(op=ast.UAdd()):
                found = self.value(node.operand)
            case ast.UnaryOp(op=ast.USub()):
                found = -self.value(node.operand)
            case ast.BinOp(op=ast.Add() | ast.Sub()):
                found = sp.Add(*(v if sign > 0 else -v for sign, v in self.chain(node, ast.Add, ast.Sub)))
            case ast.BinOp(op=ast.Mult() | ast.Div()):
                found = sp.Mul(*(v if sign > 0 else 1 / v for sign, v in self.chain(node, ast.Mult, ast.Div)))
            case ast.BinOp(op=ast.Pow()):
                found = self.power(node)
            case ast.BinOp(op=ast.FloorDiv() | ast.Mod()):
                found = self.whole_division(node, self.value(node.left), self.value(node.right))
            case _:
                raise self.not_a_value(node)
        self.level -= 1
        return self.finite(node, found)

    def chain(self, node: ast.BinOp, plus: type, minus: type) -> Iterator[tuple[int, sp.Expr]]:
        """The terms of ``a + b - c``, or the factors of ``a*b/c``, from the left; as a loop, for sums are long."""
        parts: list[tuple[int, ast.expr]] = []
        rest: ast.expr = node
        while isinstance(rest, ast.BinOp) and isinstance(rest.op, plus | minus):
            parts.append((1 if isinstance(rest.op, plus) else -1, rest.right))
            rest = rest.left
        for sign, part in reversed([*parts, (1, rest)]):
            built = self.value(part)
            if sign < 0 and minus is ast.Div and built == 0:
                raise self.error(part, f"{self.text(node)} divides by zero")
            yield sign, built

    def number(self, node: ast.Constant) -> sp.Expr:
        if isinstance(node.value, bool) or not isinstance(node.value, int | float):
            raise self.not_a_value(node)
        stop = self.piece.start + (node.end_col_offset or 1) - 1
        text = self.piece.source.text[self.piece.offset(node) : stop].lower()
        _, _, exponent = text.partition("e")
        if exponent and (len(exponent) > 5 or abs(int(exponent)) > MAX_DECIMAL_EXPONENT):
            raise self.error(node, f"{shorten(text)} does not fit a float", "numbers lie within 1e-308 .. 1e308")
        exact = Fraction(text)
        return sp.Rational(exact.numerator, exact.denominator)

    def name(self, node: ast.Name) -> sp.Expr:
        names, word = self.names, node.id
        if word in names.axes:
            return names.axes[word]
        if word in names.sizes:
            return names.sizes[word]
        if word in names.tensors:
            tensor = names.tensors[word]
            if tensor.axes:
                inside = ", ".join(axis.name for axis in tensor.axes)
                raise ShapeError(
                    f"tensor '{word}' has {count(tensor.rank)} ({inside}) but is read without an index",
                    place=self.place(node),
                    remedy=f"write {word}[{inside}]",
                )
            return Element(tensor.name)
        if word in FUNCTIONS:
            raise self.error(node, f"'{word}' is a function and stands here without its argument", f"write {word}(..)")
        raise self.error(node, f"unknown name '{word}'", names.suggestion(word))

    def element(self, node: ast.Subscript) -> Element:
        if not isinstance(node.value, ast.Name):
            raise self.error(
                node.value, f"{self.text(node.value)} has no index", "only tensors do; give it an equation of its own"
            )
        word = node.value.id
        if word not in self.names.tensors:
            if word in FUNCTIONS:
                raise self.error(node.value, f"'{word}' is a function", f"write {word}(..)")
            if word in self.names.axes or word in self.names.sizes:
                raise self.error(node.value, f"'{word}' is an axis or a size and has no index")
            raise self.error(node.value, f"unknown tensor '{word}'", did_you_mean(word, self.names.tensors))
        tensor = self.names.tensors[word]
        subscripts = tuple(self.subscript(s, word) for s in subscripts_of(node))
        if len(subscripts) != tensor.rank:
            inside = f" ({', '.join(a.name for a in tensor.axes)})" if tensor.axes else ""
            missing = tensor.rank - len(subscripts)
            raise ShapeError(
                f"tensor '{word}' has {count(tensor.rank)}{inside} but is read with {len(subscripts)}: "
                f"{self.text(node)}",
                place=self.place(node),
                remedy=f"{'add' if missing > 0 else 'drop'} {count(abs(missing), 'subscript')}",
            )
        return Element(tensor.name, *subscripts)

    def call(self, node: ast.Call) -> sp.Expr:
        if not isinstance(node.func, ast.Name):
            raise self.error(node.func, f"{self.text(node.func)} is not a function", "write * for a product")
        word = node.func.id
        function = FUNCTIONS.get(word)
        if function is None:
            if word in self.names.tensors:
                inside = ", ".join(self.text(a) for a in node.args)
                raise self.error(node, f"tensor '{word}' is called like a function", f"write {word}[{inside}]")
            if word in self.names.axes or word in self.names.sizes:
                raise self.error(node, f"'{word}' is an axis or a size, not a function", "write * for a product")
            remedy = did_you_mean(word, FUNCTIONS) or "docs/spec-format.md lists the functions"
            raise self.error(node.func, f"unknown function '{word}'", remedy)
        self.check_arguments(node, function)
        arguments: list[sp.Expr | Relation] = []
        for k, argument in enumerate(node.args[: function.arguments]):
            is_condition = function.takes_relation and k == 0
            arguments.append(self.condition(argument) if is_condition else self.value(argument))
        axes = [self.axis(argument, word) for argument in node.args[function.arguments :]]
        guards = [guard for keyword in node.keywords for guard in self.guards(keyword.value)]
        self.check_domain(node, word, arguments)
        try:
            return function(*arguments, *axes, where=guards) if guards else function(*arguments, *axes)
        except SpecError as problem:
            raise problem.at(self.place(node)) from None

    def check_arguments(self, node: ast.Call, function: Function) -> None:
        found, name = len(node.args), function.name
        if any(isinstance(argument, ast.Starred) for argument in node.args):
            raise self.error(node, f"'*' before an argument of {name} is not understood")
        if function.over_axes:
            if found < function.arguments:
                raise self.error(node, f"{name} takes an expression and axes, found nothing")
            if found == function.arguments:
                raise self.error(node, f"{name} needs at least one axis", f"write {name}(x[b, j], j)")
        elif found != function.arguments:
            inner = ", ".join("abc"[: function.arguments])
            raise self.error(
                node, f"{name} takes {count(function.arguments, 'argument')}, found {found}", f"write {name}({inner})"
            )
        for keyword in node.keywords:
            if keyword.arg != "where" or not function.guarded:
                shown = f"'{keyword.arg}='" if keyword.arg else "'**'"
                remedy = "only 'where=' is known" if function.guarded else None
                raise self.error(keyword, f"{name} does not take {shown}", remedy)

    def check_domain(self, node: ast.Call, name: str, arguments: list[sp.Expr | Relation]) -> None:
        """Refuse ``log(-1)`` and ``exp(1000)``, before SymPy makes a complex number or a giant of them."""
        if name == "floor":
            self.check_whole(node, arguments[0])
        if len(arguments) == 1 and arguments[0].is_number:
            try:
                constant_value(arguments[0], name)
            except ArithmeticError as problem:
                raise self.error(node, f"{self.text(node)} is {problem}") from None

    def axis(self, node: ast.expr, function: str) -> Axis:
        if isinstance(node, ast.Name):
            if node.id in self.names.axes:
                return self.names.axes[node.id]
            if node.id not in self.names.tensors and node.id not in self.names.sizes:
                raise self.error(node, f"unknown axis '{node.id}'", did_you_mean(node.id, self.names.axes))
        remedy = f"the larger or smaller of two is {function}imum(a, b)" if function in ("max", "min") else None
        raise self.error(node, f"{function} runs over axes, found {self.text(node)}", remedy)

    def power(self, node: ast.BinOp) -> sp.Expr:
        exponent = self.value(node.right)
        base = self.value(node.left)
        if exponent.is_number:
            size = constant_value(exponent)
            if size is None or abs(size) > MAX_EXPONENT:
                raise self.error(node, f"a constant exponent is at most {MAX_EXPONENT}, found {self.text(node.right)}")
            if base == 0 and size < 0:
                raise self.error(node, f"{self.text(node)} divides by zero")
            if base.is_number:
                try:
                    constant_value(sp.Pow(base, exponent, evaluate=False))
                except ArithmeticError as problem:
                    raise self.error(node, f"{self.text(node)} is {problem}") from None
        return sp.Pow(base, exponent)

    def finite(self, node: ast.expr, found: sp.Expr) -> sp.Expr:
        """Refuse constants that are no float64: too large, infinite, complex."""
        if found.is_number:
            try:
                constant_value(found)
            except ArithmeticError as problem:
                raise self.error(node, f"{self.text(node)} is {problem}") from None
        return found

    # Subscripts: integers, linear in the indices.

    def subscript(self, node: ast.expr, tensor: str) -> sp.Expr:
        self.level += 1
        if self.level > MAX_LEVELS:
            raise self.error(node, f"a subscript of '{tensor}' is nested too deeply")
        match node:
            case ast.Constant():
                found = self.number(node)
                if not found.is_Integer:
                    raise self.error(node, f"a subscript of '{tensor}' is whole, found {self.text(node)}")
            case ast.Name():
                found = self.index_name(node)
            case ast.Subscript():
                found = self.element(node)
            case ast.UnaryOp(op=ast.UAdd()):
                found = self.subscript(node.operand, tensor)
            case ast.UnaryOp(op=ast.USub()):
                found = -self.subscript(node.operand, tensor)
            case ast.BinOp(op=ast.Add() | ast.Sub() | ast.Mult() | ast.FloorDiv() | ast.Mod()):
                found = self.whole(node, self.subscript(node.left, tensor), self.subscript(node.right, tensor))
            case ast.Call(func=ast.Name(id="floor"), args=[ast.BinOp(op=ast.Div()) as ratio], keywords=[]):
                found = self.whole_division(
                    ratio, self.subscript(ratio.left, tensor), self.subscript(ratio.right, tensor)
                )
            case ast.BinOp(op=ast.Div()):
                raise self.error(node, f"a subscript of '{tensor}' is whole, found {self.text(node)}", "divide with //")
            case _:
                raise self.error(
                    node,
                    f"a subscript of '{tensor}' is made of indices, sizes, whole numbers, integer tensors, + - * // %, "
                    f"found {self.text(node)}",
                )
        self.level -= 1
        return found

    def index_name(self, node: ast.Name) -> sp.Expr:
        if node.id not in self.names.tensors and node.id not in FUNCTIONS:
            known = {**self.names.axes, **self.names.sizes}
            if node.id not in known:
                raise self.error(node, f"unknown index '{node.id}'", did_you_mean(node.id, known))
        return self.name(node)

    def whole(self, node: ast.BinOp, left: sp.Expr, right: sp.Expr) -> sp.Expr:
        match node.op:
            case ast.Add():
                return left + right
            case ast.Sub():
                return left - right
            case ast.Mult():
                if _varies(left) and _varies(right):
                    raise self.error(
                        node, f"{self.text(node)} is not linear in the indices", "multiply an index by a size or number"
                    )
                return left * right
            case _:
                return self.whole_division(node, left, right)

    def whole_division(self, node: ast.BinOp, left: sp.Expr, right: sp.Expr) -> sp.Expr:
        if _varies(right) or (right.is_number and not (right.is_Integer and right > 0)):
            raise self.error(
                node.right, f"the divisor is a positive whole number or a size, found {self.text(node.right)}"
            )
        self.check_whole(node, left)
        return sp.Mod(left, right) if isinstance(node.op, ast.Mod) else sp.floor(left / right)

    def check_whole(self, node: ast.expr, number: sp.Expr | Relation) -> None:
        # SymPy would find the whole part of a constant by simplifying it.
        if number.is_number and not number.is_Rational:
            raise self.error(node, f"{self.text(node)} is a constant", "write the whole number that it is")

    # Conditions.

    def guards(self, node: ast.expr) -> list[Relation]:
        parts = node.elts if isinstance(node, ast.List | ast.Tuple) else [node]
        return [self.condition(part) for part in parts]

    def condition(self, node: ast.expr) -> Relation:
        if not isinstance(node, ast.Compare):
            raise self.error(node, f"expected a condition such as i >= j, found {self.text(node)}")
        if len(node.ops) > 1:
            first = self.piece.text_between(node.left, node.comparators[0])
            raise self.error(
                node,
                f"{self.text(node)} compares more than two things",
                f"write two conditions, the first being {first}",
            )
        relation = _RELATIONS.get(type(node.ops[0]))
        if relation is None:
            raise self.error(node, f"expected <, <=, ==, !=, > or >=, found {self.text(node)}")
        left, right = self.value(node.left), self.value(node.comparators[0])
        if left.is_number and right.is_number:
            raise self.error(node, f"{self.text(node)} compares constants", "leave it out")
        found = relation(left, right)
        if found == sp.false:
            raise self.error(node, f"{self.text(node)} never holds")
        return found

    # Messages.

    def not_a_value(self, node: ast.expr) -> SpecError:
        kinds: dict[type[ast.expr], tuple[str, str | None]] = {
            ast.Tuple: ("several formulas between commas", "write one equation for each"),
            ast.List: ("a list", "group with ( )"),
            ast.Compare: ("a comparison", "use select(condition, 1, 0)"),
            ast.Starred: ("'*' before a value", None),
        }
        kind, remedy = kinds.get(type(node), (self.text(node) or type(node).__name__, None))
        return self.error(node, f"expected a number, found {kind}", remedy)

    def error(self, node: ast.AST, message: str, remedy: str | None = None) -> SpecError:
        return self.piece.error(node, message, remedy)

    def place(self, node: ast.AST) -> str:
        return str(self.error(node, "").place)

    def text(self, node: ast.AST) -> str:
        return self.piece.text_of(node)


def not_an_element(piece: Piece) -> SpecError:
    return piece.error(
        piece.tree,
        f"the left side is one element of a tensor, found {piece.text_of(piece.tree)}",
        "write z[b, k] = .., or L = .. for a scalar",
    )


def subscripts_of(node: ast.Subscript) -> list[ast.expr]:
    return node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]


def _varies(expression: sp.Expr) -> bool:
    """True if it depends on an index or on data."""
    return bool(expression.atoms(Axis) or expression.atoms(Element))

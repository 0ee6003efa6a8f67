"""Print scalar expressions and index arithmetic as Python that Numba compiles without changing a number's type.

A bare ``2`` or ``0.5`` beside a float32 makes Numba compute in float64, so every literal is typed: ``real(0.5)``.
In a float64 module ``0.5`` is already right and stays bare.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import sympy as sp
from sympy.core.relational import Relational
from sympy.printing.precedence import PRECEDENCE
from sympy.printing.str import StrPrinter

from symbp.errors import TargetError
from symbp.ir.affine import Affine, Atom, FloorDiv, Index, Mod, Monomial, Read
from symbp.ir.body import Body, Operand, slot
from symbp.ir.functions import (
    ScalarFunction,
    absolute,
    select,
    stop_gradient,
)

#: Functions of `symbp.runtime.scalar`, under the name of the SymPy class that stands for them.
RUNTIME_FUNCTIONS = frozenset(
    {
        "sigmoid", "tanh", "relu", "step", "softplus", "log1p", "expm1", "sqrt", "safe_div", "sign", "maximum",
        "minimum", "floor", "dsigmoid", "sech2", "exp", "log", "sin", "cos", "erf", "erfc", "power",
    }
)  # fmt: skip

#: Powers that are functions of `symbp.runtime.scalar`: Numba makes a loop of ``x**n`` even for a constant n.
WHOLE_POWERS = {2: "square", 3: "cube"}

#: Functions that Python's math module gives, in the precision of their argument under Numba.
MATH_FUNCTIONS = ("tan", "atan", "asin", "acos", "sinh", "cosh", "asinh", "acosh", "atanh")


@dataclass
class Names:
    """What a tensor is called in the code, and how it is stored."""

    code: Mapping[str, str] = field(default_factory=dict)
    scalars: frozenset[str] = frozenset()  # local variables
    integers: frozenset[str] = frozenset()
    wide: frozenset[str] = frozenset()  # scalars kept in double precision
    indices: Mapping[str, str] = field(default_factory=dict)  # loop variables that are called otherwise in the code

    def name(self, tensor: str) -> str:
        return self.code.get(tensor, tensor)

    def index(self, name: str) -> str:
        return self.indices.get(name, name)


def _reading_order(term: tuple[Monomial, int], value: Affine) -> tuple[bool, bool]:
    """Positive terms first, the constant last, unless it is all that is positive: ``1 - u``."""
    monomial, factor = term
    leads = not monomial and factor > 0 and not any(m and c > 0 for m, c in value.terms)
    return (not monomial and not leads, factor < 0)


def _is_decimal(value: sp.Rational) -> bool:
    """True for a number with a short decimal form: 0.9, 0.001, but not 1/3."""
    rest = int(value.q)
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    return rest == 1 and len(repr(float(value))) <= 10


def _is_fraction(value: sp.Rational) -> bool:
    """True for a number like 1/3, both of whose parts float32 holds exactly, so that dividing them rounds once."""
    return value.q != 1 and max(abs(value.p), value.q) <= 2**24 and not _is_decimal(value)


# What a power begins with that is a call.
_CALLS = tuple(f"{name}(" for name in WHOLE_POWERS.values())


def _is_plain_number(expr: sp.Expr) -> bool:
    """True for what SymPy can evaluate: not for ``relu(2)``, whose function is ours."""
    return bool(expr.is_number) and not expr.has(ScalarFunction)


class CodePrinter(StrPrinter):
    """One printer per procedure; it records the functions it needs in `functions`."""

    def __init__(self, dtype: str, names: Names) -> None:
        super().__init__({"order": "none"})
        self.dtype = dtype
        self.names = names
        self.functions: dict[str, None] = {}
        self.uses_math = False
        self.whole_powers: Mapping[int, str] = {}  # those that are functions; with none, powers are written ``x**n``
        self._operands: dict[sp.Symbol, Operand] = {}
        self._in_double = dtype == "float64"

    # ------------------------------------------------------------------------------------------------ entry points

    def body(self, body: Body, *, double: bool = False) -> str:
        """The value of a body; `double` for a scalar that is computed in double precision whatever the module's."""
        before, self._operands = self._operands, {slot(k): o for k, o in enumerate(body.operands)}
        was, self._in_double = self._in_double, double or self.dtype == "float64"
        try:
            return str(self.doprint(body.expr))
        finally:
            self._operands, self._in_double = before, was

    def read(self, read: Read) -> str:
        """One element: ``z[b, k]``, or the name of a local scalar."""
        name = self.names.name(read.tensor)
        if read.tensor in self.names.scalars:
            return name
        return f"{name}[{', '.join(map(self.affine, read.subscripts))}]" if read.subscripts else f"{name}[0]"

    def affine(self, value: Affine) -> str:
        """Index arithmetic: ``2 * p + u - 1``."""
        parts: list[str] = []
        for monomial, factor in sorted(value.terms, key=lambda t: _reading_order(t, value)):
            magnitude = abs(factor)
            wraps = len(monomial) > 1 or magnitude != 1
            texts = [self._atom(a, wraps) for a in monomial]
            if magnitude != 1 or not texts:
                texts.insert(0, str(magnitude))
            parts += ["-" if factor < 0 else "+", " * ".join(texts)]
        if not parts:
            return "0"
        lead = "-" if parts[0] == "-" else ""
        return lead + " ".join(parts[1:])

    def _atom(self, atom: Atom, wraps: bool) -> str:
        if isinstance(atom, Read):
            return self.read(atom)
        if isinstance(atom, FloorDiv | Mod):
            sign = "//" if isinstance(atom, FloorDiv) else "%"
            text = f"{self._divided(atom.numerator)} {sign} {self._divided(atom.divisor)}"
            return f"({text})" if wraps else text
        return self.names.index(atom.name) if isinstance(atom, Index) else atom.name

    def _divided(self, value: Affine) -> str:
        text = self.affine(value)
        return text if value.as_atom() is not None or value.is_constant else f"({text})"

    def literal(self, value: float) -> str:
        text = repr(float(value))
        return text if self._in_double else f"real({text})"

    def zero(self) -> str:
        return self.literal(0.0)

    # --------------------------------------------------------------------------------------------------- operands

    def _operand(self, operand: Operand) -> str:
        if isinstance(operand, Affine):
            text = self.affine(operand)
            return f"float({text})" if self._in_double and self.dtype != "float64" else f"real({text})"
        text = self.read(operand)
        if operand.tensor in self.names.integers:
            return f"real({text})"
        if operand.tensor in self.names.wide and not self._in_double:
            return f"real({text})"
        return text

    def _is_whole(self, symbol: sp.Basic) -> bool:
        """True for an operand that is an integer in the code."""
        operand = self._operands.get(symbol)
        return isinstance(operand, Affine) or (isinstance(operand, Read) and operand.tensor in self.names.integers)

    def _print_Symbol(self, expr: sp.Symbol) -> str:
        return self._operand(self._operands[expr])

    # ---------------------------------------------------------------------------------------------------- numbers

    def _print_Integer(self, expr: sp.Integer) -> str:
        return self.literal(float(expr))

    def _print_Rational(self, expr: sp.Rational) -> str:
        return self.literal(float(expr))

    _print_Half = _print_One = _print_Zero = _print_NegativeOne = _print_Rational

    def _print_Float(self, expr: sp.Float) -> str:
        return self.literal(float(expr))

    def _print_NumberSymbol(self, expr: sp.NumberSymbol) -> str:
        return self.literal(float(expr))

    _print_Pi = _print_Exp1 = _print_NumberSymbol

    def _print_Infinity(self, expr: sp.Expr) -> str:
        self.uses_math = True
        return "math.inf" if self._in_double else "real(math.inf)"

    def _print_NegativeInfinity(self, expr: sp.Expr) -> str:
        self.uses_math = True
        return "-math.inf" if self._in_double else "real(-math.inf)"

    # ------------------------------------------------------------------------------------------------- arithmetic

    def _print_Add(self, expr: sp.Add, order: object = None) -> str:
        if _is_plain_number(expr):
            return self.literal(float(expr))
        terms = sorted(expr.args, key=lambda t: t.could_extract_minus_sign() and not t.is_number)
        parts: list[str] = []
        for term in terms:
            negative = term.could_extract_minus_sign()
            text = self.parenthesize(-term if negative else term, PRECEDENCE["Add"])
            if not parts:
                parts.append(f"-{text}" if negative else text)
            else:
                parts.append(f" {'-' if negative else '+'} {text}")
        return "".join(parts)

    def _print_Mul(self, expr: sp.Mul) -> str:
        if _is_plain_number(expr):
            return self.literal(float(expr))
        coefficient, rest = expr.as_coeff_Mul()
        negative = bool(coefficient < 0)
        coefficient = abs(coefficient)
        above: list[str] = []
        below: list[str] = []
        number = sp.S.One
        for factor in sp.Mul.make_args(rest):
            if _is_plain_number(factor):
                number *= factor
                continue
            base, exponent = factor.as_base_exp()
            if exponent.is_Rational and exponent < 0 and not isinstance(factor, sp.exp):
                below.append(self._tight(base**-exponent))
            else:
                above.append(self.parenthesize(factor, PRECEDENCE["Mul"]))
        lead: float | None = None  # the number in front
        if number != 1:
            lead = float(coefficient * number)
        elif _is_fraction(coefficient):
            if coefficient.p != 1 or not above:
                lead = float(coefficient.p)
            below.insert(0, self.literal(float(coefficient.q)))
        elif coefficient != 1 or not above:
            lead = float(coefficient)
        if lead is not None:
            above.insert(0, self.literal(lead))
        if negative and lead is not None:
            above[0] = self.literal(-lead)
            negative = False
        sign = "-" if negative else ""
        top = " * ".join(above)
        if not below:
            return sign + top
        return f"{sign}{top} / {below[0]}" if len(below) == 1 else f"{sign}{top} / ({' * '.join(below)})"

    def _print_Pow(self, expr: sp.Pow, rational: bool = False) -> str:
        base, exponent = expr.base, expr.exp
        if _is_plain_number(expr):
            return self.literal(float(expr))
        if exponent.is_Rational and exponent < 0:
            return f"{self.literal(1.0)} / {self._tight(base**-exponent)}"
        if exponent == sp.Rational(1, 2):
            return self._call("sqrt", (base,))
        if exponent.is_Integer:
            if exponent == 2 and base.is_Symbol:
                text = self._print(base)
                return f"{text} * {text}"
            if self.whole_powers:
                return self._products(base, int(exponent))
            shown_base = self.parenthesize(base, PRECEDENCE["Pow"])
            blank = "" if shown_base.isidentifier() else " "  # the formatter's rule
            return f"{shown_base}{blank}**{blank}{int(exponent)}"
        if exponent.is_Rational and exponent.q == 2:
            whole = self.parenthesize(base ** sp.Integer(exponent.p // 2), PRECEDENCE["Mul"])
            return f"{whole} * {self._call('sqrt', (base,))}"
        return self._call("power", (base, exponent))

    def _products(self, base: sp.Expr, exponent: int) -> str:
        """``square(x)`` for 2, ``square(cube(x))`` for 6, ``x * square(cube(x))`` for 7."""
        for each, name in self.whole_powers.items():
            if exponent % each == 0:
                self.functions[name] = None
                rest = exponent // each
                return f"{name}({self._print(base) if rest == 1 else self._products(base, rest)})"
        return f"{self.parenthesize(base, PRECEDENCE['Mul'])} * {self._products(base, exponent - 1)}"

    def _tight(self, expr: sp.Expr) -> str:
        """An operand of a division: in brackets unless it is one element or one call."""
        if expr.is_Pow and expr.exp == sp.S.Half:
            return str(self._print(expr))
        return self.parenthesize(expr, PRECEDENCE["Pow"])

    def parenthesize(self, item: sp.Basic, level: int, strict: bool = False) -> str:
        if isinstance(item, sp.Pow) and self.whole_powers and str(self._print(item)).startswith(_CALLS):
            return str(self._print(item))
        text = str(super().parenthesize(item, level, strict))
        # ``x*x`` is printed for x**2, which SymPy takes for an atom.
        if isinstance(item, sp.Pow) and level >= PRECEDENCE["Pow"] and " " in text and not text.startswith("("):
            return f"({text})"
        return text

    # -------------------------------------------------------------------------------------------------- functions

    def _call(self, name: str, arguments: tuple[sp.Basic, ...]) -> str:
        self.functions[name] = None
        return f"{name}({', '.join(map(self._print, arguments))})"

    def _print_Function(self, expr: sp.Function) -> str:
        name = type(expr).__name__
        if isinstance(expr, stop_gradient):
            return str(self._print(expr.args[0]))
        if isinstance(expr, select):
            condition, a, b = expr.args
            return f"({self._print(a)} if {self._print(condition)} else {self._print(b)})"
        if isinstance(expr, absolute):
            return f"abs({self._print(expr.args[0])})"
        if name in RUNTIME_FUNCTIONS:
            return self._call(name, expr.args)
        if name in MATH_FUNCTIONS:
            self.uses_math = True
            return f"math.{name}({self._print(expr.args[0])})"
        raise TargetError(f"function '{name}' has no form on this target", remedy="write it with known functions")

    def emptyPrinter(self, expr: object) -> str:
        if isinstance(expr, ScalarFunction | sp.Function):
            return self._print_Function(expr)
        raise TargetError(f"'{expr}' has no form on this target")

    def _print_Relational(self, expr: Relational) -> str:
        symbols = expr.free_symbols
        if symbols and all(map(self._is_whole, symbols)) and all(a.is_Integer or a.is_Symbol for a in expr.args):
            left, right = (self._whole(a) for a in expr.args)
        else:
            left, right = (self.parenthesize(a, PRECEDENCE["Relational"]) for a in expr.args)
        return f"{left} {expr.rel_op} {right}"

    def _whole(self, expr: sp.Basic) -> str:
        """An integer side of a comparison of integers."""
        if expr.is_Integer:
            return str(int(expr))
        operand = self._operands[expr]
        return self.affine(operand) if isinstance(operand, Affine) else self.read(operand)

    def _print_And(self, expr: sp.And) -> str:
        return " and ".join(self.parenthesize(a, PRECEDENCE["And"]) for a in expr.args)

    def _print_Or(self, expr: sp.Or) -> str:
        return " or ".join(self.parenthesize(a, PRECEDENCE["Or"]) for a in expr.args)

    def _print_Not(self, expr: sp.Not) -> str:
        return f"not {self.parenthesize(expr.args[0], PRECEDENCE['Not'])}"

    def _print_BooleanTrue(self, expr: object) -> str:
        return "True"

    def _print_BooleanFalse(self, expr: object) -> str:
        return "False"

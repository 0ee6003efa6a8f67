"""The pretty-printer: statements and programs as plain text, in the notation that spec files use.

h_bar[b, j] += sum[k] W[j, k]*z_bar[b, k]      where i - j >= 0
"""

from __future__ import annotations

from collections.abc import Callable

import sympy as sp
from sympy.printing.precedence import PRECEDENCE
from sympy.printing.str import StrPrinter

from symbp.ir.affine import Affine, FloorDiv, Mod
from symbp.ir.body import Body, Operand, slot
from symbp.ir.functions import absolute
from symbp.ir.program import Program
from symbp.ir.statement import Divisible, Guard, Holds, NonNegative, Reduction, Statement, Zero

#: With more characters than this, a fraction is read more easily as a decimal number.
LONGEST_FRACTION = 16


class BodyPrinter(StrPrinter):
    """SymPy's text printer with operands in place of slots."""

    def __init__(self, operands: dict[sp.Symbol, str]) -> None:
        super().__init__({"order": "none"})
        self.operands = operands

    def _print_Symbol(self, expr: sp.Symbol) -> str:
        return self.operands.get(expr, str(expr.name))

    def _print_Rational(self, expr: sp.Rational) -> str:
        """9/10 as the 0.9 that somebody wrote, 1/3 as it is."""
        text = decimal_text(expr)
        return text if text is not None and expr.q >= 10 else f"{expr.p}/{expr.q}"

    def _print_Add(self, expr: sp.Add, order: object = None) -> str:
        terms = sorted(expr.args, key=lambda t: bool(t.could_extract_minus_sign()))
        parts = []
        for term in terms:
            negative = bool(term.could_extract_minus_sign())
            text = self.parenthesize(-term if negative else term, PRECEDENCE["Add"])
            parts.append(f"{'-' if negative else '+'} {text}")
        first = parts[0]
        return " ".join([first[2:] if first[0] == "+" else f"-{first[2:]}", *parts[1:]])

    def _print_Mul(self, expr: sp.Mul) -> str:
        coefficient, rest = expr.as_coeff_Mul()
        text = decimal_text(abs(coefficient)) if coefficient.is_Rational and coefficient.q != 1 else None
        if text is None or (abs(coefficient.p) == 1 and coefficient.q < 10):
            return str(super()._print_Mul(expr))
        return f"{'-' if coefficient < 0 else ''}{text}*{self.parenthesize(rest, PRECEDENCE['Mul'], strict=True)}"

    def _print_absolute(self, expr: absolute) -> str:
        return f"abs({self._print(expr.args[0])})"

    def _print_Relational(self, expr: sp.core.relational.Relational) -> str:
        return f"{self._print(expr.lhs)} {expr.rel_op} {self._print(expr.rhs)}"


def decimal_text(value: sp.Rational) -> str | None:
    """The short decimal form of a rational, if it has one: ``0.9``, ``1e-8``; None for 1/3 and for integers.

    A fraction that nobody would write, 19290123283179/156250000000000, is the decimal nearest to it in float64.
    """
    if value.q != 1 and len(f"{value.p}/{value.q}") > LONGEST_FRACTION:
        return repr(int(value.p) / int(value.q)).replace("e-0", "e-")
    rest = int(value.q)
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    if rest != 1 or value.q == 1:
        return None
    text = repr(float(value)).replace("e-0", "e-")
    return text if len(text) <= 8 else None


def body_text(body: Body, operand_text: Callable[[Operand], str] = str) -> str:
    """The template with its operands written in; an affine operand in a product is bracketed."""
    names = {
        slot(k): f"({operand_text(o)})" if isinstance(o, Affine) and _is_compound(o) else operand_text(o)
        for k, o in enumerate(body.operands)
    }
    return str(BodyPrinter(names).doprint(body.expr))


def _is_compound(value: Affine) -> bool:
    return len(value.terms) > 1 or isinstance(value.as_atom(), FloorDiv | Mod)


def guard_text(guard: Guard) -> str:
    if isinstance(guard, Holds):
        return body_text(guard.condition)
    if isinstance(guard, Divisible):
        return f"({guard.value}) % {guard.by} == 0"
    relation = ">=" if isinstance(guard, NonNegative) else "=="
    flipped = "<=" if isinstance(guard, NonNegative) else "=="
    # Write a - b >= 0 as a >= b.
    left = Affine(tuple((m, c) for m, c in guard.value.terms if c > 0))
    right = Affine(tuple((m, -c) for m, c in guard.value.terms if c < 0))
    assert isinstance(guard, NonNegative | Zero)
    return f"{right} {flipped} {left}" if left.is_constant else f"{left} {relation} {right}"


def reduction_text(statement: Statement) -> str:
    if statement.reduction is Reduction.NONE:
        return ""
    return f"{statement.reduction.value}[{', '.join(map(str, statement.reduced))}] "


def statement_text(statement: Statement) -> str:
    body = body_text(statement.body)
    if statement.reduced and statement.body.expr.is_Add:
        body = f"({body})"
    sign = "+=" if statement.accumulate else "="
    guards = f"    where {', '.join(map(guard_text, statement.guards))}" if statement.guards else ""
    return f"{statement.target} {sign} {reduction_text(statement)}{body}{guards}"


def program_text(program: Program) -> str:
    """All of a program: declarations, then one line per statement with the ranges of its indices."""
    lines = [f"program {program.name}"]
    for tensor in program.tensors:
        shape = f"[{', '.join(map(str, tensor.shape))}]" if tensor.shape else ""
        lines.append(f"  {tensor.role.value} {tensor.name}{shape}: {tensor.dtype.value}")
    for statement in program.statements:
        ranges = ", ".join(map(str, statement.domain.ranges))
        lines.append(f"  {statement_text(statement)}" + (f"    for {ranges}" if ranges else ""))
    return "\n".join(lines)

"""What users write: SymPy expressions over elements of tensors, indices and sizes.

expression  ::=  number | Axis | Extent | Element | Reduce | Diff | a SymPy operation or function of expressions
Element     ::=  tensor[subscript, ..]            a subscript is an integer expression; it may hold elements itself
Reduce      ::=  operation over axes of body, where guards
Diff        ::=  d element / d element

Every node is a real, commutative SymPy expression, so SymPy's own operators and functions apply. Names are plain
strings inside the nodes: a tensor called ``E``, ``I``, ``S``, ``N`` or ``pi`` means nothing special to SymPy. Nothing
here reads text.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import sympy as sp
from sympy.core.relational import Relational
from sympy.core.symbol import Str
from sympy.logic.boolalg import BooleanFalse, BooleanTrue

from symbp.errors import SpecError

#: A guard: a relation between expressions.
Relation = Any


class Extent(sp.Symbol):
    """A run-time size as a symbol: the number of samples of a batch, ``n_batch``. A positive integer."""

    def __new__(cls, name: str) -> Extent:
        # Symbol's own cache would hand back an equal object of another model, with that model's attributes.
        return sp.Symbol.__xnew__(cls, name, integer=True, positive=True)  # type: ignore[no-any-return]


class Axis(sp.Symbol):
    """An index with a range: ``b`` in ``x[b, j]``, with ``0 <= b < b.size``.

    Two axes are equal when their names are; the model knows the extent. Arithmetic on it is SymPy's, so ``x[t + 1]``,
    ``x[t//2]`` and ``x[(t + s) % n]`` are subscripts.
    """

    def __new__(cls, name: str, size: sp.Expr) -> Axis:
        axis = sp.Symbol.__xnew__(cls, name, integer=True)
        axis.size = size
        return axis  # type: ignore[no-any-return]

    #: The extent, an integer or an expression of `Extent` symbols.
    size: sp.Expr


class Element(sp.Expr):
    """One element of a tensor, ``x[b, j + 1]``; a scalar has no subscripts."""

    is_real = True
    is_commutative = True

    def __new__(cls, tensor: str | Str, *subscripts: sp.Expr) -> Element:
        return sp.Expr.__new__(cls, tensor if isinstance(tensor, Str) else Str(tensor), *subscripts)  # type: ignore[no-any-return]

    @property
    def tensor(self) -> str:
        return str(self.args[0].name)

    @property
    def subscripts(self) -> tuple[sp.Expr, ...]:
        return tuple(self.args[1:])

    def _eval_derivative(self, symbol: Any) -> sp.Expr:
        raise SpecError(f"SymPy cannot differentiate {self}", remedy="use diff(u[n], x[n]) of symbp inside the model")

    def _sympystr(self, printer: Any) -> str:
        inside = ", ".join(printer._print(s) for s in self.subscripts)
        return f"{self.tensor}[{inside}]" if inside else self.tensor


class Reduce(sp.Expr):
    """``operation`` (sum, max, argmax) over `axes` of `body`, restricted to where all `guards` hold.

    The axes are bound: an axis of the same name outside is another index.
    """

    is_real = True
    is_commutative = True

    def __new__(
        cls, operation: str | Str, body: sp.Expr, axes: Iterable[Axis], guards: Iterable[Relation] = ()
    ) -> Reduce:
        name = operation if isinstance(operation, Str) else Str(operation)
        return sp.Expr.__new__(cls, name, body, sp.Tuple(*axes), sp.Tuple(*guards))  # type: ignore[no-any-return]

    @property
    def operation(self) -> str:
        return str(self.args[0].name)

    @property
    def body(self) -> sp.Expr:
        return self.args[1]

    @property
    def axes(self) -> tuple[Axis, ...]:
        return tuple(self.args[2])

    @property
    def guards(self) -> tuple[Relation, ...]:
        return tuple(self.args[3])

    @property
    def free_symbols(self) -> set[sp.Symbol]:
        inside = self.body.free_symbols.union(*(g.free_symbols for g in self.guards))
        return inside - set(self.axes)  # type: ignore[no-any-return]

    def _eval_derivative(self, symbol: Any) -> sp.Expr:
        raise SpecError(f"SymPy cannot differentiate {self}", remedy="use diff(u[n], x[n]) of symbp inside the model")

    def _sympystr(self, printer: Any) -> str:
        parts = [printer._print(self.body), *(printer._print(a) for a in self.axes)]
        if len(self.guards) == 1:
            parts.append(f"where={printer._print(self.guards[0])}")
        elif self.guards:
            parts.append(f"where=[{', '.join(printer._print(g) for g in self.guards)}]")
        return f"{self.operation}({', '.join(parts)})"


class Diff(sp.Expr):
    """The derivative of one element with respect to another at the same point: ``diff(u[n], x[n, 0])``."""

    is_real = True
    is_commutative = True

    def __new__(cls, of: sp.Expr, wrt: Element) -> Diff:
        return sp.Expr.__new__(cls, of, wrt)  # type: ignore[no-any-return]

    @property
    def of(self) -> sp.Expr:
        return self.args[0]

    @property
    def wrt(self) -> Element:
        return self.args[1]  # type: ignore[no-any-return]

    def _sympystr(self, printer: Any) -> str:
        return f"diff({printer._print(self.of)}, {printer._print(self.wrt)})"


def to_expression(value: Any, what: str = "an expression") -> sp.Expr:
    """A value that users may write in an equation, as a SymPy expression.

    Numbers, SymPy expressions and scalar handles pass; text never does (SymPy would execute it). Raises SpecError.
    """
    if isinstance(value, sp.Expr):
        return value
    if not isinstance(value, bool | str | bytes):
        try:
            expression = sp.sympify(value, strict=True)
        except (sp.SympifyError, TypeError, ValueError):
            expression = None
        if isinstance(expression, sp.Expr):
            return expression
    remedy = "use Eq(a, b) for equality" if isinstance(value, bool) else "write elements, such as x[b, j]"
    raise SpecError(f"expected {what}, found {_shown(value)}", remedy=remedy)


def to_relations(where: Any) -> tuple[Relation, ...]:
    """The guards of a ``where``: one relation or several; what always holds is dropped. Raises SpecError."""
    if where is None:
        return ()
    if isinstance(where, list | tuple):
        return tuple(relation for part in where for relation in to_relations(part))
    if isinstance(where, BooleanTrue) or (isinstance(where, sp.Basic) and where == sp.true):
        return ()
    if isinstance(where, sp.And):
        return to_relations(sorted(where.args, key=sp.default_sort_key))
    if isinstance(where, Relational):
        return (where,)
    if isinstance(where, BooleanFalse):
        raise SpecError("a guard never holds, so the equation defines nothing", remedy="drop the equation or mend it")
    if isinstance(where, bool):
        raise SpecError(
            "expected a relation after where, found a Python bool", remedy="write Eq(i, j) for i == j, Ne(i, j) for !="
        )
    raise SpecError(
        f"expected a relation such as i >= j after where, found {_shown(where)}",
        remedy="use a list of relations; for alternatives write one equation each",
    )


def _shown(value: Any) -> str:
    text = str(value) if isinstance(value, sp.Basic) else repr(value)
    return f"{type(value).__name__} {text if len(text) <= 60 else text[:60] + '..'}"

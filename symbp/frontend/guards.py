"""Relations of users to guards: affine in the indices where they can be, conditions on data otherwise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import sympy as sp
from sympy.core.relational import Relational

from symbp.errors import SpecError
from symbp.frontend.expression import Axis, Element
from symbp.frontend.integers import is_integer_expression, lower_integer
from symbp.ir import Affine, Body, Divisible, Guard, Holds, Mod, NonNegative, Range, Read, Zero
from symbp.ir.bounds import is_implied, is_nonnegative, upper_bound


@dataclass(frozen=True)
class Guards:
    """How the parts of a relation are lowered in the statement at hand."""

    index: Callable[[Axis], Affine]
    read: Callable[[Element], Read]
    condition: Callable[[Relational], Body] | None
    is_integer_tensor: Callable[[str], bool] = lambda name: False


def lower_guard(relation: Relational, parts: Guards, ranges: tuple[Range, ...]) -> tuple[Guard, ...]:
    """The guards that `relation` means; none if the ranges imply it. Raises SpecError if it can never hold."""
    guard = _lower(relation, parts)
    if isinstance(guard, NonNegative):
        high = upper_bound(guard.value, ranges)
        if high is not None and is_nonnegative(-high - 1):
            raise SpecError(f"guard {relation} never holds", remedy="drop the equation or mend its where")
    return () if is_implied(guard, ranges) else (guard,)


def _lower(relation: Relational, parts: Guards) -> Guard:
    integers = all(is_integer_expression(side, parts.is_integer_tensor) for side in relation.args)
    if integers and not isinstance(relation, sp.Ne):
        left, right = (lower_integer(side, parts.index, parts.read, "guard") for side in relation.args)
        match relation:
            case sp.GreaterThan():
                return NonNegative(left - right)
            case sp.LessThan():
                return NonNegative(right - left)
            case sp.StrictGreaterThan():
                return NonNegative(left - right - 1)
            case sp.StrictLessThan():
                return NonNegative(right - left - 1)
            case sp.Eq():
                return _equal(left, right)
    if parts.condition is None:
        raise SpecError(f"guard {relation} cannot be used here")
    return Holds(parts.condition(relation))


def _equal(left: Affine, right: Affine) -> Guard:
    for value, other in ((left, right), (right, left)):
        atom = value.as_atom()
        if isinstance(atom, Mod) and atom.divisor.is_constant and other.is_constant:
            return Divisible(atom.numerator - other, int(atom.divisor))
    return Zero(left - right)

"""Integer expressions of users (subscripts, extents, guards) to the affine arithmetic of the IR."""

from __future__ import annotations

from collections.abc import Callable

import sympy as sp

from symbp.errors import ShapeError
from symbp.frontend.expression import Axis, Element, Extent
from symbp.ir import Affine, Index, Read, Size, floor_div, mod
from symbp.ir.bounds import is_nonnegative


def lower_integer(
    expression: sp.Expr, index: Callable[[Axis], Affine], read: Callable[[Element], Read], what: str = "subscript"
) -> Affine:
    """`expression` as an `Affine`: +, -, *, powers of sizes, ``//`` and ``%`` by positive integers or sizes.

    `index` and `read` say what an index and an element of integers become. Raises ShapeError for anything else: a
    fraction, a product of two indices, a function.
    """

    def refuse(why: str, remedy: str | None = None) -> ShapeError:
        return ShapeError(f"{what} {expression}: {why}", remedy=remedy)

    def lower(part: sp.Expr) -> Affine:
        if isinstance(part, sp.Integer):
            return Affine.of(int(part))
        if isinstance(part, Axis):
            return index(part)
        if isinstance(part, Extent):
            return Affine.of(Size(part.name))
        if isinstance(part, Element):
            return Affine.of(read(part))
        if isinstance(part, sp.Add):
            total = Affine.of(0)
            for term in part.args:
                total = total + lower(term)
            return total
        if isinstance(part, sp.Mul):
            product = Affine.of(1)
            for factor in part.args:
                product = product * lower(factor)
            if any(sum(isinstance(a, Index) for a in monomial) > 1 for monomial, _ in product.terms):
                raise refuse("two indices are multiplied", "an index may be multiplied by integers and sizes only")
            return product
        if isinstance(part, sp.Pow) and isinstance(part.exp, sp.Integer) and 0 < part.exp <= 8:
            product, factor = Affine.of(1), lower(part.base)
            if factor.indices():
                raise refuse("an index is raised to a power", "an index may be multiplied by integers and sizes only")
            for _ in range(int(part.exp)):
                product = product * factor
            return product
        if isinstance(part, sp.floor):
            numerator, divisor = sp.fraction(sp.together(part.args[0]))
            return floor_div(lower(numerator), positive(lower(divisor)))
        if isinstance(part, sp.Mod):
            return mod(lower(part.args[0]), positive(lower(part.args[1])))
        if part.is_Number:
            raise refuse(f"{part} is not an integer", "use // for a division that is rounded down")
        if isinstance(part, sp.Symbol):
            raise refuse(f"'{part}' is neither an axis nor a size", "declare it with model.axis(..)")
        raise refuse("it is not an integer expression", "use +, -, *, // and % of indices, sizes and integers")

    def positive(divisor: Affine) -> Affine:
        if divisor.indices() or divisor.reads() or not is_nonnegative(divisor - 1):
            raise refuse(f"the divisor {divisor} is not a positive integer or size")
        return divisor

    return lower(expression)


def is_integer_expression(expression: sp.Expr, is_integer_tensor: Callable[[str], bool] = lambda name: False) -> bool:
    """True if index arithmetic applies: integers, indices, sizes, elements of integers, ``//``, ``%``."""
    if isinstance(expression, sp.Integer | Axis | Extent):
        return True
    if isinstance(expression, Element):
        return is_integer_tensor(expression.tensor)
    if isinstance(expression, sp.Add | sp.Mul | sp.Mod):
        return all(is_integer_expression(a, is_integer_tensor) for a in expression.args)
    if isinstance(expression, sp.Pow):
        return bool(expression.exp.is_Integer and expression.exp > 0) and is_integer_expression(
            expression.base, is_integer_tensor
        )
    if isinstance(expression, sp.floor):
        parts = sp.fraction(sp.together(expression.args[0]))
        return all(is_integer_expression(p, is_integer_tensor) for p in parts)
    return False

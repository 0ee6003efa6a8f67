"""Scalar functions that SymPy lacks, or whose SymPy form does not suit numerical code.

Each class states its derivative once, in terms of its own value where that is cheaper (``sigmoid' = s*(1 - s)``), so
that the backward pass reads the stored output. At kinks the subgradient is fixed and documented here.

SymPy's own ``Max``, ``Abs`` and ``Heaviside`` are avoided: their derivatives are distributions, not numbers.
"""

from __future__ import annotations

from typing import Any

import sympy as sp

from symbp.errors import DerivativeError


class ScalarFunction(sp.Function):
    """A real function of real arguments; `fdiff` is the whole of what the compiler must know about it."""

    is_real = True
    is_commutative = True


class sigmoid(ScalarFunction):
    """``1/(1 + exp(-x))``."""

    nargs = 1

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        return self * (1 - self)


class tanh(ScalarFunction):
    """Hyperbolic tangent."""

    nargs = 1

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        return 1 - self**2


class dsigmoid(ScalarFunction):
    """``sigmoid'(x) = s*(1 - s)``, computed so that no digit is lost where s is near 1."""

    nargs = 1

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        return self * (1 - 2 * sigmoid(self.args[0]))


class sech2(ScalarFunction):
    """``tanh'(x) = 1 - tanh(x)**2``, computed so that no digit is lost where tanh is near 1."""

    nargs = 1

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        return -2 * self * tanh(self.args[0])


class relu(ScalarFunction):
    """``max(x, 0)``; the derivative at 0 is 0. It is read from the output: ``step(relu(x)) = step(x)``."""

    nargs = 1

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        return step(self)


class step(ScalarFunction):
    """1 where ``x > 0``, else 0; its derivative is 0 everywhere."""

    nargs = 1

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        return sp.S.Zero


class softplus(ScalarFunction):
    """``log(1 + exp(x))``, without overflow."""

    nargs = 1

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        return sigmoid(self.args[0])


class log1p(ScalarFunction):
    """``log(1 + x)``, accurate near 0."""

    nargs = 1

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        return 1 / (1 + self.args[0])


class expm1(ScalarFunction):
    """``exp(x) - 1``, accurate near 0."""

    nargs = 1

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        return self + 1


class sqrt(ScalarFunction):
    """Square root; the derivative at 0 is taken as 0, so that a norm has a gradient everywhere."""

    nargs = 1

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        return safe_div(sp.S.Half, self)


class safe_div(ScalarFunction):
    """``a/b``, and 0 where ``b = 0``."""

    nargs = 2

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        _, b = self.args
        return safe_div(sp.S.One, b) if argindex == 1 else -safe_div(self, b)


class absolute(ScalarFunction):
    """``|x|``; the derivative at 0 is 0."""

    nargs = 1

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        return sign(self.args[0])


class sign(ScalarFunction):
    """-1, 0 or 1; its derivative is 0 everywhere."""

    nargs = 1

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        return sp.S.Zero


class maximum(ScalarFunction):
    """The larger of two; at a tie the whole derivative goes to the first."""

    nargs = 2

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        a, b = self.args
        return select(sp.Ge(a, b), sp.S.One, sp.S.Zero) if argindex == 1 else select(sp.Ge(a, b), sp.S.Zero, sp.S.One)


class minimum(ScalarFunction):
    """The smaller of two; at a tie the whole derivative goes to the first."""

    nargs = 2

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        a, b = self.args
        return select(sp.Le(a, b), sp.S.One, sp.S.Zero) if argindex == 1 else select(sp.Le(a, b), sp.S.Zero, sp.S.One)


class floor(ScalarFunction):
    """The largest integer not above x. It has no derivative, and says so."""

    nargs = 1

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        raise DerivativeError(
            "floor has no derivative but lies on a path from a weight to the loss",
            remedy="wrap it in stop_gradient(...) to treat it as a constant",
        )


class stop_gradient(ScalarFunction):
    """The identity, held constant by every derivative."""

    nargs = 1

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        return sp.S.Zero

    def _eval_derivative(self, s: sp.Symbol) -> sp.Expr:
        # By the chain rule the argument would be differentiated as well, and it may have no derivative: floor.
        return sp.S.Zero


class select(ScalarFunction):
    """``a`` where the condition holds, else ``b``.

    A branch, never a product with a mask: ``d select(c, a, b) = select(c, da, db)``, so a NaN in the branch that is not
    taken never reaches the result.
    """

    nargs = 3

    def _eval_derivative(self, s: Any) -> sp.Expr:
        condition, a, b = self.args
        da, db = a.diff(s), b.diff(s)
        return sp.S.Zero if da == 0 and db == 0 else select(condition, da, db)


#: Functions whose value is worth naming: a statement that applies one reads plain elements only (see `name_calls`).
NONLINEAR = (
    sigmoid, tanh, relu, softplus, log1p, expm1, sqrt, absolute, maximum, minimum,
    sp.exp, sp.log, sp.sin, sp.cos, sp.tan, sp.erf, sp.erfc, sp.atan, sp.asin, sp.acos, sp.sinh, sp.cosh, sp.asinh,
)  # fmt: skip

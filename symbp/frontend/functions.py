"""The functions of the equation language, under the names that users write, in Python and in text.

``sum(x[b, j]*W[j, k], j)`` reduces over axes; ``tanh(z[b, k])`` is a scalar function. Given a whole tensor in place of
an element, a function of one argument defines a tensor of the same shape: ``h = tanh(z)``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sympy as sp

from symbp.errors import SpecError
from symbp.frontend.expression import Axis, Diff, Element, Reduce, to_expression, to_relations
from symbp.frontend.handle import TensorHandle, count
from symbp.ir import functions as scalar


@dataclass(frozen=True)
class Function:
    """One function of the equation language.

    `arguments` is how many expressions it takes. One with `over_axes` then takes one or more axes, and those that can
    be restricted (`guarded`) ``where=`` relations: ``sum(x[t], t, where=t >= 1)``.
    """

    name: str
    build: Callable[..., sp.Expr]
    arguments: int = 1
    over_axes: bool = False
    guarded: bool = False
    takes_relation: bool = False  # the first argument is a condition

    def __call__(self, *arguments: Any, where: Any = None, name: str = "") -> Any:
        if len(arguments) == 1 and isinstance(arguments[0], TensorHandle) and arguments[0].rank and self._lifts:
            return arguments[0].model.apply(self, arguments[0], name)
        expressions, axes = arguments[: self.arguments], arguments[self.arguments :]
        if len(expressions) < self.arguments or (axes and not self.over_axes):
            found = len(arguments)
            axes_text = " and one or more axes" if self.over_axes else ""
            raise SpecError(f"{self.name} takes {count(self.arguments, 'argument')}{axes_text}, found {found}")
        if self.takes_relation:
            first = _condition(self.name, expressions[0])
            return self.build(first, *(to_expression(e) for e in expressions[1:]))
        values = [to_expression(e, f"an expression in {self.name}(..)") for e in expressions]
        if not self.over_axes:
            if where is not None:
                raise SpecError(f"{self.name} takes no where", remedy="only sum, max, min and argmax do")
            return self.build(*values)
        self._check_axes(axes)
        guards = to_relations(where)
        if guards and not self.guarded:
            raise SpecError(f"{self.name} takes no where", remedy="write it with sum(.., where=..)")
        return self.build(*values, axes, guards) if self.guarded else self.build(*values, axes)

    @property
    def _lifts(self) -> bool:
        return self.arguments == 1 and (not self.over_axes or self.name in ("softmax", "log_softmax"))

    def on_element(self, tensor: TensorHandle) -> sp.Expr:
        """The function applied to a whole tensor, written for its element; softmax runs over the last axis."""
        return self(tensor.here, *tensor.axes[-1:]) if self.over_axes else self(tensor.here)

    def _check_axes(self, axes: tuple[Any, ...]) -> None:
        if not axes:
            raise SpecError(f"{self.name} needs at least one axis", remedy=f"write {self.name}(x[b, j], j)")
        for axis in axes:
            if not isinstance(axis, Axis):
                raise SpecError(
                    f"{self.name} runs over axes, found {type(axis).__name__} {axis}",
                    remedy="two-argument forms are maximum(a, b), minimum(a, b)"
                    if self.name in ("max", "min")
                    else None,
                )
        if len(dict.fromkeys(axes)) < len(axes):
            raise SpecError(f"{self.name} names an axis twice: {', '.join(map(str, axes))}")

    def __repr__(self) -> str:
        return self.name


def _condition(name: str, value: Any) -> Any:
    if isinstance(value, bool):
        raise SpecError(
            f"{name} takes a relation, found a Python bool", remedy="write Eq(a, b) for a == b, Ne(a, b) for !="
        )
    if isinstance(value, sp.logic.boolalg.Boolean):
        return value
    raise SpecError(f"{name} takes a relation such as x[b] > 0 first, found {value}")


def _sum(body: sp.Expr, axes: tuple[Axis, ...], guards: tuple[Any, ...]) -> sp.Expr:
    return Reduce("sum", body, axes, guards)


def _max(body: sp.Expr, axes: tuple[Axis, ...], guards: tuple[Any, ...]) -> sp.Expr:
    return Reduce("max", body, axes, guards)


def _min(body: sp.Expr, axes: tuple[Axis, ...], guards: tuple[Any, ...]) -> sp.Expr:
    return -Reduce("max", -body, axes, guards)


def _argmax(body: sp.Expr, axes: tuple[Axis, ...], guards: tuple[Any, ...]) -> sp.Expr:
    return Reduce("argmax", body, axes, guards)


def _mean(body: sp.Expr, axes: tuple[Axis, ...]) -> sp.Expr:
    return Reduce("sum", body, axes) / sp.Mul(*(a.size for a in axes))


def _logsumexp(body: sp.Expr, axes: tuple[Axis, ...], guards: tuple[Any, ...]) -> sp.Expr:
    return sp.log(Reduce("sum", sp.exp(body), axes, guards))


def _softmax(body: sp.Expr, axes: tuple[Axis, ...], guards: tuple[Any, ...]) -> sp.Expr:
    return sp.exp(body) / Reduce("sum", sp.exp(body), axes, guards)


def _log_softmax(body: sp.Expr, axes: tuple[Axis, ...], guards: tuple[Any, ...]) -> sp.Expr:
    return body - _logsumexp(body, axes, guards)


def _silu(x: sp.Expr) -> sp.Expr:
    return x * scalar.sigmoid(x)


def _gelu(x: sp.Expr) -> sp.Expr:
    return x * (1 + sp.erf(x / scalar.sqrt(sp.Integer(2)))) / 2


def _leaky_relu(x: sp.Expr) -> sp.Expr:
    return scalar.select(x > 0, x, sp.Rational(1, 100) * x)


def _elu(x: sp.Expr) -> sp.Expr:
    return scalar.select(x > 0, x, scalar.expm1(x))


def _diff(of: sp.Expr, wrt: sp.Expr) -> sp.Expr:
    if not isinstance(wrt, Element):
        raise SpecError(
            f"diff differentiates with respect to an element, found {wrt}", remedy="write diff(u[n], x[n]) or x[n, 0]"
        )
    return Diff(of, wrt)


# Reductions. The first four shadow Python's own names on purpose: these are what the equations call them.
sum = Function("sum", _sum, over_axes=True, guarded=True)
max = Function("max", _max, over_axes=True, guarded=True)
min = Function("min", _min, over_axes=True, guarded=True)
mean = Function("mean", _mean, over_axes=True)
argmax = Function("argmax", _argmax, over_axes=True, guarded=True)
logsumexp = Function("logsumexp", _logsumexp, over_axes=True, guarded=True)
softmax = Function("softmax", _softmax, over_axes=True, guarded=True)
log_softmax = Function("log_softmax", _log_softmax, over_axes=True, guarded=True)

exp = Function("exp", sp.exp)
log = Function("log", sp.log)
log1p = Function("log1p", scalar.log1p)
expm1 = Function("expm1", scalar.expm1)
sqrt = Function("sqrt", scalar.sqrt)
abs = Function("abs", scalar.absolute)
sign = Function("sign", scalar.sign)
step = Function("step", scalar.step)
floor = Function("floor", sp.floor)
sin = Function("sin", sp.sin)
cos = Function("cos", sp.cos)
tan = Function("tan", sp.tan)
asin = Function("asin", sp.asin)
acos = Function("acos", sp.acos)
atan = Function("atan", sp.atan)
sinh = Function("sinh", sp.sinh)
cosh = Function("cosh", sp.cosh)
tanh = Function("tanh", scalar.tanh)
erf = Function("erf", sp.erf)
erfc = Function("erfc", sp.erfc)
sigmoid = Function("sigmoid", scalar.sigmoid)
relu = Function("relu", scalar.relu)
softplus = Function("softplus", scalar.softplus)
silu = Function("silu", _silu)
gelu = Function("gelu", _gelu)
leaky_relu = Function("leaky_relu", _leaky_relu)
elu = Function("elu", _elu)
stop_gradient = Function("stop_gradient", scalar.stop_gradient)
maximum = Function("maximum", scalar.maximum, arguments=2)
minimum = Function("minimum", scalar.minimum, arguments=2)
safe_div = Function("safe_div", scalar.safe_div, arguments=2)
select = Function("select", scalar.select, arguments=3, takes_relation=True)
diff = Function("diff", _diff, arguments=2)

#: Every function that an equation may call, by the name it is written under.
FUNCTIONS: dict[str, Function] = {
    f.name: f
    for f in (
        sum, max, min, mean, argmax, logsumexp, softmax, log_softmax,
        exp, log, log1p, expm1, sqrt, abs, sign, step, floor, sin, cos, tan, asin, acos, atan, sinh, cosh, tanh,
        erf, erfc, sigmoid, relu, softplus, silu, gelu, leaky_relu, elu, stop_gradient,
        maximum, minimum, safe_div, select, diff,
    )
}  # fmt: skip

#: Functions of one element that a layer can take as its activation, by name; softmax is one, over the last axis.
ACTIVATIONS: dict[str, Function] = {
    f.name: f
    for f in (relu, sigmoid, tanh, softplus, silu, gelu, leaky_relu, elu, softmax, log_softmax, exp, sin, cos, erf)
}

"""Optimizers: equations over one flat axis i of all parameters, compiled like the model's own.

Given are the parameters ``w[i]``, their gradient ``g[i]``, what the optimizer keeps from step to step (zero at the
start), the learning rate and the count ``t`` of the step, 1 at the first. The equations define ``w_next[i]`` and the
next value of each kept vector, ``m_next[i]``.

An optimizer of one's own is a frozen dataclass with an `update` method that writes equations into a `Step`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

import sympy as sp

from symbp.errors import SpecError
from symbp.frontend.expression import Axis, Element
from symbp.frontend.functions import expm1, log, sqrt
from symbp.frontend.handle import TensorHandle
from symbp.frontend.model import Model
from symbp.ir import Program


class Step:
    """Where an optimizer writes: ``step.w``, ``step.g``, ``step.rate`` and ``step.t`` are elements, `keep` declares.

    `define` names an intermediate vector or number, `set_next` gives ``w_next``, ``m_next``, ..
    """

    def __init__(self, name: str, learning_rate: float) -> None:
        self.model = Model(name)
        self.i: Axis = self.model.axis("i", "parameters")
        self.w: sp.Expr = self.model.parameter_vector("w", self.i).here
        self.g: sp.Expr = self.model.input("g", self.i).here
        self.rate: sp.Expr = self.model.hyper("learning_rate", learning_rate)._sympy_()
        self._count: TensorHandle | None = None
        self._next: list[TensorHandle] = []

    @property
    def t(self) -> sp.Expr:
        """The count of the step, 1 at the first."""
        if self._count is None:
            self._count = self.model.hyper("t")
        return self._count._sympy_()

    def keep(self, name: str) -> sp.Expr:
        """A vector kept from step to step, zero at the start."""
        return self.model.state(name, self.i).here

    def define(self, name: str, expression: Any) -> sp.Expr:
        """An intermediate: a vector if the expression varies along i, else a number."""
        varies = self.i in sp.sympify(expression, strict=True).free_symbols
        return self.model.define(Element(name, self.i) if varies else Element(name), expression).here

    def set_next(self, name: str, expression: Any) -> sp.Expr:
        """The next value of ``w`` or of a kept vector; returns it, so that others may be computed from it."""
        handle = self.model.define(Element(f"{name}_next", self.i), expression)
        self._next.append(handle)
        return handle.here

    def program(self) -> Program:
        names = [h.name for h in self._next]
        if "w_next" not in names:
            raise SpecError(f"optimizer '{self.model.name}' defines no w_next", remedy="call step.set_next('w', ..)")
        self.model.output(*sorted(self._next, key=lambda h: h.name != "w_next"))
        return self.model.program()


@dataclass(frozen=True)
class Optimizer:
    """Settings in fields, equations in `update`. Raises SpecError for settings outside their range."""

    learning_rate: float = 0.01

    def __post_init__(self) -> None:
        for setting in fields(self):
            value = getattr(self, setting.name)
            kind = type(self).__name__
            if isinstance(setting.default, bool):
                if not isinstance(value, bool):
                    raise SpecError(f"{kind} has {setting.name} = {value!r}, expected True or False")
                continue
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise SpecError(f"{kind} has {setting.name} = {value!r}, expected a finite number")
            if setting.name in ("learning_rate", "epsilon") and not value > 0:
                raise SpecError(f"{kind} has {setting.name} = {value!r}, expected a number above 0")
            if setting.name.startswith(("beta", "momentum", "decay")) and not 0 <= value < 1:
                raise SpecError(f"{kind} has {setting.name} = {value!r}, expected a number in [0, 1)")
            if setting.name == "weight_decay" and value < 0:
                raise SpecError(f"{kind} has {setting.name} = {value!r}, expected a number of at least 0")

    def update(self, step: Step) -> None:
        """Write the equations of one step."""
        raise NotImplementedError(f"{type(self).__name__} has no update method")

    def program(self) -> Program:
        """The equations of one step as a program of their own."""
        step = Step(type(self).__name__.lower(), self.learning_rate)
        self.update(step)
        return step.program()


@dataclass(frozen=True)
class SGD(Optimizer):
    """Gradient descent: ``w' = w - rate*g``."""

    def update(self, step: Step) -> None:
        step.set_next("w", step.w - step.rate * step.g)


@dataclass(frozen=True)
class Momentum(Optimizer):
    """Heavy ball: ``v' = momentum*v + g``, ``w' = w - rate*v'``; Nesterov: ``w' = w - rate*(g + momentum*v')``.

    Polyak 1964; Sutskever et al. 2013.
    """

    momentum: float = 0.9
    nesterov: bool = False

    def update(self, step: Step) -> None:
        momentum = exact(self.momentum)
        v = step.set_next("v", momentum * step.keep("v") + step.g)
        step.set_next("w", step.w - step.rate * (step.g + momentum * v if self.nesterov else v))


@dataclass(frozen=True)
class AdaGrad(Optimizer):
    """``s' = s + g**2``, ``w' = w - rate*g/(sqrt(s') + epsilon)``. Duchi et al. 2011."""

    epsilon: float = 1e-10

    def update(self, step: Step) -> None:
        s = step.set_next("s", step.keep("s") + step.g**2)
        step.set_next("w", step.w - step.rate * step.g / (sqrt(s) + exact(self.epsilon)))


@dataclass(frozen=True)
class RMSProp(Optimizer):
    """``s' = decay*s + (1 - decay)*g**2``, ``w' = w - rate*g/(sqrt(s') + epsilon)``. Tieleman and Hinton 2012."""

    decay: float = 0.99
    epsilon: float = 1e-8

    def update(self, step: Step) -> None:
        decay = exact(self.decay)
        s = step.set_next("s", decay * step.keep("s") + (1 - decay) * step.g**2)
        step.set_next("w", step.w - step.rate * step.g / (sqrt(s) + exact(self.epsilon)))


@dataclass(frozen=True)
class Adam(Optimizer):
    """``m' = b1*m + (1-b1)*g``, ``v' = b2*v + (1-b2)*g**2``, ``w' = w - rate*m_hat/(sqrt(v_hat) + epsilon)``.

    ``m_hat = m'/(1 - b1**t)`` and ``v_hat = v'/(1 - b2**t)`` undo the bias towards the zeros at the start. Kingma and
    Ba 2015, algorithm 1.
    """

    learning_rate: float = 0.001
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8

    def update(self, step: Step) -> None:
        step.set_next("w", step.w - step.rate * adam_direction(self, step))


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with decoupled weight decay: ``w' = w - rate*(m_hat/(sqrt(v_hat) + epsilon) + weight_decay*w)``.

    Loshchilov and Hutter 2019.
    """

    weight_decay: float = 0.01

    def update(self, step: Step) -> None:
        direction = adam_direction(self, step)
        step.set_next("w", step.w - step.rate * (direction + exact(self.weight_decay) * step.w))


def adam_direction(adam: Adam, step: Step) -> sp.Expr:
    """``m_hat/(sqrt(v_hat) + epsilon)``, and the equations of m and v."""
    beta_1, beta_2 = exact(adam.beta_1), exact(adam.beta_2)
    m = step.set_next("m", beta_1 * step.keep("m") + (1 - beta_1) * step.g)
    v = step.set_next("v", beta_2 * step.keep("v") + (1 - beta_2) * step.g**2)
    m_bias = step.define("m_bias", one_minus_power(adam.beta_1, step.t))
    v_bias = step.define("v_bias", one_minus_power(adam.beta_2, step.t))
    return m / m_bias / (sqrt(v / v_bias) + exact(adam.epsilon))


def one_minus_power(beta: float, t: sp.Expr) -> sp.Expr:
    """``1 - beta**t``, written ``-expm1(t*log(beta))``: the difference loses three digits at 0.999**1."""
    return -expm1(t * log(exact(beta))) if beta else sp.Integer(1)


def exact(value: float) -> sp.Rational:
    """The decimal number that the user wrote: 0.1 is 1/10, not the float next to it."""
    return sp.Rational(repr(value))


#: Every optimizer by the name that spec files use.
OPTIMIZERS: dict[str, type[Optimizer]] = {o.__name__: o for o in (SGD, Momentum, AdaGrad, RMSProp, Adam, AdamW)}

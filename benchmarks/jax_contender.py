"""JAX as a contender: one jitted call for each step, its parameters and state given up to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from benchmarks.jax_models import LOSSES
from symbp import SGD, Adam, Momentum, Optimizer

Array = npt.NDArray[Any]
Arrays = Mapping[str, Array]


class JaxStep:
    """``jit(value_and_grad + update)``, with the optimizer written out in its textbook form."""

    def __init__(self, name: str, rule: Optimizer | None, parameters: Arrays, inputs: Arrays, **options: int) -> None:
        if any(a.dtype == np.float64 for a in parameters.values()):
            jax.config.update("jax_enable_x64", True)
        self._inputs = {n: jnp.asarray(a) for n, a in inputs.items()}
        self._rule = rule
        self._parameters: Any = {}
        self._state: Any = ()
        self._gradient = jax.jit(
            jax.value_and_grad(lambda parameters, inputs: LOSSES[name]({**inputs, **parameters}, **options))
        )
        self._step = jax.jit(self._one, donate_argnums=() if rule is None else (0, 1))
        self.reset(parameters)

    def _one(self, parameters: Any, state: Any, inputs: Any) -> Any:
        loss, gradients = self._gradient(parameters, inputs)
        if self._rule is None:
            return gradients, state, loss
        return *_update(self._rule, parameters, gradients, state), loss

    def train(self, steps: int) -> None:
        """The steps follow each other without waiting for the results, as JAX has it."""
        for _ in range(steps):
            parameters, state, loss = self._step(self._parameters, self._state, self._inputs)
            if self._rule is not None:
                self._parameters, self._state = parameters, state
        jax.block_until_ready((parameters, state, loss))

    def reset(self, parameters: Arrays) -> None:
        self._parameters = {n: jnp.array(a) for n, a in parameters.items()}
        kept = {Momentum: 1, Adam: 2}.get(type(self._rule), 0)
        self._state = ([jax.tree.map(jnp.zeros_like, self._parameters) for _ in range(kept)], jnp.zeros((), int))

    def loss_and_gradients(self) -> tuple[float, dict[str, Array]]:
        loss, gradients = self._gradient(self._parameters, self._inputs)
        return float(loss), {n: np.asarray(g) for n, g in gradients.items()}


class JaxLoop(JaxStep):
    """Many steps in one jitted call: no Python between them."""

    def __init__(self, name: str, rule: Optimizer | None, parameters: Arrays, inputs: Arrays, **options: int) -> None:
        super().__init__(name, rule, parameters, inputs, **options)
        assert rule is not None, f"{name} has no optimizer"

        def many(steps: Any, parameters: Any, state: Any, inputs: Any) -> Any:
            def body(_: Any, carried: Any) -> Any:
                parameters, state, _ = carried
                return self._one(parameters, state, inputs)

            nothing = jnp.zeros((), next(iter(parameters.values())).dtype)
            return jax.lax.fori_loop(0, steps, body, (parameters, state, nothing))

        self._many = jax.jit(many, donate_argnums=(1, 2))

    def train(self, steps: int) -> None:
        self._parameters, self._state, loss = self._many(steps, self._parameters, self._state, self._inputs)
        jax.block_until_ready((self._parameters, loss))


def _update(rule: Optimizer, w: Any, g: Any, state: Any) -> tuple[Any, Any]:
    each, rate = jax.tree.map, rule.learning_rate
    kept, t = state
    if isinstance(rule, SGD):
        return each(lambda w, g: w - rate * g, w, g), state
    if isinstance(rule, Momentum):
        v = each(lambda v, g: rule.momentum * v + g, kept[0], g)
        return each(lambda w, v: w - rate * v, w, v), ([v], t + 1)
    assert isinstance(rule, Adam)
    b1, b2, t = rule.beta_1, rule.beta_2, t + 1
    m = each(lambda m, g: b1 * m + (1 - b1) * g, kept[0], g)
    v = each(lambda v, g: b2 * v + (1 - b2) * g * g, kept[1], g)
    size, root = rate / (1 - b1**t), jnp.sqrt(1 - b2**t)
    w = each(lambda w, m, v: (w - size * m / (jnp.sqrt(v) / root + rule.epsilon)).astype(w.dtype), w, m, v)
    return w, ([m, v], t)

"""Who is timed on a GPU: PyTorch, eager and compiled, and JAX; all in float32, none with TF32.

A contender is asked for its loss and gradients first, then called many times: each call asks for one step and need not
wait for it, `wait` does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from symbp import SGD, Adam, Optimizer

Array = npt.NDArray[Any]
Arrays = Mapping[str, Array]
Loss = Callable[[dict[str, Any]], Any]


class Contender(Protocol):
    #: The stream that events are recorded on, as an address; None where there is no way to it.
    stream: int | None

    def __call__(self) -> object:
        """Ask for one step."""

    def wait(self) -> None:
        """Return when all steps are done."""

    def loss_and_gradients(self) -> tuple[float, dict[str, Array]]:
        """At the present parameters."""


class TorchGpu:
    """``loss.backward()`` and a fused optimizer; `compiled` is torch.compile with CUDA graphs."""

    def __init__(
        self,
        loss: Loss,
        rule: Optimizer | None,
        parameters: Arrays,
        inputs: Arrays,
        *,
        compiled: bool = False,
        device: str = "cuda",
    ) -> None:
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        # cuDNN's cells take (out, in) weights; whatever else they are given is copied at every step.
        self._turned = {n for n in parameters if n in ("Wi", "Wh")}
        self._leaves = {
            n: torch.tensor(np.ascontiguousarray(a.T) if n in self._turned else a, device=device, requires_grad=True)
            for n, a in parameters.items()
        }
        self._given: dict[str, Any] = {n: torch.tensor(a, device=device) for n, a in inputs.items()}
        self._given |= {n: leaf.T if n in self._turned else leaf for n, leaf in self._leaves.items()}
        self._loss = loss
        if compiled:
            torch._dynamo.config.allow_rnn = True
            self._loss = torch.compile(loss, dynamic=False, mode="reduce-overhead")
        self._optimizer = _torch_optimizer(rule, list(self._leaves.values()))
        self.stream: int | None = torch.cuda.current_stream().cuda_stream if device == "cuda" else None

    def __call__(self) -> object:
        for leaf in self._leaves.values():
            leaf.grad = None
        loss = self._loss(self._given)
        loss.backward()
        if self._optimizer is not None:
            self._optimizer.step()
        return loss

    def wait(self) -> None:
        if self.stream is not None:
            torch.cuda.synchronize()

    def loss_and_gradients(self) -> tuple[float, dict[str, Array]]:
        for leaf in self._leaves.values():
            leaf.grad = None
        loss = self._loss(self._given)
        loss.backward()
        found = {n: leaf.grad.cpu().numpy() for n, leaf in self._leaves.items() if leaf.grad is not None}
        return float(loss.detach()), {n: g.T if n in self._turned else g for n, g in found.items()}


def _torch_optimizer(rule: Optimizer | None, leaves: list[torch.Tensor]) -> torch.optim.Optimizer | None:
    if rule is None:
        return None
    if isinstance(rule, SGD):
        return torch.optim.SGD(leaves, rule.learning_rate, fused=True)
    assert isinstance(rule, Adam)
    return torch.optim.Adam(leaves, rule.learning_rate, (rule.beta_1, rule.beta_2), rule.epsilon, fused=True)


def reference(loss: Loss, parameters: Arrays, inputs: Arrays, device: str = "cuda") -> tuple[float, dict[str, Array]]:
    """Loss and gradients in float64, by PyTorch on the device."""

    def doubled(array: Array) -> torch.Tensor:
        return torch.tensor(array.astype(np.float64) if array.dtype.kind == "f" else array, device=device)

    leaves = {n: doubled(a).requires_grad_() for n, a in parameters.items()}
    value = loss({**{n: doubled(a) for n, a in inputs.items()}, **leaves})
    found = torch.autograd.grad(value, list(leaves.values()))
    gradients = {n: g.cpu().numpy() for n, g in zip(leaves, found, strict=True)}
    del leaves, found
    if device == "cuda":
        torch.cuda.empty_cache()
    return float(value.detach()), gradients


class JaxGpu:
    """``jit(value_and_grad + update)``, parameters and state given up to it."""

    stream: int | None = None

    def __init__(self, name: str, rule: Optimizer | None, parameters: Arrays, inputs: Arrays) -> None:
        import jax
        import jax.numpy as jnp

        from benchmarks.gpu.jax_losses import JAX_LOSSES
        from benchmarks.jax_contender import _update

        jax.config.update("jax_default_matmul_precision", "highest")
        self._jax, loss = jax, JAX_LOSSES[name]
        self._inputs = {n: jnp.asarray(a) for n, a in inputs.items()}
        self._parameters: Any = {n: jnp.array(a) for n, a in parameters.items()}
        kept = 2 if isinstance(rule, Adam) else 0
        self._state: Any = ([jax.tree.map(jnp.zeros_like, self._parameters) for _ in range(kept)], jnp.zeros((), int))
        self._gradient = jax.jit(jax.value_and_grad(lambda w, given: loss({**given, **w})))
        self._rule = rule

        def step(w: Any, state: Any, given: Any) -> Any:
            value, gradients = self._gradient(w, given)
            if rule is None:
                return gradients, state, value
            return *_update(rule, w, gradients, state), value

        self._step = jax.jit(step, donate_argnums=() if rule is None else (0, 1))
        self._last: Any = None

    def __call__(self) -> object:
        made, state, self._last = self._step(self._parameters, self._state, self._inputs)
        if self._rule is not None:
            self._parameters, self._state = made, state
        else:
            self._last = made, self._last
        return self._last

    def wait(self) -> None:
        self._jax.block_until_ready((self._parameters, self._last))

    def loss_and_gradients(self) -> tuple[float, dict[str, Array]]:
        loss, gradients = self._gradient(self._parameters, self._inputs)
        return float(loss), {n: np.asarray(g) for n, g in gradients.items()}


def disagreement(found: tuple[float, dict[str, Array]], expected: tuple[float, dict[str, Array]]) -> float:
    """The largest relative error of the loss and the gradients. Raises AssertionError if it is out of bounds."""
    errors = {"loss": abs(found[0] - expected[0]) / abs(expected[0])}
    for name, gradient in expected[1].items():
        errors[name] = float(np.abs(found[1][name] - gradient).max() / np.abs(gradient).max())
    worst = max(errors, key=lambda n: errors[n] if errors[n] == errors[n] else np.inf)
    # A relu or a maximum that rounding turns shows in a handful of elements of a large float32 model.
    assert errors[worst] <= 5e-2, f"{worst} is off by {errors[worst]:.1e}"
    median = float(np.median(list(errors.values())))
    assert median <= 1e-3, f"half of the gradients are off by {median:.1e}"
    return errors[worst]

"""The losses of what is timed on a GPU, in JAX."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from benchmarks import jax_models


def softmax_ce(t: dict[str, Any]) -> Any:
    logp = jax.nn.log_softmax(t["z"])
    return -jnp.mean(jnp.take_along_axis(logp, t["y"][:, None], 1))


def mlp64(t: dict[str, Any]) -> Any:
    return jnp.mean((jax_models.mlp(t, t["x"], 5, jax.nn.relu) - t["y"]) ** 2)


JAX_LOSSES = {**jax_models.LOSSES, "softmax_ce": softmax_ce, "mlp64": mlp64}

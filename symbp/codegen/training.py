"""The arguments of kernels that train, and how they gather a batch."""

from __future__ import annotations

from collections.abc import Sequence

from symbp.codegen.interface import merged
from symbp.codegen.procedure import ProcedureText
from symbp.ir.program import Tensor


def step_arguments(forward: Sequence[str], backward: Sequence[str], kept: Sequence[str], count: str) -> list[str]:
    """Arguments of ``train_step_into``: those of the functions that it calls, `kept` those of the optimizer alone."""
    return [*merged(forward, backward), *kept, count]


def kept_by_optimizer(update: ProcedureText) -> list[str]:
    """What an update takes besides the parameters, their gradient and the count of steps."""
    return [a for a in update.arguments if a not in ("params", "grads", "count")]


def train_steps_arguments(step: Sequence[str], batched: Sequence[str]) -> list[str]:
    """Arguments of ``train_steps_into``: the data, the arrays of one batch, then which steps."""
    ordered = list(step)
    position = max(ordered.index(n) for n in batched) + 1
    ordered[position:position] = [f"{n}_batch" for n in batched]
    return [*ordered, "order", "batch", "first", "last", "losses"]


def gather(tensor: Tensor, name: str) -> str:
    """Copy one sample of an input to its row of the batch, element by element."""
    indices = [f"i{k}" for k in range(1, tensor.rank)]
    here, there = (", ".join([first, *indices]) for first in ("row", "sample"))
    lines = [f"for {i} in range({name}.shape[{k}]):" for k, i in enumerate(indices, start=1)]
    lines.append(f"{name}_batch[{here}] = {name}[{there}]")
    return "\n".join("    " * depth + line for depth, line in enumerate(lines))

"""The one allocator of generated names. A generated name can never collide with a user's or with another."""

from __future__ import annotations

import builtins
import keyword
from collections.abc import Container

from symbp.errors import SpecError

#: Names that generated code uses for itself; a user's tensor may not take them.
RESERVED = frozenset(
    {
        "np", "math", "numba", "njit", "prange", "kernels", "params", "grads", "state", "workspace", "positions",
        "numbers", "count",
    }
)  # fmt: skip

#: An input's name is a parameter of the module's functions, beside these and among their variables.
RESERVED_FOR_INPUTS = frozenset(
    {
        "batch", "epochs", "first", "flat", "last", "losses", "order", "progress", "row", "rows", "sample", "samples",
        "seed", "settings", "shuffle", "sizes", "start", "steps", "turn", "validation", "value",
        # functions and records that these functions use
        "backward", "explain", "forward", "loss", "places", "scratch", "update", "validate",
        "batch_size", "first_not_finite", "fit_epochs", "load_checkpoint", "save_checkpoint",
        "check_state", "fit_on_device", "take", "zero_parameters",
        "loss_and_grad_into", "predict_into", "train_step_into", "train_steps_into",
        "predict_positions", "predict_workspace", "train_positions", "train_workspace",
        # and those of modules whose batch is cut
        "after_rows", "backward_rows", "before_rows", "begin", "chunk", "end", "forward_rows", "forward_threads",
        "gradients_share", "loss_and_grad_threads", "loss_of_rows", "predict_chunk", "predict_rows", "predict_threads",
        "share", "train_chunk", "train_step_threads", "train_steps_threads", "worker", "worker_count", "workers",
        "chunk_count", "chunks", "number",
        "Any", "Array", "ArrayLike", "Callable", "Door", "Initializer", "Input", "Layout", "Linear", "Optimizer",
        "OptimizerState", "Parameter", "Parameters", "PathLike", "Requirement", "Sequence", "Setting", "TrainingLog",
        "DTYPE", "EQUATIONS", "INPUTS", "OPTIMIZER", "PARAMETERS", "REQUIREMENTS", "SPEC_HASH",
    }
)  # fmt: skip


def fresh_name(hint: str, taken: Container[str]) -> str:
    """``hint``, else ``hint_2``, ``hint_3``, .."""
    if hint not in taken:
        return hint
    number = 2
    while f"{hint}_{number}" in taken:
        number += 1
    return f"{hint}_{number}"


def check_name(name: str, what: str, place: str | None = None) -> str:
    """Refuse a name that generated code could not use as it stands.

    Raises SpecError for anything but an ASCII identifier, for Python keywords, builtins and the names in `RESERVED`.
    ``E``, ``I``, ``S``, ``N`` and ``pi`` are ordinary names.
    """
    shown = name if len(name) <= 40 else f"{name[:40]}.."
    if not (name.isidentifier() and name.isascii()):
        raise SpecError(
            f"{what} name {shown!r} is not an identifier",
            place=place,
            remedy="use ASCII letters, digits and _, not starting with a digit",
        )
    taken = name in RESERVED or (what == "input" and name in RESERVED_FOR_INPUTS)
    if keyword.iskeyword(name) or hasattr(builtins, name) or taken:
        kind = "Python keyword" if keyword.iskeyword(name) else "name that generated code uses for itself"
        raise SpecError(f"{what} name '{name}' is a {kind}", place=place, remedy=f"try '{name}_'")
    if name.startswith("__") or name.endswith(("_bar", "_dot")):
        raise SpecError(
            f"{what} name '{name}' is of a form kept for derived quantities (x_bar, x_dot, __x)",
            place=place,
            remedy="choose another name",
        )
    return name

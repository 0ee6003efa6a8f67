"""What the functions of a generated module share: the check of parameters and inputs, and scratch memory."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from symbp.errors import DataError
from symbp.runtime.door import Input, Requirement, check_inputs
from symbp.runtime.parameters import Array, Layout, Parameters, aligned_zeros


class Door:
    """Checks what a caller hands in, once per call; kernels behind it trust their arguments."""

    __slots__ = ("_inputs", "_layout", "_requirements")

    def __init__(self, layout: Layout, inputs: Sequence[Input], requirements: Sequence[Requirement] = ()) -> None:
        self._layout = layout
        self._inputs = {declared.name: declared for declared in inputs}
        self._requirements = tuple(requirements)

    def enter(self, params: Parameters, **arrays: Any) -> tuple[Array, list[Array], dict[str, int]]:
        """The flat parameters, the arrays in the order given, and the run-time sizes by name.

        Raises DataError for parameters of another model, and what `check_inputs` raises.
        """
        flat = self.flat(params)
        inputs = [self._inputs[name] for name in arrays]
        requirements = self._requirements if len(inputs) == len(self._inputs) else ()
        accepted, sizes = check_inputs(inputs, list(arrays.values()), self._layout.dtype, requirements)
        return flat, accepted, sizes

    def validation(self, params: Parameters, data: Any, *names: str) -> tuple[Any, ...]:
        """The arrays of `data`, one for each name, checked before training and not only after its first epoch.

        Raises DataError for another number of arrays, and what `enter` raises.
        """
        several = isinstance(data, list | tuple)
        arrays = tuple(data) if several else (data,)
        if len(arrays) != len(names):
            raise DataError(
                f"validation: expected {len(names)} arrays ({', '.join(names)}) or a callable, "
                f"found {len(arrays) if several else type(data).__name__}",
                remedy=f"pass validation=({', '.join(names)})",
            )
        self.enter(params, **dict(zip(names, arrays, strict=True)))
        return arrays

    def flat(self, params: Parameters) -> Array:
        """The flat array of `params`, which must be laid out as this module's parameters are."""
        if params.__class__.__name__ != "Parameters" or params.layout != self._layout:
            found = (
                f"those of another model ({', '.join(params)})" if hasattr(params, "layout") else type(params).__name__
            )
            raise DataError(
                f"params: expected the parameters of this module ({', '.join(self._layout.names)}), found {found}",
                remedy="make them with init() or load()",
            )
        return params.flat


class _Scratch(threading.local):
    def __init__(self) -> None:
        self.arrays: dict[tuple[str, str], Array] = {}


_scratch = _Scratch()


def scratch(key: str, size: int, dtype: npt.DTypeLike) -> Array:
    """At least `size` elements of memory for intermediates, kept under `key` from call to call, one per thread."""
    wanted = np.dtype(dtype)
    held = _scratch.arrays.get((key, wanted.name))
    if held is None or held.size < size:
        held = _scratch.arrays[(key, wanted.name)] = aligned_zeros(size, wanted)
    return held

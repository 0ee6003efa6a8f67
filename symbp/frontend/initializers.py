"""How parameters start: a kind by name and its numbers, as plain data. The values are drawn by the runtime."""

from __future__ import annotations

import math
from typing import Any

from symbp.errors import SpecError, did_you_mean
from symbp.ir import Initializer

#: The numbers that each kind takes: those without which it means nothing, then those that have a default.
KINDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "zeros": ((), ()),
    "ones": ((), ()),
    "constant": (("value",), ()),
    "normal": (("std",), ()),
    "uniform": (("low", "high"), ()),
    "glorot_uniform": ((), ()),
    "glorot_normal": ((), ()),
    "he_uniform": ((), ()),
    "he_normal": ((), ()),
    "lecun_uniform": ((), ()),
    "lecun_normal": ((), ()),
    "orthogonal": ((), ("gain",)),
}
#: Kinds whose spread depends on how many values are summed; lowering adds fan_in and fan_out to their numbers.
SCALED = ("glorot_uniform", "glorot_normal", "he_uniform", "he_normal", "lecun_uniform", "lecun_normal")


def default_initializer(rank: int) -> Initializer:
    return Initializer("glorot_uniform" if rank >= 2 else "zeros")


def as_initializer(value: Any, parameter: str) -> Initializer:
    """A name, a number or an `Initializer`, checked. Raises SpecError."""
    if isinstance(value, str):
        value = Initializer(value)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        value = Initializer("constant", (("value", float(value)),))
    if not isinstance(value, Initializer):
        raise SpecError(
            f"parameter '{parameter}' has init {value!r}, expected a name, a number or Initializer(..)",
            remedy=f"known: {', '.join(KINDS)}",
        )
    if value.kind not in KINDS:
        raise SpecError(
            f"parameter '{parameter}' has the unknown initializer '{value.kind}'",
            remedy=did_you_mean(value.kind, KINDS),
        )
    needed, optional = KINDS[value.kind]
    given = [name for name, _ in value.arguments]
    if [n for n in needed if n not in given] or [n for n in given if n not in needed + optional]:
        wanted = ", ".join((*needed, *(f"{n} (optional)" for n in optional))) or "no numbers"
        raise SpecError(
            f"initializer '{value.kind}' of parameter '{parameter}' takes {wanted}, found {', '.join(given) or 'none'}"
        )
    for name, number in value.arguments:
        if not math.isfinite(number):
            raise SpecError(f"initializer '{value.kind}' of parameter '{parameter}': {name} = {number} is not finite")
    return value

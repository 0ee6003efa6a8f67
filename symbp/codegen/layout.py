"""Lay out calls and signatures as a formatter would: on one line if it fits, else one argument a line."""

from __future__ import annotations

from collections.abc import Sequence

WIDTH = 88


def call(function: str, arguments: Sequence[str], *, indent: int = 0, tail: str = "", lead: str = "") -> str:
    """``lead function(a, b) tail``. The continuation lines are indented relative to the first."""
    one_line = f"{lead}{function}({', '.join(arguments)}){tail}"
    if indent + len(one_line) <= WIDTH:
        return one_line
    joined = ", ".join(arguments)
    if indent + 4 + len(joined) <= WIDTH:
        return f"{lead}{function}(\n    {joined}\n){tail}"
    lines = "".join(f"    {a},\n" for a in arguments)
    return f"{lead}{function}(\n{lines}){tail}"


def signature(name: str, arguments: Sequence[str], returns: str = "", *, prefix: str = "def ") -> str:
    """``def name(a, b) -> returns:``."""
    return call(name, arguments, lead=prefix, tail=f" -> {returns}:" if returns else ":")


def parts(values: Sequence[str]) -> str:
    """A tuple display: ``(a,)``, ``(a, b)``."""
    return f"({', '.join(values)}{',' if len(values) == 1 else ''})"


def joined_names(values: Sequence[str]) -> str:
    """``a, b and c``."""
    if len(values) < 2:
        return "".join(values)
    return f"{', '.join(values[:-1])} and {values[-1]}"

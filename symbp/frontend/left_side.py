"""The left side of an equation as text: ``z[b, k]``, ``h[b, t+1, k]``, ``y[2*i]``, ``loss``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import sympy as sp

from symbp.errors import SpecError, did_you_mean
from symbp.frontend.expression import Axis, Element
from symbp.ir.names import check_name

_LEFT = re.compile(r"\s*(?P<name>[^\[\]\s]+)\s*(\[(?P<inside>[^\[\]]*)\])?\s*", re.ASCII)
_TERM = re.compile(
    r"\s*(?P<sign>[+-])?\s*(?:(?P<factor>\d{1,9})\s*(?P<times>\*)?)?\s*(?P<axis>[A-Za-z_]\w*)?\s*", re.ASCII
)


def read_left_side(text: Any, axes: Mapping[str, Axis]) -> Element:
    """The element that `text` names. Subscripts are sums of axes, integer multiples of axes and integers."""
    if not isinstance(text, str):
        raise SpecError(
            f"expected the left side as text or as an element, found {type(text).__name__} {text}",
            remedy='write "z[b, k]"',
        )
    found = _LEFT.fullmatch(text)
    if found is None or len(text) > 1000:
        raise SpecError(f"left side {text[:60]!r} is not of the form name[index, ..]", remedy='write "z[b, k]"')
    name, inside = found["name"], found["inside"]
    check_name(name, "tensor")
    if inside is None:
        return Element(name)
    return Element(name, *(_read_subscript(part, text, axes) for part in inside.split(",")))


def _read_subscript(part: str, text: str, axes: Mapping[str, Axis]) -> sp.Expr:
    total, position = sp.Integer(0), 0
    while position < len(part) or position == 0:
        term = _TERM.match(part, position)
        if term is None or term.end() == position or not (term["factor"] or term["axis"]):
            raise SpecError(
                f"subscript {part.strip()!r} in {text!r} is not a sum of axes and integers",
                remedy="pass an element instead of text",
            )
        joined = position == 0 or term["sign"]
        if not joined or bool(term["times"]) != bool(term["factor"] and term["axis"]):
            raise SpecError(f"subscript {part.strip()!r} in {text!r} is not a sum of axes and integers")
        value = sp.Integer(int(term["factor"] or 1))
        if term["axis"]:
            if term["axis"] not in axes:
                raise SpecError(
                    f"subscript {part.strip()!r} in {text!r}: no axis is called '{term['axis']}'",
                    remedy=did_you_mean(term["axis"], axes) or "declare it with model.axis(..)",
                )
            value = value * axes[term["axis"]]
        total = total - value if term["sign"] == "-" else total + value
        position = term.end()
    return total

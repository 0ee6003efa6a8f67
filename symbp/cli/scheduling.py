"""Schedules on the command line: ``symbp compile --explain-schedule --sizes n_batch=128``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.text import Text

from symbp.cli import show
from symbp.errors import SpecError, did_you_mean
from symbp.pipeline import Schedule


def sizes_of(given: Iterable[str], schedules: Sequence[Schedule]) -> dict[str, int]:
    """The sizes in words like ``n_batch=128,n_time=64``. SpecError for a name that the model has not, or no number."""
    known = schedules[0].account.sizes
    found: dict[str, int] = {}
    for word in (part.strip() for words in given for part in words.split(",")):
        name, equals, number = (part.strip() for part in word.partition("="))
        if not equals or not (number.isascii() and number.isdigit()) or int(number) < 1:
            raise SpecError(f"--sizes: expected NAME=N with N a whole number from 1, found '{word}'")
        if name not in known:
            remedy = did_you_mean(name, known) if known else "every extent of the model is known"
            raise SpecError(f"--sizes: there is no run-time size '{name}'", remedy=remedy)
        found[name] = int(number)
    return found


def print_schedules(schedules: Sequence[Schedule], sizes: Mapping[str, int]) -> None:
    """The schedules one after the other, in colour on a terminal."""
    out = show.people()
    for schedule in schedules:
        out.print(_coloured(schedule.text(sizes)))


def records(schedules: Sequence[Schedule], sizes: Mapping[str, int]) -> dict[str, Any]:
    """For ``--json``."""
    return {"schedules": [schedule.records(sizes) for schedule in schedules]}


def _coloured(text: str) -> Text:
    shown = show.equations(text)
    shown.highlight_regex(
        r"(?m)^ +\d+   (map|gather|reduction|contraction|batched contraction|scatter|scan|kernel)", "green"
    )
    shown.highlight_regex(r"(?m)^ +(FLOP|calls|bytes) = .*$", "dim")
    return shown

"""What commands print: people get colours and tables on a terminal, machines get JSON with ``--json``."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console
from rich.text import Text

from symbp.errors import SymbpError
from symbp.version import __version__


def people() -> Console:
    """Where results are printed. Made anew each time, so that a replaced standard output is followed."""
    return Console(highlight=False, soft_wrap=True)


def aside() -> Console:
    """Where progress, warnings and errors are printed."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def print_json(content: Mapping[str, Any]) -> None:
    print(json.dumps(content, indent=2, ensure_ascii=False, default=_plain))


def _plain(value: Any) -> Any:
    """NumPy's numbers and paths, as JSON has them."""
    return value.item() if hasattr(value, "item") else str(value)


def print_error(problem: SymbpError, as_json: bool) -> None:
    """One line on the standard error stream; with ``--json`` also an object that says the same in parts."""
    if as_json:
        parts = {"message": problem.message, "place": problem.place, "remedy": problem.remedy}
        print_json({"error": {"kind": type(problem).__name__, **parts}})
    line = Text("error: ", style="bold red")
    line.append(" ".join(str(problem).split()), style="not bold default")
    aside().print(line)


def show_warnings_in_a_line() -> None:
    """From now on a warning is one line on the standard error stream, without the place in our own source."""

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        shown = Text("warning: ", style="bold yellow")
        shown.append(" ".join(str(message).split()), style="not bold default")
        aside().print(shown)

    warnings.showwarning = show


def equations(text: str) -> Text:
    """A text report with its adjoints and headings in colour."""
    shown = Text(text)
    shown.highlight_regex(r"\b\w+_bar\b", "cyan")
    shown.highlight_regex(r"(?m)^[^\n]+(?=\n[=-]{3,}\n)", "bold")
    shown.highlight_regex(r"(?m)^[=-]{3,}$", "dim")
    return shown


def table(columns: Sequence[str], rows: Iterable[Sequence[Text]]) -> Text:
    """Cells below each other. Nothing is cut off where the terminal is narrow: a long line wraps."""
    lines = [[Text(c, style="dim") for c in columns]] if any(columns) else []
    lines += [[cell.copy() for cell in row] for row in rows]
    for position in range(len(columns) - 1):
        width = max((line[position].cell_len for line in lines), default=0)
        for line in lines:
            line[position].pad_right(width + 3 - line[position].cell_len)
    return Text("\n").join(Text().join(line) for line in lines)


def print_defect(problem: Exception) -> None:
    """For what should not happen: short, with the place in our source that a report of it needs."""
    trail = problem.__traceback__
    while trail is not None and trail.tb_next is not None:
        trail = trail.tb_next
    place = f"{Path(trail.tb_frame.f_code.co_filename).name}:{trail.tb_lineno}" if trail else "?"
    what = " ".join(f"{type(problem).__name__}: {problem}".split())[:300]
    line = Text("defect in symbp: ", style="bold red")
    line.append(f"{what} ({place}, version {__version__}); please report it with the spec", style="not bold default")
    aside().print(line)

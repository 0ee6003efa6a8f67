"""What was found, written to disk after every row: a run that is cut off leaves what it had."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

Row = dict[str, Any]


class Record:
    """Rows by section, as ``<stem>.json`` for programs and ``<stem>.md`` for people."""

    def __init__(self, folder: Path, stem: str, about: Row) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / stem
        self.about = about
        self.sections: dict[str, list[Row]] = {}
        self.notes: list[str] = []
        self.write()

    def add(self, section: str, row: Row) -> None:
        """One more row, on disk when this returns."""
        self.sections.setdefault(section, []).append(row)
        self.write()

    def note(self, text: str) -> None:
        """Something that a reader of the tables must know."""
        self.notes.append(text)
        print(f"note: {text}", flush=True)
        self.write()

    def write(self) -> None:
        content = {"about": self.about, "notes": self.notes, **self.sections}
        self._replace(".json", json.dumps(content, indent=1, default=str) + "\n")
        self._replace(".md", self.text())

    def _replace(self, ending: str, text: str) -> None:
        path = self.path.with_name(self.path.name + ending)
        fresh = path.with_name(f".{path.name}.part")
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(path)

    def failures(self) -> list[Row]:
        """Rows that say that something is wrong."""
        return [row for rows in self.sections.values() for row in rows if row.get("error")]

    def text(self) -> str:
        """The report as Markdown."""
        lines = ["# Kernels on a GPU", ""]
        lines += [f"- {name}: {_plain(value)}" for name, value in self.about.items()]
        lines += ["", *(f"Note: {note}" for note in self.notes)]
        for section, rows in self.sections.items():
            lines += ["", f"## {section.capitalize()}", ""]
            lines += _summary(rows) if section == "agreement" else table(rows)
        wrong = self.failures()
        if wrong:
            lines += ["", "## What failed", ""]
            for row in wrong:
                name = row.get("case") or row.get("workload") or row.get("contender") or "?"
                detail = row.get("traceback") or row["error"]
                lines += [f"### {name} {row.get('dtype', '')} {row.get('contender', '')}", "", "```", detail, "```", ""]
        return "\n".join(lines).rstrip() + "\n"


def _summary(rows: list[Row]) -> list[str]:
    """A line for each family and dtype: what passed, what did not, how close the limits were."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.get("family", ""), row.get("dtype", "")), []).append(row)
    short = []
    for (family, dtype), members in groups.items():
        good = [row for row in members if not row.get("error")]
        used = [row["worst"] for row in good if row.get("worst") is not None]
        short.append(
            {
                "family": family,
                "dtype": dtype,
                "agree": f"{len(good)} of {len(members)}",
                "largest error, of its limit": f"{max(used):.2g}" if used else "",
            }
        )
    return table(short)


def table(rows: list[Row]) -> list[str]:
    """A Markdown table of rows; tracebacks are left to the end of the report."""
    names = [n for n in dict.fromkeys(n for row in rows for n in row) if n not in ("traceback", "worst")]
    lines = [f"| {' | '.join(names)} |", f"|{' --- |' * len(names)}"]
    for row in rows:
        cells = (_plain(row.get(n, "")).replace("|", "\\|").replace("\n", " ")[:160] for n in names)
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_plain(one)}" for name, one in value.items())
    return "" if value is None else str(value)

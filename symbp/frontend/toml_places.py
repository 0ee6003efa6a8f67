"""Where each key and value of a TOML text stands. `tomllib` reads the values; it does not say where they were.

The text has passed tomllib before it comes here, so the scan relies on it being well formed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from symbp.frontend.syntax import Place

#: Keys of nested tables and positions in lists: ``("layers", 0, "type")``.
Path = tuple[str | int, ...]

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_PLAIN_VALUE = re.compile(r"[^,\]\}\n#]*")
_STRINGS = (
    ('"""', re.compile(r'"""(?:[^\\]|\\.)*?"""(?:"{1,2}(?!"))?', re.DOTALL)),
    ("'''", re.compile(r"'''.*?'''(?:'{1,2}(?!'))?", re.DOTALL)),
    ('"', re.compile(r'"(?:[^"\\\n]|\\.)*"')),
    ("'", re.compile(r"'[^'\n]*'")),
)


@dataclass(frozen=True)
class Places:
    """The places of all keys and values of one file."""

    file: str
    keys: dict[Path, Place]
    values: dict[Path, Place]

    def key(self, *path: str | int) -> Place:
        return self._find(self.keys, path)

    def value(self, *path: str | int) -> Place:
        return self._find(self.values, path)

    def _find(self, known: dict[Path, Place], path: Path) -> Place:
        for stop in range(len(path), 0, -1):
            found = known.get(path[:stop]) or self.keys.get(path[:stop])
            if found:
                return found
        return Place(self.file)


def find_places(text: str, file: str) -> Places:
    """Scan a TOML text that tomllib accepts."""
    return _Scan(text, file).run()


class _Scan:
    """One walk over the text. It never goes back, so it takes linear time."""

    def __init__(self, text: str, file: str) -> None:
        self.text = text
        self.file = file
        self.position = 0
        self.keys: dict[Path, Place] = {}
        self.values: dict[Path, Place] = {}
        self.tables: dict[Path, int] = {}  # how many [[headers]] of this name there have been
        self._line = 1
        self._line_start = 0
        self._counted = 0

    def run(self) -> Places:
        table: Path = ()
        self.skip(_BLANK)
        while self.position < len(self.text):
            if self.text[self.position] == "[":
                table = self.header()
            else:
                self.pair(table)
            self.skip(_BLANK)
        return Places(self.file, self.keys, self.values)

    def header(self) -> Path:
        place = self.here()
        is_list = self.text.startswith("[[", self.position)
        self.position += 2 if is_list else 1
        path: Path = ()
        for name in self.key():
            # A name that is a list of tables means its last table.
            path = (*path, self.tables[path] - 1) if path in self.tables else path
            path = (*path, name)
        self.position += 2 if is_list else 1
        self.keys.setdefault(path, place)
        if is_list:
            self.tables[path] = self.tables.get(path, 0) + 1
        path = (*path, self.tables[path] - 1) if path in self.tables else path
        self.keys.setdefault(path, place)
        return path

    def pair(self, table: Path) -> None:
        place = self.here()
        path = (*table, *self.key())
        for stop in range(len(table) + 1, len(path) + 1):
            self.keys.setdefault(path[:stop], place)
        self.position += 1  # the '='
        self.skip(_SPACE)
        self.value(path)

    def key(self) -> Path:
        """A dotted key; leaves the position at the sign after it."""
        parts: list[str] = []
        while True:
            self.skip(_SPACE)
            start = self.position
            if self.text[start] in "\"'":
                self.skip(_STRINGS[2 if self.text[start] == '"' else 3][1])
                parts.append(self.text[start + 1 : self.position - 1])
            else:
                self.skip(_BARE_KEY)
                parts.append(self.text[start : self.position])
            self.skip(_SPACE)
            if self.text[self.position] != ".":
                return tuple(parts)
            self.position += 1

    def value(self, path: Path) -> None:
        sign = self.text[self.position]
        self.values[path] = self.here()
        if sign in "\"'":
            self.string(path)
        elif sign == "[":
            self.position += 1
            self.items(path, "]")
        elif sign == "{":
            self.position += 1
            self.items(path, "}")
        else:
            self.skip(_PLAIN_VALUE)

    def items(self, path: Path, closing: str) -> None:
        count = 0
        self.skip(_BLANK)
        while self.text[self.position] != closing:
            if closing == "]":
                self.value((*path, count))
                count += 1
            else:
                self.pair(path)
            self.skip(_BLANK)
            if self.text[self.position] == ",":
                self.position += 1
                self.skip(_BLANK)
        self.position += 1

    def string(self, path: Path) -> None:
        quote, pattern = next(s for s in _STRINGS if self.text.startswith(s[0], self.position))
        start = self.position
        self.position += len(quote)
        if len(quote) == 3 and self.text.startswith("\n", self.position):
            self.position += 1
        place = self.here()
        stop = pattern.match(self.text, start)
        end = stop.end() if stop else len(self.text)
        # With escapes the columns of the value are not those of the file.
        escaped = quote.startswith('"') and "\\" in self.text[start:end]
        self.values[path] = Place(self.file, place.line) if escaped else place
        self.position = end

    def skip(self, pattern: re.Pattern[str]) -> None:
        match = pattern.match(self.text, self.position)
        self.position = match.end() if match else self.position

    def here(self) -> Place:
        newlines = self.text.count("\n", self._counted, self.position)
        if newlines:
            self._line += newlines
            self._line_start = self.text.rfind("\n", 0, self.position) + 1
        self._counted = self.position
        return Place(self.file, self._line, self.position - self._line_start + 1)

"""Tables of a TOML spec: what a key must hold, and where it stands when it does not."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from symbp.errors import FileError, SpecError, did_you_mean
from symbp.frontend.syntax import Place, shorten
from symbp.frontend.toml_places import Places, find_places

#: Bytes of a spec file. A model of a thousand equations has a tenth of it.
MAX_FILE_SIZE = 512 * 1024

#: A key below a ``[table]`` line belongs to that table, also if it was meant for the whole file.
MISPLACED = "move it above the first [table], or into [model]"

_KINDS = {str: "text", bool: "true or false", int: "a whole number", float: "a number", list: "a list", dict: "a table"}


def read_toml(path: Path) -> Table:
    """The top-level table of a TOML file. Raises FileError or SpecError."""
    try:
        size = path.stat().st_size
        if size > MAX_FILE_SIZE:
            raise SpecError(f"a spec file has at most {MAX_FILE_SIZE:,} bytes, found {size:,}", place=path.name)
        raw = path.read_bytes()
    except FileNotFoundError:
        raise FileError(f"there is no file '{path}'", remedy="check the path") from None
    except OSError as problem:
        raise FileError(f"'{path}' cannot be read: {problem.strerror or problem}") from None
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        line = raw.count(b"\n", 0, problem.start) + 1
        raise SpecError("the file is not UTF-8 text", place=f"{path.name}:{line}") from None
    text = text.replace("\r\n", "\n")  # as tomllib does
    try:
        values = tomllib.loads(text)
        places = find_places(text, path.name)
    except RecursionError:
        raise SpecError("tables or lists are nested too deeply", place=path.name) from None
    except ValueError as problem:  # TOMLDecodeError, and integers of too many digits
        raise _not_toml(path.name, text, str(problem)) from None
    return Table(values, places, (), "the spec")


def _not_toml(file: str, text: str, message: str) -> SpecError:
    found = re.fullmatch(r"(?P<what>.*) \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)", message)
    if found is None:
        return SpecError(f"not TOML: {shorten(message)}", place=file)
    place = f"{file}:{found['line']}:{found['column']}" if found["line"] else f"{file}:{text.count(chr(10)) + 1}"
    what = found["what"]
    if what.startswith("Cannot overwrite a value"):
        return SpecError("a key stands twice in one table", place=place, remedy="keep one of them")
    return SpecError(f"not TOML: {what}", place=place)


@dataclass(frozen=True)
class Table:
    """One table with its path in the file; `what` names it in messages."""

    values: Mapping[str, Any]
    places: Places
    path: tuple[str | int, ...]
    what: str

    def place(self, *keys: str | int) -> Place:
        """Where the value of a key begins; without a key, the table."""
        return self.places.value(*self.path, *keys) if keys else self.places.key(*self.path)

    def error(self, message: str, *keys: str | int, remedy: str | None = None) -> SpecError:
        return SpecError(message, place=str(self.place(*keys)), remedy=remedy)

    def __contains__(self, key: str) -> bool:
        return key in self.values

    def check_keys(self, known: Iterable[str], noun: str = "key") -> None:
        """Refuse a key that is not known, at its place."""
        names = list(known)
        for key in self.values:
            if key not in names:
                raise SpecError(
                    f"{self.what} has the unknown {noun} '{shorten(key)}'",
                    place=str(self.places.key(*self.path, key)),
                    remedy=MISPLACED if key in ("equations", "outputs") else did_you_mean(key, names),
                )

    def get(self, key: str, *kinds: type) -> Any:
        """The value of a key, which must be there and of one of the kinds. Raises SpecError."""
        if key not in self.values:
            raise self.error(f"{self.what} lacks '{key}'", remedy=f"add {key} = ..")
        return self.checked(self.values[key], kinds, key)

    def text(self, key: str, default: str | None = None) -> str:
        """The text of a key. Without a default it must be there."""
        if default is not None and key not in self.values:
            return default
        found: str = self.get(key, str)
        return found

    def texts(self, key: str) -> list[str]:
        """One text, or a list of texts."""
        value = self.get(key, str, list)
        if isinstance(value, str):
            return [value]
        return [self.checked(item, (str,), key, position) for position, item in enumerate(value)]

    def table(self, key: str, what: str = "") -> Table:
        """The table of a key; empty if it is not there."""
        values = self.checked(self.values.get(key, {}), (dict,), key)
        return Table(values, self.places, (*self.path, key), what or f"[{key}]")

    def tables(self, key: str) -> list[Table]:
        """The tables of ``[[key]]``."""
        if isinstance(self.values.get(key), dict):
            raise self.error(f"[{key}] is one table, expected a list of them", key, remedy=f"write [[{key}]]")
        items = self.checked(self.values.get(key, []), (list,), key)
        for position, item in enumerate(items):
            self.checked(item, (dict,), key, position)
        return [Table(v, self.places, (*self.path, key, n), f"[[{key}]] {n + 1}") for n, v in enumerate(items)]

    def checked(self, value: Any, kinds: tuple[type, ...], *keys: str | int) -> Any:
        if (isinstance(value, bool) and bool not in kinds) or not isinstance(value, kinds):
            wanted = " or ".join(_KINDS[kind] for kind in kinds if kind is not int or float not in kinds)
            raise self.error(f"'{keys[0]}' of {self.what} is {wanted}, found {shown(value)}", *keys)
        return value


def shown(value: Any) -> str:
    """A TOML value in a message."""
    if isinstance(value, str):
        return f"the text '{shorten(' '.join(value.split()), 40)}'"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return shorten(str(value), 40)
    return _KINDS.get(type(value), f"a {type(value).__name__}")

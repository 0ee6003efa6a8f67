"""Places of keys and values in TOML texts, in every form that TOML has for them."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from symbp.frontend.toml_places import Path, find_places

TEXT = '''# a comment with [brackets] and = signs
name = "x"  # c
[axes]
b = "batch"
"k" = 10
j.size = 4
list = [1, [2, # one
   "three"], {a = 1, b.c = 'q'},
]
[[layers]]
type = "Dense"
[layers.options]
u = 3
"a b".c = true
[[layers]]
type = """
abc
  def"""
[[layers.sub]]
v = 1e5
[[layers.sub]]
v = \'\'\'''a = "b"''\'\'\'
[other]
eq = """z = 1
z = 2""""
date = 2001-01-01
inf = -inf
'''


def leaves(value: Any, path: Path = ()) -> dict[Path, Any]:
    """Every value that is not a table or a list, under its path."""
    if isinstance(value, dict):
        return {p: leaf for key, item in value.items() for p, leaf in leaves(item, (*path, key)).items()}
    if isinstance(value, list):
        return {p: leaf for k, item in enumerate(value) for p, leaf in leaves(item, (*path, k)).items()}
    return {path: value}


def test_every_value_stands_at_its_place() -> None:
    places = find_places(TEXT, "s.toml")
    found = leaves(tomllib.loads(TEXT))
    assert len(found) == 18
    for path, value in found.items():
        place = places.value(*path)
        offset = sum(len(line) + 1 for line in TEXT.split("\n")[: place.line - 1]) + place.column - 1
        shown = "true" if value is True else "1e5" if value == 100000.0 else str(value)
        assert TEXT.startswith(shown, offset), path


def test_keys_and_tables() -> None:
    places = find_places(TEXT, "s.toml")
    assert str(places.key("axes")) == "s.toml:3:1"
    assert str(places.key("axes", "j")) == "s.toml:6:1"
    assert str(places.key("layers", 1)) == "s.toml:15:1"
    assert str(places.key("layers", 0, "options")) == "s.toml:12:1"
    assert str(places.key("layers", 1, "sub", 1, "v")) == "s.toml:22:1"


def test_what_is_not_there_has_the_place_of_what_holds_it() -> None:
    places = find_places(TEXT, "s.toml")
    assert str(places.value("axes", "missing")) == "s.toml:3:1"
    assert str(places.value("nothing")) == "s.toml"


@pytest.mark.parametrize("text", ['a = "x\\ty"', 'a = """x\\\n  y"""'])
def test_with_escapes_only_the_line_is_certain(text: str) -> None:
    assert find_places(text, "s.toml").value("a").column == 0

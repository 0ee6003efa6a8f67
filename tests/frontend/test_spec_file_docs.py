"""docs/spec-format.md against the code: its examples load, and its tables are complete."""

from __future__ import annotations

import re
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

from symbp.errors import SpecError
from symbp.frontend.functions import FUNCTIONS
from symbp.frontend.initializers import KINDS
from symbp.frontend.losses import LOSSES
from symbp.frontend.optimizers import OPTIMIZERS
from symbp.frontend.reader import Names, Place, read_expression
from symbp.frontend.spec_file import load_spec

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "spec-format.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
SPECS = [block for block in BLOCKS if "[axes]" in block and ("equations" in block or "[[layers]]" in block)]


@pytest.mark.parametrize("block", SPECS)
def test_complete_examples_load(tmp_path: Path, block: str) -> None:
    path = tmp_path / "example.toml"
    path.write_text(block, encoding="utf-8")
    program = load_spec(path).program()
    assert program.loss == "loss"
    assert program.statements


def test_the_two_digits_models_have_the_same_weights(tmp_path: Path) -> None:
    shapes = []
    for block in SPECS[:2]:
        path = tmp_path / "digits.toml"
        path.write_text(block, encoding="utf-8")
        program = load_spec(path).program()
        shapes.append([(t.shape, t.initializer.kind if t.initializer else "") for t in program.tensors if t.is_given])
    assert shapes[0] == shapes[1]


def test_fragments_are_toml_and_their_declarations_are_accepted(tmp_path: Path) -> None:
    assert len(SPECS) == 3
    assert all(isinstance(tomllib.loads(block), dict) for block in BLOCKS)
    axes, declared = (block for block in BLOCKS if block not in SPECS and block.startswith(("[axes]", "[inputs]")))
    path = tmp_path / "example.toml"
    path.write_text("equations = 'y[k] = g[k]'\n" + axes + declared, encoding="utf-8")
    assert {"token", "W", "V", "E", "m"} <= set(load_spec(path).tensors)


def test_every_function_initializer_loss_and_optimizer_is_listed() -> None:
    for name in (*FUNCTIONS, *KINDS, *LOSSES, *OPTIMIZERS):
        assert re.search(rf"`[^`]*\b{name}\b[^`]*`", TEXT), name
    for optimizer in OPTIMIZERS.values():
        for field in fields(optimizer):
            assert f"`{field.name} = " in TEXT


def test_the_limits_are_those_of_the_reader() -> None:
    for text, limit in (
        ("1" * 41, "40 digits"),
        ("(" * 51 + "1" + ")" * 51, "50"),
        ("-" * 9 + "1", "8 signs"),
        ("+".join("1" * 2500), "4,000 words and signs"),
        ("**".join("1" * 202), "200 powers"),
        (" " * 10_001, "10,000 characters"),
    ):
        assert limit in TEXT
        with pytest.raises(SpecError, match=f"most {limit}"):
            read_expression(text, Names(), Place("spec.toml", 1, 1))

"""The digits example: three files, one model."""

from __future__ import annotations

from pathlib import Path

import pytest

from symbp import demo
from symbp.frontend.spec_file import load_model
from symbp.pipeline import emit_model

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_both_doors_give_the_same_bytes(dtype: str) -> None:
    from_python = emit_model(load_model(EXAMPLES / "digits.py"), dtype=dtype)
    from_toml = emit_model(load_model(EXAMPLES / "digits.toml"), dtype=dtype)
    assert list(from_python) == list(from_toml)
    for name, text in from_python.items():
        assert text == from_toml[name], name


def test_another_learning_rate_is_another_package(tmp_path: Path) -> None:
    """That the comparison above can fail."""
    spec = tmp_path / "digits.toml"
    spec.write_text((EXAMPLES / "digits.toml").read_text(encoding="utf-8").replace("0.003", "0.004"), encoding="utf-8")
    assert emit_model(load_model(spec)) != emit_model(load_model(EXAMPLES / "digits.toml"))


def test_the_demo_has_the_same_model() -> None:
    """An installed package carries the spec of the demo; it is the example's own file."""
    shipped = Path(demo.__file__).with_name("digits.py").read_text(encoding="utf-8")
    assert shipped == (EXAMPLES / "digits.py").read_text(encoding="utf-8")

"""Generated kernels as files: they are read in review, and change only when somebody says so.

``pytest tests/test_golden.py --update-golden`` writes them anew; then read the difference.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.codegen.golden_models import MODELS, kernels_of

FOLDER = Path(__file__).parent / "golden"


@pytest.mark.parametrize("name", MODELS)
def test_kernels(name: str, update_golden: bool) -> None:
    text = kernels_of(name)
    ast.parse(text)
    path = FOLDER / f"{name}_kernels.py"
    if update_golden:
        path.write_text(text, encoding="utf-8", newline="\n")
        return
    assert path.is_file(), f"{path.name} is missing; write it with --update-golden"
    assert text == path.read_text(encoding="utf-8"), f"{path.name} has changed; see --update-golden"


def test_every_file_has_its_model() -> None:
    assert sorted(p.stem for p in FOLDER.glob("*.py")) == sorted(f"{name}_kernels" for name in MODELS)

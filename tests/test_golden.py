"""Generated kernels as files: they are read in review, and change only when somebody says so.

``pytest tests/test_golden.py --update-golden`` writes them anew; then read the difference.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.codegen.golden_models import CUDA_MODELS, MODELS, kernels_of

FOLDER = Path(__file__).parent / "golden"
#: What a file holds: the model's name and the target.
FILES = {
    **{f"{name}_kernels": (name, "cpu") for name in MODELS},
    **{f"cuda_{name}_kernels": (name, "cuda") for name in CUDA_MODELS},
}


@pytest.mark.parametrize("stem", FILES)
def test_kernels(stem: str, update_golden: bool) -> None:
    text = kernels_of(*FILES[stem])
    ast.parse(text)
    path = FOLDER / f"{stem}.py"
    if update_golden:
        path.write_text(text, encoding="utf-8", newline="\n")
        return
    assert path.is_file(), f"{path.name} is missing; write it with --update-golden"
    assert text == path.read_text(encoding="utf-8"), f"{path.name} has changed; see --update-golden"


def test_every_file_has_its_model() -> None:
    assert sorted(p.stem for p in FOLDER.glob("*.py")) == sorted(FILES)

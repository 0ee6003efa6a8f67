"""A generated package, as people have it: with its own copy of what it needs, errors included."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from symbp import SGD, Model, log, mean, softmax
from symbp.pipeline import compile_model, load_generated

LIMIT = 2.0  # seconds in which every refusal must come


def fruit_model(learning_rate: float = 0.1) -> Model:
    """Three kinds told apart by one number: small, so that its kernels compile quickly."""
    model = Model("fruit")
    b, k = model.axis("b", "batch"), model.axis("k", 3)
    x, label = model.input("x", b), model.input("label", b, dtype="int", below=k)
    w, c = model.parameter("w", k, init=0.5), model.parameter("c", k)
    z = model.define("z[b, k]", x[b] * w[k] + c[k])
    p = model.define("p[b, k]", softmax(z[b, k], k))
    model.output(p)
    model.loss(mean(-log(p[b, label[b]]), b))
    model.optimizer(SGD(learning_rate=learning_rate))
    return model


@pytest.fixture(scope="session")
def net(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    return load_generated(compile_model(fruit_model(), tmp_path_factory.mktemp("fruit")))


@pytest.fixture(scope="session")
def refused(net: ModuleType) -> Callable[..., str]:
    """Call something that must be refused with a given kind of error in a line; gives that line."""
    errors = sys.modules[f"{net.__name__}._runtime.errors"]

    def text_of(kind: str, action: Callable[[], Any]) -> str:
        began = time.perf_counter()
        with pytest.raises(getattr(errors, kind)) as caught:
            action()
        assert time.perf_counter() - began < LIMIT
        assert isinstance(caught.value, errors.SymbpError)
        text = str(caught.value)
        assert "\n" not in text
        return text

    return text_of


def contents(folder: Path) -> dict[str, bytes]:
    """All files below a folder, hidden ones as well, without compiled code."""
    found = [p for p in sorted(folder.rglob("*")) if p.is_file() and "__pycache__" not in p.parts]
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in found}

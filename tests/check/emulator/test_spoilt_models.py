"""Generated kernels with one thing wrong: a barrier left out, a subscript moved by one. The emulator reports each."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import symbp as sb
from symbp import LSTM, Model, emit_model
from symbp.check.emulator import EmulatorError, emulated
from symbp.pipeline import load_generated, write_package
from tests.codegen.golden_models import attention, digits, lstm

BARRIERS = ("cuda.syncwarp()", "cuda.syncthreads()")


def wide_lstm() -> Model:
    """So wide that a block takes a row: its warps meet at every step."""
    model = Model("wide")
    b, t, j = model.axis("b", "batch"), model.axis("t", "time"), model.axis("j", 3)
    h = LSTM(24)(model.input("x", b, t, j))
    k = h.axes[-1]
    model.output(h)
    model.loss(sb.mean(h[b, k] ** 2, b, k))
    return model


MODELS = {"lstm": lstm, "wide": wide_lstm, "attention": attention, "digits": digits}
SIZES = {"n_batch": 3, "n_time": 4}


def files_of(name: str) -> dict[str, str]:
    return emit_model(MODELS[name](), target="cuda", standalone=False)


def run(files: dict[str, str], folder: Path) -> set[str]:
    """Loss, gradients and outputs of a package, on the emulated device; the kernels that were launched."""
    write_package(files, folder)
    net = load_generated(folder)
    random = np.random.default_rng(1)
    with emulated(net) as device:
        params = net.init(seed=0)
        net.loss_and_grad(params, *(given(declared, random) for declared in net.INPUTS))
        if hasattr(net, "predict"):
            wanted = net.predict.__code__.co_varnames[1 : net.predict.__code__.co_argcount]
            net.predict(params, *(given(i, random) for i in net.INPUTS if i.name in wanted))
        return set(device.launches)


def given(declared: Any, random: np.random.Generator) -> Any:
    shape = tuple(SIZES.get(extent, extent) for extent in declared.shape)
    if declared.below is not None:
        return random.integers(0, declared.below, shape)
    return random.standard_normal(shape).astype(np.float32)


def spoilt(name: str, text: str, folder: Path) -> None:
    """Run the model with other kernels; the emulator must not be content."""
    with pytest.raises(EmulatorError):
        run({**files_of(name), "kernels.py": text}, folder)


@pytest.mark.parametrize("name", MODELS)
def test_as_they_are(name: str, tmp_path: Path) -> None:
    """The emulator is content, and every kernel of the file has run but the optimizer's."""
    files = files_of(name)
    launched = run(files, tmp_path / name)
    decorated = (f for f in ast.parse(files["kernels.py"]).body if isinstance(f, ast.FunctionDef) and f.decorator_list)
    assert {f.name for f in decorated if not f.name.startswith("update")} <= launched


@pytest.mark.parametrize("name", ["lstm", "wide"])
def test_every_barrier_is_needed(name: str, tmp_path: Path) -> None:
    lines = files_of(name)["kernels.py"].split("\n")
    places = [number for number, line in enumerate(lines) if line.strip() in BARRIERS]
    assert len(places) >= 4
    for place in places:
        without = "\n".join(lines[:place] + lines[place + 1 :])
        spoilt(name, without, tmp_path / str(place) / MODELS[name]().name)


@pytest.mark.parametrize(("name", "every"), [("digits", 2), ("attention", 11), ("lstm", 13)])
def test_every_subscript_matters(name: str, every: int, tmp_path: Path) -> None:
    """The last subscript of every array that a kernel reads or writes, moved by one (of long models some of them)."""
    text = files_of(name)["kernels.py"]
    places = list(subscripts(text))
    assert len(places) // every >= 8
    for place in places[::every]:
        spoilt(name, moved(text, place), tmp_path / f"{place[0]}_{place[1]}" / MODELS[name]().name)


def subscripts(text: str) -> Iterator[tuple[int, int]]:
    """Line and column just behind the last subscript of each access in the kernels."""
    tree = ast.parse(text)
    for function in tree.body:
        # The optimizer is not part of what is run; the host's programs have no decorator.
        if not isinstance(function, ast.FunctionDef) or not function.decorator_list or "update" in function.name:
            continue
        for node in ast.walk(function):
            if isinstance(node, ast.Subscript):
                last = node.slice.elts[-1] if isinstance(node.slice, ast.Tuple) else node.slice
                assert last.end_lineno is not None
                assert last.end_col_offset is not None
                yield last.end_lineno, last.end_col_offset


def moved(text: str, place: tuple[int, int]) -> str:
    lines = text.split("\n")
    line = lines[place[0] - 1]
    lines[place[0] - 1] = f"{line[: place[1]]} + 1{line[place[1] :]}"
    return "\n".join(lines)

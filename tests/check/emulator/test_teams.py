"""Teams of threads: their sums and maxima against NumPy, and the same kernels with one line spoilt."""

import ast
import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from symbp.check.emulator import EmulatedDevice, EmulatorError
from tests.check.emulator import team_kernels

SHAPES = [(1, 1), (7, 13), (3, 300), (37, 64), (300, 5)]


def matrix(rows: int, columns: int) -> np.ndarray:
    return np.random.default_rng(rows).standard_normal((rows, columns)).astype(np.float32)


def launch(module: ModuleType, name: str, values: np.ndarray) -> np.ndarray:
    """What a kernel of the file above makes of a matrix."""
    rows, columns = values.shape
    shape, points = {
        "by_warps": ((2, rows), rows),
        "by_blocks": ((2, rows), rows),
        "by_columns": ((2, columns), columns),
        "normalise": ((rows, columns), rows),
        "tiles": ((columns, rows), -(-columns // 32) * -(-rows // 8)),
    }[name]
    device = EmulatedDevice()
    x, out = device.upload(values), device.empty(shape, np.float32)
    device.protect(x)
    device.launch(getattr(module, name), points, x, out, rows, columns)
    result: np.ndarray = out.to_host()
    return result


def expected(name: str, values: np.ndarray) -> np.ndarray:
    double = values.astype(np.float64)
    if name == "normalise":
        return (double - double.sum(axis=1, keepdims=True))[:, ::-1]
    if name == "tiles":
        return double.T
    axis = 0 if name == "by_columns" else 1
    return np.stack([double.sum(axis=axis), double.max(axis=axis)])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", ["by_warps", "by_blocks", "by_columns", "normalise", "tiles"])
def test_teams_against_numpy(name: str, shape: tuple[int, int]) -> None:
    values = matrix(*shape)
    np.testing.assert_allclose(launch(team_kernels, name, values), expected(name, values), rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("name", ["by_warps", "by_blocks", "by_columns"])
def test_a_nan_reaches_sums_and_maxima(name: str) -> None:
    values = matrix(40, 40)
    values[5, 6] = np.nan
    result = launch(team_kernels, name, values)
    assert np.isnan(result).sum() == 2


# Spoilt kernels.

TEXT = Path(team_kernels.__file__).read_text(encoding="utf-8")
LINES = TEXT.splitlines()
BARRIERS = [number for number, line in enumerate(LINES) if line.strip() == "cuda.syncthreads()"]


def subscripts() -> list[tuple[int, int, int, str]]:
    """Every single subscript of an array in the file: line, first and last column, and the function it stands in."""
    found = []
    for function in ast.parse(TEXT).body:
        if not isinstance(function, ast.FunctionDef):
            continue
        for node in ast.walk(function):
            if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
                for item in node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]:
                    assert item.lineno == item.end_lineno
                    found.append((item.lineno - 1, item.col_offset, int(item.end_col_offset or 0), function.name))
    return found


def kernel_at(line: int) -> str:
    """The function that a line stands in."""
    return next(
        function.name
        for function in ast.parse(TEXT).body
        if isinstance(function, ast.FunctionDef) and function.lineno - 1 <= line < (function.end_lineno or 0)
    )


def load(text: str, folder: Path) -> ModuleType:
    path = folder / "spoilt.py"
    path.write_text(text, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_there_is_something_to_spoil() -> None:
    assert len(BARRIERS) == 4
    assert len(subscripts()) > 40


@pytest.mark.parametrize("line", BARRIERS)
def test_every_missing_barrier_is_found(line: int, tmp_path: Path) -> None:
    module = load("\n".join([*LINES[:line], *LINES[line + 1 :]]), tmp_path)
    with pytest.raises(EmulatorError, match=r"race on .* no cuda\.syncthreads"):
        launch(module, kernel_at(line), matrix(16, 300))


@pytest.mark.parametrize("place", subscripts(), ids=lambda place: f"{place[3]}-{place[0] + 1}-{place[1]}")
@pytest.mark.parametrize("by", [1, -1])
def test_every_shifted_subscript_is_found(place: tuple[int, int, int, str], by: int, tmp_path: Path) -> None:
    line, first, last, name = place
    text = LINES[line]
    spoilt = f"{text[:first]}({text[first:last]}) + {by}{text[last:]}"
    module = load("\n".join([*LINES[:line], spoilt, *LINES[line + 1 :]]), tmp_path)
    # As many rows and columns as the tiles have, so that a subscript that is too large leaves the array.
    values = matrix(16, 320)
    if "sums[0]" not in text:
        with pytest.raises(EmulatorError):
            launch(module, name, values)
        return
    # Another one of eight numbers, all written, is added up by one thread: that breaks no rule, but the result.
    try:
        result = launch(module, name, values)
    except EmulatorError:
        return
    assert abs(result - expected(name, values)).max() > 0.1

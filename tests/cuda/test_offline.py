"""The kernels of the zoo of models through ptxas, where there is no GPU: none spills, none uses local memory.

The kernels of products of arrays are compiled in `tests/runtime/cuda`; these are the models' own.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from symbp import Model, emit_model, load_generated
from symbp.check.launches import own_kernels
from symbp.check.resources import ARCHITECTURES, find_tool, measure, refuse_spills
from symbp.errors import TargetError
from symbp.package import write_package
from symbp.runtime.cuda.compile import to_ptx
from symbp.runtime.cuda.kernel import NUMBA_CUDA
from tests.codegen.golden_models import MODELS

pytest.importorskip("torch", reason="the models of tests/numeric come with their references in torch")

from tests.numeric import (
    attention_models,
    convolution_models,
    dense_models,
    pinn_models,
    recurrent_models,
    subscript_models,
)
from tests.numeric.harness import Case


def why_not() -> str:
    """What is missing to compile, if anything is."""
    if not NUMBA_CUDA:
        return "numba-cuda is not there: pip install 'symbp[cuda-build]'"
    try:
        find_tool("ptxas")
    except TargetError as problem:
        return str(problem)
    return ""


pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())

#: Cases that differ from the one before in numbers only: their kernels are those of it with other constants.
ALIKE = (
    "conv2d 9x7, kernel 3, stride 2, padding 0",
    "conv2d 7x9",
    "conv1d kernel 4",
    "conv1d kernel 1",
    "rnn layer states",
)
CASES: tuple[Case, ...] = tuple(
    case
    for case in (
        *dense_models.CASES,
        *convolution_models.CASES,
        *subscript_models.CASES,
        *subscript_models.KINKS,
        *recurrent_models.CASES,
        *attention_models.CASES[:-1],
        *attention_models.VARIANTS[1:],
        *pinn_models.CASES,
    )
    if not case.name.startswith(ALIKE)
)


def compile_kernels(build: Callable[[], Model], dtype: str, folder: Path, *architectures: str) -> None:
    model = build()
    files = emit_model(model, target="cuda", dtype=dtype, standalone=False)
    kernels = own_kernels(load_generated(write_package(files, folder / model.name)))
    found = measure(kernels, to_ptx, architectures)
    assert [one.kernel for one in found if one.architecture == architectures[0]] == list(kernels)
    refuse_spills(found)
    # With more, a multiprocessor holds less than half of the threads that it could.
    assert {one.kernel: one.registers for one in found if one.registers > 128} == {}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_numeric_models(case: Case, tmp_path: Path) -> None:
    compile_kernels(case.build, "float32", tmp_path, "sm_90")


@pytest.mark.parametrize("name", MODELS)
def test_golden_models(name: str, tmp_path: Path) -> None:
    build, dtype = MODELS[name]
    every = name in ("digits", "attention", "pinn")
    compile_kernels(build, dtype, tmp_path, *(ARCHITECTURES if every else ("sm_90",)))


@pytest.mark.parametrize("name", ["digits", "lstm", "convolution"])
def test_golden_models_in_float64(name: str, tmp_path: Path) -> None:
    compile_kernels(MODELS[name][0], "float64", tmp_path, "sm_90")

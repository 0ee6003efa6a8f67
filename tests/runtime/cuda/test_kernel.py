"""Kernels as values: annotations, blocks, and what happens where numba-cuda is missing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from symbp.errors import DeviceError
from symbp.runtime.cuda.kernel import (
    Doubles,
    Integers,
    Kernel,
    Pointer,
    Size,
    block_kernel,
    column_kernel,
    device_function,
    pointer,
    raw_kernel,
    thread_kernel,
    warp_kernel,
)

ROOT = Path(__file__).resolve().parents[3]

Reals = pointer(np.float32)


def run(x: Reals, n: Integers, settings: Doubles, n_batch: Size) -> None:  # type: ignore[valid-type]
    """Annotations are text in this file, as `from __future__ import annotations` makes them."""


def test_parameters_are_what_the_annotations_say() -> None:
    assert thread_kernel(run).parameters == (Pointer("float32"), Pointer("int64"), Pointer("float64"), Size)
    assert thread_kernel(run).name == "run"


def test_annotations_that_are_objects() -> None:
    def other(x: Any, n: Any) -> None: ...

    other.__annotations__ = {"x": Doubles, "n": Size}
    assert thread_kernel(other).parameters == (Pointer("float64"), Size)


@pytest.mark.parametrize(("annotation", "found"), [("int", "'int'"), (float, "<class 'float'>"), (None, "None")])
def test_a_wrong_annotation_is_named(annotation: object, found: str) -> None:
    def wrong(x: Any) -> None: ...

    wrong.__annotations__ = {"x": annotation}
    with pytest.raises(DeviceError) as caught:
        _ = thread_kernel(wrong).parameters
    assert str(caught.value) == (
        f"kernel wrong: parameter 'x' must be annotated with a pointer(dtype), Integers, Doubles or Size, found {found}"
    )


def test_a_missing_annotation_is_named() -> None:
    def wrong(x): ...  # type: ignore[no-untyped-def]

    with pytest.raises(DeviceError, match=r"parameter 'x' must be annotated .*, found no annotation$"):
        _ = thread_kernel(wrong).parameters


@pytest.mark.parametrize(
    ("decorate", "of_a_block"), [(thread_kernel, 256), (warp_kernel, 8), (block_kernel, 1), (column_kernel, 32)]
)
def test_blocks(decorate: Any, of_a_block: int) -> None:
    kernel = decorate(run)
    assert kernel.threads == 256
    assert kernel.blocks(0) == 0
    for points in (1, 7, 13, of_a_block, of_a_block + 1, 1000, 2**31 - 1):
        blocks = kernel.blocks(points)
        assert (blocks - 1) * of_a_block < points <= blocks * of_a_block


def test_too_many_points() -> None:
    with pytest.raises(DeviceError) as caught:
        thread_kernel(run).blocks(2**31)
    assert str(caught.value) == (
        "kernel run: a launch covers at most 2147483647 points, found 2147483648; use a smaller batch"
    )


def test_a_raw_kernel_counts_its_own_blocks() -> None:
    kernel = raw_kernel(threads=128, shared=70000)(run)
    assert (kernel.threads, kernel.shared, kernel.team) == (128, 70000, None)
    with pytest.raises(DeviceError, match="kernel run takes a number of blocks, not of points; use launch_blocks"):
        kernel.blocks(5)


def test_kernels_are_equal_by_what_they_are() -> None:
    assert thread_kernel(run) == thread_kernel(run)
    assert thread_kernel(run) != warp_kernel(run)
    assert len({thread_kernel(run): 1, thread_kernel(run): 2}) == 1
    assert isinstance(thread_kernel(run), Kernel)


def test_a_device_function_stays_a_function() -> None:
    @device_function
    def twice(x: float) -> float:
        return 2 * x

    assert twice(3.5) == 7.0


WITHOUT = """
import importlib.util, sys
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "numba_cuda" else find(name, *rest)
from symbp.errors import DeviceError
from symbp.runtime.cuda import compile, exact_sum, random, scalar, team, views
from symbp.runtime.cuda.kernel import thread_kernel
assert scalar.relu(-2.0) == 0.0
for attempt in (lambda: views.unravel(5, (2, 3)), lambda: compile.to_ptx(thread_kernel(lambda: None))):
    try:
        attempt()
    except DeviceError as error:
        print(error)
"""


def test_without_numba_cuda_all_can_be_imported() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.stdout.splitlines() == [
        'unravel needs numba-cuda, which is not installed; install it with: pip install "symbp[cuda]"',
        'kernel <lambda> cannot be compiled: numba-cuda is not installed; install it with: pip install "symbp[cuda]"',
    ], done.stderr

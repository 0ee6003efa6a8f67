"""From kernels to PTX: names, launch bounds, several devices in one process, errors."""

# The kernels of this file take their annotations as objects, not as text.

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numba import cuda

from symbp.errors import DeviceError
from symbp.runtime.cuda.compile import to_ptx
from symbp.runtime.cuda.kernel import Size, device_function, pointer, raw_kernel, thread_kernel
from symbp.runtime.cuda.views import view
from tests.runtime.cuda.machine_code import compiled, numba_cuda

ROOT = Path(__file__).resolve().parents[3]
Reals = pointer(np.float32)


@device_function
def share(x):
    memory = cuda.shared.array(32, np.float32)
    memory[cuda.laneid] = x
    cuda.syncwarp()
    return memory[31 - cuda.laneid]


@thread_kernel
def turn_around(numbers: Reals, n: Size):
    x = view(numbers, 0, (n,))
    i = cuda.grid(1)
    if i >= n:
        return
    x[i] = share(x[i])


@numba_cuda
def test_the_entry_is_named_and_bounded() -> None:
    ptx = compiled(turn_around)
    assert (
        ".visible .entry turn_around(\n\t.param .u64 turn_around_param_0,\n\t.param .u64 turn_around_param_1\n)" in ptx
    )
    assert ".maxntid 256, 1, 1" in ptx
    assert "Numba" not in ptx
    assert "_ZN" not in ptx.replace("_ZN08NumbaEnv", "")


@numba_cuda
def test_threads_of_a_raw_kernel() -> None:
    assert ".maxntid 96, 1, 1" in compiled(raw_kernel(threads=96)(turn_around.function))


@numba_cuda
def test_it_is_made_once() -> None:
    assert to_ptx(turn_around, (9, 0)) is to_ptx(turn_around, (9, 0))
    assert to_ptx(turn_around, (9, 0)) is not to_ptx(turn_around, (8, 0))


FRESH = """
from tests.runtime.cuda.test_compile import turn_around
from symbp.runtime.cuda.compile import to_ptx
print(to_ptx(turn_around, (9, 0)), end="")
"""


@numba_cuda
def test_a_second_device_gets_what_it_alone_would() -> None:
    """Device functions are kept from the first compilation; nothing of its device may be in them.

    Nor does it matter what else was compiled before, although Numba gives numbers to what it meets.
    """
    to_ptx(raw_kernel(threads=32)(turn_around.function), (8, 6))
    to_ptx(turn_around, (8, 0))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", FRESH], capture_output=True, text=True, cwd=ROOT, check=True, env=environment
    )
    assert to_ptx(turn_around, (9, 0)) == done.stdout


@thread_kernel
def contracts(numbers: Reals, n: Size):
    x = view(numbers, 0, (n,))
    x[0] = x[1] * x[2] + x[3] / x[4]


@numba_cuda
def test_only_products_and_sums_may_fuse() -> None:
    ptx = compiled(contracts)
    assert "div.rn.f32" in ptx
    assert not re.search(r"\.(approx|full|ftz)\b", ptx)
    # The assembler fuses what carries no rounding mode.
    assert re.search(r"\bmul\.f32", ptx) or "fma.rn.f32" in ptx


@thread_kernel
def wrong(numbers: Reals, n: Size):
    view(numbers, 0, (n,))[0] = undefined_name  # noqa: F821


@numba_cuda
def test_an_error_names_the_kernel() -> None:
    with pytest.raises(
        DeviceError, match=r"^kernel wrong does not compile for compute capability 9\.0: .*undefined_name"
    ):
        to_ptx(wrong)


@numba_cuda
def test_the_present_device_is_asked_for_again_afterwards() -> None:
    from numba.cuda import dispatcher

    before = dispatcher.get_current_device
    to_ptx(turn_around, (8, 6))
    with pytest.raises(DeviceError):
        to_ptx(wrong, (8, 6))
    assert dispatcher.get_current_device is before

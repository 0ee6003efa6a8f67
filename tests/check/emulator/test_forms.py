"""Python as kernels use it: bit for bit what Numba computes of the same function, one thread after the other."""

# mypy: disable-error-code="no-untyped-def"

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numba import cuda, njit

from symbp.check.emulator import EmulatedDevice, EmulatorError, UnsupportedError
from symbp.runtime.cuda.kernel import Doubles, Kernel, Size, pointer, thread_kernel, warp_kernel
from symbp.runtime.cuda.views import view
from tests.check.emulator.forms import FORMS

Reals = pointer(np.float32)
VALUES = np.random.default_rng(0).standard_normal(67) * 2


def kernel_of(function: Callable[..., Any], dtype: str) -> Kernel:
    """The kernel ``out[i] = function(x[i], i)``."""
    Numbers = pointer(dtype)

    @thread_kernel
    def apply(x: Numbers, out: Numbers, n: Size):
        here, there = view(x, 0, (n,)), view(out, 0, (n,))
        i = cuda.grid(1)
        if i >= n:
            return
        there[i] = function(here[i], i)

    return apply


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("function", FORMS, ids=lambda function: function.__name__)
def test_a_form_computes_what_numba_computes(function: Callable[..., Any], dtype: str) -> None:
    values = VALUES.astype(dtype)
    compiled = njit(error_model="numpy")(function)
    expected = np.array([compiled(value, i) for i, value in enumerate(values)]).astype(dtype)
    device = EmulatedDevice()
    x, out = device.upload(values), device.empty(values.shape, dtype)
    device.launch(kernel_of(function, dtype), values.size, x, out, values.size)
    computed = out.to_host()
    assert str(compiled.nopython_signatures[0].return_type) == dtype
    if function.__name__ == "powers":  # pow of the C library
        np.testing.assert_allclose(computed, expected, rtol=4 * np.finfo(dtype).eps)
    else:
        np.testing.assert_array_equal(computed, expected)


@thread_kernel
def guarded_loads(x: Reals, out: Reals, n: Size):
    """Every load but the good ones stands in a branch that is dead for its thread."""
    here, there = view(x, 0, (n,)), view(out, 0, (n,))
    i = cuda.grid(1)
    after = here[i + 1] if i + 1 < n else np.float32(0)
    before = here[i - 1] if 0 < i < n else np.float32(0)
    if i < n and here[i] > 0:
        there[i] = after - before
    if not (i >= n or here[i] > 0):
        there[i] = np.float32(0)


@thread_kernel
def loop_to_the_end(x: Reals, out: Reals, n: Size):
    here, there = view(x, 0, (n,)), view(out, 0, (n,))
    i = cuda.grid(1)
    total = np.float32(0)
    for k in range(i, n, 5):
        total += here[k]
    if i < 5:
        there[i] = total


def test_loads_of_inactive_threads_are_not_made() -> None:
    device = EmulatedDevice()
    values = VALUES.astype(np.float32)
    x, out = device.upload(values), device.empty(values.shape, np.float32)
    device.launch(guarded_loads, values.size, x, out, values.size)
    padded = np.pad(values, 1)
    np.testing.assert_array_equal(out.to_host(), np.where(values > 0, padded[2:] - padded[:-2], np.float32(0)))

    device.launch(loop_to_the_end, 256, x, out, values.size)
    expected = [values[k::5].cumsum(dtype=np.float32)[-1] for k in range(5)]
    assert out.to_host()[:5].tolist() == expected


@warp_kernel
def who_am_i(out: Doubles, n: Size):
    there = view(out, 0, (n, 6))
    i = cuda.grid(1)
    if i >= n:
        return
    there[i, 0] = cuda.threadIdx.x
    there[i, 1] = cuda.blockIdx.x
    there[i, 2] = cuda.laneid
    there[i, 3] = cuda.blockDim.x
    there[i, 4] = cuda.gridDim.x
    there[i, 5] = cuda.ballot_sync(0xFFFFFFFF, cuda.laneid % 3 == 0)


def test_threads_know_who_they_are() -> None:
    device = EmulatedDevice()
    n = 768  # three blocks of 256, so that whole warps leave
    out = device.empty((n, 6), np.float64)
    device.launch_blocks(who_am_i, 4, out, n)
    i = np.arange(n)
    ballot = sum(1 << lane for lane in range(0, 32, 3))
    expected = np.stack([i % 256, i // 256, i % 32, 0 * i + 256, 0 * i + 4, 0 * i + ballot], axis=1)
    assert (out.to_host() == expected).all()


@pytest.mark.parametrize("threads", [1 << 14, 1 << 15])
def test_many_blocks_in_batches(threads: int) -> None:
    device = EmulatedDevice(seed=threads)
    n = threads + 3
    values = np.arange(n, dtype=np.float32)
    x, out = device.upload(values), device.empty((n,), np.float32)
    device.launch(loop_free_copy, n, x, out, n)
    assert (out.to_host() == values + 1).all()


@thread_kernel
def loop_free_copy(x: Reals, out: Reals, n: Size):
    i = cuda.grid(1)
    if i >= n:
        return
    view(out, 0, (n,))[i] = view(x, 0, (n,))[i] + np.float32(1)


@thread_kernel
def divides_by_zero(out: Doubles, n: Size):
    view(out, 0, (1,))[0] = 7 // n


@thread_kernel
def unknown_function(out: Doubles, n: Size):
    view(out, 0, (1,))[0] = sorted((n, 1))[0]


@thread_kernel
def unknown_statement(out: Doubles, n: Size):
    with out:
        pass


@thread_kernel
def set_in_one_branch(out: Doubles, n: Size):
    if n > 3:
        y = 1.0
    view(out, 0, (1,))[0] = y


@thread_kernel
def set_by_some_threads(out: Doubles, n: Size):
    i = cuda.grid(1)
    for k in range(i, 5):
        y = k
    if i < 5 + n:
        view(out, 0, (5,))[i] = y


def test_a_variable_that_some_threads_have_set() -> None:
    device = EmulatedDevice()
    out = device.empty((5,), np.float64)
    device.launch(set_by_some_threads, 5, out, 0)
    assert out.to_host().tolist() == [4] * 5
    with pytest.raises(
        EmulatorError, match=r"'y' is read before it is set, by thread 5 \(lane 5 of warp 0\) of block 0"
    ):
        device.launch(set_by_some_threads, 6, out, 1)


@pytest.mark.parametrize(
    ("kernel", "error", "said"),
    [
        (divides_by_zero, EmulatorError, "division by zero: 7 // n"),
        (unknown_function, UnsupportedError, "sorted is not emulated"),
        (unknown_statement, UnsupportedError, "is not Python that kernels may use"),
        (set_in_one_branch, EmulatorError, "'y' is read before it is set"),
    ],
)
def test_what_cannot_run_says_why(kernel: Kernel, error: type[EmulatorError], said: str) -> None:
    device = EmulatedDevice()
    with pytest.raises(error, match=said) as caught:
        device.launch(kernel, 1, device.zeros((1,), np.float64), 0)
    assert "test_forms.py:" in str(caught.value)

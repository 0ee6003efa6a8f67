"""Which passes code goes through: loops of unknown length stay short, small windows are written out."""

import re
from typing import Any

import numpy as np
import pytest
from numba.core.caching import NullCache
from numba.core.errors import TypingError
from numba.core.registry import cpu_target

from symbp.runtime.jit import kernel


def compiled_now(kernel: Any) -> Any:
    """The same, never read from the cache: code from there cannot be inspected."""
    kernel._cache = NullCache()
    return kernel


def instructions(compiled: Any, operation: str) -> int:
    (text,) = compiled.inspect_llvm().values()
    return len(re.findall(rf"= {operation} ", text))


def test_a_loop_of_unknown_length_is_not_unrolled() -> None:
    @kernel
    def halve(x):  # type: ignore[no-untyped-def]
        for i in range(x.shape[0]):
            x[i] *= np.float32(0.5)

    x = np.arange(77, dtype=np.float32)
    compiled_now(halve)(x)
    np.testing.assert_array_equal(x, np.arange(77) / 2)
    # At most four vectors side by side, one vector of what is left, and one number of what is left of that.
    assert 1 <= instructions(halve, "fmul") <= 6


def test_with_unroll_it_is() -> None:
    @kernel(unroll=True)
    def take(x, order, y):  # type: ignore[no-untyped-def]
        for i in range(order.shape[0]):
            y[i] = np.float32(0.5) * x[order[i]]

    x, order, y = np.arange(77, dtype=np.float32), np.arange(77)[::-1].copy(), np.empty(77, np.float32)
    compiled_now(take)(x, order, y)
    np.testing.assert_array_equal(y, np.arange(77)[::-1] / 2)
    many = instructions(take, "fmul")

    @kernel
    def take_again(x, order, y):  # type: ignore[no-untyped-def]
        for i in range(order.shape[0]):
            y[i] = np.float32(0.5) * x[order[i]]

    compiled_now(take_again)(x, order, y)
    assert many > instructions(take_again, "fmul")


def test_a_small_window_is_written_out_so_that_the_loop_around_it_is_vectorised() -> None:
    @kernel
    def pairs(x, y):  # type: ignore[no-untyped-def]
        for b in range(y.shape[0]):
            total = np.float32(0.0)
            for m in range(3):
                total += x[m, b]
            y[b] = total

    x = np.arange(3 * 77, dtype=np.float32).reshape(3, 77)
    y = np.empty(77, np.float32)
    compiled_now(pairs)(x, y)
    np.testing.assert_array_equal(y, x.sum(axis=0))
    (text,) = pairs.inspect_llvm().values()
    assert re.search(r"fadd .*<\d+ x float>", text)


def test_code_of_others_goes_through_all_passes_again() -> None:
    codegen = cpu_target.target_context.codegen()
    before = dict(vars(codegen))

    @kernel
    def wrong(x):  # type: ignore[no-untyped-def]
        return x.no_such_thing

    with pytest.raises(TypingError):
        wrong(np.zeros(3, np.float32))
    assert vars(codegen) == before

"""Small kernels around those of a model: a batch taken out of the data, the count of steps, checks of values."""

# Annotations of kernels must not be strings: they name what only the function around the kernel knows.

# mypy: disable-error-code="no-untyped-def, operator, valid-type"

import math
from functools import cache

import numpy as np
from numba import cuda

from symbp.errors import DataError
from symbp.runtime.cuda.array import Array, Device, DeviceArray
from symbp.runtime.cuda.kernel import Doubles, Integers, Kernel, Size, pointer, thread_kernel
from symbp.runtime.cuda.views import unravel, view

Words = pointer(np.int32)

# Threads that share a check, each taking every so many'th value.
CHECKERS = 65536


@cache
def gather_kernel(dtype: str) -> Kernel:
    """The kernel that takes a batch out of data of this dtype ("float32", "float64", "int64")."""
    Numbers = pointer(dtype)

    @thread_kernel
    def gather_rows(
        order: Integers,
        step: Integers,
        source: Numbers,
        target: Numbers,
        batch: Size,
        listed: Size,
        samples: Size,
        rows: Size,
        width: Size,
    ):
        """``target[row, i] = source[order[step*batch + row], i]``: one thread for each number."""
        sample_of = view(order, 0, (listed,))
        step_now = view(step, 0, (1,))
        data = view(source, 0, (samples, width))
        taken = view(target, 0, (rows, width))

        point = cuda.grid(1)
        if point >= rows * width:
            return
        row, i = unravel(point, (rows, width))
        taken[row, i] = data[sample_of[step_now[0] * batch + row], i]

    return gather_rows


@thread_kernel
def count_step(count: Integers):
    """``count += 1``, by one thread."""
    counted = view(count, 0, (1,))

    point = cuda.grid(1)
    if point >= 1:
        return
    counted[0] += 1


@cache
def end_step_kernel(dtype: str) -> Kernel:
    """The kernel that notes a loss of this dtype and goes on to the next step."""
    Reals = pointer(dtype)

    @thread_kernel
    def note_loss(loss: Reals, losses: Doubles, step: Integers, steps: Size):
        """``losses[step] = loss``, and ``step += 1``, by one thread."""
        loss_now = view(loss, 0, (1,))
        all_losses = view(losses, 0, (steps,))
        step_now = view(step, 0, (1,))

        point = cuda.grid(1)
        if point >= 1:
            return
        all_losses[step_now[0]] = loss_now[0]
        step_now[0] += 1

    return note_loss


@thread_kernel
def count_outside(values: Integers, found: Integers, count: Size, below: Size):
    """``found += 1`` for every value outside ``0 <= value < below``. Where all is well nobody writes."""
    checked = view(values, 0, (count,))
    counted = view(found, 0, (1,))

    point = cuda.grid(1)
    wrong = 0
    for i in range(point, count, CHECKERS):
        if checked[i] < 0 or checked[i] >= below:
            wrong += 1
    if wrong > 0:
        cuda.atomic.add(counted, 0, wrong)


@cache
def not_finite_kernel(dtype: str) -> Kernel:
    """The kernel that looks for what is not finite among values of this dtype."""
    Reals = pointer(dtype)

    @thread_kernel
    def count_not_finite(values: Reals, found: Integers, count: Size):
        """``found += 1`` for every NaN and infinity."""
        checked = view(values, 0, (count,))
        counted = view(found, 0, (1,))

        point = cuda.grid(1)
        wrong = 0
        for i in range(point, count, CHECKERS):
            if not math.isfinite(checked[i]):
                wrong += 1
        if wrong > 0:
            cuda.atomic.add(counted, 0, wrong)

    return count_not_finite


@thread_kernel
def widen_int32(source: Words, target: Integers, count: Size):
    """``target[i] = source[i]``: JAX counts in 32 bits, kernels in 64."""
    narrow = view(source, 0, (count,))
    wide = view(target, 0, (count,))

    point = cuda.grid(1)
    if point >= count:
        return
    wide[point] = narrow[point]


_REALS = ("float32", "float64")


def gather(
    device: Device, order: DeviceArray, step: DeviceArray, batch: int, source: DeviceArray, target: DeviceArray
) -> None:
    """``target[row, ..] = source[order[step*batch + row], ..]``. ``order`` names all samples, or fewer."""
    rows = target.shape[0]
    width = target.size // max(1, rows)
    kernel = gather_kernel(_one_of((*_REALS, "int64"), target))
    device.launch(kernel, target.size, order, step, source, target, batch, order.size, source.shape[0], rows, width)


def take(device: Device, array: DeviceArray, rows: Array) -> DeviceArray:
    """``array[rows]``: the samples of these numbers, in memory of their own."""
    taken = device.empty((len(rows), *array.shape[1:]), array.dtype)
    order = device.upload(np.ascontiguousarray(rows, np.int64))
    gather(device, order, device.zeros((1,), np.int64), 0, array, taken)
    return taken


def advance(device: Device, count: DeviceArray) -> None:
    """``count += 1`` on the device."""
    device.launch(count_step, 1, count)


def end_step(device: Device, loss: DeviceArray, losses: DeviceArray, step: DeviceArray) -> None:
    """``losses[step] = loss; step += 1`` on the device; losses are float64."""
    device.launch(end_step_kernel(_one_of(_REALS, loss)), 1, loss, losses, step, losses.size)


def outside(device: Device, values: DeviceArray, below: int) -> int:
    """How many whole numbers lie outside ``0 <= value < below``."""
    found = device.scratch("count of values", 1, np.int64)
    device.clear(found)
    device.launch(count_outside, min(values.size, CHECKERS), values, found, values.size, below)
    return int(found)


def not_finite(device: Device, values: DeviceArray) -> int:
    """How many values are NaN or infinite."""
    found = device.scratch("count of values", 1, np.int64)
    device.clear(found)
    kernel = not_finite_kernel(_one_of(_REALS, values))
    device.launch(kernel, min(values.size, CHECKERS), values, found, values.size)
    return int(found)


def widen(device: Device, source: DeviceArray, target: DeviceArray) -> None:
    """Copy int32 to int64."""
    device.launch(widen_int32, source.size, source, target, source.size)


def _one_of(known: tuple[str, ...], array: DeviceArray) -> str:
    """The name of the array's dtype. DataError for one that no kernel is made for."""
    if array.dtype.name not in known:
        raise DataError(f"expected {' or '.join(known)}, found {array.dtype.name}")
    return array.dtype.name

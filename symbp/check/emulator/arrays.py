"""Arrays that kernels read and write, with the checks that a GPU does not make.

A subscript must lie within its axis, a view within the array that the kernel was given, an access of 128 bits at a
multiple of 16 bytes; and what is read must have been written.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from symbp.check.emulator.frame import Frame, Site
from symbp.check.emulator.memory import Memory
from symbp.check.emulator.values import INT64, Value, cast, is_number, is_vector

Subscripts = tuple[Value, ...]


@dataclass(frozen=True, eq=False)
class Pointer:
    """The address of a device array: it begins `first` elements into an allocation and spans `count`."""

    memory: Memory
    first: int
    count: int
    dtype: np.dtype[Any]
    name: str


@dataclass(frozen=True, eq=False)
class View:
    """An array of a kernel: element ``[i, j]`` is number ``start + i*strides[0] + j*strides[1]`` of its memory.

    `start` differs between threads in shared memory.
    """

    memory: Memory
    dtype: np.dtype[Any]
    start: Value
    shape: Subscripts
    strides: Subscripts
    name: str

    @property
    def ndim(self) -> Value:
        return np.int64(len(self.shape))

    @property
    def size(self) -> Value:
        return prod(self.shape, start=np.int64(1))


def make_view(memory: Memory, dtype: np.dtype[Any], start: Value, shape: Subscripts, name: str) -> View:
    """A view whose last axis runs fastest."""
    strides: list[Value] = []
    stride: Value = np.int64(1)
    for extent in reversed(shape):
        strides.insert(0, stride)
        stride = stride * extent
    return View(memory, dtype, start, shape, tuple(strides), name)


def flat(frame: Frame, array: Value) -> View:
    """A pointer, or an array of any rank, as the array of one axis that lies there."""
    if isinstance(array, Pointer):
        return make_view(array.memory, array.dtype, np.int64(array.first), (np.int64(array.count),), array.name)
    if isinstance(array, View):
        return make_view(array.memory, array.dtype, array.start, (array.size,), array.name)
    raise frame.error(f"expected a pointer or an array, found {type(array).__name__}")


def view_pointer(frame: Frame, pointer: Value, start: Value, shape: Value, name: str = "") -> View:
    """``name = view(pointer, start, shape)``, which must lie inside what the pointer was given for."""
    if not isinstance(pointer, Pointer):
        raise frame.error(f"view() expects a pointer, found {type(pointer).__name__}")
    shape = shape if isinstance(shape, tuple) else (shape,)
    made = make_view(pointer.memory, pointer.dtype, np.int64(pointer.first) + start, shape, name or pointer.name)
    size = made.size
    lane = first_lane(frame, (start < 0) | ((start + size > pointer.count) & (size > 0)))
    if lane is not None:
        extents = ", ".join(str(at_lane(extent, lane)) for extent in shape)
        raise frame.error(
            f"view({pointer.name}, {at_lane(start, lane)}, ({extents})) ends after element "
            f"{at_lane(start + size, lane)}, but '{pointer.name}' holds {pointer.count}",
            lane=lane,
        )
    return made


def first_lane(frame: Frame, bad: Any) -> int | None:
    """The first active lane in which a check failed (`bad`: a scalar or a vector of lanes)."""
    if not is_vector(bad):
        return int(frame.mask.index[0]) if bad else None
    if not bad.any():
        return None
    lanes = np.flatnonzero(bad & frame.mask.lanes)
    return int(lanes[0]) if len(lanes) else None


def at_lane(value: Value, lane: int) -> Any:
    return value[lane].item() if is_vector(value) else value.item()


def check_subscripts(frame: Frame, name: str, shape: Subscripts, subscripts: Subscripts, site: Site) -> None:
    """Raise unless each subscript is a whole number inside its axis in all active threads."""
    if len(subscripts) > len(shape):
        raise frame.error(f"'{name}' has {len(shape)} axes but is given {len(subscripts)} subscripts: {site.text}")
    for axis, (subscript, extent) in enumerate(zip(subscripts, shape, strict=False)):
        if not is_number(subscript) or subscript.dtype.kind not in "iu":
            raise frame.error(f"subscript {axis} of {site.text} is not a whole number")
        lane = first_lane(frame, (subscript < 0) | (subscript >= extent))
        if lane is not None:
            raise frame.error(
                f"subscript {axis} of {site.text} is {at_lane(subscript, lane)}, "
                f"outside an axis of {at_lane(extent, lane)}",
                lane=lane,
            )


def locate(frame: Frame, view: View, subscripts: Subscripts, site: Site) -> Value:
    """The element's number in its memory in the active threads (a scalar or a vector), once every subscript is good."""
    if len(subscripts) != len(view.shape):
        raise frame.error(
            f"'{view.name}' has {len(view.shape)} axes but is given {len(subscripts)} subscripts: {site.text}"
        )
    check_subscripts(frame, view.name, view.shape, subscripts, site)
    place = view.start
    for subscript, stride in zip(subscripts, view.strides, strict=True):
        place = place + cast(INT64, subscript) * stride
    return frame.mask.pick(place)


def check_written(frame: Frame, view: View, places: Value, site: Site, *, items: int = 1) -> None:
    """Raise unless the elements (already those of the active threads) have been written."""
    memory = view.memory
    granules = memory.granules(places, view.dtype.itemsize * items)
    written = memory.written[granules]
    if written.all():
        return
    bad = int(np.flatnonzero(~np.atleast_1d(written))[0])
    lane = int(frame.mask.index[bad // (np.size(written) // np.size(places))])
    element = int(np.atleast_1d(granules)[bad]) * memory.granule // view.dtype.itemsize
    raise frame.error(f"{site.text} reads element {element} of {memory.label}, which has never been written", lane=lane)


def check_writable(frame: Frame, view: View, site: Site) -> None:
    if view.memory.protected:
        raise frame.error(f"{site.text} is written, but {view.memory.label} is only to be read")


def load(frame: Frame, view: View, subscripts: Subscripts, site: Site) -> Value:
    """``view[subscripts]`` in the active threads; zero in the others."""
    places = locate(frame, view, subscripts, site)
    check_written(frame, view, places, site)
    frame.run.log.read(frame, view, places, site)
    return spread(frame, view.memory.typed(view.dtype)[places])


def spread(frame: Frame, values: Value) -> Value:
    """Values of the active threads as a vector of all lanes."""
    if frame.mask.full or not is_vector(values):
        return values
    result = np.zeros(frame.batch.size, values.dtype)
    result[frame.mask.index] = values
    return result


def store(frame: Frame, view: View, subscripts: Subscripts, value: Value, site: Site) -> None:
    """``view[subscripts] = value`` in the active threads."""
    places = locate(frame, view, subscripts, site)
    check_writable(frame, view, site)
    values = frame.mask.pick(cast(view.dtype, value))
    if not is_vector(places) and is_vector(values):
        values = values[frame.run.generator.integers(len(values))]  # a race, or all alike: any thread may be the last
    memory = view.memory
    memory.typed(view.dtype)[places] = values
    memory.written[memory.granules(places, view.dtype.itemsize)] = True
    frame.run.log.write(frame, view, places, site)


def select(frame: Frame, view: View, subscripts: Subscripts, site: Site) -> View:
    """``view[i]`` with fewer subscripts than axes: the array of the axes that remain."""
    check_subscripts(frame, view.name, view.shape, subscripts, site)
    start = view.start
    for subscript, stride in zip(subscripts, view.strides, strict=False):
        start = start + subscript * stride
    many = len(subscripts)
    return View(view.memory, view.dtype, start, view.shape[many:], view.strides[many:], view.name)


def locate_vector(frame: Frame, view: View, index: Value, items: int, site: Site) -> Value:
    """The number of the first of `items` neighbouring elements, which one access reads or writes."""
    last = index + np.int64(items - 1)
    check_subscripts(frame, view.name, view.shape, (index,), site)
    check_subscripts(frame, view.name, view.shape, (last,), site)
    size = view.dtype.itemsize
    width = min(16, items * size)
    lane = first_lane(frame, (view.start + index) * np.int64(size) % width != 0)
    if lane is not None or view.memory.alignment % width:
        lane = int(frame.mask.index[0]) if lane is None else lane
        kind = "which is aligned" if view.memory.alignment % width else "which lies"
        where = (
            f"to {view.memory.alignment} bytes only"
            if view.memory.alignment % width
            else f"at byte {at_lane(view.start + index, lane) * size}"
        )
        raise frame.error(
            f"{site.text} is one access of {items * size} bytes to '{view.name}' at element {at_lane(index, lane)}, "
            f"{kind} {where}, not at a multiple of {width}",
            lane=lane,
        )
    return frame.mask.pick(view.start + index)


def load_vector(frame: Frame, array: Value, index: Value, items: int, site: Site) -> Value:
    """``load4(array, index)``: `items` neighbouring elements."""
    view = flat(frame, array)
    first = locate_vector(frame, view, index, items, site)
    memory = view.memory.typed(view.dtype)
    loaded = []
    for item in range(items):
        check_written(frame, view, first + item, site)
        frame.run.log.read(frame, view, first + item, site)
        loaded.append(spread(frame, memory[first + item]))
    return tuple(loaded)


def store_vector(frame: Frame, array: Value, index: Value, values: tuple[Value, ...], site: Site) -> None:
    """``store4(array, index, a, b, c, d)``."""
    view = flat(frame, array)
    locate_vector(frame, view, index, len(values), site)
    for item, value in enumerate(values):
        store(frame, view, (index + np.int64(item),), value, site)


ATOMICS: dict[str, Any] = {
    "add": np.add,
    "sub": np.subtract,
    "max": np.fmax,
    "min": np.fmin,
    "nanmax": np.fmax,
    "nanmin": np.fmin,
    "and_": np.bitwise_and,
    "or_": np.bitwise_or,
    "xor": np.bitwise_xor,
    "exch": lambda before, value: value,
}


def atomic(frame: Frame, operation: str, view: View, subscripts: Subscripts, value: Value, site: Site) -> Value:
    """``cuda.atomic.add(view, subscripts, value)``: what was there before; the threads in a random order."""
    places = locate(frame, view, subscripts, site)
    check_writable(frame, view, site)
    check_written(frame, view, places, site)
    frame.run.log.update(frame, view, places, site)
    count = frame.mask.count
    places = np.broadcast_to(places, (count,))
    values = np.broadcast_to(frame.mask.pick(cast(view.dtype, value)), (count,))
    memory = view.memory.typed(view.dtype)
    compute = ATOMICS[operation]
    if site.ignored and isinstance(compute, np.ufunc):
        order = frame.run.generator.permutation(count)
        compute.at(memory, places[order], values[order])
        return None
    if len(np.unique(places)) == count:
        before = memory[places]
        memory[places] = compute(before, values)
    else:
        before = np.empty(count, view.dtype)
        for lane in frame.run.generator.permutation(count):
            before[lane] = memory[places[lane]]
            memory[places[lane]] = compute(before[lane], values[lane])
    return spread(frame, before)

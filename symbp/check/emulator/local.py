"""Arrays of one thread alone (``cuda.local.array``), which become registers."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from symbp.check.emulator.arrays import Subscripts, at_lane, check_subscripts, first_lane
from symbp.check.emulator.frame import Frame, Site
from symbp.check.emulator.values import Value, cast, is_vector


class LocalArray:
    """An array that every thread has for itself. Element by element a vector of lanes."""

    def __init__(self, frame: Frame, shape: tuple[int, ...], dtype: np.dtype[Any], name: str) -> None:
        self._extents = shape
        self.shape: Subscripts = tuple(np.int64(extent) for extent in shape)
        self.dtype = dtype
        self.name = name
        self._strides = tuple(prod(shape[axis + 1 :]) for axis in range(len(shape)))
        self._lanes = np.full((prod(shape), frame.batch.size * dtype.itemsize), 0xFF, np.uint8).view(dtype)
        self._written = np.zeros(self._lanes.shape, bool)

    def _place(self, frame: Frame, subscripts: Subscripts, site: Site) -> Value:
        if len(subscripts) != len(self.shape):
            raise frame.error(f"'{self.name}' has {len(self.shape)} axes but is given {len(subscripts)}: {site.text}")
        place = 0
        for subscript, extent, stride in zip(subscripts, self._extents, self._strides, strict=True):
            if is_vector(subscript) or not 0 <= subscript < extent:
                break
            place += int(subscript) * stride
        else:
            return place
        check_subscripts(frame, self.name, self.shape, subscripts, site)
        places = sum(subscript * stride for subscript, stride in zip(subscripts, self._strides, strict=True))
        return np.where(frame.mask.lanes, places, 0)

    def load(self, frame: Frame, subscripts: Subscripts, site: Site) -> Value:
        """``array[subscripts]``."""
        place = self._place(frame, subscripts, site)
        if isinstance(place, int):
            value, written = self._lanes[place].copy(), self._written[place]
        else:
            lanes = np.arange(frame.batch.size)
            value, written = self._lanes[place, lanes], self._written[place, lanes]
        lane = None if written.all() else first_lane(frame, ~written)
        if lane is not None:
            raise frame.error(f"{site.text} reads element {at_lane(np.asarray(place)[()], lane)} of the thread's own "
                              f"'{self.name}', which has never been written", lane=lane)  # fmt: skip
        return value

    def store(self, frame: Frame, subscripts: Subscripts, value: Value, site: Site) -> None:
        """``array[subscripts] = value``."""
        place = self._place(frame, subscripts, site)
        value = cast(self.dtype, value)
        mask = frame.mask
        if isinstance(place, int) and mask.full:
            self._lanes[place] = value
            self._written[place] = True
            return
        lanes = mask.index
        place = place if isinstance(place, int) else place[lanes]
        self._lanes[place, lanes] = mask.pick(value)
        self._written[place, lanes] = True

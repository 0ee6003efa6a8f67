"""Memory of the emulated device: its bytes, and which of them have been written."""

from __future__ import annotations

from typing import Any

import numpy as np

ALIGNMENT = 256  # of allocations, as on the GPU


class Memory:
    """One allocation of `nbytes`, real memory of this process.

    Every granule of `granule` bytes knows whether it has been written. What has not is filled with ones: a NaN as a
    float, -1 as an integer, so that a kernel that reads it all the same does not pass by luck. `alignment` is what
    may be relied on for its first byte.
    """

    def __init__(
        self, nbytes: int, label: str, *, device: Any = None, granule: int = 4, alignment: int = ALIGNMENT
    ) -> None:
        room = -(-nbytes // 16) * 16
        whole = np.full(room + ALIGNMENT, 0xFF, np.uint8)
        skip = -whole.ctypes.data % ALIGNMENT
        self._adopt(whole[skip : skip + room], nbytes, label, device, granule, alignment)

    def _adopt(self, held: Any, nbytes: int, label: str, device: Any, granule: int, alignment: int) -> None:
        self.bytes = held
        self.nbytes = nbytes
        self.label = label
        self.device = device
        self.granule = granule
        self.alignment = alignment
        self.protected = False
        self.written: Any = np.zeros(-(-len(held) // granule), bool)
        self.pointer: int = held.ctypes.data
        self._typed: dict[np.dtype[Any], Any] = {}

    @classmethod
    def borrow(cls, held: Any, label: str, device: Any, *, granule: int) -> Memory:
        """Bytes that belong to somebody else, all of them written."""
        memory = cls.__new__(cls)
        aligned = next(bytes_ for bytes_ in (256, 16, 8, 4, 2, 1) if held.ctypes.data % bytes_ == 0)
        memory._adopt(held, len(held), label, device, granule, aligned)
        memory.written[:] = True
        return memory

    def typed(self, dtype: np.dtype[Any]) -> Any:
        """All elements of the allocation in one type."""
        found = self._typed.get(dtype)
        if found is None:
            count = self.nbytes // dtype.itemsize
            found = self._typed[dtype] = self.bytes[: count * dtype.itemsize].view(dtype)
        return found

    def granules(self, places: Any, size: int) -> Any:
        """The granules that elements of `size` bytes lie in, for each element one after the other."""
        if size == self.granule:
            return places
        if size < self.granule:
            return places * size // self.granule
        many = size // self.granule
        return (np.asarray(places)[..., None] * many + np.arange(many)).reshape(-1)

    def mark(self, start: int, size: int) -> None:
        """The bytes from `start` have been written."""
        self.written[start // self.granule : -(-(start + size) // self.granule)] = True

"""Parameters: one flat array, and a view of it under each name.

The optimizer and the checkpoint see ``params.flat``; people see ``params.W1``. Entries lie one behind the other with
no gaps, in the order of the spec, so an update is one loop over one array; the array itself starts on a cache line.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from symbp.errors import DataError, did_you_mean
from symbp.runtime.initializers import Initializer, initial_values

Array = npt.NDArray[Any]
CACHE_LINE = 64
_ZEROS = Initializer("zeros")


@dataclass(frozen=True, slots=True)
class Parameter:
    """One trained array: its name, its shape, and how it starts."""

    name: str
    shape: tuple[int, ...]
    init: Initializer = _ZEROS

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Layout:
    """Where each parameter lies in the flat array: ``flat[offsets[name] : offsets[name] + size]``, in C order."""

    entries: tuple[Parameter, ...]
    dtype: npt.DTypeLike = np.float32
    offsets: dict[str, int] = field(init=False, compare=False)
    size: int = field(init=False, compare=False)

    def __post_init__(self) -> None:
        offsets: dict[str, int] = {}
        size = 0
        for entry in self.entries:
            offsets[entry.name] = size
            size += entry.size
        object.__setattr__(self, "dtype", np.dtype(self.dtype))
        object.__setattr__(self, "offsets", offsets)
        object.__setattr__(self, "size", size)

    @property
    def names(self) -> tuple[str, ...]:
        """The names in the order of the flat array."""
        return tuple(self.offsets)

    def zeros(self) -> Parameters:
        """Parameters that are all zero: for gradients."""
        return Parameters(self)

    def initialise(self, seed: int = 0) -> Parameters:
        """Parameters at their initial values. The same seed gives the same values; each name has its own stream."""
        if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
            raise DataError(f"seed: expected a whole number >= 0, found {seed!r}")
        params = Parameters(self)
        for entry in self.entries:
            params[entry.name][...] = initial_values(entry.init, entry.name, entry.shape, int(seed))
        return params

    def shapes(self) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
        """Shape and dtype by name: what a checkpoint must hold."""
        return {entry.name: (entry.shape, np.dtype(self.dtype)) for entry in self.entries}


def aligned_zeros(size: int, dtype: npt.DTypeLike) -> Array:
    """A one-dimensional array of zeros whose first element starts a cache line, so that vector loads split none."""
    wanted = np.dtype(dtype)
    room = np.zeros(size * wanted.itemsize + CACHE_LINE, np.uint8)
    start = -room.ctypes.data % CACHE_LINE
    return room[start : start + size * wanted.itemsize].view(wanted)


class Parameters(Mapping[str, Array]):
    """The values of a :class:`Layout`: ``params.flat``, ``params.W1``, ``params["W1"]``.

    ``params.W1 = array`` copies into the view. A parameter whose name is also a method's (``copy``, ``keys``) is
    reached as ``params["copy"]``. Names are those of the layout and cannot be added or removed.
    Raises DataError for an unknown name, and for an array of another shape or of a dtype that would be cast.
    """

    __slots__ = ("__weakref__", "_views", "flat", "layout")

    flat: Array
    layout: Layout
    _views: dict[str, Array]

    def __init__(self, layout: Layout, flat: Array | None = None) -> None:
        """Zeros, or ``flat`` itself (not a copy) where one is given: a contiguous array of the layout's size."""
        if flat is None:
            flat = aligned_zeros(layout.size, layout.dtype)
        elif flat.shape != (layout.size,) or flat.dtype != layout.dtype or not flat.flags.carray:
            raise DataError(
                f"flat parameters: expected a contiguous, writable array of {layout.size} "
                f"{np.dtype(layout.dtype).name}, found shape {flat.shape} of {flat.dtype.name}"
            )
        set_once = object.__setattr__
        set_once(self, "layout", layout)
        set_once(self, "flat", flat)
        views = {
            entry.name: flat[layout.offsets[entry.name] :][: entry.size].reshape(entry.shape)
            for entry in layout.entries
        }
        set_once(self, "_views", views)

    def __getitem__(self, name: str) -> Array:
        # A mapping's own "in" and get() rely on KeyError.
        return self._views[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._views)

    def __len__(self) -> int:
        return len(self._views)

    def __getattr__(self, name: str) -> Array:
        if name == "_views" or name.startswith("__"):  # an object not filled yet: while it is copied or unpickled
            raise AttributeError(name)
        try:
            return self._views[name]
        except KeyError:
            known = did_you_mean(name, self._views)
            raise AttributeError(f"no parameter '{name}'{'; ' + known if known else ''}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("flat", "layout"):
            raise DataError(f"params.{name} cannot be replaced", remedy=f"write into it: params.{name}[:] = values")
        self[name] = value

    def __setitem__(self, name: str, value: Any) -> None:
        if name not in self._views:
            raise DataError(f"no parameter '{name}' to set", remedy=did_you_mean(name, self._views))
        view = self._views[name]
        given = np.asarray(value)
        if given.shape != view.shape:
            raise DataError(f"parameter '{name}': expected shape {view.shape}, found {given.shape}")
        python = not isinstance(value, np.ndarray | np.generic)
        if given.dtype != view.dtype and not (python and given.dtype.kind in "fiu"):
            raise DataError(
                f"parameter '{name}': expected {view.dtype.name}, found {given.dtype.name}",
                remedy=f"convert it on purpose: array.astype(np.{view.dtype.name})",
            )
        view[...] = given

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._views]

    def __eq__(self, other: object) -> bool:
        """The same layout and the same numbers."""
        if not isinstance(other, Parameters):
            return NotImplemented
        return self.layout == other.layout and bool(np.array_equal(self.flat, other.flat))

    __hash__ = None  # type: ignore[assignment]

    def copy(self) -> Parameters:
        """The same values in memory of their own."""
        other = Parameters(self.layout)
        other.flat[:] = self.flat
        return other

    def __copy__(self) -> Parameters:
        return self.copy()

    def __deepcopy__(self, memo: dict[int, Any]) -> Parameters:
        return self.copy()

    def zeros_like(self) -> Parameters:
        """Zeros in the same layout."""
        return Parameters(self.layout)

    def __reduce__(self) -> tuple[Any, ...]:
        return Parameters, (self.layout, np.array(self.flat))

    def __repr__(self) -> str:
        """A line for each parameter: name, shape, Euclidean norm."""
        dtype = np.dtype(self.layout.dtype).name
        lines = [f"Parameters: {self.layout.size} numbers of {dtype}"]
        width = max((len(name) for name in self._views), default=0)
        shapes = {name: "x".join(map(str, view.shape)) or "1" for name, view in self._views.items()}
        shape_width = max(map(len, shapes.values()), default=0)
        for name, view in self._views.items():
            norm = float(np.sqrt(np.sum(np.square(view, dtype=np.float64))))
            lines.append(f"  {name:<{width}}  {shapes[name]:<{shape_width}}  norm {norm:.4g}")
        return "\n".join(lines)

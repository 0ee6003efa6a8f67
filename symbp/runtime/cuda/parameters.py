"""Parameters on the device: one flat array, and a window on it under each name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from symbp.errors import DataError, did_you_mean
from symbp.runtime.cuda.array import Device, DeviceArray, lies_on_a_device
from symbp.runtime.parameters import Layout, Parameters


class DeviceParameters(Mapping[str, DeviceArray]):
    """The values of a layout in device memory: ``params.flat``, ``params.W1``, ``params["W1"]``.

    ``params.W1 = values`` copies NumPy's values or those of a device array in. ``params.to_host()`` gives the
    parameters of the CPU's modules. Raises DataError for an unknown name, and for values of another shape or of a dtype
    that would be cast.
    """

    __slots__ = ("__weakref__", "_views", "flat", "layout")

    flat: DeviceArray
    layout: Layout
    _views: dict[str, DeviceArray]

    def __init__(self, layout: Layout, flat: DeviceArray) -> None:
        """On ``flat`` itself: contiguous, of the layout's size and dtype."""
        if flat.shape != (layout.size,) or flat.dtype != layout.dtype or not flat.contiguous:
            raise DataError(
                f"flat parameters: expected a contiguous array of {layout.size} {np.dtype(layout.dtype).name}, "
                f"found shape {flat.shape} of {flat.dtype.name}"
            )
        set_once = object.__setattr__
        set_once(self, "layout", layout)
        set_once(self, "flat", flat)
        views = {entry.name: flat.view(layout.offsets[entry.name], entry.shape) for entry in layout.entries}
        set_once(self, "_views", views)

    @property
    def device(self) -> Device:
        """Where they lie."""
        return self.flat.device

    def __getitem__(self, name: str) -> DeviceArray:
        return self._views[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._views)

    def __len__(self) -> int:
        return len(self._views)

    def __getattr__(self, name: str) -> DeviceArray:
        if name == "_views" or name.startswith("__"):  # an object not filled yet: while it is copied
            raise AttributeError(name)
        try:
            return self._views[name]
        except KeyError:
            known = did_you_mean(name, self._views)
            raise AttributeError(f"no parameter '{name}'{'; ' + known if known else ''}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("flat", "layout", "device"):
            raise DataError(f"params.{name} cannot be replaced", remedy="write into it: params.flat[...] = values")
        self[name] = value

    def __setitem__(self, name: str, value: Any) -> None:
        if name not in self._views:
            raise DataError(f"no parameter '{name}' to set", remedy=did_you_mean(name, self._views))
        view = self._views[name]
        given = self.device.wrap(value) if lies_on_a_device(value) else np.asarray(value)
        if given.shape != view.shape:
            raise DataError(f"parameter '{name}': expected shape {view.shape}, found {given.shape}")
        if given.dtype != view.dtype:
            python = isinstance(given, np.ndarray) and not isinstance(value, np.ndarray | np.generic)
            if isinstance(given, DeviceArray) or not (python and given.dtype.kind in "fiu"):
                raise DataError(
                    f"parameter '{name}': expected {view.dtype.name}, found {given.dtype.name}",
                    remedy=f"convert it on purpose: array.astype(np.{view.dtype.name})",
                )
            given = given.astype(view.dtype)
        view[...] = given

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._views]

    def __eq__(self, other: object) -> bool:
        """The same layout and the same numbers, which are fetched for it."""
        if not isinstance(other, DeviceParameters):
            return NotImplemented
        return self.to_host() == other.to_host()

    __hash__ = None  # type: ignore[assignment]

    def to_host(self) -> Parameters:
        """The same values as the CPU's modules hold them."""
        params = Parameters(self.layout)
        params.flat[:] = self.flat.to_host()
        return params

    def copy(self) -> DeviceParameters:
        """The same values in memory of their own."""
        return DeviceParameters(self.layout, self.flat.copy())

    def __copy__(self) -> DeviceParameters:
        return self.copy()

    def __deepcopy__(self, memo: dict[int, Any]) -> DeviceParameters:
        return self.copy()

    def zeros_like(self) -> DeviceParameters:
        """Zeros in the same layout, on the same device."""
        return zero_parameters(self.device, self.layout)

    def __repr__(self) -> str:
        """A line for each parameter: name, shape, Euclidean norm."""
        first, _, lines = repr(self.to_host()).partition("\n")
        return f"Device{first}, on {self.device.name}" + ("\n" + lines if lines else "")


def upload_parameters(device: Device, params: Parameters) -> DeviceParameters:
    """The values of the CPU's parameters, on the device."""
    return DeviceParameters(params.layout, device.upload(params.flat))


def zero_parameters(device: Device, layout: Layout) -> DeviceParameters:
    """Parameters that are all zero: for gradients."""
    return DeviceParameters(layout, device.zeros((layout.size,), layout.dtype))

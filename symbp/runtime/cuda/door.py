"""The check at the door of a CUDA module: what the CPU's checks, and then the way onto the device.

NumPy arrays (and all that NumPy reads) are checked as on the CPU and copied over. Arrays that lie on the device already
are used where they are: their shape, dtype, contiguity and device are checked, and the range of whole numbers, as one
out of range would make kernels read past the end of an array. That floats there are finite is taken on trust: to look
would cost as much as a small model.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from symbp.errors import DataError, DeviceError
from symbp.runtime.cuda.array import Device, DeviceArray, lies_on_a_device
from symbp.runtime.cuda.batches import outside, widen
from symbp.runtime.cuda.parameters import DeviceParameters
from symbp.runtime.door import Input, Requirement, check_inputs, check_range
from symbp.runtime.parameters import Layout

Entered = tuple[Device, DeviceArray, list[DeviceArray], dict[str, int]]

_INT64 = np.dtype(np.int64)

_doors = itertools.count()


class DeviceDoor:
    """Checks what a caller hands in, once per call, and brings it onto the device of the parameters."""

    __slots__ = ("_inputs", "_key", "_layout", "_requirements")

    def __init__(self, layout: Layout, inputs: Sequence[Input], requirements: Sequence[Requirement] = ()) -> None:
        self._layout = layout
        self._inputs = {declared.name: declared for declared in inputs}
        self._requirements = tuple(requirements)
        # Memory that arrays are uploaded to is this module's alone.
        self._key = f"door {next(_doors)}"

    def enter(self, params: DeviceParameters, **arrays: Any) -> Entered:
        """The device, the flat parameters, the arrays in the order given, and the run-time sizes by name.

        Uploaded arrays lie in memory that the next call uses again; arrays on the device are used where they are.

        Raises DataError for parameters of another model, ShapeError and DataError as on the CPU, and DeviceError for
        arrays that lie on another device.
        """
        device, flat, accepted, sizes = self._accept(params, arrays, own=False)
        placed = [
            self._place(device, name, array) if isinstance(array, np.ndarray) else array
            for name, array in zip(arrays, accepted, strict=True)
        ]
        return device, flat, placed, sizes

    def stage(self, params: DeviceParameters, **arrays: Any) -> Entered:
        """As `enter`, with arrays that lie on the device copied as well: a graph finds them in the same place again."""
        device, flat, accepted, sizes = self._accept(params, arrays, own=False)
        placed = [self._place(device, name, array) for name, array in zip(arrays, accepted, strict=True)]
        return device, flat, placed, sizes

    def load(self, params: DeviceParameters, **arrays: Any) -> Entered:
        """As `enter`, in memory that no other call uses: for data that stay."""
        device, flat, accepted, sizes = self._accept(params, arrays, own=True)
        placed = [device.upload(array) if isinstance(array, np.ndarray) else array for array in accepted]
        return device, flat, placed, sizes

    def validation(self, params: DeviceParameters, data: Any, *names: str) -> tuple[DeviceArray, ...]:
        """The arrays of `data`, one for each name, checked and uploaded before training.

        Raises DataError for another number of arrays, and what `enter` raises.
        """
        several = isinstance(data, list | tuple)
        arrays = tuple(data) if several else (data,)
        if len(arrays) != len(names):
            raise DataError(
                f"validation: expected {len(names)} arrays ({', '.join(names)}) or a callable, "
                f"found {len(arrays) if several else type(data).__name__}",
                remedy=f"pass validation=({', '.join(names)})",
            )
        return tuple(self.load(params, **dict(zip(names, arrays, strict=True)))[2])

    def flat(self, params: DeviceParameters) -> DeviceArray:
        """The flat array of `params`, which must be laid out as this module's parameters are."""
        if params.__class__.__name__ != "DeviceParameters" or params.layout != self._layout:
            found = type(params).__name__
            if hasattr(params, "layout"):
                same = params.layout == self._layout
                found = "those of the CPU" if same else f"those of another model ({', '.join(params)})"
            raise DataError(
                f"params: expected the parameters of this module ({', '.join(self._layout.names)}), found {found}",
                remedy="make them with init() or load()",
            )
        return params.flat

    def _accept(
        self, params: DeviceParameters, arrays: dict[str, Any], own: bool
    ) -> tuple[Device, DeviceArray, list[Any], dict[str, int]]:
        flat = self.flat(params)
        inputs = [self._inputs[name] for name in arrays]
        requirements = self._requirements if len(inputs) == len(self._inputs) else ()
        there = _OnDevice(flat.device, None if own else self._key)
        accepted, sizes = check_inputs(inputs, list(arrays.values()), self._layout.dtype, requirements, there)
        return flat.device, flat, accepted, sizes

    def _place(self, device: Device, name: str, array: Any) -> DeviceArray:
        """The array in the memory that is kept for this input."""
        held = device.scratch(f"{self._key} {name}", array.shape, array.dtype)
        if isinstance(array, np.ndarray):
            device.write(held, array)
        elif array.pointer != held.pointer:
            device.copy(array, held)
        return held


class _OnDevice:
    """Checks arrays that lie on a device; ``key`` names memory for what is converted, None is memory of its own."""

    __slots__ = ("_device", "_key")

    def __init__(self, device: Device, key: str | None) -> None:
        self._device = device
        self._key = key

    def accept(self, declared: Input, given: Any, target: np.dtype[Any]) -> DeviceArray | None:
        """The array of dtype ``target`` that ``given`` is; None where it does not lie on a device."""
        if not lies_on_a_device(given):
            return None
        name = declared.name
        try:
            array = self._device.wrap(given)
        except (DataError, DeviceError) as error:
            raise type(error)(f"input '{name}': {error.message}", remedy=error.remedy) from None
        widened = declared.kind == "int" and array.dtype == np.int32
        if array.dtype != target and not widened:
            raise DataError(
                f"input '{name}': expected {target.name}, found {array.dtype.name}",
                remedy=f"convert it on purpose: {name}.astype('{target.name}'), or {name}.to(torch.{target.name})",
            )
        if not array.contiguous:
            raise DataError(
                f"input '{name}': expected a C-contiguous array, "
                f"found shape {array.shape} with strides {array.strides} (in elements)",
                remedy=f"copy it: {name}.copy(), or {name}.contiguous()",
            )
        if widened and array.size:
            return self._widen(name, array)
        return array

    def check_values(self, declared: Input, array: DeviceArray) -> None:
        """Refuse a whole number outside ``0 <= value < below``, in the words of the CPU's door."""
        if declared.kind != "int" or declared.below is None or array.size == 0:
            return
        if outside(self._device, array, declared.below):
            check_range(declared, array.to_host())
            raise DataError(f"input '{declared.name}': expected 0 to {declared.below - 1}, found other numbers")

    def _widen(self, name: str, array: DeviceArray) -> DeviceArray:
        if self._key is None:
            wide = self._device.empty(array.shape, np.int64)
        else:
            wide = self._device.scratch(f"{self._key} {name}", array.shape, _INT64)
        widen(self._device, array, wide)
        return wide

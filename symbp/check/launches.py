"""Which kernels a generated CUDA package launches: its functions are called on a device that runs nothing.

The kernels of a model are functions of its own, but a product of arrays is carried out by kernels that are made for the
shapes and strides it meets, so only a call shows which.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np

from symbp.errors import ShapeError, TargetError

#: All run-time sizes at once: a size that tiles divide, and the smallest.
SIZES_TRIED = (64, 1)


def runtime_of(net: ModuleType) -> str:
    """The dotted name of the CUDA runtime that a generated module uses: its package's own, or the installed one."""
    package = net.__name__ if hasattr(net, "__path__") else net.__name__.rpartition(".")[0]
    own = f"{package}._runtime"
    return f"{own}.cuda" if importlib.util.find_spec(own) is not None else "symbp.runtime.cuda"


def kernels_of(net: ModuleType) -> dict[str, Any]:
    """The kernels of a generated CUDA module by name, and those that its products are carried out by.

    Raises TargetError for a module of another target.
    """
    found = own_kernels(net)
    for kernel in launched(net):
        if not any(kernel is known for known in found.values()):
            found[_fresh(kernel.name, found)] = kernel
    return found


def own_kernels(net: ModuleType) -> dict[str, Any]:
    """The kernels that are the model's own. Raises TargetError for a module of another target."""
    module = getattr(net, "kernels", None) or getattr(net, "cuda_kernels", None)
    found = {name: value for name, value in vars(module).items() if _is_kernel(value)} if module else {}
    if not found:
        raise TargetError(f"'{net.__name__}' has no CUDA kernels", remedy="compile it with target 'cuda'")
    return found


def _is_kernel(value: Any) -> bool:
    """Records of kernels differ in class from package to package, each with its own copy of the runtime."""
    return type(value).__name__ == "Kernel" and hasattr(value, "function")


def _fresh(name: str, taken: Mapping[str, Any]) -> str:
    """The name, numbered where kernels for several shapes share it."""
    number, fresh = 1, name
    while fresh in taken:
        number += 1
        fresh = f"{name} {number}"
    return fresh


def launched(net: ModuleType) -> list[Any]:
    """Every kernel that `predict`, `loss_and_grad` and `train_step` launch at the sizes that are tried, once."""
    runtime = runtime_of(net)
    devices = importlib.import_module(f"{runtime}.device")
    recorder = _recorder(importlib.import_module(f"{runtime}.array").Device)
    devices.use_device(recorder)
    try:
        for size in SIZES_TRIED:
            try:
                _call_everything(net, size)
            except ShapeError:  # the model asks for more: n_time >= 3
                continue
    finally:
        devices.use_device(None)
    kernels: list[Any] = recorder.launched
    return kernels


def _call_everything(net: ModuleType, size: int) -> None:
    params = net.init()
    for name in ("predict", "loss_and_grad"):
        if hasattr(net, name):
            getattr(net, name)(params, *arguments_of(net, name, size))
    if hasattr(net, "train_step"):
        net.train_step(params, net.optimizer_state(params), *arguments_of(net, "train_step", size))


def arguments_of(net: ModuleType, function: str, size: int) -> list[Any]:
    """Arrays of zeros for the inputs that a function of the interface takes; all run-time sizes are alike."""
    arrays = {declared.name: _zeros(declared, net.DTYPE, size) for declared in net.INPUTS}
    return [arrays[name] for name in inspect.signature(getattr(net, function)).parameters if name in arrays]


def _zeros(declared: Any, dtype: Any, size: int) -> Any:
    sizes = _AllAlike(size)
    extents = [
        extent if isinstance(extent, int) else size if isinstance(extent, str) else extent.value(sizes)
        for extent in declared.shape
    ]
    return np.zeros(extents, np.int64 if declared.kind == "int" else dtype)


class _AllAlike(dict[str, int]):
    """Sizes by name, all the same."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self._size = size

    def __missing__(self, name: str) -> int:
        return self._size


def _recorder(device: Any) -> Any:
    """A device of the class that the package's runtime knows. Its memory reads as zeros."""

    class Memory:
        def __init__(self, owner: Any, nbytes: int) -> None:
            self.device, self.nbytes, self.pointer = owner, nbytes, 0

    class Recorder(device):
        name = "a device that runs nothing"

        def __init__(self) -> None:
            super().__init__()
            self.launched: list[Any] = []

        def allocate(self, nbytes: int) -> Memory:
            return Memory(self, nbytes)

        def write(self, target: Any, source: Any) -> None:
            pass

        def read(self, source: Any, target: Any) -> None:
            target[...] = 0

        def copy(self, source: Any, target: Any) -> None:
            pass

        def clear(self, array: Any) -> None:
            pass

        def launch_blocks(self, kernel: Any, blocks: Any, *arguments: Any) -> None:
            if not any(kernel is known for known in self.launched):
                self.launched.append(kernel)

        def synchronise(self) -> None:
            pass

    return Recorder()

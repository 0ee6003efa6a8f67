"""Generated CUDA packages on the emulated device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

from symbp.check.emulator.device import RUNTIME, EmulatedDevice


def runtime_of(module: ModuleType) -> str:
    """The runtime that a generated package, or a module in one, uses: its own copy, or the installed one."""
    package = module.__name__ if hasattr(module, "__path__") else module.__name__.rpartition(".")[0]
    if not package:
        return RUNTIME
    own = f"{package}._runtime"
    if find_spec(own) is not None and find_spec(f"{own}.cuda") is not None:
        return f"{own}.cuda"
    return RUNTIME


def attach(package: ModuleType, seed: int = 0) -> EmulatedDevice:
    """From now on the package computes on an emulated device, which is returned."""
    runtime = runtime_of(package)
    device = EmulatedDevice(seed, runtime=runtime)
    import_module(f"{runtime}.device").use_device(device)
    return device


@contextmanager
def emulated(package: ModuleType, seed: int = 0) -> Iterator[EmulatedDevice]:
    """The package on an emulated device inside a `with` block, and on the first GPU again behind it."""
    device = attach(package, seed)
    try:
        yield device
    finally:
        import_module(f"{runtime_of(package)}.device").use_device(None)

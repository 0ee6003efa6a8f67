"""CUDA kernels without a GPU: their Python source run for all threads at once, with every access checked."""

from symbp.check.emulator.attach import attach, emulated
from symbp.check.emulator.device import EmulatedDevice
from symbp.check.emulator.errors import EmulatorError, UnsupportedError

__all__ = ["EmulatedDevice", "EmulatorError", "UnsupportedError", "attach", "emulated"]

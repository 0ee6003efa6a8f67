"""What the emulator says when a kernel does what a GPU would not forgive."""

from __future__ import annotations

from symbp.errors import SymbpError


class EmulatorError(SymbpError):
    """A kernel reads or writes where it must not, races, waits in vain, or is called wrongly.

    The place is the kernel and the line of its source.
    """


class UnsupportedError(EmulatorError):
    """A kernel uses a part of Python or of CUDA that the emulator does not know."""

"""A driver whose GPU is this process: what is asked for within a capture is kept, and done at every replay."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np

from symbp.runtime.cuda.driver import OutOfMemory
from symbp.runtime.cuda.kernel import Kernel, Pointer
from tests.runtime.cuda.fake_device import run_threads


class FakeDriver:
    """Has ``room`` bytes; ``log`` holds the names of what was asked for."""

    name = "a fake GPU"
    ordinal = 0
    capability = (9, 0)
    stream = 77

    def __init__(self, room: int = 1 << 30, kernels: dict[str, Kernel] | None = None) -> None:
        self.room = room
        self.kernels = {} if kernels is None else kernels
        self.pieces: dict[int, np.ndarray] = {}
        self.log: list[str] = []
        self.waited: list[int] = []
        self.loaded: list[tuple[str, str, int]] = []
        self.launched: list[tuple[str, tuple[int, int, int], int, int, list[int]]] = []
        self.graph: list[Callable[[], None]] | None = None

    def make_current(self) -> None:
        pass

    def _do(self, name: str, operation: Callable[[], None]) -> None:
        if self.graph is not None:
            self.log.append("captured " + name)
            self.graph.append(operation)
        else:
            self.log.append(name)
            operation()

    def memory(self) -> tuple[int, int]:
        used = sum(piece.nbytes for piece in self.pieces.values())
        return self.room - used, self.room

    def allocate(self, nbytes: int) -> int:
        if nbytes > self.memory()[0]:
            raise OutOfMemory("out of memory")
        piece = np.full(nbytes, 0xA5, np.uint8)
        self.pieces[piece.ctypes.data] = piece
        self.log.append("allocate")
        return int(piece.ctypes.data)

    def free(self, pointer: int) -> None:
        self.log.append("free")
        del self.pieces[pointer]

    def owner(self, pointer: int) -> int:
        return 0 if any(start <= pointer < start + piece.nbytes for start, piece in self.pieces.items()) else 1

    def write(self, pointer: int, host: int, nbytes: int) -> None:
        assert self.graph is None
        self._do("write", lambda: ctypes.memmove(pointer, host, nbytes) and None)

    def read(self, host: int, pointer: int, nbytes: int) -> None:
        assert self.graph is None
        self._do("read", lambda: ctypes.memmove(host, pointer, nbytes) and None)

    def copy(self, target: int, source: int, nbytes: int) -> None:
        self._do("copy", lambda: ctypes.memmove(target, source, nbytes) and None)

    def clear(self, pointer: int, nbytes: int) -> None:
        self._do("clear", lambda: ctypes.memset(pointer, 0, nbytes) and None)

    def load(self, ptx: str, name: str, shared: int) -> str:
        self.loaded.append((ptx, name, shared))
        return ptx if ptx in self.kernels else name

    def launch(
        self, entry: Any, name: str, blocks: tuple[int, int, int], threads: int, shared: int, parameters: int
    ) -> None:
        kernel = self.kernels[entry]
        addresses = (ctypes.c_void_p * len(kernel.parameters)).from_address(parameters)
        values = [ctypes.c_int64.from_address(address).value for address in addresses]
        self.launched.append((name, blocks, threads, shared, values))

        def run() -> None:
            arguments = [
                self._flat(value, one.dtype) if isinstance(one, Pointer) else value
                for value, one in zip(values, kernel.parameters, strict=True)
            ]
            run_threads(kernel, blocks[0], arguments)

        self._do(name, run)

    def _flat(self, pointer: int, dtype: str) -> np.ndarray:
        """All of a piece of memory from an address on."""
        for start, piece in self.pieces.items():
            if start <= pointer < start + piece.nbytes:
                rest = piece[pointer - start :]
                return rest[: rest.size // 8 * 8].view(dtype)
        raise AssertionError(f"no memory at {pointer:#x}")

    def synchronise(self) -> None:
        assert self.graph is None
        self.log.append("synchronise")

    def wait_for(self, stream: int) -> None:
        self.waited.append(stream)

    def capture(self, program: Callable[[], None]) -> list[Callable[[], None]]:
        self.graph = []
        try:
            program()
            return self.graph
        finally:
            self.graph = None

    def replay(self, graph: list[Callable[[], None]]) -> None:
        self.log.append("replay")
        for operation in graph:
            operation()

"""Work in processes of its own: a kernel that reads past its array ends its process, not the run.

A child is ``python -m benchmarks.gpu.MODULE arguments``; it prints lines, and each that begins with MARK is one row.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
MARK = "@row "


def tell(row: dict[str, Any]) -> None:
    """Hand a row to the parent."""
    print(MARK + json.dumps(row, default=str), flush=True)


def environment() -> dict[str, str]:
    """That of this process, with this tree first and no framework taking the whole of the device's memory."""
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    found = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in paths if p), "PYTHONUNBUFFERED": "1"}
    found |= {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "TF_CPP_MIN_LOG_LEVEL": "3", "NUMBA_NUM_THREADS": "1"}
    found |= {"OMP_NUM_THREADS": "2", "NUMBA_CUDA_LOW_OCCUPANCY_WARNINGS": "0"}
    if "CUDA_HOME" not in found and Path("/usr/local/cuda").is_dir():
        found["CUDA_HOME"] = "/usr/local/cuda"  # where Numba-CUDA looks for NVVM, if it has no wheel of it
    return found


class Child:
    """A process whose rows arrive one by one; it is ended when its time is up."""

    def __init__(
        self, module: str, *arguments: object, before: tuple[str, ...] = (), command: list[str] | None = None
    ) -> None:
        """`before` is a program that runs it; `command` is what Python is given instead of the module."""
        given = ["-m", f"benchmarks.gpu.{module}", *map(str, arguments)] if command is None else command
        command = [*before, sys.executable, *given]
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        self._lines: queue.Queue[str | None] = queue.Queue()
        self.said: list[str] = []  # what is no row: warnings, tracebacks
        self.late = False  # whether it was ended because its time was up
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def row(self, deadline: float) -> dict[str, Any] | None:
        """The next row, or None when there is none any more, or when the time (`time.monotonic`) is up."""
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                self.end()
                self.late = True
                self.said.append("out of time")
                return None
            if line is None:
                self._process.wait()
                return None
            if line.startswith(MARK):
                row: dict[str, Any] = json.loads(line[len(MARK) :])
                return row
            self.said.append(line)

    def rows(self, deadline: float) -> Iterator[dict[str, Any]]:
        while (row := self.row(deadline)) is not None:
            yield row

    def write(self, line: str) -> None:
        """Something that the child waits for; ignored where it has ended."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        except (BrokenPipeError, ValueError):
            pass

    @property
    def status(self) -> int | None:
        return self._process.poll()

    def end(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def last_words(self, count: int = 25) -> str:
        return "\n".join(self.said[-count:])

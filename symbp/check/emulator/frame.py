"""Where a running function stands: its variables, its active threads, and whom to blame."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from symbp.check.emulator.errors import EmulatorError
from symbp.check.emulator.lanes import Batch, Mask
from symbp.check.emulator.memory import Memory
from symbp.check.emulator.values import Value


@dataclass(frozen=True, eq=False)
class Site:
    """A place in the source of a kernel: ``kernels.py:52 in forward_4: out[b, k]``.

    `target` is the name that the value is given; `ignored` tells that nobody wants it.
    """

    function: str
    file: str
    line: int
    text: str
    target: str = ""
    ignored: bool = False

    def __str__(self) -> str:
        return f"{Path(self.file).name}:{self.line} in {self.function}: {self.text}"


class Log(Protocol):
    """What is told of every access to memory that threads share; `places` are elements of the view's memory."""

    def read(self, frame: Frame, view: Any, places: Any, site: Site) -> None: ...

    def write(self, frame: Frame, view: Any, places: Any, site: Site) -> None: ...

    def update(self, frame: Frame, view: Any, places: Any, site: Site) -> None: ...


class Run:
    """What all functions of a launch share while one batch of its blocks runs."""

    def __init__(
        self,
        kernel: str,
        batch: Batch,
        log: Log,
        generator: np.random.Generator,
        dynamic_shared: int,
    ) -> None:
        self.kernel = kernel
        self.batch = batch
        self.log = log
        self.generator = generator
        self.dynamic_shared = dynamic_shared
        # Arrays in shared memory by the call that made them: one and the same in every call of a device function.
        self.shared: dict[Any, Memory] = {}


class Frame:
    """One call of one function.

    `mask` are the threads that run the present statement, `alive` how many of those that entered have not returned.
    `returned` records where and which threads did. `partly` are the lanes that have set a variable, where others that
    are still alive have not: on a GPU those would read whatever the register held.
    """

    __slots__ = (
        "alive",
        "batch",
        "caller",
        "file",
        "function",
        "line",
        "loops",
        "mask",
        "partly",
        "result",
        "returned",
        "run",
        "variables",
    )

    def __init__(self, run: Run, function: str, file: str, mask: Mask, caller: Frame | None) -> None:
        self.run = run
        self.batch = run.batch
        self.function = function
        self.file = file
        self.mask = mask
        self.alive = mask.count
        self.caller = caller
        self.line = 0
        self.variables: dict[str, Value] = {}
        self.partly: dict[str, Any] = {}
        self.loops: list[Loop] = []
        self.result: Value = MISSING
        self.returned: list[tuple[int, Mask]] = []

    def error(self, message: str, *, remedy: str | None = None, lane: int | None = None) -> EmulatorError:
        """The error with its place: the kernel, and the line of the function that is running."""
        where = f"kernel {self.run.kernel}, {Path(self.file).name}:{self.line}"
        if self.caller is not None:
            where += f" in {self.function}"
        if lane is not None:
            message += f", by {self.batch.name(lane)}"
        return EmulatorError(message, place=where, remedy=remedy)

    def gone(self) -> str:
        """Where threads have returned early, for messages about those that a barrier waits for."""
        lines = []
        frame: Frame | None = self
        while frame is not None:
            lines += [f"{Path(frame.file).name}:{line}" for line, _ in frame.returned]
            frame = frame.caller
        return f" (threads have returned at {', '.join(dict.fromkeys(lines))})" if lines else ""


class Loop:
    """The threads that left a loop by `break`, and those that skip the rest of this turn by `continue`."""

    __slots__ = ("broken", "continued")

    def __init__(self, none: Mask) -> None:
        self.broken = none
        self.continued = none


class _Missing:
    def __repr__(self) -> str:
        return "<nothing>"


MISSING = _Missing()

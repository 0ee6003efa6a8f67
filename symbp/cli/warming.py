"""Kernels compiled ahead of their first use: ``symbp compile --warm``."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.text import Text

import symbp
from symbp.check.warm import Warmed
from symbp.cli import show
from symbp.errors import TargetError

#: What the other process runs. It finds symbp where this one has it, and the package before anything else.
_SCRIPT = "import sys; sys.path.append(sys.argv[2]); from symbp.check.warm import main; main(sys.argv[1])"


def warm_package(package: Path) -> tuple[Warmed, ...]:
    """Compile the kernels of a package in a process of its own, which imports it as its users will.

    Raises TargetError where they do not compile.
    """
    root = Path(str(symbp.__file__)).resolve().parents[1]
    command = [sys.executable, "-c", _SCRIPT, str(package.resolve()), str(root)]
    steps: list[Warmed] = []
    with (
        show.aside().status("compiling the kernels to machine code") as status,
        tempfile.TemporaryFile("w+", encoding="utf-8") as said,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said, text=True) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            steps.append(Warmed(**json.loads(line)))
            status.update(f"compiling the kernels to machine code: {steps[-1].name} is done")
        if process.wait():
            said.seek(0)
            reason = [line for line in said.read().splitlines() if line.strip()][-1:] or ["no reason given"]
            raise TargetError(f"the kernels of '{package.name}' cannot be compiled: {reason[0]}")
    return tuple(steps)


def records(steps: Sequence[Warmed]) -> dict[str, Any]:
    """For ``--json``."""
    return {"warmed": [{name: getattr(step, name) for name in Warmed.__slots__} for step in steps]}


def print_steps(package: Path, steps: Sequence[Warmed]) -> None:
    """A line for each step, and what all of them come to."""
    out = show.people()
    rows = [
        [Text(f"  {s.name}", style="bold"), Text(f"{s.seconds:>7.2f} s"), Text(_found(s), style="dim")]
        for s in steps
        if s.compiled or s.loaded
    ]
    compiled, loaded = sum(s.compiled for s in steps), sum(s.loaded for s in steps)
    seconds = sum(s.seconds for s in steps)
    out.print()
    out.print(Text.assemble(("warmed ", "green"), f"{compiled} functions compiled, {loaded} read, {seconds:.1f} s"))
    out.print(show.table(["", "", ""], rows))
    out.print(Text(f"for `import {package.name}` with {package.parent} on the path", style="dim"))


def _found(step: Warmed) -> str:
    return ", ".join(f"{n} {what}" for n, what in ((step.compiled, "compiled"), (step.loaded, "read")) if n)

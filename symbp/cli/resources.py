"""The table of what CUDA kernels take of a device, for ``symbp compile --resources``."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.text import Text

from symbp.check.launches import kernels_of, runtime_of
from symbp.check.resources import ARCHITECTURES, Resources, measure, refuse_spills
from symbp.cli import show
from symbp.errors import TargetError
from symbp.pipeline import load_generated

#: The architecture whose instructions the table counts.
COUNTED = "sm_90"
_KINDS = ("total", "multiply-add", "matrix", "load", "store", "shared", "shuffle", "barrier", "atomic")


def resources_of(package: Path) -> tuple[Resources, ...]:
    """What the kernels of a package with target cuda take. Raises TargetError where one spills."""
    net = load_generated(package)
    if (package / "cuda.py").is_file():  # target cpu,cuda
        net = importlib.import_module(f"{net.__name__}.cuda")
    compiler = importlib.import_module(f"{runtime_of(net)}.compile")
    # The package carries a copy of its own of the runtime, and with it of what that raises.
    errors = importlib.import_module(compiler.DeviceError.__module__)
    try:
        found = measure(kernels_of(net), compiler.to_ptx, counted=[COUNTED])
    except errors.SymbpError as problem:
        raise TargetError(problem.message, place=problem.place, remedy=problem.remedy) from None
    refuse_spills(found)
    return found


def records(found: Sequence[Resources]) -> list[dict[str, Any]]:
    """For ``--json``."""
    names = ("kernel", "architecture", "registers", "shared", "barriers", "stack", "spill_stores", "spill_loads")
    return [
        {
            **{name: getattr(one, name) for name in names},
            **({one.counted_in: dict(one.instructions)} if one.instructions else {}),
        }
        for one in found
    ]


def print_resources(found: Sequence[Resources]) -> None:
    """A line for each kernel."""
    by_kernel: dict[str, dict[str, Resources]] = {}
    for one in found:
        by_kernel.setdefault(one.kernel, {})[one.architecture] = one
    kinds = [k for k in _KINDS if any(b[COUNTED].instructions[k] for b in by_kernel.values())]
    rows = []
    for name, by_architecture in by_kernel.items():
        counted = by_architecture[COUNTED]
        numbers = [by_architecture[a].registers for a in ARCHITECTURES]
        numbers += [counted.shared, *(counted.instructions[kind] for kind in kinds)]
        rows.append([Text(name, style="bold"), *(Text(f"{n:,}" if n else "") for n in numbers)])
    out = show.people()
    language = next(one.counted_in for one in found if one.instructions)
    out.print()
    out.print(
        f"Registers of a thread on {', '.join(ARCHITECTURES)}; bytes of shared memory of a block; instructions in the "
        f"text ({language}, {COUNTED}), in total and by kind:"
    )
    heads = ("", *(a.removeprefix("sm_") for a in ARCHITECTURES), "shared", *kinds)
    out.print(show.table(heads, rows))
    out.print(Text("no kernel spills or uses local memory", style="green"))

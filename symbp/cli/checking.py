"""Gradients checked: the table that `check` prints."""

from __future__ import annotations

import importlib
import inspect
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from rich.text import Text

from symbp.check import Comparison, GradientReport, check_gradients, emulator
from symbp.check.launches import runtime_of
from symbp.cli import show
from symbp.errors import DeviceError
from symbp.frontend.model import Model
from symbp.pipeline import compile_model, derive_model, load_generated


def module_gradients(net: ModuleType, feed: Mapping[str, Any]) -> tuple[Any, Mapping[str, Any]]:
    """Loss and gradients of a generated module at arrays by name, parameters among them."""
    params = net.init()
    for name in params:
        params[name] = feed[name]
    inputs = [name for name in inspect.signature(net.loss_and_grad).parameters if name != "params"]
    value, gradients = net.loss_and_grad(params, *(feed[name] for name in inputs))
    return value, gradients.to_host() if hasattr(gradients, "to_host") else gradients


@contextmanager
def device_for(net: ModuleType) -> Iterator[str]:
    """Within this a CUDA module has the GPU, or the emulator where there is none; what a report says about it."""
    devices = importlib.import_module(f"{runtime_of(net)}.device")
    try:
        note = f"the kernels ran on {devices.current_device().name}"
    except DeviceError as problem:
        with emulator.emulated(net):
            yield f"the kernels ran on the emulator: {problem.message}"
    else:
        yield note


def check_module(model: Model, dtype: str, seed: int, net: ModuleType) -> GradientReport:
    """Check the equations of a model and a module that was compiled from it."""
    return check_gradients(derive_model(model), {dtype: partial(module_gradients, net)}, seed=seed)


def check_model(
    model: Model, dtypes: Sequence[str], seed: int, target: str = "cpu"
) -> tuple[GradientReport, str | None]:
    """Check the equations of a model and its modules, one for each dtype, which are compiled for the purpose.

    With the report comes what there is to say of the device.
    """
    derivation = derive_model(model)
    with tempfile.TemporaryDirectory(prefix="symbp-check-") as folder:
        modules = {
            dtype: load_generated(
                compile_model(model, Path(folder) / dtype, target=target, dtype=dtype, standalone=False)
            )
            for dtype in dtypes
        }
        gradients = {d: partial(module_gradients, n) for d, n in modules.items()}
        if target != "cuda":
            return check_gradients(derivation, gradients, seed=seed), None
        with device_for(modules[dtypes[0]]) as note:  # all of them use the installed runtime, and so one device
            return check_gradients(derivation, gradients, seed=seed), note


def report_check(model: Model, dtypes: Sequence[str], seed: int, as_json: bool, target: str = "cpu") -> bool:
    """Print the report; True if every gradient passed."""
    with nullcontext() if as_json else show.aside().status("compiling the module and checking it"):
        report, note = check_model(model, dtypes, seed, target)
    if as_json:
        show.print_json(
            {
                "model": report.program,
                "target": target,
                "note": note,
                "passed": report.passed,
                "sizes": [dict(trial) for trial in report.sizes],
                "gradients": [
                    {
                        "name": row.name,
                        "passed": row.passed,
                        "largest": row.largest,
                        "methods": {
                            c.method: {"error": c.error, "limit": c.tolerance, "note": c.note} for c in row.comparisons
                        },
                    }
                    for row in report.rows
                ],
            }
        )
        return report.passed
    print_check(report)
    if note:
        show.people().print(Text(note, style="dim"))
    return report.passed


def print_check(report: GradientReport) -> None:
    out = show.people()
    rows = []
    for row in report.rows:
        by_method = {c.method: c for c in row.comparisons}
        rows.append([Text(row.name, style="bold"), *(_cell(by_method.get(m)) for m in report.methods)])
    out.print("Largest relative error of each gradient, by method:")
    out.print(show.table(["", *report.methods], rows))
    verdict = ("every gradient agrees", "bold green") if report.passed else ("a gradient DISAGREES", "bold red")
    trials = "; ".join(", ".join(f"{name} = {value}" for name, value in trial) for trial in report.sizes if trial)
    out.print(Text.assemble(verdict, (f"   tried with {trials}" if trials else "", "dim")))


def _cell(comparison: Comparison | None) -> Text:
    if comparison is None:
        return Text("")
    if comparison.error is None:
        return Text(comparison.note or "does not apply", style="dim")
    return Text(f"{comparison.error:.1e}", style="green" if comparison.passed else "bold red")

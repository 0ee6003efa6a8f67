"""Packages and reports: what `compile` and `derive` give."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from rich.text import Text

from symbp.check.resources import Resources
from symbp.cli import resources, show
from symbp.errors import FileError
from symbp.explain import html, latex, records, text
from symbp.frontend.model import Model
from symbp.ir import Derivation, Program
from symbp.pipeline import load_generated

_FORMATS = {".tex": "latex", ".html": "html", ".htm": "html"}


def format_of(path: Path | None) -> str:
    """The format that a file's ending asks for."""
    return _FORMATS.get(path.suffix.lower(), "text") if path else "text"


def report_package(
    package: Path,
    model: Model,
    dtype: str,
    seconds: float,
    as_json: bool,
    taken: Sequence[Resources] = (),
    further: Mapping[str, Any] | None = None,
) -> None:
    """Say what was written; `taken` is what its CUDA kernels take of a device, where that was asked for.

    `further` is what else goes into the object for machines.
    """
    net = load_generated(package)
    count = int(net.PARAMETERS.size)
    if as_json:
        show.print_json(
            {
                "package": package,
                "model": model.name,
                "dtype": dtype,
                "parameters": count,
                "spec_hash": net.SPEC_HASH,
                "files": sorted(p.relative_to(package).as_posix() for p in package.rglob("*.py")),
                "seconds": round(seconds, 3),
                **({"resources": resources.records(taken)} if taken else {}),
                **(further or {}),
            }
        )
        return
    out = show.people()
    out.print(Text.assemble(("written ", "green"), (str(package), "bold"), f"   {seconds:.2f} s"))
    lines = sum(len(p.read_text(encoding="utf-8").splitlines()) for p in package.glob("*.py"))
    names = "kernels.py and __init__.py" if len(list(package.glob("*.py"))) == 2 else "its .py files"
    out.print(f"{count:,} parameters, {dtype}, {lines} lines of your model in {names}")
    out.print()
    out.print(Text(f"    import {package.name} as net\n    params = net.init(seed=0)", style="dim"))
    if taken:
        resources.print_resources(taken)


def render(derivation: Derivation, model: Model, wrt: Sequence[str] | None, form: str, standalone: bool = False) -> str:
    """The report in one of the formats. With `wrt` it keeps to what was asked for: no other forms of the model."""
    update, declared = _context(model, wrt)
    if form == "latex":
        return latex(derivation, update, wrt=wrt, declared=declared, standalone=standalone)
    return (html if form == "html" else text)(derivation, update, wrt=wrt, declared=declared)


def _context(model: Model, wrt: Sequence[str] | None) -> tuple[Program | None, Program | None]:
    return (None, None) if wrt else (model.update(), model.program())


def report_equations(
    derivation: Derivation,
    model: Model,
    wrt: Sequence[str] | None,
    form: str,
    standalone: bool,
    path: Path | None,
    as_json: bool,
) -> None:
    report = render(derivation, model, wrt, form, standalone)
    if path is not None:
        write_file(path, report)
    if as_json:
        update, declared = _context(model, wrt)
        show.print_json(
            {
                "model": derivation.program.name,
                "loss": derivation.program.loss,
                "gradients": {name: bar for name, bar in derivation.gradients if not wrt or name in wrt},
                "equations": records(derivation, update, wrt=wrt, declared=declared),
                "file": str(path) if path else None,
            }
        )
    elif path is not None:
        show.people().print(Text.assemble(("written ", "green"), (str(path), "bold")))
    elif form == "text":
        show.people().print(show.equations(report), end="")
    else:
        print(report, end="")


def write_file(path: Path, content: str) -> None:
    """Write a report, whole or not at all. Raises FileError where that cannot be done; what was there then stays."""
    device = path.exists() and not path.is_file()  # /dev/stdout, which is a link as well
    if path.is_symlink() and not device:
        raise FileError(f"'{path}' is a symbolic link, expected a file", remedy="name the file that it points to")
    beside = path if device else path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(content, encoding="utf-8")
        if not device:
            os.replace(beside, path)
    except OSError as problem:
        raise FileError(f"'{path}' cannot be written: {problem.strerror or problem}") from None
    finally:
        if not device:
            with suppress(OSError):
                beside.unlink()

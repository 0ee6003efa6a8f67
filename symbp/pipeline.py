"""From a model to a package on disk: the stages one after the other. Only here do they meet."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

from symbp.codegen import emit, find_target
from symbp.derive import (
    differentiate,
    expand_derivatives,
    name_calls,
    simplify,
    simplify_primal,
    stabilise,
)
from symbp.errors import FileError, SpecError, TargetError, did_you_mean
from symbp.explain import text as explain_text
from symbp.frontend.model import Model
from symbp.ir import Derivation, Program, program_text, verify
from symbp.ir.plan import Plan
from symbp.schedule import make_plan
from symbp.version import __version__

DTYPES = ("float32", "float64")
MARK = "symbp-package"  # a file in every package that we wrote, so that nothing else is ever overwritten


@dataclass(frozen=True)
class Compilation:
    """Everything that compiling a model gives before it is written: what people inspect and what is emitted."""

    program: Program
    derivation: Derivation | None
    predict: Program | None
    update: Program | None
    plan: Plan


def prepare(program: Program) -> Program:
    """The primal equations as they are differentiated: derivatives expanded, stable forms, calls named."""
    program = verify(program, "the front end")  #                     Program
    program = verify(expand_derivatives(program), "expand_derivatives")  #  ──▶ Program  (u_x, u_xx: forward mode)
    program = verify(stabilise(program), "stabilise")  #              ──▶ Program  (log-softmax, softplus, ..)
    return verify(name_calls(program), "name_calls")  #               ──▶ Program  (the deltas of the textbooks)


def derive_model(model: Model | Program) -> Derivation:
    """The equations of the loss and of its derivative with respect to every parameter, in textbook form."""
    program = model.program() if isinstance(model, Model) else model
    if not program.loss:
        raise SpecError(f"model '{program.name}' has no loss to differentiate", remedy="declare one: model.loss(...)")
    derivation = differentiate(prepare(program))  #                   Program ──▶ Derivation  (the one rule)
    verify(derivation.program, "differentiate")
    derivation = simplify(derivation)  #                              Derivation ──▶ Derivation
    verify(derivation.program, "simplify")
    return derivation


def compile_to_plan(model: Model) -> Compilation:
    """Derive and schedule a model; nothing is written."""
    program = model.program()
    derivation = derive_model(program) if program.loss else None
    predict = None
    if program.outputs:
        wanted = replace(program.keep_live(program.outputs), loss="")
        predict = verify(simplify_primal(prepare(wanted)), "simplify_primal")
    update = model.update() if derivation is not None else None
    plan = make_plan(derivation, predict, update)  #                  Derivation ──▶ Plan
    return Compilation(program, derivation, predict, update, plan)


def emit_model(model: Model, *, target: str = "cpu", dtype: str = "float32", standalone: bool = True) -> dict[str, str]:
    """The files of the package, path to text.

    With ``standalone=False`` it uses the installed symbp's runtime, whose machine code all such packages share.
    """
    if dtype not in DTYPES:
        raise TargetError(f"unknown dtype '{dtype}'", remedy=did_you_mean(dtype, DTYPES))
    chosen = find_target(target)
    made = compile_to_plan(model)
    equations = explain_text(made.derivation, made.update) if made.derivation else program_text(made.program)
    return emit(  #                                                   Plan ──▶ files
        made.plan,
        chosen,
        dtype=dtype,
        spec_hash=spec_hash(made, dtype),
        equations=equations.replace("\\", "\\\\").strip(),
        standalone=standalone,
    )


def compile_model(
    model: Model,
    directory: str | os.PathLike[str],
    *,
    target: str = "cpu",
    dtype: str = "float32",
    standalone: bool = True,
) -> Path:
    """Write the package of `model` to `directory`/<model name> and return its path.

    The package replaces an older one at once; a folder that symbp did not write is never touched.
    Raises SpecError, ShapeError or DerivativeError for the model, TargetError for the target, FileError for the folder.
    """
    files = emit_model(model, target=target, dtype=dtype, standalone=standalone)
    return write_package(files, Path(directory) / model.name)


def spec_hash(made: Compilation, dtype: str) -> str:
    """SHA-256 of the equations, the dtype and the version: equal models have equal packages and can share weights."""
    content = [__version__, dtype, program_text(made.program)]
    content += [f"{p.name} {p.initializer}" for p in made.plan.parameters]
    if made.update is not None:
        content += [program_text(made.update), *(f"{t.name} {t.default}" for t in made.plan.hyper)]
    return hashlib.sha256("\n".join(content).encode()).hexdigest()


def write_package(files: dict[str, str], target: Path) -> Path:
    """Write the files beside the target first and move them into place when they are whole."""
    if target.is_symlink():
        raise FileError(f"'{target}' is a symbolic link", remedy="name a real folder")
    if target.exists() and not (target / MARK).is_file() and (not target.is_dir() or any(target.iterdir())):
        raise FileError(
            f"'{target}' exists and was not written by symbp", remedy="choose another folder, or move it away"
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    except OSError as error:
        raise FileError(f"'{target.parent}' cannot be written: {error.strerror or error}") from None
    try:
        for name, text in files.items():
            path = fresh / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")
        (fresh / MARK).write_text(f"symbp {__version__}\n", encoding="utf-8")
        fresh.chmod(0o755)
        old = fresh.with_name(fresh.name + "-old")
        if target.exists():
            target.rename(old)
        try:
            fresh.rename(target)
        except OSError:
            if old.exists():
                old.rename(target)
            raise
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        shutil.rmtree(fresh, ignore_errors=True)
        raise FileError(
            f"'{target}' cannot be written: {error.strerror or error}", remedy="what was there before is untouched"
        ) from None
    return target


def load_generated(path: str | os.PathLike[str]) -> ModuleType:
    """Import a generated package from where it lies, under a name of its own."""
    folder = Path(path).resolve()
    source = folder / "__init__.py"
    if not source.is_file():
        raise FileError(f"'{folder}' is not a generated package: it has no __init__.py")
    name = f"{folder.name}_{hashlib.sha256(str(folder).encode() + source.read_bytes()).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, source, submodule_search_locations=[str(folder)])
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module

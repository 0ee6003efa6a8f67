"""From a model to a package on disk: the stages one after the other. Only here do they meet."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from symbp.codegen import Spec, Target, emit_for, find_targets
from symbp.derive import (
    differentiate,
    expand_derivatives,
    name_calls,
    simplify,
    simplify_primal,
    stabilise,
)
from symbp.errors import SpecError, TargetError, did_you_mean
from symbp.explain import schedule_records, schedule_text
from symbp.explain import text as explain_text
from symbp.frontend.model import Model
from symbp.ir import Derivation, Program, program_text, verify
from symbp.ir.account import Account
from symbp.ir.plan import Machine, Plan
from symbp.ir.trace import PassRecord, part_of_work, tell_rewrite, tracing
from symbp.package import MARK, load_generated, write_package
from symbp.schedule import account, make_plan
from symbp.version import __version__

DTYPES = ("float32", "float64")


@dataclass(frozen=True)
class Compilation:
    """Everything that compiling a model gives before it is written: what people inspect and what is emitted."""

    program: Program
    derivation: Derivation | None
    predict: Program | None
    update: Program | None
    plan: Plan


#: Program ──▶ Program. What is done to the equations before they are differentiated, in this order:
PRIMAL_PASSES: tuple[Callable[[Program], Program], ...] = (
    expand_derivatives,  # u_x, u_xx: derivatives inside the model become equations like any other
    stabilise,  # log-softmax, softplus: on the primal, so that the adjoint is stable for free
    name_calls,  # every nonlinear call has a name and reads plain elements: the deltas of the textbooks
)


def prepare(program: Program) -> Program:
    """The primal equations as they are differentiated; verified before and after every pass."""
    verify(program, "the front end")
    for transform in PRIMAL_PASSES:
        program = tell_rewrite(transform.__name__, program, verify(transform(program), transform.__name__))
    return program


def derive_model(model: Model | Program) -> Derivation:
    """The equations of the loss and of its derivative with respect to every parameter, in textbook form.

    Model ──▶ Program ──prepare──▶ Program ──differentiate──▶ Derivation ──simplify──▶ Derivation
    """
    program = model.program() if isinstance(model, Model) else model
    if not program.loss:
        raise SpecError(f"model '{program.name}' has no loss to differentiate", remedy="declare one: model.loss(...)")
    primal = prepare(program)
    raw = differentiate(primal)
    tell_rewrite("differentiate", primal, verify(raw.program, "differentiate"))
    derivation = simplify(raw)
    tell_rewrite("simplify", raw.program, verify(derivation.program, "simplify"))
    return derivation


def compile_to_plan(
    model: Model, *, exact: bool = False, machine: Machine = Machine.LOOPS, chunk: int | None = None
) -> Compilation:
    """Derive and schedule a model for a kind of machine; nothing is written.

    Model ──▶ Program ──derive_model──▶ Derivation ──make_plan──▶ Plan
    """
    program = model.program()
    with part_of_work("training"):
        derivation = derive_model(program) if program.loss else None
    predict = None
    if program.outputs:
        with part_of_work("predict"):
            wanted = prepare(replace(program.keep_live(program.outputs), loss=""))
            predict = verify(simplify_primal(wanted), "simplify_primal")
            tell_rewrite("simplify_primal", wanted, predict)
    update = model.update() if derivation is not None else None
    plan = make_plan(derivation, predict, update, exact=exact, machine=machine, chunk=chunk)
    return Compilation(program, derivation, predict, update, plan)


def plan_again(made: Compilation, *, exact: bool = False, machine: Machine, chunk: int | None = None) -> Plan:
    """The plan of the same equations for another kind of machine."""
    return make_plan(made.derivation, made.predict, made.update, exact=exact, machine=machine, chunk=chunk)


def emit_model(
    model: Model,
    *,
    target: str = "cpu",
    dtype: str = "float32",
    standalone: bool = True,
    exact: bool = False,
    atomics: bool = False,
    chunk: int | None = None,
) -> dict[str, str]:
    """The files of the package, path to text: Model ──compile_to_plan──▶ Plan ──emit──▶ files.

    `target` is one target or a list, ``cpu,cuda``: one package then has both, and they share files of weights. With
    ``standalone=False`` it uses the installed symbp's runtime, whose machine code all such packages share. With
    ``exact=True`` derivatives of sigmoid and tanh keep their digits where these saturate (see `schedule.exact`), and on
    the CPU elementary functions are the C library's, one at a time (see `runtime.exact_scalar`). With
    ``atomics=True`` CUDA kernels whose points meet in one element (the gradient of an embedding) add as they come: two
    launches fewer, and last digits that differ from run to run.

    On the CPU a batch is worked through in chunks of ``chunk`` samples, which threads share; None chooses their number
    (no chunks for a model so small that they would not pay), 0 takes the batch as a whole.
    """
    if dtype not in DTYPES:
        raise TargetError(f"unknown dtype '{dtype}'", remedy=did_you_mean(dtype, DTYPES))
    first, *others = (t.exactly() if exact else t for t in find_targets(target))
    machines = _machines((first, *others), atomics)
    if chunk is not None and chunk < 0:
        raise TargetError(f"chunk: expected a number of samples, or 0 for no chunks, found {chunk}")
    made = compile_to_plan(model, exact=exact, machine=machines[first.name], chunk=chunk)
    planned = [(first, made.plan)]
    planned += [(other, plan_again(made, exact=exact, machine=machines[other.name], chunk=chunk)) for other in others]
    equations = explain_text(made.derivation, made.update) if made.derivation else program_text(made.program)
    spec = Spec(dtype, spec_hash(made, dtype), equations.replace("\\", "\\\\").strip())
    return emit_for(planned, spec, standalone=standalone)


def _machines(targets: Sequence[Target], atomics: bool) -> dict[str, Machine]:
    """What the scheduler plans for, by target."""
    if atomics and not any(t.machine.in_teams for t in targets):
        found = ",".join(t.name for t in targets)
        raise TargetError(f"atomics are of use on the GPU alone, found target '{found}'", remedy="add target cuda")
    return {t.name: Machine.ATOMICS if atomics and t.machine.in_teams else t.machine for t in targets}


@dataclass(frozen=True)
class Schedule:
    """The schedule of a model for one target: the passes that made it, and what it does and costs."""

    target: str
    dtype: str
    passes: tuple[PassRecord, ...]
    account: Account

    def text(self, sizes: Mapping[str, int]) -> str:
        """For people; numbers are for `sizes`, by name."""
        return schedule_text(self.account, self.passes, sizes, self.target, self.dtype)

    def records(self, sizes: Mapping[str, int]) -> dict[str, Any]:
        """For programs."""
        return schedule_records(self.account, self.passes, sizes, self.target)


def schedule_model(
    model: Model,
    *,
    target: str = "cpu",
    dtype: str = "float32",
    exact: bool = False,
    atomics: bool = False,
    chunk: int | None = None,
) -> tuple[Schedule, ...]:
    """How a model would be compiled, for each target. Nothing is written."""
    found = []
    targets = find_targets(target)
    for one, machine in zip(targets, _machines(targets, atomics).values(), strict=True):
        with tracing() as trace:
            plan = compile_to_plan(model, exact=exact, machine=machine, chunk=chunk).plan
        found.append(Schedule(one.name, dtype, tuple(trace.records), account(plan, 8 if dtype == "float64" else 4)))
    return tuple(found)


def compile_model(
    model: Model,
    directory: str | os.PathLike[str],
    *,
    target: str = "cpu",
    dtype: str = "float32",
    standalone: bool = True,
    exact: bool = False,
    atomics: bool = False,
    chunk: int | None = None,
) -> Path:
    """Write the package of `model` to `directory`/<model name> and return its path.

    `target` is ``cpu`` or ``cuda``, or ``cpu,cuda`` for both: ``digits`` for the CPU and ``digits.cuda`` in it.
    The package replaces an older one at once; a folder that symbp did not write is never touched.
    Raises SpecError, ShapeError or DerivativeError for the model, TargetError for the target, FileError for the folder.
    """
    files = emit_model(
        model, target=target, dtype=dtype, standalone=standalone, exact=exact, atomics=atomics, chunk=chunk
    )
    return write_package(files, Path(directory) / model.name)


def spec_hash(made: Compilation, dtype: str) -> str:
    """SHA-256 of the equations, the dtype and the version: equal models have equal packages and can share weights."""
    content = [__version__, dtype, program_text(made.program)]
    content += [f"{p.name} {p.initializer}" for p in made.plan.parameters]
    if made.update is not None:
        content += [program_text(made.update), *(f"{t.name} {t.default}" for t in made.plan.hyper)]
    return hashlib.sha256("\n".join(content).encode()).hexdigest()


__all__ = [
    "DTYPES",
    "MARK",
    "Compilation",
    "Schedule",
    "compile_model",
    "compile_to_plan",
    "derive_model",
    "emit_model",
    "load_generated",
    "prepare",
    "schedule_model",
    "write_package",
]

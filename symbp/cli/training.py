"""Training from the command line: compile, fit, measure."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import os
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from symbp.check.launches import runtime_of
from symbp.cli import show
from symbp.cli.data import Samples, load_samples, split_samples, standardise
from symbp.errors import FileError, SpecError
from symbp.frontend.model import Model
from symbp.frontend.optimizers import Adam
from symbp.ir import DType, Program, Role
from symbp.pipeline import MARK, emit_model, load_generated, write_package


@dataclass(frozen=True)
class Settings:
    """What the options of `train` say."""

    epochs: int
    batch: int
    learning_rate: float | None
    test_fraction: float
    standardise: bool | None
    dtype: str
    seed: int
    target: str = "cpu"


@dataclass(frozen=True)
class Outcome:
    """A trained model and how well it does; `accuracy` is None where the label is not a class."""

    net: ModuleType
    params: Any
    log: Any
    loss: float
    accuracy: float | None
    seconds: float


def report_training(model: Model, source: str, settings: Settings, output: Path | None, as_json: bool) -> None:
    program = model.program()
    if not program.loss:
        raise SpecError(f"model '{model.name}' has no loss to train with", remedy="declare one: model.loss(...)")
    train, test = prepare_samples(program, source, settings)
    if model.update() is None:
        model.optimizer(Adam())
        show.aside().print("the spec names no optimizer: Adam is taken", style="dim")
    if not as_json:
        words = f"{source}: {train.count:,} samples to train with, {test.count:,} held out"
        show.people().print(Text(words, style="dim"))
    net = compiled(model, settings.dtype, settings.target)
    require_device(net, settings.target)
    outcome = fit(net, program, train, test, settings, quiet=as_json)
    if output is not None:
        outcome.net.save(outcome.params, output)
    _print_outcome(outcome, test, output, as_json)


def prepare_samples(program: Program, source: str, settings: Settings) -> tuple[Samples, Samples]:
    samples = load_samples(source, program.with_role(Role.INPUT), settings.dtype)
    train, test = split_samples(samples, settings.test_fraction, settings.seed)
    wanted = source.startswith("sklearn:") if settings.standardise is None else settings.standardise
    return standardise(train, test) if wanted else (train, test)


def require_device(net: ModuleType, target: str) -> None:
    """Raise DeviceError before any data are prepared where the target's device is not there."""
    if target == "cuda":
        importlib.import_module(f"{runtime_of(net)}.device").current_device()


def compiled(model: Model, dtype: str, target: str = "cpu") -> ModuleType:
    """The model's package, kept in the user's cache: the second run of a spec finds its machine code there."""
    files = emit_model(model, target=target, dtype=dtype, standalone=False)
    key = hashlib.sha256("\0".join(part for name in sorted(files) for part in (name, files[name])).encode())
    package = _cache_folder() / key.hexdigest()[:16] / model.name
    if not (package / MARK).is_file():
        try:
            write_package(files, package)
        except FileError:
            package = write_package(files, Path(tempfile.mkdtemp(prefix="symbp-")) / model.name)
    return load_generated(package)


def _cache_folder() -> Path:
    named = os.environ.get("XDG_CACHE_HOME")
    return (Path(named) if named else Path.home() / ".cache") / "symbp"


def fit(
    net: ModuleType, program: Program, train: Samples, test: Samples, settings: Settings, *, quiet: bool = False
) -> Outcome:
    """Train a module from fresh parameters; a bar shows how far it is and how well the held-out part is met."""
    params = net.init(seed=settings.seed)
    rate = {} if settings.learning_rate is None else {"learning_rate": settings.learning_rate}
    state = net.optimizer_state(params, **rate)
    inputs = [name for name in inspect.signature(net.loss_and_grad).parameters if name != "params"]
    measured = test if test.count else train
    arrays = [train.arrays[name] for name in inputs]
    probe = [measured.arrays[name] for name in inputs]
    options: dict[str, Any] = {"epochs": settings.epochs, "seed": settings.seed, "progress": False}
    if "batch" in inspect.signature(net.fit).parameters:
        options["batch"] = settings.batch

    def measure() -> tuple[float, float | None]:
        return float(net.loss(params, *probe)), accuracy(net, program, params, measured)

    with show.aside().status("compiling to machine code") if not quiet else nullcontext():
        # On copies: what follows is then timed, and told, as training alone.
        few = [array[: settings.batch] for array in arrays]
        first = net.fit(params.copy(), state.copy(), *few, validation=measure, **{**options, "epochs": 1})
    if first.interrupted:
        raise KeyboardInterrupt
    began = time.perf_counter()
    with _bar(quiet) as progress:
        task = progress.add_task("training", total=settings.epochs, measured="")

        def epoch_done() -> tuple[float, float | None]:
            found = measure()
            shown = f"loss {found[0]:.4g}" + (f"   accuracy {found[1]:.1%}" if found[1] is not None else "")
            progress.update(task, advance=1, measured=shown)
            return found

        log = net.fit(params, state, *arrays, validation=epoch_done, **options)
    seconds = time.perf_counter() - began
    loss, right = log.validation[-1] if log.validation else measure()
    return Outcome(net, params, log, loss, right, seconds)


def pace(outcome: Outcome) -> str:
    """How many steps, and how long one of them took."""
    steps, seconds = outcome.log.steps, sum(outcome.log.seconds)
    each = f", {1e6 * seconds / steps:,.0f} µs each" if steps else ""
    return f"{steps:,} steps in {seconds:.2f} s{each}"


def _bar(quiet: bool) -> Progress:
    return Progress(
        TextColumn("{task.description:<9}"),
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        TextColumn("{task.fields[measured]}"),
        TimeElapsedColumn(),
        console=show.aside(),
        disable=quiet,
    )


def accuracy(net: ModuleType, program: Program, params: Any, samples: Samples) -> float | None:
    """The share of samples whose largest output is their class; None if the model does not tell classes."""
    classify = classifier(net, program)
    if classify is None:
        return None
    label = next(t for t in program.with_role(Role.INPUT) if t.dtype is DType.INT and t.rank == 1)
    return float(np.mean(classify(params, samples) == samples.arrays[label.name]))


def classifier(net: ModuleType, program: Program) -> Callable[[Any, Samples], Any] | None:
    """A function from samples to classes, if the first output has one column for each value of the label."""
    labels = [t for t in program.with_role(Role.INPUT) if t.dtype is DType.INT and t.rank == 1]
    outputs = [program.tensor(name) for name in program.outputs]
    if len(labels) != 1 or not outputs or outputs[0].rank != 2 or outputs[0].shape[1] != labels[0].below:
        return None
    inputs = [name for name in inspect.signature(net.predict).parameters if name != "params"]

    def classify(params: Any, samples: Samples) -> Any:
        found = net.predict(params, *(samples.arrays[name] for name in inputs))
        return np.argmax(found[0] if isinstance(found, tuple) else found, axis=1)

    return classify


def _print_outcome(outcome: Outcome, test: Samples, output: Path | None, as_json: bool) -> None:
    part = "test" if test.count else "training"
    if as_json:
        show.print_json(
            {
                "measured_on": part,
                "loss": outcome.loss,
                "accuracy": outcome.accuracy,
                "training_loss": list(outcome.log.loss),
                "steps": outcome.log.steps,
                "interrupted": outcome.log.interrupted,
                "seconds": round(outcome.seconds, 3),
                "weights": str(output) if output else None,
            }
        )
        return
    out = show.people()
    if outcome.log.interrupted:
        out.print(Text("interrupted; the weights are those of the last whole step", style="yellow"))
    if outcome.accuracy is not None:
        out.print(Text.assemble("accuracy ", (f"{outcome.accuracy:.2%}", "bold green"), f" on the {part} part"))
    out.print(f"loss {outcome.loss:.5g} on the {part} part; {pace(outcome)}")
    if output is not None:
        out.print(Text.assemble(("written ", "green"), (str(output), "bold")))

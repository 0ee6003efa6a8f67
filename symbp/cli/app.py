"""The commands and their options."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from symbp.check.resources import Resources
from symbp.check.warm import Warmed
from symbp.cli import checking, demonstration, scheduling, show, training, warming, writing
from symbp.cli.resources import resources_of
from symbp.errors import SpecError, SymbpError, TargetError, did_you_mean
from symbp.frontend.spec_file import load_model
from symbp.pipeline import DTYPES, Schedule, compile_model, derive_model, load_generated, schedule_model
from symbp.version import __version__


class Dtype(StrEnum):
    float32 = "float32"
    float64 = "float64"


class Format(StrEnum):
    text = "text"
    latex = "latex"
    html = "html"


app = typer.Typer(
    name="symbp",
    add_completion=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Models written as equations: their [b]derivatives[/b] to read, their [b]kernels[/b] to import.\n\n"
    "A SPEC is a file: [cyan]model.toml[/cyan], [cyan]model.py[/cyan], or [cyan]model.py:name[/cyan] where the file "
    "has several models.",
    epilog="Start with [b]symbp demo[/b]. Each command has its own help: [b]symbp train --help[/b].",
)

Spec = Annotated[str, typer.Argument(metavar="SPEC", help="model.toml, model.py or model.py:name", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object, for machines.")]
DtypeOption = Annotated[Dtype, typer.Option("--dtype", help="What the kernels compute in.")]
Target = Annotated[str, typer.Option("--target", metavar="TARGET", help="cpu or cuda.")]
Seed = Annotated[int, typer.Option("--seed", metavar="N", min=0, help="The same seed gives the same numbers.")]


@app.callback(invoke_without_command=True)
def start(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        print(f"symbp {__version__}")
    elif context.invoked_subcommand is None:
        print(context.get_help())


@app.command("compile")
def compile_command(
    spec: Spec,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="Where the package goes: DIR/<name of the model>.")
    ] = Path(),
    target: Annotated[
        str,
        typer.Option("--target", metavar="TARGET", help="cpu, cuda, or cpu,cuda: both in one package."),
    ] = "cpu",
    dtype: DtypeOption = Dtype.float32,
    exact: Annotated[
        bool,
        typer.Option("--exact", help="Functions by the C library, and derivatives that keep every digit; slower."),
    ] = False,
    atomics: Annotated[
        bool,
        typer.Option(
            "--atomics",
            help="CUDA: add where threads meet as they come; faster, and the last digits differ from run to run.",
        ),
    ] = False,
    chunk: Annotated[
        int | None,
        typer.Option("--chunk", min=0, help="CPU: how many samples are worked through at a time; 0 for all at once."),
    ] = None,
    resources: Annotated[
        bool,
        typer.Option(
            "--resources",
            help="CUDA: registers, shared memory and instructions of each kernel, by ptxas; no GPU is needed.",
        ),
    ] = False,
    warm: Annotated[
        bool,
        typer.Option(
            "--warm",
            help="Compile the kernels now, into the cache that later processes read (beside them, or NUMBA_CACHE_DIR).",
        ),
    ] = False,
    explain_schedule: Annotated[
        bool,
        typer.Option(
            "--explain-schedule",
            help="What the scheduler did: its passes, the work in order with what it costs, and the memory it takes.",
        ),
    ] = False,
    sizes: Annotated[
        list[str] | None,
        typer.Option(
            "--sizes",
            metavar="NAME=N",
            help="Run-time sizes for the numbers of --explain-schedule: n_batch=128,n_time=64.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a model's kernels as a package of readable Python.

    A DIR whose own name is that of the model is the package itself: [b]-o out/digits[/b] and [b]-o out[/b] both \
write out/digits. A folder that symbp did not write is never touched.
    """
    began = time.perf_counter()
    if resources and "cuda" not in target:
        raise TargetError(
            f"--resources counts what CUDA kernels take, found target '{target}'", remedy="add --target cuda"
        )
    if sizes and not explain_schedule:
        raise SpecError("--sizes is of use with --explain-schedule alone", remedy="add --explain-schedule")
    model = load_model(spec)
    schedules: Sequence[Schedule] = ()
    if explain_schedule:
        schedules = schedule_model(model, target=target, dtype=dtype.value, exact=exact, atomics=atomics, chunk=chunk)
        known = scheduling.sizes_of(sizes or (), schedules)
        if not as_json:
            scheduling.print_schedules(schedules, known)
    folder = output.parent if output.name == model.name else output
    package = compile_model(model, folder, target=target, dtype=dtype.value, exact=exact, atomics=atomics, chunk=chunk)
    seconds = time.perf_counter() - began
    taken: Sequence[Resources] = ()
    if resources:
        with show.aside().status("compiling the kernels to machine code"):
            taken = resources_of(package)
    steps: Sequence[Warmed] = warming.warm_package(package) if warm else ()
    further = scheduling.records(schedules, known) if schedules else {}
    further |= warming.records(steps) if warm else {}
    writing.report_package(package, model, dtype.value, seconds, as_json, taken, further)
    if warm and not as_json:
        warming.print_steps(package, steps)


@app.command()
def derive(
    spec: Spec,
    wrt: Annotated[
        list[str] | None,
        typer.Option("--wrt", metavar="NAME", help="Only what this weight's gradient needs; may be given again."),
    ] = None,
    form: Annotated[
        Format | None,
        typer.Option("--format", help="Default: by the ending of FILE (.tex, .html), else text.", show_default=False),
    ] = None,
    standalone: Annotated[bool, typer.Option("--standalone", help="LaTeX: a whole document, not a fragment.")] = False,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write to FILE.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Show the equations and the derivative of the loss for every weight.

    [b]symbp derive model.toml -o model.html[/b] gives a page to read and print, \
[b]symbp derive model.toml --wrt W1 --format latex[/b] the lines for a paper.
    """
    model = load_model(spec)
    derivation = derive_model(model)
    chosen = form.value if form else writing.format_of(output)
    writing.report_equations(derivation, model, wrt or None, chosen, standalone, output, as_json)


@app.command()
def check(
    spec: Spec,
    dtype: Annotated[
        Dtype | None,
        typer.Option("--dtype", help="Compile the module in this type only. Default: in both.", show_default=False),
    ] = None,
    target: Target = "cpu",
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Check every gradient, by methods that know nothing of derivatives.

    The derived equations are compared with differences and, where the model is smooth, a complex step; the compiled \
module, in float64 and in float32, is compared with the equations. Exit status 1 if one of them disagrees.

    [b]--target cuda[/b] runs the CUDA kernels: on the GPU, or where there is none on an emulator, which runs their \
Python for every thread and also finds races, missing barriers and subscripts out of range.
    """
    one_target(target)
    model = load_model(spec)
    dtypes = (dtype.value,) if dtype is not None else DTYPES[::-1]
    if not checking.report_check(model, dtypes, seed, as_json, target):
        raise typer.Exit(1)


@app.command()
def train(
    spec: Spec,
    data: Annotated[
        str,
        typer.Option(
            "--data", metavar="DATA", help="FILE.npz, FILE.csv or sklearn:NAME; see above.", show_default=False
        ),
    ],
    epochs: Annotated[int, typer.Option("--epochs", metavar="N", min=1, help="Passes over the data.")] = 20,
    batch: Annotated[int, typer.Option("--batch", metavar="N", min=1, help="Samples in one step.")] = 32,
    learning_rate: Annotated[
        float | None,
        typer.Option("--learning-rate", metavar="RATE", help="Default: the spec's own.", show_default=False),
    ] = None,
    test_fraction: Annotated[
        float, typer.Option("--test-fraction", metavar="PART", min=0.0, max=0.9, help="Held out, to measure with.")
    ] = 0.2,
    standardise: Annotated[
        bool | None,
        typer.Option(
            "--standardise/--as-is",
            help="Features to mean 0 and deviation 1. Default: for sklearn: only.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="Save the weights (.safetensors).", show_default=False),
    ] = None,
    dtype: DtypeOption = Dtype.float32,
    target: Target = "cpu",
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Compile a model and train it on data.

    [b]FILE.npz[/b] holds one array for each input of the model, under its name; the first axis counts the samples.

    [b]FILE.csv[/b] has a header line, then a line for each sample. A column named like an input is that input; if \
none is named like the label, the last column is it. The other columns, in order, are the features. Labels may be words.

    [b]sklearn:NAME[/b] is digits, iris, wine, breast_cancer or diabetes, as scikit-learn ships them.
    """
    one_target(target)
    settings = training.Settings(epochs, batch, learning_rate, test_fraction, standardise, dtype.value, seed, target)
    training.report_training(load_model(spec), data, settings, output, as_json)


def one_target(target: str) -> None:
    """Refuse a list where one target runs. An unknown one is refused where it is looked up."""
    if "," in target:
        raise TargetError(f"one target runs at a time, found '{target}'", remedy="take --target cpu or --target cuda")


@app.command()
def demo(
    seed: Seed = 0,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="Where the package and the report go.")
    ] = Path(".demo"),
    as_json: Json = False,
) -> None:
    """Two minutes with symbp: equations, derivatives, a compiled module, training, digits."""
    demonstration.run(output, seed, as_json)


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 done, 1 a failed check or a defect of symbp, 2 something the user can mend."""
    given = sys.argv[1:] if arguments is None else arguments
    as_json = "--json" in given
    show.show_warnings_in_a_line()
    try:
        status = app(args=given, prog_name="symbp", standalone_mode=False)
        sys.exit(status if isinstance(status, int) else 0)
    except SymbpError as problem:
        show.print_error(problem, as_json)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # the reader of our output has gone (| head): there is no one to tell
        sys.stderr.close()
        sys.exit(0)
    except Exception as problem:
        if hasattr(problem, "format_message"):  # a wrong option or argument, as the parser words it
            show.print_error(_usage_error(problem), as_json)
            sys.exit(2)
        show.print_defect(problem)
        sys.exit(1)


def _usage_error(problem: Any) -> SpecError:
    message = " ".join(str(problem.format_message()).split())
    context = getattr(problem, "ctx", None)
    path = context.command_path if context else "symbp"
    wrong = getattr(problem, "option_name", None)
    if wrong and context:
        known = [name for p in context.command.params for name in p.opts if name.startswith("--")]
        remedy = did_you_mean(wrong, known)
        return SpecError(f"there is no option {wrong}", place=path, remedy=remedy or f"see {path} --help")
    return SpecError(message.rstrip("."), place=path, remedy=f"see {path} --help")


__all__ = ["app", "load_generated", "main"]

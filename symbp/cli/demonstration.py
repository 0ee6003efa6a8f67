"""``symbp demo``: from equations to a trained model, told as it happens."""

from __future__ import annotations

import inspect
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.rule import Rule
from rich.syntax import Syntax
from rich.text import Text

from symbp import demo
from symbp.cli import checking, show, training, writing
from symbp.cli.data import Samples
from symbp.errors import TargetError
from symbp.frontend.spec_file import load_model
from symbp.pipeline import compile_model, derive_model, load_generated

SPEC = Path(demo.__file__).with_name("digits.py")
_SHADES = " ░▒▓█"


def run(folder: Path, seed: int, as_json: bool) -> None:
    out = Console(quiet=True) if as_json else Console(highlight=False)
    _require_data()
    model = load_model(SPEC)
    _heading(out, "1  A model is a few equations")
    source = SPEC.read_text(encoding="utf-8")
    out.print(Syntax(source[source.index("b = model.axis") :].rstrip(), "python", background_color="default"))

    _heading(out, "2  Their derivatives, from one rule")
    derivation = derive_model(model)
    whole = writing.render(derivation, model, None, "text")
    backward = whole[whole.index("Backward pass") : whole.index("\nUpdate\n")]
    out.print(show.equations(backward.partition("\n\n")[2].rstrip()), soft_wrap=True)
    page = folder / "digits.html"
    writing.write_file(page, writing.render(derivation, model, None, "html"))
    out.print(Text(f"\nAll of them, typeset, with shapes: {page}", style="dim"))

    _heading(out, "3  A module of kernels")
    began = time.perf_counter()
    package = compile_model(model, folder)
    net = load_generated(package)
    lines = len((package / "kernels.py").read_text(encoding="utf-8").splitlines())
    out.print(
        f"{package}/kernels.py: {lines} lines of Python, written in {time.perf_counter() - began:.2f} s. A part:\n"
    )
    out.print(Syntax(_part_of(package / "kernels.py"), "python", background_color="default"))

    _heading(out, "4  Is the gradient right?")
    with out.status("compiling the kernels to machine code (once) and checking them"):
        report = checking.check_module(model, "float32", seed, net)
    if not as_json:
        checking.print_check(report)

    _heading(out, "5  Training on four fifths of 1,797 handwritten digits")
    settings = training.Settings(30, 32, None, 0.2, False, "float32", seed)
    train, test = training.prepare_samples(model.program(), "sklearn:digits", settings)
    train, test = _scaled(train), _scaled(test)
    outcome = training.fit(net, model.program(), train, test, settings, quiet=as_json)
    shown = outcome.accuracy if outcome.accuracy is not None else float("nan")
    verdict = (f"{shown:.2%}", "bold green")
    out.print(Text.assemble("On the fifth that it has never seen: ", verdict, " right."))
    out.print(Text(training.pace(outcome), style="dim"))
    classify = training.classifier(net, model.program())
    assert classify is not None
    predicted = classify(outcome.params, test)
    out.print()
    out.print(_gallery(test, predicted, max(2, min(6, out.width // 18))))
    copy = folder / "model.py"
    if not copy.exists():  # it may have been edited since the last time
        writing.write_file(copy, source)
    _what_next(out, package, page, copy)
    if as_json:
        content: dict[str, Any] = {"package": package, "report": page, "accuracy": shown, "gradient": report.passed}
        show.print_json(content)


def _heading(out: Console, title: str) -> None:
    out.print()
    out.print(Rule(Text(title, style="bold"), align="left"))


def _require_data() -> None:
    """Say what is missing before the show begins, not in the middle of it."""
    try:
        import sklearn  # noqa: F401
    except ImportError:
        raise TargetError("the demo trains on scikit-learn's digits", remedy="pip install 'symbp[demo]'") from None


def _scaled(samples: Samples) -> Samples:
    """Pixels from 0..16 to 0..1."""
    return Samples(samples.source, {**samples.arrays, "x": samples.arrays["x"] / 16}, samples.label, samples.classes)


def _part_of(kernels: Path) -> str:
    """The loops of one equation of the backward pass, where they can be found."""
    blocks = kernels.read_text(encoding="utf-8").split("\n\n")
    chosen = next((b for b in blocks if "# z2_bar[b, k] =" in b), None) or next((b for b in blocks if "_bar" in b), "")
    return inspect.cleandoc("\n" + chosen)


def _gallery(test: Samples, predicted: Any, count: int) -> Text:
    """Pictures side by side with what was seen in them; one or two were misread, if there are any such."""
    label = test.arrays["label"]
    wrong = [int(k) for k in np.flatnonzero(predicted != label)[: count // 3]]
    right = [int(np.flatnonzero((predicted == label) & (label == digit))[0]) for digit in (3, 8, 5, 2, 0, 7)]
    chosen = [*right[: count - len(wrong)], *wrong]
    shown = Text()
    for line in range(8):
        for k in chosen:
            pixels = test.arrays["x"][k].reshape(8, 8)[line]
            shown.append("  " + "".join(_SHADES[min(int(p * len(_SHADES)), len(_SHADES) - 1)] * 2 for p in pixels))
        shown.append("\n")
    for k in chosen:
        good = predicted[k] == label[k]
        words = f"{predicted[k]}" if good else f"{predicted[k]}? it is {label[k]}"
        shown.append(f"  {words:^16}", style="green" if good else "bold red")
    return shown


def _what_next(out: Console, package: Path, page: Path, copy: Path) -> None:
    _heading(out, "What next")
    symbp = _command()
    rows = [
        (f"open {page}", "read it, print it"),
        (f"less {package}/kernels.py", "the kernels"),
        (f"{symbp} derive {copy}", "after you edit it"),
        (f"{symbp} train {copy} --data sklearn:digits", "or --data YOURS.csv"),
        (f"{symbp} --help", "all commands"),
    ]
    out.print(show.table(["", ""], [(Text(a, style="cyan"), Text(b)) for a, b in rows]))


def _command() -> str:
    """What to type for this program: its name where the shell finds it, else where it lies (``.venv/bin/symbp``)."""
    beside = Path(sys.executable).with_name("symbp")
    if shutil.which("symbp") or not beside.is_file():
        return "symbp"
    inside = beside.is_relative_to(Path.cwd())
    return str(beside.relative_to(Path.cwd()) if inside else beside)

"""Gradients compared: the derived equations against differences, a complex step, and generated modules.

    report = check_gradients(derivation, modules={"float32": loss_and_grad})
    assert report.passed, report

The reference is the adjoint equations themselves, run by the interpreter in float64; the methods that check them know
nothing of derivatives. Each method is compared along random directions ``d`` (``d . grad`` against the slope of the
loss), or element by element where it gives whole gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from symbp.check.analytic import first_kink, holds_constants
from symbp.check.feeds import are_allowed, random_feed, random_sizes, size_value
from symbp.check.interpreter import Interpreter
from symbp.errors import DataError
from symbp.ir import DType, Program
from symbp.ir.derivation import Derivation

Array = NDArray[Any]
Feed = dict[str, Array]
#: ``loss, {parameter: gradient} = f({name: array})``: how a generated module is asked.
LossAndGradients = Callable[[Feed], tuple[Any, Mapping[str, Any]]]

#: Relative to the slopes of one element; differences lose a third of the digits, and more where a kink is near.
DIFFERENCES_TOLERANCE = 1e-6
COMPLEX_STEP_TOLERANCE = 1e-10
#: A module may be off by this many eps*sqrt(longest reduction), relative to the largest element of the gradient ..
ROUNDING_FACTOR = 8.0
#: .. or, in float32, by this many times what the plain equations lose in float32: a deep model loses more in any order.
PLAIN_FACTOR = 8.0
FLOAT64_TOLERANCE = 1e-12
#: The equations themselves in float32: more than this is lost only where they are not stable.
STABLE_TOLERANCE = 1e-3
#: A gradient smaller than this, relative to the largest of all, is what rounding leaves of 0 (a key's bias in
#: attention: softmax does not see it). It has no digits of its own and is measured by the largest.
VANISHING = 1e-12
PLAIN = "equations in float32"


@dataclass(frozen=True, slots=True)
class Comparison:
    """One method on one tensor: the largest relative error found, or why the method does not apply (`note`)."""

    method: str
    error: float | None
    tolerance: float
    note: str = ""

    @property
    def passed(self) -> bool:
        return self.error is None or self.error <= self.tolerance


@dataclass(frozen=True, slots=True)
class GradientRow:
    """The comparisons of one tensor's gradient (or of the loss itself) over all trials."""

    name: str
    gradient: str
    largest: float  # the largest magnitude of the gradient over all trials
    comparisons: tuple[Comparison, ...]

    @property
    def passed(self) -> bool:
        return all(c.passed for c in self.comparisons)


@dataclass(frozen=True, slots=True)
class GradientReport:
    """What `check_gradients` found; `sizes` are the run-time sizes of the trials."""

    program: str
    sizes: tuple[tuple[tuple[str, int], ...], ...]
    rows: tuple[GradientRow, ...]

    @property
    def passed(self) -> bool:
        return all(row.passed for row in self.rows)

    @property
    def methods(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(c.method for row in self.rows for c in row.comparisons))

    def __str__(self) -> str:
        lines = [f"gradients of '{self.program}': {'passed' if self.passed else 'FAILED'}"]
        for row in self.rows:
            shown = ", ".join(
                f"{c.method} {c.note}" if c.error is None else f"{c.method} {c.error:.1e}{'' if c.passed else ' !'}"
                for c in row.comparisons
            )
            lines.append(f"  {row.name}: {shown}")
        return "\n".join(lines)


def check_gradients(
    derivation: Derivation,
    modules: Mapping[str, LossAndGradients] | None = None,
    *,
    sizes: Mapping[str, int] | None = None,
    feed: Mapping[str, Any] | None = None,
    seed: int = 0,
    directions: int = 2,
) -> GradientReport:
    """Compare every gradient of a derivation by every method that applies.

    `modules` maps a dtype ("float32", "float64") to a function that gives loss and gradients; it is fed arrays of that
    dtype. Without `sizes` there are two trials: small random run-time sizes, and every size 1 where the model allows
    that. `feed` replaces some or all of the random arrays (needed where a model wants positive inputs, say); it fits
    one set of sizes, so give both. Everything is repeatable under `seed`.

    Raises DataError if the loss is not finite at the arrays that were tried.
    """
    trials = [dict(sizes)] if sizes is not None else _trial_sizes(derivation.primal, seed)
    checker = _Checker(derivation, dict(modules or {}), directions)
    for number, trial in enumerate(trials):
        arrays = {**random_feed(derivation.primal, trial, seed + number), **(feed or {})}
        checker.run(trial, arrays, np.random.default_rng([seed, number]))
    return GradientReport(
        derivation.program.name, tuple(tuple(sorted(t.items())) for t in trials), tuple(checker.rows())
    )


def _trial_sizes(program: Program, seed: int) -> list[dict[str, int]]:
    trials = [random_sizes(program, seed)]
    ones = {s.name: 1 for s in program.sizes()}
    if ones and are_allowed(program, ones):
        trials.append(ones)
    return trials


class _Checker:
    """Gathers the worst error of each method on each tensor over the trials."""

    def __init__(self, derivation: Derivation, modules: dict[str, LossAndGradients], directions: int) -> None:
        self.derivation = derivation
        self.modules = modules
        self.directions = directions
        self.loss = derivation.program.loss
        primal = derivation.primal.keep_live([self.loss])
        self.values = Interpreter(primal)
        self.complex_values = Interpreter(primal, np.complex128)
        wanted = [self.loss, *(g for _, g in derivation.gradients)]
        self.adjoints = Interpreter(derivation.program.keep_live(wanted))
        self.single_adjoints = Interpreter(self.adjoints.program, np.float32)
        self.names = tuple(name for name, _ in derivation.gradients if primal.tensor(name).is_given)
        self.kinks = {name: first_kink(primal, [name]) for name in self.names}
        self.constants = {name: holds_constants(primal, [name]) for name in self.names}
        self.found: dict[tuple[str, str], Comparison] = {}
        self.largest: dict[str, float] = {}

    def run(self, sizes: dict[str, int], feed: Feed, source: np.random.Generator) -> None:
        # Numbers that float32 holds exactly, so that rounding the inputs is not counted as an error.
        feed = {n: self._exact(n, v) for n, v in feed.items()}
        reference = self.adjoints.run(sizes, feed)
        loss = float(reference[self.loss])
        if not np.isfinite(loss):
            raise DataError(
                f"the loss of '{self.derivation.program.name}' is {loss} at random inputs",
                remedy="give a feed (and its sizes) at which it is finite",
            )
        gradients = {name: reference[self.derivation.gradient_of(name)] for name in self.names}
        for name, gradient in gradients.items():
            self.largest[name] = max(self.largest.get(name, 0.0), float(np.abs(gradient).max(initial=0.0)))
            for _ in range(self.directions):
                self._along_a_direction(name, sizes, feed, loss, gradient, source)
        self.largest[self.loss] = max(self.largest.get(self.loss, 0.0), abs(loss))
        single = self.single_adjoints.run(sizes, feed)
        derived = {name: single[self.derivation.gradient_of(name)] for name in self.names}
        self._whole(PLAIN, np.dtype(np.float32), sizes, (loss, gradients), (single[self.loss], derived))
        for kind, module in self.modules.items():
            dtype = np.dtype(kind)
            given = {n: v.astype(dtype) if v.dtype.kind == "f" else v for n, v in feed.items()}
            value, found = module(given)
            self._whole(f"module in {dtype.name}", dtype, sizes, (loss, gradients), (value, found))

    def rows(self) -> Iterable[GradientRow]:
        for name in (*self.names, self.loss):
            comparisons = tuple(c for (owner, _), c in self.found.items() if owner == name)
            gradient = "" if name == self.loss else self.derivation.gradient_of(name)
            yield GradientRow(name, gradient, self.largest[name], comparisons)

    def _exact(self, name: str, value: Any) -> Array:
        array = np.asarray(value)
        if self.derivation.primal.tensor(name).dtype is DType.INT:
            return array
        return array.astype(np.float32).astype(np.float64)

    def _record(self, name: str, comparison: Comparison) -> None:
        key = (name, comparison.method)
        before = self.found.get(key)
        if before is None or comparison.error is None or not (comparison.error <= (before.error or 0.0)):
            self.found[key] = comparison

    def _along_a_direction(
        self, name: str, sizes: dict[str, int], feed: Feed, loss: float, gradient: Array, source: np.random.Generator
    ) -> None:
        start = feed[name]
        direction = np.asarray(source.standard_normal(start.shape))
        direction = direction / np.linalg.norm(direction)
        slope = float((gradient * direction).sum())
        # What one element typically contributes; a gradient that is 0 everywhere is measured by the loss.
        scale = max(float(np.linalg.norm(gradient)) / np.sqrt(max(1, gradient.size)), 1e-3 * abs(loss), 1e-30)

        def difference(step: float) -> float:
            up = self.values.run(sizes, {**feed, name: start + step * direction})[self.loss]
            down = self.values.run(sizes, {**feed, name: start - step * direction})[self.loss]
            return float(abs((float(up) - float(down)) / (2 * step) - slope) / scale)

        method = "central differences"
        if self.constants[name]:
            self._record(name, Comparison(method, None, DIFFERENCES_TOLERANCE, "not valid: stop_gradient on the way"))
        else:
            first = float(np.cbrt(np.finfo(float).eps)) * max(1.0, float(np.linalg.norm(start)))
            error = np.inf
            for shrink in (1, 16, 256):  # a kink within one step is rarely within a much shorter one
                error = min(error, difference(first / shrink))
                if error <= DIFFERENCES_TOLERANCE:
                    break
            self._record(name, Comparison(method, error, DIFFERENCES_TOLERANCE))
        method = "complex step"
        if self.kinks[name] is not None:
            note = f"not analytic: {self.kinks[name]}"
            self._record(name, Comparison(method, None, COMPLEX_STEP_TOLERANCE, note))
            return
        tiny = 1e-30
        lifted = self.complex_values.run(sizes, {**feed, name: start + 1j * tiny * direction})[self.loss]
        error = abs(float(lifted.imag) / tiny - slope) / scale
        self._record(name, Comparison(method, error, COMPLEX_STEP_TOLERANCE))

    def _whole(
        self,
        method: str,
        dtype: np.dtype[Any],
        sizes: dict[str, int],
        reference: tuple[float, dict[str, Array]],
        found: tuple[Any, Mapping[str, Any]],
    ) -> None:
        terms = longest_reduction(self.adjoints.program, sizes)
        rounding = ROUNDING_FACTOR * float(np.finfo(dtype).eps * np.sqrt(terms))

        def record(name: str, error: float) -> None:
            if method == PLAIN:
                self._record(name, Comparison(method, error, STABLE_TOLERANCE))
                return
            plain = self.found[name, PLAIN].error or 0.0
            floor = PLAIN_FACTOR * plain if dtype == np.float32 else FLOAT64_TOLERANCE
            self._record(name, Comparison(method, error, max(rounding, floor)))

        record(self.loss, abs(float(found[0]) - reference[0]) / max(abs(reference[0]), 1e-30))
        magnitude = {name: float(np.abs(gradient).max(initial=0.0)) for name, gradient in reference[1].items()}
        largest = max(magnitude.values(), default=0.0)
        for name, gradient in reference[1].items():
            other = np.asarray(found[1][name], np.float64).reshape(gradient.shape)
            size = magnitude[name] if magnitude[name] > VANISHING * largest else largest
            record(name, float(np.abs(other - gradient).max(initial=0.0)) / (size or 1.0))


def longest_reduction(program: Program, sizes: dict[str, int]) -> int:
    """The number of terms of the longest sum in the program."""
    longest = 1
    for statement in program.statements:
        length = 1
        for index in statement.reduced:
            length *= size_value(statement.domain.range_of(index).extent, sizes)
        longest = max(longest, length)
    return longest

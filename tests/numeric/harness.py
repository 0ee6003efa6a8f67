"""Models beside the same computation in torch: derived equations and generated modules must agree with it.

    CASES = (Case("rms", build, reference, sizes=({"n_batch": 13}, {"n_batch": 1})),)

    @pytest.mark.parametrize("case", CASES, ids=str)
    def test_float64(case): check_module(case, "float64")

A model is built once; torch works in float64 and differentiates on its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

import symbp.runtime.jit as jit
from symbp import Model
from symbp.check import Interpreter, random_feed
from symbp.check.emulator import emulated
from symbp.check.gradients import longest_reduction
from symbp.derive import differentiate
from symbp.ir import Derivation, Program
from symbp.pipeline import MARK, derive_model, emit_model, load_generated, prepare, write_package

Array = np.ndarray[Any, Any]
Feed = dict[str, Array]
Tensors = dict[str, torch.Tensor]

LOSS_TOLERANCE = 1e-10
GRADIENT_TOLERANCE = 1e-9
#: A float32 module may be off by this many eps*sqrt(longest sum), or by this many times what the plain equations lose
#: in float32, whichever is more: a deep model loses more in any order of summation.
ROUNDING_FACTOR = 8.0


@dataclass(frozen=True, eq=False)  # a case is itself, so that what is built of it can be kept
class Case:
    """A model, the same loss in torch, and what to try it on.

    `reference` gets every input and parameter by name (float64, or int64 for whole numbers) and returns the loss.
    `sizes` are the run-time sizes to try, by their names in the program (``n_batch``); a model without run-time sizes
    is tried once. `feed` changes the random arrays where the model wants special ones. `outputs` gives what ``predict``
    returns, to be compared too. The float32 module is compared at the first of the sizes, unless `single` is False.
    `vanishing` names parameters whose gradient is 0 in exact arithmetic, so that all that is computed of it is rounding
    (a key's bias: softmax does not see it); they are compared relative to the largest of all gradients.
    """

    name: str
    build: Callable[[], Model]
    reference: Callable[[Tensors], torch.Tensor]
    sizes: tuple[Mapping[str, int], ...] = ({},)
    feed: Callable[[Feed], None] | None = None
    outputs: Callable[[Tensors], tuple[torch.Tensor, ...]] | None = None
    single: bool = True
    vanishing: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.name

    def arrays(self, program: Program, sizes: Mapping[str, int], seed: int = 0) -> Feed:
        """Random inputs and parameters, such that float32 holds them exactly."""
        feed = random_feed(program, dict(sizes), seed)
        if self.feed is not None:
            self.feed(feed)
        return {n: a.astype(np.float32).astype(np.float64) if a.dtype.kind == "f" else a for n, a in feed.items()}


@cache
def model_of(case: Case) -> Model:
    return case.build()


@cache
def derivation_of(case: Case) -> Derivation:
    return derive_model(model_of(case))


def torch_answer(case: Case, feed: Feed, wanted: tuple[str, ...]) -> tuple[float, dict[str, Array]]:
    """The loss and its gradients with respect to `wanted`, by torch in float64."""
    tensors = {name: torch.tensor(array) for name, array in feed.items()}
    for name in wanted:
        tensors[name].requires_grad_()
    loss = case.reference(tensors)
    loss.backward()  # type: ignore[no-untyped-call]
    gradients: dict[str, Array] = {}
    for name in wanted:
        grad = tensors[name].grad
        gradients[name] = np.zeros(feed[name].shape) if grad is None else grad.numpy()
    return float(loss.detach()), gradients


def relative_error(found: Any, expected: Array) -> float:
    """The largest difference relative to the largest magnitude of what is expected; exact where that is 0."""
    found = np.asarray(found, np.float64)
    assert found.shape == expected.shape
    if expected.size == 0:
        return 0.0
    difference = np.abs(found - expected)
    assert not np.isnan(difference).any(), f"found {found}, expected {expected}"
    largest = float(np.abs(expected).max())
    return float(difference.max()) / (largest or 1.0)


def gradient_error(case: Case, name: str, found: Any, gradients: Mapping[str, Array]) -> float:
    """`relative_error` of one of the gradients."""
    if name not in case.vanishing:
        return relative_error(found, gradients[name])
    largest = max(float(np.abs(g).max(initial=0.0)) for g in gradients.values())
    return float(np.abs(np.asarray(found, np.float64) - gradients[name]).max()) / largest


def check_equations(case: Case) -> None:
    """The adjoint equations as the rule gives them, and in their simplified form, by the interpreter."""
    model = model_of(case)
    raw = differentiate(prepare(model.program()))
    for form, derivation in {"raw": raw, "simplified": derivation_of(case)}.items():
        wanted = tuple(name for name, _ in derivation.gradients)
        interpreter = Interpreter(derivation.program)
        for sizes in case.sizes:
            feed = case.arrays(derivation.primal, sizes)
            loss, gradients = torch_answer(case, feed, wanted)
            found = interpreter.run(sizes, feed)
            where = f"{form} equations at {dict(sizes)}"
            assert relative_error(found[derivation.program.loss], np.asarray(loss)) <= LOSS_TOLERANCE, where
            for name in wanted:
                error = gradient_error(case, name, found[derivation.gradient_of(name)], gradients)
                assert error <= GRADIENT_TOLERANCE, f"{where}: gradient of {name} is off by {error:.1e}"


def check_module(case: Case, dtype: str) -> None:
    """The generated module's loss, gradients and outputs against torch in float64."""
    check_against_torch(case, generated(case, dtype), dtype, case.sizes if dtype == "float64" else case.sizes[:1])


def check_kernels(case: Case, dtype: str) -> None:
    """The same of the generated CUDA module, on the emulated device, where every access is checked too."""
    net = compiled(model_of(case), case.name, dtype, target="cuda")
    with emulated(net, seed=len(case.name)):
        check_against_torch(case, net, dtype, case.sizes[:2] if dtype == "float64" else case.sizes[:1])


def check_against_torch(case: Case, net: ModuleType, dtype: str, several_sizes: tuple[Mapping[str, int], ...]) -> None:
    """A module's loss, gradients and outputs at some sizes."""
    program = derivation_of(case).primal
    for sizes in several_sizes:
        feed = case.arrays(program, sizes)
        loss, gradients = torch_answer(case, feed, tuple(net.PARAMETERS.names))
        loss_limit, limits = tolerances(case, dtype, sizes, feed, loss, gradients)
        params, inputs = arguments(net, feed)
        found_loss, grads = net.loss_and_grad(params, *inputs)
        where = f"{dtype} module at {dict(sizes)}"
        error = relative_error(found_loss, np.asarray(loss))
        assert error <= loss_limit, f"{where}: the loss {found_loss} is off by {error:.1e}, expected {loss}"
        # Another kernel: the compiler may have chosen another order of the same sums.
        assert relative_error(net.loss(params, *inputs), np.asarray(found_loss)) <= loss_limit, where
        for name in gradients:
            error = gradient_error(case, name, grads[name], gradients)
            assert error <= limits[name], f"{where}: gradient of {name} is off by {error:.1e}"
        if case.outputs is not None:
            check_outputs(case, net, dtype, feed)


def check_outputs(case: Case, net: ModuleType, dtype: str, feed: Feed) -> None:
    """What ``predict`` returns against torch."""
    assert case.outputs is not None
    expected = case.outputs({name: torch.tensor(array) for name, array in feed.items()})
    params, _ = arguments(net, feed)
    found = net.predict(params, *inputs_of(net.predict, net, feed))
    found = found if isinstance(found, tuple) else (found,)
    assert len(found) == len(expected)
    limit = 1e-10 if dtype == "float64" else 1e-4
    for k, (one, other) in enumerate(zip(found, expected, strict=True)):
        assert relative_error(one, other.numpy()) <= limit, f"output {k}"


def tolerances(
    case: Case, dtype: str, sizes: Mapping[str, int], feed: Feed, loss: float, gradients: dict[str, Array]
) -> tuple[float, dict[str, float]]:
    """How far off the loss and each gradient may be."""
    if dtype == "float64":
        return LOSS_TOLERANCE, dict.fromkeys(gradients, GRADIENT_TOLERANCE)
    derivation = derivation_of(case)
    plain = Interpreter(derivation.program, np.float32).run(sizes, feed)
    eps = float(np.finfo(np.float32).eps)
    rounding = ROUNDING_FACTOR * eps * np.sqrt(longest_reduction(derivation.program, dict(sizes)))

    def limit(plain_error: float) -> float:
        # A plain evaluation that is itself badly wrong would allow anything.
        return max(rounding, min(ROUNDING_FACTOR * plain_error, 1e-3))

    found = dict(derivation.gradients)
    limits = {
        n: limit(gradient_error(case, n, plain[found[n]], gradients)) if n in found else rounding for n in gradients
    }
    return limit(relative_error(plain[derivation.program.loss], np.asarray(loss))), limits


def arguments(net: ModuleType, feed: Feed) -> tuple[Any, list[Array]]:
    """Parameters and inputs as ``loss_and_grad`` takes them, or ``predict`` in a module without a loss."""
    params = net.init(seed=0)
    for name in params:
        params[name][...] = feed[name].astype(net.DTYPE)
    return params, inputs_of(net.loss_and_grad if hasattr(net, "loss_and_grad") else net.predict, net, feed)


def inputs_of(function: Any, net: ModuleType, feed: Feed) -> list[Array]:
    """The arrays that a function of a module takes after the parameters, in the module's dtype."""
    code = function.__code__
    wanted = [feed[name] for name in code.co_varnames[1 : code.co_argcount]]
    return [a.astype(net.DTYPE) if a.dtype.kind == "f" else a for a in wanted]


def generated(case: Case, dtype: str, chunk: int | None = None) -> ModuleType:
    """The module of a case, imported; its batch in chunks of that many samples."""
    return compiled(model_of(case), case.name, dtype, chunk=chunk)


def compiled(model: Model, name: str, dtype: str, target: str = "cpu", chunk: int | None = None) -> ModuleType:
    """The module of a model, imported."""
    files = emit_model(model, target=target, dtype=dtype, standalone=False, chunk=chunk)
    return imported(files, f"{target}/{dtype}/{name}{'' if chunk is None else f'/{chunk}'}", model.name)


def imported(files: dict[str, str], where: str, name: str) -> ModuleType:
    """The package of these files, imported; written only where its text changed, so that Numba finds its machine code.

    All packages use the installed runtime, whose machine code they share. Its own hash is part of the folder, since
    Numba does not see that a kernel contains code of other files.
    """
    runtime = jit.source_hash(Path(jit.__file__).parent)[:12]
    folder = Path(os.environ["NUMBA_CACHE_DIR"]) / "packages" / runtime / where.replace(" ", "_") / name
    if not _holds(folder, files):
        write_package(files, folder)
    return load_generated(folder)


def _holds(folder: Path, files: dict[str, str]) -> bool:
    """Whether a package with this very text is there."""
    paths = {path: folder / path for path in files}
    return (folder / MARK).is_file() and all(
        p.is_file() and p.read_text(encoding="utf-8") == files[n] for n, p in paths.items()
    )

"""Compile everything in a generated package ahead of its first use, so that the next process only reads the cache.

``python -m symbp.check.warm out/digits`` imports the package as its users do, by its own name: Numba's cache knows
functions by the name of their module. It calls the functions of the interface on small arrays, which compiles what they
call for the types that they call it with; the other kernels are compiled for the same types. Every step is a line of
JSON on the standard output.
"""

from __future__ import annotations

import importlib
import inspect
import json
import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from symbp.check.launches import arguments_of, kernels_of, runtime_of

#: All run-time sizes at once: the first that the model allows. Two batches then make an epoch of `fit`.
SIZES_TRIED = (2, 3, 5, 8, 16, 33, 64, 129)
#: Compute capabilities of the PTX where there is no GPU to ask.
CAPABILITIES = ((8, 0), (9, 0))


@dataclass(frozen=True, slots=True)
class Warmed:
    """One step: how long it took, how many functions were compiled for it and how many were in the cache."""

    name: str
    seconds: float
    compiled: int
    loaded: int


def warm(net: ModuleType) -> Iterator[Warmed]:
    """Compile everything in a package; it must have been imported by the name that its users import it by."""
    if hasattr(net, "kernels") and not _is_for_device(net.kernels):
        yield from _warm_interface(net)
        yield from _warm_kernels(net)
    if _is_for_device(getattr(net, "kernels", None)):
        yield from _warm_device(net)
    elif (Path(str(net.__file__)).parent / "cuda.py").is_file():  # target cpu,cuda
        yield from _warm_device(importlib.import_module(f"{net.__name__}.cuda"))


def _is_for_device(kernels: Any) -> bool:
    return any(type(value).__name__ == "Kernel" for value in vars(kernels).values()) if kernels else False


# ---------------------------------------------------------------------------------------------------------------- CPU


def _warm_interface(net: ModuleType) -> Iterator[Warmed]:
    """Call the functions that people call."""
    size = _size_allowed(net)
    params = net.init()
    for name in ("predict", "loss", "loss_and_grad"):
        if hasattr(net, name):
            yield _timed(net, name, lambda name=name: getattr(net, name)(params, *arguments_of(net, name, size)))
    if hasattr(net, "train_step"):
        arrays = arguments_of(net, "train_step", size)
        yield _timed(net, "train_step", lambda: net.train_step(params, net.optimizer_state(params), *arrays))
        yield _timed(
            net, "fit", lambda: net.fit(net.init(), net.optimizer_state(params), *arrays, batch=1, progress=False)
        )


def _size_allowed(net: ModuleType) -> int:
    """A small number that all run-time sizes can have at once."""
    name = "loss" if hasattr(net, "loss") else "predict"
    door = net._door
    for size in SIZES_TRIED:
        function = getattr(net, name)
        names = [n for n in inspect.signature(function).parameters if n != "params"]
        try:
            door.enter(net.init(), **dict(zip(names, arguments_of(net, name, size), strict=True)))
        except Exception as problem:
            if not _is_refusal(problem):
                raise
            continue
        return size
    return SIZES_TRIED[0]


def _is_refusal(problem: Exception) -> bool:
    """Whether a generated package refuses what it was given; each has its own copy of the errors' classes."""
    return any(kind.__name__ == "SymbpError" for kind in type(problem).__mro__)


def _warm_kernels(net: ModuleType) -> Iterator[Warmed]:
    """Compile the kernels that no function of the interface calls, for the types of those that one does."""
    kernels = {n: v for n, v in vars(net.kernels).items() if _is_dispatcher(v) and v.__module__ == net.kernels.__name__}
    types: dict[str, Any] = {}
    for kernel in kernels.values():
        for signature in kernel.signatures:
            types |= dict(zip(inspect.signature(kernel.py_func).parameters, signature, strict=False))
    for name, kernel in kernels.items():
        wanted = tuple(types.get(n) for n in inspect.signature(kernel.py_func).parameters)
        if not kernel.signatures and None not in wanted:
            yield _timed(net, f"kernels.{name}", lambda kernel=kernel, wanted=wanted: kernel.compile(wanted))


def _timed(net: ModuleType, name: str, work: Any) -> Warmed:
    compiled, loaded = _counts(net)
    began = time.perf_counter()
    try:
        work()
    except Exception as problem:  # zeros may well give a loss that is not finite: the code is there all the same
        if not _is_refusal(problem):
            raise
    seconds = time.perf_counter() - began
    after = _counts(net)
    return Warmed(name, round(seconds, 3), after[0] - compiled, after[1] - loaded)


def _counts(net: ModuleType) -> tuple[int, int]:
    """How many functions of the package have been compiled, and how many read from the cache."""
    found = {id(v): v for m in _modules(net) for v in vars(m).values() if _is_dispatcher(v)}.values()
    return sum(sum(v.stats.cache_misses.values()) for v in found), sum(sum(v.stats.cache_hits.values()) for v in found)


def _modules(net: ModuleType) -> list[ModuleType]:
    return [m for n, m in list(sys.modules.items()) if n == net.__name__ or n.startswith(f"{net.__name__}.")]


def _is_dispatcher(value: Any) -> bool:
    return hasattr(value, "py_func") and hasattr(value, "stats")


# --------------------------------------------------------------------------------------------------------------- CUDA


def _warm_device(net: ModuleType) -> Iterator[Warmed]:
    """PTX of every kernel, for the GPU that is there or for those that may be."""
    runtime = runtime_of(net)
    cache = importlib.import_module(f"{runtime}.ptx_cache")
    for kernel_name, kernel in kernels_of(net).items():
        for capability in _capabilities(runtime):
            place = cache.place_of(kernel, capability)
            there = place is not None and place.is_file()
            began = time.perf_counter()
            cache.cached_ptx(kernel, capability)
            name = f"{kernel_name} for sm_{capability[0]}{capability[1]}"
            yield Warmed(name, round(time.perf_counter() - began, 3), int(not there), int(there))


def _capabilities(runtime: str) -> tuple[tuple[int, int], ...]:
    try:
        return (importlib.import_module(f"{runtime}.device").current_device().capability,)
    except Exception as problem:
        if not _is_refusal(problem):
            raise
        return CAPABILITIES


def main(package: str) -> None:
    """Import a package from its folder, by its own name, and warm it."""
    folder = Path(package).resolve()
    sys.path.insert(0, str(folder.parent))
    warnings.simplefilter("ignore")
    net = importlib.import_module(folder.name)
    if Path(str(net.__file__)).resolve().parent != folder:
        raise SystemExit(f"'{folder.name}' is imported from {net.__file__}, not from {folder}")
    try:
        for step in warm(net):
            print(json.dumps(asdict(step)), flush=True)
    except Exception as problem:
        raise SystemExit(str(problem)) from (None if _is_refusal(problem) else problem)


if __name__ == "__main__":
    main(sys.argv[1])

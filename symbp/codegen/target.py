"""What differs between targets: one record each."""

from __future__ import annotations

from dataclasses import dataclass

from symbp.errors import TargetError, did_you_mean


@dataclass(frozen=True, slots=True)
class Target:
    """A target of code generation.

    `templates` pairs each file of the generated package with the template that writes it; `runtime` names the modules
    of `symbp.runtime` that every package of this target carries, besides those that its kernels turn out to use.
    """

    name: str
    templates: tuple[tuple[str, str], ...]
    runtime: tuple[str, ...]


CPU = Target(
    name="cpu",
    templates=(("__init__.py", "cpu/module.py.jinja"), ("kernels.py", "cpu/kernels.py.jinja")),
    runtime=("door", "parameters", "initializers", "jit"),
)

GPU = ("cuda", "gpu", "rocm", "hip", "metal")  # asked for, and not there yet
TARGETS = {target.name: target for target in (CPU,)}


def find_target(name: str) -> Target:
    if name not in TARGETS:
        known = ", ".join(TARGETS)
        remedy = did_you_mean(name, TARGETS) if name not in GPU else "take target 'cpu', which runs on every machine"
        raise TargetError(f"unknown target '{name}', expected one of: {known}", remedy=remedy)
    return TARGETS[name]

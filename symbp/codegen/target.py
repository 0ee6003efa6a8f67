"""What differs between targets: one record each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from symbp.codegen.cpu import cpu_context
from symbp.codegen.cuda import cuda_context
from symbp.codegen.printer import RUNTIME_FUNCTIONS, WHOLE_POWERS
from symbp.errors import TargetError, did_you_mean
from symbp.ir.plan import Machine, Plan


@dataclass(frozen=True)
class Target:
    """A target of code generation.

    `machine` is what the scheduler plans for; `context` turns a plan, in the given dtype, into what the two templates
    show: of the `interface` that people call and of its `kernels`. `sources` says which module of `symbp.runtime` gives
    a name that generated files may use, `carried` which modules every package carries besides those that its files turn
    out to use, and `needs` what must be installed where it runs.
    """

    name: str
    machine: Machine
    interface: str
    kernels: str
    context: Callable[[Plan, str], dict[str, Any]]
    needs: str
    carried: tuple[str, ...] = ()
    sources: Mapping[str, str] = field(default_factory=dict)

    def exactly(self) -> Target:
        """The same, with elementary functions from the C library; a target that has no such choice as it is."""
        return replace(self, sources={name: _EXACT.get(module, module) for name, module in self.sources.items()})


_EXACT = {"scalar": "exact_scalar"}

#: Names of the CPU's runtime that every target uses: declarations, checkpoints, what training tells.
_SHARED_SOURCES = {
    "Initializer": "initializers",
    "Layout": "parameters",
    "Parameter": "parameters",
    "Parameters": "parameters",
    "Array": "parameters",
    "Input": "door",
    "Linear": "door",
    "Requirement": "door",
    "Optimizer": "optimizer",
    "Setting": "optimizer",
    "TrainingLog": "training",
    "batch_size": "training",
    "first_not_finite": "diagnosis",
    "load_checkpoint": "checkpoint",
    "save_checkpoint": "checkpoint",
}

CPU = Target(
    name="cpu",
    machine=Machine.LOOPS,
    interface="cpu/module.py.jinja",
    kernels="cpu/kernels.py.jinja",
    context=cpu_context,
    needs="NumPy and Numba only",
    carried=("door", "parameters", "initializers", "jit"),
    sources={
        **_SHARED_SOURCES,
        **dict.fromkeys(("matmul", "matmul_lower", "matmul_of_lower", "matmul_of_upper"), "contraction"),
        **dict.fromkeys(
            ("matmul_add", "matmul_add_lower", "matmul_add_of_lower", "matmul_add_of_upper"), "contraction"
        ),
        **dict.fromkeys(("convolve", "convolve_add", "correlate", "correlate_add"), "convolution"),
        "view": "views",
        "apart": "views",
        "rolled": "views",
        "share": "shares",
        "chunk_count": "shares",
        "worker_count": "shares",
        "kernel": "jit",
        "piece": "jit",
        "Door": "interface",
        "scratch": "interface",
        "OptimizerState": "optimizer",
        "fit_epochs": "training",
        **dict.fromkeys((*RUNTIME_FUNCTIONS, *WHOLE_POWERS.values()), "scalar"),
    },
)

CUDA = Target(
    name="cuda",
    machine=Machine.TEAMS,
    interface="cuda/module.py.jinja",
    kernels="cuda/kernels.py.jinja",
    context=cuda_context,
    needs="NumPy, Numba-CUDA and an NVIDIA GPU",
    carried=("cuda.device", "cuda.compile"),
    sources={
        **_SHARED_SOURCES,
        "contract": "cuda.contraction",
        **dict.fromkeys(("Doubles", "Integers", "Size", "pointer"), "cuda.kernel"),
        **dict.fromkeys(("thread_kernel", "warp_kernel", "block_kernel", "column_kernel"), "cuda.kernel"),
        **dict.fromkeys(RUNTIME_FUNCTIONS, "cuda.scalar"),
        **dict.fromkeys(("BLOCK", "COLUMN", "WARP"), "cuda.team"),
        **{f"{team}_{what}": "cuda.team" for team in ("warp", "block", "column") for what in ("sum", "max")},
        **dict.fromkeys(("unravel", "view"), "cuda.views"),
        **dict.fromkeys(("largest", "settled", "spread"), "cuda.exact_sum"),
        "DeviceArray": "cuda.array",
        "Device": "cuda.array",
        "current_device": "cuda.device",
        "DeviceDoor": "cuda.door",
        **dict.fromkeys(("DeviceParameters", "upload_parameters", "zero_parameters"), "cuda.parameters"),
        **dict.fromkeys(("DeviceOptimizerState", "check_state", "start_state"), "cuda.optimizer"),
        **dict.fromkeys(("advance", "fit_on_device", "take"), "cuda.training"),
    },
)

OTHER = ("gpu", "rocm", "hip", "metal")  # asked for, and not there
TARGETS = {target.name: target for target in (CPU, CUDA)}


def find_target(name: str) -> Target:
    """The target of that name. Raises TargetError for any other."""
    if name not in TARGETS:
        known = ", ".join(TARGETS)
        remedy = "take target 'cuda' or 'cpu'" if name in OTHER else did_you_mean(name, TARGETS)
        raise TargetError(f"unknown target '{name}', expected one of: {known}", remedy=remedy)
    return TARGETS[name]


def find_targets(names: str) -> tuple[Target, ...]:
    """The targets of a list such as ``cpu,cuda``, each once; the first has the package's own interface.

    They have one order, however the list is written: the CPU's interface needs least to be imported.
    """
    asked = [find_target(name.strip()) for name in names.split(",")]
    return tuple(target for target in TARGETS.values() if target in asked)

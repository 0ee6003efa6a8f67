"""What CUDA kernels take of a device: registers, shared memory, instructions; found without one, by ``ptxas``.

    found = measure(kernels_of(net), to_ptx)     kernel ──▶ PTX ──ptxas──▶ machine code, for three architectures

The compilers come with ``pip install 'symbp[cuda-build]'`` or with a CUDA toolkit. A kernel whose values do not fit the
registers would keep them in memory and be slow for it, so it is refused (`refuse_spills`).
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from symbp.errors import TargetError

#: By name, with the compute capability whose PTX each is made from. ``sm_90a`` is Hopper with its own instructions.
ARCHITECTURES: dict[str, tuple[int, int]] = {"sm_80": (8, 0), "sm_90": (9, 0), "sm_90a": (9, 0)}
#: PTX for a compute capability: the runtime's ``to_ptx``.
Compiler = Callable[[Any, tuple[int, int]], str]

_FLAGS = ("-v", "-Werror", "--warn-on-spills", "--warn-on-local-memory-usage")
_WHEELS = {"ptxas": ("nvidia-cuda-nvcc",), "nvdisasm": ("nvidia-cuda-nvdisasm",)}
#: Kinds of instruction, as patterns of the mnemonic in machine code and in PTX.
_KINDS = {
    "multiply-add": (r"[FHD]FMA2?\b", r"(?:fma|mad)\.\S*f(?:16|32|64)"),
    "matrix": (r"(?:H|I|D|Q|HG|QG)MMA", r"(?:wmma|mma|wgmma)\b"),
    "special": (r"MUFU\b", r"(?:sin|cos|ex2|lg2|rsqrt|sqrt|rcp|tanh)\.approx"),
    "load": (r"LD(?:G|)\b", r"ld\.(?!param|shared|const|local)"),
    "store": (r"ST(?:G|)\b", r"st\.(?!param|shared|local)"),
    "shared": (r"(?:LDS|STS|LDSM|STSM)\b", r"(?:ld|st)\.shared|ldmatrix|stmatrix"),
    "atomic": (r"(?:ATOM|ATOMG|ATOMS|RED|REDG)\b", r"(?:atom|red)\b"),
    "shuffle": (r"(?:SHFL|VOTE|REDUX)\b", r"(?:shfl|vote|redux)\b"),
    "barrier": (r"(?:BAR|WARPSYNC)\b", r"(?:bar|barrier)\b"),
    "branch": (r"(?:BRA|BRX|CALL)\b", r"(?:bra|brx|call)\b"),
}


@dataclass(frozen=True, slots=True)
class Resources:
    """What one kernel takes on one architecture; sizes in bytes.

    `instructions` counts what is written, not what is run, by kind and in ``total``; `counted_in` is "SASS" (machine
    code) where a disassembler was found, else "PTX". It is empty where nobody asked.
    """

    kernel: str
    architecture: str
    registers: int
    shared: int
    barriers: int
    stack: int
    spill_stores: int
    spill_loads: int
    counted_in: str
    instructions: Mapping[str, int]

    @property
    def spills(self) -> bool:
        """Whether some of its values live in memory for want of registers, or are indexed at run time."""
        return bool(self.stack or self.spill_stores or self.spill_loads)


def measure(
    kernels: Mapping[str, Any],
    to_ptx: Compiler,
    architectures: Iterable[str] = tuple(ARCHITECTURES),
    counted: Iterable[str] = (),
) -> tuple[Resources, ...]:
    """Compile every kernel for every architecture; count its instructions, which takes longer, for those `counted`.

    Raises TargetError where a compiler is missing or refuses a kernel.
    """
    find_tool("ptxas")  # before the first kernel is compiled: what is missing is said at once
    wanted, counting = tuple(architectures), tuple(counted)
    texts: dict[tuple[str, tuple[int, int]], str] = {}
    found = []
    for name, kernel in kernels.items():
        for architecture in wanted:
            capability = ARCHITECTURES[architecture]
            if (name, capability) not in texts:
                texts[name, capability] = to_ptx(kernel, capability)
            found.append(assemble(name, texts[name, capability], architecture, architecture in counting))
    return tuple(found)


def refuse_spills(found: Iterable[Resources]) -> None:
    """Raise TargetError with the names of the kernels that keep values in local memory, if there are any."""
    wrong = [f"'{r.kernel}' on {r.architecture} ({max(r.stack, r.spill_stores)} bytes)" for r in found if r.spills]
    if wrong:
        kernels = "kernel" if len(wrong) == 1 else "kernels"
        raise TargetError(
            f"{kernels} {', '.join(wrong)}: expected values in registers, found local memory",
            remedy="name a part of the equation with model.define, so that it becomes a kernel of its own",
        )


def assemble(name: str, ptx: str, architecture: str, count: bool = False) -> Resources:
    """One kernel's PTX through ``ptxas``, its instructions counted if that is asked for.

    Raises TargetError with the kernel's name where ptxas refuses it.
    """
    with tempfile.TemporaryDirectory(prefix="symbp-ptxas-") as folder:
        source, binary = Path(folder) / "kernel.ptx", Path(folder) / "kernel.cubin"
        source.write_text(ptx, encoding="utf-8")
        done = _run([find_tool("ptxas"), f"-arch={architecture}", *_FLAGS, "-o", binary, source])
        frame = re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", done.stderr)
        used = re.search(r"Used (\d+) registers.*", done.stderr)
        if frame is None or used is None or (done.returncode and not any(map(int, frame.groups()))):
            said = "; ".join(re.findall(r"(?:error|fatal)\s*: (.*)", done.stderr)) or done.stderr.strip()
            raise TargetError(f"kernel '{name}': ptxas refuses it for {architecture}: {said[:500]}")
        disassembler = _located("nvdisasm") if count and binary.exists() else None
        listing = _run([disassembler, "-c", binary]).stdout if disassembler else ""
    stack, stores, loads = map(int, frame.groups())
    instructions = {} if not count else _count_machine_code(listing) if listing else _count_ptx(ptx)
    return Resources(
        name,
        architecture,
        registers=int(used.group(1)),
        shared=_number(r"(\d+) bytes smem", used.group()),
        barriers=_number(r"used (\d+) barriers", used.group()),
        stack=stack,
        spill_stores=stores,
        spill_loads=loads,
        counted_in="SASS" if listing else "PTX",
        instructions=instructions,
    )


def _number(pattern: str, text: str) -> int:
    found = re.search(pattern, text)
    return int(found.group(1)) if found else 0


def _count_machine_code(listing: str) -> dict[str, int]:
    # /*0010*/   @P0 FFMA.FTZ R2, R3, R4, R5 ;
    words = re.findall(r"^\s*/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9_.]*)", listing, flags=re.M)
    return _by_kind([word for word in words if word != "NOP"], 0)


def _count_ptx(ptx: str) -> dict[str, int]:
    # @%p1 ld.global.f32 %f1, [%rd1];
    body = ptx[ptx.rfind(".entry") :]
    words = re.findall(r"^\s*(?:@!?%\w+\s+)?([a-z][\w.:]*\w)(?:\s[^;]*)?;", body[body.find("{") + 1 :], flags=re.M)
    return _by_kind(words, 1)


def _by_kind(words: list[str], column: int) -> dict[str, int]:
    counts = {"total": len(words)}
    for kind, patterns in _KINDS.items():
        pattern = re.compile(patterns[column])
        counts[kind] = sum(pattern.match(word) is not None for word in words)
    return counts


def find_tool(name: str) -> Path:
    """A program of the CUDA toolkit: from its wheel, else from the PATH. Raises TargetError where there is none."""
    found = _located(name)
    if found is None:
        raise TargetError(f"'{name}' of the CUDA toolkit is not there", remedy="pip install 'symbp[cuda-build]'")
    return found


@cache
def _located(name: str) -> Path | None:
    for wheel in _WHEELS.get(name, ()):
        try:
            held = importlib.metadata.files(wheel) or ()
        except importlib.metadata.PackageNotFoundError:
            continue
        for file in held:
            if file.stem == name and file.parent.name == "bin":
                path = Path(str(file.locate()))
                if path.is_file():
                    return path.resolve()
    places = [str(Path(os.environ[v]) / "bin") for v in ("CUDA_HOME", "CUDA_PATH") if v in os.environ]
    path_or_none = shutil.which(name) or shutil.which(name, path=os.pathsep.join([*places, "/usr/local/cuda/bin"]))
    return Path(path_or_none) if path_or_none else None


def _run(command: list[Any]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)

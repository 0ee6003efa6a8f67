"""Time one training step of every workload, and what compiling it costs; write a table.

    python -m benchmarks.run                             all of it: some twenty minutes
    python -m benchmarks.run -w tiny_mlp,pinn -s 0.5     two workloads, half a second for each contender
    python -m benchmarks.run --variants                  the same models at other sizes; nothing is written

For every workload the package is derived and written; its first step is done in a process of its own, machine code
included, and again in another that finds the machine code. Then for each number of threads every contender is made in a
process of its own, its loss, gradients and training are compared with float64, and all take turns at short blocks of
steps. With one thread a process is kept on one core. What is not installed is left out.

PyTensor holds Numba back at an early version; ``--pytensor PYTHON`` takes it from an environment of its own, which
needs PyTensor and what symbp needs.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import IO, Any

from benchmarks.children import ROOT, child, cores, timed
from benchmarks.report import cell, report, variants_report

PACKAGES = ("symbp", "numba", "llvmlite", "numpy", "sympy", "torch", "jax", "pytensor")
#: Who is timed at other sizes.
BRIEF = ("symbp", "symbp fit", "torch", "jax")


def measure(
    name: str,
    variant: int,
    contenders: Sequence[str],
    threads: Sequence[int],
    seconds: float,
    limit: float,
    caches: Path,
    pythons: Mapping[str, str],
) -> dict[str, Any]:
    """All there is to know about one workload, from nothing: `seconds` of each contender, made within `limit`."""
    from benchmarks.contenders import takes_part
    from benchmarks.workloads import WORKLOADS

    chosen = [c for c in contenders if takes_part(c, WORKLOADS[name], installed=c in pythons)]
    with tempfile.TemporaryDirectory(prefix="symbp-bench-") as folder, (caches / "log.txt").open("a") as log:
        made: dict[str, Any] = child("benchmarks.prepare", name, variant, folder, threads=1, caches=caches)
        if not variant:
            arrays = str(Path(folder) / "arrays.npz")
            for kind in ("cold", "warm"):
                made[kind] = child("benchmarks.first_step", made["package"], arrays, threads=1, caches=caches)
        del made["package"]
        made["steps"] = {}
        for number in threads:
            found = timed(chosen, (name, variant, folder), number, seconds, caches, log, limit, pythons)
            made["steps"][str(number)] = found
            show(f"{name}{f' ({variant})' if variant else ''}, {number} thread{'s' if number > 1 else ''}", found)
            if ours_failed(found):
                print(tail(log), flush=True)
        return made


def ours_failed(found: dict[str, Any]) -> bool:
    return any(name.startswith("symbp") and "failed" in row for name, row in found.items())


def show(title: str, found: dict[str, Any]) -> None:
    print(f"{title}: " + "; ".join(f"{n} {cell(row)}" for n, row in found.items()), flush=True)


def tail(log: IO[str]) -> str:
    return Path(log.name).read_text(encoding="utf-8", errors="replace")[-2000:]


def machine(caches: Path, threads: Sequence[int], pythons: Mapping[str, str]) -> dict[str, Any]:
    """What the numbers depend on, and what the machine can do at most."""
    model = platform.processor() or platform.machine()
    try:
        found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), flags=re.M)
        model = found.group(1) if found else model
    except OSError:
        pass
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    for package, python in pythons.items():
        code = f"from importlib.metadata import version as v; print(v({package!r}), 'with numba', v('numba'))"
        done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{python} has no {package}:\n{done.stderr[-500:]}")
        versions[package] = done.stdout.strip()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    if load and load > 0.5:
        print(f"note: other programs are at work (load {load:.1f}); what is timed now is not to be published")
    last = cores()[-1]
    place = {n: () if n > 1 or last is None else (last,) for n in threads}
    return {
        "date": date.today().isoformat(),
        "cpu": model,
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": versions,
        "load": load,
        "limits": {str(n): child("benchmarks.limits", n, *place[n], threads=n, caches=caches) for n in threads},
    }


def write(about: dict[str, Any], measured: dict[str, Any], folder: Path) -> None:
    """The numbers and the table, named after the day and the machine."""
    folder.mkdir(parents=True, exist_ok=True)
    words = "-".join(re.findall(r"[a-z0-9]+", f"{about['cpu']} {about['cores']} cores".lower()))
    path = folder / f"{about['date']}-{words}"
    numbers = json.dumps({"machine": about, "workloads": measured}, indent=1)
    path.with_suffix(".json").write_text(numbers + "\n", encoding="utf-8")
    path.with_suffix(".md").write_text(report(about, measured), encoding="utf-8")


def main(given: Sequence[str] | None = None) -> None:
    from benchmarks.contenders import CONTENDERS
    from benchmarks.workloads import WORKLOADS

    def names(text: str) -> list[str]:
        return [word.strip() for word in text.split(",")]

    most = os.cpu_count() or 1
    reader = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__.splitlines()[0])
    reader.add_argument("-w", "--workloads", type=names, default=list(WORKLOADS), help="names with commas")
    reader.add_argument("-c", "--contenders", type=names, help=f"of {', '.join(CONTENDERS)}; with commas")
    reader.add_argument("-t", "--threads", type=names, default=["1", "2"][:most], help="numbers with commas")
    reader.add_argument("-s", "--seconds", type=float, default=1.5, help="how long each contender is timed")
    reader.add_argument("-l", "--limit", type=float, default=90.0, help="seconds in which another must be ready")
    reader.add_argument("-o", "--output", type=Path, default=ROOT / "benchmarks" / "results", help="folder to write to")
    reader.add_argument("--pytensor", metavar="PYTHON", help="an interpreter that has PyTensor, where this has not")
    reader.add_argument("-v", "--variants", action="store_true", help="at other sizes; writes nothing")
    options = reader.parse_args(given)
    contenders = options.contenders or (BRIEF if options.variants else list(CONTENDERS))
    for kind, asked, known in (("workload", options.workloads, WORKLOADS), ("contender", contenders, CONTENDERS)):
        unknown = [n for n in asked if n not in known]
        if unknown:
            reader.error(f"unknown {kind} {', '.join(unknown)}; known are {', '.join(known)}")
    threads = [int(n) for n in options.threads]
    pythons = {"pytensor": options.pytensor} if options.pytensor else {}
    with tempfile.TemporaryDirectory(prefix="symbp-bench-caches-") as folder:
        caches = Path(folder)
        about = machine(caches, threads, pythons)
        measured: dict[str, Any] = {}
        for name in options.workloads:
            for variant in range(1, 1 + len(WORKLOADS[name].variants)) if options.variants else (0,):
                measured[f"{name} {variant}" if variant else name] = measure(
                    name, variant, contenders, threads, options.seconds, options.limit, caches, pythons
                )
            if not options.variants:
                write(about, measured, options.output)  # as far as it is: a run that is cut short leaves what it has
    failed = [name for name, made in measured.items() if any(map(ours_failed, made["steps"].values()))]
    verdict = f"symbp failed in {', '.join(failed)}" if failed else 0
    if options.variants:
        print(variants_report(about, measured))
        sys.exit(verdict)
    print(report(about, measured))
    sys.exit(verdict)


if __name__ == "__main__":
    main()

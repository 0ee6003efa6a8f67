"""Time one training step of every workload, and what compiling it costs; write a table.

    python -m benchmarks.run                             all of it: some ten minutes
    python -m benchmarks.run -w tiny_mlp,pinn -s 0.5     two workloads, half a second for each contender

For every workload, each in a process of its own: the package is derived and written; its first step, machine code
included; its first step again, the machine code found; then the contenders, whose losses and gradients are first
compared with float64, take turns at short blocks of steps until time is up. One thread each.
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
from datetime import date
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
PACKAGES = ("symbp", "numba", "llvmlite", "numpy", "sympy", "torch", "jax")
#: A share of a CPU below this, and other programs took part of the time.
UNDISTURBED = 0.95
#: A share above this, and it ran on more than the one thread that it was asked to run on.
ONE_CPU = 1.15


def measure(name: str, seconds: float) -> dict[str, Any]:
    """All there is to know about one workload, from nothing."""
    with tempfile.TemporaryDirectory(prefix="symbp-bench-") as folder:
        made = child("benchmarks.measure", "emit", name, folder)
        arrays = str(Path(folder) / "arrays.npz")
        cold, warm = (child("benchmarks.first_step", made["package"], arrays) for _ in range(2))
        del made["package"]
        return {**made, "cold": cold, "warm": warm, "steps": child("benchmarks.measure", "time", name, folder, seconds)}


def child(module: str, *arguments: object) -> Any:
    """The JSON that a module prints last, run as a program with one thread."""
    environment = {**os.environ, **dict.fromkeys(ONE_THREAD, "1"), "JAX_PLATFORMS": "cpu"}
    environment["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    environment.pop("NUMBA_CACHE_DIR", None)  # machine code lies beside each package, and goes with it
    command = [sys.executable, "-m", module, *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def machine() -> dict[str, Any]:
    """What the numbers depend on."""
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
    return {
        "date": date.today().isoformat(),
        "cpu": model,
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": versions,
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }


def report(about: dict[str, Any], measured: dict[str, Any]) -> str:
    """The table, as Markdown."""
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    lines = [
        "# Time of one training step",
        "",
        f"{about['date']}, {about['cpu']}, {about['cores']} cores, {about['system']}, one thread. "
        f"Python {about['python']}, {versions}. Load before: {about['load']:.2f}.",
        "",
        "A step is forward, backward and update on one batch. Each entry is the median over blocks of steps and, after "
        "it, their 10th percentile. `symbp` is one compiled call per step, `symbp fit` many steps in one call with the "
        f"gathering of each batch. `~`: the program had less than {UNDISTURBED:.0%} of a CPU, so others disturbed it. "
        "`+`: it took more than one CPU, though asked for one thread.",
        "",
    ]
    names = list(dict.fromkeys(n for found in measured.values() for n in found["steps"]))
    lines += table(
        ["workload", *names, "best of others / symbp"],
        [
            [w, *(duration(found["steps"].get(n)) for n in names), ratio(found["steps"])]
            for w, found in measured.items()
        ],
    )
    lines += [
        "",
        "Compiling, in seconds: `derive` is CPU time from the model to the files. The first step is counted from "
        "before the import of NumPy and Numba to its end, CPU time (wall time): in a first process, which makes the "
        "machine code, and in a second one, which finds it.",
        "",
    ]
    lines += table(
        ["workload", "lines", "derive", "first step, cold", "first step, second process"],
        [
            [
                w,
                f["kernel_lines"],
                f"{f['emit_cpu_s']:.2f}",
                *(f"{f[k]['cpu_s']:.2f} ({f[k]['wall_s']:.2f})" for k in ("cold", "warm")),
            ]
            for w, f in measured.items()
        ],
    )
    return "\n".join(lines) + "\n"


def table(head: list[str], rows: list[list[Any]]) -> list[str]:
    return [f"| {' | '.join(map(str, row))} |" for row in [head, ["---"] * len(head), *rows]]


def duration(found: dict[str, Any] | None) -> str:
    if found is None:
        return "–"
    median, tenth = (time_text(found[k]) for k in ("median_s", "p10_s"))
    share = found["cpu_s"] / found["median_s"]
    mark = " ~" if share < UNDISTURBED else " +" if share > ONE_CPU else ""
    return f"{median}, {tenth}{mark}"


def time_text(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size or unit == "µs":
            return f"{seconds / size:.3g} {unit}"
    raise AssertionError("the loop ends with microseconds")


def ratio(steps: dict[str, Any]) -> str:
    ours = min(found["p10_s"] for name, found in steps.items() if name.startswith("symbp"))
    others = min(found["p10_s"] for name, found in steps.items() if not name.startswith("symbp"))
    return f"{others / ours:.3g}"


def main() -> None:
    from benchmarks.workloads import WORKLOADS

    reader = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__.splitlines()[0])
    reader.add_argument("-w", "--workloads", default=",".join(WORKLOADS), help="names with commas")
    reader.add_argument("-s", "--seconds", type=float, default=3.0, help="how long each contender is timed")
    reader.add_argument("-o", "--output", type=Path, default=ROOT / "benchmarks" / "results", help="folder to write to")
    options = reader.parse_args()
    names = options.workloads.split(",")
    unknown = [n for n in names if n not in WORKLOADS]
    if unknown:
        reader.error(f"unknown workload {', '.join(unknown)}; known are {', '.join(WORKLOADS)}")
    about = machine()
    if about["load"] and about["load"] > 0.5:
        print(f"note: other programs are at work (load {about['load']:.1f}); what is timed now is not to be published")
    measured = {}
    for name in names:
        measured[name] = measure(name, options.seconds)
        steps = "; ".join(f"{n} {duration(found)}" for n, found in measured[name]["steps"].items())
        print(f"{name}: cold {measured[name]['cold']['cpu_s']:.1f} s; {steps}", flush=True)
    options.output.mkdir(parents=True, exist_ok=True)
    words = "-".join(re.findall(r"[a-z0-9]+", f"{about['cpu']} {about['cores']} cores".lower()))
    path = options.output / f"{about['date']}-{words}"
    path.with_suffix(".json").write_text(json.dumps({"machine": about, "workloads": measured}, indent=1) + "\n")
    path.with_suffix(".md").write_text(report(about, measured), encoding="utf-8")
    print(report(about, measured))


if __name__ == "__main__":
    main()

"""Check and time everything on a GPU, in one go; a run that is cut off leaves the results it had.

    make gpu                                                all of it, within eight minutes
    python -m benchmarks.gpu.run --minutes 4 --only timing  one part
    python -m benchmarks.gpu.run --emulate --cases line     the checks on the emulator, where there is no GPU

The parts, each in processes of its own:

    ceilings      what the device can do: a large copy, large matrix products
    tests         the tests of the suite that need a GPU
    agreement     every family of models in float32 and float64: loss, gradients, outputs; steps of training
    contraction   products of odd shapes against float64
    timing        steps beside PyTorch, torch.compile and JAX, and the share of the device that they reach
    sanitizer     memcheck and racecheck of a few models, where compute-sanitizer is installed
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.gpu import machine
from benchmarks.gpu.children import ROOT, Child
from benchmarks.gpu.record import Record

#: The families, those that take longest first, and into how many processes each is dealt.
FAMILIES = {
    "training": 4,
    "recurrent": 3,
    "attention": 2,
    "convolution": 2,
    "dense": 2,
    "workloads": 2,
    "subscripts": 1,
    "derivatives inside": 1,
}
#: How many workloads are built at the same time. They are timed one after the other, when all of them are built.
BUILT_TOGETHER = 4


class Run:
    """One run: where its rows go, and when it must be over."""

    def __init__(self, record: Record, minutes: float, emulate: bool, cases: str) -> None:
        self.record = record
        self.emulate = emulate
        self.cases = cases
        self.end = time.monotonic() + 60 * minutes
        self.ceilings: dict[str, float] = {}
        self._lock = threading.Lock()

    def deadline(self, share: float) -> float:
        now = time.monotonic()
        return now + share * max(0.0, self.end - now)

    def add(self, section: str, row: dict[str, Any]) -> None:
        with self._lock:
            self.record.add(section, row)
        told = {n: v for n, v in row.items() if n != "traceback"}
        print(f"{section}: {json.dumps(told, default=str)}", flush=True)
        if "traceback" in row:
            print(row["traceback"], flush=True)

    def note(self, text: str) -> None:
        with self._lock:
            self.record.note(text)


def ceilings(run: Run, deadline: float) -> None:
    child = Child("machine")
    while child.row(deadline) is not None:
        pass
    try:
        run.ceilings = json.loads(next(line for line in reversed(child.said) if line.startswith("{")))
    except (StopIteration, ValueError):
        run.note(f"the device's ceilings were not measured: {child.last_words(3)}")
        return
    run.add("ceilings", run.ceilings)


def tests(run: Run, deadline: float) -> None:
    child = Child("run", command=["-m", "pytest", "-q", "-m", "cuda", "-p", "no:cacheprovider", "tests/runtime/cuda"])
    for _ in child.rows(deadline):
        pass
    row: dict[str, Any] = {"case": "pytest -m cuda", "found": child.last_words(1)}
    run.add("tests", {**row, **_ending(child, 80)})


def agreement(run: Run, deadline: float) -> None:
    """Families side by side: most of the time goes into compiling, which needs no GPU."""
    families = _families(run)
    at_once = 2 if run.emulate else max(2, (os.cpu_count() or 2) - 2)
    with ThreadPoolExecutor(at_once) as pool:
        parts = [(f, f"{k + 1}/{n}") for f, n in families.items() for k in range(n)]
        for done in [pool.submit(_family, run, family, part, deadline) for family, part in parts]:
            done.result()


def _families(run: Run) -> dict[str, int]:
    """Those that have cases of the names that were asked for."""
    if not run.cases:
        return FAMILIES
    from benchmarks.gpu import zoo

    wanted = run.cases.split(";")
    found = {f: 1 for f in FAMILIES if zoo.chosen("workloads" if f == "training" else f, wanted)}
    if not found:
        known = ", ".join(case.name for cases in zoo.FAMILIES.values() for case in cases)
        raise SystemExit(f"there is no case {run.cases}; known are {known}")
    return found


def _family(run: Run, family: str, part: str, deadline: float) -> None:
    options = (["--emulate"] if run.emulate else []) + (["--cases", run.cases] if run.cases else [])
    done = 0
    while time.monotonic() < deadline:
        child = Child("agreement", family, part, done, *options)
        told = 0
        for row in child.rows(deadline):
            run.add("agreement", row)
            told += 1
        done += told
        if child.status == 0:
            return
        if time.monotonic() >= deadline:
            break
        if not told or child.status != 1:  # it ended without a word about the case that it was at
            error = f"the process ended with status {child.status}"
            run.add("agreement", {"family": family, "case": f"number {done} of part {part}", "error": error,
                                  "traceback": child.last_words()})  # fmt: skip
            done += 1
            if not told and done > 3:
                break
    run.note(f"agreement of {family}, part {part}: {done} cases were tried, not all of them")


def contraction(run: Run, deadline: float) -> None:
    child = Child("contractions", *(["--emulate"] if run.emulate else []))
    rows = list(child.rows(deadline))
    for row in rows:
        if "error" in row:
            run.add("contraction", row)
    used = [row["of what rounding may do"] for row in rows if "of what rounding may do" in row]
    good = sum("error" not in row for row in rows)
    worst = f"largest error {max(used):.2g} of what rounding may do" if used else ""
    summary: dict[str, Any] = {"case": f"{good} of {len(rows)} products agree", "dtype": worst}
    run.add("contraction", {**summary, **_ending(child)})


def timing(run: Run, deadline: float) -> None:
    from benchmarks.gpu.timed import TIMED, floor_seconds

    how = ["emulated"] if run.emulate else []
    names = [n for n in TIMED if not run.cases or any(n.startswith(c) for c in run.cases.split(";"))]
    for first in range(0, len(names), BUILT_TOGETHER):
        if deadline - time.monotonic() < 20:
            run.note(f"no time was left for {', '.join(names[first:])}")
            return
        children = {name: Child("steps", name, *how) for name in names[first : first + BUILT_TOGETHER]}
        try:
            for name in [name for name, child in children.items() if _is_built(run, name, child, deadline)]:
                _time(run, name, children[name], floor_seconds(TIMED[name], run.ceilings), deadline)
        finally:
            for child in children.values():
                child.end()


def _is_built(run: Run, name: str, child: Child, deadline: float) -> bool:
    """Wait until a workload's contenders are built and checked."""
    while (row := child.row(deadline)) is not None and "ready" not in row:
        if "error" in row:
            run.add("timing", row)
        elif "not timed" in row:
            run.note(f"{row['workload']}: {row['contender']} is not timed: {row['not timed']}")
        else:
            print(f"{name}: {row}", flush=True)
    if row is None:
        run.add("timing", {"workload": name, "built": "no", **_ending(child)})
    return row is not None


def _time(run: Run, name: str, child: Child, floor: float | None, deadline: float) -> None:
    child.write("go")
    for row in child.rows(deadline):
        if floor is not None and "us a step" in row:
            row["floor us"] = 1e6 * floor
            row["of the floor's speed"] = 1e6 * floor / row["us a step"]
        run.add("timing", row)
    if wrong := _ending(child):
        run.add("timing", {"workload": name, **wrong})


def _ending(child: Child, lines: int = 25) -> dict[str, Any]:
    """What a row says of a child that did not end well; one that was ended for want of time did nothing wrong."""
    if child.late:
        return {"cut off": "out of time"}
    if child.status == 0:
        return {}
    return {"error": f"the process ended with status {child.status}", "traceback": child.last_words(lines)}


def sanitizer(run: Run, deadline: float) -> None:
    tool = shutil.which("compute-sanitizer") or shutil.which("compute-sanitizer", path="/usr/local/cuda/bin")
    if tool is None:
        run.note("compute-sanitizer is not there: memcheck and racecheck were not run")
        return
    checks = ("memcheck", "racecheck")
    children = {
        check: Child("sanitised", before=(tool, "--tool", check, "--report-api-errors", "no", "--error-exitcode", "9"))
        for check in checks
    }
    for check, child in children.items():
        for _ in child.rows(deadline):
            pass
        wrong = _ending(child, 60)
        run.add("sanitizer", {"case": check, "found": "" if wrong else "nothing", **wrong})


#: The parts in order, and the share of the time left that each may have; what one leaves goes to those after it.
PARTS: dict[str, tuple[Callable[[Run, float], None], float]] = {
    "ceilings": (ceilings, 0.1),
    "tests": (tests, 0.15),
    "agreement": (agreement, 0.35),
    "contraction": (contraction, 0.15),
    "timing": (timing, 0.8),
    "sanitizer": (sanitizer, 1.0),
}

EMULATED = ("agreement", "contraction", "timing")


def main(arguments: list[str] | None = None) -> int:
    reader = argparse.ArgumentParser(prog="python -m benchmarks.gpu.run", description=__doc__.splitlines()[0])
    reader.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results", help="folder to write to")
    reader.add_argument("--minutes", type=float, default=8.0, help="it stops after so long")
    reader.add_argument("--only", default=",".join(PARTS), help="parts, with commas")
    reader.add_argument("--emulate", action="store_true", help="on the emulator, tiny and not timed")
    reader.add_argument("--cases", default="", help="names of cases, or how those of workloads begin, with semicolons")
    options = reader.parse_args(arguments)
    parts = [part.strip() for part in options.only.split(",")]
    unknown = [part for part in parts if part not in PARTS]
    if unknown:
        reader.error(f"unknown part {', '.join(unknown)}; known are {', '.join(PARTS)}")
    if options.emulate:
        parts = [part for part in parts if part in EMULATED]
    found = machine.about()
    print(json.dumps(found, indent=1), flush=True)
    record = Record(options.out, machine.stem(found, "-emulated" if options.emulate else ""), found)
    run = Run(record, options.minutes, options.emulate, options.cases)
    for part in parts:
        began = time.monotonic()
        try:
            work, share = PARTS[part]
            work(run, run.deadline(share))
        except Exception as problem:  # what one part does not survive, the next may
            run.note(f"{part} ended early: {type(problem).__name__}: {problem}")
        print(f"== {part}: {time.monotonic() - began:.0f} s", flush=True)
    print(record.text())
    print(f"written to {record.path}.md and .json")
    return 1 if record.failures() else 0


if __name__ == "__main__":
    sys.exit(main())

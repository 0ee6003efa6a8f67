"""The processes that `benchmarks.run` starts, each with the threads and the core that it is given."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any

ROOT = Path(__file__).resolve().parents[1]
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
#: Seconds in which ours must be ready: without them nothing is compared.
OURS = 900.0
#: How many contenders are built at the same time, before anything is timed.
BUILDERS = 2
ROUNDS = 6
#: A share of one core: where other programs take more of it, a round is disturbed.
DISTURBED = 0.1
PATIENCE = 0.5


def environment(threads: int, caches: Path) -> dict[str, str]:
    """For a process that is to use so many threads; what its compilers keep goes below `caches`."""
    chosen = {**os.environ, **dict.fromkeys(THREADS, str(threads)), "JAX_PLATFORMS": "cpu"}
    if threads == 1:
        chosen["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    chosen["TORCHINDUCTOR_COMPILE_THREADS"] = "1"
    chosen["TORCHINDUCTOR_CACHE_DIR"] = str(caches / f"inductor-{threads}")
    chosen["PYTENSOR_FLAGS"] = f"base_compiledir={caches / f'pytensor-{threads}'},cxx="
    chosen.pop("NUMBA_CACHE_DIR", None)  # machine code lies beside each package, and goes with it
    return chosen


def cores() -> list[int | None]:
    """Those that this process may use; nothing is known where the system cannot pin."""
    return [*sorted(os.sched_getaffinity(0))] if hasattr(os, "sched_getaffinity") else [None]


def child(module: str, *arguments: object, threads: int, caches: Path) -> Any:
    """The JSON that a module prints last, run as a program. Ends this one if that fails."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    done = subprocess.run(
        command, cwd=ROOT, env=environment(threads, caches), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


@dataclass
class Worker:
    """A process of `benchmarks.worker`, and what it has answered."""

    name: str
    process: subprocess.Popen[str]
    ready: dict[str, Any]
    rounds: list[dict[str, Any]] = field(default_factory=list)

    def ask(self, seconds: float, core: int | None) -> None:
        """Let it time some blocks now; waits a little for the machine to be idle first."""
        end = time.perf_counter() + PATIENCE
        while time.perf_counter() < end and load_during(lambda: time.sleep(0.03)) > DISTURBED:
            pass
        found: dict[str, Any] = {}

        def exchange() -> None:
            assert self.process.stdin is not None
            assert self.process.stdout is not None
            print(json.dumps({"seconds": seconds, "core": core}), file=self.process.stdin, flush=True)
            found.update(json.loads(self.process.stdout.readline()))

        started = time.perf_counter()
        used = load_during(exchange)
        others = used - found["cpu_s"] / (time.perf_counter() - started)
        self.rounds.append({**found, "disturbed": others > DISTURBED})

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def load_during(work: Any) -> float:
    """Cores in use by all programs together while `work` runs; 0 where the system does not say."""
    start, used = time.perf_counter(), busy_seconds()
    work()
    return (busy_seconds() - used) / (time.perf_counter() - start)


def busy_seconds() -> float:
    """CPU seconds since the machine started, those that a host took from it included."""
    try:
        user, nice, system, _, _, interrupts, soft, steal = map(
            int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
        )
    except OSError:
        return 0.0
    return (user + nice + system + interrupts + soft + steal) / float(os.sysconf("SC_CLK_TCK"))


def start(
    name: str,
    case: Sequence[object],
    threads: int,
    core: int | None,
    limit: float,
    caches: Path,
    log: IO[str],
    python: str = sys.executable,
) -> Worker:
    """A worker that is ready, or has failed: then `ready` says why. `case` is the workload, variant and folder."""
    place = () if core is None else (str(core),)
    arguments = ["benchmarks.worker", name, *map(str, case), str(threads), *place]
    process = subprocess.Popen(
        [python, "-m", *arguments],
        cwd=ROOT,
        env=environment(threads, caches),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
    )
    alarm = threading.Timer(limit, process.kill)
    alarm.start()
    began = time.perf_counter()
    assert process.stdout is not None
    line = process.stdout.readline()
    alarm.cancel()
    late = time.perf_counter() - began >= limit
    failed = f"not ready after {limit:.0f} s" if late else "ended without a word"
    return Worker(name, process, json.loads(line) if line else {"failed": failed})


def timed(
    names: Sequence[str],
    case: Sequence[object],
    threads: int,
    seconds: float,
    caches: Path,
    log: IO[str],
    limit: float,
    pythons: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, dict[str, Any]]:
    """What each contender took for one step with so many threads, or why it could not be timed.

    All of them are made first, the others within `limit` seconds each; then they take turns. `pythons` has the
    interpreters of those that do not run in this one.
    """
    places = cores()

    def begin(number: int, name: str) -> Worker:
        place = places[number % len(places)] if threads == 1 else None
        patience = OURS if name.startswith("symbp") else limit
        return start(name, case, threads, place, patience, caches, log, pythons.get(name, sys.executable))

    with ThreadPoolExecutor(BUILDERS) as pool:
        workers = list(pool.map(begin, range(len(names)), names))
    ready = [w for w in workers if "failed" not in w.ready]
    for _ in range(ROUNDS):
        for worker in ready:
            worker.ask(seconds / ROUNDS, places[-1] if threads == 1 else None)
    for worker in workers:
        worker.end()
    return {w.name: summary(w) if w in ready else w.ready for w in workers}


def summary(worker: Worker) -> dict[str, Any]:
    """Median and 10th percentile over the blocks of all rounds that nothing disturbed, or of all where that are few."""
    calm = [r for r in worker.rounds if not r["disturbed"]]
    chosen = calm if len(calm) > 1 else worker.rounds
    wall = sorted(w for r in chosen for w in r["wall"])
    cpu = sorted(c for r in chosen for c in r["cpu"])
    return {
        **worker.ready,
        "median_s": wall[len(wall) // 2],
        "p10_s": wall[len(wall) // 10],
        "cpu_s": cpu[len(cpu) // 2],
        "blocks": len(wall),
        "disturbed": len(calm) < 2,
    }

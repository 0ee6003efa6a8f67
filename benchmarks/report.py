"""The tables of a benchmark, as Markdown, from what was measured."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

#: Columns, from left to right.
ORDER = ("symbp", "symbp fit", "torch", "torch.compile", "jax", "jax loop", "pytensor")
#: Floors below this say nothing about a step.
LEAST_FLOOR = 1e-7

STEPS = (
    "A step is forward, backward and update on one batch; loss, gradients and the loss after five steps were compared "
    "with float64 first. Each entry is the median over blocks of steps; in brackets are their 10th percentile and the "
    "CPU seconds used in a second. `symbp` is one compiled call per step, `symbp fit` many steps in one call with the "
    "gathering of each batch; `jax loop` many steps in one jitted call; `torch.compile` the whole step as one graph, "
    "for `pinn` with the derivatives in the loss written out by hand. It fails on the LSTM, and takes minutes to "
    "unroll the GRU. `~`: other programs disturbed it. `floor` is the larger of two times: the operations of the "
    "matrix products by the best rate of one, and, where the weights do not fit into the caches, the bytes that must "
    "be moved by the bandwidth; elementwise functions and calls are not in it."
)
COMPILING = (
    "In seconds: `derive` is CPU time from the model to the files. The first step is counted from before the import of "
    "NumPy and Numba to its end, CPU time (wall time): in a first process, which makes the machine code, and in a "
    "second one, which finds it. One thread. For the others it is the CPU time until their first step is done, without "
    "the import."
)


def report(about: dict[str, Any], measured: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    lines = [
        "# Time of one training step",
        "",
        f"{about['date']}, {about['cpu']}, {about['cores']} cores, {about['system']}. Python {about['python']}, "
        + f"{versions}."
        + (f" Load before: {about['load']:.2f}." if about["load"] is not None else ""),
        "",
        STEPS,
        "",
    ]
    for threads in about["limits"]:
        lines += [f"## {threads} thread{'s' if threads != '1' else ', one core'}", ""]
        lines += [limits_text(about["limits"][threads]), ""]
        lines += steps_table(about, measured, threads)
        lines += [*failures(measured, threads), ""]
    lines += [
        "## Compiling",
        "",
        COMPILING,
        "",
    ]
    others = [n for n in contenders(measured, first(about)) if not n.startswith("symbp")]
    lines += table(
        ["workload", "lines", "derive", "first step, cold", "first step, second process", *others],
        [
            [
                name,
                found["kernel_lines"],
                f"{found['emit_cpu_s']:.2f}",
                *(f"{found[kind]['cpu_s']:.2f} ({found[kind]['wall_s']:.2f})" for kind in ("cold", "warm")),
                *(built(found["steps"][first(about)].get(other)) for other in others),
            ]
            for name, found in measured.items()
        ],
    )
    return "\n".join(lines) + "\n"


def variants_report(about: dict[str, Any], measured: dict[str, Any]) -> str:
    """Each at its sizes, with the ratios alone that show whether the listed sizes are special."""
    lines = []
    for threads in about["limits"]:
        lines += [f"{threads} thread{'s' if threads != '1' else ''}", ""]
        lines += steps_table(about, measured, threads)
        lines += [*failures(measured, threads), ""]
    lines += [f"{name}: {', '.join(f'{k} {n}' for k, n in f['sizes'].items())}" for name, f in measured.items()]
    return "\n".join(lines)


def first(about: dict[str, Any]) -> str:
    return str(next(iter(about["limits"])))


def contenders(measured: dict[str, Any], threads: str) -> list[str]:
    """Those that were timed in some workload."""
    timed = {n for f in measured.values() for n, row in f["steps"][threads].items() if "failed" not in row}
    return [name for name in ORDER if name in timed]


def steps_table(about: dict[str, Any], measured: dict[str, Any], threads: str) -> list[str]:
    names = contenders(measured, threads)
    return table(
        ["workload", *names, "best of others / symbp", "floor", "symbp / floor"],
        [
            [
                workload,
                *(cell(found["steps"][threads].get(name)) for name in names),
                ratio_text(found["steps"][threads]),
                *floor_texts(found, about["limits"][threads], threads),
            ]
            for workload, found in measured.items()
        ],
    )


def table(head: list[Any], rows: Iterable[list[Any]]) -> list[str]:
    return [f"| {' | '.join(map(str, row))} |" for row in [head, ["---"] * len(head), *rows]]


def cell(found: dict[str, Any] | None) -> str:
    if found is None or "failed" in found:
        return "–"
    used = found["cpu_s"] / found["median_s"]
    mark = " ~" if found["disturbed"] else ""
    return f"{time_text(found['median_s'])} ({time_text(found['p10_s'])}, {used:.1f}){mark}"


def time_text(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size or unit == "µs":
            return f"{seconds / size:.3g} {unit}"
    raise AssertionError("the loop ends with microseconds")


def built(found: dict[str, Any] | None) -> str:
    return "–" if found is None or "failed" in found else f"{found['build_cpu_s']:.1f}"


def best(steps: dict[str, Any], *, ours: bool, of: str = "median_s") -> float | None:
    """The best time of ours, or of the others; None if there is none."""
    found = [row[of] for name, row in steps.items() if name.startswith("symbp") == ours and "failed" not in row]
    return min(found, default=None)


def ratio_text(steps: dict[str, Any]) -> str:
    ours, others = best(steps, ours=True), best(steps, ours=False)
    return "–" if ours is None or others is None else f"{others / ours:.3g}"


def floor_seconds(found: dict[str, Any], limits: dict[str, Any]) -> float:
    """The least time of a step on a machine of these limits, by matrix products and by memory."""
    by_products = float(found["flops"] / max(limits[found["dtype"]].values()))
    # Weights, gradients and as much again of state and data may still stay in the last cache.
    moved = found["bytes"] if 3 * found["weight_bytes"] > limits["cache"] else 0
    return max(by_products, float(moved / limits["bandwidth"]))


def floor_texts(found: dict[str, Any], limits: dict[str, Any], threads: str) -> tuple[str, str]:
    floor, ours = floor_seconds(found, limits), best(found["steps"][threads], ours=True)
    if floor < LEAST_FLOOR or ours is None:
        return "–", "–"
    return time_text(floor), f"{ours / floor:.3g}"


def limits_text(limits: dict[str, Any]) -> str:
    def rates(dtype: str) -> str:
        return ", ".join(f"{name} {rate / 1e9:.0f}" for name, rate in limits[dtype].items())

    return (
        f"Matrix products, GFLOP/s: float32 {rates('float32')}; float64 {rates('float64')}. "
        f"Memory: {limits['bandwidth'] / 1e9:.0f} GB/s; last cache: {limits['cache'] / (1 << 20):.0f} MiB."
    )


def failures(measured: dict[str, Any], threads: str) -> list[str]:
    """Who could not be timed, and why."""
    found = [
        f"- {workload}: {name}: {row['failed']}"
        for workload, f in measured.items()
        for name, row in f["steps"][threads].items()
        if "failed" in row
    ]
    return ["", "Left out:", "", *found] if found else []

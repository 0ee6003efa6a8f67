"""One workload's steps, timed in a process of its own beside those of PyTorch and JAX.

    python -m benchmarks.gpu.steps NAME [emulated]

Everything is built and checked first: several such processes do so at once. Then it says that it is ready, waits for
a line on its standard input, and times: the device is then its own.
"""

from __future__ import annotations

import statistics
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from benchmarks.gpu.children import tell
from benchmarks.gpu.ours import SymbpGpu, SymbpTrainStep, given, package
from benchmarks.gpu.peers import Contender, JaxGpu, TorchGpu, disagreement, reference
from benchmarks.gpu.timed import TIMED, TORCH_LOSSES, Timed

ROUNDS = 15
BLOCK_SECONDS = 0.03


def main(name: str, emulated: str = "") -> None:
    timed = TIMED[name].shrunk() if emulated else TIMED[name]
    contenders, errors = build(timed, bool(emulated))
    tell({"ready": name})
    if sys.stdin.readline().strip() != "go":
        return
    for row in times(timed, contenders, rounds=1 if emulated else ROUNDS):
        if emulated:  # what is timed is the emulator
            row = {"workload": f"{name}, small, emulated", "contender": row["contender"], "steps": row["steps"]}
        tell({**row, "largest gradient error": errors[row["contender"]]})


def build(timed: Timed, emulated: bool) -> tuple[dict[str, Contender], dict[str, float]]:
    """Those who can do the workload, and how far their gradients are from float64. Each has done a few steps."""
    parameters, inputs = given(timed)
    rule, loss = timed.build().optimizer_rule, TORCH_LOSSES[timed.loss]
    if emulated and timed.loss == "tfblock":
        loss = partial(loss, heads=2)
    device = "cpu" if emulated else "cuda"
    expected = reference(loss, parameters, inputs, device)
    net = package(timed, emulated=emulated)
    makers: dict[str, Callable[[], Contender]] = {"symbp": lambda: SymbpGpu(net, parameters, inputs)}
    if rule is not None:
        makers["symbp train_step"] = lambda: SymbpTrainStep(net, parameters, inputs)
    makers["torch"] = lambda: TorchGpu(loss, rule, parameters, inputs, device=device)
    if not emulated:
        makers["torch.compile"] = lambda: TorchGpu(loss, rule, parameters, inputs, compiled=True)
    if not (emulated and timed.loss == "tfblock"):  # whose number of heads is fixed in JAX's form
        makers["jax"] = lambda: JaxGpu(timed.loss, rule, parameters, inputs)
    contenders: dict[str, Contender] = {}
    errors: dict[str, float] = {}
    for who, make in makers.items():
        began = time.perf_counter()
        try:
            contender = make()
            errors[who] = disagreement(contender.loss_and_gradients(), expected)
            for _ in range(1 if emulated else 3):
                contender()
            contender.wait()
            contenders[who] = contender
            tell({"built": who, "seconds": round(time.perf_counter() - began, 2)})
        except Exception as problem:
            said = " ".join(f"{type(problem).__name__}: {problem}".split())[:300]
            row = {"workload": timed.name, "contender": who}
            if who.startswith("symbp"):
                tell({**row, "error": said, "traceback": traceback.format_exc()[-3000:]})
            else:
                tell({**row, "not timed": said})
    return contenders, errors


def times(timed: Timed, contenders: dict[str, Contender], rounds: int = ROUNDS) -> list[dict[str, Any]]:
    """A row for each contender: microseconds of a step, medians over blocks that take turns."""
    calls = {who: _calls(contender) if rounds > 1 else 2 for who, contender in contenders.items()}
    wall: dict[str, list[float]] = {who: [] for who in contenders}
    device: dict[str, list[float]] = {who: [] for who in contenders}
    for _ in range(rounds):
        for who, contender in contenders.items():
            spans = _block(contender, calls[who])
            wall[who].append(spans[0])
            if spans[1] is not None:
                device[who].append(spans[1])
    rows = []
    for who, spans in wall.items():
        row: dict[str, Any] = {"workload": timed.name, "contender": who}
        row["us a step"] = 1e6 * statistics.median(spans)
        row["fastest us"] = 1e6 * min(spans)
        row["us by events"] = 1e6 * statistics.median(device[who]) if device[who] else None
        row["steps"] = calls[who] * rounds
        rows.append(row)
    return rows


def _calls(contender: Contender) -> int:
    """How many steps fill a block."""
    seconds = min(_block(contender, 2)[0] for _ in range(3))
    return max(2, min(2000, int(BLOCK_SECONDS / seconds)))


def _stream(address: int | None) -> torch.cuda.Stream | None:
    if address is None:
        return None
    return torch.cuda.ExternalStream(address) if address else torch.cuda.default_stream()


def _block(contender: Contender, calls: int) -> tuple[float, float | None]:
    """Seconds of a step: by the clock, from the first call to the end of the last; by events on the device."""
    contender.wait()
    stream = _stream(contender.stream)
    if stream is None:
        began = time.perf_counter()
        for _ in range(calls):
            contender()
        contender.wait()
        return (time.perf_counter() - began) / calls, None
    start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    began = time.perf_counter()
    start.record(stream)
    for _ in range(calls):
        contender()
    stop.record(stream)
    contender.wait()
    seconds = (time.perf_counter() - began) / calls
    stop.synchronize()
    return seconds, start.elapsed_time(stop) / 1e3 / calls


if __name__ == "__main__":
    main(*sys.argv[1:])

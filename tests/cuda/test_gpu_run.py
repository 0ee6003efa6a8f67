"""``make gpu`` without a GPU: its checks on the emulator, and what it does when a part of it fails."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="symbp is compared with torch")

import torch

from benchmarks import torch_models
from benchmarks.gpu import children, run, zoo
from benchmarks.gpu.ours import SymbpGpu, SymbpTrainStep, given, package
from benchmarks.gpu.peers import TorchGpu, disagreement, reference
from benchmarks.gpu.record import Record
from benchmarks.gpu.steps import times
from benchmarks.gpu.timed import TIMED, TORCH_LOSSES, floor_seconds, lenet5_flops, lstm_flops, mlp_flops
from symbp.check import interpret, random_feed
from symbp.pipeline import derive_model
from tests.numeric.harness import relative_error


def results(folder: Path) -> tuple[dict[str, Any], str]:
    (data,), (text,) = folder.glob("*.json"), folder.glob("*.md")
    return json.loads(data.read_text(encoding="utf-8")), text.read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_dry_run(tmp_path: Path) -> None:
    words = [
        "--emulate",
        "--out",
        str(tmp_path),
        "--minutes",
        "5",
        "--cases",
        "line;workload logreg;swiglu_rmsnorm 2048",
    ]
    assert run.main(words) == 0
    found, text = results(tmp_path)
    agreed = {(row["family"], row["case"], row["dtype"]) for row in found["agreement"]}
    assert agreed == {
        ("dense", "line", "float64"),
        ("dense", "line", "float32"),
        ("workloads", "workload logreg", "float64"),
        ("workloads", "workload logreg", "float32"),
        ("training", "workload logreg", "float64"),
        ("training", "workload logreg", "float32"),
    }
    assert all(0 <= row["worst"] <= 1 for row in found["agreement"])
    (summary,) = found["contraction"]
    count, _, total = summary["case"].split()[:3]
    assert (count, int(total) > 20) == (total, True)
    assert {row["contender"] for row in found["timing"]} >= {"symbp", "torch"}
    # Nothing that an emulator takes is a time.
    assert not any("us" in name for row in found["timing"] for name in row)
    assert "## Agreement" in text
    assert "What failed" not in text


def test_a_case_that_nobody_knows(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="there is no case nonsense; known are linear, rms"):
        run.main(["--emulate", "--only", "agreement", "--out", str(tmp_path), "--cases", "nonsense"])


class Scripted:
    """A child that says what it is told to, and ends with a status."""

    def __init__(self, rows: list[dict[str, Any]], status: int) -> None:
        self._rows, self.status, self.late = rows, status, False

    def row(self, deadline: float) -> dict[str, Any] | None:
        return self._rows.pop(0) if self._rows else None

    def rows(self, deadline: float) -> Iterator[dict[str, Any]]:
        while (row := self.row(deadline)) is not None:
            yield row

    def last_words(self, count: int = 25) -> str:
        return "illegal address"

    def write(self, line: str) -> None:
        assert line == "go"

    def end(self) -> None:
        pass


def started(monkeypatch: pytest.MonkeyPatch, *scripts: Scripted) -> list[tuple[Any, ...]]:
    """Children are these, in turn; with what they were started."""
    left, calls = list(scripts), []

    def start(*arguments: Any, **_: Any) -> Scripted:
        calls.append(arguments)
        return left.pop(0)

    monkeypatch.setattr(run, "Child", start)
    return calls


def a_run(folder: Path, minutes: float = 1.0) -> run.Run:
    return run.Run(Record(folder, "r", {"device": "none"}), minutes, False, "")


def test_a_case_that_ends_its_process_is_told_and_the_rest_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = {"family": "dense", "case": "a", "dtype": "float32", "worst": 0.5}
    lost = {**good, "case": "b", "error": "CUDA_ERROR_ILLEGAL_ADDRESS", "traceback": "deep down"}
    last = {**good, "case": "d"}
    calls = started(monkeypatch, Scripted([good, lost], status=1), Scripted([], status=-11), Scripted([last], status=0))
    one = a_run(tmp_path)
    run._family(one, "dense", "1/2", time.monotonic() + 60)
    assert [call[3] for call in calls] == [0, 2, 3]  # it goes on behind the case that was lost
    rows = one.record.sections["agreement"]
    assert [row["case"] for row in rows] == ["a", "b", "number 2 of part 1/2", "d"]
    assert len(one.record.failures()) == 2
    _, text = results(tmp_path)
    assert "| dense | float32 | 2 of 3 | 0.5 |" in text
    assert "deep down" in text
    assert "illegal address" in text


def test_time_that_is_up_stops_cleanly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started(monkeypatch)
    one = a_run(tmp_path, minutes=0.0)
    run._family(one, "dense", "1/1", time.monotonic())
    run.timing(one, time.monotonic())
    assert [note.partition(":")[0] for note in one.record.notes[:1]] == ["agreement of dense, part 1/1"]
    assert one.record.notes[1].startswith("no time was left for mlp_mnist batch 128, ")


def test_times_are_held_against_the_floor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "mlp_mnist batch 128"
    timed = {"workload": name, "contender": "symbp", "us a step": 100.0}
    missing = {"workload": name, "contender": "jax", "not timed": "there is no jax"}
    started(monkeypatch, Scripted([{"built": "symbp"}, missing, {"ready": name}, timed], status=0))
    one = a_run(tmp_path)
    one.cases = name
    one.ceilings = {"matmul_float32_flop_per_s": 1e13, "copy_bytes_per_s": 1e12}
    run.timing(one, time.monotonic() + 60)
    (row,) = one.record.sections["timing"]
    assert row["floor us"] == pytest.approx(1e6 * TIMED[name].flops / 1e13)
    assert row["of the floor's speed"] == pytest.approx(row["floor us"] / 100)
    assert one.record.notes == [f"{name}: jax is not timed: there is no jax"]


def test_a_child_that_takes_too_long_is_ended() -> None:
    child = children.Child("run", command=["-c", "import time; time.sleep(60)"])
    began = time.monotonic()
    assert child.row(began + 0.2) is None
    assert time.monotonic() - began < 20
    assert child.status != 0
    assert child.late
    assert child.last_words().endswith("out of time")
    assert run._ending(child) == {"cut off": "out of time"}


def test_a_child_hands_over_its_rows() -> None:
    code = "from benchmarks.gpu.children import tell; print('aside'); tell({'a': 1}); raise SystemExit(3)"
    child = children.Child("run", command=["-c", code])
    assert list(child.rows(time.monotonic() + 60)) == [{"a": 1}]
    assert (child.said, child.status) == (["aside"], 3)
    assert run._ending(child) == {"error": "the process ended with status 3", "traceback": "aside"}


def test_results_are_on_disk_after_every_row(tmp_path: Path) -> None:
    record = Record(tmp_path, "r", {"device": "none"})
    record.add("timing", {"workload": "w", "contender": "symbp", "us a step": 1.5})
    found, text = results(tmp_path)
    assert found["timing"] == [{"workload": "w", "contender": "symbp", "us a step": 1.5}]
    assert "| w | symbp | 1.5 |" in text
    assert record.failures() == []


# What is timed.


@pytest.mark.parametrize("name", ["softmax_ce 4096 x 32768", "mlp64 batch 262144"])
def test_gradients_of_new_workloads_are_those_of_torch(name: str) -> None:
    timed = TIMED[name].shrunk()
    derivation, sizes = derive_model(timed.build()), dict(timed.sizes)
    feed = random_feed(derivation.primal, sizes, seed=1)
    tensors = {n: torch.tensor(array) for n, array in feed.items()}
    for parameter, _ in derivation.gradients:
        tensors[parameter].requires_grad_()
    TORCH_LOSSES[timed.loss](tensors).backward()
    found = interpret(derivation.program, sizes, feed)
    for parameter, adjoint in derivation.gradients:
        assert relative_error(found[adjoint], tensors[parameter].grad.numpy()) <= 1e-9


def test_every_workload_has_a_loss_in_torch_and_a_floor() -> None:
    ceilings = {"matmul_float32_flop_per_s": 5e13, "copy_bytes_per_s": 3e12}
    assert set(TORCH_LOSSES) - set(torch_models.LOSSES) == {"softmax_ce", "mlp64"}
    for timed in TIMED.values():
        assert timed.loss in TORCH_LOSSES
        floor = floor_seconds(timed, ceilings)
        assert floor is not None
        assert 1e-8 < floor < 1e-1
    assert floor_seconds(TIMED["mlp_mnist batch 128"], {}) is None


def test_work_is_counted_by_hand() -> None:
    # Products of an n x m with an m x k matrix take 2*n*m*k. Forward, two of these; backward, three: no adjoint of x.
    assert mlp_flops(2, 3, 5, 7) == 2 * 2 * (3 * 5 + 5 * 7) + 2 * 2 * (3 * 5 + 2 * 5 * 7)
    assert lstm_flops(1, length=1, hidden=2, characters=3) == 3 * 2 * (2 * 8 + 2 * 3)
    assert lenet5_flops(1) == 4 * 86400 + 6 * 153600 + 6 * 41640


def test_every_family_of_the_tests_is_there() -> None:
    names = [(family, case.name) for family, cases in zoo.FAMILIES.items() for case in cases]
    assert len(names) == len(set(names)) > 70
    assert set(run.FAMILIES) == {*zoo.FAMILIES, "training"}
    assert not any(";" in name for _, name in names)


def test_our_contenders_on_the_emulator() -> None:
    """The step that is timed is the step of `train_step`, and both go down."""
    timed = TIMED["mlp_mnist batch 128"].shrunk()
    parameters, inputs = given(timed)
    net = package(timed, emulated=True)
    step, public = SymbpGpu(net, parameters, inputs), SymbpTrainStep(net, parameters, inputs)
    loss = TORCH_LOSSES[timed.loss]
    expected = reference(loss, parameters, inputs, "cpu")
    start = step.loss_and_gradients()
    assert disagreement(start, expected) < 1e-5
    other = TorchGpu(loss, timed.build().optimizer_rule, parameters, inputs, device="cpu")
    for _ in range(3):
        step()
        public()
        other()
    after = [contender.loss_and_gradients()[0] for contender in (step, public, other)]
    assert after[0] == after[1] != start[0]
    assert after[0] == pytest.approx(after[2], rel=1e-4)
    rows = times(timed, {"torch": other}, rounds=2)
    assert (rows[0]["contender"], rows[0]["us by events"], rows[0]["us a step"] > 0) == ("torch", None, True)


def test_a_disagreement_is_refused() -> None:
    right = {"w": np.ones(3), "v": np.ones(2)}
    with pytest.raises(AssertionError, match="w is off by 1"):
        disagreement((1.0, {**right, "w": np.array([1.0, 1.0, 2.0])}), (1.0, right))
    with pytest.raises(AssertionError, match="loss is off by nan"):
        disagreement((float("nan"), right), (1.0, right))

"""Recurrences: one kernel over all steps where a step is small, launches of each step where it is not."""

from __future__ import annotations

import pytest

import symbp as sb
from symbp import GRU, LSTM, RNN, Model
from symbp.ir.plan import Launch, Procedure, Repeat, Team
from tests.schedule.device.plans import plan_of, without_notes


def recurrent(layer: object, features: int = 3) -> Model:
    model = Model("net")
    b, t, j = model.axis("b", "batch"), model.axis("t", "time"), model.axis("j", features)
    h = layer(model.input("x", b, t, j))  # type: ignore[operator]
    k = h.axes[-1]
    model.output(h)
    model.loss(sb.mean(h[b, k] ** 2, b, k))
    return model


def scans(procedure: Procedure | None) -> list[Launch | Repeat]:
    """Repeats, and launches of kernels with a time loop."""
    assert procedure is not None
    found: list[Launch | Repeat] = []
    for step in procedure.steps:
        if isinstance(step, Repeat) or (isinstance(step, Launch) and "n_time" in str(step.kernel.body)):
            found.append(step)
    return found


@pytest.mark.parametrize("layer", [RNN, GRU, LSTM])
@pytest.mark.parametrize("units", [5, 128])
def test_a_team_takes_a_row_of_the_batch_through_all_steps(layer: type, units: int) -> None:
    plan = plan_of(recurrent(layer(units)))
    for name in ("predict_into", "forward", "backward"):
        lines = without_notes(plan, name)
        assert not any(line.startswith("repeat") for line in lines)
        time = next(k for k, line in enumerate(lines) if line.startswith("  for t in"))
        team = "warp" if units * {RNN: 1, GRU: 3, LSTM: 4}[layer] <= 64 else "block"
        assert f"a {team} for each of b in 0..n_batch:" in lines[time - 1]


def test_a_step_too_large_for_a_block_is_launched_again_and_again() -> None:
    plan = plan_of(recurrent(LSTM(512)))
    for name in ("predict_into", "forward", "backward"):
        lines = without_notes(plan, name)
        start = next(k for k, line in enumerate(lines) if line.startswith("repeat t in 0..n_time"))
        inside = [line for line in lines[start + 1 :] if line.startswith("  ")]
        assert any("* lstm_U[" in line and "[b in 0..n_batch" in line for line in inside), "the product is contracted"
        assert any("launch" in line and "for each of b in 0..n_batch" in line for line in inside), "so are the gates"


def test_without_a_batch_one_block_does_it_all() -> None:
    model = Model("net")
    t, k, j = model.axis("t", "time"), model.axis("k", 70), model.axis("j", 70)
    x, U = model.input("x", t, k), model.parameter("U", j, k)
    h = model.variable("h", t, k)
    model.define(h[0, k], 0)
    model.define(h[t + 1, k], sb.tanh(sb.sum(U[j, k] * h[t, j], j) + x[t, k]))
    model.output(h)
    model.loss(sb.mean(h[t + 1, k] ** 2, t, k))
    forward = plan_of(model).procedure("forward")
    assert forward is not None
    scan = next(s for s in scans(forward) if isinstance(s, Launch) and "tanh" in str(s.kernel.body))
    assert isinstance(scan, Launch)
    assert scan.kernel.team is Team.BLOCK
    assert scan.kernel.points == ()


def test_weights_that_a_step_would_read_across_are_turned_once() -> None:
    lines = without_notes(plan_of(recurrent(LSTM(128))), "backward")
    copy = lines.index("  lstm_U_turned[q, l, k] = lstm_U[k, q, l]")
    use = next(k for k, line in enumerate(lines) if "+= lstm_U_turned[q, l, k]*lstm_z_bar[b, t, q, l]" in line)
    assert "a thread for each of" in lines[copy - 1]
    assert copy < use


def test_weights_that_are_read_along_rows_stay() -> None:
    """So does what a step is too large for: its product is contracted."""
    assert "turned" not in " ".join(without_notes(plan_of(recurrent(LSTM(128))), "forward"))
    assert "turned" not in " ".join(without_notes(plan_of(recurrent(LSTM(512))), "backward"))

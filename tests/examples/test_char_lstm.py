"""The example that learns to write: its text, its model and what it prints."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from examples import char_lstm as example


def test_the_text_is_cut_into_pieces_that_follow_each_other() -> None:
    tokens = example.encode(example.reference_text())
    assert len(tokens) > 300_000
    token, following = example.windows(tokens)
    assert token.shape == following.shape == ((len(tokens) - 1) // example.STEPS, example.STEPS)
    assert np.array_equal(token[:, 1:], following[:, :-1])
    assert np.array_equal(token[1:, 0], following[:-1, -1])
    assert "".join(example.CHARACTERS[k] for k in example.encode("x[0]\n")) == "x[0]\n"


def test_the_loss_is_that_of_the_next_character() -> None:
    program = example.model(units=8).program()
    assert program.loss
    assert [t.name for t in program.tensors if t.name in ("token", "following")] == ["token", "following"]


@pytest.mark.slow
def test_it_learns_and_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    losses = example.main(str(tmp_path), units=32, rounds=2, pieces=3072, sample=30)
    assert losses[0] == pytest.approx(math.log(len(example.CHARACTERS)), abs=0.1)
    # Letters by their frequency alone give about 3.0; more than that comes from what went before.
    assert losses[2] < losses[1] < losses[0]
    assert losses[2] < 2.8
    printed = capsys.readouterr().out
    assert printed.count("nats per character") == 3
    written = printed.rsplit("nats per character\n", 1)[1].removesuffix("\n")
    assert written.startswith(example.START)
    assert len(written) == len(example.START) + 30
    assert set(written) <= set(example.CHARACTERS)

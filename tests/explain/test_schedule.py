"""The schedule as people read it, of a perceptron and of an LSTM."""

from __future__ import annotations

import re

import pytest

from symbp.explain import schedule_records, schedule_text
from symbp.explain.schedule import ASSUMED
from symbp.ir.account import Account, Place, Use, Work, WorkList
from symbp.ir.affine import Affine, Size
from symbp.ir.cost import Cost
from symbp.ir.plan import Machine
from symbp.ir.trace import PassRecord
from symbp.pipeline import Schedule, schedule_model
from symbp.schedule.build import PASSES
from tests.codegen.golden_models import MODELS


def schedules_of(name: str, target: str = "cpu,cuda") -> tuple[Schedule, ...]:
    return schedule_model(MODELS[name][0](), target=target)


@pytest.mark.parametrize("name", ["digits", "lstm"])
def test_real_schedules_have_every_part(name: str) -> None:
    for schedule, target in zip(schedules_of(name), ("cpu", "cuda"), strict=True):
        text = schedule.text({"n_batch": 7})
        assert text.startswith(f"Schedule of {name} for {target}, float32\n====")
        for heading in ("Passes", "Work", "Memory of train"):
            assert re.search(rf"^{heading}$\n^-+$", text, re.MULTILINE), heading
        assert re.search(
            r"^train in total: [\d,]+ FLOP, \d+ % of them in products; [\d,]+ calls; .* bytes$", text, re.M
        )
        assert re.search(r"^ *FLOP = .*n_batch", text, re.M)
        assert "numbers for n_batch = 7" in text
        assert text == schedule.text({"n_batch": 7})


def test_passes_are_those_that_ran() -> None:
    (cpu, cuda) = schedules_of("lstm")
    for schedule in (cpu, cuda):
        names = [p.name for p in schedule.passes if p.part == "training"]
        assert names[:5] == ["expand_derivatives", "stabilise", "name_calls", "differentiate", "simplify"]
        assert {"fuse_nests", "scalarise", "allocate"} <= {p.name for p in schedule.passes}
    assert "make_steps" in [p.name for p in cuda.passes]
    assert "make_steps" not in [p.name for p in cpu.passes]
    for schedule, machine in ((cpu, Machine.LOOPS), (cuda, Machine.TEAMS)):
        told = [p.name for p in schedule.passes if p.part == "training"]
        assert {rewrite.__name__ for rewrite in PASSES[machine]} <= set(told)
    stabilised = next(p for p in cpu.passes if p.name == "stabilise")
    assert "loss" in (*stabilised.changed, *stabilised.made)


def test_the_scan_of_an_lstm_is_one_piece_of_work() -> None:
    (schedule,) = schedules_of("lstm", "cpu")
    lists = [listed for use in schedule.account.uses for listed in use.lists]
    scans = [w for listed in lists for w in listed.works if w.kind == "scan"]
    assert len(scans) == 3  # of predict, forward and backward
    assert all("lstm_" in s.tensor for w in scans for s in w.statements)


def small() -> tuple[Account, list[PassRecord]]:
    n = Affine.of(Size("n"))
    works = (
        Work(1, "", "map", "", (), Cost(flops=3 * n, bytes=8 * n)),
        Work(2, "softmax", "kernel", "a warp at each point", (), Cost(Affine.of(5), 2 * n, Affine.of(4), Affine.of(5))),
    )
    chunk = Work(3, "", "map", "", (), Cost(flops=Affine.of(Size("rows"))))
    rows = WorkList("forward_rows", (chunk,), n, {"rows": 4})
    place = Place("x", (n, Affine.of(2)), "workspace", Affine.of(0), 8 * n, 1, 2, ("y",))
    uses = (Use("train", (WorkList("forward", works, Affine.of(1)), rows), (place,), {"workspace": 8 * n}),)
    passes = [
        PassRecord("", "first", "2 equations", "2 equations"),
        PassRecord("training", "second", "2 equations", "3 equations", changed=("a",), made=tuple("bcdefghijk")),
    ]
    return Account("tiny", uses, ("n",), {}), passes


def test_the_whole_text() -> None:
    account, passes = small()
    text = schedule_text(account, passes, {"n": 1000}, "cpu", "float32")
    legend = text[text.index("FLOP are") : text.index("\n\nforward\n")]
    assert legend.count("\n") == 1
    assert (
        text.replace(legend, "<legend>")
        == """\
Schedule of tiny for cpu, float32
=================================

Passes
------
the model:
  first    2 equations                  nothing to do
training:
  second   2 equations -> 3 equations   rewrote a; made b, c, d, e, f, g, h, i, and 2 more

Work
----
numbers for n = 1000
<legend>

forward
                                              FLOP   calls   bytes   FLOP/byte
  1   map                                    3,000           8,000        0.38
       FLOP = 3*n;  bytes = 8*n
  2   kernel softmax, a warp at each point       5   2,000       4        1.25
       calls = 2*n

forward_rows, for each of 1,000 chunks of up to 4 samples
            FLOP   calls   bytes   FLOP/byte
  3   map      4               0
       FLOP = rows
train in total: 7,005 FLOP, 0 % of them in products; 2,000 calls; 8,004 bytes

Memory of train
---------------
    shape    in          bytes   lives    shares with
x   (n, 2)   workspace   8,000   1 to 2   y
workspace in total: 8,000 bytes = 8*n
"""
    )


def test_sizes_that_nobody_gives_are_assumed_and_said() -> None:
    account, passes = small()
    text = schedule_text(account, passes, {}, "cpu", "float32")
    assert f"numbers for n = {ASSUMED} (say otherwise with --sizes n=N)\n" in text
    assert f"{3 * ASSUMED}" in text


def test_records_say_the_same() -> None:
    account, passes = small()
    found = schedule_records(account, passes, {"n": 10}, "cuda")
    assert (found["target"], found["sizes"]) == ("cuda", {"n": 10})
    assert [p["name"] for p in found["passes"]] == ["first", "second"]
    assert found["passes"][1]["made"] == list("bcdefghijk")
    assert [w["flop"] for w in found["work"]] == [
        {"formula": "3*n", "value": 30},
        {"formula": "5", "value": 5},
        {"formula": "rows", "value": 4},
    ]
    assert [w["times"] for w in found["work"]] == [1, 1, 10]
    assert found["memory"][0]["bytes"] == {"formula": "8*n", "value": 80}
    assert found["bytes"] == {"train": {"workspace": 80}}

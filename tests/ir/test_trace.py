"""Records of passes: they are kept where somebody listens, and nowhere else."""

from __future__ import annotations

from dataclasses import replace

from symbp.ir.trace import counted, part_of_work, tell, tell_rewrite, tracing
from tests.schedule.small import Small


def test_what_a_pass_changed_made_and_took_away() -> None:
    s = Small()
    x = s.given("x", "n")
    s.eq.let("same", (s.n,), x[s.n])
    s.eq.let("old", (s.n,), 2 * x[s.n])
    s.eq.let("changed", (s.n,), 3 * x[s.n])
    before = s.program("same", "old", "changed")
    kept, _, changed = before.statements
    after = before.with_statements(
        (kept, replace(changed, free=changed.free[::-1], accumulate=True), replace(kept, tensor="new"))
    )
    with tracing() as trace, part_of_work("training"):
        assert tell_rewrite("improve", before, after) is after
    (record,) = trace.records
    assert (record.part, record.name) == ("training", "improve")
    assert (record.before, record.after) == ("3 equations", "3 equations")
    assert (record.changed, record.made, record.gone) == (("changed",), ("new",), ("old",))


def test_records_are_in_order_and_only_of_what_is_within() -> None:
    tell("before", "1 nest", "1 nest")
    with tracing() as trace:
        tell("one", counted(2, "nest"), counted(1, "nest"), gone=["x"])
        with tracing() as inner:
            tell("inner", "", "")
        tell("two", "", "")
    tell("after", "", "")
    assert [r.name for r in trace.records] == ["one", "two"]
    assert [r.name for r in inner.records] == ["inner"]
    assert (trace.records[0].before, trace.records[0].after, trace.records[0].gone) == ("2 nests", "1 nest", ("x",))

"""Programs: what is kept of them."""

from __future__ import annotations

from symbp.ir import Role
from tests.derive.equations import Equations


def test_what_is_kept_is_whole() -> None:
    e = Equations()
    b = e.axis("b", 3)
    x = e.given("x", b)
    y = e.let("y", (b,), 2 * x[b])
    e.let("p", (b,), 3 * y[b])
    e.let("loss", (), y[b], over=(b,), role=Role.LOSS)
    program = e.program("loss", outputs=("p",))
    trained, used = program.keep_live(["loss"]), program.keep_live(["p"])
    # Neither names an output or a loss that it no longer has: the verifier would refuse that.
    assert ([s.tensor for s in trained.statements], trained.outputs, trained.loss) == (["y", "loss"], (), "loss")
    assert ([s.tensor for s in used.statements], used.outputs, used.loss) == (["y", "p"], ("p",), "")

"""Programs: what is kept of them."""

from __future__ import annotations

from symbp import Model, diff, mean, sin
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


def test_a_derivative_keeps_what_it_is_taken_of_and_goes_with_its_output() -> None:
    model = Model("slope")
    n = model.axis("n", "points")
    x, w = model.input("x", n), model.parameter("w")
    u = model.define("u[n]", sin(w * x[n]))
    u_x = model.define("u_x[n]", diff(u[n], x[n]))
    model.output(u_x)
    model.loss(mean(u[n] ** 2, n))
    program = model.program()
    sloped, trained = program.keep_live(["u_x"]), program.keep_live(["loss"])
    assert [s.tensor for s in sloped.statements] == ["u"]
    assert [d.output for d in sloped.derivatives] == ["u_x"]
    assert [s.tensor for s in trained.statements] == ["u", "loss"]
    assert trained.derivatives == ()

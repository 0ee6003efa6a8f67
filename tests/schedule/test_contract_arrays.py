"""Tensors that lose the axes of the loops around all that touches them."""

from __future__ import annotations

from symbp.ir.affine import Affine, Index, Read
from symbp.ir.body import Body
from symbp.ir.nodes import Bound, Fill, Loop, Node, Product, Slice, Store
from symbp.ir.plan import Kind, Nest
from symbp.ir.program import Role, Tensor
from symbp.schedule.contract_arrays import contract_arrays

B, T, S = (Affine.of(Index(n)) for n in "bts")
THREE, FOUR, ZERO = Affine.of(3), Affine.of(4), Affine.of(0)
TENSORS = {
    name: Tensor(name, shape, Role.ACTIVATION)
    for name, shape in (("a", (THREE, FOUR, FOUR)), ("x", (THREE, FOUR)), ("y", (THREE, FOUR)))
}


def loop(index: str, stop: Affine, *body: Node) -> Loop:
    return Loop(Index(index), Bound((ZERO,)), Bound((stop,)), body)


def nest(*nodes: Node) -> Nest:
    return Nest((), nodes, Kind.MAP)


def store(target: Read, source: Read) -> Store:
    return Store(target, Body.of(source))


def test_the_axis_of_the_loop_around_all_is_lost() -> None:
    inside = loop("t", FOUR, loop("s", FOUR, store(Read("a", (B, T, S)), Read("x", (B, S)))))
    whole = (ZERO, FOUR)
    product = Product(
        Slice("y", (B, whole), rows=0), Slice("a", (B, whole, whole)), Slice("x", (B, whole), columns=0), False
    )
    nests, found = contract_arrays([nest(loop("b", THREE, inside, product))], TENSORS, ["a", "x", "y"])
    assert {name: tensor.shape for name, tensor in found.items()} == {
        "a": (FOUR, FOUR),
        "x": (FOUR,),
        "y": (FOUR,),
    }
    narrow = loop("t", FOUR, loop("s", FOUR, store(Read("a", (T, S)), Read("x", (S,)))))
    factors = Slice("y", (whole,), rows=0), Slice("a", (whole, whole)), Slice("x", (whole,), columns=0)
    assert nests[0].nodes == (loop("b", THREE, narrow, Product(*factors, False)),)


def test_what_another_turn_or_another_nest_reads_stays() -> None:
    before = loop("b", THREE, loop("t", FOUR, store(Read("x", (B, T)), Read("y", (B - 1, T)))))
    after = loop("b", THREE, loop("t", FOUR, store(Read("y", (B, T)), Read("x", (B, T)))))
    filled = nest(Fill("a"), loop("b", THREE, loop("t", FOUR, store(Read("a", (B, T, T)), Read("a", (B, T, T))))))
    given = [nest(before), nest(after), filled]
    nests, found = contract_arrays(given, TENSORS, ["a", "x", "y"])
    assert not found
    assert list(nests) == given


def test_an_element_for_each_turn_is_left_to_others() -> None:
    inside = loop("t", FOUR, store(Read("x", (B, T)), Read("y", (B, T))))
    nests, found = contract_arrays([nest(loop("b", THREE, inside))], TENSORS, ["x"])
    assert found == {}
    assert nests[0].nodes == (loop("b", THREE, inside),)

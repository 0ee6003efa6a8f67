"""Procedures from their nests: which buffers and inputs they use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from symbp.ir.affine import ZERO, Affine
from symbp.ir.nodes import SetIndex, Store, Track
from symbp.ir.plan import Buffer, Cut, Memory, Nest, ParameterSlot, Procedure
from symbp.ir.program import Program, Role, Tensor
from symbp.ir.walk_nodes import walk
from symbp.schedule.access import accesses, touched
from symbp.schedule.notes import head_with_equations


@dataclass(frozen=True)
class Planned:
    """The procedures of one use of the model, how long its memories are, its tensors, and how its batch is cut."""

    procedures: tuple[Procedure, ...]
    lengths: dict[Memory, Affine]
    tensors: tuple[Tensor, ...]
    cut: Cut | None = None


def make_procedure(
    name: str,
    summary: str,
    nests: tuple[Nest, ...],
    program: Program,
    parameters: Sequence[ParameterSlot],
    places: Mapping[str, Buffer],
    results: tuple[str, ...] = (),
    returns: str = "",
) -> Procedure:
    """The procedure that runs `nests`. `places` says where tensors lie; parameters, unless it says otherwise, whole."""
    used = touched_names(nests)
    whole = {p.name: Buffer(p.name, Memory.PARAMETERS, Affine.of(p.offset)) for p in parameters}
    views = [places.get(name, whole[name]) for name in whole if name in used]
    views += [places[t.name] for t in program.tensors if t.name in places and t.name in used and t.name not in whole]
    inputs = tuple(t.name for t in program.with_role(Role.INPUT) if t.name in used)
    return Procedure(name, summary, inputs, tuple(views), results, head_with_equations(nests), returns)


def in_their_shapes(nests: Iterable[Nest], program: Program, results: Iterable[str] = ()) -> dict[str, Buffer]:
    """Arrays of the caller whose rows have a known length, and which loops go over: with the shape that they are known
    to have.

    The row length of an array that is handed in is a number of the run. A loop over its rows would be vectorised for
    the length 1, the one guess that LLVM makes, and go one by one for every other.
    """
    elements = {
        access.tensor
        for nest in nests
        for node in walk(nest.nodes)
        if isinstance(node, SetIndex | Store | Track)
        for access in accesses([node])
    }
    given = [t for t in program.tensors if t.role is Role.INPUT or t.name in set(results)]
    return {
        t.name: Buffer(t.name, Memory.GIVEN, ZERO)
        for t in given
        if t.rank > 1 and t.name in elements and all(e.is_constant for e in t.shape[1:])
    }


def touched_names(nests: Iterable[Nest]) -> set[str]:
    """Every tensor that the nests touch."""
    return {n for nest in nests for names in touched(nest.nodes) for n in names}

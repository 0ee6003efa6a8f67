"""A procedure from its nests: which buffers and inputs it uses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from symbp.ir.affine import Affine
from symbp.ir.plan import Buffer, Memory, Nest, ParameterSlot, Procedure
from symbp.ir.program import Program, Role
from symbp.schedule.access import touched
from symbp.schedule.notes import head_with_equations


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
    used = touched_names(nests)
    views = [Buffer(p.name, Memory.PARAMETERS, Affine.of(p.offset)) for p in parameters if p.name in used]
    views += [places[t.name] for t in program.tensors if t.name in places and t.name in used]
    inputs = tuple(t.name for t in program.with_role(Role.INPUT) if t.name in used)
    return Procedure(name, summary, inputs, tuple(views), results, head_with_equations(nests), returns)


def touched_names(nests: Iterable[Nest]) -> set[str]:
    """Every tensor that the nests touch."""
    return {n for nest in nests for names in touched(nest.nodes) for n in names}

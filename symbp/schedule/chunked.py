"""Plan what is cut along the batch: procedures for one chunk of samples, and for what needs all of them.

Slices ──order, lower_steps, fuse_nests, scalarise──▶ nests ──allocate──▶ procedures

What only a chunk needs lies in memory of its own, as long as one chunk, which every worker uses again for each chunk
that it takes; so it stays in the cache, however long the batch is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from symbp.ir.affine import ONE, ZERO, Affine
from symbp.ir.order import Step, order
from symbp.ir.plan import FIRST, NUMBER, ROWS, Buffer, Kind, Machine, Memory, Nest, ParameterSlot, Portion, Procedure
from symbp.ir.program import Program, Tensor
from symbp.ir.statement import Statement
from symbp.schedule.buffers import WIDEST, allocate
from symbp.schedule.fuse import fuse_nests
from symbp.schedule.procedures import Planned, in_their_shapes, make_procedure, touched_names
from symbp.schedule.recompute import as_late_as_can_be, save_or_recompute
from symbp.schedule.scalarise import scalarise
from symbp.schedule.shrink import shrink
from symbp.schedule.slices import Slices
from symbp.schedule.steps import Shares, lower_steps

#: An axis shorter than this is not shared out among threads if a longer one follows.
SHORT_AXIS = 8


def plan_training_in_chunks(
    slices: Slices, gradients: Mapping[str, str], parameters: Sequence[ParameterSlot]
) -> Planned:
    """``before_rows``, ``forward_rows``, ``backward_rows``, ``loss_of_rows``, ``after_rows`` and ``gradients_share``.

    `gradients` gives the name of each parameter's gradient. Procedures with nothing to do are left out.
    """
    owned = {gradients[p.name]: p for p in parameters if p.name in gradients}
    loss = slices.whole.loss
    everything = slices.whole.with_statements(
        (*slices.before.statements, *slices.rows.statements, *slices.after.statements)
    )
    ahead = {s.tensor for s in everything.keep_live([loss]).statements}
    wanted = frozenset((loss, *owned))
    seen = wanted | slices.exported | slices.parts

    rows, again = save_or_recompute(slices.rows, ahead, seen, {ROWS.name: slices.cut.longest})
    slices = replace(slices, rows=rows)
    steps = as_late_as_can_be(order(rows), again)
    halves = [
        _lowered([s for s in steps if (s.tensors[0] in ahead) == first], slices.rows, seen) for first in (True, False)
    ]
    kept = touched_names(halves[0]) & touched_names(halves[1])
    local = [t.name for t in slices.rows.tensors if not t.is_given and t.name not in seen]
    (forward, gone, narrow), (backward, gone_too, narrow_too) = (
        _made_small(half, slices.rows, [n for n in local if n not in kept]) for half in halves
    )
    slices = slices.with_tensors({**narrow, **narrow_too})
    layout = _Layout(slices, parameters, owned)
    within = layout.of_chunk((*forward, *backward), [n for n in local if n not in (*gone, *gone_too)])

    before = _lowered(order(slices.before), slices.before, seen)
    shares = _shares(slices, owned)
    after = order(slices.after)
    total = _lowered([s for s in after if s.tensors[0] in ahead], slices.after, wanted)
    rest = [s for s in after if s.tensors[0] not in ahead]
    collect = _lowered([s for s in rest if s.tensors[0] not in shares], slices.after, wanted)
    shared = fuse_nests(
        lower_steps([s for s in rest if s.tensors[0] in shares], slices.after, wanted, Machine.LOOPS, shares)
    )
    groups = _without_scalars([before, total, collect, shared], slices.whole, seen, owned)
    before, total, collect, shared = groups.nests
    places = layout.of_all(before, (*forward, *backward), (*total, *collect, *shared), groups.left)

    def procedure(name: str, summary: str, nests: tuple[Nest, ...], portion: Portion, returns: str = "") -> Procedure:
        if portion is Portion.ROWS:
            made = make_procedure(name, summary, nests, slices.rows, parameters, {**within, **layout.rows(places)})
            return replace(made, portion=portion, tensors=layout.seen_by_chunk)
        seen = {**places, **in_their_shapes(nests, slices.whole)}
        made = make_procedure(name, summary, nests, slices.whole, parameters, seen, returns=returns)
        extents = tuple(dict.fromkeys(e for _, e in shares.values())) if portion is Portion.SHARE else ()
        return replace(made, portion=portion, shares=extents)

    procedures = (
        procedure("before_rows", "What no sample is needed for.", before, Portion.WHOLE),
        procedure("forward_rows", "Evaluate the samples `first` to `last - 1`.", forward, Portion.ROWS),
        procedure("backward_rows", "Differentiate the same samples; follows `forward_rows`.", backward, Portion.ROWS),
        procedure("loss_of_rows", "The loss, from what all samples have left.", total, Portion.WHOLE, loss),
        procedure("after_rows", "What is left of the derivative; follows all samples.", collect, Portion.WHOLE),
        procedure("gradients_share", "One of several equal shares of the gradients.", shared, Portion.SHARE),
    )
    return Planned(tuple(p for p in procedures if p.nests), layout.lengths, layout.tensors, slices.cut)


def plan_predict_in_chunks(slices: Slices, parameters: Sequence[ParameterSlot]) -> Planned | None:
    """``predict_rows``, where every output is made sample by sample; else None."""
    made = {s.tensor for s in slices.rows.statements}
    outputs = slices.whole.outputs
    if slices.before.statements or slices.after.statements or not set(outputs) <= made:
        return None
    nests = _lowered(order(slices.rows), slices.rows, frozenset(outputs))
    local = [t.name for t in slices.rows.tensors if not t.is_given and t.name not in outputs]
    nests, gone, narrow = _made_small(nests, slices.rows, local)
    slices = slices.with_tensors(narrow)
    layout = _Layout(slices, parameters, {})
    within = layout.of_chunk(nests, [n for n in local if n not in gone])
    results = {n: Buffer(n, Memory.GIVEN, _row_start(slices.whole.tensor(n))) for n in outputs}
    places = {**within, **layout.rows({}), **results}
    summary = "Evaluate the model for the samples `first` to `last - 1`."
    found = make_procedure("predict_rows", summary, nests, slices.rows, parameters, places, outputs)
    procedure = replace(found, portion=Portion.ROWS, tensors=layout.seen_by_chunk)
    return Planned((procedure,), layout.lengths, layout.tensors, slices.cut)


def _made_small(
    nests: Sequence[Nest], program: Program, local: Sequence[str]
) -> tuple[tuple[Nest, ...], tuple[str, ...], dict[str, Tensor]]:
    """The nests with local scalars and smaller arrays; the names of the first, and the second."""
    nests, gone = scalarise(nests, local)
    nests, smaller = shrink(nests, program, [n for n in local if n not in gone])
    return nests, gone, smaller


def _lowered(steps: Iterable[Step], program: Program, seen: Iterable[str]) -> tuple[Nest, ...]:
    return fuse_nests(lower_steps(steps, program, seen, Machine.LOOPS))


# ------------------------------------------------------------------------------------------------------------- memory


def _row_size(tensor: Tensor) -> Affine:
    return math.prod(tensor.shape[1:], start=ONE)


def _row_start(tensor: Tensor) -> Affine:
    """Where the first sample of a chunk begins in a whole tensor."""
    return _row_size(tensor) * FIRST


class _Layout:
    """Where everything lies: the workspace of the batch, the memory of a chunk, parameters and gradients."""

    def __init__(
        self, slices: Slices, parameters: Sequence[ParameterSlot], gradients: Mapping[str, ParameterSlot]
    ) -> None:
        self.slices = slices
        self.parameters = {p.name: p for p in parameters}
        self.gradients = gradients
        self.lengths: dict[Memory, Affine] = {}
        made = {s.tensor for s in slices.rows.statements}
        self.seen_by_chunk = tuple(t for t in slices.rows.tensors if t.name in slices.given or t.name in made)

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All tensors, those of a chunk alone as a chunk sees them."""
        known = {t.name for t in self.slices.whole.tensors}
        return (*self.slices.whole.tensors, *(t for t in self.slices.rows.tensors if t.name not in known))

    def of_chunk(self, nests: Sequence[Nest], names: Sequence[str]) -> dict[str, Buffer]:
        """Places in the memory of a chunk, which is as long as the longest chunk needs."""
        length = Affine.of(self.slices.cut.longest)
        tensors = {t.name: replace(t, shape=_with_rows(t.shape, length)) for t in self.slices.rows.tensors}
        places, lengths = allocate(nests, tensors, names)
        kind = {Memory.WORKSPACE: Memory.CHUNK, Memory.POSITIONS: Memory.CHUNK_POSITIONS}
        self.lengths |= {Memory.CHUNK: Affine.of(WIDEST)}  # there is one for each worker, if only to count these
        self.lengths |= {kind[m]: _whole_vectors(count) for m, count in lengths.items()}
        return {n: replace(b, memory=kind[b.memory]) for n, b in places.items()}

    def of_all(
        self, before: Sequence[Nest], rows: Sequence[Nest], after: Sequence[Nest], names: Sequence[str]
    ) -> dict[str, Buffer]:
        """Places in the workspace. Chunks come in any order: what they leave lives from the first to the last."""
        chunks = Nest((), tuple(node for nest in rows for node in nest.nodes), Kind.MAP)
        tensors = {t.name: t for t in self.slices.whole.tensors}
        places, lengths = allocate((*before, chunks, *after), tensors, names)
        self.lengths = {**lengths, **self.lengths}
        for name, slot in self.gradients.items():
            places[name] = Buffer(name, Memory.GRADIENTS, Affine.of(slot.offset))
        return places

    def rows(self, places: Mapping[str, Buffer]) -> dict[str, Buffer]:
        """The places as a chunk sees them: where its first sample lies."""
        found: dict[str, Buffer] = {}
        for name, place in places.items():
            tensor = self.slices.whole.tensor(name)
            if name in self.slices.parts:
                found[name] = replace(place, offset=place.offset + _row_size(tensor) * NUMBER)
            elif any(t.name == name for t in self.seen_by_chunk):
                found[name] = replace(place, offset=place.offset + _row_start(tensor))
            else:
                found[name] = place
        for name in sorted(self.slices.given):
            tensor = self.slices.whole.tensor(name)
            slot = self.parameters.get(name)
            memory = Memory.GIVEN if slot is None else Memory.PARAMETERS
            found[name] = Buffer(name, memory, _row_start(tensor) + (0 if slot is None else slot.offset))
        return found


def _with_rows(shape: tuple[Affine, ...], length: Affine) -> tuple[Affine, ...]:
    return tuple(length if extent == Affine.of(ROWS) else extent for extent in shape)


def _whole_vectors(count: Affine) -> Affine:
    """A known length rounded up to whole vectors, so that every worker's memory begins where a vector may."""
    return Affine.of(-(-int(count) // WIDEST) * WIDEST) if count.is_constant else count


@dataclass(frozen=True)
class _Groups:
    nests: tuple[tuple[Nest, ...], ...]
    left: list[str]  # what must lie in memory


def _without_scalars(
    groups: Sequence[tuple[Nest, ...]], program: Program, kept: frozenset[str], owned: Iterable[str]
) -> _Groups:
    """The nests of several functions; what only one of them uses as a scalar is a local variable of it.

    `kept` must lie in memory anyhow, and `owned` has its place elsewhere.
    """
    users: dict[str, list[int]] = {}
    for k, nests in enumerate(groups):
        for name in sorted(touched_names(nests)):
            users.setdefault(name, []).append(k)
    result: list[tuple[Nest, ...]] = []
    local: set[str] = set()
    for k, nests in enumerate(groups):
        mine = [t.name for t in program.tensors if not t.is_given and t.name not in kept and users.get(t.name) == [k]]
        nests, gone = scalarise(nests, mine)
        local |= {*gone, *(n for n in mine if not program.tensor(n).shape)}
        result.append(nests)
    if users.get(program.loss, ()) and len(users[program.loss]) == 1:
        local.add(program.loss)
    names = [
        t.name
        for t in program.tensors
        if (t.name in users or t.name in kept) and not t.is_given and t.name not in (*local, *owned)
    ]
    return _Groups(tuple(result), names)


# ------------------------------------------------------------------------------------------------------------- shares


def _shares(slices: Slices, gradients: Iterable[str]) -> Shares:
    """Of each result that nothing else needs, the axis along which threads share it out."""
    shares: dict[str, tuple[int, Affine]] = {}
    for name in gradients:
        definitions = slices.after.definitions(name)
        read = {n for s in slices.after.statements for n in s.tensors_read}
        if not definitions or name in read:
            continue
        made = {s.tensor for s in slices.after.statements}
        if any(set(s.tensors_read) & (made - {slices.whole.loss}) for s in definitions):
            continue
        axis = _axis_to_share(definitions, slices.whole.tensor(name))
        if axis is not None:
            shares[name] = (axis, slices.whole.tensor(name).shape[axis])
    return shares


def _axis_to_share(definitions: Sequence[Statement], tensor: Tensor) -> int | None:
    found = [
        axis
        for axis, extent in enumerate(tensor.shape)
        if extent.is_constant and int(extent) > 1 and all(_owns(s, axis, extent) for s in definitions)
    ]
    long = [axis for axis in found if int(tensor.shape[axis]) >= SHORT_AXIS]
    return next(iter(long or found), None)


def _owns(statement: Statement, axis: int, extent: Affine) -> bool:
    """True if the statement has an index of its own that runs along the whole axis."""
    index = statement.subscripts[axis].as_index()
    if index is None or index not in statement.free:
        return False
    if any(index in s.indices() for k, s in enumerate(statement.subscripts) if k != axis):
        return False
    loop = statement.domain.range_of(index)
    return loop.lower == ZERO and loop.stop == extent

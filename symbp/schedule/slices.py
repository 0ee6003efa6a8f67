"""Cut the batch into chunks: which equations stay within one sample, and which need all of them.

    h[b, k] = tanh(sum[j] x[b, j]*W[j, k])            a sample by itself, and so a chunk of samples by itself
    W_bar[j, k] = sum[b] x[b, j]*z_bar[b, k]          all samples: when every chunk is done
    c_bar[k] = sum[b] z_bar[b, k]                     few results: a part for each chunk, then the sum of the parts

    c_bar_part[c, k] = sum[b] z_bar[b, k]   over chunk c            c_bar[k] = sum[c] c_bar_part[c, k]

A chunk goes forward and backward while it is in the cache, and chunks share nothing, so threads take them in any order.
Chunks have a fixed number of samples whatever the number of threads: the bits are always the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from symbp.ir.affine import ONE, ZERO, Affine, FloorDiv, Index, Mod, Read
from symbp.ir.body import Body
from symbp.ir.cost import evaluate
from symbp.ir.names import fresh_name
from symbp.ir.plan import ROWS, Cut
from symbp.ir.program import Program, Role, Tensor
from symbp.ir.statement import Domain, Holds, Range, Reduction, Statement, fresh_index
from symbp.schedule.buffers import element_count
from symbp.schedule.chunk_length import chunk_lengths, over_chunk, time_of
from symbp.schedule.cost import cost_of
from symbp.schedule.lower import free_guards

#: So many times smaller than what it sums must a chunk's part of a sum be.
RESULTS_OF_A_PART = 4
#: The part of all work that must lie within samples for cutting to pay.
LEAST_SHARE = 0.5


@dataclass(frozen=True)
class Slices:
    """A program cut along its batch.

    `rows` are the equations of one chunk, over tensors as a chunk sees them: ``(rows, ..)`` for ``(n_batch, ..)``.
    `before` does not depend on any sample, `after` needs them all; both see whole tensors, as `whole` declares them.
    `given` are inputs and parameters of which a chunk reads its own rows, `parts` what it leaves of long sums.
    """

    cut: Cut
    whole: Program
    rows: Program
    before: Program
    after: Program
    given: frozenset[str]
    parts: frozenset[str]

    def with_tensors(self, changed: Mapping[str, Tensor]) -> Slices:
        """The same with tensors of other shapes, by name, which only a chunk sees."""

        return replace(self, whole=self.whole.with_tensors(changed), rows=self.rows.with_tensors(changed))

    @property
    def exported(self) -> frozenset[str]:
        """What a chunk makes and something outside the chunks reads, and what comes before them and they read."""
        made = {s.tensor for s in self.rows.statements}
        outside = {n for s in (*self.before.statements, *self.after.statements) for n in s.tensors_read}
        before = {s.tensor for s in self.before.statements}
        return frozenset((outside & made) | (before & {n for s in self.rows.statements for n in s.tensors_read}))


def cut_batch(program: Program, chunk: int | None = None) -> Slices | None:
    """The program cut along the axis that most of its work runs along, or None if that does not pay.

    At most `chunk` samples make a chunk; if it is None, as many as seems best. With 0 nothing is cut.
    """
    if chunk == 0:
        return None
    costs = {id(s): cost_of(s, program) for s in program.statements}
    extents = dict.fromkeys(t.shape[0] for t in program.with_role(Role.INPUT, Role.PARAMETER) if t.shape)
    for extent in extents:
        within = _within_rows(program, extent)
        mine = {id(s): i for s in program.statements if s.tensor in within and (i := _row_index(s, extent))}
        over_rows = _sums_over_rows(program, extent, within)
        if sum(time_of(costs[k]) for k in (*mine, *over_rows)) < LEAST_SHARE * sum(map(time_of, costs.values())):
            continue
        lengths = (chunk, chunk) if chunk else chunk_lengths(program, extent, mine, costs)
        if lengths is None or (extent.is_constant and int(extent) < 2 * lengths[1] and chunk is None):
            continue
        return _cut(program, Cut(extent, *lengths), within, mine, over_rows)
    return None


# --------------------------------------------------------------------------------------------- what stays in its sample


def _within_rows(program: Program, extent: Affine) -> frozenset[str]:
    """The tensors whose first axis counts samples and of which each sample's part is made from that sample alone."""
    within = frozenset(
        t.name
        for t in program.tensors
        if t.shape
        and t.shape[0] == extent
        and program.definitions(t.name)
        and all(_row_index(s, extent) is not None for s in program.definitions(t.name))
    )
    while True:
        mixed, elsewhere = _made_from(within, program), _read_elsewhere(within, program, extent)
        leaving = {
            s.tensor
            for s in program.statements
            if s.tensor in within and not _stays(s, _first(s), program, within, mixed, elsewhere)
        }
        if not leaving:
            return within
        within -= leaving


def _read_elsewhere(within: frozenset[str], program: Program, extent: Affine) -> frozenset[str]:
    """Given tensors that some sample reads at another place than its own."""
    found: set[str] = set()
    for statement in program.statements:
        if statement.tensor in within:
            index = _first(statement)
            found |= {
                r.tensor for r in statement.reads if program.tensor(r.tensor).is_given and not _is_own_row(r, index)
            }
    return frozenset(found)


def _row_index(statement: Statement, extent: Affine) -> Index | None:
    """The free index that counts samples along the first axis of what is written, and does nothing else there."""
    index = statement.subscripts[0].as_index() if statement.subscripts else None
    if index is None or index not in statement.free or not _runs_whole(statement, index, extent):
        return None
    if any(_mentions(s, index) for s in statement.subscripts[1:]) or _is_counted(statement, index):
        return None
    return index


def _runs_whole(statement: Statement, index: Index, extent: Affine) -> bool:
    loop = statement.domain.range_of(index)
    return loop.lower == ZERO and loop.stop == extent


def _is_counted(statement: Statement, index: Index) -> bool:
    """True if the number of the sample itself matters: in the value, in a guard or in another index's range."""
    values = [o for o in statement.body.operands if isinstance(o, Affine)]
    for guard in statement.guards:
        if isinstance(guard, Holds):
            values += [o for o in guard.condition.operands if isinstance(o, Affine)]
        else:
            values.append(guard.value)
    values += [v for r in statement.domain.ranges for v in (r.lower, r.stop)]
    return any(_mentions(v, index) for v in values)


def _mentions(value: Affine, index: Index) -> bool:
    """True if the index occurs outside of the elements that are read."""
    for atom in value.atoms():
        if atom == index:
            return True
        if isinstance(atom, FloorDiv | Mod) and (_mentions(atom.numerator, index) or _mentions(atom.divisor, index)):
            return True
    return False


def _is_own_row(read: Read, index: Index | None) -> bool:
    return bool(read.subscripts) and read.subscripts[0].as_index() == index


def _stays(
    statement: Statement,
    index: Index | None,
    program: Program,
    within: frozenset[str],
    mixed: frozenset[str],
    elsewhere: frozenset[str],
) -> bool:
    """True if with `index` fixed the statement reads nothing of another sample, nor anything made from several."""
    if index is None:
        return False
    extent = statement.domain.range_of(index).stop
    for read in statement.reads:
        tensor = program.tensor(read.tensor)
        own = _is_own_row(read, index)
        if any(_mentions(s, index) for s in read.subscripts[1 if own else 0 :]):
            return False
        if own:
            if tensor.shape[0] != extent or read.tensor in elsewhere:
                return False
            if not tensor.is_given and read.tensor not in within:
                return False
        elif read.tensor in within or read.tensor in mixed:
            return False
    return True


def _made_from(sources: Iterable[str], program: Program) -> frozenset[str]:
    """Every tensor outside `sources` that is made from them, directly or not."""
    first = frozenset(sources)
    made, pending = set(first), list(first)
    while pending:
        for statement in program.readers(pending.pop()):
            if statement.tensor not in made:
                made.add(statement.tensor)
                pending.append(statement.tensor)
    return frozenset(made - first)


def _sums_over_rows(program: Program, extent: Affine, within: frozenset[str]) -> dict[int, Index]:
    """The statements that sum over samples what each of them has, with the index that counts these.

    The sum may be over places that the data name: ``E_bar[word[b, t], d] += x_bar[b, t, d]``.
    """
    mixed, elsewhere = _made_from(within, program), _read_elsewhere(within, program, extent)
    own = frozenset(
        r.tensor for s in program.statements if s.tensor in within for r in s.reads if _is_own_row(r, _first(s))
    )

    def is_summed(statement: Statement, index: Index) -> bool:
        if not _runs_whole(statement, index, extent) or _is_counted(statement, index):
            return False
        if any(_mentions(s, index) for s in statement.subscripts):
            return False
        mine = [r for r in statement.reads if _is_own_row(r, index)]
        if not mine or any(r.tensor in own and r not in mine for r in statement.reads):
            return False
        return _stays(statement, index, program, within, mixed, elsewhere)

    found: dict[int, Index] = {}
    for statement in program.statements:
        if statement.tensor in within or statement.tensor in statement.tensors_read:
            continue
        if statement.reduction is Reduction.NONE and statement.accumulate:
            indices = statement.free
        elif statement.reduction is Reduction.SUM and not free_guards(statement):
            indices = statement.reduced
        else:
            continue
        index = next((i for i in indices if is_summed(statement, i)), None)
        if index is not None:
            found[id(statement)] = index
    return found


def _first(statement: Statement) -> Index | None:
    return statement.subscripts[0].as_index() if statement.subscripts else None


# -------------------------------------------------------------------------------------------------------------- cutting


def _cut(
    program: Program, cut: Cut, within: frozenset[str], rows: Mapping[int, Index], over_rows: Mapping[int, Index]
) -> Slices:
    names = {t.name for t in program.tensors}
    count = cut.count
    tensors = list(program.tensors)
    of_chunk: dict[str, Tensor] = {}
    mine: list[Statement] = []
    others: list[Statement] = []
    given: set[str] = set()
    for statement in program.statements:
        index = rows.get(id(statement), over_rows.get(id(statement)))
        if index is None:
            others.append(statement)
            continue
        if id(statement) in rows:
            mine.append(over_chunk(statement, index))
        elif _has_few_results(statement, index, program, cut.longest):
            name = fresh_name(f"{statement.tensor}_part", names)
            names.add(name)
            here, everywhere, part, total = _in_parts(statement, index, name, count, program)
            of_chunk[name] = here
            tensors.append(everywhere)
            mine.append(part)
            others.append(total)
        else:
            others.append(statement)
            continue
        own = [r.tensor for r in statement.reads if _is_own_row(r, index)]
        given |= {name for name in own if program.tensor(name).is_given}
    for tensor in program.tensors:
        if tensor.name in within or tensor.name in given:
            of_chunk[tensor.name] = replace(tensor, shape=(Affine.of(ROWS), *tensor.shape[1:]))
    whole = replace(program, tensors=tuple(tensors))
    # Before the samples comes what they need, or the loss; what needs no sample and is not needed by any can wait.
    late = _made_from({s.tensor for s in mine}, whole.with_statements(others))
    first = whole.with_statements(s for s in others if s.tensor not in late)
    needed = {n for s in mine for n in s.tensors_read} | {program.loss}
    after_names = {s.tensor for s in others} - {s.tensor for s in first.keep_live(needed).statements}
    return Slices(
        cut,
        whole,
        replace(whole, tensors=tuple(of_chunk.get(t.name, t) for t in tensors), statements=tuple(mine)),
        whole.with_statements(s for s in others if s.tensor not in after_names),
        whole.with_statements(s for s in others if s.tensor in after_names),
        frozenset(given),
        frozenset(of_chunk) - within - given,
    )


def _has_few_results(statement: Statement, index: Index, program: Program, chunk: int) -> bool:
    """True if a chunk's part of the sum is far smaller than what it is the sum of."""
    results = math.prod(_results(statement, program), start=ONE)
    if not results.is_constant:
        return False
    read = sum(evaluate(element_count(program.tensor(r.tensor))) for r in statement.reads if _is_own_row(r, index))
    loop = statement.domain.range_of(index)
    return RESULTS_OF_A_PART * int(results) <= chunk * read // evaluate(loop.extent)


def _results(statement: Statement, program: Program) -> tuple[Affine, ...]:
    """The box of what a sum over samples writes; all of the tensor where the data say which places."""
    if statement.reduction is Reduction.NONE:
        return program.tensor(statement.tensor).shape
    return tuple(statement.domain.range_of(i).extent for i in statement.free)


def _in_parts(
    statement: Statement, index: Index, name: str, count: Affine, program: Program
) -> tuple[Tensor, Tensor, Statement, Statement]:
    """A chunk's part of a sum as the chunk sees it and all of them, the sum over a chunk, and that of the parts."""
    owner = program.tensor(statement.tensor)
    if statement.reduction is Reduction.NONE:
        axes = _axis_indices(owner)
        ranges = tuple(Range(i, ZERO, extent) for i, extent in zip(axes, owner.shape, strict=True))
        places = tuple(map(Affine.of, axes))
        part = replace(over_chunk(statement, index), tensor=name)
        target, subscripts = axes, places
    else:
        ranges = tuple(statement.domain.range_of(i) for i in statement.free)
        places = tuple(i - r.lower for i, r in zip(statement.free, ranges, strict=True))
        part = replace(over_chunk(statement, index), tensor=name, subscripts=places, accumulate=False)
        target, subscripts = statement.free, statement.subscripts
    here = Tensor(
        name,
        _results(statement, program),
        Role.ACTIVATION if owner.role is Role.LOSS else owner.role,
        tuple(i.name for i in target),
    )
    c = fresh_index("c", (*statement.indices, *target))
    everywhere = replace(here, shape=(count, *here.shape), axes=(c.name, *here.axes))
    total = replace(
        statement,
        subscripts=subscripts,
        free=target,
        reduced=(c,),
        reduction=Reduction.SUM,
        body=Body.of(Read(name, (Affine.of(c), *places))),
        domain=Domain((*ranges, Range(c, ZERO, count)), ()),
    )
    return here, everywhere, part, total


def _axis_indices(tensor: Tensor) -> tuple[Index, ...]:
    """An index for each axis, called like it."""
    found: list[Index] = []
    for k in range(tensor.rank):
        found.append(fresh_index(tensor.axes[k] if k < len(tensor.axes) else f"i{k}", found))
    return tuple(found)

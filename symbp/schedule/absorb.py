"""Turn sums that only feed another sum into accumulations.

    z_sum[b, k] = sum[j] x[b, j]*W[j, k]          z[b, k] = c[k]
    z[b, k] = z_sum[b, k] + c[k]           ==>    z[b, k] += sum[j] x[b, j]*W[j, k]

One buffer fewer, and a product that adds to its result. In a recurrent cell the part that does not depend on the
recurrence leaves the time loop by itself, because it is now a statement of its own.
"""

from __future__ import annotations

from dataclasses import replace

from symbp.ir.affine import Read
from symbp.ir.program import Program, Role
from symbp.ir.statement import Reduction, Statement
from symbp.schedule.classify import is_plain_contraction


def absorb_sums(program: Program) -> Program:
    """Retarget every contraction whose only reader adds it, unscaled, to something else."""
    replaced: dict[int, tuple[Statement, ...]] = {}
    removed: set[int] = set()
    for reader in program.statements:
        if reader.reduction is not Reduction.NONE or not reader.body.expr.is_Add:
            continue
        absorbed = [(s, r) for r in reader.body.reads if (s := _absorbable(program, reader, r)) is not None]
        if not absorbed:
            continue
        gone = {r for _, r in absorbed}
        rest = [t for t in reader.body.terms() if not (t.is_read and t.operands[0] in gone)]
        moved = [_retarget(s, reader, accumulate=True) for s, _ in absorbed]
        if rest:
            total = rest[0]
            for term in rest[1:]:
                total = total + term
            moved.insert(0, replace(reader, body=total))
        else:
            moved[0] = replace(moved[0], accumulate=reader.accumulate)
        replaced[id(reader)] = tuple(moved)
        removed.update(id(s) for s, _ in absorbed)
    if not replaced:
        return program
    statements = tuple(
        new for old in program.statements if id(old) not in removed for new in replaced.get(id(old), (old,))
    )
    left = {s.tensor for s in statements}
    unwritten = {s.tensor for s in program.statements} - left
    tensors = tuple(t for t in program.tensors if t.name not in unwritten)
    return replace(program, tensors=tensors, statements=statements)


def _absorbable(program: Program, reader: Statement, read: Read) -> Statement | None:
    """The contraction behind `read`, if `reader` is all that reads it, over the same box, as a term of its own."""
    source = program.definition(read.tensor)
    if source is None or source.accumulate or read.tensor in program.outputs or read.tensor == program.loss:
        return None
    if program.tensor(read.tensor).role is Role.LOSS or len(program.readers(read.tensor)) != 1:
        return None
    if sum(r.tensor == read.tensor for r in reader.reads) != 1 or source.tensor == reader.tensor:
        return None
    if [t.is_read for t in reader.body.terms() if read in t.operands] != [True]:
        return None  # scaled, or in another term as well
    if not is_plain_contraction(source, program):
        return None
    renamed = _same_box(source, reader, read)
    return source if renamed and source.guards == () and reader.guards == () else None


def _same_box(source: Statement, reader: Statement, read: Read) -> bool:
    """True if the reader visits exactly the elements that the source writes, each once."""
    if len(source.free) != len(reader.free) or len(source.subscripts) != len(read.subscripts):
        return False
    for written, used in zip(source.subscripts, read.subscripts, strict=True):
        i, j = written.as_index(), used.as_index()
        if i is None or j is None or j not in reader.free:
            return False
        ours, theirs = source.domain.range_of(i), reader.domain.range_of(j)
        if (ours.lower, ours.stop) != (theirs.lower, theirs.stop):
            return False
    return len({s.as_index() for s in read.subscripts}) == len(reader.free)


def _retarget(source: Statement, reader: Statement, *, accumulate: bool) -> Statement:
    """The source statement, writing where the reader writes."""
    read = next(r for r in reader.body.reads if r.tensor == source.tensor)
    names = {w.as_index(): u.as_index() for w, u in zip(source.subscripts, read.subscripts, strict=True)}
    clash = source.rename_apart(reader.indices)
    pairs = dict(zip(clash.free, (names[i] for i in source.free), strict=True))
    renamed = clash.rename(pairs)  # type: ignore[arg-type]
    return replace(renamed, tensor=reader.tensor, subscripts=reader.subscripts, accumulate=accumulate)

"""Put what several indices share out along an axis into the one equation that reads it.

    z_bar[o, m + 2*r, b] = select(place[o, r, b] == m, y_bar[o, r, b], 0)
    z_pre_bar[o, p, b] = z_bar[o, p, b]*step(z[o, p, b])

    z_pre_bar[o, m + 2*r, b] = select(place[o, r, b] == m, y_bar[o, r, b], 0)*step(z[o, m + 2*r, b])

The reader takes over the indices of what it reads: the gradient through pooling and the function before it is written
once, and what was between them needs no memory.
"""

from __future__ import annotations

from dataclasses import replace

from symbp.ir.affine import ZERO, Affine, Index, Read
from symbp.ir.program import Program, Role
from symbp.ir.statement import Domain, Reduction, Statement
from symbp.schedule.coverage import writes_whole
from symbp.schedule.reach import is_recurrent


def inline_scattered(program: Program) -> Program:
    """Every such value written into its reader, if that is the only one and goes through it element by element."""
    for name in [t.name for t in program.tensors]:
        source = program.definition(name)
        if source is None or not _is_scattered(source, program):
            continue
        readers = program.readers(name)
        if len(readers) != 1 or not _goes_through(readers[0], name, program):
            continue
        (reader,) = readers
        joined = _joined(source, reader)
        statements = tuple(joined if s is reader else s for s in program.statements if s is not source)
        tensors = tuple(t for t in program.tensors if t.name != name)
        program = replace(program, tensors=tensors, statements=statements)
    return program


def _is_scattered(statement: Statement, program: Program) -> bool:
    """True if it writes all of a tensor that nobody else needs, by subscripts that are not all plain indices."""
    tensor = program.tensor(statement.tensor)
    return (
        tensor.role not in (Role.INPUT, Role.PARAMETER)
        and tensor.name not in (*program.outputs, program.loss)
        and statement.reduction is Reduction.NONE
        and any(s.as_index() is None for s in statement.subscripts)
        and writes_whole(statement, tensor)
        and not is_recurrent(statement, program)
    )


def _goes_through(reader: Statement, name: str, program: Program) -> bool:
    """True if the reader reads each element once, where it makes one of its own."""
    reads = [r for r in reader.reads if r.tensor == name]
    if len(reads) != 1 or reads[0] not in reader.body.reads or reader.reduction is not Reduction.NONE:
        return False
    indices = [s.as_index() for s in reads[0].subscripts]
    if len(indices) != len(reader.free) or set(indices) != set(reader.free) or is_recurrent(reader, program):
        return False
    loops = {r.index: (r.lower, r.stop) for r in reader.domain.ranges}
    shape = program.tensor(name).shape
    return all(loops[i] == (ZERO, extent) for i, extent in zip(indices, shape, strict=True) if i is not None)


def _joined(source: Statement, reader: Statement) -> Statement:
    reader = reader.rename_apart(source.indices)
    (read,) = (r for r in reader.body.reads if r.tensor == source.tensor)
    mapping: dict[Index, Affine] = {}
    for used, written in zip(read.subscripts, source.subscripts, strict=True):
        index = used.as_index()
        assert index is not None, "the reader goes through element by element"
        mapping[index] = written
    here = Read(source.tensor, source.subscripts)
    body = reader.body.substitute(mapping).replace_reads(lambda r: source.body if r == here else None)
    return replace(
        reader,
        subscripts=tuple(s.substitute(mapping) for s in reader.subscripts),
        free=source.free,
        body=body,
        domain=Domain(source.domain.ranges, reader.domain.substitute_guards(mapping)),
    )

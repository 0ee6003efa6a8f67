"""Write an argument back into its call where the name served the derivation only.

    p_exp_arg[b, k] = z[b, k] - p_max[b]
    p_exp[b, k] = exp(p_exp_arg[b, k])            ==>      p_exp[b, k] = exp(z[b, k] - p_max[b])

The argument of ``exp`` is named so that its adjoint has a name; if nothing but the call reads its value, the name is in
the way. Arguments that end in a contraction keep theirs: the product is added to them in place.
"""

from __future__ import annotations

from dataclasses import replace

from symbp.ir.affine import Affine, Index, Read
from symbp.ir.body import Body
from symbp.ir.functions import NONLINEAR
from symbp.ir.program import Program, Role
from symbp.ir.statement import Reduction, Statement
from symbp.schedule.classify import is_plain_contraction


def inline_arguments(program: Program) -> Program:
    """Inline every argument that only its call reads, over the same box and under the same guards."""
    current = {id(s): s for s in program.statements}
    removed: set[int] = set()
    for reader in program.statements:
        if reader.reduction is not Reduction.NONE or not isinstance(reader.body.expr, NONLINEAR):
            continue
        if id(reader) in removed:  # written into its own reader already, with its argument as it was
            continue
        for read in reader.body.reads:
            source = program.definition(read.tensor)
            if source is None or id(source) in removed or not _serves_only(source, reader, read, program):
                continue
            call = current[id(reader)]
            current[id(reader)] = replace(call, body=_with_argument(call, read, current[id(source)]))
            removed.add(id(source))
    if not removed:
        return program
    gone = {s.tensor for s in program.statements if id(s) in removed}
    return replace(
        program,
        tensors=tuple(t for t in program.tensors if t.name not in gone),
        statements=tuple(current[id(s)] for s in program.statements if id(s) not in removed),
    )


def _serves_only(source: Statement, reader: Statement, read: Read, program: Program) -> bool:
    tensor = program.tensor(source.tensor)
    if tensor.role is not Role.ACTIVATION or source.tensor in (*program.outputs, program.loss):
        return False
    if source.reduction is not Reduction.NONE or source.accumulate or program.readers(source.tensor) != (reader,):
        return False
    if sum(r.tensor == source.tensor for r in reader.reads) != 1:
        return False
    if not _same_box(source, reader, read):
        return False
    feeds = (program.definition(r.tensor) for r in source.body.reads)
    return not any(
        f is not None and is_plain_contraction(f, program) and len(program.readers(f.tensor)) == 1 for f in feeds
    )


def _same_box(source: Statement, reader: Statement, read: Read) -> bool:
    """True if the reader reads all that the source writes, element by element, under the same guards."""
    names = _renaming(source, read)
    if names is None or len(names) != len(source.free) or len(set(names.values())) < len(names):
        return False
    for mine, theirs in names.items():
        if theirs not in reader.free:
            return False
        ours, other = source.domain.range_of(mine), reader.domain.range_of(theirs)
        if (ours.lower, ours.stop) != (other.lower, other.stop):
            return False
    mapping = {i: Affine.of(j) for i, j in names.items()}
    return set(source.domain.substitute_guards(mapping)) <= set(reader.guards)


def _renaming(source: Statement, read: Read) -> dict[Index, Index] | None:
    """Which of the reader's indices stands for each of the source's."""
    names: dict[Index, Index] = {}
    for written, used in zip(source.subscripts, read.subscripts, strict=True):
        i, j = written.as_index(), used.as_index()
        if i is None or j is None:
            return None
        names[i] = j
    return names


def _with_argument(reader: Statement, read: Read, source: Statement) -> Body:
    names = _renaming(source, read)
    assert names is not None
    argument = source.body.substitute({i: Affine.of(j) for i, j in names.items()})
    return reader.body.replace_reads(lambda r: argument if r == read else None)

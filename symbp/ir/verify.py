"""The verifier. It runs before and after every pass; what it refuses is a bug in symbp, not in the user's model."""

from __future__ import annotations

from dataclasses import replace
from math import gcd

from symbp.ir.affine import Affine, Index
from symbp.ir.bounds import holds_everywhere, is_nonnegative, lower_bound
from symbp.ir.program import DType, Program
from symbp.ir.statement import Domain, NonNegative, Reduction, Statement, guard_indices
from symbp.ir.text import statement_text


class InvalidProgram(AssertionError):
    """An invariant of the IR is broken: a pass has a bug."""


def verify(program: Program, after: str = "") -> Program:
    """Return `program` unchanged if it is well formed, else raise InvalidProgram naming the pass and the statement.

    Invariants: tensor names are unique; every tensor read or written is declared, with its rank; every index is bound
    once and has one range; ranges mention sizes and earlier indices only; a reduction has reduced indices, and only
    then; nothing given is written; equations with ``=`` write each element once.
    """
    names = [t.name for t in program.tensors]
    if len(set(names)) < len(names):
        _fail(f"tensor {next(n for n in names if names.count(n) > 1)!r} is declared twice", program, after)
    for name in (*program.outputs, *filter(None, [program.loss])):
        if not program.has(name):
            _fail(f"output {name!r} is not declared", program, after)
    for statement in program.statements:
        _verify_statement(statement, program, after)
    for name in dict.fromkeys(s.tensor for s in program.statements):
        _verify_disjoint(name, program, after)
    return program


def _verify_statement(statement: Statement, program: Program, after: str) -> None:
    def fail(what: str) -> None:
        _fail(f"{what} in: {statement_text(statement)}", program, after)

    for read in (statement.target, *statement.reads):
        if not program.has(read.tensor):
            fail(f"tensor {read.tensor!r} is not declared")
        if len(read.subscripts) != program.tensor(read.tensor).rank:
            fail(f"{read} has {len(read.subscripts)} subscripts, not {program.tensor(read.tensor).rank}")
    if program.tensor(statement.tensor).is_given:
        fail(f"{statement.tensor!r} is given and cannot be written")
    bound = set(statement.indices)
    if len(bound) < len(statement.indices):
        fail("an index is bound twice")
    if sorted(r.index.name for r in statement.domain.ranges) != sorted(i.name for i in statement.indices):
        fail("the ranges do not match the indices")
    used = {*statement.body.indices, *(i for s in statement.subscripts for i in s.indices())}
    used |= {i for g in statement.guards for i in guard_indices(g)}
    used |= {i for r in statement.domain.ranges for e in (r.lower, r.stop) for i in e.indices()}
    if not used <= bound:
        fail(f"unbound index {sorted(i.name for i in used - bound)}")
    if any(r.lower.indices() or r.stop.indices() for r in statement.domain.ranges):
        fail("a range depends on another index; use a guard")
    if bool(statement.reduced) != (statement.reduction is not Reduction.NONE):
        fail("a reduction and reduced indices go together")
    if any(i in statement.reduced for s in statement.subscripts for i in s.indices()):
        fail("a reduced index occurs on the left")
    if statement.reduction in (Reduction.MAX, Reduction.ARGMAX) and statement.accumulate:
        fail("only sums accumulate")
    is_integer = program.tensor(statement.tensor).dtype is DType.INT
    if (statement.reduction is Reduction.ARGMAX) and not is_integer:
        fail("argmax is written to a tensor that is not of integers")


def _verify_disjoint(name: str, program: Program, after: str) -> None:
    """Each pair of ``=`` writes must differ by constants, ranges or guards on some axis."""
    plain = [s for s in program.definitions(name) if not s.accumulate]
    for k, one in enumerate(plain):
        for other in plain[k + 1 :]:
            if not are_disjoint(one, other):
                both = f"{statement_text(one)}  and  {statement_text(other)}"
                _fail(f"{name!r} is written twice: {both}", program, after)


def are_disjoint(one: Statement, other: Statement) -> bool:
    """True if the two statements provably write different elements of their tensor."""
    one, other = _what_is_written(one), _what_is_written(other.rename_apart(one.indices))
    both = Domain((*one.domain.ranges, *other.domain.ranges), (*one.guards, *other.guards))
    same: dict[Index, Affine] = {}
    for a, b in zip(one.subscripts, other.subscripts, strict=True):
        if holds_everywhere(a - b - 1, both) or holds_everywhere(b - a - 1, both) or _has_other_remainder(a - b):
            return True
        index = b.as_index()
        if index is not None:
            same.setdefault(index, a)
    return _exclude_each_other(
        one, replace(other, domain=Domain(other.domain.ranges, other.domain.substitute_guards(same)))
    )


def _what_is_written(statement: Statement) -> Statement:
    """The statement without the guards on reduced indices: a sum over nothing is written too."""
    guards = tuple(g for g in statement.guards if not set(guard_indices(g)) & set(statement.reduced))
    return replace(statement, domain=Domain(statement.domain.ranges, guards))


def _has_other_remainder(difference: Affine) -> bool:
    """True if it is never 0 because of a common factor: ``2*i - (2*k + 1)``."""
    factor = gcd(*(c for m, c in difference.terms if m)) if difference.terms else 0
    return factor > 1 and difference.constant % factor != 0


def _exclude_each_other(one: Statement, other: Statement) -> bool:
    """True if a guard of one contradicts a guard of the other: ``i >= j`` and ``i < j``."""
    ranges = (*one.domain.ranges, *other.domain.ranges)
    for mine in one.guards:
        for theirs in other.guards:
            if isinstance(mine, NonNegative) and isinstance(theirs, NonNegative):
                low = lower_bound(-mine.value - theirs.value - 1, ranges)
                if low is not None and is_nonnegative(low):
                    return True
    return False


def _fail(what: str, program: Program, after: str) -> None:
    raise InvalidProgram(f"program '{program.name}'{f' after {after}' if after else ''}: {what}")

"""Lay the samples of convolutional layers side by side: the batch becomes the last axis of what lies between them.

    x_lanes[c, i, j, b] = x[b, c, i, j]
    z[o, p, q, b] = sum[c, u, v] x_lanes[c, p + u, q + v, b]*K[o, c, u, v]
    pool[o, r, s, b] = max[m, n] z[o, 2*r + m, 2*s + n, b]

A window is too short a loop to fill a vector register, and a row of an image has any length; samples always lie next to
each other then, whatever slides, strides or is padded. The change of axes spreads from the convolutions to whatever is
made from them sample by sample, and stops at matrix products, which want a sample's features together. What comes from
outside, or is handed out, is copied.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import TypeVar

import sympy as sp

from symbp.ir.affine import ZERO, Affine, Index, Read
from symbp.ir.body import Body, slot
from symbp.ir.functions import select
from symbp.ir.names import fresh_name
from symbp.ir.program import Program, Role, Tensor
from symbp.ir.statement import Domain, Guard, Range, Reduction, Statement, Zero
from symbp.schedule.classify import as_contraction
from symbp.schedule.lane_sums import sum_lanes_last
from symbp.schedule.reach import is_recurrent
from symbp.schedule.slide import as_slide

_Part = TypeVar("_Part")
_NO_NAMES: Mapping[str, str] = MappingProxyType({})


def lay_samples_last(program: Program, visible: Iterable[str] = ()) -> Program:
    """The program with the samples last wherever it slides; `visible` are tensors whose axes must stay as they are."""
    sliding = {id(s): i for s in program.statements if (i := _sample_of_sliding(s, program)) is not None}
    if not sliding:
        return program
    kept = {*visible, *program.outputs, program.loss}
    given = {t.name for t in program.tensors if t.is_given}
    kept |= {t.name for t in program.tensors if t.is_given or t.primal in given}
    dense = _dense(program, sliding)
    turned = _spread(program, sliding, kept | dense)
    return _turn(program, sliding, turned)


def _sample_of_sliding(statement: Statement, program: Program) -> Index | None:
    """The index of samples in a sum that would be one call if these came last."""
    body = statement.body
    if statement.reduction is not Reduction.SUM or body.expr != slot(0) * slot(1) or is_recurrent(statement, program):
        return None
    a, b = body.operands
    if not isinstance(a, Read) or not isinstance(b, Read):
        return None
    for index in statement.indices:
        first = [r for r in (statement.target, a, b) if _counts_samples(r, index)]
        without = [r for r in (statement.target, a, b) if all(index not in s.indices() for s in r.subscripts)]
        if len(first) != 2 or len(without) != 1:
            continue
        names = {r.tensor for r in first}
        if as_slide(_with_samples_last(statement, names), _turned_program(program, names)) is not None:
            return index
    return None


def _counts_samples(read: Read, index: Index | None) -> bool:
    """True if the index is all of the first subscript, and nowhere else: ``z[b, o, p, q]``."""
    return (
        index is not None
        and len(read.subscripts) > 1
        and read.subscripts[0].as_index() == index
        and not any(index in s.indices() for s in read.subscripts[1:])
    )


def _dense(program: Program, sliding: dict[int, Index]) -> set[str]:
    """What a matrix product over all samples at once reads or writes."""
    found: set[str] = set()
    for statement in program.statements:
        contraction = as_contraction(statement, program) if id(statement) not in sliding else None
        if contraction is None:
            continue
        apart = {*contraction.batch, *contraction.summed}
        for read in (statement.target, *statement.body.reads):
            index = read.subscripts[0].as_index() if read.subscripts else None
            if index is not None and index not in apart:
                found.add(read.tensor)
    return found


def _spread(program: Program, sliding: dict[int, Index], fixed: set[str]) -> frozenset[str]:
    """The tensors to turn: those of the sliding sums, and from there sample by sample as far as it goes."""
    turned = {
        r.tensor
        for s in program.statements
        if id(s) in sliding
        for r in (s.target, *s.body.reads)
        if _counts_samples(r, sliding[id(s)]) and r.tensor not in fixed
    }
    can = {t.name for t in program.tensors if t.rank > 1 and t.name not in fixed and _may_turn(t.name, program)}
    turned &= can
    grows = True
    while grows:
        grows = False
        for statement in program.statements:
            both = [r for r in (statement.target, *statement.reads) if r.tensor in can]
            indices = {r.subscripts[0].as_index() for r in both if r.tensor in turned}
            indices |= {sliding[id(statement)]} if id(statement) in sliding else set()
            for read in both:
                index = read.subscripts[0].as_index()
                if read.tensor not in turned and index in indices and _counts_samples(read, index):
                    turned.add(read.tensor)
                    grows = True
    return frozenset(turned)


def _may_turn(name: str, program: Program) -> bool:
    """True if no recurrence makes the tensor, and whatever does walks its first axis by an index of its own."""
    for statement in program.definitions(name):
        index = statement.subscripts[0].as_index()
        if index is None or not _counts_samples(statement.target, index) or is_recurrent(statement, program):
            return False
    return True


# -------------------------------------------------------------------------------------------------------------- turning


def _turn(program: Program, sliding: dict[int, Index], turned: frozenset[str]) -> Program:
    names = {t.name for t in program.tensors}
    tensors = {t.name: _turned_tensor(t) if t.name in turned else t for t in program.tensors}
    made = {s.tensor for s in program.statements if id(s) in sliding and s.tensor not in turned}
    statements: list[Statement] = []

    def declare_copy(name: str) -> str:
        copy = fresh_name(f"{name}_lanes", names)
        names.add(copy)
        original = program.tensor(name)
        role = Role.ACTIVATION if original.is_given else original.role
        tensors[copy] = Tensor(copy, _last(original.shape), role, _last(original.axes))
        return copy

    copies = {name: declare_copy(name) for name in _to_copy(program, sliding, turned)}
    # What one sliding sum makes is there with the samples last already.
    made = {name for name in made if len(program.definitions(name)) == 1}
    for statement in program.statements:
        mine, renamed = set(turned), dict[str, str]()
        index = _sample_of(statement, sliding, turned)
        if index is not None:
            for read in statement.reads:
                if read.tensor in copies and _counts_samples(read, index):
                    renamed[read.tensor] = copies[read.tensor]
        if id(statement) in sliding and statement.tensor not in turned and index in statement.free:
            known = copies.get(statement.tensor) if statement.tensor in made else None
            renamed[statement.tensor] = known or declare_copy(statement.tensor)
        mine |= set(renamed)
        new = _value_with_condition(statement, program) if statement.tensor in turned else statement
        new = _with_samples_last(new, mine, renamed)
        if statement.tensor not in renamed:
            statements.append(new)
            continue
        whole = _copy(statement.tensor, new.tensor, program.tensor(statement.tensor), back=True)
        statements += [
            replace(new, accumulate=False),
            replace(whole, accumulate=statement.accumulate, origin=statement.origin),
        ]
    first = [_copy(name, copy, program.tensor(name), back=False) for name, copy in copies.items() if name not in made]
    made_last = replace(program, tensors=tuple(tensors.values()), statements=(*first, *statements))
    return sum_lanes_last(made_last, {*turned, *copies.values()})


def _sample_of(statement: Statement, sliding: Mapping[int, Index], turned: Iterable[str]) -> Index | None:
    """The index of samples of a statement that makes something with samples last, or sums over it."""
    if id(statement) in sliding:
        return sliding[id(statement)]
    return statement.subscripts[0].as_index() if statement.tensor in turned else None


def _to_copy(program: Program, sliding: Mapping[int, Index], turned: frozenset[str]) -> tuple[str, ...]:
    """What keeps its axes but is read where samples come last, more than once for each element."""
    found: dict[str, None] = {}
    for statement in program.statements:
        index = _sample_of(statement, sliding, turned)
        for read in statement.body.reads if index is not None else ():
            if read.tensor in turned or not _counts_samples(read, index):
                continue
            once = all(any(i in s.indices() for s in read.subscripts) for i in statement.indices)
            if id(statement) in sliding or not once:
                found[read.tensor] = None
    return tuple(found)


def _turned_tensor(tensor: Tensor) -> Tensor:
    return replace(tensor, shape=_last(tensor.shape), axes=_last(tensor.axes))


def _turned_program(program: Program, names: Iterable[str]) -> Program:
    wanted = frozenset(names)
    return replace(program, tensors=tuple(_turned_tensor(t) if t.name in wanted else t for t in program.tensors))


def _last(parts: tuple[_Part, ...]) -> tuple[_Part, ...]:
    """The first part behind the others."""
    return (*parts[1:], *parts[:1])


def _with_samples_last(statement: Statement, names: Iterable[str], renamed: Mapping[str, str] = _NO_NAMES) -> Statement:
    """The statement with the first subscript of each of the tensors last, and some of these called otherwise."""
    wanted = frozenset(names)

    def turn(element: Read) -> Read:
        subscripts = _last(element.subscripts) if element.tensor in wanted else element.subscripts
        return Read(renamed.get(element.tensor, element.tensor), subscripts)

    return statement.map_elements(turn)


def _value_with_condition(statement: Statement, program: Program) -> Statement:
    """``x_bar[..] += select(place[..] == 2*u + v, y_bar[..], 0)`` for ``x_bar[..] += y_bar[..] where ..``.

    A condition on data makes each sample take another way; a choice of values leaves them side by side.
    """
    only = statement.accumulate or len(program.definitions(statement.tensor)) == 1
    if statement.reduction is not Reduction.NONE or not only:
        return statement
    body, guards = statement.body, list[Guard]()
    for guard in statement.guards:
        condition = _equality(guard)
        if condition is None:
            guards.append(guard)
            continue
        chosen, this, that = sp.symbols("chosen this that", real=True)
        template = select(sp.Eq(this, that), chosen, sp.S.Zero)
        body = Body.combine(template, {chosen: body, this: Body.of(condition[0]), that: Body.of(condition[1])})
    return replace(statement, body=body, domain=Domain(statement.domain.ranges, tuple(guards)))


def _equality(guard: Guard) -> tuple[Read, Affine] | None:
    """``read == value`` if that is what the guard says."""
    if not isinstance(guard, Zero):
        return None
    found = [a for a in guard.value.atoms() if isinstance(a, Read)]
    if len(found) != 1:
        return None
    rest, factor = ZERO, 0
    for monomial, number in guard.value.terms:
        if found[0] in monomial:
            if len(monomial) > 1 or number not in (1, -1):
                return None
            factor = number
        else:
            rest = rest + Affine(((monomial, number),))
    return (found[0], rest * -factor) if not rest.reads() else None


def _copy(name: str, lanes: str, tensor: Tensor, *, back: bool) -> Statement:
    """``lanes[.., b] = name[b, ..]``, or that way back."""
    taken: list[Index] = []
    for k in range(tensor.rank):
        hint = tensor.axes[k] if k < len(tensor.axes) else f"i{k}"
        taken.append(Index(fresh_name(hint, {i.name for i in taken})))
    plain, last = Read(name, tuple(map(Affine.of, taken))), Read(lanes, tuple(map(Affine.of, (*taken[1:], taken[0]))))
    target, source = (plain, last) if back else (last, plain)
    ranges = tuple(Range(i, ZERO, extent) for i, extent in zip(taken, tensor.shape, strict=True))
    free = tuple(taken) if back else (*taken[1:], taken[0])
    return Statement(target.tensor, target.subscripts, free, Body.of(source), Domain(ranges))

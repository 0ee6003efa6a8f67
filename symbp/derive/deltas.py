"""Kronecker deltas: a guard that fixes a reduced index leaves nothing to sum over.

y[I] = sum[r] f(I, r)  where r == c        ==>        y[I] = f(I, c)
"""

from __future__ import annotations

from symbp.ir import ONE, Affine, Domain, Guard, Index, NonNegative, Range, Reduction, Statement, Zero
from symbp.ir.bounds import is_implied


def eliminate_deltas(statement: Statement) -> Statement | None:
    """Drop reduced indices that a guard ``r == affine`` fixes; None if the guards leave no element of the domain."""
    reduced = list(statement.reduced)
    ranges = {r.index: r for r in statement.domain.ranges}
    body, guards = statement.body, list(statement.guards)
    for guard in statement.guards:
        found = _solvable(guard, reduced)
        if found is None or guard not in guards:
            continue
        index, value = found
        mapping = {index: value}
        guards.remove(guard)
        guards = [g.substitute(mapping) for g in guards]
        gone = ranges.pop(index)
        guards += [NonNegative(value - gone.lower), NonNegative(gone.stop - 1 - value)]
        body = body.substitute(mapping)
        reduced.remove(index)
    kept = _simplify_guards(guards, tuple(ranges.values()))
    if kept is None:
        return None
    return Statement(
        statement.tensor,
        statement.subscripts,
        statement.free,
        body,
        Domain(tuple(ranges.values()), kept),
        tuple(reduced),
        statement.reduction if reduced else Reduction.NONE,
        statement.accumulate,
        statement.origin,
    )


def _solvable(guard: Guard, reduced: list[Index]) -> tuple[Index, Affine] | None:
    """A reduced index that the guard fixes, and its value."""
    if not isinstance(guard, Zero) or guard.value.reads():
        return None
    for index in guard.value.plain_indices():
        factor = guard.value.coefficient(index) if index in reduced else None
        if factor in (ONE, -ONE):
            rest = guard.value.without(index)
            return index, -rest if factor == ONE else rest
    return None


def _simplify_guards(guards: list[Guard], ranges: tuple[Range, ...]) -> tuple[Guard, ...] | None:
    """The guards that say something, once each; None if one of them can never hold."""
    kept: dict[Guard, None] = {}
    for guard in guards:
        if isinstance(guard, NonNegative | Zero) and guard.value.is_constant:
            value = int(guard.value)
            if (value < 0) if isinstance(guard, NonNegative) else (value != 0):
                return None
        if not is_implied(guard, ranges):
            kept[guard] = None
    return tuple(kept)

"""Recurrences: one axis of each tensor and a direction along which every element is made from elements made before.

With ``p`` the written and ``q`` the read position along that axis, the distance is ``d = direction*(p - q)``; it is
bounded from below over the domain. Statement `s` runs at time ``direction*p + offset(s)``, so each read demands
``d + offset(reader) - offset(writer) >= 0``, with the zeros acyclic. Offsets change no cycle's total, so they are free
to be chosen for the reader's eye: ``z[t]``, ``c[t+1]`` and ``h[t+1]`` share the step ``t``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from sympy.utilities.iterables import strongly_connected_components

from symbp.errors import DerivativeError, SpecError
from symbp.ir.affine import Affine, Index, Read, Size
from symbp.ir.bounds import is_nonnegative, lower_bound
from symbp.ir.program import Program, Role
from symbp.ir.statement import Domain, NonNegative, Range, Statement, Zero, fresh_index
from symbp.ir.text import statement_text

Node = TypeVar("Node", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Turn:
    """A statement of a scan, written in the scan's own index; it runs at the steps ``first <= index < stop``.

    The index has a range in the statement's domain, as any free index has. A statement at a constant position
    (``h[b, 0, k] = ..``) does not mention it and runs at one step.
    """

    statement: Statement
    first: Affine
    stop: Affine


@dataclass(frozen=True, slots=True)
class Scan:
    """``for index in start..stop`` (downwards if `direction` is -1) run the turns in order.

    `axes` pairs each tensor written with the position of its scanned axis. Elements that no statement of the program
    writes are 0; blocks before the scan may have written or added to the same tensors.
    """

    index: Index
    start: Affine
    stop: Affine
    direction: int
    turns: tuple[Turn, ...]
    axes: tuple[tuple[str, int], ...]

    @property
    def statements(self) -> tuple[Statement, ...]:
        return tuple(t.statement for t in self.turns)

    @property
    def tensors(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.axes)

    def runs_always(self, turn: Turn) -> bool:
        """True if the turn runs at every step, so that it needs no condition."""
        return turn.first == self.start and turn.stop == self.stop


@dataclass(frozen=True, slots=True)
class Dependence:
    """Statement number `reader` needs what number `writer` writes; `read` is None for ``+=`` after ``=``."""

    reader: int
    writer: int
    read: Read | None


def components(nodes: Sequence[Node], successors: Mapping[Node, Iterable[Node]]) -> list[list[Node]]:
    """Strongly connected components, successors first; the order of `nodes` decides wherever there is a choice."""
    edges = [(a, b) for a in nodes for b in successors[a]]
    found: list[list[Node]] = strongly_connected_components((list(nodes), edges))
    return found


Axes = dict[str, int]


@dataclass(frozen=True, slots=True)
class _Refusal:
    """Why a choice of axes and direction does not order a recurrence."""

    kind: str  # "position", "backwards" or "itself"
    statement: Statement
    read: Read | None = None


def order_recurrence(program: Program, statements: dict[int, Statement], dependences: list[Dependence]) -> Scan:
    tensors = list(dict.fromkeys(s.tensor for s in statements.values()))
    refusals: dict[int, dict[int, _Refusal]] = {}
    for axis in range(program.tensor(tensors[0]).rank):
        for axes in _axis_choices(program, statements, tensors, {tensors[0]: axis}):
            for direction in (1, -1):
                found = _schedule(statements, dependences, axes, direction)
                if not isinstance(found, _Refusal):
                    return _emit(statements, axes, direction, *found)
                refusals.setdefault(axis, {}).setdefault(direction, found)
    raise _refuse(program, statements, refusals)


def _axis_choices(
    program: Program, statements: dict[int, Statement], tensors: list[str], known: Axes
) -> Iterator[Axes]:
    """Every way to give each tensor an axis that fits `known`: the axis that is walked by the same index.

    Where no statement links a tensor to the others index by index (a sum over all earlier steps), all its axes are
    tried.
    """
    axes = dict(known)
    changed = True
    while changed and len(axes) < len(tensors):
        changed = False
        for statement in statements.values():
            for read in statement.reads:
                for a, b in ((statement.target, read), (read, statement.target)):
                    if a.tensor in axes and b.tensor in tensors and b.tensor not in axes:
                        match = _matching_axis(a.subscripts[axes[a.tensor]], b.subscripts)
                        if match is not None:
                            axes[b.tensor] = match
                            changed = True
    missing = next((t for t in tensors if t not in axes), None)
    if missing is None:
        yield axes
        return
    for axis in range(program.tensor(missing).rank):
        yield from _axis_choices(program, statements, tensors, {**axes, missing: axis})


def _matching_axis(subscript: Affine, subscripts: tuple[Affine, ...]) -> int | None:
    indices = sorted(i.name for i in subscript.indices())
    if not indices:
        return None
    return next((k for k, s in enumerate(subscripts) if sorted(i.name for i in s.indices()) == indices), None)


# --------------------------------------------------------------------------------------------- offsets and the steps


def _schedule(
    statements: dict[int, Statement], dependences: list[Dependence], axes: Axes, direction: int
) -> tuple[dict[int, int], list[int]] | _Refusal:
    """Offsets by difference constraints, and the order of the statements within a step."""
    for s in statements.values():
        if _own_index(s, axes) is None and s.subscripts[axes[s.tensor]].indices():
            return _Refusal("position", s)
    edges: dict[tuple[int, int], int] = {}  # the smallest distance over all reads of a pair
    nearest: dict[tuple[int, int], Read | None] = {}
    for d in dependences:
        s = statements[d.reader]
        distance: int | None = 0
        if d.read is not None:
            written, read = s.subscripts[axes[s.tensor]], d.read.subscripts[axes[d.read.tensor]]
            distance = _least((written - read) * direction, s.domain)
        if distance is None:
            return _Refusal("backwards", s, d.read)
        pair = (d.reader, d.writer)
        if pair not in edges or distance < edges[pair]:
            edges[pair], nearest[pair] = distance, d.read
    offset = {k: direction * shift for k, shift in _preferred_shifts(statements, axes).items()}
    for _ in range(len(statements) + 1):
        late = [(r, w, gap) for (r, w), gap in edges.items() if gap + offset[r] < offset[w]]
        if not late:
            break
        for reader, writer, gap in late:
            offset[reader] = max(offset[reader], offset[writer] - gap)
    else:
        reader, writer, _ = late[0]
        return _Refusal("backwards", statements[reader], nearest[reader, writer])
    same_step: dict[int, list[int]] = {k: [] for k in statements}
    for (reader, writer), gap in edges.items():
        if gap + offset[reader] == offset[writer]:
            same_step[reader].append(writer)
    groups = components(list(statements), same_step)
    for component in groups:
        for k in component:
            inner = [w for w in same_step[k] if w in component]
            if inner:
                return _Refusal("itself", statements[k], nearest[k, inner[0]])
    return offset, [c[0] for c in groups]


def _own_index(statement: Statement, axes: Axes) -> tuple[Index, int] | None:
    """The index (and its sign) that walks the scanned axis: ``t`` in ``h[b, t + 1, k]``."""
    subscript = statement.subscripts[axes[statement.tensor]]
    indices = subscript.indices()
    if len(indices) != 1:
        return None
    factor = subscript.coefficient(indices[0])
    if factor is None or not factor.is_constant or int(factor) not in (1, -1):
        return None
    return indices[0], int(factor)


def _positions(statement: Statement, axes: Axes) -> tuple[Affine, Affine]:
    """The first written position and the one after the last, counted upwards."""
    subscript = statement.subscripts[axes[statement.tensor]]
    own = _own_index(statement, axes)
    if own is None:
        return subscript, subscript + 1
    index, sign = own
    walk, rest = statement.domain.range_of(index), subscript.without(index)
    return (walk.lower + rest, walk.stop + rest) if sign > 0 else (rest - walk.stop + 1, rest - walk.lower + 1)


def _preferred_shifts(statements: dict[int, Statement], axes: Axes) -> dict[int, int]:
    """What to add to each written position to get its step, if nothing else mattered.

    Statements of the usual length start at step 0, so that ``h[t + 1]`` over ``t >= 0`` and ``h[t]`` over ``t >= 1``
    are one; a shorter one keeps the index that it is written with.
    """
    positions = {k: _positions(s, axes) for k, s in statements.items() if _own_index(s, axes)}
    usual = Counter(stop - first for first, stop in positions.values()).most_common(1)
    shifts = dict.fromkeys(statements, 0)
    for k, (first, stop) in positions.items():
        statement = statements[k]
        subscript = statement.subscripts[axes[statement.tensor]]
        origin = first if stop - first == usual[0][0] else subscript.without(subscript.indices()[0])
        shifts[k] = -int(origin) if origin.is_constant else 0
    return shifts


def _least(value: Affine, domain: Domain) -> int | None:
    """The best whole number that is provably not above `value`, from the box and any one of the guards."""
    candidates = [value]
    for guard in domain.guards:
        if isinstance(guard, NonNegative | Zero):
            candidates.append(value - guard.value)
        if isinstance(guard, Zero):
            candidates.append(value + guard.value)
    best: int | None = None
    for candidate in candidates:
        low = lower_bound(candidate, domain.ranges)
        if low is None:
            continue
        whole = sum(c for m, c in low.terms if all(isinstance(a, Size) for a in m))  # every size at its smallest, 1
        if is_nonnegative(low - whole):
            best = whole if best is None else max(best, whole)
    return best


def _emit(
    statements: dict[int, Statement], axes: Axes, direction: int, offset: dict[int, int], turns: list[int]
) -> Scan:
    shift = {k: direction * o for k, o in offset.items()}  # step = written position + shift
    starts = [(p + shift[k], q + shift[k]) for k, (p, q) in ((k, _positions(statements[k], axes)) for k in turns)]
    lowest = _extreme([first for first, _ in starts], -1)
    if lowest is not None and lowest.is_constant:  # count the steps from 0
        shift = {k: v - int(lowest) for k, v in shift.items()}
        starts = [(first - lowest, stop - lowest) for first, stop in starts]
        lowest = lowest - lowest
    highest = _extreme([stop for _, stop in starts], 1)
    if lowest is None or highest is None:
        s = statements[turns[0]]
        extents = ", ".join(dict.fromkeys(f"{first} to {stop}" for first, stop in starts))
        raise SpecError(
            f"the recurrence '{_equation(s)}' runs over ranges that cannot be compared: {extents}",
            place=s.origin.place or None,
            remedy="give the axes of the recurrence one size",
        )
    own = [_own_index(statements[k], axes) for k in turns]
    names = Counter(pair[0].name for pair in own if pair is not None)
    index = Index(names.most_common(1)[0][0]) if names else fresh_index("step", ())
    written = tuple(
        Turn(_in_step(statements[k], axes, index, shift[k]), first, stop)
        for k, (first, stop) in zip(turns, starts, strict=True)
    )
    return Scan(index, lowest, highest, direction, written, tuple(axes.items()))


def _extreme(values: list[Affine], sign: int) -> Affine | None:
    """The largest (`sign` 1) or smallest (-1) of the values, if that can be proved."""
    return next((v for v in values if all(is_nonnegative((v - o) * sign) for o in values)), None)


def _in_step(statement: Statement, axes: Axes, step: Index, shift: int) -> Statement:
    """The statement with its scanned index written through the scan's: ``t = step - shift - rest``."""
    own = _own_index(statement, axes)
    if own is None:
        return statement.rename_apart((step,))
    index, sign = own
    if index != step and step in statement.indices:
        statement = statement.rename({step: fresh_index(step.name, (*statement.indices, step))})
    rest = statement.subscripts[axes[statement.tensor]].without(index)
    value = (step - shift - rest) * sign
    if value == Affine.of(index):
        return statement
    walk = statement.domain.range_of(index)
    first, stop = _positions(statement, axes)
    mapping = {index: value}
    ranges = tuple(Range(step, first + shift, stop + shift) if r is walk else r for r in statement.domain.ranges)
    return replace(
        statement,
        subscripts=tuple(s.substitute(mapping) for s in statement.subscripts),
        free=tuple(step if i == index else i for i in statement.free),
        body=statement.body.substitute(mapping),
        domain=Domain(ranges, statement.domain.substitute_guards(mapping)),
    )


# -------------------------------------------------------------------------------------------------------- refusals


def _equation(statement: Statement) -> str:
    return statement.origin.equation or statement_text(statement)


def _refuse(program: Program, statements: dict[int, Statement], refusals: dict[int, dict[int, _Refusal]]) -> SpecError:
    """The error that says why no axis and direction order the recurrence."""
    derived = any(program.tensor(s.tensor).role in (Role.ADJOINT, Role.TANGENT) for s in statements.values())
    error = DerivativeError if derived else SpecError
    kinds = {axis: {r.kind for r in found.values()} for axis, found in refusals.items()}
    first = next(iter(statements.values()))
    advancing = [axis for axis, found in kinds.items() if found == {"itself", "backwards"}]
    if len(advancing) > 1:
        shown = _axis_names(program, first.tensor, advancing)
        return error(
            f"the recurrence '{_equation(first)}' advances along {shown} at once; only one axis can be stepped through",
            place=first.origin.place or None,
            remedy="make every element depend on earlier elements along one of them",
        )
    both = [axis for axis, found in kinds.items() if found == {"backwards"}]
    if both:
        reading = [refusals[both[0]][d] for d in (1, -1)]
        s = reading[0].statement
        shown = " and ".join(dict.fromkeys(str(r.read) for r in reading if r.read is not None))
        return error(
            f"the recurrence '{_equation(s)}' reads {shown}, both earlier and later elements of what it defines, or"
            f" elements whose place is not known, along {_axis_names(program, first.tensor, both[:1])}",
            place=s.origin.place or None,
            remedy="read earlier elements only (or later ones only); a guard such as 't >= s' can say so",
        )
    odd = next((r for found in refusals.values() for r in found.values() if r.kind == "position"), None)
    if odd is not None and not any("itself" in found for found in kinds.values()):
        s = odd.statement
        return error(
            f"the recurrence '{_equation(s)}' writes {s.target}, which is not one step per index",
            place=s.origin.place or None,
            remedy="write its left side with one plain index, such as h[t + 1]",
        )
    culprit = next((r for found in refusals.values() for r in found.values() if r.kind == "itself"), None)
    s = culprit.statement if culprit else first
    through = [t for t in dict.fromkeys(q.tensor for q in statements.values()) if t != s.tensor]
    by = f"itself through {', '.join(through)}" if through else "itself"
    return error(
        f"the equation '{_equation(s)}' defines {s.target} by {by}",
        place=s.origin.place or None,
        remedy="read an earlier element, such as index - 1, or give the result another name",
    )


def _axis_names(program: Program, tensor: str, axes: list[int]) -> str:
    names = program.tensor(tensor).axes
    return " and ".join(f"axis '{names[a]}'" if a < len(names) else f"axis {a}" for a in axes) + f" of '{tensor}'"

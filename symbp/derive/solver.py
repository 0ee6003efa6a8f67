"""The index solver: from "each element read sends a contribution" to "each element owned collects its contributions".

    for I, R:  x_bar[J(I,R)] += g(I,R)        ==>        for n:  x_bar[n] += sum over the rest of  g(I(n), R(n))

One equation ``n_d = J_d(I, R)`` for each axis d is solved for one unknown index:

    i                     i is n                              (plain)
    i + r, r - i          i = n - r, r - n                    (shift, reversal: the range moves along)
    c*i + r               written as it is                    (every element once: x_bar[2*p] += ..)
    h*E + e, e < E        written as it is                    (every element once: mixed radix)
    p + u                 p = n - u, 0 <= n - u < P           (a unit coefficient is solved for)
    (p + u)//D            p = D*n + s - u, 0 <= s < D         (upsampling)
    (p + u) % N           p = (n - u) % N                     (circular)
    label[b]              guard n == label[b], if b is owned  (one-hot)
    anything else         written as it is, adding            (scatter)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import IntEnum
from itertools import permutations

from symbp.derive.deltas import eliminate_deltas
from symbp.derive.divisions import simplify_divisions
from symbp.derive.index_names import name_after_axes
from symbp.ir import (
    ONE,
    ZERO,
    Affine,
    Body,
    Divisible,
    Domain,
    FloorDiv,
    Guard,
    Holds,
    Index,
    Mod,
    NonNegative,
    Operand,
    Origin,
    Range,
    Read,
    Reduction,
    Statement,
    Tensor,
    Zero,
    fresh_index,
)
from symbp.ir.bounds import is_nonnegative
from symbp.ir.statement import guard_indices


def gather(
    target: Tensor,
    subscripts: tuple[Affine, ...],
    free: tuple[Index, ...],
    reduced: tuple[Index, ...],
    domain: Domain,
    body: Body,
    origin: Origin,
) -> Statement | None:
    """The statement ``target[n] += sum of body`` in owner-computes form; None if no element of the domain is left.

    `free` and `reduced` are the indices of the statement that reads ``target's primal[subscripts]``. The result's
    indices carry the names of the target's axes where they own one.
    """
    system = _System(target, subscripts, free, reduced, domain, body)
    system.solve()
    return system.statement(origin)


def _is_never_zero(factor: Affine | None) -> bool:
    return factor is not None and (is_nonnegative(factor - 1) or is_nonnegative(-factor - 1))


class _Form(IntEnum):
    """The forms of one equation, in the order in which a system solves them: the plainest first."""

    KNOWN = 0
    PLAIN = 1
    SHIFT = 2
    INJECTIVE = 3
    ELIMINATE = 4
    FLOOR = 5
    REMAINDER = 6
    ONE_HOT = 7
    SCATTER = 8


class _System:
    """The equations ``n_d = subscripts[d]`` while they are being solved, with all that mentions their unknowns.

    An index is *owned* once the position in the target determines it. `free` are the indices of the reading statement
    that were free there: of two unknowns with unit coefficients such a one is solved for, so that sums stay sums (a
    convolution's input gradient sums over the kernel).
    """

    def __init__(
        self,
        target: Tensor,
        subscripts: tuple[Affine, ...],
        free: tuple[Index, ...],
        reduced: tuple[Index, ...],
        domain: Domain,
        body: Body,
    ) -> None:
        self.target = target
        self.subscripts = list(subscripts)
        self.pending = list(range(len(subscripts)))
        self.preferred = frozenset(free)
        self.ranges = {i: domain.range_of(i) for i in free + reduced}
        self.guards: list[Guard] = list(domain.guards)
        self.body = body
        self.owned: dict[Index, None] = {}
        self.created: dict[Index, int] = {}  # new index -> the axis that it runs over

    def solve(self) -> None:
        while self.pending:
            axis = min(self.pending, key=lambda d: (self._form(d), d))
            form = self._form(axis)
            self.pending.remove(axis)
            if form is _Form.PLAIN or form is _Form.INJECTIVE:
                self.owned.update(dict.fromkeys(self._unknowns(self.subscripts[axis])))
            elif form is _Form.SHIFT:
                self._shift(axis)
            elif form is _Form.ELIMINATE:
                self._eliminate(axis)
            elif form is _Form.FLOOR:
                self._invert_floor(axis)
            elif form is _Form.REMAINDER:
                self._invert_remainder(axis)
            elif form is _Form.ONE_HOT:
                self._make_one_hot(axis)
            # KNOWN and SCATTER subscripts are written as they are.

    # ---------------------------------------------------------------------------------------------- what an equation is

    def _unknowns(self, subscript: Affine) -> tuple[Index, ...]:
        return tuple(i for i in subscript.indices() if i not in self.owned)

    def _form(self, axis: int) -> _Form:
        subscript = self.subscripts[axis]
        unknowns = self._unknowns(subscript)
        if not unknowns:
            return _Form.ONE_HOT if subscript.reads() and subscript.indices() else _Form.KNOWN
        if subscript.reads():
            return _Form.SCATTER
        if subscript.hidden_indices():
            if self._floor(subscript):
                return _Form.FLOOR
            return _Form.REMAINDER if self._remainder(subscript) else _Form.SCATTER
        if subscript.as_index():
            return _Form.PLAIN
        units = [i for i in unknowns if subscript.coefficient(i) in (ONE, -ONE)]
        if units and len(subscript.indices()) == 1:
            return _Form.SHIFT
        if not units and len(unknowns) == 1 and _is_never_zero(subscript.coefficient(unknowns[0])):
            return _Form.INJECTIVE
        if self._is_mixed_radix(subscript, unknowns):
            return _Form.INJECTIVE
        return _Form.ELIMINATE if units else _Form.SCATTER

    def _is_mixed_radix(self, subscript: Affine, unknowns: tuple[Index, ...]) -> bool:
        """True if different unknowns always give different subscripts: each coefficient exceeds what is below it."""
        if not 1 < len(unknowns) <= 4:
            return False
        coefficients = {i: subscript.coefficient(i) for i in unknowns}
        for order in permutations(unknowns):
            span = ZERO
            for index in order:
                factor = coefficients[index]
                if factor is None or not is_nonnegative(factor - span - 1):
                    break
                span = span + factor * (self.ranges[index].extent - 1)
            else:
                return True
        return False

    def _single_atom(self, subscript: Affine, kind: type[FloorDiv] | type[Mod]) -> FloorDiv | Mod | None:
        """The one division in a subscript ``division + rest`` whose rest is known."""
        found = [a for a in subscript.atoms() if isinstance(a, FloorDiv | Mod)]
        if len(found) != 1 or not isinstance(found[0], kind):
            return None
        rest = subscript - found[0]
        if self._unknowns(rest) or found[0] in rest.atoms() or self._unknowns(found[0].divisor):
            return None
        return found[0]

    def _floor(self, subscript: Affine) -> tuple[FloorDiv, Index] | None:
        atom = self._single_atom(subscript, FloorDiv)
        if not isinstance(atom, FloorDiv):
            return None
        candidates = self._candidates(atom.numerator)
        return (atom, candidates[0]) if candidates else None

    def _remainder(self, subscript: Affine) -> tuple[Mod, Index] | None:
        """The remainder, and an unknown in it that covers each residue at most once; once exactly, if there is one."""
        atom = self._single_atom(subscript, Mod)
        if not isinstance(atom, Mod):
            return None
        candidates = [i for i in self._candidates(atom.numerator) if is_nonnegative(atom.divisor - self._extent(i))]
        candidates.sort(key=lambda i: self._extent(i) != atom.divisor)
        return (atom, candidates[0]) if candidates else None

    def _extent(self, index: Index) -> Affine:
        return self.ranges[index].extent

    def _candidates(self, value: Affine) -> list[Index]:
        """Unknowns of `value` with a unit coefficient, the best one to solve for first."""
        hidden = {i for d in self.pending for i in self.subscripts[d].hidden_indices()}
        units = [i for i in self._unknowns(value) if value.coefficient(i) in (ONE, -ONE)]
        return sorted(units, key=lambda i: (i in hidden, i not in self.preferred))

    # -------------------------------------------------------------------------------------------------- solving for it

    def _shift(self, axis: int) -> None:
        """``n = r + i`` or ``n = r - i``: the range of i, moved or reversed, is the range of n."""
        subscript = self.subscripts[axis]
        index = subscript.plain_indices()[0]
        offset, old = subscript.without(index), self.ranges[index]
        new = self._fresh(index.name)
        if subscript.coefficient(index) == ONE:
            self._replace(index, new - offset, Range(new, old.lower + offset, old.stop + offset))
        else:
            self._replace(index, offset - new, Range(new, offset - old.stop + 1, offset - old.lower + 1))
        self.owned[new] = None

    def _eliminate(self, axis: int) -> None:
        subscript = self.subscripts[axis]
        index = self._candidates(subscript)[0]
        new = self._new_index(axis)
        rest = new - subscript.without(index)
        value = rest if subscript.coefficient(index) == ONE else -rest
        self._replace_guarded(index, value)
        self.subscripts[axis] = Affine.of(new)

    def _invert_floor(self, axis: int) -> None:
        """``n - rest = (±i + others)//D``, so ``±i + others = D*(n - rest) + s`` for every s in [0, D)."""
        subscript = self.subscripts[axis]
        found = self._floor(subscript)
        assert found is not None
        atom, index = found
        new = self._new_index(axis)
        copies = Range(index, ZERO, atom.divisor)  # s goes by the name of the index that it replaces
        numerator = atom.divisor * (new - (subscript - atom)) + index
        rest = numerator - atom.numerator.without(index)
        self._replace_guarded(index, rest if atom.numerator.coefficient(index) == ONE else -rest, copies)
        self.subscripts[axis] = Affine.of(new)

    def _invert_remainder(self, axis: int) -> None:
        """``n - rest = (±i + others) % N``: i is fixed by its residue, because its range is not longer than N."""
        subscript = self.subscripts[axis]
        found = self._remainder(subscript)
        assert found is not None
        atom, index = found
        new = self._new_index(axis)
        wanted = new - (subscript - atom)  # in [0, N) wherever something is sent to it
        self.guards += [NonNegative(wanted), NonNegative(atom.divisor - 1 - wanted)]
        lower = self.ranges[index].lower
        rest = wanted - atom.numerator.without(index)
        residue = rest - lower if atom.numerator.coefficient(index) == ONE else -rest - lower
        value = lower + simplify_divisions(Affine.of(Mod(residue, atom.divisor)), self.ranges.values())
        self._replace_guarded(index, value)
        self.subscripts[axis] = Affine.of(new)

    def _make_one_hot(self, axis: int) -> None:
        """``n == label[b]``; where the contribution reads another tensor at ``label[b]``, it reads it at n."""
        hot, new = self.subscripts[axis], self._new_index(axis)
        self.guards.append(Zero(new - hot))
        self.subscripts[axis] = Affine.of(new)

        def at_new(operand: Operand) -> Operand:
            if isinstance(operand, Affine):
                return operand
            return Read(operand.tensor, tuple(Affine.of(new) if s == hot else s for s in operand.subscripts))

        self.body = self.body.map_operands(at_new)

    def _fresh(self, hint: str) -> Index:
        return fresh_index(hint, self.ranges)

    def _new_index(self, axis: int) -> Index:
        """A new owned index over the whole axis of the target."""
        name = self.target.axes[axis] if self.target.axes else "n"
        new = self._fresh(name)
        self.ranges[new] = Range(new, ZERO, self.target.shape[axis])
        self.owned[new] = None
        self.created[new] = axis
        return new

    def _replace_guarded(self, index: Index, value: Affine, new: Range | None = None) -> None:
        """Put `value` in place of an index whose range becomes two guards; `new` is the range of what it brings in."""
        old = self.ranges[index]
        self._replace(index, value, new)
        self.guards += [NonNegative(value - old.lower), NonNegative(old.stop - 1 - value)]

    def _replace(self, index: Index, value: Affine, new: Range | None) -> None:
        mapping: Mapping[Index, Affine] = {index: value}
        del self.ranges[index]
        if new is not None:
            self.ranges[new.index] = new
        self.subscripts = [s.substitute(mapping) for s in self.subscripts]
        self.guards = [g.substitute(mapping) for g in self.guards]
        self.body = self.body.substitute(mapping)

    # ------------------------------------------------------------------------------------------------------- the result

    def statement(self, origin: Origin) -> Statement | None:
        subscripts = tuple(simplify_divisions(s, self.ranges.values()) for s in self.subscripts)
        body = self.body.map_operands(self._simplified_operand)
        # The axes of the target in order; indices that share a subscript (h*E + e) in the order of the primal.
        free = tuple(dict.fromkeys(i for s in subscripts for i in self.ranges if i in s.indices()))
        reduced = tuple(i for i in self.ranges if i not in free)
        guards = [self._simplified_guard(g) for g in (*self.guards, *self._inside(subscripts, reduced))]
        raw = Statement(
            self.target.name,
            subscripts,
            free,
            body,
            Domain(tuple(self.ranges[i] for i in free + reduced), tuple(guards)),
            reduced,
            Reduction.SUM if reduced else Reduction.NONE,
            accumulate=True,
            origin=origin,
        )
        solved = eliminate_deltas(raw)
        return None if solved is None else name_after_axes(solved, self.target)

    def _inside(self, subscripts: tuple[Affine, ...], reduced: tuple[Index, ...]) -> Iterator[Guard]:
        """Guards that keep the target's subscripts inside its axes where an empty sum would be written outside.

        There are such sums where an index runs over another axis than its own, and where a guard excludes every value
        of a reduced index.
        """
        may_be_empty = any(i in reduced for g in self.guards for i in guard_indices(g))
        for axis, (subscript, extent) in enumerate(zip(subscripts, self.target.shape, strict=True)):
            follows = any(self.created.get(i, axis) != axis for i in subscript.indices())
            if (follows or may_be_empty) and not subscript.reads():
                yield NonNegative(subscript)
                yield NonNegative(extent - 1 - subscript)

    def _simplified_operand(self, operand: Operand) -> Operand:
        if isinstance(operand, Affine):
            return simplify_divisions(operand, self.ranges.values())
        return Read(operand.tensor, tuple(simplify_divisions(s, self.ranges.values()) for s in operand.subscripts))

    def _simplified_guard(self, guard: Guard) -> Guard:
        if isinstance(guard, Holds):
            return Holds(guard.condition.map_operands(self._simplified_operand))
        value = simplify_divisions(guard.value, self.ranges.values())
        return Divisible(value, guard.by) if isinstance(guard, Divisible) else type(guard)(value)

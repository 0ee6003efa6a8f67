"""Draw up the account of a plan: its work in order with what each part costs, and how long every buffer lives."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from symbp.ir.account import Account, Place, Use, Work, WorkList
from symbp.ir.affine import ONE, ZERO, Affine, Size
from symbp.ir.cost import Cost
from symbp.ir.nodes import Contract, Dealt, Fill, Node, Note
from symbp.ir.plan import FIRST, NUMBER, ROWS, Buffer, Launch, Memory, Plan, Portion, Procedure, Repeat, Step
from symbp.ir.program import DType, Role, Tensor
from symbp.ir.statement import Statement
from symbp.ir.walk_nodes import walk
from symbp.schedule.access import accesses, touched
from symbp.schedule.cost import INT_BYTES, nodes_cost

#: The memories in which intermediate results live.
_WORKSPACES = (Memory.WORKSPACE, Memory.POSITIONS, Memory.CHUNK, Memory.CHUNK_POSITIONS)
_INTEGERS = (Memory.POSITIONS, Memory.CHUNK_POSITIONS)
_USES = ("predict", "train", "update")


def account(plan: Plan, itemsize: int = 4) -> Account:
    """The account of a plan whose floats have `itemsize` bytes."""
    uses = []
    for name in _USES:
        procedures = [p for p in plan.procedures if _use_of(p) == name]
        if procedures:
            uses.append(_Bookkeeper(plan, name, itemsize).use(procedures))
    known = {"n_parameters": plan.parameter_count} if plan.optimizer else {}
    return Account(plan.name, tuple(uses), tuple(s.name for s in plan.sizes()), known)


def _use_of(procedure: Procedure) -> str:
    if procedure.name == "update":
        return "update"
    return "predict" if procedure.name.startswith("predict") else "train"


@dataclass
class _Item:
    """A piece of work and the nodes that it consists of."""

    work: Work
    nodes: tuple[Node, ...]


@dataclass
class _Bookkeeper:
    """Numbers the work of one use, and notes which tensors each piece of it touches."""

    plan: Plan
    name: str
    itemsize: int
    items: list[_Item] = field(default_factory=list)

    def use(self, procedures: Sequence[Procedure]) -> Use:
        lists = tuple(map(self._list, procedures))
        lengths = self.plan.workspaces.get(self.name, {})
        sizes = {m.value: count * self._bytes_each(m) for m, count in lengths.items()}
        return Use(self.name, lists, tuple(self._places(procedures)), sizes, self.plan.cuts.get(self.name))

    def _bytes_each(self, memory: Memory) -> int:
        return INT_BYTES if memory in _INTEGERS else self.itemsize

    # ------------------------------------------------------------------------------------------------------------ work

    def _list(self, procedure: Procedure) -> WorkList:
        tensors = {**self.plan.tensors, **{t.name: t for t in procedure.tensors}}
        if procedure.name == "update":
            tensors = {**tensors, **_vectors(procedure)}
        start = len(self.items)
        if procedure.steps:
            self._steps(procedure.steps, (), tensors)
        else:
            for nest in procedure.nests:
                statements = tuple(n.statement for n in walk(nest.nodes) if isinstance(n, Note)) or nest.statements
                self._add("", nest.kind.value, "", statements, nest.nodes, tensors)
        works = tuple(item.work for item in self.items[start:])
        cut = self.plan.cuts.get(self.name)
        if procedure.portion is Portion.ROWS and cut is not None:
            return WorkList(procedure.name, works, cut.count, {FIRST.name: 0, NUMBER.name: 0})
        if procedure.portion is Portion.SHARE:
            works = tuple(replace(work, cost=_of_all_shares(work.cost)) for work in works)
        return WorkList(procedure.name, works, ONE)

    def _steps(self, steps: Iterable[Step], around: tuple[Dealt, ...], tensors: Mapping[str, Tensor]) -> None:
        """Steps within the repeats `around` them; a note tells of the step after it."""
        told: list[Statement] = []
        for step in steps:
            match step:
                case Note():
                    told.append(step.statement)
                    continue
                case Repeat():
                    self._steps(step.steps, (*around, Dealt(step.index, step.lower, step.stop)), tensors)
                case Launch():
                    kernel = step.kernel
                    team = kernel.team.value
                    at = f"a {team} at each point" if kernel.points else f"one {team}"
                    points = (*around, *kernel.points)
                    self._add(kernel.name, "kernel", at, kernel.statements, kernel.body, tensors, points)
                case Contract():
                    self._add("", "contraction", "", tuple(told), (step,), tensors, around)
                case Fill():
                    self._add("", f"fill {step.tensor} with {step.value}", "", (), (step,), tensors, around)
            told = []

    def _add(
        self,
        name: str,
        kind: str,
        at: str,
        statements: Sequence[Statement],
        nodes: tuple[Node, ...],
        tensors: Mapping[str, Tensor],
        points: Sequence[Dealt] = (),
    ) -> None:
        cost = nodes_cost(nodes, tensors, self.itemsize, points)
        self.items.append(_Item(Work(len(self.items) + 1, name, kind, at, tuple(statements), cost), nodes))

    # ---------------------------------------------------------------------------------------------------------- places

    def _places(self, procedures: Sequence[Procedure]) -> Iterator[Place]:
        """A place for each tensor in a workspace, by memory and offset, those that live there earlier first."""
        life: dict[str, tuple[int, int]] = {}
        for item in self.items:
            read, written = touched(item.nodes)
            for name in sorted(read | written):
                first, _ = life.get(name, (item.work.number, 0))
                life[name] = (first, item.work.number)
        found: dict[str, Place] = {}
        for procedure in procedures:
            tensors = {**self.plan.tensors, **{t.name: t for t in procedure.tensors}}
            for view in procedure.views:
                if view.memory in _WORKSPACES and view.tensor in life and view.tensor not in found:
                    found[view.tensor] = self._place(view, tensors, *life[view.tensor])
        places = [p for m in _WORKSPACES for p in found.values() if p.memory == m.value]
        groups: dict[tuple[str, Affine], list[str]] = {}
        for place in places:
            groups.setdefault((place.memory, place.offset), []).append(place.tensor)
        order = {key: k for k, key in enumerate(groups)}
        for place in sorted(places, key=lambda p: (order[p.memory, p.offset], p.first)):
            others = tuple(n for n in groups[place.memory, place.offset] if n != place.tensor)
            yield replace(place, shares_with=others)

    def _place(self, view: Buffer, tensors: Mapping[str, Tensor], first: int, last: int) -> Place:
        shape = tensors[view.tensor].shape
        cut = self.plan.cuts.get(self.name)
        if cut is not None and view.memory in (Memory.CHUNK, Memory.CHUNK_POSITIONS):
            shape = tuple(Affine.of(cut.longest) if e == Affine.of(ROWS) else e for e in shape)
        elif view.tensor in self.plan.tensors:
            shape = self.plan.tensors[view.tensor].shape
        count = ONE
        for extent in shape:
            count = count * extent
        item = INT_BYTES if tensors[view.tensor].dtype is DType.INT else self.itemsize
        return Place(view.tensor, shape, view.memory.value, _of_first_chunk(view.offset), count * item, first, last)


def _vectors(procedure: Procedure) -> dict[str, Tensor]:
    """What an update works on, every weight at once. It calls its vectors what it likes: the model may have a ``g``."""
    length = (Affine.of(Size("n_parameters")),)
    found = [a for nest in procedure.nests for a in accesses(nest.nodes) if a.subscripts is not None]
    return {a.tensor: Tensor(a.tensor, length if a.subscripts else (), Role.STATE) for a in found}


def _of_first_chunk(offset: Affine) -> Affine:
    """Where a tensor begins for the first chunk, and so where the whole tensor does."""
    return Affine(tuple((m, c) for m, c in offset.terms if not {FIRST, NUMBER} & {*Affine(((m, c),)).sizes()}))


def _of_all_shares(cost: Cost) -> Cost:
    """The cost where one thread has every share: ``first_128`` is 0 and ``last_128`` is 128."""
    return Cost(*(_whole(v) for v in (cost.flops, cost.calls, cost.bytes, cost.in_products)))


def _whole(value: Affine) -> Affine:
    total = ZERO
    for monomial, factor in value.terms:
        term = Affine.of(factor)
        for atom in monomial:
            side, _, extent = atom.name.partition("_") if isinstance(atom, Size) else ("", "", "")
            is_bound = side in ("first", "last") and extent.isdigit()
            term = term * ((int(extent) if side == "last" else 0) if is_bound else atom)
        total = total + term
    return total

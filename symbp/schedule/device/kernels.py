"""From nests to steps: what is cleared, what is contracted, and the kernels that are launched, in order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from symbp.ir.affine import Index
from symbp.ir.names import fresh_name
from symbp.ir.nodes import AddAtomically, Contract, Fill, If, Largest, Loop, Node, Note, Once, Settle, Spread, Store
from symbp.ir.plan import Kernel, Kind, Launch, Nest, Procedure, Repeat, Step, Team
from symbp.ir.program import Tensor
from symbp.ir.statement import Statement
from symbp.ir.trace import counted, tell
from symbp.ir.walk_nodes import walk
from symbp.schedule.access import conflict, touched
from symbp.schedule.device.barriers import place_barriers
from symbp.schedule.device.independence import carried, ranges_of
from symbp.schedule.device.merge import merge_loops
from symbp.schedule.device.rows import keep_rows
from symbp.schedule.device.teams import choose_team, find_points, share, store_once
from symbp.schedule.fuse import PRIVATE


def stays_parallel(one: Nest, other: Nest, both: Nest) -> bool:
    """Whether two nests should be one kernel.

    Yes if the kernel keeps every axis along which either ran at once, or if it is a row: one hands something to the
    other, and a single axis becomes the inner loops that a team shares (softmax, norms).
    """
    before = [_axes_at_once(n) for n in (one, other)]
    after = _axes_at_once(both)
    if after == 0:
        return False
    if all(b == after for b in before):
        return True
    return max(before) - after <= 1 and bool(conflict(one.nodes, other.nodes, PRIVATE))


def _axes_at_once(nest: Nest) -> int:
    work = tuple(n for n in nest.nodes if not isinstance(n, Fill))
    return len(find_points(work, ranges_of(work)).points)


def make_steps(procedure: Procedure, tensors: dict[str, Tensor]) -> tuple[Step, ...]:
    """The launches of a procedure. `tensors` are all that the plan names; no kernel is called like one of them."""
    in_memory = frozenset(
        name
        for name in (*(v.tensor for v in procedure.views), *procedure.inputs, *procedure.results)
        if not tensors[name].shape
    )
    maker = _Maker(procedure, in_memory, set(tensors))
    steps = tuple(step for nest in procedure.nests for step in maker.of_nest(nest))
    launches = sum(not isinstance(step, Note) for step in steps)
    tell("make_steps", f"`{procedure.name}`, {counted(len(procedure.nests), 'nest')}", counted(launches, "step"))
    return steps


class _Maker:
    """Makes the steps of one procedure; it remembers the names it has given."""

    def __init__(self, procedure: Procedure, in_memory: frozenset[str], taken: set[str]) -> None:
        self.procedure = procedure
        self.in_memory = in_memory
        self.taken = taken

    def of_nest(self, nest: Nest) -> list[Step]:
        cleared = [n for n in nest.nodes if isinstance(n, Fill)]
        work = tuple(n for n in nest.nodes if not isinstance(n, Fill))
        steps: list[Step] = []
        if nest.kind is Kind.SCAN:
            notes = tuple(n for n in work if isinstance(n, Note))
            (loop,) = (n for n in work if isinstance(n, Loop))
            steps = self._scan(notes, loop)
        else:
            steps = self._group(work, frozenset())
        lead = [s for s in steps if isinstance(s, Note)]
        return [*lead, *cleared, *steps[len(lead) :]] if steps[: len(lead)] == lead else [*cleared, *steps]

    def _group(self, nodes: tuple[Node, ...], fixed: frozenset[Index]) -> list[Step]:
        """Steps of one group of nodes: a contraction, or a kernel."""
        notes: list[Step] = [n for n in walk(nodes) if isinstance(n, Note)]
        contract = next((n for n in nodes if isinstance(n, Contract)), None)
        if contract is not None:
            assert all(isinstance(n, Note | Contract) for n in nodes), "a contraction stands alone"
            return [*notes, contract]
        return [*notes, Launch(self._kernel(nodes, fixed))]

    def _scan(self, notes: tuple[Note, ...], loop: Loop) -> list[Step]:
        """One kernel over all steps of a scan where it can be, else the launches of a step again and again."""
        if not any(isinstance(n, Contract) for n in walk(loop.body)):
            nodes = _rows_outside((*notes, loop))
            return [*(n for n in walk(nodes) if isinstance(n, Note)), Launch(self._kernel(nodes, frozenset()))]
        steps: list[Step] = []
        pending: list[Node] = []
        for node in loop.body:
            pending.append(node)
            if not isinstance(node, Note):
                steps += self._group(tuple(pending), frozenset({loop.index}))
                pending = []
        return [*notes, Repeat(loop.index, loop.lower, loop.stop, tuple(steps), loop.step)]

    def _kernel(self, nodes: tuple[Node, ...], fixed: frozenset[Index]) -> Kernel:
        ranges = ranges_of(nodes)
        shape = find_points(nodes, ranges, fixed)
        team = choose_team(shape, ranges)
        body = merge_loops(keep_rows(shape.body, self.taken), self.taken)
        if team is not Team.THREAD:
            agreed = fixed | {axis.index for axis in shape.points}
            body = share(body, ranges, agreed)
            body = store_once(body, self.in_memory)
            body = place_barriers(body, team, self.in_memory, agreed)
        statements = tuple(n.statement for n in walk(nodes) if isinstance(n, Note))
        used = {n for names in touched(nodes) for n in names}
        title = "parameters" if self.procedure.name == "update" else _title(nodes, statements)
        name = fresh_name(f"{self.procedure.name.removesuffix('_into')}_{title}", self.taken)
        self.taken.add(name)
        return Kernel(
            name,
            statements,
            team,
            shape.points,
            body,
            inputs=tuple(n for n in self.procedure.inputs if n in used),
            views=tuple(v for v in self.procedure.views if v.tensor in used),
            results=tuple(n for n in self.procedure.results if n in used),
        )


def _rows_outside(nodes: tuple[Node, ...]) -> tuple[Node, ...]:
    """``for t: for b: body``  as  ``for b: for t: body``, where rows of the batch know nothing of each other.

    A team then takes a row through all steps, and waits for nobody.
    """
    *notes, outer = nodes
    assert isinstance(outer, Loop)
    inner = [n for n in outer.body if not isinstance(n, Note)]
    heads = tuple(n for n in outer.body if isinstance(n, Note))
    if len(inner) != 1 or not isinstance(inner[0], Loop):
        return nodes
    row = inner[0]
    turned = replace(row, body=(replace(outer, body=(*heads, *row.body)),))
    steady = not any(outer.index in b.indices() for b in (*row.lower.values, *row.stop.values))
    return (*notes, turned) if steady and carried(turned, ranges_of(nodes)) == {} else nodes


def _title(nodes: Sequence[Node], statements: Sequence[Statement]) -> str:
    """The tensor that a kernel is named after: the last that it writes."""
    written = [_written(n) for n in walk(nodes)]
    named = [n for n in written if n]
    return named[-1] if named else statements[-1].tensor


def _written(node: Node) -> str:
    if isinstance(node, Store) and node.target.subscripts:
        return node.target.tensor
    if isinstance(node, Settle | AddAtomically):
        return node.target.tensor
    if isinstance(node, Largest):
        return node.largest
    return node.sums if isinstance(node, Spread) else ""


def sink_scalars(nests: Sequence[Nest]) -> tuple[Nest, ...]:
    """Scalars that every element needs, computed by each thread that works on elements, instead of by one before it."""
    heads = [n for nest in nests if not _has_loop(nest.nodes) for n in nest.nodes]
    statements = tuple(s for nest in nests if not _has_loop(nest.nodes) for s in nest.statements)
    result = []
    for nest in nests:
        if _has_loop(nest.nodes):
            notes = tuple(n for n in nest.nodes if isinstance(n, Note))
            (loop,) = (n for n in nest.nodes if isinstance(n, Loop))
            body = (*heads, *notes, *loop.body)
            result.append(Nest((*statements, *nest.statements), (replace(loop, body=body),), nest.kind))
    return tuple(result)


def _has_loop(nodes: Iterable[Node]) -> bool:
    return any(isinstance(n, Loop) or (isinstance(n, If | Once) and _has_loop(n.body)) for n in nodes)

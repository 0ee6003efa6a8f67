"""A kernel as the CUDA templates see it: its parameters, the tensors that it cuts out of them, its point, its body.

@warp_kernel
def forward_loss_max(workspace: Reals, n_batch: Size):
    out = view(workspace, 0, (n_batch, 10))
    ..
    b = cuda.grid(1) // WARP
    if b >= n_batch:
        return
    lane = cuda.laneid
    ..
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from symbp.codegen.layout import folded_call, parts, signature
from symbp.codegen.printer import CodePrinter, Names
from symbp.codegen.writer import (
    LOCALS,
    Writer,
    in_box,
    integer_names,
    local_scalars,
    mentioned,
    reads_in,
    sizes_in,
    update_names,
    whole_locals,
)
from symbp.ir.affine import ONE, ZERO, Affine, Index, Read, Size
from symbp.ir.names import fresh_name
from symbp.ir.nodes import (
    Barrier,
    Combine,
    Dealt,
    If,
    Largest,
    Loop,
    Node,
    Note,
    Once,
    SetIndex,
    Settle,
    Share,
    Spread,
    Store,
)
from symbp.ir.plan import Buffer, Kernel, Memory, Plan, Procedure, Team
from symbp.ir.statement import Reduction
from symbp.ir.walk_nodes import walk

N_PARAMETERS = Size("n_parameters")  # what an update runs over

#: Memory that is handed over as one flat array under its own name, in the order of parameters.
FLAT = (Memory.PARAMETERS, Memory.WORKSPACE, Memory.POSITIONS, Memory.GRADIENTS)


@dataclass(frozen=True)
class TeamText:
    """How a team finds its point and its threads theirs, and what its functions are called."""

    one: str
    point: str
    rank_name: str = ""
    rank: str = ""
    stride: str = ""
    barrier: str = ""


TEAMS: Mapping[Team, TeamText] = {
    Team.THREAD: TeamText("One thread", "cuda.grid(1)"),
    Team.WARP: TeamText("One warp", "cuda.grid(1) // WARP", "lane", "cuda.laneid", "WARP", "cuda.syncwarp()"),
    Team.BLOCK: TeamText("One block", "cuda.blockIdx.x", "rank", "cuda.threadIdx.x", "BLOCK", "cuda.syncthreads()"),
    Team.COLUMN: TeamText(
        "One column of threads",
        "cuda.blockIdx.x * WARP + cuda.laneid",
        "rank",
        "cuda.threadIdx.x // WARP",
        "COLUMN",
        "cuda.syncthreads()",
    ),
}


@dataclass(frozen=True)
class KernelText:
    """What the template needs to write one kernel, and the host to launch it.

    The host passes the arrays and sizes under their names in the kernel, then the indices of the loops around it.
    """

    name: str
    decorator: str
    header: str
    summary: str
    views: tuple[str, ...]
    preamble: tuple[str, ...]
    body: tuple[Node, ...]
    printer: KernelWriter
    arrays: tuple[str, ...]
    sizes: tuple[str, ...]
    turns: tuple[Index, ...]
    count: str


class KernelWriter(Writer):
    """The parts of the nodes of one kernel."""

    def __init__(self, plan: Plan, kernel: Kernel, dtype: str, names: Names, free: Iterable[str]) -> None:
        super().__init__(plan, dtype, names)
        self.kernel = kernel
        self.team = TEAMS[kernel.team]
        self.count = count_text(kernel.points, plan, self.code)
        self._taken = {*free}

    # ------------------------------------------------------------------------------------------------------ the point

    def preamble(self) -> list[str]:
        """The lines in which a thread finds its point of the box, and its rank in the team."""
        points, lines = self.kernel.points, []
        if points:
            lines += self._column_point() if self.kernel.team is Team.COLUMN else self._own_point()
        if self.kernel.team is not Team.THREAD and self._needs_rank():
            lines.append(f"{self.team.rank_name} = {self.team.rank}")
        return lines

    def _own_point(self) -> list[str]:
        points = self.kernel.points
        alone = len(points) == 1 and points[0].lower.values == (ZERO,)
        name = self.index(points[0].index) if alone else "point"
        lines = [f"{name} = {self.team.point}"]
        if self.kernel.team is not Team.BLOCK:  # its grid has exactly one block a point
            lines += [f"if {name} >= {self.count}:", "    return"]
        return lines if alone else lines + self.unravelled("point", points)

    def _column_point(self) -> list[str]:
        points, total = self.kernel.points, box_count(self.kernel.points)
        last = self.code.affine(total - 1) if self.code.affine(total) == self.count else f"{self.count} - 1"
        return [
            f"point = {self.team.point}",
            "# Columns beyond the last take its point as well: all threads must reach the barriers.",
            *self.unravelled(f"min(point, {last})", points),
        ]

    def _needs_rank(self) -> bool:
        return any(isinstance(n, Share | Once) for n in walk(self.kernel.body))

    def unravelled(self, flat: str, axes: Sequence[Dealt]) -> list[str]:
        """The indices of a box from the count of the point: ``b, k = unravel(point, (n_batch, 32))``."""
        names = [self.index(a.index) for a in axes]
        lowers = [self.bound(a.lower, "max") for a in axes]
        if len(axes) == 1:
            return [f"{names[0]} = {flat}" + (f" + {lowers[0]}" if lowers[0] != "0" else "")]
        extents = parts([self.code.affine(a.extent) for a in axes])
        shifts = [f"{name} += {lower}" for name, lower in zip(names, lowers, strict=True) if lower != "0"]
        return [f"{', '.join(names)} = unravel({flat}, {extents})", *shifts]

    # ------------------------------------------------------------------------------------------------- teams of threads

    def deal(self, node: Share) -> str:
        """``k in range(lane, 10, WARP)``; of several axes their points are counted."""
        rank, stride = self.team.rank_name, self.team.stride
        if len(node.axes) > 1:
            return f"{self._counter(node)} in range({rank}, {self._dealt_count(node)}, {stride})"
        (axis,) = node.axes
        lower, stop = self.bound(axis.lower, "max"), self.bound(axis.stop, "min")
        first = rank if lower == "0" else f"{lower} + {rank}"
        return f"{self.index(axis.index)} in range({first}, {stop}, {stride})"

    def ends(self, node: Share) -> list[str]:
        """The line that finds where the first of several axes begins and stops, if that takes more than a glance."""
        if not self._has_ends(node):
            return []
        axis = node.axes[0]
        return [f"first, stop = {self.bound(axis.lower, 'max')}, {self.bound(axis.stop, 'min')}"]

    def dealt(self, node: Share) -> list[str]:
        """The lines that turn the count into the indices of the axes."""
        if len(node.axes) == 1:
            return []
        if not self._has_ends(node):
            return self.unravelled(self._counter(node), node.axes)
        head, *others = node.axes
        inner = [self.code.affine(a.extent) for a in others]
        shifts = [(self.index(head.index), "first")]
        shifts += [(self.index(a.index), lower) for a in others if (lower := self.bound(a.lower, "max")) != "0"]
        names = ", ".join(self.index(a.index) for a in node.axes)
        lines = [f"{names} = unravel({self._counter(node)}, {parts(['stop - first', *inner])})"]
        return lines + [f"{name} += {lower}" for name, lower in shifts]

    def _dealt_count(self, node: Share) -> str:
        if not self._has_ends(node):
            return count_text(node.axes, self.plan, self.code)
        inner = box_count(node.axes[1:])
        text = self.code.affine(inner)
        return f"(stop - first) * {text if len(inner.terms) == 1 else f'({text})'}"

    def _has_ends(self, node: Share) -> bool:
        head = node.axes[0]
        return len(node.axes) > 1 and len(head.lower.values) + len(head.stop.values) > 2

    def _counter(self, node: Share) -> str:
        return fresh_name("i", self._taken)

    def once(self) -> str:
        """The condition for the first thread of a team; empty where it is the only one."""
        if self.kernel.team is Team.THREAD:
            return ""
        first = f"{self.team.rank_name} == 0"
        if self.kernel.team is not Team.COLUMN or not self.kernel.points:
            return first
        return f"{first} and point < {self.count}"

    def barrier(self) -> str:
        return self.team.barrier

    def combine(self, node: Combine) -> str:
        what = {Reduction.SUM: "sum", Reduction.MAX: "max"}[node.reduction]
        local = self.code.read(node.local)
        return f"{local} = {self.kernel.team.value}_{what}({local})"

    # ------------------------------------------------------------------------------------------------------- exact sums

    def largest(self, node: Largest) -> str:
        return f"largest({self.code.names.name(node.largest)}, {self.code.body(node.value)})"

    def spread(self, node: Spread) -> str:
        sums, largest = self.code.names.name(node.sums), self.code.names.name(node.largest)
        subscripts = [self.code.affine(s) for s in node.subscripts or (ZERO,)]
        place = parts(subscripts) if len(subscripts) > 1 else subscripts[0]
        return f"spread({sums}, {place}, {self.code.body(node.value)}, {largest}[0], {self.code.affine(node.count)})"

    def settle(self, node: Settle) -> str:
        total, largest = self.code.read(Read(node.sums, node.target.subscripts)), self.code.names.name(node.largest)
        value = f"settled({total}, {largest}[0], {self.code.affine(node.count)})"
        return f"{self.code.read(node.target)} {node.update.value} {value}"


@dataclass(frozen=True)
class FileNames:
    """What tensors are called in the file of the kernels, and which names mean something else there."""

    code: Mapping[str, str]
    taken: frozenset[str]


def write_kernel(plan: Plan, procedure: Procedure, kernel: Kernel, dtype: str, file: FileNames) -> KernelText:
    """One kernel as text: every argument and every name in it is used."""
    check_uniform(kernel)
    kernel = _with_loss(plan, kernel)
    stored = dict.fromkeys((*(v.tensor for v in kernel.views), *kernel.inputs, *kernel.results))
    scalars = local_scalars(kernel.body, stored)
    code = _names_of_locals(plan, kernel.body, stored, file)
    if procedure.name == "update":
        names = update_names(kernel.body, plan, code, scalars)
    else:
        whole = whole_locals(kernel.body, integer_names(plan))
        names = Names(code=code, scalars=frozenset(scalars), integers=whole)
    sizes = tuple(s.name for s in _sizes(plan, kernel))
    arrays = _arrays(plan, kernel, names)
    reserved = file.taken | {names.name(n) for n in (*stored, *names.scalars)} | {*arrays, *sizes}
    indices = _indices(kernel)
    names = replace(names, indices=index_names(indices, reserved))
    writer = KernelWriter(plan, kernel, dtype, names, {*reserved, *(names.index(i.name) for i in indices)})
    turns = outer_indices(kernel)
    parameters = [f"{name}: {annotation}" for name, annotation in arrays.items()]
    parameters += [f"{name}: Size" for name in (*sizes, *map(writer.index, turns))]
    return KernelText(
        name=kernel.name,
        decorator=f"{kernel.team.value}_kernel",
        header=signature(kernel.name, parameters),
        summary=_summary(kernel, writer),
        views=tuple(_views(plan, kernel, writer)),
        preamble=tuple(writer.preamble()),
        body=barriers_first(kernel.body),
        printer=writer,
        arrays=tuple(arrays),
        sizes=sizes,
        turns=turns,
        count=writer.count,
    )


def _with_loss(plan: Plan, kernel: Kernel) -> Kernel:
    """A kernel of the backward pass may read the loss, which is the caller's like an input then."""
    known = {*(v.tensor for v in kernel.views), *kernel.inputs, *kernel.results}
    touched = {r.tensor for r in reads_in(kernel.body)}
    return (
        kernel
        if plan.loss in known or plan.loss not in touched
        else replace(kernel, inputs=(*kernel.inputs, plan.loss))
    )


def _names_of_locals(plan: Plan, nodes: Iterable[Node], stored: Iterable[str], file: FileNames) -> dict[str, str]:
    """The names of the file, and others for variables of this kernel alone that are called like something in it."""
    code = dict(file.code)
    used = {*file.taken, *(code.get(n, n) for n in stored), *(code[local.tensor] for local in LOCALS)}
    for node in walk(nodes):
        if isinstance(node, Store) and not node.target.subscripts:
            name = node.target.tensor
            if name not in plan.tensors and name not in code:
                code[name] = fresh_name(name, used)
                used.add(code[name])
    return code


def box_count(axes: Iterable[Dealt]) -> Affine:
    """How many points a box has."""
    total = ONE
    for axis in axes:
        total = total * axis.extent
    return total


def count_text(axes: Sequence[Dealt], plan: Plan, code: CodePrinter) -> str:
    """How many points a box has, as code. A negative number is none; two negative extents must not make it positive."""
    known = {*plan.requirements, *(extent for tensor in plan.tensors.values() for extent in tensor.shape)}
    doubtful = [a for a in axes if any(c < 0 for _, c in a.extent.terms) and a.extent not in known]
    if len(doubtful) < 2:
        return code.affine(box_count(axes))
    rest = box_count(a for a in axes if a not in doubtful)
    factors = [code.affine(rest)] if rest != ONE else []
    return " * ".join([*factors, *(f"max({code.affine(a.extent)}, 0)" for a in doubtful)])


def index_names(indices: Iterable[Index], reserved: Iterable[str]) -> dict[str, str]:
    """New names for the indices that are called like something else."""
    taken, known = {*reserved}, tuple(indices)
    used = {*taken, *(i.name for i in known)}
    names: dict[str, str] = {}
    for index in known:
        if index.name in taken and index.name not in names:
            names[index.name] = fresh_name(f"i_{index.name}", used)
            used.add(names[index.name])
    return names


def _summary(kernel: Kernel, writer: KernelWriter) -> str:
    names = [writer.index(axis.index) for axis in kernel.points]
    point = names[0] if len(names) == 1 else f"({', '.join(names)})"
    return f"{writer.team.one} for each {point}." if names else f"{writer.team.one}."


# ---------------------------------------------------------------------------------------------------- what it mentions


def _indices(kernel: Kernel) -> tuple[Index, ...]:
    """Every index of the kernel: of its box, of its loops, of loops around its launch."""
    found = dict.fromkeys(axis.index for axis in kernel.points)
    found |= dict.fromkeys(_bound_within(kernel.body))
    return tuple(found | dict.fromkeys(outer_indices(kernel)))


def _bound_within(nodes: Iterable[Node]) -> list[Index]:
    found: list[Index] = []
    for node in walk(nodes):
        if isinstance(node, Loop | SetIndex):
            found.append(node.index)
        elif isinstance(node, Share):
            found += [axis.index for axis in node.axes]
    return found


def outer_indices(kernel: Kernel) -> tuple[Index, ...]:
    """The indices of loops around its launch that the kernel mentions."""
    own = {*(axis.index for axis in kernel.points), *_bound_within(kernel.body)}
    values = (*in_box(kernel.points), *mentioned(kernel.body))
    return tuple(dict.fromkeys(i for value in values for i in value.indices() if i not in own))


def _sizes(plan: Plan, kernel: Kernel) -> tuple[Size, ...]:
    """The run-time sizes that the kernel mentions."""
    values = [*in_box(kernel.points), *mentioned(kernel.body)]
    for view in kernel.views:
        values += (*((view.offset,) if view.memory in FLAT else ()), *view_shape(plan, view))
    for name in (*kernel.inputs, *kernel.results):
        values += plan.tensors[name].shape
    return sizes_in(values, (*plan.sizes(), N_PARAMETERS))


def view_shape(plan: Plan, view: Buffer) -> tuple[Affine, ...]:
    """The shape of a tensor; of an update's vectors, whatever else is called as they are, and of its numbers."""
    if view.memory in (Memory.ARGUMENT, Memory.STATE):
        return (Affine.of(N_PARAMETERS),)
    return () if view.memory is Memory.HYPER else plan.tensors[view.tensor].shape


# --------------------------------------------------------------------------------------------------- arrays and views


def _arrays(plan: Plan, kernel: Kernel, names: Names) -> dict[str, str]:
    """The flat arrays and the caller's that the kernel looks at, and their types, in the order of every function."""
    memories = {v.memory for v in kernel.views} | {_argument(v) for v in kernel.views}
    found: list[tuple[str, str]] = []

    def flat(memory: Memory, annotation: str = "Reals") -> None:
        if memory in memories:
            found.append((memory.value, annotation))

    def given(tensors: Iterable[str]) -> None:
        found.extend((names.name(n), "Integers" if n in names.integers else "Reals") for n in tensors)

    flat(Memory.PARAMETERS)
    given(kernel.inputs)
    flat(Memory.WORKSPACE)
    flat(Memory.POSITIONS, "Integers")
    given(kernel.results)
    flat(Memory.GRADIENTS)
    given(v.tensor for v in kernel.views if v.memory is Memory.STATE)
    if any(v.memory is Memory.HYPER and v.tensor != "t" for v in kernel.views):
        found.append(("numbers", "Doubles"))
    if any(v.memory is Memory.HYPER and v.tensor == "t" for v in kernel.views):
        found.append(("count", "Integers"))
    return dict(found)


def _argument(view: Buffer) -> Memory:
    """The flat array behind a view: of an update's parameters w and their gradient g as well."""
    if view.memory is not Memory.ARGUMENT:
        return view.memory
    return Memory.GRADIENTS if view.tensor == "g" else Memory.PARAMETERS


def _views(plan: Plan, kernel: Kernel, writer: KernelWriter) -> list[str]:
    """The lines that give the kernel's tensors their names."""
    lines: list[str] = []

    def cut(name: str, array: str, start: str, shape: Sequence[Affine]) -> None:
        extents = [writer.code.affine(e) for e in shape] or ["1"]
        lines.append(folded_call("view", [array, start, parts(extents)], indent=4, lead=f"{name} = "))

    for name in kernel.inputs:
        code = writer.code.names.name(name)
        cut(code, code, "0", plan.tensors[name].shape)
    settings: list[str] = []
    for view in kernel.views:
        name = writer.code.names.name(view.tensor)
        if view.memory is Memory.HYPER:
            settings.append(f"{name} = float(count[0])" if view.tensor == "t" else f"{name} = numbers[{view.offset}]")
            continue
        array = name if view.memory is Memory.STATE else _argument(view).value
        start = writer.code.affine(view.offset) if view.memory in FLAT else "0"
        cut(name, array, start, view_shape(plan, view))
    for name in kernel.results:
        code = writer.code.names.name(name)
        cut(code, code, "0", plan.tensors[name].shape)
    if any("numbers[" in line for line in settings):
        cut("numbers", "numbers", "0", (Affine.of(sum(t.name != "t" for t in plan.hyper)),))
    if any("count[" in line for line in settings):
        cut("count", "count", "0", (ONE,))
    return lines + settings


# ------------------------------------------------------------------------------------------------------------ barriers


def barriers_first(nodes: tuple[Node, ...]) -> tuple[Node, ...]:
    """The nodes with each barrier above the equations of what waits for it, not between them and their code."""
    result: list[Node] = []
    for node in nodes:
        if isinstance(node, Barrier):
            at = len(result)
            while at and isinstance(result[at - 1], Note):
                at -= 1
            result.insert(at, node)
        elif isinstance(node, Loop | If | Share | Once):
            result.append(replace(node, body=barriers_first(node.body)))
        else:
            result.append(node)
    return tuple(result)


def check_uniform(kernel: Kernel) -> None:
    """Threads that wait for each other all come: nothing of the team stands where only some of its threads pass.

    The threads of a block are several columns, so what a column does together must not depend on its point either.
    """
    points = frozenset(axis.index for axis in kernel.points) if kernel.team is Team.COLUMN else frozenset()
    _check_nodes(kernel.body, kernel, points, together=kernel.team is not Team.THREAD)


def _check_nodes(nodes: Iterable[Node], kernel: Kernel, points: frozenset[Index], *, together: bool) -> None:
    for node in nodes:
        if isinstance(node, Combine | Barrier | Share | Once):
            assert together, f"{kernel.name}: {type(node).__name__} where not every thread passes"
        if isinstance(node, Share | Once):
            _check_nodes(node.body, kernel, points, together=False)
        elif isinstance(node, Loop | If):
            values = [v for part in mentioned((replace(node, body=()),)) for v in (part,)]
            differs = any(points & {*v.indices()} or (points and v.reads()) for v in values)
            waits = any(isinstance(n, Combine | Barrier) for n in walk(node.body))
            assert not (differs and waits), (
                f"{kernel.name}: columns wait in {type(node).__name__} at points of their own"
            )
            _check_nodes(node.body, kernel, points, together=together)

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

from symbp.codegen.barriers import barriers_first, check_uniform
from symbp.codegen.kernel_writer import KernelWriter
from symbp.codegen.layout import folded_call, parts, signature
from symbp.codegen.printer import Names
from symbp.codegen.writer import (
    LOCALS,
    in_box,
    integer_names,
    local_scalars,
    mentioned,
    reads_in,
    sizes_in,
    update_names,
    whole_locals,
)
from symbp.ir.affine import ONE, Affine, Index, Size
from symbp.ir.names import fresh_name
from symbp.ir.nodes import (
    Loop,
    Node,
    SetIndex,
    Share,
    Store,
)
from symbp.ir.plan import Buffer, Kernel, Memory, Plan, Procedure
from symbp.ir.walk_nodes import walk

N_PARAMETERS = Size("n_parameters")  # what an update runs over

#: Memory that is handed over as one flat array under its own name, in the order of parameters.
FLAT = (Memory.PARAMETERS, Memory.WORKSPACE, Memory.POSITIONS, Memory.GRADIENTS)


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

"""A procedure of a CUDA target as the templates see it: the host's program, which launches one kernel after another.

def forward(device, params, x, label, workspace, loss):
    n_batch = x.shape[0]
    hidden_W = params.view(0, (64, 32))
    hidden_z = workspace.view(0, (n_batch, 32))

    # hidden_z[b, k] += sum[j] x[b, j]*hidden_W[j, k]
    contract(device, "bj,jk->bk", x, hidden_W, hidden_z, accumulate=True)
    device.launch(forward_hidden, 32 * n_batch, params, workspace, n_batch)
"""

from __future__ import annotations

import string
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from symbp.codegen.kernel_text import N_PARAMETERS, FileNames, KernelText, index_names
from symbp.codegen.layout import folded_call, parts, signature
from symbp.codegen.printer import Names
from symbp.codegen.procedure import size_source
from symbp.codegen.writer import Writer, in_box, sizes_in
from symbp.ir.affine import Affine, Index, Size
from symbp.ir.nodes import Bound, Contract, Factor, Fill
from symbp.ir.plan import Buffer, Launch, Plan, Procedure, Repeat, Step


@dataclass(frozen=True)
class HostText:
    """What the template needs to write one host program.

    `arguments` are those after the device; `inputs` are the model's among them, by the names that people gave them.
    """

    name: str
    header: str
    summary: str
    arguments: tuple[str, ...]
    inputs: tuple[str, ...]
    sizes: tuple[tuple[str, str], ...]
    views: tuple[str, ...]
    steps: tuple[Step, ...]
    printer: HostWriter


class HostWriter(Writer):
    """The steps of one program as calls; who puts them in lines folds those that are too long."""

    def __init__(self, plan: Plan, dtype: str, names: Names, kernels: Mapping[str, KernelText]) -> None:
        super().__init__(plan, dtype, names)
        self.kernels = kernels

    def launch(self, step: Launch) -> str:
        kernel = self.kernels[step.kernel.name]
        given = (*kernel.arrays, *kernel.sizes, *map(self.index, kernel.turns))
        return f"device.launch({', '.join([kernel.name, kernel.count, *given])})"

    def turns(self, step: Repeat) -> str:
        """``range(n_time)``, or downwards."""
        return self.interval(step.lower, step.stop, step.step)

    def clear(self, step: Fill) -> str:
        assert step.value == 0, "device memory is only ever cleared"
        return f"device.clear({self.code.names.name(step.tensor)})"

    def contract(self, step: Contract) -> str:
        """``contract(device, "bl,lqk->bqk", h[:, t], U, z[:, t], accumulate=True)``."""
        letters = index_letters(step)
        left, right, out = ("".join(letters[i] for i in f.indices) for f in (step.left, step.right, step.out))
        factors = [self.factor(f) for f in (step.left, step.right, step.out)]
        arguments = ["device", f'"{left},{right}->{out}"', *factors, *(["accumulate=True"] * step.accumulate)]
        return f"contract({', '.join(arguments)})"

    def factor(self, factor: Factor) -> str:
        pieces = []
        for axis, extent in zip(factor.axes, self.plan.tensors[factor.tensor].shape, strict=True):
            if isinstance(axis, Affine):
                pieces.append(self.code.affine(axis))
            else:
                pieces.append(self.stretch((_only(axis.lower), _only(axis.stop)), extent))
        while pieces and pieces[-1] == ":":
            pieces.pop()
        name = self.code.names.name(factor.tensor)
        return f"{name}[{', '.join(pieces)}]" if pieces else name


def _only(bound: Bound) -> Affine:
    (value,) = bound.values
    return value


def index_letters(step: Contract) -> dict[Index, str]:
    """One small letter for each index: its own where it is one, else the next free one after its first."""
    indices = tuple(dict.fromkeys(i for f in (step.left, step.right, step.out) for i in f.indices))
    letters = {i: i.name for i in indices if len(i.name) == 1 and i.name in string.ascii_lowercase}
    for index in indices:
        if index not in letters:
            first = string.ascii_lowercase.find(index.name[0].lower())
            order = string.ascii_lowercase[max(first, 0) :] + string.ascii_lowercase[: max(first, 0)]
            letters[index] = next(x for x in order if x not in letters.values())
    return letters


def write_program(
    plan: Plan, procedure: Procedure, dtype: str, file: FileNames, kernels: Mapping[str, KernelText]
) -> HostText:
    """One procedure as a program of the host: every argument and every name in it is used."""
    steps = tuple(_all_steps(procedure.steps))
    launched = [kernels[s.kernel.name] for s in steps if isinstance(s, Launch)]
    seen = _seen_by_host(procedure, steps)
    code_name = Names(code=file.code).name
    handed = {n for s in steps if isinstance(s, Contract | Fill) for n in _tensors_of(s)}
    used = {a for k in launched for a in k.arrays} | {v.memory.value for v in seen} | {code_name(n) for n in handed}
    sizes = _host_sizes(plan, steps, seen, {s for k in launched for s in k.sizes})
    inputs: list[str] = []
    if procedure.name == "update":
        sources = [("params", ".size")] * len(sizes)
    else:
        sources = [size_source(s, procedure.inputs, plan) for s in sizes]
        measured = {tensor for tensor, _ in sources}
        inputs = [t.name for t in plan.inputs if code_name(t.name) in used or t.name in measured]
    results = [code_name(n) for n in dict.fromkeys((*procedure.results, plan.loss)) if code_name(n) in used]
    before = [a for a in ("params",) if a in used or (a, ".size") in sources]
    memory = [a for a in ("workspace", "positions") if a in used]
    after = [a for a in ("grads", *plan.state, "numbers", "count") if a in used and a not in inputs]
    arguments = (*before, *map(code_name, inputs), *memory, *results, *after)
    loops = tuple(dict.fromkeys(s.index for s in steps if isinstance(s, Repeat)))
    reserved = {*file.taken, *arguments, *(code_name(v.tensor) for v in seen), *(s.name for s in sizes)}
    writer = HostWriter(plan, dtype, Names(code=file.code, indices=index_names(loops, reserved)), kernels)
    return HostText(
        name=procedure.name,
        header=signature(procedure.name, ["device", *arguments]),
        summary=procedure.summary,
        arguments=arguments,
        inputs=tuple(inputs),
        sizes=tuple((s.name, f"{code_name(t)}{source}") for s, (t, source) in zip(sizes, sources, strict=True)),
        views=tuple(_host_view(plan, v, writer) for v in seen),
        steps=procedure.steps,
        printer=writer,
    )


def _all_steps(steps: Iterable[Step]) -> Iterator[Step]:
    for step in steps:
        yield step
        if isinstance(step, Repeat):
            yield from _all_steps(step.steps)


def _tensors_of(step: Contract | Fill) -> tuple[str, ...]:
    return (step.tensor,) if isinstance(step, Fill) else tuple(f.tensor for f in (step.left, step.right, step.out))


def _seen_by_host(procedure: Procedure, steps: Sequence[Step]) -> list[Buffer]:
    """The tensors in flat memory that the host hands to contractions or clears."""
    wanted = {n for s in steps if isinstance(s, Contract | Fill) for n in _tensors_of(s)}
    return [v for v in procedure.views if v.tensor in wanted]


def _host_sizes(plan: Plan, steps: Sequence[Step], seen: Sequence[Buffer], passed: set[str]) -> list[Size]:
    """The run-time sizes that the program mentions: in views, counts of points, loops and slices, or hands on."""
    values: list[Affine] = []
    for view in seen:
        values += (view.offset, *plan.tensors[view.tensor].shape)
    for step in steps:
        if isinstance(step, Launch):
            values += in_box(step.kernel.points)
        elif isinstance(step, Repeat):
            values += (*step.lower.values, *step.stop.values)
        elif isinstance(step, Contract):
            for factor in (step.left, step.right, step.out):
                values += _sliced(plan, factor)
    order = (*plan.sizes(), N_PARAMETERS)
    mentioned = sizes_in(values, order)
    return [s for s in order if s in mentioned or s.name in passed]


def _sliced(plan: Plan, factor: Factor) -> Iterator[Affine]:
    """What the slices of a factor mention; an axis that is kept whole is not sliced."""
    for axis, extent in zip(factor.axes, plan.tensors[factor.tensor].shape, strict=True):
        if isinstance(axis, Affine):
            yield axis
        else:
            yield _only(axis.lower)
            if _only(axis.stop) != extent:
                yield _only(axis.stop)


def _host_view(plan: Plan, view: Buffer, writer: HostWriter) -> str:
    name = writer.code.names.name(view.tensor)
    shape = parts([writer.code.affine(e) for e in plan.tensors[view.tensor].shape])
    return folded_call(
        f"{view.memory.value}.view", [writer.code.affine(view.offset), shape], indent=4, lead=f"{name} = "
    )

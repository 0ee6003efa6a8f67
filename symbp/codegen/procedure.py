"""A procedure as the templates see it: names, arguments, views and nests with every expression already code."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from symbp.codegen.interface import chunk_count
from symbp.codegen.layout import call
from symbp.codegen.printer import RUNTIME_FUNCTIONS, WHOLE_POWERS, Names
from symbp.codegen.writer import (
    Writer,
    code_names,
    integer_names,
    local_scalars,
    mentioned,
    sizes_in,
    state_inputs,
    update_names,
)
from symbp.ir.affine import ONE, ZERO, Affine, Index, Read, Size
from symbp.ir.names import fresh_name
from symbp.ir.nodes import Fill, Loop, Node, Note, Product, SetIndex, Slice, Slide, Store, Track, Update
from symbp.ir.plan import (
    CHUNKS,
    NUMBER,
    ROWS,
    SCRATCH,
    Buffer,
    Memory,
    Nest,
    Plan,
    Portion,
    Procedure,
    share_sizes,
)
from symbp.ir.walk_nodes import rename_index, walk

#: Names that every generated kernel file may use besides functions of the runtime.
TAKEN = (
    "np", "math", "real", "view", "apart", "rolled", "matmul", "matmul_add", "kernel", "piece", "value",
    "matmul_lower", "matmul_of_lower", "matmul_of_upper",
    "matmul_add_lower", "matmul_add_of_lower", "matmul_add_of_upper",
    "convolve", "convolve_add", "correlate", "correlate_add",
    "workspace", "positions", "params", "grads", "numbers", "count",
    "chunk", "chunk_positions", "chunk_count", "chunks", "first", "last", "number", "part", "parts", "rows", "share",
    *sorted(RUNTIME_FUNCTIONS),
    *WHOLE_POWERS.values(),
)  # fmt: skip


#: Lengths of rows that LLVM writes out element by element where one number is sought along them. Where it is a sum, it
#: takes the shorter ones for many rows at once, which is as good.
SHORT_SEARCHES, SHORT_SUMS = range(9, 96), range(17, 96)

_PORTIONS = {Portion.WHOLE: (), Portion.ROWS: ("first", "last"), Portion.SHARE: ("part", "parts")}


@dataclass(frozen=True)
class View:
    """One line that gives a tensor its name: ``z = view(workspace, 0, (n_batch, 10))``."""

    name: str
    code: str


@dataclass(frozen=True)
class ProcedureText:
    """What a template needs to write one function."""

    name: str
    summary: str
    arguments: tuple[str, ...]
    sizes: tuple[tuple[str, str], ...]
    views: tuple[View, ...]
    nests: tuple[tuple[Node, ...], ...]
    returns: str
    printer: Writer
    given: tuple[str, ...]  # the arguments as the interface calls them: inputs by the names that people gave them
    parts: tuple[ProcedureText, ...] = ()


class ProcedureWriter(Writer):
    """The parts of the nodes of one procedure: long loops, fills, and products of matrices."""

    def __init__(self, plan: Plan, procedure: Procedure, dtype: str) -> None:
        tensors = plan.tensors
        stored = {v.tensor for v in procedure.views} | set(procedure.inputs) | set(procedure.results)
        nodes = tuple(node for nest in procedure.nests for node in nest.nodes)
        scalars = local_scalars(nodes, stored)
        if procedure.name == "update":
            names = update_names(nodes, plan, code_names(plan, TAKEN), scalars)
        else:
            plain = {n for n in procedure.inputs if not tensors[n].shape} | {
                v.tensor for v in procedure.views if v.memory is Memory.PARAMETERS and not tensors[v.tensor].shape
            }
            code = code_names(plan, (*TAKEN, *state_inputs(plan)))
            names = Names(code=code, scalars=frozenset(scalars | plain), integers=integer_names(plan))
        super().__init__(plan, dtype, names)
        self.code.whole_powers = WHOLE_POWERS

    def fill(self, node: Fill) -> str:
        name = self.code.names.name(node.tensor)
        if node.tensor in self.code.names.scalars:
            return f"{name} = {self.code.zero()}"
        rank = max(self.plan.tensors[node.tensor].rank, 1)
        zero = "0" if node.tensor in self.code.names.integers else self.code.zero()
        return f"{name}[{', '.join([':'] * rank)}] = {zero}"

    def range(self, loop: Loop) -> str:
        """``range(n)``, or ``range(rolled(64))`` for what goes along a short row to one number; see `runtime.views`."""
        if self._goes_along_a_short_row(loop):
            return f"range(rolled({self.bound(loop.stop, 'min')}))"
        return super().range(loop)

    def _goes_along_a_short_row(self, loop: Loop) -> bool:
        stop = loop.stop.values[0]
        if len(loop.stop.values) > 1 or not stop.is_constant or loop.lower.values != (ZERO,) or loop.step < 0:
            return False
        node, *others = (n for n in loop.body if not isinstance(n, Note))
        is_search = isinstance(node, Track) and node.position is None
        is_sum = isinstance(node, Store) and node.update is Update.ADD and not node.target.subscripts
        if others or not isinstance(node, Store | Track) or not (is_search or is_sum):
            return False
        if int(stop) not in (SHORT_SEARCHES if is_search else SHORT_SUMS):
            return False
        walked = [r for r in node.value.all_reads if any(loop.index in s.indices() for s in r.subscripts)]
        return all(self._walks_along_memory(r, loop.index) for r in walked)

    def _walks_along_memory(self, read: Read, index: Index) -> bool:
        extents = self.plan.tensors[read.tensor].shape
        moving = [s for s, extent in zip(read.subscripts, extents, strict=True) if extent != ONE]
        return bool(moving) and moving[-1].coefficient(index) == ONE

    def product(self, node: Product) -> str:
        """``matmul(a, b, c)``, ``matmul_add_of_upper(a, b, c, shift)``: what is added to, then what counts."""
        words = ["matmul", *(["add"] if node.accumulate else []), *([node.triangle.value] if node.triangle else [])]
        name = "_".join(words)
        self.code.functions[name] = None
        arguments = [self.slice(node.left), self.slice(node.right), self.slice(node.out)]
        if node.triangle:
            arguments.append(self.code.affine(node.shift))
        return f"{name}({', '.join(arguments)})"

    def slide(self, node: Slide) -> str:
        """``convolve("o c u v, c p+u q+v b -> o p q b", K, x, z)``: subscripts as in the equation, then the arrays."""
        name = ("correlate" if node.sums_lanes else "convolve") + ("_add" if node.accumulate else "")
        self.code.functions[name] = None
        parts = (node.left, node.right, node.out)
        left, right, out = (" ".join(str(s).replace(" ", "") for s in part.subscripts) for part in parts)
        arrays = [
            self._kept(self.code.names.name(part.tensor), self.plan.tensors[part.tensor].shape, part.axes)
            for part in parts
        ]
        return f'{name}("{left}, {right} -> {out}", {", ".join(arrays)})'

    def slice(self, part: Slice) -> str:
        """``z[:, t]``; axes that act as one are merged first: ``view(z, 0, (n_batch, n_time, 64))[:, t]``."""
        extents, axes = self._merged(part)
        text = self.code.names.name(part.tensor)
        if len(extents) < len(part.axes):
            text = f"view({text}, 0, ({', '.join(map(self.code.affine, extents))}))"
        text = self._kept(text, extents, axes)
        return f"{text}.T" if part.transposed else text

    def _kept(self, array: str, extents: Iterable[Affine], axes: Iterable[Affine | tuple[Affine, Affine]]) -> str:
        """The array with what is kept of each axis: ``z[:, t]``."""
        pieces = [
            self.code.affine(axis) if isinstance(axis, Affine) else self.stretch(axis, extent)
            for axis, extent in zip(axes, extents, strict=True)
        ]
        while pieces and pieces[-1] == ":":
            pieces.pop()
        return f"{array}[{', '.join(pieces)}]" if pieces else array

    def _merged(self, part: Slice) -> tuple[list[Affine], list[Affine | tuple[Affine, Affine]]]:
        """The shape of the tensor with the rows as one axis and the columns as one, and what is kept of each axis."""
        extents: list[Affine] = []
        axes: list[Affine | tuple[Affine, Affine]] = []
        kept = 0
        for axis, extent in zip(part.axes, self.plan.tensors[part.tensor].shape, strict=True):
            if not isinstance(axis, Affine):
                first_of_group = kept in (0, part.rows)
                kept += 1
                if not first_of_group:  # kept whole, so that the axis before it counts in multiples of its extent
                    before = axes[-1]
                    assert not isinstance(before, Affine)
                    extents[-1] = extents[-1] * extent
                    axes[-1] = (before[0] * extent, before[1] * extent)
                    continue
            extents.append(extent)
            axes.append(axis)
        return extents, axes


def write_procedure(plan: Plan, procedure: Procedure, dtype: str) -> ProcedureText:
    """Names, arguments and views of one function; its nests with loop variables that clash with nothing."""
    if procedure.tensors:
        plan = replace(plan, tensors=plan.tensors | {t.name: t for t in procedure.tensors})
    writer = ProcedureWriter(plan, procedure, dtype)
    code_name = writer.code.names.name
    views = tuple(_view(b, plan, writer) for b in procedure.views)
    needed, cut = _sizes(procedure, plan), plan.cuts.get("train")  # prediction leaves nothing for each chunk
    counted = [] if CHUNKS not in needed or cut is None else [(CHUNKS.name, chunk_count(cut))]
    if cut is not None and counted:
        needed = tuple(dict.fromkeys((*(s for s in needed if s != CHUNKS), *cut.extent.sizes())))
    inputs = list(procedure.inputs)
    sizes: list[tuple[str, str]] = []
    for size in needed:
        tensor, source = size_source(size, inputs, plan)
        if tensor not in inputs:
            inputs.append(tensor)
        sizes.append((size.name, f"{code_name(tensor)}{source}"))
    sizes += [*counted, *_portion_sizes(procedure)]
    parts = tuple(write_procedure(plan, part, dtype) for part in procedure.parts)
    known = [t.name for t in plan.inputs]
    inputs += [n for n in known if n not in inputs and any(code_name(n) in p.arguments for p in parts)]
    inputs.sort(key=known.index)
    memories = [m for m in Memory if any(b.memory is m for b in procedure.views)]
    before = ["params"] if Memory.PARAMETERS in memories else []
    after = [m.value for m in SCRATCH if m in memories]
    after += [code_name(n) for n in procedure.results]
    after += [m.value for m in (Memory.GRADIENTS, Memory.STATE, Memory.HYPER) if m in memories]
    after += _PORTIONS[procedure.portion]
    if any(NUMBER in b.offset.sizes() for b in procedure.views):
        after.append(NUMBER.name)
    if procedure.name == "update":
        settings = any(b.memory is Memory.HYPER and b.tensor != "t" for b in procedure.views)
        counts = any(b.tensor == "t" for b in procedure.views)
        views = tuple(v for v, b in zip(views, procedure.views, strict=True) if b.memory is not Memory.STATE)
        sizes = [("n_parameters", "params.size")]
        before, inputs, after = ["params", "grads"], [], [*plan.state, *(["numbers"] * settings), *(["count"] * counts)]
    arguments = (*before, *map(code_name, inputs), *after)
    scalars = map(code_name, sorted(writer.code.names.scalars))
    reserved = {*arguments, *(v.name for v in views), *(s for s, _ in sizes), *scalars, *TAKEN}
    nests = tuple(_without_clashes(nest, reserved).nodes for nest in procedure.nests)
    returns = ""
    if procedure.returns:
        returns = code_name(procedure.returns)
        returns = returns if procedure.returns in writer.code.names.scalars else f"{returns}[0]"
    if parts:  # it only calls them
        sizes, views, nests = [], (), ()
    return ProcedureText(
        procedure.name,
        procedure.summary,
        arguments,
        tuple(sizes),
        views,
        nests,
        returns,
        writer,
        (*before, *inputs, *after),
        parts,
    )


def _portion_sizes(procedure: Procedure) -> list[tuple[str, str]]:
    """What the arguments of a chunk or a share come to: ``rows``, ``first_128, last_128``."""
    if procedure.portion is Portion.ROWS:
        return [(ROWS.name, "last - first")]
    return [(", ".join(s.name for s in share_sizes(e)), f"share({e}, part, parts)") for e in procedure.shares]


def size_source(size: Size, preferred: Iterable[str], plan: Plan) -> tuple[str, str]:
    """The input and the code behind its name that give a run-time size: x and ``.shape[0]``."""
    known = {t.name: t for t in plan.inputs}
    for name in (*preferred, *known):
        tensor = known.get(name)
        if tensor is None:
            continue
        for axis, extent in enumerate(tensor.shape):
            rest = extent - size
            if rest.is_constant:
                shift = int(rest)
                tail = f" - {shift}" if shift > 0 else f" + {-shift}" if shift < 0 else ""
                return name, f".shape[{axis}]{tail}"
    raise AssertionError(f"no input carries the size {size}")


def _view(buffer: Buffer, plan: Plan, writer: Writer) -> View:
    tensor = plan.tensors[buffer.tensor]
    name = writer.code.names.name(buffer.tensor)
    start = writer.code.affine(buffer.offset)
    if buffer.memory is Memory.ARGUMENT:
        # Only an update has them. It is not asked what `g` is: a model may have a parameter of that name.
        return View(name, f"{name} = {'grads' if buffer.tensor == 'g' else 'params'}")
    if buffer.memory is Memory.HYPER:
        return View(name, f"{name} = float(count[0])" if buffer.tensor == "t" else f"{name} = numbers[{start}]")
    if not tensor.shape and buffer.memory is Memory.PARAMETERS:
        return View(name, f"{name} = params[{start}]")
    extents = [writer.code.affine(e) for e in tensor.shape] or ["1"]
    shape = f"({', '.join(extents)}{',' if len(extents) == 1 else ''})"
    source = name if buffer.memory is Memory.GIVEN else buffer.memory.value
    return View(name, call("view", [source, start, shape], indent=4, lead=f"{name} = ").replace("\n", "\n    "))


def _sizes(procedure: Procedure, plan: Plan) -> tuple[Size, ...]:
    """Run-time sizes that the views or the nests mention."""
    if procedure.name == "update":
        return ()
    places = [a for b in procedure.views for a in (b.offset, *plan.tensors[b.tensor].shape)]
    return sizes_in((*places, *mentioned(n for nest in procedure.nests for n in nest.nodes)), (*plan.sizes(), CHUNKS))


def _set_by(node: Loop | SetIndex) -> tuple[Index, ...]:
    return (node.index, node.last) if isinstance(node, Loop) and node.last is not None else (node.index,)


def _without_clashes(nest: Nest, reserved: set[str]) -> Nest:
    """Loop variables that are called like an array or a size get another name, in the code and in its comments."""
    nodes = nest.nodes
    clashing = dict.fromkeys(
        i for n in walk(nodes) if isinstance(n, Loop | SetIndex) for i in _set_by(n) if i.name in reserved
    )
    used = {i.name for n in walk(nodes) if isinstance(n, Loop | SetIndex) for i in _set_by(n)}
    for index in clashing:
        new = Index(fresh_name(f"i_{index.name}", {*reserved, *used}))
        used.add(new.name)
        nodes = rename_index(nodes, index, new)
    return replace(nest, nodes=nodes)

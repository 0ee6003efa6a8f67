"""A procedure as the templates see it: names, arguments, views and nests with every expression already code."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import sympy as sp

from symbp.codegen.layout import call
from symbp.codegen.printer import RUNTIME_FUNCTIONS, CodePrinter, Names
from symbp.ir.affine import Affine, Index, Size
from symbp.ir.names import fresh_name
from symbp.ir.nodes import BEST, PLACE, TOTAL, Bound, Fill, If, Loop, Node, Note, Product, SetIndex, Slice, Store, Track
from symbp.ir.plan import Buffer, Memory, Nest, Plan, Procedure
from symbp.ir.program import DType, Role
from symbp.ir.statement import Divisible, Holds, NonNegative, Zero
from symbp.ir.text import statement_text
from symbp.ir.walk_nodes import rename_index, walk

#: Names that every generated kernel file may use besides functions of the runtime.
TAKEN = (
    "np", "math", "real", "view", "matmul", "matmul_add", "kernel", "value",
    "workspace", "positions", "params", "grads", "numbers", "count",
    *sorted(RUNTIME_FUNCTIONS),
)  # fmt: skip

LONGEST_COMMENT = 64  # with its guards on the same line


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
    parts: tuple[ProcedureText, ...] = ()


class Writer:
    """Turns the parts of nodes into code for one procedure; templates call its methods."""

    def __init__(self, plan: Plan, procedure: Procedure, dtype: str) -> None:
        self.plan = plan
        self.procedure = procedure
        tensors = plan.tensors
        stored = {v.tensor for v in procedure.views} | set(procedure.inputs) | set(procedure.results)
        hyper = {t.name for t in plan.hyper}
        names = Names(
            code=self._code_names(),
            scalars=frozenset(self._scalars(stored) | (hyper if procedure.name == "update" else set())),
            integers=frozenset(t.name for t in tensors.values() if t.dtype is DType.INT) | {PLACE.tensor},
            wide=frozenset(
                {t for t in tensors if not tensors[t].shape and t not in stored} | hyper
                if procedure.name == "update"
                else ()
            ),
        )
        self.code = CodePrinter(dtype, names)

    def _code_names(self) -> dict[str, str]:
        """What is called otherwise in the code than in the equations, so that every name there means one thing."""
        taken = {*TAKEN, *self.plan.tensors}
        names: dict[str, str] = {}
        for name in sorted(self.plan.tensors):
            if name in TAKEN:
                names[name] = fresh_name(name, taken)
                taken.add(names[name])
        for local in (TOTAL, BEST, PLACE):
            names[local.tensor] = fresh_name(local.tensor.strip("<>"), taken)
        return names

    def _scalars(self, stored: set[str]) -> set[str]:
        """Everything the nests touch that is no array: locals, and scalar inputs."""
        local = {TOTAL.tensor, BEST.tensor, PLACE.tensor}
        for nest in self.procedure.nests:
            for node in walk(nest.nodes):
                if isinstance(node, Store) and not node.target.subscripts and node.target.tensor not in stored:
                    local.add(node.target.tensor)
        scalars_in = {n for n in self.procedure.inputs if not self.plan.tensors[n].shape}
        parameters = {
            v.tensor
            for v in self.procedure.views
            if v.memory is Memory.PARAMETERS and not self.plan.tensors[v.tensor].shape
        }
        return local | scalars_in | parameters

    # -------------------------------------------------------------------------------------------- pieces of nodes

    def equation(self, note: Note) -> str:
        text = statement_text(note.statement)
        return text if len(text) <= LONGEST_COMMENT else text.replace("    where ", "\n#     where ")

    def range(self, loop: Loop) -> str:
        lower, stop = self.bound(loop.lower, "max"), self.bound(loop.stop, "min")
        if loop.step < 0:
            first = self.code.affine(loop.stop.values[0] - 1) if len(loop.stop.values) == 1 else f"{stop} - 1"
            last = self.code.affine(loop.lower.values[0] - 1) if len(loop.lower.values) == 1 else f"{lower} - 1"
            return f"range({first}, {last}, -1)"
        return f"range({stop})" if lower == "0" else f"range({lower}, {stop})"

    def bound(self, bound: Bound, choice: str) -> str:
        texts = [self.code.affine(v) for v in bound.values]
        return texts[0] if len(texts) == 1 else f"{choice}({', '.join(texts)})"

    def condition(self, node: If) -> str:
        parts = [self._holds(g, node) if isinstance(g, Holds) else self.comparison(g) for g in node.guards]
        joined: list[str] = []
        for part in parts:
            value, _, upper = part.partition(" <= ")
            before = joined[-1].split(" >= ") if joined else []
            if upper and len(before) == 2 and before[0] == value:  # s >= 0 and s <= 1
                joined[-1] = f"{before[1]} <= {value} <= {upper}"
            else:
                joined.append(part)
        return " and ".join(joined)

    def _holds(self, guard: Holds, node: If) -> str:
        text = self.code.body(guard.condition)
        return f"({text})" if isinstance(guard.condition.expr, sp.Or) and len(node.guards) > 1 else text

    def comparison(self, guard: NonNegative | Zero | Divisible) -> str:
        """``a - b >= 0`` written ``a >= b``."""
        if isinstance(guard, Divisible):
            return f"({self.code.affine(guard.value)}) % {guard.by} == 0"
        left = Affine(tuple((m, c) for m, c in guard.value.terms if c > 0))
        right = Affine(tuple((m, -c) for m, c in guard.value.terms if c < 0))
        if left.is_constant and isinstance(guard, NonNegative):
            return f"{self.code.affine(right)} <= {self.code.affine(left)}"
        sign = "==" if isinstance(guard, Zero) else ">="
        return f"{self.code.affine(left)} {sign} {self.code.affine(right)}"

    def target(self, node: Store) -> str:
        return self.code.read(node.target)

    def value(self, node: Store | Track) -> str:
        target = node.target if isinstance(node, Store) else node.best
        double = target.tensor in self.code.names.wide
        return self.code.body(node.value, double=double) if target != PLACE else "-1"

    def store(self, node: Store) -> str:
        value = self._whole_value(node)
        return f"{self.target(node)} {node.update.value} {value}"

    def _whole_value(self, node: Store) -> str:
        is_integer = node.target.tensor in self.code.names.integers
        if is_integer and node.value.is_read:
            return self.code.read(node.value.reads[0])
        if is_integer and node.value.expr.is_Integer:
            return str(int(node.value.expr))
        return self.value(node)

    def track(self, node: Track) -> str:
        self.code.functions["maximum"] = None
        best = self.best(node)
        return f"{best} = maximum({best}, {self.value(node)})"

    def index_value(self, node: SetIndex) -> str:
        return self.code.affine(node.value)

    def best(self, node: Track) -> str:
        return self.code.read(node.best)

    def place(self, node: Track) -> str:
        assert node.position is not None
        return self.code.read(node.position)

    def position(self, node: Track) -> str:
        assert node.at is not None
        return self.code.affine(node.at)

    def fill(self, node: Fill) -> str:
        name = self.code.names.name(node.tensor)
        if node.tensor in self.code.names.scalars:
            return f"{name} = {self.code.zero()}"
        rank = max(self.plan.tensors[node.tensor].rank, 1)
        zero = "0" if node.tensor in self.code.names.integers else self.code.zero()
        return f"{name}[{', '.join([':'] * rank)}] = {zero}"

    def product(self, node: Product) -> str:
        name = "matmul_add" if node.accumulate else "matmul"
        self.code.functions[name] = None
        return f"{name}({self.slice(node.left)}, {self.slice(node.right)}, {self.slice(node.out)})"

    def slice(self, part: Slice) -> str:
        """``z[:, t]``; axes that act as one are merged first: ``z.reshape((n_batch, n_time, 64))[:, t]``."""
        extents, axes = self._merged(part)
        pieces = [
            self.code.affine(axis) if isinstance(axis, Affine) else self._stretch(axis, extent)
            for axis, extent in zip(axes, extents, strict=True)
        ]
        while pieces and pieces[-1] == ":":
            pieces.pop()
        text = self.code.names.name(part.tensor)
        if len(extents) < len(part.axes):
            text += f".reshape(({', '.join(map(self.code.affine, extents))}))"
        text += f"[{', '.join(pieces)}]" if pieces else ""
        return f"{text}.T" if part.transposed else text

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

    def _stretch(self, axis: tuple[Affine, Affine], extent: Affine) -> str:
        lower, stop = axis
        start = "" if not lower.terms else self.code.affine(lower)
        end = "" if stop == extent else self.code.affine(stop)
        # The formatter's rule: blanks around the colon of a slice with an expression in it.
        wide = any(" " in part for part in (start, end))
        return f"{start} : {end}".strip() if wide else f"{start}:{end}"


def write_procedure(plan: Plan, procedure: Procedure, dtype: str) -> ProcedureText:
    """Names, arguments and views of one function; its nests with loop variables that clash with nothing."""
    writer = Writer(plan, procedure, dtype)
    views = tuple(_view(b, plan, writer) for b in procedure.views)
    needed = _sizes(procedure, plan)
    inputs = list(procedure.inputs)
    sizes: list[tuple[str, str]] = []
    for size in needed:
        tensor, text = size_source(size, inputs, plan)
        if tensor not in inputs:
            inputs.append(tensor)
        sizes.append((size.name, text))
    parts = tuple(write_procedure(plan, part, dtype) for part in procedure.parts)
    known = [t.name for t in plan.inputs]
    inputs += [n for n in known if n not in inputs and any(writer.code.names.name(n) in p.arguments for p in parts)]
    inputs.sort(key=known.index)
    memories = [m for m in Memory if any(b.memory is m for b in procedure.views)]
    arguments = ["params"] if Memory.PARAMETERS in memories else []
    arguments += [writer.code.names.name(n) for n in inputs]
    arguments += [m.value for m in (Memory.WORKSPACE, Memory.POSITIONS) if m in memories]
    arguments += [writer.code.names.name(n) for n in procedure.results]
    arguments += [m.value for m in (Memory.GRADIENTS, Memory.STATE, Memory.HYPER) if m in memories]
    if procedure.name == "update":
        settings = any(b.memory is Memory.HYPER and b.tensor != "t" for b in procedure.views)
        counts = any(b.tensor == "t" for b in procedure.views)
        views = tuple(v for v, b in zip(views, procedure.views, strict=True) if b.memory is not Memory.STATE)
        sizes = [("n_parameters", "params.size")]
        arguments = ["params", "grads", *plan.state, *(["numbers"] * settings), *(["count"] * counts)]
    scalars = map(writer.code.names.name, sorted(writer.code.names.scalars))
    reserved = {*arguments, *(v.name for v in views), *(s for s, _ in sizes), *scalars, *TAKEN}
    nests = tuple(_without_clashes(nest, reserved).nodes for nest in procedure.nests)
    returns = ""
    if procedure.returns:
        returns = writer.code.names.name(procedure.returns)
        returns = returns if procedure.returns in writer.code.names.scalars else f"{returns}[0]"
    if parts:  # it only calls them
        sizes, views, nests = [], (), ()
    return ProcedureText(
        procedure.name, procedure.summary, tuple(arguments), tuple(sizes), views, nests, returns, writer, parts
    )


def size_source(size: Size, preferred: Iterable[str], plan: Plan) -> tuple[str, str]:
    """The input and the code that give a run-time size: ``x.shape[0]``, ``tokens.shape[1] - 1``."""
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
                return name, f"{name}.shape[{axis}]{tail}"
    raise AssertionError(f"no input carries the size {size}")


def _view(buffer: Buffer, plan: Plan, writer: Writer) -> View:
    tensor = plan.tensors[buffer.tensor]
    name = writer.code.names.name(buffer.tensor)
    start = writer.code.affine(buffer.offset)
    if buffer.memory is Memory.ARGUMENT:
        return View(name, f"{name} = {'params' if tensor.role is Role.PARAMETER else 'grads'}")
    if buffer.memory is Memory.HYPER:
        return View(name, f"{name} = float(count[0])" if buffer.tensor == "t" else f"{name} = numbers[{start}]")
    if not tensor.shape and buffer.memory is Memory.PARAMETERS:
        return View(name, f"{name} = params[{start}]")
    extents = [writer.code.affine(e) for e in tensor.shape] or ["1"]
    shape = f"({', '.join(extents)}{',' if len(extents) == 1 else ''})"
    return View(
        name, call("view", [buffer.memory.value, start, shape], indent=4, lead=f"{name} = ").replace("\n", "\n    ")
    )


def _sizes(procedure: Procedure, plan: Plan) -> tuple[Size, ...]:
    """Run-time sizes that the views or the nests mention."""
    if procedure.name == "update":
        return ()
    found: dict[Size, None] = {}

    def add(value: Affine) -> None:
        found.update(dict.fromkeys(value.sizes()))

    for buffer in procedure.views:
        add(buffer.offset)
        for extent in plan.tensors[buffer.tensor].shape:
            add(extent)
    for nest in procedure.nests:
        for node in walk(nest.nodes):
            if isinstance(node, Loop):
                for value in (*node.lower.values, *node.stop.values):
                    add(value)
            elif isinstance(node, If):
                for guard in node.guards:
                    if not isinstance(guard, Holds):
                        add(guard.value)
            elif isinstance(node, Store | Track):
                for operand in node.value.operands:
                    for part in (operand,) if isinstance(operand, Affine) else operand.subscripts:
                        add(part)
            elif isinstance(node, SetIndex):
                add(node.value)
            elif isinstance(node, Product):
                for piece in (node.out, node.left, node.right):
                    for axis in piece.axes:
                        for part in (axis,) if isinstance(axis, Affine) else axis:
                            add(part)
    order = plan.sizes()
    return tuple(sorted(found, key=order.index))


def _without_clashes(nest: Nest, reserved: set[str]) -> Nest:
    """Loop variables that are called like an array or a size get another name, in the code and in its comments."""
    nodes = nest.nodes
    clashing = dict.fromkeys(
        n.index for n in walk(nodes) if isinstance(n, Loop | SetIndex) and n.index.name in reserved
    )
    used = {n.index.name for n in walk(nodes) if isinstance(n, Loop | SetIndex)}
    for index in clashing:
        new = Index(fresh_name(f"i_{index.name}", {*reserved, *used}))
        used.add(new.name)
        nodes = rename_index(nodes, index, new)
    return replace(nest, nodes=nodes)

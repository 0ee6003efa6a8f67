"""The parts of nodes as code, for every target that is written in Python; templates call the methods of a `Writer`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import sympy as sp

from symbp.codegen.printer import CodePrinter, Names
from symbp.ir.affine import Affine, Index, Read, Size
from symbp.ir.body import Body
from symbp.ir.names import fresh_name
from symbp.ir.nodes import (
    BEST,
    PLACE,
    TOTAL,
    Bound,
    Dealt,
    If,
    Largest,
    Loop,
    Node,
    Note,
    Product,
    SetIndex,
    Settle,
    Share,
    Slide,
    Spread,
    Store,
    Track,
)
from symbp.ir.plan import Plan
from symbp.ir.program import DType
from symbp.ir.statement import Divisible, Guard, Holds, NonNegative, Zero
from symbp.ir.text import statement_text
from symbp.ir.walk_nodes import walk

LONGEST_COMMENT = 64  # with its guards on the same line
LOCALS = (TOTAL, BEST, PLACE)


class Writer:
    """Turns the parts of nodes into code for one function."""

    def __init__(self, plan: Plan, dtype: str, names: Names) -> None:
        self.plan = plan
        self.code = CodePrinter(dtype, names)

    # -------------------------------------------------------------------------------------------- pieces of nodes

    def equation(self, note: Note) -> str:
        names = {i: Index(self.code.names.index(i.name)) for i in note.statement.indices}
        text = statement_text(note.statement.rename({i: new for i, new in names.items() if i != new}))
        return text if len(text) <= LONGEST_COMMENT else text.replace("    where ", "\n#     where ")

    def index(self, index: Index) -> str:
        return self.code.affine(Affine.of(index))

    def range(self, loop: Loop) -> str:
        return self.interval(loop.lower, loop.stop, loop.step)

    def apart(self, loop: Loop) -> str:
        """``apart(b)``: the compiler is to look at one turn at a time."""
        return f"apart({self.index(loop.index)})"

    def interval(self, lower: Bound, stop: Bound, step: int) -> str:
        """``range(n)``, ``range(1, n)``, or downwards ``range(n - 1, -1, -1)``."""
        start, end = self.bound(lower, "max"), self.bound(stop, "min")
        if step < 0:
            first = self.code.affine(stop.values[0] - 1) if len(stop.values) == 1 else f"{end} - 1"
            last = self.code.affine(lower.values[0] - 1) if len(lower.values) == 1 else f"{start} - 1"
            return f"range({first}, {last}, -1)"
        if step > 1:
            return f"range({start}, {end}, {step})"
        return f"range({end})" if start == "0" else f"range({start}, {end})"

    def end_of_block(self, loop: Loop) -> str:
        """``min(t_first + 64, n_time)``"""
        return f"min({self.index(loop.index)} + {loop.step}, {self.bound(loop.stop, 'min')})"

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

    def stretch(self, axis: tuple[Affine, Affine], extent: Affine) -> str:
        """The part of an axis from `lower` to `stop`, as a slice: ``:``, ``1:``, ``: n_time - 1``."""
        lower, stop = axis
        start = "" if not lower.terms else self.code.affine(lower)
        end = "" if stop == extent else self.code.affine(stop)
        # The formatter's rule: blanks around the colon of a slice with an expression in it.
        wide = any(" " in part for part in (start, end))
        return f"{start} : {end}".strip() if wide else f"{start}:{end}"


# -------------------------------------------------------------------------------------------------------------- names


def code_names(plan: Plan, taken: Iterable[str]) -> dict[str, str]:
    """What is called otherwise in the code than in the equations, so that every name there means one thing."""
    reserved = frozenset(taken)
    used = {*reserved, *plan.tensors}
    names: dict[str, str] = {}
    for name in sorted(plan.tensors):
        if name in reserved:
            names[name] = fresh_name(name, used)
            used.add(names[name])
    for local in LOCALS:
        names[local.tensor] = fresh_name(local.tensor.strip("<>"), used)
    return names


def local_scalars(nodes: Iterable[Node], stored: Iterable[str]) -> set[str]:
    """The scalar variables that the nodes set: what is no array and lies in no memory."""
    kept = frozenset(stored)
    found = {local.tensor for local in LOCALS}
    for node in walk(nodes):
        if isinstance(node, Store) and not node.target.subscripts and node.target.tensor not in kept:
            found.add(node.target.tensor)
    return found


def integer_names(plan: Plan) -> frozenset[str]:
    """What holds whole numbers, in the procedures of the model."""
    return frozenset(t.name for t in plan.tensors.values() if t.dtype is DType.INT) | {PLACE.tensor}


def whole_locals(nodes: Iterable[Node], integers: Iterable[str]) -> frozenset[str]:
    """What holds whole numbers, with the scalar variables that do: the place of a maximum, a copy of such a number."""
    whole = {*integers}
    for node in walk(nodes):
        if isinstance(node, Track) and node.position is not None:
            whole.add(node.position.tensor)
        elif isinstance(node, Store) and node.value.is_read and node.value.reads[0].tensor in whole:
            whole.add(node.target.tensor)
    return frozenset(whole)


def wide_names(nodes: Iterable[Node], plan: Plan) -> frozenset[str]:
    """The scalars of an update, which are kept in double precision: settings, and what is computed from them alone."""
    wide = {t.name for t in plan.hyper}
    for node in walk(nodes):
        if isinstance(node, Store) and not node.target.subscripts and {r.tensor for r in node.value.reads} <= wide:
            wide.add(node.target.tensor)
    return frozenset(wide)


def update_names(nodes: tuple[Node, ...], plan: Plan, code: Mapping[str, str], scalars: Iterable[str]) -> Names:
    """The names of an update. It may name vectors as the model names its tensors: what these are is no matter here."""
    wide = wide_names(nodes, plan)
    return Names(code=code, scalars=frozenset((*scalars, *wide)), integers=frozenset({PLACE.tensor}), wide=wide)


def state_inputs(plan: Plan) -> tuple[str, ...]:
    """Inputs that are called like a vector of the optimizer; a whole step has both as arguments."""
    return tuple(t.name for t in plan.inputs if t.name in plan.state)


# ------------------------------------------------------------------------------------------------- what nodes mention


def mentioned(nodes: Iterable[Node]) -> Iterator[Affine]:
    """Every piece of index arithmetic in the nodes."""
    for node in walk(nodes):
        yield from _in_node(node)


def reads_in(nodes: Iterable[Node]) -> Iterator[Read]:
    """Every element that the nodes read by name in values, subscripts and conditions."""
    for node in walk(nodes):
        for body in _bodies(node):
            yield from body.all_reads
        for value in _in_node(node):
            yield from value.reads()


def _bodies(node: Node) -> Iterator[Body]:
    if isinstance(node, Store | Track | Largest | Spread):
        yield node.value
    elif isinstance(node, If):
        yield from (g.condition for g in node.guards if isinstance(g, Holds))


def sizes_in(values: Iterable[Affine], order: Iterable[Size]) -> tuple[Size, ...]:
    """The run-time sizes in some index arithmetic, in the order given."""
    found = {size for value in values for size in value.sizes()}
    return tuple(size for size in order if size in found)


def _in_node(node: Node) -> Iterator[Affine]:
    if isinstance(node, Loop):
        yield from (*node.lower.values, *node.stop.values)
    elif isinstance(node, If):
        yield from (v for guard in node.guards for v in _in_guard(guard))
    elif isinstance(node, Store):
        yield from (*node.target.subscripts, *_in_body(node.value))
    elif isinstance(node, Track):
        yield from (*_in_body(node.value), *((node.at,) if node.at is not None else ()))
    elif isinstance(node, SetIndex):
        yield node.value
    elif isinstance(node, Product | Slide):
        for piece in (node.out, node.left, node.right):
            for axis in piece.axes:
                yield from (axis,) if isinstance(axis, Affine) else axis
        if isinstance(node, Product):
            yield node.shift
    elif isinstance(node, Share):
        yield from in_box(node.axes)
    elif isinstance(node, Largest):
        yield from _in_body(node.value)
    elif isinstance(node, Spread):
        yield from (*node.subscripts, *_in_body(node.value), node.count)
    elif isinstance(node, Settle):
        yield from (*node.target.subscripts, node.count)


def in_box(axes: Iterable[Dealt]) -> Iterator[Affine]:
    """The bounds of a box."""
    for axis in axes:
        yield from (*axis.lower.values, *axis.stop.values)


def _in_guard(guard: Guard) -> Iterator[Affine]:
    if isinstance(guard, Holds):
        yield from _in_body(guard.condition)
    else:
        yield guard.value


def _in_body(body: Body) -> Iterator[Affine]:
    for operand in body.operands:
        yield from (operand,) if isinstance(operand, Affine) else operand.subscripts

"""The oracle: any program, in NumPy, as it is written. Slow, whole-array, and independent of the code generator.

    interpret(program, sizes, feed)["W_bar"]

Every statement is evaluated on the full grid of its indices, where guards hold; statements follow `ir.order`, scans
step by step. It is stricter than generated code: an element read outside its tensor, where the guards (and the branch
of a `select`) say it is needed, is an error; so are an element that two equations with ``=`` define and one that is
read before it is complete.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray
from sympy.logic.boolalg import BooleanFalse, BooleanTrue

from symbp.check.functions import CALLABLES
from symbp.errors import DataError, SpecError
from symbp.ir import (
    Affine,
    Divisible,
    DType,
    FloorDiv,
    Guard,
    Holds,
    Index,
    NonNegative,
    Program,
    Read,
    Reduction,
    Size,
    Statement,
    Tensor,
    slot,
    statement_text,
    verify,
)
from symbp.ir.affine import Atom
from symbp.ir.functions import select
from symbp.ir.order import Scan, order
from symbp.ir.statement import guard_indices, guard_reads

Array = NDArray[Any]

_RELATIONS: dict[Any, Callable[[Array, Array], Array]] = {
    sp.Ge: operator.ge,
    sp.Gt: operator.gt,
    sp.Le: operator.le,
    sp.Lt: operator.lt,
    sp.Eq: operator.eq,
    sp.Ne: operator.ne,
}


class InterpretationError(AssertionError):
    """The program does something that no program may do: a bug in the pass that wrote it."""


def interpret(
    program: Program,
    sizes: Mapping[str, int],
    feed: Mapping[str, Any],
    dtype: Any = np.float64,
) -> dict[str, Array]:
    """Every tensor of the program by name, those fed included.

    `sizes` gives each run-time size, `feed` each input, parameter, state and hyper-parameter (those with a default may
    be left out). Elements that nothing writes are 0. With a complex `dtype` the imaginary parts carry a derivative.

    Raises DataError for a feed that does not fit, InterpretationError for a program that is not sound.
    """
    return Interpreter(program, dtype).run(sizes, feed)


class Interpreter:
    """A program made ready to run many times: the order of its statements is found once."""

    def __init__(self, program: Program, dtype: Any = np.float64) -> None:
        if program.derivatives:
            raise SpecError(
                f"program '{program.name}' still asks for {len(program.derivatives)} forward derivatives",
                remedy="expand them first",
            )
        self.program = verify(program)
        self.dtype = np.dtype(dtype)
        self.steps = order(program)
        writes = Counter(s.tensor for s in program.statements)
        in_scans = {name for step in self.steps if isinstance(step, Scan) for name in step.tensors}
        self.watched = frozenset(name for name in writes if writes[name] > 1 or name in in_scans)

    def run(self, sizes: Mapping[str, int], feed: Mapping[str, Any]) -> dict[str, Array]:
        run = _Run(self.program, self.dtype, dict(sizes), {}, {}, {})
        run.allocate(feed, self.watched)
        with np.errstate(all="ignore"):
            for step in self.steps:
                if isinstance(step, Scan):
                    self._scan(run, step)
                    continue
                for statement in step.statements:
                    run.execute(statement, {})
        return run.arrays

    def _scan(self, run: _Run, scan: Scan) -> None:
        bounds = [(run.size_value(t.first), run.size_value(t.stop), t.statement) for t in scan.turns]
        steps = range(run.size_value(scan.start), run.size_value(scan.stop))
        for step in steps if scan.direction > 0 else reversed(steps):
            for first, stop, statement in bounds:
                if first <= step < stop:
                    run.execute(statement, {scan.index: step} if scan.index in statement.free else {})


@dataclass
class _Run:
    """The arrays of one run."""

    program: Program
    dtype: np.dtype[Any]
    sizes: dict[str, int]
    arrays: dict[str, Array]
    defined: dict[str, Array]  # how often each element was written by an equation with "="
    used: dict[str, Array]  # which elements were read, for tensors written more than once: none may change after

    def size_value(self, value: Affine) -> int:
        return int(_Grid(self, {}).affine(value, None))

    def allocate(self, feed: Mapping[str, Any], watched: frozenset[str]) -> None:
        for size in self.program.sizes():
            if self.sizes.get(size.name, 0) < 1:
                raise DataError(f"size '{size.name}' is {self.sizes.get(size.name, 'not given')}, not at least 1")
        for name in feed:
            if not self.program.has(name):
                raise DataError(f"program '{self.program.name}' has no tensor '{name}'")
        for requirement in self.program.requirements:
            if self.size_value(requirement) < 0:
                raise DataError(f"the sizes {self.sizes} do not satisfy {requirement} >= 0")
        for tensor in self.program.tensors:
            shape = tuple(self.size_value(extent) for extent in tensor.shape)
            kind = np.dtype(np.int64) if tensor.dtype is DType.INT else self.dtype
            if tensor.is_given:
                self.arrays[tensor.name] = _fed(tensor, shape, kind, feed)
            else:
                self.arrays[tensor.name] = np.zeros(shape, kind)
                self.defined[tensor.name] = np.zeros(shape, np.int8)
                if tensor.name in watched:
                    self.used[tensor.name] = np.zeros(shape, bool)

    def execute(self, statement: Statement, fixed: dict[Index, int]) -> None:
        """Run one statement over its domain, with some of its free indices fixed."""
        free = [i for i in statement.free if i not in fixed]
        axes = [*free, *statement.reduced]
        env: dict[Index, Any] = dict(fixed)
        shape = []
        for position, index in enumerate(axes):
            span = statement.domain.range_of(index)
            values = np.arange(self.size_value(span.lower), self.size_value(span.stop))
            shape.append(len(values))
            env[index] = values.reshape([-1 if a == position else 1 for a in range(len(axes))])
        if 0 in shape[: len(free)]:
            return
        grid = _Grid(self, env, statement)
        # `writes`: where the statement says anything at all; `takes`: what its reduction takes in.
        writes = takes = np.ones((1,) * len(axes), bool)
        for guard in sorted(statement.guards, key=_guard_rank):
            holds = grid.guard(guard, takes)
            takes = takes & holds
            if not set(guard_indices(guard)) & set(statement.reduced):
                writes = writes & holds
        takes = np.broadcast_to(takes, shape)
        wants_integers = (
            self.program.tensor(statement.tensor).dtype is DType.INT and statement.reduction is not Reduction.ARGMAX
        )
        body = grid.body(statement.body.expr, statement.body.operands, takes, wants_integers)
        values = _reduce(np.broadcast_to(body, shape), takes, statement.reduction, len(free))
        where = np.broadcast_to(writes.reshape(writes.shape[: len(free)]), shape[: len(free)])
        self._write(statement, env, values, where, len(free))

    def _write(self, statement: Statement, env: dict[Index, Any], values: Array, where: Array, rank: int) -> None:
        outer = {
            i: env[i].reshape(env[i].shape[:rank]) if isinstance(env[i], np.ndarray) else env[i] for i in statement.free
        }
        grid = _Grid(self, outer, statement)
        target, count = self.arrays[statement.tensor], self.defined[statement.tensor]
        places = []
        if not statement.subscripts:  # a scalar, as its only element
            target, count = target.reshape(1), count.reshape(1)
            places.append(np.zeros(where.shape, np.int64)[where])
        for axis, subscript in enumerate(statement.subscripts):
            position = np.broadcast_to(grid.affine(subscript, where), where.shape)[where]
            if position.size and (position.min() < 0 or position.max() >= target.shape[axis]):
                raise InterpretationError(
                    f"{statement.target} is written at {subscript} = {position.min()} .. {position.max()}, outside its"
                    f" extent {target.shape[axis]}, in: {statement_text(statement)}"
                )
            places.append(position)
        used = self.used.get(statement.tensor)
        if used is not None and (used if statement.subscripts else used.reshape(1))[tuple(places)].any():
            raise InterpretationError(f"{statement.target} is read before it is complete: {statement_text(statement)}")
        taken = values[where].astype(target.dtype)
        if statement.accumulate:
            np.add.at(target, tuple(places), taken)
            return
        np.add.at(count, tuple(places), 1)
        if (count[tuple(places)] > 1).any():
            raise InterpretationError(
                f"an element of '{statement.tensor}' is defined twice: {statement_text(statement)}"
            )
        target[tuple(places)] = taken


def _fed(tensor: Tensor, shape: tuple[int, ...], kind: np.dtype[Any], feed: Mapping[str, Any]) -> Array:
    value = feed.get(tensor.name, tensor.default)
    if value is None:
        raise DataError(f"{tensor.role.value} '{tensor.name}' is not fed; expected an array of shape {shape}")
    array = np.asarray(value)
    if array.shape != shape:
        raise DataError(f"{tensor.role.value} '{tensor.name}' has shape {array.shape}, not {shape}")
    if tensor.dtype is DType.INT and array.dtype.kind not in "iu":
        raise DataError(f"{tensor.role.value} '{tensor.name}' holds {array.dtype}, not integers")
    return array.astype(kind)


def _guard_rank(guard: Guard) -> int:
    """Guards on indices first: those that read data need only hold where these do."""
    return 2 if isinstance(guard, Holds) else 1 if guard_reads(guard) else 0


def _reduce(values: Array, takes: Array, reduction: Reduction, rank: int) -> Array:
    axes = tuple(range(rank, values.ndim))
    if reduction is Reduction.NONE:
        return np.asarray(np.where(takes, values, np.zeros((), values.dtype)))
    if reduction is Reduction.SUM:
        return np.asarray(np.where(takes, values, np.zeros((), values.dtype)).sum(axis=axes, dtype=values.dtype))
    flat = values.reshape(*values.shape[:rank], -1)
    inside = takes.reshape(flat.shape)
    if flat.shape[-1] == 0:
        lowest = np.full(flat.shape[:-1], -np.inf)
        return lowest.astype(values.dtype) if reduction is Reduction.MAX else np.full(flat.shape[:-1], -1)
    real = np.where(inside, flat.real, -np.inf)
    # NaN counts as the largest, as in np.max: it must not vanish.
    best = inside & ((real == real.max(axis=-1, keepdims=True)) | np.isnan(real))
    first = np.where(best.any(axis=-1), best.argmax(axis=-1), -1)
    if reduction is Reduction.ARGMAX:
        return np.asarray(first)
    largest = np.take_along_axis(flat, np.maximum(first, 0)[..., None], axis=-1)[..., 0]
    return np.asarray(np.where(first >= 0, largest, np.array(-np.inf, values.dtype)))


class _Grid:
    """Values over the grid of a statement's indices; `mask` says where a value is needed."""

    def __init__(self, run: _Run, env: dict[Index, Any], statement: Statement | None = None) -> None:
        self.run = run
        self.env = env
        self.statement = statement

    def affine(self, value: Affine, mask: Array | None) -> Any:
        total: Any = 0
        for monomial, factor in value.terms:
            total = total + reduce(operator.mul, (self.atom(a, mask) for a in monomial), factor)
        return total

    def atom(self, atom: Atom, mask: Array | None) -> Any:
        if isinstance(atom, Index):
            return self.env[atom]
        if isinstance(atom, Size):
            return self.run.sizes[atom.name]
        if isinstance(atom, Read):
            value = self.read(atom, mask)
            if value.dtype.kind not in "iu":
                raise InterpretationError(f"{atom} is used as a subscript but is not of integers")
            return value
        numerator, divisor = self.affine(atom.numerator, mask), self.affine(atom.divisor, mask)
        return numerator // divisor if isinstance(atom, FloorDiv) else numerator % divisor

    def read(self, read: Read, mask: Array | None) -> Array:
        array = self.run.arrays[read.tensor]
        places = []
        for axis, subscript in enumerate(read.subscripts):
            position = np.asarray(self.affine(subscript, mask))
            extent = array.shape[axis]
            outside = (position < 0) | (position >= extent)
            if outside.any() and (outside if mask is None else outside & mask).any():
                where = f" in: {statement_text(self.statement)}" if self.statement else ""
                worst = position[outside].flat[0]
                raise InterpretationError(
                    f"{read} is read at {subscript} = {worst}, outside its extent {extent},{where}"
                )
            places.append(np.clip(position, 0, extent - 1))
        used = self.run.used.get(read.tensor)
        if used is not None:
            if mask is None or mask.all():
                used[tuple(places)] = True
            else:
                *spread, needed = np.broadcast_arrays(*places, mask)
                used[tuple(p[needed] for p in spread)] = True
        return np.asarray(array[tuple(places)])

    def guard(self, guard: Guard, mask: Array) -> Array:
        if isinstance(guard, Holds):
            return np.asarray(self.body(guard.condition.expr, guard.condition.operands, mask, False), bool)
        value = np.asarray(self.affine(guard.value, mask))
        if isinstance(guard, NonNegative):
            return np.asarray(value >= 0)
        if isinstance(guard, Divisible):
            return np.asarray(value % guard.by == 0)
        return np.asarray(value == 0)

    def body(self, expr: sp.Basic, operands: tuple[Any, ...], mask: Array, integers: bool) -> Any:
        """The value of a template, in the run's dtype (or in whole numbers)."""
        kind = np.dtype(np.int64) if integers else self.run.dtype
        slots = {slot(k): o for k, o in enumerate(operands)}
        # A branch of a select has its own mask, so values are kept per mask (which `masks` keeps alive).
        masks: list[Array] = []
        memo: dict[tuple[sp.Basic, int], Any] = {}

        def operand(symbol: sp.Symbol, needed: Array) -> Any:
            value = slots[symbol]
            found = self.read(value, needed) if isinstance(value, Read) else self.affine(value, needed)
            return np.asarray(found).astype(kind)

        def walk(node: sp.Basic, needed: Array) -> Any:
            key = (node, id(needed))
            if key not in memo:
                memo[key] = compute(node, needed)
            return memo[key]

        def compute(node: sp.Basic, needed: Array) -> Any:
            if isinstance(node, sp.Symbol):
                return operand(node, needed)
            if isinstance(node, sp.Rational):
                return _number(node, kind)
            if isinstance(node, sp.Number | sp.NumberSymbol):
                return np.asarray(float(node), kind)
            if isinstance(node, BooleanTrue | BooleanFalse):
                return np.asarray(isinstance(node, BooleanTrue))
            if isinstance(node, select):
                condition = walk(node.args[0], needed)
                then, other = needed & condition, needed & ~condition
                masks.extend((then, other))
                return np.where(condition, walk(node.args[1], then), walk(node.args[2], other))
            if isinstance(node, sp.Pow):
                return _power(walk(node.base, needed), node.exp, lambda: walk(node.exp, needed), kind)
            arguments = [walk(a, needed) for a in node.args]
            if isinstance(node, sp.Add):
                return reduce(operator.add, arguments)
            if isinstance(node, sp.Mul):
                return reduce(operator.mul, arguments)
            if isinstance(node, sp.And | sp.Or):
                return reduce(operator.and_ if isinstance(node, sp.And) else operator.or_, arguments)
            if isinstance(node, sp.Not):
                return ~arguments[0]
            if node.func in _RELATIONS:
                return _RELATIONS[node.func](arguments[0].real, arguments[1].real)
            if node.func in CALLABLES:
                return CALLABLES[node.func](*arguments)
            raise SpecError(f"the interpreter has no function '{node.func.__name__}'")

        return walk(expr, mask)


def _number(value: sp.Rational, kind: np.dtype[Any]) -> Array:
    if kind.kind == "i":
        if value.q != 1:
            raise InterpretationError(f"{value} is not an integer, in an equation of integers")
        return np.asarray(int(value.p))
    return np.asarray(value.p / value.q, kind)  # Python divides integers with one rounding


def _power(base: Array, exponent: sp.Expr, value: Callable[[], Array], kind: np.dtype[Any]) -> Array:
    if isinstance(exponent, sp.Integer):
        whole = np.power(base, abs(int(exponent))) if exponent != -1 else base
        return np.asarray(whole if exponent > 0 else 1 / whole)
    if isinstance(exponent, sp.Rational) and exponent.q == 2:
        return _power(np.asarray(np.sqrt(base)), sp.Integer(exponent.p), value, kind)
    return np.asarray(np.power(base, value()))

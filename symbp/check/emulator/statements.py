"""Statements of kernels as closures over a frame.

A condition that differs between threads narrows the mask for the statements below it; `return`, `break` and `continue`
take threads out of it. A loop turns as long as one thread wants another turn.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from types import FunctionType

import numpy as np

from symbp.check.emulator.arrays import Pointer, View, flat, store
from symbp.check.emulator.expressions import ExpressionTranslator, describe, read_element
from symbp.check.emulator.frame import MISSING, Frame, Loop, Site
from symbp.check.emulator.lanes import Mask
from symbp.check.emulator.local import LocalArray
from symbp.check.emulator.routine import Expression, Routine, Step, defaults_of, read_source
from symbp.check.emulator.values import Value, blend, is_number, is_vector, truth, widen

Assign = Callable[[Frame, Value], None]

# A loop that has turned so often waits for something that never happens.
MOST_TURNS = 10_000_000


class Library:
    """The routines of the functions that kernels call, each translated once."""

    def __init__(self) -> None:
        self._routines: dict[FunctionType, Routine] = {}

    def find(self, function: FunctionType) -> Routine:
        """The routine of a function."""
        routine = self._routines.get(function)
        if routine is None:
            routine = self._routines[function] = self._translate(function)
        return routine

    def _translate(self, function: FunctionType) -> Routine:
        source = read_source(function)
        arguments = source.tree.args
        if arguments.vararg or arguments.kwarg or arguments.kwonlyargs or arguments.posonlyargs:
            raise source.unsupported(source.tree, "parameters with * or / are not emulated")
        parameters = tuple(argument.arg for argument in arguments.args)
        body = StatementTranslator(ExpressionTranslator(source, self.find)).block(source.tree.body)
        return Routine(source.name, source.file, parameters, defaults_of(function, parameters), body)


class StatementTranslator:
    """Makes closures of the statements of one function."""

    def __init__(self, expressions: ExpressionTranslator) -> None:
        self.source = expressions.source
        self.expressions = expressions
        self.expression = expressions.expression

    def block(self, nodes: list[ast.stmt]) -> Step:
        """Statements one after the other, until no thread is left."""
        steps = [step for node in nodes if (step := self.statement(node)) is not None]

        def run(frame: Frame) -> None:
            for step in steps:
                step(frame)
                if not frame.mask.count:
                    return

        return run

    def statement(self, node: ast.stmt) -> Step | None:
        """The closure of a statement; None for one that does nothing."""
        if isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            return None
        method = getattr(self, f"_{type(node).__name__.lower()}", None)
        if method is None:
            raise self.source.unsupported(
                node, f"the statement '{ast.unparse(node)}' is not Python that kernels may use"
            )
        step: Step = method(node)
        return step

    def _expr(self, node: ast.Expr) -> Step:
        inner, line = node.value, node.lineno
        value = self.expressions.call(inner, ignored=True) if isinstance(inner, ast.Call) else self.expression(inner)

        def run(frame: Frame) -> None:
            frame.line = line
            value(frame)

        return run

    # Assignments.

    def _assign(self, node: ast.Assign) -> Step:
        first = node.targets[0]
        value = self.expression(node.value, first.id if isinstance(first, ast.Name) else "")
        targets, line = [self.target(target) for target in node.targets], node.lineno

        def run(frame: Frame) -> None:
            frame.line = line
            result = value(frame)
            for target in targets:
                target(frame, result)

        return run

    def _annassign(self, node: ast.AnnAssign) -> Step | None:
        if node.value is None:
            return None
        return self._assign(ast.copy_location(ast.Assign([node.target], node.value), node))

    def _augassign(self, node: ast.AugAssign) -> Step:
        value, line = self.expression(node.value), node.lineno
        compute = self.expressions.operation(node.op, node)
        if isinstance(node.target, ast.Subscript):
            owner = self.expression(node.target.value)
            subscripts = self.expressions.subscripts(node.target.slice)
            site = self.expressions.site(node.target)

            def update(frame: Frame) -> None:
                frame.line = line
                array, place = owner(frame), subscripts(frame)
                result = compute(frame, read_element(frame, array, place, site), value(frame))
                write_element(frame, array, place, result, site)

            return update
        if not isinstance(node.target, ast.Name):
            raise self.source.unsupported(node, f"{ast.unparse(node)} is not emulated")
        read = self.expression(ast.copy_location(ast.Name(node.target.id, ast.Load()), node.target))
        assign = self.target(node.target)

        def run(frame: Frame) -> None:
            frame.line = line
            assign(frame, compute(frame, read(frame), value(frame)))

        return run

    def target(self, node: ast.expr) -> Assign:
        """How a value is given to a name, an element, or several of them."""
        if isinstance(node, ast.Name):
            return assign_name(node.id)
        if isinstance(node, ast.Subscript):
            owner, subscripts = self.expression(node.value), self.expressions.subscripts(node.slice)
            site = self.expressions.site(node)
            return lambda frame, value: write_element(frame, owner(frame), subscripts(frame), value, site)
        if isinstance(node, ast.Tuple):
            targets = [self.target(item) for item in node.elts]

            def unpack(frame: Frame, value: Value) -> None:
                if not isinstance(value, tuple) or len(value) != len(targets):
                    found = f"a tuple of {len(value)}" if isinstance(value, tuple) else describe(value)
                    raise frame.error(f"{len(targets)} names are given {found}")
                for target, item in zip(targets, value, strict=True):
                    target(frame, item)

            return unpack
        raise self.source.unsupported(node, f"{ast.unparse(node)} cannot be assigned to")

    # Control flow.

    def _return(self, node: ast.Return) -> Step:
        value = None if node.value is None else self.expression(node.value)
        line = node.lineno

        def run(frame: Frame) -> None:
            frame.line = line
            mask = frame.mask
            if value is not None:
                result = value(frame)
                if frame.result is not MISSING:
                    try:
                        result = blend(mask.lanes, result, frame.result)
                    except TypeError:
                        raise frame.error("threads return values that cannot stand side by side") from None
                frame.result = result
            frame.returned.append((line, mask))
            frame.alive -= mask.count
            frame.mask = frame.batch.none

        return run

    def _if(self, node: ast.If) -> Step:
        test, line = self.expression(node.test), node.lineno
        body, orelse = self.block(node.body), self.block(node.orelse) if node.orelse else None

        def run(frame: Frame) -> None:
            frame.line = line
            condition = truth(test(frame))
            if not is_vector(condition):
                if condition:
                    body(frame)
                elif orelse is not None:
                    orelse(frame)
                return
            outer = frame.mask
            yes = outer.narrow(condition)
            if yes.count == outer.count:
                body(frame)
                return
            if not yes.count:
                if orelse is not None:
                    orelse(frame)
                return
            no = outer.without(condition)
            frame.mask = yes
            body(frame)
            after = frame.mask
            if orelse is not None:
                frame.mask = no
                orelse(frame)
                no = frame.mask
            # Most often all come back: then the mask is the one from before, with what it has worked out.
            frame.mask = outer if after.count + no.count == outer.count else after.join(no)

        return run

    def _while(self, node: ast.While) -> Step:
        if node.orelse:
            raise self.source.unsupported(node, "while .. else is not emulated")
        test, body, line = self.expression(node.test), self.block(node.body), node.lineno

        def turn(frame: Frame, number: int) -> Value:
            frame.line = line
            if number >= MOST_TURNS:
                raise frame.error(f"the loop has turned {MOST_TURNS} times and does not end")
            return truth(test(frame))

        return self._loop(turn, body)

    def _loop(self, turn: Callable[[Frame, int], Value], body: Step) -> Step:
        """Turn as long as a thread holds the condition `turn(frame, number of the turn)`."""

        def run(frame: Frame) -> None:
            outer = frame.mask
            loop = Loop(frame.batch.none)
            frame.loops.append(loop)
            left: Mask = frame.batch.none
            number = 0
            while True:
                condition = turn(frame, number)
                mask = frame.mask
                if not is_vector(condition):
                    if not condition:
                        left = left.join(mask)
                        break
                else:
                    going = mask.narrow(condition)
                    if going.count != mask.count:
                        left = left.join(mask.without(condition))
                        frame.mask = going
                        if not going.count:
                            break
                body(frame)
                if loop.continued.count:
                    frame.mask = frame.mask.join(loop.continued)
                    loop.continued = frame.batch.none
                number += 1
                if not frame.mask.count:
                    break
            frame.loops.pop()
            left = left.join(loop.broken)
            frame.mask = outer if left.count == outer.count else left

        return run

    def _for(self, node: ast.For) -> Step:
        if node.orelse:
            raise self.source.unsupported(node, "for .. else is not emulated")
        body, assign, line = self.block(node.body), self.target(node.target), node.lineno
        iterated = node.iter
        if isinstance(iterated, ast.Call) and self.source.resolve(iterated.func) is range and not iterated.keywords:
            return self._for_range([self.expression(bound) for bound in iterated.args], assign, body, line)
        items = self.expression(iterated)

        def run(frame: Frame) -> None:
            frame.line = line
            values = items(frame)
            if not isinstance(values, tuple):
                raise frame.error(f"a loop runs over range() or a tuple, not over {describe(values)}")

            def turn(frame: Frame, number: int) -> Value:
                if number == len(values):
                    return np.bool_(False)
                frame.line = line
                assign(frame, values[number])
                return np.bool_(True)

            self._loop(turn, body)(frame)

        return run

    def _for_range(self, bounds: list[Expression], assign: Assign, body: Step, line: int) -> Step:
        def run(frame: Frame) -> None:
            frame.line = line
            values = [bound(frame) for bound in bounds]
            if any(not is_number(value) or value.dtype.kind not in "iu" for value in values):
                raise frame.error("the bounds of range() must be whole numbers")
            start, stop = values[:2] if len(values) > 1 else (np.int64(0), values[0])
            step = values[2] if len(values) > 2 else np.int64(1)
            if not np.all(frame.mask.pick(step != 0)):
                raise frame.error("the step of range() is 0")
            start, stop = widen(start, stop)
            start, step = widen(start, step)
            rising = step > 0

            def turn(frame: Frame, number: int) -> Value:
                frame.line = line
                here = start + np.int64(number) * step
                if is_vector(rising):
                    wanted = np.where(rising, here < stop, here > stop)
                else:
                    wanted = here < stop if rising else here > stop
                if is_vector(wanted):
                    outer = frame.mask
                    frame.mask = outer.narrow(wanted)
                    if frame.mask.count:
                        assign(frame, here)
                    frame.mask = outer
                elif wanted:
                    assign(frame, here)
                return wanted

            self._loop(turn, body)(frame)

        return run

    def _break(self, node: ast.Break) -> Step:
        def run(frame: Frame) -> None:
            loop = frame.loops[-1]
            loop.broken = loop.broken.join(frame.mask)
            frame.mask = frame.batch.none

        return run

    def _continue(self, node: ast.Continue) -> Step:
        def run(frame: Frame) -> None:
            loop = frame.loops[-1]
            loop.continued = loop.continued.join(frame.mask)
            frame.mask = frame.batch.none

        return run


def assign_name(name: str) -> Assign:
    """Give a variable a value in the active threads; the others keep theirs."""

    def assign(frame: Frame, value: Value) -> None:
        mask = frame.mask
        if mask.count == frame.alive:
            frame.partly.pop(name, None)
        else:
            old = frame.variables.get(name, MISSING)
            if old is MISSING:
                frame.partly[name] = mask.lanes
            else:
                if name in frame.partly:
                    frame.partly[name] = frame.partly[name] | mask.lanes
                try:
                    value = blend(mask.lanes, value, old)
                except TypeError:
                    raise frame.error(
                        f"'{name}' cannot be {describe(value)} in some threads and {describe(old)} in others"
                    ) from None
        frame.variables[name] = value

    return assign


def write_element(frame: Frame, owner: Value, subscripts: tuple[Value, ...], value: Value, site: Site) -> None:
    """``owner[subscripts] = value`` in the active threads."""
    if not is_number(value):
        raise frame.error(f"{site.text} is given {describe(value)}, not a number")
    if isinstance(owner, Pointer):
        owner = flat(frame, owner)
    if isinstance(owner, View):
        store(frame, owner, subscripts, value, site)
    elif isinstance(owner, LocalArray):
        owner.store(frame, subscripts, value, site)
    else:
        raise frame.error(f"{site.text}: {describe(owner)} has no elements")

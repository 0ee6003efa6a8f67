"""Expressions of kernels as closures: each gives its value in the active threads of a frame.

The right sides of ``and``, ``or`` and conditional expressions are evaluated only for the threads that need them, so
that they may guard a load.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable
from types import FunctionType
from typing import Any

import numpy as np

from symbp.check.emulator import cuda_names
from symbp.check.emulator.arrays import Pointer, View, first_lane, flat, load, select
from symbp.check.emulator.frame import MISSING, Frame, Site
from symbp.check.emulator.local import LocalArray
from symbp.check.emulator.primitives import BUILTINS, INTRINSICS, MATH, Primitive, convert
from symbp.check.emulator.routine import CudaName, Expression, Routine, Source
from symbp.check.emulator.values import (
    ARITHMETIC,
    COMPARISONS,
    Value,
    blend,
    constant,
    invert,
    is_number,
    is_vector,
    negate,
    truth,
)

Find = Callable[[FunctionType], Routine]


class ExpressionTranslator:
    """Makes closures of the expressions of one function; `find` gives the routines of the functions it calls."""

    def __init__(self, source: Source, find: Find) -> None:
        self.source = source
        self.find = find

    def site(self, node: ast.expr, target: str = "", ignored: bool = False) -> Site:
        return Site(self.source.name, self.source.file, node.lineno, ast.unparse(node), target, ignored)

    def expression(self, node: ast.expr, target: str = "") -> Expression:
        """The closure of an expression; `target` is the name that its value is given."""
        if isinstance(node, ast.Call):
            return self.call(node, target)
        method = getattr(self, f"_{type(node).__name__.lower()}", None)
        if method is None:
            raise self.source.unsupported(node, f"{ast.unparse(node)} is not Python that kernels may use")
        closure: Expression = method(node)
        return closure

    def _constant(self, node: ast.Constant) -> Expression:
        value = constant(node.value)
        return lambda frame: value

    def _name(self, node: ast.Name) -> Expression:
        name = node.id
        if name not in self.source.assigned:
            return self._static(node)

        def read(frame: Frame) -> Value:
            try:
                value = frame.variables[name]
            except KeyError:
                raise frame.error(f"'{name}' is read before it is set") from None
            if frame.partly and name in frame.partly:
                lane = first_lane(frame, ~frame.partly[name])
                if lane is not None:
                    raise frame.error(f"'{name}' is read before it is set", lane=lane)
            return value

        return read

    def _static(self, node: ast.expr) -> Expression:
        value = self.source.resolve(node)
        if isinstance(value, CudaName):
            attribute = cuda_names.ATTRIBUTES.get(value.path)
            if attribute is None:
                raise self.source.unsupported(node, f"cuda.{value.path} is not emulated")
            return attribute
        value = constant(value)
        return lambda frame: value

    def _attribute(self, node: ast.Attribute) -> Expression:
        if self.source.resolve(node) is not MISSING:
            return self._static(node)
        name = node.attr
        if name not in ("shape", "size", "ndim", "dtype"):
            raise self.source.unsupported(node, f"the attribute {ast.unparse(node)} is not emulated")
        owner = self.expression(node.value)

        def read(frame: Frame) -> Value:
            value = owner(frame)
            if not isinstance(value, View | LocalArray):
                raise frame.error(f"{type(value).__name__} has no '{name}'")
            return getattr(value, name)

        return read

    def _tuple(self, node: ast.Tuple) -> Expression:
        items = [self.expression(item) for item in node.elts]
        return lambda frame: tuple(item(frame) for item in items)

    def subscripts(self, node: ast.expr) -> Callable[[Frame], tuple[Value, ...]]:
        if isinstance(node, ast.Tuple):
            items = [self.expression(item) for item in node.elts]
            return lambda frame: tuple(item(frame) for item in items)
        single = self.expression(node)

        def one(frame: Frame) -> tuple[Value, ...]:
            value = single(frame)
            return value if isinstance(value, tuple) else (value,)

        return one

    def _subscript(self, node: ast.Subscript) -> Expression:
        owner, subscripts, site = self.expression(node.value), self.subscripts(node.slice), self.site(node)

        def read(frame: Frame) -> Value:
            return read_element(frame, owner(frame), subscripts(frame), site)

        return read

    def _binop(self, node: ast.BinOp) -> Expression:
        left, right = self.expression(node.left), self.expression(node.right)
        compute = self.operation(node.op, node)
        return lambda frame: compute(frame, left(frame), right(frame))

    def operation(self, operator: ast.operator, node: ast.AST) -> Callable[[Frame, Value, Value], Value]:
        """A binary operation, of numbers only."""
        kind = type(operator).__name__
        compute = ARITHMETIC.get(kind)
        if compute is None:
            raise self.source.unsupported(node, f"the operator {kind} is not emulated")
        text = ast.unparse(node)
        if kind in ("FloorDiv", "Mod"):

            def divide(frame: Frame, a: Value, b: Value) -> Value:
                if is_number(b) and b.dtype.kind in "iu":
                    lane = first_lane(frame, b == 0)
                    if lane is not None:
                        raise frame.error(f"division by zero: {text}", lane=lane)
                return apply(frame, a, b)

        def apply(frame: Frame, a: Value, b: Value) -> Value:
            try:
                return compute(a, b)
            except (AttributeError, TypeError):
                raise frame.error(f"{text} is not defined for {describe(a)} and {describe(b)}") from None

        return divide if kind in ("FloorDiv", "Mod") else apply

    def _unaryop(self, node: ast.UnaryOp) -> Expression:
        operand = self.expression(node.operand)
        if isinstance(node.op, ast.Not):
            return lambda frame: np.logical_not(truth(operand(frame)))
        if isinstance(node.op, ast.USub):
            return lambda frame: negate(operand(frame))
        if isinstance(node.op, ast.Invert):
            return lambda frame: invert(operand(frame))
        return operand

    def _compare(self, node: ast.Compare) -> Expression:
        operands = [self.expression(operand) for operand in (node.left, *node.comparators)]
        names = [type(operator).__name__ for operator in node.ops]
        if any(name not in COMPARISONS for name in names):
            raise self.source.unsupported(node, f"{ast.unparse(node)} is not emulated")
        if len(names) == 1:
            compare = COMPARISONS[names[0]]
            left, right = operands
            return lambda frame: compare(left(frame), right(frame))

        def chain(frame: Frame) -> Value:
            values = [operand(frame) for operand in operands]
            result: Value = np.bool_(True)
            for name, a, b in zip(names, values[:-1], values[1:], strict=True):
                result = result & COMPARISONS[name](a, b)
            return result

        return chain

    def _boolop(self, node: ast.BoolOp) -> Expression:
        first, *others = (self.expression(operand) for operand in node.values)
        conjunction = isinstance(node.op, ast.And)

        def evaluate(frame: Frame) -> Value:
            result = truth(first(frame))
            for other in others:
                if not is_vector(result):
                    if bool(result) != conjunction:
                        return result
                    result = truth(other(frame))
                    continue
                outer = frame.mask
                frame.mask = outer.narrow(result) if conjunction else outer.without(result)
                if frame.mask.count:
                    right = truth(other(frame))
                    result = result & right if conjunction else result | right
                frame.mask = outer
            return result

        return evaluate

    def _ifexp(self, node: ast.IfExp) -> Expression:
        test, yes, no = self.expression(node.test), self.expression(node.body), self.expression(node.orelse)
        text = ast.unparse(node)

        def evaluate(frame: Frame) -> Value:
            condition = truth(test(frame))
            if not is_vector(condition):
                return yes(frame) if condition else no(frame)
            outer = frame.mask
            first, second = outer.narrow(condition), outer.without(condition)
            a: Value = MISSING
            b: Value = MISSING
            if first.count:
                frame.mask = first
                a = yes(frame)
            if second.count:
                frame.mask = second
                b = no(frame)
            frame.mask = outer
            if a is MISSING or b is MISSING:
                return b if a is MISSING else a
            try:
                return blend(condition, a, b)
            except TypeError:
                raise frame.error(f"{text} chooses between values that threads cannot choose between") from None

        return evaluate

    # Calls.

    def call(self, node: ast.Call, target: str = "", *, ignored: bool = False) -> Expression:
        """The closure of a call; `ignored` where its value is not used."""
        arguments = [self.expression(argument) for argument in node.args]
        named = {word.arg: self.expression(word.value) for word in node.keywords if word.arg is not None}
        site = self.site(node, target, ignored)
        callee = self.source.resolve(node.func)
        if callee is MISSING:
            return self._dynamic_call(node, arguments, site)
        primitive = find_primitive(callee)
        if primitive is not None:
            run = primitive

            def call_primitive(frame: Frame) -> Value:
                values = [argument(frame) for argument in arguments]
                try:
                    return run(frame, site, *values, **{name: value(frame) for name, value in named.items()})
                except (AttributeError, TypeError) as error:
                    raise frame.error(f"{site.text}: {error}") from error

            return call_primitive
        function = getattr(callee, "py_func", callee)
        if not isinstance(function, FunctionType):
            raise self.source.unsupported(node, f"{ast.unparse(node.func)} is not emulated")
        find = self.find

        def call_routine(frame: Frame) -> Value:
            values = tuple(argument(frame) for argument in arguments)
            return find(function).call(frame, values, {name: value(frame) for name, value in named.items()})

        return call_routine

    def _dynamic_call(self, node: ast.Call, arguments: list[Expression], site: Site) -> Expression:
        """``type(x)(0)``, and ``x.view(np.int32)``: the bits of a number as another type."""
        if isinstance(node.func, ast.Attribute) and node.func.attr == "view" and len(arguments) == 1:
            owner, kind = self.expression(node.func.value), arguments[0]
            return lambda frame: owner(frame).view(kind(frame))
        callee = self.expression(node.func)

        def call(frame: Frame) -> Value:
            kind = callee(frame)
            if not (isinstance(kind, type) and issubclass(kind, np.generic)):
                raise frame.error(f"{site.text} calls something that is not a function")
            return convert(kind)(frame, site, *(argument(frame) for argument in arguments))

        return call


_MATH = {getattr(math, name): primitive for name, primitive in MATH.items()}


def find_primitive(callee: Any) -> Primitive | None:
    """What stands in for a function that is not run from its source."""
    if isinstance(callee, CudaName):
        return cuda_names.CALLS.get(callee.path)
    if isinstance(callee, type) and issubclass(callee, np.generic):
        return convert(callee)
    name = getattr(callee, "__name__", "")
    module = getattr(callee, "__module__", None) or ""
    # Where numba-cuda is not installed, a stub of the module kernel stands in for an intrinsic.
    if module.rpartition(".")[2] in ("views", "kernel") and name in INTRINSICS:
        return INTRINSICS[name]
    if module.startswith("numba") and hasattr(callee, "bitwidth"):
        return convert(np.dtype(str(callee)).type)
    try:
        return BUILTINS.get(callee) or _MATH.get(callee)
    except TypeError:  # not hashable, so none of ours
        return None


def read_element(frame: Frame, owner: Value, subscripts: tuple[Value, ...], site: Site) -> Value:
    """``owner[subscripts]``: a number, or an array of the axes that remain, or an item of a tuple."""
    if isinstance(owner, Pointer):
        owner = flat(frame, owner)
    if isinstance(owner, View):
        if len(subscripts) < len(owner.shape):
            return select(frame, owner, subscripts, site)
        return load(frame, owner, subscripts, site)
    if isinstance(owner, LocalArray):
        return owner.load(frame, subscripts, site)
    if isinstance(owner, tuple) and len(subscripts) == 1 and not is_vector(subscripts[0]):
        number = int(subscripts[0])
        if not -len(owner) <= number < len(owner):
            raise frame.error(f"{site.text}: the tuple has {len(owner)} items")
        return owner[number]
    raise frame.error(f"{site.text}: {describe(owner)} cannot be subscripted so")


def describe(value: Value) -> str:
    if is_number(value):
        return str(value.dtype)
    return {View: "an array", LocalArray: "an array", Pointer: "a pointer", tuple: "a tuple"}.get(
        type(value), type(value).__name__
    )

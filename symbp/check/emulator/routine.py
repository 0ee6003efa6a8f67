"""Python functions of kernels as something that can be run for many threads at once.

A function's source is read, and every node of its syntax tree becomes one Python closure over a :class:`Frame`: no
text is executed. Names that the function does not assign are looked up once, when it is first called.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import linecache
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from types import FunctionType, ModuleType
from typing import Any

from symbp.check.emulator.errors import EmulatorError, UnsupportedError
from symbp.check.emulator.frame import MISSING, Frame, Run
from symbp.check.emulator.lanes import Mask
from symbp.check.emulator.values import Value, constant

Step = Callable[[Frame], None]
Expression = Callable[[Frame], Value]


@dataclass(frozen=True)
class CudaName:
    """``cuda.threadIdx.x``: a name below the cuda module."""

    path: str


@dataclass(frozen=True, eq=False)
class Routine:
    """A function that can be called for the active threads of a frame."""

    name: str
    file: str
    parameters: tuple[str, ...]
    defaults: dict[str, Value]
    body: Step

    def call(self, frame: Frame, arguments: tuple[Value, ...], named: dict[str, Value]) -> Value:
        """What the function returns in the active threads; nothing where it returns nothing."""
        inner = Frame(frame.run, self.name, self.file, frame.mask, frame)
        self._run(inner, arguments, named)
        return None if inner.result is MISSING else inner.result

    def start(self, run: Run, mask: Mask, arguments: tuple[Value, ...]) -> None:
        """Run it as a kernel."""
        self._run(Frame(run, self.name, self.file, mask, None), arguments, {})

    def _run(self, frame: Frame, arguments: tuple[Value, ...], named: dict[str, Value]) -> None:
        caller = frame.caller or frame
        if len(arguments) > len(self.parameters) or any(name not in self.parameters for name in named):
            raise caller.error(f"{self.name}() takes {', '.join(self.parameters)}, but is given more")
        variables = {**self.defaults, **dict(zip(self.parameters, arguments, strict=False)), **named}
        missing = [name for name in self.parameters if name not in variables]
        if missing:
            raise caller.error(f"{self.name}() is called without {', '.join(missing)}")
        frame.variables.update(variables)
        self.body(frame)


@dataclass(frozen=True, eq=False)
class Source:
    """A function's syntax tree and the names it can see."""

    function: FunctionType
    tree: ast.FunctionDef
    file: str
    assigned: frozenset[str]
    outer: dict[str, Any]

    @property
    def name(self) -> str:
        return self.tree.name

    def resolve(self, node: ast.expr) -> Any:
        """What a name that the function does not assign, or an attribute of one, stands for; MISSING for others."""
        if isinstance(node, ast.Name):
            if node.id in self.assigned:
                return MISSING
            for names in (self.outer, self.function.__globals__, vars(builtins)):
                if node.id in names:
                    return as_cuda(names[node.id])
            raise self.unsupported(node, f"the name '{node.id}' is not defined")
        if isinstance(node, ast.Attribute):
            owner = self.resolve(node.value)
            if isinstance(owner, CudaName):
                return CudaName(f"{owner.path}.{node.attr}".lstrip("."))
            if isinstance(owner, ModuleType | type):
                return as_cuda(getattr(owner, node.attr, MISSING))
        return MISSING

    def unsupported(self, node: ast.AST, message: str) -> EmulatorError:
        return UnsupportedError(message, place=f"{self.file}:{getattr(node, 'lineno', 0)} in {self.name}")


def as_cuda(value: Any) -> Any:
    if isinstance(value, ModuleType) and value.__name__.rpartition(".")[2] == "cuda":
        return CudaName("")
    return value


def read_source(function: FunctionType) -> Source:
    """Read a function's text from its file.

    Raises EmulatorError where there is none, or where it is not a plain function.
    """
    file = function.__code__.co_filename
    linecache.checkcache(file)
    try:
        lines, first = inspect.getsourcelines(function)
    except OSError:
        raise UnsupportedError(f"the source of '{function.__name__}' is not to be found", place=file) from None
    tree = ast.parse(textwrap.dedent("".join(lines)))
    ast.increment_lineno(tree, first - 1)
    definition = tree.body[0]
    if not isinstance(definition, ast.FunctionDef):
        raise UnsupportedError(f"'{function.__name__}' is not a plain function", place=f"{file}:{first}")
    assigned = {argument.arg for argument in definition.args.args}
    assigned |= {
        node.id for node in ast.walk(definition) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    outer = {name: cell.cell_contents for name, cell in cells}
    return Source(function, definition, file, frozenset(assigned), outer)


def defaults_of(function: FunctionType, parameters: tuple[str, ...]) -> dict[str, Value]:
    values = function.__defaults__ or ()
    return {
        name: constant(value) for name, value in zip(parameters[len(parameters) - len(values) :], values, strict=True)
    }

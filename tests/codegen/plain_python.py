"""Generated kernels without Numba: the very source, run by Python over NumPy, in memory that was filled with rubbish.

    kernels = PlainKernels(plan)
    loss, gradients = kernels.loss_and_grad({"n": 7}, feed)

Compiled code forgives much. Here nothing is forgiven: a subscript below 0 or beyond its axis, a slice that leaves its
array, a matrix product that writes to what it reads, a reshape that would need a copy, a view beyond its memory. The
workspace holds NaN at the start and the positions a number no array can be indexed with, so that memory that is read
before it is set shows in the result.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from symbp.check.feeds import size_value
from symbp.codegen import CPU, emit
from symbp.ir import DType
from symbp.ir.plan import CHUNKS, Memory, Plan
from symbp.runtime.shares import chunk_count, share
from symbp.runtime.subscripts import Subscripts

RUBBISH = -(10**15)


class Strict(np.ndarray):
    """An array that takes only subscripts within its bounds."""

    def __getitem__(self, key: Any) -> Any:
        return super().__getitem__(self._checked(key))

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(self._checked(key), value)

    def _checked(self, key: Any) -> Any:
        parts = key if isinstance(key, tuple) else (key,)
        assert len(parts) <= self.ndim, f"{len(parts)} subscripts for an array of shape {self.shape}"
        for part, extent in zip(parts, self.shape, strict=False):
            if isinstance(part, slice):
                start = 0 if part.start is None else part.start
                stop = extent if part.stop is None else part.stop
                assert part.step is None, f"slice {part}"
                assert 0 <= start <= stop <= extent, f"slice {part} of an axis of {extent}"
            else:
                assert isinstance(part, int | np.integer), f"subscript {part!r}"
                assert 0 <= part < extent, f"subscript {part} of an axis of {extent}"
        return key

    def reshape(self, *shape: Any, **options: Any) -> Any:
        result = super().reshape(*shape, **options)
        assert result.size == 0 or np.shares_memory(result, self), "a reshape that copies"
        return result


def view(flat: Any, start: int, shape: tuple[int, ...]) -> Any:
    count = math.prod(shape)
    assert start in range(flat.size - count + 1), f"view {start} + {count} of {flat.size}"
    return flat.reshape(-1)[start : start + count].reshape(shape)


def matmul(a: Any, b: Any, c: Any) -> None:
    assert not any(np.shares_memory(c, part) for part in (a, b)), "a product that writes to what it reads"
    assert c.shape == (a.shape[0], b.shape[1]), f"{a.shape} @ {b.shape} to {c.shape}"
    np.copyto(c, np.asarray(a) @ np.asarray(b))


def matmul_add(a: Any, b: Any, c: Any) -> None:
    before = np.array(c)
    matmul(a, b, c)
    np.add(c, before, out=c)


def matmul_lower(a: Any, b: Any, c: Any, shift: int) -> None:
    before = np.array(c)
    matmul(a, b, c)
    np.copyto(c, np.where(np.tri(*c.shape, shift, dtype=bool), c, before))


def matmul_of_lower(a: Any, b: Any, c: Any, shift: int) -> None:
    matmul(np.where(np.tri(*a.shape, shift, dtype=bool), a, 0.0), b, c)


def matmul_of_upper(a: Any, b: Any, c: Any, shift: int) -> None:
    matmul(np.where(np.tri(*a.shape, shift - 1, dtype=bool), 0.0, a), b, c)


def _adding(product: Callable[..., None]) -> Callable[..., None]:
    def add(a: Any, b: Any, c: Any, shift: int) -> None:
        made = np.zeros_like(c)
        product(a, b, made, shift)
        np.add(c, made, out=c)

    return add


def _sliding(adds: bool) -> Callable[..., None]:
    """``convolve`` and ``correlate`` alike: every index beside every other, and the sum over those that `out` lacks."""

    def run(text: str, left: Any, right: Any, out: Any) -> None:
        subscripts = Subscripts.read(text)
        arrays = [np.asarray(a) for a in (left, right, out)]
        assert [len(s) for s in subscripts.arrays] == [a.ndim for a in arrays], f"{text}: {[a.shape for a in arrays]}"
        names = subscripts.indices
        extents = {}
        for array, part in zip(arrays, subscripts.arrays, strict=True):
            for extent, subscript in zip(array.shape, part, strict=True):
                assert extents.setdefault(subscript.alone, extent) == extent or subscript.alone is None, text
        values = dict(zip(names, np.indices([extents[n] for n in names]), strict=True))
        product: Any = 1.0
        for array, part in zip(arrays[:2], subscripts.arrays[:2], strict=True):
            at = [s.shift + sum(factor * values[n] for n, factor in s.factors.items()) for s in part]
            inside = np.logical_and.reduce([(k >= 0) & (k < n) for k, n in zip(at, array.shape, strict=True)])
            safe = [np.clip(k, 0, n - 1) for k, n in zip(at, array.shape, strict=True)]
            product = product * np.where(inside, array[tuple(safe)], 0.0)
        made = [s.alone for s in subscripts.arrays[2]]
        kept = [n for n in names if n in made]
        total = product.sum(axis=tuple(k for k, n in enumerate(names) if n not in made))
        total = np.transpose(total, [kept.index(n) for n in made])
        np.copyto(out, total + out if adds else total)

    return run


def _sigmoid(x: Any) -> Any:
    decay = np.exp(-abs(x))
    return (1.0 if x >= 0 else decay) / (1.0 + decay)


#: What the kernels import of the runtime, in other words.
RUNTIME: dict[str, Callable[..., Any]] = {
    "kernel": lambda function=None, **options: (lambda decorated: decorated) if function is None else function,
    "piece": lambda function: function,
    "prange": range,
    "share": share.py_func,
    "chunk_count": chunk_count,
    "view": view,
    "apart": lambda index: index,
    "rolled": lambda extent: extent,
    "convolve": _sliding(adds=False),
    "convolve_add": _sliding(adds=True),
    "correlate": _sliding(adds=False),
    "correlate_add": _sliding(adds=True),
    "matmul": matmul,
    "matmul_add": matmul_add,
    "matmul_lower": matmul_lower,
    "matmul_of_lower": matmul_of_lower,
    "matmul_of_upper": matmul_of_upper,
    "matmul_add_lower": _adding(matmul_lower),
    "matmul_add_of_lower": _adding(matmul_of_lower),
    "matmul_add_of_upper": _adding(matmul_of_upper),
    "sigmoid": _sigmoid,
    "tanh": np.tanh,
    "dsigmoid": lambda x: _sigmoid(x) * _sigmoid(-x),
    "sech2": lambda x: 1.0 / np.cosh(x) ** 2,
    "relu": lambda x: x if not x <= 0 else x * 0,
    "step": lambda x: np.float64(x > 0),
    "softplus": lambda x: np.logaddexp(x, 0.0),
    "log1p": np.log1p,
    "expm1": np.expm1,
    "sqrt": np.sqrt,
    "square": lambda x: x * x,
    "cube": lambda x: x * x * x,
    "safe_div": lambda a, b: np.float64(0.0) if b == 0 else a / b,
    "sign": np.sign,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "floor": np.floor,
    "exp": np.exp,
    "log": np.log,
    "sin": np.sin,
    "cos": np.cos,
    "erf": lambda x: np.float64(math.erf(x)),
    "erfc": lambda x: np.float64(math.erfc(x)),
}


class _NumPyNumbers(ast.NodeTransformer):
    """Python raises where NumPy and Numba give infinity, so literals are NumPy's too."""

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        if not isinstance(node.value, float):
            return node
        return ast.Call(ast.Name("real", ast.Load()), [node], [])


def kernel_source(plan: Plan, dtype: str = "float64") -> str:
    """The text of kernels.py."""
    files = emit(plan, CPU, dtype=dtype, spec_hash="0" * 64, equations="", standalone=False)
    return files["kernels.py"]


def load_plain(source: str) -> dict[str, Any]:
    """The functions of a kernel file, uncompiled."""
    tree = ast.parse(source)
    names = [a.name for n in tree.body if isinstance(n, ast.ImportFrom) for a in n.names]
    tree.body = [n for n in tree.body if not isinstance(n, ast.ImportFrom)]
    space: dict[str, Any] = {name: RUNTIME[name] for name in names}
    tree = ast.fix_missing_locations(_NumPyNumbers().visit(tree))
    exec(compile(tree, "kernels.py", "exec"), space)  # our own output, in a test
    return space


class PlainKernels:
    """The kernels of a plan as Python functions, called with fresh rubbish every time."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.source = kernel_source(plan)
        self.functions = load_plain(self.source)

    def loss_and_grad(self, sizes: Mapping[str, int], feed: Mapping[str, Any]) -> tuple[float, dict[str, Any]]:
        memory = self._memory("train", sizes, feed)
        memory["grads"] = _strict(np.full(self.plan.parameter_count, np.nan))
        before = memory["params"].copy()
        loss = self._call("loss_and_grad_into", memory)
        assert np.array_equal(before, memory["params"]), "the kernels changed the parameters"
        gradients = {
            p.name: np.asarray(memory["grads"])[p.offset : p.offset + p.count].reshape(p.shape)
            for p in self.plan.parameters
        }
        return float(loss), gradients

    def predict(self, sizes: Mapping[str, int], feed: Mapping[str, Any]) -> dict[str, Any]:
        memory = self._memory("predict", sizes, feed)
        for tensor in self.plan.outputs:
            shape = tuple(size_value(e, dict(sizes)) for e in tensor.shape)
            kind = np.int64 if tensor.dtype is DType.INT else np.float64
            memory[tensor.name] = _strict(np.full(shape or (1,), RUBBISH if kind is np.int64 else np.nan, kind))
        self._call("predict_into", memory)
        return {
            t.name: np.asarray(memory[t.name]).reshape(tuple(size_value(e, dict(sizes)) for e in t.shape))
            for t in self.plan.outputs
        }

    def update(self, feed: Mapping[str, Any]) -> dict[str, Any]:
        """One step of the optimizer: `feed` has w, g, the kept vectors, the settings and the count of the step."""
        memory = {name: _strict(np.array(feed[name], np.float64)) for name in ("g", *self.plan.state)}
        memory["grads"], memory["params"] = memory["g"], _strict(np.array(feed["w"], np.float64))
        memory["numbers"] = _strict(np.array([float(feed[t.name]) for t in self.plan.hyper if t.name != "t"]))
        memory["count"] = _strict(np.array([int(feed.get("t", 0))], np.int64))
        self._call("update", memory)
        found = {name: np.asarray(memory[name]) for name in self.plan.state}
        return {"w": np.asarray(memory["params"]), **found}

    def _memory(self, use: str, sizes: Mapping[str, int], feed: Mapping[str, Any]) -> dict[str, Any]:
        memory: dict[str, Any] = {}
        for tensor in self.plan.inputs:
            kind = np.int64 if tensor.dtype is DType.INT else np.float64
            array = np.array(feed[tensor.name], kind)
            # A scalar input is handed over as a number.
            memory[tensor.name] = _strict(array) if tensor.shape else array[()]
        flat = [np.ravel(np.asarray(feed[p.name], np.float64)) for p in self.plan.parameters]
        memory["params"] = _strict(np.concatenate([*flat, np.empty(0)]))
        cut = self.plan.cuts.get(use)
        known = {**sizes, **({} if cut is None else {CHUNKS.name: cut.chunks(size_value(cut.extent, dict(sizes)))})}
        lengths = {m: size_value(n, known) for m, n in self.plan.workspaces.get(use, {}).items()}
        memory["workspace"] = _strict(np.full(lengths.get(Memory.WORKSPACE, 0), np.nan))
        memory["positions"] = _strict(np.full(lengths.get(Memory.POSITIONS, 0), RUBBISH, np.int64))
        # Two workers: what one leaves in its memory is of no use to the other.
        memory["chunk"] = _strict(np.full((2, lengths.get(Memory.CHUNK, 0)), np.nan))
        memory["chunk_positions"] = _strict(np.full((2, lengths.get(Memory.CHUNK_POSITIONS, 0)), RUBBISH, np.int64))
        return memory

    def _call(self, name: str, memory: Mapping[str, Any]) -> Any:
        function = self.functions[name]
        wanted = function.__code__.co_varnames[: function.__code__.co_argcount]
        with np.errstate(all="ignore"):
            return function(*(memory[_plain_name(w, memory)] for w in wanted))


def _plain_name(argument: str, memory: Mapping[str, Any]) -> str:
    """An input that is called like a function of the runtime has another name in the code: ``exp_2`` for ``exp``."""
    return argument if argument in memory else argument.rpartition("_")[0]


def _strict(array: Any) -> Any:
    return np.ascontiguousarray(array).view(Strict)

"""What every generated kernel file must be: clean, typed, headed by its equations, and nothing in it unused."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest

import symbp as sb
from symbp.codegen.layout import WIDTH
from symbp.explain import text as explain_text
from symbp.pipeline import compile_to_plan
from tests.codegen.awkward_models import MODELS as AWKWARD
from tests.codegen.golden_models import MODELS as GOLDEN

NAMES = [*GOLDEN, *(m.name for m in AWKWARD)]


@cache
def files_of(name: str, dtype: str = "float32") -> dict[str, str]:
    build = GOLDEN[name][0] if name in GOLDEN else next(m.build for m in AWKWARD if m.name == name)
    return sb.emit_model(build(), dtype=dtype, standalone=False)


def kernels_of(name: str, dtype: str = "float32") -> str:
    return files_of(name, dtype)["kernels.py"]


def functions(name: str) -> list[ast.FunctionDef]:
    return [node for node in ast.parse(kernels_of(name)).body if isinstance(node, ast.FunctionDef)]


def test_ruff_finds_nothing(tmp_path: Path) -> None:
    for name in NAMES:
        folder = tmp_path / name.replace(" ", "_")
        folder.mkdir()
        for path, text in files_of(name).items():
            (folder / path).write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--no-cache", "--select", "F,E9", str(tmp_path)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout


@pytest.mark.parametrize("name", NAMES)
def test_no_argument_and_no_view_is_unused(name: str) -> None:
    for function in functions(name):
        arguments = [a.arg for a in function.args.args]
        assigned = [n.id for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
        read = {n.id for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
        unused = [n for n in dict.fromkeys([*arguments, *assigned]) if n not in read]
        # A loop that only repeats does not use its variable.
        repeats = {n.target.id for n in ast.walk(function) if isinstance(n, ast.For) and isinstance(n.target, ast.Name)}
        assert set(unused) <= repeats, f"{function.name} does not use {unused}"


@pytest.mark.parametrize("name", NAMES)
def test_no_view_is_only_written_in_vain(name: str) -> None:
    """What is written to the workspace is read by somebody: here, or in the backward pass."""
    read: set[str] = set()
    written: dict[str, str] = {}
    for function in functions(name):
        places = {
            node.targets[0].id: ast.unparse(node.value.args[0])
            for node in ast.walk(function)
            if isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Name)
            and isinstance(node.value, ast.Call)
            and ast.unparse(node.value.func) == "view"
        }
        for node in ast.walk(function):
            if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
                if isinstance(node.ctx, ast.Load):
                    read.add(node.value.id)
                elif places.get(node.value.id) in ("workspace", "positions"):
                    written[node.value.id] = function.name
            elif isinstance(node, ast.Call) and ast.unparse(node.func).startswith(("matmul", "convolve", "correlate")):
                first = isinstance(node.args[0], ast.Constant)  # the subscripts
                for part in node.args[first : first + 2]:
                    read |= {n.id for n in ast.walk(part) if isinstance(n, ast.Name)}
    assert set(written) <= read, f"never read: {sorted(set(written) - read)}"


@pytest.mark.parametrize("name", NAMES)
def test_every_nest_is_headed_by_an_equation(name: str) -> None:
    for part in re.split(r"\n@(?:kernel|piece)\n", kernels_of(name))[1:]:
        part = part.split("\n\n\n")[0]  # what goes over all chunks only calls others
        header, *blocks = part.split("\n\n")
        function = header.split("(")[0].removeprefix("def ")
        if function in ("loss_and_grad_into", "train_step_into", "train_steps_into"):
            continue
        for block in blocks:
            if not block.strip() or block.strip().startswith("return"):
                continue
            assert re.search(r"^ *# \w+(\[.*\])? \+?= ", block, flags=re.M), f"no equation in {function}:\n{block}"


@pytest.mark.parametrize("name", NAMES)
def test_equations_stand_before_what_they_say(name: str) -> None:
    """The first line after an equation, fills and guards apart, leads to a store to its left side."""
    lines = kernels_of(name).split("\n")
    for number, line in enumerate(lines):
        found = re.match(r" *# (\w+)(\[.*?\])? \+?= ", line)
        if found is None:
            continue
        indent = len(line) - len(line.lstrip())
        block = []
        for following in lines[number + 1 :]:
            if not following.strip() or len(following) - len(following.lstrip()) < indent:
                break
            block.append(following)
        target = re.escape(found.group(1))
        text = "\n".join(block)
        stored_in_place = found.group(1).endswith("_next")  # w_next is stored to w
        assert stored_in_place or re.search(rf"(^ *|, )(view\()?{target}(_\d+)?\b", text, flags=re.M), f"{line}\n{text}"


@pytest.mark.parametrize("name", NAMES)
def test_lines_are_short(name: str) -> None:
    long = [line for line in kernels_of(name).split("\n") if len(line) > WIDTH + 2]
    assert not long, "\n".join(long)


@pytest.mark.parametrize("name", NAMES)
def test_float32_has_no_untyped_number(name: str) -> None:
    """A bare 0.5 beside a float32 makes Numba compute in float64; only ``real(0.5)`` and the update's scalars may."""
    tree = ast.parse(kernels_of(name))
    calls = (n for n in ast.walk(tree) if isinstance(n, ast.Call) and ast.unparse(n.func) == "real")
    typed = {id(part) for n in calls for part in ast.walk(n.args[0])}
    for function in (n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name != "update"):
        for node in ast.walk(function):
            if isinstance(node, ast.Constant) and isinstance(node.value, float):
                assert id(node) in typed, f"{node.value} in line {node.lineno} of {function.name}"
            if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
                whole = [p for p in (node.left, node.right) if isinstance(p, ast.Constant) and isinstance(p.value, int)]
                assert not whole, f"a division of whole numbers in line {node.lineno}"


@pytest.mark.slow
def test_float32_kernels_have_no_double_in_them(tmp_path: Path) -> None:
    """By Numba's own inference, over every variable of every kernel; the update may have its scalars."""
    path = sb.compile_model(GOLDEN["digits"][0](), tmp_path, standalone=False)
    net = sb.load_generated(path)
    x, label = np.zeros((3, 64), np.float32), np.zeros(3, np.int64)
    params = net.init(seed=0)
    net.predict(params, x)
    net.loss_and_grad(params, x, label)
    net.train_step(params, net.optimizer_state(params), x, label)
    doubles: dict[str, set[str]] = {}
    for kernel in ("predict_into", "forward", "backward", "update"):
        function: Any = getattr(net.kernels, kernel)
        assert function.nopython_signatures
        for signature in function.nopython_signatures:
            types = function.overloads[signature.args].type_annotation.typemap
            doubles[kernel] = {str(v) for v, kind in types.items() if kind == numba.float64 and not v.startswith("$")}
    assert doubles["predict_into"] == doubles["forward"] == doubles["backward"] == set()
    assert {re.sub(r"\.\d+$", "", v) for v in doubles["update"]} <= {"learning_rate", "t", "m_bias", "v_bias"}


def test_inputs_may_be_called_as_the_code_calls_its_own() -> None:
    """``real`` and ``view`` are names of every kernel file, ``m`` and ``v`` are the vectors of Adam."""
    model = sb.Model("clash")
    b, j = model.axis("b", "batch"), model.axis("j", 5)
    x, y, m = (model.input(name, b, j) for name in ("real", "view", "m"))
    h = sb.Dense(5, sb.tanh, name="kernel")(x)
    model.output(h)
    model.loss(sb.mse(h, y) + sb.mse(h, m))
    model.optimizer(sb.Adam(learning_rate=0.1))
    files = sb.emit_model(model, standalone=False)
    for path, text in files.items():
        compile(text, path, "exec")
    assert (
        "def train_step_into(\n    params, real_2, view_2, m_2, workspace, grads, m, v, numbers, count\n):"
        in (files["kernels.py"])
    )
    assert "    n_batch = real_2.shape[0]\n" in files["kernels.py"]
    assert "def predict(params: Parameters, real: ArrayLike) -> Array:" in files["__init__.py"]
    assert "    value = kernels.forward(flat, real, view, m, workspace)\n" in files["__init__.py"]


@pytest.mark.slow
def test_training_with_such_names(tmp_path: Path) -> None:
    model = sb.Model("renamed")
    b, j = model.axis("b", "batch"), model.axis("j", 5)
    x, m = model.input("real", b, j), model.input("m", b, j)
    model.loss(sb.mse(sb.Dense(5, sb.tanh)(x), m))
    model.optimizer(sb.Adam(learning_rate=0.05))
    net = sb.load_generated(sb.compile_model(model, tmp_path, standalone=False))
    source = np.random.default_rng(0)
    data = source.normal(size=(7, 5)).astype(np.float32)
    params = net.init(seed=0)
    log = net.fit(params, net.optimizer_state(params), data, np.tanh(data), epochs=60, batch=3, progress=False)
    assert log.loss[-1] < log.loss[0] / 4


@pytest.mark.slow
def test_single_numbers_as_inputs(tmp_path: Path) -> None:
    """Of either type, as an index, as a factor and as a value of its own."""
    model = sb.Model("single")
    n, k = model.axis("n", "batch"), model.axis("k", 5)
    x, kind, scale = model.input("x", n), model.input("kind", dtype="int", below=5), model.input("scale")
    w = model.parameter("w", k)
    y = model.define("y[n]", w[kind] * x[n] * scale + kind)
    model.output(y)
    model.loss(sb.mean((y[n] - 5) ** 2, n))
    model.optimizer(sb.SGD(learning_rate=0.05))
    net = sb.load_generated(sb.compile_model(model, tmp_path, standalone=False))
    params = net.init(seed=0)
    params.w = np.arange(5, dtype=np.float32)
    ones = np.ones(7, np.float32)
    assert np.array_equal(net.predict(params, ones, 2, 1.5), np.full(7, 5, np.float32))
    params.w = np.zeros(5, np.float32)
    log = net.fit(params, net.optimizer_state(params), ones, 2, 1.5, epochs=40, progress=False)
    assert log.loss[-1] < 1e-3 < log.loss[0]
    assert np.count_nonzero(params.w) == 1


@pytest.mark.parametrize("name", ["digits", "lstm", "attention"])
def test_the_equations_are_as_the_report_sets_them_out(name: str) -> None:
    """Their lines are long, and broken by nobody."""
    text = files_of(name)["__init__.py"]
    (assigned,) = (
        node.value
        for node in ast.parse(text).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "EQUATIONS"
    )
    made = compile_to_plan(GOLDEN[name][0]())
    assert made.derivation is not None
    assert ast.literal_eval(assigned).strip() == explain_text(made.derivation, made.update).strip()


def test_what_goes_along_a_short_row_to_one_number_is_not_unrolled() -> None:
    model = sb.Model("short_rows")
    b, j, k = model.axis("b", "batch"), model.axis("j", 20), model.axis("k", 1)
    x, word = model.input("x", b, j), model.input("word", b, j, dtype="int", below=k)
    table, weight = model.parameter("table", k, k), model.parameter("weight", j, j)
    model.output(
        model.define("largest[b]", sb.max(x[b, j], j)),
        model.define("added[b]", sb.sum(x[b, j] ** 2, j)),
        model.define("found[b]", sb.sum(table[word[b, j], 0], j)),
        model.define("down[b]", sb.sum(weight[j, 0], j) * x[b, 0]),
    )
    kernels = sb.emit_model(model, standalone=False)["kernels.py"]
    loops = {line: bound for bound, line in re.findall(r"for j in range\((.*)\):\n +(.*)", kernels)}
    assert loops == {
        "best = maximum(best, x[b, j])": "rolled(20)",
        "total += x[b, j] * x[b, j]": "rolled(20)",
        "total += table[word[b, j], 0]": "20",
        "total += weight[j, 0]": "20",
    }

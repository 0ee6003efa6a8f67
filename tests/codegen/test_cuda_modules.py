"""What every generated CUDA package must be: clean, typed, and nothing in it unused or missing."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import symbp as sb
from symbp.codegen.layout import WIDTH
from symbp.pipeline import emit_model
from tests.codegen.awkward_models import MODELS as AWKWARD
from tests.codegen.golden_models import MODELS as GOLDEN

NAMES = [*GOLDEN, *(m.name for m in AWKWARD)]
TEAMS = ("thread_kernel", "warp_kernel", "block_kernel", "column_kernel")


@cache
def files_of(name: str, target: str = "cuda") -> dict[str, str]:
    build = GOLDEN[name][0] if name in GOLDEN else next(m.build for m in AWKWARD if m.name == name)
    return emit_model(build(), target=target, standalone=False)


def functions(name: str) -> list[ast.FunctionDef]:
    tree = ast.parse(files_of(name)["kernels.py"])
    return [node for node in tree.body if isinstance(node, ast.FunctionDef)]


def is_kernel(function: ast.FunctionDef) -> bool:
    return bool(function.decorator_list)


def names(tree: ast.AST, kind: type[ast.expr_context]) -> set[str]:
    return {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, kind)}


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
def test_every_import_is_there_and_used(name: str) -> None:
    for path, text in files_of(name).items():
        tree = ast.parse(text)
        used = names(tree, ast.Load)
        for node in tree.body:
            if not isinstance(node, ast.ImportFrom) or node.module == "__future__":
                continue
            module = importlib.import_module(node.module or "") if not node.level and node.module else None
            for alias in node.names:
                assert module is None or hasattr(module, alias.name), f"{path}: {node.module} has no {alias.name}"
                assert (alias.asname or alias.name) in used or alias.name in re.findall(r": (\w+)", text)


@pytest.mark.parametrize("name", NAMES)
def test_no_argument_and_no_name_is_unused(name: str) -> None:
    for function in functions(name):
        arguments = {a.arg for a in function.args.args}
        read = names(function, ast.Load)
        unused = (arguments | names(function, ast.Store)) - read
        repeats = {n.target.id for n in ast.walk(function) if isinstance(n, ast.For) and isinstance(n.target, ast.Name)}
        # Of the subscripts that a count stands for, some may not be needed.
        unravelled = {
            part.id
            for n in ast.walk(function)
            if isinstance(n, ast.Assign) and isinstance(n.targets[0], ast.Tuple)
            for part in n.targets[0].elts
            if isinstance(part, ast.Name)
        }
        assert unused <= repeats | unravelled, f"{function.name} does not use {sorted(unused)}"
        if is_kernel(function):  # whatever it is given it uses: a view that only names itself is not a use
            body = ast.Module(function.body[1:], [])
            views = [n for n in body.body if isinstance(n, ast.Assign) and ast.unparse(n.value).startswith("view(")]
            rest = ast.Module([n for n in body.body if n not in views], [])
            seen = {n.targets[0].id for n in views if isinstance(n.targets[0], ast.Name)}
            assert seen <= {n.id for n in ast.walk(rest) if isinstance(n, ast.Name)}, function.name


@pytest.mark.parametrize("name", NAMES)
def test_launches_pass_what_kernels_take(name: str) -> None:
    """In number, and by name where the host's name is the kernel's."""
    made = functions(name)
    kernels = {f.name: f for f in made if is_kernel(f)}
    launched: set[str] = set()
    for program in (f for f in made if not is_kernel(f)):
        for node in ast.walk(program):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "device.launch":
                kernel, _, *given = node.args
                wanted = [a.arg for a in kernels[ast.unparse(kernel)].args.args]
                launched.add(ast.unparse(kernel))
                passed = [ast.unparse(g) for g in given]
                assert len(passed) == len(wanted), ast.unparse(node)
                assert all(p == w or w == f"i_{p}" for p, w in zip(passed, wanted, strict=True)), ast.unparse(node)
    assert launched == set(kernels), "every kernel is launched"


@pytest.mark.parametrize("name", NAMES)
def test_parameters_are_annotated(name: str) -> None:
    for function in functions(name):
        if is_kernel(function):
            assert next(ast.unparse(d) for d in function.decorator_list) in TEAMS
            kinds = [ast.unparse(a.annotation) for a in function.args.args if a.annotation is not None]
            assert len(kinds) == len(function.args.args)
            assert set(kinds) <= {"Reals", "Integers", "Doubles", "Size"}


@pytest.mark.parametrize("name", NAMES)
def test_every_launch_is_headed_by_an_equation(name: str) -> None:
    text = files_of(name)["kernels.py"]
    for function in functions(name):
        source = ast.get_source_segment(text, function) or ""
        if is_kernel(function):
            assert re.search(r"^ *# \w+(\[.*\])? \+?= ", source, flags=re.M), source
        elif function.name != "train_step_into":
            for launch in re.finditer(r"^ *(device\.launch|contract)\(", source, flags=re.M):
                before = source[: launch.start()].rstrip().split("\n")[-1].strip()
                assert before.startswith(("#", "device.clear", "for ")), source


@pytest.mark.parametrize("name", NAMES)
def test_lines_are_short(name: str) -> None:
    long = [line for line in files_of(name)["kernels.py"].split("\n") if len(line) > WIDTH + 2]
    assert not long, "\n".join(long)


@pytest.mark.parametrize("name", NAMES)
def test_float32_has_no_untyped_number(name: str) -> None:
    """A bare 0.5 beside a float32 makes Numba compute in float64; only the update's scalars may be that."""
    for function in functions(name):
        if not is_kernel(function) or function.name.startswith("update"):
            continue
        calls = (n for n in ast.walk(function) if isinstance(n, ast.Call) and ast.unparse(n.func) == "real")
        typed = {id(part) for n in calls for part in ast.walk(n.args[0])}
        for node in ast.walk(function):
            if isinstance(node, ast.Constant) and isinstance(node.value, float):
                assert id(node) in typed, f"{node.value} in line {node.lineno} of {function.name}"


def test_the_formatter_would_change_long_assignments_only(tmp_path: Path) -> None:
    """We break a long right-hand side at its operators, in brackets; all other lines are the formatter's own."""
    for name in NAMES:
        for path, text in files_of(name).items():
            file = tmp_path / path
            file.write_text(text, encoding="utf-8")
            command = [sys.executable, "-m", "ruff", "format", "--isolated", "--no-cache", str(file)]
            subprocess.run(command, capture_output=True, check=True)
            formatted = file.read_text(encoding="utf-8")
            assert ast.dump(ast.parse(formatted)) == ast.dump(ast.parse(text))
            if path == "kernels.py":
                assert _statements_that_differ(text, formatted) == []


def _statements_that_differ(text: str, formatted: str) -> list[str]:
    """Statements in several lines, other than assignments, that are laid out otherwise."""
    ours, theirs = (_long_statements(source) for source in (text, formatted))
    return [source for key, source in ours.items() if theirs[key] != source]


def _long_statements(source: str) -> dict[str, str]:
    """Every statement without statements in it, by where it stands, as it is written."""
    found = {}
    for function in ast.parse(source).body:
        for number, node in enumerate(n for n in ast.walk(function) if isinstance(n, ast.Expr | ast.Return)):
            found[f"{getattr(function, 'name', function.lineno)} {number}"] = ast.get_source_segment(source, node) or ""
    return found


# ------------------------------------------------------------------------------------------------------ whole packages


def test_a_package_for_both_targets() -> None:
    both = emit_model(GOLDEN["digits"][0](), target="cpu,cuda")
    cpu, cuda = (emit_model(GOLDEN["digits"][0](), target=t) for t in ("cpu", "cuda"))
    assert set(both) == set(cpu) | {p for p in cuda if p.startswith("_runtime/")} | {"cuda.py", "cuda_kernels.py"}
    assert all(both[path] == text for path, text in cpu.items()), "the CPU's files are what they are alone"
    assert both["cuda_kernels.py"] == cuda["kernels.py"]
    changed = {
        "    from digits import cuda as net": "    import digits as net",
        "from . import cuda_kernels as kernels": "from . import kernels",
    }
    text = both["cuda.py"]
    for ours, alone in changed.items():
        assert ours in text
        text = text.replace(ours, alone)
    assert text == cuda["__init__.py"]
    assert emit_model(GOLDEN["digits"][0](), target=" cuda , cpu") == both
    assert _declarations(cpu["__init__.py"]) == _declarations(cuda["__init__.py"])


def _declarations(text: str) -> str:
    """From the dtype to the equations: what decides which files of weights fit."""
    return text[text.index("\nDTYPE = ") : text.index("\n_door = ")]


def test_the_runtime_lies_beside_it_with_imports_of_its_own() -> None:
    files = emit_model(GOLDEN["embedding"][0](), target="cuda")
    assert "_runtime/cuda/exact_sum.py" in files
    assert "_runtime/jit.py" not in files or "jit" in "".join(files.values())
    for path, text in files.items():
        folder = path.rpartition("/")[0].split("/")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Import):
                assert not any(a.name.partition(".")[0] == "symbp" for a in node.names), path
            elif isinstance(node, ast.ImportFrom):
                assert (node.module or "").partition(".")[0] != "symbp" or node.level, path
                if node.level:
                    home = [part for part in folder if part][: len([p for p in folder if p]) - node.level + 1]
                    target = "/".join([*home, *(node.module or "").split(".")]).strip("/")
                    names_it = [f"{target}.py", f"{target}/__init__.py", *(f"{a.name}.py" for a in node.names)]
                    assert any(name in files for name in names_it), f"{path}: {ast.unparse(node)}"


BARE = """
import sys
sys.path.insert(0, sys.argv[1])
sys.modules["symbp"] = None  # importing it fails
import digits
assert not [name for name in sys.modules if name.startswith(("numba.cuda", "digits.cuda", "digits._runtime.cuda"))]
from digits import cuda
assert cuda.SPEC_HASH == digits.SPEC_HASH
assert cuda.PARAMETERS.names == digits.PARAMETERS.names
print("works")
"""


def test_the_cpu_does_not_import_the_device(tmp_path: Path) -> None:
    package = sb.compile_model(GOLDEN["digits"][0](), tmp_path, target="cpu,cuda")
    command = [sys.executable, "-I", "-c", BARE, str(package.parent)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "works", done.stderr


def clash() -> sb.Model:
    """Inputs and tensors called as generated code calls its own things."""
    model = sb.Model("clash")
    n, j = model.axis("lane", "batch"), model.axis("point", 5)
    device, cuda = model.input("device", n, j), model.input("cuda", n, j)
    m = model.input("m", n, j)
    hidden = sb.Dense(5, sb.tanh, name="rank")(device)
    model.output(hidden)
    model.loss(sb.mse(hidden, cuda) + sb.mse(hidden, m))
    model.optimizer(sb.Adam(learning_rate=0.1))
    return model


def test_inputs_may_be_called_as_the_code_calls_its_own() -> None:
    files = emit_model(clash(), target="cuda", standalone=False)
    kernels, interface = files["kernels.py"], files["__init__.py"]
    compile(kernels, "kernels.py", "exec")
    compile(interface, "__init__.py", "exec")
    assert "def forward(device, params, device_2, cuda_2, m_2, workspace, loss):" in kernels
    assert "def update(device, params, grads, m, v, numbers, count):" in kernels
    assert "    device_2, flat, (device, cuda, m), sizes = _door.enter(" in interface
    assert "kernels.forward(device_2, flat, device, cuda, m, workspace, value)" in interface


def test_targets_are_checked() -> None:
    with pytest.raises(sb.TargetError, match="unknown target 'cude'"):
        emit_model(GOLDEN["digits"][0](), target="cpu,cude")
    with pytest.raises(sb.TargetError, match="take target 'cuda' or 'cpu'"):
        emit_model(GOLDEN["digits"][0](), target="rocm")

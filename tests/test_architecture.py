"""The house rules that can be read off the source: which way imports run, what is never called, how big a file is."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
STAGES = ("frontend", "derive", "schedule", "codegen", "explain", "check")

# What each part of the package may import from the package, besides itself.
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "errors": (),
    "version": (),
    "runtime": ("errors",),
    "ir": ("errors",),
    **dict.fromkeys(STAGES, ("errors", "version", "ir")),
    "package": ("errors", "version"),
    "pipeline": ("errors", "version", "ir", *STAGES, "package"),
    "": ("errors", "version", "ir", *STAGES, "pipeline"),  # symbp/__init__.py: public names only
    "demo": ("", "errors", "version", "ir", *STAGES, "pipeline"),
    "cli": ("", "errors", "version", "ir", *STAGES, "pipeline", "demo"),
    "__main__": ("cli",),
}
# Generated modules carry a copy of what they use of the runtime, so it lives on these alone. Safetensors and tbb are
# used where they are installed, numba.cuda by the cuda modules.
RUNTIME_PACKAGES = frozenset({"numpy", "numba", "llvmlite"}) | sys.stdlib_module_names
# Heavy or optional, so imported when first needed; `cuda` is that of NVIDIA's cuda-bindings and cuda-core.
LATE_PACKAGES = frozenset(
    {"cuda", "cupy", "IPython", "jax", "numba", "rich", "safetensors", "scipy", "sklearn", "tbb", "torch"}
)

FORBIDDEN_NAMES = frozenset({"eval", "exec", "compile", "__import__"})
# SymPy's readers of text execute it, and so does lambdify.
FORBIDDEN_CALLS = frozenset(
    {"parse_expr", "parse_latex", "parse_mathematica", "parse_maxima", "lambdify", "sympify", "_sympify", "S", "system"}
)
FORBIDDEN_PACKAGES = frozenset({"cloudpickle", "dill", "joblib", "marshal", "pickle", "shelve"})
VAGUE_STEMS = frozenset({"base", "common", "helper", "helpers", "manager", "misc", "util", "utils"})
VAGUE_ENDINGS = ("Base", "Helper", "Manager", "Util", "Utils")
LONGEST_FILE = 450


@dataclass(frozen=True)
class Source:
    """One module of a package: its dotted name and its syntax tree."""

    name: str
    path: Path
    tree: ast.Module

    @property
    def package(self) -> str:
        """The dotted name that a relative import starts from."""
        return self.name if self.path.name == "__init__.py" else self.name.rpartition(".")[0]

    @property
    def part(self) -> str:
        """``ir`` for symbp.ir.statement, ``cli`` for symbp.cli, ``""`` for symbp itself."""
        return [*self.name.split("."), ""][1]

    def place(self, node: ast.AST) -> str:
        return f"{self.path.name}:{getattr(node, 'lineno', '?')} in {self.name}"


def read_package(folder: Path) -> dict[str, Source]:
    """Every module under a package folder by dotted name."""
    sources = {}
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        sources[name] = Source(name, path, ast.parse(path.read_text(encoding="utf-8"), filename=str(path)))
    return sources


def imported_names(source: Source, node: ast.Import | ast.ImportFrom) -> list[str]:
    """The absolute dotted names that an import statement asks for; ``from a import b`` gives ``a.b``."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    prefix = node.module or ""
    if node.level:
        package = source.package.split(".")
        package = package[: len(package) - (node.level - 1)]
        prefix = ".".join([*package, *([node.module] if node.module else [])])
    return [f"{prefix}.{alias.name}" for alias in node.names]


def imports(source: Source) -> Iterator[tuple[ast.Import | ast.ImportFrom, str]]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            for name in imported_names(source, node):
                yield node, name


def wrong_way_imports(sources: dict[str, Source]) -> list[str]:
    """Imports inside the package that MAY_IMPORT does not list."""
    found = []
    for source in sources.values():
        for node, name in imports(source):
            if name.split(".")[0] != "symbp":
                continue
            steps = name.split(".")
            # `from symbp import X` is an import of part X where there is such a part, else of symbp/__init__.py.
            part = steps[1] if len(steps) > 1 and steps[1] in MAY_IMPORT else ""
            if part != source.part and part not in MAY_IMPORT.get(source.part, ()):
                found.append(f"{source.place(node)}: {source.part or 'symbp'} imports {name}")
    return found


def import_cycle(sources: dict[str, Source]) -> list[str]:
    """One cycle of modules that import each other, or nothing."""
    edges: dict[str, list[str]] = {}
    for source in sources.values():
        targets = {}
        for _, name in imports(source):
            module = name if name in sources else name.rpartition(".")[0]
            if module in sources:
                targets[module] = True
        edges[source.name] = list(targets)
    done: dict[str, bool] = {}

    def visit(name: str, trail: tuple[str, ...]) -> list[str]:
        if name in trail:
            return [*trail[trail.index(name) :], name]
        if name in done:
            return []
        for target in edges[name]:
            if cycle := visit(target, (*trail, name)):
                return cycle
        done[name] = True
        return []

    return next((cycle for name in edges if (cycle := visit(name, ()))), [])


def late_imports(sources: dict[str, Source]) -> list[str]:
    """Imports inside a function of anything but a heavy or optional package."""
    found = []
    for source in sources.values():
        functions = [node for node in ast.walk(source.tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
        for function in functions:
            for node in ast.walk(function):
                if isinstance(node, ast.Import | ast.ImportFrom):
                    for name in imported_names(source, node):
                        if name.split(".")[0] not in LATE_PACKAGES:
                            found.append(f"{source.place(node)}: {function.name} imports {name}")
    return found


def called_name(call: ast.Call) -> str:
    if isinstance(call.func, ast.Name):
        return call.func.id
    return call.func.attr if isinstance(call.func, ast.Attribute) else ""


def keyword_is(call: ast.Call, name: str, value: object) -> bool:
    return any(
        word.arg == name and isinstance(word.value, ast.Constant) and word.value.value is value
        for word in call.keywords
    )


def unsafe_code(sources: dict[str, Source]) -> list[str]:
    """Calls and imports that execute text or data."""
    found = []
    for source in sources.values():
        for node in ast.walk(source.tree):
            if not isinstance(node, ast.Call):
                continue
            name = called_name(node)
            # `sympify(x, strict=True)` refuses text.
            strict = name in ("sympify", "_sympify") and keyword_is(node, "strict", True)
            if (isinstance(node.func, ast.Name) and name in FORBIDDEN_NAMES) or (
                name in FORBIDDEN_CALLS and not strict
            ):
                found.append(f"{source.place(node)}: calls {name}")
            elif name == "load" and any(word.arg == "allow_pickle" for word in node.keywords):
                if not keyword_is(node, "allow_pickle", False):
                    found.append(f"{source.place(node)}: loads with pickle allowed")
            elif any(word.arg == "shell" for word in node.keywords) and not keyword_is(node, "shell", False):
                found.append(f"{source.place(node)}: runs a shell")
        for node, name in imports(source):
            if name.split(".")[0] in FORBIDDEN_PACKAGES:
                found.append(f"{source.place(node)}: imports {name}")
    return found


def vague_names(sources: dict[str, Source]) -> list[str]:
    """Files and classes whose name does not say what they are for."""
    found = [f"{source.path.name} in {source.name}" for source in sources.values() if source.path.stem in VAGUE_STEMS]
    for source in sources.values():
        for node in ast.walk(source.tree):
            if isinstance(node, ast.ClassDef) and node.name.endswith(VAGUE_ENDINGS):
                found.append(f"{source.place(node)}: class {node.name}")
    return found


@cache
def symbp() -> dict[str, Source]:
    return read_package(ROOT / "symbp")


def test_every_part_has_its_place() -> None:
    parts = sorted({source.part for source in symbp().values()} - set(MAY_IMPORT))
    assert parts == [], "add the new part to MAY_IMPORT, and say in docs/architecture.md what it may import"


def test_imports_run_one_way() -> None:
    assert wrong_way_imports(symbp()) == []


def test_no_import_cycle() -> None:
    assert import_cycle(symbp()) == []


def test_imports_stand_at_the_top() -> None:
    assert late_imports(symbp()) == []


def test_runtime_needs_numpy_and_numba_only() -> None:
    foreign = [
        f"{source.place(node)}: {name}"
        for source in symbp().values()
        if source.part == "runtime"
        for node, name in imports(source)
        if name.split(".")[0] not in RUNTIME_PACKAGES | LATE_PACKAGES | {"symbp"}
    ]
    assert foreign == []
    late_at_the_top = [
        f"{source.place(node)}: {ast.unparse(node)}"
        for source in symbp().values()
        if source.part == "runtime"
        for node in source.tree.body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in imported_names(source, node)
        if name.split(".")[0] not in RUNTIME_PACKAGES | {"symbp"}
    ]
    assert late_at_the_top == []


def test_runtime_imports_can_be_copied() -> None:
    """Modules are copied beside a generated one by rewriting two forms of import, so there are no others."""
    allowed = ("from symbp.errors import ", "from symbp.runtime.")
    others = [
        f"{source.place(node)}: {ast.unparse(node)}"
        for source in symbp().values()
        if source.part == "runtime"
        for node, name in imports(source)
        if name.split(".")[0] == "symbp" and not ast.unparse(node).startswith(allowed)
    ]
    assert others == []


def test_nothing_executes_text_or_data() -> None:
    assert unsafe_code(symbp()) == []


def test_names_say_what_a_thing_is_for() -> None:
    assert vague_names(symbp()) == []


def test_files_are_short() -> None:
    lengths = {source.name: len(source.path.read_text(encoding="utf-8").splitlines()) for source in symbp().values()}
    assert {name: length for name, length in lengths.items() if length > LONGEST_FILE} == {}


# The checks themselves, on packages that break each rule once.


def write_package(folder: Path, files: dict[str, str]) -> dict[str, Source]:
    for name, text in files.items():
        path = folder / "symbp" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return read_package(folder / "symbp")


@pytest.mark.parametrize(
    ("path", "text", "seen"),
    [
        ("derive/reverse.py", "from symbp.schedule.fuse import fuse\n", "derive imports symbp.schedule.fuse.fuse"),
        ("derive/reverse.py", "from ..codegen import render\n", "derive imports symbp.codegen.render"),
        ("derive/reverse.py", "from symbp import Model\n", "derive imports symbp.Model"),
        ("ir/statement.py", "import symbp.frontend.model\n", "ir imports symbp.frontend.model"),
        ("runtime/door.py", "from symbp.ir import Axis\n", "runtime imports symbp.ir.Axis"),
        ("errors.py", "from symbp import pipeline\n", "errors imports symbp.pipeline"),
        ("pipeline.py", "from symbp.cli import main\n", "pipeline imports symbp.cli.main"),
    ],
)
def test_an_import_the_wrong_way_is_seen(tmp_path: Path, path: str, text: str, seen: str) -> None:
    (found,) = wrong_way_imports(write_package(tmp_path, {path: text}))
    assert found.endswith(seen)


def test_an_import_the_right_way_passes(tmp_path: Path) -> None:
    files = {"derive/reverse.py": "from symbp.errors import SpecError\nfrom ..ir import Axis\nfrom . import solve\n"}
    assert wrong_way_imports(write_package(tmp_path, files)) == []


def test_a_cycle_is_seen(tmp_path: Path) -> None:
    files = {"ir/a.py": "from symbp.ir.b import B\n", "ir/b.py": "from .c import C\n", "ir/c.py": "from . import a\n"}
    assert import_cycle(write_package(tmp_path, files)) == ["symbp.ir.a", "symbp.ir.b", "symbp.ir.c", "symbp.ir.a"]


def test_a_late_import_is_seen(tmp_path: Path) -> None:
    files = {"ir/a.py": "def f():\n    import torch\n    from symbp.ir.b import B\n"}
    (found,) = late_imports(write_package(tmp_path, files))
    assert found.endswith("f imports symbp.ir.b.B")


@pytest.mark.parametrize(
    "text",
    [
        "eval('1')",
        "exec(code)",
        "compile(text, 'f', 'exec')",
        "__import__('os')",
        "sympy.sympify(text)",
        "sympify(text, strict=False)",
        "sp.S(text)",
        "parse_expr(text)",
        "sp.lambdify(x, e)",
        "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=flag)",
        "import pickle",
        "from marshal import loads",
        "os.system(text)",
        "subprocess.run(text, shell=True)",
    ],
)
def test_unsafe_code_is_seen(tmp_path: Path, text: str) -> None:
    assert len(unsafe_code(write_package(tmp_path, {"ir/a.py": text + "\n"}))) == 1


@pytest.mark.parametrize(
    "text", ["re.compile(text)", "model.compile()", "sympify(e, strict=True)", "np.load(path, allow_pickle=False)"]
)
def test_safe_code_passes(tmp_path: Path, text: str) -> None:
    assert unsafe_code(write_package(tmp_path, {"ir/a.py": text + "\n"})) == []


@pytest.mark.parametrize(("path", "text"), [("ir/utils.py", ""), ("ir/a.py", "class KernelManager:\n    pass\n")])
def test_a_vague_name_is_seen(tmp_path: Path, path: str, text: str) -> None:
    assert len(vague_names(write_package(tmp_path, {path: text}))) == 1

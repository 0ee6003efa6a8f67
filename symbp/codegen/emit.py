"""Write the files of a generated package, as text, from a plan and a target's templates."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import jinja2

from symbp.codegen.interface import (
    batching,
    fit_context,
    input_text,
    merged,
    parameter_text,
    predict_context,
    requirement_text,
    scratch_functions,
    setting_text,
    step_arguments,
    train_context,
    train_steps_arguments,
)
from symbp.codegen.layout import call, fold, parts, signature
from symbp.codegen.printer import RUNTIME_FUNCTIONS
from symbp.codegen.procedure import ProcedureText, write_procedure
from symbp.codegen.target import Target
from symbp.ir.nodes import Fill, If, Loop, Note, Product, SetIndex, Store, Track
from symbp.ir.plan import Plan
from symbp.ir.program import Tensor
from symbp.version import __version__

RUNTIME = Path(__file__).resolve().parents[1] / "runtime"


def emit(
    plan: Plan,
    target: Target,
    *,
    dtype: str,
    spec_hash: str,
    equations: str,
    summary: str = "",
    standalone: bool = True,
) -> dict[str, str]:
    """The files of the package, path to text: the interface, the kernels, and the runtime they use.

    With ``standalone=False`` the package imports the runtime of the installed symbp instead of carrying a copy.
    """
    texts = {p.name: write_procedure(plan, p, dtype) for p in plan.procedures}
    context = _context(plan, texts, dtype=dtype, spec_hash=spec_hash, equations=equations, summary=summary)
    environment = _environment()
    files = {}
    for path, template in sorted(target.templates, key=lambda t: t[0] == "__init__.py"):
        body = environment.get_template(template).render(**context, imports="@@IMPORTS@@")
        files[path] = _with_imports(fold(body))
    if not standalone:
        return {path: text.replace("from ._runtime.", "from symbp.runtime.") for path, text in sorted(files.items())}
    modules = _runtime_closure(target.runtime, files.values())
    files["_runtime/__init__.py"] = '"""What the kernels and the interface of this package use; part of symbp."""\n'
    for module in modules:
        files[f"_runtime/{module}.py"] = _runtime_source(module)
    return dict(sorted(files.items()))


def template_root() -> Path:
    """`symbp/templates` in an installed wheel, `templates` beside the package in a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed, checkout = package / "templates", package.parent / "templates"
    return installed if installed.is_dir() else checkout


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(template_root()),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    kinds = {"note": Note, "loop": Loop, "if": If, "store": Store, "set_index": SetIndex, "fill": Fill}
    for name, kind in {**kinds, "product": Product, "track": Track}.items():
        environment.tests[name] = lambda node, kind=kind: isinstance(node, kind)
    environment.tests["argmax"] = lambda node: isinstance(node, Track) and node.position is not None
    return environment


def _context(plan: Plan, texts: dict[str, ProcedureText], **given: str) -> dict[str, Any]:
    predict = predict_context(plan, texts["predict_into"]) if "predict_into" in texts else None
    train = train_context(plan, texts) if "forward" in texts else None
    fit = fit_context(plan, texts, train) if train is not None and "update" in texts else None
    return {
        **given,
        "summary": given["summary"] or "a model compiled from its equations.",
        "version": __version__,
        "plan": plan,
        "procedures": [_headed(one) for text in texts.values() for one in (*text.parts, text)],
        "calls": _kernel_calls(plan, texts, fit),
        "inputs": [input_text(t) for t in plan.inputs],
        "parameters": [parameter_text(p) for p in plan.parameters],
        "requirements": [requirement_text(r) for r in plan.requirements],
        "vectors": parts([f'"{name}"' for name in plan.state]),
        "settings": parts([setting_text(t) for t in plan.hyper if t.name != "t"]),
        "scratch_functions": scratch_functions(plan),
        "scratch_key": f"{plan.name} {given['spec_hash'][:12]}",
        "usage": _usage(plan, predict, train, fit),
        "predict": predict,
        "train": train,
        "fit": fit,
    }


def _headed(text: ProcedureText) -> dict[str, Any]:
    calls = [call(p.name, p.arguments, indent=4) for p in text.parts[:-1]]
    for last in text.parts[-1:]:
        calls.append(call(last.name, last.arguments, indent=4, lead="return " if text.returns else ""))
    return {
        "header": signature(text.name, text.arguments),
        "calls": calls,
        **{name: getattr(text, name) for name in ("name", "summary", "sizes", "views", "nests", "returns", "printer")},
    }


def _kernel_calls(plan: Plan, texts: dict[str, ProcedureText], fit: dict[str, Any] | None) -> dict[str, Any]:
    """Headers and calls of the kernels that only put others together."""
    calls: dict[str, Any] = {"forward": None, "one_update": None, "batched": []}
    if "forward" not in texts:
        return calls
    forward, backward = texts["forward"].arguments, texts["backward"].arguments
    calls["forward"] = call("forward", forward, indent=11)
    calls["backward"] = call("backward", backward, indent=4)
    calls["loss_and_grad_header"] = signature("loss_and_grad_into", merged(forward, backward))
    if fit is None:
        return calls
    step = step_arguments(texts)
    calls["one_update"] = call("update", texts["update"].arguments, indent=4)
    calls["train_step_header"] = signature("train_step_into", step)
    batched, _ = batching(plan, [t.name for t in plan.inputs if t.name in step])
    calls["batched"] = batched
    if batched:
        calls["train_steps_header"] = signature("train_steps_into", train_steps_arguments(step, batched))
        calls["gathers"] = [_gather(plan.tensors[name]) for name in batched]
        calls["rows_forward"] = call("forward", _of_rows(forward, batched), indent=8, lead="losses[turn] = ")
        calls["rows_backward"] = call("backward", _of_rows(backward, batched), indent=8)
        calls["rows_update"] = call("update", texts["update"].arguments, indent=8)
    return calls


def _of_rows(arguments: tuple[str, ...], batched: list[str]) -> list[str]:
    return [f"{a}_rows" if a in batched else a for a in arguments]


def _gather(tensor: Tensor) -> str:
    """Copy one sample of an input to its row of the batch, element by element."""
    indices = [f"i{k}" for k in range(1, tensor.rank)]
    here, there = (", ".join([first, *indices]) for first in ("row", "sample"))
    lines = [f"for {i} in range({tensor.name}.shape[{k}]):" for k, i in enumerate(indices, start=1)]
    lines.append(f"{tensor.name}_batch[{here}] = {tensor.name}[{there}]")
    return "\n".join("    " * depth + line for depth, line in enumerate(lines))


def _usage(plan: Plan, predict: Any, train: Any, fit: Any) -> list[str]:
    lines = []
    if predict is not None:
        lines.append(f"{', '.join(t.name for t in plan.outputs)} = {predict['call']}")
    if train is not None:
        lines.append(f"loss, grads = {call('net.loss_and_grad', ['params', *train['inputs']])}")
    if fit is not None:
        lines.append("state = net.optimizer_state(params)")
        lines.append(f"log = {call('net.fit', ['params', 'state', *train['inputs'], 'epochs=10'])}")
    return lines


# ------------------------------------------------------------------------------------------------------------ imports

#: Names that a generated file may use, and the module that gives them.
_SOURCES = {
    "matmul": "contraction",
    "matmul_add": "contraction",
    "view": "views",
    "kernel": "jit",
    "Initializer": "initializers",
    "Layout": "parameters",
    "Parameter": "parameters",
    "Parameters": "parameters",
    "Array": "parameters",
    "Input": "door",
    "Linear": "door",
    "Requirement": "door",
    "Door": "interface",
    "scratch": "interface",
    "Optimizer": "optimizer",
    "OptimizerState": "optimizer",
    "Setting": "optimizer",
    "TrainingLog": "training",
    "batch_size": "training",
    "fit_epochs": "training",
    "first_not_finite": "diagnosis",
    "load_checkpoint": "checkpoint",
    "save_checkpoint": "checkpoint",
}
_STANDARD = {
    "Callable": "collections.abc",
    "Sequence": "collections.abc",
    "PathLike": "os",
    "Any": "typing",
}


def _with_imports(text: str) -> str:
    """Put the imports that the text needs where the template left room for them."""
    words = _free_names(ast.parse(text.replace("@@IMPORTS@@", "", 1)))
    sources = {**_SOURCES, **dict.fromkeys(RUNTIME_FUNCTIONS, "scalar")}
    groups: list[list[str]] = [[], [], []]
    if "math" in words:
        groups[0].append("import math")
    for module in sorted(set(_STANDARD.values())):
        names = sorted(n for n, m in _STANDARD.items() if m == module and n in words)
        if names:
            groups[0].append(f"from {module} import {', '.join(names)}")
    if "np" in words:
        groups[1].append("import numpy as np")
    if "ArrayLike" in words:
        groups[1].append("from numpy.typing import ArrayLike")
    if "kernels" in words:
        groups[2].append("from . import kernels")
    for module in sorted(set(sources.values())):
        names = sorted(n for n, m in sources.items() if m == module and n in words)
        if names:
            groups[2].append(_import(module, names))
    return text.replace("@@IMPORTS@@", "\n\n".join("\n".join(g) for g in groups if g), 1)


def _free_names(scope: ast.AST) -> set[str]:
    """Names that the code reads and does not define: what must be imported, and builtins."""
    read: set[str] = set()
    defined: set[str] = set()
    pending = list(ast.iter_child_nodes(scope))
    while pending:
        node = pending.pop()
        if isinstance(node, ast.FunctionDef):
            defined.add(node.name)
            read |= _free_names(node)
            continue
        if isinstance(node, ast.Name):
            (read if isinstance(node.ctx, ast.Load) else defined).add(node.id)
        elif isinstance(node, ast.arg):
            defined.add(node.arg)
        pending += ast.iter_child_nodes(node)
    return read - defined


def _import(module: str, names: list[str]) -> str:
    line = f"from ._runtime.{module} import {', '.join(names)}"
    if len(line) <= 88:
        return line
    inner = "".join(f"    {n},\n" for n in names)
    return f"from ._runtime.{module} import (\n{inner})"


def _runtime_closure(modules: tuple[str, ...], texts: Any) -> list[str]:
    """The given runtime modules, those the files import, and those that these import in turn."""
    pending = [*modules, *(m for text in texts for m in re.findall(r"from \._runtime\.(\w+) import", text))]
    found: dict[str, None] = {}
    while pending:
        module = pending.pop()
        if module not in found:
            found[module] = None
            pending += re.findall(r"^from \.(\w+) import", _runtime_source(module), flags=re.M)
    return sorted(found)


def _runtime_source(module: str) -> str:
    path = RUNTIME.parent / "errors.py" if module == "errors" else RUNTIME / f"{module}.py"
    source = path.read_text(encoding="utf-8")
    local = re.sub(r"^from symbp\.(?:runtime\.)?(\w+) import", r"from .\1 import", source, flags=re.M)
    return re.sub(r"(?:^from \.\w+ import (?:\([^)]*\)|.*)\n)+", _sorted_imports, local, count=1, flags=re.M)


def _sorted_imports(block: re.Match[str]) -> str:
    statements = re.findall(r"^from \.\w+ import (?:\([^)]*\)|.*)\n", block.group(), flags=re.M)
    return "".join(sorted(statements, key=lambda s: s.split()[1]))

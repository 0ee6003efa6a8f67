"""Write the files of a generated package, as text, from a plan and a target's templates."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from symbp.codegen.imports import HERE, with_imports
from symbp.codegen.interface import (
    input_text,
    parameter_text,
    requirement_text,
    scratch_functions,
    setting_text,
)
from symbp.codegen.layout import call, fold, parts
from symbp.codegen.target import Target
from symbp.ir import nodes
from symbp.ir import plan as plans
from symbp.ir.plan import Plan
from symbp.version import __version__

RUNTIME = Path(__file__).resolve().parents[1] / "runtime"

#: The tests that templates ask of nodes and steps: ``{% if node is loop %}``.
NODE_TESTS = {
    "note": nodes.Note,
    "loop": nodes.Loop,
    "if": nodes.If,
    "store": nodes.Store,
    "set_index": nodes.SetIndex,
    "track": nodes.Track,
    "fill": nodes.Fill,
    "product": nodes.Product,
    "slide": nodes.Slide,
    "share": nodes.Share,
    "combine": nodes.Combine,
    "once": nodes.Once,
    "barrier": nodes.Barrier,
    "largest": nodes.Largest,
    "spread": nodes.Spread,
    "settle": nodes.Settle,
    "add_atomically": nodes.AddAtomically,
    "contract": nodes.Contract,
    "launch": plans.Launch,
    "repeat": plans.Repeat,
}


#: Where the equations go when everything else is written.
EQUATIONS = "@@EQUATIONS@@"


@dataclass(frozen=True)
class Spec:
    """What a package says of the model besides its plan."""

    dtype: str
    hash: str
    equations: str
    summary: str = ""


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
    return emit_for([(target, plan)], Spec(dtype, spec_hash, equations, summary), standalone=standalone)


def emit_for(planned: Iterable[tuple[Target, Plan]], spec: Spec, *, standalone: bool = True) -> dict[str, str]:
    """The files of a package for several targets, each with its plan of the same equations.

    The first target's interface is the package itself, ``__init__.py`` beside ``kernels.py``; another's is a module in
    it, ``cuda.py`` beside ``cuda_kernels.py``. They share the copy of the runtime and the files of weights.
    """
    environment = _environment()
    files: dict[str, str] = {}
    carried: list[str] = []
    for target, plan in planned:
        context = _context(plan, target, spec, module=target.name if files else "")
        kernels = f"{target.name}_kernels" if files else "kernels"
        made = {
            f"{context['module'] or '__init__'}.py": target.interface,
            f"{kernels}.py": target.kernels,
        }
        for path, template in made.items():
            body = environment.get_template(template).render(**context, imports=HERE)
            # The equations are text for people, set out already; they must not be broken like code.
            files[path] = with_imports(fold(body), target.sources, kernels).replace(EQUATIONS, spec.equations, 1)
        carried += target.carried
    if not standalone:
        return {path: text.replace("from ._runtime.", "from symbp.runtime.") for path, text in sorted(files.items())}
    return dict(sorted({**files, **_runtime_files(carried, files.values())}.items()))


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
    for name, kind in NODE_TESTS.items():
        environment.tests[name] = lambda node, kind=kind: isinstance(node, kind)
    environment.tests["argmax"] = lambda node: isinstance(node, nodes.Track) and node.position is not None
    return environment


def _context(plan: Plan, target: Target, spec: Spec, module: str) -> dict[str, Any]:
    made = target.context(plan, spec.dtype)
    return {
        "target": target.name,
        "needs": target.needs,
        "module": module,
        "dtype": spec.dtype,
        "spec_hash": spec.hash,
        "equations": EQUATIONS,
        "summary": spec.summary or "a model compiled from its equations.",
        "version": __version__,
        "plan": plan,
        "inputs": [input_text(t) for t in plan.inputs],
        "parameters": [parameter_text(p) for p in plan.parameters],
        "requirements": [requirement_text(r) for r in plan.requirements],
        "vectors": parts([f'"{name}"' for name in plan.state]),
        "settings": parts([setting_text(t) for t in plan.hyper if t.name != "t"]),
        "scratch_functions": scratch_functions(plan),
        "scratch_key": f"{plan.name} {spec.hash[:12]}",
        "usage": _usage(plan, **{name: made[name] for name in ("predict", "train", "fit")}),
        **made,
    }


def _usage(plan: Plan, *, predict: Any, train: Any, fit: Any) -> list[str]:
    """The lines that show how the package is used."""
    lines = []
    if predict is not None:
        lines.append(f"{', '.join(t.name for t in plan.outputs)} = {predict['call']}")
    if train is not None:
        lines.append(f"loss, grads = {call('net.loss_and_grad', ['params', *train['inputs']])}")
    if fit is not None:
        lines.append("state = net.optimizer_state(params)")
        lines.append(f"log = {call('net.fit', ['params', 'state', *train['inputs'], 'epochs=10'])}")
    return lines


# ------------------------------------------------------------------------------------------------------------ runtime


def _runtime_files(carried: Iterable[str], texts: Iterable[str]) -> dict[str, str]:
    """The copy of the runtime: the modules named, those that the texts import, and those that these import in turn."""
    pending = [*carried, *(m for text in texts for m in re.findall(r"from \._runtime\.([\w.]+) import", text))]
    found: dict[str, str] = {}
    while pending:
        module = pending.pop()
        if module not in found:
            source = _source_file(module).read_text(encoding="utf-8")
            found[module] = _local_imports(source, module)
            pending += _imported(source)
            pending += [module.rpartition(".")[0]] * ("." in module)  # the package that it lies in
    files = {"_runtime/__init__.py": '"""What the kernels and the interface of this package use; part of symbp."""\n'}
    for module in sorted(found):
        path = module.replace(".", "/")
        files[f"_runtime/{path}/__init__.py" if (RUNTIME / path).is_dir() else f"_runtime/{path}.py"] = found[module]
    return files


def _source_file(module: str) -> Path:
    """Where a module of the runtime lies, by its name in the copy: ``errors``, ``door``, ``cuda.kernel``."""
    if module == "errors":
        return RUNTIME.parent / "errors.py"
    path = RUNTIME.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


_OURS = re.compile(r"^( *from )symbp\.(?:runtime\.)?([\w.]+)(?= import)", flags=re.M)


def _imported(source: str) -> list[str]:
    """The modules of the runtime that a module imports, by their names in the copy."""
    return [match.group(2) for match in _OURS.finditer(source)]


def _local_imports(source: str, module: str) -> str:
    """The source with imports from its neighbours in the copy: ``from .door import``, ``from ..door import``."""
    home = module.split(".") if (RUNTIME / module.replace(".", "/")).is_dir() else module.split(".")[:-1]

    def local(match: re.Match[str]) -> str:
        wanted = match.group(2).split(".")
        common = 0
        while common < min(len(home), len(wanted) - 1) and home[common] == wanted[common]:
            common += 1
        return f"{match.group(1)}{'.' * (len(home) - common + 1)}{'.'.join(wanted[common:])}"

    text = _OURS.sub(local, source)
    return re.sub(r"(?:^from \.[\w.]+ import (?:\([^)]*\)|.*)\n)+", _sorted_imports, text, count=1, flags=re.M)


def _sorted_imports(block: re.Match[str]) -> str:
    """Farther modules first, then by name: the formatter's rule."""
    statements = re.findall(r"^from \.[\w.]+ import (?:\([^)]*\)|.*)\n", block.group(), flags=re.M)
    names = [s.split()[1] for s in statements]
    dots = [len(n) - len(n.lstrip(".")) for n in names]
    order = sorted(range(len(statements)), key=lambda k: (-dots[k], names[k]))
    return "".join(statements[k] for k in order)

"""The imports of generated files: what a text needs, and where it comes from."""

from __future__ import annotations

import ast
from collections.abc import Mapping

from symbp.codegen.layout import WIDTH

HERE = "@@IMPORTS@@"  # where a template leaves room for the imports

_STANDARD = {
    "Callable": "collections.abc",
    "Sequence": "collections.abc",
    "PathLike": "os",
    "Any": "typing",
}


def with_imports(text: str, sources: Mapping[str, str], kernels: str) -> str:
    """Put the imports that the text needs where the template left room for them.

    `sources` says which module of the runtime gives a name, `kernels` what the file of the kernels is called.
    """
    words = _free_names(ast.parse(text.replace(HERE, "", 1)))
    groups: list[list[str]] = [[], [], []]
    if "math" in words:
        groups[0].append("import math")
    for module in sorted(set(_STANDARD.values())):
        names = sorted(n for n, m in _STANDARD.items() if m == module and n in words)
        if names:
            groups[0].append(f"from {module} import {', '.join(names)}")
    if "np" in words:
        groups[1].append("import numpy as np")
    if "cuda" in words:
        groups[1].append("from numba import cuda")
    if "prange" in words:
        groups[1].append("from numba import prange")
    if "ArrayLike" in words:
        groups[1].append("from numpy.typing import ArrayLike")
    if "kernels" in words:
        groups[2].append("from . import kernels" if kernels == "kernels" else f"from . import {kernels} as kernels")
    for module in sorted(set(sources.values())):
        names = sorted((n for n, m in sources.items() if m == module and n in words), key=_import_order)
        if names:
            groups[2].append(_import(module, names))
    return text.replace(HERE, "\n\n".join("\n".join(g) for g in groups if g), 1)


def _import_order(name: str) -> tuple[int, str]:
    """Constants, then classes, then functions: the formatter's rule."""
    return (0 if name.isupper() else 1 if name[:1].isupper() else 2, name)


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
    if len(line) <= WIDTH:
        return line
    inner = "".join(f"    {n},\n" for n in names)
    return f"from ._runtime.{module} import (\n{inner})"

"""The whole derivation as aligned plain text, for a terminal or a comment."""

from __future__ import annotations

from collections.abc import Sequence

from symbp.explain.formula import Formula
from symbp.explain.matrix import matrix_form
from symbp.explain.notation import Bracket, Call, Quotient, affine_node, contains
from symbp.explain.outline import Outline, Section, outline
from symbp.explain.write_text import formula_text, matrix_text, shape_text, steps_text
from symbp.ir import Program, Tensor
from symbp.ir.derivation import Derivation

#: Beyond this, a long equation does not push the columns of the others to the right.
_WIDEST = 96


def text(
    subject: Derivation | Program,
    update: Program | None = None,
    *,
    wrt: Sequence[str] | None = None,
    declared: Program | None = None,
) -> str:
    """The equations of a model and of its derivatives, in the notation of spec files, with shapes and matrix forms.

    `wrt` shows only what the gradients of these tensors need. `declared` is the program as the user wrote it, shown
    first where it differs from the computed one. `update` holds the optimizer's equations.
    Raises SpecError if `wrt` names what has no gradient.
    """
    shown = outline(subject, wrt=wrt, declared=declared, update=update)
    lines = [shown.name, "=" * len(shown.name)]
    if shown.given:
        lines += ["", *_columns([_given_row(t) for t in shown.given])]
    for chapter in shown.chapters:
        lines += ["", chapter.title, "-" * len(chapter.title)]
        if chapter.note:
            lines.append(chapter.note)
        for section in chapter.sections:
            lines.append("")
            lines += _section(section)
    legend = legend_lines(shown)
    if legend:
        lines += ["", "Notation", "--------", *legend]
    return "\n".join(lines) + "\n"


def _given_row(tensor: Tensor) -> tuple[str, ...]:
    axes = f"[{', '.join(tensor.axes)}]" if tensor.axes else ""
    shape = shape_text(tuple(map(affine_node, tensor.shape)))
    details = [tensor.dtype.value] if tensor.dtype.value != "float" else []
    if tensor.below is not None:
        details.append(f"below {tensor.below}")
    if tensor.initializer is not None:
        details.append(tensor.initializer.kind)
    if tensor.default is not None:
        details.append(f"default {tensor.default:g}")
    return (f"  {tensor.role.value}", f"{tensor.name}{axes}", shape, ", ".join(details))


def _section(section: Section) -> list[str]:
    rows = [_formula_row(f) for f in section.formulas]
    left = max((len(row[0]) for row in rows), default=0)
    sign = max((len(row[1]) for row in rows), default=0)
    aligned = [(f"  {row[0]:<{left}} {row[1]:>{sign}} {row[2]}", *row[3:]) for row in rows]
    steps = [f"step by step, {steps_text(span)}" for span in section.steps]
    heading = "; ".join([section.title, *steps] if section.title else steps)
    return [*([f"{heading}:"] if heading else []), *_columns(aligned)]


def _formula_row(formula: Formula) -> tuple[str, ...]:
    left, sign, right, where = formula_text(formula)
    form = matrix_form(formula)
    return (left, sign, right, where, shape_text(formula.shape), matrix_text(form, formula.adds) if form else "")


def _columns(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """The rows with their cells below each other; a column that is empty everywhere takes no room."""
    used = [k for k in range(len(rows[0])) if any(row[k] for row in rows)] if rows else []
    widths = [max((len(row[k]) for row in rows if len(row[k]) <= _WIDEST), default=0) for k in used]
    return ["   ".join(f"{row[k]:<{w}}" for k, w in zip(used, widths, strict=True)).rstrip() for row in rows]


def legend_lines(shown: Outline) -> list[str]:
    """What the signs mean, as far as they occur."""
    lines = []
    if shown.gradients:
        lines.append(f"x_bar is the adjoint of x: the derivative of {shown.loss or 'the loss'} with respect to x.")
    if shown.deltas:
        lines.append(f"The delta of textbooks: {', '.join(shown.deltas)}.")
    formulas = shown.formulas
    if any(f.adds for f in formulas):
        lines.append("Equations with += add up: each brings what one reader of x contributes to x_bar.")
    if any(contains(f.right, lambda n: isinstance(n, Bracket)) for f in formulas):
        lines.append("[condition] is 1 where the condition holds, else 0.")
    if any(contains(f.right, lambda n: isinstance(n, Quotient) and n.guarded) for f in formulas):
        lines.append("safe_div(a, b) is a/b, and 0 where b is 0.")
    if any(contains(f.right, lambda n: isinstance(n, Call) and n.function == "stop_gradient") for f in formulas):
        lines.append("stop_gradient(x) is x, but every derivative takes it for a constant.")
    if any(f.conditions for f in formulas):
        lines.append("Outside of its conditions, an equation says nothing; what no equation writes is 0.")
    if any(matrix_form(f) for f in formulas):
        lines.append("In matrix form, 1 is a column of ones and ᵀ transposes.")
    return lines

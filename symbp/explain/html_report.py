"""The derivation as one HTML file that needs nothing else: MathML, a little style, light and dark, ready to print."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from symbp.explain.formula import Formula
from symbp.explain.matrix import matrix_form
from symbp.explain.names import typeset_names
from symbp.explain.notation import affine_node
from symbp.explain.outline import outline
from symbp.explain.text_report import legend_lines
from symbp.explain.write_mathml import MathmlWriter
from symbp.explain.write_text import formula_text, matrix_text
from symbp.ir import Program, Tensor
from symbp.ir.derivation import Derivation

_PACKAGE = Path(__file__).resolve().parents[1]
_FOLDERS = (_PACKAGE / "templates" / "report", _PACKAGE.parent / "templates" / "report")


def html(
    subject: Derivation | Program,
    update: Program | None = None,
    *,
    wrt: Sequence[str] | None = None,
    declared: Program | None = None,
) -> str:
    """A self-contained page with every equation, its shape, its matrix form and where it comes from.

    Arguments as for `text`. Nothing is fetched when it is opened, and no name of the model can act as markup. Raises
    SpecError if `wrt` names what has no gradient.
    """
    shown = outline(subject, wrt=wrt, declared=declared, update=update)
    writer = MathmlWriter(typeset_names(shown.programs))
    given = [_given(writer, tensor) for tensor in shown.given]
    chapters = [
        {
            "id": chapter.kind,
            "title": chapter.title,
            "note": chapter.note,
            "sections": [
                {
                    "title": section.title,
                    "steps": [writer.steps(span) for span in section.steps],
                    "formulas": [_formula(writer, formula) for formula in section.formulas],
                }
                for section in chapter.sections
            ],
        }
        for chapter in shown.chapters
    ]
    gradients = [(writer.tensor(name), writer.tensor(bar)) for name, bar in shown.gradients]
    template = _environment().get_template("report.html.j2")
    return template.render(
        name=shown.name, given=given, chapters=chapters, gradients=gradients, legend=legend_lines(shown)
    )


def _environment() -> Environment:
    # In a wheel the templates lie inside the package, in a checkout beside it.
    folders = [str(folder) for folder in _FOLDERS]
    return Environment(
        loader=FileSystemLoader(folders),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _given(writer: MathmlWriter, tensor: Tensor) -> dict[str, object]:
    details = []
    if tensor.below is not None:
        details.append(f"integers below {tensor.below}")
    if tensor.initializer is not None:
        details.append(tensor.initializer.kind.replace("_", " "))
    if tensor.default is not None:
        details.append(f"default {tensor.default:g}")
    return {
        "name": tensor.name,
        "math": writer.tensor(tensor.name),
        "role": tensor.role.value,
        "shape": writer.shape(tuple(map(affine_node, tensor.shape))),
        "axes": ", ".join(tensor.axes),
        "details": ", ".join(details),
    }


def _formula(writer: MathmlWriter, formula: Formula) -> dict[str, object]:
    form = matrix_form(formula)
    origin = formula.origin
    return {
        "tensor": formula.left.tensor,
        "left": writer.left(formula),
        "right": writer.right(formula),
        "conditions": writer.conditions(formula),
        "shape": writer.shape(formula.shape),
        "matrix": writer.matrix(form, formula.adds) if form else Markup(""),
        "text": " ".join(part for part in formula_text(formula) if part),
        "matrix_text": matrix_text(form, formula.adds) if form else "",
        "origin": "  ".join(part for part in (origin.equation, origin.place, origin.note) if part),
    }

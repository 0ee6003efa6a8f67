"""The equations as plain records, for programs that show or search them."""

from __future__ import annotations

from collections.abc import Sequence

from symbp.explain.matrix import matrix_form
from symbp.explain.outline import outline
from symbp.explain.write_text import formula_text, matrix_text, shape_text
from symbp.ir import Program
from symbp.ir.derivation import Derivation


def records(
    subject: Derivation | Program,
    update: Program | None = None,
    *,
    wrt: Sequence[str] | None = None,
    declared: Program | None = None,
) -> list[dict[str, str]]:
    """One record per equation: chapter, section, tensor, shape, the equation as text and, where it has one, its matrix
    form. Arguments and errors as for `text`."""
    found = []
    for chapter in outline(subject, wrt=wrt, declared=declared, update=update).chapters:
        for section in chapter.sections:
            for formula in section.formulas:
                form = matrix_form(formula)
                found.append(
                    {
                        "chapter": chapter.kind,
                        "section": section.title,
                        "tensor": formula.left.tensor,
                        "shape": shape_text(formula.shape),
                        "equation": " ".join(part for part in formula_text(formula) if part),
                        "matrix": matrix_text(form, formula.adds) if form else "",
                    }
                )
    return found

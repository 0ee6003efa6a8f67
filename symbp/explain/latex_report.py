"""The derivation as LaTeX: fragments to paste into a paper, or a document that compiles by itself."""

from __future__ import annotations

from collections.abc import Sequence

from symbp.explain.matrix import matrix_form
from symbp.explain.names import typeset_names
from symbp.explain.notation import Element, affine_node
from symbp.explain.outline import Chapter, Outline, Section, outline
from symbp.explain.write_latex import LatexWriter, escape
from symbp.ir import Program
from symbp.ir.derivation import Derivation

_PREAMBLE = r"""\documentclass{article}
\usepackage[a4paper, margin=25mm]{geometry}
\usepackage{amsmath, amssymb, booktabs}
\allowdisplaybreaks
"""


def latex(
    subject: Derivation | Program,
    update: Program | None = None,
    *,
    wrt: Sequence[str] | None = None,
    declared: Program | None = None,
    standalone: bool = False,
) -> str:
    """The equations as ``align`` environments under headings, ready for ``\\input``; `amsmath` is needed.

    Arguments as for `text`; `standalone` gives a whole document. Raises SpecError if `wrt` names what has no gradient.
    """
    shown = outline(subject, wrt=wrt, declared=declared, update=update)
    writer = LatexWriter(typeset_names(shown.programs))
    heading = "section" if standalone else "paragraph"
    parts = [_declarations(shown, writer)] if standalone else []
    parts += [_chapter(chapter, writer, heading) for chapter in shown.chapters]
    if shown.gradients:
        parts.append(_legend(shown, writer))
    body = "\n\n".join(part for part in parts if part)
    if not standalone:
        return f"% {_one_line(shown.name)}: equations and derivatives; needs \\usepackage{{amsmath}}\n{body}\n"
    title = rf"\title{{{escape(shown.name)}}}" "\n" r"\author{}\date{}"
    return f"{_PREAMBLE}{title}\n\\begin{{document}}\n\\maketitle\n\n{body}\n\n\\end{{document}}\n"


def _one_line(text: str) -> str:
    """A comment ends where its line ends."""
    return " ".join(text.split())


def _declarations(shown: Outline, writer: LatexWriter) -> str:
    rows = []
    for tensor in shown.given:
        shape = writer.shape(tuple(map(affine_node, tensor.shape)))
        size = f"${shape}$" if shape else "scalar"
        rows.append(rf"${_bare(writer, tensor.name)}$ & {tensor.role.value} & {size} \\")
    if not rows:
        return ""
    table = "\n".join(rows)
    begin = "\\begin{center}\n\\begin{tabular}{lll}\n\\toprule"
    return f"{begin}\n{table}\n\\bottomrule\n\\end{{tabular}}\n\\end{{center}}"


def _bare(writer: LatexWriter, tensor: str) -> str:
    return writer.node(Element(tensor))


def _chapter(chapter: Chapter, writer: LatexWriter, heading: str) -> str:
    parts = [rf"\{heading}*{{{escape(chapter.title)}}}"]
    if chapter.note:
        parts.append(escape(chapter.note))
    parts += [_section(section, writer) for section in chapter.sections]
    return "\n".join(parts)


def _section(section: Section, writer: LatexWriter) -> str:
    steps = [rf"step by step, ${writer.steps(span)}$" for span in section.steps]
    title = "; ".join([escape(section.title), *steps] if section.title else steps)
    rows = []
    for formula in section.formulas:
        form = matrix_form(formula)
        # The matrix form as a comment: it is there to be used, and does not make the row too long.
        note = f"  % {writer.matrix(form, formula.adds)}" if form else ""
        rows.append((f"  {writer.formula(formula)}", note))
    ends = [r" \\"] * (len(rows) - 1) + [""]
    lines = [f"{row}{end}{note}" for (row, note), end in zip(rows, ends, strict=True)]
    begin = [rf"\noindent\textbf{{{title}}}"] if title else []
    return "\n".join([*begin, r"\begin{align}", *lines, r"\end{align}"])


def _legend(shown: Outline, writer: LatexWriter) -> str:
    loss = _bare(writer, shown.loss) if shown.loss else r"\mathrm{loss}"
    lines = [rf"Here $\bar{{x}} = \partial {loss} / \partial x$ is the adjoint of $x$."]
    if shown.deltas:
        names = ", ".join(f"${_bare(writer, name)}$" for name in shown.deltas)
        lines.append(f"The $\\delta$ of textbooks: {names}.")
    return " ".join(lines)

"""What is told, in which order: declarations, the model, then the derivatives grouped by the weights they belong to.

The order is the one in which backpropagation is taught: from the loss towards the inputs; each section brings the
adjoints that are new, then the gradients that they give.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from symbp.errors import SpecError, did_you_mean
from symbp.explain.formula import Formula, formulas, state_requests, temporaries
from symbp.explain.notation import IndexName, Span, affine_node
from symbp.ir import Program, Role, Statement, Tensor
from symbp.ir.derivation import Derivation
from symbp.ir.order import Scan, order


@dataclass(frozen=True)
class Section:
    """Equations under one heading. `steps` tells, first and last, over what a recurrence among them runs."""

    title: str
    formulas: tuple[Formula, ...]
    steps: tuple[Span, ...] = ()


@dataclass(frozen=True)
class Chapter:
    """``model``, ``forward``, ``backward`` or ``update``, with its sections."""

    kind: str
    title: str
    sections: tuple[Section, ...]
    note: str = ""


@dataclass(frozen=True)
class Outline:
    """All that a report shows. `programs` hold every tensor that a formula mentions."""

    name: str
    loss: str
    programs: tuple[Program, ...]
    given: tuple[Tensor, ...]
    chapters: tuple[Chapter, ...]
    gradients: tuple[tuple[str, str], ...] = ()
    deltas: tuple[str, ...] = ()

    @property
    def formulas(self) -> tuple[Formula, ...]:
        return tuple(f for c in self.chapters for s in c.sections for f in s.formulas)


def outline(
    subject: Derivation | Program,
    *,
    wrt: Sequence[str] | None = None,
    declared: Program | None = None,
    update: Program | None = None,
) -> Outline:
    """The outline of a derivation (or of a program alone).

    `wrt` keeps only what the gradients of these tensors need; `declared` is the model as the user wrote it, shown first
    where it differs from what is computed; `update` holds the optimizer's equations.
    Raises SpecError if `wrt` names something that has no gradient.
    """
    derivation = subject if isinstance(subject, Derivation) else Derivation(subject, subject, ())
    derivation = _restrict(derivation, wrt)
    program = derivation.program
    chapters = [*_model_chapters(derivation, declared), *_backward(derivation)]
    programs = [program, *([declared] if declared else []), *([update] if update else [])]
    if update is not None:
        shown = formulas(update, in_order(update, update.statements), temporaries(update))
        note = f"One step of {update.name}, for every weight i at once."
        chapters.append(Chapter("update", "Update", (Section("", tuple(shown)),), note))
    used = {name for s in program.statements for name in s.tensors_read}
    given = tuple(t for t in program.tensors if t.is_given and t.name in used)
    return Outline(
        program.name,
        program.loss,
        tuple(programs),
        given,
        tuple(chapters),
        derivation.gradients,
        _deltas(derivation),
    )


def _restrict(derivation: Derivation, wrt: Sequence[str] | None) -> Derivation:
    if wrt is None:
        return derivation
    known = dict(derivation.gradients)
    for name in wrt:
        if name not in known:
            raise SpecError(
                f"'{name}' has no gradient in model '{derivation.program.name}'", remedy=_offer(name, known)
            )
    gradients = tuple((name, bar) for name, bar in derivation.gradients if name in wrt)
    wanted = [bar for _, bar in gradients] + ([derivation.program.loss] if derivation.program.loss else [])
    program = derivation.program.keep_live(wanted)
    kept = {s.tensor for s in program.statements}
    primal = derivation.primal.with_statements(s for s in derivation.primal.statements if s.tensor in kept)
    return Derivation(program, primal, gradients)


def _offer(name: str, known: dict[str, str]) -> str:
    return did_you_mean(name, known) or f"it has gradients of {', '.join(sorted(known)[:12])}, .."


def _model_chapters(derivation: Derivation, declared: Program | None) -> list[Chapter]:
    """The model as declared, and the forward pass as computed where that is not the same."""
    program = derivation.program
    backward = set(derivation.backward)
    primal = tuple(s for s in program.statements if s not in backward)
    # What is read once is counted over the whole program: a value that the backward pass reuses keeps its name.
    computed = _by_layer(program, formulas(program, in_order(program, primal), temporaries(program)))
    if declared is None:
        return [Chapter("forward", "Forward pass" if derivation.gradients else "Equations", computed)]
    stated, requests = state_requests(declared)
    kept = stated.keep_live([declared.loss] if declared.loss and derivation.gradients else declared.outputs)
    written = _by_layer(kept, formulas(kept, in_order(kept, kept.statements), temporaries(kept), requests))
    model = Chapter("model", "The model", written)
    new = _without(computed, written)
    if not new:
        return [model]
    note = "The model above is computed, but for these equations: safe from overflow, naming what is used again."
    return [model, Chapter("forward", "Forward pass", new, note)]


def _without(sections: tuple[Section, ...], told: tuple[Section, ...]) -> tuple[Section, ...]:
    """The sections without the equations that have been told."""

    def key(formula: Formula) -> tuple[object, ...]:
        return (formula.left, formula.right, formula.conditions)

    known = {key(f) for section in told for f in section.formulas}
    left = [replace(s, formulas=tuple(f for f in s.formulas if key(f) not in known)) for s in sections]
    return tuple(s for s in left if s.formulas)


def _by_layer(program: Program, shown: Sequence[Formula]) -> tuple[Section, ...]:
    """One section for each run of equations of one layer."""
    runs: list[tuple[str, list[Formula]]] = []
    for formula in shown:
        layer = formula.origin.layer
        if not runs or runs[-1][0] != layer:
            runs.append((layer, []))
        runs[-1][1].append(formula)
    layered = any(layer for layer, _ in runs)
    scans = _scans(program)
    return tuple(_section(layer or (_untitled(program, g) if layered else ""), g, scans) for layer, g in runs)


def _untitled(program: Program, group: list[Formula]) -> str:
    return "loss" if any(f.left.tensor == program.loss for f in group) else "model"


def _scans(program: Program) -> tuple[Scan, ...]:
    return tuple(step for step in order(program) if isinstance(step, Scan))


def _section(title: str, shown: list[Formula], scans: Sequence[Scan]) -> Section:
    tensors = {f.left.tensor for f in shown}
    steps = []
    for scan in scans:
        if not tensors.isdisjoint(scan.tensors):
            ends = (scan.start, scan.stop - 1) if scan.direction > 0 else (scan.stop - 1, scan.start)
            steps.append(Span(IndexName(scan.index.name), affine_node(ends[0]), affine_node(ends[1])))
    return Section(title, tuple(shown), tuple(steps))


def _backward(derivation: Derivation) -> list[Chapter]:
    """One section for each weight, or for the weights that need the same adjoints."""
    program = derivation.program
    backward = derivation.backward
    if not backward:
        return []
    own = {s.tensor for s in backward}
    needs = {bar: _needed(program, bar, own) for _, bar in derivation.gradients}
    ordered = in_order(program, backward)
    written_out = temporaries(program)
    told: dict[str, None] = {}
    sections: list[tuple[list[str], list[Formula]]] = []
    left = dict(derivation.gradients)
    while left:
        # The weight nearest to what has been told comes next: it needs the fewest new adjoints.
        name = min(left, key=lambda n: len(needs[left[n]].keys() - told.keys()))
        bar = left.pop(name)
        new = [t for t in needs[bar] if t not in told]
        told.update(dict.fromkeys(new))
        shown = formulas(program, [s for s in ordered if s.tensor in new], written_out)
        if sections and new == [bar]:
            sections[-1][0].append(name)
            sections[-1][1].extend(shown)
        else:
            sections.append(([name], shown))
    rest = formulas(program, [s for s in ordered if s.tensor not in told], written_out)
    if rest:
        sections.append(([], rest))
    scans = _scans(program)
    built = tuple(_section(_title(names, program), shown, scans) for names, shown in sections)
    return [Chapter("backward", "Backward pass", built)]


def _needed(program: Program, bar: str, own: set[str]) -> dict[str, None]:
    """The tensors of the backward pass that `bar` depends on, itself included."""
    found: dict[str, None] = {bar: None}
    pending = [bar]
    while pending:
        for statement in program.definitions(pending.pop()):
            for name in statement.tensors_read:
                if name in own and name not in found:
                    found[name] = None
                    pending.append(name)
    return found


def _title(names: list[str], program: Program) -> str:
    layers = {s.origin.layer for n in names for s in program.readers(n) if s.origin.layer}
    layer = f" (layer {layers.pop()})" if len(layers) == 1 else ""
    return f"{', '.join(names)}{layer}" if names else "Other adjoints"


def _deltas(derivation: Derivation) -> tuple[str, ...]:
    """The adjoints that a weight's gradient is a sum over: what textbooks call delta."""
    program = derivation.program
    found: dict[str, None] = {}
    for name, bar in derivation.gradients:
        for statement in program.definitions(bar):
            reads = [r.tensor for r in statement.body.reads]
            if statement.reduced and program.tensor(name).role is Role.PARAMETER:
                found.update(dict.fromkeys(r for r in reads if program.tensor(r).role is Role.ADJOINT))
    return tuple(found)


def in_order(program: Program, statements: Sequence[Statement]) -> list[Statement]:
    """The statements in the order in which they are computed; those of a recurrence in the order of one step."""
    computed = [s for step in order(program) for s in step.statements]
    places = {statement: place for place, statement in enumerate(computed)}
    # A recurrence may have shifted an index of a statement: it is then the one left over of its tensor.
    known = set(program.statements)
    shifted: dict[str, list[int]] = {}
    for place, statement in enumerate(computed):
        if statement not in known:
            shifted.setdefault(statement.tensor, []).append(place)
    for statement in program.statements:
        if statement not in places:
            left = shifted.get(statement.tensor, [])
            places[statement] = left.pop(0) if left else len(computed)
    return sorted(statements, key=lambda s: places[s])

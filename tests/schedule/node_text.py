"""Nodes of a plan as lines of text, for comparison."""

from __future__ import annotations

from collections.abc import Iterable

from symbp.ir import Affine, Program, statement_text
from symbp.ir.nodes import (
    Barrier,
    Bound,
    Combine,
    Contract,
    Dealt,
    Factor,
    Fill,
    If,
    Largest,
    Loop,
    Node,
    Note,
    Once,
    Product,
    SetIndex,
    Settle,
    Share,
    Slice,
    Spread,
    Store,
    Track,
)
from symbp.ir.plan import Launch, Nest, Repeat, Step
from symbp.ir.statement import Statement
from symbp.ir.text import body_text, guard_text
from symbp.schedule.lower import lower_statement


def node_lines(nodes: Iterable[Node], indent: str = "") -> list[str]:
    lines: list[str] = []
    for node in nodes:
        if isinstance(node, Loop):
            down = " down" if node.step < 0 else ""
            lines.append(f"{indent}for {node.index} in {_range(node.lower, node.stop)}{down}:")
            lines += node_lines(node.body, indent + "  ")
        elif isinstance(node, Share):
            lines.append(f"{indent}share {', '.join(map(_dealt, node.axes))}:")
            lines += node_lines(node.body, indent + "  ")
        elif isinstance(node, Once):
            lines.append(f"{indent}once:")
            lines += node_lines(node.body, indent + "  ")
        elif isinstance(node, If):
            lines.append(f"{indent}if {', '.join(map(guard_text, node.guards))}:")
            lines += node_lines(node.body, indent + "  ")
        else:
            lines.append(indent + _line(node))
    return lines


def step_lines(steps: Iterable[Step], indent: str = "") -> list[str]:
    """The launches of a procedure, each kernel with its points and what is done at each."""
    lines: list[str] = []
    for step in steps:
        if isinstance(step, Launch):
            kernel = step.kernel
            points = ", ".join(map(_dealt, kernel.points))
            lines.append(f"{indent}launch {kernel.name}, a {kernel.team.value} for each of {points or 'one'}:")
            lines += node_lines(kernel.body, indent + "  ")
        elif isinstance(step, Repeat):
            down = " down" if step.step < 0 else ""
            lines.append(f"{indent}repeat {step.index} in {_range(step.lower, step.stop)}{down}:")
            lines += step_lines(step.steps, indent + "  ")
        else:
            lines.append(indent + _line(step))
    return lines


def _dealt(axis: Dealt) -> str:
    return f"{axis.index} in {_range(axis.lower, axis.stop)}"


def _range(lower: Bound, stop: Bound) -> str:
    texts = [str(b) if len(b.values) == 1 else f"{word}({b})" for b, word in ((lower, "max"), (stop, "min"))]
    return "..".join(texts)


def _factor(factor: Factor) -> str:
    return f"{factor.tensor}[{', '.join(str(a) if isinstance(a, Affine) else _dealt(a) for a in factor.axes)}]"


def _line(node: Node) -> str:
    if isinstance(node, Note):
        return f"# {statement_text(node.statement)}"
    if isinstance(node, Store):
        return f"{node.target} {node.update.value} {body_text(node.value)}"
    if isinstance(node, SetIndex):
        return f"{node.index} := {node.value}"
    if isinstance(node, Track):
        where = f" at {node.position} = {node.at}" if node.position else ""
        return f"{node.best} max= {body_text(node.value)}{where}"
    if isinstance(node, Fill):
        return f"fill {node.tensor} with {node.value}"
    if isinstance(node, Barrier):
        return "barrier"
    if isinstance(node, Combine):
        return f"{node.local} {node.reduction.value} over the team"
    if isinstance(node, Largest):
        return f"{node.largest}[0] max= |{body_text(node.value)}|"
    if isinstance(node, Spread):
        return f"{node.sums}[{', '.join(map(str, node.subscripts))}] whole+= {body_text(node.value)}"
    if isinstance(node, Settle):
        return f"{node.target} {node.update.value} real({node.sums})"
    if isinstance(node, Contract):
        sign = "+=" if node.accumulate else "="
        return f"{_factor(node.out)} {sign} {_factor(node.left)} * {_factor(node.right)}"
    assert isinstance(node, Product)
    part = f" {node.triangle.value} {node.shift}" if node.triangle else ""
    return f"{_slice(node.out)} {'+=' if node.accumulate else '='} {_slice(node.left)} @ {_slice(node.right)}{part}"


def _slice(part: Slice) -> str:
    axes = ", ".join(str(a) if isinstance(a, Affine) else f"{a[0]}:{a[1]}" for a in part.axes)
    shape = f" as {part.rows}x{part.columns}" if (part.rows, part.columns) != (1, 1) else ""
    return f"{part.tensor}[{axes}]{shape}{'.T' if part.transposed else ''}"


def nest_lines(nests: Iterable[Nest]) -> list[str]:
    """All nests, an empty line between them."""
    lines: list[str] = []
    for nest in nests:
        lines += ["", *node_lines(nest.nodes)] if lines else node_lines(nest.nodes)
    return lines


def equations(program: Program) -> list[str]:
    return [statement_text(s) for s in program.statements]


def lowered(program: Program, name: str, *, fresh: bool = True, at: int = 0) -> list[str]:
    """The loops of one of the statements that write `name`."""
    statement: Statement = program.definitions(name)[at]
    return node_lines(lower_statement(statement, program, fresh=fresh))

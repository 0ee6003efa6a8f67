"""Put equations where a reader looks for them: above the loops that carry them out.

A nest whose loops lie one in the other is headed by all its equations. Where an outer loop holds several inner ones
(the rows of a softmax), each inner loop keeps its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from symbp.ir.nodes import Contract, Fill, If, Loop, Node, Note, Product, Slide
from symbp.ir.plan import Nest
from symbp.ir.walk_nodes import walk


def head_with_equations(nests: Iterable[Nest]) -> tuple[Nest, ...]:
    """Every nest with its notes as far out as they are unambiguous."""
    return tuple(replace(nest, nodes=_lift(nest.nodes)) for nest in nests)


def _lift(nodes: tuple[Node, ...]) -> tuple[Node, ...]:
    result: list[Node] = []
    for node in nodes:
        if isinstance(node, Loop | If):
            body = _lift(node.body)
            notes = tuple(n for n in body if isinstance(n, Note))
            rest = tuple(n for n in body if not isinstance(n, Note))
            if notes and (_is_flat(rest) or len(rest) == 1 or _is_one_equation(body)):
                result += [*notes, replace(node, body=rest)]
            else:
                result.append(replace(node, body=body))
        else:
            result.append(node)
    return _notes_before_work(result)


def _is_one_equation(body: tuple[Node, ...]) -> bool:
    """True if a single note heads the body and there is none further in."""
    return isinstance(body[0], Note) and sum(isinstance(n, Note) for n in walk(body)) == 1


def _is_flat(nodes: tuple[Node, ...]) -> bool:
    """True if there is nothing but assignments."""
    return not any(
        isinstance(n, Loop | Product | Slide | Contract) or (isinstance(n, If) and not _is_flat(n.body)) for n in nodes
    )


def _notes_before_work(nodes: list[Node]) -> tuple[Node, ...]:
    """A tensor is cleared under the heading of its equation, not above it."""
    if nodes and all(isinstance(n, Note) or k >= len(nodes) - 1 for k, n in enumerate(nodes)):
        return tuple(nodes)
    *lead, last = nodes
    if isinstance(last, Loop) and any(isinstance(n, Note) for n in lead):
        others = [n for n in lead if not isinstance(n, Note)]
        if all(isinstance(n, Fill) for n in others):
            return (*(n for n in lead if isinstance(n, Note)), *others, last)
    return tuple(nodes)

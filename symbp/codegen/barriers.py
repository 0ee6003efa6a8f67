"""Where the threads of a kernel wait for each other: above the equations that wait, and where all of them pass."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from symbp.codegen.writer import mentioned
from symbp.ir.affine import Index
from symbp.ir.nodes import Barrier, Combine, If, Loop, Node, Note, Once, Settle, Share, Store
from symbp.ir.plan import Kernel, Team
from symbp.ir.walk_nodes import walk


def barriers_first(nodes: tuple[Node, ...]) -> tuple[Node, ...]:
    """The nodes with each barrier above the equations of what waits for it, not between them and their code."""
    result: list[Node] = []
    for node in nodes:
        if isinstance(node, Barrier):
            at = len(result)
            while at and isinstance(result[at - 1], Note):
                at -= 1
            result.insert(at, node)
        elif isinstance(node, Loop | If | Share | Once):
            result.append(replace(node, body=barriers_first(node.body)))
        else:
            result.append(node)
    return tuple(result)


def check_uniform(kernel: Kernel) -> None:
    """Threads that wait for each other all come: nothing of the team stands where only some of its threads pass.

    The threads of a block are several columns, so what a column does together must not depend on its point either.
    """
    points = frozenset(axis.index for axis in kernel.points) if kernel.team is Team.COLUMN else frozenset()
    _check_nodes(kernel.body, kernel, points, together=kernel.team is not Team.THREAD)


def _check_nodes(nodes: Iterable[Node], kernel: Kernel, points: frozenset[Index], *, together: bool) -> None:
    for node in nodes:
        if isinstance(node, Combine | Barrier | Share | Once):
            assert together, f"{kernel.name}: {type(node).__name__} where not every thread passes"
        writes = isinstance(node, Settle) or (isinstance(node, Store) and bool(node.target.subscripts))
        alone = not together or kernel.team is Team.THREAD
        assert alone or not writes, f"{kernel.name}: all threads of a team write one element"
        if isinstance(node, Share | Once):
            _check_nodes(node.body, kernel, points, together=False)
        elif isinstance(node, Loop | If):
            values = [v for part in mentioned((replace(node, body=()),)) for v in (part,)]
            differs = any(points & {*v.indices()} or (points and v.reads()) for v in values)
            waits = any(isinstance(n, Combine | Barrier) for n in walk(node.body))
            assert not (differs and waits), (
                f"{kernel.name}: columns wait in {type(node).__name__} at points of their own"
            )
            _check_nodes(node.body, kernel, points, together=together)

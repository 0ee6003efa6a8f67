"""Read once, ahead of a loop, what every turn of it would read.

    for q: a[t, b, q] = E[word[b, t], q]      ==>      word_bt = word[b, t];  for q: a[t, b, q] = E[word_bt, q]

A compiler that cannot tell whether the loop's stores change what it reads does one turn after the other: rows of a
table took seven times as long to copy, and a softmax four times as long whose maximum lies in an array.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from symbp.ir.affine import ONE, Index, Read
from symbp.ir.body import Body
from symbp.ir.names import fresh_name
from symbp.ir.nodes import If, Loop, Node, Note, Store
from symbp.ir.plan import Procedure
from symbp.ir.program import Role, Tensor
from symbp.ir.trace import counted, tell
from symbp.ir.walk_nodes import map_elements
from symbp.schedule.access import touched

#: A loop of fewer turns is written out by the compiler, reads and all.
FEWEST_TURNS = 8


def hoist_reads(
    procedures: Iterable[Procedure], tensors: Mapping[str, Tensor]
) -> tuple[list[Procedure], dict[str, Tensor]]:
    """The procedures with such reads ahead of their innermost loops, and the scalars that hold what was read, by name.

    Only loops that store along a row are concerned: in others there is nothing to vectorise, or no store.
    """
    hoister = _Hoister(dict(tensors))
    made = []
    for procedure in procedures:
        hoister.tensors |= {t.name: t for t in procedure.tensors}
        nests = tuple(replace(nest, nodes=hoister.nodes(nest.nodes)) for nest in procedure.nests)
        made.append(replace(procedure, nests=nests))
    if hoister.scalars:
        tell("hoist_reads", counted(len(made), "function"), counted(len(made), "function"), made=hoister.scalars)
    return made, hoister.scalars


class _Hoister:
    """Gives each element that is read ahead of a loop a scalar, the same wherever it is read again."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        self.tensors = tensors
        self.names: dict[Read, str] = {}
        self.scalars: dict[str, Tensor] = {}

    def nodes(self, nodes: Iterable[Node]) -> tuple[Node, ...]:
        result: list[Node] = []
        held: dict[Read, Read] = {}  # what scalars hold at this point, until it is written
        for node in nodes:
            if isinstance(node, Loop) and (found := self._to_hoist(node)):
                for element in found:
                    if element not in held:
                        held[element] = self._scalar(element)
                        result.append(Store(held[element], Body.of(element)))
                node = replace(node, body=tuple(_reading_scalars(n, {e: held[e] for e in found}) for n in node.body))
            elif isinstance(node, Loop | If):
                node = replace(node, body=self.nodes(node.body))
            result.append(node)
            _, written = touched([node])
            held = {e: scalar for e, scalar in held.items() if not written & {r.tensor for r in _within(e)}}
        return tuple(result)

    def _to_hoist(self, loop: Loop) -> tuple[Read, ...]:
        body = [n for n in loop.body if not isinstance(n, Note)]
        turns = loop.stop.values[0] - loop.lower.values[0]
        if turns.is_constant and int(turns) < FEWEST_TURNS:
            return ()
        if len(loop.lower.values) > 1 or len(loop.stop.values) > 1 or not all(isinstance(n, Store) for n in body):
            return ()
        stores = [n for n in body if isinstance(n, Store)]
        along_a_row = (self._walks_along_a_row(n.target, loop.index) for n in stores if n.target.subscripts)
        if not any(along_a_row):
            return ()
        written = {n.target.tensor for n in stores}
        found: dict[Read, None] = {}
        for store in stores:
            for element in _elements(store):
                if loop.index in (i for s in element.subscripts for i in s.indices()):
                    continue
                if _is_plain(element) and not written & {r.tensor for r in _within(element)}:
                    found[element] = None
        return tuple(found)

    def _walks_along_a_row(self, element: Read, index: Index) -> bool:
        extents = self.tensors[element.tensor].shape
        moving = [s for s, extent in zip(element.subscripts, extents, strict=True) if extent != ONE]
        return bool(moving) and moving[-1].coefficient(index) == ONE

    def _scalar(self, element: Read) -> Read:
        if element not in self.names:
            places = "".join(str(s) for s in element.subscripts)
            name = fresh_name(f"{element.tensor}_{places}", {**self.tensors, **self.scalars})
            source = self.tensors[element.tensor]
            self.scalars[name] = Tensor(name, (), Role.ACTIVATION, dtype=source.dtype, below=source.below)
            self.names[element] = name
        return Read(self.names[element])


def _is_plain(element: Read) -> bool:
    """True for an element that is there whether or not the loop has a turn: loops around run over whole axes."""
    return bool(element.subscripts) and all(
        s.as_index() is not None or (s.is_constant and int(s) >= 0) for s in element.subscripts
    )


def _elements(store: Store) -> Iterator[Read]:
    """Every element that a store reads, those within subscripts first."""
    for operand in (store.target, *store.value.operands):
        for subscript in operand.subscripts if isinstance(operand, Read) else (operand,):
            yield from subscript.reads()
    yield from store.value.reads


def _within(element: Read) -> tuple[Read, ...]:
    return (element, *(r for s in element.subscripts for r in s.reads()))


def _reading_scalars(node: Node, scalars: Mapping[Read, Read]) -> Node:
    return map_elements(node, lambda element: scalars.get(element, element))

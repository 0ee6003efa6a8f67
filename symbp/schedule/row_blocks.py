"""Take the rows of a large matrix in blocks, where each row goes its own way.

    a = q @ k.T                                      for t_first in range(0, n_time, 64):
    for t:  p[t] = softmax(a[t])           ==>           a = q[t_first:t_last] @ k.T       64 rows of scores
    o = p @ v                                            for t:  p[t - t_first] = softmax(a[t - t_first])
                                                         o[t_first:t_last] = p @ v

Of the matrices (here `a` and `p`) only one block is there at a time, which stays in the cache however many rows there
are. A product that sums over the rows adds up the blocks, in their order.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from symbp.ir.affine import ZERO, Affine, Index, Read
from symbp.ir.body import Body
from symbp.ir.nodes import Bound, Loop, Node, Note, Product, Slice, Store, Triangle
from symbp.ir.plan import Nest
from symbp.ir.program import Tensor
from symbp.ir.statement import fresh_index
from symbp.ir.trace import counted, tell
from symbp.ir.walk_nodes import map_elements, walk
from symbp.schedule.access import accesses, loop_indices, touched, users_of_tensors

#: Bytes of a matrix above which it is taken in blocks, and of a block at most.
LARGE_MATRIX = 1 << 20
LARGEST_BLOCK = 1 << 21
#: Rows of a block, fewer where they are long; but so many at least, or products spend their time on packing factors.
ROWS_OF_A_BLOCK = 256
FEWEST_ROWS = 64


def block_rows(
    nests: Sequence[Nest], tensors: Mapping[str, Tensor], candidates: Iterable[str]
) -> tuple[tuple[Nest, ...], dict[str, Tensor]]:
    """The nests with the loops over blocks, and the candidates of which only a block is left, as they are then."""
    wanted = [n for n in candidates if tensors[n].rank == 2 and _is_large(tensors[n])]
    homes = users_of_tensors(nest.nodes for nest in nests)
    found: dict[str, Tensor] = {}
    result = []
    for k, nest in enumerate(nests):
        mine = frozenset(n for n in wanted if homes.get(n) == [k])
        blocked = _blocked(nest.nodes, tensors, mine, found) if mine else nest.nodes
        result.append(replace(nest, nodes=blocked))
    if found:
        tell("block_rows", counted(len(found), "matrix"), counted(len(found), "block"), made=sorted(found))
    return tuple(result), found


def _is_large(tensor: Tensor) -> bool:
    if not all(extent.is_constant for extent in tensor.shape):
        return True
    rows, columns = map(int, tensor.shape)
    return 4 * rows * columns > LARGE_MATRIX


def _names(nodes: Iterable[Node]) -> set[str]:
    return {name for names in touched(nodes) for name in names}


def _blocked(
    nodes: tuple[Node, ...], tensors: Mapping[str, Tensor], wanted: frozenset[str], found: dict[str, Tensor]
) -> tuple[Node, ...]:
    """The nodes in blocks, here or farther inside, where all that touches one of the tensors lies together."""
    users = [n for n in nodes if wanted & _names((n,))]
    if len(users) == 1 and isinstance(loop := users[0], Loop):
        inside = replace(loop, body=_blocked(loop.body, tensors, wanted, found))
        return tuple(inside if n is loop else n for n in nodes)
    if not any(isinstance(n, Product) for n in users):
        return nodes
    places = [k for k, n in enumerate(nodes) if any(n is user for user in users)]
    start, stop = places[0], places[-1] + 1
    while start and isinstance(nodes[start - 1], Note):
        start -= 1
    run = nodes[start:stop]
    axes = _row_axes(run, wanted)
    split = _Split.of(run, tensors, axes) if axes else None
    parts = [split.part(n) for n in run] if split is not None and split.keeps_to_rows(run) else [None]
    if split is None or any(p is None for p in parts):
        return nodes
    found |= {n: split.block_of(tensors[n]) for n in axes}
    before = [node for n in run if isinstance(n, Product) for node in split.cleared(n)]
    body = tuple(p for p in parts if p is not None)
    loop = Loop(split.first, Bound((ZERO,)), Bound((split.extent,)), body, split.rows, last=split.last)
    return (*nodes[:start], *before, loop, *nodes[stop:])


def _row_axes(run: Iterable[Node], wanted: Collection[str]) -> dict[str, int]:
    """The axis of each tensor along which every loop of the run stands at its own index; of those that have one."""
    axes: dict[str, set[int]] = {}
    for node in run:
        if isinstance(node, Loop):
            for access in accesses(node.body):
                if access.tensor in wanted:
                    here = {k for k, s in enumerate(access.subscripts or ()) if s == Affine.of(node.index)}
                    axes[access.tensor] = axes.get(access.tensor, here) & here
    return {name: min(found) for name, found in sorted(axes.items()) if len(found) == 1}


@dataclass(frozen=True)
class _Split:
    """How the rows are cut: the indices of a block's first row and of the one after its last, and its length."""

    first: Index
    last: Index
    extent: Affine
    rows: int
    axes: Mapping[str, int]

    @staticmethod
    def of(run: Sequence[Node], tensors: Mapping[str, Tensor], axes: Mapping[str, int]) -> _Split | None:
        extents = {tensors[name].shape[axis] for name, axis in axes.items()}
        loops = [n for n in run if isinstance(n, Loop)]
        if len(extents) != 1 or not loops:
            return None
        taken = loop_indices(run)
        first = fresh_index(f"{loops[0].index.name}_first", taken)
        last = fresh_index(f"{loops[0].index.name}_last", {*taken, first})
        columns = [tensors[name].shape[1 - axis] for name, axis in axes.items()]
        rows = ROWS_OF_A_BLOCK
        if all(c.is_constant for c in columns):
            while rows > FEWEST_ROWS and 4 * rows * max(map(int, columns)) > LARGEST_BLOCK:
                rows //= 2
        return _Split(first, last, extents.pop(), rows, axes)

    def block_of(self, tensor: Tensor) -> Tensor:
        shape = list(tensor.shape)
        shape[self.axes[tensor.name]] = Affine.of(self.rows)
        return replace(tensor, shape=tuple(shape))

    def part(self, node: Node) -> Node | None:
        """What the node does for one block, or None if it cannot be cut."""
        if isinstance(node, Note):
            return node
        if isinstance(node, Product):
            return self._of_product(node)
        if not isinstance(node, Loop) or any(isinstance(n, Product) for n in walk((node,))):
            return None
        if (node.lower, node.stop, node.step) != (Bound((ZERO,)), Bound((self.extent,)), 1) or node.last is not None:
            return None
        row = Affine.of(node.index)
        for access in accesses(node.body):
            if access.tensor in self.axes and (access.subscripts or ())[self.axes[access.tensor]] != row:
                return None

        def within(read: Read) -> Read:
            axis = self.axes.get(read.tensor)
            if axis is None:
                return read
            places = (s - self.first if k == axis else s for k, s in enumerate(read.subscripts))
            return Read(read.tensor, tuple(places))

        body = tuple(map_elements(n, within) for n in node.body)
        return replace(node, lower=Bound((Affine.of(self.first),)), stop=Bound((Affine.of(self.last),)), body=body)

    def keeps_to_rows(self, run: Sequence[Node]) -> bool:
        """True if what one node writes and another touches, both do row by row."""
        for name in sorted({n for node in run for n in touched((node,))[1]} - set(self.axes)):
            users = [node for node in run if name in _names((node,))]
            if len(users) > 1 and not frozenset.intersection(*(self._axes_in_rows(node, name) for node in users)):
                return False
        return True

    def _axes_in_rows(self, node: Node, name: str) -> frozenset[int]:
        """The axes of a tensor along which the node touches nothing but the rows that it is at."""
        if isinstance(node, Loop):
            places = [a.subscripts or () for a in accesses(node.body) if a.tensor == name]
            row = Affine.of(node.index)
            return frozenset.intersection(*(frozenset(k for k, s in enumerate(p) if s == row) for p in places))
        if not isinstance(node, Product) or (cut := self._cut_dimension(node)) is None:
            return frozenset()
        found = []
        for part, dimensions in _parts(node):
            if part.tensor == name:
                smaller = self._part_of_slice(part, dimensions, cut) or part
                both = enumerate(zip(part.axes, smaller.axes, strict=True))
                found.append(frozenset(k for k, (one, other) in both if one != other))
        return frozenset.intersection(*found)

    def _of_product(self, product: Product) -> Product | None:
        cut = self._cut_dimension(product)
        if cut is None or (cut == "inner" and product.triangle is Triangle.LOWER and not product.accumulate):
            return None
        out, left, right = (self._part_of_slice(part, dimensions, cut) for part, dimensions in _parts(product))
        if out is None or left is None or right is None:
            return None
        if product.triangle is Triangle.LOWER and cut == "rows" and product.shift == ZERO:
            out, right = self._up_to_last(out, 1), self._up_to_last(right, 1)
        shift, second = product.shift, "columns" if product.triangle is Triangle.LOWER else "inner"
        if product.triangle is not None and cut == "rows":
            shift = shift + self.first
        elif product.triangle is not None and cut == second:
            shift = shift - self.first
        return replace(
            product, out=out, left=left, right=right, accumulate=product.accumulate or cut == "inner", shift=shift
        )

    def _up_to_last(self, part: Slice, dimension: int) -> Slice:
        """Without the columns that are empty in all rows of the block."""
        kept = [k for k, axis in enumerate(part.axes) if not isinstance(axis, Affine)]
        axis = kept[dimension ^ part.transposed]
        if part.axes[axis] != (ZERO, self.extent):
            return part
        return replace(part, axes=(*part.axes[:axis], (ZERO, Affine.of(self.last)), *part.axes[axis + 1 :]))

    def _cut_dimension(self, product: Product) -> str | None:
        """Which of the product's dimensions the rows are: the one along which blocked factors and results are cut."""
        found = set()
        for part, dimensions in _parts(product):
            if part.tensor in self.axes:
                if len(part.axes) != 2 or any(isinstance(a, Affine) for a in part.axes):
                    return None
                found.add(dimensions[self.axes[part.tensor] ^ part.transposed])
        return found.pop() if len(found) == 1 else None

    def _part_of_slice(self, part: Slice, dimensions: tuple[str, str], cut: str) -> Slice | None:
        kept = [k for k, axis in enumerate(part.axes) if not isinstance(axis, Affine)]
        if cut not in dimensions:
            return part
        if len(kept) != 2 or (part.rows, part.columns) != (1, 1):
            return None
        axis = kept[dimensions.index(cut) ^ part.transposed]
        if part.axes[axis] != (ZERO, self.extent):
            return None
        first, last = Affine.of(self.first), Affine.of(self.last)
        stretch = (ZERO, last - first) if part.tensor in self.axes else (first, last)
        return replace(part, axes=(*part.axes[:axis], stretch, *part.axes[axis + 1 :]))

    def cleared(self, product: Product) -> tuple[Node, ...]:
        """What sets a sum over rows to zero before its first block is added."""
        if self._cut_dimension(product) != "inner" or product.accumulate:
            return ()
        taken = {i for a in product.out.axes for v in (a if isinstance(a, tuple) else (a,)) for i in v.indices()}
        subscripts: list[Affine] = []
        loops: list[tuple[Index, tuple[Affine, Affine]]] = []
        for axis in product.out.axes:
            if isinstance(axis, Affine):
                subscripts.append(axis)
                continue
            index = fresh_index("i", {*taken, *(i for i, _ in loops)})
            loops.append((index, axis))
            subscripts.append(Affine.of(index))
        node: Node = Store(Read(product.out.tensor, tuple(subscripts)), Body.of(0))
        for index, (lower, stop) in reversed(loops):
            node = Loop(index, Bound((lower,)), Bound((stop,)), (node,))
        return (node,)


def _parts(product: Product) -> tuple[tuple[Slice, tuple[str, str]], ...]:
    """The result and the factors, each with what its rows and its columns are."""
    return (
        (product.out, ("rows", "columns")),
        (product.left, ("rows", "inner")),
        (product.right, ("inner", "columns")),
    )

"""Make matrix products of what is left of convolutions: gather what slides, or multiply before anything slides.

This is for one image, or a sum that `samples_last` and `slide` do not take.

    z[b, o, p, q] = sum[c, u, v] x[b, c, p + u, q + v]*K[o, c, u, v]

    x_patches[b, c, u, v, p, q] = x[b, c, p + u, q + v]
    z[b, o, p, q] = sum[c, u, v] x_patches[b, c, u, v, p, q]*K[o, c, u, v]

The gradient of K reads the same patches. For the gradient of x the product comes first, where that is less to keep:

    x_bar[b, c, i, j] = sum[o, u, v] z_bar[b, o, i - u, j - v]*K[o, c, u, v]        where it is inside z

    x_bar_terms[b, c, u, v, p, q] = sum[o] z_bar[b, o, p, q]*K[o, c, u, v]
    x_bar[b, c, i, j] = sum[u, v] x_bar_terms[b, c, u, v, i - u, j - v]             where it is inside z

Either way the work is that of the convolution, at the speed of a product; the memory of a window's worth of images is
the price. A loop over a window is too short to fill a vector register.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from symbp.ir.affine import ONE, ZERO, Affine, Index, Read
from symbp.ir.body import Body, slot
from symbp.ir.names import fresh_name
from symbp.ir.program import Program, Role, Tensor
from symbp.ir.statement import Domain, Guard, Range, Reduction, Statement, fresh_index, guard_indices
from symbp.schedule.classify import as_contraction
from symbp.schedule.reach import is_recurrent
from symbp.schedule.slide import as_slide

#: A window of more elements than this would need too much memory.
LARGEST_WINDOW = 64


def unfold(program: Program) -> Program:
    """Every product of something that slides with something that does not, as a contraction where that is possible."""
    names = {t.name for t in program.tensors}
    tensors = {t.name: t for t in program.tensors}
    statements: list[Statement] = []
    made: dict[tuple[Read, tuple[Range, ...], tuple[Guard, ...]], str] = {}
    for statement in program.statements:
        product = _sliding_product(statement) if as_slide(statement, program) is None else None
        rewritten = None
        if product is not None and not is_recurrent(statement, program):
            scratch = replace(program, tensors=tuple(tensors.values()))
            rewritten = _multiply_first(product, scratch, names) or _gather_first(product, scratch, names, made)
        if rewritten is None:
            statements.append(statement)
            continue
        tensor, parts = rewritten
        tensors[tensor.name] = tensor
        names.add(tensor.name)
        statements += parts
    return replace(program, tensors=tuple(tensors.values()), statements=tuple(statements))


@dataclass(frozen=True, slots=True)
class _Product:
    """``target = sum sliding*fixed``: an axis of `sliding` has a subscript of several indices, none of `fixed` has."""

    statement: Statement
    sliding: Read
    fixed: Read

    @property
    def window(self) -> tuple[Index, ...]:
        """Summed indices that share a subscript of what slides with another index."""
        return tuple(i for i in self._together if i in self.statement.reduced)

    @property
    def moved(self) -> tuple[Index, ...]:
        """Free indices that do."""
        return tuple(i for i in self._together if i in self.statement.free)

    @property
    def _together(self) -> tuple[Index, ...]:
        return tuple(dict.fromkeys(i for s in self.sliding.subscripts if len(s.indices()) > 1 for i in s.indices()))

    @property
    def of_sliding(self) -> tuple[Index, ...]:
        return tuple(i for i in self.statement.indices if any(i in s.indices() for s in self.sliding.subscripts))

    @property
    def of_fixed(self) -> tuple[Index, ...]:
        return tuple(i for i in self.statement.indices if any(i in s.indices() for s in self.fixed.subscripts))


def _sliding_product(statement: Statement) -> _Product | None:
    body = statement.body
    if statement.reduction is not Reduction.SUM or body.expr != slot(0) * slot(1):
        return None
    a, b = body.operands
    if not isinstance(a, Read) or not isinstance(b, Read) or statement.tensor in (a.tensor, b.tensor):
        return None
    if any(s.as_index() is None for s in statement.subscripts):
        return None
    plain = [all(s.as_index() is not None for s in r.subscripts) for r in (a, b)]
    if plain[0] == plain[1]:
        return None
    sliding, fixed = (b, a) if plain[0] else (a, b)
    if any(s.reads() or s.hidden_indices() for s in sliding.subscripts):
        return None
    product = _Product(statement, sliding, fixed)
    # One of the two is the window: summed in the convolution itself, free in the gradient of its kernel.
    windows = [_extent(indices, statement) for indices in (product.window, product.moved) if indices]
    small = any(w.is_constant and int(w) <= LARGEST_WINDOW for w in windows)
    return product if len(windows) == 2 and small else None


def _gather_first(
    product: _Product,
    program: Program,
    names: set[str],
    made: dict[tuple[Read, tuple[Range, ...], tuple[Guard, ...]], str],
) -> tuple[Tensor, list[Statement]] | None:
    """``patches = sliding``, then a contraction of the patches."""
    statement = product.statement
    inside = product.of_sliding
    if any(not set(guard_indices(g)) <= set(inside) for g in statement.guards):
        return None
    both = [i for i in inside if i in product.of_fixed]
    batch = [i for i in both if i in statement.free]
    summed = [i for i in both if i in statement.reduced]
    alone = [i for i in inside if i not in both]
    ranges = tuple(sorted((statement.domain.range_of(i) for i in inside), key=lambda r: r.index.name))
    key = (product.sliding, ranges, statement.guards)
    known = made.get(key)
    # One sample's patches lie together: a window for each row, the places that it slides over along the columns.
    still = [i for i in alone if i not in (*product.window, *product.moved)]
    order = (*batch, *still, *summed, *(i for i in alone if i not in still))
    if known is not None:
        tensor = program.tensor(known)
        by_name = {i.name: i for i in inside}
        order = tuple(by_name[name] for name in tensor.axes)
    else:
        shape = tuple(statement.domain.range_of(i).stop for i in order)
        name = fresh_name(f"{product.sliding.tensor}_patches", names)
        tensor = Tensor(name, shape, Role.ACTIVATION, tuple(i.name for i in order))
    place = Read(tensor.name, tuple(map(Affine.of, order)))
    rest = replace(
        statement,
        body=Body.of(place) * Body.of(product.fixed),
        domain=Domain(statement.domain.ranges, ()),
    )
    if as_contraction(rest, _with(program, tensor)) is None:
        return None
    if known is not None:
        return tensor, [rest]
    made[key] = tensor.name
    gather = Statement(
        tensor.name,
        place.subscripts,
        order,
        Body.of(product.sliding),
        Domain(tuple(statement.domain.range_of(i) for i in order), statement.guards),
        origin=statement.origin,
    )
    return tensor, [gather, rest]


def _multiply_first(product: _Product, program: Program, names: set[str]) -> tuple[Tensor, list[Statement]] | None:
    """``terms = sum sliding*fixed`` where nothing slides, then the sum over the window; None if that keeps more."""
    statement = product.statement
    window = product.window
    summed = [i for i in statement.reduced if i not in window]
    # Free indices that slide are replaced by the position in what they slide over.
    slides = product.moved
    if not summed or not set(window) <= set(product.of_fixed):
        return None
    shape = program.tensor(product.sliding.tensor).shape
    free: list[Index] = [i for i in statement.free if i not in slides]
    positions: list[tuple[Index, Affine, Affine]] = []  # index, what it stands for, extent
    subscripts: list[Affine] = []
    for subscript, extent in zip(product.sliding.subscripts, shape, strict=True):
        if subscript.as_index() is not None:
            subscripts.append(subscript)
            continue
        taken = [*statement.indices, *(p[0] for p in positions)]
        index = fresh_index("pqrs"[min(len(positions), 3)], taken)
        positions.append((index, subscript, extent))
        subscripts.append(Affine.of(index))
    order = (*free, *window, *(p[0] for p in positions))
    extents = [statement.domain.range_of(i) for i in (*free, *window)]
    if any(r.lower != ZERO for r in extents):
        return None
    sizes = (*(r.stop for r in extents), *(p[2] for p in positions))
    gathered = _extent(product.of_sliding, statement)
    kept = ONE
    for size in sizes:
        kept = kept * size
    if not _is_less(kept, gathered):
        return None
    name = fresh_name(f"{statement.tensor}_terms", names)
    tensor = Tensor(name, sizes, program.tensor(statement.tensor).role, tuple(i.name for i in order))
    ranges = (
        *extents,
        *(Range(index, ZERO, extent) for index, _, extent in positions),
        *(statement.domain.range_of(i) for i in summed),
    )
    terms = Statement(
        name,
        tuple(map(Affine.of, order)),
        order,
        Body.of(Read(product.sliding.tensor, tuple(subscripts))) * Body.of(product.fixed),
        Domain(ranges, ()),
        tuple(summed),
        Reduction.SUM,
        origin=statement.origin,
    )
    if as_contraction(terms, _with(program, tensor)) is None:
        return None
    where = Read(name, (*map(Affine.of, (*free, *window)), *(p[1] for p in positions)))
    total = replace(
        statement,
        body=Body.of(where),
        reduced=window,
        domain=Domain(
            tuple(r for r in statement.domain.ranges if r.index not in summed),
            statement.guards,
        ),
    )
    if any(set(guard_indices(g)) & set(summed) for g in statement.guards):
        return None
    return tensor, [terms, total]


def _extent(indices: Iterable[Index], statement: Statement) -> Affine:
    return math.prod((statement.domain.range_of(i).extent for i in dict.fromkeys(indices)), start=ONE)


def _is_less(one: Affine, other: Affine) -> bool:
    """True if `one` is smaller than `other` for all sizes: the same monomials with smaller factors."""
    return (
        len(one.terms) == len(other.terms) == 1
        and one.terms[0][0] == other.terms[0][0]
        and (one.terms[0][1] < other.terms[0][1])
    )


def _with(program: Program, tensor: Tensor) -> Program:
    others: Sequence[Tensor] = [t for t in program.tensors if t.name != tensor.name]
    return replace(program, tensors=(*others, tensor))

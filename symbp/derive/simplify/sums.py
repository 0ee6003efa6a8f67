"""What a sum need not sum.

s_bar[b] = sum[k] -c[b]*p[b, k]*p_bar[b, k]      D_p[b] = sum[k] p[b, k]*p_bar[b, k]
                                                 s_bar[b] = -c[b]*D_p[b]
mu_bar[b] = sum[k] -(a[b, k] + c[b]*xc[b, k])    mu_bar[b] = sum[k] -a[b, k]      since sum[k] xc[b, k] = 0
"""

from __future__ import annotations

from dataclasses import replace

import sympy as sp

from symbp.derive.definitions import binding, covers, is_map, plain_indices
from symbp.derive.simplify.graph import EquationGraph
from symbp.derive.simplify.reuse import ForwardValues
from symbp.derive.simplify.tidy import cost, tidy_body
from symbp.ir.affine import Affine, Index, Read
from symbp.ir.body import Body, slot
from symbp.ir.program import Program, Role, Tensor
from symbp.ir.statement import Domain, Reduction, Statement, guard_indices

#: How many names a sum is followed through to see that it vanishes.
DEPTH = 4


def hoist_invariants(graph: EquationGraph, number: int) -> bool:
    """Take the factors that do not depend on what is summed over out of a sum; the sum gets a name."""
    statement = graph.statements[number]
    if number not in graph.backward or statement.reduction is not Reduction.SUM:
        return False
    return _hoist(graph, number, statement)


def _hoist(graph: EquationGraph, number: int, statement: Statement) -> bool:
    """Split `statement`, which is number `number` or takes its place, into a sum and a product with it."""
    split = _split(statement)
    if split is None:
        return False
    invariant, rest = split
    used = {*rest.indices, *statement.reduced}
    for guard in statement.guards:
        if set(guard_indices(guard)) & set(statement.reduced):
            used.update(guard_indices(guard))
    # A guard that stays behind might be what keeps the sum's reads inside their tensors.
    if any(not set(guard_indices(g)) <= used and set(guard_indices(g)) & used for g in statement.guards):
        return False
    free = tuple(i for i in statement.free if i in used)
    inner = Domain(
        tuple(statement.domain.range_of(i) for i in (*free, *statement.reduced)),
        tuple(g for g in statement.guards if set(guard_indices(g)) <= used),
    )
    if any(not r.lower.is_constant or int(r.lower) < 0 for r in inner.ranges if r.index in free):
        return False
    outer_guards = tuple(g for g in statement.guards if not set(guard_indices(g)) & set(statement.reduced))
    outer = Domain(tuple(statement.domain.range_of(i) for i in statement.free), outer_guards)
    name = graph.fresh(_name_of_sum(graph, statement, rest))
    tensor = Tensor(
        name, tuple(inner.range_of(i).stop for i in free), Role.ADJOINT, tuple(i.name for i in free), primal=""
    )
    subscripts = tuple(map(Affine.of, free))
    total = replace(statement, tensor=name, subscripts=subscripts, free=free, body=rest, domain=inner, accumulate=False)
    graph.insert(number, total, tensor)
    body = tidy_body(invariant * Body.of(total.target))
    graph.replace(number, replace(statement, body=body, domain=outer, reduced=(), reduction=Reduction.NONE))
    return True


def _split(statement: Statement) -> tuple[Body, Body] | None:
    """The factors that are invariant, numbers among them, and the others; None if taking them out gains nothing."""
    number, factors = statement.body.factors()
    reduced = set(statement.reduced)
    invariant = [f for f in factors if not reduced & set(f.indices)]
    rest = [f for f in factors if reduced & set(f.indices)]
    if not rest or not any(f.reads for f in invariant):
        return None
    return _product(Body.of(number), invariant), _product(Body.of(1), rest)


def _product(first: Body, others: list[Body]) -> Body:
    for other in others:
        first = first * other
    return first


def _name_of_sum(graph: EquationGraph, statement: Statement, rest: Body) -> str:
    """``D_p`` for a sum of p times its adjoint, ``x_sum`` for a sum of x itself."""
    if rest.is_read:
        return f"{rest.reads[0].tensor}_sum"
    names = [r.tensor for r in rest.reads]
    for name in names:
        if graph.tensors[name].primal in names:
            return f"D_{graph.tensors[name].primal}"
    return f"{statement.tensor}_sum"


class NormaliseSums:
    """Sum what is normalised already: ``s_bar = sum x*y_bar`` with ``y = x*s`` is ``D_y/s`` with ``D_y = sum y*y_bar``.

    It is done where the reader multiplies by s again, so that the division cancels: the norms of textbooks then read
    one stored tensor, and no other.
    """

    def __init__(self, values: ForwardValues) -> None:
        self._values = values

    def __call__(self, graph: EquationGraph, number: int) -> bool:
        statement = graph.statements[number]
        if number not in graph.backward or statement.reduction is not Reduction.SUM or statement.guards:
            return False
        if statement.tensor in graph.keep or graph.definition(statement.tensor) is None:
            return False
        if plain_indices(statement) is None:
            return False
        for expr in sp.Mul.make_args(statement.body.expr):
            if not (expr.is_Symbol or expr.is_Add):
                continue
            for value, scale, factors in self._values.multiples(statement.body.with_expr(expr)):
                if any(set(f.indices) & set(statement.reduced) for f, _ in factors):
                    continue
                if not all(_cancels(graph, r, statement, factors) for r in graph.readers_of(statement.tensor)):
                    continue
                rest = statement.body.with_expr(statement.body.expr / expr)
                body = Body.of(1 / scale) * Body.of(value) * rest
                for factor, power in factors:
                    body = body * factor.with_expr(factor.expr**-power)
                return _hoist(graph, number, replace(statement, body=body))
        return False


def _total(parts: list[Body]) -> Body:
    total = Body.of(0)
    for part in parts:
        total = total + part
    return total


def _cancels(graph: EquationGraph, reader: int, statement: Statement, factors: tuple[tuple[Body, int], ...]) -> bool:
    """True if the reader is a map that multiplies the statement's element by the factors wherever it reads it."""
    found = graph.statements[reader]
    elements = [r for r in found.body.reads if r.tensor == statement.tensor]
    if found.reduction is not Reduction.NONE or len(elements) != 1:
        return False
    mapping = binding(statement, elements[0])
    symbol = slot(found.body.operands.index(elements[0]))
    if not all(f.expr == slot(0) for f, _ in factors):
        return False
    needed = [(f.operands[0].substitute(mapping), power) for f, power in factors]
    if not all(operand in found.body.operands for operand, _ in needed):
        return False
    terms = [t for t in sp.Add.make_args(sp.expand_mul(found.body.expr)) if t.has(symbol)]
    return all(
        t.as_powers_dict().get(slot(found.body.operands.index(operand)), 0) >= power > 0
        for t in terms
        for operand, power in needed
    )


def _as_map(statement: Statement, body: Body) -> Statement:
    """The statement with a value in place of its sum, which no guard may cut."""
    ranges = tuple(r for r in statement.domain.ranges if r.index in statement.free)
    return replace(statement, body=body, reduced=(), reduction=Reduction.NONE, domain=Domain(ranges))


class CloseSums:
    """Sums that need not be taken: ``sum[k] p[k] = 1`` of a softmax, ``sum[k] (x[k] - mean) = 0``, sums of constants.

    Where only a part of the sum is known, and known to be 0, that part goes.
    """

    def __init__(self, primal: Program) -> None:
        self._primal = primal

    def __call__(self, graph: EquationGraph, number: int) -> bool:
        statement = graph.statements[number]
        if number not in graph.backward or statement.reduction is not Reduction.SUM or statement.guards:
            return False
        body = self._written_out(graph, statement)
        terms = [(t, self._sum_of(t, statement, DEPTH)) for t in body.terms()]
        known = [summed for _, summed in terms if summed is not None]
        if not known:
            return False
        total = tidy_body(_total(known))
        kept = [t for t, summed in terms if summed is None]
        if not kept and cost(total.expr) <= cost(statement.body.expr) + 1:
            graph.replace(number, _as_map(statement, total))
            return True
        if total.expr != 0 and sp.expand(total.expr) != 0:
            return False
        graph.replace(number, replace(statement, body=tidy_body(_total(kept))))
        return True

    def _written_out(self, graph: EquationGraph, statement: Statement) -> Body:
        """The body as a sum of products; if it reads one adjoint and nothing else, with that written out."""
        body = statement.body
        read = body.reads[0] if len(body.reads) == 1 else None
        found = graph.definition(read.tensor) if read is not None else None
        if found is not None and found in graph.backward and read is not None:
            definition = graph.statements[found]
            simple = definition.reduction is Reduction.NONE and not definition.guards
            if simple and covers(definition, graph.tensors[read.tensor]):
                body = body.replace_reads(lambda r: definition.body.substitute(binding(definition, r)))
        return body.with_expr(sp.expand_mul(body.expr))

    def _sum_of(self, term: Body, statement: Statement, depth: int) -> Body | None:
        """``sum over the reduced indices of term`` in terms of elements of the forward pass, if they give it."""
        reduced = set(statement.reduced)
        number, factors = term.factors()
        invariant = _product(Body.of(number), [f for f in factors if not reduced & set(f.indices)])
        varying = [f for f in factors if reduced & set(f.indices)]
        if not varying:
            return _product(invariant, [Body.of(statement.domain.range_of(i).extent) for i in statement.reduced])
        if len(varying) != 1 or not varying[0].is_read:
            return None
        read = varying[0].reads[0]
        known = self._known_sum(read, statement)
        if known is not None:
            return invariant * known
        definition = self._primal.definition(read.tensor) if depth else None
        if definition is None or not is_map(definition) or definition.guards:
            return None
        if not covers(definition, self._primal.tensor(read.tensor)):
            return None
        body = definition.body.substitute(binding(definition, read))
        parts = []
        for part in body.with_expr(sp.expand_mul(body.expr)).terms():
            summed = self._sum_of(part, statement, depth - 1)
            if summed is None:
                return None
            parts.append(summed)
        return invariant * _total(parts)

    def _known_sum(self, read: Read, statement: Statement) -> Body | None:
        """The element of the forward pass that is this sum, or a multiple of it: ``sum[k] x[b, k] = 7*mean[b]``."""
        for found in self._primal.readers(read.tensor):
            element = _summed_element(found, read.tensor)
            if element is None or not covers(found, self._primal.tensor(found.tensor)):
                continue
            mapping = _same_sum(found, element, statement, read.subscripts)
            if mapping is not None:
                scale = found.body.with_expr(slot(found.body.operands.index(element)) / found.body.expr)
                return scale.substitute(mapping) * Body.of(found.target.substitute(mapping))
        return None


def _summed_element(statement: Statement, name: str) -> Read | None:
    """The element of `name` that the statement sums, if it sums that times numbers and sizes only."""
    if statement.reduction is not Reduction.SUM or statement.accumulate or statement.guards:
        return None
    _, factors = statement.body.factors()
    varying = [f for f in factors if f.indices]
    if len(varying) != 1 or not varying[0].is_read or varying[0].reads[0].tensor != name:
        return None
    return varying[0].reads[0]


def _same_sum(
    found: Statement, element: Read, statement: Statement, subscripts: tuple[Affine, ...]
) -> dict[Index, Affine] | None:
    """How `found`'s free indices must be chosen for it to sum the element over the same elements."""
    mapping: dict[Index, Affine] = {}
    reduced: set[Index] = set()
    for own, wanted in zip(element.subscripts, subscripts, strict=True):
        index = own.as_index()
        if index is None or index in mapping:
            return None
        mapping[index] = wanted
        if index in found.reduced:
            other = wanted.as_index()
            if other is None or other not in statement.reduced:
                return None
            mine, theirs = found.domain.range_of(index), statement.domain.range_of(other)
            if (mine.lower, mine.stop) != (theirs.lower, theirs.stop):
                return None
            reduced.add(other)
        elif set(wanted.indices()) & set(statement.reduced):
            return None
    if reduced != set(statement.reduced) or len(reduced) != len(found.reduced):
        return None
    return {i: v for i, v in mapping.items() if i not in found.reduced}

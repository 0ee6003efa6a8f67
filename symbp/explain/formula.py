"""One displayed equation per statement; values that only one equation reads are written out where they are read.

Splitting ``z = sum x W + c`` into a sum and an addition is a need of the compiler, not of the reader: here the sum goes
back in its place.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from symbp.explain.notation import (
    Derivative,
    Element,
    IndexName,
    Node,
    Product,
    Quotient,
    Reduced,
    Span,
    Total,
    affine_node,
    body_node,
    element,
    guard_node,
    operand_node,
    reduced,
)
from symbp.ir import (
    ZERO,
    Affine,
    Body,
    DerivativeRequest,
    Domain,
    Guard,
    Index,
    Origin,
    Program,
    Range,
    Read,
    Reduction,
    Role,
    Statement,
)
from symbp.ir.body import Operand, slot
from symbp.ir.statement import guard_indices
from symbp.ir.verify import are_disjoint


@dataclass(frozen=True)
class Formula:
    """``left (= | +=) right``, where the conditions hold.

    `adds` is true where other equations contribute to the same elements; elsewhere ``+=`` is shown as ``=``, because
    every tensor starts from zero. `shape` is that of the whole tensor on the left.
    """

    left: Element
    right: Node
    adds: bool
    conditions: tuple[Node, ...]
    shape: tuple[Node, ...]
    origin: Origin


def formulas(
    program: Program,
    statements: Iterable[Statement],
    written_out: Mapping[str, Statement],
    requests: Mapping[str, DerivativeRequest] | None = None,
) -> list[Formula]:
    """One formula for each statement, except those that are written out in others.

    `requests` are the tensors that `state_requests` made statements of.
    """
    shown = [_formula(program, s, written_out) for s in statements if s.tensor not in written_out]
    asked = requests or {}
    return [replace(f, right=_asked_for(asked[f.left.tensor])) if f.left.tensor in asked else f for f in shown]


def _asked_for(request: DerivativeRequest) -> Node:
    return Derivative(element(request.of), element(request.wrt))


def state_requests(program: Program) -> tuple[Program, dict[str, DerivativeRequest]]:
    """The program with a statement for each derivative it asks for, so that it has its place among the others."""
    statements = []
    for request in program.derivatives:
        free = tuple(r.index for r in request.ranges)
        body = Body(slot(0) + slot(1), (request.of, request.wrt))
        subscripts = tuple(map(Affine.of, free))
        domain = Domain(request.ranges)
        statements.append(Statement(request.output, subscripts, free, body, domain, origin=request.origin))
    requests = {request.output: request for request in program.derivatives}
    return replace(program.add((), statements), derivatives=()), requests


def _formula(program: Program, statement: Statement, written_out: Mapping[str, Statement]) -> Formula:
    inside, outside = _split_conditions(program, statement)
    body = _written_out_body(program, statement.body, statement.indices, written_out)
    return Formula(
        left=element(statement.target),
        right=arrange(element(statement.target), reduced(statement.reduction, statement.reduced, inside, body)),
        adds=statement.accumulate and _meets_another(program, statement),
        conditions=outside,
        shape=tuple(map(affine_node, program.tensor(statement.tensor).shape)),
        origin=statement.origin,
    )


def _meets_another(program: Program, statement: Statement) -> bool:
    """True if another equation may write an element that this one writes."""
    others = [s for s in program.definitions(statement.tensor) if s is not statement]
    return any(not are_disjoint(statement, other) for other in others)


def arrange(left: Element, node: Node) -> Node:
    """The factors of each product in the order of the left-hand side: ``x[b, j]*W[j, k]`` for ``z[b, k]``."""
    match node:
        case Total(terms):
            return Total(tuple((negative, arrange(left, term)) for negative, term in terms))
        case Reduced():
            return replace(node, body=arrange(left, node.body))
        case Quotient(numerator, denominator, guarded):
            return Quotient(arrange(left, numerator), denominator, guarded)
        case Product(factors):
            elements = [f for f in factors if isinstance(f, Element)]
            shared = [s for s in left.subscripts if all(s in e.subscripts for e in elements)]
            own = [s for s in left.subscripts if s not in shared]

            def place(factor: Element) -> int:
                if not factor.subscripts:
                    return -1
                return min((own.index(s) for s in factor.subscripts if s in own), default=len(own))

            ordered = iter(sorted(elements, key=place))
            return Product(tuple(next(ordered) if isinstance(f, Element) else f for f in factors))
        case _:
            return node


def temporaries(program: Program) -> dict[str, Statement]:
    """Tensors that no one declared and that one equation reads once: name to definition.

    A tensor was declared if the user's (or the layer's) own line begins with its name; what has no such line stays. So
    does what has an adjoint: the reader must find the z of which z_bar is the derivative. Written out, the value must
    mean the same: a full definition, and no guard that would get lost.
    """
    found: dict[str, Statement] = {}
    differentiated = {t.primal for t in program.tensors}
    for tensor in program.tensors:
        statement = program.definition(tensor.name)
        if statement is None or tensor.role is not Role.ACTIVATION:
            continue
        if tensor.name in program.outputs or tensor.name in differentiated:
            continue
        if _is_declared(statement) or not _covers(program, statement) or not _can_move(statement):
            continue
        readers = program.readers(tensor.name)
        if len(readers) == 1 and _reads_once(readers[0], tensor.name) and readers[0].tensor != tensor.name:
            found[tensor.name] = statement
    return found


def _is_declared(statement: Statement) -> bool:
    name = re.match(r"\s*([A-Za-z_]\w*)", statement.origin.equation)
    return name is None or name[1] == statement.tensor


def _covers(program: Program, statement: Statement) -> bool:
    """True if the one equation defines every element, each at its own plain indices."""
    shape = program.tensor(statement.tensor).shape
    indices = [s.as_index() for s in statement.subscripts]
    if None in indices or len(set(indices)) < len(indices):
        return False
    ranges = [statement.domain.range_of(i) for i in indices if i is not None]
    return all(r.lower == ZERO and r.stop == extent for r, extent in zip(ranges, shape, strict=True))


def _can_move(statement: Statement) -> bool:
    """Guards vanish into a sum (an empty sum is 0, as an unwritten element is); other forms must have none."""
    return not statement.guards or statement.reduction is Reduction.SUM


def _reads_once(statement: Statement, name: str) -> bool:
    places = [k for k, o in enumerate(statement.body.operands) if isinstance(o, Read) and o.tensor == name]
    everywhere = [r for r in statement.reads if r.tensor == name]
    return len(places) == len(everywhere) == 1 and statement.body.expr.count(slot(places[0])) == 1


def _written_out_body(
    program: Program, body: Body, taken: tuple[Index, ...], written_out: Mapping[str, Statement]
) -> Node:
    def operand(value: Operand) -> Node:
        if not isinstance(value, Read) or value.tensor not in written_out:
            return operand_node(value)
        statement = written_out[value.tensor]
        # Only the reduced indices stay; the free ones become the subscripts that are read.
        clash = {i: i for i in (*taken, *(j for s in value.subscripts for j in s.indices()))}
        statement = statement.rename_apart(clash)
        mapping = {
            i: s for left, s in zip(statement.subscripts, value.subscripts, strict=True) if (i := left.as_index())
        }
        inside, outside = _split_conditions(program, statement, mapping)
        inner = _written_out_body(
            program, statement.body.substitute(mapping), (*clash, *statement.reduced), written_out
        )
        return reduced(statement.reduction, statement.reduced, (*inside, *outside), inner)

    return body_node(body, operand)


def _split_conditions(
    program: Program, statement: Statement, mapping: Mapping[Index, Affine] | None = None
) -> tuple[tuple[Node, ...], tuple[Node, ...]]:
    """What stands below the reduction sign (it limits a reduced index), and what limits the whole equation."""
    inside: list[Node] = []
    outside: list[Node] = []
    for span in statement.domain.ranges:
        if not _is_whole_axis(program, statement, span):
            node = Span(IndexName(span.index.name), affine_node(span.lower), affine_node(span.stop - 1))
            if span.index in statement.reduced:
                inside.append(node)
            elif mapping is None:
                outside.append(node)
    for guard in statement.guards:
        below = any(i in statement.reduced for i in guard_indices(guard))
        shown: Guard = guard.substitute(mapping) if mapping else guard
        (inside if below else outside).append(guard_node(shown))
    return tuple(inside), tuple(outside)


def _is_whole_axis(program: Program, statement: Statement, span: Range) -> bool:
    """True if some axis that the index runs over, by itself, is exactly as long as the range: it need not be shown."""
    for read in (statement.target, *statement.reads):
        for subscript, extent in zip(read.subscripts, program.tensor(read.tensor).shape, strict=True):
            if subscript.as_index() == span.index and span.lower == ZERO and span.stop == extent:
                return True
    return False

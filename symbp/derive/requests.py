"""Derivatives inside a model: ``u_x[n] = diff(u[n], x[n])``, as in the residual of a differential equation.

They are taken forwards, before anything else, so that the equations that they give are differentiated backwards like
any others.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace

from symbp.derive.activity import Activity, find_activity
from symbp.derive.name_calls import name_calls
from symbp.derive.partials import place_of
from symbp.derive.rule import fill
from symbp.derive.tangent import Delta, ForwardMode
from symbp.errors import DerivativeError, SpecError, SymbpWarning
from symbp.ir import (
    ZERO,
    Affine,
    Body,
    DerivativeRequest,
    Domain,
    Index,
    Program,
    Range,
    Read,
    Role,
    Statement,
    Tensor,
    fresh_index,
    verify,
)


def expand_derivatives(program: Program) -> Program:
    """The program with an equation for each derivative that it asks for; ``derivatives`` is empty afterwards.

        output[I] = d of[I] / d wrt[J]

    Indices that `of` and `wrt` share are points: the value at one point must depend on the input at the same point
    only. A constant subscript of `wrt` picks one component (``x[n, 0]``); an index of `wrt` that `of` does not have
    gives the derivative for each component.

    Raises SpecError if points are mixed on the way (a mean over n), DerivativeError if a function has no derivative or
    a derivative is asked for in terms of itself.
    """
    if not program.derivatives:
        return program
    program = name_calls(verify(program, "the stage before expand_derivatives"))
    modes: dict[_Direction, ForwardMode] = {}
    pending = list(program.derivatives)
    while pending:
        request = _next_ready(program, pending)
        pending.remove(request)
        direction = _direction_of(request)
        if direction not in modes:
            modes[direction] = _forward_mode(program, request, direction)
        program = _expanded(program, request, modes[direction])
    return verify(replace(program, derivatives=()), "expand_derivatives")


@dataclass(frozen=True, slots=True)
class _Direction:
    """What is varied: the tensor, and for each axis "the same point" (None), a component, or "each" of them."""

    tensor: str
    axes: tuple[Affine | str | None, ...]

    @property
    def label(self) -> str:
        """What the names of these derivatives end in: ``x``, or ``x0`` for a component."""
        return self.tensor + "".join(str(a) for a in self.axes if isinstance(a, Affine) and a.is_constant)


def _direction_of(request: DerivativeRequest) -> _Direction:
    shared = {i for s in request.of.subscripts for i in s.indices()}
    axes: list[Affine | str | None] = []
    for subscript in request.wrt.subscripts:
        index = subscript.as_index()
        if index is not None:
            axes.append(None if index in shared else "each")
        elif subscript.indices() or subscript.reads():
            raise SpecError(
                f"cannot differentiate with respect to {request.wrt}: its subscripts must be indices or constants",
                place=request.origin.place or None,
                remedy="define a tensor that holds these elements and use it in the equations",
            )
        else:
            axes.append(subscript)
    return _Direction(request.wrt.tensor, tuple(axes))


def _forward_mode(program: Program, request: DerivativeRequest, direction: _Direction) -> ForwardMode:
    used = {i for s in program.statements for i in s.indices}
    at: list[Affine | None] = []
    extra: list[Range] = []
    varied = program.tensor(direction.tensor)
    for position, axis in enumerate(direction.axes):
        if axis == "each":
            hint = varied.axes[position] if varied.axes else "i"
            index = fresh_index(hint, {*used, *(r.index for r in extra)})
            extra.append(Range(index, ZERO, varied.shape[position]))
            at.append(Affine.of(index))
        else:
            assert not isinstance(axis, str)
            at.append(axis)

    def hint_of(tensor: Tensor) -> str:
        return f"{tensor.name}{'' if tensor.role is Role.TANGENT else '_'}{direction.label}"

    note = f"derivative of {{}} with respect to {request.wrt}"
    return ForwardMode({direction.tensor: Delta(tuple(at))}, tuple(extra), hint_of, note)


def _next_ready(program: Program, pending: list[DerivativeRequest]) -> DerivativeRequest:
    """The first request whose value does not depend on a derivative that is still to be expanded."""
    outputs = {r.output for r in pending}
    for request in pending:
        if not outputs & set(_ancestors(program, request.of.tensor)):
            return request
    raise DerivativeError(
        f"the derivatives {', '.join(sorted(outputs))} are asked for in terms of each other",
        place=pending[0].origin.place or None,
    )


def _ancestors(program: Program, name: str) -> dict[str, None]:
    """`name` and every tensor that its value depends on."""
    found = {name: None}
    todo = [name]
    while todo:
        for statement in program.definitions(todo.pop()):
            for read in statement.tensors_read:
                if read not in found:
                    found[read] = None
                    todo.append(read)
    return found


def _expanded(program: Program, request: DerivativeRequest, mode: ForwardMode) -> Program:
    """The program with the equation of one request, and the tangents that it needs."""
    of, output = request.of.tensor, program.tensor(request.output)
    activity = find_activity(program, mode.seeds, (of,))
    if of not in activity:
        message = f"{request.of} does not depend on {request.wrt}, so the derivative '{output.name}' is 0"
        warnings.warn(f"program '{program.name}': {message}", SymbpWarning, stacklevel=3)
        return program.add(statements=[fill(output, 0, request.origin)])
    _check_points(program, activity, request)
    if _is_whole(program.tensor(of), request, mode):
        return mode.push(program, (of,), {of: output.name})
    program = mode.push(program, (of,))
    value, guards = mode.tangent_of(request.of)
    if guards is None:
        return program.add(statements=[fill(output, 0, request.origin)])
    mapping = {e.index: Affine.of(i) for e, i in zip(mode.extra, _each_indices(request), strict=True)}
    indices = tuple(r.index for r in request.ranges)
    statement = Statement(
        output.name,
        tuple(map(Affine.of, indices)),
        indices,
        Body.of(1 if value is None else value).substitute(mapping),
        Domain(request.ranges, tuple(g.substitute(mapping) for g in guards)),
        origin=request.origin,
    )
    return program.add(statements=[statement])


def _is_whole(of: Tensor, request: DerivativeRequest, mode: ForwardMode) -> bool:
    """True if the output is the whole tangent of a tensor, axis by axis, and the tangent is not made yet."""
    if of.name in mode.names or of.name in mode.seeds:
        return False
    indices = tuple(Affine.of(r.index) for r in request.ranges)
    shape = of.shape + tuple(e.extent for e in mode.extra)
    return (
        request.of.subscripts + tuple(map(Affine.of, _each_indices(request))) == indices
        and tuple(r.stop for r in request.ranges) == shape
        and all(r.lower == ZERO for r in request.ranges)
    )


def _shared_indices(request: DerivativeRequest) -> tuple[Index, ...]:
    """The points: indices that occur on both sides of the request."""
    mine = {i for s in request.of.subscripts for i in s.indices()}
    return tuple(i for s in request.wrt.subscripts for i in s.indices() if i in mine)


def _each_indices(request: DerivativeRequest) -> tuple[Index, ...]:
    """The indices of `wrt` that `of` does not have."""
    mine = {i for s in request.of.subscripts for i in s.indices()}
    return tuple(i for s in request.wrt.subscripts for i in s.indices() if i not in mine)


def _check_points(program: Program, activity: Activity, request: DerivativeRequest) -> None:
    """Refuse a request whose value at one point depends on the input at another one."""
    for point in _shared_indices(request):
        axis = _axis_of(request.of, point)
        wanted = _axis_of(request.wrt, point)
        place = request.origin.place or None
        if axis is None or wanted is None:
            raise SpecError(f"'{point}' must stand alone in a subscript of {request.of} and {request.wrt}", place=place)
        axes = {request.of.tensor: axis}
        pending = [request.of.tensor] if request.of.tensor != request.wrt.tensor else []
        while pending:
            name = pending.pop()
            for statement in program.definitions(name):
                for read in activity.reads(statement):
                    index = statement.subscripts[axes[name]].as_index()
                    found = _axis_of(read, index) if index in statement.free else None
                    expected = wanted if read.tensor == request.wrt.tensor else axes.get(read.tensor, found)
                    if found is None or found != expected:
                        raise SpecError(
                            f"the derivative of {request.of} with respect to {request.wrt} does not exist point by "
                            f"point: '{name}' at one {point} depends on '{read.tensor}' at others "
                            f"({place_of(statement)})",
                            place=place,
                            remedy=f"keep '{point}' out of reductions, shifts and normalisations on this path",
                        )
                    if read.tensor not in axes and read.tensor != request.wrt.tensor:
                        axes[read.tensor] = found
                        pending.append(read.tensor)


def _axis_of(read: Read, index: Index | None) -> int | None:
    """The one axis of `read` that `index` subscripts, alone."""
    axes = [d for d, s in enumerate(read.subscripts) if index is not None and index in s.indices()]
    return axes[0] if len(axes) == 1 and read.subscripts[axes[0]].as_index() == index else None

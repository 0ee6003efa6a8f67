"""The last touches to a program: what it returns, what nothing uses, how far its parameters spread at the start."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace

from symbp.errors import SymbpWarning
from symbp.frontend.declarations import Declarations
from symbp.frontend.initializers import SCALED
from symbp.ir import Affine, Body, Domain, Index, Initializer, Origin, Program, Range, Read, Role, Statement, Tensor


def choose_outputs(program: Program, declared: Declarations) -> Program:
    """The declared outputs; without any, the tensor that an equation defined last, other than the loss."""
    outputs = declared.outputs
    if not outputs:
        defined = dict.fromkeys(d.tensor for d in declared.definitions if d.tensor != program.loss)
        outputs = (list(defined)[-1],) if defined else ()
    return replace(program, outputs=outputs)


def copy_shifted_outputs(program: Program, offsets: Mapping[str, tuple[int, ...]]) -> Program:
    """An output stored from -1 on is returned from 0 on, by a copy: callers never see where storage begins."""
    outputs: list[str] = []
    for name in program.outputs:
        shifts = offsets.get(name, ())
        if not any(shifts):
            outputs.append(name)
            continue
        tensor = program.tensor(name)
        shape = tuple(e - s for e, s in zip(tensor.shape, shifts, strict=True))
        copy = replace(tensor, name=program.fresh_tensor(f"{name}_output"), shape=shape, role=Role.ACTIVATION)
        free = tuple(map(Index, tensor.axes))
        source = Read(name, tuple(i + s for i, s in zip(free, shifts, strict=True)))
        statement = Statement(
            copy.name,
            tuple(map(Affine.of, free)),
            free,
            Body.of(source),
            Domain(tuple(Range(i, Affine.of(0), e) for i, e in zip(free, shape, strict=True))),
            origin=Origin(note=f"output {name}"),
        )
        program = program.add([copy], [statement])
        outputs.append(copy.name)
    return replace(program, outputs=tuple(outputs))


def ancestors(program: Program, names: tuple[str, ...]) -> dict[str, None]:
    """Everything that `names` depend on, themselves included."""
    sources: dict[str, list[str]] = {}
    for statement in program.statements:
        sources.setdefault(statement.tensor, []).extend(statement.tensors_read)
    for request in program.derivatives:
        sources.setdefault(request.output, []).extend([request.of.tensor, request.wrt.tensor])
    found = dict.fromkeys(names)
    pending = list(found)
    while pending:
        for name in sources.get(pending.pop(), ()):
            if name not in found:
                found[name] = None
                pending.append(name)
    return found


def warn_of_unused(program: Program, declared: Declarations) -> None:
    """Warn of parameters and inputs that nothing reads, and of outputs that training cannot reach."""
    used = ancestors(program, (*program.outputs, *filter(None, [program.loss])))
    for tensor in program.with_role(Role.PARAMETER, Role.INPUT):
        if tensor.name not in used:
            _warn(declared, tensor.name, f"{tensor.role.value} '{tensor.name}' is not used by the loss or any output")
    if not program.loss:
        return
    trained = ancestors(program, (program.loss,))
    for name in program.outputs:
        mine = [t.name for t in program.with_role(Role.PARAMETER) if t.name in ancestors(program, (name,))]
        untrained = [n for n in mine if n not in trained]
        if untrained or (not mine and name not in trained):
            why = f": parameter '{untrained[0]}' is never trained" if untrained else ""
            _warn(declared, name, f"the loss '{program.loss}' does not depend on output '{name}'{why}")


def _warn(declared: Declarations, name: str, text: str) -> None:
    place = declared.tensors[name].place if name in declared.tensors else ""
    warnings.warn(f"{place}: {text}" if place else text, SymbpWarning, stacklevel=5)


def give_fans(program: Program) -> Program:
    """Tell initializers that scale with it how many values are summed, and into how many each value goes.

    ``W[j, k]`` in ``sum[j] x[j]*W[j, k]``: fan_in = extent of j, fan_out = extent of k. For a convolution
    ``K[o, c, u]`` the window u counts on both sides (Glorot and Bengio 2010; He et al. 2015).
    """

    def with_fans(tensor: Tensor) -> Tensor:
        if tensor.initializer is None or tensor.initializer.kind not in SCALED:
            return tensor
        fan_in, fan_out = _fans(tensor, program)
        arguments = (*tensor.initializer.arguments, ("fan_in", float(fan_in)), ("fan_out", float(fan_out)))
        return replace(tensor, initializer=Initializer(tensor.initializer.kind, arguments))

    return replace(program, tensors=tuple(map(with_fans, program.tensors)))


def _fans(tensor: Tensor, program: Program) -> tuple[int, int]:
    extents = [int(e) for e in tensor.shape]
    if tensor.rank < 2:
        size = extents[0] if extents else 1
        return size, size
    for statement in program.readers(tensor.name):
        for read in statement.reads:
            if read.tensor == tensor.name and statement.reduced:
                return _fans_of_read(read.subscripts, extents, statement)
    inputs = 1
    for extent in extents[:-1]:
        inputs *= extent
    return inputs, extents[-1]


def _fans_of_read(subscripts: tuple[Affine, ...], extents: list[int], statement: Statement) -> tuple[int, int]:
    fan_in = fan_out = 1
    others = [s for r in statement.reads if r.subscripts != subscripts for s in r.subscripts]
    for subscript, extent in zip(subscripts, extents, strict=True):
        index = subscript.as_index()
        summed = index is None or index in statement.reduced
        window = summed and any(index in s.indices() and len(s.indices()) > 1 for s in others if index is not None)
        fan_in *= extent if summed else 1
        fan_out *= extent if window or not summed else 1
    return fan_in, fan_out

"""Second derivatives: the tangent of the adjoint."""

from __future__ import annotations

from dataclasses import replace

from symbp.derive.rule import differentiate
from symbp.derive.tangent import Delta, Direction, ForwardMode, Seed
from symbp.ir import ZERO, Affine, Index, Program, Range, Role, Tensor, fresh_index, verify


def hessian_vector_product(program: Program, parameter: str, direction: str = "V") -> Program:
    """``W_bar_dot = H V``: how the gradient with respect to W changes along V.

        W_bar_dot[I] = sum[J] d^2 loss / (d W[I] d W[J]) * V[J]

    The result has a new input `direction` of the parameter's shape (``V_2`` if the program has a ``V``) and one output,
    ``W_bar_dot``; of the primal and the adjoint equations only those that it needs are kept.
    """
    derivation = differentiate(program, (parameter,))
    of = derivation.gradient_of(parameter)
    weights = program.tensor(parameter)
    name = derivation.program.fresh_tensor(direction)
    along = Tensor(name, weights.shape, Role.INPUT, weights.axes)
    return _tangent_of_gradient(derivation.program.add([along]), parameter, of, Direction(name), ())


def hessian(program: Program, parameter: str) -> Program:
    """All second derivatives ``W_bar_dot[I, J] = d^2 loss / (d W[I] d W[J])``, as the program's one output.

    The seed is a Kronecker delta whose indices J every tangent carries along.
    """
    derivation = differentiate(program, (parameter,))
    of = derivation.gradient_of(parameter)
    weights = program.tensor(parameter)
    used = {i for s in derivation.program.statements for i in s.indices}
    extra: list[Range] = []
    for position, extent in enumerate(weights.shape):
        hint = weights.axes[position] if weights.axes else "n"
        index = fresh_index(hint, {*used, *(Index(a) for a in weights.axes), *(r.index for r in extra)})
        extra.append(Range(index, ZERO, extent))
    seed = Delta(tuple(Affine.of(r.index) for r in extra))
    return _tangent_of_gradient(derivation.program, parameter, of, seed, tuple(extra))


def _tangent_of_gradient(program: Program, parameter: str, of: str, seed: Seed, extra: tuple[Range, ...]) -> Program:
    forward = ForwardMode({parameter: seed}, extra)
    result = forward.fill_missing(forward.push(program, (of,)), (of,))
    output = forward.names[of]
    result = replace(result, outputs=(output,), loss="").keep_live((output,))
    return verify(result, "second derivatives")

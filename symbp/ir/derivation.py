"""What differentiation gives: the primal and adjoint equations together, and which adjoint belongs to which tensor."""

from __future__ import annotations

from dataclasses import dataclass

from symbp.ir.program import Program
from symbp.ir.statement import Statement


@dataclass(frozen=True)
class Derivation:
    """The equations of the loss and of its derivatives.

    `program` holds primal and adjoint statements; `primal` the primal ones alone (stabilised, calls named);
    `gradients` pairs each differentiated tensor with its adjoint: ``("W", "W_bar")``.
    """

    program: Program
    primal: Program
    gradients: tuple[tuple[str, str], ...]

    def gradient_of(self, name: str) -> str:
        return dict(self.gradients)[name]

    @property
    def backward(self) -> tuple[Statement, ...]:
        """The statements that the primal does not have."""
        primal = set(self.primal.statements)
        return tuple(s for s in self.program.statements if s not in primal)

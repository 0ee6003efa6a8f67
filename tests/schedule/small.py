"""Axes and tensors that most tests of the scheduler use."""

from __future__ import annotations

from dataclasses import replace

from symbp.ir import Affine, DType, Program
from tests.derive.equations import Equations, Handle


class Small:
    """``n``, ``m`` of run-time extent n_n; ``i``, ``j``, ``k`` of 5, 6, 7; ``u`` of 3."""

    def __init__(self) -> None:
        self.eq = Equations()
        self.n, self.m = self.eq.axis("n", "n_n"), self.eq.axis("m", "n_n")
        self.i, self.j, self.k, self.u = (self.eq.axis(a, e) for a, e in (("i", 5), ("j", 6), ("k", 7), ("u", 3)))

    @property
    def size(self) -> Affine:
        return self.eq.extents[self.n]

    def given(self, name: str, axes: str, below: int | None = None) -> Handle:
        """``given("x", "ni")``: an input over the axes with these letters."""
        return self.eq.given(name, *(getattr(self, a) for a in axes), below=below)

    def whole_numbers(self, name: str) -> None:
        """Declare a computed tensor as one of integers."""
        self.eq.tensors[name] = replace(self.eq.tensors[name], dtype=DType.INT)

    def program(self, *outputs: str) -> Program:
        return self.eq.program(outputs=outputs)

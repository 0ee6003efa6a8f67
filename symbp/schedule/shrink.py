"""Make arrays smaller: first they lose axes, then large matrices are taken in blocks of rows."""

from __future__ import annotations

from collections.abc import Sequence

from symbp.ir.plan import Nest
from symbp.ir.program import Program, Tensor
from symbp.schedule.contract_arrays import contract_arrays
from symbp.schedule.row_blocks import block_rows


def shrink(
    nests: Sequence[Nest], program: Program, candidates: Sequence[str]
) -> tuple[tuple[Nest, ...], dict[str, Tensor]]:
    """The nests with smaller arrays, and the candidates that became smaller, as they are then."""
    tensors = {t.name: t for t in program.tensors}
    nests, narrow = contract_arrays(nests, tensors, candidates)
    nests, blocks = block_rows(nests, {**tensors, **narrow}, [n for n in candidates if n in narrow])
    return nests, {**narrow, **blocks}

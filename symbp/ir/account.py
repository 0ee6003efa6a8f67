"""What a plan does and what it costs, as data: its work in order, and the memory that it lives in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from symbp.ir.affine import ZERO, Affine
from symbp.ir.cost import Cost, evaluate
from symbp.ir.plan import CHUNKS, ROWS, Cut
from symbp.ir.statement import Statement


@dataclass(frozen=True, slots=True)
class Work:
    """A nest, or a step on a device: `number` counts through everything that shares a workspace.

    `name` is that of the kernel, if it has one, and `kind` what it is; `at` says who carries it out, on a device.
    """

    number: int
    name: str
    kind: str
    at: str
    statements: tuple[Statement, ...]
    cost: Cost


@dataclass(frozen=True)
class WorkList:
    """The work of one procedure. It is called `times` for each use, and `sizes` are those of the largest call."""

    procedure: str
    works: tuple[Work, ...]
    times: Affine
    sizes: Mapping[str, int] = field(default_factory=dict)

    @property
    def cost(self) -> Cost:
        total = Cost()
        for work in self.works:
            total = total + work.cost
        return total


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tensor lives in a workspace: `bytes` at `offset`, from the work numbered `first` to the one `last`."""

    tensor: str
    shape: tuple[Affine, ...]
    memory: str
    offset: Affine
    bytes: Affine
    first: int
    last: int
    shares_with: tuple[str, ...] = ()


@dataclass(frozen=True)
class Use:
    """Evaluating the model, a step of training, or the optimizer's update: work, and the memory it needs."""

    name: str
    lists: tuple[WorkList, ...]
    places: tuple[Place, ...]
    bytes: Mapping[str, Affine]
    cut: Cut | None = None  # how the batch is cut into chunks

    def sizes(self, known: Mapping[str, int], unknown: int = 32) -> dict[str, int]:
        """What is known of sizes, and how many chunks there are, of how many samples each (in the mean, rounded up)."""
        if self.cut is None:
            return {**known}
        samples = evaluate(self.cut.extent, known, unknown)
        chunks = self.cut.chunks(samples)
        return {**known, CHUNKS.name: chunks, ROWS.name: -(-samples // max(chunks, 1))}

    @property
    def total_bytes(self) -> Affine:
        total = ZERO
        for count in self.bytes.values():
            total = total + count
        return total


@dataclass(frozen=True)
class Account:
    """Everything that a plan does. `sizes` are the run-time sizes of the model, `known` those with a number."""

    model: str
    uses: tuple[Use, ...]
    sizes: tuple[str, ...]
    known: Mapping[str, int]

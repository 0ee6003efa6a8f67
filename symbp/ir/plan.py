"""The plan: what runs, in which order, in which loops, on which memory. It knows no target.

Plan      ::=  procedures, buffers, the layout of parameters
Procedure ::=  name, the arrays and sizes it uses, nests
Nest      ::=  the statements it carries out, nodes
Node      ::=  Loop | If | Store | SetIndex | Track | Fill | Product | Note
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from symbp.ir.affine import Affine, Index, Read, Size
from symbp.ir.body import Body
from symbp.ir.program import Initializer, Tensor
from symbp.ir.statement import Guard, Statement


@dataclass(frozen=True, slots=True)
class Bound:
    """The largest of several lower bounds, or the smallest of several stops."""

    values: tuple[Affine, ...]

    def __str__(self) -> str:
        return ", ".join(map(str, self.values))


@dataclass(frozen=True, slots=True)
class Loop:
    """``for index in [lower, stop)``, upwards, or downwards if `step` is -1."""

    index: Index
    lower: Bound
    stop: Bound
    body: tuple[Node, ...]
    step: int = 1


@dataclass(frozen=True, slots=True)
class If:
    """Run the body where every guard holds."""

    guards: tuple[Guard, ...]
    body: tuple[Node, ...]


class Update(Enum):
    """How a store changes its target."""

    SET = "="
    ADD = "+="


@dataclass(frozen=True, slots=True)
class Store:
    """``target = value`` or ``target += value``; a target without subscripts is a local scalar."""

    target: Read
    value: Body
    update: Update = Update.SET


#: Locals that carry a reduction. No tensor can have these names; printers give them plain ones that are free.
TOTAL, BEST, PLACE = Read("<total>"), Read("<best>"), Read("<place>")


@dataclass(frozen=True, slots=True)
class SetIndex:
    """``index = value``: a subscript computed once."""

    index: Index
    value: Affine


@dataclass(frozen=True, slots=True)
class Track:
    """One candidate of a maximum: ``if value > best: best = value`` and, for an argmax, remember where."""

    best: Read
    value: Body
    position: Read | None = None
    at: Affine | None = None


@dataclass(frozen=True, slots=True)
class Fill:
    """Set every element of a tensor to a number."""

    tensor: str
    value: int = 0


@dataclass(frozen=True, slots=True)
class Slice:
    """A matrix inside a tensor: one subscript per axis, where a pair stands for a stretch of the axis.

    `axes` holds an Affine for a fixed position and a pair (lower, stop) for a kept axis. The first `rows` kept axes
    make up the rows and the next `columns` the columns, so that ``x[b, t, j]`` can act as a matrix of
    ``n_batch*n_time`` rows: axes that act as one follow each other, and all but the first of them are kept whole.
    `transposed` swaps the two afterwards.
    """

    tensor: str
    axes: tuple[Affine | tuple[Affine, Affine], ...]
    rows: int = 1
    columns: int = 1
    transposed: bool = False


@dataclass(frozen=True, slots=True)
class Product:
    """``out (=|+=) left @ right``: every contraction of a program goes through here."""

    out: Slice
    left: Slice
    right: Slice
    accumulate: bool


@dataclass(frozen=True, slots=True)
class Note:
    """The equation that the nodes after it carry out; it becomes the comment above them."""

    statement: Statement


Node = Loop | If | Store | SetIndex | Track | Fill | Product | Note


class Kind(Enum):
    """What a statement is, for the scheduler and for people."""

    MAP = "map"
    GATHER = "gather"
    REDUCTION = "reduction"
    CONTRACTION = "contraction"
    BATCHED_CONTRACTION = "batched contraction"
    SCATTER = "scatter"
    SCAN = "scan"


@dataclass(frozen=True, slots=True)
class Nest:
    """One top-level group of loops and the statements that it carries out, in order."""

    statements: tuple[Statement, ...]
    nodes: tuple[Node, ...]
    kind: Kind


class Memory(Enum):
    """Where a tensor lives."""

    ARGUMENT = "argument"  # an array handed in under its own name
    PARAMETERS = "params"
    GRADIENTS = "grads"
    WORKSPACE = "workspace"
    POSITIONS = "positions"  # the workspace of integers
    STATE = "state"  # what an optimizer keeps
    HYPER = "hyper"  # an optimizer's scalars, in double precision
    LOCAL = "local"  # a scalar variable


@dataclass(frozen=True, slots=True)
class Buffer:
    """A tensor's place: ``memory[offset : offset + count]``, seen with the tensor's shape."""

    tensor: str
    memory: Memory
    offset: Affine


@dataclass(frozen=True)
class Procedure:
    """One function of the generated module.

    `inputs` are the arrays it reads by name, `views` the buffers it cuts out of the flat arrays, `results` the tensors
    it writes that the caller owns, `returns` the scalar it gives back (the loss). A long one has `parts`: its nests in
    functions of their own, which it calls one after the other.
    """

    name: str
    summary: str
    inputs: tuple[str, ...]
    views: tuple[Buffer, ...]
    results: tuple[str, ...]
    nests: tuple[Nest, ...]
    returns: str = ""
    parts: tuple[Procedure, ...] = ()

    def uses(self, memory: Memory) -> bool:
        return any(b.memory is memory for b in self.views)


@dataclass(frozen=True, slots=True)
class ParameterSlot:
    """A parameter's place in the flat array."""

    name: str
    shape: tuple[int, ...]
    offset: int
    initializer: Initializer | None
    fans: tuple[int, int] = (1, 1)  # fan-in and fan-out, which some initializers scale by

    @property
    def count(self) -> int:
        total = 1
        for extent in self.shape:
            total *= extent
        return total


@dataclass(frozen=True)
class Plan:
    """Everything code generation needs, for every target.

    `procedures` are ``predict`` (if the model has outputs), ``forward`` and ``backward`` (if it has a loss) and
    ``update`` (if it has an optimizer). `tensors` knows every tensor they name.
    """

    name: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    loss: str
    parameters: tuple[ParameterSlot, ...]
    procedures: tuple[Procedure, ...]
    tensors: dict[str, Tensor]
    workspaces: dict[str, dict[Memory, Affine]]  # elements needed, in run-time sizes, by use: "predict", "train"
    requirements: tuple[Affine, ...] = ()
    state: tuple[str, ...] = ()  # the optimizer's vectors
    hyper: tuple[Tensor, ...] = ()  # the optimizer's scalars
    optimizer: str = ""

    def procedure(self, name: str) -> Procedure | None:
        return next((p for p in self.procedures if p.name == name), None)

    @property
    def parameter_count(self) -> int:
        return sum(slot.count for slot in self.parameters)

    def sizes(self) -> tuple[Size, ...]:
        return tuple(dict.fromkeys(s for t in self.inputs for extent in t.shape for s in extent.sizes()))

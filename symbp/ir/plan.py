"""The plan: what runs, in which order, in which loops, on which memory. It knows no target.

Plan      ::=  procedures, buffers, the layout of parameters
Procedure ::=  name, the arrays and sizes it uses, nests; for a target of many threads also steps
Nest      ::=  the statements it carries out, nodes
Step      ::=  Launch | Contract | Fill | Repeat | Note
Launch    ::=  a kernel, carried out at every point of a box by a team of threads
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum

from symbp.ir.affine import Affine, Index, Size
from symbp.ir.nodes import Bound, Contract, Dealt, Fill, Node, Note
from symbp.ir.program import Initializer, Tensor
from symbp.ir.statement import Statement


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
    GIVEN = "given"  # an array handed in under its own name: its shape, or the part that a chunk has of it
    PARAMETERS = "params"
    GRADIENTS = "grads"
    WORKSPACE = "workspace"
    POSITIONS = "positions"  # the workspace of integers
    CHUNK = "chunk"  # what lives no longer than one chunk of samples
    CHUNK_POSITIONS = "chunk_positions"
    STATE = "state"  # what an optimizer keeps
    HYPER = "hyper"  # an optimizer's scalars, in double precision
    LOCAL = "local"  # a scalar variable


#: The memories that a caller lends for intermediates, in the order of arguments.
SCRATCH = (Memory.WORKSPACE, Memory.POSITIONS, Memory.CHUNK, Memory.CHUNK_POSITIONS)


@dataclass(frozen=True, slots=True)
class Buffer:
    """A tensor's place: ``memory[offset : offset + count]``, seen with the tensor's shape."""

    tensor: str
    memory: Memory
    offset: Affine


class Machine(Enum):
    """What a target asks of the scheduler."""

    LOOPS = "loops"  # one thread walks long loops; their innermost is a vector
    TEAMS = "teams"  # thousands of threads: every nest is a kernel, carried out by teams
    ATOMICS = "atomics"  # as teams, and points that meet in one element add to it in whatever order they come

    @property
    def in_teams(self) -> bool:
        return self is not Machine.LOOPS


class Team(Enum):
    """Who carries out one point of a kernel."""

    THREAD = "thread"
    WARP = "warp"
    BLOCK = "block"
    COLUMN = "column"  # the threads of a block that share a lane: neighbouring points are neighbouring lanes


@dataclass(frozen=True)
class Kernel:
    """One function of the device: at every point of the box `points` a team runs `body`.

    `views` are the buffers it cuts out of the flat arrays, `inputs` the inputs it reads, `results` the tensors that it
    writes to memory of the caller.
    """

    name: str
    statements: tuple[Statement, ...]
    team: Team
    points: tuple[Dealt, ...]
    body: tuple[Node, ...]
    inputs: tuple[str, ...] = ()
    views: tuple[Buffer, ...] = ()
    results: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Launch:
    """Run a kernel at every point of its box."""

    kernel: Kernel


@dataclass(frozen=True, slots=True)
class Repeat:
    """The steps again for each value of the index, one after the other: a scan that does not fit one kernel."""

    index: Index
    lower: Bound
    stop: Bound
    steps: tuple[Step, ...]
    step: int = 1


Step = Launch | Contract | Fill | Repeat | Note


#: How many samples a chunk has, and the number of the first of them; how many chunks there are, and which this is.
ROWS, FIRST = Size("rows"), Size("first", least=0)
CHUNKS, NUMBER = Size("chunks"), Size("number", least=0)


def share_sizes(extent: Affine) -> tuple[Size, Size]:
    """Where one share of an axis begins and stops: ``first_128``, ``last_128``."""
    return Size(f"first_{extent}", least=0), Size(f"last_{extent}", least=0)


@dataclass(frozen=True, slots=True)
class Cut:
    """The batch, `extent` samples, in chunks of about equal length: `longest` samples at most, and no more of them.

    A batch too short for an even number of chunks has shorter ones, down to about `shortest` samples: two threads are
    to have the same to do. How many there are depends on the number of samples alone.
    """

    extent: Affine
    longest: int
    shortest: int

    @property
    def step(self) -> int:
        """A chunk begins at a multiple of this."""
        return math.gcd(self.shortest, 16)

    @property
    def count(self) -> Affine:
        """How many chunks there are."""
        return Affine.of(self.chunks(int(self.extent)) if self.extent.is_constant else CHUNKS)

    def chunks(self, samples: int) -> int:
        """The same for so many samples; `symbp.runtime.shares.chunk_count` has to agree."""
        count = -(-samples // self.longest)
        return max(count, min(count + count % 2 if count < 8 else count, samples // self.shortest))


class Portion(Enum):
    """What one call of a procedure does."""

    WHOLE = "whole"
    ROWS = "rows"  # one chunk of samples
    SHARE = "share"  # the part of every result that one of several threads owns


@dataclass(frozen=True)
class Procedure:
    """One function of the generated module.

    `inputs` are the arrays it reads by name, `views` the buffers it cuts out of the flat arrays, `results` the tensors
    it writes that the caller owns, `returns` the scalar it gives back (the loss). A long one has `parts`: its nests in
    functions of their own, which it calls one after the other. `steps` are its launches on a target of many threads.
    What a chunk sees of the tensors, if it is not the whole of them, is in `tensors`; the extents of the axes that are
    shared out among threads are in `shares`.
    """

    name: str
    summary: str
    inputs: tuple[str, ...]
    views: tuple[Buffer, ...]
    results: tuple[str, ...]
    nests: tuple[Nest, ...]
    returns: str = ""
    parts: tuple[Procedure, ...] = ()
    steps: tuple[Step, ...] = ()
    portion: Portion = Portion.WHOLE
    tensors: tuple[Tensor, ...] = ()
    shares: tuple[Affine, ...] = ()

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

    `procedures` are ``predict_into`` (if the model has outputs), ``forward`` and ``backward`` (if it has a loss) and
    ``update`` (if it has an optimizer). `tensors` knows every tensor they name.

    Where the batch is cut, ``predict_rows`` takes the place of the first; and ``before_rows`` (before any sample),
    ``forward_rows`` and ``backward_rows`` (one chunk), ``loss_of_rows`` (the loss of all), ``after_rows`` and
    ``gradients_share`` (what is left of the derivative; one thread's share of it) that of the next two.
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
    cuts: dict[str, Cut] = field(default_factory=dict)  # by use: of what runs chunk by chunk

    def procedure(self, name: str) -> Procedure | None:
        return next((p for p in self.procedures if p.name == name), None)

    @property
    def parameter_count(self) -> int:
        return sum(slot.count for slot in self.parameters)

    def sizes(self) -> tuple[Size, ...]:
        return tuple(dict.fromkeys(s for t in self.inputs for extent in t.shape for s in extent.sizes()))

"""The parts of a kernel's nodes as code: how a thread finds its point, takes its share, and meets its team."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from symbp.codegen.layout import parts
from symbp.codegen.printer import CodePrinter, Names
from symbp.codegen.writer import Writer
from symbp.ir.affine import ONE, ZERO, Affine, Read
from symbp.ir.names import fresh_name
from symbp.ir.nodes import AddAtomically, Combine, Dealt, Largest, Once, Settle, Share, Spread
from symbp.ir.plan import Kernel, Plan, Team
from symbp.ir.statement import Reduction
from symbp.ir.walk_nodes import walk


@dataclass(frozen=True)
class TeamText:
    """How a team finds its point and its threads theirs, and what its functions are called."""

    one: str
    point: str
    rank_name: str = ""
    rank: str = ""
    stride: str = ""
    barrier: str = ""


TEAMS: Mapping[Team, TeamText] = {
    Team.THREAD: TeamText("One thread", "cuda.grid(1)"),
    Team.WARP: TeamText("One warp", "cuda.grid(1) // WARP", "lane", "cuda.laneid", "WARP", "cuda.syncwarp()"),
    Team.BLOCK: TeamText("One block", "cuda.blockIdx.x", "rank", "cuda.threadIdx.x", "BLOCK", "cuda.syncthreads()"),
    Team.COLUMN: TeamText(
        "One column of threads",
        "cuda.blockIdx.x * WARP + cuda.laneid",
        "rank",
        "cuda.threadIdx.x // WARP",
        "COLUMN",
        "cuda.syncthreads()",
    ),
}


class KernelWriter(Writer):
    """The parts of the nodes of one kernel."""

    def __init__(self, plan: Plan, kernel: Kernel, dtype: str, names: Names, free: Iterable[str]) -> None:
        super().__init__(plan, dtype, names)
        self.kernel = kernel
        self.team = TEAMS[kernel.team]
        self.count = count_text(kernel.points, plan, self.code)
        self._taken = {*free}

    # ------------------------------------------------------------------------------------------------------ the point

    def preamble(self) -> list[str]:
        """The lines in which a thread finds its point of the box, and its rank in the team."""
        points, lines = self.kernel.points, []
        if points:
            lines += self._column_point() if self.kernel.team is Team.COLUMN else self._own_point()
        if self.kernel.team is not Team.THREAD and self._needs_rank():
            lines.append(f"{self.team.rank_name} = {self.team.rank}")
        return lines

    def _own_point(self) -> list[str]:
        points = self.kernel.points
        alone = len(points) == 1 and points[0].lower.values == (ZERO,)
        name = self.index(points[0].index) if alone else "point"
        lines = [f"{name} = {self.team.point}"]
        if self.kernel.team is not Team.BLOCK:  # its grid has exactly one block a point
            lines += [f"if {name} >= {self.count}:", "    return"]
        return lines if alone else lines + self.unravelled("point", points)

    def _column_point(self) -> list[str]:
        points, total = self.kernel.points, box_count(self.kernel.points)
        last = self.code.affine(total - 1) if self.code.affine(total) == self.count else f"{self.count} - 1"
        return [
            f"point = {self.team.point}",
            "# Columns beyond the last take its point as well: all threads must reach the barriers.",
            *self.unravelled(f"min(point, {last})", points),
        ]

    def _needs_rank(self) -> bool:
        return any(isinstance(n, Share | Once) for n in walk(self.kernel.body))

    def unravelled(self, flat: str, axes: Sequence[Dealt]) -> list[str]:
        """The indices of a box from the count of the point: ``b, k = unravel(point, (n_batch, 32))``."""
        names = [self.index(a.index) for a in axes]
        lowers = [self.bound(a.lower, "max") for a in axes]
        if len(axes) == 1:
            return [f"{names[0]} = {flat}" + (f" + {lowers[0]}" if lowers[0] != "0" else "")]
        extents = parts([self.code.affine(a.extent) for a in axes])
        shifts = [f"{name} += {lower}" for name, lower in zip(names, lowers, strict=True) if lower != "0"]
        return [f"{', '.join(names)} = unravel({flat}, {extents})", *shifts]

    # ------------------------------------------------------------------------------------------------- teams of threads

    def deal(self, node: Share) -> str:
        """``k in range(lane, 10, WARP)``; of several axes their points are counted."""
        rank, stride = self.team.rank_name, self.team.stride
        if len(node.axes) > 1:
            return f"{self._counter(node)} in range({rank}, {self._dealt_count(node)}, {stride})"
        (axis,) = node.axes
        lower, stop = self.bound(axis.lower, "max"), self.bound(axis.stop, "min")
        first = rank if lower == "0" else f"{lower} + {rank}"
        return f"{self.index(axis.index)} in range({first}, {stop}, {stride})"

    def ends(self, node: Share) -> list[str]:
        """The line that finds where the first of several axes begins and stops, if that takes more than a glance."""
        if not self._has_ends(node):
            return []
        axis = node.axes[0]
        return [f"first, stop = {self.bound(axis.lower, 'max')}, {self.bound(axis.stop, 'min')}"]

    def dealt(self, node: Share) -> list[str]:
        """The lines that turn the count into the indices of the axes."""
        if len(node.axes) == 1:
            return []
        if not self._has_ends(node):
            return self.unravelled(self._counter(node), node.axes)
        head, *others = node.axes
        inner = [self.code.affine(a.extent) for a in others]
        shifts = [(self.index(head.index), "first")]
        shifts += [(self.index(a.index), lower) for a in others if (lower := self.bound(a.lower, "max")) != "0"]
        names = ", ".join(self.index(a.index) for a in node.axes)
        lines = [f"{names} = unravel({self._counter(node)}, {parts(['stop - first', *inner])})"]
        return lines + [f"{name} += {lower}" for name, lower in shifts]

    def _dealt_count(self, node: Share) -> str:
        if not self._has_ends(node):
            return count_text(node.axes, self.plan, self.code)
        inner = box_count(node.axes[1:])
        text = self.code.affine(inner)
        return f"(stop - first) * {text if len(inner.terms) == 1 else f'({text})'}"

    def _has_ends(self, node: Share) -> bool:
        head = node.axes[0]
        return len(node.axes) > 1 and len(head.lower.values) + len(head.stop.values) > 2

    def _counter(self, node: Share) -> str:
        return fresh_name("i", self._taken)

    def once(self) -> str:
        """The condition for the first thread of a team; empty where it is the only one."""
        if self.kernel.team is Team.THREAD:
            return ""
        first = f"{self.team.rank_name} == 0"
        if self.kernel.team is not Team.COLUMN or not self.kernel.points:
            return first
        return f"{first} and point < {self.count}"

    def barrier(self) -> str:
        return self.team.barrier

    def combine(self, node: Combine) -> str:
        what = {Reduction.SUM: "sum", Reduction.MAX: "max"}[node.reduction]
        local = self.code.read(node.local)
        return f"{local} = {self.kernel.team.value}_{what}({local})"

    # ------------------------------------------------------------------------------------------------------- exact sums

    def largest(self, node: Largest) -> str:
        return f"largest({self.code.names.name(node.largest)}, {self.code.body(node.value)})"

    def spread(self, node: Spread) -> str:
        sums, largest = self.code.names.name(node.sums), self.code.names.name(node.largest)
        subscripts = [self.code.affine(s) for s in node.subscripts or (ZERO,)]
        place = parts(subscripts) if len(subscripts) > 1 else subscripts[0]
        return f"spread({sums}, {place}, {self.code.body(node.value)}, {largest}[0], {self.code.affine(node.count)})"

    def add_atomically(self, node: AddAtomically) -> str:
        subscripts = [self.code.affine(s) for s in node.target.subscripts or (ZERO,)]
        place = parts(subscripts) if len(subscripts) > 1 else subscripts[0]
        return f"cuda.atomic.add({self.code.names.name(node.target.tensor)}, {place}, {self.code.body(node.value)})"

    def settle(self, node: Settle) -> str:
        total, largest = self.code.read(Read(node.sums, node.target.subscripts)), self.code.names.name(node.largest)
        value = f"settled({total}, {largest}[0], {self.code.affine(node.count)})"
        return f"{self.code.read(node.target)} {node.update.value} {value}"


def box_count(axes: Iterable[Dealt]) -> Affine:
    """How many points a box has."""
    total = ONE
    for axis in axes:
        total = total * axis.extent
    return total


def count_text(axes: Sequence[Dealt], plan: Plan, code: CodePrinter) -> str:
    """How many points a box has, as code. A negative number is none; two negative extents must not make it positive."""
    known = {*plan.requirements, *(extent for tensor in plan.tensors.values() for extent in tensor.shape)}
    doubtful = [a for a in axes if any(c < 0 for _, c in a.extent.terms) and a.extent not in known]
    if len(doubtful) < 2:
        return code.affine(box_count(axes))
    rest = box_count(a for a in axes if a not in doubtful)
    factors = [code.affine(rest)] if rest != ONE else []
    return " * ".join([*factors, *(f"max({code.affine(a.extent)}, 0)" for a in doubtful)])

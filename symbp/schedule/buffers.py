"""Give every tensor a place in memory.

One flat workspace holds the intermediates of a step. A tensor is live from the first nest that touches it to the last;
tensors of equal size whose lives do not overlap share their place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from symbp.ir.affine import ONE, ZERO, Affine
from symbp.ir.plan import Buffer, Memory, Nest
from symbp.ir.program import DType, Tensor
from symbp.schedule.access import touched


def element_count(tensor: Tensor) -> Affine:
    total = ONE
    for extent in tensor.shape:
        total = total * extent
    return total


@dataclass
class _Slot:
    count: Affine
    busy_until: int
    offset: Affine


def allocate(
    nests: Sequence[Nest], tensors: Mapping[str, Tensor], names: Sequence[str]
) -> tuple[dict[str, Buffer], dict[Memory, Affine]]:
    """Places for `names` in the two workspaces (numbers, positions), and how long these must be."""
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for k, nest in enumerate(nests):
        read, written = touched(nest.nodes)
        for name in sorted(read | written):
            first.setdefault(name, k)
            last[name] = k
    wanted = sorted((n for n in names if n in first), key=lambda n: (first[n], names.index(n)))
    slots: dict[Memory, list[_Slot]] = {Memory.WORKSPACE: [], Memory.POSITIONS: []}
    places: dict[str, Buffer] = {}
    ends = {Memory.WORKSPACE: ZERO, Memory.POSITIONS: ZERO}
    for name in wanted:
        tensor = tensors[name]
        memory = Memory.POSITIONS if tensor.dtype is DType.INT else Memory.WORKSPACE
        count = element_count(tensor)
        slot = next((s for s in slots[memory] if s.count == count and s.busy_until < first[name]), None)
        if slot is None:
            slot = _Slot(count, last[name], ends[memory])
            slots[memory].append(slot)
            ends[memory] = ends[memory] + count
        slot.busy_until = last[name]
        places[name] = Buffer(name, memory, slot.offset)
    return places, {memory: end for memory, end in ends.items() if end.terms}

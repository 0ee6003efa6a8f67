"""Give every tensor a place in memory.

One flat workspace holds the intermediates of a step. A tensor is live from the first nest that touches it to the last;
tensors of equal size whose lives do not overlap share their place.

Whatever the run-time sizes are, a place whose length is a multiple of 16 begins at a multiple of 16, one of 8 at a
multiple of 8, and so on: rows of whole vectors then begin where a vector may.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from symbp.ir.affine import ONE, ZERO, Affine
from symbp.ir.plan import Buffer, Memory, Nest
from symbp.ir.program import DType, Tensor
from symbp.ir.trace import counted, tell
from symbp.schedule.access import touched


def element_count(tensor: Tensor) -> Affine:
    """How many elements a tensor has."""
    return math.prod(tensor.shape, start=ONE)


#: Elements in the widest vector there is: 512 bits of float32.
WIDEST = 16


@dataclass
class _Slot:
    count: Affine
    busy_until: int
    tensors: list[str]

    @property
    def alignment(self) -> int:
        """The largest power of two, up to `WIDEST`, that divides the length for all sizes."""
        return math.gcd(WIDEST, *(factor for _, factor in self.count.terms))


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
    for name in wanted:
        tensor = tensors[name]
        memory = Memory.POSITIONS if tensor.dtype is DType.INT else Memory.WORKSPACE
        count = element_count(tensor)
        slot = next((s for s in slots[memory] if s.count == count and s.busy_until < first[name]), None)
        if slot is None:
            slot = _Slot(count, last[name], [])
            slots[memory].append(slot)
        slot.busy_until = last[name]
        slot.tensors.append(name)
    places: dict[str, Buffer] = {}
    lengths: dict[Memory, Affine] = {}
    for memory, found in slots.items():
        end = ZERO
        for slot in sorted(found, key=lambda s: -s.alignment):
            places |= {name: Buffer(name, memory, end) for name in slot.tensors}
            end = end + slot.count
        if end.terms:
            lengths[memory] = end
    tell("allocate", counted(len(wanted), "array"), counted(sum(map(len, slots.values())), "place"))
    return {name: places[name] for name in wanted}, lengths

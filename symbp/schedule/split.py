"""Cut a long procedure into functions of bounded length.

A compiler's passes over one function take more than twice as long for twice the code: the backward pass of four
transformer blocks compiled for ten times as long as that of one. In parts, time grows with the length alone; but the
code of a part is compiled twice, by itself and again in the function that calls it, so it takes some length to pay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from symbp.ir.names import fresh_name
from symbp.ir.plan import Nest, Procedure
from symbp.ir.trace import counted, tell
from symbp.ir.walk_nodes import walk
from symbp.schedule.access import accesses, touched

#: Nodes (loops and statements alike) of a procedure that is cut, and of a part. A transformer block has about 130.
LONGEST_WHOLE = 400
LONGEST_PART = 150


def split_procedure(
    procedure: Procedure, taken: Sequence[str], whole: int = LONGEST_WHOLE, longest: int = LONGEST_PART
) -> Procedure:
    """The procedure with its nests shared out among parts of about `longest` nodes; as it is up to `whole` nodes.

    A part begins only where no local scalar is handed on. `taken` are names that no part may have.
    """
    lengths = [sum(1 for _ in walk(nest.nodes)) for nest in procedure.nests]
    if sum(lengths) <= whole:
        return procedure
    count = -(-sum(lengths) // longest)
    share = sum(lengths) / count  # equal parts, rather than full ones and a short last
    groups: list[list[Nest]] = [[]]
    done = 0
    for k, (nest, length) in enumerate(zip(procedure.nests, lengths, strict=True)):
        if groups[-1] and done + length / 2 > share * len(groups) and not _hands_on(procedure, k):
            groups.append([])
        groups[-1].append(nest)
        done += length
    if len(groups) == 1:
        return procedure
    names = list(taken)
    parts = []
    for number, group in enumerate(groups, start=1):
        name = fresh_name(f"{procedure.name}_{number}", names)
        names.append(name)
        returns = procedure.returns if number == len(groups) else ""
        parts.append(_part(procedure, name, f"Part {number} of {len(groups)} of `{procedure.name}`", group, returns))
    tell("split_procedure", f"`{procedure.name}`", counted(len(parts), "function"))
    return replace(procedure, parts=tuple(parts))


def _part(procedure: Procedure, name: str, summary: str, nests: list[Nest], returns: str) -> Procedure:
    used = {n for nest in nests for names in touched(nest.nodes) for n in names} | {returns}
    layers = list(dict.fromkeys(s.origin.layer for nest in nests for s in nest.statements if s.origin.layer))
    named = ", ".join(layers) if len(layers) < 4 else f"{layers[0]} to {layers[-1]}"
    return replace(
        procedure,
        name=name,
        summary=f"{summary}{': ' if layers else ''}{named}.",
        inputs=tuple(n for n in procedure.inputs if n in used),
        views=tuple(v for v in procedure.views if v.tensor in used),
        results=tuple(n for n in procedure.results if n in used),
        nests=tuple(nests),
        returns=returns,
    )


def _hands_on(procedure: Procedure, start: int) -> bool:
    """True if a local scalar that is set before nest number `start` is read from there on."""
    stored = {v.tensor for v in procedure.views} | {*procedure.inputs, *procedure.results}
    before = {n for nest in procedure.nests[:start] for n in touched(nest.nodes)[1]} - stored
    unset = set(before)
    for nest in procedure.nests[start:]:
        for access in accesses(nest.nodes):
            if access.tensor in unset:
                if not access.writes:
                    return True
                unset.discard(access.tensor)
    return procedure.returns in unset

"""Whether a tensor may be written over another that is read for the last time: ``h[b, k] = tanh(z[b, k])``.

One array less goes through the caches: half of what a layer keeps for its derivative, where that needs h alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from symbp.ir.affine import Affine, Index
from symbp.ir.nodes import Loop, Node, Store, Update
from symbp.schedule.access import accesses


def may_take_the_place(new: str, old: str, nodes: Sequence[Node], around: tuple[Index, ...] = ()) -> bool:
    """True if in these nodes every element of `old` has served when the same element of `new` is first written.

    Both have one shape. `nodes` are all that touch `old` from here on, and the first that touch `new`; `around` are the
    indices of the loops that they lie in.
    """
    users = [node for node in nodes if _touches(node, new) or _touches(node, old)]
    if not all(_keeps_to_its_turn(users, (new, old), index) for index in around):
        return False
    start = next((k for k, node in enumerate(users) if _touches(node, new)), len(users))
    if start == len(users) or any(_touches(node, old) for node in users[start + 1 :]):
        return False
    first = users[start]
    if not _touches(first, old):
        return True
    if isinstance(first, Loop):
        return may_take_the_place(new, old, first.body, (*around, first.index))
    if not isinstance(first, Store) or first.target.tensor != new or first.update is not Update.SET:
        return False
    return {a.subscripts for a in accesses((first,)) if a.tensor in (new, old)} == {first.target.subscripts}


def _touches(node: Node, name: str) -> bool:
    return any(a.tensor == name for a in accesses((node,)))


def _keeps_to_its_turn(nodes: Sequence[Node], names: tuple[str, str], index: Index) -> bool:
    """True if along some axis the subscript is `index` itself wherever the nodes touch one of the two."""
    found = [a.subscripts for a in accesses(nodes) if a.tensor in names]
    known = [s for s in found if s is not None]
    if len(known) < len(found) or not known:
        return False
    return any(all(s[axis] == Affine.of(index) for s in known) for axis in range(len(known[0])))

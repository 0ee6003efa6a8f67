"""The names of indices on the left of a derived equation: those of the tensor's own axes, as a textbook writes it."""

from __future__ import annotations

from symbp.ir import Index, Statement, Tensor, fresh_index


def name_after_axes(statement: Statement, target: Tensor) -> Statement:
    """Give the index of each axis that is subscripted plainly the axis's own name; others make room.

    An index that makes room takes a name that has become free (k and l change places), else a fresh one.
    """
    if not target.axes:
        return statement
    names: dict[Index, Index] = {}
    for subscript, axis in zip(statement.subscripts, target.axes, strict=True):
        index = subscript.as_index()
        if index is not None and index not in names and Index(axis) not in names.values():
            names[index] = Index(axis)
    if all(old == new for old, new in names.items()):
        return statement
    taken = {*names.values()}
    others = [i for i in statement.indices if i not in names]
    taken.update(i for i in others if i not in taken)
    released = [i for i in names if i not in taken]
    for index in others:
        if index in names.values():
            names[index] = released.pop(0) if released else fresh_index(index.name, taken)
            taken.add(names[index])
    return statement.rename(names)

"""The call that carries out a `Slide`: its indices as a table of numbers."""

from __future__ import annotations

from collections.abc import Sequence

from symbp.codegen.layout import parts
from symbp.codegen.printer import CodePrinter
from symbp.ir.affine import ONE, ZERO, Affine
from symbp.ir.nodes import Slide, Stride

#: The runtime's functions take so many places and so long a window; what is missing has one step.
PLACES, WINDOW = 3, 4
_NONE = Stride(ONE, ZERO, ZERO, ZERO)


def slide_call(node: Slide, code: CodePrinter) -> str:
    """``convolve(K, x, z, n_batch, (0, 0, 0), (6, 25, 576), places, taps)``.

    A row is ``(count, left, out)``; a place ``(count, left, right, out)``, without the last where places are summed; a
    tap ``(count, left, right, place, a, b, shift, size)``, a column ``(count, right, out, place, ..)``: how many, how
    far apart in each array, and the bound ``0 <= a*place + b*tap + shift < size`` (``a*column + b*place`` of a column),
    where place -1 means none.
    """
    name = ("correlate" if node.sums_lanes else "convolve") + ("_add" if node.accumulate else "")
    code.functions[name] = None

    def numbers(values: Sequence[Affine]) -> str:
        return parts([code.affine(v) for v in values])

    def window(stride: Stride) -> str:
        steps = [stride.right, stride.out] if node.sums_lanes else [stride.left, stride.right]
        tie = stride.tie
        bound = (ONE * -1, ZERO, ONE, ZERO, ONE)
        if tie is not None:
            a, b = (tie.b, tie.a) if node.sums_lanes else (tie.a, tie.b)
            bound = (Affine.of(tie.place + missing), a, b, tie.shift, tie.size)
        return numbers([stride.count, *steps, *bound])

    def place(stride: Stride) -> str:
        steps = [stride.left, stride.right] if node.sums_lanes else [stride.left, stride.right, stride.out]
        return numbers([stride.count, *steps])

    missing = PLACES - len(node.places)
    places = parts([place(s) for s in (*[_NONE] * missing, *node.places)])
    windows = parts([window(s) for s in (*[_NONE] * (WINDOW - len(node.window)), *node.window)])
    names = [code.names.name(n) for n in (node.left, node.right, node.out)]
    row = numbers((node.row.count, node.row.left, node.row.out))
    tables = [windows, places] if node.sums_lanes else [places, windows]
    return f"{name}({', '.join([*names, code.affine(node.lanes), numbers(node.start), row, *tables])})"

"""How far a window can slide along an axis."""

from __future__ import annotations

import sympy as sp

from symbp.errors import ShapeError
from symbp.frontend.expression import Axis


def window_positions(layer: str, axis: Axis, size: int, stride: int, padding: int, dilation: int = 1) -> sp.Expr:
    """``(n + 2*padding - dilation*(size - 1) - 1)//stride + 1``: the number of places for a window on n elements.

    Raises ShapeError if the window is larger than a fixed extent; for a run-time size the module checks it.
    """
    reach = dilation * (size - 1) + 1
    last = axis.size + 2 * padding - reach
    if last.is_Integer and last < 0:
        raise ShapeError(
            f"{layer} has a window of {reach}, larger than axis '{axis}' of {axis.size}"
            + (f" with {padding} of padding on each side" if padding else ""),
            remedy="take a smaller window or add padding",
        )
    return sp.floor(last / stride) + 1

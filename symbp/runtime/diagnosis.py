"""Where numbers stop being finite: told when training has to stop."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np


def first_not_finite(workspace: Any, places: Mapping[str, tuple[int, tuple[int, ...]]], loss: float) -> str | None:
    """The first equation with a value that is not finite, ``z[3, 0] is inf in z[b, k] = ..``; None if all are finite.

    `places` holds, by equation and in the order of computation, where its values begin in the workspace, and their
    shape. Of a workspace on a device only what is looked at is fetched.
    """
    for equation, (start, shape) in places.items():
        values = np.asarray(workspace[start : start + math.prod(shape)])
        wrong = ~np.isfinite(values)
        if wrong.any():
            at = int(np.argmax(wrong))
            left = equation.partition(" = ")[0]
            position = ", ".join(str(int(index)) for index in np.unravel_index(at, shape))
            element = f"{left.partition('[')[0]}[{position}]" if "[" in left else left
            return f"{element} is {values[at]} in {equation}"
    return None if math.isfinite(loss) else f"the loss itself is {loss}, all that leads to it is finite"

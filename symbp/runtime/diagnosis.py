"""Where numbers stop being finite: told when training has to stop."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np


def first_not_finite(places: Mapping[str, tuple[Any, ...]], loss: float, first: int = 0) -> str | None:
    """The first equation with a value that is not finite, ``z[3, 0] is inf in z[b, k] = ..``; None if all are finite.

    `places` holds, by equation and in the order of computation, the memory of its values, where they begin in it,
    their shape, and in a part of the data the axis that counts samples, if there is one; `first` is the number of the
    first of these. Of memory on a device only what is looked at is fetched.
    """
    for equation, (memory, start, shape, *axis) in places.items():
        values = np.asarray(memory[start : start + math.prod(shape)])
        wrong = ~np.isfinite(values)
        if wrong.any():
            at = int(np.argmax(wrong))
            left = equation.partition(" = ")[0]
            index = [int(i) for i in np.unravel_index(at, shape)]
            for k in axis:
                index[k] += first
            element = f"{left.partition('[')[0]}[{', '.join(map(str, index))}]" if "[" in left else left
            return f"{element} is {values[at]} in {equation}"
    return None if math.isfinite(loss) else f"the loss itself is {loss}, all that leads to it is finite"

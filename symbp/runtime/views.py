"""Named arrays inside flat ones."""

# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

from symbp.runtime.jit import kernel


@kernel(cache=False)
def view(flat, start, shape):
    """``flat[start : start + size]`` seen with `shape` (a tuple); shares the memory of `flat`."""
    size = 1
    for extent in shape:
        size *= extent
    return flat[start : start + size].reshape(shape)

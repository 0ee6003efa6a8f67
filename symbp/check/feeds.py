"""Random sizes and arrays to run a program on: small, odd, repeatable."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from symbp.errors import DataError
from symbp.ir import Affine, DType, FloorDiv, Mod, Program, Role, Size, Tensor


def size_value(value: Affine, sizes: dict[str, int]) -> int:
    """A whole number from an extent; it may mention sizes only."""
    total = 0
    for monomial, factor in value.terms:
        for atom in monomial:
            if isinstance(atom, Size):
                factor *= sizes[atom.name]
            elif isinstance(atom, FloorDiv | Mod):
                numerator, divisor = size_value(atom.numerator, sizes), size_value(atom.divisor, sizes)
                factor *= numerator // divisor if isinstance(atom, FloorDiv) else numerator % divisor
            else:
                raise DataError(f"the extent {value} is not made of sizes only")
        total += factor
    return total


def random_sizes(program: Program, seed: int, smallest: int = 2, largest: int = 5) -> dict[str, int]:
    """A small value for each run-time size, such that the program's requirements hold.

    Raises DataError if none is found up to 8 times `largest`.
    """
    source = np.random.default_rng(seed)
    names = [s.name for s in program.sizes()]
    for attempt in range(400):
        top = largest * (1 + attempt // 50)
        sizes = {name: int(source.integers(smallest, top + 1)) for name in names}
        if are_allowed(program, sizes):
            return sizes
    wanted = ", ".join(f"{r} >= 0" for r in program.requirements)
    raise DataError(f"no small sizes satisfy {wanted}", remedy="give the sizes to check at")


def are_allowed(program: Program, sizes: dict[str, int]) -> bool:
    """True if the sizes meet the program's requirements and leave no tensor with a negative extent."""
    extents = (extent for t in program.tensors for extent in t.shape)
    needs = (*program.requirements, *extents)
    return all(size_value(need, sizes) >= 0 for need in needs)


def random_feed(program: Program, sizes: dict[str, int], seed: int) -> dict[str, NDArray[Any]]:
    """An array for every given tensor: inputs are normal, matrices scaled by their fan-in, integers below their bound.

    The order of the tensors decides the draws, so the same program, sizes and seed give the same arrays.
    """
    source = np.random.default_rng(seed)
    return {t.name: _random_array(t, sizes, source) for t in program.tensors if t.is_given}


def _random_array(tensor: Tensor, sizes: dict[str, int], source: np.random.Generator) -> NDArray[Any]:
    shape = tuple(size_value(extent, sizes) for extent in tensor.shape)
    if tensor.dtype is DType.INT:
        return source.integers(0, 2 if tensor.below is None else size_value(tensor.below, sizes), shape)
    if tensor.role is Role.HYPER:
        return np.asarray(1.0 if tensor.default is None else tensor.default)
    values = np.asarray(source.standard_normal(shape))
    if tensor.role is Role.STATE:
        return np.abs(values)  # second moments are not negative
    if tensor.role is Role.PARAMETER:
        return np.asarray(values / math.sqrt(max(1, math.prod(shape[:-1]))) if len(shape) > 1 else values * 0.3)
    return values

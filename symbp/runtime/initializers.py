"""Initial values of parameters.

Fan-in and fan-out come with the :class:`Initializer`, so nothing here needs the model. How they are counted:

- a matrix ``W[j, k]`` in ``sum[j] x[j]*W[j, k]``: fan_in is the number of j, fan_out the number of k; with more axes,
  the products of the extents of the axes summed over and of the axes kept;
- a convolution ``K[o, c, u, v]``: fan_in = c*u*v, fan_out = o*u*v;
- a vector or a number: fan_in = fan_out = its size (1 for a number).

Each parameter has its own stream of random numbers, seeded by the seed and its name: adding, removing or reordering
parameters does not change the values of the others. Values are drawn in float64 and rounded, so a float32 model starts
where the float64 model does.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import numpy as np
import numpy.typing as npt

from symbp.errors import SpecError, did_you_mean

Array = npt.NDArray[np.float64]
Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Initializer:
    """How a parameter starts: a kind by name, its numbers, and the fans that scale it.

    kinds: ``zeros``; ``ones``; ``constant(value)``; ``normal(std)``; ``uniform(low, high)``;
    ``glorot_uniform``, ``glorot_normal`` (Glorot and Bengio 2010: variance 2/(fan_in + fan_out));
    ``he_uniform``, ``he_normal`` (He et al. 2015: 2/fan_in); ``lecun_uniform``, ``lecun_normal`` (LeCun et al. 1998:
    1/fan_in); ``orthogonal(gain)`` (Saxe et al. 2014: orthonormal rows or columns times the gain).

    Raises SpecError for an unknown kind or a wrong number of arguments.
    """

    kind: str
    arguments: tuple[float, ...] = ()
    fan_in: int = 1
    fan_out: int = 1

    def __post_init__(self) -> None:
        if self.kind not in _KINDS:
            raise SpecError(f"unknown initializer '{self.kind}'", remedy=did_you_mean(self.kind, _KINDS))
        least, most, _ = _KINDS[self.kind]
        if not least <= len(self.arguments) <= most:
            expected = str(most) if least == most else f"{least} to {most}"
            raise SpecError(f"initializer '{self.kind}': expected {expected} arguments, found {len(self.arguments)}")
        if not all(math.isfinite(argument) for argument in self.arguments):
            raise SpecError(f"initializer '{self.kind}': expected finite arguments, found {self.arguments}")
        if min(self.fan_in, self.fan_out) < 1:
            raise SpecError(f"initializer '{self.kind}': expected fans >= 1, found {self.fan_in} and {self.fan_out}")


def initial_values(initializer: Initializer, name: str, shape: Shape, seed: int) -> Array:
    """The initial values in float64 of the parameter ``name``, the same on every machine for one version of NumPy."""
    random = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, crc32(name.encode())])))
    _, _, draw = _KINDS[initializer.kind]
    return np.asarray(draw(random, shape, initializer), dtype=np.float64)


Draw = Callable[[np.random.Generator, Shape, Initializer], Any]


def _zeros(random: np.random.Generator, shape: Shape, initializer: Initializer) -> Any:
    return np.zeros(shape)


def _ones(random: np.random.Generator, shape: Shape, initializer: Initializer) -> Any:
    return np.ones(shape)


def _constant(random: np.random.Generator, shape: Shape, initializer: Initializer) -> Any:
    return np.full(shape, initializer.arguments[0])


def _normal(random: np.random.Generator, shape: Shape, initializer: Initializer) -> Any:
    (deviation,) = initializer.arguments
    return deviation * random.standard_normal(shape)


def _uniform(random: np.random.Generator, shape: Shape, initializer: Initializer) -> Any:
    low, high = initializer.arguments
    return low + (high - low) * random.random(shape)


def _scaled_normal(variance: Callable[[Initializer], float]) -> Draw:
    def draw(random: np.random.Generator, shape: Shape, initializer: Initializer) -> Any:
        return math.sqrt(variance(initializer)) * random.standard_normal(shape)

    return draw


def _scaled_uniform(variance: Callable[[Initializer], float]) -> Draw:
    def draw(random: np.random.Generator, shape: Shape, initializer: Initializer) -> Any:
        # A uniform number between -limit and limit has the variance limit²/3.
        limit = math.sqrt(3.0 * variance(initializer))
        return limit * (2.0 * random.random(shape) - 1.0)

    return draw


def _orthogonal(random: np.random.Generator, shape: Shape, initializer: Initializer) -> Any:
    gain = initializer.arguments[0] if initializer.arguments else 1.0
    if len(shape) < 2:
        raise SpecError(f"initializer 'orthogonal': expected at least 2 axes, found shape {shape}")
    n_rows, n_columns = shape[0], math.prod(shape[1:])
    tall = random.standard_normal((max(n_rows, n_columns), min(n_rows, n_columns)))
    q, r = np.linalg.qr(tall)
    # The signs of R's diagonal are free; made positive, Q is uniform among the orthogonal matrices (Mezzadri 2007).
    q = q * np.where(np.diagonal(r) < 0, -1.0, 1.0)
    return gain * (q if n_rows >= n_columns else q.T).reshape(shape)


def _glorot(initializer: Initializer) -> float:
    return 2.0 / (initializer.fan_in + initializer.fan_out)


def _he(initializer: Initializer) -> float:
    return 2.0 / initializer.fan_in


def _lecun(initializer: Initializer) -> float:
    return 1.0 / initializer.fan_in


# kind: the least and the largest number of arguments, and how values are drawn
_KINDS: dict[str, tuple[int, int, Draw]] = {
    "zeros": (0, 0, _zeros),
    "ones": (0, 0, _ones),
    "constant": (1, 1, _constant),
    "normal": (1, 1, _normal),
    "uniform": (2, 2, _uniform),
    "glorot_uniform": (0, 0, _scaled_uniform(_glorot)),
    "glorot_normal": (0, 0, _scaled_normal(_glorot)),
    "he_uniform": (0, 0, _scaled_uniform(_he)),
    "he_normal": (0, 0, _scaled_normal(_he)),
    "lecun_normal": (0, 0, _scaled_normal(_lecun)),
    "lecun_uniform": (0, 0, _scaled_uniform(_lecun)),
    "orthogonal": (0, 1, _orthogonal),
}

KINDS: tuple[str, ...] = tuple(_KINDS)

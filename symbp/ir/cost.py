"""What a piece of work costs, as integer polynomials in the run-time sizes: arithmetic, calls, bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from symbp.ir.affine import ZERO, Affine, FloorDiv, Mod, Size

#: What one core of a machine with 512-bit vectors does in a nanosecond, to compare work with; not a promise.
FLOPS_IN_PRODUCTS = 80.0
OPERATIONS_IN_LOOPS = 4.0
CALLS = 1.0


@dataclass(frozen=True, slots=True)
class Cost:
    """Work that does not depend on the machine.

    `flops` are arithmetic operations, a multiplication and an addition counted one by one; `in_products` is the part of
    them that matrix products do. `calls` are elementary functions (exp, tanh). `bytes` is the traffic that no cache can
    spare: every element that is touched is read or written once, and both where it is updated in place.
    """

    flops: Affine = ZERO
    calls: Affine = ZERO
    bytes: Affine = ZERO
    in_products: Affine = ZERO

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.flops + other.flops,
            self.calls + other.calls,
            self.bytes + other.bytes,
            self.in_products + other.in_products,
        )


def evaluate(value: Affine, sizes: Mapping[str, int] | None = None, unknown: int = 32) -> int:
    """The number that a value free of indices and reads is for these sizes, by name; others are `unknown`."""
    given = sizes or {}
    total = 0
    for monomial, factor in value.terms:
        term = factor
        for atom in monomial:
            if isinstance(atom, Size):
                term *= given.get(atom.name, unknown)
            elif isinstance(atom, FloorDiv):
                term *= evaluate(atom.numerator, given, unknown) // evaluate(atom.divisor, given, unknown)
            elif isinstance(atom, Mod):
                term *= evaluate(atom.numerator, given, unknown) % evaluate(atom.divisor, given, unknown)
            else:
                raise ValueError(f"{value} is not a number for given sizes")
        total += term
    return total


def nanoseconds(cost: Cost, sizes: Mapping[str, int] | None = None, unknown: int = 32) -> float:
    """About how long one core works on this, if the data are in its cache: to compare work with, no prediction."""
    flops, calls, products = (evaluate(v, sizes, unknown) for v in (cost.flops, cost.calls, cost.in_products))
    return products / FLOPS_IN_PRODUCTS + (flops - products) / OPERATIONS_IN_LOOPS + calls / CALLS

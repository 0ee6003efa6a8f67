"""Programs by hand together with the same function in torch, and the comparison of their gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from symbp.check.interpreter import interpret
from symbp.derive.rule import differentiate
from symbp.ir import Affine, DType, Index, Program, Role, Size, Tensor
from symbp.ir.derivation import Derivation
from tests.derive.equations import Equations, Handle

Arrays = dict[str, NDArray[Any]]
TOLERANCE = 1e-10


@dataclass(frozen=True)
class Case:
    """A program, what to feed it, and the loss as a torch function of the same feed."""

    program: Program
    sizes: Mapping[str, int]
    feed: Arrays
    reference: Callable[[dict[str, torch.Tensor]], torch.Tensor]
    wrt: tuple[str, ...]


def tensors_of(case: Case) -> dict[str, torch.Tensor]:
    return {n: torch.tensor(v, requires_grad=n in case.wrt) for n, v in case.feed.items()}


def reference_gradients(case: Case) -> tuple[float, Arrays]:
    tensors = tensors_of(case)
    loss = case.reference(tensors)
    gradients = torch.autograd.grad(loss, [tensors[n] for n in case.wrt], allow_unused=True, materialize_grads=True)
    return loss.item(), {n: g.numpy() for n, g in zip(case.wrt, gradients, strict=True)}


def error(found: NDArray[Any], expected: NDArray[Any]) -> float:
    """The largest difference, relative to the largest expected value."""
    assert np.shape(found) == np.shape(expected)
    return float(np.max(np.abs(found - expected)) / max(np.max(np.abs(expected)), 1e-3))


def worst_error(case: Case, derivation: Derivation | None = None) -> float:
    """The largest relative error of the loss and of every gradient against torch in float64."""
    derivation = derivation or differentiate(case.program, case.wrt)
    found = interpret(derivation.program, case.sizes, case.feed)
    loss, gradients = reference_gradients(case)
    errors = [error(found[derivation.gradient_of(n)], gradients[n]) for n in case.wrt]
    return max([error(found[case.program.loss], np.asarray(loss)), *errors])


def random_feed(program: Program, sizes: Mapping[str, int], seed: int = 0) -> Arrays:
    """Standard normal floats, and integers below their bounds, for everything that is given."""
    random = np.random.default_rng(seed)
    feed: Arrays = {}
    for tensor in program.tensors:
        if tensor.is_given:
            shape = tuple(evaluate(extent, sizes) for extent in tensor.shape)
            if tensor.dtype is DType.INT:
                assert tensor.below is not None
                feed[tensor.name] = random.integers(0, evaluate(tensor.below, sizes), shape)
            else:
                feed[tensor.name] = random.standard_normal(shape)
    return feed


def evaluate(value: Affine, sizes: Mapping[str, int]) -> int:
    total = 0
    for monomial, factor in value.terms:
        term = factor
        for atom in monomial:
            assert isinstance(atom, Size)
            term *= sizes[atom.name]
        total += term
    return total


def extent_axis(eq: Equations, name: str, extent: Affine | int) -> Index:
    """An axis whose extent is an affine value, such as ``n_time + 1``."""
    index = Index(name)
    eq.extents[index] = Affine.of(extent)
    return index


def declare(eq: Equations, name: str, shape: Iterable[Affine | Size | int], axes: str) -> Handle:
    """An activation that is declared before its equations, as recurrences need it."""
    eq.tensors[name] = Tensor(name, tuple(map(Affine.of, shape)), Role.ACTIVATION, tuple(axes))
    return Handle(eq, name)


def case_of(
    eq: Equations,
    reference: Callable[[dict[str, torch.Tensor]], torch.Tensor],
    loss: str = "loss",
    wrt: Iterable[str] | None = None,
    **sizes: int,
) -> Case:
    """The case of a finished builder, on random data, differentiated with respect to every parameter."""
    program = eq.program(loss)
    names = tuple(t.name for t in program.with_role(Role.PARAMETER)) if wrt is None else tuple(wrt)
    return Case(program, sizes, random_feed(program, sizes), reference, names)

"""A plan's kernels, run as plain Python, against the interpreter of the very equations they were made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from symbp import Model
from symbp.check import interpret, random_feed
from symbp.ir import Affine, Body, Derivation, Domain, Program, Range, Role, Size, Statement, Tensor, floor_div, mod
from symbp.ir.affine import Atom, FloorDiv, Mod, Read
from symbp.ir.statement import Divisible, Guard, Holds, NonNegative, Zero
from symbp.pipeline import compile_to_plan
from symbp.schedule import make_plan
from tests.codegen.plain_python import PlainKernels

TOLERANCE = 1e-12


def check_training(derivation: Derivation, sizes: Mapping[str, int], seed: int = 0, *, exact: bool = False) -> None:
    """``forward`` and ``backward``; every parameter must have a known shape."""
    program = derivation.program
    feed = random_feed(program, dict(sizes), seed)
    expected = interpret(program, sizes, feed)
    kernels = PlainKernels(make_plan(derivation, None, None, exact=exact))
    loss, gradients = kernels.loss_and_grad(sizes, feed)
    adjoints = dict(derivation.gradients)
    found: dict[str, Any] = {program.loss: loss, **{adjoints[n]: g for n, g in gradients.items() if n in adjoints}}
    compare(found, expected, kernels.source)


def check_outputs(program: Program, sizes: Mapping[str, int], seed: int = 0) -> None:
    """``predict``, for a program with outputs."""
    feed = random_feed(program, dict(sizes), seed)
    expected = interpret(program, sizes, feed)
    kernels = PlainKernels(make_plan(None, program, None))
    compare(kernels.predict(sizes, feed), expected, kernels.source)


def check_derivation(derivation: Derivation, sizes: Mapping[str, int], seed: int = 0) -> None:
    """All of a derivation in one kernel, with the loss and every gradient as outputs.

    Parameters may have run-time extents here: they are handed over like inputs.
    """
    program = derivation.program
    tensors = tuple(
        replace(t, role=Role.INPUT) if t.role is Role.PARAMETER and not all(e.is_constant for e in t.shape) else t
        for t in program.tensors
    )
    answer = Tensor("answer", (), Role.ACTIVATION)
    copy = Statement("answer", (), (), Body.of(Read(program.loss)), Domain())
    outputs = dict.fromkeys(("answer", *(name for _, name in derivation.gradients)))
    whole = replace(program, tensors=tensors, outputs=tuple(outputs), loss="").add([answer], [copy])
    check_outputs(whole, sizes, seed)


def check_update(model: Model, steps: int = 3) -> None:
    """Some steps of the optimizer, each from where the last one led."""
    made = compile_to_plan(model)
    assert made.update is not None
    kernels = PlainKernels(made.plan)
    sizes = {"n_parameters": made.plan.parameter_count}
    feed = dict(random_feed(made.update, sizes, 0))
    for step in range(1, steps + 1):
        feed["t"] = np.asarray(float(step))
        expected = interpret(made.update, sizes, {n: v for n, v in feed.items() if made.update.has(n)})
        found = kernels.update(feed)
        compare({f"{name}_next": value for name, value in found.items()}, expected, kernels.source)
        feed |= found


def compare(found: Mapping[str, Any], expected: Mapping[str, Any], source: str) -> None:
    """Equal up to the order of summation, relative to the largest number anywhere."""
    for name, value in found.items():
        wanted = np.asarray(expected[name])
        scale = max(1.0, np.nanmax(np.abs(wanted), initial=1.0))
        close = np.isclose(value, wanted, rtol=TOLERANCE, atol=TOLERANCE * scale, equal_nan=True)
        assert close.all(), f"{name} is {value}, expected {wanted}\n{source}"


# ------------------------------------------------------------------------------------------------------- known sizes


def with_known_sizes(derivation: Derivation, sizes: Mapping[str, int]) -> Derivation:
    """The derivation with numbers in place of its run-time sizes."""
    return replace(derivation, program=_fixed(derivation.program, sizes), primal=_fixed(derivation.primal, sizes))


def _fixed(program: Program, sizes: Mapping[str, int]) -> Program:
    def affine(value: Affine) -> Affine:
        total = Affine(())
        for monomial, factor in value.terms:
            term = Affine.of(factor)
            for part in monomial:
                term = term * atom(part)
            total = total + term
        return total

    def atom(part: Atom) -> Affine:
        if isinstance(part, Size):
            return Affine.of(sizes[part.name])
        if isinstance(part, Read):
            return Affine.of(read(part))
        if isinstance(part, FloorDiv):
            return floor_div(affine(part.numerator), affine(part.divisor))
        if isinstance(part, Mod):
            return mod(affine(part.numerator), affine(part.divisor))
        return Affine.of(part)

    def read(value: Read) -> Read:
        return Read(value.tensor, tuple(map(affine, value.subscripts)))

    def body(value: Body) -> Body:
        return value.map_operands(lambda o: affine(o) if isinstance(o, Affine) else read(o))

    def guard(value: Guard) -> Guard:
        if isinstance(value, Holds):
            return Holds(body(value.condition))
        if isinstance(value, Divisible):
            return Divisible(affine(value.value), value.by)
        return NonNegative(affine(value.value)) if isinstance(value, NonNegative) else Zero(affine(value.value))

    def statement(value: Statement) -> Statement:
        ranges = tuple(Range(r.index, affine(r.lower), affine(r.stop)) for r in value.domain.ranges)
        return replace(
            value,
            subscripts=tuple(map(affine, value.subscripts)),
            body=body(value.body),
            domain=Domain(ranges, tuple(map(guard, value.guards))),
        )

    return replace(
        program,
        tensors=tuple(replace(t, shape=tuple(map(affine, t.shape))) for t in program.tensors),
        statements=tuple(map(statement, program.statements)),
        requirements=(),
    )

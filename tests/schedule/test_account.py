"""The account of a plan: totals worked out by hand, places that do not overlap in memory while both live."""

from __future__ import annotations

from itertools import combinations

import pytest

from symbp import SGD, Model, mean
from symbp.ir.account import Account, Use
from symbp.ir.cost import evaluate
from symbp.ir.plan import Machine
from symbp.pipeline import compile_to_plan
from symbp.schedule import account
from tests.codegen.golden_models import MODELS

SIZES = {"n_batch": 7, "n_time": 13, "n_points": 7}


def account_of(name: str, machine: Machine, itemsize: int = 4) -> Account:
    return account(compile_to_plan(MODELS[name][0](), machine=machine).plan, itemsize)


def use_of(found: Account, name: str) -> Use:
    return next(u for u in found.uses if u.name == name)


def work_in_products(use: Use, n_batch: int) -> int:
    sizes = use.sizes({**SIZES, "n_batch": n_batch})
    return sum(
        evaluate(listed.times, sizes) * evaluate(work.cost.in_products, {**sizes, **listed.sizes})
        for listed in use.lists
        for work in listed.works
    )


def whole_chunks(use: Use) -> int:
    """A number of samples that makes four whole chunks, if there are chunks."""
    return 4 * (use.cut.longest if use.cut is not None else 1)


@pytest.mark.parametrize("machine", [Machine.LOOPS, Machine.TEAMS])
def test_products_of_a_perceptron_are_counted_as_on_paper(machine: Machine) -> None:
    found = account_of("digits", machine)
    forward = [2 * rows * columns for rows, columns in ((64, 32), (32, 10))]
    backward = [*forward, forward[1]]  # of both weights, and of what the second layer reads
    for name, expected in (("predict", sum(forward)), ("train", sum(forward) + sum(backward))):
        n_batch = whole_chunks(use_of(found, name))
        assert work_in_products(use_of(found, name), n_batch) == expected * n_batch


def test_products_of_a_convolution_are_counted_as_on_paper() -> None:
    train = use_of(account_of("convolution", Machine.LOOPS), "train")
    convolution, dense = 2 * 4 * 9 * 10 * 10, 2 * 100 * 5
    n_batch = whole_chunks(train)
    # Nothing needs the derivative for the image.
    assert work_in_products(train, n_batch) == (2 * convolution + 3 * dense) * n_batch


@pytest.mark.parametrize("machine", [Machine.LOOPS, Machine.TEAMS, Machine.ATOMICS])
@pytest.mark.parametrize("name", ["digits", "lstm", "convolution", "embedding"])
def test_what_shares_a_place_does_not_live_at_the_same_time(name: str, machine: Machine) -> None:
    for use in account_of(name, machine).uses:
        for one, other in combinations(use.places, 2):
            if one.memory != other.memory:
                continue
            starts = [4 * evaluate(p.offset, SIZES) for p in (one, other)]
            ends = [start + evaluate(p.bytes, SIZES) for start, p in zip(starts, (one, other), strict=True)]
            apart = ends[0] <= starts[1] or ends[1] <= starts[0]
            after = one.last < other.first or other.last < one.first
            assert apart or after, (one, other)
            assert (other.tensor in one.shares_with) == (one.offset == other.offset)


@pytest.mark.parametrize("machine", [Machine.LOOPS, Machine.TEAMS])
@pytest.mark.parametrize("name", ["digits", "lstm", "embedding"])
def test_places_fill_the_workspace(name: str, machine: Machine) -> None:
    for use in account_of(name, machine).uses:
        for memory, length in use.bytes.items():
            mine = [p for p in use.places if p.memory == memory]
            item = 8 if "positions" in memory else 4
            end = max(item * evaluate(p.offset, SIZES) + evaluate(p.bytes, SIZES) for p in mine)
            assert 0 <= evaluate(length, SIZES) - end < 16 * item


@pytest.mark.parametrize("machine", [Machine.LOOPS, Machine.TEAMS])
@pytest.mark.parametrize("name", sorted(MODELS))
def test_every_equation_is_in_the_account_and_numbers_follow_each_other(name: str, machine: Machine) -> None:
    plan = compile_to_plan(MODELS[name][0](), machine=machine).plan
    for use in account(plan).uses:
        works = [work for listed in use.lists for work in listed.works]
        assert [w.number for w in works] == list(range(1, len(works) + 1))
        told = {s.tensor for w in works for s in w.statements}
        names = {listed.procedure for listed in use.lists}
        planned = {s.tensor for p in plan.procedures if p.name in names for nest in p.nests for s in nest.statements}
        assert told == planned
        assert {p.tensor for p in use.places} <= set(plan.tensors) | told


def test_the_size_of_a_float_counts_in_bytes_alone() -> None:
    single, double = (account_of("digits", Machine.LOOPS, itemsize) for itemsize in (4, 8))
    for one, other in zip(single.uses, double.uses, strict=True):
        assert [x.cost.flops for x in one.lists] == [x.cost.flops for x in other.lists]
        assert evaluate(other.total_bytes, SIZES) == 2 * evaluate(one.total_bytes, SIZES)


def test_a_model_may_have_a_tensor_that_is_called_like_the_optimizers_gradient() -> None:
    model = Model("collision")
    b, j = model.axis("b", "batch"), model.axis("j", 5)
    g = model.input("g", b, j)
    model.loss(mean((g[b, j] * model.parameter("w", j)[j]) ** 2, b, j))
    model.optimizer(SGD(learning_rate=0.1))
    found = account(compile_to_plan(model).plan)
    (update,) = use_of(found, "update").lists
    # Two operations for each weight; the weight is read and written, its gradient is read.
    assert (evaluate(update.cost.flops, found.known), evaluate(update.cost.bytes, found.known)) == (2 * 5, 3 * 4 * 5)

"""The models that a GPU is checked with: those of the tests, by family."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks import torch_models
from benchmarks.workloads import WORKLOADS
from tests.numeric import (
    attention_models,
    convolution_models,
    dense_models,
    pinn_models,
    recurrent_models,
    subscript_models,
)
from tests.numeric.harness import Case

FAMILIES: dict[str, tuple[Case, ...]] = {
    "dense": (*dense_models.CASES, dense_models.SATURATED),
    "convolution": convolution_models.CASES,
    "subscripts": (*subscript_models.CASES, *subscript_models.KINKS),
    "recurrent": (*recurrent_models.CASES, *recurrent_models.VARIANTS),
    "attention": (*attention_models.CASES, *attention_models.VARIANTS),
    "derivatives inside": pinn_models.CASES,
}


def _workload(name: str) -> Case:
    workload = WORKLOADS[name]
    return Case(
        f"workload {name}",
        lambda: workload.build(**workload.small),
        lambda t: torch_models.tfblock(t, heads=2) if name == "tfblock" else torch_models.LOSSES[name](t),
        sizes=(dict(workload.small_sizes),),
        single=name != "pinn",
    )


FAMILIES["workloads"] = tuple(_workload(name) for name in WORKLOADS)


def chosen(family: str, names: Iterable[str] = ()) -> list[tuple[Case, str]]:
    """The cases of a family with each dtype that they are for; those of these names where any are given."""
    wanted = set(names)
    cases = [case for case in FAMILIES[family] if not wanted or case.name in wanted]
    return [(c, dtype) for c in cases for dtype in ("float64", "float32") if dtype == "float64" or c.single]

"""Minimum cuts against all cuts there are."""

from __future__ import annotations

import itertools
import math
import random

import pytest

from symbp.schedule.min_cut import source_side


def cost(edges: dict[tuple[str, str], float], side: frozenset[str]) -> float:
    return sum(c for (a, b), c in edges.items() if a in side and b not in side)


@pytest.mark.parametrize("seed", range(40))
def test_no_other_cut_is_cheaper(seed: int) -> None:
    generator = random.Random(seed)
    inner = [f"n{k}" for k in range(generator.randint(1, 6))]
    nodes = ["s", *inner, "t"]
    edges: dict[tuple[str, str], float] = {}
    for a, b in itertools.permutations(nodes, 2):
        if generator.random() < 0.4 and (a, b) != ("s", "t"):
            edges[a, b] = math.inf if generator.random() < 0.15 and b != "t" else generator.randint(0, 9)
    every = [frozenset(["s", *chosen]) for n in range(len(inner) + 1) for chosen in itertools.combinations(inner, n)]
    found = source_side(edges, "s", "t")
    assert "s" in found
    assert "t" not in found
    assert cost(edges, found) == min(cost(edges, side) for side in every)


def test_nothing_flows_where_nothing_leads() -> None:
    assert source_side({("s", "a"): 3.0, ("b", "t"): 1.0}, "s", "t") == {"s", "a"}

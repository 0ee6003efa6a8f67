"""The cheapest way to cut a graph in two.

Edmonds and Karp, "Theoretical improvements in algorithmic efficiency for network flow problems" (1972).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

#: Edges by their ends, with what it costs to cut each.
Edges = Mapping[tuple[str, str], float]


def source_side(edges: Edges, source: str, sink: str) -> frozenset[str]:
    """The nodes on the source's side of a cut of least cost; of several such cuts, the one with fewest of them.

    An edge is cut if it begins on the source's side and ends on the other. Costs may be infinite, but not those of all
    the edges of a path from source to sink.
    """
    left: dict[str, dict[str, float]] = {source: {}, sink: {}}
    for (start, end), cost in edges.items():
        left.setdefault(start, {})
        left.setdefault(end, {}).setdefault(start, 0.0)
        left[start][end] = left[start].get(end, 0.0) + cost
    while True:
        came_from = _reached(left, source)
        if sink not in came_from:
            return frozenset(came_from)
        path = [sink]
        while path[-1] != source:
            path.append(came_from[path[-1]])
        steps = list(zip(path[1:], path, strict=False))
        flow = min(left[start][end] for start, end in steps)
        for start, end in steps:
            left[start][end] -= flow
            left[end][start] += flow


def _reached(left: Mapping[str, Mapping[str, float]], source: str) -> dict[str, str]:
    """The nodes that more can flow to, each with the one before it on a shortest way."""
    came_from = {source: source}
    pending = deque([source])
    while pending:
        node = pending.popleft()
        for end, more in left[node].items():
            if more > 0 and end not in came_from:
                came_from[end] = node
                pending.append(end)
    return came_from

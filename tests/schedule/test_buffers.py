"""Places in the workspaces: who shares with whom, and how long the workspaces are."""

from __future__ import annotations

from symbp.ir import Affine, Size
from symbp.ir.plan import Buffer, Memory
from symbp.schedule.buffers import allocate
from tests.derive.equations import Handle
from tests.schedule.small import Small
from tests.schedule.test_fuse import nests

N = Size("n_n")


def chain(s: Small, *extents: str) -> list[str]:
    """``a0 = f(x), a1 = f(a0), ..``, each of its own nest; the axes give the shapes."""
    names: list[str] = []
    before = s.given("x", "n")[0]
    for number, axes in enumerate(extents):
        indices = tuple(getattr(s, a) for a in axes)
        handle = s.eq.let(f"a{number}", indices, before + sum((s.eq.value(i) for i in indices), s.eq.value(indices[0])))
        before = handle[tuple(0 for _ in indices)]
        names.append(handle.name)
    return names


def places(s: Small, names: list[str]) -> tuple[dict[str, str], dict[Memory, Affine]]:
    program = s.program()
    found, lengths = allocate(nests(s), {t.name: t for t in program.tensors}, names)
    assert all(isinstance(b, Buffer) and b.tensor == n for n, b in found.items())
    return {n: f"{b.memory.value} {b.offset}" for n, b in found.items()}, lengths


def test_a_tensor_whose_life_is_over_leaves_its_place() -> None:
    s = Small()
    names = chain(s, "ni", "ni", "ni", "ni")
    found, lengths = places(s, names)
    assert found == {
        "a0": "workspace 0",
        "a1": "workspace 5*n_n",  # a0 is still read when a1 is written
        "a2": "workspace 0",
        "a3": "workspace 5*n_n",
    }
    assert lengths == {Memory.WORKSPACE: N * 10}


def test_only_tensors_of_equal_size_share() -> None:
    s = Small()
    names = chain(s, "ni", "nj", "nk", "in")
    found, lengths = places(s, names)
    assert found["a0"] == found["a3"]
    assert len(set(found.values())) == 3
    assert lengths == {Memory.WORKSPACE: N * 18}


def test_rows_of_whole_vectors_begin_where_a_vector_may() -> None:
    s = Small()
    for letter, extent in (("i", 5), ("j", 12), ("k", 32), ("u", 8)):
        setattr(s, letter, s.eq.axis(letter, extent))
    names = chain(s, "ni", "nj", "nk", "nu")
    found, lengths = places(s, names)
    assert found == {
        "a2": "workspace 0",
        "a3": "workspace 32*n_n",
        "a1": "workspace 40*n_n",
        "a0": "workspace 52*n_n",
    }
    assert lengths == {Memory.WORKSPACE: N * 57}


def test_a_long_life_keeps_its_place() -> None:
    s = Small()
    names = chain(s, "ni", "ni", "ni")
    s.eq.let("late", (s.n, s.i), Handle(s.eq, "a0")[s.n, s.i] + s.eq.value(s.i))
    found, _ = places(s, [*names, "late"])
    assert len({found["a0"], found["a1"], found["a2"]}) == 3
    assert found["late"] == found["a1"]


def test_whole_numbers_have_a_workspace_of_their_own() -> None:
    s = Small()
    names = chain(s, "ni", "n")
    s.whole_numbers("a1")
    found, lengths = places(s, names)
    assert found == {"a0": "workspace 0", "a1": "positions 0"}
    assert lengths == {Memory.WORKSPACE: N * 5, Memory.POSITIONS: Affine.of(N)}


def test_what_no_nest_touches_has_no_place() -> None:
    s = Small()
    names = chain(s, "ni")
    assert places(s, [*names, "y_bar"])[0] == {"a0": "workspace 0"}


def test_nothing_needs_nothing() -> None:
    s = Small()
    chain(s, "ni")
    assert places(s, []) == ({}, {})

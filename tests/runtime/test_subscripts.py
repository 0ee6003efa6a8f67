"""Subscripts as text, and what each index does in a product that slides."""

from __future__ import annotations

import pytest

from symbp.runtime.subscripts import Place, Roles, Subscripts, convolve_roles, correlate_roles


def test_a_subscript_is_a_sum() -> None:
    read = Subscripts.read("o c u v, c 2*p+u-1 q-3*v+10 b -> o p q b")
    _, right, _ = read.arrays
    assert [(s.factors, s.shift) for s in right] == [
        ({"c": 1}, 0),
        ({"p": 2, "u": 1}, -1),
        ({"q": 1, "v": -3}, 10),
        ({"b": 1}, 0),
    ]
    assert read.extent("p") == Place(2, 1)
    assert read.sliding("v") == (Place(1, 2),)


def test_an_index_that_is_there_twice_counts_twice() -> None:
    read = Subscripts.read("u, u+p+u b -> p b")
    assert read.arrays[1][0].factors == {"u": 2, "p": 1}


@pytest.mark.parametrize(
    ("text", "roles"),
    [
        ("o c u v, c p+u q+v b -> o p q b", Roles("b", ("o",), ("p", "q"), ("c", "u", "v"))),
        ("o c i-2*p, o p b -> c i b", Roles("b", ("c",), ("i",), ("o", "p"))),
        ("o m u, p+u b -> o m p b", Roles("b", ("o", "m"), ("m", "p"), ("u",))),
        ("c u, c p+u b -> c p b", Roles("b", (), ("c", "p"), ("u",))),
    ],
)
def test_roles_where_each_sample_has_its_own_result(text: str, roles: Roles) -> None:
    assert convolve_roles(Subscripts.read(text)) == roles


@pytest.mark.parametrize(
    ("text", "roles"),
    [
        ("o p q b, c p+u q+v b -> o c u v", Roles("b", ("o",), ("p", "q"), ("c", "u", "v"))),
        ("p b, p+u b -> u", Roles("b", (), ("p",), ("u",))),
    ],
)
def test_roles_where_samples_are_summed(text: str, roles: Roles) -> None:
    assert correlate_roles(Subscripts.read(text)) == roles


@pytest.mark.parametrize("text", ["o u, p+u b -> o b p", "o u b, p+u b -> o p b", "u, p+u 2*b -> p b"])
def test_samples_come_last(text: str) -> None:
    with pytest.raises(ValueError, match=r"the samples last|nowhere the whole"):
        convolve_roles(Subscripts.read(text))


@pytest.mark.parametrize("text", ["o n p b, p+u b -> o n u", "o p b, o p+u b -> o u"])
def test_a_sum_over_samples_has_one_row(text: str) -> None:
    with pytest.raises(ValueError, match="one index of left alone"):
        correlate_roles(Subscripts.read(text))

"""Equation text to a checked tree: the limits, and the places of what is refused."""

from __future__ import annotations

import ast

import pytest

from symbp.errors import SpecError
from symbp.frontend.syntax import Place, Source, parse_equation, parse_expression, split_equations

PLACE = Place("spec.toml", 14, 9)


def refusal(text: str) -> str:
    with pytest.raises(SpecError) as caught:
        parse_equation(Source(text, PLACE))
    return str(caught.value)


def test_an_equation_has_a_left_side_a_right_side_and_conditions() -> None:
    tree = parse_equation(Source("s[i, j] = q[i]*k[j] where i >= j, i < 5", PLACE))
    assert ast.unparse(tree.left.tree) == "s[i, j]"
    assert ast.unparse(tree.right.tree) == "q[i] * k[j]"
    assert [ast.unparse(guard.tree) for guard in tree.guards] == ["i >= j", "i < 5"]


def test_a_where_inside_brackets_belongs_to_the_reduction() -> None:
    tree = parse_equation(Source("s[i] = sum(q[j], j, where=j <= i)", PLACE))
    assert tree.guards == ()
    assert ast.unparse(tree.right.tree) == "sum(q[j], j, where=j <= i)"


def test_positions_are_those_of_the_file() -> None:
    text = "z[b] = x[b] # a comment\n  + c"
    right = parse_equation(Source(text, PLACE)).right
    assert isinstance(right.tree, ast.BinOp)
    assert str(right.error(right.tree.left, "here").place) == "spec.toml:14:16"
    assert str(right.error(right.tree.right, "here").place) == "spec.toml:15:5"
    assert right.text_of(right.tree.left) == "x[b]"


def test_without_a_column_only_the_line_is_told() -> None:
    with pytest.raises(SpecError, match=r"^model\.py:3: '\[' is never closed; add '\]'$"):
        parse_equation(Source("z = x[k", Place("model.py", 3)))
    with pytest.raises(SpecError, match=r"^<text>: the equation is empty"):
        parse_equation(Source("", Place("<text>")))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "14:9: the equation is empty; write, for example, z[b, k] = x[b, k] + c[k]"),
        ("# only a comment", "14:9: the equation is empty; write, for example, z[b, k] = x[b, k] + c[k]"),
        ("z =", "14:12: the right side of the equation is empty"),
        ("= z", "14:9: the left side of the equation is empty; name what it defines: z[b, k] = .."),
        ("z", "14:9: an equation has one '=', found no '='; to compare, use =="),
        ("a = b = c", "14:15: an equation has one '=', found 2 of them; to compare, use =="),
        ("z += x", "14:11: '+=' is not understood; an equation defines: use ="),
        ("z := x", "14:11: ':=' is not understood; an equation defines: use ="),
        ("z = x where", "14:15: a condition is missing after 'where'; where i >= j, i < 5"),
        ("z = x where i = j", "14:23: '=' in a condition; to compare, use =="),
        ("z = x[k", "14:14: '[' is never closed; add ']'"),
        ("z = (x]", "14:15: ']' does not close '('"),
        ("z = x)", "14:14: ')' closes nothing; remove it, or open it before"),
        ("z = 2 x", "14:15: an operator is missing between '2' and 'x'; write * for a product"),
        ("z = x +", "14:15: 'x +' is not a formula; check operators, commas and brackets"),
        ("z = f(*x)", "14:15: '*' has nothing on its left"),
        ("z = x if y else w", "14:15: 'if' is a Python keyword and not understood here; use select(condition, a, b)"),
        ("z = x^2", "14:14: '^' is not understood; a power is written **"),
        ("z = 0x1F", "14:13: '0x1F' is neither a number nor a name; write numbers in decimal"),
        ("z = 1_000", "14:13: '1_000' is neither a number nor a name; write numbers in decimal"),
    ],
)
def test_what_is_not_an_equation_is_refused_at_its_place(text: str, message: str) -> None:
    assert refusal(text) == f"spec.toml:{message}"


def test_long_sums_and_towers_of_powers_are_parsed_without_recursion_trouble() -> None:
    assert parse_equation(Source(f"z = {' + '.join(['a'] * 1900)}", PLACE))
    assert "at most 4,000 words and signs, found 4,403" in refusal(f"z = {'+'.join(['a'] * 2201)}")
    assert "at most 10,000 characters" in refusal(f"z = {' ' * 10_000}a")


def test_equations_are_split_by_line_and_go_on_in_brackets_and_after_operators() -> None:
    text = """
# the first layer
h[b, k] = sum(x[b, j]  # inputs
              *W[j, k], j)
    + c[k]
    where b >= k

L = mean(h[b, k], b, k)
"""
    parts = list(split_equations(Source(text, Place("s.toml", 5, 1))))
    assert [str(part.place) for part in parts] == ["s.toml:7:1", "s.toml:12:1"]
    assert len(parse_equation(parts[0]).guards) == 1
    assert parts[1].text == "L = mean(h[b, k], b, k)"


def test_an_expression_has_no_equals_sign() -> None:
    assert ast.unparse(parse_expression(Source("z[b, k]", PLACE)).tree) == "z[b, k]"
    with pytest.raises(SpecError, match="14:17: expected one expression, found an equation"):
        parse_expression(Source("z[b, k] = 2", PLACE))

"""Folding long lines changes nothing but their layout."""

from __future__ import annotations

import ast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from symbp.codegen.layout import WIDTH, call, fold, joined_names, parts, signature

names = st.sampled_from(["x", "hidden_z", "attention_p_bar", "n_batch", "lstm_s", "q"])
subscripts = st.lists(
    st.sampled_from(["b", "t + 1", "2 * p + u", "k", "label[b]", "n_time - 1"]), min_size=1, max_size=4
)
elements = st.builds(lambda n, s: f"{n}[{', '.join(s)}]", names, subscripts)
numbers = st.sampled_from(["real(0.5)", "2.0", "real(1e-08)"])


def combined(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    terms = st.lists(inner, min_size=1, max_size=4)
    return st.one_of(
        st.builds(lambda t, o: f"({o.join(t)})", terms, st.sampled_from([" + ", " - ", " * ", " / "])),
        st.builds(lambda f, t: f"{f}({', '.join(t)})", st.sampled_from(["exp", "safe_div", "maximum", "real"]), terms),
        st.builds(lambda a, b, c: f"({a} if {b} > {c} else {c})", inner, inner, inner),
        st.builds(lambda a: f"-{a}", inner),
        st.builds(lambda a: f"({a}) ** 2", inner),
    )


values = st.recursive(st.one_of(elements, numbers), combined, max_leaves=10)
sums = st.builds(
    lambda t, o: o.join(t), st.lists(values, min_size=1, max_size=5), st.sampled_from([" + ", " - ", " * "])
)
slices = st.builds(lambda n: f"{n}.reshape((n_batch * n_time, 64))[:, t]", names)
statements = st.one_of(
    st.builds(lambda e, o, v: f"{e} {o} {v}", elements, st.sampled_from(["=", "+="]), sums),
    st.builds(lambda n, o, v: f"{n} {o} {v}", names, st.sampled_from(["=", "+="]), sums),
    st.builds(lambda a, b, c: f"matmul_add({a}, {b}, {c})", slices, slices, slices),
    st.builds(lambda n, e: f"{n} = view(workspace, {e}, (n_batch, n_time))", names, values),
    st.builds(lambda v: f"return {v}", sums),
    st.builds(
        lambda c: f"if {' and '.join(f'{a} >= {b}' for a, b in c)}:\n    pass",
        st.lists(st.tuples(elements, values), min_size=1, max_size=5),
    ),
)


def program(lines: list[str], depth: int) -> str:
    heads = [f"{'    ' * k}for i{k} in range(n):" for k in range(depth)]
    return "\n".join(
        [
            "def f():",
            *(f"    {h}" for h in heads),
            *(f"    {'    ' * depth}{part}" for line in lines for part in line.split("\n")),
            "",
        ]
    )


@settings(deadline=None, derandomize=True, max_examples=150)
@given(lines=st.lists(statements, min_size=1, max_size=3), depth=st.integers(0, 6))
def test_folding_changes_no_meaning(lines: list[str], depth: int) -> None:
    source = program(lines, depth)
    folded = fold(source)
    assert ast.dump(ast.parse(folded)) == ast.dump(ast.parse(source))


@settings(deadline=None, derandomize=True, max_examples=100)
@given(terms=st.lists(elements, min_size=1, max_size=8), depth=st.integers(0, 4))
def test_sums_and_products_of_elements_fit(terms: list[str], depth: int) -> None:
    for operator in (" + ", " * "):
        folded = fold(program([f"z[b] = {operator.join(terms)}"], depth))
        assert max(map(len, folded.split("\n"))) <= WIDTH, folded


@settings(deadline=None, derandomize=True, max_examples=100)
@given(terms=st.lists(elements, min_size=1, max_size=6), guards=st.lists(elements, max_size=3), depth=st.integers(0, 2))
def test_equations_break_outside_brackets(terms: list[str], guards: list[str], depth: int) -> None:
    where = f"    where {', '.join(f'{g} >= 1' for g in guards)}" if guards else ""
    comment = f"# z[b, k] += sum[t, u] {' + '.join(terms)}{where}"
    indent = "    " * depth
    folded = fold(indent + comment)
    lines = folded.split("\n")
    assert all(line.startswith(f"{indent}# ") for line in lines)
    assert "".join("".join(line.split()[1:]) for line in lines) == "".join(comment.split()[1:])
    for line in lines:
        assert len(line) <= WIDTH, folded
        assert line.count("[") == line.count("]"), folded


def test_short_lines_stay() -> None:
    text = "def f(a):\n    # a comment\n    x = a + 1\n"
    assert fold(text) == text


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "        hidden_bar[b, k] = " + " + ".join(["out_W[k, k2] * out_bar[b, k2]"] * 2) + " + x",
            """\
        hidden_bar[b, k] = (
            out_W[k, k2] * out_bar[b, k2] + out_W[k, k2] * out_bar[b, k2] + x
        )""",
        ),
        (
            "        hidden_bar[b, k] += " + " + ".join(["out_W[k, k2] * out_bar[b, k2]"] * 3),
            """\
        hidden_bar[b, k] += (
            out_W[k, k2] * out_bar[b, k2]
            + out_W[k, k2] * out_bar[b, k2]
            + out_W[k, k2] * out_bar[b, k2]
        )""",
        ),
        (
            "    matmul_add(x.reshape((n_batch * n_time, 8)), W.reshape((8, 64)), z.reshape((n_batch * n_time, 64)))",
            """\
    matmul_add(
        x.reshape((n_batch * n_time, 8)),
        W.reshape((8, 64)),
        z.reshape((n_batch * n_time, 64)),
    )""",
        ),
        (
            "    # z_bar[b, t, 3, k] = o[b, t, k]*tanh_s[b, t, k]*h_bar[b, t + 1, k]*(1 - o[b, t, k])"
            " + z_bar[b, t, 2, k]",
            """\
    # z_bar[b, t, 3, k] = o[b, t, k]*tanh_s[b, t, k]*h_bar[b, t + 1, k]*(1 - o[b, t, k])
    #     + z_bar[b, t, 2, k]""",
        ),
    ],
)
def test_the_shape_of_what_is_folded(line: str, expected: str) -> None:
    assert fold(line) == expected


def test_calls_and_signatures() -> None:
    assert call("f", ["a", "b"], lead="x = ") == "x = f(a, b)"
    assert call("f", ["a" * 60, "b" * 20], lead="value = ") == f"value = f(\n    {'a' * 60}, {'b' * 20}\n)"
    assert call("f", ["a" * 60, "b" * 40]) == f"f(\n    {'a' * 60},\n    {'b' * 40},\n)"
    assert signature("f", ["a"], "int") == "def f(a) -> int:"
    assert (parts([]), parts(["a"]), parts(["a", "b"])) == ("()", "(a,)", "(a, b)")
    assert (joined_names(["a"]), joined_names(["a", "b", "c"])) == ("a", "a, b and c")

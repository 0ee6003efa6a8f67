"""Attention and what is built on it: one head as equations, several as a layer, pre-norm transformer blocks."""

from __future__ import annotations

import sympy as sp
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from symbp import Add, Dense, LayerNorm, Model, SelfAttention, exp, gelu, mean, sum
from tests.numeric.harness import Case, Tensors

functional = torch.nn.functional
SEQUENCES = ({"n_batch": 3, "n_time": 7}, {"n_batch": 1, "n_time": 1}, {"n_batch": 2, "n_time": 13})
WIDTH, HEADS = 6, 2


def scaled_attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, causal: bool = True) -> torch.Tensor:
    with sdpa_kernel(SDPBackend.MATH):  # the only one that has second derivatives
        return functional.scaled_dot_product_attention(q, k, v, is_causal=causal)


def one_head() -> Model:
    """Causal attention as in textbooks, without a shift of the softmax: that is the compiler's work."""
    model = Model("one_head")
    b, t, d, e = model.axis("b", "batch"), model.axis("t", "time"), model.axis("d", 5), model.axis("e", 7)
    s = model.axis("s", t)
    x, past = model.input("x", b, t, d), [t >= s]

    def project(name: str) -> sp.Expr:
        W = model.parameter(f"W{name}", d, e)
        return model.define(f"{name}[b, t, e]", sum(x[b, t, d] * W[d, e], d))

    q, k, v = map(project, "qkv")
    a = model.define("a[b, t, s]", sum(q[b, t, e] * k[b, s, e], e) / sp.sqrt(7), where=past)
    p = model.define("p[b, t, s]", exp(a[b, t, s]) / sum(exp(a[b, t, s]), s, where=past), where=past)
    o = model.define("o[b, t, e]", sum(p[b, t, s] * v[b, s, e], s, where=past))
    model.output(o)
    model.loss(mean(o[b, t, e] ** 3, b, t, e))
    return model


def one_head_output(given: Tensors) -> torch.Tensor:
    q, k, v = (given["x"] @ given[f"W{name}"] for name in "qkv")
    return scaled_attention(q, k, v)


def flattened_heads() -> Model:
    """Causal attention with its heads in one axis, ``h*3 + e``, as checkpoints store them."""
    model = Model("flattened_heads")
    b, t, d = model.axis("b", "batch"), model.axis("t", "time"), model.axis("d", 5)
    h, e, f, s = model.axis("h", HEADS), model.axis("e", 3), model.axis("f", 3 * HEADS), model.axis("s", t)
    x, past = model.input("x", b, t, d), [t >= s]

    def project(name: str) -> sp.Expr:
        W = model.parameter(f"W{name}", d, f)
        return model.define(f"{name}[b, t, f]", sum(x[b, t, d] * W[d, f], d))

    q, k, v = map(project, "qkv")
    score = sum(q[b, t, 3 * h + e] * k[b, s, 3 * h + e], e) / sp.sqrt(3)
    a = model.define("a[b, h, t, s]", score, where=past)
    p = model.define("p[b, h, t, s]", exp(a[b, h, t, s]) / sum(exp(a[b, h, t, s]), s, where=past), where=past)
    o = model.define("o[b, t, h, e]", sum(p[b, h, t, s] * v[b, s, 3 * h + e], s, where=past))
    model.loss(mean(o[b, t, h, e] ** 3, b, t, h, e))
    return model


def flattened_heads_torch(given: Tensors) -> torch.Tensor:
    q, k, v = ((given["x"] @ given[f"W{n}"]).unflatten(-1, (HEADS, 3)).transpose(1, 2) for n in "qkv")
    return (scaled_attention(q, k, v) ** 3).mean()


def looking_ahead() -> Model:
    """Heads of five side by side in one matrix for queries, keys and values; what is two steps ahead counts too."""
    model = Model("looking_ahead")
    b, t, d = model.axis("b", "batch"), model.axis("t", "time"), model.axis("d", 4)
    h, e, f, s = model.axis("h", HEADS), model.axis("e", 5), model.axis("f", 15 * HEADS), model.axis("s", t)
    x, W, near = model.input("x", b, t, d), model.parameter("W", d, f), [s <= t + 2]
    qkv = model.define("qkv[b, t, f]", sum(x[b, t, d] * W[d, f], d))
    query, key, value = (lambda at, n=n: qkv[b, at, 5 * HEADS * n + 5 * h + e] for n in range(3))  # type: ignore[misc]
    a = model.define("a[b, h, t, s]", sum(query(t) * key(s), e) / sp.sqrt(5), where=near)
    p = model.define("p[b, h, t, s]", exp(a[b, h, t, s]) / sum(exp(a[b, h, t, s]), s, where=near), where=near)
    o = model.variable("o", b, t, model.axis("g", 5 * HEADS))
    model.define(o[b, t, 5 * h + e], sum(p[b, h, t, s] * value(s), s, where=near))
    g = o.axes[2]
    model.loss(mean(o[b, t, g] ** 3, b, t, g))
    return model


def looking_ahead_torch(given: Tensors) -> torch.Tensor:
    q, k, v = (given["x"] @ given["W"]).unflatten(-1, (3, HEADS, 5)).permute(2, 0, 3, 1, 4)
    score = q @ k.transpose(-1, -2) / 5**0.5
    near = torch.ones(score.shape[-2:], dtype=torch.bool).tril(2)
    return ((score.masked_fill(~near, -torch.inf).softmax(-1) @ v) ** 3).mean()


def strict_past() -> Model:
    """Linear attention to what came before, and not to itself: nothing at the first step."""
    model = Model("strict_past")
    b, t, d, e = model.axis("b", "batch"), model.axis("t", "time"), model.axis("d", 5), model.axis("e", 7)
    s = model.axis("s", t)
    x, before = model.input("x", b, t, d), [s <= t - 1]
    q, k, v = (
        model.define(f"{name}[b, t, e]", sum(x[b, t, d] * model.parameter(f"W{name}", d, e)[d, e], d)) for name in "qkv"
    )
    a = model.define("a[b, t, s]", sum(q[b, t, e] * k[b, s, e], e) / 3, where=before)
    o = model.define("o[b, t, e]", sum(a[b, t, s] * v[b, s, e], s, where=before))
    model.output(o)
    model.loss(mean((o[b, t, e] - 1) ** 3, b, t, e))
    return model


def strict_past_output(given: Tensors) -> torch.Tensor:
    q, k, v = (given["x"] @ given[f"W{name}"] for name in "qkv")
    return (q @ k.transpose(-1, -2) / 3).tril(-1) @ v


def several_heads(causal: bool) -> Model:
    model = Model(f"several_heads_{'causal' if causal else 'all'}")
    b, t, d = model.axis("b", "batch"), model.axis("t", "time"), model.axis("d", WIDTH)
    y = SelfAttention(HEADS, causal=causal, name="mix")(model.input("x", b, t, d))
    model.loss(mean(y.here**3, *y.axes))
    return model


def several_heads_torch(given: Tensors, causal: bool) -> torch.Tensor:
    return (attend(given, "mix", given["x"], causal) ** 3).mean()


def blocks(count: int, width: int = WIDTH) -> Model:
    """Pre-norm transformer blocks: ``x += attention(norm(x))``, ``x += W2 gelu(W1 norm(x))``."""
    model = Model(f"blocks_{count}")
    b, t, d = model.axis("b", "batch"), model.axis("t", "time"), model.axis("d", width)
    x, w = model.input("x", b, t, d), model.input("w", b, t, d)
    for n in range(count):
        mixed = SelfAttention(HEADS, causal=True, name=f"mix{n}")(LayerNorm(name=f"norm_a{n}")(x))
        x = Add(name=f"middle{n}")(x, mixed)
        hidden = Dense(2 * width + 1, gelu, name=f"up{n}")(LayerNorm(name=f"norm_b{n}")(x))
        x = Add(name=f"end{n}")(x, Dense(width, name=f"down{n}")(hidden))
    model.output(x)
    model.loss(mean(w[b, t, d] * x[b, t, d] ** 2, b, t, d))
    return model


def attend(given: Tensors, name: str, x: torch.Tensor, causal: bool) -> torch.Tensor:
    q, k, v = (
        torch.einsum("btd,dhe->bhte", x, given[f"{name}_{w.upper()}"]) + given[f"{name}_c_{w}"][:, None] for w in "qkv"
    )
    o = scaled_attention(q, k, v, causal)
    return torch.einsum("bhte,hem->btm", o, given[f"{name}_W"]) + given[f"{name}_c"]


def blocks_output(given: Tensors, count: int) -> torch.Tensor:
    def norm(name: str) -> torch.Tensor:
        return functional.layer_norm(x, x.shape[-1:], given[f"{name}_g"], given[f"{name}_c"], 1e-5)

    x = given["x"]
    for n in range(count):
        x = x + attend(given, f"mix{n}", norm(f"norm_a{n}"), causal=True)
        hidden = functional.gelu(norm(f"norm_b{n}") @ given[f"up{n}_W"] + given[f"up{n}_c"])
        x = x + hidden @ given[f"down{n}_W"] + given[f"down{n}_c"]
    return x


def blocks_case(count: int, single: bool) -> Case:
    return Case(
        f"{count} transformer block{'s' if count > 1 else ''}",
        lambda: blocks(count),
        lambda given: (given["w"] * blocks_output(given, count) ** 2).mean(),
        SEQUENCES,
        outputs=lambda given: (blocks_output(given, count),),
        single=single,
        vanishing=tuple(f"mix{n}_c_k" for n in range(count)),
    )


def several_heads_case(causal: bool) -> Case:
    return Case(
        f"several heads{' causal' if causal else ''}",
        lambda: several_heads(causal),
        lambda given: several_heads_torch(given, causal),
        SEQUENCES,
        single=not causal,
        vanishing=("mix_c_k",),
    )


ONE_HEAD_CASE = Case(
    "one head",
    one_head,
    lambda given: (one_head_output(given) ** 3).mean(),
    SEQUENCES,
    outputs=lambda given: (one_head_output(given),),
)
BLOCK_CASE = blocks_case(1, single=True)

CASES = (
    ONE_HEAD_CASE,
    several_heads_case(causal=False),
    Case("looking ahead", looking_ahead, looking_ahead_torch, SEQUENCES),
    Case(
        "strict past",
        strict_past,
        lambda given: ((strict_past_output(given) - 1) ** 3).mean(),
        SEQUENCES,
        outputs=lambda given: (strict_past_output(given),),
    ),
    BLOCK_CASE,
    blocks_case(2, single=False),
)
#: Near copies of the cases above, whose equations are checked but which are not compiled.
VARIANTS = (several_heads_case(causal=True), Case("flattened heads", flattened_heads, flattened_heads_torch, SEQUENCES))

"""Single equations with awkward subscripts, and functions at the points where they bend."""

from __future__ import annotations

import numpy as np
import torch

import symbp as sb
from symbp import Eq, Model, select, sqrt, sum
from tests.numeric.harness import Case, Feed, Tensors


def quadratic() -> Model:
    """One matrix read as it is, transposed and along its diagonal; a vector forwards and backwards."""
    model = Model("quadratic")
    i, j = model.axis("i", 5), model.axis("j", 5)
    A, x = model.parameter("A", i, j), model.parameter("x", i)
    form = sum(x[i] * A[i, j] * x[j], i, j)
    diagonal = sum(A[i, i] ** 2, i)
    model.loss(form + diagonal + sum(A[i, j] * A[j, i] * x[4 - i], i, j))
    return model


def quadratic_torch(t: Tensors) -> torch.Tensor:
    A, x = t["A"], t["x"]
    return x @ A @ x + (torch.diagonal(A) ** 2).sum() + (A * A.T * x.flip(0)[:, None]).sum()


def slices() -> Model:
    """Every other element, the last one, each one twice, and backwards in steps."""
    model = Model("slices")
    p, q = model.axis("p", 7), model.axis("q", 14)
    x, y = model.parameter("x", q), model.parameter("y", p)
    strided = sum(x[2 * p] ** 2 * y[p], p)
    repeated = sum(y[q // 2] * x[q], q)
    backwards = sum(x[13 - 2 * p] * y[6 - p] ** 2, p)
    model.loss(strided + x[13] ** 3 + repeated + backwards)
    return model


def slices_torch(t: Tensors) -> torch.Tensor:
    x, y = t["x"], t["y"]
    repeated = (y.repeat_interleave(2) * x).sum()
    return (x[::2] ** 2 * y).sum() + x[-1] ** 3 + repeated + (x.flip(0)[::2] * y.flip(0) ** 2).sum()


def slices_at_run_time() -> Model:
    """The last step and the reverse of a sequence whose length is known at run time only."""
    model = Model("slices_at_run_time")
    b, t, k = model.axis("b", "batch"), model.axis("t", "time"), model.axis("k", 3)
    x, w, v = model.input("x", b, t, k), model.parameter("w", k), model.parameter("v", k)
    a = model.define("a[b, t]", sb.tanh(sum(x[b, t, k] * w[k], k)))
    r = model.define("r[b, t]", a[b, t.size - 1 - t] * a[b, t] * x[b, t, 0])
    last = model.define("last[b]", a[b, t.size - 1] * sum(x[b, 0, k] * v[k], k))
    model.loss(sum(r[b, t] ** 2, b, t) / t.size + sum(last[b], b))
    return model


def slices_at_run_time_torch(t: Tensors) -> torch.Tensor:
    a = torch.tanh(t["x"] @ t["w"])
    r = a.flip(1) * a * t["x"][..., 0]
    return (r**2).sum() / a.shape[1] + (a[:, -1] * (t["x"][:, 0] @ t["v"])).sum()


def heads() -> Model:
    """Heads that lie one behind the other in one axis: ``x[b, 3*h + e]``."""
    model = Model("heads")
    b, h, e, f = model.axis("b", "batch"), model.axis("h", 5), model.axis("e", 3), model.axis("f", 15)
    x, w, g = model.input("x", b, f), model.parameter("w", h, e), model.parameter("g", f)
    a = model.define("a[b, f]", g[f] * x[b, f])
    y = model.define("y[b, h]", sum(a[b, 3 * h + e] * w[h, e], e))
    model.loss(sum(sb.sin(y[b, h]) * a[b, h], b, h))
    return model


def heads_torch(t: Tensors) -> torch.Tensor:
    a = t["g"] * t["x"]
    y = (a.reshape(-1, 5, 3) * t["w"]).sum(-1)
    return (torch.sin(y) * a[:, :5]).sum()


def triangular() -> Model:
    """A lower triangle times its transpose, with guards on both sides; the determinant's logarithm."""
    model = Model("triangular")
    i, j, k = model.axis("i", 5), model.axis("j", 5), model.axis("k", 5)
    L, C = model.parameter("L", i, j), model.input("C", i, j)
    S = model.define("S[i, j]", sum(L[i, k] * L[j, k], k, where=[i >= k, j >= k]))
    upper = sum(S[i, j] * C[i, j], i, j, where=i < j)
    model.loss(upper + sum(sb.log(L[i, i] ** 2 + 1), i))
    return model


def triangular_torch(t: Tensors) -> torch.Tensor:
    L = t["L"].tril()
    upper = ((L @ L.T) * t["C"]).triu(1).sum()
    return upper + torch.log(torch.diagonal(L) ** 2 + 1).sum()


def masked() -> Model:
    """Guards on data: only samples above a threshold count, and labels of two kinds go to two terms."""
    model = Model("masked")
    b, j = model.axis("b", "batch"), model.axis("j", 3)
    x, kind = model.input("x", b, j), model.input("kind", b, dtype="int", below=3)
    w = model.parameter("w", j)
    z = model.define("z[b]", sum(x[b, j] * w[j], j))
    a = model.define("a[b]", sb.exp(z[b]), where=x[b, 0] > 0)
    one = sum(z[b] ** 2, b, where=Eq(kind[b], 1))
    model.loss(sum(a[b], b) + one)
    return model


def masked_torch(t: Tensors) -> torch.Tensor:
    z = t["x"] @ t["w"]
    return torch.exp(z)[t["x"][:, 0] > 0].sum() + (z[t["kind"] == 1] ** 2).sum()


def indices_as_values() -> Model:
    """Positions that enter the arithmetic: a polynomial and its moments."""
    model = Model("indices")
    b, k = model.axis("b", "batch"), model.axis("k", 5)
    x, t, c = model.input("x", b), model.input("t", b), model.parameter("c", k)
    y = model.define("y[b]", sum(c[k] * x[b] ** 2 * (k + 1) / (2 * k + 3), k))
    model.loss(sum((y[b] - t[b] * b) ** 2, b) / b.size + sum(k**2 * c[k] ** 2, k))
    return model


def indices_as_values_torch(t: Tensors) -> torch.Tensor:
    k = torch.arange(5)
    b = torch.arange(len(t["x"]))
    y = t["x"] ** 2 * (t["c"] * (k + 1) / (2 * k + 3)).sum()
    return ((y - t["t"] * b) ** 2).mean() + (k**2 * t["c"] ** 2).sum()


def bends() -> Model:
    """Every function that bends, at random points."""
    model = Model("bends")
    b, k = model.axis("b", "batch"), model.axis("k", 7)
    x, w, v = model.input("x", b, k), model.parameter("w", k), model.parameter("v", k)
    z = model.define("z[b, k]", x[b, k] * w[k])
    a = model.define("a[b, k]", sb.maximum(z[b, k], v[k]) * sb.minimum(z[b, k], x[b, k]))
    s = model.define("s[b, k]", sb.abs(z[b, k]) + sb.relu(a[b, k]) + sb.leaky_relu(z[b, k]) * sb.elu(v[k]))
    top = model.define("top[b]", sb.max(s[b, k], k) - sb.min(z[b, k], k))
    model.loss(sum(top[b] ** 2, b) + sum(s[b, k] * sb.stop_gradient(z[b, k]), b, k))
    return model


def bends_torch(t: Tensors) -> torch.Tensor:
    f = torch.nn.functional
    z = t["x"] * t["w"]
    a = torch.maximum(z, t["v"].expand_as(z)) * torch.minimum(z, t["x"])
    s = z.abs() + torch.relu(a) + f.leaky_relu(z) * f.elu(t["v"])
    top = s.max(1).values - z.min(1).values
    return (top**2).sum() + (s * z.detach()).sum()


def branches() -> Model:
    """Branches whose other side would be infinite or not a number."""
    model = Model("branches")
    b, k = model.axis("b", "batch"), model.axis("k", 7)
    x, w = model.input("x", b, k), model.parameter("w", k)
    z = model.define("z[b, k]", x[b, k] * w[k])
    y = model.define("y[b, k]", select(z[b, k] > 0, sb.log(z[b, k]) * sqrt(z[b, k]), sb.exp(z[b, k])))
    q = model.define("q[b, k]", select(sb.abs(z[b, k]) > sb.abs(x[b, k]), x[b, k] / z[b, k], z[b, k] * 2))
    model.loss(sum(y[b, k] * q[b, k], b, k))
    return model


def branches_torch(t: Tensors) -> torch.Tensor:
    z = t["x"] * t["w"]
    positive = torch.where(z > 0, z, torch.ones_like(z))  # torch needs the safe argument; equations do not
    y = torch.where(z > 0, torch.log(positive) * torch.sqrt(positive), torch.exp(z))
    larger = z.abs() > t["x"].abs()
    q = torch.where(larger, t["x"] / torch.where(larger, z, torch.ones_like(z)), 2 * z)
    return (y * q).sum()


def some_zeros(feed: Feed) -> None:
    """Weights and inputs that are exactly 0, of both signs."""
    feed["x"][:, ::3] = 0.0
    feed["w"][1::3] = 0.0


CASES = (
    Case("quadratic form, diagonal, transpose", quadratic, quadratic_torch),
    Case("strided, repeated, reversed, last", slices, slices_torch),
    Case("last and reversed at run time", slices_at_run_time, slices_at_run_time_torch,
         ({"n_batch": 7, "n_time": 13}, {"n_batch": 13, "n_time": 1}, {"n_batch": 1, "n_time": 7})),
    Case("flattened heads", heads, heads_torch, ({"n_batch": 13}, {"n_batch": 1})),
    Case("triangles", triangular, triangular_torch),
    Case("guards on data", masked, masked_torch, ({"n_batch": 13}, {"n_batch": 1}, {"n_batch": 7})),
    Case("indices as values", indices_as_values, indices_as_values_torch, ({"n_batch": 13}, {"n_batch": 1})),
    Case("functions that bend", bends, bends_torch, ({"n_batch": 13}, {"n_batch": 1})),
    Case("branches", branches, branches_torch, ({"n_batch": 13}, {"n_batch": 1})),
    Case("branches at zero", branches, branches_torch, ({"n_batch": 13}, {"n_batch": 1}), some_zeros),
)  # fmt: skip


# At the kinks themselves, where torch and the textbooks agree on one of the possible values.


def norm() -> Model:
    """A Euclidean norm, whose gradient at 0 is taken as 0."""
    model = Model("norm")
    b, j = model.axis("b", "batch"), model.axis("j", 7)
    x, w = model.input("x", b, j), model.parameter("w", j)
    s = model.define("s[b]", sum((x[b, j] * w[j]) ** 2, j))
    model.loss(sum(sqrt(s[b]), b))
    return model


def norm_torch(t: Tensors) -> torch.Tensor:
    return torch.linalg.norm(t["x"] * t["w"], dim=1).sum()


def zero_rows(feed: Feed) -> None:
    feed["x"][::2] = 0.0


def kinks() -> Model:
    """relu and abs at 0, and a maximum over equal elements, of which the first gets the gradient."""
    model = Model("kinks")
    b, j = model.axis("b", "batch"), model.axis("j", 7)
    x, w = model.input("x", b, j), model.parameter("w", j)
    z = model.define("z[b, j]", x[b, j] * w[j])
    top = model.define("top[b]", sb.max(z[b, j], j))
    model.loss(sum(top[b], b) + sum(sb.relu(z[b, j]) * (j + 1) + sb.abs(z[b, j]), b, j))
    return model


def kinks_torch(t: Tensors) -> torch.Tensor:
    z = t["x"] * t["w"]
    first = z.detach().numpy().argmax(1)  # NumPy's is the first of equals; torch's may be any
    top = z[torch.arange(len(z)), torch.tensor(first)]
    return top.sum() + (torch.relu(z) * torch.arange(1, 8) + z.abs()).sum()


def ties(feed: Feed) -> None:
    """Whole numbers from -2 to 2, so that many are equal and many are 0."""
    feed["x"] = np.clip(np.round(feed["x"]), -2.0, 2.0)
    feed["w"] = np.ones(7)


KINKS = (
    Case("norm at zero", norm, norm_torch, ({"n_batch": 7}, {"n_batch": 1}), zero_rows),
    Case("relu at zero, equal maxima", kinks, kinks_torch, ({"n_batch": 13}, {"n_batch": 1}), ties),
)

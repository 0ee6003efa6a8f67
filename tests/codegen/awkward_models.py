"""Small models, each with something that loops, buffers or names could get wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import sympy as sp

import symbp as sb
from symbp import Eq, Model, mean, select, sum


@dataclass(frozen=True, eq=False)
class Awkward:
    name: str
    build: Callable[[], Model]
    sizes: tuple[Mapping[str, int], ...] = ({},)

    def __str__(self) -> str:
        return self.name


N = ({"n_n": 1}, {"n_n": 2}, {"n_n": 7})
NT = ({"n_n": 1, "n_time": 1}, {"n_n": 3, "n_time": 7}, {"n_n": 7, "n_time": 2})


def band() -> Model:
    """Guards that cut a loop from both sides, several on one side, on free and on reduced indices."""
    model = Model("band")
    i, j, k = model.axis("i", "n"), model.axis("j", "n"), model.axis("k", 3)
    x, w = model.input("x", i, j), model.parameter("w", k)
    s = model.define("s[i, j]", sum(x[i, j] * w[k], k, where=k <= i), where=[i - j <= 2, j - i <= 1, j <= 4, 2 * i > j])
    inner = sum(s[i, j] * x[j, i], j, where=[j >= i - 1, 3 * j <= 2 * i + 4, j <= 5, i + j >= 1])
    y = model.define("y[i]", sb.sin(inner))
    model.output(y)
    model.loss(sum(y[i] ** 2, i) + sum(s[i, i] ** 3, i))
    return model


def equality_on_data() -> Model:
    model = Model("equality_on_data")
    n, k, m = model.axis("n", "n"), model.axis("k", 5), model.axis("m", 3)
    label, x = model.input("label", n, dtype="int", below=k), model.input("x", n)
    E, w = model.parameter("E", k, m), model.parameter("w", m)
    picked = model.define("picked[n, k]", x[n] * sum(E[k, m] * w[m], m), where=Eq(k, label[n]))
    counted = model.define("counted[k]", sum(x[n] * w[0], n, where=Eq(label[n], k)))
    other = model.define("other[n]", sum(E[k, 1], k, where=[sb.Ne(k, label[n]), k < label[n] + 2]))
    model.loss(sum(picked[n, k] ** 2, n, k) + sum(sb.tanh(counted[k]), k) + sum(other[n] * x[n], n))
    return model


def diagonals() -> Model:
    model = Model("diagonals")
    i, j, k = model.axis("i", 4), model.axis("j", 4), model.axis("k", 4)
    A, v = model.parameter("A", i, j), model.parameter("v", i)
    D = model.variable("D", i, j)
    model.define(D[i, i], v[i] * A[i, i])
    P = model.define("P[i, j]", sum(A[i, k] * D[k, j], k))
    B = model.define("B[i, j, k]", P[i, j] + D[k, k], where=[Eq(i, j)])
    model.loss(sum(P[i, i] ** 2, i) + sum(sb.sin(P[i, j]) * A[j, i], i, j) + sum(B[i, j, k] * A[j, k], i, j, k))
    return model


def interleaved() -> Model:
    """Strided writes that share a tensor, strided reads that overlap."""
    model = Model("interleaved")
    n, u = model.axis("n", "n"), model.axis("u", 3)
    q = model.axis("q", 2 * n.size)
    x, w = model.input("x", n), model.parameter("w", u)
    a = model.variable("a", q)
    model.define("a[2*n]", x[n] * w[0])
    model.define("a[2*n + 1]", sb.exp(x[n] * w[1]))
    windows = sum(a[2 * n + u] * w[u], u, where=2 * n + u < 2 * n.size)
    y = model.define("y[n]", windows)
    model.output(y, a)
    model.loss(sum(y[n] ** 2, n) + sum(a[q] * a[2 * n.size - 1 - q], q) + sum(a[q // 2] * w[1], q))
    return model


def repeated_rows() -> Model:
    """A table read by data at two places and at fixed rows: scatters, dense and partial writes to one gradient."""
    model = Model("repeated_rows")
    n, t = model.axis("n", "n"), model.axis("t", "time")
    v, e, f = model.axis("v", 5), model.axis("e", 3), model.axis("f", 3)
    token = model.input("token", n, t, dtype="int", below=v)
    E, M = model.parameter("E", v, e), model.parameter("M", e, f)
    h = model.define("h[n, t, f]", sum(E[token[n, t], e] * M[e, f], e))
    first = model.define("first[n, f]", h[n, 0, f] + E[token[n, 0], f] * E[2, 1])
    masked = sum(h[n, t, e] * E[token[n, t], e], n, t, e, where=[token[n, t] > 0, t >= 1])
    model.loss(sum(sb.tanh(first[n, f]) ** 2, n, f) + masked + sum(E[v, e] ** 2, v, e) / 100)
    return model


def patchwork() -> Model:
    """A tensor written in four pieces, two of them guarded, and a gradient with pieces of its own."""
    model = Model("patchwork")
    i, j, k = model.axis("i", "n"), model.axis("j", 4), model.axis("k", 2)
    x, w = model.input("x", i, j), model.parameter("w", j)
    a = model.variable("a", i, j)
    model.define("a[i, 0]", x[i, 1] * w[2])
    model.define("a[i, k + 1]", x[i, k + 1] + w[k + 2] * w[3])
    model.define("a[i, 3]", sb.exp(w[1] * x[i, 3]), where=i % 2 >= 1)
    model.define("a[i, 3]", -x[i, 3] * w[0], where=i % 2 < 1)
    b = model.define("b[i, j]", a[i, j] * a[i, 3 - j] + x[i, 0])
    model.output(b)
    model.loss(sum(b[i, j] * a[i, j], i, j) + sum(a[0, j] * w[j], j))
    return model


def concatenated() -> Model:
    """Gradients that are set in one part and added to in another, with overlaps."""
    model = Model("concatenated")
    n, j, k = model.axis("n", "n"), model.axis("j", 5), model.axis("k", 3)
    x, W, U = model.input("x", n, j), model.parameter("W", j, k), model.parameter("U", k, j)
    h = model.define("h[n, k]", sb.tanh(sum(x[n, j] * W[j, k], j)))
    c = model.variable("c", n, j)
    model.define("c[n, k + 2]", h[n, k] * x[n, k + 1])
    model.define("c[n, 1 - k]", h[n, k] ** 2, where=k < 2)
    y = model.define("y[n, k]", sum(c[n, j] * U[k, j], j) + c[n, k + 1] * c[n, k + 2])
    model.output(y, h)
    model.loss(mean(y[n, k] ** 2, n, k) + sum(c[n, 4] * c[n, 0], n))
    return model


def two_steps_back() -> Model:
    model = Model("two_steps_back")
    n, t, k, m = model.axis("n", "n"), model.axis("t", "time"), model.axis("k", 3), model.axis("m", 3)
    x, W, V = model.input("x", n, t, k), model.parameter("W", m, k), model.parameter("V", m, k)
    first = model.parameter("first", k)
    h = model.variable("h", n, t, k)
    model.define(h[n, 0, k], first[k])
    model.define(h[n, 1, k], first[k] * x[n, 0, k])
    before = sum(h[n, t + 1, m] * W[m, k], m) + sum(h[n, t, m] * V[m, k], m)
    model.define(h[n, t + 2, k], sb.tanh(before + x[n, t, k]))
    model.output(h)
    model.loss(sum(h[n, t + 2, k] * x[n, t, k], n, t, k) + sum(h[n, t.size + 1, k] ** 2, n, k))
    return model


def backwards() -> Model:
    """A recurrence that runs down, one that runs up on it, and a third that reads both, offset."""
    model = Model("backwards")
    n, t, k, m = model.axis("n", "n"), model.axis("t", "time"), model.axis("k", 3), model.axis("m", 3)
    x, W, c = model.input("x", n, t, k), model.parameter("W", m, k), model.parameter("c", k)
    down, up, both = (model.variable(name, n, t, k) for name in ("down", "up", "both"))
    model.define(down[n, t.size, k], c[k])
    model.define(down[n, t, k], sb.sigmoid(sum(down[n, t + 1, m] * W[m, k], m) * x[n, t, k]))
    model.define(up[n, -1, k], c[k] ** 2)
    model.define(up[n, t, k], sb.tanh(sum(up[n, t - 1, m] * W[k, m], m) + down[n, t, k]))
    model.define(both[n, 0, k], down[n, 0, k])
    model.define(both[n, t + 1, k], both[n, t, k] * up[n, t, k] + down[n, t + 1, k])
    model.loss(sum(both[n, t + 1, k] ** 2, n, t, k) + sum(up[n, t.size - 1, k], n, k))
    return model


def coupled() -> Model:
    """Two states that need each other, a running total, a gate on data, a guard on the step."""
    model = Model("coupled")
    n, t, k, m = model.axis("n", "n"), model.axis("t", "time"), model.axis("k", 3), model.axis("m", 3)
    x, length = model.input("x", n, t), model.input("length", n, dtype="int", below=8)
    W, U = model.parameter("W", m, k), model.parameter("U", k)
    a, b, total = model.variable("a", n, t, k), model.variable("b", n, t, k), model.variable("running", n, t)
    model.define(a[n, 0, k], U[k])
    model.define(b[n, 0, k], 1)
    model.define(total[n, 0], 0)
    z = model.define("z[n, t, k]", sum(b[n, t, m] * W[m, k], m) + x[n, t] * a[n, t, k])
    model.define(a[n, t + 1, k], select(t < length[n], sb.tanh(z[n, t, k]), a[n, t, k]))
    model.define(b[n, t + 1, k], a[n, t + 1, k] * b[n, t, k] + U[k])
    model.define(total[n, t + 1], total[n, t] + sum(a[n, t + 1, k] * b[n, t, k], k, where=k <= t))
    model.loss(mean(total[n, t.size], n) + sum(b[n, t, k] ** 2, n, t, k))
    return model


def reached_earlier() -> Model:
    """In the backward scan one turn reaches an element a step before the other, which must not set it then."""
    model = Model("reached_earlier")
    n, t, k, m = model.axis("n", "n"), model.axis("t", "time"), model.axis("k", 3), model.axis("m", 3)
    x, W, V = model.input("x", n, t, k), model.parameter("W", m, k), model.parameter("V", m, k)
    first = model.parameter("first", k)
    h = model.variable("h", n, t, k)
    model.define(h[n, 0, k], first[k])
    model.define(h[n, 1, k], first[k] * x[n, 0, k])
    before = sum(h[n, t + 1, m] * W[m, k], m) + sum(h[n, t, m] * V[m, k], m)
    model.define(h[n, t + 2, k], sb.tanh(before + x[n, t, k]))
    model.loss(sum(h[n, t.size + 1, k] ** 2, n, k) + sum(h[n, 0, k] ** 2, n, k))
    return model


def split_product() -> Model:
    """A product over two axes that no tensor holds side by side, written to a part of a tensor; and in a scan."""
    model = Model("split_product")
    n, t, i, j, k = (
        model.axis("n", "n"),
        model.axis("t", "time"),
        *(model.axis(a, e) for a, e in (("i", 4), ("j", 5), ("k", 6))),
    )
    p, q, row = model.axis("p", i), model.axis("q", j), model.axis("row", n.size + 1)
    x, W, c = model.input("x", n, t, i, j), model.parameter("W", j, i, k), model.parameter("c", k)
    U, start = model.parameter("U", j, i, p, q), model.parameter("start", i, j)
    a = model.variable("a", n, k)
    model.define("a[0, k]", c[k])
    model.define("a[n + 1, k]", sum(x[n, 0, i, j] * W[j, i, k], i, j))
    h = model.variable("h", n, t, i, j)
    model.define(h[n, 0, i, j], start[i, j])
    r = model.define("r[n, t, p, q]", sum(h[n, t, i, j] * U[j, i, p, q], i, j))
    model.define(h[n, t + 1, p, q], sb.tanh(r[n, t, p, q] / 4 + x[n, t, p, q]))
    model.output(a, r)
    model.loss(sum(sb.sin(a[row, k]) * c[k], row, k) + mean(h[n, t + 1, i, j] * start[i, j], n, t, i, j))
    return model


def written_before_read() -> Model:
    """Equations in the order in which nobody would compute them."""
    model = Model("written_before_read")
    n = model.axis("n", "n")
    x, w, h, g = model.input("x", n), model.parameter("w"), model.variable("h", n), model.variable("g", n)
    y = model.define("y[n]", sb.exp(h[n]))
    model.define("h[n]", sb.tanh(g[n] + 1))
    model.define("g[n]", sb.sin(x[n] ** 2 * w + 1))
    model.output(y)
    model.loss(sum(y[n], n))
    return model


def alternatives() -> Model:
    """Conditions joined by or, beside guards."""
    model = Model("alternatives")
    n, k = model.axis("n", "n"), model.axis("k", 3)
    x, w = model.input("x", n, k), model.parameter("w", k)
    either = sp.Or(x[n, 0] > 0, x[n, 1] > 0)
    some = sum(sb.exp(w[k] * x[n, k]), k, where=[k <= n, x[n, k] >= -1, x[n, 1] <= sp.Rational(1, 2), sb.Ne(k, 1)])
    y = model.define("y[n]", select(either, some, w[0]) + select(either, w[2], w[1]), where=n % 2 >= 1)
    model.output(y)
    model.loss(sum(y[n] ** 2, n))
    return model


def numbers_only() -> Model:
    """No axis anywhere."""
    model = Model("numbers_only")
    x, y = model.input("x"), model.input("y")
    w, v, c = model.parameter("w"), model.parameter("v"), model.parameter("c")
    a = model.define("a", sb.tanh(w * x + c))
    b = model.define("b", select(a + 0 > 0, sb.log(2 + a), sb.sqrt(1 - a) * v))
    model.output(b)
    model.loss((b - y) ** 2 + sb.abs(v) * w)
    return model


def empty_sums() -> Model:
    """Sums over nothing, an axis of one element, an axis that is empty when the input has one step."""
    model = Model("empty_sums")
    n, u, one = model.axis("n", "n"), model.axis("u", 3), model.axis("o", 1)
    gap = model.axis("g", n.size - 1)
    x, w, s = model.input("x", n), model.parameter("w", u), model.parameter("s", one)
    change = model.define("change[g]", (x[gap + 1] - x[gap]) * w[0])
    tail = model.define("tail[n]", sum(x[n] * w[u] * change[n - 1], u, where=[n >= 1, u < n - 2]))
    none = model.define("none[n]", sum(x[n] * w[u], u, where=[u >= n, n > 5, u > 1]))
    model.loss(sum(change[gap] ** 2, gap) + sum(tail[n] ** 2 + none[n] * w[1], n) + sum(s[one] * x[0], one) * w[2])
    return model


def clashes() -> Model:
    """Tensors called like axes, like helpers of generated code and like what Python has; axes called like tensors."""
    model = Model("clashes")
    h, value, best = model.axis("h", "n"), model.axis("value", 3), model.axis("best", 3)
    place, i_h = model.axis("place", 2), model.axis("i_h", 3)
    x = model.input("x", h, value)
    kernel, real_2 = model.parameter("kernel", value, best), model.parameter("real_2", best)
    view = model.parameter("view", best, place)
    hidden = model.define("hidden[h, best]", sb.tanh(sum(x[h, value] * kernel[value, best], value) + real_2[best]))
    matmul = model.define("matmul[h, place]", sum(hidden[h, best] * view[best, place], best))
    top = model.define("top[h]", sb.max(matmul[h, place], place))
    where = model.define("position[h]", sb.argmax(sb.stop_gradient(hidden[h, i_h]), i_h))
    real = model.define("real[h]", sb.exp(top[h] / 2) + hidden[h, where[h]])
    out = model.define("values[h]", sb.log(1 + real[h] ** 2) * x[h, 0])
    model.output(real, out)
    model.loss(mean(out[h] ** 2, h) + sum(sb.maximum(top[h], real[h]), h))
    return model


def ties() -> Model:
    """Maxima over equal numbers: the first takes the gradient, in the order of the axes as written."""
    model = Model("ties")
    n, i, j = model.axis("n", "n"), model.axis("i", 3), model.axis("j", 4)
    votes, w = model.input("votes", n, i, j, dtype="int", below=2), model.parameter("w", i, j)
    z = model.define("z[n, i, j]", votes[n, i, j] * sb.floor(sb.stop_gradient(w[i, j]) / 8 + 2) * (1 + w[i, j] * 0))
    y = model.define("y[n, i, j]", z[n, i, j] + 0 * w[i, j] + votes[n, i, j] * sb.minimum(sb.maximum(w[0, 0], 3), 5))
    first = model.define("first[n]", sb.max(y[n, i, j] * w[1, 1], j, i))
    rows = model.define("rows[n, i]", sb.max(y[n, i, j], j, where=j <= i + 1))
    at = model.define("at[n]", sb.argmax(sb.stop_gradient(y[n, i, j]), i, j))
    model.output(at)
    model.loss(sum(first[n], n) + sum(rows[n, i] * w[i, 0], n, i) + sum(at[n] * w[2, 3], n))
    return model


def integers_as_values() -> Model:
    model = Model("integers_as_values")
    n, k = model.axis("n", "n"), model.axis("k", 3)
    year, kind = model.input("year", n, dtype="int", below=50), model.input("kind", dtype="int", below=k)
    w = model.parameter("w", k)
    y = model.define("y[n]", w[(year[n] + kind) % 3] * year[n] / 50 + w[kind] ** 3 * kind + n * w[year[n] // 20])
    model.output(y)
    model.loss(mean(sb.tanh(y[n]) ** 2, n) + sum(w[k] * k**2, k) / (n.size + 1))
    return model


def crossing_scalars() -> Model:
    """Numbers that the forward pass keeps for the backward pass; one that the loss reads twice."""
    model = Model("crossing_scalars")
    n, k = model.axis("n", "n"), model.axis("k", 3)
    x, w, g = model.input("x", n, k), model.parameter("w", k), model.parameter("g")
    size = model.define("size", sb.sqrt(sum(w[k] ** 2, k) + 1))
    z = model.define("z[n]", sum(x[n, k] * w[k], k) / size)
    centre = model.define("centre", mean(z[n], n))
    spread = model.define("spread", sb.sqrt(mean((z[n] - centre) ** 2, n) + sp.Rational(1, 10)))
    y = model.define("y[n]", g * (z[n] - centre) / spread)
    model.output(spread, y)
    model.loss(sum(sb.sin(y[n]), n) * size + sb.log(spread))
    return model


def outputs_of_outputs() -> Model:
    model = Model("outputs_of_outputs")
    n, k, m = model.axis("n", "n"), model.axis("k", 4), model.axis("m", 5)
    x, W = model.input("x", n, k), model.parameter("W", k, m)
    z = model.define("z[n, m]", sum(x[n, k] * W[k, m], k))
    p = sb.softmax(z, name="p")
    best = model.define("choice[n]", sb.argmax(sb.stop_gradient(p[n, m]), m))
    sure = model.define("sure[n]", p[n, best[n]])
    triangle = model.define("triangle[n, m]", z[n, m] * sure[n], where=m <= n)
    model.output(sure, best, z, triangle)
    model.loss(mean(triangle[n, m] ** 2, n, m) - sum(sb.log(p[n, m]) * x[n, 0], n, m))
    return model


def merged_axes() -> Model:
    """Products over two axes at once, over parts of them, with a shift, transposed, and with small extents."""
    model = Model("merged_axes")
    n, t, j, k = model.axis("n", "n"), model.axis("t", "time"), model.axis("j", 5), model.axis("k", 6)
    h, e, f = model.axis("h", 4), model.axis("e", 5), model.axis("f", 20)
    x, W, c = model.input("x", n, t, j), model.parameter("W", j, k), model.parameter("c", k)
    V, M, T = model.parameter("V", k, h, e), model.parameter("M", f, f), model.parameter("T", h, e, k)
    a = model.variable("a", n, t, k)
    model.define("a[n, 0, k]", c[k])
    model.define("a[n, t + 1, k]", sum(x[n, t, j] * W[j, k], j) + c[k])
    heads = model.define("heads[n, t, h, e]", sum(a[n, t + 1, k] * V[k, h, e], k))
    flat = model.define("spread_out[n, t, f]", sum(heads[n, t, h, e] * M[5 * h + e, f], h, e))
    back = model.define("back[n, t, k]", sum(heads[n, t, h, e] * T[h, e, k], h, e) + sum(a[n, t, k], k))
    turned = model.define("turned[h, e, t]", sum(heads[n, t, h, e] * back[n, t, 0], n))
    model.output(flat, turned)
    model.loss(
        sum(flat[n, t, f] ** 2, n, t, f) / 50 + sum(sb.tanh(back[n, t, k]), n, t, k) + sum(turned[h, e, t], h, e, t)
    )
    return model


def wrapped() -> Model:
    """Circular shifts, halves, repeats and a reversal."""
    model = Model("wrapped")
    t, q, k = model.axis("t", "time"), model.axis("q", 2 * model.axis("half", "n").size), model.axis("k", 3)
    half = model.axis("half2", "n")
    x, w = model.input("x", t), model.parameter("w", k)
    z = model.input("z", half)
    y = model.define("y[t]", sum(x[(t + k + 1) % t.size] * w[k], k))
    r = model.define("r[t]", sb.tanh(y[t]) * y[t.size - 1 - t] * y[(t - 1) % t.size])
    up = model.define("up[q]", z[q // 2] * w[q % 3])
    model.output(r, up)
    model.loss(sum(r[t], t) + sum(up[q] ** 2 * up[2 * half.size - 1 - q], q))
    return model


def pooled() -> Model:
    """Overlapping windows of a padded convolution: maxima, a mean, a product of two convolutions."""
    model = Model("pooled")
    n, c, d = model.axis("n", "n"), model.axis("c", 2), model.axis("d", 3)
    i, j, u, v = model.axis("i", 6), model.axis("j", 5), model.axis("u", 3), model.axis("v", 3)
    p, q = model.axis("p", 3), model.axis("q", 2)
    x, K = model.input("x", n, c, i, j), model.parameter("K", d, c, u, v)
    inside = [i + u >= 1, i + u <= 6, j + v >= 1, j + v <= 5]
    z = model.define("z[n, d, i, j]", sum(x[n, c, i + u - 1, j + v - 1] * K[d, c, u, v], c, u, v, where=inside))
    a = model.define("a[n, d, p, q]", sb.max(sb.relu(z[n, d, 2 * p + u, 2 * q + v]), u, v, where=2 * p + u < 6))
    s = model.define("s[n, d]", mean(a[n, d, p, q] * z[n, d, p, q], p, q))
    model.output(a)
    model.loss(sum(s[n, d] ** 2, n, d))
    return model


def nested_branches() -> Model:
    """Branches in branches whose other sides would be NaN, read out of bounds or divide by zero."""
    model = Model("nested_branches")
    n, k = model.axis("n", "n"), model.axis("k", 3)
    x, w = model.input("x", n, k), model.parameter("w", k)
    z = model.define("z[n, k]", x[n, k] * w[k])
    before = select(n >= 2, z[n - 2, k] * w[k], select(n >= 1, sb.log(sb.abs(z[n - 1, k])), w[0]))
    y = model.define("y[n, k]", select(z[n, k] > 0, sb.sqrt(z[n, k]) * before, sb.safe_div(before, sb.relu(z[n, k]))))
    masked = sum(sb.log(z[n, k]), k, where=z[n, k] > 0)
    model.loss(sum(y[n, k] ** 2, n, k) + sum(masked * w[1], n) / (n.size * 2))
    return model


def attention() -> Model:
    model = Model("attention")
    n, t, e = model.axis("n", "n"), model.axis("t", "time"), model.axis("e", 4)
    x = model.input("x", n, t, e)
    y = sb.SelfAttention(2, causal=True)(sb.LayerNorm()(x))
    model.output(y)
    model.loss(mean(sb.sin(y[n, t, e]), n, t, e))
    return model


def lstm() -> Model:
    model = Model("lstm")
    n, t, j = model.axis("n", "n"), model.axis("t", "time"), model.axis("j", 3)
    k = model.axis("k", 4)
    x, label = model.input("x", n, t, j), model.input("label", n, dtype="int", below=k)
    h = sb.LSTM(5)(x)
    model.loss(sb.softmax_cross_entropy(sb.Dense(4)(h), label))
    return model


MODELS = (
    Awkward("band", band, N),
    Awkward("equality on data", equality_on_data, N),
    Awkward("diagonals", diagonals),
    Awkward("interleaved", interleaved, N),
    Awkward("repeated rows", repeated_rows, NT),
    Awkward("patchwork", patchwork, N),
    Awkward("concatenated", concatenated, N),
    Awkward("two steps back", two_steps_back, NT),
    Awkward("backwards", backwards, NT),
    Awkward("coupled", coupled, NT),
    Awkward("reached earlier", reached_earlier, NT),
    Awkward("split product", split_product, NT[:2]),
    Awkward("written before read", written_before_read, N),
    Awkward("alternatives", alternatives, N),
    Awkward("numbers only", numbers_only),
    Awkward("empty sums", empty_sums, N[1:]),
    Awkward("clashes", clashes, N),
    Awkward("ties", ties, N),
    Awkward("integers as values", integers_as_values, N),
    Awkward("crossing scalars", crossing_scalars, N),
    Awkward("outputs of outputs", outputs_of_outputs, N),
    Awkward("merged axes", merged_axes, NT),
    Awkward("wrapped", wrapped, NT),
    Awkward("pooled", pooled, ({"n_n": 1}, {"n_n": 2})),
    Awkward("nested branches", nested_branches, N),
    Awkward("normed attention", attention, NT),
    Awkward("small lstm", lstm, NT),
)

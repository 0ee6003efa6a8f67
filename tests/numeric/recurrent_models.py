"""Recurrences: cells written as equations and as layers, both directions of time, memory of all earlier steps."""

from __future__ import annotations

import torch

import symbp as sb
from symbp import GRU, LSTM, RNN, Dense, Model, exp, log, mean, sigmoid, sin, sum, tanh
from tests.numeric.harness import Case, Tensors

functional = torch.nn.functional
UNITS = 5
SEQUENCES = (
    {"n_batch": 3, "n_time": 7},
    {"n_batch": 1, "n_time": 1},
    {"n_batch": 13, "n_time": 2},
    {"n_batch": 1, "n_time": 11},
)


def start(given: Tensors, name: str) -> torch.Tensor:
    """The state before the first step for every sample: a parameter, or 0 where the model has none."""
    state = given.get(name, torch.zeros(UNITS, dtype=torch.float64))
    return state.expand(given["x"].shape[0], UNITS)


def rnn(initial: str) -> Model:
    """``h[t+1] = tanh(x[t] W + h[t] U + c)``; every state counts, each unit by another weight."""
    model = Model(f"rnn_{initial}")
    b, t, j = model.axis("b", "batch"), model.axis("t", "time"), model.axis("j", 3)
    k = model.axis("k", UNITS)
    l = model.axis("l", k)  # noqa: E741
    x = model.input("x", b, t, j)
    W, U, c = model.parameter("W", j, k), model.parameter("U", l, k), model.parameter("c", k)
    h = model.variable("h", b, t, k)
    if initial == "before":  # the same recurrence with its start at t = -1
        model.define(h[b, -1, k], 0)
        model.define(h[b, t, k], tanh(sum(x[b, t, j] * W[j, k], j) + sum(h[b, t - 1, l] * U[l, k], l) + c[k]))
        model.loss(mean(h[b, t, k] ** 2 * sin(1 + k), b, t, k))
        return model
    model.define(h[b, 0, k], model.parameter("h0", k)[k] if initial == "parameter" else 0)
    model.define(h[b, t + 1, k], tanh(sum(x[b, t, j] * W[j, k], j) + sum(h[b, t, l] * U[l, k], l) + c[k]))
    model.loss(mean(h[b, t + 1, k] ** 2 * sin(1 + k), b, t, k))
    return model


def rnn_torch(given: Tensors) -> torch.Tensor:
    x, h = given["x"], start(given, "h0")
    states = []
    for t in range(x.shape[1]):
        h = torch.tanh(x[:, t] @ given["W"] + h @ given["U"] + given["c"])
        states.append(h)
    return (torch.stack(states, 1) ** 2 * torch.sin(1 + torch.arange(UNITS, dtype=torch.float64))).mean()


def gru() -> Model:
    """A GRU that learns its first state; only the last state counts."""
    model = Model("gru_cell")
    b, t, j = model.axis("b", "batch"), model.axis("t", "time"), model.axis("j", 3)
    k = model.axis("k", UNITS)
    l = model.axis("l", k)  # noqa: E741
    x, h0 = model.input("x", b, t, j), model.parameter("h0", k)
    h = model.variable("h", b, t, k)
    model.define(h[b, 0, k], h0[k])
    weights = {
        g: (model.parameter(f"W{g}", j, k), model.parameter(f"U{g}", l, k), model.parameter(f"c{g}", k)) for g in "rzn"
    }
    a = {g: sum(x[b, t, j] * W[j, k], j) for g, (W, _, _) in weights.items()}
    s = {g: sum(h[b, t, l] * U[l, k], l) + c[k] for g, (_, U, c) in weights.items()}
    r = model.define("r[b, t, k]", sigmoid(a["r"] + s["r"]))
    z = model.define("z[b, t, k]", sigmoid(a["z"] + s["z"]))
    n = model.define("n[b, t, k]", tanh(a["n"] + r[b, t, k] * s["n"]))
    model.define(h[b, t + 1, k], (1 - z[b, t, k]) * n[b, t, k] + z[b, t, k] * h[b, t, k])
    model.loss(mean(h[b, t.size, k] ** 3, b, k))
    return model


def gru_torch(given: Tensors) -> torch.Tensor:
    x, h = given["x"], start(given, "h0")
    for t in range(x.shape[1]):
        a = {g: x[:, t] @ given[f"W{g}"] for g in "rzn"}
        s = {g: h @ given[f"U{g}"] + given[f"c{g}"] for g in "rzn"}
        r, z = torch.sigmoid(a["r"] + s["r"]), torch.sigmoid(a["z"] + s["z"])
        h = (1 - z) * torch.tanh(a["n"] + r * s["n"]) + z * h
    return (h**3).mean()


def lstm() -> Model:
    """An LSTM with learnt first states that names one of four classes at every step."""
    model = Model("lstm_cell")
    b, t, j = model.axis("b", "batch"), model.axis("t", "time"), model.axis("j", 3)
    k, v = model.axis("k", UNITS), model.axis("v", 4)
    l = model.axis("l", k)  # noqa: E741
    x, label = model.input("x", b, t, j), model.input("label", b, t, dtype="int", below=v)
    h0, s0 = model.parameter("h0", k), model.parameter("s0", k)
    h, s = model.variable("h", b, t, k), model.variable("s", b, t, k)
    model.define(h[b, 0, k], h0[k])
    model.define(s[b, 0, k], s0[k])
    gate = {}
    for g in "ifgo":
        W, U, c = model.parameter(f"W{g}", j, k), model.parameter(f"U{g}", l, k), model.parameter(f"c{g}", k)
        z = sum(x[b, t, j] * W[j, k], j) + sum(h[b, t, l] * U[l, k], l) + c[k]
        gate[g] = model.define(f"{g}[b, t, k]", tanh(z) if g == "g" else sigmoid(z))[b, t, k]
    model.define(s[b, t + 1, k], gate["f"] * s[b, t, k] + gate["i"] * gate["g"])
    model.define(h[b, t + 1, k], gate["o"] * tanh(s[b, t + 1, k]))
    V = model.parameter("V", k, v)
    y = model.define("y[b, t, v]", sum(h[b, t + 1, k] * V[k, v], k))
    p = model.define("p[b, t, v]", exp(y[b, t, v]) / sum(exp(y[b, t, v]), v))
    model.output(p)
    model.loss(mean(-log(p[b, t, label[b, t]]), b, t))
    return model


def lstm_logits(given: Tensors) -> torch.Tensor:
    x, h, s = given["x"], start(given, "h0"), start(given, "s0")
    states = []
    for t in range(x.shape[1]):
        z = {g: x[:, t] @ given[f"W{g}"] + h @ given[f"U{g}"] + given[f"c{g}"] for g in "ifgo"}
        s = torch.sigmoid(z["f"]) * s + torch.sigmoid(z["i"]) * torch.tanh(z["g"])
        h = torch.sigmoid(z["o"]) * torch.tanh(s)
        states.append(h)
    return torch.stack(states, 1) @ given["V"]


def lstm_torch(given: Tensors) -> torch.Tensor:
    return functional.cross_entropy(lstm_logits(given).flatten(0, 1), given["label"].flatten())


def layer(cell: type[RNN] | type[GRU] | type[LSTM], sequences: bool) -> Model:
    """A recurrent layer under a dense one."""
    model = Model(f"{cell.__name__.lower()}_{'states' if sequences else 'last'}")
    b, t, j = model.axis("b", "batch"), model.axis("t", "time"), model.axis("j", 3)
    y = Dense(2, name="head")(cell(UNITS, sequences=sequences, name="cell")(model.input("x", b, t, j)))
    model.loss(sb.mean(y.here**3, *y.axes))
    return model


def layer_torch(cell: str, sequences: bool, given: Tensors) -> torch.Tensor:
    x, h, s = given["x"], start(given, ""), start(given, "")
    W, U, c = given["cell_W"], given["cell_U"], given["cell_c"]
    states = []
    for t in range(x.shape[1]):
        if cell == "rnn":
            h = torch.tanh(x[:, t] @ W + h @ U + c)
        else:
            a, u = torch.einsum("bi,igk->gbk", x[:, t], W), torch.einsum("bl,lgk->gbk", h, U)
        if cell == "gru":
            u = u + given["cell_d"][:, None]
            r, z = torch.sigmoid(a + c[:, None] + u)[:2]
            h = (1 - z) * torch.tanh(a[2] + c[2] + r * u[2]) + z * h
        elif cell == "lstm":
            i, f, g, o = a + u + c[:, None]
            s = torch.sigmoid(f) * s + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(s)
        states.append(h)
    y = torch.stack(states, 1) if sequences else h
    return ((y @ given["head_W"] + given["head_c"]) ** 3).mean()


def bidirectional() -> Model:
    """Two recurrences in opposite directions of time that meet at every step; one learns its start."""
    model = Model("bidirectional")
    b, t, j = model.axis("b", "batch"), model.axis("t", "time"), model.axis("j", 3)
    k = model.axis("k", UNITS)
    l = model.axis("l", k)  # noqa: E741
    x, W = model.input("x", b, t, j), model.parameter("W", j, k)
    U, V, g0 = model.parameter("U", l, k), model.parameter("V", l, k), model.parameter("g0", k)
    f, g = model.variable("f", b, t, k), model.variable("g", b, t, k)
    a = model.define("a[b, t, k]", sum(x[b, t, j] * W[j, k], j))
    model.define(f[b, 0, k], 0)
    model.define(g[b, t.size, k], g0[k])
    model.define(f[b, t + 1, k], tanh(a[b, t, k] + sum(f[b, t, l] * U[l, k], l)))
    model.define(g[b, t, k], tanh(a[b, t, k] + sum(g[b, t + 1, l] * V[l, k], l)))
    model.loss(mean(f[b, t + 1, k] * g[b, t, k] ** 2, b, t, k))
    return model


def bidirectional_torch(given: Tensors) -> torch.Tensor:
    a = given["x"] @ given["W"]
    steps = a.shape[1]
    f, g = [start(given, "")], [start(given, "g0")]
    for t in range(steps):
        f.append(torch.tanh(a[:, t] + f[-1] @ given["U"]))
        g.append(torch.tanh(a[:, steps - 1 - t] + g[-1] @ given["V"]))
    return torch.stack([f[t + 1] * g[steps - t] ** 2 for t in range(steps)]).mean()


def linear_scan() -> Model:
    """``h[t] = a[t] h[t-1] + u[t]`` with gates that are learnt: a state space model on the diagonal."""
    model = Model("linear_scan")
    b, t, k = model.axis("b", "batch"), model.axis("t", "time"), model.axis("k", UNITS)
    x, w, v = model.input("x", b, t, k), model.parameter("w", k), model.parameter("v", k)
    a = model.define("a[b, t, k]", sigmoid(x[b, t, k] * w[k]))
    u = model.define("u[b, t, k]", x[b, t, k] * v[k])
    h = model.variable("h", b, t, k)
    model.define(h[b, -1, k], 0)
    model.define(h[b, t, k], a[b, t, k] * h[b, t - 1, k] + u[b, t, k])
    model.loss(mean(h[b, t, k] ** 2, b, t, k))
    return model


def linear_scan_torch(given: Tensors) -> torch.Tensor:
    x, h = given["x"], start(given, "")
    states = []
    for t in range(x.shape[1]):
        h = torch.sigmoid(x[:, t] * given["w"]) * h + x[:, t] * given["v"]
        states.append(h)
    return (torch.stack(states) ** 2).mean()


def volterra(steps: int) -> Model:
    """``h[t+1] = tanh(sum[s <= t] a[t - s] h[s] U + x[t])``: a learnt memory of all earlier steps."""
    model = Model(f"volterra_{steps}")
    b, t, k = model.axis("b", "batch"), model.axis("t", steps), model.axis("k", UNITS)
    s, l = model.axis("s", t), model.axis("l", k)  # noqa: E741
    x, a = model.input("x", b, t, k), model.parameter("a", t)
    U, h0 = model.parameter("U", l, k), model.parameter("h0", k)
    h = model.variable("h", b, t, k)
    model.define(h[b, 0, k], h0[k])
    m = model.define("m[b, t, k]", sum(a[t - s] * h[b, s, k], s, where=t >= s))
    model.define(h[b, t + 1, k], tanh(sum(m[b, t, l] * U[l, k], l) + x[b, t, k]))
    model.loss(mean(h[b, t + 1, k] ** 2, b, t, k))
    return model


def volterra_torch(given: Tensors) -> torch.Tensor:
    states = [start(given, "h0")]
    for t in range(given["x"].shape[1]):
        memory = torch.stack([given["a"][t - s] * states[s] for s in range(t + 1)]).sum(0)
        states.append(torch.tanh(memory @ given["U"] + given["x"][:, t]))
    return (torch.stack(states[1:]) ** 2).mean()


def second_order() -> Model:
    """``y[t] = tanh(p y[t-1] + q y[t-2] + x[t])``: two starts, and a recurrence that reaches two steps back."""
    model = Model("second_order")
    b, t, k = model.axis("b", "batch"), model.axis("t", "time"), model.axis("k", UNITS)
    x, p, q = model.input("x", b, t, k), model.parameter("p", k), model.parameter("q", k)
    first, y = model.parameter("first", k), model.variable("y", b, t, k)
    model.define(y[b, 0, k], 0)
    model.define(y[b, 1, k], first[k])
    model.define(y[b, t + 2, k], tanh(p[k] * y[b, t + 1, k] + q[k] * y[b, t, k] + x[b, t, k]))
    model.loss(mean(y[b, t + 2, k] ** 2, b, t, k))
    return model


def second_order_torch(given: Tensors) -> torch.Tensor:
    states = [start(given, ""), start(given, "first")]
    for t in range(given["x"].shape[1]):
        states.append(torch.tanh(given["p"] * states[-1] + given["q"] * states[-2] + given["x"][:, t]))
    return (torch.stack(states[2:]) ** 2).mean()


def layer_case(cell: type[RNN] | type[GRU] | type[LSTM], sequences: bool, single: bool = False) -> Case:
    kind = cell.__name__.lower()
    return Case(
        f"{kind} layer{' states' if sequences else ''}",
        lambda: layer(cell, sequences),
        lambda given: layer_torch(kind, sequences, given),
        SEQUENCES[:3],
        single=single,
    )


RNN_CASE = Case("rnn", lambda: rnn("parameter"), rnn_torch, SEQUENCES)
LSTM_CASE = Case("lstm", lstm, lstm_torch, SEQUENCES, outputs=lambda given: (torch.softmax(lstm_logits(given), -1),))
LINEAR_SCAN_CASE = Case("linear scan", linear_scan, linear_scan_torch, SEQUENCES)

CASES = (
    RNN_CASE,
    Case("gru", gru, gru_torch, SEQUENCES, single=False),
    LSTM_CASE,
    layer_case(RNN, sequences=True),
    layer_case(GRU, sequences=False),
    layer_case(LSTM, sequences=True, single=True),
    Case("bidirectional", bidirectional, bidirectional_torch, SEQUENCES),
    LINEAR_SCAN_CASE,
    Case("two steps back", second_order, second_order_torch, SEQUENCES[:2], single=False),
    Case("volterra", lambda: volterra(7), volterra_torch, ({"n_batch": 3}, {"n_batch": 1})),
)

#: Near copies of the cases above, whose equations are checked but which are not compiled.
VARIANTS = (
    Case("rnn from zero", lambda: rnn("zero"), rnn_torch, SEQUENCES),
    Case("rnn from -1", lambda: rnn("before"), rnn_torch, SEQUENCES),
    layer_case(RNN, sequences=False),
    layer_case(GRU, sequences=True),
    layer_case(LSTM, sequences=False),
    Case("volterra of one step", lambda: volterra(1), volterra_torch, ({"n_batch": 3}, {"n_batch": 1})),
)

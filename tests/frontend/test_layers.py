"""Layers against torch in float64: what their equations compute, and the gradients derived from them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import symbp as sb
from symbp import Model
from symbp.check import interpret
from symbp.derive import differentiate, name_calls, stabilise
from symbp.frontend.handle import TensorHandle

Array = np.ndarray[Any, Any]
BATCH, TIME = 3, 7


def inputs(model: Model, **extents: Any) -> TensorHandle:
    return model.input("x", model.axis("b", "batch"), *(model.axis(n, e) for n, e in extents.items()))


def random(shape: tuple[int, ...], seed: int) -> Array:
    return np.random.default_rng(seed).normal(size=shape)


class Case:
    """A layer, its input's axes, and the same computation in torch: ``reference(x, weights)``."""

    def __init__(self, layer: sb.Layer, axes: dict[str, Any], reference: Callable[..., torch.Tensor]) -> None:
        self.layer, self.axes, self.reference = layer, axes, reference


def dense(x: torch.Tensor, w: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.relu(x @ w["dense_W"] + w["dense_c"])


def conv2d(x: torch.Tensor, w: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.tanh(nn.functional.conv2d(x, w["conv_K"], w["conv_c"], stride=2, padding=1, dilation=2))


def conv1d(x: torch.Tensor, w: dict[str, torch.Tensor]) -> torch.Tensor:
    return nn.functional.conv1d(x, w["conv_K"], w["conv_c"])


def layer_norm(x: torch.Tensor, w: dict[str, torch.Tensor]) -> torch.Tensor:
    return nn.functional.layer_norm(x, (x.shape[-1],), w["norm_g"], w["norm_c"], 1e-5)


def rms_norm(x: torch.Tensor, w: dict[str, torch.Tensor]) -> torch.Tensor:
    return nn.functional.rms_norm(x, (x.shape[-1],), w["norm_g"], 1e-5)


def torch_cell(kind: Any, x: torch.Tensor, parts: dict[str, torch.Tensor]) -> torch.Tensor:
    cell = kind(x.shape[-1], parts["weight_hh_l0"].shape[1], batch_first=True).double()
    result: torch.Tensor = torch.func.functional_call(cell, parts, (x,))[0]
    return result


def rnn(x: torch.Tensor, w: dict[str, torch.Tensor]) -> torch.Tensor:
    parts = {"weight_ih_l0": w["rnn_W"].T, "weight_hh_l0": w["rnn_U"].T, "bias_ih_l0": w["rnn_c"]}
    return torch_cell(nn.RNN, x, {**parts, "bias_hh_l0": torch.zeros_like(w["rnn_c"])})[:, -1]


def gates(weight: torch.Tensor) -> torch.Tensor:
    """W[i, q, k] as torch has it: rows of all gates, one gate after the other."""
    return weight.flatten(1).T


def gru(x: torch.Tensor, w: dict[str, torch.Tensor]) -> torch.Tensor:
    parts = {"weight_ih_l0": gates(w["gru_W"]), "weight_hh_l0": gates(w["gru_U"])}
    return torch_cell(nn.GRU, x, {**parts, "bias_ih_l0": w["gru_c"].flatten(), "bias_hh_l0": w["gru_d"].flatten()})


def lstm(x: torch.Tensor, w: dict[str, torch.Tensor]) -> torch.Tensor:
    parts = {
        "weight_ih_l0": gates(w["lstm_W"]),
        "weight_hh_l0": gates(w["lstm_U"]),
        "bias_ih_l0": w["lstm_c"].flatten(),
    }
    return torch_cell(nn.LSTM, x, {**parts, "bias_hh_l0": torch.zeros_like(parts["bias_ih_l0"])})[:, -1]


def attention(x: torch.Tensor, w: dict[str, torch.Tensor]) -> torch.Tensor:
    q, k, v = (
        torch.einsum("btd,dhe->bhte", x, w[f"attention_{n.upper()}"]) + w[f"attention_c_{n}"][:, None] for n in "qkv"
    )
    o = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
    return torch.einsum("bhte,hem->btm", o, w["attention_W"]) + w["attention_c"]


CASES = {
    "dense": Case(sb.Dense(5, sb.relu), {"t": 7, "j": 13}, dense),
    "dense of one": Case(sb.Dense(1, sb.relu), {"j": 1}, dense),
    "conv1d": Case(sb.Conv1d(5, 3), {"c": 2, "i": "width"}, conv1d),
    "conv2d": Case(sb.Conv2d(3, (3, 2), sb.tanh, stride=2, padding=1, dilation=2), {"c": 2, "i": 13, "j": 7}, conv2d),
    "max pool": Case(sb.MaxPool2d(2), {"c": 2, "i": 7, "j": 6}, lambda x, w: nn.functional.max_pool2d(x, 2)),
    "max pool, overlapping": Case(
        sb.MaxPool2d(3, stride=2), {"c": 1, "i": 7, "j": 13}, lambda x, w: nn.functional.max_pool2d(x, 3, 2)
    ),
    "avg pool": Case(sb.AvgPool2d(2), {"c": 2, "i": 6, "j": 4}, lambda x, w: nn.functional.avg_pool2d(x, 2)),
    "flatten": Case(sb.Flatten(), {"c": 2, "i": 3, "j": 7}, lambda x, w: x.flatten(1)),
    "layer norm": Case(sb.LayerNorm(), {"t": 3, "k": 13}, layer_norm),
    "rms norm": Case(sb.RMSNorm(), {"k": 7}, rms_norm),
    "rnn": Case(sb.RNN(5), {"t": "time", "i": 3}, rnn),
    "gru": Case(sb.GRU(5, sequences=True), {"t": "time", "i": 3}, gru),
    "lstm": Case(sb.LSTM(5), {"t": "time", "i": 3}, lstm),
    "attention": Case(sb.SelfAttention(2, causal=True), {"t": "time", "d": 6}, attention),
}


@pytest.mark.parametrize("name", CASES)
def test_layer_agrees_with_torch(name: str) -> None:
    case = CASES[name]
    model = Model("m")
    y = case.layer(inputs(model, **case.axes))
    # An uneven weighting, so that no gradient is the same everywhere.
    r = model.input("r", *y.axes)
    model.output(y)
    model.loss(sb.sum(y.here * sb.sin(y.here) * r[y.axes], *y.axes))
    program = model.program()
    sizes = {"n_batch": BATCH, "n_time": TIME, "n_width": 13}
    parameters = [t for t in program.tensors if t.role.value == "parameter"]
    feed = {t.name: random(tuple(map(int, t.shape)), k) for k, t in enumerate(parameters)}
    shape = (BATCH, *(sizes[f"n_{e}"] if isinstance(e, str) else e for e in case.axes.values()))
    feed["x"] = random(shape, 99)

    x = torch.tensor(feed["x"], requires_grad=True)
    weights = {t.name: torch.tensor(feed[t.name], requires_grad=True) for t in parameters}
    expected = case.reference(x, weights)
    feed["r"] = random(tuple(expected.shape), 7)
    (expected * torch.sin(expected) * torch.tensor(feed["r"])).sum().backward()

    derivation = differentiate(name_calls(stabilise(program)), wrt=("x", *weights))
    found = interpret(derivation.program, {n: s for n, s in sizes.items() if n in str(program.sizes())}, feed)
    output = found[program.outputs[0]]
    np.testing.assert_allclose(output, expected.detach().numpy(), rtol=1e-12, atol=1e-12)
    for parameter, tensor in {"x": x, **weights}.items():
        assert tensor.grad is not None
        gradient = found[derivation.gradient_of(parameter)]
        np.testing.assert_allclose(gradient, tensor.grad.numpy(), rtol=1e-10, atol=1e-11, err_msg=parameter)


def test_a_skip_connection_adds() -> None:
    model = Model("m")
    x = inputs(model, j=5)
    y = sb.Add()(sb.Dense(5, sb.tanh)(x), x, x)
    model.loss(sb.mean(y.here, *y.axes))
    feed = {"x": random((BATCH, 5), 0), "dense_W": random((5, 5), 1), "dense_c": random((5,), 2)}
    found = interpret(model.program(), {"n_batch": BATCH}, feed)["add"]
    np.testing.assert_allclose(found, np.tanh(feed["x"] @ feed["dense_W"] + feed["dense_c"]) + 2 * feed["x"])
    with pytest.raises(sb.ShapeError, match="found 'x' of n_batch x 5 and 'dense_2' of n_batch x 3"):
        sb.Add()(x, sb.Dense(3)(x))


def test_embedding_agrees_with_torch() -> None:
    model = Model("m")
    b, t = model.axis("b", "batch"), model.axis("t", "time")
    token = model.input("token", b, t, dtype="int", below=7)
    y = sb.Embedding(7, 3)(token)
    model.loss(sb.mean(y.here**2, *y.axes))
    program = model.program()
    tokens = np.random.default_rng(0).integers(0, 7, (BATCH, TIME))
    table = random((7, 3), 1)
    derivation = differentiate(name_calls(stabilise(program)))
    found = interpret(derivation.program, {"n_batch": BATCH, "n_time": TIME}, {"token": tokens, "embedding_E": table})
    weight = torch.tensor(table, requires_grad=True)
    expected = nn.functional.embedding(torch.tensor(tokens), weight)
    expected.square().mean().backward()
    np.testing.assert_array_equal(found["embedding"], expected.detach().numpy())
    assert weight.grad is not None
    np.testing.assert_allclose(found["embedding_E_bar"], weight.grad.numpy(), rtol=1e-12)


# Names and checks.


def test_names_come_from_the_layer() -> None:
    model = Model("m")
    x = inputs(model, j=4)
    hidden = sb.Dense(3, sb.tanh, name="hidden")(x)
    first, second = sb.Dense(2)(hidden), sb.Dense(2)(hidden)
    assert (hidden.name, first.name, second.name) == ("hidden", "dense", "dense_2")
    assert list(model.tensors) == [
        "x", "hidden_W", "hidden_c", "hidden_z", "hidden",
        "dense_W", "dense_c", "dense", "dense_2_W", "dense_2_c", "dense_2",
    ]  # fmt: skip
    with pytest.warns(sb.SymbpWarning):  # nothing uses the first of the two
        origin = model.program().definitions("hidden_z")[0].origin
    assert origin.layer == "hidden"
    assert origin.place.startswith("test_layers.py:")


def test_a_users_layer_looks_like_ours() -> None:
    from dataclasses import dataclass

    @dataclass(frozen=True)
    class Scale(sb.Layer):
        """``y[b, k] = g[k]*x[b, k]``."""

        def expand(self, scope: sb.Scope, x: TensorHandle) -> TensorHandle:
            b, k = x.axes
            g = scope.parameter("g", k, init=1.0)
            return scope.define("", (b, k), g[k] * x[b, k])

    model = Model("m")
    y = Scale()(inputs(model, k=4))
    assert y.name == "scale"
    assert list(model.tensors) == ["x", "scale_g", "scale"]


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: sb.Dense(0), "Dense has units = 0, expected an integer of at least 1"),
        (lambda: sb.Dense(2.0), "Dense has units = 2.0, expected an integer of at least 1"),  # type: ignore[arg-type]
        (lambda: sb.Conv2d(3, 3, padding=-1), "Conv2d has padding = -1, expected an integer of at least 0"),
        (lambda: sb.Conv2d(3, (3, 3, 3)), "Conv2d has kernel = (3, 3, 3), expected an integer or two"),  # type: ignore[arg-type]
        (lambda: sb.LayerNorm(0), "LayerNorm has epsilon = 0, expected a number between 0 and 1"),
        (lambda: sb.Dense(2)(3), "layer Dense is called on tensors, found int 3"),
        (lambda: sb.Dense(2)(), "layer Dense is called on tensors, found nothing"),
    ],
)
def test_bad_fields(make: Callable[[], object], text: str) -> None:
    with pytest.raises(sb.SpecError) as error:
        make()
    assert str(error.value) == text


def test_bad_activation() -> None:
    with pytest.raises(sb.SpecError, match="Dense has activation 'relu', expected one of relu, sigmoid"):
        sb.Dense(2, "relu")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("layer", "axes", "text"),
    [
        (sb.Conv2d(3, 5), {"c": 1, "i": 4, "j": 9}, "Conv2d has a window of 5, larger than axis 'i' of 4"),
        (sb.MaxPool2d(3), {"c": 1, "i": 2, "j": 9}, "MaxPool2d has a window of 3, larger than axis 'i' of 2"),
        (sb.Conv2d(3, 5), {"j": 4}, "Conv2d takes a tensor of 4 axes (b, c, i, j), found 'x' with 2 (b, j)"),
        (sb.SelfAttention(3), {"t": 2, "d": 4}, "SelfAttention splits axis 'd' of 4 into 3 heads"),
        (
            sb.Dense(3),
            {"t": "time"},
            "parameter 'dense_W' runs over axis 't', whose extent n_time is known at run time",
        ),
        (sb.Embedding(3, 2), {"t": 3}, "Embedding takes whole numbers, but 'x' is of floats"),
    ],
)
def test_bad_inputs(layer: sb.Layer, axes: dict[str, Any], text: str) -> None:
    model = Model("m")
    x = inputs(model, **axes)
    with pytest.raises(sb.SpecError) as error:
        layer(x)
    assert text in str(error.value)
    assert "test_layers.py:" in str(error.value)
    assert "layer '" in str(error.value)


def test_a_run_time_window_is_checked_at_run_time() -> None:
    model = Model("m")
    x = inputs(model, c=1, i="width")
    y = sb.Conv1d(1, 5)(x)
    model.loss(sb.mean(y.here, *y.axes))
    assert "n_width - 5" in [str(r) for r in model.program().requirements]


def test_a_layer_name_is_used_once() -> None:
    model = Model("m")
    x = inputs(model, j=4)
    sb.Dense(3, name="a")(x)
    with pytest.raises(sb.SpecError, match="layer name 'a' is used twice; give each layer a name of its own"):
        sb.Dense(3, name="a")(x)

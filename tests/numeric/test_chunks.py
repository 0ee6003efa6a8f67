"""A batch in chunks of three samples, by one worker and by several: the same as torch, and the same bits."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

from symbp import Adam, Conv2d, Dense, Flatten, Model, TrainingError, emit_model, relu, softmax_cross_entropy
from tests.numeric import attention_models, convolution_models, dense_models, pinn_models, recurrent_models
from tests.numeric.harness import Case, arguments, check_against_torch, derivation_of, generated, imported

CHUNK = 3
NAMES = (
    "five layers, cross-entropy",
    "several outputs",
    "embedding, cross-entropy",
    "layer norm, rms norm",
    "contrastive",
    "batch norm",
    "lenet",
    "strides and pooling over a run-time width",
    "several heads",
    "burgers",
    "bidirectional",
    "gru",
)
ALL = (
    *dense_models.CASES,
    *convolution_models.CASES,
    *attention_models.CASES,
    *pinn_models.CASES,
    *recurrent_models.CASES,
)
CASES = [c for c in ALL if c.name in NAMES]


def test_every_case_is_there() -> None:
    assert {c.name for c in CASES} == set(NAMES)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_against_torch(case: Case) -> None:
    check_against_torch(case, generated(case, "float64", CHUNK), "float64", case.sizes)


@pytest.mark.parametrize("name", ["five layers, cross-entropy", "lenet", "gru"])
def test_bits_do_not_depend_on_the_number_of_workers(name: str) -> None:
    case = next(c for c in CASES if c.name == name)
    net = generated(case, "float32", CHUNK)
    sizes = dict(case.sizes[0])
    params, inputs = arguments(net, case.arrays(derivation_of(case).primal, sizes))
    found = [_loss_and_gradient(net, kernel, params, inputs, sizes, n) for kernel, n in _ways("loss_and_grad")]
    for loss, gradient in found[1:]:
        assert loss == found[0][0]
        assert np.array_equal(gradient, found[0][1])


def _ways(name: str) -> list[tuple[str, int]]:
    return [(f"{name}_into", 1), (f"{name}_into", 2), (f"{name}_into", 5), (f"{name}_threads", 2)]


def _loss_and_gradient(
    net: Any, kernel: str, params: Any, inputs: list[Any], sizes: dict[str, int], workers: int
) -> tuple[float, Any]:
    grads = net.PARAMETERS.zeros()
    given = {"params": params.flat, "grads": grads.flat}
    given |= {declared.name: array for declared, array in zip(net.INPUTS, inputs, strict=True)}
    for memory in ("workspace", "positions"):
        if hasattr(net, f"train_{memory}"):
            given[memory] = getattr(net, f"train_{memory}")(**sizes)
            given[memory][:] = -1  # nothing of an earlier call is of use
    for memory in ("chunk", "chunk_positions"):
        if hasattr(net, f"train_{memory}"):
            given[memory] = getattr(net, f"train_{memory}")(workers, **sizes)
            given[memory][:] = -1
    function = getattr(net.kernels, kernel)
    loss = function(*(given[name] for name in inspect.signature(function.py_func).parameters))
    return float(loss), grads.flat.copy()


def classifier() -> Model:
    model = Model("classifier")
    b, j = model.axis("b", "batch"), model.axis("j", 7)
    x, y = model.input("x", b, j), model.input("y", b, dtype="int", below=3)
    model.loss(softmax_cross_entropy(Dense(3, name="out")(Dense(11, relu, name="hidden")(x)), y))
    model.optimizer(Adam(learning_rate=0.01))
    return model


def test_fit_and_predict_in_chunks() -> None:

    nets = [
        imported(emit_model(classifier(), dtype="float64", standalone=False, chunk=c), f"classifier/{c}", "classifier")
        for c in (CHUNK, 0)
    ]
    random = np.random.default_rng(0)
    x, y = random.normal(size=(50, 7)), random.integers(0, 3, 50)
    weights, losses, outputs = [], [], []
    for net in nets:
        params = net.init(seed=1)
        state = net.optimizer_state(params)
        first = net.train_step(params, state, x[:10], y[:10])
        log = net.fit(params, state, x, y, epochs=3, batch=11, seed=2, progress=False)
        weights.append(params.flat.copy())
        losses.append([first, *log.loss])
        outputs.append(net.predict(params, x))
    assert np.allclose(*weights, rtol=0, atol=1e-12)
    assert np.allclose(*losses, rtol=1e-12)
    assert np.allclose(*outputs, rtol=0, atol=1e-12)
    assert losses[0][-1] < losses[0][1]


def test_where_numbers_stop_being_finite() -> None:

    net = imported(emit_model(classifier(), standalone=False, chunk=CHUNK), "classifier/single", "classifier")
    params = net.init(seed=1)
    x, y = np.ones((10, 7), np.float32), np.zeros(10, np.int64)
    x[8, 2] = 1e38
    params["hidden_W"][2] = 1e10
    with pytest.raises(TrainingError, match=r"hidden_z\[8, 0\] is inf"):
        net.fit(params, net.optimizer_state(params), x, y, batch=10, shuffle=False, progress=False)


def test_where_numbers_stop_being_finite_among_samples_side_by_side() -> None:
    """Not only the last of a chunk's samples is looked at, and an element is named as the equation names it."""
    model = Model("images")
    b, c, i, j = model.axis("b", "batch"), model.axis("c", 1), model.axis("i", 12), model.axis("j", 12)
    x, y = model.input("x", b, c, i, j), model.input("y", b, dtype="int", below=3)
    features = Flatten()(Conv2d(4, 3, name="conv")(x))
    model.loss(softmax_cross_entropy(Dense(3, name="out")(features), y))
    model.optimizer(Adam(learning_rate=0.01))
    net = imported(emit_model(model, standalone=False), "images/single", "images")
    assert "(4, 10, 10, n_batch)" in inspect.getsource(net)
    params = net.init(seed=1)
    images, labels = np.ones((70, 1, 12, 12), np.float32), np.zeros(70, np.int64)
    images[68, 0, 1, 2] = 1e38
    params["conv_K"][3] = 1e10
    with pytest.raises(TrainingError, match=r"conv\w*\[3, 0, 0, \d+\] is inf"):
        net.fit(params, net.optimizer_state(params), images, labels, batch=70, shuffle=False, progress=False)

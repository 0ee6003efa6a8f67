"""Cases 69 to 75: training that goes wrong, functions without a derivative, targets and options that are not there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from symbp import (
    SGD,
    Adam,
    DerivativeError,
    Model,
    Momentum,
    SpecError,
    TargetError,
    abs,
    argmax,
    floor,
    log,
    max,
    mean,
    min,
    relu,
    stop_gradient,
    sum,
)
from symbp.pipeline import compile_model, derive_model, emit_model, load_generated
from tests.bad_inputs.conftest import fruit_model

ROOT = Path(__file__).resolve().parents[2]
X = np.array([0.5, -1.0, 2.0, 0.25, 1.5], np.float32)
LABEL = np.array([0, 1, 2, 0, 1])


# 69: a loss that is not finite


@pytest.fixture(scope="module")
def net_of_logs(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """mean(log(w*x[b])): not finite as soon as a product is not positive."""
    model = Model("logs")
    b = model.axis("b", "batch")
    x, w = model.input("x", b), model.parameter("w", init=1.0)
    scaled = model.define("scaled[b]", w * x[b])
    height = model.define("height[b]", log(scaled[b]))
    model.loss(mean(height[b], b))
    model.optimizer(Momentum(learning_rate=0.01))
    folder = tmp_path_factory.mktemp("logs")
    return load_generated(compile_model(model, folder, dtype="float64", standalone=False))


def test_a_loss_that_is_not_finite(net_of_logs: ModuleType) -> None:
    """The message has epoch, step, the first equation that is wrong and a remedy; the last good state is kept."""
    net = net_of_logs
    x = np.ones(12)
    x[7] = -1.0
    params = net.init()
    state = net.optimizer_state(params)
    with pytest.raises(Exception, match="step 4 of 6") as caught:
        net.fit(params, state, x, batch=2, shuffle=False, progress=False)
    assert type(caught.value).__name__ == "TrainingError"
    assert str(caught.value) == (
        "epoch 1, step 4 of 6: the loss is nan (height[1] is nan in height[b] = log(scaled[b])); the parameters are "
        "those before that step; lower the learning rate or check the data "
        "[OptimizerState(momentum: learning_rate=0.01; t=3)]"
    )
    good = net.init()
    good_state = net.optimizer_state(good)
    for _ in range(3):
        net.train_step(good, good_state, np.ones(2))
    assert params == good
    assert np.array_equal(state.v, good_state.v)
    assert state.t == 3


def test_the_first_of_several_wrong_equations_is_named(net_of_logs: ModuleType) -> None:
    net = net_of_logs
    params = net.init()
    params.w = 1e308
    with pytest.raises(Exception, match=r"scaled\[2\] is inf in scaled\[b\] = x\[b\]\*w"):
        net.fit(params, net.optimizer_state(params), np.array([1.0, 1.0, 2.0]), shuffle=False, progress=False)
    assert params.w == 1e308


def test_a_weight_that_is_not_finite(net: ModuleType, refused: Callable[..., str]) -> None:
    params = net.init()
    net.fit(params, net.optimizer_state(params), X, LABEL, progress=False)  # compiled from here on
    state = net.optimizer_state(params, learning_rate=1e38)
    text = refused("TrainingError", lambda: net.fit(params, state, 1e3 * X, LABEL, epochs=9, progress=False))
    assert "step leaves values in w that are not finite" in text or "the loss is" in text
    assert np.isfinite(params.flat).all()


# 70, 75: targets, and what has a name


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"target": "gpu"},
            "unknown target 'gpu', expected one of: cpu, cuda; take target 'cuda' or 'cpu'",
        ),
        ({"target": "cpus"}, "unknown target 'cpus', expected one of: cpu, cuda; did you mean 'cpu'?"),
        ({"dtype": "float16"}, "unknown dtype 'float16'; did you mean 'float64'?"),
    ],
)
def test_a_target_that_is_not_there(options: dict[str, str], message: str) -> None:
    with pytest.raises(TargetError) as caught:
        emit_model(fruit_model(), **options)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compil", "spec.toml"], "No such command 'compil'"),
        (["compile", "spec.toml", "--ouput", "x"], "there is no option --ouput; did you mean '--output'?"),
        (["compile", "absent.toml"], "absent.toml"),
        (["train", "spec.toml", "--data", "sklearn:digit"], "did you mean 'digits'?"),
        (["train", "spec.toml", "--data", "sklearn:iris", "--learning-rate", "-1"], "expected a finite number > 0"),
        (["compile", "spec.toml", "-o", "../../x"], "leads out of the current folder"),
    ],
)
def test_a_command_that_is_wrong(tmp_path: Path, arguments: list[str], message: str) -> None:
    """One line on the error stream and status 2; nothing is written."""
    (tmp_path / "spec.toml").write_text(
        "equations = 'z[b, k] = sum(x[b, j]*W[j, k], j)'\n[axes]\nb = 'batch'\nj = 4\nk = 3\n[inputs]\nx = 'b, j'\n"
        "label = { axes = 'b', dtype = 'int', below = 'k' }\n[parameters]\nW = 'j, k'\n"
        "[loss]\ntype = 'softmax_cross_entropy'\nlogits = 'z'\nlabel = 'label'\n",
        encoding="utf-8",
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-m", "symbp", *arguments],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout.count("Traceback")) == (2, 0)
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert message in line
    assert "Traceback" not in done.stderr
    assert sorted(p.name for p in tmp_path.iterdir() if p.name != "cache") == ["spec.toml"]


# 71: Ctrl-C


def test_ctrl_c_keeps_the_weights_of_the_last_whole_step(net: ModuleType) -> None:
    params = net.init()
    state = net.optimizer_state(params)
    net.fit(params, state, X, LABEL, batch=2, shuffle=False, progress=False)  # compiled from here on
    params, state = net.init(), net.optimizer_state(params)
    timer = threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    log = net.fit(params, state, X, LABEL, epochs=10**9, batch=2, shuffle=False, progress=False)
    timer.join()
    assert log.interrupted
    assert state.t >= len(log.loss) * 3 > 0
    # As many steps again, uninterrupted: the same bits. Whole epochs first, then what is left of one, step by step.
    other, other_state = net.init(), net.optimizer_state(params)
    net.fit(other, other_state, X, LABEL, epochs=state.t // 3, batch=2, shuffle=False, progress=False)
    for step in range(state.t % 3):
        rows = slice(2 * step, 2 * step + 2)
        net.train_step(other, other_state, X[rows].copy(), LABEL[rows].copy())
    assert other_state.t == state.t
    assert params == other


# 72, 73: derivatives


def line_through(function: Callable[[Any], Any]) -> Model:
    model = Model("line")
    b = model.axis("b", "batch")
    x, w = model.input("x", b), model.parameter("w", init=1.0)
    y = model.define("y[b]", function(w * x[b]))
    model.loss(mean(y[b], b))
    return model


def chosen(hold: Callable[[Any], Any]) -> Model:
    """A loss that depends on w through the position of a maximum."""
    model = Model("choice")
    b, j = model.axis("b", "batch"), model.axis("j", 3)
    x, w, c = model.input("x", b, j), model.parameter("w", j), model.parameter("c")
    best = model.define("best[b]", argmax(hold(w[j] * x[b, j]), j))
    model.loss(mean((best[b] - c) ** 2, b))
    return model


def test_a_function_without_derivative_is_refused_by_name() -> None:
    """Case 72."""
    with pytest.raises(DerivativeError) as caught:
        derive_model(line_through(floor))
    assert str(caught.value).partition(": ")[2] == (
        "in 'y[b] = floor(w*x[b])': floor has no derivative but lies on a path from a weight to the loss; wrap it in "
        "stop_gradient(...) to treat it as a constant"
    )
    with pytest.raises(DerivativeError) as caught:
        derive_model(chosen(lambda value: value))
    assert "argmax has no derivative, but 'best' lies on a path from a weight to the loss; " in str(caught.value)
    assert str(caught.value).endswith("take the argmax of stop_gradient(...) to hold the choice constant")


def test_what_is_held_constant_is_taken() -> None:
    """Case 72, the remedies."""
    derive_model(line_through(lambda value: value + stop_gradient(floor(value))))
    derived = derive_model(chosen(stop_gradient))
    assert dict(derived.gradients).keys() == {"w", "c"}


def ties() -> Model:
    model = Model("ties")
    j = model.axis("j", 3)
    w = model.parameter("w", j)
    model.loss(sum(abs(w[j]), j) + 10 * max(w[j], j) + 100 * min(w[j], j) + 1000 * sum(relu(w[j]), j))
    return model


def test_ties_have_the_documented_derivative(tmp_path: Path) -> None:
    """Case 73: abs and relu at 0 give 0, max and min give all of it to the first."""
    net = load_generated(compile_model(ties(), tmp_path, dtype="float64", standalone=False))
    _, grads = net.loss_and_grad(net.init())
    assert grads.w.tolist() == [110.0, 0.0, 0.0]


# 74: settings


@pytest.mark.parametrize("rate", [0, -0.1, float("nan"), float("inf"), "0.1", None, True])
def test_a_learning_rate_that_is_none(net: ModuleType, refused: Callable[..., str], rate: Any) -> None:
    for kind in (SGD, Adam, Momentum):
        with pytest.raises(SpecError, match=r"expected a (finite number|number above 0)"):
            kind(learning_rate=rate)
    params = net.init()
    state = net.optimizer_state(params)
    for action in (
        lambda: net.optimizer_state(params, learning_rate=rate),
        lambda: setattr(state, "learning_rate", rate),
    ):
        assert refused("TrainingError", action) == (
            f"learning_rate: expected a finite number > 0, found {rate!r}; try 0.1"
        )
    assert state.learning_rate == 0.1


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"epochs": 0}, "TrainingError", "epochs: expected a whole number >= 1, found 0"),
        ({"batch": -1}, "TrainingError", "batch: expected a whole number >= 1, found -1"),
        ({"batch": "all"}, "TrainingError", "batch: expected a whole number >= 1, found 'all'"),
        ({"seed": -1}, "TrainingError", "seed: expected a whole number >= 0, found -1"),
        (
            {"validation": (X,)},
            "DataError",
            "validation: expected 2 arrays (x, label) or a callable, found 1; pass validation=(x, label)",
        ),
        (
            {"validation": X},
            "DataError",
            "validation: expected 2 arrays (x, label) or a callable, found ndarray; pass validation=(x, label)",
        ),
    ],
)
def test_a_setting_of_fit_that_is_none(
    net: ModuleType, refused: Callable[..., str], options: dict[str, Any], kind: str, message: str
) -> None:
    params = net.init()
    assert refused(kind, lambda: net.fit(params, net.optimizer_state(params), X, LABEL, **options)) == message


def test_a_state_that_is_not_the_optimizer_s(net: ModuleType, refused: Callable[..., str], tmp_path: Path) -> None:
    params = net.init()
    remedy = "make it with optimizer_state()"
    for state, found in ((None, "a NoneType"), (params, "a Parameters")):
        for action in (
            lambda state=state: net.train_step(params, state, X, LABEL),
            lambda state=state: net.fit(params, state, X, LABEL),
        ):
            text = refused("TrainingError", action)
            assert text == f"state: expected the state of 'sgd', found {found}; {remedy}"
    assert refused("TrainingError", lambda: net.save(params, tmp_path / "w.safetensors", params)).endswith(remedy)


def model_of(name: str) -> Model:
    model = Model("m")
    b = model.axis("b", "samples")
    x, w = model.input(name, b), model.parameter("w")
    model.loss(mean(w * x[b], b))
    model.optimizer(SGD())
    return model


@pytest.mark.parametrize("name", ["batch", "flat", "order", "loss", "DTYPE", "x_batch", "_x"])
def test_an_input_called_like_a_variable_of_the_package(name: str) -> None:
    with pytest.raises(SpecError) as caught:
        emit_model(model_of(name))
    text = f"input name '{name}' is a name that generated code uses for itself; try '{name.strip('_')}_'"
    assert str(caught.value).endswith(text)


def test_an_output_called_like_a_variable_of_predict() -> None:
    model = model_of("x")
    b = model.axes["b"]
    model.output(model.define("flat[b]", 2 * model.tensors["x"][b]))
    with pytest.raises(SpecError, match=r"output name 'flat' is a name .*; try 'flat_'"):
        emit_model(model)

"""Random models: raw and simplified derivations agree, also at zeros; generated modules agree with both."""

from __future__ import annotations

import numpy as np
import pytest

from symbp.check import Interpreter, random_feed
from symbp.derive import differentiate
from symbp.pipeline import derive_model, prepare
from tests.numeric.harness import Feed, arguments, compiled, relative_error
from tests.numeric.random_models import random_model

pytestmark = pytest.mark.filterwarnings("ignore::symbp.errors.SymbpWarning")
SIZES = ({"n_batch": 1}, {"n_batch": 5})


def some_zeros(feed: Feed, seed: int) -> Feed:
    """A third of all numbers are exactly 0, where rewrites divide if they do so without leave."""
    random = np.random.default_rng(seed)
    return {n: np.where(random.random(a.shape) < 0.3, 0.0, a) if a.dtype.kind == "f" else a for n, a in feed.items()}


@pytest.mark.parametrize("seed", range(40))
def test_simplified_equations_agree_with_raw_ones(seed: int) -> None:
    model = random_model(seed)
    raw, plain = differentiate(prepare(model.program())), derive_model(model)
    assert raw.gradients == plain.gradients
    for sizes in SIZES:
        feed = random_feed(raw.primal, sizes, seed)
        for given in (feed, some_zeros(feed, seed)):
            before, after = Interpreter(raw.program).run(sizes, given), Interpreter(plain.program).run(sizes, given)
            for tensor in (model.program().loss, *(adjoint for _, adjoint in raw.gradients)):
                assert np.isfinite(before[tensor]).all()
                assert relative_error(after[tensor], before[tensor]) <= 1e-10, tensor


@pytest.mark.parametrize("seed", range(100, 106))
def test_modules_agree_with_the_equations(seed: int) -> None:
    model = random_model(seed)
    plain = derive_model(model)
    net = compiled(model, "random", "float64")
    for sizes in SIZES:
        feed = random_feed(plain.primal, sizes, seed)
        expected = Interpreter(plain.program).run(sizes, feed)
        params, inputs = arguments(net, feed)
        loss, grads = net.loss_and_grad(params, *inputs)
        assert relative_error(loss, expected[model.program().loss]) <= 1e-11
        for name, adjoint in plain.gradients:
            assert relative_error(grads[name], expected[adjoint]) <= 1e-10, name

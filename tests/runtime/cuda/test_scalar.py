"""Scalar functions of kernels: the CPU's names, no float64 in float32, and our own sin and cos against mpmath."""

# The kernels of this file take their annotations as objects, not as text.

import inspect
import math
from typing import Any

import mpmath
import numpy as np
import pytest

from symbp.runtime import scalar as on_cpu
from symbp.runtime.cuda import scalar
from symbp.runtime.cuda.kernel import Doubles, Kernel, Size, pointer, thread_kernel
from symbp.runtime.cuda.trigonometry import cos, sin
from symbp.runtime.cuda.views import view
from tests.runtime.cuda.machine_code import compiled, instructions, numba_cuda

Reals = pointer(np.float32)

PAIRS = ("maximum", "minimum", "power", "safe_div")


def test_the_names_are_those_of_the_cpu() -> None:
    # CUDA kernels write whole powers as powers.
    assert scalar.__all__ == [name for name in on_cpu.__all__ if name not in ("square", "cube")]
    for name in scalar.__all__:
        here, there = getattr(scalar, name), getattr(on_cpu, name)
        assert list(inspect.signature(here).parameters) == list(inspect.signature(there.py_func).parameters)


def applied(name: str, kind: Any) -> Kernel:
    """A kernel that calls one function."""
    function = getattr(scalar, name)

    if name in PAIRS:

        def call(numbers: kind, n: Size):
            x = view(numbers, 0, (n,))
            x[0] = function(x[1], x[2])
    else:

        def call(numbers: kind, n: Size):
            x = view(numbers, 0, (n,))
            x[0] = function(x[1])

    call.__name__ = f"call_{name}"
    return thread_kernel(call)


@numba_cuda
@pytest.mark.parametrize("name", scalar.__all__)
def test_float32_stays_float32(name: str) -> None:
    """Nothing is widened on the way, nothing is approximate, and nothing lies in memory."""
    found = instructions(compiled(applied(name, Reals)))
    assert "st.global.f32" in found
    assert not [word for word in found if "f64" in word or word.startswith("call")]


@numba_cuda
@pytest.mark.parametrize("name", scalar.__all__)
def test_float64_is_taken_and_given(name: str) -> None:
    found = instructions(compiled(applied(name, Doubles)))
    assert "ld.global.f64" in found
    assert "st.global.f64" in found


# What Python can compute of them without a GPU, on NumPy's numbers.


def over(function: Any, x: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        result = [function(number) for number in x]
    assert {type(number) for number in result} == {x.dtype.type}
    return np.array(result)


NAN, INF = math.nan, math.inf
SPECIAL = {
    "relu": {INF: INF, -INF: 0.0, NAN: NAN, 0.0: 0.0, -1.0: 0.0, 2.0: 2.0},
    "step": {INF: 1.0, -INF: 0.0, NAN: 0.0, 0.0: 0.0, 1e-30: 1.0, -1.0: 0.0},
    "sign": {INF: 1.0, -INF: -1.0, NAN: NAN, 0.0: 0.0, 1e-30: 1.0, -1e-30: -1.0},
    "absolute": {INF: INF, -INF: INF, NAN: NAN, -2.0: 2.0},
    "sigmoid": {0.0: 0.5, 900.0: 1.0, -900.0: 0.0},
    "dsigmoid": {0.0: 0.25, 900.0: 0.0, -900.0: 0.0},
    "sech2": {0.0: 1.0, 900.0: 0.0, -900.0: 0.0},
    "softplus": {0.0: math.log(2), 900.0: 900.0, -900.0: 0.0},
    "logsigmoid": {0.0: -math.log(2), 900.0: 0.0, -900.0: -900.0},
    "rsqrt": {4.0: 0.5, INF: 0.0, NAN: NAN},
}


@pytest.mark.parametrize("name", SPECIAL)
def test_special_values(name: str) -> None:
    for argument, expected in SPECIAL[name].items():
        found = float(getattr(scalar, name)(np.float64(argument)))
        assert found == expected or (math.isnan(found) and math.isnan(expected)), argument


@pytest.mark.parametrize("name", ["dsigmoid", "logsigmoid", "sech2", "sigmoid", "softplus"])
def test_as_the_cpu_computes(name: str) -> None:
    for x in np.random.default_rng(3).uniform(-40, 40, 50):
        assert float(getattr(scalar, name)(x)) == pytest.approx(getattr(on_cpu, name)(x), rel=1e-14)


def test_two_arguments() -> None:
    real = np.float32
    assert scalar.safe_div(real(3), real(2)) == 1.5
    assert scalar.safe_div(real(3), real(0)) == 0.0
    assert math.isnan(scalar.safe_div(real(NAN), real(2)))
    for larger, smaller in ((2.0, 1.0), (1.0, -INF), (0.0, -0.5)):
        assert scalar.maximum(larger, smaller) == scalar.maximum(smaller, larger) == larger
        assert scalar.minimum(larger, smaller) == scalar.minimum(smaller, larger) == smaller
    for function in (scalar.maximum, scalar.minimum):
        assert math.isnan(function(NAN, 1.0))
        assert math.isnan(function(1.0, NAN))


def angles(dtype: Any) -> np.ndarray:
    """Around zero, tiny, moderate, as large as the reduction is good for, and close to multiples of pi/2."""
    random = np.random.default_rng(7)
    largest = 3e38 if dtype is np.float32 else 1e8
    sign = random.choice([-1, 1], 400)
    multiples = np.pi / 2 * random.integers(1, 10**7, 400)
    # The float64 below 1e8 that is nearest to a multiple of pi/2 is not among these, but a hundred times that near are.
    chosen = [
        random.uniform(-2, 2, 400),
        random.uniform(-100, 100, 400),
        np.exp(random.uniform(0, math.log(largest), 400)) * sign,
        multiples * sign,
        np.exp(random.uniform(-80, 0, 100)),
        [math.pi / 4, -math.pi / 4, math.nextafter(math.pi / 4, 1), 0.7853982, 1.0],
    ]
    return np.concatenate(chosen).astype(dtype)


@pytest.mark.parametrize(("dtype", "allowed"), [(np.float32, 3.0), (np.float64, 1.5)])
@pytest.mark.parametrize(("function", "exact"), [(sin, mpmath.sin), (cos, mpmath.cos)], ids=["sin", "cos"])
def test_sin_and_cos(function: Any, exact: Any, dtype: Any, allowed: float) -> None:
    x = angles(dtype)
    y = over(function, x)
    worst, at = 0.0, 0.0
    with mpmath.workprec(300):
        for argument, found in zip(x, y, strict=True):
            expected = exact(mpmath.mpf(float(argument)))
            unit = max(float(np.spacing(dtype(abs(float(expected))))), float(np.finfo(dtype).smallest_subnormal))
            error = float(abs(mpmath.mpf(float(found)) - expected) / unit)
            if not error <= worst:
                worst, at = error, float(argument)
    assert worst <= allowed, f"{at!r}: {worst} ulp"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sin_of_zero_keeps_its_sign(dtype: Any) -> None:
    assert np.array_equal(np.signbit(over(sin, np.array([0.0, -0.0], dtype))), [False, True])
    assert np.array_equal(over(cos, np.array([0.0, -0.0], dtype)), [1, 1])


def test_sin_and_cos_of_what_is_not_finite() -> None:
    x = np.array([np.inf, -np.inf, np.nan], np.float32)
    assert np.isnan(over(sin, x)).all()
    assert np.isnan(over(cos, x)).all()

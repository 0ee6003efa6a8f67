"""Products that slide, over many shapes, beside NumPy in double precision."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest
from numba.core.errors import TypingError

from symbp.runtime.convolution import convolve, convolve_add, correlate, correlate_add
from symbp.runtime.jit import kernel


@cache
def compiled(function: Any, subscripts: str) -> Any:
    @kernel(cache=False)
    def run(left, right, out):  # type: ignore[no-untyped-def]
        function(subscripts, left, right, out)

    return run


@dataclass(frozen=True)
class Layer:
    """``z[o, p, q, b] = sum[c, u, v] x[c, s*p + d*u - pad, s*q + d*v - pad, b]*K[o, c, u, v]`` where it is inside x."""

    channels: int
    results: int
    size: tuple[int, int]
    window: tuple[int, int]
    samples: int
    pad: int = 0
    stride: int = 1
    dilation: int = 1

    @property
    def places(self) -> tuple[int, int]:
        p, q = (
            (n + 2 * self.pad - self.dilation * (w - 1) - 1) // self.stride + 1
            for n, w in zip(self.size, self.window, strict=True)
        )
        return p, q

    def arrays(self, dtype: str, seed: int = 0) -> tuple[Any, Any, Any]:
        """x, K and z."""
        random = np.random.default_rng(seed)
        shapes = (
            (self.channels, *self.size, self.samples),
            (self.results, self.channels, *self.window),
            (self.results, *self.places, self.samples),
        )
        x, K, z = (random.standard_normal(shape).astype(dtype) for shape in shapes)
        return x, K, z

    def windows(self, x: Any) -> Any:
        """``[c, u, v, p, q, b]``: zeros where it is outside x."""
        (height, width), (p, q) = self.size, self.places
        padded = np.zeros((self.channels, height + 2 * self.pad, width + 2 * self.pad, self.samples))
        padded[:, self.pad : self.pad + height, self.pad : self.pad + width] = x
        found = np.zeros((self.channels, *self.window, p, q, self.samples))
        for u, v in np.ndindex(*self.window):
            rows = slice(u * self.dilation, u * self.dilation + self.stride * (p - 1) + 1, self.stride)
            columns = slice(v * self.dilation, v * self.dilation + self.stride * (q - 1) + 1, self.stride)
            found[:, u, v] = padded[:, rows, columns]
        return found

    @property
    def slides(self) -> str:
        p, q = (f"{self.stride}*{p}+{self.dilation}*{u}-{self.pad}" for p, u in ("pu", "qv"))
        return f"c {p} {q} b"

    def forward(self, x: Any, K: Any, z: Any, adds: bool) -> None:
        compiled(convolve_add if adds else convolve, f"o c u v, {self.slides} -> o p q b")(K, x, z)

    def kernel_gradient(self, x: Any, K: Any, z: Any, adds: bool) -> None:
        compiled(correlate_add if adds else correlate, f"o p q b, {self.slides} -> o c u v")(z, x, K)


LAYERS = (
    Layer(1, 1, (1, 1), (1, 1), 1),
    Layer(1, 6, (9, 11), (5, 5), 7),
    Layer(3, 16, (7, 6), (3, 2), 13),
    Layer(2, 7, (6, 5), (3, 3), 16, pad=1),
    Layer(2, 13, (7, 9), (3, 3), 33, pad=1, stride=2),
    Layer(5, 9, (8, 8), (5, 5), 17, pad=2),
    Layer(3, 5, (9, 7), (3, 3), 1, pad=2, dilation=2),
    Layer(2, 3, (5, 4), (3, 3), 65, pad=3, stride=3),  # some windows lie outside altogether
    Layer(7, 23, (1, 12), (1, 4), 31, stride=2),
)


@pytest.mark.parametrize("adds", [False, True], ids=["sets", "adds"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_forward_and_kernel_gradient(layer: Layer, dtype: str, adds: bool) -> None:
    x, K, z = layer.arrays(dtype)
    windows = layer.windows(x.astype(float))
    tolerance = 40 * np.finfo(dtype).eps
    expected = np.einsum("cuvpqb,ocuv->opqb", windows, K.astype(float)) + (z if adds else 0)
    found = z.copy()
    layer.forward(x, K, found, adds)
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance * max(1.0, abs(expected).max()))
    expected = np.einsum("cuvpqb,opqb->ocuv", windows, z.astype(float)) + (K if adds else 0)
    found = K.copy()
    layer.kernel_gradient(x, found, z, adds)
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance * max(1.0, abs(expected).max()))


def test_a_sample_is_the_same_whatever_lies_beside_it() -> None:
    layer = Layer(3, 8, (7, 6), (3, 3), 37, pad=1)
    x, K, z = layer.arrays("float32")
    layer.forward(x, K, z, adds=False)
    for first, last in ((0, 1), (5, 21), (30, 37)):
        part = Layer(3, 8, (7, 6), (3, 3), last - first, pad=1)
        found = np.empty((8, *part.places, last - first), np.float32)
        part.forward(np.ascontiguousarray(x[..., first:last]), K, found, adds=False)
        np.testing.assert_array_equal(found, z[..., first:last])


@pytest.mark.parametrize("samples", [1, 7, 16, 40])
def test_input_gradient_of_a_stride(samples: int) -> None:
    """``x_bar[c, i, b] = sum[o, p] z_bar[o, p, b]*K[o, c, i - 2*p]``: here the kernel moves with the place."""
    o, c, p, u = 3, 5, 4, 3
    i = 2 * (p - 1) + u
    random = np.random.default_rng(samples)
    z_bar, K = random.standard_normal((o, p, samples)), random.standard_normal((o, c, u))
    expected = np.zeros((c, i, samples))
    for first in range(p):
        expected[:, 2 * first : 2 * first + u] += np.einsum("ob,ocu->cub", z_bar[:, first], K)
    found = np.full_like(expected, np.nan)
    compiled(convolve, "o c i-2*p, o p b -> c i b")(K, z_bar, found)
    np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("some", [1, 2, 13])
@pytest.mark.parametrize("channels", [1, 3])
def test_each_channel_by_itself_with_several_results(channels: int, some: int) -> None:
    """Either of two indices may be the longer, and so count the rows of a tile."""
    random = np.random.default_rng(some)
    K, x = random.standard_normal((4, some, channels, 3)), random.standard_normal((channels, 9, 7))
    expected = np.einsum("omcu,cpbu->ompb", K, np.lib.stride_tricks.sliding_window_view(x, 3, 1))
    found = np.full_like(expected, np.nan)
    compiled(convolve, "o m c u, c p+u b -> o m p b")(K, x, found)
    np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-13)


def test_parts_of_arrays() -> None:
    """A group of channels, and some rows of the result: views with strides of their own."""
    layer = Layer(6, 8, (7, 6), (3, 3), 5, pad=1)
    x, K, z = layer.arrays("float64")
    before = z.copy()
    windows = layer.windows(x)[2:4]
    run = compiled(convolve, f"o c u v, {layer.slides} -> o p q b")
    run(K[3:7, 1:3], x[2:4], z[3:7])
    expected = np.einsum("cuvpqb,ocuv->opqb", windows, K[3:7, 1:3])
    np.testing.assert_allclose(z[3:7], expected, rtol=1e-13, atol=1e-13)
    np.testing.assert_array_equal(np.delete(z, range(3, 7), 0), np.delete(before, range(3, 7), 0))


@pytest.mark.parametrize(
    ("subscripts", "message"),
    [
        ("o c u v, c p+u q+v b", "expected 'left, right -> out'"),
        ("o c u, c p+u+w b -> o p b", "'w' is nowhere the whole subscript of an axis"),
        ("o c u, c p*u b -> o p b", "expected a sum like 2*p+u-1"),
        ("o c u, b p+u c -> o p b", "the samples last"),
    ],
)
def test_what_is_wrong_with_subscripts(subscripts: str, message: str) -> None:
    array = np.zeros((2, 2, 2))
    with pytest.raises(TypingError, match=re.escape(message)):
        compiled(convolve, subscripts)(array, array, array)

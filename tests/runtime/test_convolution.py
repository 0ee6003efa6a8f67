"""Products that slide, over many shapes, beside NumPy in double precision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from symbp.runtime.convolution import convolve, convolve_add, correlate, correlate_add
from symbp.runtime.jit import kernel

EVERYWHERE = (-1, 0, 1, 0, 1)
ALONE = (1, 0, 0, *EVERYWHERE)


@kernel(cache=False)
def run_convolve(left, right, out, lanes, start, row, places, taps, adds):  # type: ignore[no-untyped-def]
    if adds:
        convolve_add(left, right, out, lanes, start, row, places, taps)
    else:
        convolve(left, right, out, lanes, start, row, places, taps)


@kernel(cache=False)
def run_correlate(left, right, out, lanes, start, row, columns, places, adds):  # type: ignore[no-untyped-def]
    if adds:
        correlate_add(left, right, out, lanes, start, row, columns, places)
    else:
        correlate(left, right, out, lanes, start, row, columns, places)


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

    def forward(self, x: Any, K: Any, z: Any, adds: bool) -> None:
        (height, width), (p, q), (u, v) = self.size, self.places, self.window
        start, row = (0, -self.pad * (width + 1), 0), (self.results, self.channels * u * v, p * q)
        places = ((1, 0, 0, 0), (p, 0, self.stride * width, q), (q, 0, self.stride, 1))
        bounds = [EVERYWHERE, EVERYWHERE]
        if self.pad:
            bounds = [
                (1, self.stride, self.dilation, -self.pad, height),
                (2, self.stride, self.dilation, -self.pad, width),
            ]
        taps = (
            ALONE,
            (self.channels, u * v, height * width, *EVERYWHERE),
            (u, v, self.dilation * width, *bounds[0]),
            (v, 1, self.dilation, *bounds[1]),
        )
        run_convolve(K, x, z, self.samples, start, row, places, taps, adds)

    def kernel_gradient(self, x: Any, K: Any, z: Any, adds: bool) -> None:
        (height, width), (p, q), (u, v) = self.size, self.places, self.window
        start, row = (0, -self.pad * (width + 1), 0), (self.results, p * q, self.channels * u * v)
        bounds = [EVERYWHERE, EVERYWHERE]
        if self.pad:
            bounds = [
                (1, self.dilation, self.stride, -self.pad, height),
                (2, self.dilation, self.stride, -self.pad, width),
            ]
        columns = (
            ALONE,
            (self.channels, height * width, u * v, *EVERYWHERE),
            (u, self.dilation * width, v, *bounds[0]),
            (v, self.dilation, 1, *bounds[1]),
        )
        places = ((1, 0, 0), (p, q, self.stride * width), (q, 1, self.stride))
        run_correlate(z, x, K, self.samples, start, row, columns, places, adds)


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
    places = ((1, 0, 0, 0), (1, 0, 0, 0), (i, 1, 0, 1))
    taps = (ALONE, ALONE, (o, c * u, p, *EVERYWHERE), (p, -2, 1, 2, 1, -2, 0, u))
    run_convolve(K, z_bar, found, samples, (0, 0, 0), (c, u, i), places, taps, False)
    np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-13)

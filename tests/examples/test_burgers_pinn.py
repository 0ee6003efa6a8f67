"""The example that solves Burgers' equation: its exact solution, its model and what it reaches."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from examples import burgers_pinn as example


def test_the_exact_solution_obeys_the_equation() -> None:
    x, t = (g.ravel() for g in np.meshgrid(np.linspace(-0.9, 0.9, 13), np.linspace(0.1, 0.9, 7)))
    d = 1e-4
    u = example.exact(x, t)
    left, right = example.exact(x - d, t), example.exact(x + d, t)
    u_t = (example.exact(x, t + d) - example.exact(x, t - d)) / (2 * d)
    residual = u_t + u * (right - left) / (2 * d) - example.VISCOSITY * (left - 2 * u + right) / d**2
    assert np.abs(residual).max() < 1e-4 * np.abs(u_t).max()
    at_start = np.linspace(-1, 1, 13)
    assert example.exact(at_start, np.zeros(13)) == pytest.approx(-np.sin(np.pi * at_start), abs=1e-12)
    assert example.exact(np.array([-1.0, 1.0]), np.array([0.5, 0.5])) == pytest.approx([0.0, 0.0], abs=1e-12)


def test_the_points_of_the_border_lie_on_it() -> None:
    x, t, x_b, t_b, u_b = example.points(seed=3)
    assert x.shape == t.shape == (example.INSIDE,)
    assert ((t_b == 0) | (np.abs(x_b) == 1)).all()
    assert u_b == pytest.approx(np.where(t_b == 0, -np.sin(np.pi * x_b), 0.0))


@pytest.mark.slow
def test_the_network_nears_the_solution(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    error = example.main(str(tmp_path), units=10, steps=1500)
    printed = capsys.readouterr().out
    errors = [float(e) for e in re.findall(r"^ +\d+  \S+  (\S+) +\d+\.\d$", printed, re.M)]
    assert len(errors) == 11
    assert errors[-1] == pytest.approx(error, rel=0.01)
    assert errors[0] > 0.9
    assert error < 0.2
    assert printed.count("from x = -1 to 1") == 3

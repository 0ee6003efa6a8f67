"""Options and settings that hold for every test."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import hypothesis
import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden",
        action="store_true",
        default=False,
        help="rewrite the golden files with what symbp writes now, instead of comparing",
    )


def pytest_configure(config: pytest.Config) -> None:
    # Numba reads this once, at its import, so it is set before any test module is collected. Kept between runs: machine
    # code that did not change is not compiled again.
    os.environ.setdefault("NUMBA_CACHE_DIR", str(config.rootpath / ".pytest_cache" / "numba"))
    Path(os.environ["NUMBA_CACHE_DIR"]).mkdir(parents=True, exist_ok=True)
    # A shell starts what it runs in the background deaf to Ctrl-C, and the tests of Ctrl-C would then wait for ever.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def update_golden(pytestconfig: pytest.Config) -> bool:
    """Whether golden files are to be rewritten rather than compared (``pytest --update-golden``)."""
    return bool(pytestconfig.getoption("--update-golden"))


# How long an example takes to make or to run says something of the machine, and nothing of what is tested.
hypothesis.settings.register_profile("patient", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("patient")

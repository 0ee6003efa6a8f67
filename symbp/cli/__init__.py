"""The command ``symbp``: compile, derive, check, train, demo."""

from symbp.cli.app import main

__all__ = ["main"]

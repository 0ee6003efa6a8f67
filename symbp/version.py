"""The version, said once: the packaging reads it here, generated modules and the command line quote it."""

from __future__ import annotations

__version__ = "0.1.0"

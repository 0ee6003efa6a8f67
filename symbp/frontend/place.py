"""Where the user's own code is, for messages."""

from __future__ import annotations

import sys
from pathlib import Path

PACKAGE = str(Path(__file__).resolve().parents[1])


def caller() -> str:
    """File and line of the user's statement: the first frame outside this package."""
    frame = sys._getframe(1)
    while frame.f_back is not None and _is_ours(frame.f_code.co_filename):
        frame = frame.f_back
    return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"


def _is_ours(filename: str) -> bool:
    return filename.startswith(PACKAGE) or filename.endswith("contextlib.py")

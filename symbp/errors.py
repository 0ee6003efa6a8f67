"""The exceptions that symbp and the modules it writes raise on purpose.

Every message names the subject, what was expected, what was found and, where there is one, the place (a spec line, a
layer, an equation) and a remedy:

    spec.toml:14: tensor 'x' has 1 axis (b) but is read with 2: x[b, j]; drop one index
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class SymbpError(Exception):
    """Something the user can mend. The text is one line and stands without a traceback."""

    def __init__(self, message: str, *, place: str | None = None, remedy: str | None = None) -> None:
        self.message = message
        self.place = place
        self.remedy = remedy
        text = f"{place}: {message}" if place else message
        super().__init__(f"{text}; {remedy}" if remedy else text)

    def at(self, place: str) -> SymbpError:
        """The same error with a place, for callers that know it (a file and line, a layer)."""
        return self if self.place else type(self)(self.message, place=place, remedy=self.remedy)


class SpecError(SymbpError):
    """The model or its spec file is not well formed."""


class ShapeError(SpecError):
    """Axes, extents or subscripts do not fit together."""


class DerivativeError(SpecError):
    """A derivative was asked for that does not exist (``floor``, ``argmax``) or cannot be ordered in time."""


class DataError(SymbpError):
    """Arrays handed to a generated module do not fit what the model declares."""


class FileError(SymbpError):
    """A file or folder cannot be read, trusted or written."""


class TrainingError(SymbpError):
    """Training went wrong at run time: a loss that is not finite, an impossible setting."""


class TargetError(SymbpError):
    """The requested target, device or tool is not there."""


class DeviceError(TargetError):
    """The GPU is not there, not usable or out of memory, or an array does not lie on it."""


class SymbpWarning(UserWarning):
    """Something that is allowed and computed as written, but is hardly what the user meant."""


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """A remedy that offers the closest of the known names, or the whole list where it is short."""
    names = sorted(known)
    swapped = [other for other in names if sorted(other.lower()) == sorted(name.lower())]  # tahn is tanh, not tan
    close = swapped or get_close_matches(name, names, n=1) or get_close_matches(name.lower(), names, n=1)
    if close:
        return f"did you mean '{close[0]}'?"
    return f"known: {', '.join(names)}" if 0 < len(names) <= 12 else None

"""The oracle: programs run in NumPy as they are written, gradients compared with it, errors counted in ULP."""

from symbp.check.interpreter import InterpretationError, Interpreter, interpret

__all__ = ["InterpretationError", "Interpreter", "interpret"]

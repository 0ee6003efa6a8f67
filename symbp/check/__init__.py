"""The oracle: programs run in NumPy as they are written, gradients compared with it, errors counted in ULP."""

from symbp.check.feeds import random_feed, random_sizes
from symbp.check.gradients import Comparison, GradientReport, GradientRow, check_gradients
from symbp.check.interpreter import InterpretationError, Interpreter, interpret
from symbp.check.ulp import exact_values, ulp_error

__all__ = [
    "Comparison",
    "GradientReport",
    "GradientRow",
    "InterpretationError",
    "Interpreter",
    "check_gradients",
    "exact_values",
    "interpret",
    "random_feed",
    "random_sizes",
    "ulp_error",
]

"""Code generation: one Target record per target, printers, templates."""

from symbp.codegen.emit import emit
from symbp.codegen.target import CPU, TARGETS, Target, find_target

__all__ = ["CPU", "TARGETS", "Target", "emit", "find_target"]

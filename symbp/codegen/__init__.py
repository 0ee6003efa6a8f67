"""Code generation: one Target record per target, printers, templates."""

from symbp.codegen.emit import Spec, emit, emit_for
from symbp.codegen.target import CPU, CUDA, TARGETS, Target, find_target, find_targets

__all__ = ["CPU", "CUDA", "TARGETS", "Spec", "Target", "emit", "emit_for", "find_target", "find_targets"]

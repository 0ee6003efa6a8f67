"""The intermediate representation: one statement form, its parts, the verifier and the pretty-printer."""

from symbp.ir.affine import ONE, ZERO, Affine, FloorDiv, Index, Mod, Read, Size, floor_div, mod
from symbp.ir.body import Body, Operand, slot
from symbp.ir.derivation import Derivation
from symbp.ir.program import DerivativeRequest, DType, Initializer, Program, Role, Tensor
from symbp.ir.statement import (
    Divisible,
    Domain,
    Guard,
    Holds,
    NonNegative,
    Origin,
    Range,
    Reduction,
    Statement,
    Zero,
    fresh_index,
)
from symbp.ir.text import body_text, guard_text, program_text, statement_text
from symbp.ir.verify import InvalidProgram, verify

__all__ = [
    "ONE",
    "ZERO",
    "Affine",
    "Body",
    "DType",
    "Derivation",
    "DerivativeRequest",
    "Divisible",
    "Domain",
    "FloorDiv",
    "Guard",
    "Holds",
    "Index",
    "Initializer",
    "InvalidProgram",
    "Mod",
    "NonNegative",
    "Operand",
    "Origin",
    "Program",
    "Range",
    "Read",
    "Reduction",
    "Role",
    "Size",
    "Statement",
    "Tensor",
    "Zero",
    "body_text",
    "floor_div",
    "fresh_index",
    "guard_text",
    "mod",
    "program_text",
    "slot",
    "statement_text",
    "verify",
]

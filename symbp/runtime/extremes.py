"""The larger and the smaller of two numbers, as IEEE 754-2019 has them: NaN if either is.

One operation each of LLVM's. A comparison that passes NaN on is not recognised as the largest of a row, which then is
searched one element after the other: a softmax over 64 spent half its time there. Of two zeros either is the larger:
to tell them apart takes as long again as the rest, on a processor that has no such operation.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic


def _of_two(operation: str) -> Any:
    @intrinsic
    def choose(typing_context: Any, a: Any, b: Any) -> Any:
        both = typing_context.unify_types(a, b)
        if not isinstance(both, types.Float):
            return None

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            number = arguments[0].type
            function = ir.FunctionType(number, [number, number])
            called = builder.module.declare_intrinsic(operation, [number], function)
            return builder.call(called, arguments, fastmath=("nsz",))

        return both(both, both), generate

    return choose


larger = _of_two("llvm.maximum")
smaller = _of_two("llvm.minimum")

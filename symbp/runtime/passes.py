"""Which of LLVM's passes our code goes through: a loop of unknown length is written once, not eight times.

LLVM unrolls such a loop after it has vectorised it, as far as its tables say that the processor can hold: for AMD's Zen
3 to 5 up to 512 operations. A step has a hundred loops, most of some dozens of turns. Their code becomes several times
as long, which takes as many times as long to compile, and runs no faster: steps took up to a seventh longer. So loops
are unrolled only in Numba's first round of passes, function by function, and there only what is small and has a known
number of turns, as the window of a pooling has, or the digits of a row of three.
"""

# mypy: disable-error-code="attr-defined, no-untyped-call"

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import llvmlite.binding as llvm
from numba.core import config

#: For functions as people write them: with the small loops unrolled that hide from the vectoriser what is around them.
#: One level higher LLVM also unrolls small loops around others, whose code is vectorised once for each copy.
SIMPLIFIED = (1, 3)
#: For functions that are written as the processor is to run them.
AS_WRITTEN = (0, 1)


@contextmanager
def fewer_passes(codegen: Any, levels: tuple[int, int]) -> Iterator[None]:
    """What is compiled meanwhile goes through two rounds of passes at these levels; the second unrolls nothing.

    For Numba's `codegen`, of which a process has one, so under Numba's lock.
    """
    first, last = levels

    def builder(**asked: Any) -> Any:
        speed: Any = asked.get("opt", config.OPT)
        options = llvm.create_pipeline_tuning_options(speed_level=min(int(speed), last))
        options.loop_vectorization = asked.get("loop_vectorize", config.LOOP_VECTORIZE)
        options.slp_vectorization = asked.get("slp_vectorize", config.SLP_VECTORIZE)
        options.loop_unrolling = asked.get("unroll", False)
        return llvm.create_pass_builder(codegen._tm, options)

    def first_round(**asked: Any) -> Any:
        return type(codegen)._function_pass_manager(codegen, opt=min(first, int(config.OPT)), unroll=True, **asked)

    before = {name: vars(codegen).get(name) for name in ("_pass_builder", "_function_pass_manager")}
    codegen._pass_builder, codegen._function_pass_manager = builder, first_round
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                delattr(codegen, name)
            else:
                setattr(codegen, name, value)

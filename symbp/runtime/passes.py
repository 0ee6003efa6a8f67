"""Which passes our code goes through, of LLVM's and of Numba's: those that have something to do.

LLVM unrolls a loop of unknown length after it has vectorised it, as far as its tables say that the processor can hold:
for AMD's Zen 3 to 5 up to 512 operations. A step has a hundred loops, most of some dozens of turns. Their code becomes
several times as long, which takes as many times as long to compile, and runs no faster: steps took up to a seventh
longer. So loops are unrolled only in the first round of LLVM's passes, function by function, and there only what is
small and has a known number of turns, as the window of a pooling has, or the digits of a row of three.
"""

# mypy: disable-error-code="attr-defined, no-untyped-call"

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import llvmlite.binding as llvm
from numba.core import config
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import PassManager
from numba.core.typed_passes import NopythonTypeInference, PreLowerStripPhis
from numba.core.untyped_passes import (
    FixupArgs,
    GenericRewrites,
    InlineInlinables,
    IRProcessing,
    ReconstructSSA,
    TranslateByteCode,
)

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


class KernelPipeline(CompilerBase):
    """Numba's passes without those that look for what no kernel has: closures, comprehensions, branches on None.

    Each of them costs: after it Numba finds out anew where every variable is still needed.
    """

    def define_pipelines(self) -> list[Any]:
        """The passes, in Numba's order."""
        passes = PassManager("kernel")
        passes.add_pass(TranslateByteCode, "bytecode becomes Numba's representation")
        passes.add_pass(FixupArgs, "arguments")
        passes.add_pass(IRProcessing, "checks")
        passes.add_pass(GenericRewrites, "constant indices of tuples")
        passes.add_pass(InlineInlinables, "calls of products")
        passes.add_pass(ReconstructSSA, "single assignment")
        passes.add_pass(NopythonTypeInference, "types")
        passes.add_pass(PreLowerStripPhis, "out of single assignment")
        passes.passes.extend(DefaultPassBuilder.define_nopython_lowering_pipeline(self.state).passes)
        passes.finalize()
        return [passes]

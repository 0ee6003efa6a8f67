"""Kernels of tests compiled as far as this machine can: to PTX with numba-cuda, and from there by ptxas."""

from __future__ import annotations

import re

import pytest

from symbp.check.resources import assemble, find_tool
from symbp.errors import TargetError
from symbp.runtime.cuda.compile import to_ptx
from symbp.runtime.cuda.kernel import NUMBA_CUDA, Kernel

numba_cuda = pytest.mark.skipif(not NUMBA_CUDA, reason="numba-cuda is not installed: pip install 'symbp[cuda]'")


def has_ptxas() -> bool:
    try:
        find_tool("ptxas")
    except TargetError:
        return False
    return True


def compiled(kernel: Kernel) -> str:
    """PTX for compute capability 9.0, once both 8.0 and 9.0 are seen to compile, without a byte of local memory."""
    for cc in ((8, 0), (9, 0)):
        architecture = f"sm_{cc[0]}{cc[1]}"
        ptx = to_ptx(kernel, cc)
        assert f".target {architecture}\n" in ptx
        assert re.findall(r"\.visible \.entry (\w+)\(", ptx) == [kernel.name]
        if has_ptxas():
            found = assemble(kernel.name, ptx, architecture)
            assert not found.spills, found
    return ptx


def instructions(ptx: str) -> list[str]:
    """The names of a kernel's instructions in order, ``ld.global.f32`` and the like, without the final ``ret``."""
    return re.findall(r"^\s+(?:@!?%\w+\s+)?([a-z]\w*(?:\.[\w:]+)*)\s+[^;]*;", ptx[ptx.index("{") :], flags=re.M)

"""Kernels that are compiled once and called, instead of being copied into every kernel that calls them.

Numba links the code of a callee into each caller and optimises it there again: a module whose pieces go into a step for
one thread, a step for several, an epoch and a gradient would be compiled as many times over. A *piece* is an external
symbol for kernels of ours: the engine that runs them finds it. Compiled code of others, say a user's own function that
calls a kernel, has all of it linked in as ever, so that it can be cached and loaded by itself.

The cached code of a caller names its pieces; they are loaded before it, and where one of them has been compiled anew in
the meantime, under another symbol, so is the caller.
"""

# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import llvmlite.binding as llvm
from numba.core.caching import CompileResultCacheImpl
from numba.core.compiler_lock import global_compiler_lock

from symbp.runtime.passes import SIMPLIFIED, fewer_passes

#: Which function a dispatcher compiles: its file and its name there.
Key = tuple[str, str]
_pieces: dict[Key, Any] = {}


class _Compiling:
    """How many of our own kernels are being compiled just now, one within the other; under Numba's lock."""

    depth = 0


def key_of(function: Callable[..., Any]) -> Key:
    """The file and the name of a function: the same however its package is called."""
    return function.__code__.co_filename, function.__qualname__


def count_as_ours(dispatcher: Any, apart: bool = False, unroll: bool = False) -> None:
    """What this dispatcher compiles calls pieces instead of holding them; with `apart` it is one itself.

    With `unroll` it goes through all of LLVM's passes, which unroll loops of unknown length.
    """
    compile_it = dispatcher.compile
    key = key_of(dispatcher.py_func)
    if apart:
        _pieces[key] = dispatcher

    def compile_as_ours(signature):
        with global_compiler_lock:
            _Compiling.depth += 1
            try:
                with nullcontext() if unroll else fewer_passes(dispatcher.targetctx.codegen(), SIMPLIFIED):
                    entry = compile_it(signature)
            finally:
                _Compiling.depth -= 1
            for arguments, compiled in dispatcher.overloads.items():
                library = compiled.library
                if not hasattr(library, "whole"):
                    _link_as_ours(library, apart)
                    if apart:
                        library.piece = (key, tuple(arguments), compiled.fndesc.llvm_func_name)
            return entry

    dispatcher.compile = compile_as_ours


def _link_as_ours(library: Any, apart: bool) -> None:
    """Into code of others goes a whole library; into kernels of ours what is no piece, or nothing of a piece."""
    linked = library._get_module_for_linking
    library.whole = lambda: _with_its_pieces(library, linked())

    def module_for_linking():
        if not _Compiling.depth:
            return library.whole()
        return llvm.parse_assembly("") if apart else linked()

    library._get_module_for_linking = module_for_linking


def _with_its_pieces(library: Any, module: Any) -> Any:
    """A module with everything in it that it calls, for linking into code of others."""
    inside = list(_called(library))
    if not inside:
        return module
    whole = module.clone()
    for other in inside:
        whole.link_in(other.whole(), preserve=True)
    return whole


def _called(library: Any) -> Iterator[Any]:
    """The libraries of the pieces that a library calls, each once."""
    seen: list[Any] = []
    pending = [*library._linking_libraries, *getattr(library, "loaded_pieces", ())]
    while pending:
        other = pending.pop(0)
        if other in seen:
            continue
        seen.append(other)
        if hasattr(other, "piece"):
            yield other
        else:
            pending += other._linking_libraries


class WithPieces(CompileResultCacheImpl):
    """What is cached of a compiled kernel: its code, and the names of the pieces that it calls."""

    def reduce(self, cres: Any) -> Any:
        """Called by Numba to save."""
        return [other.piece for other in _called(cres.library)], super().reduce(cres)

    def rebuild(self, target_context: Any, payload: Any) -> Any:
        """Called by Numba to load; None if the code cannot be used, as if it were not there."""
        names, rest = payload
        libraries = []
        for key, arguments, symbol in names:
            dispatcher = _pieces.get(key)
            if dispatcher is None:
                return None
            dispatcher.compile(arguments)
            compiled = dispatcher.overloads[arguments]
            if compiled.fndesc.llvm_func_name != symbol:
                return None
            libraries.append(compiled.library)
        loaded = super().rebuild(target_context, rest)
        loaded.library.loaded_pieces = libraries
        return loaded

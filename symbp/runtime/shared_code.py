"""Functions whose machine code is made once for a machine and shared by all that is compiled.

Numba puts the code of a callee into every caller and optimises it there again: for a matrix product that is seconds for
each kernel. A function decorated with :func:`shared` is compiled by itself, for float32 or for float64 when the first
caller needs it. Callers hold no more than a call through a pointer, a *slot*, which they find by a name that contains a
hash of the sources, of the versions and of the processor. The slot is there as soon as this module is imported, and
holds a function that finds or makes the code at the first call, so a caller whose own code comes from a cache can be
loaded before there is any.

The code is kept in ``NUMBA_CACHE_DIR`` if that is set, else in the user's cache folder (``XDG_CACHE_HOME`` or
``~/.cache``, below ``symbp``), else beside the sources. Packages with equal sources share it.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

import _thread
import ctypes
import hashlib
import os
import re
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import llvmlite.binding as llvm
import numba
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.caching import IndexDataCacheFile
from numba.core.ccallback import CFunc
from numba.core.compiler_lock import global_compiler_lock
from numba.extending import intrinsic

from symbp.runtime.jit import is_unreadable, warn_uncached
from symbp.runtime.passes import AS_WRITTEN, KernelPipeline, fewer_passes
from symbp.runtime.simd import INDEX, VECTORS, WIDTH, scalar_of

_FOLDER = Path(__file__).parent
# No fastmath: in these functions the order of operations is a promise.
_OPTIONS = {"error_model": "numpy", "nopython": True}
# Slots and the functions that they first point to are called from machine code, so they last as long as the process.
_forever: list[Any] = []


@cache
def _source_hash(path: Path) -> str:
    """A hash of a source file and of all that it imports from this folder: they decide about its machine code."""
    texts: dict[str, bytes] = {}
    pending = [path]
    while pending:
        source = pending.pop()
        if source.name not in texts and source.is_file():
            texts[source.name] = source.read_bytes()
            names = re.findall(rb"^from [\w.]*\.(\w+) import", texts[source.name], re.MULTILINE)
            pending += [path.with_name(f"{name.decode()}.py") for name in names]
    digest = hashlib.sha256(repr((VECTORS, WIDTH)).encode())
    for name, text in sorted(texts.items()):
        digest.update(f"{name} {len(text)}\0".encode() + text)
    return digest.hexdigest()[:20]


def shared_parts(function: Callable[..., None]) -> dict[Any, _Part]:
    """The same function for each dtype, for those who write calls of it themselves."""
    return {dtype: _Part(function, dtype) for dtype in (types.float32, types.float64)}


def shared(function: Callable[..., None]) -> Any:
    """Compile ``function(like, *whole_numbers) -> None`` once for each dtype; `like` is a zero of that dtype.

    In compiled code it is called with all its whole numbers as one tuple: ``function(like, (3, 4))``;
    its attribute `parts` is what :func:`shared_parts` gives.
    """
    parts = shared_parts(function)

    def call(typing_context: Any, like: Any, numbers: Any) -> Any:
        if like not in parts:
            return None

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            values = cgutils.unpack_tuple(builder, arguments[1])
            whole = [context.cast(builder, v, t, types.intp) for v, t in zip(values, numbers, strict=True)]
            parts[like].call(builder, [arguments[0], *whole])
            return context.get_dummy_value()

        return types.void(like, numbers), generate

    call.__name__, call.__doc__ = function.__name__, function.__doc__
    result: Any = intrinsic(call)
    result.parts = parts
    return result


class _Part:
    """One function for one dtype, and its slot: where callers find its address."""

    def __init__(self, function: Callable[..., None], dtype: Any) -> None:
        count = function.__code__.co_argcount - 1
        self._function = function
        self._dtype = dtype
        self._signature = types.void(dtype, *[types.intp] * count)
        self._llvm_type = ir.FunctionType(ir.VoidType(), [scalar_of(dtype), *[INDEX] * count])
        self._name = f"symbp_{function.__name__}_{dtype}_{_source_hash(Path(function.__code__.co_filename))}"
        real = ctypes.c_float if dtype.bitwidth == 32 else ctypes.c_double
        self._type = ctypes.CFUNCTYPE(None, real, *[ctypes.c_ssize_t] * count)
        self._compiled: Any = None
        _forever.append(self)
        address = llvm.address_of_symbol(self._name)
        if address is None:
            self._first_call = self._type(self._find_and_call)
            self._slot = ctypes.c_void_p(ctypes.cast(self._first_call, ctypes.c_void_p).value)
            llvm.add_symbol(self._name, ctypes.addressof(self._slot))
        else:  # another package with the same sources was first
            self._slot = ctypes.c_void_p.from_address(address)

    def find(self) -> None:
        """Fill the slot: read the machine code or make it."""
        if self._compiled is None:
            # Numba's own lock: whoever compiles a caller holds it when coming here.
            with global_compiler_lock:
                self._compiled = self._made(_MachineCode(self._name))
                self._slot.value = self._compiled.address

    def assembly(self) -> str:
        """The machine code as text, compiled anew: none is kept with it."""
        return str(self._made()._library.get_asm_str())

    def _made(self, kept: _MachineCode | None = None) -> Any:
        pipeline: Any = KernelPipeline
        signature = (self._signature.args, types.void)
        made: Any = CFunc(self._function, signature, locals={}, options=_OPTIONS, pipeline_class=pipeline)
        if kept is not None:
            made._cache = kept
        with global_compiler_lock, fewer_passes(made._targetdescr.target_context.codegen(), AS_WRITTEN):
            made.compile()
        return made

    def _find_and_call(self, *arguments: Any) -> None:
        """What the slot first holds. Called by machine code, so there is nobody to raise an exception to."""
        interrupted = False
        while self._compiled is None:
            try:
                self.find()
            except KeyboardInterrupt:
                interrupted = True
            except BaseException:
                traceback.print_exc()
                os.abort()
        self._type(self._compiled.address)(*arguments)
        if interrupted:
            _thread.interrupt_main()

    def call(self, builder: Any, arguments: list[Any]) -> None:
        """Write a call through the slot; by then there is something in it."""
        self.find()
        pointer = self._llvm_type.as_pointer()
        slot = builder.module.globals.get(self._name) or ir.GlobalVariable(builder.module, pointer, self._name)
        builder.call(builder.load(slot), arguments)


class _MachineCode:
    """The compiled code of one function on disk: machine code and the name of its entry, and nothing of Python.

    All that Numba keeps of a function beside that names the modules of the package that was first, which a process that
    uses another package with the same sources may not have.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def _files(self, target_context: Any) -> list[tuple[Path, IndexDataCacheFile]]:
        stamp = (numba.__version__, target_context.codegen().magic_tuple())
        machine = hashlib.sha256(repr(stamp).encode()).hexdigest()[:12]
        return [
            (folder, IndexDataCacheFile(str(folder), f"{self._name}-{machine}", stamp)) for folder in _cache_folders()
        ]

    def load_overload(self, signature: Any, target_context: Any) -> Any:
        """What Numba asks for before it compiles."""
        target_context.refresh()
        for _, file in self._files(target_context):
            try:
                data = file.load(self._name)
                if data is not None:
                    code, wrapper = data
                    library = target_context.codegen().unserialize_library(code)
                    return SimpleNamespace(library=library, fndesc=SimpleNamespace(llvm_cfunc_wrapper_name=wrapper))
            except Exception as error:
                if not is_unreadable(error):
                    raise
        return None

    def save_overload(self, signature: Any, compiled: Any) -> None:
        """What Numba tells when it has compiled."""
        reasons = []
        for folder, file in self._files(compiled.target_context):
            try:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                with suppress(OSError):
                    file.flush()  # a damaged index would stop the write
                code = compiled.library.serialize_using_object_code()
                file.save(self._name, (code, compiled.fndesc.llvm_cfunc_wrapper_name))
                return
            except Exception as error:
                if not is_unreadable(error):
                    raise
                reasons.append(str(error) or type(error).__name__)
        warn_uncached(_FOLDER, reasons[0])


def _cache_folders() -> list[Path]:
    """Where machine code may lie, the first choice first."""
    asked = os.environ.get("NUMBA_CACHE_DIR")
    if asked:
        return [Path(asked) / "symbp"]
    folders = [_FOLDER / "__pycache__"]
    with suppress(RuntimeError):  # no home
        folders.insert(0, Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "symbp")
    return folders

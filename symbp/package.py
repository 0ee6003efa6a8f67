"""Packages on disk: written whole or not at all, over nothing but what we wrote ourselves; and imported."""

from __future__ import annotations

import errno
import hashlib
import importlib.util
import os
import shutil
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from types import ModuleType

from symbp.errors import FileError
from symbp.version import __version__

MARK = "symbp-package"  # in every package: what we wrote, so that nothing else is ever overwritten


def write_package(files: dict[str, str], target: Path) -> Path:
    """Write the files beside the target first and move them into place when they are whole.

    Of several writers at once each writes a whole package, and one of these stays. Raises FileError where the target
    holds anything else than a package as we wrote it, leads out of the current folder by ``..``, or cannot be written;
    what was there then stays.
    """
    _check_target(target)
    outside = [name for name in files if Path(name).is_absolute() or ".." in Path(name).parts]
    if outside:
        raise FileError(f"'{outside[0]}' is not a name inside the package '{target}'")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    except FileExistsError:
        raise FileError(f"'{target.parent}' is a file, expected a folder", remedy="choose another folder") from None
    except (OSError, ValueError) as error:
        raise _unwritable(target.parent, error, "choose a folder that you may write to") from None
    try:
        for name, text in files.items():
            path = fresh / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")
        (fresh / MARK).write_text(_mark(files), encoding="utf-8", newline="\n")
        fresh.chmod(0o755)
        _put_in_place(fresh, target)
    except OSError as error:
        shutil.rmtree(fresh, ignore_errors=True)
        raise _unwritable(target, error, "what was there before is untouched") from None
    return target


def _check_target(target: Path) -> None:
    if not target.is_absolute() and os.path.normpath(target).startswith(".."):
        raise FileError(
            f"'{target}' leads out of the current folder, expected a path inside it or an absolute one",
            remedy=f"if you mean it, write {os.path.abspath(target.parent)}",
        )
    if target.is_symlink():
        raise FileError(f"'{target}' is a symbolic link, expected a folder", remedy="name a real folder")
    for _ in range(100):
        before = _identity(target)
        try:
            return _check_contents(target)
        except (FileError, OSError) as error:
            if _identity(target) == before:
                raise _unwritable(target, error, "make it readable") if isinstance(error, OSError) else error from None
            # Another writer has replaced the package while we looked.


def _identity(path: Path) -> tuple[int, int] | None:
    """What tells a folder from another of the same name; None where there is none."""
    with suppress(OSError):
        found = path.stat()
        return found.st_ino, found.st_ctime_ns
    return None


def _check_contents(target: Path) -> None:
    """Refuse a folder that holds anything but a package as we wrote it."""
    elsewhere = "choose another folder, or move it away"
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    if not (target / MARK).is_file():
        raise FileError(f"'{target}' exists and was not written by symbp", remedy=elsewhere)
    written = (target / MARK).read_text(encoding="utf-8", errors="replace").splitlines()
    for path in sorted(target.rglob("*")):
        name = path.relative_to(target).as_posix()
        if path.is_dir() or "__pycache__" in path.parts or name == MARK:
            continue
        if not any(line.endswith(f"  {name}") for line in written):
            raise FileError(f"'{path}' was not written by symbp and would be lost", remedy="move it away")
        if _mark_line(name, path.read_bytes()) not in written:
            raise FileError(f"'{path}' was changed since symbp wrote it, which would be lost", remedy=elsewhere)


def _mark(files: dict[str, str]) -> str:
    """The version, and each file with its SHA-256."""
    lines = [_mark_line(name, text.encode()) for name, text in sorted(files.items())]
    return "\n".join([f"symbp {__version__}", *lines]) + "\n"


def _mark_line(name: str, content: bytes) -> str:
    return f"{hashlib.sha256(content).hexdigest()}  {name}"


def _put_in_place(fresh: Path, target: Path) -> None:
    """Make a new folder the target, in place of an older one; another writer may be doing the same.

    A folder cannot replace one that holds files: the older one is moved aside, and back if the new one does not come.
    """
    for attempt in range(100):
        old = fresh.with_name(f"{fresh.name}-old-{attempt}")
        with suppress(FileNotFoundError):
            target.rename(old)
        try:
            fresh.rename(target)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):  # somebody else was quicker: theirs is the older one now
                shutil.rmtree(old, ignore_errors=True)
                continue
            if old.exists():
                old.rename(target)
            raise
        shutil.rmtree(old, ignore_errors=True)
        return
    raise OSError("others write to it without end")


def _unwritable(path: Path, error: Exception, remedy: str) -> FileError:
    reason = getattr(error, "strerror", None) or error
    return FileError(f"'{path}' cannot be written: {reason}", remedy=remedy)


def load_generated(path: str | os.PathLike[str]) -> ModuleType:
    """Import a generated package from where it lies, under a name of its own."""
    folder = Path(path).resolve()
    source = folder / "__init__.py"
    if not source.is_file():
        raise FileError(f"'{folder}' is not a generated package: it has no __init__.py")
    name = f"{folder.name}_{hashlib.sha256(str(folder).encode() + source.read_bytes()).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, source, submodule_search_locations=[str(folder)])
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module

"""Weights on disk: safetensors files that are written whole or not at all, and checked before they are believed.

The format (8 bytes of header length, a JSON header, the numbers in little-endian order) needs no package to read or
write, holds no code, and is what other tools read. The header carries the hash of the model's spec and a SHA-256 over
the rest of the header and the numbers.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from symbp.errors import FileError

Array = npt.NDArray[Any]
Shapes = Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]]

SUFFIX = ".safetensors"
VERSION = 1
# Far above any real header; a damaged length must not make us read, or parse, gigabytes.
_LONGEST_HEADER = 1 << 24
_TYPES: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "F64": np.dtype("<f8"), "I64": np.dtype("<i8")}
_TYPE_NAMES = {dtype: name for name, dtype in _TYPES.items()}


def save_checkpoint(path: str | os.PathLike[str], arrays: Mapping[str, Array], *, spec_hash: str) -> None:
    """Write the arrays under their names. What was at ``path`` stays as it was until the new file is whole.

    Raises FileError where the name does not end in ``.safetensors``, the folder does not exist, the target is a folder
    or a symbolic link, or the disk is full.
    """
    target = Path(path)
    _check_target(target)
    content = _encode(arrays, spec_hash)
    beside = target.with_name(f".{target.name}.{secrets.token_hex(6)}.tmp")
    try:
        with open(beside, "xb") as file:
            file.write(content)
            file.flush()
            # Or a power cut after the rename could leave an empty file under the final name.
            os.fsync(file.fileno())
        os.replace(beside, target)
    except (OSError, ValueError) as error:  # ValueError: a path with a null byte
        kept = "; the file that was there is as it was" if os.path.exists(target) else ""
        reason = getattr(error, "strerror", None) or error
        raise FileError(f"{target}: cannot be written: {reason}{kept}") from None
    finally:
        with suppress(OSError, ValueError):
            beside.unlink()


def load_checkpoint(
    path: str | os.PathLike[str], expected: Shapes, *, spec_hash: str, optional: Shapes | None = None
) -> dict[str, Array]:
    """The arrays of a file that :func:`save_checkpoint` wrote for the same model, fresh and in native byte order.

    ``optional`` names what a file holds all of or nothing of (the state of the optimizer).

    Raises FileError where the file is missing, not a checkpoint, truncated, damaged, of a newer version, or of another
    model.
    """
    source = Path(path)
    header, data = _read(source)
    described = _described(source, header)
    _check_model(source, header["__metadata__"], spec_hash)
    wanted = dict(expected)
    if optional and any(name in described for name in optional):
        wanted.update(optional)
    arrays: dict[str, Array] = {}
    for name, (shape, dtype) in wanted.items():
        if name not in described:
            raise FileError(f"{source}: expected an array '{name}', found {', '.join(described) or 'none'}")
        found_type, found_shape, start, stop = described[name]
        if found_shape != shape or found_type.newbyteorder("=") != dtype:
            raise FileError(
                f"{source}: array '{name}': expected shape {shape} of {dtype.name}, "
                f"found {found_shape} of {found_type.name}"
            )
        arrays[name] = np.frombuffer(data[start:stop], found_type).astype(dtype).reshape(shape)
    unknown = [name for name in described if name not in wanted]
    if unknown:
        raise FileError(f"{source}: holds arrays that the model does not have: {', '.join(unknown)}")
    return arrays


def _check_target(target: Path) -> None:
    if target.suffix != SUFFIX:
        raise FileError(f"{target}: expected a name that ends in {SUFFIX}", remedy=f"try {target.stem}{SUFFIX}")
    if target.is_symlink():
        raise FileError(f"{target}: is a symbolic link", remedy="name the file that it points to")
    if target.is_dir():
        raise FileError(f"{target}: is a folder", remedy="name a file in it")
    if not target.parent.is_dir():
        raise FileError(f"{target}: the folder {target.parent} does not exist", remedy="make it first")


def _encode(arrays: Mapping[str, Array], spec_hash: str) -> bytes:
    header: dict[str, Any] = {
        "__metadata__": {"format": "symbp", "version": str(VERSION), "spec_hash": spec_hash, "sha256": ""}
    }
    parts: list[bytes] = []
    start = 0
    for name, array in arrays.items():
        little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        if little.dtype not in _TYPE_NAMES:
            raise FileError(f"array '{name}': expected float32, float64 or int64, found {array.dtype.name}")
        part = little.tobytes()
        header[name] = {
            "dtype": _TYPE_NAMES[little.dtype],
            "shape": list(array.shape),
            "data_offsets": [start, start + len(part)],
        }
        parts.append(part)
        start += len(part)
    data = b"".join(parts)
    header["__metadata__"]["sha256"] = _digest(header, data)
    head = _header_bytes(header)
    return len(head).to_bytes(8, "little") + head + data


def _header_bytes(header: Mapping[str, Any]) -> bytes:
    """The header as text, filled up with spaces so that the numbers start at a multiple of 8."""
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=True).encode()
    return text + b" " * (-len(text) % 8)


def _digest(header: Mapping[str, Any], data: bytes) -> str:
    """SHA-256 over the header, its own place left empty, and the numbers."""
    blank = {**header, "__metadata__": {**header["__metadata__"], "sha256": ""}}
    return hashlib.sha256(_header_bytes(blank) + data).hexdigest()


def _read(source: Path) -> tuple[dict[str, Any], bytes]:
    """The header and the numbers of a file, once its digest has been found right."""
    try:
        content = source.read_bytes()
    except FileNotFoundError:
        raise FileError(f"{source}: no such file") from None
    except IsADirectoryError:
        raise FileError(f"{source}: is a folder, expected a {SUFFIX} file") from None
    except (OSError, ValueError) as error:  # ValueError: a path with a null byte
        raise FileError(f"{source}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if content[:1] == b"\x80" or content[:2] == b"PK":
        raise FileError(
            f"{source}: is a pickle or a zip archive, which may run code when loaded; expected a {SUFFIX} file",
            remedy="open it where you trust it and save the arrays as safetensors",
        )
    length = int.from_bytes(content[:8], "little")
    head, data = content[8 : 8 + length], content[8 + length :]
    if length > _LONGEST_HEADER or not head.startswith(b'{"'):
        raise FileError(f"{source}: is not a safetensors file, or its first bytes are damaged")
    if len(head) < length:
        raise FileError(f"{source}: is truncated: expected {8 + length} bytes and more, found {len(content)}")
    try:
        header = json.loads(head)
    except (ValueError, RecursionError):
        raise FileError(f"{source}: is damaged: its header is not readable") from None
    metadata = header.get("__metadata__")
    if not isinstance(metadata, dict) or metadata.get("format") != "symbp":
        raise FileError(
            f"{source}: was not written by a symbp module: it names no model",
            remedy="read it with the safetensors package and copy: params.NAME = array",
        )
    version = metadata.get("version")
    if isinstance(version, str) and version.isascii() and version.isdigit() and int(version[:9]) > VERSION:
        raise FileError(
            f"{source}: has format version {version[:9]}, this module reads up to {VERSION}",
            remedy="compile the module again with a newer symbp",
        )
    stated = _stated_size(header)
    if stated is not None and len(data) < stated:
        raise FileError(f"{source}: is truncated: expected {8 + length + stated} bytes, found {len(content)}")
    if _header_bytes(header) != head or metadata.get("sha256") != _digest(header, data):
        raise FileError(f"{source}: is damaged: its checksum does not match", remedy="take another copy of the file")
    return header, data


def _stated_size(header: Mapping[str, Any]) -> int | None:
    """How many bytes of numbers the header promises, where it can be made out."""
    try:
        return max(int(entry["data_offsets"][1]) for name, entry in header.items() if name != "__metadata__")
    except (TypeError, KeyError, IndexError, ValueError):
        return None


def _described(source: Path, header: Mapping[str, Any]) -> dict[str, tuple[np.dtype[Any], tuple[int, ...], int, int]]:
    """dtype, shape and place of each array; the checksum was right, so what does not fit was written so."""
    described = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        try:
            dtype, shape = _TYPES[entry["dtype"]], tuple(int(extent) for extent in entry["shape"])
            start, stop = (int(offset) for offset in entry["data_offsets"])
        except (TypeError, KeyError, ValueError):
            raise FileError(f"{source}: array '{name}' is described in a way that this module cannot read") from None
        if stop - start != dtype.itemsize * int(np.prod(shape, dtype=np.int64)):
            raise FileError(f"{source}: array '{name}': its size and its shape {shape} disagree")
        described[name] = (dtype, shape, start, stop)
    return described


def _check_model(source: Path, metadata: Mapping[str, Any], spec_hash: str) -> None:
    found = str(metadata.get("spec_hash", ""))
    if found != spec_hash:
        raise FileError(
            f"{source}: holds the weights of another model: expected spec {spec_hash[:12]}, found {found[:12]}",
            remedy="load it with the module that wrote it, or copy the arrays that fit one by one",
        )

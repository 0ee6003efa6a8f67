"""Weights on disk: what comes back, what is refused, and that nothing is lost."""

from __future__ import annotations

import json
import os
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from symbp.errors import FileError
from symbp.runtime import checkpoint
from symbp.runtime.checkpoint import load_checkpoint, save_checkpoint

SPEC = "5f" * 32
ARRAYS = {
    "W1": np.random.default_rng(0).standard_normal((7, 13)).astype(np.float32),
    "gain": np.array(1.5, np.float32),
    "empty": np.zeros((0, 3), np.float64),
    "t": np.array([12], np.int64),
}
SHAPES = {name: (array.shape, array.dtype) for name, array in ARRAYS.items()}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "w.safetensors"
    save_checkpoint(path, ARRAYS, spec_hash=SPEC)
    return path


def refused(path: Path, text: str, spec_hash: str = SPEC, shapes: Any = None) -> None:
    with pytest.raises(FileError, match=re.escape(text)) as caught:
        load_checkpoint(path, SHAPES if shapes is None else shapes, spec_hash=spec_hash)
    assert str(path) in str(caught.value)


def test_round_trip(saved: Path) -> None:
    arrays = load_checkpoint(str(saved), SHAPES, spec_hash=SPEC)
    assert list(arrays) == list(ARRAYS)
    for name, array in arrays.items():
        assert np.array_equal(array, ARRAYS[name])
        assert array.dtype == ARRAYS[name].dtype
        assert array.flags.writeable
    assert os.listdir(saved.parent) == ["w.safetensors"]


def test_other_tools_read_the_file(saved: Path) -> None:
    arrays = safetensors.numpy.load_file(saved)
    for name, array in ARRAYS.items():
        assert np.array_equal(arrays[name], array)


def test_the_same_weights_give_the_same_bytes(saved: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.safetensors"
    save_checkpoint(again, {name: np.array(array, order="F") for name, array in ARRAYS.items()}, spec_hash=SPEC)
    assert again.read_bytes() == saved.read_bytes()


def test_optional_arrays_are_all_or_none(saved: Path) -> None:
    params = {name: SHAPES[name] for name in ("W1", "gain", "empty")}
    state = {"t": SHAPES["t"]}
    assert "t" in load_checkpoint(saved, params, spec_hash=SPEC, optional=state)
    save_checkpoint(saved, {name: ARRAYS[name] for name in params}, spec_hash=SPEC)
    assert list(load_checkpoint(saved, params, spec_hash=SPEC, optional=state)) == list(params)
    save_checkpoint(saved, ARRAYS, spec_hash=SPEC)
    with pytest.raises(FileError, match="expected an array 'm', found W1, gain, empty, t"):
        load_checkpoint(saved, params, spec_hash=SPEC, optional={**state, "m": SHAPES["W1"]})


def test_every_flipped_bit_is_found(saved: Path) -> None:
    content = saved.read_bytes()
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 1 << (position % 8)
        saved.write_bytes(damaged)
        with pytest.raises(FileError):
            load_checkpoint(saved, SHAPES, spec_hash=SPEC)


def test_a_flipped_bit_in_the_weights_is_named(saved: Path) -> None:
    content = bytearray(saved.read_bytes())
    content[-20] ^= 4
    saved.write_bytes(content)
    refused(saved, "is damaged: its checksum does not match; take another copy of the file")


@pytest.mark.parametrize(
    ("keep", "text"),
    [
        (0, "is not a safetensors file, or its first bytes are damaged"),
        (5, "is not a safetensors file, or its first bytes are damaged"),
        (60, "is truncated: expected"),
        (-1, "is truncated: expected"),
        (-300, "is truncated: expected"),
    ],
)
def test_truncated(saved: Path, keep: int, text: str) -> None:
    saved.write_bytes(saved.read_bytes()[:keep])
    refused(saved, text)


def test_bytes_behind_the_end(saved: Path) -> None:
    saved.write_bytes(saved.read_bytes() + b"\0")
    refused(saved, "checksum does not match")


def test_another_model(saved: Path) -> None:
    refused(
        saved,
        "holds the weights of another model: expected spec abababababab, found 5f5f5f5f5f5f; load it with the module",
        spec_hash="ab" * 32,
    )


def test_arrays_that_do_not_fit(saved: Path) -> None:
    refused(
        saved,
        "array 'W1': expected shape (13, 7) of float32, found (7, 13) of float32",
        shapes={**SHAPES, "W1": ((13, 7), np.dtype(np.float32))},
    )
    refused(saved, "expected an array 'V', found W1, gain, empty, t", shapes={**SHAPES, "V": SHAPES["t"]})
    refused(
        saved, "holds arrays that the model does not have: gain", shapes={k: SHAPES[k] for k in SHAPES if k != "gain"}
    )


def test_a_newer_version(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "VERSION", 3)
    save_checkpoint(saved, ARRAYS, spec_hash=SPEC)
    monkeypatch.undo()
    refused(saved, "has format version 3, this module reads up to 1; compile the module again with a newer symbp")


def test_a_pickle_is_not_opened(saved: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(saved.parent / "trapped"),)

    for protocol in (2, 5):
        saved.write_bytes(pickle.dumps(Trap(), protocol))
        refused(saved, "is a pickle or a zip archive, which may run code when loaded")
    saved.write_bytes(pickle.dumps(Trap(), 0))
    refused(saved, "is not a safetensors file")
    assert not (saved.parent / "trapped").exists()


def test_foreign_safetensors(saved: Path) -> None:
    safetensors.numpy.save_file({"W1": ARRAYS["W1"]}, saved)
    refused(saved, "was not written by a symbp module: it names no model")


@pytest.mark.parametrize(
    "head", ['{"a":' * 5000, '{"__metadata__":1}', '{"__metadata__":{"format":"symbp"},"a":[]}', '{"']
)
def test_strange_headers(saved: Path, head: str) -> None:
    saved.write_bytes(len(head).to_bytes(8, "little") + head.encode())
    with pytest.raises(FileError):
        load_checkpoint(saved, SHAPES, spec_hash=SPEC)


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F16", "shape": [1], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": "x", "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [2], "data_offsets": [8]},
        7,
    ],
)
def test_headers_with_a_right_checksum_and_wrong_entries(saved: Path, entry: Any) -> None:
    header = {"__metadata__": {"format": "symbp", "version": "1", "spec_hash": SPEC, "sha256": ""}, "W1": entry}
    data = bytes(8)
    header["__metadata__"]["sha256"] = checkpoint._digest(header, data)
    head = checkpoint._header_bytes(header)
    assert json.loads(head) == header
    saved.write_bytes(len(head).to_bytes(8, "little") + head + data)
    with pytest.raises(FileError):
        load_checkpoint(saved, {"W1": SHAPES["W1"]}, spec_hash=SPEC)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    refused(tmp_path / "none.safetensors", "no such file")
    refused(tmp_path, "is a folder, expected a .safetensors file")


def test_targets_that_are_refused(saved: Path, tmp_path: Path) -> None:
    def save(path: Path, text: str) -> None:
        with pytest.raises(FileError, match=re.escape(text)):
            save_checkpoint(path, ARRAYS, spec_hash=SPEC)

    before = saved.read_bytes()
    link = tmp_path / "link.safetensors"
    link.symlink_to(saved)
    save(link, "is a symbolic link; name the file that it points to")
    folder = tmp_path / "folder.safetensors"
    folder.mkdir()
    save(folder, "is a folder; name a file in it")
    save(tmp_path / "none" / "w.safetensors", "does not exist; make it first")
    save(tmp_path / "w.npz", "expected a name that ends in .safetensors; try w.safetensors")
    assert saved.read_bytes() == before
    assert link.is_symlink()


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file(saved: Path, monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    before = saved.read_bytes()
    monkeypatch.setattr(os, failing, full)
    with pytest.raises(FileError, match="cannot be written: No space left on device; the file that was there is as it"):
        save_checkpoint(saved, {**ARRAYS, "t": np.array([99])}, spec_hash=SPEC)
    assert saved.read_bytes() == before
    assert os.listdir(saved.parent) == ["w.safetensors"]


def test_a_type_that_is_not_kept(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="array 'h': expected float32, float64 or int64, found float16"):
        save_checkpoint(tmp_path / "w.safetensors", {"h": np.zeros(2, np.float16)}, spec_hash=SPEC)

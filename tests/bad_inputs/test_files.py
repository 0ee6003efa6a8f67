"""Cases 58 to 68: weights, packages and caches on disk."""

from __future__ import annotations

import errno
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from symbp import FileError, SpecError
from symbp.cli.writing import write_file
from symbp.frontend.spec_file import load_spec
from symbp.package import write_package
from symbp.pipeline import compile_model, emit_model, load_generated
from tests.bad_inputs.conftest import contents, fruit_model

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def weights(net: ModuleType, tmp_path: Path) -> Path:
    params = net.init()
    path = tmp_path / "w.safetensors"
    net.save(params, path, net.optimizer_state(params))
    return path


# Weights


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        pytest.param(lambda b: b[:-3], "is truncated: expected", id="58 truncated"),
        pytest.param(lambda b: b[:40], "is truncated: expected", id="58 truncated in the header"),
        pytest.param(lambda b: b"", "is not a safetensors file", id="58 empty"),
        pytest.param(
            lambda b: b[:-5] + bytes([b[-5] ^ 1]) + b[-4:], "is damaged: its checksum does not match", id="59 one bit"
        ),
        pytest.param(
            lambda b: pickle.dumps({"w": [1.0]}), "is a pickle or a zip archive, which may run code", id="62 pickle"
        ),
    ],
)
def test_damaged_weights(
    net: ModuleType, refused: Callable[..., str], weights: Path, damage: Callable[[bytes], bytes], message: str
) -> None:
    weights.write_bytes(damage(weights.read_bytes()))
    for action in (lambda: net.load(weights), lambda: net.load_state(weights)):
        assert refused("FileError", action).startswith(f"{weights}: {message}")


def test_weights_of_another_model(tmp_path: Path, weights: Path, net: ModuleType) -> None:
    """Case 60: the shapes fit, the equations do not."""
    other = load_generated(compile_model(fruit_model(0.2), tmp_path / "other", standalone=False))
    with pytest.raises(FileError) as caught:
        other.load(weights)
    assert str(caught.value) == (
        f"{weights}: holds the weights of another model: expected spec {other.SPEC_HASH[:12]}, found "
        f"{net.SPEC_HASH[:12]}; load it with the module that wrote it, or copy the arrays that fit one by one"
    )


def test_weights_of_a_newer_format(net: ModuleType, refused: Callable[..., str], weights: Path) -> None:
    """Case 61."""
    content = weights.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header["__metadata__"]["version"] = "2"
    head = json.dumps(header, separators=(",", ":")).encode()
    weights.write_bytes(len(head).to_bytes(8, "little") + head + content[8 + length :])
    assert refused("FileError", lambda: net.load(weights)) == (
        f"{weights}: has format version 2, this module reads up to 1; compile the module again with a newer symbp"
    )


@pytest.mark.parametrize("name", ["missing.safetensors", ".", "\0.safetensors"])
def test_weights_that_are_not_there(net: ModuleType, refused: Callable[..., str], tmp_path: Path, name: str) -> None:
    refused("FileError", lambda: net.load(tmp_path / name))


def test_saving_refuses_what_it_would_lose(net: ModuleType, refused: Callable[..., str], weights: Path) -> None:
    """Case 64 for weights, and a disk that is full (65): the old file stays."""
    before = weights.read_bytes()
    link = weights.with_name("link.safetensors")
    link.symlink_to(weights)
    params = net.init(seed=1)
    assert refused("FileError", lambda: net.save(params, link)).endswith(
        "is a symbolic link; name the file that it points to"
    )
    assert refused("FileError", lambda: net.save(params, weights.with_name("w.npz"))).endswith("try w.safetensors")
    refused("FileError", lambda: net.save(params, weights.parent / "absent" / "w.safetensors"))
    refused("FileError", lambda: net.save(params, weights.with_name("\0.safetensors")))
    assert weights.read_bytes() == before
    assert sorted(p.name for p in weights.parent.iterdir()) == ["link.safetensors", "w.safetensors"]


def test_a_full_disk_leaves_the_old_weights(
    net: ModuleType, refused: Callable[..., str], weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Case 65."""
    before = contents(weights.parent)
    monkeypatch.setattr(os, "fsync", _disk_is_full)
    assert refused("FileError", lambda: net.save(net.init(seed=1), weights)) == (
        f"{weights}: cannot be written: No space left on device; the file that was there is as it was"
    )
    assert contents(weights.parent) == before


def _disk_is_full(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


# Packages


def test_a_path_that_leads_out_of_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Case 63: neither a path, nor a name in a spec, nor the name of a file."""
    inside = tmp_path / "a" / "b"
    inside.mkdir(parents=True)
    monkeypatch.chdir(inside)
    with pytest.raises(FileError) as caught:
        compile_model(fruit_model(), "../../x")
    assert str(caught.value) == (
        "'../../x/fruit' leads out of the current folder, expected a path inside it or an absolute one; if you mean "
        f"it, write {tmp_path / 'x'}"
    )
    Path("spec.toml").write_text('equations = "y = 1"\n[model]\nname = "../../x"\n', encoding="utf-8")
    with pytest.raises(SpecError, match=r"spec.toml:3:9: model name '../../x' is not an identifier"):
        load_spec("spec.toml")
    for name in ("../x.py", "/x.py", "a/../../x.py"):
        with pytest.raises(FileError, match="is not a name inside the package"):
            write_package({name: "x"}, Path("fruit"))
    Path("spec.toml").unlink()
    assert contents(tmp_path) == {}


def test_a_symbolic_link_is_not_written_through(tmp_path: Path) -> None:
    """Case 64."""
    real = tmp_path / "real"
    real.mkdir()
    (tmp_path / "fruit").symlink_to(real)
    with pytest.raises(FileError) as caught:
        compile_model(fruit_model(), tmp_path)
    assert str(caught.value) == f"'{tmp_path / 'fruit'}' is a symbolic link, expected a folder; name a real folder"
    assert contents(real) == {}


def test_nothing_of_others_is_overwritten(tmp_path: Path) -> None:
    package = compile_model(fruit_model(), tmp_path)
    kernels, notes = package / "kernels.py", package / "notes.txt"

    def refusal() -> str:
        before = contents(tmp_path)
        with pytest.raises(FileError) as caught:
            compile_model(fruit_model(0.2), tmp_path)
        assert contents(tmp_path) == before
        return str(caught.value)

    notes.write_text("mine")
    assert refusal() == f"'{notes}' was not written by symbp and would be lost; move it away"
    notes.unlink()
    written = kernels.read_text(encoding="utf-8")
    kernels.write_text(written + "# tuned\n", encoding="utf-8")
    assert refusal() == (
        f"'{kernels}' was changed since symbp wrote it, which would be lost; choose another folder, or move it away"
    )
    kernels.write_text(written, encoding="utf-8")
    compile_model(fruit_model(0.2), tmp_path)
    (package / "symbp-package").unlink()
    assert refusal() == (f"'{package}' exists and was not written by symbp; choose another folder, or move it away")


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_file_where_a_folder_is_needed(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(FileError):
        compile_model(fruit_model(), tmp_path / place)
    assert contents(tmp_path) == {"file": b"mine"}


@pytest.mark.parametrize("written", [0, 1, 5])
def test_a_full_disk_leaves_the_old_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: int) -> None:
    """Case 65: however many files there was room for."""
    package = compile_model(fruit_model(), tmp_path)
    before = contents(tmp_path)
    left = [written]
    write = Path.write_text

    def until_full(path: Path, *args: Any, **options: Any) -> int:
        if not left[0]:
            _disk_is_full()
        left[0] -= 1
        return write(path, *args, **options)

    monkeypatch.setattr(Path, "write_text", until_full)
    with pytest.raises(FileError) as caught:
        compile_model(fruit_model(0.2), tmp_path)
    assert str(caught.value) == (
        f"'{package}' cannot be written: No space left on device; what was there before is untouched"
    )
    assert contents(tmp_path) == before


WRITER = """
import sys
from pathlib import Path
from symbp.package import write_package
for _ in range(30):
    write_package({"__init__.py": sys.argv[1] * 1000, "kernels.py": sys.argv[1] * 1000}, Path(sys.argv[2]) / "race")
"""


def test_several_writers_to_one_folder(tmp_path: Path) -> None:
    """Case 68: none fails, and what is there in the end is the whole package of one of them."""
    running = [
        subprocess.Popen([sys.executable, "-c", WRITER, letter, tmp_path], cwd=ROOT, stderr=subprocess.PIPE, text=True)
        for letter in "abc"
    ]
    for process in running:
        _, said = process.communicate()
        assert process.returncode == 0, said
    found = contents(tmp_path)
    assert sorted(found) == ["race/__init__.py", "race/kernels.py", "race/symbp-package"]
    assert found["race/__init__.py"] == found["race/kernels.py"]
    assert len(set(found["race/kernels.py"])) == 1


# The cache of machine code

USE = """
import sys, warnings
sys.path.insert(0, sys.argv[1])
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import numpy as np, fruit
    params = fruit.init()
    state = fruit.optimizer_state(params)
    before = params.c.copy()
    fruit.train_step(params, state, np.array([1.0, 2.0], np.float32), np.array([0, 1]))
print(float(before[0] - params.c[0]))
for warning in caught:
    print(warning.category.__name__, warning.message)
"""


def use(folder: Path, cache: Path) -> list[str]:
    environment = os.environ | {"NUMBA_CACHE_DIR": str(cache), "XDG_CACHE_HOME": str(cache)}
    done = subprocess.run(
        [sys.executable, "-c", USE, folder], env=environment, cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def same_times(package: Path) -> None:
    """All files as if written at one moment, which Numba's own cache goes by."""
    for path in package.rglob("*.py"):
        os.utime(path, (1_000_000_000, 1_000_000_000))


def test_a_stale_cache_is_not_used(tmp_path: Path) -> None:
    """Case 67: the same folder, name, size and time of every file; only a sign in one equation differs."""
    package = compile_model(fruit_model(), tmp_path)
    same_times(package)
    cache = tmp_path / "cache"
    (moved,) = use(tmp_path, cache)
    assert any(cache.rglob("*.nbi")), "nothing is cached, so nothing can be stale"
    files = emit_model(fruit_model())
    old, new = "w[i] = w[i] - ", "w[i] = w[i] + "
    assert files["kernels.py"].count(old) == 1
    write_package(files | {"kernels.py": files["kernels.py"].replace(old, new)}, package)
    same_times(package)
    (other,) = use(tmp_path, cache)
    assert float(other) == -float(moved) != 0


def test_a_cache_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """Case 66: it works without, after one warning that says how to mend it."""
    package = compile_model(fruit_model(), tmp_path)
    # Neither the folder of the variable, nor that beside the source, nor that of the user. (Root may write anywhere.)
    for place in (tmp_path / "no_folder", package / "__pycache__", package / "_runtime" / "__pycache__"):
        place.write_text("")
    moved, *warnings = use(tmp_path, tmp_path / "no_folder" / "cache")
    assert float(moved) != 0
    assert len(warnings) == 1
    assert warnings[0].startswith(f"UncachedWarning compiled kernels of {package} cannot be cached: ")
    assert warnings[0].endswith("(a writable folder in the environment variable NUMBA_CACHE_DIR mends that)")


# Reports


def test_a_report_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cases 64 and 65 for `symbp derive -o FILE`."""
    report, link = tmp_path / "report.tex", tmp_path / "link.tex"
    write_file(report, "old")
    link.symlink_to(report)
    with pytest.raises(FileError) as caught:
        write_file(link, "new")
    assert str(caught.value) == f"'{link}' is a symbolic link, expected a file; name the file that it points to"
    with pytest.raises(FileError, match=r"cannot be written: Is a directory"):
        write_file(tmp_path, "new")
    before = contents(tmp_path)
    monkeypatch.setattr(os, "replace", _disk_is_full)
    with pytest.raises(FileError) as caught:
        write_file(report, "new")
    assert str(caught.value) == f"'{report}' cannot be written: No space left on device"
    assert contents(tmp_path) == before == {"link.tex": b"old", "report.tex": b"old"}

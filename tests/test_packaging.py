"""What is installed is what is here: the wheel carries its templates and works away from the tree."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

LINE_SPEC = """\
equations = [
    "error[b] = m*x[b] + c - y[b]",
]
loss = "mean(error[b]**2, b)"

[model]
name = "line"

[axes]
b = "batch"

[inputs]
x = "b"
y = "b"

[parameters]
m = ""
c = ""

[optimizer]
type = "SGD"
"""


def run(command: list[str | Path], *, cwd: Path, python_path: Path | None = None) -> str:
    """The standard output of a command, which must succeed."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if python_path is not None:
        environment["PYTHONPATH"] = str(python_path)
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT], cwd=folder)
    (built,) = folder.glob("symbp-*.whl")
    return built


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds symbp as pip installs it, and nothing else."""
    folder = tmp_path_factory.mktemp("installed")
    run([sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder, wheel], cwd=folder)
    return folder


def files_below(folder: Path) -> list[str]:
    """What a package holds on disk, without compiled files."""
    paths = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(
        str(path) for path in paths if "__pycache__" not in path.parts and path.suffix not in (".pyc", ".nbi", ".nbc")
    )


def test_wheel_holds_the_package_and_its_templates(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = [name for name in archive.namelist() if ".dist-info/" not in name]
    expected = [f"symbp/{name}" for name in files_below(ROOT / "symbp")]
    templates = [f"symbp/templates/{name}" for name in files_below(ROOT / "templates")]
    assert templates, "there are no templates to look for"
    assert sorted(held) == sorted(expected + templates)


def test_installed_command_compiles_a_model_away_from_the_tree(installed: Path, tmp_path: Path) -> None:
    spec = tmp_path / "line.toml"
    spec.write_text(LINE_SPEC, encoding="utf-8")
    out = tmp_path / "line"
    where = "import symbp; print(symbp.__file__)"
    found = run([sys.executable, "-c", where], cwd=Path("/"), python_path=installed)
    assert Path(found.strip()).is_relative_to(installed)

    run([installed / "bin" / "symbp", "compile", spec, "-o", out], cwd=Path("/"), python_path=installed)

    # The module that came out runs on numpy and numba alone: from its own folder, symbp out of reach.
    use = (
        "import sys; sys.modules['symbp'] = None\n"
        "import numpy as np, line\n"
        "params = line.init(seed=0); params.m = 3.0; params.c = 1.0\n"
        "loss, grads = line.loss_and_grad(params, np.array([1, 2], np.float32), np.array([4, 5], np.float32))\n"
        "print(loss, grads.m, grads.c)\n"
    )
    printed = run([sys.executable, "-c", use], cwd=tmp_path, python_path=tmp_path)
    # Errors are 0 and 2: the loss is 4/2, m_bar = 2*(0*1 + 2*2)/2, c_bar = 2*(0 + 2)/2.
    assert [float(word) for word in printed.split()] == [2.0, 4.0, 2.0]


def test_installed_command_writes_cuda_kernels_away_from_the_tree(installed: Path, tmp_path: Path) -> None:
    spec = tmp_path / "line.toml"
    spec.write_text(LINE_SPEC, encoding="utf-8")
    run(
        [installed / "bin" / "symbp", "compile", spec, "-o", tmp_path, "--target", "cpu,cuda"],
        cwd=Path("/"),
        python_path=installed,
    )
    # Both interfaces import without symbp; a GPU is asked for when it is needed.
    use = (
        "import sys; sys.modules['symbp'] = None\n"
        "import line\n"
        "from line import cuda\n"
        "print(line.SPEC_HASH == cuda.SPEC_HASH, cuda.kernels.forward_loss.name)\n"
    )
    assert run([sys.executable, "-c", use], cwd=tmp_path, python_path=tmp_path).split() == ["True", "forward_loss"]


def test_version_is_said_once(installed: Path) -> None:
    said = "import symbp, importlib.metadata as m; print(symbp.__version__ == m.version('symbp'))"
    assert run([sys.executable, "-c", said], cwd=Path("/"), python_path=installed).strip() == "True"


def test_importing_symbp_does_not_import_what_is_heavy() -> None:
    code = "import symbp, sys; print(*sorted({'numba', 'torch', 'scipy', 'sklearn', 'jax'} & set(sys.modules)))"
    assert run([sys.executable, "-c", code], cwd=ROOT).split() == []


def test_importing_symbp_does_not_need_the_optional_packages() -> None:
    blocked = "import sys; sys.modules.update(dict.fromkeys(['torch', 'sklearn', 'jax', 'scipy'])); import symbp"
    assert run([sys.executable, "-c", blocked], cwd=ROOT) == ""

"""The command line: what each command prints and writes, and how it fails."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from symbp.check.emulator import EmulatedDevice
from symbp.cli import main
from symbp.cli.data import load_samples, split_samples, standardise
from symbp.errors import DataError, DeviceError, FileError, SymbpError, TargetError
from symbp.ir import Affine, DType, Role, Size, Tensor
from symbp.pipeline import emit_model, load_generated
from symbp.version import __version__

LINE = """\
from symbp import SGD, Model, mean

model = Model("line")
b = model.axis("b", "batch")
x, y = model.input("x", b), model.input("y", b)
m, c = model.parameter("m"), model.parameter("c")
f = model.define("f[b]", m[()] * x[b] + c[()])
model.output(f)
model.loss(mean((f[b] - y[b]) ** 2, b))
model.optimizer(SGD(learning_rate=0.1))
"""


@pytest.fixture
def line(tmp_path: Path) -> Path:
    path = tmp_path / "line.py"
    path.write_text(LINE, encoding="utf-8")
    return path


class Ran:
    """What a command left behind."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("COLUMNS", "100")

    def command(*words: object) -> Ran:
        with pytest.raises(SystemExit) as stopped:
            main([str(word) for word in words])
        captured = capsys.readouterr()
        return Ran(int(stopped.value.code or 0), captured.out, captured.err)

    return command


# Help, version and wrong words.


def test_version(run: Any) -> None:
    assert run("--version").out == f"symbp {__version__}\n"


@pytest.mark.parametrize("words", [(), ("--help",), ("-h",)])
def test_help_names_every_command(run: Any, words: tuple[str, ...]) -> None:
    ran = run(*words)
    assert ran.status == 0
    assert all(name in ran.out for name in ("compile", "derive", "check", "train", "demo"))


@pytest.mark.parametrize("command", ["compile", "derive", "check", "train", "demo"])
def test_every_command_has_help_and_json(run: Any, command: str) -> None:
    ran = run(command, "--help")
    assert (ran.status, ran.err) == (0, "")
    assert "--json" in ran.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["derive", "m.py", "--wtr", "W"], "error: symbp derive: there is no option --wtr; did you mean '--wrt'?"),
        (["dervie"], "Did you mean 'derive'?"),
        (["derive"], "error: symbp derive: Missing argument 'SPEC'; see symbp derive --help"),
        (["train", "m.py"], "Missing option '--data'"),
        (["train", "m.py", "--data", "x.npz", "--epochs", "0"], "'--epochs'"),
        (["compile", "m.py", "--dtype", "float16"], "'float16' is not one of"),
        (["derive", "absent.py"], "error: there is no file 'absent.py'; check the path"),
        (["derive", "absent.txt"], "error: 'absent.txt' is neither a .py nor a .toml file"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(run: Any, words: list[str], said: str) -> None:
    ran = run(*words)
    assert ran.status == 2
    assert said in ran.err
    assert ran.err.count("\n") == 1
    assert ran.out == ""


def test_an_error_for_machines(run: Any) -> None:
    ran = run("derive", "absent.py", "--json")
    assert ran.status == 2
    expected = {
        "kind": "FileError",
        "message": "there is no file 'absent.py'",
        "place": None,
        "remedy": "check the path",
    }
    assert ran.json == {"error": expected}


def test_an_error_of_the_spec_has_its_place(run: Any, line: Path) -> None:
    line.write_text(LINE.replace("m[()] * x[b]", "m[()] * x[b, b]"), encoding="utf-8")
    ran = run("derive", line)
    assert ran.status == 2
    assert ran.err.startswith("error: line.py:7: tensor 'x' has 1 axis (b) but is read with 2: x[b, b]")


def test_a_defect_is_told_as_one(run: Any, line: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("inside")

    monkeypatch.setattr("symbp.cli.app.derive_model", broken)
    ran = run("derive", line)
    assert ran.status == 1
    assert ran.err.startswith("defect in symbp: ZeroDivisionError: inside (test_cli.py:")
    assert "please report" in ran.err


def test_a_warning_is_one_line(run: Any, line: Path) -> None:
    line.write_text(LINE.replace("f = model", 'model.parameter("unused")\nf = model'), encoding="utf-8")
    ran = run("derive", line)
    assert ran.status == 0
    warned = ran.err.splitlines()
    assert "warning: line.py:7: parameter 'unused' is not used by the loss or any output" in warned
    assert len(set(warned)) == len(warned)
    assert all(text.startswith("warning: ") for text in warned)


# derive


def test_derive_prints_equations(run: Any, line: Path) -> None:
    ran = run("derive", line)
    assert ran.status == 0
    assert "Backward pass" in ran.out
    assert "m_bar = sum[b] " in " ".join(ran.out.split())
    assert "w_next[i] = w[i] - learning_rate*g[i]" in ran.out
    assert "\x1b[" not in ran.out


def test_derive_with_respect_to_one_weight(run: Any, line: Path) -> None:
    ran = run("derive", line, "--wrt", "c")
    assert "c_bar" in ran.out
    assert "m_bar" not in ran.out
    ran = run("derive", line, "--wrt", "d")
    assert (ran.status, ran.err) == (2, "error: 'd' has no gradient in model 'line'; known: c, m\n")


@pytest.mark.parametrize(
    ("name", "start"), [("a.txt", "line\n"), ("a.tex", "% line: equations"), ("a.html", "<!DOCTYPE html>")]
)
def test_the_ending_of_the_file_gives_the_format(run: Any, line: Path, tmp_path: Path, name: str, start: str) -> None:
    ran = run("derive", line, "-o", tmp_path / "new" / name)
    assert ran.out == f"written {tmp_path / 'new' / name}\n"
    assert (tmp_path / "new" / name).read_text(encoding="utf-8").startswith(start)


def test_latex_of_a_whole_document(run: Any, line: Path) -> None:
    assert run("derive", line, "--format", "latex", "--standalone").out.startswith(r"\documentclass")
    assert run("derive", line, "--format", "latex").out.startswith("% line")


def test_derive_for_machines(run: Any, line: Path) -> None:
    found = run("derive", line, "--json").json
    assert (found["model"], found["loss"], found["gradients"]) == ("line", "loss", {"m": "m_bar", "c": "c_bar"})
    assert {e["chapter"] for e in found["equations"]} >= {"model", "backward", "update"}
    assert all(e["equation"] and e["shape"] for e in found["equations"])


def test_a_file_that_cannot_be_written(run: Any, line: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    ran = run("derive", line, "-o", tmp_path / "file" / "a.html")
    assert ran.status == 2
    assert "cannot be written" in ran.err


# compile, check, train


@pytest.mark.parametrize("folder", ["out", "out/line"])
def test_compile_writes_a_package_that_runs(run: Any, line: Path, tmp_path: Path, folder: str) -> None:
    found = run("compile", line, "-o", tmp_path / folder, "--dtype", "float64", "--json").json
    package = tmp_path / "out" / "line"
    assert Path(found["package"]) == package
    assert (found["model"], found["parameters"], found["dtype"]) == ("line", 2, "float64")
    assert "kernels.py" in found["files"]
    net = load_generated(package)
    params = net.init()
    params.m, params.c = 3.0, 1.0
    np.testing.assert_array_equal(net.predict(params, np.array([1.0, 2.0])), [4.0, 7.0])


def test_compile_refuses_what_is_not_ours(run: Any, line: Path, tmp_path: Path) -> None:
    (tmp_path / "out" / "line").mkdir(parents=True)
    (tmp_path / "out" / "line" / "mine.txt").write_text("keep", encoding="utf-8")
    ran = run("compile", line, "-o", tmp_path / "out")
    assert ran.status == 2
    assert "was not written by symbp" in ran.err
    assert (tmp_path / "out" / "line" / "mine.txt").read_text(encoding="utf-8") == "keep"
    ran = run("compile", line, "-o", tmp_path, "--target", "cpp")
    assert ran.status == 2
    assert ran.err.startswith("error: unknown target 'cpp'")
    assert "did you mean 'cpu'?" in ran.err


def test_check_agrees_and_says_so(run: Any, line: Path) -> None:
    ran = run("check", line)
    assert ran.status == 0
    assert "every gradient agrees" in ran.out
    for method in ("central differences", "complex step", "module in float64", "module in float32"):
        assert method in ran.out


def test_check_fails_on_a_wrong_gradient(run: Any, line: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(net: Any, feed: Any) -> Any:
        return 0.0, {name: np.asarray(value) + 1 for name, value in feed.items()}

    monkeypatch.setattr("symbp.cli.checking.module_gradients", wrong)
    ran = run("check", line, "--json")
    assert ran.status == 1
    assert ran.json["passed"] is False


@pytest.fixture
def points(tmp_path: Path) -> Path:
    """Points on the line y = 2 x - 1."""
    path = tmp_path / "points.npz"
    x = np.linspace(-1, 1, 50)
    np.savez(path, x=x, y=2 * x - 1)
    return path


def test_train_finds_a_line(
    run: Any, line: Path, points: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    words = ("train", line, "--data", points, "--epochs", 40, "--batch", 8, "--dtype", "float64")
    weights = tmp_path / "w.safetensors"
    first = run(*words, "-o", weights, "--json").json
    assert first["loss"] < 1e-6
    assert (first["measured_on"], first["accuracy"], first["steps"]) == ("test", None, 40 * 5)
    (package,) = (tmp_path / "cache" / "symbp").glob("*/line")
    params = load_generated(package).load(weights)
    np.testing.assert_allclose([params.m, params.c], [2, -1], atol=1e-3)
    second = run(*words, "--json").json
    assert second["training_loss"] == first["training_loss"]
    shown = run(*words)
    assert "40 held out" not in shown.out
    assert "10 held out" in shown.out
    assert "on the test part" in shown.out


# Data


def tensor(name: str, *shape: int | Size, integer: bool = False) -> Tensor:
    kind = DType.INT if integer else DType.FLOAT
    extents = tuple(Affine.of(extent) for extent in shape)
    return Tensor(name, extents, Role.INPUT, tuple("bjk"[: len(shape)]), kind)


BATCH = Size("n_batch")
FEATURES = (tensor("x", BATCH, 2), tensor("label", BATCH, integer=True))


def csv(folder: Path, text: str) -> str:
    path = folder / "data.csv"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_csv_with_words_for_labels(tmp_path: Path) -> None:
    source = csv(tmp_path, "width, height,kind\n1,2,cat\n3,4,ant\n5,6,cat\n")
    found = load_samples(source, FEATURES, "float32")
    np.testing.assert_array_equal(found.arrays["x"], np.array([[1, 2], [3, 4], [5, 6]], np.float32))
    np.testing.assert_array_equal(found.arrays["label"], [1, 0, 1])
    assert (found.classes, found.count, found.arrays["x"].dtype) == (("ant", "cat"), 3, np.float32)


def test_csv_columns_by_name(tmp_path: Path) -> None:
    source = csv(tmp_path, "label,u,v\n1,2,3\n0,5,6\n")
    found = load_samples(source, FEATURES, "float64")
    np.testing.assert_array_equal(found.arrays["label"], [1, 0])
    np.testing.assert_array_equal(found.arrays["x"], [[2, 3], [5, 6]])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected a header line and at least one sample"),
        ("a,b,c\n", "expected a header line and at least one sample"),
        ("a,b,c\n1,2\n", "data.csv:2: expected 3 values, found 2"),
        ("a,a,c\n1,2,3\n", "data.csv:1: two columns are named 'a'"),
        ("a,b,c\n1,2,0\n1,big,0\n", "data.csv, sample 2: column 'b': expected a number, found 'big'"),
        ("a,b,c\n1,2,0.5\n", "label: expected whole numbers, found fractions"),
        ("a,c\n1,0\n", "x: expected 2 along axis 1, found 1"),
    ],
)
def test_csv_that_does_not_fit(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(DataError) as error:
        load_samples(csv(tmp_path, text), FEATURES, "float32")
    assert said in str(error.value)


def test_npz_is_matched_by_name(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    np.savez(path, X=np.ones((3, 2)), label=np.zeros(3))
    with pytest.raises(DataError, match=r"there is no array 'x'; it holds X, label; did you mean 'X'\?"):
        load_samples(str(path), FEATURES, "float32")
    np.savez(path, x=np.ones((4, 2)), label=np.zeros(3))
    with pytest.raises(DataError, match="the arrays differ in their number of samples: x 4, label 3"):
        load_samples(str(path), FEATURES, "float32")
    np.savez(path, x=np.ones(3), label=np.zeros(3))
    with pytest.raises(DataError, match=r"expected 2 axes \[b, j\], found shape \(3,\)"):
        load_samples(str(path), FEATURES, "float32")


@pytest.mark.parametrize("content", [b"", b"not a zip file", b"PK\x03\x04 cut short"])
def test_npz_that_is_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "data.npz"
    path.write_bytes(content)
    with pytest.raises(FileError, match=r"is not a readable \.npz file"):
        load_samples(str(path), FEATURES, "float32")


def test_objects_in_npz_are_not_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    np.savez(path, x=np.array([{}, {}], dtype=object), label=np.zeros(2))
    with pytest.raises(FileError, match=r"is not a readable \.npz file"):
        load_samples(str(path), FEATURES, "float32")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("data.xlsx", "give FILE.npz, FILE.csv or sklearn:NAME"),
        ("sklearn:digit", "there is no data set 'sklearn:digit'; did you mean 'digits'?"),
        ("absent.csv", "there is no file 'absent.csv'"),
        ("sklearn:iris", "sklearn:iris: x: expected 2 along axis 1, found 4"),
    ],
)
def test_data_that_is_not_there(source: str, said: str) -> None:
    with pytest.raises(SymbpError) as error:
        load_samples(source, FEATURES, "float32")
    assert said in str(error.value)


def test_sets_of_scikit_learn_need_features_and_a_label() -> None:
    with pytest.raises(DataError, match=r"needs a model with two inputs.*this one has x\[b\]"):
        load_samples("sklearn:iris", (tensor("x", BATCH),), "float32")


def test_samples_are_split_once_each() -> None:
    samples = load_samples("sklearn:iris", (tensor("x", BATCH, 4), tensor("label", BATCH, integer=True)), "float64")
    train, test = split_samples(samples, 0.2, seed=3)
    assert (train.count, test.count) == (120, 30)
    rows = np.concatenate([train.arrays["x"], test.arrays["x"]])
    np.testing.assert_array_equal(np.sort(rows, axis=0), np.sort(samples.arrays["x"], axis=0))
    again, _ = split_samples(samples, 0.2, seed=3)
    np.testing.assert_array_equal(again.arrays["x"], train.arrays["x"])
    scaled, held_out = standardise(train, test)
    np.testing.assert_allclose(scaled.arrays["x"].mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(scaled.arrays["x"].std(axis=0), 1)
    # The held-out part is shifted by what the training part says, so its own mean is not 0.
    assert np.abs(held_out.arrays["x"].mean(axis=0)).max() > 1e-3
    assert np.array_equal(held_out.arrays["label"], test.arrays["label"])
    with pytest.raises(DataError, match="nothing is left to train with"):
        split_samples(samples.take(np.arange(1)), 0.9, seed=0)


# The demo


@pytest.mark.slow
def test_the_demo_runs_to_its_end(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "symbp", "demo"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    shown = done.stdout
    assert "z2_bar[b, k] = (p[b, k] - [k == label[b]])/n_batch" in shown
    assert "every gradient agrees" in shown
    accuracy = float(shown.partition("never seen: ")[2].partition("%")[0])
    assert accuracy > 96
    assert "█" in shown
    assert (tmp_path / ".demo" / "digits.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert (tmp_path / ".demo" / "digits" / "kernels.py").is_file()
    assert "Traceback" not in done.stderr


# The CUDA target.


def test_compile_for_both_targets(run: Any, line: Path, tmp_path: Path) -> None:
    found = run("compile", line, "-o", tmp_path, "--target", "cpu,cuda", "--json").json
    assert {"__init__.py", "cuda.py", "cuda_kernels.py", "kernels.py"} <= set(found["files"])


def test_check_of_cuda_kernels_runs_them_somewhere(run: Any, line: Path) -> None:
    found = run("check", line, "--target", "cuda", "--dtype", "float64", "--json").json
    assert found["passed"] is True
    assert found["note"].startswith("the kernels ran on ")
    assert {row["name"] for row in found["gradients"]} == {"m", "c", "loss"}
    assert all("module in float64" in row["methods"] for row in found["gradients"])


def test_a_wrong_cuda_kernel_is_found(run: Any, line: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: Any, **options: Any) -> dict[str, str]:
        files = emit_model(*arguments, **options)
        changed = files["kernels.py"].replace("c_bar[0] = total", "c_bar[0] = total + total")
        assert changed != files["kernels.py"]
        return {**files, "kernels.py": changed}

    monkeypatch.setattr("symbp.pipeline.emit_model", broken)
    ran = run("check", line, "--target", "cuda", "--dtype", "float64", "--json")
    assert ran.status == 1
    assert [row["name"] for row in ran.json["gradients"] if not row["passed"]] == ["c"]


def test_training_on_a_gpu_that_is_not_there(
    run: Any, line: Path, points: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent() -> Any:
        raise DeviceError("no NVIDIA driver was found on this machine", remedy="install one")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("symbp.runtime.cuda.device.current_device", absent)
    ran = run("train", line, "--data", points, "--target", "cuda", "--json")
    assert (ran.status, ran.err) == (2, "error: no NVIDIA driver was found on this machine; install one\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["check", "--target", "cpu,cuda"], "error: one target runs at a time, found 'cpu,cuda'; take --target cpu or"),
        (["train", "--target", "cpu,cuda", "--data", "x.npz"], "error: one target runs at a time, found 'cpu,cuda'"),
        (
            ["check", "--target", "coda"],
            "error: unknown target 'coda', expected one of: cpu, cuda; did you mean 'cuda'",
        ),
        (["compile", "--target", "cpu,coda"], "error: unknown target 'coda'"),
        (["compile", "--resources"], "error: --resources counts what CUDA kernels take, found target 'cpu'; add --ta"),
    ],
)
def test_a_wrong_target_is_said_in_one_line(run: Any, line: Path, words: list[str], said: str) -> None:
    ran = run(words[0], line, *words[1:])
    assert ran.status == 2
    assert ran.err.startswith(said)
    assert ran.err.count("\n") == 1


def test_the_table_of_resources(run: Any, line: Path, tmp_path: Path) -> None:
    pytest.importorskip("numba_cuda", reason="kernels are compiled by numba-cuda: pip install 'symbp[cuda-build]'")
    pytest.importorskip("cuda.bindings", reason="kernels are compiled by numba-cuda: pip install 'symbp[cuda-build]'")
    words = ("compile", line, "-o", tmp_path, "--target", "cuda", "--resources")
    found = run(*words, "--json").json["resources"]
    kernels = {row["kernel"] for row in found}
    assert "update_parameters" in kernels
    assert {row["architecture"] for row in found} == {"sm_80", "sm_90", "sm_90a"}
    assert all(row["registers"] > 0 and row["stack"] == row["spill_stores"] == 0 for row in found)
    shown = run(*words).out
    assert all(
        name in shown for name in (*kernels, "Registers of a thread on sm_80, sm_90, sm_90a", "no kernel spills")
    )


def test_resources_without_a_compiler(run: Any, line: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> Path:
        raise TargetError(f"'{name}' of the CUDA toolkit is not there", remedy="pip install 'symbp[cuda-build]'")

    monkeypatch.setattr("symbp.check.resources.find_tool", absent)
    ran = run("compile", line, "-o", tmp_path, "--target", "cuda", "--resources")
    assert (ran.status, ran.err.count("\n")) == (2, 1)
    assert ran.err == "error: 'ptxas' of the CUDA toolkit is not there; pip install 'symbp[cuda-build]'\n"


def test_training_on_a_device(
    run: Any, line: Path, points: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the emulator, as if it were the GPU: the same losses as on the CPU, and weights that the CPU reads."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    words = ("train", line, "--data", points, "--epochs", 2, "--batch", 8, "--dtype", "float64", "--json")
    weights = tmp_path / "w.safetensors"
    expected = run(*words).json
    devices = import_module("symbp.runtime.cuda.device")
    devices.use_device(EmulatedDevice())
    try:
        found = run(*words, "--target", "cuda", "-o", weights).json
    finally:
        devices.use_device(None)
    np.testing.assert_allclose(found["training_loss"], expected["training_loss"], rtol=1e-12)
    assert found["loss"] == pytest.approx(expected["loss"], rel=1e-12)
    assert found["steps"] == expected["steps"]
    (cpu,) = [p for p in (tmp_path / "cache" / "symbp").glob("*/line") if not _is_cuda(p)]
    assert set(load_generated(cpu).load(weights)) == {"m", "c"}


def _is_cuda(package: Path) -> bool:
    return "thread_kernel" in (package / "kernels.py").read_text(encoding="utf-8")

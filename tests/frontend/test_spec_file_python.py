"""Models from Python files: how one is found, and how an exception in the file is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from symbp.errors import SpecError
from symbp.frontend.spec_file import load_model

MODEL = """\
from __future__ import annotations
from dataclasses import dataclass
import symbp as sb

@dataclass
class Settings:
    width: int = 3

def build(width: int = Settings().width) -> sb.Model:
    model = sb.Model("net")
    n = model.axis("n", width)
    x = model.input("x", n)
    m = model.parameter("m")
    model.loss(sb.mean((m*x[n] - 1)**2, n))
    return model
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "net.py"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(folder: Path, text: str, name: str = "") -> str:
    path = write(folder, text)
    with pytest.raises(SpecError) as caught:
        load_model(f"{path}:{name}" if name else path)
    message = str(caught.value).replace(str(folder), "")
    assert "\n" not in message
    return message


def test_a_model_is_found_by_itself_by_name_and_through_a_function(tmp_path: Path) -> None:
    path = write(tmp_path, MODEL + "first = build()\n")
    assert load_model(path).name == "net"
    assert load_model(f"{path}:first").name == "net"
    assert load_model(f"{path}:build").name == "net"
    path = write(tmp_path, MODEL)
    assert load_model(str(path)).name == "net"


def test_a_file_may_import_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "neighbour_of_net.py").write_text(MODEL, encoding="utf-8")
    assert load_model(write(tmp_path, "from neighbour_of_net import build\nmodel = build()\n")).name == "net"


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        ("a = 1\n", "", "'/net.py' has no Model; assign one: model = symbp.Model(..)"),
        (MODEL + "a = build()\nb = build()\n", "", "'/net.py' has 2 models: a, b; name one of them: /net.py:a"),
        (MODEL, "buidl", "'/net.py' has nothing called 'buidl'; did you mean 'build'?"),
        (MODEL + "a = 1\n", "a", "'/net.py:a' is a value of type int, expected a Model or a function that returns one"),
        ("def a():\n    pass\n", "a", "'/net.py:a' returns None, expected a Model; return the model"),
        ("def a():\n    return 1/0\n", "a", "net.py:2: ZeroDivisionError: division by zero"),
        ("def a(n):\n    pass\n", "a", "net.py: TypeError: a() missing 1 required positional argument: 'n'"),
        ("x = 1\ny = 1/0\n", "", "net.py:2: ZeroDivisionError: division by zero"),
        ("x = 1\ny = (\n", "", "net.py:2:5: '(' was never closed (Python)"),
        ("import nothing_of_this_name\n", "", "net.py:1: ModuleNotFoundError: No module named 'nothing_of_this_name'"),
        ("import sys\nsys.exit(3)\n", "", "net.py:2: the file ends the program when it is imported; guard main()"),
        ("raise ValueError('one\\ntwo')\n", "", "net.py:1: ValueError: one two"),
        (
            "import symbp as sb\nmodel = sb.Model('net')\nmodel.axis('j', 0)\n",
            "",
            "net.py:3: axis 'j' has extent 0, expected at least 1",
        ),
    ],
)
def test_what_goes_wrong_is_one_line(tmp_path: Path, text: str, name: str, message: str) -> None:
    assert refusal(tmp_path, text, name).startswith(message)

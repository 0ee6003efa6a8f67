"""The README tells the truth: its blocks are run in order, in one folder, as a reader would run them.

A block is bound by the comment on the line above its fence:

    <!-- file: NAME -->     the block is written to NAME
    <!-- run -->            the block is run, as Python or as shell commands by its language
    <!-- prints -->         each line of the block stands in what the last run printed
    <!-- from: NAME -->     the block is an excerpt of file NAME, which an earlier block has made

In the last two, a line that is only `...` stands for lines left out.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"(?:^<!-- (?P<mark>[^>]*?) -->\n)?^```(?P<language>\w*)\n(?P<body>.*?)^```$", re.M | re.S)


@dataclass(frozen=True)
class Block:
    """One fenced block of the README: its language, its text and the mark that says what to do with it."""

    language: str
    body: str
    mark: str
    line: int


def blocks_of(text: str) -> list[Block]:
    return [
        Block(found["language"], found["body"], found["mark"] or "", text[: found.start()].count("\n") + 1)
        for found in BLOCK.finditer(text)
    ]


def make_targets(text: str) -> list[str]:
    return list(dict.fromkeys(re.findall(r"\bmake ([a-z]+)\b", "\n".join(re.findall(r"`+[^`]+`+", text)))))


def assert_excerpt(excerpt: str, whole: str, place: str) -> None:
    """Every run of lines between ``...`` lines stands in the whole, in order; indentation and blank ends are free."""
    text = re.sub(r"[ \t]+", " ", whole)
    position = 0
    for part in re.split(r"^\s*\.\.\.\s*$", excerpt, flags=re.M):
        wanted = re.sub(r"[ \t]+", " ", part).strip("\n ")
        # The first line of an excerpt may be indented in the file.
        pattern = r"\s*\n\s*".join(re.escape(line.strip()) for line in wanted.splitlines() if line.strip())
        found = re.compile(pattern).search(text, position)
        assert found, f"{place}: these lines do not stand there, or not in this order:\n{part}"
        position = found.end()


def run_block(block: Block, folder: Path) -> str:
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)]),
    }
    command = [sys.executable, "-c", block.body] if block.language == "python" else ["bash", "-euc", block.body]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"README.md:{block.line}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_every_block_is_bound() -> None:
    free = [
        f"README.md:{block.line} ({block.language})"
        for block in blocks_of(README)
        if not block.mark and not (block.language in ("sh", "bash") and re.fullmatch(r"(make .*\n)+", block.body))
    ]
    assert free == [], "mark the block with file, run, prints or from, so that it is tested"


def test_blocks_do_what_the_readme_says(tmp_path: Path) -> None:
    printed = ""
    for block in blocks_of(README):
        verb, _, name = block.mark.partition(": ")
        if verb == "file":
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(block.body, encoding="utf-8")
        elif verb == "run":
            printed = run_block(block, tmp_path)
        elif verb == "prints":
            assert_excerpt(block.body, printed, f"README.md:{block.line}")
        elif verb == "from":
            assert_excerpt(block.body, (tmp_path / name).read_text(encoding="utf-8"), f"README.md:{block.line}: {name}")
        else:
            assert not block.mark, f"README.md:{block.line}: unknown mark '{block.mark}'"


def test_make_targets_exist() -> None:
    targets = make_targets(README)
    assert {"demo", "test"} <= set(targets)
    rules = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    assert [target for target in targets if target not in rules] == []


def test_files_named_exist() -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_says_what_is_wrong_with_the_python(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    old = tmp_path / "python3.8"
    old.write_text('#!/bin/sh\n[ "$1" = -V ] && echo "Python 3.8.10"\nexit 1\n', encoding="utf-8")
    old.chmod(0o755)
    # Run by `make test`, this would inherit that make's variables.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    for python, said in ((old, "is Python 3.8.10"), (tmp_path / "absent", "is not there")):
        done = subprocess.run(
            ["make", "demo", f"PYTHON={python}"],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode != 0
        assert said in done.stderr
        assert not (tmp_path / ".venv").exists()


# The reader of blocks itself.


def test_blocks_are_read_with_their_marks() -> None:
    text = "a\n<!-- file: x.toml -->\n```toml\nb = 1\n```\n\n```sh\nmake demo\n```\n"
    assert blocks_of(text) == [Block("toml", "b = 1\n", "file: x.toml", 2), Block("sh", "make demo\n", "", 7)]


def test_an_excerpt_must_stand_there_in_order() -> None:
    assert_excerpt("b = 1\n...\nd\n", "a\n  b  =  1\nc\nd\n", "here")
    with pytest.raises(AssertionError, match="do not stand there"):
        assert_excerpt("d\n...\nb = 1\n", "a\nb = 1\nc\nd\n", "here")

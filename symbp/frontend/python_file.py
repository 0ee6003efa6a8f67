"""A model from a user's own Python file: ``digits.py``, ``digits.py:net``, ``digits.py:make_model``.

The file is run, as ``python digits.py`` would run it: this is for one's own code. A spec from somebody else belongs in
a TOML file, which is only read.
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
import traceback
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from symbp.errors import FileError, SpecError, SymbpError, did_you_mean
from symbp.frontend.model import Model


def load_python_model(path: Path, name: str = "") -> Model:
    """The `Model` called `name` in a Python file, or what the function of that name returns.

    Without a name: the file's only Model, or else its only function that is annotated to return one. Raises FileError
    for a missing file, SpecError for a missing name, another type or an exception inside the file.
    """
    module = _run(path)
    found = vars(module)
    if name:
        if name not in found:
            raise SpecError(
                f"'{path}' has nothing called '{name}'", remedy=did_you_mean(name, [*_models(module), *_makers(module)])
            )
        return _as_model(found[name], f"{path}:{name}", path)
    names = _models(module) or _makers(module)
    if len(names) != 1:
        shown = f"{len(names)} models: {', '.join(names)}" if names else "no Model"
        remedy = f"name one of them: {path}:{names[0]}" if names else "assign one: model = symbp.Model(..)"
        raise SpecError(f"'{path}' has {shown}", remedy=remedy)
    return _as_model(found[names[0]], f"{path}:{names[0]}", path)


def _models(module: ModuleType) -> list[str]:
    """Names of models; one model under two names counts once."""
    found: dict[int, str] = {}
    for name, value in vars(module).items():
        if isinstance(value, Model) and not name.startswith("_"):
            found.setdefault(id(value), name)
    return list(found.values())


def _makers(module: ModuleType) -> list[str]:
    """Names of the file's own functions that are annotated to return a Model and need no argument."""
    return [
        name
        for name, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == module.__name__ and _makes_a_model(value)
    ]


def _makes_a_model(function: FunctionType) -> bool:
    annotation = function.__annotations__.get("return")
    named = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    needs = [p for p in inspect.signature(function).parameters.values() if p.default is p.empty]
    return named.strip("'\"").rpartition(".")[2] == "Model" and not needs


def _as_model(value: Any, shown: str, path: Path) -> Model:
    if inspect.isfunction(value):
        try:
            value = value()
        except Exception as problem:
            raise _inside(problem, path) from problem
        if not isinstance(value, Model):
            raise SpecError(f"'{shown}' returns {_kind(value)}, expected a Model", remedy="return the model")
    if not isinstance(value, Model):
        raise SpecError(f"'{shown}' is {_kind(value)}, expected a Model or a function that returns one")
    return value


def _kind(value: Any) -> str:
    return "None" if value is None else f"a value of type {type(value).__name__}"


def _run(path: Path) -> ModuleType:
    """Import the file under a name of its own, with its folder on the search path, as Python does for a script."""
    if not path.is_file():
        raise FileError(f"there is no file '{path}'", remedy="check the path")
    spec = importlib.util.spec_from_file_location(f"symbp_spec_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise FileError(f"'{path}' is not a Python file", remedy="a model is a .py or a .toml file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up while it runs
    folder = str(path.resolve().parent)
    sys.path.insert(0, folder)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as problem:
        sys.modules.pop(spec.name, None)
        raise _inside(problem, path) from problem
    finally:
        if folder in sys.path:
            sys.path.remove(folder)
    return module


def _inside(problem: BaseException, path: Path) -> SymbpError:
    """An exception of the user's file as one line with the place in it."""
    if isinstance(problem, SyntaxError):
        file = Path(problem.filename or path).name
        return SpecError(f"{problem.msg} (Python)", place=f"{file}:{problem.lineno or 1}:{problem.offset or 1}")
    lines = [f.lineno for f in traceback.extract_tb(problem.__traceback__) if Path(f.filename) == path and f.lineno]
    place = f"{path.name}:{lines[-1]}" if lines else path.name
    if isinstance(problem, SymbpError):
        return problem.at(place)
    if isinstance(problem, SystemExit):
        return SpecError(
            "the file ends the program when it is imported", place=place, remedy="guard main() by __name__"
        )
    text = " ".join(str(problem).split())
    return SpecError(f"{type(problem).__name__}: {text[:200]}" if text else type(problem).__name__, place=place)

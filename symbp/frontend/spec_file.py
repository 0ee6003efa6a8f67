"""A model from a TOML file, which is only read: a spec from a stranger can do no more than be refused.

    [axes]        b = "batch"                 an index and its extent
    [inputs]      x = "b, j"                  arrays given at run time
    [parameters]  W = "j, k"                  tensors to be learnt
    equations     z[b, k] = sum(x[b, j]*W[j, k], j)
    [[layers]]    type = "Dense"              equations by name
    [loss], [optimizer], outputs

docs/spec-format.md describes each table.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import sympy as sp

from symbp.errors import FileError, SpecError, SymbpError, did_you_mean
from symbp.frontend.expression import Axis
from symbp.frontend.losses import LOSSES
from symbp.frontend.model import Model
from symbp.frontend.python_file import load_python_model
from symbp.frontend.reader import Names, read_expression
from symbp.frontend.spec_equations import SpecEquations
from symbp.frontend.spec_parts import read_initializer, read_loss, set_optimizer
from symbp.frontend.spec_table import MISPLACED, Table, read_toml
from symbp.frontend.syntax import Source, is_equation, shorten

_TABLES = ("model", "axes", "inputs", "parameters", "equations", "layers", "loss", "optimizer", "outputs")
_MODEL_KEYS = ("name", "equations", "outputs", "loss")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def load_model(spec: str | Path) -> Model:
    """The model of ``spec.toml``, ``file.py`` or ``file.py:name``.

    Raises FileError for a file that is not there or of another kind, SpecError for what is wrong in it.
    """
    text = str(spec)
    file, _, name = text.rpartition(":")
    if not _NAME.fullmatch(name) or not file.endswith((".py", ".toml")):
        file, name = text, ""
    path = Path(file)
    if path.suffix == ".py":
        return load_python_model(path, name)
    if path.suffix == ".toml":
        if name:
            raise FileError(f"'{file}' holds one model and takes no name", remedy=f"write {file}")
        return load_spec(path)
    if path.is_dir():
        raise FileError(f"'{file}' is a folder", remedy="a model is a .py or a .toml file")
    raise FileError(f"'{file}' is neither a .py nor a .toml file", remedy="a model is a .py or a .toml file")


def load_spec(path: str | Path) -> Model:
    """The model of a TOML spec. Nothing in the file is executed.

    Raises FileError for a file that cannot be read, SpecError (ShapeError) with file, line and column for the rest.
    """
    root = read_toml(Path(path))
    root.check_keys(_TABLES, "table or key")
    head = root.table("model")
    head.check_keys(_MODEL_KEYS)
    model = Model(_model_name(head, Path(path)))
    _read_axes(root.table("axes"), model)
    _read_inputs(root.table("inputs"), model)
    _read_parameters(root.table("parameters"), model)
    equations = SpecEquations(model)
    owner = _owner("equations", root, head)
    if owner:
        equations.add_texts(owner)
    for layer in root.tables("layers"):
        equations.add_layer(layer)
    if owner is None and not root.values.get("layers"):
        raise SpecError("the spec has no equations and no layers", place=root.places.file, remedy="add equations = ..")
    loss = _owner("loss", root, head)
    add_loss = _loss_writer(loss, model, equations) if loss else None
    equations.define_all()
    if add_loss:
        add_loss()
    if "optimizer" in root:
        set_optimizer(model, root.table("optimizer"))
    outputs = _owner("outputs", root, head)
    if outputs:
        for position, name in enumerate(outputs.texts("outputs")):
            at = ("outputs", position) if isinstance(outputs.values["outputs"], list) else ("outputs",)
            model.output(equations.tensor(outputs, name, *at), place=str(outputs.place(*at)))
    return model


def _model_name(head: Table, path: Path) -> str:
    """The name in the file, else the file's own name made into one."""
    if "name" not in head:
        return re.sub(r"\W", "_", path.stem, flags=re.ASCII).lstrip("0123456789_") or "model"
    name = head.text("name")
    try:
        Model(name)
    except SymbpError as problem:
        raise SpecError(problem.message, place=str(head.place("name")), remedy=problem.remedy) from None
    return name


def _owner(key: str, root: Table, head: Table) -> Table | None:
    """The table that holds a key which may stand at the top of the file or under [model]."""
    if key in root and key in head:
        raise head.error(f"'{key}' stands both at the top of the file and in [model]", key, remedy="keep one of them")
    return root if key in root else head if key in head else None


def _read_axes(table: Table, model: Model) -> None:
    """``b = "batch"``: a run-time size; ``j = 64``; ``l = "k"``: the extent of k; ``p = "(w - 2)//2"``."""
    pending = dict(table.values)
    while pending:
        # An axis may refer to one that stands below it.
        ready = [name for name, value in pending.items() if not _mentions(value, [n for n in pending if n != name])]
        if not ready:
            raise table.error(f"the extents of {', '.join(pending)} refer to each other", next(iter(pending)))
        for name in ready:
            value = pending.pop(name)
            _refuse_misplaced(table, name, value)
            place = table.place(name)
            extent: Any = table.checked(value, (int, str), name)
            if isinstance(extent, str):
                extent = _extent(model, extent.strip(), table, name)
            model.axis(name, extent, place=str(place))


def _mentions(value: Any, names: Iterable[str]) -> bool:
    words = _NAME.findall(value) if isinstance(value, str) else []
    return any(name in words for name in names)


def _extent(model: Model, text: str, table: Table, *keys: str) -> str | Axis | sp.Expr:
    """An extent as text: an axis stands for its extent, another single word names a run-time size."""
    if text in model.axes:
        return model.axes[text]
    if _NAME.fullmatch(text):
        return text
    sizes = {**model.sizes, **{name: axis.size for name, axis in model.axes.items()}}
    return read_expression(text, Names(sizes=sizes), table.place(*keys))


def _read_inputs(table: Table, model: Model) -> None:
    """``x = "b, j"``, or ``label = { axes = "b", dtype = "int", below = "k" }``."""
    for name, value in table.values.items():
        _refuse_misplaced(table, name, value)
        place = str(table.place(name))
        if not isinstance(value, dict):
            _check_free(table, model, name)
            model.input(name, *_axes(table, model, name), place=place)
            continue
        entry = table.table(name, f"input '{name}'")
        entry.check_keys(("axes", "dtype", "below", "finite"))
        _check_free(table, model, name)
        below: Any = entry.get("below", int, str) if "below" in entry else None
        if isinstance(below, str):
            below = _extent(model, below.strip(), entry, "below")
        dtype = entry.text("dtype", "float")
        finite = entry.get("finite", bool) if "finite" in entry else True
        model.input(name, *_axes(entry, model, "axes"), dtype=dtype, below=below, finite=finite, place=place)


def _read_parameters(table: Table, model: Model) -> None:
    """``W = "j, k"``, or ``W = { axes = "j, k", init = "he_normal" }`` with a name, a number or a table."""
    for name, value in table.values.items():
        _refuse_misplaced(table, name, value)
        place = str(table.place(name))
        if not isinstance(value, dict):
            _check_free(table, model, name)
            model.parameter(name, *_axes(table, model, name), place=place)
            continue
        entry = table.table(name, f"parameter '{name}'")
        entry.check_keys(("axes", "init"))
        _check_free(table, model, name)
        init = read_initializer(entry, "init") if "init" in entry else None
        place = str(entry.place("init")) if "init" in entry else place
        model.parameter(name, *_axes(entry, model, "axes"), init=init, place=place)


def _axes(table: Table, model: Model, key: str) -> tuple[Axis, ...]:
    """``"b, j"`` or ``["b", "j"]``; nothing for a scalar."""
    if key not in table and key == "axes":
        return ()
    value = table.get(key, str, list)
    if isinstance(value, list):
        words = [(table.checked(word, (str,), key, k).strip(), table.place(key, k)) for k, word in enumerate(value)]
    else:
        words = [
            (m.group().strip(), table.place(key).moved(value, m.start())) for m in re.finditer(r"[^\s,][^,]*", value)
        ]
    found: list[Axis] = []
    for word, place in words:
        if word not in model.axes:
            raise SpecError(
                f"{table.what}: '{shorten(word)}' is not an axis",
                place=str(place),
                remedy=did_you_mean(word, model.axes) or "declare it in [axes]",
            )
        found.append(model.axes[word])
    return tuple(found)


def _loss_writer(owner: Table, model: Model, equations: SpecEquations) -> Callable[[], object]:
    """What sets the loss once all equations are there; a loss with a left side becomes one of the equations.

    ``"mean(..)"``, ``"L = mean(..)"``, ``"L"``, or a table with ``equation`` or with ``type`` and tensors.
    """
    value = owner.get("loss", str, dict)
    if isinstance(value, dict):
        table = owner.table("loss")
        if "equation" not in table:
            kind, arguments = read_loss(table)
            place = str(table.place("type"))

            def write() -> object:
                tensors = [equations.tensor(table, name, key) for key, name in arguments.items()]
                with model._at(place):
                    return model.loss(LOSSES[kind](*tensors))

            return write
        table.check_keys(("equation",))
        source = Source(table.text("equation"), table.place("equation"))
    else:
        source = Source(value, owner.place("loss"))
    if is_equation(source):
        name = equations.add(source).defines
        return lambda: model.loss(model.tensors[name], place=str(source.place))
    if source.text.strip() in equations.defined():
        return lambda: model.loss(equations.names().tensors[source.text.strip()], place=str(source.place))
    return lambda: model.loss(read_expression(source.text, equations.names(), source.place), place=str(source.place))


def _check_free(table: Table, model: Model, name: str) -> None:
    """A tensor may not have the name of a run-time size: in equations the name could mean either."""
    if name in model.sizes:
        raise table.error(f"'{name}' is the name of a run-time size", name, remedy="rename the tensor or the size")


def _refuse_misplaced(table: Table, name: str, value: Any) -> None:
    """``equations = ..`` below ``[parameters]`` belongs to that table, which nobody means."""
    if name in ("equations", "outputs") and (isinstance(value, list) or "=" in str(value) or name == "outputs"):
        raise table.error(f"'{name}' stands in {table.what}", name, remedy=MISPLACED)

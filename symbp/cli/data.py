"""Data sets for `train`: files and scikit-learn's, as one array for each input of the model."""

from __future__ import annotations

import csv
import importlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from symbp.errors import DataError, FileError, TargetError, did_you_mean
from symbp.ir import DType, Tensor

Array = NDArray[Any]
SKLEARN = ("breast_cancer", "diabetes", "digits", "iris", "wine")


@dataclass(frozen=True)
class Samples:
    """Arrays by the name of the input; the first axis of each counts the samples. `classes` are the label's words."""

    source: str
    arrays: dict[str, Array]
    label: str = ""
    classes: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        return len(next(iter(self.arrays.values())))

    def take(self, rows: Array) -> Samples:
        return replace(self, arrays={name: array[rows] for name, array in self.arrays.items()})


def load_samples(source: str, inputs: Sequence[Tensor], dtype: str) -> Samples:
    """Read `source` for a model with these inputs; floats become `dtype`.

    Raises FileError, DataError or TargetError (scikit-learn is not there) for what does not fit.
    """
    if source.startswith("sklearn:"):
        samples = _from_sklearn(source, inputs)
    elif source.endswith(".npz"):
        samples = _from_npz(source, inputs)
    elif source.endswith(".csv"):
        samples = _from_csv(source, inputs)
    else:
        raise DataError(
            f"'{source}' is no data that can be read",
            remedy="give FILE.npz, FILE.csv or sklearn:NAME (such as sklearn:digits)",
        )
    arrays = {tensor.name: _as_declared(tensor, samples.arrays[tensor.name], source, dtype) for tensor in inputs}
    counts = {name: len(array) for name, array in arrays.items()}
    if len(set(counts.values())) > 1:
        shown = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise DataError(f"the arrays differ in their number of samples: {shown}", place=source)
    return replace(samples, arrays=arrays)


def split_samples(samples: Samples, fraction: float, seed: int) -> tuple[Samples, Samples]:
    """A training and a test part, drawn at random; the same for the same seed."""
    order = np.random.default_rng(seed).permutation(samples.count)
    held_out = round(samples.count * fraction)
    if held_out == samples.count:
        raise DataError(f"nothing is left to train with: {held_out} of {samples.count} samples are held out")
    return samples.take(order[held_out:]), samples.take(order[:held_out])


def standardise(train: Samples, test: Samples) -> tuple[Samples, Samples]:
    """Each feature of the training part with mean 0 and deviation 1, the test part shifted and scaled alike."""
    parts = [dict(train.arrays), dict(test.arrays)]
    for name, array in train.arrays.items():
        if name != train.label and array.dtype.kind == "f" and array.ndim > 1:
            mean, deviation = array.mean(axis=0), array.std(axis=0)
            deviation = np.where(deviation > 0, deviation, 1)
            for part in parts:
                part[name] = ((part[name] - mean) / deviation).astype(array.dtype)
    return replace(train, arrays=parts[0]), replace(test, arrays=parts[1])


def _as_declared(tensor: Tensor, array: Array, source: str, dtype: str) -> Array:
    """The array in the kind that the model declares. Whole numbers may come as floats; nothing is rounded."""
    place = f"{source}: {tensor.name}"
    if array.dtype.kind not in "biuf":
        raise DataError(f"expected numbers, found {array.dtype}", place=place)
    if array.ndim != tensor.rank:
        axes = f"[{', '.join(tensor.axes)}]"
        raise DataError(f"expected {tensor.rank} axes {axes}, found shape {array.shape}", place=place)
    for axis, extent in enumerate(tensor.shape):
        if extent.is_constant and array.shape[axis] != int(extent):
            raise DataError(f"expected {int(extent)} along axis {axis}, found {array.shape[axis]}", place=place)
    if tensor.dtype is DType.FLOAT:
        return array.astype(dtype)
    whole = array.astype(np.int64)
    if not np.array_equal(whole, array):
        raise DataError("expected whole numbers, found fractions", place=place)
    return whole


def _from_npz(source: str, inputs: Sequence[Tensor]) -> Samples:
    path = _existing(source)
    try:
        with np.load(path, allow_pickle=False) as file:
            found = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, KeyError) as problem:
        raise FileError(f"'{source}' is not a readable .npz file: {problem}") from None
    except Exception as problem:  # zipfile has errors of its own
        raise FileError(f"'{source}' is not a readable .npz file: {problem}") from None
    for tensor in inputs:
        if tensor.name not in found:
            holds = f"it holds {', '.join(sorted(found)) or 'nothing'}"
            remedy = did_you_mean(tensor.name, found)
            raise DataError(f"there is no array '{tensor.name}'; {holds}", place=source, remedy=remedy)
    label = _label(inputs)
    return Samples(source, {t.name: found[t.name] for t in inputs}, label.name if label else "")


def _label(inputs: Sequence[Tensor]) -> Tensor | None:
    """The input that is to be predicted: one number per sample, the integer one if there are several, else the last."""
    single = [t for t in inputs if t.rank == 1]
    return next((t for t in single if t.dtype is DType.INT), single[-1] if single else None)


def _features_and_label(source: str, inputs: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    tables = [t for t in inputs if t.rank == 2 and t.dtype is DType.FLOAT]
    label = _label(inputs)
    if len(inputs) != 2 or len(tables) != 1 or label is None:
        shown = ", ".join(f"{t.name}[{', '.join(t.axes)}]" for t in inputs)
        raise DataError(
            f"needs a model with two inputs, features[sample, feature] and a label[sample]; this one has {shown}",
            place=source,
            remedy="save the arrays to a .npz file under the names of the inputs",
        )
    return tables[0], label


def _from_sklearn(source: str, inputs: Sequence[Tensor]) -> Samples:
    name = source.partition(":")[2]
    if name not in SKLEARN:
        raise DataError(f"there is no data set 'sklearn:{name}'", remedy=did_you_mean(name, SKLEARN))
    features, label = _features_and_label(source, inputs)
    try:
        datasets = importlib.import_module("sklearn.datasets")
    except ImportError:
        raise TargetError("scikit-learn is not installed", remedy="pip install 'symbp[demo]'") from None
    loaded = getattr(datasets, f"load_{name}")()
    classes = tuple(str(word) for word in getattr(loaded, "target_names", ()))
    return Samples(source, {features.name: loaded.data, label.name: loaded.target}, label.name, classes)


def _from_csv(source: str, inputs: Sequence[Tensor]) -> Samples:
    header, rows = _csv_rows(source)
    columns = {name: [row[k] for row in rows] for k, name in enumerate(header)}
    table = next((t for t in inputs if t.rank == 2), None)
    label = _label(inputs)
    taken: dict[str, str] = {t.name: t.name for t in inputs if t.rank == 1 and t.name in columns}
    if label is not None and label.name not in taken:
        taken[label.name] = header[-1]
    for tensor in inputs:
        if tensor.name not in taken and tensor is not table:
            remedy = did_you_mean(tensor.name, columns)
            raise DataError(f"there is no column '{tensor.name}'", place=source, remedy=remedy)
    arrays: dict[str, Array] = {}
    classes: tuple[str, ...] = ()
    for name, column in taken.items():
        words = label is not None and name == label.name and label.dtype is DType.INT
        if words and not _are_numbers(columns[column]):
            classes = tuple(sorted(set(columns[column])))
            arrays[name] = np.array([classes.index(word) for word in columns[column]], dtype=np.int64)
        else:
            arrays[name] = _numbers(columns[column], column, source)
    if table is not None:
        features = [name for name in header if name not in taken.values()]
        arrays[table.name] = np.stack([_numbers(columns[name], name, source) for name in features], axis=1)
    return Samples(source, arrays, label.name if label else "", classes)


def _csv_rows(source: str) -> tuple[list[str], list[list[str]]]:
    path = _existing(source)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = [(reader.line_num, row) for reader in [csv.reader(file)] for row in reader if row]
    except (OSError, UnicodeDecodeError, csv.Error) as problem:
        raise FileError(f"'{source}' is not a readable .csv file: {problem}") from None
    if len(lines) < 2:
        raise DataError("expected a header line and at least one sample", place=source)
    header = [name.strip() for name in lines[0][1]]
    if len(set(header)) < len(header):
        twice = next(name for name in header if header.count(name) > 1)
        raise DataError(f"two columns are named '{twice}'", place=f"{source}:1")
    for number, row in lines[1:]:
        if len(row) != len(header):
            raise DataError(f"expected {len(header)} values, found {len(row)}", place=f"{source}:{number}")
    return header, [[value.strip() for value in row] for _, row in lines[1:]]


def _are_numbers(values: Sequence[str]) -> bool:
    try:
        return bool([float(value) for value in values])
    except ValueError:
        return False


def _numbers(values: Sequence[str], column: str, source: str) -> Array:
    for number, value in enumerate(values):
        try:
            float(value)
        except ValueError:
            shown = value if len(value) <= 30 else f"{value[:30]}.."
            place = f"{source}, sample {number + 1}"
            raise DataError(f"column '{column}': expected a number, found '{shown}'", place=place) from None
    return np.array([float(value) for value in values])


def _existing(source: str) -> Path:
    path = Path(source)
    if not path.is_file():
        raise FileError(f"there is no file '{source}'", remedy="check the path")
    return path

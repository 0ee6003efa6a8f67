"""Losses: functions of tensors (or of elements) that write one scalar expression.

``model.loss(mse(y, target))``. The tensors have the same axes; means run over all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sympy as sp

from symbp.errors import ShapeError, SpecError
from symbp.frontend.expression import Axis
from symbp.frontend.functions import log, logsumexp, mean, softplus, sqrt, sum
from symbp.frontend.handle import TensorHandle


def mse(prediction: TensorHandle, target: TensorHandle) -> sp.Expr:
    """Mean squared error, ``mean((y - t)**2)``."""
    y, t, axes = _pair("mse", prediction, target)
    return mean((y - t) ** 2, *axes) if axes else (y - t) ** 2


def rms(prediction: TensorHandle, target: TensorHandle) -> sp.Expr:
    """Root mean square, ``sqrt(mean((y - t)**2))``; its gradient at zero error is taken as 0."""
    result: sp.Expr = sqrt(mse(prediction, target))
    return result


def mae(prediction: TensorHandle, target: TensorHandle) -> sp.Expr:
    """Mean absolute error, ``mean(|y - t|)``; its gradient where they agree is 0."""
    y, t, axes = _pair("mae", prediction, target)
    return mean(sp.Abs(y - t), *axes) if axes else sp.Abs(y - t)


def bce(probability: TensorHandle, target: TensorHandle) -> sp.Expr:
    """Binary cross-entropy of probabilities, ``mean(-(t log p + (1 - t) log(1 - p)))``.

    Written as in textbooks; where p is a sigmoid, the compiler rewrites it to the form that is exact for every logit.
    """
    p, t, axes = _pair("bce", probability, target)
    loss = -(t * log(p) + (1 - t) * log(1 - p))
    return mean(loss, *axes) if axes else loss


def bce_with_logits(logit: TensorHandle, target: TensorHandle) -> sp.Expr:
    """Binary cross-entropy of logits, ``mean(softplus(z) - t z)``."""
    z, t, axes = _pair("bce_with_logits", logit, target)
    loss = softplus(z) - t * z
    return mean(loss, *axes) if axes else loss


def softmax_cross_entropy(logits: TensorHandle, label: TensorHandle) -> sp.Expr:
    """Cross-entropy of softmax, ``mean[b](logsumexp[k](z[b, k]) - z[b, label[b]])``.

    The classes are the last axis of the logits. `label` has the other axes and holds class numbers; or it has all axes
    and holds probabilities.
    """
    _check_tensors("softmax_cross_entropy", logits, label)
    *kept, k = logits.axes
    z = logits.here
    if label.rank == logits.rank:
        t = label[logits.axes]
        loss = logsumexp(z, k) * sum(t, k) - sum(t * z, k)
    elif label.rank == logits.rank - 1:
        chosen = label[tuple(kept)] if kept else label._sympy_()
        loss = logsumexp(z, k) - logits[(*kept, chosen)]
    else:
        raise ShapeError(
            f"softmax_cross_entropy: '{logits.name}' has axes ({_names(logits.axes)}), so the labels have axes "
            f"({_names(tuple(kept))}); '{label.name}' has ({_names(label.axes)})"
        )
    return mean(loss, *kept) if kept else loss


#: Every loss by the name that spec files use.
LOSSES: dict[str, Callable[[TensorHandle, TensorHandle], sp.Expr]] = {
    f.__name__: f for f in (mse, rms, mae, bce, bce_with_logits, softmax_cross_entropy)
}


def _pair(name: str, one: Any, other: Any) -> tuple[sp.Expr, sp.Expr, tuple[Axis, ...]]:
    """The elements of two tensors at the axes of the first."""
    _check_tensors(name, one, other)
    if one.rank != other.rank:
        raise ShapeError(
            f"{name}: '{one.name}' has axes ({_names(one.axes)}), '{other.name}' has ({_names(other.axes)}); "
            "expected the same"
        )
    if any(a.size != b.size for a, b in zip(one.axes, other.axes, strict=True)):
        raise ShapeError(
            f"{name}: '{one.name}' is {_sizes(one.axes)}, '{other.name}' is {_sizes(other.axes)}; expected the same"
        )
    return one.here, other[one.axes] if one.axes else other._sympy_(), one.axes


def _check_tensors(name: str, *tensors: Any) -> None:
    for tensor in tensors:
        if not isinstance(tensor, TensorHandle):
            raise SpecError(
                f"{name} takes tensors, found {type(tensor).__name__} {tensor}",
                remedy="name the expression first: y = model.define('y[b]', ..)",
            )


def _names(axes: tuple[Axis, ...]) -> str:
    return ", ".join(a.name for a in axes)


def _sizes(axes: tuple[Axis, ...]) -> str:
    return " x ".join(str(a.size) for a in axes) or "a scalar"

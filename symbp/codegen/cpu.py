"""The CPU target: what its templates need. Procedures are functions that Numba compiles; others put them together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from symbp.codegen.interface import (
    batching,
    enter,
    forward_places,
    merged,
    output_text,
    returned_type,
    scratch_lines,
    size_code,
)
from symbp.codegen.layout import call, joined_names, signature
from symbp.codegen.layout import parts as tuple_text
from symbp.codegen.procedure import ProcedureText, write_procedure
from symbp.ir.plan import Plan
from symbp.ir.program import DType, Tensor


def cpu_context(plan: Plan, dtype: str) -> dict[str, Any]:
    """The functions of kernels.py and the pieces of the interface's functions."""
    texts = {p.name: write_procedure(plan, p, dtype) for p in plan.procedures}
    predict = _predict(plan, texts["predict_into"]) if "predict_into" in texts else None
    train = _train(plan, texts) if "forward" in texts else None
    fit = _fit(plan, texts, train["inputs"]) if train is not None and "update" in texts else None
    return {
        "procedures": [_headed(one) for text in texts.values() for one in (*text.parts, text)],
        "calls": _kernel_calls(plan, texts),
        "predict": predict,
        "train": train,
        "fit": fit,
    }


def _predict(plan: Plan, text: ProcedureText) -> dict[str, Any]:
    """The pieces of ``predict``."""
    inputs = [n for n in text.given if n in {t.name for t in plan.inputs}]
    lines = scratch_lines(plan, "predict")
    code_name = text.printer.code.names.name
    shapes = [output_text(t, plan) for t in plan.outputs]
    for tensor in plan.outputs:
        extents = [size_code(e) for e in tensor.shape] or ["1"]
        dtype = "np.int64" if tensor.dtype is DType.INT else "DTYPE"
        lines.append(f"{code_name(tensor.name)} = np.empty({tuple_text(extents)}, {dtype})")
    arguments = _handed(plan, text.given)
    lines.append(call("kernels.predict_into", arguments, indent=4))
    names = [code_name(t.name) if t.shape else f"float({code_name(t.name)}[0])" for t in plan.outputs]
    typed = ["params: Parameters", *(f"{n}: ArrayLike" for n in inputs)]
    return {
        "header": signature("predict", typed, returned_type(plan, "Array")),
        "inputs": inputs,
        "enter": _enter(inputs),
        "lines": lines,
        "returns": ", ".join(names),
        "outputs_text": joined_names(shapes),
        "call": call("net.predict", ["params", *inputs]),
    }


def _train(plan: Plan, texts: dict[str, ProcedureText]) -> dict[str, Any]:
    """The pieces of ``loss`` and ``loss_and_grad``."""
    forward, backward = texts["forward"], texts["backward"]
    known = [t.name for t in plan.inputs]
    inputs = [n for n in known if n in (*forward.given, *backward.given)]
    typed = ["params: Parameters", *(f"{n}: ArrayLike" for n in inputs)]
    return {
        "inputs": inputs,
        "loss_header": signature("loss", typed, "float"),
        "grad_header": signature("loss_and_grad", typed, "tuple[float, Parameters]"),
        "enter": _enter(inputs),
        "scratch": scratch_lines(plan, "train"),
        "loss_scratch": scratch_lines(plan, "train", forward.given),
        "forward": call("kernels.forward", _handed(plan, forward.given), indent=17),
        # Two calls, not one of loss_and_grad_into: that one would compile the code of both a second time.
        "value": call("kernels.forward", _handed(plan, forward.given), indent=12),
        "backward": call("kernels.backward", _handed(plan, backward.given, grads="grads.flat"), indent=4),
    }


def _fit(plan: Plan, texts: dict[str, ProcedureText], inputs: list[str]) -> dict[str, Any]:
    """The pieces of ``train_step`` and ``fit``."""
    kept = [f"state.{a}" for a in _kept(texts["update"])]
    step = _step_arguments(texts["forward"].given, texts["backward"].given, kept, "state.count")
    batched, batch_size = batching(plan, inputs)
    typed = ["params: Parameters", "state: OptimizerState", *(f"{n}: ArrayLike" for n in inputs)]
    written = forward_places(plan)
    arguments = _handed(plan, step)
    if batched:
        loop = _handed(plan, _train_steps_arguments(step, batched))
        steps = call("kernels.train_steps_into", loop, indent=8)
    else:
        steps = call("kernels.train_step_into", arguments, indent=8, lead="losses[first] = ")
    return {
        "step_header": signature("train_step", typed, "float"),
        "step": call("kernels.train_step_into", arguments, indent=8),
        "steps": steps,
        "batched": batched,
        "batch_size": batch_size,
        "setting_names": ", ".join(t.name for t in plan.hyper if t.name != "t"),
        "check": call("OPTIMIZER.check", ["state", "params", *inputs], indent=4),
        "validation": call("_door.validation", ["params", "validation", *(f'"{n}"' for n in inputs)], indent=21),
        "explain": call(
            "_first_not_finite", ["params", *(f"{n}[rows]" if n in batched else n for n in inputs)], indent=15
        ),
        "explain_header": signature(
            "_first_not_finite", ["params: Parameters", *(f"{n}: Array" for n in inputs)], "str | None"
        ),
        "forward": call("kernels.forward", _handed(plan, texts["forward"].given), indent=12),
        "written": [(text, place) for text, place, _ in written],
        "written_sizes": [s.name for s in plan.sizes() if any(s in sizes for _, _, sizes in written)],
    }


def _step_arguments(forward: Sequence[str], backward: Sequence[str], kept: Sequence[str], count: str) -> list[str]:
    """Arguments of ``train_step_into``: those of the functions that it calls, `kept` those of the optimizer alone."""
    return [*merged(forward, backward), *kept, count]


def _kept(update: ProcedureText) -> list[str]:
    """What an update takes besides the parameters, their gradient and the count of steps."""
    return [a for a in update.arguments if a not in ("params", "grads", "count")]


def _train_steps_arguments(step: Sequence[str], batched: Sequence[str]) -> list[str]:
    """Arguments of ``train_steps_into``: the data, the arrays of one batch, then which steps."""
    ordered = list(step)
    position = max(ordered.index(n) for n in batched) + 1
    ordered[position:position] = [f"{n}_batch" for n in batched]
    return [*ordered, "order", "batch", "first", "last", "losses"]


def _enter(inputs: list[str]) -> str:
    return enter("_door.enter", ["flat"], inputs)


def _handed(plan: Plan, arguments: Sequence[str], grads: str = "grads") -> list[str]:
    """Arguments as the interface hands them to kernels: a number as itself, not as an array without axes."""
    names = {"params": "flat", "grads": grads, **{t.name: f"{t.name}[()]" for t in plan.inputs if not t.shape}}
    return [names.get(a, a) for a in arguments]


def _headed(text: ProcedureText) -> dict[str, Any]:
    calls = [call(p.name, p.arguments, indent=4) for p in text.parts[:-1]]
    for last in text.parts[-1:]:
        calls.append(call(last.name, last.arguments, indent=4, lead="return " if text.returns else ""))
    return {
        "header": signature(text.name, text.arguments),
        "calls": calls,
        **{name: getattr(text, name) for name in ("name", "summary", "sizes", "views", "nests", "returns", "printer")},
    }


def _kernel_calls(plan: Plan, texts: dict[str, ProcedureText]) -> dict[str, Any]:
    """Headers and calls of the kernels that only put others together."""
    calls: dict[str, Any] = {"forward": None, "one_update": None, "batched": []}
    if "forward" not in texts:
        return calls
    forward, backward = texts["forward"].arguments, texts["backward"].arguments
    calls["forward"] = call("forward", forward, indent=11)
    calls["backward"] = call("backward", backward, indent=4)
    calls["loss_and_grad_header"] = signature("loss_and_grad_into", merged(forward, backward))
    if "update" not in texts:
        return calls
    update = texts["update"].arguments
    step = _step_arguments(forward, backward, _kept(texts["update"]), "count")
    calls["one_update"] = call("update", update, indent=4)
    calls["train_step_header"] = signature("train_step_into", step)
    code_name = texts["forward"].printer.code.names.name
    inputs, _ = batching(plan, [t.name for t in plan.inputs if code_name(t.name) in step])
    batched = [code_name(name) for name in inputs]
    calls["batched"] = batched
    if batched:
        calls["train_steps_header"] = signature("train_steps_into", _train_steps_arguments(step, batched))
        calls["gathers"] = [_gather(plan.tensors[name], code_name(name)) for name in inputs]
        calls["rows_forward"] = call("forward", _of_rows(forward, batched), indent=8, lead="losses[turn] = ")
        calls["rows_backward"] = call("backward", _of_rows(backward, batched), indent=8)
        calls["rows_update"] = call("update", update, indent=8)
    return calls


def _of_rows(arguments: tuple[str, ...], batched: list[str]) -> list[str]:
    return [f"{a}_rows" if a in batched else a for a in arguments]


def _gather(tensor: Tensor, name: str) -> str:
    """Copy one sample of an input to its row of the batch, element by element."""
    indices = [f"i{k}" for k in range(1, tensor.rank)]
    here, there = (", ".join([first, *indices]) for first in ("row", "sample"))
    lines = [f"for {i} in range({name}.shape[{k}]):" for k, i in enumerate(indices, start=1)]
    lines.append(f"{name}_batch[{here}] = {name}[{there}]")
    return "\n".join("    " * depth + line for depth, line in enumerate(lines))

"""The CPU target: what its templates need. Procedures are functions that Numba compiles; others put them together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from symbp.codegen.chunks import BOTH, FORWARD, Chunks, chunk_kernels
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
from symbp.codegen.training import gather, kept_by_optimizer, step_arguments, train_steps_arguments
from symbp.ir.plan import Plan
from symbp.ir.program import DType


def cpu_context(plan: Plan, dtype: str) -> dict[str, Any]:
    """The functions of kernels.py and the pieces of the interface's functions."""
    texts = {p.name: write_procedure(plan, p, dtype) for p in plan.procedures}
    chunks = {use: Chunks(plan, cut, texts) for use, cut in plan.cuts.items()}
    predict = _predict(plan, texts, chunks.get("predict")) if plan.outputs else None
    train = _train(plan, texts, chunks.get("train")) if plan.loss else None
    fit = _fit(plan, texts, train["inputs"], chunks.get("train")) if train is not None and "update" in texts else None
    return {
        "procedures": [_headed(one, plan) for text in texts.values() for one in (*text.parts, text)],
        "calls": _kernel_calls(plan, texts) if "forward" in texts else None,
        "chunked": chunk_kernels(plan, texts, chunks),
        "predict": predict,
        "train": train,
        "fit": fit,
    }


def _predict(plan: Plan, texts: dict[str, ProcedureText], chunks: Chunks | None) -> dict[str, Any]:
    """The pieces of ``predict``."""
    text = texts["predict_into" if chunks is None else "predict_rows"]
    inputs = [n for n in text.given if n in {t.name for t in plan.inputs}]
    given = text.given if chunks is None else chunks.given(chunks.arguments("predict_rows"))
    lines = scratch_lines(plan, "predict")
    code_name = text.printer.code.names.name
    shapes = [output_text(t, plan) for t in plan.outputs]
    for tensor in plan.outputs:
        extents = [size_code(e) for e in tensor.shape] or ["1"]
        dtype = "np.int64" if tensor.dtype is DType.INT else "DTYPE"
        lines.append(f"{code_name(tensor.name)} = np.empty({tuple_text(extents)}, {dtype})")
    lines += _choice(chunks, "predict_into", "predict_threads")
    arguments = _handed(plan, given)
    lines.append(call("kernels.predict_into" if chunks is None else "run", arguments, indent=4))
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


def _choice(chunks: Chunks | None, one: str, threads: str) -> list[str]:
    """The line that chooses between a kernel for one thread and its twin for several."""
    return [f"run = kernels.{threads} if workers > 1 else kernels.{one}"] if chunks is not None else []


#: Procedures that the interface calls, or people; others are there for kernels that put them together.
_CALLED = ("predict_into", "forward", "backward", "update")


def _passes(texts: dict[str, ProcedureText], chunks: Chunks | None) -> tuple[list[str], list[str]]:
    """The arguments of the forward pass and those of the backward pass; the second of both, where a chunk does both."""
    if chunks is not None:
        return chunks.given(chunks.arguments(*FORWARD)), chunks.given(chunks.arguments(*BOTH))
    return list(texts["forward"].given), list(texts["backward"].given)


def _train(plan: Plan, texts: dict[str, ProcedureText], chunks: Chunks | None) -> dict[str, Any]:
    """The pieces of ``loss`` and ``loss_and_grad``."""
    forward, backward = _passes(texts, chunks)
    known = [t.name for t in plan.inputs]
    inputs = [n for n in known if n in (*forward, *backward)]
    typed = ["params: Parameters", *(f"{n}: ArrayLike" for n in inputs)]
    scratch, loss_scratch = scratch_lines(plan, "train"), scratch_lines(plan, "train", forward)
    pieces = {
        "inputs": inputs,
        "loss_header": signature("loss", typed, "float"),
        "grad_header": signature("loss_and_grad", typed, "tuple[float, Parameters]"),
        "enter": _enter(inputs),
        "scratch": scratch,
        "loss_lines": [*loss_scratch, *_choice(chunks, "forward", "forward_threads")],
        "forward": call("kernels.forward" if chunks is None else "run", _handed(plan, forward), indent=17),
    }
    if chunks is not None:
        both = call("run", _handed(plan, backward, grads="grads.flat"), indent=4, lead="value = ")
        return {
            **pieces,
            "grad_lines": [*scratch, *_choice(chunks, "loss_and_grad_into", "loss_and_grad_threads"), both],
        }
    # Two calls, not one of loss_and_grad_into: that one would compile the code of both a second time.
    value = call("kernels.forward", _handed(plan, forward), indent=4, lead="value = ")
    rest = call("kernels.backward", _handed(plan, backward, grads="grads.flat"), indent=4)
    return {**pieces, "grad_lines": [*scratch, value, rest]}


def _fit(plan: Plan, texts: dict[str, ProcedureText], inputs: list[str], chunks: Chunks | None) -> dict[str, Any]:
    """The pieces of ``train_step`` and ``fit``."""
    forward, backward = _passes(texts, chunks)
    kept = [f"state.{a}" for a in kept_by_optimizer(texts["update"])]
    step = step_arguments(forward, backward, kept, "state.count")
    batched, batch_size = batching(plan, inputs)
    typed = ["params: Parameters", "state: OptimizerState", *(f"{n}: ArrayLike" for n in inputs)]
    written = forward_places(plan)
    arguments = _handed(plan, step)
    many, one = ("kernels.train_steps_into", "kernels.train_step_into") if chunks is None else ("run", "run")
    if batched:
        loop = _handed(plan, train_steps_arguments(step, batched))
        steps = call(many, loop, indent=8)
    else:
        steps = call(one, arguments, indent=8, lead="losses[first] = ")
    chosen = ("train_steps_into", "train_steps_threads") if batched else ("train_step_into", "train_step_threads")
    piece = chunks.cut.shortest if chunks is not None and batched else 0  # of a batch: it is one chunk
    return {
        "step_header": signature("train_step", typed, "float"),
        "step_lines": _choice(chunks, "train_step_into", "train_step_threads"),
        "step": call(one, arguments, indent=8),
        "steps_lines": _choice(chunks, *chosen),
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
            "_first_not_finite",
            ["params: Parameters", *(f"{n}: Array" for n in inputs), *(["first: int = 0"] if piece else [])],
            "str | None",
        ),
        "piece": piece,
        "explain_piece": call(
            "_first_not_finite",
            ["params", *(f"{n}[k : k + {piece}]" if n in batched else n for n in inputs), "k"],
            indent=12,
        ),
        "forward": call("kernels.forward", _handed(plan, forward), indent=12),
        "written": [(text, place) for text, place, _ in written] if piece or chunks is None else [],
        "written_sizes": [s.name for s in plan.sizes() if any(s in sizes for _, _, sizes in written)],
    }


def _enter(inputs: list[str]) -> str:
    return enter("_door.enter", ["flat"], inputs)


def _handed(plan: Plan, arguments: Sequence[str], grads: str = "grads") -> list[str]:
    """Arguments as the interface hands them to kernels: a number as itself, not as an array without axes."""
    names = {"params": "flat", "grads": grads, **{t.name: f"{t.name}[()]" for t in plan.inputs if not t.shape}}
    return [names.get(a, a) for a in arguments]


def _headed(text: ProcedureText, plan: Plan) -> dict[str, Any]:
    calls = [call(p.name, p.arguments, indent=4) for p in text.parts[:-1]]
    for last in text.parts[-1:]:
        calls.append(call(last.name, last.arguments, indent=4, lead="return " if text.returns else ""))
    return {
        "header": signature(text.name, text.arguments),
        "decorator": "kernel" if text.name in _CALLED and not (text.name == "update" and plan.cuts) else "piece",
        "calls": calls,
        **{name: getattr(text, name) for name in ("name", "summary", "sizes", "views", "nests", "returns", "printer")},
    }


def _kernel_calls(plan: Plan, texts: dict[str, ProcedureText]) -> dict[str, Any]:
    """Headers and calls of the kernels that only put others together."""
    calls: dict[str, Any] = {"forward": None, "one_update": None, "batched": []}
    forward, backward = texts["forward"].arguments, texts["backward"].arguments
    calls["forward"] = call("forward", forward, indent=11)
    calls["backward"] = call("backward", backward, indent=4)
    calls["loss_and_grad_header"] = signature("loss_and_grad_into", merged(forward, backward))
    if "update" not in texts:
        return calls
    update = texts["update"].arguments
    step = step_arguments(forward, backward, kept_by_optimizer(texts["update"]), "count")
    calls["one_update"] = call("update", update, indent=4)
    calls["train_step_header"] = signature("train_step_into", step)
    code_name = texts["forward"].printer.code.names.name
    inputs, _ = batching(plan, [t.name for t in plan.inputs if code_name(t.name) in step])
    batched = [code_name(name) for name in inputs]
    calls["batched"] = batched
    if batched:
        calls["train_steps_header"] = signature("train_steps_into", train_steps_arguments(step, batched))
        calls["gathers"] = [gather(plan.tensors[name], code_name(name)) for name in inputs]
        calls["rows_forward"] = call("forward", _of_rows(forward, batched), indent=8, lead="losses[turn] = ")
        calls["rows_backward"] = call("backward", _of_rows(backward, batched), indent=8)
        calls["rows_update"] = call("update", update, indent=8)
    return calls


def _of_rows(arguments: tuple[str, ...], batched: list[str]) -> list[str]:
    return [f"{a}_rows" if a in batched else a for a in arguments]

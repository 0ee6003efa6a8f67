"""The CUDA target: what its templates need. Kernels are functions of the device; the host's programs launch them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from symbp.codegen.host_text import HostText, write_program
from symbp.codegen.interface import (
    ScratchFunction,
    batching,
    enter,
    forward_places,
    output_text,
    returned_type,
    scratch_functions,
    scratch_lines,
    size_code,
)
from symbp.codegen.kernel_text import FileNames, KernelText, write_kernel
from symbp.codegen.layout import call, display, joined_names, parts, signature
from symbp.codegen.printer import RUNTIME_FUNCTIONS
from symbp.codegen.writer import code_names, state_inputs
from symbp.ir.names import fresh_name
from symbp.ir.plan import Kernel, Launch, Plan, Repeat, Step
from symbp.ir.program import DType

#: Names that the file of the kernels uses for itself besides those of its functions.
TAKEN = (
    "np", "math", "cuda", "real", "Reals", "Integers", "Doubles", "Size", "pointer",
    "thread_kernel", "warp_kernel", "block_kernel", "column_kernel", "WARP", "BLOCK", "COLUMN",
    *(f"{team}_{what}" for team in ("warp", "block", "column") for what in ("sum", "max")),
    "view", "unravel", "largest", "spread", "settled", "contract", "advance",
    "device", "point", "lane", "rank", "first", "stop", "value",
    "workspace", "positions", "params", "grads", "numbers", "count",
    *sorted(RUNTIME_FUNCTIONS),
)  # fmt: skip


def cuda_context(plan: Plan, dtype: str) -> dict[str, Any]:
    """The kernels and programs of the kernels' file, and the pieces of the interface's functions."""
    launched = {p.name: tuple(_kernels(p.steps)) for p in plan.procedures}
    own = (*TAKEN, *(k.name for found in launched.values() for k in found), *launched, "train_step_into")
    # A whole step takes the inputs, the loss, and what the optimizer keeps: none may be called like another.
    kept = (*state_inputs(plan), *(name for name in plan.state if name == plan.loss))
    kernels: dict[str, KernelText] = {}
    programs: dict[str, HostText] = {}
    for procedure in plan.procedures:
        taken = frozenset(own if procedure.name == "update" else (*own, *kept))
        file = FileNames(code_names(plan, taken), taken)
        for kernel in launched[procedure.name]:
            kernels[kernel.name] = write_kernel(plan, procedure, kernel, dtype, file)
        programs[procedure.name] = write_program(plan, procedure, dtype, file, kernels)
    face = Interface(plan, programs)
    return {
        "kernels": list(kernels.values()),
        "programs": list(programs.values()),
        "step": face.step() if "update" in programs else None,
        "device": face.device,
        "scratch_headers": {f.name: face.scratch_header(f) for f in scratch_functions(plan)},
        "predict": face.predict() if "predict_into" in programs else None,
        "train": face.train() if "forward" in programs else None,
        "fit": face.fit() if "update" in programs else None,
    }


def _kernels(steps: tuple[Step, ...]) -> Iterator[Kernel]:
    for step in steps:
        if isinstance(step, Launch):
            yield step.kernel
        elif isinstance(step, Repeat):
            yield from _kernels(step.steps)


class Interface:
    """The pieces of the functions that people call."""

    def __init__(self, plan: Plan, programs: dict[str, HostText]) -> None:
        self.plan = plan
        self.programs = programs
        # An input may have the name already.
        taken = {"device", *plan.tensors} if any(t.name == "device" for t in plan.inputs) else ()
        self.device = fresh_name("device", taken)
        used = {n for name in ("forward", "backward") if name in programs for n in programs[name].inputs}
        self.inputs = [t.name for t in plan.inputs if t.name in used]  # of training

    def predict(self) -> dict[str, Any]:
        """The pieces of ``predict``."""
        plan, text = self.plan, self.programs["predict_into"]
        lines = scratch_lines(plan, "predict", device=self.device)
        names = [self._code_name("predict_into", t.name) for t in plan.outputs]
        for name, tensor in zip(names, plan.outputs, strict=True):
            dtype = "np.int64" if tensor.dtype is DType.INT else "DTYPE"
            shape = parts([size_code(e) for e in tensor.shape])
            lines.append(call(f"{self.device}.empty", [shape, dtype], indent=4, lead=f"{name} = "))
        lines.append(self._call("predict_into"))
        return {
            "header": signature("predict", self._typed(text.inputs), returned_type(plan, "DeviceArray")),
            "enter": self._enter("enter", text.inputs),
            "lines": lines,
            "returns": ", ".join(n if t.shape else f"float({n})" for n, t in zip(names, plan.outputs, strict=True)),
            "outputs_text": joined_names([output_text(t, plan) for t in plan.outputs]),
            "call": call("net.predict", ["params", *text.inputs]),
        }

    def train(self) -> dict[str, Any]:
        """The pieces of ``loss`` and ``loss_and_grad``."""
        typed = self._typed(self.inputs)
        forward = self.programs["forward"].arguments
        return {
            "inputs": self.inputs,
            "loss_header": signature("loss", typed, "float"),
            "grad_header": signature("loss_and_grad", typed, "tuple[float, DeviceParameters]"),
            "enter": self._enter("enter", self.inputs),
            "scratch": scratch_lines(self.plan, "train", device=self.device),
            "loss_scratch": scratch_lines(self.plan, "train", forward, device=self.device),
            "forward": self._call("forward"),
            "backward": self._call("backward", grads="grads.flat"),
        }

    def fit(self) -> dict[str, Any]:
        """The pieces of ``train_step`` and ``fit``."""
        inputs, device, plan = self.inputs, self.device, self.plan
        batched, size = batching(plan, inputs)
        kept = self._kept()
        arrays = self._given("forward", self._model_arguments())
        arrays += [
            *(["*state.vectors"] if plan.state else []),
            *(["state.numbers"] * ("numbers" in kept)),
            "state.count",
        ]
        written = forward_places(plan, "values")
        rows = [f"take({device}, {n}, rows)" if n in batched else n for n in inputs]
        typed = [f"{n}: DeviceArray" for n in inputs]
        return {
            "step_header": signature("train_step", self._typed(inputs, "state: DeviceOptimizerState"), "float"),
            "stage": self._enter("stage", inputs),
            "load": self._enter("load", inputs),
            "arrays": display("arrays = ", arrays, indent=4),
            "step_of_batch": call("kernels.train_step_into", [device, *arrays], indent=8),
            "batch_header": signature("step", typed, "None"),
            "data": parts(inputs),
            "batched": batched,
            "which": parts([str(n in batched) for n in inputs]),
            "batch_size": size,
            "setting_names": ", ".join(t.name for t in plan.hyper if t.name != "t"),
            "validation": call("_door.validation", ["params", "validation", *(f'"{n}"' for n in inputs)], indent=21),
            "explain": call("_first_not_finite", ["params", *rows], indent=15),
            "explain_header": signature("_first_not_finite", ["params: DeviceParameters", *typed], "str | None"),
            "written": [(text, place) for text, place, _ in written],
            "written_sizes": [s.name for s in plan.sizes() if any(s in sizes for _, _, sizes in written)],
        }

    def step(self) -> dict[str, Any]:
        """The program of a whole step, beside the programs that it puts together."""
        names = ("forward", "backward", "update")
        calls = {n: call(n, ["device", *self.programs[n].arguments], indent=4) for n in names}
        arguments = ["device", *self._model_arguments(), *self._kept(), "count"]
        return {"header": signature("train_step_into", arguments), "calls": calls}

    def scratch_header(self, function: ScratchFunction) -> str:
        """The header of a function that gives memory to work in."""
        typed = [f"{self.device}: Device", *(f"{size}: int" for size in function.sizes), "**_: int"]
        return signature(function.name, typed, "DeviceArray")

    def _model_arguments(self) -> list[str]:
        """What the forward and the backward pass take, in the order of each."""
        present = {"params", "grads", *self.programs["forward"].arguments, *self.programs["backward"].arguments}
        inputs = [self._code_name("forward", n) for n in self.inputs]
        order = ["params", *inputs, "workspace", "positions", self._code_name("forward", self.plan.loss), "grads"]
        return [a for a in order if a in present]

    def _kept(self) -> list[str]:
        """What an update takes besides the parameters, their gradient and the count of steps."""
        update = self.programs["update"].arguments
        assert all(v in update for v in self.plan.state), "every vector of an optimizer has a part in its update"
        return [a for a in update if a not in ("params", "grads", "count")]

    def _code_name(self, program: str, tensor: str) -> str:
        return self.programs[program].printer.code.names.name(tensor)

    def _given(self, program: str, arguments: Iterable[str], grads: str = "grads") -> list[str]:
        """Arguments of a program as the interface's functions call them."""
        names = {self._code_name(program, t.name): t.name for t in self.plan.inputs}
        if self.plan.loss and program != "predict_into":
            names[self._code_name(program, self.plan.loss)] = "value"
        names |= {"params": "flat", "grads": grads}
        return [names.get(a, a) for a in arguments]

    def _call(self, program: str, grads: str = "grads") -> str:
        given = self._given(program, self.programs[program].arguments, grads)
        return call(f"kernels.{program}", [self.device, *given], indent=4)

    def _typed(self, inputs: Iterable[str], *state: str) -> list[str]:
        return ["params: DeviceParameters", *state, *(f"{n}: ArrayLike" for n in inputs)]

    def _enter(self, method: str, inputs: Sequence[str]) -> str:
        return enter(f"_door.{method}", [self.device, "flat"], inputs)

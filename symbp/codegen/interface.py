"""What the interface of a generated module declares: parameters, inputs, requirements, settings, calls."""

from __future__ import annotations

from dataclasses import dataclass, field

from symbp.codegen.layout import call, joined_names, parts, signature
from symbp.codegen.printer import CodePrinter, Names
from symbp.codegen.procedure import ProcedureText
from symbp.errors import ShapeError, SpecError
from symbp.ir.affine import Affine, Size
from symbp.ir.plan import Memory, ParameterSlot, Plan
from symbp.ir.program import DType, Tensor
from symbp.ir.text import statement_text

#: The range of a setting that is named as the papers name it; any other may be any finite number.
_RANGES = {
    "learning_rate": "above=0.0",
    "momentum": "least=0.0, below=1.0",
    "beta1": "least=0.0, below=1.0",
    "beta2": "least=0.0, below=1.0",
    "rho": "least=0.0, below=1.0",
    "decay": "least=0.0, below=1.0",
    "epsilon": "above=0.0",
    "weight_decay": "least=0.0",
}


@dataclass(frozen=True)
class InputText:
    name: str
    text: str
    declaration: str


@dataclass(frozen=True)
class ScratchFunction:
    name: str
    sizes: tuple[str, ...]
    purpose: str
    key: str
    count: str
    dtype: str


@dataclass
class Calls:
    """Argument lists of the kernels and who calls them with what."""

    procedures: dict[str, ProcedureText]
    loss_inputs: list[str] = field(default_factory=list)
    predict_inputs: list[str] = field(default_factory=list)


_index_code = CodePrinter("float64", Names())


def parameter_text(slot: ParameterSlot) -> str:
    """``Parameter("W1", (64, 32), Initializer("glorot_uniform", fan_in=64, fan_out=32))``."""
    shape = parts([str(e) for e in slot.shape])
    given = slot.initializer
    if given is None or given.kind == "zeros":
        return f'Parameter("{slot.name}", {shape})'
    arguments = [f'"{given.kind}"']
    numbers = [repr(float(v)) for name, v in given.arguments if name not in ("fan_in", "fan_out")]
    if numbers:
        arguments.append(parts(numbers))
    fans = dict(given.arguments)
    if any(word in given.kind for word in ("glorot", "he_", "lecun")):
        fan_in, fan_out = int(fans.get("fan_in", slot.fans[0])), int(fans.get("fan_out", slot.fans[1]))
        arguments += [f"fan_in={fan_in}", f"fan_out={fan_out}"]
    made = call("Initializer", arguments)
    return call("Parameter", [f'"{slot.name}"', shape, made], indent=8).replace("\n", "\n        ")


def check_own_name(tensor: Tensor, what: str) -> None:
    """Refuse what the functions of the package call by names made from others, or an output as `predict` does.

    Raises SpecError.
    """
    name = tensor.name
    if name.startswith("_") or (
        name.endswith(("_batch", "_rows")) if what == "input" else name in ("flat", "sizes", "DTYPE")
    ):
        raise SpecError(
            f"{what} name '{name}' is a name that generated code uses for itself", remedy=f"try '{name.strip('_')}_'"
        )


def input_text(tensor: Tensor) -> InputText:
    check_own_name(tensor, "input")
    extents = [_extent(e) for e in tensor.shape]
    shown = parts([str(e) for e in tensor.shape]).replace("'", "") if tensor.shape else "a number"
    arguments = [f'"{tensor.name}"', parts(extents)]
    if tensor.dtype is DType.INT:
        arguments.append('"int"')
        text = "whole numbers"
        if tensor.below is not None and tensor.below.is_constant:
            arguments.append(f"below={int(tensor.below)}")
            text = f"whole numbers from 0 to {int(tensor.below) - 1}"
    else:
        text = "floats"
        if not tensor.finite:
            arguments.append("finite=False")
            text = "floats, NaN and infinity as well"
    return InputText(tensor.name, f"{shown}, {text}", call("Input", arguments, indent=4).replace("\n", "\n    "))


def _extent(extent: Affine) -> str:
    if extent.is_constant:
        return str(int(extent))
    atom = extent.as_atom()
    if isinstance(atom, Size):
        return f'"{atom.name}"'
    return f"Linear({_linear(extent, str(extent))})"


def requirement_text(value: Affine) -> str:
    return f"Requirement({_linear(value, _as_relation(value))})"


def _linear(value: Affine, text: str) -> str:
    terms = []
    for monomial, factor in value.terms:
        if not monomial:
            continue
        if len(monomial) != 1 or not isinstance(monomial[0], Size):
            raise ShapeError(
                f"the run-time sizes in '{value}' are not linear", remedy="give one of the axes a fixed extent"
            )
        terms.append(f'("{monomial[0].name}", {factor})')
    constant = f", {value.constant}" if value.constant else ""
    return f'"{text}", {parts(terms)}{constant}'


def _as_relation(value: Affine) -> str:
    left = Affine(tuple((m, c) for m, c in value.terms if c > 0))
    right = Affine(tuple((m, -c) for m, c in value.terms if c < 0))
    return f"{left} >= {right}"


def setting_text(tensor: Tensor) -> str:
    default = tensor.default if tensor.default is not None else 0.0
    limits = _RANGES.get(tensor.name)
    return f'Setting("{tensor.name}", {float(default)!r}{", " + limits if limits else ""})'


def scratch_functions(plan: Plan) -> list[ScratchFunction]:
    """One function per piece of memory that the kernels need from the caller."""
    found = []
    for use, memories in plan.workspaces.items():
        purpose = "evaluating the model" if use == "predict" else "one step of training"
        for memory, count in memories.items():
            name = f"{use}_{memory.value}"
            sizes = tuple(s.name for s in count.sizes())
            dtype = "np.int64" if memory is Memory.POSITIONS else "DTYPE"
            what = "intermediates of" if memory is Memory.WORKSPACE else "positions of maxima in"
            found.append(ScratchFunction(name, sizes, f"the {what} {purpose}", name, _index_code.affine(count), dtype))
    return found


def scratch_lines(plan: Plan, use: str, wanted: tuple[str, ...] | None = None) -> list[str]:
    """Lines that fetch the memory to work in: all of it, or what is among the arguments `wanted`."""
    memories = [m.value for m in plan.workspaces.get(use, {}) if wanted is None or m.value in wanted]
    return [f"{name} = {use}_{name}(**sizes)" for name in memories]


def predict_context(plan: Plan, text: ProcedureText) -> dict[str, object]:
    """The pieces of ``predict``."""
    inputs = [n for n in text.arguments if n in {t.name for t in plan.inputs}]
    lines = scratch_lines(plan, "predict")
    code_name = text.printer.code.names.name
    shapes = []
    for tensor in plan.outputs:
        if tensor.name != plan.loss:
            check_own_name(tensor, "output")
        extents = [_size_code(e) for e in tensor.shape] or ["1"]
        dtype = "np.int64" if tensor.dtype is DType.INT else "DTYPE"
        lines.append(f"{code_name(tensor.name)} = np.empty({parts(extents)}, {dtype})")
        shapes.append(f"{tensor.name} {parts([str(e) for e in tensor.shape]) if tensor.shape else 'a number'}")
    arguments = ["flat" if a == "params" else a for a in text.arguments]
    lines.append(call("kernels.predict_into", arguments, indent=4))
    names = [code_name(t.name) if t.shape else f"float({code_name(t.name)}[0])" for t in plan.outputs]
    kinds = ["Array" if t.shape else "float" for t in plan.outputs]
    returned = kinds[0] if len(kinds) == 1 else f"tuple[{', '.join(kinds)}]"
    typed = ["params: Parameters", *(f"{n}: ArrayLike" for n in inputs)]
    return {
        "header": signature("predict", typed, returned),
        "inputs": inputs,
        "enter": enter(inputs),
        "lines": lines,
        "returns": ", ".join(names),
        "outputs_text": joined_names(shapes),
        "call": call("net.predict", ["params", *inputs]),
    }


def train_context(plan: Plan, texts: dict[str, ProcedureText]) -> dict[str, object]:
    """The pieces of ``loss`` and ``loss_and_grad``."""
    forward, backward = texts["forward"], texts["backward"]
    known = [t.name for t in plan.inputs]
    inputs = [n for n in known if n in (*forward.arguments, *backward.arguments)]
    typed = ["params: Parameters", *(f"{n}: ArrayLike" for n in inputs)]
    return {
        "inputs": inputs,
        "loss_header": signature("loss", typed, "float"),
        "grad_header": signature("loss_and_grad", typed, "tuple[float, Parameters]"),
        "enter": enter(inputs),
        "scratch": scratch_lines(plan, "train"),
        "loss_scratch": scratch_lines(plan, "train", forward.arguments),
        "forward": call("kernels.forward", _flat(forward.arguments), indent=17),
        # Two calls, not one of loss_and_grad_into: that one would compile the code of both a second time.
        "value": call("kernels.forward", _flat(forward.arguments), indent=12),
        "backward": call("kernels.backward", _flat(backward.arguments, grads="grads.flat"), indent=4),
    }


def fit_context(plan: Plan, texts: dict[str, ProcedureText], train: dict[str, object]) -> dict[str, object]:
    """The pieces of ``train_step`` and ``fit``."""
    inputs = list(train["inputs"])  # type: ignore[call-overload]
    step = step_arguments(texts)
    replaced = {"count": "state.count", "numbers": "state.numbers", **{v: f"state.{v}" for v in plan.state}}
    batched, batch_size = batching(plan, inputs)
    typed = ["params: Parameters", "state: OptimizerState", *(f"{n}: ArrayLike" for n in inputs)]
    written = forward_places(plan)
    arguments = [replaced.get(a, a) for a in _flat(step)]
    if batched:
        loop = [replaced.get(a, a) for a in _flat(train_steps_arguments(step, batched))]
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
        "forward": call("kernels.forward", _flat(texts["forward"].arguments), indent=12),
        "written": [(text, place) for text, place, _ in written],
        "written_sizes": [s.name for s in plan.sizes() if any(s in sizes for _, _, sizes in written)],
    }


def forward_places(plan: Plan) -> list[tuple[str, str, tuple[Size, ...]]]:
    """What the forward pass leaves in its workspace, in order: the equation, offset and shape as code, their sizes.

    Of tensors that share a place the last one written is there at the end.
    """
    forward = plan.procedure("forward")
    assert forward is not None
    places = {b.tensor: b for b in forward.views if b.memory is Memory.WORKSPACE}
    equations: dict[str, str] = {}
    left: dict[Affine, str] = {}
    for statement in (s for nest in forward.nests for s in nest.statements):
        if statement.tensor in places:
            text = statement_text(statement).partition("    where ")[0].replace(" += ", " = ", 1)
            equations.setdefault(statement.tensor, text if len(text) <= 100 else f"{text[:97]}..")
            left[places[statement.tensor].offset] = statement.tensor
    found = []
    for name, text in equations.items():
        offset, shape = places[name].offset, plan.tensors[name].shape
        if left[offset] == name:
            code = f"({_index_code.affine(offset)}, {parts([_index_code.affine(e) for e in shape] or ['1'])})"
            found.append((text, code, tuple(s for e in (offset, *shape) for s in e.sizes())))
    return found


def step_arguments(texts: dict[str, ProcedureText]) -> list[str]:
    """Arguments of ``train_step_into``."""
    update = texts["update"]
    both = merged(texts["forward"].arguments, texts["backward"].arguments)
    extra = [a for a in update.arguments if a not in ("params", "grads", "count")]
    return [*both, *extra, "count"]


def train_steps_arguments(step: list[str], batched: list[str]) -> list[str]:
    """Arguments of ``train_steps_into``: the data, the arrays of one batch, then which steps."""
    ordered: list[str] = []
    for name in step:
        ordered.append(name)
    position = max(ordered.index(n) for n in batched) + 1
    ordered[position:position] = [f"{n}_batch" for n in batched]
    return [*ordered, "order", "batch", "first", "last", "losses"]


def batching(plan: Plan, inputs: list[str]) -> tuple[list[str], str]:
    """Which inputs are cut into batches, and the size that counts the samples.

    The batch is the first axis of the first input, if its extent is a run-time size that no input has elsewhere.
    """
    tensors = [t for t in plan.inputs if t.name in inputs]
    if not tensors or not tensors[0].shape:
        return [], ""
    size = tensors[0].shape[0].as_atom()
    if not isinstance(size, Size):
        return [], ""
    if any(size in e.sizes() for t in tensors for e in t.shape[1:]):
        return [], ""
    mine = [t for t in tensors if t.shape and size in t.shape[0].sizes()]
    if any(t.shape[0].as_atom() != size for t in mine):
        return [], ""
    return [t.name for t in mine], size.name


def merged(*groups: tuple[str, ...]) -> list[str]:
    """The union of argument lists in the one order that all of them follow."""
    order = ["params", "workspace", "positions", "grads"]
    inputs = [a for a in dict.fromkeys(a for g in groups for a in g) if a not in order]
    present = {a for g in groups for a in g}
    return [a for a in ("params", *inputs, "workspace", "positions", "grads") if a in present or a in inputs]


def enter(inputs: list[str]) -> str:
    names = ", ".join(inputs) + ("," if len(inputs) == 1 else "")
    target = f"flat, ({names}), sizes" if inputs else "flat, _, sizes"
    return call("_door.enter", ["params", *(f"{n}={n}" for n in inputs)], indent=4, lead=f"{target} = ")


def _flat(arguments: list[str] | tuple[str, ...], grads: str = "grads") -> list[str]:
    return ["flat" if a == "params" else grads if a == "grads" else a for a in arguments]


def _size_code(extent: Affine) -> str:
    """An extent in terms of the dictionary of sizes: ``sizes["n_time"] + 1``."""
    text = _index_code.affine(extent)
    for size in extent.sizes():
        text = text.replace(size.name, f'sizes["{size.name}"]')
    return text

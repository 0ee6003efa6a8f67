"""What the interface of a generated module declares: parameters, inputs, requirements, settings, calls."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from symbp.codegen.layout import call, parts
from symbp.codegen.printer import CodePrinter, Names
from symbp.errors import ShapeError, SpecError
from symbp.ir.affine import ONE, ZERO, Affine, Size
from symbp.ir.plan import CHUNKS, FIRST, NUMBER, ROWS, SCRATCH, Cut, Memory, ParameterSlot, Plan
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
    by_worker: bool = False  # a row of it for each worker
    chunks: str = ""  # how many chunks there are, where its length depends on that


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
            cut = plan.cuts.get(use)
            chunks = chunk_count(cut) if cut is not None and CHUNKS in count.sizes() else ""
            named = (*(cut.extent.sizes() if cut is not None and chunks else ()), *count.sizes())
            sizes = tuple(s.name for s in dict.fromkeys(named) if s != CHUNKS)
            whole = memory in (Memory.POSITIONS, Memory.CHUNK_POSITIONS)
            what = "positions of maxima in" if whole else "intermediates of"
            by_worker = memory in (Memory.CHUNK, Memory.CHUNK_POSITIONS)
            found.append(
                ScratchFunction(
                    name,
                    sizes,
                    f"the {what} {f'one chunk, in {purpose}' if by_worker else purpose}",
                    name,
                    _index_code.affine(count),
                    "np.int64" if whole else "DTYPE",
                    by_worker,
                    chunks,
                )
            )
    return found


def forward_places(plan: Plan, workspace: str = "workspace") -> list[tuple[str, str, tuple[Size, ...]]]:
    """What the forward pass leaves in memory, in order: the equation; memory, offset and shape as code; their sizes.

    Of tensors that share a place the last one written is there at the end. `workspace` is the code for that memory.
    """
    forward = plan.procedure("forward") or plan.procedure("forward_rows")
    assert forward is not None
    memories = {Memory.WORKSPACE: workspace, Memory.CHUNK: "chunk[0]"}
    places = {b.tensor: b for b in forward.views if b.memory in memories}
    tensors = {**plan.tensors, **{t.name: t for t in forward.tensors}}
    equations: dict[str, str] = {}
    left: dict[tuple[Memory, Affine], str] = {}
    for statement in (s for nest in forward.nests for s in nest.statements):
        if statement.tensor in places and (plan.tensors[statement.tensor].shape or "train" not in plan.cuts):
            text = statement_text(statement).partition("    where ")[0].replace(" += ", " = ", 1)
            equations.setdefault(statement.tensor, text if len(text) <= 100 else f"{text[:97]}..")
            left[places[statement.tensor].memory, places[statement.tensor].offset] = statement.tensor
    found = []
    for name, text in equations.items():
        place, shape = places[name], tuple(_of_one_chunk(e, plan) for e in tensors[name].shape)
        if left[place.memory, place.offset] == name:
            offset = _of_one_chunk(place.offset, plan)
            extents = parts([_index_code.affine(e) for e in shape] or ["1"])
            samples = [str(k) for k, e in enumerate(tensors[name].shape) if e == Affine.of(ROWS)]
            code = parts([memories[place.memory], _index_code.affine(offset), extents, *samples])
            found.append((text, code, tuple(s for e in (offset, *shape) for s in e.sizes())))
    return found


def _of_one_chunk(value: Affine, plan: Plan) -> Affine:
    """A place or an extent in a batch that is one chunk."""
    if "train" not in plan.cuts:
        return value
    known = {CHUNKS: ONE, FIRST: ZERO, NUMBER: ZERO, ROWS: plan.cuts["train"].extent}
    total = ZERO
    for monomial, factor in value.terms:
        factors = (known[a] if isinstance(a, Size) and a in known else Affine.of(a) for a in monomial)
        total = total + math.prod(factors, start=Affine.of(factor))
    return total


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


def size_code(extent: Affine) -> str:
    """An extent in terms of the dictionary of sizes: ``sizes["n_time"] + 1``."""
    text = _index_code.affine(extent)
    for size in extent.sizes():
        text = text.replace(size.name, f'sizes["{size.name}"]')
    return text


def chunk_count(cut: Cut, samples: str = "") -> str:
    """How many chunks there are, as code: ``chunk_count(n_batch, 128, 16)``, or a number."""
    if cut.extent.is_constant:
        return str(cut.count)
    return f"chunk_count({samples or cut.extent}, {cut.longest}, {cut.shortest})"


def scratch_lines(plan: Plan, use: str, wanted: Sequence[str] | None = None, device: str = "") -> list[str]:
    """Lines that fetch the memory to work in: all of it, or what is among the arguments `wanted`."""
    memories = [m for m in plan.workspaces.get(use, {}) if wanted is None or m.value in wanted]
    before = f"{device}, " if device else ""
    lines = []
    if use in plan.cuts:
        cut = plan.cuts[use]
        lines.append(f"workers = worker_count({chunk_count(cut, size_code(cut.extent))})")
    for memory in memories:
        first = "workers, " if memory in (Memory.CHUNK, Memory.CHUNK_POSITIONS) else before
        lines.append(f"{memory.value} = {use}_{memory.value}({first}**sizes)")
    return lines


def merged(*groups: Sequence[str]) -> list[str]:
    """The union of argument lists in the one order that all of them follow."""
    scratch = [m.value for m in SCRATCH]
    order = ["params", *scratch, "grads"]
    inputs = [a for a in dict.fromkeys(a for g in groups for a in g) if a not in order]
    present = {a for g in groups for a in g}
    return [a for a in ("params", *inputs, *scratch, "grads") if a in present or a in inputs]


def enter(method: str, found: Sequence[str], inputs: Sequence[str]) -> str:
    """``flat, (x, label), sizes = _door.enter(params, x=x, label=label)``; `found` is what comes before the inputs."""
    given = f"({', '.join(inputs)}{',' if len(inputs) == 1 else ''})" if inputs else "_"
    target = ", ".join([*found, given, "sizes"])
    return call(method, ["params", *(f"{n}={n}" for n in inputs)], indent=4, lead=f"{target} = ")


def output_text(tensor: Tensor, plan: Plan) -> str:
    """``softmax (n_batch, 10)``."""
    if tensor.name != plan.loss:
        check_own_name(tensor, "output")
    return f"{tensor.name} {parts([str(e) for e in tensor.shape]) if tensor.shape else 'a number'}"


def returned_type(plan: Plan, array: str) -> str:
    """The type of what ``predict`` returns, given that of an array."""
    kinds = [array if t.shape else "float" for t in plan.outputs]
    return kinds[0] if len(kinds) == 1 else f"tuple[{', '.join(kinds)}]"

"""Make the plan: the passes of the scheduler, in order.

Program ──PASSES──▶ Program ──order──▶ steps ──lower──▶ nests ──fuse_nests──▶ nests ──scalarise──▶ nests
        ──allocate──▶ procedures with buffers ──make_steps──▶ procedures with launches (targets of many threads)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from symbp.errors import ShapeError
from symbp.ir.affine import ZERO, Affine
from symbp.ir.body import Body
from symbp.ir.derivation import Derivation
from symbp.ir.order import order
from symbp.ir.plan import Buffer, Cut, Kind, Machine, Memory, Nest, ParameterSlot, Plan, Procedure
from symbp.ir.program import Program, Role, Tensor
from symbp.ir.trace import part_of_work, tell, tell_rewrite
from symbp.ir.verify import verify
from symbp.schedule.absorb import absorb_sums
from symbp.schedule.buffers import allocate, element_count
from symbp.schedule.chunked import plan_predict_in_chunks, plan_training_in_chunks
from symbp.schedule.device.exact_sums import declare_sums
from symbp.schedule.device.kernels import make_steps, sink_scalars, stays_parallel
from symbp.schedule.device.split_sums import split_sums
from symbp.schedule.device.turn_weights import turn_weights
from symbp.schedule.exact import keep_digits
from symbp.schedule.fuse import fuse_nests
from symbp.schedule.hoist import hoist_reads
from symbp.schedule.inline import inline_arguments
from symbp.schedule.inline_scattered import inline_scattered
from symbp.schedule.lower import lower_statement
from symbp.schedule.notes import head_with_equations
from symbp.schedule.procedures import Planned, in_their_shapes, make_procedure, touched_names
from symbp.schedule.recompute import as_late_as_can_be, save_or_recompute
from symbp.schedule.samples_last import lay_samples_last
from symbp.schedule.scalarise import scalarise
from symbp.schedule.shrink import shrink
from symbp.schedule.slices import Slices, cut_batch
from symbp.schedule.split import split_procedure
from symbp.schedule.steps import lower_steps
from symbp.schedule.steps_first import lay_steps_first
from symbp.schedule.unfold import unfold

NEXT = "_next"  # an optimizer writes w_next[i]; it takes the place of w[i] at the end of the iteration


def make_plan(
    derivation: Derivation | None,
    predict: Program | None,
    update: Program | None,
    *,
    exact: bool = False,
    machine: Machine = Machine.LOOPS,
    chunk: int | None = None,
) -> Plan:
    """Plan every procedure of a module for a kind of machine: predict, forward and backward, update.

    `derivation` is None for a model without a loss, `predict` for one without outputs, `update` without an optimizer.
    With `exact` the derivatives of sigmoid and tanh keep their digits where these saturate. `chunk` is how many samples
    loops take at a time (see `slices`).
    """
    model = derivation.primal if derivation is not None else predict
    assert model is not None, "a model has outputs or a loss"
    _check_sizes(model)
    parameters = lay_out(model)
    procedures: list[Procedure] = []
    tensors: dict[str, Tensor] = {}
    workspaces: dict[str, dict[Memory, Affine]] = {}
    cuts: dict[str, Cut] = {}
    if predict is not None:
        with part_of_work("predict"):
            found = _plan_predict(predict, parameters, machine, chunk)
        procedures, workspaces["predict"] = [*found.procedures], found.lengths
        tensors = {t.name: t for t in found.tensors}
        cuts |= {"predict": found.cut} if found.cut else {}
    if derivation is not None:
        with part_of_work("training"):
            found = _plan_training(derivation, parameters, exact, machine, chunk)
        tensors = {**{t.name: t for t in found.tensors}, **tensors}
        procedures += [_with_own_tensors(p, found.tensors, tensors) for p in found.procedures]
        workspaces["train"] = found.lengths
        cuts |= {"train": found.cut} if found.cut else {}
    if update is not None:
        with part_of_work("update"):
            procedures.append(_plan_update(update, machine))
        tensors |= {t.name: t for t in update.tensors if t.name not in tensors}
    if machine.in_teams:
        procedures = [replace(p, steps=make_steps(p, tensors)) for p in procedures]
    else:
        of_model = [p for p in procedures if p.name != "update"]
        hoisted, scalars = hoist_reads(of_model, tensors)
        tensors |= scalars
        procedures[: len(of_model)] = [split_procedure(p, taken=tuple(tensors)) for p in hoisted]
    return Plan(
        name=model.name,
        inputs=model.with_role(Role.INPUT),
        outputs=tuple(predict.tensor(n) for n in predict.outputs) if predict is not None else (),
        loss=model.loss if derivation is not None else "",
        parameters=parameters,
        procedures=tuple(procedures),
        tensors=tensors,
        workspaces=workspaces,
        requirements=model.requirements,
        state=tuple(t.name for t in update.with_role(Role.STATE)) if update is not None else (),
        hyper=update.with_role(Role.HYPER) if update is not None else (),
        optimizer=update.name if update is not None else "",
        cuts=cuts,
    )


def _with_own_tensors(procedure: Procedure, declared: Iterable[Tensor], known: Mapping[str, Tensor]) -> Procedure:
    """The procedure with the tensors that are called like one of another use of the model, but are otherwise."""
    mine = {t.name for t in procedure.tensors}
    own = tuple(t for t in declared if known[t.name] != t and t.name not in mine)
    return replace(procedure, tensors=(*procedure.tensors, *own)) if own else procedure


def _check_sizes(model: Program) -> None:
    """Raise ShapeError for a run-time size that no input could tell."""
    told = {s for t in model.with_role(Role.INPUT) for extent in t.shape for s in extent.sizes()}
    for statement in model.statements:
        for size in (s for r in statement.domain.ranges for extent in (r.lower, r.stop) for s in extent.sizes()):
            if size not in told:
                raise ShapeError(
                    f"the run-time size {size} in the equation of '{statement.tensor}' is not the extent of any input",
                    remedy="give the axis a fixed extent, or declare an input over it",
                )


def lay_out(program: Program) -> tuple[ParameterSlot, ...]:
    """The parameters one after the other in one flat array. Their shapes must be known numbers."""
    slots = []
    offset = 0
    for tensor in program.with_role(Role.PARAMETER):
        unknown = [extent for extent in tensor.shape if not extent.is_constant]
        if unknown:
            raise ShapeError(
                f"parameter '{tensor.name}' has the run-time extent {unknown[0]}",
                remedy="give the axes of parameters fixed extents",
            )
        shape = tuple(int(e) for e in tensor.shape)
        slot = ParameterSlot(tensor.name, shape, offset, tensor.initializer, _fans(tensor.name, shape, program))
        slots.append(slot)
        offset += slot.count
    return tuple(slots)


def _fans(name: str, shape: tuple[int, ...], program: Program) -> tuple[int, int]:
    """Fan-in: the extents of the axes that the first sum over it runs over; fan-out: those of the others."""
    for statement in program.readers(name):
        read = next((r for r in statement.body.reads if r.tensor == name), None)
        if read is None or not statement.reduced:
            continue
        fan_in, fan_out = 1, 1
        for subscript, extent in zip(read.subscripts, shape, strict=True):
            if set(subscript.indices()) & set(statement.reduced):
                fan_in *= extent
            else:
                fan_out *= extent
        return fan_in, fan_out
    count = 1
    for extent in shape:
        count *= extent
    return count, count


# -------------------------------------------------------------------------------------------------------- procedures


#: Program ──▶ Program: the rewrites that serve code, not people, for each kind of machine, in this order.
_FOR_TEAMS: tuple[Callable[[Program], Program], ...] = (
    inline_arguments,
    split_sums,  # so that more than a handful of blocks work on a long sum
    turn_weights,  # after the sums of a recurrence are what they will be
)
PASSES: dict[Machine, tuple[Callable[[Program], Program], ...]] = {
    Machine.LOOPS: (
        inline_arguments,
        lay_steps_first,  # what a step of a recurrence needs lies together
        lay_samples_last,  # convolutions over samples become calls that need no patches
        inline_scattered,  # conditions on data, which the pass before made choices of values, are in the way
        unfold,  # other convolutions become contractions, which the next pass may then absorb
        absorb_sums,
    ),
    # Here a sum stays by itself: what is added to it goes into the kernel that reads it, one pass over memory less.
    Machine.TEAMS: (*_FOR_TEAMS, declare_sums),  # when all statements are there: those whose points meet need memory
    Machine.ATOMICS: _FOR_TEAMS,
}


#: How many of the passes for loops come before the batch is cut; the others see one chunk, or what is left outside.
_BEFORE_THE_CUT = 1


def _ready(program: Program, machine: Machine) -> Program:
    """The program after every pass of `PASSES`, verified after each."""
    return _rewritten(program, PASSES[machine])


def _rewritten(program: Program, passes: Iterable[Callable[[Program], Program]]) -> Program:
    for transform in passes:
        program = tell_rewrite(transform.__name__, program, verify(transform(program), transform.__name__))
    return program


def _cut(program: Program, wanted: Iterable[str], chunk: int | None) -> Slices | None:
    """The program cut along its batch, and each part of it after the other passes; None if cutting does not pay."""
    slices = cut_batch(_rewritten(program, PASSES[Machine.LOOPS][:_BEFORE_THE_CUT]), chunk)
    if slices is None:
        return None
    tell(
        "cut_batch", f"{slices.cut.extent} samples", f"chunks of up to {slices.cut.longest}", made=sorted(slices.parts)
    )

    declared = {t.name: t for t in slices.whole.tensors}

    def ready(part: Program, visible: Iterable[str]) -> Program:
        seen = tuple(n for n in dict.fromkeys(visible) if part.definitions(n))
        mine = {t.name for t in part.tensors}
        others = tuple(t for name, t in declared.items() if name not in mine)  # so that each new name is new to all
        part = replace(part, tensors=(*part.tensors, *others))
        made = _rewritten(replace(part, outputs=seen, loss=""), PASSES[Machine.LOOPS][_BEFORE_THE_CUT:])
        declared.update({t.name: t for t in made.tensors})
        return replace(made, outputs=part.outputs, loss=part.loss)

    exported = sorted(slices.exported | slices.parts)
    before = ready(slices.before, [s.tensor for s in slices.before.statements])
    rows = ready(slices.rows, [*exported, *wanted])
    after = ready(slices.after, wanted)
    known = {t.name for t in slices.whole.tensors}
    new = [t for part in (before, after) for t in part.tensors if t.name not in known and part.definitions(t.name)]
    whole = replace(slices.whole, tensors=(*slices.whole.tensors, *new))
    return replace(slices, whole=whole, before=before, rows=rows, after=replace(after, tensors=whole.tensors))


def _fused(nests: Iterable[Nest], machine: Machine) -> tuple[Nest, ...]:
    return fuse_nests(nests, stays_parallel) if machine.in_teams else fuse_nests(nests)


def _plan_predict(
    program: Program, parameters: Sequence[ParameterSlot], machine: Machine, chunk: int | None
) -> Planned:
    slices = _cut(program, program.outputs, chunk) if machine is Machine.LOOPS else None
    chunked = plan_predict_in_chunks(slices, parameters) if slices is not None else None
    if chunked is not None:
        return chunked
    program = _ready(program, machine)
    nests = _fused(lower_steps(order(program), program, program.outputs, machine), machine)
    inner = [t.name for t in program.tensors if not t.is_given and t.name not in program.outputs]
    nests, gone = scalarise(nests, inner)
    scalars = set(gone)
    shaped: dict[str, Buffer] = {}
    if machine is Machine.LOOPS:  # one function has them all
        scalars |= {n for n in inner if not program.tensor(n).shape}
        nests, narrow = shrink(nests, program, [n for n in inner if n not in scalars])
        program = program.with_tensors(narrow)
        shaped = in_their_shapes(nests, program, program.outputs)
    places, lengths = allocate(nests, _tensors(program), [n for n in inner if n not in scalars])
    procedure = make_procedure(
        "predict_into",
        "Evaluate the model.",
        nests,
        program,
        parameters,
        {**places, **shaped},
        results=program.outputs,
    )
    return Planned((procedure,), lengths, program.tensors)


def _plan_training(
    derivation: Derivation,
    parameters: Sequence[ParameterSlot],
    exact: bool,
    machine: Machine,
    chunk: int | None,
) -> Planned:
    adjoints = dict(derivation.gradients)
    wanted = (derivation.program.loss, *adjoints.values())
    # What only `predict` returns is no part of training.
    program = replace(derivation.program.keep_live(wanted), outputs=())
    if exact:
        program = _rewritten(program, [keep_digits])
    slices = _cut(program, wanted, chunk) if machine is Machine.LOOPS else None
    if slices is not None:
        return plan_training_in_chunks(slices, adjoints, parameters)
    program = _ready(program, machine)
    ahead = {s.tensor for s in program.keep_live([program.loss]).statements}
    again: frozenset[str] = frozenset()
    if machine is Machine.LOOPS:
        program, again = save_or_recompute(program, ahead, [program.loss], {})
    steps = as_late_as_can_be(order(program), again)
    gradient_names = {adjoints[p.name] for p in parameters if p.name in adjoints}
    halves = [[s for s in steps if (s.tensors[0] in ahead) == is_forward] for is_forward in (True, False)]
    nests_of = [_fused(lower_steps(half, program, wanted, machine), machine) for half in halves]
    inner = [t.name for t in program.tensors if not t.is_given and t.name not in gradient_names]
    shared = touched_names(nests_of[0]) & touched_names(nests_of[1])
    forward, gone_1 = scalarise(nests_of[0], [n for n in inner if n not in shared and n != program.loss])
    backward, gone_2 = scalarise(nests_of[1], [n for n in inner if n not in shared])
    scalars = {*gone_1, *gone_2}
    results: tuple[str, ...] = ()
    if machine is Machine.LOOPS:  # one function has them all, and gives the loss back
        scalars |= {n for n in inner if not program.tensor(n).shape and n not in shared}
        local = [n for n in inner if n not in scalars and n not in shared]
        forward, narrow = shrink(forward, program, local)
        backward, narrow_too = shrink(backward, program, local)
        program = program.with_tensors({**narrow, **narrow_too})
    else:
        results = (program.loss,)
        scalars.add(program.loss)
    places, lengths = allocate((*forward, *backward), _tensors(program), [n for n in inner if n not in scalars])
    for slot in parameters:
        if slot.name in adjoints:
            places[adjoints[slot.name]] = Buffer(adjoints[slot.name], Memory.GRADIENTS, Affine.of(slot.offset))
    ahead_of, after = (
        {**places, **(in_their_shapes(nests, program) if machine is Machine.LOOPS else {})}
        for nests in (forward, backward)
    )
    returns = "" if results else program.loss
    summary = "Differentiate the loss; follows `forward`."
    pair = (
        make_procedure("forward", "Evaluate the loss.", forward, program, parameters, ahead_of, results, returns),
        make_procedure("backward", summary, backward, program, parameters, after),
    )
    return Planned(pair, lengths, program.tensors)


def _tensors(program: Program) -> dict[str, Tensor]:
    return {t.name: t for t in program.tensors}


def _plan_update(program: Program, machine: Machine) -> Procedure:
    """The optimizer's step, in place: ``w_next`` is stored to ``w`` when nothing reads ``w`` any more."""
    nests = list(lower_steps(order(program), program, [t.name for t in program.tensors], machine))
    commits = []
    for tensor in program.tensors:
        if tensor.is_given and program.has(tensor.name + NEXT):
            source = program.definitions(tensor.name + NEXT)[0]
            value = Body.of(replace(source.target, tensor=tensor.name + NEXT))
            commits.append(replace(source, tensor=tensor.name, body=value, reduced=(), accumulate=False))
    for statement in commits:
        nests.append(Nest((), lower_statement(statement, program, fresh=True), Kind.MAP))
    inner = [t.name for t in program.tensors if not t.is_given]
    fused, gone = scalarise(fuse_nests(nests), inner)
    if machine.in_teams:
        fused = sink_scalars(fused)
    left = [n for n in inner if program.tensor(n).shape and n not in gone]
    assert not left, f"the update keeps {left} over several loops"
    places = {t.name: Buffer(t.name, Memory.ARGUMENT, ZERO) for t in program.with_role(Role.PARAMETER, Role.INPUT)}
    for k, tensor in enumerate(program.with_role(Role.STATE)):
        places[tensor.name] = Buffer(tensor.name, Memory.STATE, element_count(tensor) * k)
    settings = [t for t in program.with_role(Role.HYPER) if t.name != "t"]  # t counts the steps
    for k, tensor in enumerate(settings):
        places[tensor.name] = Buffer(tensor.name, Memory.HYPER, Affine.of(k))
    if program.has("t"):
        places["t"] = Buffer("t", Memory.HYPER, ZERO)
    used = touched_names(fused)
    views = tuple(b for n, b in places.items() if n in used)
    return Procedure("update", f"One step of {program.name}.", (), views, (), head_with_equations(fused))

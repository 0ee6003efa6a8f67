"""Programs and models as steps of a device, in text."""

from __future__ import annotations

from dataclasses import replace

from symbp import Model
from symbp.ir import Program
from symbp.ir.plan import Machine, Plan
from symbp.pipeline import derive_model, prepare, simplify_primal
from symbp.schedule import make_plan
from tests.schedule.node_text import step_lines
from tests.schedule.small import Small


def steps_of(small: Small, *outputs: str) -> list[str]:
    """The steps that compute the outputs of a program, without its equations."""
    return without_notes(make_plan(None, small.program(*outputs), None, machine=Machine.TEAMS), "predict_into")


def plan_of(model: Model) -> Plan:
    program = model.program()
    predict: Program | None = None
    if program.outputs:
        predict = simplify_primal(prepare(replace(program.keep_live(program.outputs), loss="")))
    derivation = derive_model(program) if program.loss else None
    return make_plan(derivation, predict, model.update() if derivation else None, machine=Machine.TEAMS)


def without_notes(plan: Plan, name: str) -> list[str]:
    procedure = plan.procedure(name)
    assert procedure is not None
    return [line for line in step_lines(procedure.steps) if not line.strip().startswith("#")]

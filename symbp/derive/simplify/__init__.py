"""Simplify: from the equations that the rule writes to those that a textbook prints.

Every rewrite replaces equations by equal ones; none reads a value of the forward pass that is not there already. What
must stay stays under its name: outputs, the loss, the gradients.
"""

from __future__ import annotations

from dataclasses import replace

from symbp.derive.simplify.graph import EquationGraph
from symbp.derive.simplify.merging import merge_contributions, set_once
from symbp.derive.simplify.reuse import ForwardValues, ReuseValues
from symbp.derive.simplify.sharing import share_equal
from symbp.derive.simplify.substitution import (
    InlineMaps,
    drop_unread,
    drop_zero,
    inline_constant,
    remove_copy,
    tidy_statement,
)
from symbp.derive.simplify.sums import CloseSums, NormaliseSums, hoist_invariants
from symbp.ir.derivation import Derivation
from symbp.ir.program import Program
from symbp.ir.verify import verify

__all__ = ["simplify", "simplify_primal"]


def simplify(derivation: Derivation) -> Derivation:
    """The derivation with its adjoint equations in textbook form, and without what no gradient needs."""
    program = derivation.program
    verify(program, "the stage before simplify")
    keep = (*_wanted(program), *(adjoint for _, adjoint in derivation.gradients))
    backward = derivation.backward
    graph = EquationGraph(program.keep_live(keep), keep, backward)
    graph.run(drop_unread, inline_constant, remove_copy, tidy_statement)
    share_equal(graph)
    primal = graph.primal()
    values = ForwardValues(primal)
    rules = (
        drop_unread,
        drop_zero,
        inline_constant,
        remove_copy,
        tidy_statement,
        merge_contributions,
        ReuseValues(values),
        hoist_invariants,
        InlineMaps(values),
    )
    graph.run(*rules)
    # Sums of adjoints that are written out may vanish in part; only now are those adjoints in their final form.
    graph.run(CloseSums(primal), NormaliseSums(values), *rules)
    share_equal(graph)
    graph.run(*rules)
    graph.run(set_once)
    return replace(derivation, program=verify(graph.program(), "simplify"), primal=graph.primal())


def simplify_primal(program: Program) -> Program:
    """A program without adjoints, without copies and without what no output needs."""
    verify(program, "the stage before simplify_primal")
    keep = _wanted(program)
    graph = EquationGraph(program.keep_live(keep) if keep else program, keep or [t.name for t in program.tensors])
    graph.run(drop_unread, remove_copy)
    share_equal(graph)
    return verify(graph.program(), "simplify_primal")


def _wanted(program: Program) -> tuple[str, ...]:
    return (*program.outputs, *filter(None, [program.loss]))
